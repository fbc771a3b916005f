//! The hostile suite: programs that burn time where no meter sees it, or break the rules of what they talk to. Whatever they do, the
//! host lives, says what happened in a typed record, gets its memory back, and serves the neighbours all the while.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::Metering;
use glasshouse_model::{Blame, FailureKind, Outcome};
use glasshouse_runtime::{Status, SystemClock};

use crate::harness::{House, beside, elapsed, failures, guest, invocations, logs_with};

const DEADLINE: Duration = Duration::from_millis(200);
/// How much later than its deadline a call may end: the benches show that it is some milliseconds; this is for a machine
/// that is busy with other tests.
const LATE: Duration = Duration::from_secs(1);
/// Memory that the process may have gained at the end: what was compiled, and what allocators keep.
const KEPT_BYTES: u64 = 96 << 20;

/// A host whose clock goes.
fn house() -> House {
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    })
}

/// Resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory is told");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Starts each of the guests, all of which do their worst in a start function or in `init`, and checks what becomes of them.
async fn check(metering: Metering, guests: &[(&str, FailureKind)]) {
    let house = house();
    let neighbour = house.ready("neighbour").await;
    let before = resident_bytes();
    for (name, kind) in guests {
        let extension = house.start(name, &guest(name), |spec| {
            spec.settings.budget.deadline = DEADLINE;
            spec.settings.budget.fuel_per_call = u64::MAX / 2;
            spec.settings.budget.metering = metering;
        });
        let status = beside(&neighbour, extension.loaded()).await;
        let Status::Failed { cause } = status else { panic!("{name} is {}", status.word()) };
        let (_, failure) = failures(&extension).pop().unwrap_or_else(|| panic!("{name}: no failure, but {cause}"));
        assert_eq!(failure.kind, *kind, "{name}: {cause}");
        assert_eq!((failure.kind.blame(), failure.call.as_str()), (Blame::Guest, "init"), "{name}");
        assert!(cause.starts_with(kind.as_str()) && cause.contains(kind.advice()), "{name}: {cause}");
        assert!(invocations(&extension)[0].1 != Outcome::Ok, "{name}");
        assert_eq!(logs_with(&extension, "failed to start").len(), 1, "{name}");
        let took = elapsed(&extension)[0];
        assert!(took <= DEADLINE + LATE, "{name} took {took:?} until {failure}");
        assert_eq!(extension.usage().memory_bytes, 0, "{name}");
    }
    let gained = resident_bytes().saturating_sub(before);
    assert!(gained < KEPT_BYTES, "{} MiB are not given back", gained >> 20);
}

/// What burns time for little fuel, or for none.
const BURNERS: [&str; 17] = [
    "start-spin",
    "grow-nothing",
    "fill-memory",
    "copy-memory",
    "init-memory",
    "fill-table",
    "copy-table",
    "init-table",
    "churn-handles",
    "transcode",
    "copy-lists",
    "realloc-spin",
    "post-return-spin",
    "drain-random",
    "crowded-log",
    "flood-clock",
    "crowded-spans",
];

fn burners() -> Vec<(&'static str, FailureKind)> {
    BURNERS.map(|name| (name, FailureKind::DeadlineBreach)).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_burns_time_ends_at_its_deadline_when_metered_by_fuel() {
    check(Metering::Fuel, &burners()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_burns_time_ends_at_its_deadline_when_metered_by_the_clock() {
    check(Metering::Cpu, &burners()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_the_rules_of_the_host_is_ended_with_the_cause() {
    use FailureKind::*;
    check(
        Metering::Fuel,
        &[
            ("endless-stack", StackOverflow),
            ("self-call", InvalidInterfaceUse),
            ("wild-realloc", InvalidInterfaceUse),
            ("greedy-random", InvalidInterfaceUse),
            ("leave-in-realloc", InvalidInterfaceUse),
            ("post-return-trap", Unreachable),
            ("endless-result", InvalidInterfaceUse),
            ("wrong-result", InvalidInterfaceUse),
            ("wild-pointer", InvalidInterfaceUse),
            ("wrong-level", InvalidInterfaceUse),
            ("unaligned-list", InvalidInterfaceUse),
            ("endless-text", InvalidInterfaceUse),
            ("amplified-fields", HostDataBreach),
            ("forged-handle", InvalidInterfaceUse),
            ("double-drop", InvalidInterfaceUse),
            ("poll-nothing", InvalidInterfaceUse),
            ("exit-at-start", Exit),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_meter_sees_is_not_compiled() {
    let house = house();
    let neighbour = house.ready("neighbour").await;
    for (name, expected) in
        [("exceptions", "exceptions"), ("garbage", "gc"), ("shared-memory", "threads"), ("wide-memory", "memory64")]
    {
        let cause = beside(&neighbour, house.refused(name, &guest(name))).await;
        assert!(cause.contains("does not compile") && cause.contains(expected), "{name}: {cause}");
    }
}
