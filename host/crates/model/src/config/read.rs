//! Reads TOML into layers along the table of keys, and says where what is wrong stands.

use std::sync::Arc;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check;
use super::document::Document;
use super::error::{ConfigError, Place, Problems};
use super::folder;
use super::keys::{Key, Scope, find};
use super::layer::{Entry, Layer, Origin};
use super::nearest::{hint, is_section, known, nearest};
use super::otlp::Secrets;
use super::value::{Kind, Refusal, Value, check_text, from_text};
use crate::settings::{HttpAccess, NetworkAccess, Redaction};
use crate::text::visible;
use crate::{Blame, Threshold};

/// Bytes of a configuration file. Real ones are below a tenth of it, and a manifest is the guest's.
const FILE_BYTES: usize = 1 << 20;
/// Items of a list in a manifest.
const ITEMS: usize = 256;
/// Depth of a `[config]` table, so that a hostile one cannot use up the stack of whoever reads it.
const CONFIG_DEPTH: usize = 32;

pub(super) type Given<'t> = Spanned<DeValue<'t>>;

/// Where the text that is read comes from, and what was wrong in it so far.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    place: Place,
    pub(super) problems: Problems,
}

/// Where in the configuration a table stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'p> {
    pub(super) scope: Scope,
    /// What stands before the keys of the scope, such as `extensions.relay.`.
    pub(super) shown: &'p str,
}

impl<'t> Reader<'t> {
    /// A reader of a file.
    pub(super) fn file(text: &'t str, label: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, line_starts, place: Place::Whole(label.into()), problems: Problems::default() }
    }

    /// A reader of one value of a variable or flag.
    pub(super) fn value(text: &'t str, place: Place) -> Self {
        Self { text, line_starts: Vec::new(), place, problems: Problems::default() }
    }

