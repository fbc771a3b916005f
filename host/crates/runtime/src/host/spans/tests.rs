//! Spans as they are opened, changed, ended and stored.

use std::sync::Arc;

use glasshouse_model::record::SPANS_LEFT_OUT;
use glasshouse_model::settings::{Debugging, Settings};
use glasshouse_model::wire::{Fields, Link, Value};
use glasshouse_model::{Envelope, Signal, Span, SpanStatus, TraceId, UnixNanos, limits};
use glasshouse_telemetry::{Body, Store, StoreSettings};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::clock::SystemClock;
use crate::host::open_span::{EVENT_BYTES, FIELD_BYTES, LINK_BYTES};

const ROOT: SpanId = SpanId([7; 8]);

struct Bench {
    store: Arc<Store>,
    intake: Intake,
    imports: Imports,
    spans: Spans,
}

impl Bench {
    fn new(tracing_enabled: bool) -> Self {
        let debugging = Debugging { tracing_enabled, ..Debugging::default() };
        let store = Store::new(&StoreSettings::new(&Settings { debugging, ..Settings::default() }), Arc::default());
        let clock = Arc::new(SystemClock::new());
        let mut intake = Intake::new(store.recorder(), Arc::clone(&clock) as Arc<dyn glasshouse_model::Clock>);
        intake.set_context(Context { span_id: ROOT, ..Context::default() });
        Self { store, intake, imports: Imports::new(Arc::default(), clock), spans: Spans::default() }
    }

    fn start(&mut self, name: &str) -> u32 {
        self.start_at(name, 0)
    }

    fn start_at(&mut self, name: &str, at: u64) -> u32 {
        let start = Reading { at, ..Reading::default() };
        self.spans.start(&mut self.intake, &mut self.imports, name, SpanKind::Internal, std::iter::empty(), start)
    }

    /// Decides on what waited.
    fn decide(&self, is_kept: bool) {
        let decided = self.intake.decide(is_kept);
        self.intake.recorder().tell_missing(UnixNanos(0), self.intake.context_bytes(), decided.gone);
    }

    fn start_encoded(&mut self, encoded: &mut Vec<u8>) -> Result<u32, Malformed> {
        self.spans.start_encoded(&mut self.intake, &mut self.imports, encoded, Reading::default())
    }

    fn start_root(&mut self, name: &str) -> u32 {
        let (kind, fields) = (SpanKind::Internal, std::iter::empty());
        self.spans.start_root(&mut self.intake, &mut self.imports, name, kind, fields, Reading::default())
    }

    fn end(&mut self, serial: u32) {
        self.end_at(serial, 0);
    }

