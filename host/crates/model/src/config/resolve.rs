//! Puts all layers together: the values in effect, each with its origin.

use std::path::Path;

use super::grant::Grant;
use super::keys::{Cap, KEYS, Key, Slot};
use super::layer::{Entry, Layer, Leaves, Origin};
use super::manifest::take_permissions;
use super::value::Value;
use super::{HostSettings, Manifest, OperatorConfig};
use crate::ExtensionId;
use crate::settings::{Permissions, Settings};
use crate::text::visible;

/// All that the operator says. Flags go over environment variables, these over the file, all of it; within each, what is
/// said of one extension goes over the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// From `glasshouse.toml`.
    pub file: OperatorConfig,
    /// From environment variables.
    pub environment: OperatorConfig,
    /// From `--set` flags.
    pub flags: OperatorConfig,
    /// From OpenTelemetry's variables, which many programs are told by: all others go over it, and it has no say where another one names a place to push to,
    /// so that what is meant for one place, such as a secret, is not sent to another.
    pub ambient: OperatorConfig,
}

/// What holds for one extension.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The values in effect.
    pub settings: Settings,
    /// Whether the extension is loaded at all.
    pub enabled: bool,
    /// What of its requests was granted; `settings.permissions` is the effective part of it.
    pub grant: Grant,
    /// Every key with its value and origin, in the order of the reference.
    pub origins: Vec<Setting>,
}

/// What holds for the host.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedHost {
    /// The values in effect.
    pub settings: HostSettings,
    /// Every key with its value and origin.
    pub origins: Vec<Setting>,
}

/// One effective value, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The key's path, such as `budget.deadline`.
    pub key: String,
    /// The value in effect.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What else to know, such as a request that was capped.
    pub note: Option<String>,
}

impl Setting {
    pub(super) fn new(key: &Key, value: &Value, origin: Origin) -> Self {
        Self { key: key.path.to_owned(), value: value.to_string(), origin, note: None }
    }
}

impl Layers {
    /// What holds for an extension. Its manifest may lower budgets and choose how it is watched where the operator does
    /// not; `folder` is the extension's, against which the manifest's relative paths are resolved.
    pub fn resolve(&self, manifest: &Manifest, folder: &Path) -> Resolved {
        let id = &manifest.id;
        let (grants, granted_by) = self.grants(id);
        let grant = manifest.permissions.rooted(folder).granted(&grants);
        let mut resolved = Resolved {
            settings: Settings { permissions: grant.effective.clone(), ..Settings::default() },
            enabled: true,
            grant,
            origins: Vec::new(),
        };
        for key in KEYS {
            let setting = match key.slot {
                Slot::Settings(slot) => {
                    let default = slot(&mut resolved.settings).get();
                    let (entry, note) =
                        effective(key, id, self.operator(id, key), manifest.layer.values.get(key.path), default);
                    slot(&mut resolved.settings).set(&entry.value);
                    Setting { note, ..Setting::new(key, &entry.value, entry.origin) }
                }
                Slot::Elsewhere if key.path == "enabled" => {
                    let entry = self.operator(id, key);
                    resolved.enabled = entry.is_none_or(|entry| entry.value == Value::Switch(true));
                    let origin = entry.map_or(Origin::BuiltIn, |entry| entry.origin.clone());
                    Setting::new(key, &Value::Switch(resolved.enabled), origin)
                }
                Slot::Elsewhere if key.path.starts_with("permissions.") => {
                    let origin = granted_by.values.get(key.path).map_or(Origin::BuiltIn, |entry| entry.origin.clone());
                    permission(key, &resolved.grant, origin)
                }
                _ => continue,
            };
            resolved.origins.push(setting);
        }
        let mut config = Leaves::default();
        let layers =
            [&self.file, &self.environment, &self.flags].into_iter().filter_map(|layer| layer.extensions.get(id));
        for layer in std::iter::once(&manifest.layer).chain(layers) {
            config.overlay(&layer.config);
        }
        resolved.settings.config = config.to_json();
        resolved.origins.extend(config.iter().map(|(path, value, origin)| Setting {
            key: format!("config.{}", visible(&path.join("."), 200)),
            value: visible(&value.to_string(), 200).into_owned(),
            origin: origin.clone(),
            note: None,
        }));
        resolved
    }

    /// What holds for the host.
    pub fn host(&self) -> ResolvedHost {
        let mut host = ResolvedHost { settings: HostSettings::default(), origins: Vec::new() };
        let names_place = |layer: &OperatorConfig| layer.host.values.keys().any(|key| is_endpoint(key));
        let ambient = Some(&self.ambient).filter(|_| !self.highest_first().any(names_place));
        for key in KEYS {
            let Slot::Host(slot) = key.slot else { continue };
            let mut layers = self.highest_first().chain(ambient);
            let entry = layers.find_map(|layer| layer.host.values.get(key.path));
            if let Some(entry) = entry {
                slot(&mut host.settings).set(&entry.value);
            }
            let origin = entry.map_or(Origin::BuiltIn, |entry| entry.origin.clone());
            host.origins.push(Setting::new(key, &slot(&mut host.settings).get(), origin));
        }
        host
    }

