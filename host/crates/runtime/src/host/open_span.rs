//! A span while it is open, and how it is stored once it has ended.

use glasshouse_model::record::KIND_SPAN;
use glasshouse_model::text::cut;
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Origin, Signal, Span, SpanCost, SpanId, SpanKind, SpanStatus, UnixNanos, limits, wire};
use glasshouse_telemetry::{Head, Worth};

use super::debugging::field as borrow_field;
use super::spans::Reading;
use crate::bindings::glasshouse::extension::debugging as wit;
use crate::cuts::Cuts;
use crate::host_calls::HostCall;
use crate::intake::Intake;

/// Bytes of events that a span keeps.
pub(super) const EVENT_BYTES: usize = limits::RECORD_BYTES / 4;
/// Bytes of fields that a span keeps.
pub(super) const FIELD_BYTES: usize = limits::RECORD_BYTES / 4;

/// Bytes of a field beyond its texts, at most.
const FIELD_OVERHEAD: usize = 16;
/// Bytes of an event beyond its name and fields, at most.
const EVENT_OVERHEAD: usize = 16;

/// A span that is open, or that ended and is yet to be stored.
pub(super) struct OpenSpan {
    pub(super) serial: u32,
    pub(super) id: SpanId,
    pub(super) parent: SpanId,
    /// Spans that it lies in, itself included.
    pub(super) depth: usize,
    pub(super) kind: SpanKind,
    pub(super) name: String,
    pub(super) failure: Option<String>,
    pub(super) start: Reading,
    /// What inner spans that have ended took.
    pub(super) children: SpanCost,
    pub(super) fields: Vec<(String, wit::Value)>,
    pub(super) field_bytes: usize,
    pub(super) events: Vec<u8>,
    pub(super) event_count: u32,
    /// What it may hold, by the extension's budget.
    pub(super) cuts: Cuts,
    pub(super) cut: bool,
}

impl OpenSpan {
    /// Sets a field, cut to the limits; one that has no room leaves the span as it was, and marked.
    pub(super) fn set_field(&mut self, mut field: wit::Field) {
        self.cut |= shorten(&mut field.name, self.cuts.name);
        if let wit::Value::Text(text) = &mut field.value {
            self.cut |= shorten(text, self.cuts.text);
        }
        let known = self.fields.iter().position(|(name, _)| *name == field.name);
        let replaced = known.map_or(0, |at| field_bytes(&self.fields[at].0, &borrow_value(&self.fields[at].1)));
        let bytes = self.field_bytes - replaced + field_bytes(&field.name, &borrow_value(&field.value));
        if bytes > FIELD_BYTES || (known.is_none() && self.fields.len() >= self.cuts.fields) {
            self.cut = true;
            return;
        }
        self.field_bytes = bytes;
        match known {
            Some(at) => self.fields[at].1 = field.value,
            None => self.fields.push((field.name, field.value)),
        }
    }

    /// Adds an event, cut to the limits; one that has no room leaves the span as it was, and marked.
    pub(super) fn add_event(&mut self, time: UnixNanos, name: &str, fields: &[wit::Field]) {
        let kept_name = cut(name, self.cuts.name);
        self.cut |= kept_name.len() < name.len() || fields.len() > self.cuts.fields;
        let mut bytes = kept_name.len() + EVENT_OVERHEAD;
        let mut kept = Vec::with_capacity(fields.len().min(self.cuts.fields));
        for field in fields.iter().take(self.cuts.fields) {
            let whole = borrow_field(field);
            let name = cut(whole.name, self.cuts.name);
            let value = match whole.value {
                Value::Text(text) => Value::Text(cut(text, self.cuts.text)),
                other => other,
            };
            self.cut |= Field { name, value } != whole;
            bytes += field_bytes(name, &value);
            kept.push(Field { name, value });
        }
        if self.events.len() + bytes > EVENT_BYTES {
            self.cut = true;
            return;
        }
        Span::encode_event(&mut self.events, time, kept_name, &kept);
        self.event_count += 1;
    }
}

