//! `debugging.span`: timed pieces of work, stored when they end.

use glasshouse_model::invocation::Transfer;
use glasshouse_model::text::cut;
use glasshouse_model::{Context, HostFunction, SpanCost, SpanId, SpanKind};
use glasshouse_telemetry::{Drop, Load, Verdict};
use wasmtime::AsContext;
use wasmtime::component::{Access, HasData, Resource};

use super::debugging::passed_bytes;
use super::open_span::{Ended, OpenSpan, store_host_call};
use super::undecided::Undecided;
use crate::bindings::glasshouse::extension::debugging as wit;
use crate::determinism::Ids;
use crate::host_calls::HostCalls;
use crate::imports::Imports;
use crate::intake::Intake;
use crate::limiter::Limiter;
use crate::state::State;

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
    undecided: Undecided,
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
        intake.recorder().note_spans(self.open.len() + 1, depth);
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
        self.store_or_wait(intake, Ended { span, at: reading.at, cost, left_open });
        intake.set_span(self.open.last().map_or(self.root, |span| span.id));
    }

    /// Stores a span that has ended, if it failed or its trace is kept; or else it waits for what comes of the invocation.
    /// Its context is the intake's.
    fn store_or_wait(&mut self, intake: &Intake, ended: Ended) {
        let context = intake.context_bytes();
        if ended.has_failed() {
            if intake.recorder().admit_failed_span() {
                ended.store(intake, context, intake.clock().at(ended.at));
            }
            return;
        }
        match intake.recorder().judge_span(context) {
            Verdict::Keep => {
                ended.store(intake, &intake.recorder().weighed(context), intake.clock().at(ended.at));
            }
            Verdict::Undecided => self.undecided.add(context, ended),
            Verdict::LeaveOut => intake.recorder().leave_out_spans(context, 1),
        }
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

    /// Whether anything of the invocation waits for what comes of it.
    #[inline]
    pub(crate) fn is_any_undecided(&self, calls: &HostCalls) -> bool {
        !calls.is_empty() || !self.undecided.is_empty()
    }

    /// Stores the calls of the host's functions that an invocation made, each as a span in the guest's span or the invocation in which it was made, and
    /// what was not stored for its trace: if the invocation failed or was slow, whatever its trace is. The intake's context is the
    /// invocation's own; it was run until that time.
    #[cold]
    pub(crate) fn decide(&mut self, intake: &Intake, calls: &HostCalls, matters: bool, run_until: u64) {
        let now = intake.clock().now();
        self.undecided.decide(intake, matters, now);
        let [all, left_out] = calls.counts();
        let own = intake.context_bytes();
        if !matters && intake.recorder().judge_span(own) != Verdict::Keep {
            return intake.recorder().leave_out_spans(own, all);
        }
        for (call, scope) in calls.each() {
            let timed = intake.cross();
            let id = SpanId(self.ids.draw().to_be_bytes());
            let context = intake.recorder().weighed(scope.unwrap_or(own));
            store_host_call(intake, call, &Intake::with_span(&context, id), run_until, now);
            intake.crossed(timed, || Load::Span);
        }
        if left_out > 0 {
            intake.recorder().dropped_all(Drop::Crowded, left_out);
        }
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
        state.spans.end(&mut state.intake, &mut state.imports.host_calls, span.rep(), &reading);
        state.intake.crossed(timed, || Load::Span);
        state.imports.leave(entered);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glasshouse_model::settings::{Debugging, Settings};
    use glasshouse_model::wire::Value;
    use glasshouse_model::{Envelope, Signal, Span, UnixNanos, limits};
    use glasshouse_telemetry::{Body, Store, StoreSettings};

    use super::super::open_span::{EVENT_BYTES, FIELD_BYTES};
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
    fn spans_that_wait_take_no_more_than_their_room_and_are_stored_in_order_if_they_matter() {
        const SPANS: u64 = 3_000;
        for matters in [true, false] {
            let mut bench = Bench::new(false);
            for number in 0..SPANS {
                let serial = bench.start_at("work", number);
                bench.end_at(serial, number + 1);
            }
            assert!(bench.spans.is_any_undecided(&bench.calls));
            bench.spans.decide(&bench.intake, &bench.calls, matters, SPANS);
            assert!(!bench.spans.is_any_undecided(&bench.calls));
            let entries = bench.store.reader(Signal::Span).all();
            assert!(if matters { (100..SPANS as usize).contains(&entries.len()) } else { entries.is_empty() });
            let crowded =
                bench.store.drops().iter().find(|(cause, _)| *cause == Drop::Crowded).map_or(0, |(_, spans)| *spans);
            assert_eq!(
                crowded,
                if matters { SPANS - entries.len() as u64 } else { 0 },
                "what had no room is counted if it mattered"
            );
            let ids: Vec<_> = entries.iter().filter_map(|entry| Some(entry.envelope().context?.span_id)).collect();
            assert!(
                ids.len() == entries.len() && ids.windows(2).all(|pair| pair[0] != pair[1]),
                "each in its own context"
            );
            assert!(entries.is_sorted_by_key(|entry| entry.envelope().time));
        }
    }

    #[test]
    fn spans_that_waited_take_from_the_rate_of_when_they_are_stored() {
        const RATE: u64 = 50;
        let clock = Arc::new(crate::clock::SetClock::default());
        clock.set(10_000_000_000);
        let mut settings = Settings::default();
        settings.budget.telemetry.records_per_second = RATE;
        let store = Store::new(&StoreSettings::new(&settings), Arc::default());
        let mut intake = Intake::new(store.recorder(), Arc::clone(&clock) as Arc<dyn glasshouse_model::Clock>);
        intake.set_context(Context { span_id: ROOT, ..Context::default() });
        let (mut spans, mut calls) = (Spans::default(), HostCalls::default());
        for round in 0..10 {
            // Each ended a second after the one before it, long ago.
            for number in 0..RATE {
                let at = number * 100_000_000;
                let start = Reading { at, ..Reading::default() };
                let serial = spans.start(&mut intake, "work", SpanKind::Internal, Vec::new(), start);
                spans.end(&mut intake, &mut calls, serial, &Reading { at: at + 1, ..Reading::default() });
            }
            spans.decide(&intake, &calls, true, 0);
            let stored = store.reader(Signal::Span).all().len() as u64;
            assert!(stored <= 2 * RATE, "{stored} in one moment, after {round} rounds");
        }
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
