//! Which traces are kept, by whose word, and what is stored of those that are not: spans and logs of calls that fail or are slow, whatever the rate.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::SlowCall;
use glasshouse_model::{Context, FailureKind, Level, Origin, Signal, SpanStatus, TraceParent};
use glasshouse_runtime::{Extension, ExtensionSpec, Status, SystemClock, Trigger};
use glasshouse_telemetry::{Body, Drop};
use serde_json::json;

use crate::harness::{House, ask, dropped, each, event, fail, guest, invocation_envelopes, logs, logs_with, spans};

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
                debugging.slow_call = SlowCall::After(NEVER);
            })
            .await;
        ask(&extension, "count", "").await;
        assert!(spans(&extension).is_empty());
        fail(&extension, "panic", "\"at noon\"", FailureKind::Panic).await;
        let stored = spans(&extension);
        assert!(stored.iter().all(|span| !span.context.sampling.is_sampled), "they stand for no others: {stored:?}");
        let kept: Vec<_> = stored.into_iter().map(|span| (span.name, span.status)).collect();
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
                debugging.slow_call = SlowCall::After(slow_call);
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

/// A trigger in a trace that whoever sent it keeps, or not.
fn sent(is_kept: bool) -> Trigger {
    let traceparent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0{}", u8::from(is_kept));
    Trigger::from(traceparent.parse::<TraceParent>().expect("a traceparent"))
}

