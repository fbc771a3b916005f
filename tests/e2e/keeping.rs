//! What becomes of a trace that several extensions have a part in, and of which nobody knew at its start that it would matter: it is decided as a
//! whole, whoever failed or was slow.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::SlowCall;
use glasshouse_model::{Context, FailureKind, Origin};
use glasshouse_runtime::{Extension, ExtensionSpec, Status, SystemClock, Trigger};
use glasshouse_telemetry::Drop;
use serde_json::{Value, json};

use crate::harness::{House, Log, ask, call, dropped, event, fail, guest, invocation_envelopes, logs, spans};

/// Longer than any call of these tests.
const NEVER: Duration = Duration::from_hours(1);

/// Starts an extension that works as it is told to, whose traces are not kept.
async fn worker(house: &House, id: &str, change: impl FnOnce(&mut ExtensionSpec)) -> Extension {
    start(house, id, "caller", change).await
}

async fn start(house: &House, id: &str, of: &str, change: impl FnOnce(&mut ExtensionSpec)) -> Extension {
    let extension = house.start(id, &guest(of), |spec| {
        spec.settings.permissions.call = vec!["*".to_owned()];
        spec.settings.permissions.publish = vec!["work".to_owned()];
        spec.settings.debugging.tracing_enabled = false;
        spec.settings.debugging.slow_call = SlowCall::After(NEVER);
        change(spec);
    });
    assert_eq!(extension.loaded().await, Status::Ready, "{id}");
    extension
}

/// A call that an extension is told to make.
fn calls(extension: &str, event: &str, payload: &Value) -> Value {
    json!({"extension": extension, "event": event, "payload": payload.to_string()})
}

/// Names of the spans that are stored.
fn names(extension: &Extension) -> Vec<String> {
    spans(extension).into_iter().map(|span| span.name).collect()
}

/// What the host tells of spans that are missing in a trace.
fn told(extension: &Extension) -> Vec<Log> {
    let is_told = |log: &Log| log.field("event") == Some("telemetry.spans") && log.envelope.origin == Origin::Host;
    logs(extension).into_iter().filter(is_told).collect()
}

fn last_context(extension: &Extension, name: &str) -> Context {
    let envelope = invocation_envelopes(extension, name).pop().expect("there is an invocation");
    envelope.context.expect("it has a context")
}

