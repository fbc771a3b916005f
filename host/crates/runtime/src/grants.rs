//! Turns an extension's permissions into what WASI gives it: nothing else can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use glasshouse_model::Digest;
use glasshouse_model::settings::{FileAccess, NetworkAccess, NetworkHost, Permissions};
use ipnet::IpNet;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use crate::denials::{Denials, Denied, DeniedBy};
use crate::determinism::{Determinism, GuestClock};
use crate::stdio::{Stdio, Stream};

/// Random bytes that a guest gets at once; `getrandom` asks for 256 at most.
const RANDOM_BYTES: u64 = 4 * 1024;

/// How often opening a folder is tried while others rename files; a renaming takes microseconds.
const OPEN_ATTEMPTS: u32 = 100;

/// A permission that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// A folder that was granted cannot be opened.
    #[error("permissions.files: cannot open {host} for the guest's {guest}: {cause}")]
    Folder {
        /// The host's folder.
        host: String,
        /// Where the guest would see it.
        guest: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A name that was granted has no addresses.
    #[error("permissions.network: cannot look up \"{name}\": {cause}")]
    Lookup {
        /// The host name.
        name: String,
        /// What the resolver said.
        cause: std::io::Error,
    },
}

/// The addresses that an instance may reach: names are looked up once, so that a changed answer gives nothing new.
#[derive(Default)]
pub(crate) struct Reachable {
    rules: Vec<(IpNet, Option<u16>)>,
    /// By name in lower case.
    names: BTreeMap<String, Vec<IpAddr>>,
}

impl Reachable {
    /// Whether there are names to look up.
    pub(crate) fn has_names(network: &[NetworkAccess]) -> bool {
        network.iter().any(|access| matches!(access.host, NetworkHost::Name(_)))
    }

    /// Looks up names; blocks while it does.
    pub(crate) fn resolve(network: &[NetworkAccess]) -> Result<Self, GrantError> {
        Self::resolve_by(network, |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    fn resolve_by(
        network: &[NetworkAccess],
        mut look_up: impl FnMut(&str) -> io::Result<BTreeSet<IpAddr>>,
    ) -> Result<Self, GrantError> {
        let mut reachable = Self::default();
        for access in network {
            match &access.host {
                NetworkHost::Block(block) => reachable.rules.push((*block, access.port)),
                NetworkHost::Name(name) => {
                    let found = look_up(name).map_err(|cause| GrantError::Lookup { name: name.clone(), cause })?;
                    reachable.rules.extend(found.iter().map(|address| (IpNet::from(*address), access.port)));
                    reachable.names.insert(name.to_ascii_lowercase(), found.into_iter().collect());
                }
            }
        }
        Ok(reachable)
    }

    /// The addresses of a name that was granted.
    pub(crate) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.names.get(&name.to_ascii_lowercase()).cloned()
    }

    fn allows(&self, address: SocketAddr, use_: SocketAddrUse) -> bool {
        // Every connection begins with a bind of the own end, to any address and port; listening is never granted.
        match use_ {
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => return false,
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                return address.ip().is_unspecified() && address.port() == 0;
            }
            _ => {}
        }
        // An IPv4 address in IPv6 clothing is the IPv4 address.
        let ip = match address.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        self.rules.iter().any(|(block, port)| block.contains(&ip) && port.is_none_or(|port| port == address.port()))
    }
}

