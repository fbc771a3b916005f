//! Traces that an extension begins itself: what belongs to them, whether they are kept, and how they end.

use std::collections::BTreeSet;

use glasshouse_model::{Context, Signal, SpanId, SpanStatus, TraceId, TraceParent};
use glasshouse_runtime::{Extension, Trigger};
use glasshouse_telemetry::Body;
use serde_json::json;

use crate::harness::{House, ask, each, event, failures, invocation_envelopes, logs_with, spans};

const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";

fn sent(is_sampled: bool) -> Trigger {
    let parent: TraceParent = format!("{SENT}{}", u8::from(is_sampled)).parse().expect("a traceparent");
    Trigger::from(parent).tracestate("rojo=1").baggage("tier=gold")
}

/// What `round` tells of before, within and after its own trace: headers, and the correlation id.
async fn round(extension: &Extension, trigger: Trigger) -> [[String; 4]; 3] {
    let reply = extension.call(event("round", json!("").to_string()), trigger).await.expect("it replies");
    serde_json::from_slice(&reply.payload).expect("three times four texts")
}

/// The spans with their links, by name.
fn linked(extension: &Extension) -> Vec<(String, Vec<(TraceId, SpanId)>)> {
    each(extension, Signal::Span, |_, body| match body {
        Body::Span(span) => {
            let links = span.links.iter().map(|(link, _)| (TraceId(link.trace_id), SpanId(link.span_id)));
            Some((span.name.to_owned(), links.collect()))
        }
        _ => None,
    })
}

