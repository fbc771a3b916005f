//! Extensions that call and publish to each other: only as granted, with the context passed on, and never in circles.

use glasshouse_model::{Level, Origin, Outcome, limits};
use glasshouse_runtime::{CallError, Extension, ExtensionSpec, Status, Trigger};
use glasshouse_telemetry::Drop;
use serde_json::json;

use crate::harness::{
    House, LONG, ask, beside, call, dropped, event, guest, invocation_envelopes, invocations, logs, logs_with,
    on_behalf,
};

fn may_do_all(spec: &mut ExtensionSpec) {
    spec.settings.permissions.call = vec!["*".to_owned()];
    spec.settings.permissions.publish = vec!["news.*".to_owned()];
}

/// Starts a caller under a name.
async fn caller(house: &House, id: &str, change: impl FnOnce(&mut ExtensionSpec)) -> Extension {
    let extension = house.start(id, &guest("caller"), change);
    assert_eq!(extension.loaded().await, Status::Ready);
    extension
}

/// What came of a call that the caller made.
async fn told(caller: &Extension, target: serde_json::Value) -> String {
    let told = ask(caller, "call", target.to_string()).await;
    serde_json::from_str(&told).expect("the caller tells in a JSON string")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_another_extension_is_part_of_the_same_trace_and_user() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let caller = caller(&house, "caller", may_do_all).await;
    let target = json!({"extension": "neighbour", "event": "echo", "payload": "hello"});
    let reply = caller.call(event("call", target.to_string()), on_behalf("order-7", "ada", "engines")).await;
    assert_eq!(reply.expect("it replies").payload, b"\"replied hello\"");
    let context = |extension: &Extension, name| {
        let envelope = invocation_envelopes(extension, name).pop().expect("there is an invocation");
        envelope.context.expect("it has a context")
    };
    let (outer, inner) = (context(&caller, "handle:call"), context(&neighbour, "handle:echo"));
    assert_eq!(inner.trace_id, outer.trace_id);
    assert_ne!(inner.span_id, outer.span_id);
    let log = logs_with(&neighbour, "echoed").pop().expect("the log is stored");
    let passed = log.context();
    assert_eq!(passed.correlation_id.as_deref(), Some("order-7"));
    assert_eq!((passed.user.as_deref(), passed.tenant.as_deref()), (Some("ada"), Some("engines")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_comes_back_to_one_who_waits_is_a_cycle_and_not_a_deadlock() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let first = caller(&house, "first", may_do_all).await;
    let second = caller(&house, "second", may_do_all).await;
    let own = json!({"extension": "first", "event": "call"});
    assert_eq!(beside(&neighbour, told(&first, own)).await, "cycle");
    let circle = json!({"extension": "second", "event": "call", "then": [{"extension": "first", "event": "heard"}]});
    assert_eq!(beside(&neighbour, told(&first, circle)).await, "replied \"cycle\"");
    assert_eq!(ask(&first, "heard", "").await, "[]");
    assert_eq!(ask(&second, "heard", "").await, "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_never_replies_is_an_answer_and_not_the_callers_own_breach() {
    let house = House::new();
    house.ready("sleeper").await;
    let caller = caller(&house, "caller", |spec| {
        may_do_all(spec);
        spec.settings.budget.deadline = std::time::Duration::from_secs(1);
    })
    .await;
    let answer = told(&caller, json!({"extension": "sleeper", "event": "sleep"})).await;
    assert!(answer.contains("gave no reply"), "{answer}");
    assert_eq!((caller.usage().failures, caller.status()), (0, Status::Ready));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_nest_only_so_deep() {
    let house = House::new();
    let depth = limits::CALL_DEPTH + 1;
    let mut target = json!({"extension": "neighbour", "event": "count"});
    let mut first = None;
    for level in (0..depth).rev() {
        let id = format!("level-{level}");
        first = Some(caller(&house, &id, may_do_all).await);
        if level > 0 {
            target = json!({"extension": id, "event": "call", "then": [target]});
        }
    }
    let told = told(&first.expect("there is a first"), target).await;
    assert!(told.contains("cycle"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_did_not_grant_is_denied_and_a_security_event() {
    let house = House::new();
    house.ready("neighbour").await;
    let caller = caller(&house, "caller", |_| {}).await;
    assert_eq!(told(&caller, json!({"extension": "neighbour", "event": "echo"})).await, "denied");
    assert_eq!(ask(&caller, "publish", "\"news.today\"").await, "\"denied\"");
    let denied = logs_with(&caller, "denied");
    let targets: Vec<_> = denied.iter().map(|log| log.fields.clone()).collect();
    let fields = |permission: &str, target: &str| {
        [("event", "permission.denied"), ("permission", permission), ("operation", permission), ("target", target)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    assert_eq!(targets, [fields("call", "neighbour"), fields("publish", "news.today")]);
    assert!(denied.iter().all(|log| log.level == Level::Warning && log.target == "glasshouse"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_told_what_became_of_the_one_it_called() {
    let house = House::new();
    house.ready("neighbour").await;
    house.ready("panic").await;
    house.refused("init-trap", &guest("init-trap")).await;
    let caller = caller(&house, "caller", may_do_all).await;
    for (extension, event, payload, expected) in [
        ("nobody", "x", "", "unknown"),
        ("neighbour", "refuse", "", "refusal: as it was asked to"),
        ("panic", "panic", "\"tea\"", "the kettle boiled dry: tea"),
        ("init-trap", "echo", "", "there is nothing to start from"),
    ] {
        let told = told(&caller, json!({"extension": extension, "event": event, "payload": payload})).await;
        assert!(told.contains(expected), "{extension}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_reaches_all_who_subscribe_and_nobody_else() {
    let house = House::new();
    let publisher = caller(&house, "publisher", may_do_all).await;
    let exact = caller(&house, "exact", |spec| spec.subscriptions = vec!["news.sport".to_owned()]).await;
    let all = caller(&house, "all", |spec| spec.subscriptions = vec!["news.*".to_owned()]).await;
    let none = caller(&house, "none", |_| {}).await;
    let trigger = on_behalf("c-1", "ada", "engines");
    for topic in ["\"news.sport\"", "\"news.weather\""] {
        let reply = publisher.call(event("publish", topic), trigger.clone()).await.expect("it replies");
        assert_eq!(reply.payload, b"\"published\"");
    }
    assert_eq!(ask(&publisher, "publish", "\"other\"").await, "\"denied\"");
    assert_eq!(ask(&publisher, "publish", "\"News Sport\"").await, "\"invalid topic\"");
    assert_eq!(ask(&exact, "heard", "").await, r#"["news.sport"]"#);
    assert_eq!(ask(&all, "heard", "").await, r#"["news.sport","news.weather"]"#);
    assert_eq!(ask(&none, "heard", "").await, "[]");
    assert!(logs_with(&all, "heard").iter().all(|log| log.user() == Some("ada")));
}

/// Starts a gossip under a name, that subscribes to a topic and may do all.
async fn gossip(house: &House, id: &str, topic: &str) -> Extension {
    let extension = house.start(id, &guest("gossip"), |spec| {
        spec.subscriptions = vec![topic.to_owned()];
        spec.settings.permissions.call = vec!["*".to_owned()];
        spec.settings.permissions.publish = vec!["*".to_owned()];
    });
    assert_eq!(extension.loaded().await, Status::Ready);
    extension
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_published_event_so_who_hears_of_it_may_call_its_publisher() {
    let house = House::new();
    let first = gossip(&house, "first", "none").await;
    let second = gossip(&house, "second", "ask.*").await;
    assert_eq!(ask(&first, "publish", "\"ask.first\"").await, "\"published\"");
    // The event is in the mailbox before this call is.
    assert_eq!(ask(&second, "answers", "").await, r#"["replied []"]"#);
    let called = invocation_envelopes(&first, "handle:heard").pop().expect("it was called");
    let published = invocation_envelopes(&first, "handle:publish").pop().expect("it has published");
    let trace = |envelope: glasshouse_model::Envelope| envelope.context.expect("it has a context").trace_id;
    assert_eq!(trace(called), trace(published), "it is still the same piece of work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_answer_events_come_to_an_end_that_is_counted_and_told() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let echo = gossip(&house, "echo", "rumour").await;
    let heard = beside(&neighbour, async {
        assert_eq!(ask(&echo, "publish", "\"rumour\"").await, "\"published\"");
        let mut heard = String::new();
        // Each event is in the mailbox before the next call is, so that there are more calls than could be needed.
        for _ in 0..3 * limits::CALL_DEPTH {
            heard = ask(&echo, "heard", "").await;
        }
        heard
    })
    .await;
    assert_eq!(heard, json!(vec!["rumour"; limits::CALL_DEPTH - 1]).to_string());
    assert_eq!(dropped(&echo, Drop::Undelivered), 1);
    let told = logs_with(&echo, "events have answered events too often");
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].level, told[0].envelope.origin), (Level::Warning, Origin::Host));
    assert_eq!(ask(&echo, "publish", "\"other\"").await, "\"published\"", "a call from outside starts anew");
    assert_eq!(dropped(&echo, Drop::Undelivered), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_drains_lets_extensions_at_work_call_each_other_and_hear_of_events() {
    let house = House::new();
    let sleeper = house.ready("sleeper").await;
    let neighbour = house.ready("neighbour").await;
    let caller = caller(&house, "caller", may_do_all).await;
    let listener = self::caller(&house, "listener", |spec| spec.subscriptions = vec!["news.*".to_owned()]).await;
    let nap = json!({"extension": "sleeper", "event": "nap", "payload": "200"});
    let echo = json!({"extension": "neighbour", "event": "echo", "payload": "late"});
    let shutdown = async {
        house.runtime.shutdown(LONG).await;
        assert_eq!(caller.status(), Status::Stopped);
    };
    // `join!` polls in order: all three wait in the mailbox, or are at the nap, when the host starts to drain; so the
    // neighbour is called, and the event published, by a host that takes no more work from outside.
    let (napped, echoed, published, late, ()) = tokio::join!(
        told(&caller, nap),
        told(&caller, echo),
        ask(&caller, "publish", "\"news.today\""),
        async {
            // The phase is not seen from here; a call is turned away as soon as the host drains.
            tokio::task::yield_now().await;
            call(&neighbour, "echo", "outside").await
        },
        shutdown
    );
    assert_eq!((napped.as_str(), echoed.as_str()), ("replied 200", "replied late"));
    assert_eq!(published, "\"published\"");
    assert!(matches!(late, Err(CallError::Cancelled)), "{late:?}");
    assert_eq!(logs_with(&listener, "heard").len(), 1);
    assert_eq!(invocation_envelopes(&neighbour, "handle:echo").len(), 1);
    for extension in [&sleeper, &neighbour, &caller, &listener] {
        assert_eq!(invocations(extension).last(), Some(&("shutdown".to_owned(), Outcome::Ok)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_is_told_whose_mailbox_is_full_and_waits_for_nobody() {
    let house = House::new();
    let publisher = caller(&house, "publisher", may_do_all).await;
    let sleeper = house
        .ready_with("sleeper", |spec| {
            spec.subscriptions = vec!["news.*".to_owned()];
            spec.settings.budget.mailbox = 1;
        })
        .await;
    // At most one of these is being served and one waits, so that a third finds no room.
    let asleep = sleeper.call(event("nap", "300"), Trigger::default());
    let waiting = sleeper.call(event("nap", "300"), Trigger::default());
    let publish = async {
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(ask(&publisher, "publish", "\"news.today\"").await);
        }
        told
    };
    let (asleep, waiting, told) = tokio::join!(asleep, waiting, publish);
    assert!(asleep.is_ok() && waiting.is_ok());
    assert!(told.contains(&"\"full: sleeper\"".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_turns_away_and_takes_again_later() {
    let house = House::new();
    let sleeper = house.ready_with("sleeper", |spec| spec.settings.budget.mailbox = 1).await;
    let nap = || sleeper.try_call(event("nap", "200"), Trigger::default());
    let (first, second, third, fourth) = tokio::join!(nap(), nap(), nap(), nap());
    assert!(first.is_ok());
    let busy = [second, third, fourth].into_iter().filter(|reply| matches!(reply, Err(CallError::Busy { .. }))).count();
    assert!(busy >= 2, "one is served and one waits; {busy} were turned away");
    assert_eq!(ask(&sleeper, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_in_the_order_of_the_calls() {
    let house = House::new();
    let neighbour = house.ready_with("neighbour", |spec| spec.settings.budget.mailbox = 4).await;
    let calls = (0..50).map(|number: u32| {
        let neighbour = neighbour.clone();
        tokio::spawn(async move { ask(&neighbour, "echo", number.to_string()).await })
    });
    let mut replies = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        replies.push(call.await.expect("the call comes to its end"));
    }
    assert_eq!(replies, (0..50).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    let numbers: Vec<_> =
        logs(&neighbour).into_iter().filter(|log| log.message == "echoed").map(|log| log.fields[0].1.clone()).collect();
    assert_eq!(numbers, (1..=50).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    assert!(call(&neighbour, "count", "").await.is_ok());
}
