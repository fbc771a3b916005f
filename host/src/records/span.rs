//! Spans.

use glasshouse_model::{Signal, SpanId, SpanKind, SpanStatus, UnixNanos};
use glasshouse_telemetry::Body;
use serde::Serialize;

use super::sealed::FromStore;
use super::{FieldList, Head, shown};

/// A finished span; its trace and own id are those of its context.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpanRecord {
    /// Its place, the time of its end, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// The span around it.
    #[serde(serialize_with = "shown")]
    pub parent: SpanId,
    /// What it stands for.
    #[serde(serialize_with = "shown")]
    pub kind: SpanKind,
    /// How it ended.
    #[serde(serialize_with = "shown")]
    pub status: SpanStatus,
    /// The work's name.
    pub name: String,
    /// Why it failed; empty if it did not.
    pub failure: String,
    /// When it started.
    #[serde(serialize_with = "shown")]
    pub start: UnixNanos,
    /// From start to end, in nanoseconds.
    pub elapsed_ns: u64,
    /// Fuel used from start to end, inner spans included; absent where none is counted.
    pub fuel: Option<u64>,
    /// Its fields.
    pub fields: FieldList,
    /// What happened meanwhile.
    pub events: Vec<SpanEventRecord>,
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpanEventRecord {
    /// When.
    #[serde(serialize_with = "shown")]
    pub time: UnixNanos,
    /// What.
    pub name: String,
    /// Its fields.
    pub fields: FieldList,
}

impl FromStore for SpanRecord {
    const SIGNAL: Signal = Signal::Span;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let Body::Span(span) = body else { return None };
        let events = span.events.iter().map(|event| SpanEventRecord {
            time: event.time,
            name: event.name.to_owned(),
            fields: event.fields.into(),
        });
        Some(Self {
            head,
            parent: span.parent,
            kind: span.kind,
            status: span.status,
            name: span.name.to_owned(),
            failure: span.failure.to_owned(),
            start: span.start,
            elapsed_ns: span.elapsed_nanos,
            fuel: span.fuel,
            events: events.collect(),
            fields: span.fields.into(),
        })
    }
}
