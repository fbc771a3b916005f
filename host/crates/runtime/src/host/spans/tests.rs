//! Spans as they are opened, changed, ended and stored.

use std::sync::Arc;

use glasshouse_model::record::SPANS_LEFT_OUT;
use glasshouse_model::settings::{Debugging, Settings};
use glasshouse_model::wire::Value;
use glasshouse_model::{Envelope, Signal, Span, SpanStatus, UnixNanos, limits};
use glasshouse_telemetry::{Body, Store, StoreSettings};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::clock::SystemClock;
use crate::host::open_span::{EVENT_BYTES, FIELD_BYTES};

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
        self.spans.start(&mut self.intake, name, SpanKind::Internal, std::iter::empty(), start)
    }

    /// Decides on what waited.
    fn decide(&self, is_kept: bool) {
        let decided = self.intake.decide(is_kept);
        self.intake.recorder().tell_missing(UnixNanos(0), self.intake.context_bytes(), decided.gone);
    }

    fn end(&mut self, serial: u32) {
        self.end_at(serial, 0);
    }

    fn end_at(&mut self, serial: u32, at: u64) {
        let reading = Reading { at, ..Reading::default() };
        self.spans.end(&mut self.intake, &mut self.calls, serial, &reading).expect("it is open");
    }

    /// Works on a span, and shows what is stored of it.
    fn stored(work: impl FnOnce(&mut OpenSpan), see: impl FnOnce(Envelope, Span<'_>)) {
        let mut bench = Self::new(true);
        let serial = bench.start("work");
        let span = bench.spans.find(serial).expect("it is open");
        work(span);
        assert!(span.texts.field_bytes() <= FIELD_BYTES && span.events.capacity() <= 2 * EVENT_BYTES);
        bench.end(serial);
        let entry = bench.store.reader(Signal::Span).all().pop().expect("the span is stored");
        let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
        see(entry.envelope(), span);
    }
}

/// Text of so many bytes.
fn x(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn text<'f>(name: &'f str, text: &'f str) -> Field<'f> {
    Field { name, value: Value::Text(text) }
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
    span.fail("it broke");
    assert!(bench.spans.end_innermost(&mut bench.intake, &mut bench.calls, &Reading { at: 190, ..Reading::default() }));
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
        assert!(bench.intake.has_undecided());
        bench.decide(matters);
        assert!(!bench.intake.has_undecided());
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
        assert!(ids.len() == entries.len() && ids.windows(2).all(|pair| pair[0] != pair[1]), "each in its own context");
        assert!(entries.is_sorted_by_key(|entry| entry.envelope().time));
    }
}

#[test]
fn spans_that_were_open_when_a_call_failed_are_there_however_many_it_had_made() {
    let mut bench = Bench::new(false);
    bench.start_at("outer", 0);
    bench.start_at("inner", 1);
    for number in 2..3_000 {
        let serial = bench.start_at("work", number);
        bench.end_at(serial, number + 1);
    }
    let trapped = Reading { at: 4_000, ..Reading::default() };
    while bench.spans.end_innermost(&mut bench.intake, &mut bench.calls, &trapped) {}
    bench.decide(true);
    let entries = bench.store.reader(Signal::Span).all();
    let open: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry.body() {
            Ok(Body::Span(span)) if span.status == SpanStatus::Unfinished => Some(span.name.to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(open, ["inner", "outer"]);
    let crowded = bench.store.drops().into_iter().find(|(cause, _)| *cause == Drop::Crowded).map(|(_, spans)| spans);
    let gone = 3_000 - entries.len() as u64;
    assert_eq!(crowded, Some(gone), "what had to go for them is counted");
    let told = bench.store.reader(Signal::Log).all().pop().expect("the host tells of it");
    let envelope = told.envelope();
    assert_eq!((envelope.origin, envelope.context.map(|context| context.span_id)), (Origin::Host, Some(ROOT)));
    let Ok(Body::Record(wire::Record::Log(_, fields))) = told.body() else { panic!("no log") };
    let told: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(told, [("event", Value::Text(SPANS_LEFT_OUT)), ("spans", Value::Integer(gone as i64))]);
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
            let serial = spans.start(&mut intake, "work", SpanKind::Internal, std::iter::empty(), start);
            let end = Reading { at: at + 1, ..Reading::default() };
            spans.end(&mut intake, &mut calls, serial, &end).expect("it is open");
        }
        intake.decide(true);
        let stored = store.reader(Signal::Span).all().len() as u64;
        assert!(stored <= 2 * RATE, "{stored} in one moment, after {round} rounds");
    }
}

#[test]
fn a_field_that_is_replaced_by_a_large_one_is_cut_and_its_bytes_are_counted() {
    let work = |span: &mut OpenSpan| {
        span.set_field(&text("a", &x(10)));
        span.set_field(&text("a", &x(8 << 20)));
        assert!(span.cut, "it has no room even when it is cut");
        span.set_field(&text("a", &x(4000)));
        span.set_field(&text("b", &x(4000)));
        span.set_field(&text("b", &x(5000)));
        span.set_field(&text("a", &x(10)));
        span.set_field(&text("b", &x(5000)));
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
        span.set_field(&text(&"n".repeat(1 << 20), &x(1)));
        assert!(span.texts.fields().1.len() <= 2 * limits::NAME_BYTES);
    };
    Bench::stored(work, |envelope, span| {
        assert!(envelope.cut);
        assert!(span.fields.iter().all(|field| field.name.len() == limits::NAME_BYTES));
    });
}

