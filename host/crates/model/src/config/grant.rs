//! What an extension may do: what its manifest asks for, as far as the operator grants it.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::settings::{FileAccess, HttpAccess, HttpHost, NetworkAccess, NetworkHost, Permissions};
use crate::text::visible;

/// The outcome of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// What was asked for and granted.
    pub effective: Permissions,
    /// What was asked for and not granted, one line each.
    pub denied: Vec<String>,
    /// What was granted and not asked for, one line each.
    pub unused: Vec<String>,
}

impl Permissions {
    /// The same with relative folders resolved against another, and all of them without `.` and `..`.
    #[must_use]
    pub fn rooted(&self, base: &Path) -> Self {
        let mut permissions = self.clone();
        for file in &mut permissions.files {
            file.host = rooted(&file.host, base);
            file.root.clone_from(&file.host);
        }
        permissions
    }

    /// What of this request is granted. Both sides must be [`Permissions::rooted`]: a folder covers those below it only
    /// where both are absolute. Paths are compared as text; symbolic links are for whoever opens them.
    pub fn granted(&self, grants: &Self) -> Grant {
        let mut grant = Grant::default();
        let mut used = Used::of(grants);
        for request in &self.files {
            let covering =
                |granted: &FileAccess| granted.write >= request.write && is_within(&request.host, &granted.host);
            // Of folders within each other the outermost one is the root: the guest may write to it and replace the inner.
            match used.files.find_all(covering).min_by_key(|granted| granted.host.components().count()) {
                Some(granted) => {
                    grant.effective.files.push(FileAccess { root: granted.host.clone(), ..request.clone() });
                }
                None => grant.denied.push(denied_folder(request, grants)),
            }
        }
        let (effective, denied) = (&mut grant.effective, &mut grant.denied);
        let mut rest = |what, requests: &[String], used: &mut Items<'_, String>, covers: fn(&str, &str) -> bool| {
            let (granted, refused): (Vec<_>, Vec<_>) =
                requests.iter().cloned().partition(|request| used.find(|granted| covers(granted, request)));
            denied.extend(refused.iter().map(|name| format!("{what}: \"{}\" is not granted", visible(name, 200))));
            granted
        };
        effective.env = rest("env", &self.env, &mut used.env, |granted, request| granted == request);
        effective.call = rest("call", &self.call, &mut used.call, matches_pattern);
        effective.publish = rest("publish", &self.publish, &mut used.publish, matches_pattern);
        for request in &self.network {
            if used.network.find(|granted| covers_network(granted, request)) {
                effective.network.push(request.clone());
            } else {
                denied.push(format!("network: {request} is not granted"));
            }
        }
        for request in &self.http {
            if used.http.find(|granted| granted.covers(request)) {
                effective.http.push(request.clone());
            } else {
                denied.push(format!("http: {request} is not granted"));
            }
        }
        // Where a name leads is not the extension's to ask for.
        let leads_there = |granted: &HttpAccess| {
            let names = effective.http.iter().filter(|access| !matches!(access.host, HttpHost::Block(_)));
            matches!(granted.host, HttpHost::Block(_)) && names.clone().any(|name| name.is_at_same_port(granted))
        };
        let addresses: Vec<_> = used.http.find_all(leads_there).cloned().collect();
        effective.http_addresses = addresses;
        grant.unused = used.unused();
        grant
    }
}

/// Whether a pattern covers a name or another pattern: a trailing `*` stands for any ending.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// A path against a base, without `.` and, as far as possible, without `..`; by its text, not by the disk.
pub(super) fn rooted(path: &Path, base: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match plain.components().next_back() {
                Some(Component::Normal(_)) => {
                    plain.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => plain.push(part),
            },
            _ => plain.push(part),
        }
    }
    if plain.as_os_str().is_empty() { ".".into() } else { plain }
}

fn is_within(path: &Path, folder: &Path) -> bool {
    path == folder || (path.is_absolute() && folder.is_absolute() && path.starts_with(folder))
}

fn covers_network(granted: &NetworkAccess, request: &NetworkAccess) -> bool {
    let host = match (&granted.host, &request.host) {
        (NetworkHost::Block(granted), NetworkHost::Block(request)) => granted.contains(request),
        (NetworkHost::Name(granted), NetworkHost::Name(request)) => granted.eq_ignore_ascii_case(request),
        _ => false,
    };
    host && (granted.port.is_none() || granted.port == request.port)
}

fn denied_folder(request: &FileAccess, grants: &Permissions) -> String {
    let readable = grants.files.iter().find(|granted| is_within(&request.host, &granted.host));
    match readable {
        Some(granted) => {
            let folder = granted.host.to_string_lossy();
            format!("files: {request} is not granted: \"{}\" is granted to read only", visible(&folder, 200))
        }
        None => format!("files: {request} is not granted"),
    }
}

impl fmt::Display for FileAccess {
    /// As in `read "/srv/docs" as "/docs"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = if self.write { "write" } else { "read" };
        write!(f, "{access} \"{}\"", visible(&self.host.to_string_lossy(), 200))?;
        if self.guest.is_empty() { Ok(()) } else { write!(f, " as \"{}\"", visible(&self.guest, 200)) }
    }
}

/// Granted items, each with whether a request has used it.
struct Items<'g, T>(Vec<(&'g T, bool)>);

impl<'g, T> Items<'g, T> {
    fn of(items: &'g [T]) -> Self {
        Self(items.iter().map(|item| (item, false)).collect())
    }

    /// Those that cover a request; they are used.
    fn find_all(&mut self, covers: impl Fn(&T) -> bool) -> impl Iterator<Item = &'g T> {
        self.0.iter_mut().filter(move |(item, _)| covers(item)).map(|(item, used)| {
            *used = true;
            *item
        })
    }

    /// Whether one covers a request; all that do are used.
    fn find(&mut self, covers: impl Fn(&T) -> bool) -> bool {
        self.find_all(covers).count() > 0
    }

    fn unused(self) -> impl Iterator<Item = &'g T> {
        self.0.into_iter().filter(|(_, used)| !used).map(|(item, _)| item)
    }
}

struct Used<'g> {
    files: Items<'g, FileAccess>,
    env: Items<'g, String>,
    network: Items<'g, NetworkAccess>,
    http: Items<'g, HttpAccess>,
    call: Items<'g, String>,
    publish: Items<'g, String>,
}

impl<'g> Used<'g> {
    fn of(grants: &'g Permissions) -> Self {
        Self {
            files: Items::of(&grants.files),
            env: Items::of(&grants.env),
            network: Items::of(&grants.network),
            http: Items::of(&grants.http),
            call: Items::of(&grants.call),
            publish: Items::of(&grants.publish),
        }
    }

    fn unused(self) -> Vec<String> {
        let name = |what: &'static str| move |name: &String| format!("{what}: \"{}\"", visible(name, 200));
        let files = self.files.unused().map(|file| format!("files: {file}"));
        let network = self.network.unused().map(|access| format!("network: {access}"));
        let http = self.http.unused().map(|access| format!("http: {access}"));
        files
            .chain(self.env.unused().map(name("env")))
            .chain(network)
            .chain(http)
            .chain(self.call.unused().map(name("call")))
            .chain(self.publish.unused().map(name("publish")))
            .collect()
    }
}
