//! Overrides that debug sessions lay over an extension's settings for a while: what is in force, given the settings beneath,
//! the sessions and the time. A value without I/O and without a clock.

use super::Manifest;
use super::assign::{AssignError, assign};
use super::key::{Key, Slot};
use super::keys::KEYS;
use super::value::Value;
use crate::SessionId;
use crate::settings::Settings;
use crate::text::visible;

/// Layers over one extension's settings at once: a person can hardly tell more apart, and each is gone through at each change.
pub const LAYERS: usize = 4;

/// The section whose keys can be overridden: they change what is stored, and never what an extension may use or do.
const SECTION: &str = "debugging";
/// What is no section of the table of keys, but of the configuration.
const CONFIG: &str = "config";

/// A value that takes the place of a key's for a while.
#[derive(Clone, Debug)]
pub struct Override {
    key: &'static Key,
    value: Value,
    note: Option<String>,
}

impl Override {
    /// The key's path, such as `debugging.log_level`.
    pub fn key(&self) -> &'static str {
        self.key.path
    }

    /// The value, as text.
    pub fn value(&self) -> String {
        self.value.to_string()
    }

    /// What else to know, such as a manifest that is stricter than what was asked for.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Why values cannot override others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// There is no such key, it takes no such value, or it is read only at the start.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The key is one of another section.
    #[error("\"{0}\" is no key of {SECTION}: a debug session overrides only those, such as {SECTION}.log_level")]
    OtherSection(String),
    /// A key has two values.
    #[error("{0} has two values: name it once")]
    Twice(&'static str),
    /// There is no value at all.
    #[error("nothing is overridden: name at least one key and its value, such as {SECTION}.log_level=trace")]
    Nothing,
}

/// Reads values such as `("log_level", "trace")`; a key of `[debugging]` may be written without its section. What the manifest asks
/// for in stricter terms stays in force, and is noted.
pub fn read_overrides<'a>(
    manifest: &Manifest,
    beneath: &Settings,
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
    by: &str,
) -> Result<Vec<Override>, OverrideError> {
    let mut named = Vec::new();
    for (name, value) in values {
        named.push((full_name(name)?, value));
    }
    for (index, (name, _)) in named.iter().enumerate() {
        let twice = KEYS.iter().find(|key| key.path == name && named[..index].iter().any(|(other, _)| other == name));
        if let Some(key) = twice {
            return Err(OverrideError::Twice(key.path));
        }
    }
    let named = named.iter().map(|(name, value)| (name.as_str(), *value));
    let mut assigned = assign(manifest, beneath, named, by)?;
    let mut overrides = Vec::new();
    for setting in assigned.set {
        let Some(key) = KEYS.iter().find(|key| key.path == setting.key) else { continue };
        if let Slot::Settings(slot) = key.slot {
            overrides.push(Override { key, value: slot(&mut assigned.settings).get(), note: setting.note });
        }
    }
    if overrides.is_empty() { Err(OverrideError::Nothing) } else { Ok(overrides) }
}

/// A key's path, with its section.
fn full_name(name: &str) -> Result<String, OverrideError> {
    let section = name.split_once('.').map(|(section, _)| section);
    match section {
        Some(SECTION) => Ok(name.to_owned()),
        Some(other)
            if other == CONFIG
                || KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(own, _)| own == other)) =>
        {
            Err(OverrideError::OtherSection(visible(name, 80).into_owned()))
        }
        _ => Ok(format!("{SECTION}.{name}")),
    }
}

/// Settings, and what lies over them for a while.
#[derive(Clone, Debug)]
pub struct Overlay {
    beneath: Settings,
    /// In the order in which they were laid.
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    id: SessionId,
    overrides: Vec<Override>,
    /// When it is to be lifted, by a clock of the owner's.
    ends_at: u64,
}

/// What has become of an override of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It is in force.
    InForce,
    /// A later layer overrides the key as well.
    Under(SessionId),
    /// The key was set since, beneath, and keeps that value.
    SetSince,
}