    /// Parses the file.
    pub(super) fn parse(&mut self, blame: Blame) -> Result<Document<'t>, ConfigError> {
        if self.text.len() > FILE_BYTES {
            let size = crate::text::bytes(self.text.len() as u64);
            self.whole(|| format!("the file has {size}, allowed is 1 MiB: make it smaller"));
        } else {
            match Document::parse(self.text) {
                Ok(document) => return Ok(document),
                Err(error) => {
                    let at = error.span().map_or(0, |span| span.start);
                    self.problem(at, || format!("not TOML: {}", visible(error.message(), 200)));
                }
            }
        }
        Err(std::mem::take(&mut self.problems).into_error(blame))
    }

    /// Adds a problem at an offset.
    pub(super) fn problem(&mut self, at: usize, message: impl FnOnce() -> String) {
        let (text, starts, place) = (self.text, &self.line_starts, &self.place);
        self.problems.add(|| locate(text, starts, place, at), message);
    }

    /// Adds a problem with the text as a whole.
    pub(super) fn whole(&mut self, message: impl FnOnce() -> String) {
        let place = &self.place;
        self.problems.add(|| place.clone(), message);
    }

    fn origin(&self, section: Section<'_>, at: usize) -> Origin {
        match &self.place {
            Place::Whole(file) | Place::File { file, .. } => {
                Origin::in_file(section.scope, file, self.line_starts.partition_point(|start| *start <= at))
            }
            Place::Variable(variable) => Origin::Environment { variable: variable.clone() },
            Place::Flag(path) | Place::Running(path) => Origin::Flag { path: path.clone() },
        }
    }

    /// Reads a table of keys into a layer.
    pub(super) fn table(&mut self, section: Section<'_>, prefix: &str, table: &DeTable<'_>, layer: &mut Layer) {
        let Section { scope, shown } = section;
        for (name, given) in table {
            let path = format!("{prefix}{}", name.get_ref());
            if let Some(key) = find(scope, &path) {
                self.key(section, key, name.span().start, given, layer);
            } else if !is_section(scope, &path) {
                self.problem(name.span().start, || {
                    if scope == Scope::Manifest && find(Scope::Extension, &path).is_some() {
                        return format!("unknown key \"{path}\": only the operator may set it");
                    }
                    let proposal = nearest(&path, known(scope));
                    format!("unknown key \"{shown}{}\"{}", visible(&path, 80), hint(shown, proposal))
                });
            } else if let Some(inner) = given.get_ref().as_table() {
                self.table(section, &format!("{path}."), inner, layer);
            } else {
                let found = found(given.get_ref());
                self.problem(given.span().start, || {
                    format!("{shown}{path}: found {found}, expected a table: write [{shown}{path}]")
                });
            }
        }
    }

    /// Reads the value of one key into a layer; `at` is where its name stands.
    pub(super) fn key(
        &mut self,
        section: Section<'_>,
        key: &'static Key,
        at: usize,
        given: &Given<'_>,
        layer: &mut Layer,
    ) {
        let origin = self.origin(section, at);
        let value = match &key.kind {
            Kind::Free => {
                match given.get_ref().as_table() {
                    Some(table) => self.config(section, &mut Vec::new(), table, layer),
                    None => self.wrong_kind(section, key, given),
                }
                return;
            }
            Kind::Files => {
                self.list(section, key, given, |reader, item| folder::read(reader, section, item)).map(Value::Files)
            }
            Kind::Network => self
                .list(section, key, given, |reader, item| {
                    let access = item.get_ref().as_str().map(str::parse::<NetworkAccess>);
                    reader.checked(section, key, item, access.map(|access| access.map_err(|error| error.to_string())))
                })
                .map(Value::Network),
            Kind::Origins => self
                .list(section, key, given, |reader, item| {
                    let access = item.get_ref().as_str().map(str::parse::<HttpAccess>);
                    reader.checked(section, key, item, access.map(|access| access.map_err(|error| error.to_string())))
                })
                .map(Value::Origins),
            Kind::Texts(_) | Kind::Patterns | Kind::Thresholds => self
                .list(section, key, given, |reader, item| {
                    let text = item.get_ref().as_str();
                    let check = match key.kind {
                        Kind::Texts(check) => check,
                        Kind::Thresholds => check::threshold,
                        _ => check::pattern,
                    };
                    reader.checked(
                        section,
                        key,
                        item,
                        text.map(|text| check_text(text, check).map(|()| text.to_owned())),
                    )
                })
                .map(Value::Texts),
            Kind::Secrets(check) => self
                .list(section, key, given, |reader, item| {
                    let text = item.get_ref().as_str();
                    reader.checked(
                        section,
                        key,
                        item,
                        text.map(|text| check_text(text, *check).map(|()| text.to_owned())),
                    )
                })
                .map(|texts| Value::Secrets(Secrets(texts))),
            _ => self.scalar(section, key, given),
        };
        if let Some(value) = value {
            layer.values.insert(key.path, Entry { value, origin });
        }
    }

    fn scalar(&mut self, section: Section<'_>, key: &Key, given: &Given<'_>) -> Option<Value> {
        let result = match (&key.kind, given.get_ref()) {
            (Kind::Switch, DeValue::Boolean(switch)) => Ok(Value::Switch(*switch)),
            (
                Kind::Integer { .. }
                | Kind::Number { .. }
                | Kind::Duration { .. }
                | Kind::SlowCall { .. }
                | Kind::Size { .. },
                DeValue::Integer(integer),
            ) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => from_text(&key.kind, &integer.to_string()),
                Err(_) => Err(Refusal::Other(format!("found {integer}, which is too large for an integer"))),
            },
            (Kind::Number { .. }, DeValue::Float(float)) => from_text(&key.kind, float.as_str()),
            (
                Kind::Duration { .. }
                | Kind::SlowCall { .. }
                | Kind::Size { .. }
                | Kind::Level
                | Kind::Metering
                | Kind::Path
                | Kind::Text(_),
                DeValue::String(text),
            ) => from_text(&key.kind, text),
            _ => Err(Refusal::Kind),
        };
        result
            .map_err(|refusal| {
                let message = refused(section, key, &found(given.get_ref()), &refusal);
                self.problem(given.span().start, || message);
            })
            .ok()
    }

    /// Reads a value that a variable or flag gives as bare text.
    pub(super) fn bare(&mut self, section: Section<'_>, key: &'static Key, layer: &mut Layer) {
        if matches!(
            key.kind,
            Kind::Free
                | Kind::Files
                | Kind::Network
                | Kind::Origins
                | Kind::Texts(_)
                | Kind::Secrets(_)
                | Kind::Patterns
                | Kind::Thresholds
        ) {
            match DeValue::parse(self.text) {
                Ok(given) => self.key(section, key, 0, &given, layer),
                Err(error) => {
                    let message = visible(error.message(), 200).into_owned();
                    self.whole(|| format!("not TOML: {message}; write a value such as {}", key.example()));
                }
            }
            return;
        }
        match from_text(&key.kind, self.text) {
            Ok(value) => {
                layer.values.insert(key.path, Entry { value, origin: self.origin(section, 0) });
            }
            Err(refusal) => {
                let found = format!("\"{}\"", visible(self.text, 80));
                self.whole(|| refused(section, key, &found, &refusal));
            }
        }
    }

    /// Reads one value of `[config]` that a variable or flag gives: TOML, or else text.
    pub(super) fn bare_config(&mut self, section: Section<'_>, path: Vec<String>, layer: &mut Layer) {
        match DeValue::parse(self.text) {
            Ok(given) => self.config_value(section, &mut { path }, &given, layer),
            Err(_) => layer.config.set(path, self.text.into(), self.origin(section, 0)),
        }
    }

    fn list<T>(
        &mut self,
        section: Section<'_>,
        key: &Key,
        given: &Given<'_>,
        mut item: impl FnMut(&mut Self, &Given<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = given.get_ref().as_array() else {
            self.wrong_kind(section, key, given);
            return None;
        };
        let most = match key.kind {
            Kind::Patterns => Redaction::PATTERNS,
            Kind::Thresholds => Threshold::MOST,
            _ => ITEMS,
        };
        if items.len() > most {
            let (shown, path, found) = (section.shown, key.path, items.len());
            self.problem(given.span().start, || format!("{shown}{path}: found {found} items, allowed are {most}"));
            return None;
        }
        let values: Vec<_> = items.iter().filter_map(|given| item(self, given)).collect();
        (values.len() == items.len()).then_some(values)
    }

    /// The value of a list's item, or a problem: `None` is of the wrong kind.
    fn checked<T>(
        &mut self,
        section: Section<'_>,
        key: &Key,
        item: &Given<'_>,
        value: Option<Result<T, String>>,
    ) -> Option<T> {
        match value {
            Some(Ok(value)) => return Some(value),
            Some(Err(message)) => {
                self.problem(item.span().start, || format!("{}{}: {message}", section.shown, key.path));
            }
            None => {
                let (path, found, example) = (key.path, found_of(key, item), key.example());
                let shown = section.shown;
                self.problem(item.span().start, || {
                    format!("{shown}{path}: found {found} in the list, expected a text, as in {example}")
                });
            }
        }
        None
    }

    fn wrong_kind(&mut self, section: Section<'_>, key: &Key, given: &Given<'_>) {
        let found = found_of(key, given);
        self.problem(given.span().start, || refused(section, key, &found, &Refusal::Kind));
    }

    fn config(&mut self, section: Section<'_>, path: &mut Vec<String>, table: &DeTable<'_>, layer: &mut Layer) {
        for (name, given) in table {
            path.push(name.get_ref().to_string());
            self.config_value(section, path, given, layer);
            path.pop();
        }
    }

    fn config_value(&mut self, section: Section<'_>, path: &mut Vec<String>, given: &Given<'_>, layer: &mut Layer) {
        match given.get_ref() {
            DeValue::Table(table) if !table.is_empty() && path.len() < CONFIG_DEPTH => {
                self.config(section, path, table, layer);
            }
            value => match json(value, path.len()) {
                Ok(value) => {
                    let origin = self.origin(section, given.span().start);
                    layer.config.set(path.clone(), value, origin);
                }
                Err(message) => {
                    let shown = format!("{}config.{}", section.shown, visible(&path.join("."), 80));
                    self.problem(given.span().start, || format!("{shown}: {message}"));
                }
            },
        }
    }
}

