//! What debugging costs is measured and held under its limit, and what matters is never left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use glasshouse_model::settings::Debugging;
use glasshouse_model::{Clock, Level, Origin, Signal, UnixNanos};
use glasshouse_runtime::Extension;
use glasshouse_telemetry::{Detail, Drop};

use crate::harness::{House, Log, alerts, ask, dropped, errors, logs, logs_with, samples, spans};

const GUEST: &str = "telemetry-flood";
/// Debug logs that cost about 0.4 % of a processor, by the clock below.
const QUIET: u64 = 2_000;

const SECOND_NANOS: f64 = 1e9;

/// A clock by which each reading of it takes some time, and nothing else does.
#[derive(Debug)]
struct TickingClock {
    now: AtomicU64,
    tick: u64,
}

impl TickingClock {
    fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for TickingClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.monotonic_nanos() as i64)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.now.fetch_add(self.tick, Ordering::Relaxed)
    }
}

async fn started(tick: u64, change: impl FnOnce(&mut Debugging)) -> (House, Arc<TickingClock>, Extension) {
    let clock = Arc::new(TickingClock { now: AtomicU64::new(0), tick });
    let house = House::with(|settings| settings.clock = Arc::clone(&clock) as Arc<dyn Clock>);
    let extension = house
        .ready_with(GUEST, |spec| {
            spec.settings.debugging.metrics_interval = Duration::from_secs(30);
            change(&mut spec.settings.debugging);
            spec.settings.budget.telemetry.records_per_second = 100_000_000;
            spec.settings.debugging.max_log_entries = 1_000_000;
        })
        .await;
    (house, clock, extension)
}

fn steps(extension: &Extension) -> Vec<Log> {
    let all = logs(extension).into_iter();
    all.filter(|log| log.envelope.origin == Origin::Host && log.field("event") == Some("overhead.step")).collect()
}

/// A call with so many debug logs in each of so many intervals; the detail after each of them.
async fn intervals(extension: &Extension, clock: &TickingClock, count: usize, debug_logs: u64) -> Vec<Detail> {
    let mut details = Vec::new();
    for _ in 0..count {
        ask(extension, "debug", debug_logs.to_string()).await;
        clock.advance(Duration::from_secs(1));
        details.push(extension.overhead().detail);
    }
    details
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ten_fold_load_is_shed_within_five_intervals_and_all_detail_comes_back_after_it() {
    let (_house, clock, extension) = started(1_000, |debugging| debugging.profiling_overhead_limit = 0.5).await;
    assert!(intervals(&extension, &clock, 5, QUIET).await.iter().all(|detail| *detail == Detail::Full));
    assert_eq!(logs_with(&extension, "noise").len() as u64, 5 * QUIET);
    assert!(extension.overhead().cost_nanos > 0);
    assert_eq!(extension.overhead().since, None);

    let loud = intervals(&extension, &clock, 4, 10 * QUIET).await;
    assert!(loud.contains(&Detail::NoDebug), "{loud:?}");
    let before = extension.overhead().cost_nanos;
    intervals(&extension, &clock, 1, 10 * QUIET).await;
    // Of a second, and not of the extension's CPU time: that is next to nothing by this clock once logs are left out, so that one record of the
    // four that matter, which stands for many where it is timed, would be all of it.
    let percent = (extension.overhead().cost_nanos - before) as f64 / SECOND_NANOS * 100.0;
    assert!(percent <= 0.5, "{percent:.2} % in the fifth interval");
    let first = &steps(&extension)[0];
    assert_eq!((first.level, first.field("from")), (Level::Warning, Some("full")));
    assert!(first.field("advice").is_some_and(|advice| advice.contains("debugging.log_level")), "{first:?}");
    let figure = |field: &str| first.field(field).and_then(|text| text.parse::<f64>().ok()).expect("a figure");
    assert!(figure("percent") > figure("limit") && figure("cost_ms") > 10.0, "{first:?}");
    assert!((figure("debug_logs_ms") / figure("cost_ms") - 1.0).abs() < 0.1, "{first:?}");
    assert!(extension.overhead().since.is_some());

    let after = intervals(&extension, &clock, 100, QUIET).await;
    assert_eq!(after.last(), Some(&Detail::Full));
    assert_eq!(steps(&extension).last().map(|log| log.level), Some(Level::Info));
    let published = |name: &str| {
        let all = samples(&extension).into_iter();
        all.filter(|sample| sample.name == name && sample.envelope.origin == Origin::Host).collect::<Vec<_>>()
    };
    let (costs, parts) = (published("debug_overhead_ms"), published("debug_overhead_percent"));
    assert_eq!((costs.len(), parts.len()), (3, 3), "each 30 s of 110");
    let told: f64 = costs.iter().map(|cost| cost.value).sum();
    assert!(told > 40.0 && told <= extension.overhead().cost_nanos as f64 / 1e6, "{told} ms");
    assert!(parts.iter().all(|part| (0.0..=100.0).contains(&part.value)));
    let calls = extension.usage().calls as usize;
    assert_eq!(what_matters(&extension), [calls; 4], "what matters is never left out");
}

/// How many logs at error, errors, alerts and security events it left behind.
fn what_matters(extension: &Extension) -> [usize; 4] {
    let security = logs(extension).into_iter().filter(|log| log.target == "glasshouse.security").count();
    [logs_with(extension, "a log that matters").len(), errors(extension).len(), alerts(extension).len(), security]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_last_step_what_matters_is_stored_all_the_same() {
    let (_house, clock, extension) = started(1_000, |debugging| debugging.profiling_overhead_limit = 0.1).await;
    for _ in 0..20 {
        ask(&extension, "everything", "5000").await;
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(extension.overhead().detail, Detail::Least, "{:?}", steps(&extension));
    let before = logs_with(&extension, "news").len();
    for _ in 0..10 {
        ask(&extension, "everything", "10").await;
    }
    assert_eq!(logs_with(&extension, "news").len(), before, "logs at info are left out");
    let calls = extension.usage().calls as usize;
    assert_eq!(what_matters(&extension), [calls; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_goes_on_is_governed_before_it_ends() {
    let (_house, _clock, extension) = started(20_000, |_| {}).await;
    ask(&extension, "debug", "300000").await;
    assert!(extension.overhead().detail >= Detail::NoDebug, "{:?}", extension.overhead());
    assert!(dropped(&extension, Drop::Shed) > 0);
    assert_eq!(logs_with(&extension, "noise").len() as u64 + dropped(&extension, Drop::Shed), 300_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_changed_holds_while_the_extension_runs() {
    let (_house, clock, extension) = started(1_000, |debugging| debugging.profiling_overhead_limit = 100.0).await;
    assert!(intervals(&extension, &clock, 5, 10 * QUIET).await.iter().all(|detail| *detail == Detail::Full));
    let mut settings = (*extension.settings()).clone();
    settings.debugging.profiling_overhead_limit = 0.5;
    extension.apply(settings, "a test").expect("it can be changed while it runs");
    assert!(intervals(&extension, &clock, 5, 10 * QUIET).await.iter().any(|detail| *detail > Detail::Full));
    assert_eq!(spans(&extension).len(), 0);
    assert_eq!(extension.usage().stored[Signal::Error as usize], extension.usage().calls);
}
