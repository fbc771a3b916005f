//! Logs and samples that a guest gathers: they arrive in order and marked, whatever becomes of the call that made them.

use std::collections::BTreeSet;
use std::time::Duration;

use glasshouse_model::wire::{self, Field, Level as WireLevel, Log as WireLog, Value};
use glasshouse_model::{FailureKind, Level, Signal};
use glasshouse_runtime::{CallError, Extension, ExtensionSpec};
use glasshouse_telemetry::Drop;
use serde_json::json;

use crate::harness::{
    House, Log, ask, call, dropped, fail, failures, guest, invocation_envelopes, logs, logs_with, samples, scratch,
    spans,
};

/// Enough for a thousand logs, little enough to be used up in a moment.
const LITTLE_FUEL: u64 = 5_000_000;
const SHORT: Duration = Duration::from_millis(300);

/// The numbers of the logs that a guest numbered, in the order in which they are stored.
fn numbers(extension: &Extension) -> Vec<u64> {
    numbered(extension).iter().map(|(number, _)| *number).collect()
}

fn numbered(extension: &Extension) -> Vec<(u64, Log)> {
    let number = |log: &Log| log.fields.iter().find(|(name, _)| name == "number")?.1.parse().ok();
    logs(extension).into_iter().filter_map(|log| Some((number(&log)?, log))).collect()
}