/// The context of the last call of an event.
fn last_context(extension: &Extension, name: &str) -> Context {
    let envelope = invocation_envelopes(extension, name).pop().expect("there is an invocation");
    envelope.context.expect("it has a context")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_caused_a_call_decides_whether_its_trace_is_kept() {
    for rate_here in [0.0, 0.5, 1.0] {
        let house = House::new();
        let extension = house
            .ready_with("telemetry-flood", |spec| {
                spec.settings.debugging.sampling_rate = rate_here;
                spec.settings.debugging.slow_call = SlowCall::After(NEVER);
            })
            .await;
        let before = logs(&extension).len();
        extension.call(event("work", ""), sent(true)).await.expect("it replies");
        let levels: Vec<_> = logs(&extension)[before..].iter().map(|log| log.level).collect();
        assert_eq!(levels, [Level::Debug, Level::Info, Level::Warning], "{rate_here}");
        let names = |from: usize| spans(&extension)[from..].iter().map(|span| span.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(0), ["done", "failed"], "{rate_here}");

        let before = logs(&extension).len();
        extension.call(event("work", ""), sent(false)).await.expect("it replies");
        let levels: Vec<_> = logs(&extension)[before..].iter().map(|log| log.level).collect();
        assert_eq!(levels, [Level::Warning], "{rate_here}");
        assert_eq!(names(2), ["failed"], "{rate_here}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_with_a_call_and_what_was_decided_on_its_trace_is_passed_on() {
    let house = House::new();
    let context = house.ready_with("context", |spec| spec.settings.debugging.sampling_rate = 0.0).await;
    let caller = house.start("caller", &guest("caller"), |spec| {
        spec.settings.permissions.call = vec!["*".to_owned()];
        spec.settings.debugging.sampling_rate = 0.5;
    });
    assert_eq!(caller.loaded().await, Status::Ready);
    let target = json!({"extension": "context", "event": "headers"}).to_string();
    let told = async |trigger: Trigger| {
        let reply = caller.call(event("call", &target), trigger).await.expect("it replies");
        let reply: String = serde_json::from_slice(&reply.payload).expect("a line");
        let headers = reply.strip_prefix("replied ").unwrap_or_else(|| panic!("{reply}"));
        serde_json::from_str::<[String; 4]>(headers).expect("headers")
    };
    let trigger = sent(true)
        .tracestate("rojo=1, ot=rv:fedcba98765432;th:e;k:v ,congo=t61 rc")
        .baggage("tier = gold%20;ttl=1,b=2");
    let [traceparent, tracestate, baggage, tier] = told(trigger).await;
    let inner = last_context(&context, "handle:headers");
    assert_eq!(traceparent, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", inner.span_id));
    assert_eq!(tracestate, "ot=th:e;rv:fedcba98765432;k:v,rojo=1,congo=t61 rc");
    assert_eq!((baggage.as_str(), tier.as_str()), ("tier=gold%20;ttl=1,b=2", "gold "));
    assert_eq!(inner.sampling, last_context(&caller, "handle:call").sampling);
    assert_eq!(inner.sampling.adjusted_count(), Some(8.0));

    let [traceparent, tracestate, ..] = told(sent(false).tracestate("rojo=1,ot=th:e")).await;
    assert_eq!((&traceparent[53..], tracestate.as_str()), ("00", "rojo=1"));
    // Without a word from whoever sent it, the first extension that has a part in a trace decides.
    let (mut kept, calls) = (0, 64);
    for _ in 0..calls {
        let [traceparent, tracestate, baggage, _] = told(Trigger::default()).await;
        let decided = (&traceparent[53..], tracestate.as_str());
        assert!(decided == ("01", "ot=th:8") || decided == ("00", ""), "{decided:?}");
        assert!(baggage.is_empty(), "what came with one call is not passed on with another");
        kept += u32::from(decided.0 == "01");
    }
    assert!((1..calls).contains(&kept), "{kept} of {calls} were kept at 0.5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_with_a_call_goes_with_the_events_that_it_publishes() {
    let house = House::new();
    let subscriber = house
        .ready_with("context", |spec| {
            spec.settings.debugging.sampling_rate = 0.0;
            spec.subscriptions = vec!["overhear".to_owned()];
        })
        .await;
    let publisher = house.ready_with("caller", |spec| spec.settings.permissions.publish = vec!["*".to_owned()]).await;
    let publish = async |trigger: Trigger| {
        let reply = publisher.call(event("publish", "\"overhear\""), trigger).await.expect("it replies");
        assert_eq!(reply.payload, b"\"published\"");
        // The event is in the mailbox before this call is.
        serde_json::from_str::<[String; 4]>(&ask(&subscriber, "overheard", "").await).expect("headers")
    };
    let trigger = sent(true).tracestate("rojo=1,ot=th:e;rv:fedcba98765432").baggage("tier=gold%20,b=2");
    let [traceparent, tracestate, baggage, tier] = publish(trigger).await;
    let inner = last_context(&subscriber, "handle:overhear");
    assert_eq!(traceparent, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", inner.span_id));
    assert_eq!(tracestate, "ot=th:e;rv:fedcba98765432,rojo=1");
    assert_eq!((baggage.as_str(), tier.as_str()), ("tier=gold%20,b=2", "gold "));
    assert_eq!(inner.sampling.adjusted_count(), Some(8.0));
    let [traceparent, tracestate, baggage, _] = publish(sent(false)).await;
    assert_eq!((&traceparent[53..], &*tracestate, &*baggage), ("00", "", ""), "of another call nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_none_are_counted_and_told_once_and_the_call_is_made() {
    let house = House::new();
    let extension = house.ready("context").await;
    let long = format!("a={}", "v".repeat(1 << 20));
    let wrong = [
        sent(true).tracestate("no list"),
        sent(true).baggage("a b=\u{7}"),
        sent(true).tracestate(&long).baggage(&long),
        Trigger::default().tracestate("rojo=1"),
    ];
    for trigger in wrong {
        let reply = extension.call(event("headers", ""), trigger).await.expect("it replies");
        let [_, tracestate, baggage, _]: [String; 4] = serde_json::from_slice(&reply.payload).expect("headers");
        assert!(!tracestate.contains("rojo") && baggage.is_empty(), "{tracestate} {baggage}");
    }
    assert_eq!(dropped(&extension, Drop::Unusable), 5);
    let told = logs_with(&extension, "is left out of account");
    let [told] = &told[..] else { panic!("once: {told:?}") };
    assert!(
        told.level == Level::Warning && told.message.starts_with("the tracestate that came with a call"),
        "{told:?}"
    );
    assert!(told.message.contains("W3C Trace Context"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_keeps_its_logs_whatever_its_trace_is() {
    let house = House::new();
    let ready = async |name: &str| {
        let change = |spec: &mut ExtensionSpec| {
            spec.settings.debugging.slow_call = SlowCall::After(NEVER);
            // Where no trace is to be kept, guests are told not to make such logs at all.
            spec.settings.debugging.sampling_rate = 0.5;
        };
        house.ready_with(name, change).await
    };
    let told = |extension: &Extension, from: usize| {
        let told = logs(extension).into_iter().skip(from).filter(|log| log.envelope.origin == Origin::Guest);
        told.map(|log| (log.message.clone(), log.envelope.batched)).collect::<Vec<_>>()
    };
    let panic = ready("panic").await;
    let before = logs(&panic).len();
    panic.call(event("panic", "\"at noon\""), sent(false)).await.expect_err("it fails");
    assert_eq!(told(&panic, before), [("about to panic".to_owned(), false)]);

    let batched = ready("batched").await;
    let work = |then: &str| event("log", json!({"logs": 4, "then": then}).to_string());
    let (before, dropped_before) = (logs(&batched).len(), dropped(&batched, Drop::Sampled));
    batched.call(work("well"), sent(false)).await.expect("it replies");
    assert!(told(&batched, before).is_empty());
    assert_eq!(dropped(&batched, Drop::Sampled) - dropped_before, 4, "what waited is counted when it is left out");
    batched.call(work("unreachable"), sent(false)).await.expect_err("it fails");
    let logs = ["literal", "literal", "formatted 3", "literal"].map(|message| (message.to_owned(), true));
    assert_eq!(told(&batched, before), logs);
    assert_eq!(dropped(&batched, Drop::Sampled) - dropped_before, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_longer_than_its_like_is_slow() {
    let house = living_house();
    let extension = house
        .ready_with("spender", |spec| {
            spec.settings.debugging.sampling_rate = 0.0;
            spec.settings.debugging.slow_call = SlowCall::P95;
        })
        .await;
    ask(&extension, "nap", "100").await;
    for _ in 0..100 {
        ask(&extension, "nap", "0").await;
    }
    let waits = || spans(&extension).into_iter().filter(|span| span.name == "wasi:io/poll").count();
    assert_eq!(waits(), 0, "of too few calls nobody knows what is slow");
    ask(&extension, "nap", "900").await;
    assert_eq!(waits(), 1, "it took less than a second, and far more than its like");
}
