//! Which spans are stored of traces that are not kept: those of calls that fail or are slow, whatever the rate.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::{FailureKind, Origin, Signal, SpanStatus};
use glasshouse_runtime::{Extension, SystemClock};
use glasshouse_telemetry::{Body, Drop};

use crate::harness::{House, ask, dropped, each, fail, spans};

/// Longer than any call of these tests.
const NEVER: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_keeps_its_spans_whatever_its_trace_is() {
    for (tracing_enabled, sampling_rate) in [(true, 0.0), (false, 1.0), (false, 0.0)] {
        let house = House::new();
        let extension = house
            .ready_with("panic", |spec| {
                let debugging = &mut spec.settings.debugging;
                (debugging.tracing_enabled, debugging.sampling_rate) = (tracing_enabled, sampling_rate);
                debugging.slow_call = NEVER;
            })
            .await;
        ask(&extension, "count", "").await;
        assert!(spans(&extension).is_empty());
        fail(&extension, "panic", "\"at noon\"", FailureKind::Panic).await;
        let kept: Vec<_> = spans(&extension).into_iter().map(|span| (span.name, span.status)).collect();
        let unfinished = |name: &str| (name.to_owned(), SpanStatus::Unfinished);
        assert_eq!(kept, [unfinished("kettle"), unfinished("kitchen")], "{tracing_enabled} {sampling_rate}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_call_keeps_its_spans_and_those_of_the_host_and_a_quick_one_none() {
    let of_the_host = |extension: &Extension| {
        each(extension, Signal::Span, |envelope, body| match body {
            Body::Span(span) if envelope.origin == Origin::Host => Some((span.name.to_owned(), span.parent)),
            _ => None,
        })
    };
    for (tracing_enabled, slow_call) in [(true, NEVER), (false, NEVER), (true, Duration::from_millis(4))] {
        let house = living_house();
        let extension = house
            .ready_with("spender", |spec| {
                let debugging = &mut spec.settings.debugging;
                (debugging.tracing_enabled, debugging.sampling_rate) = (tracing_enabled, 0.0);
                debugging.slow_call = slow_call;
            })
            .await;
        ask(&extension, "nap", "5").await;
        ask(&extension, "fail", "").await;
        let names: Vec<_> = spans(&extension).into_iter().map(|span| span.name).collect();
        if slow_call == NEVER {
            assert_eq!(names, ["outer"], "only what the guest called failed");
            assert_eq!(
                dropped(&extension, Drop::Sampled),
                if tracing_enabled { 2 } else { 0 },
                "the nap, and the inner span"
            );
        } else {
            let polls = of_the_host(&extension);
            assert_eq!(names.first().map(String::as_str), Some("wasi:io/poll"), "{names:?}");
            let call = each(&extension, Signal::Invocation, |envelope, body| match body {
                Body::Invocation(call) if call.name == "handle:nap" => envelope.context.map(|context| context.span_id),
                _ => None,
            });
            assert_eq!(polls.iter().map(|(_, parent)| *parent).collect::<Vec<_>>(), call);
        }
    }
}

/// A house whose clock goes.
fn living_house() -> House {
    House::with(|settings| settings.clock = Arc::new(SystemClock::new()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_in_which_a_call_reached_its_deadline_is_unfinished() {
    let house = living_house();
    let extension = house
        .ready_with("spender", |spec| {
            spec.settings.debugging.tracing_enabled = false;
            spec.settings.budget.deadline = Duration::from_millis(50);
        })
        .await;
    fail(&extension, "nap", "3600000", FailureKind::DeadlineBreach).await;
    let kept: Vec<_> = spans(&extension).into_iter().map(|span| (span.name, span.status)).collect();
    assert_eq!(kept, [("wasi:io/poll".to_owned(), SpanStatus::Unfinished)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_belongs_to_whom_the_guest_worked_for_then() {
    let house = living_house();
    let extension = house.ready("context").await;
    ask(&extension, "nap", "").await;
    let stored = spans(&extension);
    let users: Vec<_> = stored.iter().map(|span| span.context.user.as_deref()).collect();
    assert_eq!(users, [None, Some("ada"), None], "{stored:?}");
    let ids: std::collections::HashSet<_> = stored.iter().map(|span| span.context.span_id.to_string()).collect();
    assert_eq!(ids.len(), stored.len(), "each has an id of its own");
    assert!(stored.iter().all(|span| span.parent == stored[0].parent), "all are in the call");
}
