//! The records that sessions leave behind, and what a data directory tells by them of sessions whose host may be gone.

use std::collections::BTreeMap;

use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Clock as _, Origin, Signal, UnixNanos, text};
use glasshouse_runtime::SystemClock;
use glasshouse_telemetry::{Query, Reader};

use super::{DebugSession, SessionEnd, SessionOverride};
use crate::extension::Extension;
use crate::records::{FieldValue, LogRecord, Records};
use crate::stored::StoredExtension;

/// The values of the field `event`.
const STARTED: &str = "debug.started";
const ENDED: &str = "debug.ended";
/// What the names of fields for overrides start with: they are the keys.
const SECTION: &str = "debugging.";
/// Characters of a value that a record shows.
const VALUE_CHARACTERS: usize = 400;
/// Records that are looked through for sessions: the latest.
const RECORDS: usize = 1_000;

/// Fields of a record, texts and numbers.
type Fields = Vec<(String, FieldValue)>;

/// Stores that a session was started.
pub(super) fn tell_start(extension: &Extension, session: &DebugSession) {
    let overrides = session.overrides.iter().map(|over| format!("{}={}", over.key, over.value));
    let message = format!(
        "debug session {} was started by {}, until {} at the latest: {}",
        session.id,
        session.by,
        session.until,
        overrides.collect::<Vec<_>>().join(", ")
    );
    store(extension, &message, &fields(STARTED, session));
}

/// Stores that a session has ended, and what was collected.
pub(super) fn tell_end(extension: &Extension, session: &DebugSession) {
    let Some(end) = &session.ended else { return };
    let mut fields = fields(ENDED, session);
    fields.push(text_field("why", end.why.as_str()));
    fields.extend(end.by.as_deref().map(|by| text_field("by", by)));
    for (signal, range) in Signal::ALL.iter().zip(&session.collected) {
        fields.push(number_field(signal.as_str(), count(range.end.saturating_sub(range.start))));
    }
    if !session.left_out.is_empty() {
        fields.push(text_field("left_out", &session.left_out));
    }
    let why = match &end.by {
        Some(by) => format!("{} by {by}", end.why),
        None => end.why.to_string(),
    };
    store(extension, &format!("debug session {} has ended: {why}", session.id), &fields);
}

/// What both records say.
fn fields(event: &str, session: &DebugSession) -> Fields {
    let mut fields = vec![
        text_field("event", event),
        text_field("session", &session.id.to_string()),
        text_field("started_by", &session.by),
        number_field("started_ns", session.started.0),
        number_field("until_ns", session.until.0),
    ];
    let overrides = session.overrides.iter();
    fields.extend(overrides.map(|over| text_field(&over.key, &text::visible(&over.value, VALUE_CHARACTERS))));
    for (signal, range) in Signal::ALL.iter().zip(&session.collected) {
        fields.push(number_field(&from(*signal), count(range.start)));
    }
    fields
}

fn text_field(name: &str, value: &str) -> (String, FieldValue) {
    (name.to_owned(), FieldValue::Text(value.to_owned()))
}

fn number_field(name: &str, value: i64) -> (String, FieldValue) {
    (name.to_owned(), FieldValue::Integer(value))
}

/// The field with the first sequence number of a signal.
fn from(signal: Signal) -> String {
    format!("{signal}_from")
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn store(extension: &Extension, message: &str, fields: &Fields) {
    extension.handle().note(message, &fields.iter().map(field).collect::<Vec<_>>());
}

fn field((name, value): &(String, FieldValue)) -> Field<'_> {
    let value = match value {
        FieldValue::Text(text) => Value::Text(text),
        FieldValue::Integer(number) => Value::Integer(*number),
        FieldValue::Float(number) => Value::Float(*number),
        FieldValue::Boolean(switch) => Value::Boolean(*switch),
    };
    Field { name, value }
}

impl StoredExtension {
    /// Its debug sessions, as far as its records tell of them; those that were started last first. What is collected of one without an
    /// end goes up to now: it is active, or its host was killed.
    pub fn debug_sessions(&self) -> Vec<DebugSession> {
        recorded_sessions(self.id(), |signal| self.reader(signal))
    }
}

/// The debug sessions of an extension that its records tell of.
pub(crate) fn recorded_sessions(extension: &str, reader: impl Fn(Signal) -> Reader) -> Vec<DebugSession> {
    // What guests make in their likeness is not even counted.
    let query = format!("origin=host and logger=glasshouse and field.event in (\"{STARTED}\", \"{ENDED}\")");
    let Ok(query) = Query::parse(&query, SystemClock::new().now()) else { return Vec::new() };
    let mut sessions = BTreeMap::new();
    // The newest first: what the end says stands for what the start did.
    for log in Records::<LogRecord>::new(&reader, extension).search(&query, RECORDS) {
        if let Some(session) = session_in(&log, &reader) {
            sessions.entry(session.id).or_insert(session);
        }
    }
    let mut sessions: Vec<_> = sessions.into_values().collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.started));
    sessions
}

/// The session that a record of the host's speaks of. A guest can make one that looks alike, but its origin is not its to choose.
fn session_in(log: &LogRecord, reader: &impl Fn(Signal) -> Reader) -> Option<DebugSession> {
    let text = |name: &str| match log.fields.get(name)? {
        FieldValue::Text(text) => Some(text.as_str()),
        _ => None,
    };
    let number = |name: &str| match log.fields.get(name)? {
        FieldValue::Integer(number) => Some(*number),
        _ => None,
    };
    let next = |signal: Signal| reader(signal).next_sequence();
    let ended = match (log.head.origin, text("event")?) {
        (Origin::Host, STARTED) => None,
        (Origin::Host, ENDED) => {
            let by = text("by").map(str::to_owned);
            Some(SessionEnd { at: log.head.time, why: text("why")?.parse().ok()?, by })
        }
        _ => return None,
    };
    let overrides = log.fields.0.iter().filter_map(|(key, value)| match value {
        FieldValue::Text(value) if key.starts_with(SECTION) => {
            Some(SessionOverride { key: key.clone(), value: value.clone(), note: None })
        }
        _ => None,
    });
    let count = |name: &str| number(name).and_then(|number| u64::try_from(number).ok());
    let collected = |signal: Signal| {
        let first = count(&from(signal)).unwrap_or(1);
        match (&ended, signal) {
            (Some(_), _) => first..first.saturating_add(count(signal.as_str()).unwrap_or(0)),
            // The record of the start is none of the session's.
            (None, Signal::Log) => log.head.sequence + 1..next(signal).max(log.head.sequence + 1),
            (None, _) => first..next(signal).max(first),
        }
    };
    Some(DebugSession {
        id: text("session")?.parse().ok()?,
        by: text("started_by")?.to_owned(),
        started: UnixNanos(number("started_ns")?),
        until: UnixNanos(number("until_ns")?),
        left: None,
        overrides: overrides.collect(),
        collected: std::array::from_fn(|index| collected(Signal::ALL[index])),
        left_out: text("left_out").unwrap_or_default().to_owned(),
        ended,
    })
}
