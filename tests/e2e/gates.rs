//! What a guest may record: rates, sets of labels, lengths, sampling. What is too much is counted, told, and harms nobody.

use std::time::Duration;

use glasshouse_model::settings::TelemetryBudget;
use glasshouse_model::{FailureKind, Level, Origin, Signal, TraceId};
use glasshouse_runtime::{Extension, RuntimeSettings, Trigger};
use glasshouse_telemetry::{Depot, DepotSettings, Drop};

use crate::harness::{
    House, Log, StillClock, alerts, ask, beside, dropped, errors, event, fail, logs, logs_with, samples, spans,
};

const GUEST: &str = "telemetry-flood";

/// Starts the guest with another budget.
async fn flood(house: &House, change: impl FnOnce(&mut TelemetryBudget)) -> Extension {
    house.ready_with(GUEST, |spec| change(&mut spec.settings.budget.telemetry)).await
}

/// The host's records of an event, which no guest can make.
fn told(extension: &Extension, event: &str) -> Vec<Log> {
    let all = logs(extension).into_iter();
    all.filter(|log| log.envelope.origin == Origin::Host && log.field("event") == Some(event)).collect()
}

fn number(log: &Log, field: &str) -> u64 {
    log.field(field).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{field} in {log:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_debug_logs_is_bounded_counted_and_told_and_shuts_out_no_error() {
    const FLOOD: u64 = 20_000;
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = flood(&house, |budget| budget.records_per_second = 1_000).await;
    beside(&neighbour, ask(&extension, "debug", FLOOD.to_string())).await;
    // What a quiet while saved up passes at once, and as much again.
    let stored = logs_with(&extension, "noise").len() as u64;
    assert!((1_000..=2_000).contains(&stored), "{stored}");
    assert_eq!(dropped(&extension, Drop::Rate), FLOOD - stored);
    assert_eq!(logs_with(&extension, "a log that matters").len(), 1);
    assert_eq!((errors(&extension).len(), alerts(&extension).len()), (1, 1));
    let security = logs(&extension).into_iter().filter(|log| log.target == "glasshouse.security");
    assert_eq!(security.count(), 1, "though it is a log at info");

    let first = told(&extension, "telemetry.rate");
    assert_eq!(first.len(), 1, "at most once in a while");
    assert_eq!((first[0].level, first[0].target.as_str()), (Level::Warning, "glasshouse"));
    assert_eq!((number(&first[0], "records"), number(&first[0], "records_per_second")), (1, 1_000));
    house.clock.advance(Duration::from_secs(20));
    ask(&extension, "debug", "0").await;
    let all = told(&extension, "telemetry.rate");
    let counted: u64 = all.iter().map(|log| number(log, "records")).sum();
    assert_eq!((all.len(), counted), (2, dropped(&extension, Drop::Rate)), "the rest is told once it is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_bounded_too_and_so_are_lines_and_bytes() {
    let house = House::new();
    let check = async |event: &str, count: u64, change: fn(&mut TelemetryBudget), most: u64| {
        let house = House::new();
        let extension = flood(&house, change).await;
        ask(&extension, event, count.to_string()).await;
        let stored = logs(&extension).iter().filter(|log| log.envelope.origin != Origin::Host).count() as u64;
        assert!((most / 4..=most).contains(&stored), "{event}: {stored}");
        assert_eq!(stored + dropped(&extension, Drop::Rate), count, "{event}");
    };
    check("errors", 10_000, |budget| budget.records_per_second = 1_000, 2_500).await;
    check("print", 10_000, |budget| budget.records_per_second = 1_000, 2_000).await;
    check("errors", 10_000, |budget| budget.bytes_per_second = 64 << 10, 4 * (64 << 10) / 40).await;

    // The rate holds over time as well, and what is saved up is a second's worth.
    let extension = flood(&house, |budget| budget.records_per_second = 100).await;
    ask(&extension, "print", "1000").await;
    let before = logs_with(&extension, "a line").len();
    for _ in 0..10 {
        house.clock.advance(Duration::from_millis(100));
        ask(&extension, "print", "1000").await;
    }
    assert_eq!(logs_with(&extension, "a line").len() - before, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surplus_sets_of_labels_go_to_the_overflow_series_and_the_total_stays_exact() {
    const SETS: u64 = 500;
    const ALLOWED: usize = 20;
    let house = House::new();
    let extension = flood(&house, |budget| budget.series_per_metric = ALLOWED as u32).await;
    for (event, name) in [("labels", "calls"), ("meters", "bound.calls"), ("typed", "typed.calls")] {
        ask(&extension, event, SETS.to_string()).await;
        let check = || {
            let of_metric: Vec<_> = samples(&extension).into_iter().filter(|sample| sample.name == name).collect();
            let total: f64 = of_metric.iter().map(|sample| sample.value).sum();
            let mut series: Vec<_> = of_metric.into_iter().map(|sample| sample.labels).collect();
            series.sort();
            series.dedup();
            assert_eq!(series.len(), ALLOWED + 1, "{event}");
            assert_eq!(series[0], [("otel.metric.overflow".to_owned(), "true".to_owned())], "{event}");
            total as u64
        };
        assert_eq!(check(), 2 * SETS, "{event}");
        // The table is the extension's: neither a new call nor a new instance gets more.
        fail(&extension, "fail", "", FailureKind::Panic).await;
        ask(&extension, event, SETS.to_string()).await;
        assert_eq!(check(), 4 * SETS, "{event}");
    }
    assert_eq!(dropped(&extension, Drop::Metrics), 0);
    let told = told(&extension, "telemetry.series");
    assert_eq!((told.len(), number(&told[0], "series_per_metric")), (1, ALLOWED as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surplus_metrics_are_dropped_and_counted() {
    let house = House::new();
    let extension = flood(&house, |budget| budget.metrics = 10).await;
    ask(&extension, "names", "100").await;
    assert_eq!(samples(&extension).len(), 20, "each is recorded twice");
    assert_eq!(dropped(&extension, Drop::Metrics), 2 * 90);
    let told = told(&extension, "telemetry.metrics");
    assert_eq!((told.len(), number(&told[0], "metrics"), told[0].field("metric")), (1, 10, Some("name.10")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_and_fields_are_cut_to_the_budget_and_marked() {
    let house = House::new();
    let extension = flood(&house, |budget| {
        budget.string_bytes = 100;
        budget.fields = 2;
    })
    .await;
    ask(&extension, "long", "").await;
    let log = &logs_with(&extension, "long")[0];
    let lengths: Vec<_> = log.fields.iter().map(|(name, text)| (name.as_str(), text.len())).collect();
    assert_eq!((lengths, log.envelope.cut), (vec![("text", 100), ("second", 1)], true));
    let sample = &samples(&extension)[0];
    let label = &sample.labels[0];
    assert_eq!((sample.name.len(), label.0.len(), label.1.len(), sample.envelope.cut), (100, 100, 100, true));
    let (envelope, kind, message, _) = &errors(&extension)[0];
    assert_eq!((kind.len(), message.len(), envelope.cut), (100, 100, true));
    let line = &logs_with(&extension, "xxx")[0];
    assert_eq!((line.envelope.origin, line.message.len(), line.envelope.cut), (Origin::Stdio, 100, true));
    assert_eq!(spans(&extension).len(), 1);
    assert_eq!(extension.telemetry_use().text_peak_bytes, 1000, "what was cut off counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_lie_in_each_other_only_so_deep_however_few_are_open() {
    const CHAIN: u64 = 10_000;
    let house = House::new();
    let extension = flood(&house, |budget| budget.span_depth = 16).await;
    ask(&extension, "chain", CHAIN.to_string()).await;
    let links = spans(&extension);
    let deepest = links.iter().fold(std::collections::HashMap::new(), |mut depths, span| {
        let depth = depths.get(&span.parent).copied().unwrap_or(0) + 1;
        depths.insert(span.context.span_id.to_string(), depth);
        depths
    });
    assert_eq!(deepest.values().max(), Some(&16));
    assert_eq!(dropped(&extension, Drop::Nesting) + links.len() as u64, CHAIN);

    let extension = house.ready_with("open-spans", |spec| spec.settings.budget.telemetry.open_spans = 5).await;
    ask(&extension, "nest", "8").await;
    assert_eq!((spans(&extension).len(), dropped(&extension, Drop::Nesting)), (5, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_cannot_pass_for_the_host() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    let before = logs(&extension).iter().filter(|log| log.envelope.origin == Origin::Host).count();
    ask(&extension, "forge", "").await;
    let forged = &logs_with(&extension, "all right")[0];
    assert_eq!((forged.target.as_str(), forged.envelope.origin), ("glasshouse", Origin::Guest));
    assert_eq!(dropped(&extension, Drop::Malformed), 192, "kinds of the host's");
    let host = logs(&extension).iter().filter(|log| log.envelope.origin == Origin::Host).count();
    assert_eq!(host - before, 1, "malformed records are told once a call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_takes_no_more_of_the_disk_than_it_may() {
    const ALLOWED: u64 = 2 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = DepotSettings { data_dir: Some(folder.path().to_owned()), ..DepotSettings::default() };
    let clock = std::sync::Arc::new(StillClock::default());
    let depot = Depot::open(&settings, clock).expect("a data directory");
    let house = House::with(|settings: &mut RuntimeSettings| settings.depot = Some(depot));
    let extension = house
        .ready_with(GUEST, |spec| {
            spec.settings.retention.bytes = ALLOWED;
            spec.settings.budget.telemetry.records_per_second = 100_000_000;
        })
        .await;
    for _ in 0..5 {
        ask(&extension, "debug", "100000").await;
        let bytes: u64 = files(folder.path()).iter().map(|path| path.metadata().map_or(0, |file| file.len())).sum();
        assert!(bytes <= ALLOWED + (1 << 20), "{bytes} bytes on the disk");
    }
    assert!(extension.usage().evicted[Signal::Log as usize] > 0);
    assert_eq!(errors(&extension).len(), 5, "one signal never evicts another");
}

/// All files below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampling_keeps_traces_whole_and_what_failed_always() {
    let house = House::new();
    let extension = house.ready_with(GUEST, |spec| spec.settings.debugging.sampling_rate = 0.5).await;
    let in_trace = async |low: u64| {
        let trace = TraceId((1_u128 << 64 | u128::from(low)).to_be_bytes());
        let (logs_before, spans_before) = (logs(&extension).len(), spans(&extension).len());
        let trigger = Trigger { trace_id: Some(trace), ..Trigger::default() };
        extension.call(event("work", ""), trigger).await.expect("it replies");
        let levels: Vec<_> = logs(&extension)[logs_before..].iter().map(|log| log.level).collect();
        let names: Vec<_> = spans(&extension)[spans_before..].iter().map(|span| span.name.clone()).collect();
        (levels, names)
    };
    let kept = (vec![Level::Debug, Level::Info, Level::Warning], vec!["done".to_owned(), "failed".to_owned()]);
    let left_out = (vec![Level::Warning], vec!["failed".to_owned()]);
    // By the last seven bytes of the id.
    let middle = 1 << 55;
    for (low, expect) in [(u64::MAX, &kept), (middle, &kept), (middle - 1, &left_out), (0xff << 56, &left_out)] {
        let dropped_before = dropped(&extension, Drop::Sampled);
        assert_eq!(in_trace(low).await, *expect, "{low:x}");
        let left_out = if *expect == kept { 0 } else { 3 };
        assert_eq!(dropped(&extension, Drop::Sampled) - dropped_before, left_out, "{low:x}");
    }
    let mut settings = (*extension.settings()).clone();
    settings.debugging.sampling_rate = 1.0;
    extension.apply(settings, "a test").expect("it can be changed while it runs");
    assert_eq!(in_trace(0).await, kept);
}
