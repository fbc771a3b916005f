//! `debugging.span`: timed pieces of work, stored when they end.

use glasshouse_model::record::KIND_SPAN;
use glasshouse_model::text::cut;
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Origin, Signal, Span, SpanId, SpanKind, SpanStatus, UnixNanos, limits, wire};
use glasshouse_telemetry::{Drop, Head};
use wasmtime::AsContext;
use wasmtime::component::{Access, HasData, Resource};

use super::debugging::field as borrow_field;
use crate::bindings::glasshouse::extension::debugging as wit;
use crate::intake::Intake;
use crate::state::State;

/// Bytes of events that a span keeps.
const EVENT_BYTES: usize = limits::RECORD_BYTES / 4;
/// Bytes of fields that a span keeps.
const FIELD_BYTES: usize = limits::RECORD_BYTES / 4;

/// A guest's handle of a span: its serial number among the instance's spans.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct SpanHandle;

/// The open spans of an invocation, outermost first.
#[derive(Default)]
pub(crate) struct Spans {
    open: Vec<OpenSpan>,
    next_serial: u32,
}

struct OpenSpan {
    serial: u32,
    id: SpanId,
    parent: SpanId,
    kind: SpanKind,
    name: String,
    failure: Option<String>,
    start: UnixNanos,
    start_monotonic: u64,
    fuel_left_at_start: u64,
    fields: Vec<(String, wit::Value)>,
    field_bytes: usize,
    events: Vec<u8>,
    event_count: u32,
    cut: bool,
}

impl Spans {
    fn find(&mut self, serial: u32) -> Option<&mut OpenSpan> {
        self.open.iter_mut().rev().find(|span| span.serial == serial)
    }

    /// Starts a span and returns its serial number; one that nests too deeply is counted and gets a number as well.
    fn start(
        &mut self,
        intake: &mut Intake,
        name: &str,
        kind: SpanKind,
        fields: Vec<wit::Field>,
        fuel_left: u64,
    ) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        if self.open.len() >= limits::NESTING {
            intake.recorder().dropped(Drop::Nesting);
            return serial;
        }
        let id = SpanId(fastrand::u64(1..).to_be_bytes());
        let mut span = OpenSpan {
            serial,
            id,
            parent: intake.context().span_id,
            kind,
            name: cut(name, limits::NAME_BYTES).to_owned(),
            failure: None,
            start: intake.clock().now(),
            start_monotonic: intake.clock().monotonic_nanos(),
            fuel_left_at_start: fuel_left,
            fields: Vec::with_capacity(fields.len().min(limits::FIELDS)),
            field_bytes: 0,
            events: Vec::new(),
            event_count: 0,
            cut: false,
        };
        for field in fields {
            span.set_field(field);
        }
        intake.set_span(id);
        self.open.push(span);
        serial
    }

    /// Ends a span by its serial number, if it is open.
    fn end(&mut self, intake: &mut Intake, serial: u32, fuel_left: u64) {
        if let Some(at) = self.open.iter().rposition(|span| span.serial == serial) {
            let span = self.open.remove(at);
            self.enter_innermost(intake, span.parent);
            span.store(intake, fuel_left, false);
        }
    }

    /// Ends the innermost span that the guest left open; tells whether there was one.
    pub(crate) fn end_innermost(&mut self, intake: &mut Intake, fuel_left: u64) -> bool {
        let Some(span) = self.open.pop() else { return false };
        self.enter_innermost(intake, span.parent);
        span.store(intake, fuel_left, true);
        true
    }

    fn enter_innermost(&self, intake: &mut Intake, parent: SpanId) {
        intake.set_span(self.open.last().map_or(parent, |span| span.id));
    }
}

impl OpenSpan {
    fn set_field(&mut self, field: wit::Field) {
        let bytes = field.name.len() + if let wit::Value::Text(text) = &field.value { text.len() } else { 8 };
        if let Some((_, value)) = self.fields.iter_mut().find(|(name, _)| *name == field.name) {
            *value = field.value;
        } else if self.fields.len() < limits::FIELDS && self.field_bytes + bytes <= FIELD_BYTES {
            self.field_bytes += bytes;
            self.fields.push((field.name, field.value));
        } else {
            self.cut = true;
        }
    }

