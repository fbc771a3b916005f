//! What a configuration key is: what it takes, where it may stand, and which field of the settings it sets.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use super::HostSettings;
use super::otlp::Secrets;
use super::value::{Kind, Value};
use crate::Level;
use crate::settings::{Metering, Settings, SlowCall};

/// Where a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In an extension's manifest.
    Manifest,
    /// In the operator's configuration, under `extensions.<id>`.
    Extension,
    /// In the operator's configuration, under `defaults`.
    Defaults,
    /// In the operator's configuration, by itself.
    Host,
}

/// A configuration key.
#[derive(Debug)]
pub struct Key {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) meaning: &'static str,
    pub(super) scopes: &'static [Scope],
    pub(super) cap: Cap,
    pub(super) slot: Slot,
    /// Whether it is read once, when the extension starts.
    pub(super) at_start: bool,
    /// Whether it is taken and has no effect so far.
    pub(super) is_not_yet: bool,
}

/// How far a manifest may move a value from the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cap {
    /// As it likes, where the operator says nothing.
    Free,
    /// Down only.
    AtMost,
    /// Up only; a switch: on only.
    AtLeast,
    /// Its items are added to the operator's.
    Adds,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Settings(for<'a> fn(&'a mut Settings) -> Target<'a>),
    Host(for<'a> fn(&'a mut HostSettings) -> Target<'a>),
    Elsewhere,
}