impl Overlay {
    /// Settings with nothing over them.
    pub fn new(beneath: Settings) -> Self {
        Self { beneath, layers: Vec::new() }
    }

    /// What would be in force without any layer.
    pub fn beneath(&self) -> &Settings {
        &self.beneath
    }

    /// What is in force: of the layers that have a key, the one that was laid last counts.
    pub fn in_force(&self) -> Settings {
        let mut settings = self.beneath.clone();
        for over in self.layers.iter().flat_map(|layer| &layer.overrides) {
            if let Slot::Settings(slot) = over.key.slot {
                slot(&mut settings).set(&over.value);
            }
        }
        settings
    }

    /// Lays a layer over all that is there, and tells whether there was room for it, as there is for [`LAYERS`].
    #[must_use = "without room nothing is overridden"]
    pub fn lay(&mut self, id: SessionId, overrides: Vec<Override>, ends_at: u64) -> bool {
        let has_room = self.layers.len() < LAYERS;
        if has_room {
            self.layers.push(Layer { id, overrides, ends_at });
        }
        has_room
    }

    /// Takes a layer away, and tells whether it was there.
    pub fn lift(&mut self, id: SessionId) -> bool {
        let before = self.layers.len();
        self.layers.retain(|layer| layer.id != id);
        self.layers.len() < before
    }

    /// Puts other settings beneath. Whichever keys are said to be named have their new value at once and keep it: no layer overrides
    /// them any more. All others are overridden as before.
    pub fn settle(&mut self, beneath: Settings, is_named: impl Fn(&str) -> bool) {
        self.beneath = beneath;
        for layer in &mut self.layers {
            layer.overrides.retain(|over| !is_named(over.key.path));
        }
    }

    /// What would be beneath if `asked` were to be in force from now on, and the keys that this sets: those that differ from what
    /// is in force. A key that has its overridden value in `asked` is not set by that.
    pub fn asked_for(&self, asked: Settings) -> (Settings, Vec<&'static str>) {
        let (mut in_force, mut beneath, mut wanted) = (self.in_force(), self.beneath.clone(), asked);
        let mut named = Vec::new();
        for key in KEYS {
            let Slot::Settings(slot) = key.slot else { continue };
            let value = slot(&mut wanted).get();
            if value != slot(&mut in_force).get() {
                slot(&mut beneath).set(&value);
                named.push(key.path);
            }
        }
        (beneath.permissions, beneath.config) = (wanted.permissions, wanted.config);
        (beneath, named)
    }

    /// The layers whose time is over, in the order in which it was.
    pub fn over(&self, now: u64) -> Vec<SessionId> {
        let mut over: Vec<_> = self.layers.iter().filter(|layer| layer.ends_at <= now).collect();
        over.sort_by_key(|layer| layer.ends_at);
        over.iter().map(|layer| layer.id).collect()
    }

    /// When the time of the next layer is over.
    pub fn next_end(&self) -> Option<u64> {
        self.layers.iter().map(|layer| layer.ends_at).min()
    }

    /// When the time of a layer is over, if it is there.
    pub fn ends_at(&self, id: SessionId) -> Option<u64> {
        self.layers.iter().find(|layer| layer.id == id).map(|layer| layer.ends_at)
    }

    /// The layer whose value of a key is in force; `None` if that is the one beneath.
    pub fn holder(&self, key: &str) -> Option<SessionId> {
        let holds = |layer: &&Layer| layer.overrides.iter().any(|over| over.key.path == key);
        self.layers.iter().rev().find(holds).map(|layer| layer.id)
    }

    /// What has become of the override of a key by a layer that is there.
    pub fn holding(&self, id: SessionId, key: &str) -> Holding {
        let layer = self.layers.iter().find(|layer| layer.id == id);
        let has = layer.is_some_and(|layer| layer.overrides.iter().any(|over| over.key.path == key));
        match self.holder(key) {
            Some(holder) if has && holder != id => Holding::Under(holder),
            Some(_) if has => Holding::InForce,
            _ => Holding::SetSince,
        }
    }
}