fn request(logs: u64, then: &str) -> String {
    json!({ "logs": logs, "then": then }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_logs_arrive_in_order_and_marked_and_a_warning_crosses_alone_in_its_place() {
    let house = House::new();
    let extension = house.ready("batched").await;
    for logs in [0, 1, 2, 1000] {
        let before = numbers(&extension).len();
        ask(&extension, "log", request(logs, "warning")).await;
        let all = numbered(&extension).split_off(before);
        assert_eq!(all.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=logs + 1).collect::<Vec<_>>());
        assert!(all.iter().all(|(_, log)| log.envelope.batched && log.time.is_none()));
        let warning = logs_with(&extension, "alone").pop().expect("the warning is stored");
        assert!(!warning.envelope.batched && warning.level == Level::Warning);
        let last = &all[logs as usize].1;
        assert_eq!(warning.envelope.sequence + 1, last.envelope.sequence, "the warning stands before the last log");
        let source = last.source.as_ref().expect("it says where it was made");
        assert_eq!(source.0, "tests/guests/examples/batched.rs");
        let whose = invocation_envelopes(&extension, "handle:log").pop().and_then(|envelope| envelope.context);
        assert_eq!(last.envelope.context, whose);
    }
    assert_eq!(dropped(&extension, Drop::Malformed), 0);
}

/// Lets a guest write logs and end in a way: all of them must be there, marked, once, in order, before what the host says.
async fn check(then: &str, kind: FailureKind, change: impl Fn(&mut ExtensionSpec)) {
    let house = House::new();
    let extension = house.ready_with("batched", &change).await;
    for logs in [0, 1, 60, 1000] {
        let before = numbers(&extension).len();
        let sampled = samples(&extension).len();
        fail(&extension, "log", &request(logs, then), kind).await;
        let all = numbered(&extension).split_off(before);
        let found: Vec<_> = all.iter().map(|(number, _)| *number).collect();
        assert_eq!(found, (1..=logs).collect::<Vec<_>>(), "{then}, {logs} logs");
        assert!(all.iter().all(|(_, log)| log.envelope.batched));
        let (failed, _) = failures(&extension).pop().expect("the failure is stored");
        assert!(all.iter().all(|(_, log)| log.envelope.context == failed.context));
        check_samples(&extension, sampled, logs, then);
        assert_eq!(numbers(&extension).len(), before + logs as usize, "a new instance begins without");
    }
    assert_eq!(dropped(&extension, Drop::Malformed), 0);
}

/// Checks the samples of a call: a sum of ones in a few samples, and all numbers in turn, one a sample.
fn check_samples(extension: &Extension, before: usize, numbers: u64, then: &str) {
    let all = samples(extension).split_off(before);
    let (sums, each): (Vec<_>, Vec<_>) = all.iter().partition(|sample| sample.name == "sum");
    assert_eq!(sums.iter().map(|sample| sample.value as u64).sum::<u64>(), numbers, "{then}, {numbers}");
    assert!(sums.len() <= 20, "{} samples of a sum", sums.len());
    let each: Vec<_> = each.iter().map(|sample| sample.value).collect();
    assert_eq!(each, (1..=numbers).map(|number| number as f64).collect::<Vec<_>>(), "{then}, {numbers}");
    assert!(all.iter().all(|sample| sample.envelope.batched && !sample.envelope.cut));
    assert!(sums.iter().all(|sum| sum.labels == [("of".to_owned(), "ones".to_owned())] && sum.unit.is_empty()));
}

fn often(spec: &mut ExtensionSpec) {
    spec.settings.config.insert("samples".to_owned(), true.into());
    spec.settings.budget.failures_in_a_row = 100;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_loses_no_gathered_log_and_no_sample() {
    check("unreachable", FailureKind::Unreachable, often).await;
    check("out-of-bounds", FailureKind::MemoryOutOfBounds, often).await;
    check("recursion", FailureKind::StackOverflow, often).await;
    check("panic", FailureKind::Panic, often).await;
    check("exit", FailureKind::Exit, often).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_loses_no_gathered_log_and_no_sample() {
    let with_fuel = |fuel| {
        move |spec: &mut ExtensionSpec| {
            often(spec);
            spec.settings.budget.fuel_per_call = fuel;
        }
    };
    check("spin", FailureKind::FuelBreach, with_fuel(LITTLE_FUEL)).await;
    // The host drops the call while it runs, or while it waits.
    for then in ["spin", "sleep"] {
        check(then, FailureKind::DeadlineBreach, |spec| {
            with_fuel(u64::MAX / 2)(spec);
            spec.settings.budget.deadline = SHORT;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cancelled_loses_no_gathered_log() {
    let house = House::new();
    let extension = house.ready("batched").await;
    let request = request(60, "sleep");
    let (cancelled, ()) =
        tokio::join!(call(&extension, "log", &request), house.runtime.shutdown(Duration::from_secs(1)));
    assert!(matches!(cancelled, Err(CallError::Cancelled)), "{cancelled:?}");
    assert_eq!(numbers(&extension), (1..=60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_logs_belong_to_the_span_that_they_were_made_in() {
    let house = House::new();
    let extension = house.ready("batched").await;
    fail(&extension, "spans", "", FailureKind::Panic).await;
    let span =
        |name: &str| spans(&extension).into_iter().find(|span| span.name == name).expect("it ended").context.span_id;
    let root = invocation_envelopes(&extension, "handle:spans")[0].context.clone().expect("whose it is").span_id;
    let found: Vec<_> = numbered(&extension).iter().map(|(number, log)| (*number, log.context().span_id)).collect();
    let (outer, inner) = (span("outer"), span("inner"));
    assert_eq!(found, [(1, root), (2, outer), (3, inner), (4, outer), (5, outer)]);
    let alone = logs_with(&extension, "alone").pop().expect("the error is stored").envelope.sequence;
    let sequences: Vec<_> = numbered(&extension).iter().map(|(_, log)| log.envelope.sequence).collect();
    assert!(sequences[3] < alone && alone < sequences[4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_fails_loses_no_gathered_log() {
    for panic in [true, false] {
        let house = House::new();
        let extension = house.start("batched", &guest("batched"), |spec| {
            spec.settings.config.insert("fail_init_after".to_owned(), 200.into());
            spec.settings.config.insert("panic".to_owned(), panic.into());
        });
        let status = extension.loaded().await;
        assert_eq!(status.word(), "failed");
        assert_eq!(numbers(&extension), (1..=200).collect::<Vec<_>>());
    }
}

/// Lets a guest write logs until its fuel is used up: as many as it says that it made, or one more, of which it could
/// not say so any more. Gives both counts.
async fn run_dry(house: &House, text_bytes: usize, fuel: u64) -> (u64, u64) {
    let id = format!("dry-{text_bytes}-{fuel}");
    let extension = house.start(&id, &guest("batched"), |spec| spec.settings.budget.fuel_per_call = fuel);
    extension.loaded().await;
    let failed = call(&extension, "count-for-ever", text_bytes.to_string()).await;
    assert!(
        matches!(&failed, Err(CallError::Failed(failure)) if failure.kind == FailureKind::FuelBreach),
        "{failed:?}"
    );
    let made = extension.usage().stored[Signal::Metric as usize];
    let found = numbers(&extension);
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "{fuel}: none is missing, none is there twice");
    assert_eq!(dropped(&extension, Drop::Malformed), 0, "{fuel}: none is torn");
    (made, found.len() as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_guest_runs_out_of_fuel_no_log_that_it_made_is_missing() {
    // Fuel is used up at every point of the way through a log in turn, and then at points far apart. With long texts,
    // every third log sends the batch, and the host's taking it is passed, too.
    let mut random = fastrand::Rng::with_seed(7);
    let dense = (0..150).map(|step| (10, 300_000 + step * 11));
    let sending = (0..250).map(|step| (5_000, 400_000 + step * 83));
    let apart: Vec<_> = (0..50).map(|_| (random.usize(0..200), random.u64(200_000..4_000_000))).collect();
    let mut house = House::new();
    let mut ends = BTreeSet::new();
    for (number, (text_bytes, fuel)) in dense.chain(sending).chain(apart).enumerate() {
        if number % 50 == 0 {
            house = House::new();
        }
        let (made, found) = run_dry(&house, text_bytes, fuel).await;
        assert!(made == found || made + 1 == found, "{fuel}: {found} logs are stored and {made} were made");
        ends.insert(found - made);
    }
    assert_eq!(
        ends.into_iter().collect::<Vec<_>>(),
        [0, 1],
        "traps fell on both sides of what says that a log is made"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_guest_runs_out_of_fuel_no_sample_that_it_recorded_is_missing_or_counted_twice() {
    // Fuel is used up at every point of the way through a sample in turn, and then at points far apart, so that batches are
    // full, too.
    let mut random = fastrand::Rng::with_seed(11);
    let dense = (0..150).map(|step| 300_000 + step * 11);
    let apart: Vec<_> = (0..100).map(|_| random.u64(200_000..6_000_000)).collect();
    let mut house = House::new();
    let mut ends = BTreeSet::new();
    for (number, fuel) in dense.chain(apart).enumerate() {
        if number % 50 == 0 {
            house = House::new();
        }
        let extension = house.start(&format!("dry-{number}"), &guest("batched"), |spec| {
            often(spec);
            spec.settings.budget.fuel_per_call = fuel;
        });
        extension.loaded().await;
        fail(&extension, "sample-for-ever", "", FailureKind::FuelBreach).await;
        let all = samples(&extension);
        let of = |name: &str| -> Vec<_> {
            all.iter().filter(|sample| sample.name == name).map(|sample| sample.value).collect()
        };
        let (sum, each, told) = (of("sum").iter().sum::<f64>() as u64, of("each"), of("told").len() as u64);
        assert_eq!(each, (1..=each.len()).map(|number| number as f64).collect::<Vec<_>>(), "{fuel}");
        for found in [sum, each.len() as u64] {
            assert!(found == told || found == told + 1, "{fuel}: {found} samples are stored and {told} were made");
            ends.insert(found - told);
        }
        assert_eq!(dropped(&extension, Drop::Malformed), 0, "{fuel}: none is torn");
    }
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [0, 1], "traps fell on both sides of what says that one is made");
}

/// A batch of gathered records with one log for each of the times.
fn forged(serial: u32, times: &[Option<i64>]) -> Vec<u8> {
    let mut batch = wire::batched_head(serial).to_vec();
    for (number, time) in times.iter().enumerate() {
        let log = WireLog { level: WireLevel::Info, target: "forged", message: "", source: None, time: *time };
        let fields = [Field { name: "number", value: Value::Integer(number as i64) }];
        wire::record(&mut batch, wire::KIND_LOG, |body| {
            wire::write_log(body, &log, format_args!("forged"), &fields);
        });
    }
    batch
}

fn share(committed: u64, batch: &[u8]) -> Vec<u8> {
    [&committed.to_le_bytes(), batch].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_shares_is_believed_no_more_than_what_it_sends() {
    let house = House::new();
    let extension = house.ready_with("forged-batch", often).await;
    let whole = forged(1, &[None, None]);
    let bytes = whole.len() as u64;
    let large = vec![2; 300 * 1024];
    // The event, what is shared, how many logs are taken of it, and whether the rest is malformed.
    let cases: &[(&str, Vec<u8>, usize, u64)] = &[
        ("share", share(bytes, &whole), 2, 0),
        ("share", share(0, &whole), 0, 0),
        ("share", share(5, &whole), 0, 0),
        ("share", share(bytes - 1, &whole), 1, 1),
        ("share", share(3, &whole), 0, 1),
        ("share", share(bytes + 1, &whole), 0, 1),
        ("share", share(u64::MAX, &whole), 0, 1),
        ("share", share(1 << 32, &whole), 0, 1),
        ("share", share(11, b"not a batch"), 0, 1),
        ("share", share(whole.len() as u64 - 4, &[&[1], &whole[5..]].concat()), 0, 1),
        ("share", share(large.len() as u64, &large), 0, 1),
        ("share-and-emit", share(bytes, &whole), 2, 0),
        ("take-back", share(bytes, &whole), 0, 0),
        ("lengths", b"0".to_vec(), 0, 1),
        ("lengths", b"2".to_vec(), 0, 1),
        ("overlap", Vec::new(), 0, 1),
    ];
    for (case, (name, payload, taken, malformed)) in cases.iter().enumerate() {
        let before =
            (numbers(&extension).len(), dropped(&extension, Drop::Malformed), logs_with(&extension, "malformed").len());
        match call(&extension, name, payload).await {
            Err(CallError::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Unreachable, "{case}: {failure}"),
            other => panic!("{case}: {other:?}"),
        }
        let after =
            (numbers(&extension).len(), dropped(&extension, Drop::Malformed), logs_with(&extension, "malformed").len());
        assert_eq!(after.0 - before.0, *taken, "case {case}");
        assert_eq!(after.1 - before.1, *malformed, "case {case}");
        assert_eq!((after.2 - before.2) as u64, *malformed, "case {case}: it is told");
    }
    fail(&extension, "past-the-end", "", FailureKind::InvalidInterfaceUse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_cannot_be_is_corrected_by_what_the_host_knows() {
    // The tests' clock stands still, so that a call begins and ends at one time, long before that of the guest's clock.
    let house = House::new();
    let extension = house
        .ready_with("batched", |spec| {
            spec.settings.config.insert("timed".to_owned(), true.into());
        })
        .await;
    house.clock.advance(Duration::from_secs(1));
    fail(&extension, "log", &request(10, "unreachable"), FailureKind::Unreachable).await;
    let forger = house.ready("forged-batch").await;
    let batch = forged(1, &[Some(0), Some(i64::MIN), Some(i64::MAX)]);
    let failed = call(&forger, "share", share(batch.len() as u64, &batch)).await;
    assert!(matches!(failed, Err(CallError::Failed(_))), "{failed:?}");
    for (extension, logs) in [(&extension, 10), (&forger, 3)] {
        let all = numbered(extension);
        assert_eq!(all.len(), logs);
        assert!(all.iter().all(|(_, log)| log.time == Some(log.envelope.time.0)), "{all:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_function_that_shares_and_traps_loses_nothing_either() {
    let batch = forged(9, &[None]);
    let text = batch.iter().fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
    let bytes = batch.len();
    let component = format!(
        r#"(component
          (import "glasshouse:extension/debugging@0.1.0" (instance $d
            (export "share-batch" (func (param "committed" (list u64)) (param "batch" (list u8))))))
          (core module $mem (memory (export "memory") 1) (data (i32.const 8) "\{bytes:02x}") (data (i32.const 64) "{text}"))
          (core instance $m (instantiate $mem))
          (core func $share (canon lower (func $d "share-batch") (memory (core memory $m "memory"))))
          (core module $main
            (import "d" "share" (func $share (param i32 i32 i32 i32)))
            (func $s (call $share (i32.const 8) (i32.const 1) (i32.const 64) (i32.const {bytes})) unreachable)
            (start $s))
          (core instance (instantiate $main (with "d" (instance (export "share" (func $share)))))))"#
    );
    let file = scratch("start-shares.wasm", &wat::parse_str(&component).expect("it assembles"));
    let house = House::new();
    let cause = house.refused("start-shares", &file).await;
    assert!(cause.contains("trap.unreachable"), "{cause}");
    let extension = house.runtime.extension("start-shares").expect("it is listed");
    assert_eq!(numbers(&extension), [0]);
}