    fn add_event(&mut self, time: UnixNanos, name: &str, fields: &[Field<'_>]) {
        let before = self.events.len();
        Span::encode_event(&mut self.events, time, cut(name, limits::NAME_BYTES), fields);
        if self.events.len() > EVENT_BYTES {
            self.events.truncate(before);
            self.cut = true;
        } else {
            self.event_count += 1;
        }
    }

    /// Stores the span, if spans are stored or it failed.
    fn store(self, intake: &Intake, fuel_left: u64, left_open: bool) {
        let status = match (&self.failure, left_open) {
            (Some(_), _) => SpanStatus::Failed,
            (None, true) => SpanStatus::Unfinished,
            (None, false) => SpanStatus::Ok,
        };
        if !intake.recorder().is_enabled(Signal::Span) && status != SpanStatus::Failed {
            return;
        }
        let elapsed_nanos = intake.clock().monotonic_nanos() - self.start_monotonic;
        let span = Span {
            parent: self.parent,
            kind: self.kind,
            status,
            name: &self.name,
            failure: self.failure.as_deref().unwrap_or_default(),
            start: self.start,
            elapsed_nanos,
            fuel: self.fuel_left_at_start.saturating_sub(fuel_left),
            fields: wire::Fields::EMPTY,
            events: Vec::new(),
        };
        let fields: Vec<_> =
            self.fields.iter().map(|(name, value)| Field { name, value: borrow_value(value) }).collect();
        let mut body = Vec::with_capacity(128 + self.events.len());
        span.encode(&mut body, &fields, self.event_count, &self.events);
        let mut context = intake.context().clone();
        context.span_id = self.id;
        let mut context_bytes = Vec::with_capacity(64);
        context.encode(&mut context_bytes);
        let head = Head { time: intake.clock().now(), origin: Origin::Guest, cut: self.cut, context: &context_bytes };
        intake.recorder().append(Signal::Span, head, KIND_SPAN, &body);
    }
}

fn borrow_value(value: &wit::Value) -> Value<'_> {
    match value {
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Integer(number) => Value::Integer(*number),
        wit::Value::Float(number) => Value::Float(*number),
        wit::Value::Boolean(truth) => Value::Boolean(*truth),
    }
}

impl wit::HostSpan for State {
    fn set_field(&mut self, span: Resource<SpanHandle>, field: wit::Field) -> wasmtime::Result<()> {
        if let Some(span) = self.spans.find(span.rep()) {
            span.set_field(field);
        }
        Ok(())
    }

    fn add_event(&mut self, span: Resource<SpanHandle>, name: String, fields: Vec<wit::Field>) -> wasmtime::Result<()> {
        let time = self.intake.clock().now();
        if let Some(span) = self.spans.find(span.rep()) {
            let fields: Vec<_> = fields.iter().take(limits::FIELDS).map(borrow_field).collect();
            span.add_event(time, &name, &fields);
        }
        Ok(())
    }

    fn fail(&mut self, span: Resource<SpanHandle>, message: String) -> wasmtime::Result<()> {
        if let Some(span) = self.spans.find(span.rep()) {
            span.failure = Some(cut(&message, limits::TEXT_BYTES).to_owned());
        }
        Ok(())
    }
}

/// Gives the bindings the whole state, so that they can read fuel from the store beside it.
impl HasData for State {
    type Data<'a> = &'a mut State;
}

impl wit::HostSpanWithStore<State> for State {
    fn start(
        mut host: Access<'_, State, Self>,
        name: String,
        kind: wit::SpanKind,
        fields: Vec<wit::Field>,
    ) -> wasmtime::Result<Resource<SpanHandle>> {
        let fuel_left = host.as_context().get_fuel().unwrap_or_default();
        let kind = match kind {
            wit::SpanKind::Internal => SpanKind::Internal,
            wit::SpanKind::Server => SpanKind::Server,
            wit::SpanKind::Client => SpanKind::Client,
            wit::SpanKind::Producer => SpanKind::Producer,
            wit::SpanKind::Consumer => SpanKind::Consumer,
        };
        let state = host.get();
        let serial = state.spans.start(&mut state.intake, &name, kind, fields, fuel_left);
        Ok(Resource::new_own(serial))
    }

    fn drop(mut host: Access<'_, State, Self>, span: Resource<SpanHandle>) -> wasmtime::Result<()> {
        let fuel_left = host.as_context().get_fuel().unwrap_or_default();
        let state = host.get();
        state.spans.end(&mut state.intake, span.rep(), fuel_left);
        Ok(())
    }
}