/// Makes an instance's WASI context. What a guest does with files and sockets that it was not granted is denied, and told.
/// Variables cannot be denied: a guest gets all that were granted to it at once, and never asks for one by its name.
/// `fixed` is for an instance whose runs are to be alike.
pub(crate) fn wasi(
    permissions: &Permissions,
    reachable: &Arc<Reachable>,
    stdio: &Stdio,
    denials: &Denials,
    component: &Digest,
    fixed: Option<(Determinism, &GuestClock)>,
) -> Result<WasiCtx, GrantError> {
    let mut builder = WasiCtxBuilder::new();
    // What seeds a guest's hash tables: the same on every run, so that the same input burns the same fuel.
    let seed = component.0.first_chunk().copied().unwrap_or_default();
    builder.insecure_random_seed(u128::from_le_bytes(seed));
    if let Some((determinism, clock)) = fixed {
        determinism.apply(&mut builder, clock);
    }
    builder.stdout(stdio.stream(Stream::Out)).stderr(stdio.stream(Stream::Error)).max_random_size(RANDOM_BYTES);
    for name in &permissions.env {
        if let Ok(value) = std::env::var(name) {
            builder.env(name, value);
        }
    }
    for folder in &permissions.files {
        let access = if folder.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        open(folder)
            .and_then(|opened| {
                // WASI takes paths only; this one stands for the open folder, whatever has happened to its name.
                let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
                builder.preopened_dir(path, &folder.guest, access).map_err(io::Error::other)?;
                Ok(())
            })
            .map_err(|cause| GrantError::Folder {
                host: folder.host.display().to_string(),
                guest: folder.guest.clone(),
                cause,
            })?;
    }
    let networked = !permissions.network.is_empty();
    builder.allow_tcp(networked).allow_udp(networked);
    let (reachable, stdio, denials) = (Arc::clone(reachable), stdio.clone(), denials.clone());
    builder.socket_addr_check(move |address, use_| {
        let allowed = reachable.allows(address, use_);
        if !allowed && let Some(operation) = operation(use_) {
            let target = address.to_string();
            let denied = Denied { by: DeniedBy::Grants, permission: "network", operation, target: &target };
            denials.tell(denied, |level, message, fields| stdio.host_log(level, message, fields));
        }
        Box::pin(std::future::ready(allowed))
    });
    Ok(builder.build())
}

/// What a guest does with an address. What others send to it is none of its doing.
fn operation(use_: SocketAddrUse) -> Option<&'static str> {
    match use_ {
        SocketAddrUse::TcpConnect => Some("tcp-connect"),
        SocketAddrUse::TcpBind => Some("tcp-bind"),
        SocketAddrUse::TcpListen => Some("tcp-listen"),
        SocketAddrUse::UdpBind => Some("udp-bind"),
        SocketAddrUse::UdpSend => Some("udp-send"),
        SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive => None,
    }
}

