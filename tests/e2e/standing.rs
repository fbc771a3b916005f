//! How an extension stands with its budget: warned, throttled, quarantined, probing, healthy again; each step with its evidence.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::{Budget, Metering, Settings};
use glasshouse_model::standing::{Rate, State};
use glasshouse_model::{FailureKind, Level, Outcome, Severity};
use glasshouse_runtime::{CallError, Extension, ExtensionSpec, Status, SystemClock, Trigger};
use glasshouse_telemetry::{AlertState, HostAlert};

use crate::alerts;
use crate::harness::{House, LONG, Log, ask, beside, call, event, fail, fuel, guest, invocations, logs};

/// Fuel that one call of `work` takes, and a bit.
const WORK: u64 = 1_000_000;
const ROUNDS: &str = "30000";

fn change(extension: &Extension, change: impl FnOnce(&mut Settings)) {
    let mut settings = (*extension.settings()).clone();
    change(&mut settings);
    extension.apply(settings, "a test").expect("it can be changed while it runs");
}

/// A guest whose calls take about `WORK` of fuel, of which its budget allows so many calls in a minute.
async fn worker(house: &House, calls_a_minute: u64) -> (Extension, u64) {
    let extension = house.ready("spin").await;
    ask(&extension, "work", ROUNDS).await;
    let before = extension.usage().fuel;
    ask(&extension, "work", ROUNDS).await;
    let fuel = extension.usage().fuel - before;
    assert!((WORK / 10..WORK * 10).contains(&fuel), "{fuel}");
    // What was used before is out of the window.
    house.clock.advance(Duration::from_mins(2));
    change(&extension, |settings| settings.budget.fuel_per_second = fuel * calls_a_minute / 60 + 1);
    (extension, fuel)
}

/// The records of steps: the state after, and the record.
fn steps(extension: &Extension) -> Vec<(String, Log)> {
    let step = |log: Log| {
        let event = log.field("event")?.strip_prefix("budget.")?.to_owned();
        Some((event, log))
    };
    logs(extension).into_iter().filter_map(step).collect()
}

fn words(extension: &Extension) -> Vec<String> {
    steps(extension).into_iter().map(|(word, _)| word).collect()
}

