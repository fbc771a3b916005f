//! From the start of a host to its end: what is running finishes or is given up, in order.

use std::time::{Duration, Instant};

use glasshouse_model::Outcome;
use glasshouse_runtime::{CallError, Status};

use crate::harness::{House, LONG, ask, call, guest, invocations, logs_with};

/// Far below what the guests would take that are given up, far above what giving them up takes.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_runs_in_every_live_instance_and_later_calls_are_turned_away() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    ask(&neighbour, "echo", "x").await;
    house.runtime.shutdown(LONG).await;
    assert_eq!(neighbour.status(), Status::Stopped);
    let goodbye = logs_with(&neighbour, "goodbye");
    assert_eq!((goodbye.len(), goodbye[0].fields[0].1.as_str()), (1, "1"));
    assert_eq!(invocations(&neighbour).last(), Some(&("shutdown".to_owned(), Outcome::Ok)));
    assert!(matches!(call(&neighbour, "echo", "x").await, Err(CallError::Cancelled)));
    assert_eq!(neighbour.usage().memory_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_and_in_the_mailbox_are_finished_within_the_limit() {
    let house = House::new();
    let sleeper = house.ready("sleeper").await;
    let nap = || {
        let sleeper = sleeper.clone();
        async move { call(&sleeper, "nap", "100").await }
    };
    // `join!` polls in order: both naps are in the mailbox when the shutdown starts.
    let (first, second, ()) = tokio::join!(nap(), nap(), house.runtime.shutdown(LONG));
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert_eq!(logs_with(&sleeper, "good night").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_end_is_cancelled_at_the_limit_while_others_end_in_order() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let sleeper = house.ready("sleeper").await;
    let spin = house.ready_with("spin", |spec| spec.settings.budget.fuel_per_call = u64::MAX / 2).await;
    let start = Instant::now();
    let (slept, spun, ()) = tokio::join!(
        call(&sleeper, "sleep", ""),
        call(&spin, "spin", ""),
        house.runtime.shutdown(Duration::from_millis(100))
    );
    assert!(start.elapsed() < SOON);
    for (extension, given_up) in [(&sleeper, slept), (&spin, spun)] {
        assert!(matches!(given_up, Err(CallError::Cancelled)), "{given_up:?}");
        let cancelled = invocations(extension).into_iter().filter(|(_, outcome)| *outcome == Outcome::Cancelled);
        assert_eq!(cancelled.count(), 1);
        assert_eq!(extension.usage().failures, 0, "it is the host that gave up");
    }
    assert!(logs_with(&sleeper, "good night").is_empty(), "an instance in the middle of a call cannot be entered");
    assert_eq!(logs_with(&neighbour, "goodbye").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_has_run_for_long_is_still_woken_when_what_it_waits_for_has_come() {
    let house = House::new();
    let sleeper = house.ready("sleeper").await;
    assert_eq!(ask(&sleeper, "doze", "20").await, "20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_wish_to_stop_hastens_the_first() {
    let house = House::new();
    let sleeper = house.ready("sleeper").await;
    let start = Instant::now();
    let hasten = async {
        house.runtime.shutdown(Duration::from_millis(50)).await;
        assert_eq!(sleeper.status(), Status::Stopped, "a shutdown returns when all have ended");
    };
    let (slept, (), ()) = tokio::join!(call(&sleeper, "sleep", ""), house.runtime.shutdown(LONG), hasten);
    assert!(matches!(slept, Err(CallError::Cancelled)), "{slept:?}");
    assert!(start.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_a_shutdown_under_way() {
    let house = House::new();
    let sleeper = house.ready("sleeper").await;
    let start = Instant::now();
    let cancel = async { house.runtime.cancel() };
    let (slept, (), ()) = tokio::join!(call(&sleeper, "sleep", ""), house.runtime.shutdown(LONG), cancel);
    assert!(matches!(slept, Err(CallError::Cancelled)), "{slept:?}");
    assert!(start.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_while_it_loads_does_not_wait_for_the_compiler() {
    let house = House::with_cache(None);
    let extension = house.start("neighbour", &guest("neighbour"), |_| {});
    house.runtime.shutdown(LONG).await;
    assert_eq!(extension.status(), Status::Stopped);
    assert!(matches!(call(&extension, "echo", "").await, Err(CallError::Cancelled)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_extensions_stops_at_once() {
    House::new().runtime.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_host_gives_up_its_calls() {
    let house = House::new();
    let sleeper = house.ready("sleeper").await;
    let drop_it = async move { drop(house) };
    let (slept, ()) = tokio::join!(call(&sleeper, "sleep", ""), drop_it);
    assert!(matches!(slept, Err(CallError::Cancelled)), "{slept:?}");
}