/// A field of the settings.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Switch(&'a mut bool),
    Long(&'a mut u64),
    Int(&'a mut u32),
    Count(&'a mut usize),
    Number(&'a mut f64),
    Duration(&'a mut Duration),
    SlowCall(&'a mut SlowCall),
    Size(&'a mut u64),
    Level(&'a mut Level),
    Metering(&'a mut Metering),
    Path(&'a mut Option<PathBuf>),
    Text(&'a mut String),
    Texts(&'a mut Vec<String>),
    Secrets(&'a mut Secrets),
}

impl Target<'_> {
    /// Stores a value of the field's kind; the bounds in the table see to it that it fits.
    pub(super) fn set(self, value: &Value) {
        match (self, value) {
            (Self::Switch(field), Value::Switch(value)) => *field = *value,
            (Self::Long(field), Value::Integer(value)) | (Self::Size(field), Value::Size(value)) => *field = *value,
            (Self::Int(field), Value::Integer(value)) => *field = u32::try_from(*value).unwrap_or(u32::MAX),
            (Self::Count(field), Value::Integer(value)) => *field = usize::try_from(*value).unwrap_or(usize::MAX),
            (Self::Number(field), Value::Number(value)) => *field = *value,
            (Self::Duration(field), Value::Duration(value)) => *field = *value,
            (Self::SlowCall(field), Value::SlowCall(value)) => *field = *value,
            (Self::Level(field), Value::Level(value)) => *field = *value,
            (Self::Metering(field), Value::Metering(value)) => *field = *value,
            (Self::Path(field), Value::Path(value)) => *field = Some(value.clone()),
            (Self::Text(field), Value::Text(value)) => field.clone_from(value),
            (Self::Texts(field), Value::Texts(value)) => field.clone_from(value),
            (Self::Secrets(field), Value::Secrets(value)) => field.clone_from(value),
            (target, value) => debug_assert!(false, "{target:?} takes no {value:?}"),
        }
    }

    /// What the field holds.
    pub(super) fn get(self) -> Value {
        match self {
            Self::Switch(field) => Value::Switch(*field),
            Self::Long(field) => Value::Integer(*field),
            Self::Int(field) => Value::Integer(u64::from(*field)),
            Self::Count(field) => Value::Integer(*field as u64),
            Self::Number(field) => Value::Number(*field),
            Self::Duration(field) => Value::Duration(*field),
            Self::SlowCall(field) => Value::SlowCall(*field),
            Self::Size(field) => Value::Size(*field),
            Self::Level(field) => Value::Level(*field),
            Self::Metering(field) => Value::Metering(*field),
            Self::Path(field) => Value::Path(field.clone().unwrap_or_default()),
            Self::Text(field) => Value::Text(field.clone()),
            Self::Texts(field) => Value::Texts(field.clone()),
            Self::Secrets(field) => Value::Secrets(field.clone()),
        }
    }
}

pub(super) const fn key(path: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        meaning,
        scopes: &[Scope::Manifest],
        cap: Cap::Free,
        slot: Slot::Elsewhere,
        at_start: false,
        is_not_yet: false,
    }
}

/// The sections whose keys can be changed while an extension runs, but for those that are marked.
const LIVE_SECTIONS: [&str; 2] = ["budget.", "debugging."];
const EVERYWHERE: &[Scope] = &[Scope::Manifest, Scope::Defaults, Scope::Extension];

impl Key {
    pub(super) const fn host(mut self, slot: for<'a> fn(&'a mut HostSettings) -> Target<'a>) -> Self {
        self.scopes = &[Scope::Host];
        self.slot = Slot::Host(slot);
        self
    }

    pub(super) const fn setting(mut self, cap: Cap, slot: for<'a> fn(&'a mut Settings) -> Target<'a>) -> Self {
        self.scopes = EVERYWHERE;
        self.cap = cap;
        self.slot = Slot::Settings(slot);
        self
    }

    pub(super) const fn setting_of_operator(mut self, slot: for<'a> fn(&'a mut Settings) -> Target<'a>) -> Self {
        self.scopes = &[Scope::Defaults, Scope::Extension];
        self.slot = Slot::Settings(slot);
        self
    }

    /// Marks a key of a live section that is read once, when the extension starts.
    pub(super) const fn at_start(mut self) -> Self {
        self.at_start = true;
        self
    }

    /// Marks a key that is taken and has no effect so far.
    pub(super) const fn not_yet(mut self) -> Self {
        self.is_not_yet = true;
        self
    }

    pub(super) const fn granted(mut self) -> Self {
        self.scopes = &[Scope::Manifest, Scope::Extension];
        self
    }

    pub(super) const fn operator(mut self) -> Self {
        self.scopes = &[Scope::Extension];
        self
    }

    /// The key with its section, such as `budget.deadline`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What it takes, in words.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// The default as text; empty where there is none.
    pub fn default_text(&self) -> &'static str {
        self.default
    }

    /// What it means, unit included.
    pub fn meaning(&self) -> Cow<'static, str> {
        if self.is_not_yet { format!("{} Not yet in effect.", self.meaning).into() } else { self.meaning.into() }
    }

    /// What to tell who sets it, where that changes nothing.
    pub(super) fn note(&self) -> Option<String> {
        self.is_not_yet.then(|| "not yet in effect: it is taken, and changes nothing so far".to_owned())
    }

    /// Where it may stand.
    pub fn scopes(&self) -> &'static [Scope] {
        self.scopes
    }

    /// Whether a change takes effect while the extension runs.
    pub fn is_live(&self) -> bool {
        !self.at_start && LIVE_SECTIONS.iter().any(|section| self.path.starts_with(section))
    }

    /// The least and the most that it takes, as text, where there are such bounds.
    pub fn bounds(&self) -> Option<(String, String)> {
        self.kind.bounds().map(|(least, most)| (least.to_string(), most.to_string()))
    }

    /// A value of the right kind, as one would write it in TOML.
    pub(super) fn example(&self) -> String {
        let quoted = matches!(
            self.kind,
            Kind::Duration { .. } | Kind::SlowCall { .. } | Kind::Size { .. } | Kind::Level | Kind::Metering
        );
        match self.kind.example() {
            Some(example) => example.to_owned(),
            None if quoted => format!("\"{}\"", self.default),
            None => self.default.to_owned(),
        }
    }
}
