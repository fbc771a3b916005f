//! Spans; and calls, each of which is the span of itself.

use std::collections::BTreeMap;

use glasshouse_model::{Origin, Outcome, Signal, SpanId, SpanKind, SpanStatus, UnixNanos};

use super::messages::{Event, Link, Resource, ResourceSpans, Scope, ScopeSpans, Span, Status, TracesData, Value};
use super::{Attributes, Fill, ids, nanos, scope_of};
use crate::export::Broken;
use crate::records::{InvocationRecord, SpanCostRecord, SpanRecord, TransferRecord};
use crate::walk::{Found, Walk};
use crate::{Source, What};

pub(super) type Batch = BTreeMap<Scope, Vec<Span>>;

/// OpenTelemetry's `SpanKind`.
const KIND_INTERNAL: i32 = 1;
const KIND_SERVER: i32 = 2;
/// OpenTelemetry's `StatusCode`.
const STATUS_OK: i32 = 1;
const STATUS_ERROR: i32 = 2;

/// Takes a batch, and writes it.
type Put<'a> = &'a mut dyn FnMut(&mut Walk<'_>, TracesData) -> Result<(), Broken>;

/// Writes calls, and spans if they are asked for. What belongs to no trace has no place in the protocol.
pub(super) fn write(
    walk: &mut Walk<'_>,
    source: &Source,
    what: What,
    resource: &Resource,
    out: Put<'_>,
) -> Result<(), Broken> {
    let (mut batch, mut fill) = (Batch::new(), Fill::default());
    for signal in what.signals() {
        walk.each(source, *signal, &mut |walk, found| {
            let bytes = found.entry.bytes();
            let Some((scope, span)) = span_of(*signal, source, found) else {
                walk.exported.written -= 1;
                walk.exported.left_out += 1;
                return Ok(());
            };
            batch.entry(scope).or_default().push(span);
            if fill.is_full_with(bytes) { put(walk, &mut batch, resource, out) } else { Ok(()) }
        })?;
    }
    put(walk, &mut batch, resource, out)
}

fn put(walk: &mut Walk<'_>, batch: &mut Batch, resource: &Resource, out: Put<'_>) -> Result<(), Broken> {
    if batch.is_empty() {
        return Ok(());
    }
    out(walk, document(std::mem::take(batch), resource.clone()))
}

/// The spans of a batch as a message.
pub(super) fn document(batch: Batch, resource: Resource) -> TracesData {
    let scopes = batch.into_iter();
    let scope_spans = scopes.map(|(scope, spans)| ScopeSpans { scope: Some(scope), spans }).collect();
    TracesData { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
}

/// What becomes of a span or a call; nothing if it belongs to no trace.
pub(super) fn span_of(signal: Signal, source: &Source, found: Found<'_>) -> Option<(Scope, Span)> {
    let origin = found.envelope.origin;
    let (span, origin) = match signal {
        // A call is a measurement of the host's.
        Signal::Invocation => (found.record().and_then(call), Origin::Host),
        _ => (found.record().and_then(span), origin),
    };
    span.map(|span| (scope_of(origin, source), span))
}

/// An id, empty if it is none.
fn parent(id: SpanId) -> Vec<u8> {
    if id == SpanId::default() { Vec::new() } else { id.0.to_vec() }
}

fn span(record: SpanRecord) -> Option<Span> {
    let (trace_id, span_id) = ids(record.head.context.as_ref());
    if trace_id.is_empty() || span_id.is_empty() {
        return None;
    }
    let mut attributes = Attributes::default();
    attributes.head(&record.head);
    attributes.cost(&record.total);
    if let Some(bytes) = record.memory_peak_bytes {
        attributes.count("glasshouse.memory_peak_bytes", bytes);
    }
    attributes.text("glasshouse.span.status", record.status.as_str());
    attributes.fields(record.fields);
    let kind = match record.kind {
        SpanKind::Internal => KIND_INTERNAL,
        SpanKind::Server => KIND_SERVER,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let events = record.events.into_iter().map(|event| {
        let mut attributes = Attributes::default();
        attributes.fields(event.fields);
        Event { time_unix_nano: nanos(event.time), name: event.name, attributes: attributes.0 }
    });
    let links = record.links.into_iter().map(|link| {
        let mut attributes = Attributes::default();
        attributes.fields(link.fields);
        Link {
            trace_id: link.trace_id.0.to_vec(),
            span_id: link.span_id.0.to_vec(),
            trace_state: link.tracestate,
            attributes: attributes.0,
        }
    });
    Some(Span {
        trace_id,
        span_id,
        parent_span_id: parent(record.parent),
        name: record.name,
        kind,
        start_time_unix_nano: nanos(record.start),
        end_time_unix_nano: nanos(record.head.time).max(nanos(record.start)),
        attributes: attributes.0,
        events: events.collect(),
        links: links.collect(),
        status: match record.status {
            // Only whoever made the span may call it ok (OpenTelemetry's API, "Set Status"): an end without failure is unset.
            SpanStatus::Ok => None,
            SpanStatus::Failed => Some(Status { code: STATUS_ERROR, message: record.failure }),
            SpanStatus::Unfinished => Some(Status { code: STATUS_ERROR, message: "unfinished".to_owned() }),
        },
    })
}

fn call(record: InvocationRecord) -> Option<Span> {
    let (trace_id, span_id) = ids(record.head.context.as_ref());
    if trace_id.is_empty() || span_id.is_empty() {
        return None;
    }
    let mut attributes = Attributes::default();
    attributes.head(&record.head);
    attributes.text("glasshouse.call.outcome", record.outcome.as_str());
    if let Some(cause) = record.cause {
        attributes.text("glasshouse.call.cause", &cause.to_string());
    }
    if let Some(fuel) = record.fuel {
        attributes.count("glasshouse.fuel", fuel);
    }
    for (key, count) in [
        ("glasshouse.queued_ns", record.queued_ns),
        ("glasshouse.guest_cpu_ns", record.guest_cpu_ns),
        ("glasshouse.host_cpu_ns", record.host_cpu_ns),
        ("glasshouse.in_guest_ns", record.in_guest_ns),
        ("glasshouse.in_host_ns", record.in_host_ns),
        ("glasshouse.waiting_ns", record.waiting_ns),
        ("glasshouse.host_calls", record.host_calls),
        ("glasshouse.memory_bytes", record.memory_bytes),
        ("glasshouse.memory_peak_bytes", record.memory_peak_bytes),
        ("glasshouse.input_bytes", record.input_bytes),
        ("glasshouse.output_bytes", record.output_bytes),
    ] {
        attributes.count(key, count);
    }
    attributes.transfer(&record.transfer);
    let end = record.head.time;
    let start = UnixNanos(end.0.saturating_sub_unsigned(record.wall_ns));
    Some(Span {
        trace_id,
        span_id,
        parent_span_id: parent(record.parent.or(record.cause).unwrap_or_default()),
        name: record.name,
        kind: KIND_SERVER,
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(end),
        attributes: attributes.0,
        events: Vec::new(),
        links: Vec::new(),
        status: Some(match record.outcome {
            Outcome::Ok => Status { code: STATUS_OK, message: String::new() },
            outcome => Status { code: STATUS_ERROR, message: outcome.as_str().to_owned() },
        }),
    })
}

impl Attributes {
    fn cost(&mut self, cost: &SpanCostRecord) {
        if let Some(fuel) = cost.fuel {
            self.count("glasshouse.fuel", fuel);
        }
        for (key, count) in [
            ("glasshouse.in_guest_ns", cost.in_guest_ns),
            ("glasshouse.in_host_ns", cost.in_host_ns),
            ("glasshouse.waiting_ns", cost.waiting_ns),
            ("glasshouse.host_calls", cost.host_calls),
            ("glasshouse.memory_delta_bytes", cost.memory_delta_bytes),
        ] {
            self.count(key, count);
        }
        self.transfer(&cost.transfer);
    }

    /// What went through files and sockets, if anything did.
    fn transfer(&mut self, transfer: &TransferRecord) {
        for (key, bytes) in [
            ("glasshouse.read_bytes", transfer.read_bytes),
            ("glasshouse.written_bytes", transfer.written_bytes),
            ("glasshouse.sent_bytes", transfer.sent_bytes),
            ("glasshouse.received_bytes", transfer.received_bytes),
        ] {
            if bytes > 0 {
                self.set(key, Value::Integer(i64::try_from(bytes).unwrap_or(i64::MAX)));
            }
        }
    }
}
