//! `debugging.span`: timed pieces of work, stored when they end.

use glasshouse_model::invocation::Transfer;
use glasshouse_model::record::KIND_SPAN;
use glasshouse_model::text::cut;
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{
    Context, HostFunction, Origin, Signal, Span, SpanCost, SpanId, SpanKind, SpanStatus, UnixNanos, limits, wire,
};
use glasshouse_telemetry::{Drop, Head, Load, Worth};
use wasmtime::AsContext;
use wasmtime::component::{Access, HasData, Resource};

use super::debugging::{field as borrow_field, passed_bytes};
use crate::bindings::glasshouse::extension::debugging as wit;
use crate::cuts::Cuts;
use crate::determinism::Ids;
use crate::host_calls::{HostCall, HostCalls};
use crate::imports::Imports;
use crate::intake::Intake;
use crate::limiter::Limiter;
use crate::state::State;

/// Bytes of events that a span keeps.
const EVENT_BYTES: usize = limits::RECORD_BYTES / 4;
/// Bytes of fields that a span keeps.
const FIELD_BYTES: usize = limits::RECORD_BYTES / 4;

/// Bytes of a field beyond its texts, at most.
const FIELD_OVERHEAD: usize = 16;
/// Bytes of an event beyond its name and fields, at most.
const EVENT_OVERHEAD: usize = 16;

/// A guest's handle of a span: its serial number among the instance's spans.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct SpanHandle;

/// The open spans of an invocation, outermost first.
#[derive(Default)]
pub(crate) struct Spans {
    /// The invocation's own span, while there are others.
    root: SpanId,
    open: Vec<OpenSpan>,
    next_serial: u32,
    pub(crate) ids: Ids,
}

/// What an invocation has used by some moment. None of it ever becomes less, so that the difference of two readings is what
/// was used between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// When, in `Clock::monotonic_nanos`.
    pub(crate) at: u64,
    pub(crate) fuel_left: Option<u64>,
    pub(crate) host_nanos: u64,
    pub(crate) host_calls: u64,
    pub(crate) idle_nanos: u64,
    pub(crate) yielded_nanos: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) transfer: Transfer,
}

impl Reading {
    pub(crate) fn take(intake: &Intake, imports: &Imports, limiter: &Limiter, fuel_left: Option<u64>) -> Self {
        let pulse = imports.pulse();
        Self {
            at: intake.clock().monotonic_nanos(),
            fuel_left,
            host_nanos: imports.nanos(),
            host_calls: imports.calls(),
            idle_nanos: pulse.idle_nanos(),
            yielded_nanos: pulse.yielded_nanos(),
            memory_bytes: limiter.bytes(),
            transfer: pulse.transferred(),
        }
    }

    /// What was used since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> SpanCost {
        SpanCost {
            fuel: earlier.fuel_left.zip(self.fuel_left).map(|(before, left)| before.saturating_sub(left)),
            elapsed_nanos: self.at.saturating_sub(earlier.at),
            host_nanos: self.host_nanos.saturating_sub(earlier.host_nanos),
            host_calls: self.host_calls.saturating_sub(earlier.host_calls),
            idle_nanos: self.idle_nanos.saturating_sub(earlier.idle_nanos),
            yielded_nanos: self.yielded_nanos.saturating_sub(earlier.yielded_nanos),
            memory_delta_bytes: self.memory_bytes.saturating_sub(earlier.memory_bytes),
            transfer: self.transfer.since(earlier.transfer),
        }
    }
}

struct OpenSpan {
    serial: u32,
    id: SpanId,
    parent: SpanId,
    /// Spans that it lies in, itself included.
    depth: usize,
    kind: SpanKind,
    name: String,
    failure: Option<String>,
    start: Reading,
    /// What inner spans that have ended took.
    children: SpanCost,
    fields: Vec<(String, wit::Value)>,
    field_bytes: usize,
    events: Vec<u8>,
    event_count: u32,
    /// What it may hold, by the extension's budget.
    cuts: Cuts,
    cut: bool,
}