fn locate(text: &str, line_starts: &[usize], place: &Place, at: usize) -> Place {
    let Place::Whole(file) = place else { return place.clone() };
    let line = line_starts.partition_point(|start| *start <= at);
    let start = line_starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
    let column = text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
    Place::File { file: Arc::clone(file), line, column }
}

/// What was found, for a message.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{}\"", visible(text, 80)),
        DeValue::Integer(integer) => format!("the integer {}", visible(&integer.to_string(), 40)),
        DeValue::Float(float) => format!("the number {}", visible(float.as_str(), 40)),
        DeValue::Boolean(switch) => switch.to_string(),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// What was found in place of a key's value, unless that is nobody's to see.
fn found_of(key: &Key, given: &Given<'_>) -> String {
    match key.kind {
        Kind::Secrets(_) => "something else".to_owned(),
        _ => found(given.get_ref()),
    }
}

fn refused(section: Section<'_>, key: &Key, found: &str, refusal: &Refusal) -> String {
    let path = format!("{}{}", section.shown, key.path);
    match (refusal, key.kind.bounds()) {
        (Refusal::Bounds(value), Some((least, most))) => {
            let too_low = match (value, &least) {
                (Value::Integer(value), Value::Integer(least)) | (Value::Size(value), Value::Size(least)) => {
                    value < least
                }
                (Value::Number(value), Value::Number(least)) => value < least,
                (Value::Duration(value), Value::Duration(least)) => value < least,
                _ => false,
            };
            let advice = if too_low { format!("use at least {least}") } else { format!("use at most {most}") };
            format!("{path}: found {found}, allowed is {least} to {most}: {advice}")
        }
        (Refusal::Other(message), _) => format!("{path}: {message}"),
        _ => format!("{path}: found {found}, expected {}, such as {}", key.kind.name(), key.example()),
    }
}

fn json(value: &DeValue<'_>, depth: usize) -> Result<Json, String> {
    if depth > CONFIG_DEPTH {
        return Err(format!("nested deeper than {CONFIG_DEPTH} levels; make it flatter"));
    }
    let number = |number: Option<serde_json::Number>, found: &dyn std::fmt::Display| {
        number.map(Json::Number).ok_or_else(|| format!("found {found}, which JSON cannot carry; write it as a text"))
    };
    match value {
        DeValue::String(text) => Ok(Json::from(text.as_ref())),
        DeValue::Integer(integer) => {
            number(i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Into::into), integer)
        }
        DeValue::Float(float) => number(float.as_str().parse().ok().and_then(serde_json::Number::from_f64), float),
        DeValue::Boolean(switch) => Ok(Json::from(*switch)),
        DeValue::Datetime(time) => Ok(Json::from(time.to_string())),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref(), depth + 1)).collect(),
        DeValue::Table(table) => {
            let entries = table.iter();
            entries.map(|(name, item)| Ok((name.get_ref().to_string(), json(item.get_ref(), depth + 1)?))).collect()
        }
    }
}