/// A house whose clock goes.
fn living_house() -> House {
    House::with(|settings| settings.clock = Arc::new(SystemClock::new()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_in_which_any_call_failed_is_kept_in_all_extensions_and_no_other_is() {
    for (tracing_enabled, sampling_rate) in [(false, 1.0), (true, 0.0)] {
        let house = House::new();
        let traced = |spec: &mut ExtensionSpec| {
            let debugging = &mut spec.settings.debugging;
            (debugging.tracing_enabled, debugging.sampling_rate) = (tracing_enabled, sampling_rate);
        };
        let first = worker(&house, "first", traced).await;
        let second = worker(&house, "second", traced).await;
        let third = worker(&house, "third", traced).await;
        let mut expect = [0, 0, 0];
        // Who fails: nobody, the first, second or third of them, all; and whom that is told by an answer.
        for failing in
            [[false; 3], [true, false, false], [false; 3], [false, true, false], [false, false, true], [true; 3]]
        {
            let third_work = json!({"spans": 1, "fail": failing[2]});
            let second_work = json!({"calls": [calls("third", "work", &third_work)], "fail": failing[1]});
            let work = json!({"calls": [calls("second", "work", &second_work)], "fail": failing[0]});
            let ended = call(&first, "work", work.to_string()).await;
            assert_eq!(ended.is_err(), failing[0]);
            if failing.contains(&true) {
                expect = [expect[0] + 1, expect[1] + 1, expect[2] + 2];
            }
            assert_eq!([&first, &second, &third].map(|one| names(one).len()), expect, "{failing:?}");
        }
        assert_eq!(names(&third)[..2], ["part", "work"]);
        for extension in [&first, &second, &third] {
            assert!(spans(extension).iter().all(|span| !span.context.sampling.is_sampled), "they stand for no others");
            assert!(told(extension).is_empty(), "nothing is missing");
        }
        let dropped = [&first, &second, &third].map(|one| dropped(one, Drop::Sampled));
        // Two traces were left out; with tracing off, nobody asked for their spans. The third one's logs are none of it.
        assert!(if tracing_enabled { dropped[2] >= 4 } else { dropped == [0; 3] }, "{dropped:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_keeps_what_its_caller_and_those_it_called_before_have_made() {
    let house = House::new();
    let first = worker(&house, "first", |_| {}).await;
    let before = start(&house, "spender", "spender", |_| {}).await;
    let trapping = start(&house, "panic", "panic", |_| {}).await;
    let targets = [calls("spender", "cross", &json!(null)), calls("panic", "panic", &json!("at noon"))];
    ask(&first, "work", json!({"calls": targets}).to_string()).await;
    assert_eq!(names(&first), ["work"]);
    assert_eq!(names(&before), ["outer", "inner"]);
    assert_eq!(names(&trapping), ["kettle", "kitchen"]);
    let traces = [&first, &before, &trapping].map(|one| spans(one)[0].context.trace_id);
    assert!(traces.windows(2).all(|pair| pair[0] == pair[1]));
    fail(&trapping, "panic", "\"alone\"", FailureKind::Panic).await;
    assert_eq!((names(&trapping).len(), names(&first).len()), (4, 1), "another trace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_in_which_any_call_is_slow_is_kept_in_all_extensions() {
    for slow_call in [SlowCall::After(Duration::from_millis(800)), SlowCall::P95] {
        let house = living_house();
        let first = worker(&house, "first", |_| {}).await;
        let second = worker(&house, "second", |spec| spec.settings.debugging.slow_call = slow_call).await;
        let nap = async |millis: u64| {
            let work = json!({"calls": [calls("second", "work", &json!({"nap": millis}))]});
            ask(&first, "work", work.to_string()).await;
            names(&first).len()
        };
        for _ in 0..100 {
            assert_eq!(nap(0).await, 0);
        }
        assert_eq!(nap(900).await, 1, "{slow_call:?}: it was quick but for what it waited for");
        assert_eq!(names(&second), ["work", "wasi:io/poll"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_after_its_trace_was_left_out_is_kept_and_says_that_the_rest_is_missing() {
    let house = living_house();
    let first = worker(&house, "first", |_| {}).await;
    let second = worker(&house, "second", |spec| spec.subscriptions = vec!["work".to_owned()]).await;
    for (fail, expect) in [(false, 0), (true, 1)] {
        // It is busy for as long as the event waits that the other one publishes.
        let busy = json!({"nap": 1_500}).to_string();
        let mut busy = std::pin::pin!(call(&second, "work", busy));
        tokio::select! {
            biased;
            _ = &mut busy => panic!("it takes a while"),
            () = std::future::ready(()) => {}
        }
        ask(&first, "work", json!({"spans": 2, "publish": {"fail": fail}}).to_string()).await;
        assert!(names(&first).is_empty(), "its trace is left out");
        busy.await.expect("it ends well");
        ask(&second, "heard", "").await;
        assert_eq!(names(&second), vec!["work"; expect], "{fail}");
        let told = told(&second);
        assert_eq!(told.len(), expect);
        for log in &told {
            assert_eq!(log.field("spans"), Some("3"), "those of the other one");
            assert_eq!(log.context().trace_id, last_context(&first, "handle:work").trace_id);
        }
    }
    assert!(told(&first).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_its_trace_was_kept_is_kept_too() {
    let house = living_house();
    let first = worker(&house, "first", |_| {}).await;
    let second = worker(&house, "second", |spec| spec.subscriptions = vec!["work".to_owned()]).await;
    call(&first, "work", json!({"publish": {"spans": 1}, "fail": true}).to_string()).await.expect_err("it fails");
    ask(&second, "heard", "").await;
    assert_eq!((names(&first), names(&second)), (vec!["work".to_owned()], vec!["part".to_owned(), "work".to_owned()]));
    assert!(told(&second).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_thirty_seconds_for_the_first_call_of_a_trace() {
    for (slow_call, expect) in [(SlowCall::default(), 2), (SlowCall::After(NEVER), 0)] {
        let house = House::new();
        let first = worker(&house, "first", |spec| spec.settings.debugging.slow_call = slow_call).await;
        let second = worker(&house, "second", |_| {}).await;
        let work = json!({"calls": [calls("second", "work", &json!({"spans": 1}))], "nap": 3_000});
        let mut first_call = std::pin::pin!(first.call(event("work", work.to_string()), Trigger::default()));
        let second_is_over = async {
            while invocation_envelopes(&second, "handle:work").is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = &mut first_call => panic!("it takes a while"),
            () = second_is_over => {}
        }
        house.clock.advance(Duration::from_millis(29_999));
        house.runtime.depot().settle();
        assert!(names(&second).is_empty(), "it may end yet");
        house.clock.advance(Duration::from_millis(1));
        house.runtime.depot().settle();
        assert_eq!(names(&second).len(), expect, "{slow_call:?}");
        first_call.await.expect("it ends well");
        assert_eq!(names(&first).iter().filter(|name| *name == "work").count(), expect / 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_spans_goes_at_its_own_cost_and_its_trace_says_so() {
    const FLOOD: u64 = 5_000;
    let house = House::new();
    let first = worker(&house, "first", |_| {}).await;
    let quiet = worker(&house, "quiet", |_| {}).await;
    let flooding = worker(&house, "flooding", |_| {}).await;
    let flood = calls("flooding", "work", &json!({"spans": FLOOD}));
    let targets = [calls("quiet", "work", &json!({"spans": 3})), flood.clone(), flood];
    call(&first, "work", json!({"calls": targets, "fail": true}).to_string()).await.expect_err("it fails");
    assert_eq!(names(&quiet), ["part", "part", "part", "work"]);
    assert_eq!(names(&first), ["work"]);
    let stored = names(&flooding).len() as u64;
    assert!((500..FLOOD).contains(&stored), "{stored}");
    let missing: u64 =
        told(&flooding).iter().map(|log| log.field("spans").expect("how many").parse::<u64>().expect("a number")).sum();
    assert_eq!((stored + missing, missing), (2 * (FLOOD + 1), dropped(&flooding, Drop::Crowded)));
    assert!(told(&quiet).is_empty() && told(&first).is_empty());
}