impl Spans {
    /// No spans; their ids, and those of the instance's traces, come from `ids`.
    pub(crate) fn new(ids: Ids) -> Self {
        Self { ids, ..Self::default() }
    }

    /// The invocation's own span, by its present context.
    pub(crate) fn root(&self, context: &Context) -> SpanId {
        if self.open.is_empty() { context.span_id } else { self.root }
    }

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
        start: Reading,
    ) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let cuts = intake.cuts();
        let depth = self.open.last().map_or(0, |span| span.depth) + 1;
        if self.open.len() >= cuts.open_spans || depth > cuts.span_depth {
            intake.recorder().dropped(Drop::Nesting);
            return serial;
        }
        self.root = self.root(intake.context());
        let id = SpanId(self.ids.draw().to_be_bytes());
        let mut span = OpenSpan {
            serial,
            id,
            parent: intake.context().span_id,
            depth,
            kind,
            name: cut(name, cuts.name).to_owned(),
            failure: None,
            start,
            children: SpanCost::default(),
            fields: Vec::with_capacity(fields.len().min(cuts.fields)),
            field_bytes: 0,
            events: Vec::new(),
            event_count: 0,
            cuts,
            cut: name.len() > cuts.name,
        };
        for field in fields {
            span.set_field(field);
        }
        intake.set_span(id);
        self.open.push(span);
        serial
    }

    /// Whether any span is open.
    pub(crate) fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Ends a span by its serial number, if it is open.
    fn end(&mut self, intake: &mut Intake, calls: &mut HostCalls, serial: u32, reading: &Reading) {
        let Some(at) = self.open.iter().rposition(|span| span.serial == serial) else { return };
        let span = self.open.remove(at);
        self.close(intake, calls, span, at, reading, false);
    }

    /// Stores a span that stood at a place, in its own context, and goes on in that of the innermost one that is open.
    fn close(
        &mut self,
        intake: &mut Intake,
        calls: &mut HostCalls,
        mut span: OpenSpan,
        at: usize,
        reading: &Reading,
        left_open: bool,
    ) {
        let inner = self.open.get(at).map(|inner| inner.start.at);
        span.children = span.children.with(calls.claim(span.id, span.start.at, inner));
        let cost = self.settle(&span, at, reading);
        intake.set_span(span.id);
        span.store(intake, reading, cost, left_open);
        intake.set_span(self.open.last().map_or(self.root, |span| span.id));
    }

    /// What a span that stood at a place cost. The span around it is told, and what an inner span that is still open took
    /// until now is not counted as its own.
    fn settle(&mut self, span: &OpenSpan, at: usize, reading: &Reading) -> (SpanCost, SpanCost) {
        let total = reading.since(&span.start);
        if let Some(outer) = at.checked_sub(1).and_then(|at| self.open.get_mut(at))
            && outer.id == span.parent
        {
            outer.children = outer.children.with(total);
        }
        let inner = self.open.get(at).filter(|inner| inner.parent == span.id);
        let children = inner.map_or(span.children, |inner| span.children.with(reading.since(&inner.start)));
        (total, children)
    }

    /// Ends the innermost span that the guest left open; tells whether there was one.
    pub(crate) fn end_innermost(&mut self, intake: &mut Intake, calls: &mut HostCalls, reading: &Reading) -> bool {
        let Some(span) = self.open.pop() else { return false };
        self.close(intake, calls, span, self.open.len(), reading, true);
        true
    }

    /// Stores the calls of the host's functions that an invocation made, each as a span in the guest's span or the invocation
    /// in which it was made.
    #[cold]
    pub(crate) fn store_host_calls(&mut self, intake: &mut Intake, calls: &mut HostCalls) {
        let root = self.root(intake.context());
        let (calls, left_out) = calls.take();
        for call in &calls {
            let timed = intake.cross();
            intake.set_span(SpanId(self.ids.draw().to_be_bytes()));
            store_host_call(intake, call, root);
            intake.crossed(timed, || Load::Span);
        }
        intake.set_span(root);
        if left_out > 0 {
            intake.recorder().dropped_all(Drop::HostCalls, left_out);
        }
    }
}

