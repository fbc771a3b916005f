//! Alerts of guests and of the host: raised, counted, over when their cause is, and told apart whatever a guest says.

use std::time::Duration;

use glasshouse_model::{FailureKind, Origin, Severity, Signal};
use glasshouse_runtime::CallError;
use glasshouse_runtime::Extension;
use glasshouse_telemetry::{ALERTS, Alert, AlertCause, AlertState, Entry, HostAlert};
use serde_json::json;

use crate::harness::{House, LONG, ask, call, event, fail, logs_with, on_behalf};

const MIB: u64 = 1 << 20;

fn alert(extension: &Extension, origin: Origin, name: &str) -> Option<Alert> {
    extension.alert_states().into_iter().find(|alert| alert.origin == origin && alert.name == name)
}

/// Waits until an alert of the host's is in a state: its supervisor works on after it has answered a call.
pub(crate) async fn comes(extension: &Extension, what: HostAlert, state: AlertState) -> Alert {
    let looking = async {
        loop {
            match alert(extension, Origin::Host, what.as_str()) {
                Some(alert) if alert.state() == state => return alert,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let found = tokio::time::timeout(LONG, looking).await;
    found.unwrap_or_else(|_| panic!("{what} is never {state}: {:?}", extension.alert_states()))
}

async fn raise(extension: &Extension, name: &str, metric: Option<&str>) {
    ask(extension, "raise", json!({ "name": name, "title": "all is well", "metric": metric }).to_string()).await;
}

fn causes(alert: &Alert) -> Vec<AlertCause> {
    alert.history.iter().map(|step| step.cause).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_loop_fires_an_alert_that_is_over_when_the_extension_is_released() {
    let house = House::new();
    let extension = house.ready_with("alarmist", |spec| spec.settings.budget.failures_in_a_row = 3).await;
    for _ in 0..3 {
        assert_eq!(alert(&extension, Origin::Host, "trap.loop"), None);
        fail(&extension, "fail", "null", FailureKind::Panic).await;
    }
    let firing = comes(&extension, HostAlert::TrapLoop, AlertState::Firing).await;
    assert_eq!((firing.severity, firing.fired, firing.value), (Severity::Critical, 1, Some(3.0)));
    assert_eq!(firing.labels, [("budget".to_owned(), "budget.failures_in_a_row".to_owned())]);
    assert!(firing.message.contains("the sky falls") && firing.message.contains("release alarmist"), "{firing:?}");
    let records = extension.reader(Signal::Alert).all();
    assert_eq!(records.iter().map(Entry::origin).collect::<Vec<_>>(), [Origin::Host]);

    // A probe that fails is the same alert.
    house.clock.advance(Duration::from_hours(1));
    fail(&extension, "fail", "null", FailureKind::Panic).await;
    let again = async {
        while alert(&extension, Origin::Host, "trap.loop").is_none_or(|alert| alert.raised < 2) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, again).await.expect("it is counted");

    house.clock.advance(Duration::from_secs(5));
    extension.release("a test").await.expect("it is there");
    let over = comes(&extension, HostAlert::TrapLoop, AlertState::Resolved).await;
    assert_eq!((causes(&over), over.raised), (vec![AlertCause::Raised, AlertCause::Recovered], 2));
    assert_eq!(over.history[1].note, "released by a test");
    assert_eq!(over.fired_nanos, Duration::from_secs(3605).as_nanos() as u64);

    // It fires anew when it fails anew.
    for _ in 0..3 {
        fail(&extension, "fail", "null", FailureKind::Panic).await;
    }
    assert_eq!(comes(&extension, HostAlert::TrapLoop, AlertState::Firing).await.fired, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_and_its_alert_belong_to_the_call_that_led_to_them() {
    let house = House::new();
    let extension = house.ready_with("alarmist", |spec| spec.settings.budget.failures_in_a_row = 2).await;
    for request in ["first", "second"] {
        let failed = extension.call(event("fail", "null"), on_behalf(request, "u1", "t1")).await;
        assert!(matches!(failed, Err(CallError::Failed(_))), "{failed:?}");
    }
    comes(&extension, HostAlert::TrapLoop, AlertState::Firing).await;
    let of_call = |entry: &Entry| {
        let context = entry.envelope().context.expect("a call led to it");
        (context.correlation_id.expect("the trigger's"), context.user)
    };
    let alerts = extension.reader(Signal::Alert).all();
    assert_eq!(alerts.iter().map(of_call).collect::<Vec<_>>(), [("second".to_owned(), Some("u1".to_owned()))]);
    let [told] = &logs_with(&extension, "quarantined for")[..] else { panic!("it is told once") };
    let context = told.envelope.context.as_ref().expect("a call led to it");
    assert_eq!(context.correlation_id.as_deref(), Some("second"));
    extension.release("a test").await.expect("it is there");
    let released = logs_with(&extension, "no longer quarantined");
    assert!(released[0].envelope.context.is_none(), "no call led to it: {released:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_uses_most_of_a_budget_has_a_low_alert_until_it_uses_less() {
    let house = House::new();
    let extension = house.ready("spin").await;
    ask(&extension, "work", "1000000").await;
    let used = extension.usage().fuel;
    // Twice as much as that, and a little more for its start, is nine tenths of what it may use in a minute.
    let mut settings = (*extension.settings()).clone();
    settings.budget.fuel_per_second = used * 2 * 10 / 9 / 60;
    extension.apply(settings, "test").expect("it can change at any time");
    assert_eq!(alert(&extension, Origin::Host, "budget.warned"), None);
    ask(&extension, "work", "1000000").await;
    let firing = comes(&extension, HostAlert::Warned, AlertState::Firing).await;
    assert_eq!((firing.severity, firing.fired), (Severity::Low, 1));
    assert_eq!(firing.labels, [("budget".to_owned(), "budget.fuel_per_second".to_owned())]);
    assert!(firing.value >= firing.threshold, "{firing:?}");
    house.clock.advance(Duration::from_hours(1));
    let over = comes(&extension, HostAlert::Warned, AlertState::Resolved).await;
    assert_eq!(causes(&over), [AlertCause::Raised, AlertCause::Recovered]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_succeeds_ends_the_alert_of_a_trap_loop() {
    let house = House::new();
    let extension = house.ready_with("alarmist", |spec| spec.settings.budget.failures_in_a_row = 2).await;
    for _ in 0..2 {
        fail(&extension, "fail", "null", FailureKind::Panic).await;
    }
    comes(&extension, HostAlert::TrapLoop, AlertState::Firing).await;
    house.clock.advance(Duration::from_hours(1));
    ask(&extension, "flood", "0").await;
    let over = comes(&extension, HostAlert::TrapLoop, AlertState::Resolved).await;
    assert_eq!(over.history[1].note, "probing before, healthy now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_rate_an_extension_has_an_alert_until_its_use_is_below_it() {
    let house = House::new();
    // One call takes more than what is allowed in a minute.
    let extension = house.ready_with("spin", |spec| spec.settings.budget.fuel_per_second = 10_000).await;
    ask(&extension, "work", "1000000").await;
    let firing = comes(&extension, HostAlert::Throttled, AlertState::Firing).await;
    assert_eq!(firing.labels, [("budget".to_owned(), "budget.fuel_per_second".to_owned())]);
    assert!(firing.value > firing.threshold, "{firing:?}");
    house.clock.advance(Duration::from_hours(1));
    assert_eq!(comes(&extension, HostAlert::Throttled, AlertState::Resolved).await.fired, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_grows_toward_its_budget_is_an_alert_until_the_instance_is_made_anew() {
    let house = House::new();
    let extension = house.ready_with("alarmist", |spec| spec.settings.budget.memory_bytes = 32 * MIB).await;
    let mut calls = 0;
    while alert(&extension, Origin::Host, "memory.growth").is_none() {
        assert!(calls < 32, "it holds {calls} MiB");
        ask(&extension, "hold", MIB.to_string()).await;
        calls += 1;
    }
    let firing = comes(&extension, HostAlert::MemoryGrowth, AlertState::Firing).await;
    assert!((16..32).contains(&calls), "warned while calls go on: {calls}");
    assert_eq!((firing.fired, firing.severity), (1, Severity::Medium));
    assert!(firing.value >= firing.threshold && firing.value < Some(32.0 * MIB as f64), "{firing:?}");
    ask(&extension, "hold", "1").await;
    assert_eq!(
        comes(&extension, HostAlert::MemoryGrowth, AlertState::Firing).await.raised,
        1,
        "once, not by each call"
    );
    fail(&extension, "fail", "null", FailureKind::Panic).await;
    let over = comes(&extension, HostAlert::MemoryGrowth, AlertState::Resolved).await;
    assert_eq!(causes(&over), [AlertCause::Raised, AlertCause::Recovered]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_uses_the_hosts_names_and_labels_raises_its_own_alerts_only() {
    let house = House::new();
    let extension = house
        .ready_with("alarmist", |spec| {
            spec.settings.budget.failures_in_a_row = 2;
            spec.settings.budget.memory_bytes = 32 * MIB;
        })
        .await;
    for what in HostAlert::ALL {
        raise(&extension, what.as_str(), None).await;
        raise(&extension, what.as_str(), Some("budget.failures_in_a_row")).await;
        raise(&extension, what.as_str(), Some("host")).await;
    }
    let hosts = |extension: &Extension| {
        extension.alert_states().into_iter().filter(|alert| alert.origin == Origin::Host).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&extension), []);
    assert!(extension.reader(Signal::Alert).all().iter().all(|record| record.origin() == Origin::Guest));

    // Its flood takes no room from the host, and the host's alert neither joins nor ends the guest's.
    ask(&extension, "flood", "1000").await;
    for _ in 0..2 {
        fail(&extension, "fail", "null", FailureKind::Panic).await;
    }
    let firing = comes(&extension, HostAlert::TrapLoop, AlertState::Firing).await;
    extension.release("a test").await.expect("it is there");
    comes(&extension, HostAlert::TrapLoop, AlertState::Resolved).await;
    let of_guest: Vec<_> = extension.alert_states().into_iter().filter(|alert| alert.origin == Origin::Guest).collect();
    assert_eq!(of_guest.len(), ALERTS + 1);
    assert!(of_guest.iter().all(|alert| alert.state() == AlertState::Firing && alert.id != firing.id));
    let surplus = of_guest.iter().find(|alert| alert.name == "overflow").expect("what is too much is counted");
    assert_eq!(surplus.raised as usize, 1000 - (ALERTS - 3 * HostAlert::ALL.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_alert_is_over_when_it_was_quiet_for_as_long_as_the_setting_says_or_by_hand() {
    let house = House::new();
    let quiet = Duration::from_mins(10);
    let extension = house.ready_with("alarmist", |spec| spec.settings.debugging.alert_resolve_after = quiet).await;
    raise(&extension, "disk", None).await;
    house.clock.advance(quiet / 2);
    raise(&extension, "disk", None).await;
    let moment = Duration::from_nanos(1);
    house.clock.advance(quiet.saturating_sub(moment));
    let state = || alert(&extension, Origin::Guest, "disk").expect("it is known");
    assert_eq!((state().state(), state().raised, state().fired), (AlertState::Firing, 2, 1));
    house.clock.advance(moment);
    assert_eq!(causes(&state()), [AlertCause::Raised, AlertCause::Quiet]);
    assert_eq!(state().fired_nanos, (quiet + quiet / 2).as_nanos() as u64);

    raise(&extension, "disk", None).await;
    let resolved = extension.resolve_alert(state().id, "token=abcdef0123456789abcdef", "a test").expect("it fires");
    assert_eq!((resolved.state(), resolved.fired), (AlertState::Resolved, 2));
    assert!(!resolved.history[3].note.contains("abcdef"), "{resolved:?}");
    let told = logs_with(&extension, "was resolved by a test");
    assert_eq!(told[0].field("alert"), Some(resolved.id.to_string().as_str()));
    assert_eq!(told[0].envelope.origin, Origin::Host);
    assert!(call(&extension, "raise", "{}").await.is_err(), "a payload that is none raises nothing");
    assert_eq!(state().fired, 2);
}