/// Looks again and again until something holds, and says what was found instead if it never does.
async fn comes<T: std::fmt::Debug>(what: &str, look: impl Fn() -> T, holds: impl Fn(&T) -> bool) -> T {
    let looking = async {
        loop {
            let found = look();
            if holds(&found) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, looking)
        .await
        .unwrap_or_else(|_| panic!("waited {LONG:?} for {what}; found {:?}", look()))
}

/// Waits until the extension's task has made a step.
async fn stands(extension: &Extension, word: &str) -> State {
    comes(word, || extension.standing(), |state| state.word() == word).await
}

/// Waits until a call waits in the extension's mailbox.
async fn waits(extension: &Extension) {
    comes("a call that waits", || extension.waiting(), |waiting| *waiting > 0).await;
}

/// A guest that was at work until it was throttled: one call a minute is within its rate.
async fn throttled(house: &House) -> Extension {
    let (extension, _) = worker(house, 1).await;
    ask(&extension, "work", ROUNDS).await;
    ask(&extension, "work", ROUNDS).await;
    stands(&extension, "throttled").await;
    extension
}

async fn try_call(extension: &Extension) -> Result<(), CallError> {
    extension.try_call(event("work", ROUNDS), Trigger::default()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_uses_most_of_a_budget_is_warned_of_with_its_figures() {
    let house = House::new();
    let (extension, fuel) = worker(&house, 1_000_000).await;
    change(&extension, |settings| {
        settings.budget.fuel_per_call = fuel * 100 / 90;
        settings.debugging.logging_enabled = false;
    });
    ask(&extension, "work", ROUNDS).await;
    let State::Warned { evidence, .. } = stands(&extension, "warned").await else { panic!("it is warned") };
    assert_eq!((evidence.budget, evidence.limit), ("budget.fuel_per_call", fuel * 100 / 90));
    assert!((89..=91).contains(&evidence.share_percent()), "{evidence}");
    assert_eq!(extension.status(), Status::Ready, "its calls go on as ever");
    let (word, record) = steps(&extension).pop().expect("a record, although logs are off");
    assert_eq!((word.as_str(), record.level), ("warned", Level::Warning));
    assert_eq!(record.field("from"), Some("healthy"));
    assert_eq!(record.field("budget"), Some("budget.fuel_per_call"));
    assert_eq!(record.field("limit"), Some((fuel * 100 / 90).to_string().as_str()));
    assert_eq!(record.field("share_percent"), Some(evidence.share_percent().to_string().as_str()));
    assert_eq!(record.envelope.origin, glasshouse_model::Origin::Host);
    // A minute without it, and all is well again.
    ask(&extension, "work", "1").await;
    assert_eq!(words(&extension), ["warned"]);
    house.clock.advance(Duration::from_mins(2));
    stands(&extension, "healthy").await;
    assert_eq!(words(&extension), ["warned", "healthy"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_rate_an_extension_waits_and_its_neighbours_do_not() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let (extension, fuel) = worker(&house, 5).await;
    for _ in 0..6 {
        ask(&extension, "work", ROUNDS).await;
    }
    let State::Throttled { evidence, .. } = stands(&extension, "throttled").await else { panic!("it is throttled") };
    assert_eq!(evidence.budget, "budget.fuel_per_second");
    assert!(evidence.used > evidence.limit && evidence.used >= 6 * fuel, "{evidence}");
    assert!(extension.uses().in_window(Rate::Fuel, extension.monotonic_nanos()) >= 6 * fuel);
    assert!(
        matches!(extension.status(), Status::Throttled { evidence } if evidence.contains("budget.fuel_per_second"))
    );
    let (word, record) = steps(&extension).pop().expect("a record");
    assert_eq!((word.as_str(), record.level), ("throttled", Level::Warning));
    assert_eq!(record.field("window_ns"), Some("60000000000"));

    // A fifth of a minute for a call, at nine tenths of its rate.
    let refused = try_call(&extension).await;
    let Err(CallError::Busy { retry_after }) = refused else { panic!("{refused:?}") };
    assert!((13.0..14.0).contains(&retry_after.as_secs_f64()), "{retry_after:?}");
    let waiting = tokio::spawn({
        let extension = extension.clone();
        async move { ask(&extension, "work", ROUNDS).await }
    });
    waits(&extension).await;
    for number in 0..200 {
        let number = number.to_string();
        assert_eq!(ask(&neighbour, "echo", &number).await, number, "the neighbour is served all the while");
    }
    assert!(!waiting.is_finished() && extension.waiting() == 1, "it waits in the mailbox");
    assert!(words(&neighbour).is_empty());
    house.clock.advance(retry_after);
    waiting.await.expect("it is served when its turn has come");
    assert!(matches!(try_call(&extension).await, Err(CallError::Busy { .. })), "and the next one waits again");
    house.clock.advance(Duration::from_mins(2));
    stands(&extension, "healthy").await;
    assert_eq!(words(&extension).last().map(String::as_str), Some("healthy"));
    try_call(&extension).await.expect("it is served at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_share_of_the_processor_an_extension_waits_and_its_neighbours_do_not() {
    const SHARE: u32 = 2;
    const HARD_WORK: &str = "1000000";
    let house = House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    });
    let loud = |spec: &mut ExtensionSpec| spec.settings.debugging.profiling_overhead_limit = 100.0;
    let neighbour = house.ready_with("neighbour", loud).await;
    let extension = house
        .ready_with("spin", |spec| {
            spec.settings.budget.metering = Metering::Cpu;
            spec.settings.budget.cpu_share = SHARE;
            spec.settings.budget.rate_window = Duration::from_secs(1);
        })
        .await;
    // It asks for all that it can get.
    let work = async {
        while extension.standing().word() != "throttled" {
            ask(&extension, "work", HARD_WORK).await;
        }
    };
    tokio::time::timeout(LONG, work).await.expect("it uses more than its share");
    let (word, record) = steps(&extension).into_iter().find(|(word, _)| word == "throttled").expect("a record");
    assert_eq!((word.as_str(), record.level), ("throttled", Level::Warning));
    assert_eq!(record.field("budget"), Some("budget.cpu_share"));
    let number = |name: &str| record.field(name).and_then(|text| text.parse::<u64>().ok()).expect("a figure");
    assert_eq!((number("window_ns"), number("limit")), (1_000_000_000, 10_000_000 * u64::from(SHARE)));
    assert!(number("used") > number("limit"), "{record:?}");
    assert!(fuel(&extension).iter().all(Option::is_none), "its fuel is not counted");

    // Its last call is paid for after a second and more, and its neighbour is answered all the while.
    comes("a call to pay for", || extension.throttled_for(), Option::is_some).await;
    let refused = try_call(&extension).await;
    assert!(matches!(refused, Err(CallError::Busy { .. })), "{refused:?}");
    beside(&neighbour, ask(&extension, "work", "1")).await;
    assert!(words(&neighbour).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_throttled_for_long_is_quarantined_and_a_probe_lets_it_back() {
    let house = House::new();
    let (extension, _) = worker(&house, 5).await;
    change(&extension, |settings| settings.budget.throttle_limit = Duration::from_mins(1));
    let mut calls = 0;
    while extension.standing().word() != "quarantined" {
        let pending = call(&extension, "work", ROUNDS);
        let clock = async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                house.clock.advance(Duration::from_millis(200));
            }
        };
        tokio::select! {
            result = pending => drop(result),
            () = clock => {}
        }
        calls += 1;
        assert!(calls < 100, "{:?}", extension.standing());
    }
    let refused = try_call(&extension).await;
    let Err(CallError::Quarantined { left, evidence }) = refused else { panic!("{refused:?}") };
    assert!(left <= Duration::from_secs(30) && evidence.starts_with("throttled for"), "{left:?} {evidence}");
    let (_, record) = steps(&extension).pop().expect("a record");
    assert_eq!(record.field("budget"), Some("budget.fuel_per_second"));
    assert_eq!(record.field("quarantine_ns"), Some("30000000000"));
    let fires = alerts::comes(&extension, HostAlert::Quarantined, AlertState::Firing).await;
    assert_eq!(fires.severity, Severity::Critical);
    house.clock.advance(Duration::from_mins(2));
    try_call(&extension).await.expect("the probe");
    stands(&extension, "healthy").await;
    alerts::comes(&extension, HostAlert::Quarantined, AlertState::Resolved).await;
    let words = words(&extension);
    assert_eq!(words[words.len() - 4..], ["throttled", "quarantined", "probing", "healthy"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_ends_quarantine_and_throttling_and_says_by_whom() {
    let house = House::new();
    let extension = house.ready("panic").await;
    assert_eq!(extension.release("a test").await.expect("it can be asked"), None);
    for _ in 0..3 {
        fail(&extension, "panic", "\"again\"", FailureKind::Panic).await;
    }
    stands(&extension, "quarantined").await;
    assert_eq!(extension.release("a test").await.expect("it is released"), Some("quarantined"));
    assert_eq!(extension.standing(), State::Healthy);
    assert_eq!(ask(&extension, "count", "").await, "1");
    let (word, record) = steps(&extension).pop().expect("a record");
    assert_eq!(
        (word.as_str(), record.field("from"), record.field("by")),
        ("healthy", Some("quarantined"), Some("a test"))
    );
    assert!(record.message.contains("the kettle boiled dry"), "{}", record.message);

    let worker = throttled(&house).await;
    assert!(matches!(try_call(&worker).await, Err(CallError::Busy { .. })));
    assert_eq!(worker.release("a test").await.expect("it is released"), Some("throttled"));
    try_call(&worker).await.expect("it is served at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_larger_rate_ends_throttling_without_a_restart() {
    let house = House::new();
    let extension = throttled(&house).await;
    let waiting = tokio::spawn({
        let extension = extension.clone();
        async move { ask(&extension, "work", ROUNDS).await }
    });
    change(&extension, |settings| settings.budget.fuel_per_second = Budget::default().fuel_per_second);
    waiting.await.expect("what waited is served");
    stands(&extension, "healthy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_calls_a_throttled_one_is_told_that_it_is_busy() {
    let house = House::new();
    throttled(&house).await;
    let caller = house.ready_with("caller", |spec| spec.settings.permissions.call = vec!["*".to_owned()]).await;
    let asked = format!("{{\"extension\": \"spin\", \"event\": \"work\", \"payload\": \"{ROUNDS}\"}}");
    let found = call(&caller, "call", asked).await;
    let text = format!("{found:?}");
    let reply = found.map(|reply| String::from_utf8_lossy(&reply.payload).into_owned());
    assert!(reply.is_ok_and(|reply| reply.contains("busy")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_serves_what_was_held_back() {
    let house = House::new();
    let extension = throttled(&house).await;
    let waiting = tokio::spawn({
        let extension = extension.clone();
        async move { call(&extension, "work", ROUNDS).await }
    });
    waits(&extension).await;
    house.runtime.shutdown(Duration::from_secs(30)).await;
    waiting.await.expect("it ends").expect("it was under way when the host stopped");
    assert!(invocations(&extension).contains(&("shutdown".to_owned(), Outcome::Ok)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_never_started_has_nothing_to_release() {
    let house = House::new();
    let extension = house.start("init-trap", &guest("init-trap"), |_| {});
    assert!(matches!(extension.loaded().await, Status::Failed { .. }));
    assert_eq!(extension.release("a test").await.expect("it can be asked"), None);
    house.runtime.shutdown(Duration::from_secs(5)).await;
    assert!(matches!(extension.release("a test").await, Err(CallError::Cancelled)));
}