impl OpenSpan {
    /// Sets a field, cut to the limits; one that has no room leaves the span as it was, and marked.
    fn set_field(&mut self, mut field: wit::Field) {
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
    fn add_event(&mut self, time: UnixNanos, name: &str, fields: &[wit::Field]) {
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

    /// Stores the span, with what it and its inner spans cost, if it is to be: all spans are, or failed ones. Its context is the intake's.
    fn store(self, intake: &Intake, end: &Reading, (total, children): (SpanCost, SpanCost), left_open: bool) {
        let status = match (&self.failure, left_open) {
            (Some(_), _) => SpanStatus::Failed,
            (None, true) => SpanStatus::Unfinished,
            (None, false) => SpanStatus::Ok,
        };
        let failed = status == SpanStatus::Failed;
        let admitted = if failed {
            intake.recorder().admit_failed_span()
        } else {
            intake.recorder().admit_span(intake.context_bytes())
        };
        if !admitted {
            return;
        }
        let span = Span {
            parent: self.parent,
            kind: self.kind,
            status,
            name: &self.name,
            failure: self.failure.as_deref().unwrap_or_default(),
            start: intake.clock().at(self.start.at),
            total,
            children,
            fields: wire::Fields::EMPTY,
            events: Vec::new(),
        };
        let fields: Vec<_> =
            self.fields.iter().map(|(name, value)| Field { name, value: borrow_value(value) }).collect();
        let mut body = Vec::with_capacity(128 + self.events.len());
        span.encode(&mut body, &fields, self.event_count, &self.events);
        let (time, context) = (intake.clock().at(end.at), intake.context_bytes());
        let head = Head { time, origin: Origin::Guest, cut: self.cut, batched: false, context };
        let worth = if failed { Worth::Urgent } else { Worth::Usual };
        if intake.recorder().affords(worth, &head, body.len()) {
            intake.recorder().append(Signal::Span, head, KIND_SPAN, &body);
        }
    }
}

/// Stores a call of a function of the host as a span, whose id is that of the intake's context.
fn store_host_call(intake: &Intake, call: &HostCall, root: SpanId) {
    if !intake.recorder().admit_span(intake.context_bytes()) {
        return;
    }
    let clock = intake.clock();
    let span = Span {
        parent: call.parent.unwrap_or(root),
        kind: call.kind(),
        status: SpanStatus::Ok,
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
    let (time, context) = (clock.at(call.end), intake.context_bytes());
    let head = Head { time, origin: Origin::Host, cut: false, batched: false, context };
    if intake.recorder().affords(Worth::Usual, &head, body.len()) {
        intake.recorder().append(Signal::Span, head, KIND_SPAN, &body);
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

impl wit::HostSpan for State {
    fn set_field(&mut self, span: Resource<SpanHandle>, field: wit::Field) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        self.charge(passed_bytes(std::slice::from_ref(&field)))?;
        let timed = self.intake.cross();
        if let Some(span) = self.spans.find(span.rep()) {
            span.set_field(field);
        }
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(())
    }

    fn add_event(&mut self, span: Resource<SpanHandle>, name: String, fields: Vec<wit::Field>) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        self.charge(name.len() + passed_bytes(&fields))?;
        let timed = self.intake.cross();
        let time = self.intake.clock().now();
        if let Some(span) = self.spans.find(span.rep()) {
            span.add_event(time, &name, &fields);
        }
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(())
    }

    fn fail(&mut self, span: Resource<SpanHandle>, message: String) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        self.charge(message.len())?;
        if let Some(span) = self.spans.find(span.rep()) {
            span.failure = Some(cut(&message, span.cuts.text).to_owned());
        }
        self.imports.leave(entered);
        Ok(())
    }
}

/// Gives the bindings the whole state, so that they can read fuel from the store beside it.
impl HasData for State {
    type Data<'a> = &'a mut State;
}

/// The fuel that is left, where it is counted.
fn fuel_left(host: &Access<'_, State, State>) -> Option<u64> {
    let store = host.as_context();
    if store.data().counts_fuel { store.get_fuel().ok() } else { None }
}

impl wit::HostSpanWithStore<State> for State {
    fn start(
        mut host: Access<'_, State, Self>,
        name: String,
        kind: wit::SpanKind,
        fields: Vec<wit::Field>,
    ) -> wasmtime::Result<Resource<SpanHandle>> {
        let fuel_left = fuel_left(&host);
        let kind = match kind {
            wit::SpanKind::Internal => SpanKind::Internal,
            wit::SpanKind::Server => SpanKind::Server,
            wit::SpanKind::Client => SpanKind::Client,
            wit::SpanKind::Producer => SpanKind::Producer,
            wit::SpanKind::Consumer => SpanKind::Consumer,
        };
        let state = host.get();
        let entered = state.imports.enter_light(HostFunction::SpanStart)?;
        state.charge(name.len() + passed_bytes(&fields))?;
        let start = state.reading(fuel_left);
        let timed = state.intake.cross();
        let serial = state.spans.start(&mut state.intake, &name, kind, fields, start);
        state.intake.crossed(timed, || Load::Span);
        state.imports.leave(entered);
        Ok(Resource::new_own(serial))
    }

    fn drop(mut host: Access<'_, State, Self>, span: Resource<SpanHandle>) -> wasmtime::Result<()> {
        let fuel_left = fuel_left(&host);
        let state = host.get();
        let entered = state.imports.enter_light(HostFunction::SpanEnd)?;
        let timed = state.intake.cross();
        let reading = state.reading(fuel_left);
        state.spans.end(&mut state.intake, &mut state.imports.each, span.rep(), &reading);
        state.intake.crossed(timed, || Load::Span);
        state.imports.leave(entered);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glasshouse_model::Envelope;
    use glasshouse_model::settings::{Debugging, Settings};
    use glasshouse_telemetry::{Body, Store, StoreSettings};

    use super::*;
    use crate::clock::SystemClock;

    const ROOT: SpanId = SpanId([7; 8]);

    struct Bench {
        store: Arc<Store>,
        intake: Intake,
        calls: HostCalls,
        spans: Spans,
    }

    impl Bench {
        fn new(tracing_enabled: bool) -> Self {
            let debugging = Debugging { tracing_enabled, ..Debugging::default() };
            let store = Store::new(&StoreSettings::new(&Settings { debugging, ..Settings::default() }), Arc::default());
            let mut intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
            intake.set_context(Context { span_id: ROOT, ..Context::default() });
            Self { store, intake, calls: HostCalls::default(), spans: Spans::default() }
        }

        fn start(&mut self, name: &str) -> u32 {
            self.start_at(name, 0)
        }

        fn start_at(&mut self, name: &str, at: u64) -> u32 {
            let start = Reading { at, ..Reading::default() };
            self.spans.start(&mut self.intake, name, SpanKind::Internal, Vec::new(), start)
        }

        fn end(&mut self, serial: u32) {
            self.end_at(serial, 0);
        }

        fn end_at(&mut self, serial: u32, at: u64) {
            self.spans.end(&mut self.intake, &mut self.calls, serial, &Reading { at, ..Reading::default() });
        }

        /// Works on a span, and shows what is stored of it.
        fn stored(work: impl FnOnce(&mut OpenSpan), see: impl FnOnce(Envelope, Span<'_>)) {
            let mut bench = Self::new(true);
            let serial = bench.start("work");
            let span = bench.spans.find(serial).expect("it is open");
            work(span);
            assert!(span.field_bytes <= FIELD_BYTES && span.events.capacity() <= 2 * EVENT_BYTES);
            bench.end(serial);
            let entry = bench.store.reader(Signal::Span).all().pop().expect("the span is stored");
            let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
            see(entry.envelope(), span);
        }
    }

    fn text(name: &str, bytes: usize) -> wit::Field {
        wit::Field { name: name.to_owned(), value: wit::Value::Text("x".repeat(bytes)) }
    }

    #[test]
    fn the_invocations_own_span_comes_back_however_spans_end() {
        for outer_first in [false, true] {
            let mut bench = Bench::new(true);
            for _ in 0..2 {
                let (outer, inner) = (bench.start("outer"), bench.start("inner"));
                assert_eq!(bench.spans.root(bench.intake.context()), ROOT);
                let order = if outer_first { [outer, inner] } else { [inner, outer] };
                for serial in order {
                    bench.end(serial);
                }
                assert_eq!(bench.intake.context().span_id, ROOT);
                assert_eq!(bench.spans.root(bench.intake.context()), ROOT);
            }
        }
    }

    #[test]
    fn a_failed_span_costs_without_its_inner_ones_though_only_it_is_stored() {
        let mut bench = Bench::new(false);
        let outer = bench.start_at("outer", 100);
        let first = bench.start_at("first", 110);
        bench.end_at(first, 140);
        bench.start_at("left open", 150);
        let span = bench.spans.find(outer).expect("it is open");
        let id = span.id;
        span.failure = Some("it broke".to_owned());
        assert!(bench.spans.end_innermost(
            &mut bench.intake,
            &mut bench.calls,
            &Reading { at: 190, ..Reading::default() }
        ));
        bench.end_at(outer, 200);
        let mut entries = bench.store.reader(Signal::Span).all();
        let entry = entries.pop().expect("the failed span is stored");
        assert!(entries.is_empty());
        let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
        assert_eq!((span.total.elapsed_nanos, span.children.elapsed_nanos), (100, 30 + 40));
        let context = entry.envelope().context.expect("it has one");
        assert_eq!((context.span_id, span.parent), (id, ROOT));
        assert_eq!(bench.intake.context().span_id, ROOT);
    }

    #[test]
    fn a_field_that_is_replaced_by_a_large_one_is_cut_and_its_bytes_are_counted() {
        let work = |span: &mut OpenSpan| {
            span.set_field(text("a", 10));
            span.set_field(text("a", 8 << 20));
            assert!(span.cut, "it has no room even when it is cut");
            span.set_field(text("a", 4000));
            span.set_field(text("b", 4000));
            span.set_field(text("b", 5000));
            span.set_field(text("a", 10));
            span.set_field(text("b", 5000));
        };
        Bench::stored(work, |envelope, span| {
            let lengths: Vec<_> = span.fields.iter().map(|field| (field.name, text_bytes(field.value))).collect();
            assert_eq!(lengths, [("a", 10), ("b", 5000)]);
            assert!(envelope.cut);
        });
    }

    #[test]
    fn names_are_cut_on_entry() {
        let work = |span: &mut OpenSpan| {
            span.set_field(text(&"n".repeat(1 << 20), 1));
            assert!(span.fields[0].0.capacity() <= 2 * limits::NAME_BYTES);
        };
        Bench::stored(work, |envelope, span| {
            assert!(envelope.cut);
            assert!(span.fields.iter().all(|field| field.name.len() == limits::NAME_BYTES));
        });
    }

    #[test]
    fn an_event_without_room_is_not_even_encoded() {
        let work = |span: &mut OpenSpan| {
            span.add_event(UnixNanos(1), "first", &[text("a", 1000)]);
            let before = span.events.capacity();
            let many: Vec<_> = (0..limits::FIELDS).map(|_| text("a", limits::TEXT_BYTES)).collect();
            span.add_event(UnixNanos(2), "second", &many);
            assert_eq!(span.events.capacity(), before);
            span.add_event(UnixNanos(3), &"n".repeat(1000), &[text("a", 1)]);
        };
        Bench::stored(work, |envelope, span| {
            assert!(envelope.cut);
            let times: Vec<_> = span.events.iter().map(|event| (event.time.0, event.name.len())).collect();
            assert_eq!(times, [(1, "first".len()), (3, limits::NAME_BYTES)]);
        });
    }

    #[test]
    fn a_span_within_the_limits_is_not_marked() {
        let work = |span: &mut OpenSpan| {
            span.set_field(text("a", 100));
            span.add_event(UnixNanos(1), "done", &[text("a", 100)]);
        };
        Bench::stored(work, |envelope, span| assert!(!envelope.cut && span.events.len() == 1));
    }

    fn text_bytes(value: Value<'_>) -> usize {
        if let Value::Text(text) = value { text.len() } else { 0 }
    }
}
