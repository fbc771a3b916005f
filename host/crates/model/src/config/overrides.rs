//! The operator's configuration from environment variables and from `--set` flags.

use super::OperatorConfig;
use super::error::{ConfigError, Place, Problems};
use super::keys::{Scope, find};
use super::layer::Layer;
use super::nearest::{hint, known, nearest};
use super::operator::TABLES;
use super::read::{Reader, Section};
use crate::text::visible;
use crate::{Blame, ExtensionId};

/// What the names of all variables start with.
const PREFIX: &str = "GLASSHOUSE_";
/// What stands for a dot in the name of a variable.
const DOT: &str = "__";

impl OperatorConfig {
    /// Reads variables such as `GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE` and
    /// `GLASSHOUSE_EXTENSIONS__ACCESS_LOG__BUDGET__DEADLINE`, where `-` of an id is `_`; hence the ids of all extensions
    /// are needed. Values are as after `--set`. Names under `config` are taken in lower case. Variables without the
    /// prefix or without `__` after it are not looked at.
    pub fn from_environment(
        variables: impl IntoIterator<Item = (String, String)>,
        ids: &[ExtensionId],
    ) -> Result<Self, ConfigError> {
        let (mut config, mut problems) = (Self::default(), Problems::default());
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(PREFIX).filter(|name| name.contains(DOT)) else { continue };
            let place = Place::Variable(variable.clone());
            match variable_path(name, ids) {
                Ok(path) => config.set(&path, &value, place, &mut problems),
                Err(message) => problems.add(|| place, || message),
            }
        }
        problems.or(Blame::Host, config)
    }

    /// Reads flags such as `extensions.relay.budget.deadline=2s`. A value is written as in the file, but without the
    /// quotes; a list is written as in the file: `extensions.relay.permissions.env=["LANG"]`. A value under `config` is
    /// TOML, or else a text. Of several flags for one key the last one holds.
    pub fn from_flags(flags: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ConfigError> {
        let (mut config, mut problems) = (Self::default(), Problems::default());
        for flag in flags {
            let flag = flag.as_ref();
            let (path, value) = flag.split_once('=').map_or((flag, None), |(path, value)| (path.trim(), Some(value)));
            let place = Place::Flag(path.to_owned());
            let Some(value) = value else {
                problems.add(
                    || place,
                    || "a value is missing; write path=value, such as defaults.budget.deadline=2s".into(),
                );
                continue;
            };
            match dotted_path(path, str::to_owned) {
                Ok(path) => config.set(&path, value, place, &mut problems),
                Err(message) => problems.add(|| place, || message),
            }
        }
        problems.or(Blame::Host, config)
    }

    pub(super) fn set(&mut self, path: &SetPath, value: &str, place: Place, problems: &mut Problems) {
        let (shown, layer) = match path.scope {
            Scope::Host => (String::new(), &mut self.host),
            Scope::Defaults => ("defaults.".to_owned(), &mut self.defaults),
            Scope::Extension | Scope::Manifest => {
                let Some(id) = &path.id else { return };
                (format!("extensions.{id}."), self.extensions.entry(id.clone()).or_default())
            }
        };
        path.read(&shown, value, place, layer, problems);
    }
}

/// What a variable or a flag sets.
#[derive(Debug, PartialEq)]
pub(super) struct SetPath {
    scope: Scope,
    id: Option<ExtensionId>,
    key: String,
}

impl SetPath {
    fn read(&self, shown: &str, value: &str, place: Place, layer: &mut Layer, problems: &mut Problems) {
        let section = Section { scope: self.scope, shown };
        let mut reader = Reader::value(value, place);
        if let Some(key) = find(self.scope, &self.key) {
            reader.bare(section, key, layer);
        } else if let Some(path) = self.key.strip_prefix("config.") {
            reader.bare_config(section, path.split('.').map(str::to_owned).collect(), layer);
        }
        problems.extend(reader.problems);
    }