    fn end_at(&mut self, serial: u32, at: u64) {
        let reading = Reading { at, ..Reading::default() };
        self.spans.end(&mut self.intake, &mut self.imports, serial, &reading).expect("it is open");
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
    assert!(bench.spans.end_innermost(
        &mut bench.intake,
        &mut bench.imports,
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
    while bench.spans.end_innermost(&mut bench.intake, &mut bench.imports, &trapped) {}
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
    let (mut spans, mut imports) =
        (Spans::default(), Imports::new(Arc::default(), Arc::clone(&clock) as Arc<dyn glasshouse_model::Clock>));
    for round in 0..10 {
        // Each ended a second after the one before it, long ago.
        for number in 0..RATE {
            let at = number * 100_000_000;
            let start = Reading { at, ..Reading::default() };
            let serial = spans.start(&mut intake, &mut imports, "work", SpanKind::Internal, std::iter::empty(), start);
            let end = Reading { at: at + 1, ..Reading::default() };
            spans.end(&mut intake, &mut imports, serial, &end).expect("it is open");
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

/// An open span: number, trace, own id, parent, and the trace and span that it is linked to.
type Opened = (u32, TraceId, SpanId, SpanId, Vec<([u8; 16], [u8; 8])>);

/// Trace and own id, and what the intake says is in force.
fn in_force(bench: &Bench) -> (TraceId, SpanId) {
    let decoded = Context::decode(bench.intake.context_bytes()).expect("it was just encoded");
    assert_eq!(&decoded, bench.intake.context());
    (decoded.trace_id, decoded.span_id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_span_is_stored_in_the_trace_of_the_innermost_one_that_began_one_whichever_ends_first(
        steps in vec((any::<bool>(), any::<bool>(), 0..8_usize), 1..40),
    ) {
        let mut bench = Bench::new(true);
        let trace_id = TraceId([9; 16]);
        bench.intake.change_context(|context| context.trace_id = trace_id);
        let mut open: Vec<Opened> = Vec::new();
        let mut traces = vec![trace_id];
        for (starts, is_root, which) in steps {
            if starts || open.is_empty() {
                let (trace, around) = in_force(&bench);
                let serial = if is_root { bench.start_root("root") } else { bench.start("work") };
                let (now, own) = in_force(&bench);
                prop_assert_eq!(now != trace, is_root);
                if is_root {
                    prop_assert!(!traces.contains(&now));
                    traces.push(now);
                    open.push((serial, now, own, SpanId::default(), vec![(trace.0, around.0)]));
                } else {
                    open.push((serial, now, own, around, Vec::new()));
                }
                let correlation = bench.intake.context().correlation();
                prop_assert_eq!(correlation, trace_id.to_string(), "it stays what it was");
            } else {
                let (serial, trace, own, parent, links) = open.remove(which % open.len());
                bench.end(serial);
                let entry = bench.store.reader(Signal::Span).all().pop().expect("the span is stored");
                let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
                let context = entry.envelope().context.expect("a span has one");
                prop_assert_eq!((context.trace_id, context.span_id, span.parent), (trace, own, parent));
                let said: Vec<_> = span.links.iter().map(|(link, _)| (link.trace_id, link.span_id)).collect();
                prop_assert_eq!(said, links);
            }
            let innermost = open.last().map_or((trace_id, ROOT), |(_, trace, own, ..)| (*trace, *own));
            prop_assert_eq!(in_force(&bench), innermost);
            prop_assert_eq!(bench.spans.is_in_own_trace(), innermost.0 != trace_id);
        }
        for (serial, ..) in open.into_iter().rev() {
            bench.end(serial);
        }
        prop_assert_eq!(in_force(&bench), (trace_id, ROOT));
        prop_assert_eq!(&bench.intake.context().correlation_id, &None);
        prop_assert!(bench.spans.home.is_none());
    }
}

#[test]
fn what_a_root_costs_is_none_of_what_the_span_around_it_costs_by_itself() {
    let mut bench = Bench::new(true);
    let outer = bench.start_at("outer", 0);
    let root = bench.start_root("root");
    bench.end_at(root, 70);
    bench.end_at(outer, 100);
    let entries = bench.store.reader(Signal::Span).all();
    let own: Vec<_> = entries
        .iter()
        .map(|entry| match entry.body() {
            Ok(Body::Span(span)) => span.own().elapsed_nanos,
            _ => panic!("no span"),
        })
        .collect();
    assert_eq!(own, [70, 30]);
}

fn to(id: u8, state: &str) -> Link<'_> {
    Link { trace_id: [id; 16], span_id: [id; 8], state }
}

#[test]
fn of_links_the_first_ones_are_kept_and_what_has_no_room_is_marked() {
    let bare = |span: &mut OpenSpan, id| span.add_link(&to(id, ""), std::iter::empty());
    Bench::stored(
        |span| (1..=limits::LINKS).for_each(|id| bare(span, id as u8)),
        |envelope, span| {
            let ids: Vec<_> = span.links.iter().map(|(link, _)| usize::from(link.trace_id[0])).collect();
            assert_eq!(ids, (1..=limits::LINKS).collect::<Vec<_>>());
            assert!(!envelope.cut, "so many have room");
        },
    );
    let one_more = |span: &mut OpenSpan| (0..=limits::LINKS).for_each(|_| bare(span, 1));
    Bench::stored(one_more, |envelope, span| assert!(envelope.cut && span.links.len() == limits::LINKS));

    let work = |span: &mut OpenSpan| {
        let long = x(limits::TEXT_BYTES);
        for id in 1..=100 {
            span.add_link(&to(id, ""), (0..limits::FIELDS).map(|_| text("a", &long)));
        }
        assert!(span.links.capacity() <= 2 * LINK_BYTES && span.link_count == 0);
        for id in 1..=100 {
            span.add_link(&to(id, ""), [text("a", &x(100))].into_iter());
        }
        assert!(span.links.len() <= LINK_BYTES);
    };
    Bench::stored(work, |envelope, span| assert!(envelope.cut && (20..50).contains(&span.links.len())));
}

#[test]
fn a_state_that_is_none_or_too_long_is_left_out_of_its_link() {
    let members = |bytes: usize| format!("a={},b={},c={}", x(200), x(200), x(bytes - 408));
    let states = [
        String::new(),
        "rojo=1,ot=th:e".to_owned(),
        members(limits::LINK_STATE_BYTES),
        members(513),
        "none".to_owned(),
    ];
    let kept = [&states[0], &states[1], &states[2], &states[0], &states[0]];
    for (state, kept) in states.iter().zip(kept) {
        Bench::stored(
            |span| span.add_link(&to(1, state), std::iter::empty()),
            |envelope, span| {
                let (link, _) = span.links.iter().next().expect("the link is kept");
                assert_eq!((link.state, envelope.cut), (kept.as_str(), kept != state));
            },
        );
    }
}

#[test]
fn a_span_that_is_full_of_everything_is_a_record_within_its_bounds() {
    let long = x(limits::TEXT_BYTES);
    let mut bench = Bench::new(true);
    let serial = bench.start(&x(limits::NAME_BYTES));
    let span = bench.spans.find(serial).expect("it is open");
    for number in 0..1000 {
        span.set_field(&text(&format!("{number}"), &x(300)));
        span.add_event(UnixNanos(1), "happened", [text("a", &x(30))].into_iter());
        span.add_link(&to(1, ""), std::iter::empty());
    }
    span.fail(&long);
    bench.end(serial);
    let entry = bench.store.reader(Signal::Span).all().pop().expect("the span is stored");
    assert!(entry.bytes() <= limits::RECORD_BYTES, "{}", entry.bytes());
}

/// What a span was opened with, linked to and set to, and what happened in it.
type Told = (String, Vec<(String, Option<String>)>, Vec<(u8, String, String)>, Vec<(String, String)>, Option<String>);

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
    let links = prop_oneof![
        8 => Just(Vec::new()),
        4 => vec((1..4_u8, prop_oneof![Just(String::new()), "[a-z]{1,4}=[a-z]{1,4}", "[a-z]{0,3}"], short()), 1..4),
        1 => vec((1..4_u8, Just(String::new()), Just(String::new())), 120..140),
    ];
    ("[a-d]{0,2}", fields, links, vec((name(), text()), 0..4), of(text()))
}

fn field_of<'f>(name: &'f str, text: Option<&'f String>) -> Field<'f> {
    Field { name, value: text.map_or(Value::Integer(7), |text| Value::Text(text)) }
}

/// What is stored of such a span, by one door or the other, the first time that it comes and the second; `None` if it is too long for that door.
fn stored_of((name, fields, links, set, failure): &Told, is_encoded: bool) -> Option<String> {
    let mut bench = Bench::new(true);
    let fields: Vec<_> = fields.iter().map(|(name, text)| field_of(name, text.as_ref())).collect();
    let link_fields: Vec<_> = links.iter().map(|(.., text)| [field_of("a", Some(text))]).collect();
    let links: Vec<_> =
        links.iter().zip(&link_fields).map(|((id, state, _), fields)| (to(*id, state), &fields[..])).collect();
    for _ in 0..2 {
        let (kind, start) = (SpanKind::Client, Reading::default());
        let serial = if is_encoded {
            let mut encoded = if links.is_empty() {
                wire::write_span_start(&mut Vec::new(), kind, name, &fields).to_vec()
            } else {
                wire::write_linked_span_start(&mut Vec::new(), kind, false, &links, name, &fields).to_vec()
            };
            if encoded.len() <= bench.intake.cuts().uncut {
                bench.start_encoded(&mut encoded).expect("it is well-formed")
            } else if links.is_empty() {
                return None;
            } else {
                let whole = wire::span_start(&encoded).expect("it is well-formed");
                bench.spans.start_whole(&mut bench.intake, &mut bench.imports, &whole, start)
            }
        } else {
            bench.spans.start(&mut bench.intake, &mut bench.imports, name, kind, fields.iter().copied(), start)
        };
        let span = bench.spans.find(serial).expect("it is open");
        if !is_encoded {
            for (link, fields) in &links {
                span.add_link(link, fields.iter().copied());
            }
        }
        if let Some((link, fields)) = links.first() {
            span.add_link(link, fields.iter().copied());
        }
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
            let links: Vec<_> = span.links.iter().map(|(link, fields)| (link, fields_of(fields))).collect();
            let Span { name, kind, status, failure, fields, .. } = span;
            let cut = entry.envelope().cut;
            format!("{name} {kind} {status} {failure} {:?} {events:?} {links:?} {cut}", fields_of(fields))
        })
        .collect();
    assert_eq!(said[0], said[1], "what is known does not change what is stored");
    Some(said[0].clone())
}

fn fields_of(fields: Fields<'_>) -> Vec<Field<'_>> {
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
        let serial = bench.start_encoded(&mut encoded).expect("it is well-formed");
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

#[test]
fn a_secret_in_a_link_is_found_though_the_span_is_known() {
    let mut bench = Bench::new(true);
    let mut check = |value: &str, expect: &str| {
        let fields = [text("path", value)];
        let links = [(to(1, "a=password:hunter2"), &fields[..])];
        let mut plain = wire::write_span_start(&mut Vec::new(), SpanKind::Internal, "work", &[]).to_vec();
        let mut linked =
            wire::write_linked_span_start(&mut Vec::new(), SpanKind::Internal, false, &links, "work", &[]).to_vec();
        for encoded in [&mut plain, &mut linked] {
            let serial = bench.start_encoded(encoded).expect("it is well-formed");
            bench.end(serial);
        }
        let entry = bench.store.reader(Signal::Span).all().pop().expect("the span is stored");
        let Ok(Body::Span(span)) = entry.body() else { panic!("no span") };
        let (link, fields) = span.links.iter().next().expect("it is linked");
        assert_eq!(format!("{:?}", fields_of(fields)[0].value), expect);
        assert!(!link.state.contains("hunter2"), "{}", link.state);
    };
    for _ in 0..2 {
        check("/index.html", "Text(\"/index.html\")");
        check("/?password=hunter2", "Text(\"/?password=[redacted]\")");
    }
}

fn text_bytes(value: Value<'_>) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}
