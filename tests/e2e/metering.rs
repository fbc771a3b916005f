//! The two ways to meter an extension: by fuel, and by the processor's time alone.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::FailureKind;
use glasshouse_model::settings::Metering;
use glasshouse_runtime::{Extension, ExtensionSpec, Status, SystemClock};

use crate::harness::{House, LATE, LONG, ask, beside, fail, failures, fuel, guest, last_took, logs_with, spans};

const SHORT: Duration = Duration::from_millis(200);

/// By the processor's time, with a short deadline.
fn by_cpu(spec: &mut ExtensionSpec) {
    spec.settings.budget.metering = Metering::Cpu;
    spec.settings.budget.deadline = SHORT;
    // Would end any call if fuel were counted.
    spec.settings.budget.fuel_per_call = 1;
}

/// A host whose clock goes, since its guests are to end at their deadlines by themselves.
fn house() -> House {
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    })
}

/// A neighbour whose records are all stored, although all that it does is to make some.
async fn neighbour(house: &House) -> Extension {
    house.ready_with("neighbour", |spec| spec.settings.debugging.profiling_overhead_limit = 100.0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fuel_a_call_ends_at_its_deadline_with_its_stack_and_lets_the_neighbours_run() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let extension = house.ready_with("spin", by_cpu).await;
    assert_eq!(ask(&extension, "count", "").await, "1");
    let failure = beside(&neighbour, fail(&extension, "spin", "", FailureKind::DeadlineBreach)).await;
    assert!(failure.frames.iter().any(|frame| frame.function.contains("spin::whirl")), "{:?}", failure.frames);
    let lines = house.runtime.source_frames(&extension, &failure).await;
    assert!(lines.iter().any(|frame| frame.location.is_some()), "{lines:?}");
    assert_eq!(logs_with(&extension, "spinning from now on").len(), 1);
    assert_eq!(spans(&extension).len(), 1);
    assert_eq!(ask(&extension, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fuel_that_is_not_counted_is_absent_and_not_zero() {
    let house = House::new();
    let by_cpu = house.ready_with("spin", by_cpu).await;
    assert_eq!(ask(&by_cpu, "work", "1000").await, "499500");
    assert_eq!(fuel(&by_cpu), [None, None]);
    assert_eq!(by_cpu.usage().fuel, 0);
    let by_fuel = house.start("by-fuel", &guest("spin"), |_| {});
    assert_eq!(by_fuel.loaded().await, Status::Ready);
    assert_eq!(ask(&by_fuel, "work", "1000").await, "499500");
    assert!(fuel(&by_fuel).iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fuel_a_guest_that_waits_ends_at_its_deadline_too() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let extension = house.ready_with("sleeper", by_cpu).await;
    beside(&neighbour, fail(&extension, "sleep", "", FailureKind::DeadlineBreach)).await;
    assert_eq!(ask(&extension, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_gives_up_a_call_without_fuel() {
    let house = house();
    let extension = house
        .ready_with("spin", |spec| {
            by_cpu(spec);
            spec.settings.budget.deadline = LONG;
        })
        .await;
    let (ended, ()) = tokio::join!(crate::harness::call(&extension, "spin", ""), async {
        while logs_with(&extension, "spinning from now on").is_empty() {
            tokio::task::yield_now().await;
        }
        house.runtime.cancel();
    });
    assert!(matches!(ended, Err(glasshouse_runtime::CallError::Cancelled)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinners_of_both_modes_at_once_end_and_hold_nobody_up() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let spinner = |id: &str, metering| {
        house.start(id, &guest("spin"), |spec| {
            by_cpu(spec);
            spec.settings.budget.metering = metering;
            spec.settings.budget.fuel_per_call = u64::MAX / 2;
        })
    };
    let spinners: [Extension; 4] = [
        spinner("cpu-1", Metering::Cpu),
        spinner("cpu-2", Metering::Cpu),
        spinner("fuel-1", Metering::Fuel),
        spinner("fuel-2", Metering::Fuel),
    ];
    for spinner in &spinners {
        assert_eq!(spinner.loaded().await, Status::Ready);
    }
    let [a, b, c, d] = &spinners;
    let spin = |extension| fail(extension, "spin", "", FailureKind::DeadlineBreach);
    beside(&neighbour, async { tokio::join!(spin(a), spin(b), spin(c), spin(d)) }).await;
    for spinner in &spinners {
        let took = last_took(spinner, "handle:spin");
        assert!(took <= SHORT + LATE, "{} took {took:?}", spinner.id());
    }
    let stacks = spinners.iter().map(|spinner| !failures(spinner)[0].1.frames.is_empty());
    assert_eq!(stacks.collect::<Vec<_>>(), [true, true, false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_has_compiled_code_of_its_own_which_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut compiled = Vec::new();
    for _ in 0..2 {
        let house = House::with_cache(Some(folder.path().to_owned()));
        for (id, component) in [("spin", "spin"), ("composed", "transcode")] {
            for metering in [Metering::Fuel, Metering::Cpu] {
                let id = format!("{id}-{}", metering.as_str());
                let extension = house.start(&id, &guest(component), |spec| {
                    spec.settings.budget.metering = metering;
                    spec.settings.budget.deadline = SHORT;
                });
                // The composed one loops for ever once it is there.
                extension.loaded().await;
                compiled.push(extension.component().expect("it is loaded").compiled);
            }
        }
        house.runtime.shutdown(LONG).await;
    }
    assert_eq!(compiled, [true, true, true, true, false, false, false, false]);
}