fn context_of(extension: &Extension, span: &str) -> Context {
    spans(extension).into_iter().rfind(|one| one.name == span).unwrap_or_else(|| panic!("no span {span}")).context
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_in_a_trace_of_its_own_belongs_to_that_and_the_calls_comes_back() {
    let house = House::new();
    let extension = house.ready("context").await;
    let [before, within, after] = round(&extension, sent(true)).await;
    assert_eq!(before, after);
    let call = invocation_envelopes(&extension, "handle:round")[0].context.clone().expect("a context");
    let (outer, own) = (context_of(&extension, "outer"), context_of(&extension, "round"));
    assert_eq!(before[0], format!("00-{}-{}-01", call.trace_id, outer.span_id));
    assert_eq!(within[0], format!("00-{}-{}-01", own.trace_id, own.span_id));
    assert_ne!(own.trace_id, call.trace_id);
    // What other vendors say is of the trace that it came with; correlation and baggage are of the work.
    assert_eq!([&before[1], &within[1]], ["rojo=1", "ot=th:0"]);
    assert_eq!([&within[2], &within[3]], ["tier=gold", &call.trace_id.to_string()]);

    let of = |message: &str| logs_with(&extension, message).pop().expect("it is stored").context().clone();
    for (message, of_trace, of_span) in [
        ("before", &call, outer.span_id),
        ("within", &own, own.span_id),
        ("inside", &own, context_of(&extension, "inner").span_id),
        ("after", &call, outer.span_id),
        ("printed", &call, call.span_id),
    ] {
        let context = of(message);
        assert_eq!((context.trace_id, context.span_id), (of_trace.trace_id, of_span), "{message}");
        assert_eq!(context.correlation(), call.trace_id.to_string(), "{message}");
    }
    assert_eq!(of("inside").user.as_deref(), Some("ada"));
    assert_eq!(of("after").correlation_id, None, "at home the trace's id stands for it again");

    let around = vec![(call.trace_id, outer.span_id)];
    let all = linked(&extension);
    let all: Vec<_> = all.iter().map(|(name, links)| (name.as_str(), links.clone())).collect();
    assert_eq!(all, [("inner", vec![]), ("round", around), ("outer", vec![])]);
    let parents: Vec<_> = spans(&extension).into_iter().map(|span| span.parent).collect();
    assert_eq!(parents, [own.span_id.to_string(), SpanId::default().to_string(), call.span_id.to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_it_is_kept_is_decided_where_it_begins() {
    for (call_is_kept, rate) in [(true, 0.0), (false, 1.0)] {
        let house = House::new();
        let change = |spec: &mut glasshouse_runtime::ExtensionSpec| spec.settings.debugging.sampling_rate = rate;
        let extension = house.ready_with("context", change).await;
        let told = round(&extension, sent(call_is_kept)).await;
        let flags: Vec<_> = told.iter().map(|headers| &headers[0][53..]).collect();
        let (of_call, of_own) = if call_is_kept { ("01", "00") } else { ("00", "01") };
        assert_eq!(flags, [of_call, of_own, of_call]);
        let stored: Vec<_> = spans(&extension).into_iter().map(|span| span.name).collect();
        let messages = ["before", "within", "inside", "after"];
        let logged: Vec<_> = messages.into_iter().filter(|one| !logs_with(&extension, one).is_empty()).collect();
        if call_is_kept {
            assert_eq!((stored, logged), (vec!["outer".to_owned()], vec!["before", "after"]));
        } else {
            assert_eq!((stored, logged), (vec!["inner".to_owned(), "round".to_owned()], vec!["within", "inside"]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_amid_its_own_traces_is_of_the_trace_that_it_came_with() {
    let house = House::new();
    let extension = house.ready("context").await;
    extension.call(event("round-broken", ""), sent(true)).await.expect_err("it panics");
    let call = invocation_envelopes(&extension, "handle:round-broken")[0].context.clone().expect("a context");
    let (failure, _) = failures(&extension).pop().expect("a failure");
    assert_eq!(failure.context.as_ref(), Some(&call));

    let ended = spans(&extension);
    let said: Vec<_> = ended.iter().map(|span| (span.name.as_str(), span.status)).collect();
    assert_eq!(
        said,
        [("first", SpanStatus::Ok), ("second", SpanStatus::Ok), ("third", SpanStatus::Unfinished)],
        "in the order in which they ended"
    );
    let traces: Vec<_> = ended.iter().map(|span| span.context.trace_id).collect();
    assert_eq!(traces[1], traces[2], "the third lies in the second");
    assert_eq!(BTreeSet::from([call.trace_id, traces[0], traces[1]]).len(), 3);
    let around = [(call.trace_id, call.span_id), (traces[0], ended[0].context.span_id)];
    let links: Vec<_> = linked(&extension).into_iter().flat_map(|(_, links)| links).collect();
    assert_eq!(links, around);
    for (message, span) in [("in the second", 1), ("in the third", 2)] {
        let log = logs_with(&extension, message).pop().expect("it is stored");
        assert_eq!(log.context().span_id, ended[span].context.span_id, "{message}");
        assert_eq!(log.context().trace_id, traces[1], "{message}");
    }
    // The next call knows nothing of it.
    let again = round(&extension, Trigger::default()).await;
    assert_ne!(again[0][0][3..35], call.trace_id.to_string());
    assert_eq!(again[0], again[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typed_resource_begins_a_trace_as_bytes_do() {
    let house = House::new();
    let extension = house.ready("forged-spans").await;
    ask(&extension, "root-typed", "").await;
    let [bytes, inner, root] = spans(&extension).try_into().expect("three");
    let none = SpanId::default().to_string();
    let told = [&bytes, &inner, &root].map(|span| (span.name.as_str(), span.parent.clone()));
    let (bytes, inner, root) = (&bytes.context, &inner.context, &root.context);
    assert_eq!(told, [("bytes", none.clone()), ("made", root.span_id.to_string()), ("root", none)]);
    let call = invocation_envelopes(&extension, "handle:root-typed")[0].context.clone().expect("a context");
    assert_eq!(inner.trace_id, root.trace_id);
    assert_eq!(BTreeSet::from([call.trace_id, root.trace_id, bytes.trace_id]).len(), 3);
    let links: Vec<_> = linked(&extension).into_iter().map(|(_, links)| links).collect();
    let (in_inner, in_call) = (vec![(inner.trace_id, inner.span_id)], vec![(call.trace_id, call.span_id)]);
    assert_eq!(links, [in_inner, vec![], in_call]);
}
