//! Trees of made-up calls and spans.

use glasshouse_model::invocation::{Cost, HostUses};
use glasshouse_model::record::{Envelope, KIND_INVOCATION, KIND_SPAN, SPANS_LEFT_OUT};
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{Field, Fields, Links, Value};
use glasshouse_model::{
    Context, Invocation, Level, Origin, Outcome, Signal, Span, SpanCost, SpanId, SpanKind, SpanStatus, TraceId,
    UnixNanos,
};
use glasshouse_telemetry::{Body, Query, Store, StoreSettings};
use proptest::prelude::*;

use super::tree::grow;
use super::{Depth, Note, NoteRecord, Source, Trace, Traces, Work};
use crate::records::sealed::FromStore as _;
use crate::records::{FieldList, FieldValue, Head, InvocationRecord, LogRecord, SpanRecord};

fn head(id: u8, sequence: u64, end: i64) -> Head {
    let context = Context { span_id: SpanId([id; 8]), ..Context::default() };
    let (cut, batched) = (false, false);
    Envelope { sequence, time: UnixNanos(end), origin: Origin::Host, cut, batched, context: Some(context) }.into()
}

fn invocation(cause: Option<u8>, nanos: u64) -> Invocation<'static> {
    let cost =
        Cost { elapsed_nanos: nanos - nanos / 4, queued_nanos: nanos / 4, fuel: Some(nanos * 10), ..Cost::default() };
    Invocation {
        outcome: Outcome::Ok,
        name: "handle:x",
        parent: None,
        cause: cause.map(|id| SpanId([id; 8])),
        cost,
        host: HostUses::default(),
        input_bytes: 0,
        input: None,
        output_bytes: 0,
    }
}

fn call(id: u8, cause: Option<u8>, start: i64, nanos: u64) -> Work {
    let invocation = invocation(cause, nanos);
    let record = InvocationRecord::from_store(head(id, id.into(), start + nanos as i64), Body::Invocation(invocation));
    Work::Call(record.expect("it is one"))
}

fn made_span(parent: SpanId, start: i64, nanos: u64) -> Span<'static> {
    Span {
        parent,
        kind: SpanKind::Internal,
        status: SpanStatus::Ok,
        name: "work",
        failure: "",
        start: UnixNanos(start),
        total: SpanCost { elapsed_nanos: nanos, fuel: Some(nanos * 10), ..SpanCost::default() },
        children: SpanCost::default(),
        fields: Fields::EMPTY,
        events: Vec::new(),
        links: Links::EMPTY,
        memory_bytes: 0,
        host: HostUses::default(),
    }
}

fn span(id: u8, parent: u8, start: i64, nanos: u64) -> Work {
    let span = made_span(SpanId([parent; 8]), start, nanos);
    // Inner spans end, and so are stored, first.
    let sequence = 1000 - u64::from(id);
    let record = SpanRecord::from_store(head(id, sequence, start + nanos as i64), Body::Span(span));
    Work::Span(record.expect("it is one"))
}