    fn highest_first(&self) -> impl Iterator<Item = &OperatorConfig> {
        [&self.flags, &self.environment, &self.file].into_iter()
    }

    /// What the operator says of a key for an extension.
    fn operator(&self, id: &ExtensionId, key: &Key) -> Option<&Entry> {
        self.highest_first().find_map(|layer| {
            let own = layer.extensions.get(id).and_then(|layer| layer.values.get(key.path));
            own.or_else(|| layer.defaults.values.get(key.path))
        })
    }

    /// What the operator grants an extension, and the layer of it. Of each kind, the list of the highest layer holds.
    fn grants(&self, id: &ExtensionId) -> (Permissions, Layer) {
        let mut layer = Layer::default();
        for key in KEYS.iter().filter(|key| key.path.starts_with("permissions.")) {
            if let Some(entry) = self.operator(id, key) {
                layer.values.insert(key.path, entry.clone());
            }
        }
        // Folders are rooted once more, since a caller may have left out `based_at`.
        (take_permissions(&mut layer.clone()).rooted(Path::new("")), layer)
    }
}

/// Whether a key says where to push to.
fn is_endpoint(key: &str) -> bool {
    key.strip_prefix("otlp.").is_some_and(|key| key.ends_with("endpoint"))
}

/// The value in effect, and what is to be said about it.
pub(super) fn effective(
    key: &Key,
    id: &ExtensionId,
    operator: Option<&Entry>,
    manifest: Option<&Entry>,
    default: Value,
) -> (Entry, Option<String>) {
    let built_in = Entry { value: default, origin: Origin::BuiltIn };
    let Some(asked) = manifest else { return (operator.cloned().unwrap_or(built_in), None) };
    if key.cap == Cap::Free {
        return (operator.unwrap_or(asked).clone(), None);
    }
    let limit = operator.unwrap_or(&built_in);
    if let (Cap::Adds, Value::Texts(own), Value::Texts(added)) = (key.cap, &limit.value, &asked.value) {
        return sum(own, added, limit, asked);
    }
    let (value, by) = (&asked.value, limit.origin.as_limit(id.as_str(), key.path));
    let stricter = match (key.cap, order(value, &limit.value)) {
        (Cap::AtMost, order) => order.is_lt(),
        (_, order) => order.is_gt(),
    };
    if stricter {
        let note = operator.map(|limit| format!("stricter than {} by {by}", limit.value));
        (asked.clone(), note)
    } else if *value == limit.value {
        (limit.clone(), None)
    } else {
        let verb = if key.cap == Cap::AtMost { "capped" } else { "kept" };
        (limit.clone(), Some(format!("manifest asked {value}, {verb} by {by}")))
    }
}

/// The operator's items and those that the manifest adds.
fn sum(own: &[String], added: &[String], operator: &Entry, manifest: &Entry) -> (Entry, Option<String>) {
    let new: Vec<_> = added.iter().filter(|item| !own.contains(item)).cloned().collect();
    if new.is_empty() {
        return (operator.clone(), None);
    }
    let note = (!own.is_empty()).then(|| format!("{} added to those of {}", new.len(), operator.origin));
    let value = Value::Texts(own.iter().cloned().chain(new).collect());
    (Entry { value, origin: manifest.origin.clone() }, note)
}

/// The order of two values of one kind that has an order.
fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) | (Value::Size(a), Value::Size(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.total_cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Switch(a), Value::Switch(b)) => a.cmp(b),
        (Value::Metering(a), Value::Metering(b)) => a.cmp(b),
        (Value::SlowCall(a), Value::SlowCall(b)) => a.cmp(b),
        _ => std::cmp::Ordering::Equal,
    }
}

fn permission(key: &Key, grant: &Grant, origin: Origin) -> Setting {
    let effective = &grant.effective;
    let kind = key.path.strip_prefix("permissions.").unwrap_or_default();
    let value = match kind {
        "files" => Value::Files(effective.files.clone()),
        "env" => Value::Texts(effective.env.clone()),
        "network" => Value::Network(effective.network.clone()),
        "http" => Value::Origins(effective.http.clone()),
        "call" => Value::Texts(effective.call.clone()),
        _ => Value::Texts(effective.publish.clone()),
    };
    let start = format!("{kind}: ");
    let denied: Vec<_> = grant.denied.iter().filter_map(|line| line.strip_prefix(&start)).collect();
    let note = (!denied.is_empty()).then(|| denied.join("; "));
    Setting { note, ..Setting::new(key, &value, origin) }
}
