//! Spans.

use glasshouse_model::{Signal, SpanCost, SpanId, SpanKind, SpanStatus, TraceId, TraceSampling, UnixNanos};
use glasshouse_telemetry::Body;
use serde::{Deserialize, Serialize};

use super::invocation::{HostFunctionUse, TransferRecord};
use super::sealed::FromStore;
use super::{FieldList, Head, read, shown};

/// A finished span; its trace and own id are those of its context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanRecord {
    /// Its place, the time of its end, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// The span around it.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub parent: SpanId,
    /// What it stands for.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub kind: SpanKind,
    /// How it ended.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub status: SpanStatus,
    /// The work's name.
    pub name: String,
    /// Why it failed; empty if it did not.
    pub failure: String,
    /// When it started.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub start: UnixNanos,
    /// What it cost from start to end, inner spans included.
    #[serde(flatten)]
    pub total: SpanCostRecord,
    /// What of that is its own, without inner spans. JSON names it `self`.
    #[serde(rename = "self")]
    pub own: SpanCostRecord,
    /// The most linear memory that the instance had during it: what it had at its end, since that never shrinks. Left out of what the host did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_peak_bytes: Option<u64>,
    /// What each host function was called for in it, inner spans included, the one that took the longest first; but for the starts and ends of spans, which with these make up
    /// `in_host_ns` and `host_calls`. Left out where there were none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub host_functions: Vec<HostFunctionUse>,
    /// Its fields.
    pub fields: FieldList,
    /// What happened meanwhile.
    pub events: Vec<SpanEventRecord>,
    /// Other spans that it has to do with. Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub links: Vec<SpanLinkRecord>,
    /// For how many spans it stands, itself included: 1 divided by the probability with which it was kept. One that failed is always kept and stands for
    /// itself; one that was kept for how its call ended, although its trace is not, stands for none, since those in traces that are kept stand
    /// for it as well. Left out where it is 1.
    #[serde(skip_serializing_if = "is_one", default = "one")]
    pub adjusted_count: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields in this form")]
fn is_one(count: &f64) -> bool {
    (count - 1.0).abs() < f64::EPSILON
}

fn one() -> f64 {
    1.0
}

/// For how many spans one stands that ended so, in a trace on which that was decided. What nobody knows counts as 1.
fn adjusted_count(status: SpanStatus, sampling: Option<TraceSampling>) -> f64 {
    match sampling {
        Some(sampling) if status != SpanStatus::Failed => {
            let kept = sampling.is_sampled.then(|| sampling.adjusted_count().unwrap_or(1.0));
            kept.unwrap_or(0.0)
        }
        _ => 1.0,
    }
}

/// What a span cost: `elapsed_ns` is the sum of `in_guest_ns`, `in_host_ns` and `waiting_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanCostRecord {
    /// Wasm fuel; absent where none is counted.
    pub fuel: Option<u64>,
    /// Wall time, in nanoseconds.
    pub elapsed_ns: u64,
    /// In the guest's code, and in passing its values. It stands for its CPU time, of which it is an estimate: what the system
    /// gave to others meanwhile is in it.
    pub in_guest_ns: u64,
    /// In host functions, without what was waited in them.
    pub in_host_ns: u64,
    /// Not running, in nanoseconds.
    pub waiting_ns: u64,
    /// What of that was spent waiting for something, and not for the next turn, in nanoseconds.
    pub idle_ns: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// What linear memory has grown by.
    pub memory_delta_bytes: u64,
    /// Bytes read from and written to files, sent and received by sockets.
    #[serde(flatten)]
    pub transfer: TransferRecord,
}

impl From<SpanCost> for SpanCostRecord {
    fn from(cost: SpanCost) -> Self {
        Self {
            fuel: cost.fuel,
            elapsed_ns: cost.elapsed_nanos,
            in_guest_ns: cost.guest_nanos(),
            in_host_ns: cost.host_nanos,
            waiting_ns: cost.waiting_nanos(),
            idle_ns: cost.idle_nanos,
            host_calls: cost.host_calls,
            memory_delta_bytes: cost.memory_delta_bytes,
            transfer: cost.transfer.into(),
        }
    }
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEventRecord {
    /// When.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub time: UnixNanos,
    /// What.
    pub name: String,
    /// Its fields.
    pub fields: FieldList,
}

/// Another span that a span has to do with, and does not lie in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanLinkRecord {
    /// The trace of that span.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub trace_id: TraceId,
    /// Which one it is.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub span_id: SpanId,
    /// What came with its ids as the header `tracestate`. Left out where nothing did.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub tracestate: String,
    /// The link's own fields.
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
        let links = span.links.iter().map(|(link, fields)| SpanLinkRecord {
            trace_id: TraceId(link.trace_id),
            span_id: SpanId(link.span_id),
            tracestate: link.state.to_owned(),
            fields: fields.into(),
        });
        let sampling = head.context.as_ref().map(|context| context.sampling);
        Some(Self {
            adjusted_count: adjusted_count(span.status, sampling),
            head,
            total: span.total.into(),
            own: span.own().into(),
            memory_peak_bytes: Some(span.memory_bytes).filter(|bytes| *bytes > 0),
            host_functions: HostFunctionUse::list(span.host.iter()),
            parent: span.parent,
            kind: span.kind,
            status: span.status,
            name: span.name.to_owned(),
            failure: span.failure.to_owned(),
            start: span.start,
            events: events.collect(),
            links: links.collect(),
            fields: span.fields.into(),
        })
    }
}