#[test]
fn an_event_without_room_is_not_even_encoded() {
    let work = |span: &mut OpenSpan| {
        span.add_event(UnixNanos(1), "first", [text("a", &x(1000))].into_iter());
        let before = span.events.capacity();
        let long = x(limits::TEXT_BYTES);
        span.add_event(UnixNanos(2), "second", (0..limits::FIELDS).map(|_| text("a", &long)));
        assert_eq!(span.events.capacity(), before);
        span.add_event(UnixNanos(3), &"n".repeat(1000), [text("a", "x")].into_iter());
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
        span.set_field(&text("a", &x(100)));
        span.add_event(UnixNanos(1), "done", [text("a", &x(100))].into_iter());
    };
    Bench::stored(work, |envelope, span| assert!(!envelope.cut && span.events.len() == 1));
}

/// What a span was opened with and set to, and what happened in it.
type Told = (String, Vec<(String, Option<String>)>, Vec<(String, String)>, Option<String>);

/// Texts about as long as one may be.
fn long(range: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    range.prop_map(x)
}

fn told() -> impl Strategy<Value = Told> {
    let name = || prop_oneof![9 => "[a-d]{0,2}", 1 => long(250..260)];
    let text = || prop_oneof![8 => ".{0,12}", 1 => long(8190..8195), 1 => Just("password=hunter2".to_owned())];
    let short = || prop_oneof![9 => ".{0,12}", 1 => Just("password=hunter2".to_owned())];
    let fields = prop_oneof![
        9 => vec(("[a-d]{0,2}", of(short())), 0..6),
        1 => vec(("[a-e]?", of(Just(String::new()))), 60..80),
    ];
    ("[a-d]{0,2}", fields, vec((name(), text()), 0..4), of(text()))
}

fn field_of<'f>(name: &'f str, text: Option<&'f String>) -> Field<'f> {
    Field { name, value: text.map_or(Value::Integer(7), |text| Value::Text(text)) }
}

/// What is stored of such a span, by one door or the other, the first time that it comes and the second; `None` if it is too long for that door.
fn stored_of((name, fields, set, failure): &Told, is_encoded: bool) -> Option<String> {
    let mut bench = Bench::new(true);
    let fields: Vec<_> = fields.iter().map(|(name, text)| field_of(name, text.as_ref())).collect();
    for _ in 0..2 {
        let (kind, start) = (SpanKind::Client, Reading::default());
        let serial = if is_encoded {
            let mut encoded = wire::write_span_start(&mut Vec::new(), kind, name, &fields).to_vec();
            if encoded.len() > bench.intake.cuts().uncut {
                return None;
            }
            bench.spans.start_encoded(&mut bench.intake, &mut encoded, start).expect("it is well-formed")
        } else {
            bench.spans.start(&mut bench.intake, name, kind, fields.iter().copied(), start)
        };
        let span = bench.spans.find(serial).expect("it is open");
        for (name, text) in set {
            span.set_field(&field_of(name, Some(text)));
            span.add_event(UnixNanos(1), name, [field_of(text, Some(name))].into_iter());
        }
        if let Some(reason) = failure {
            span.fail(reason);
        }
        bench.end(serial);
    }
    let entries = bench.store.reader(Signal::Span).all();
    assert_eq!(entries.len(), 2);
    let said: Vec<_> = entries
        .iter()
        .map(|entry| {
            let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
            let events: Vec<_> = span.events.iter().map(|event| (event.name, fields_of(event.fields))).collect();
            let Span { name, kind, status, failure, fields, .. } = span;
            format!("{name} {kind} {status} {failure} {:?} {events:?} {}", fields_of(fields), entry.envelope().cut)
        })
        .collect();
    assert_eq!(said[0], said[1], "what is known does not change what is stored");
    Some(said[0].clone())
}

fn fields_of(fields: wire::Fields<'_>) -> Vec<Field<'_>> {
    fields.iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_crosses_encoded_is_stored_as_by_the_typed_call(told in told()) {
        if let Some(stored) = stored_of(&told, true) {
            prop_assert_eq!(Some(stored), stored_of(&told, false));
        }
    }
}

#[test]
fn a_secret_is_found_also_where_all_else_is_known() {
    let mut bench = Bench::new(true);
    let mut check = |name: &str, value: Value<'_>, expect: &str| {
        let fields = [Field { name, value }];
        let mut encoded = wire::write_span_start(&mut Vec::new(), SpanKind::Internal, "work", &fields).to_vec();
        let serial =
            bench.spans.start_encoded(&mut bench.intake, &mut encoded, Reading::default()).expect("it is well-formed");
        bench.end(serial);
        let entry = bench.store.reader(Signal::Span).all().pop().expect("the span is stored");
        let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
        assert_eq!(format!("{:?}", fields_of(span.fields)[0].value), expect);
    };
    for _ in 0..2 {
        check("path", Value::Text("/index.html"), "Text(\"/index.html\")");
        check("path", Value::Text("/?password=hunter2"), "Text(\"/?password=[redacted]\")");
        check("pin", Value::Integer(1234), "Text(\"[redacted]\")");
        check("path", Value::Text("two words"), "Text(\"two words\")");
    }
}

fn text_bytes(value: Value<'_>) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}
