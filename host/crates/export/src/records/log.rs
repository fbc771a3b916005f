//! Logs.

use glasshouse_model::wire::Record;
use glasshouse_model::{Level, Signal, UnixNanos};
use glasshouse_telemetry::Body;
use serde::{Deserialize, Serialize};

use super::sealed::FromStore;
use super::{FieldList, Head, SourceLine, read, read_if_any, shown, shown_if_any};

/// A log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place, time, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// How serious it is.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub level: Level,
    /// The logger's name: a module path, or a name of the guest's choice.
    pub target: String,
    /// What happened.
    pub message: String,
    /// Where it was made, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLine>,
    /// The time by the guest's clock, if it gave one; of a batched log within what the host knows of it.
    #[serde(
        serialize_with = "shown_if_any",
        deserialize_with = "read_if_any",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub guest_time: Option<UnixNanos>,
    /// Its fields.
    pub fields: FieldList,
}

impl FromStore for LogRecord {
    const SIGNAL: Signal = Signal::Log;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let Body::Record(Record::Log(log, fields)) = body else { return None };
        Some(Self {
            head,
            level: log.level,
            target: log.target.to_owned(),
            message: log.message.to_owned(),
            source: log.source.map(Into::into),
            guest_time: log.time.map(UnixNanos),
            fields: fields.into(),
        })
    }
}