/// A span that has ended.
pub(super) struct Ended {
    pub(super) span: OpenSpan,
    /// When, in `Clock::monotonic_nanos`.
    pub(super) at: u64,
    /// What it cost, and what of that inner spans did.
    pub(super) cost: (SpanCost, SpanCost),
    /// Whether its invocation ended before it.
    pub(super) left_open: bool,
}

impl Ended {
    /// Whether the guest called it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.span.failure.is_some()
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let OpenSpan { name, fields, field_bytes, events, .. } = &self.span;
        size_of::<Self>()
            + name.len()
            + fields.capacity() * size_of_val(&fields[..1.min(fields.len())])
            + field_bytes
            + events.capacity()
    }

    /// Stores it in an encoded context, at a time that its bytes are charged to.
    pub(super) fn store(&self, intake: &Intake, context: &[u8], now: UnixNanos) {
        let Self { span, cost: (total, children), .. } = self;
        let status = match (&span.failure, self.left_open) {
            (Some(_), _) => SpanStatus::Failed,
            (None, true) => SpanStatus::Unfinished,
            (None, false) => SpanStatus::Ok,
        };
        let stored = Span {
            parent: span.parent,
            kind: span.kind,
            status,
            name: &span.name,
            failure: span.failure.as_deref().unwrap_or_default(),
            start: intake.clock().at(span.start.at),
            total: *total,
            children: *children,
            fields: wire::Fields::EMPTY,
            events: Vec::new(),
        };
        let fields: Vec<_> =
            span.fields.iter().map(|(name, value)| Field { name, value: borrow_value(value) }).collect();
        let mut body = Vec::with_capacity(128 + span.events.len());
        stored.encode(&mut body, &fields, span.event_count, &span.events);
        let time = intake.clock().at(self.at);
        let head = Head { time, origin: Origin::Guest, cut: span.cut, batched: false, context };
        append(intake, &head, &body, if self.has_failed() { Worth::Urgent } else { Worth::Usual }, now);
    }
}

/// Stores a call of a function of the host as a span, in a context of its own, at a time that its bytes are charged to. The guest's call was run
/// until another one.
pub(super) fn store_host_call(intake: &Intake, call: &HostCall, context: &[u8], run_until: u64, now: UnixNanos) {
    let clock = intake.clock();
    let span = Span {
        parent: call.parent.unwrap_or(intake.context().span_id),
        kind: call.kind(),
        status: call.status(run_until),
        name: call.function.as_str(),
        failure: "",
        start: clock.at(call.start),
        total: call.cost(),
        children: SpanCost::default(),
        fields: wire::Fields::EMPTY,
        events: Vec::new(),
    };
    let mut body = Vec::with_capacity(128);
    span.encode(&mut body, &[], 0, &[]);
    let head = Head { time: clock.at(call.end), origin: Origin::Host, cut: false, batched: false, context };
    append(intake, &head, &body, Worth::Usual, now);
}

/// Appends a span that ended at the head's time. What it takes of the rate it takes now: a rate goes by times that go on.
fn append(intake: &Intake, head: &Head<'_>, body: &[u8], worth: Worth, now: UnixNanos) {
    intake.note_work(body.len());
    if intake.recorder().affords(worth, &Head { time: now, ..*head }, body.len()) {
        intake.recorder().append(Signal::Span, *head, KIND_SPAN, body);
    }
}

/// Cuts a text, and gives the memory of the rest back; tells whether there was any.
fn shorten(text: &mut String, bytes: usize) -> bool {
    let kept = cut(text, bytes).len();
    let longer = kept < text.len();
    if longer {
        text.truncate(kept);
        text.shrink_to_fit();
    }
    longer
}

/// Bytes that a field takes in a record, at most.
fn field_bytes(name: &str, value: &Value<'_>) -> usize {
    name.len() + FIELD_OVERHEAD + if let Value::Text(text) = value { text.len() } else { 0 }
}

fn borrow_value(value: &wit::Value) -> Value<'_> {
    match value {
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Integer(number) => Value::Integer(*number),
        wit::Value::Float(number) => Value::Float(*number),
        wit::Value::Boolean(truth) => Value::Boolean(*truth),
    }
}
