//! Values as one source gives them, each with where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::keys::Scope;
use super::value::Value;

/// Where an effective value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    BuiltIn,
    /// The extension's manifest, on this line.
    Manifest {
        /// The line.
        line: usize,
    },
    /// The operator's file, under `defaults`.
    Defaults {
        /// The file's label.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
    /// The operator's file, under `extensions.<id>`.
    PerExtension {
        /// The file's label.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
    /// The operator's file, under `host`.
    Host {
        /// The file's label.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// Set while the extension runs.
    Running {
        /// Who did it.
        by: String,
    },
    /// A `--set` flag.
    Flag {
        /// The path that it sets.
        path: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::Manifest { line } => write!(f, "manifest line {line}"),
            Self::Defaults { file, line } => write!(f, "{file} line {line} (defaults)"),
            Self::PerExtension { file, line } => write!(f, "{file} line {line} (extension)"),
            Self::Host { file, line } => write!(f, "{file} line {line}"),
            Self::Environment { variable } => f.write_str(variable),
            Self::Running { by } => write!(f, "set while running, by {by}"),
            Self::Flag { path } => write!(f, "--set {path}"),
        }
    }
}

impl Origin {
    /// The origin of what stands in a file.
    pub(super) fn in_file(scope: Scope, file: &Arc<str>, line: usize) -> Self {
        let file = Arc::clone(file);
        match scope {
            Scope::Manifest => Self::Manifest { line },
            Scope::Extension => Self::PerExtension { file, line },
            Scope::Defaults => Self::Defaults { file, line },
            Scope::Host => Self::Host { file, line },
        }
    }

    /// As the source of a limit: which key where, for a sentence.
    pub(super) fn as_limit(&self, id: &str, key: &str) -> String {
        match self {
            Self::BuiltIn => "the built-in limit".to_owned(),
            Self::Manifest { line } => format!("{key} in the manifest line {line}"),
            Self::Defaults { file, line } => format!("defaults.{key} in {file} line {line}"),
            Self::PerExtension { file, line } => format!("extensions.{id}.{key} in {file} line {line}"),
            Self::Host { file, line } => format!("{key} in {file} line {line}"),
            Self::Environment { variable } => variable.clone(),
            Self::Running { by } => format!("what {by} set"),
            Self::Flag { path } => format!("--set {path}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What one source says about one subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layer {
    /// By the key's path.
    pub(super) values: BTreeMap<&'static str, Entry>,
    /// The `config` table.
    pub(super) config: Leaves,
}

/// A JSON object by its leaves, so that each of them has an origin. A leaf is whatever is not an object, or an object
/// without keys; no leaf lies below another.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Leaves(BTreeMap<Vec<String>, (Json, Origin)>);

impl Leaves {
    /// Sets one leaf; what stands below or above it gives way, but an empty object takes nothing away.
    pub(super) fn set(&mut self, path: Vec<String>, value: Json, origin: Origin) {
        let below: Vec<_> = self
            .0
            .range(path.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&path))
            .cloned()
            .collect();
        let adds_nothing = value.as_object().is_some_and(Map::is_empty) && below.iter().any(|key| *key != path);
        if adds_nothing {
            return;
        }
        for key in below {
            self.0.remove(&key);
        }
        for length in 1..path.len() {
            self.0.remove(&path[..length]);
        }
        self.0.insert(path, (value, origin));
    }

    /// Sets all leaves of another.
    pub(super) fn overlay(&mut self, other: &Self) {
        for (path, (value, origin)) in &other.0 {
            self.set(path.clone(), value.clone(), origin.clone());
        }
    }

    /// The leaves in the order of their paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[String], &Json, &Origin)> {
        self.0.iter().map(|(path, (value, origin))| (path.as_slice(), value, origin))
    }

    /// The object.
    pub(super) fn to_json(&self) -> Map<String, Json> {
        let mut root = Map::new();
        for (path, value, _) in self.iter() {
            let Some((last, folders)) = path.split_last() else { continue };
            let mut object = Some(&mut root);
            for name in folders {
                object = object
                    .and_then(|object| object.entry(name.clone()).or_insert_with(|| Map::new().into()).as_object_mut());
            }
            if let Some(object) = object {
                object.insert(last.clone(), value.clone());
            }
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(leaves: &[(&str, &str)], expect: &str) {
        let mut all = Leaves::default();
        for (path, json) in leaves {
            let path = path.split('.').map(str::to_owned).collect();
            all.set(path, serde_json::from_str(json).expect("JSON"), Origin::BuiltIn);
        }
        assert_eq!(Json::from(all.to_json()).to_string(), expect, "{leaves:?}");
    }

    #[test]
    fn later_leaves_overlay_earlier_ones_key_by_key() {
        check(&[("a.b", "1"), ("a.c", "2"), ("a.b", "3")], r#"{"a":{"b":3,"c":2}}"#);
        check(&[("a.b", "1"), ("a.c", "2"), ("a", "4")], r#"{"a":4}"#);
        check(&[("a", "4"), ("a.b.c", "1")], r#"{"a":{"b":{"c":1}}}"#);
        check(&[("a.b", "1"), ("a", "{}")], r#"{"a":{"b":1}}"#);
        check(&[("a", "[1]"), ("a", "{}")], r#"{"a":{}}"#);
        check(&[("a", "{}"), ("a.b", "1")], r#"{"a":{"b":1}}"#);
        check(&[("a", "1"), ("ab", "2"), ("a", "3")], r#"{"a":3,"ab":2}"#);
    }
}