/// Opens a granted folder. The way to its root is the operator's; from there on symbolic links are followed only as long as
/// they stay below the root, since a guest with a writable folder there may have made them after the start.
fn open(folder: &FileAccess) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&folder.root, flags, Mode::empty())?;
    let Ok(rest) = folder.host.strip_prefix(&folder.root) else {
        return Err(io::Error::other(format!("it is not within the granted folder {}", folder.root.display())));
    };
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    let told = |error| match error {
        Errno::XDEV => io::Error::other(format!(
            "a symbolic link on its path is absolute or leads out of the granted folder {}",
            folder.root.display()
        )),
        Errno::NOSYS | Errno::PERM => {
            io::Error::other("the system refuses openat2, which Linux has from version 5.6 on")
        }
        other => other.into(),
    };
    // The kernel asks to try again if anything was renamed meanwhile, anywhere on the machine.
    for _ in 1..OPEN_ATTEMPTS {
        match rustix::fs::openat2(&root, rest, flags, Mode::empty(), ResolveFlags::BENEATH) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.map_err(told),
        }
    }
    rustix::fs::openat2(&root, rest, flags, Mode::empty(), ResolveFlags::BENEATH).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[(&str, Option<u16>)], address: &str, use_: SocketAddrUse, expect: bool) {
        let rules = rules.iter().map(|(block, port)| (block.parse().expect("a block"), *port)).collect();
        let address = address.parse().expect("an address");
        assert_eq!(Reachable { rules, ..Reachable::default() }.allows(address, use_), expect, "{address}");
    }

    #[test]
    fn only_granted_addresses_are_reached() {
        let rules = [("10.0.0.0/8", Some(443)), ("::1/128", None)];
        check(&rules, "10.1.2.3:443", SocketAddrUse::TcpConnect, true);
        check(&rules, "[::ffff:10.1.2.3]:443", SocketAddrUse::TcpConnect, true);
        check(&rules, "10.1.2.3:80", SocketAddrUse::TcpConnect, false);
        check(&rules, "11.1.2.3:443", SocketAddrUse::TcpConnect, false);
        check(&rules, "[::1]:80", SocketAddrUse::UdpSend, true);
        check(&rules, "[::1]:80", SocketAddrUse::TcpListen, false);
        check(&rules, "127.0.0.1:80", SocketAddrUse::TcpBind, false);
        check(&rules, "[::1]:5353", SocketAddrUse::UdpBind, false);
        check(&rules, "[::1]:0", SocketAddrUse::TcpBind, false);
        check(&[("0.0.0.0/0", None)], "0.0.0.0:5353", SocketAddrUse::UdpBind, false);
        check(&[("0.0.0.0/0", None)], "10.1.2.3:443", SocketAddrUse::UdpBind, false);
        check(&rules, "0.0.0.0:0", SocketAddrUse::UdpBind, true);
        check(&[], "127.0.0.1:80", SocketAddrUse::TcpConnect, false);
    }

    #[test]
    fn a_names_addresses_are_those_of_its_one_lookup() {
        let answers = [["192.0.2.1", "2001:db8::1"], ["192.0.2.2", "192.0.2.3"]];
        let mut answers = answers.iter().map(|found| found.map(|ip| ip.parse::<IpAddr>().expect("an address")));
        let mut asked = Vec::new();
        let network: Vec<NetworkAccess> =
            ["Db.Example:5432", "10.0.0.0/8"].map(|access| access.parse().expect("an address")).into();
        let reachable = Reachable::resolve_by(&network, |name| {
            asked.push(name.to_owned());
            Ok(answers.next().expect("it is asked once").into())
        });
        let reachable = reachable.expect("it has addresses");
        assert_eq!(asked.len(), 1, "{asked:?}");
        let to = |address: &str| reachable.allows(address.parse().expect("an address"), SocketAddrUse::TcpConnect);
        for _ in 0..2 {
            let pinned = reachable.addresses("DB.example").expect("it was granted");
            assert_eq!(pinned, ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
            assert!(to("192.0.2.1:5432") && to("[2001:db8::1]:5432") && to("10.0.0.1:80"));
            assert!(!to("192.0.2.2:5432") && !to("192.0.2.1:80"), "another answer, and another port");
        }
        assert_eq!(reachable.addresses("other.example"), None);
        let failed = Reachable::resolve_by(&network, |_| Err(io::Error::other("no such name"))).err();
        assert!(failed.is_some_and(|error| error.to_string().to_lowercase().contains("look up \"db.example\"")));
    }

    #[test]
    fn a_link_that_is_put_in_a_granted_folders_place_leads_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        let host = root.join("a/b");
        std::fs::create_dir_all(&host).expect("making folders");
        std::fs::create_dir_all(outside.join("b")).expect("making folders");
        let access =
            |root: &Path| FileAccess { host: host.clone(), root: root.into(), guest: "/g".into(), write: false };
        open(&access(&root)).expect("it opens");
        open(&access(&host)).expect("it opens as its own root");

        std::fs::rename(root.join("a"), root.join("old")).expect("moving a folder");
        std::os::unix::fs::symlink("old", root.join("a")).expect("linking a folder");
        open(&access(&root)).expect("a link that stays inside is followed");
        for target in ["../outside".into(), outside] {
            std::fs::remove_file(root.join("a")).expect("removing a link");
            std::os::unix::fs::symlink(target, root.join("a")).expect("linking a folder");
            let refused = open(&access(&root)).expect_err("it leads out").to_string();
            assert!(refused.contains("leads out of the granted folder"), "{refused}");
            open(&access(&host)).expect("the operator's own path may have links");
        }
        assert!(open(&access(Path::new("/proc"))).is_err(), "a root elsewhere");
    }
}