    /// Whether there is such a key.
    fn check(&self, shown: &str, write: Write) -> Result<(), String> {
        let in_config = self.scope == Scope::Extension
            && self.key.strip_prefix("config.").is_some_and(|path| path.split('.').all(|part| !part.is_empty()));
        if in_config || find(self.scope, &self.key).is_some() {
            return Ok(());
        }
        let proposal = nearest(&self.key, known(self.scope)).map(|key| write(&format!("{shown}{key}")));
        Err(format!("unknown key \"{shown}{}\"{}", visible(&self.key, 80), hint("", proposal.as_deref())))
    }
}

/// How a path is written in a proposal.
type Write = fn(&str) -> String;

/// A key of the host's, of which it is known that there is one.
pub(super) fn host_path(key: &str) -> SetPath {
    SetPath { scope: Scope::Host, id: None, key: key.to_owned() }
}

fn dotted_path(path: &str, write: Write) -> Result<SetPath, String> {
    let unknown = || {
        let proposal = nearest(path.split('.').next().unwrap_or_default(), TABLES);
        format!("unknown key \"{}\"{}", visible(path, 80), hint("", proposal))
    };
    let (table, rest) = path.split_once('.').ok_or_else(unknown)?;
    let (path, shown) = match table {
        "host" | "files" | "otlp" => (host_path(path), String::new()),
        "defaults" => (SetPath { scope: Scope::Defaults, id: None, key: rest.to_owned() }, "defaults.".to_owned()),
        "extensions" => {
            let (id, key) = rest.split_once('.').ok_or_else(|| {
                format!("a key is missing; write extensions.{}.budget.deadline, for example", visible(rest, 80))
            })?;
            let id = id.parse::<ExtensionId>().map_err(|error| error.to_string())?;
            let shown = format!("extensions.{id}.");
            (SetPath { scope: Scope::Extension, id: Some(id), key: key.to_owned() }, shown)
        }
        _ => return Err(unknown()),
    };
    path.check(&shown, write).map(|()| path)
}

/// The path of a variable, whose name is given without the prefix.
fn variable_path(name: &str, ids: &[ExtensionId]) -> Result<SetPath, String> {
    let dotted = |name: &str| name.to_ascii_lowercase().replace(DOT, ".");
    let Some(rest) = name.strip_prefix("EXTENSIONS__") else {
        return dotted_path(&dotted(name), as_variable);
    };
    // An id may have `--` and so hold what looks like a dot: every id that the name starts with is a candidate.
    let (mut legal, mut refusal) = (Vec::new(), None);
    for id in ids {
        let key = rest.strip_prefix(&id_in_variable(id)).and_then(|rest| rest.strip_prefix(DOT));
        let Some(key) = key.map(dotted) else { continue };
        let path = SetPath { scope: Scope::Extension, id: Some(id.clone()), key };
        match path.check(&format!("extensions.{id}."), as_variable) {
            Ok(()) => legal.push(path),
            Err(message) => refusal = Some(message),
        }
    }
    if legal.len() > 1 {
        let ids: Vec<_> = legal.iter().flat_map(|path| &path.id).map(|id| format!("\"{id}\"")).collect();
        let ids = ids.join(" and ");
        return Err(format!(
            "it could mean each of the extensions {ids}: use the file or --set, or rename one of them"
        ));
    }
    legal.pop().ok_or_else(|| {
        refusal.unwrap_or_else(|| {
            let id = rest.split(DOT).next().unwrap_or_default().to_ascii_lowercase().replace('_', "-");
            let proposal = hint("", nearest(&id, ids.iter().map(ExtensionId::as_str)));
            format!("no extension is called \"{}\"{proposal}", visible(&id, 80))
        })
    })
}

fn as_variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('-', "_").replace('.', DOT))
}

/// An id as it stands in the name of a variable.
fn id_in_variable(id: &ExtensionId) -> String {
    id.as_str().to_ascii_uppercase().replace('-', "_")
}