fn trace(works: impl IntoIterator<Item = (&'static str, Work)>) -> Trace {
    let works = works.into_iter().map(|(extension, work)| (extension.to_owned(), work)).collect();
    grow(TraceId([1; 16]), works, Vec::new(), false)
}

/// Of each step: whose it is, how deep it lies, what it took by itself, its part of the critical path and its own fuel.
fn told(trace: &Trace) -> Vec<(&str, usize, u64, u64, u64)> {
    let told = trace.steps.iter().map(|step| {
        (step.extension.as_str(), step.depth, step.self_ns, step.critical_ns, step.self_fuel.unwrap_or_default())
    });
    told.collect()
}

#[test]
fn calls_and_spans_are_a_tree_with_a_critical_path() {
    // a: 100..200, with a span 110..190, in which b is called 120..170 while c, which nobody waits for, runs 130..300.
    let works = [
        ("a", call(1, None, 100, 100)),
        ("a", span(2, 1, 110, 80)),
        ("b", call(3, Some(2), 120, 50)),
        ("c", call(4, Some(1), 130, 170)),
    ];
    let trace = trace(works);
    assert_eq!(
        told(&trace),
        [("a", 0, 10, 20, 200), ("a", 1, 30, 30, 800), ("b", 2, 50, 50, 500), ("c", 1, 170, 0, 1700)]
    );
    assert_eq!((trace.start, trace.elapsed_ns, trace.fuel), (UnixNanos(100), 200, Some(3200)));
    let named: Vec<_> = trace.bottlenecks().iter().map(|(step, part)| (step.extension.as_str(), *part)).collect();
    assert_eq!(named, [("b", 0.5), ("a", 0.3), ("a", 0.2)]);
    assert!(!trace.partial);
}

#[test]
fn what_is_caused_by_something_that_is_not_stored_finds_its_place() {
    // The span that the inner one lies in was not stored; nor was the call that made b.
    let works = [("a", call(1, None, 0, 100)), ("a", span(3, 2, 40, 10)), ("b", call(5, Some(4), 60, 10))];
    let trace = trace(works);
    let parents: Vec<_> = trace.steps.iter().map(|step| (step.extension.as_str(), step.parent)).collect();
    assert_eq!(parents, [("a", None), ("a", Some(0)), ("b", None)]);
    assert!(trace.partial, "a cause is missing");
}

#[test]
fn a_trace_without_a_span_that_others_lie_in_is_partial_and_one_of_another_programs_is_not() {
    let whole = trace([("a", call(1, None, 0, 100)), ("a", span(2, 1, 10, 80)), ("a", span(3, 2, 40, 10))]);
    assert!(!whole.partial);
    let robbed = trace([("a", call(1, None, 0, 100)), ("a", span(3, 2, 40, 10))]);
    assert!(robbed.partial, "the span in between is missing");
    assert_eq!(robbed.steps[1].parent, Some(0), "what lay in it is found in its call");
    // What another program began is not to be stored here.
    let Work::Call(mut first) = call(1, None, 0, 100) else { panic!("no call") };
    first.parent = Some(SpanId([9; 8]));
    assert!(!trace([("a", Work::Call(first)), ("a", span(2, 1, 10, 80))]).partial);
}

#[test]
fn spans_that_start_and_end_together_keep_their_order() {
    let trace = trace([("a", span(3, 2, 0, 10)), ("a", span(2, 1, 0, 10)), ("a", call(1, None, 0, 10))]);
    let depths: Vec<_> = trace.steps.iter().map(|step| (step.work.head().sequence, step.depth)).collect();
    assert_eq!(depths, [(1, 0), (998, 1), (997, 2)]);
}

/// What an extension has stored: traces of so many calls with a span each.
fn stored(traces: &[(TraceId, u32)]) -> Traces {
    stored_within(traces, usize::MAX)
}

/// The same, with room for so many bytes of spans.
fn stored_within(traces: &[(TraceId, u32)], span_bytes: usize) -> Traces {
    let mut settings = StoreSettings::new(&Settings::default());
    for bounds in &mut settings.bounds {
        (bounds.records, bounds.bytes) = (usize::MAX, usize::MAX);
    }
    settings.bounds[Signal::Span as usize].bytes = span_bytes;
    let store = Store::new(&settings, std::sync::Arc::default());
    let recorder = store.recorder();
    let mut end = 0;
    for (trace_id, calls) in traces {
        for _ in 0..*calls {
            end += 100;
            let id = |part: i64| SpanId((end + part).to_be_bytes());
            let append = |signal, span_id, kind, body: &[u8]| {
                let mut context = Vec::new();
                Context { trace_id: *trace_id, span_id, ..Context::default() }.encode(&mut context);
                let (origin, cut, batched, time) = (Origin::Host, false, false, UnixNanos(end));
                let head = glasshouse_telemetry::Head { time, origin, cut, batched, context: &context };
                recorder.append(signal, head, kind, body);
            };
            let mut body = Vec::new();
            made_span(id(0), end - 40, 10).encode(&mut body, &[], 0, &[]);
            append(Signal::Span, id(1), KIND_SPAN, &body);
            body.clear();
            invocation(None, 50).encode(&mut body);
            append(Signal::Invocation, id(0), KIND_INVOCATION, &body);
        }
    }
    Traces(vec![Source::new("a", |signal| store.reader(signal))])
}

#[test]
fn no_trace_of_many_goes_short_for_the_others_sake() {
    let traces: Vec<_> = (1..=3).map(|number| (TraceId([number; 16]), 4_000)).collect();
    let query = Query::parse("", UnixNanos(0)).expect("a query");
    let found = stored(&traces).newest(&query, 10).expect("a query");
    let told: Vec<_> = found.iter().map(|trace| (trace.trace_id, trace.steps.len(), trace.partial)).collect();
    assert_eq!(told, traces.iter().map(|(id, calls)| (*id, 2 * *calls as usize, false)).collect::<Vec<_>>());
}

#[test]
fn a_trace_of_which_the_host_tells_that_spans_had_no_room_is_partial_whatever_a_guest_says() {
    for (origin, event, partial) in [
        (Origin::Host, SPANS_LEFT_OUT, true),
        (Origin::Guest, SPANS_LEFT_OUT, false),
        (Origin::Host, "telemetry.rate", false),
    ] {
        let log = LogRecord {
            head: Head { origin, ..head(1, 7, 100) },
            level: Level::Info,
            target: "glasshouse".to_owned(),
            message: "too many".to_owned(),
            source: None,
            guest_time: None,
            fields: FieldList(vec![("event".to_owned(), FieldValue::Text(event.to_owned()))]),
        };
        let note = Note { extension: "a".to_owned(), record: NoteRecord::Log(log) };
        let trace = grow(TraceId([1; 16]), vec![("a".to_owned(), call(1, None, 0, 100))], vec![note], false);
        assert_eq!((trace.partial, trace.steps[0].notes.len()), (partial, 1), "{origin} {event}");
    }
}

#[test]
fn a_list_reads_of_what_was_said_only_that_spans_are_missing() {
    let store = Store::new(&StoreSettings::new(&Settings::default()), std::sync::Arc::default());
    let id = TraceId([1; 16]);
    let mut context = Vec::new();
    Context { trace_id: id, span_id: SpanId([1; 8]), ..Context::default() }.encode(&mut context);
    let head = |time| {
        let (origin, cut, batched, time) = (Origin::Host, false, false, UnixNanos(time));
        glasshouse_telemetry::Head { time, origin, cut, batched, context: &context }
    };
    let mut body = Vec::new();
    invocation(None, 50).encode(&mut body);
    store.recorder().append(Signal::Invocation, head(100), KIND_INVOCATION, &body);
    for (time, event) in [(101, "other"), (102, SPANS_LEFT_OUT), (103, "other")] {
        let event = Field { name: "event", value: Value::Text(event) };
        store.recorder().host_log(UnixNanos(time), &context, Level::Info, "said", &[event]);
    }
    let traces = Traces(vec![Source::new("a", |signal| store.reader(signal))]);
    let notes = |depth| {
        let found = traces.read_at_once(&[id], &traces.look(depth)).expect("a query").expect("it has room");
        found[0].steps[0].notes.len()
    };
    assert_eq!((notes(Depth::Whole), notes(Depth::Steps)), (3, 1));
    let list = traces.list(&Query::all(), 10).expect("a query");
    assert!(list.len() == 1 && list[0].partial, "{list:?}");
}

#[test]
fn a_trace_whose_first_spans_had_to_go_since_is_partial_and_later_ones_are_not() {
    let ids: Vec<_> = (1..=40).map(|number| TraceId([number; 16])).collect();
    let stored = stored_within(&ids.iter().map(|id| (*id, 50)).collect::<Vec<_>>(), 64 * 1024);
    let traces = stored.whole(&ids).expect("a query");
    let spans = |trace: &Trace| trace.steps.len() - trace.calls().count();
    assert!(traces.iter().all(|trace| trace.calls().count() == 50));
    assert!(spans(&traces[0]) == 0 && spans(&traces[39]) == 50, "the oldest had to go");
    for trace in &traces {
        assert_eq!(trace.partial, spans(trace) < 50, "{} of 50 are there", spans(trace));
    }
}

#[test]
fn only_a_trace_that_is_too_long_itself_is_partial() {
    let (long, short) = ((TraceId([1; 16]), super::RECORDS as u32 + 1), (TraceId([2; 16]), 2));
    let stored = stored(&[long, short]);
    let told = |id: TraceId| {
        let found = stored.find(&id.to_string()).expect("a query");
        found.iter().map(|trace| (trace.steps.len(), trace.partial)).collect::<Vec<_>>()
    };
    assert_eq!((told(long.0), told(short.0)), (vec![(2 * super::RECORDS, true)], vec![(4, false)]));
    let both = stored.whole(&[long.0, short.0]).expect("a query");
    assert_eq!(both.iter().map(|trace| trace.partial).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn what_is_read_at_a_time_has_a_bound_in_bytes_and_what_is_told_is_what_was_visited() {
    let record = super::json_bytes(&record_of(&invocation(None, 50)));
    // With as many calls as are read of one extension, those of several would be too much.
    let calls = super::RECORDS - 1;
    let sources = super::TRACE_BYTES / (calls * (record + super::AROUND_BYTES)) + 1;
    let id = TraceId([1; 16]);
    let sources = (0..sources).map(|_| stored(&[(id, calls as u32), (TraceId([2; 16]), 1)]).0.remove(0));
    let traces = Traces(sources.collect());
    let found = traces.find(&id.to_string()).expect("a query");
    assert!(found[0].partial && found[0].steps.len() > calls, "{}", found[0].steps.len());
    let told = serde_json::to_vec(&found[0]).expect("it is told").len();
    assert!((super::TRACE_BYTES / 2..super::TRACE_BYTES + 1024).contains(&told), "{told}");
    let (ids, mut visited) = (traces.newest_ids(&Query::all(), 10), Vec::new());
    let seen = traces.visit(&ids, &mut |trace| {
        visited.push((trace.trace_id, trace.partial));
        std::ops::ControlFlow::Break(())
    });
    assert_eq!((seen.expect("a query"), visited), (1, vec![(ids[0], ids[0] == id)]));
    let list = traces.list(&Query::all(), 10).expect("a query");
    let told: Vec<_> = list.iter().map(|one| (one.trace_id, one.partial)).collect();
    assert_eq!((told.len(), told.contains(&(id, true))), (2, true), "{told:?}");
}

/// A call as a record.
fn record_of(invocation: &Invocation<'static>) -> InvocationRecord {
    InvocationRecord::from_store(head(1, 1, 1), Body::Invocation(invocation.clone())).expect("it is one")
}

proptest! {
    #[test]
    fn whatever_is_stored_is_a_tree_in_which_the_critical_path_is_the_first_steps_time(
        works in prop::collection::vec((any::<bool>(), 0..9_u8, 0..9_u8, 0..40_i64, 0..40_u64), 0..12)
    ) {
        let works: Vec<_> = works.into_iter().map(|(is_span, id, cause, start, nanos)| {
            ("a", if is_span { span(id, cause, start, nanos) } else { call(id, Some(cause), start, nanos) })
        }).collect();
        let count = works.len();
        let trace = trace(works);
        prop_assert_eq!(trace.steps.len(), count);
        for (index, step) in trace.steps.iter().enumerate() {
            prop_assert!(step.parent.is_none_or(|parent| parent < index && trace.steps[parent].depth + 1 == step.depth));
            prop_assert!(step.self_ns <= step.elapsed_ns);
        }
        if let Some(first) = trace.steps.first() {
            let critical: u64 = trace.steps.iter().map(|step| step.critical_ns).sum();
            prop_assert_eq!(critical, first.elapsed_ns);
        }
    }
}
