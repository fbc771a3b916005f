//! The hostile suite: programs that burn time where no meter sees it, or break the rules of what they talk to. Whatever they do, the
//! host lives, says what happened in a typed record, gets its memory back, and serves the neighbours all the while.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::{FileAccess, Metering};
use glasshouse_model::{Blame, FailureKind, Outcome, Signal};
use glasshouse_runtime::{CallError, Extension, ExtensionSpec, HostMemory, Status, SystemClock, return_large_blocks};
use glasshouse_telemetry::Query;
use wasm_encoder::{
    Component, ConstExpr, DataSection, ExportKind, ExportSection, ImportSection, InstanceSection, MemorySection,
    MemoryType, Module, ModuleArg, ModuleSection,
};

use crate::harness::{
    House, LATE, LONG, ask, beside, call, elapsed, fail, failures, guest, invocations, last_took, logs_with, samples,
    scratch,
};

const DEADLINE: Duration = Duration::from_millis(200);
/// How often each guest does its worst, after a first time that has it compiled, its code mapped, and its telemetry at its bound.
pub(crate) const ROUNDS: usize = 3;
/// Memory that the process may have gained since that first time: what allocators keep, and the neighbour's telemetry. A guest's
/// own is the larger part of 64 MiB each time, where it takes what it may.
const KEPT_BYTES: u64 = 16 << 20;

/// A host whose clock goes, in a process whose memory is that of a host.
pub(crate) fn house() -> House {
    return_large_blocks();
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    })
}

/// A neighbour whose records are all stored, although all that it does is to make some.
pub(crate) async fn neighbour(house: &House) -> Extension {
    house.ready_with("neighbour", |spec| spec.settings.debugging.profiling_overhead_limit = 100.0).await
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory is told");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Starts each of the guests, all of which do their worst in a start function or in `init`, and checks what becomes of them.
async fn check(metering: Metering, deadline: Duration, guests: &[(&str, FailureKind)]) {
    let house = house();
    let neighbour = neighbour(&house).await;
    for (name, kind) in guests {
        let mut level = 0;
        for round in 0..=ROUNDS {
            start_and_fail(&house, &neighbour, (metering, deadline), (name, *kind), round).await;
            if round == 0 {
                level = resident_bytes();
            }
        }
        check_level(name, level);
    }
}

/// Checks that the process has no more memory than it had, but for what is allowed.
pub(crate) fn check_level(name: &str, level: u64) {
    let gained = resident_bytes().saturating_sub(level);
    assert!(gained < KEPT_BYTES, "{name}: {} MiB are not given back", gained >> 20);
}

/// Checks that the last call with an event ended in its time, however it ended.
fn check_time(extension: &Extension, event: &str) {
    let deadline = extension.settings().budget.deadline;
    let took = last_took(extension, &format!("handle:{event}"));
    assert!(took <= deadline + LATE, "{}: {event} took {took:?} of {deadline:?}", extension.id());
}

/// Starts a guest that does its worst in a start function or in `init`, and checks what becomes of it.
async fn start_and_fail(
    house: &House,
    neighbour: &Extension,
    (metering, deadline): (Metering, Duration),
    (name, kind): (&str, FailureKind),
    round: usize,
) {
    let extension = house.start(&format!("{name}-{round}"), &guest(name), |spec| {
        spec.settings.budget.deadline = deadline;
        spec.settings.budget.fuel_per_call = u64::MAX / 2;
        spec.settings.budget.metering = metering;
        few_records(spec);
    });
    let status = beside(neighbour, extension.loaded()).await;
    let Status::Failed { cause } = status else { panic!("{name} is {}", status.word()) };
    let (_, failure) = failures(&extension).pop().unwrap_or_else(|| panic!("{name}: no failure, but {cause}"));
    assert_eq!(failure.kind, kind, "{name}: {cause}");
    assert_eq!((failure.kind.blame(), failure.call.as_str()), (Blame::Guest, "init"), "{name}");
    assert!(cause.starts_with(kind.as_str()) && cause.contains(kind.advice()), "{name}: {cause}");
    assert!(invocations(&extension)[0].1 != Outcome::Ok, "{name}");
    assert_eq!(logs_with(&extension, "failed to start").len(), 1, "{name}");
    let took = elapsed(&extension)[0];
    assert!(took <= deadline + LATE, "{name} took {took:?} until {failure}");
    assert_eq!((extension.usage().memory_bytes, extension.host_memory()), (0, HostMemory::default()), "{name}");
}

/// Keeps little of a guest's telemetry, so that it has reached its bound after the first time.
fn few_records(spec: &mut ExtensionSpec) {
    let debugging = &mut spec.settings.debugging;
    for bound in [
        &mut debugging.max_log_entries,
        &mut debugging.max_metrics,
        &mut debugging.max_errors,
        &mut debugging.max_traces,
    ] {
        *bound = 10;
    }
}

/// What guests that are ready do at their worst when they are called: the guest, the event, its payload, and how it ends.
const CALLS: &[(&str, &str, &str, FailureKind)] = &[
    ("spin", "spin", "", FailureKind::FuelBreach),
    ("sleeper", "sleep", "", FailureKind::DeadlineBreach),
    ("memory-bomb", "hoard", "", FailureKind::MemoryBreach),
    ("memory-grow", "insist", "", FailureKind::MemoryBreach),
    ("recursion", "descend", "", FailureKind::StackOverflow),
    ("panic", "panic", "\"x\"", FailureKind::Panic),
    ("traps", "unreachable", "", FailureKind::Unreachable),
    ("traps", "out-of-bounds", "", FailureKind::MemoryOutOfBounds),
    ("traps", "bad-call", "", FailureKind::BadCall),
    ("traps", "not-utf8", "", FailureKind::InvalidInterfaceUse),
    ("exits", "exit", "1", FailureKind::Exit),
    ("long-log", "message", "20000000", FailureKind::HostDataBreach),
    ("open-spans", "nest-handles", "100000", FailureKind::ResourceBreach),
    ("open-spans", "hoard", "1000000", FailureKind::ResourceBreach),
    ("host-flood", "batches", "1000", FailureKind::DeadlineBreach),
    ("host-flood", "messages", "1000000", FailureKind::DeadlineBreach),
    ("host-flood", "lines", "", FailureKind::DeadlineBreach),
    ("host-flood", "spans", "1000000", FailureKind::HostDataBreach),
    ("forged-spans", "crowd", "100000", FailureKind::HostDataBreach),
    ("telemetry-flood", "fail", "", FailureKind::Panic),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_returns_to_its_level_whatever_a_call_did() {
    let house = house();
    let neighbour = neighbour(&house).await;
    for (at, (name, worst, payload, kind)) in CALLS.iter().enumerate() {
        let extension = house.start(&format!("{name}-{at}"), &guest(name), |spec| {
            spec.settings.budget.failures_in_a_row = 1_000;
            if *kind == FailureKind::DeadlineBreach {
                spec.settings.budget.deadline = DEADLINE;
                spec.settings.budget.fuel_per_call = u64::MAX / 2;
            }
            few_records(spec);
        });
        assert_eq!(extension.loaded().await, Status::Ready, "{name}");
        let fresh = extension.usage().memory_bytes;
        let mut level = 0;
        for round in 0..=ROUNDS {
            beside(&neighbour, fail(&extension, worst, payload, *kind)).await;
            check_time(&extension, worst);
            // It waits for the new instance.
            extension.release("a test").await.expect("it takes orders");
            assert_eq!(extension.usage().memory_bytes, fresh, "{name}: the ledger's figure is that of a new instance");
            if round == 0 {
                level = resident_bytes();
            }
        }
        check_level(name, level);
    }
}

/// A folder that a guest sees as `/data`.
fn read_only(folder: &Path) -> FileAccess {
    FileAccess { host: folder.to_owned(), root: folder.to_owned(), guest: "/data".to_owned(), write: false }
}

/// What guests do that tests elsewhere look at one by one, and that ends as it may: the guest, the event and its payload.
const DEEDS: &[(&str, &str, &str)] = &[
    ("log-flood", "flood", "20000"),
    ("long-log", "message", "1000000"),
    ("long-log", "fields", "5000"),
    ("malformed-emit", "emit", "no records at all"),
    ("malformed-emit", "thrice", "no records at all"),
    ("forged-batch", "lengths", "1000"),
    ("forged-spans", "guess", "20000"),
    ("forged-spans", "deep", "100000"),
    ("forged-spans", "long", "1000000"),
    ("forged-spans", "past-the-end", ""),
    ("forged-batch", "past-the-end", ""),
    ("forged-batch", "overlap", ""),
    ("stdio", "speak", ""),
    ("painter", "paint", ""),
    ("painter", "fall", ""),
    ("invalid-metrics", "record", ""),
    ("label-explosion", "explode", "20000"),
    ("telemetry-flood", "errors", "5000"),
    ("telemetry-flood", "meters", "2000"),
    ("telemetry-flood", "names", "5000"),
    ("telemetry-flood", "chain", "1000"),
    ("telemetry-flood", "impersonate", "2000"),
    ("alarmist", "flood", "5000"),
    ("alarmist", "hold", "60000000"),
    ("answers", "both", "\"x\""),
    ("answers", "panic", "\"x\""),
    ("batched", "count-for-ever", "100"),
    ("context", "illegal", ""),
    ("trespasser", "read", "\"/etc/passwd\""),
    ("trespasser", "read", "\"/data/../secret\""),
    ("trespasser", "connect", "\"127.0.0.1:1\""),
    ("gossip", "publish", "\"rumour\""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_returns_to_its_level_after_what_ends_as_it_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).expect("making a folder");
    std::fs::write(folder.path().join("secret"), "not for you").expect("writing a file");
    let house = house();
    let neighbour = neighbour(&house).await;
    for (at, (name, event, payload)) in DEEDS.iter().enumerate() {
        let extension = house.start(&format!("{name}-{at}"), &guest(name), |spec| {
            spec.settings.budget.failures_in_a_row = 1_000;
            spec.settings.budget.deadline = 10 * DEADLINE;
            if *name == "trespasser" {
                spec.settings.permissions.files = vec![read_only(&inside)];
            }
            few_records(spec);
        });
        assert_eq!(extension.loaded().await, Status::Ready, "{name}");
        let mut level = 0;
        for round in 0..=ROUNDS {
            let ended = beside(&neighbour, call(&extension, event, payload)).await;
            assert!(!format!("{ended:?}").contains("not for you"), "{name} {event}: {ended:?}");
            let is_typed = matches!(ended, Ok(_) | Err(CallError::Answered(_) | CallError::Failed(_)));
            assert!(is_typed, "{name} {event}: {ended:?}");
            check_time(&extension, event);
            // It waits for the new instance, if there is to be one.
            extension.release("a test").await.expect("it takes orders");
            if round == 0 {
                level = resident_bytes();
            }
        }
        assert_eq!(
            invocations(&extension).iter().filter(|(call, _)| call.ends_with(event)).count(),
            ROUNDS + 1,
            "{name}"
        );
        check_level(&format!("{name} {event}"), level);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_returns_to_its_level_whatever_a_start_did() {
    use FailureKind::*;
    check(
        Metering::Fuel,
        DEADLINE,
        &[
            ("huge-memory", MemoryBreach),
            ("disguise", DeadlineBreach),
            ("init-spin", DeadlineBreach),
            ("start-spin", DeadlineBreach),
        ],
    )
    .await;
    check(Metering::Fuel, LONG, &[("init-trap", Panic), ("init-refuses", InitRefused)]).await;
}

/// What burns time for little fuel, or for none: a name a line.
const BURNERS: &str = include_str!("../guests/burners.txt");

fn burners() -> Vec<(&'static str, FailureKind)> {
    BURNERS.lines().map(|name| (name, FailureKind::DeadlineBreach)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_burns_time_ends_at_its_deadline_when_metered_by_fuel() {
    check(Metering::Fuel, DEADLINE, &burners()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_burns_time_ends_at_its_deadline_when_metered_by_the_clock() {
    check(Metering::Cpu, DEADLINE, &burners()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_the_rules_of_the_host_is_ended_with_the_cause() {
    use FailureKind::*;
    check(
        Metering::Fuel,
        LONG,
        &[
            ("endless-stack", StackOverflow),
            ("self-call", InvalidInterfaceUse),
            ("hoard-handles", ResourceBreach),
            ("hoard-events", ResourceBreach),
            ("poll-crowd", ResourceBreach),
            ("grow-table", ResourceBreach),
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
            ("crowded-spans", HostDataBreach),
            ("heavy-publish", HostDataBreach),
            ("forged-handle", InvalidInterfaceUse),
            ("double-drop", InvalidInterfaceUse),
            ("poll-nothing", InvalidInterfaceUse),
            ("exit-at-start", Exit),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_jump_table_is_nothing_special() {
    let places = "$again ".repeat(65_000);
    let text = format!(
        "(component (core module $m (func $start (loop $again (br_table {places} (i32.const 64999)))) (start $start)) \
         (core instance (instantiate $m)))"
    );
    let house = house();
    let neighbour = neighbour(&house).await;
    let file = scratch("jumps.wasm", &wat::parse_str(text).expect("it assembles"));
    let extension = house.start("jumps", &file, |spec| spec.settings.budget.deadline = DEADLINE);
    let status = beside(&neighbour, extension.loaded()).await;
    assert!(matches!(&status, Status::Failed { cause } if cause.contains("breach.")), "{status:?}");
    assert!(elapsed(&extension)[0] <= DEADLINE + LATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_handles_of_nested_spans_end_the_call_and_leave_nothing_behind() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let extension = house.ready("open-spans").await;
    beside(&neighbour, fail(&extension, "nest-handles", "100000", FailureKind::ResourceBreach)).await;
    assert_eq!(ask(&extension, "nest-handles", "10").await, "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explosion_of_labels_takes_no_more_memory_than_its_records() {
    const SERIES: u64 = 50_000;
    let house = house();
    let neighbour = neighbour(&house).await;
    let extension = house.ready_with("label-explosion", |spec| spec.settings.debugging.max_metrics = 1_000).await;
    let before = resident_bytes();
    assert_eq!(beside(&neighbour, ask(&extension, "explode", SERIES.to_string())).await, SERIES.to_string());
    assert!(samples(&extension).len() <= 1_000);
    let usage = extension.usage();
    assert_eq!(usage.stored[Signal::Metric as usize] + usage.dropped, SERIES, "none is unaccounted for");
    // What they come to has all that was stored but what went too fast, and that is told.
    let told = || {
        let summary = extension.reader(Signal::Metric).summary("label-explosion", &Query::all());
        summary.missed + summary.series.iter().map(|series| series.aggregate.count).sum::<u64>()
    };
    let rolled_up = async {
        while told() != usage.stored[Signal::Metric as usize] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, rolled_up).await.expect("it adds up");
    assert!(resident_bytes().saturating_sub(before) < KEPT_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_hoards_open_files_leaves_the_others_theirs() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("note"), "still here").expect("writing a file");
    let access = read_only(folder.path());
    let house = house();
    let granted = |spec: &mut ExtensionSpec| spec.settings.permissions.files = vec![access.clone()];
    let hoarder = house.ready_with("hoard-files", granted).await;
    let reader = house.ready_with("trespasser", granted).await;
    let neighbour = neighbour(&house).await;
    let open = || std::fs::read_dir("/proc/self/fd").expect("open files are listed").count();
    let before = open();
    let mut level = 0;
    for round in 0..=ROUNDS {
        beside(&neighbour, fail(&hoarder, "hoard", r#"["/data/note", 100000]"#, FailureKind::ResourceBreach)).await;
        hoarder.release("a test").await.expect("it takes orders");
        if round == 0 {
            level = resident_bytes();
        }
    }
    check_level("hoard-files", level);
    assert_eq!(ask(&reader, "read", "\"/data/note\"").await, "\"still here\"");
    assert_eq!(ask(&hoarder, "hoard", r#"["/data/note", 10]"#).await, "10");
    assert!(open() <= before + 100, "{} files are open, {before} were", open());
}

/// A component that puts the same 20 MiB of data into one memory again and again, by instantiating a module 90 times.
fn data_bomb() -> Vec<u8> {
    const PAGES: u64 = 400;
    let kind = MemoryType { minimum: PAGES, maximum: None, memory64: false, shared: false, page_size_log2: None };
    let (mut memories, mut exports) = (MemorySection::new(), ExportSection::new());
    memories.memory(kind);
    exports.export("memory", ExportKind::Memory, 0);
    let mut owner = Module::new();
    owner.section(&memories).section(&exports);
    let (mut imports, mut data) = (ImportSection::new(), DataSection::new());
    imports.import("owner", "memory", kind);
    data.active(0, &ConstExpr::i32_const(0), std::iter::repeat_n(7, 20 << 20));
    let mut writer = Module::new();
    writer.section(&imports).section(&data);
    let mut instances = InstanceSection::new();
    instances.instantiate(0, Vec::<(&str, ModuleArg)>::new());
    for _ in 0..90 {
        instances.instantiate(1, [("owner", ModuleArg::Instance(0))]);
    }
    let mut component = Component::new();
    component.section(&ModuleSection(&owner)).section(&ModuleSection(&writer)).section(&instances);
    component.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_written_again_and_again_at_the_start_is_under_the_deadline_too() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let file = scratch("data-bomb.wasm", &data_bomb());
    let mut level = 0;
    for round in 0..=ROUNDS {
        let extension = house.start(&format!("data-bomb-{round}"), &file, |spec| {
            spec.settings.budget.deadline = DEADLINE / 10;
            spec.settings.budget.fuel_per_call = u64::MAX / 2;
            few_records(spec);
        });
        let status = beside(&neighbour, extension.loaded()).await;
        assert!(matches!(&status, Status::Failed { cause } if cause.starts_with("breach.deadline")), "{status:?}");
        assert!(elapsed(&extension)[0] <= DEADLINE / 10 + LATE);
        if round == 0 {
            level = resident_bytes();
        }
    }
    check_level("data-bomb", level);
    let starved = house.start("starved", &file, |spec| spec.settings.budget.fuel_per_call = 100_000_000);
    let status = beside(&neighbour, starved.loaded()).await;
    assert!(matches!(&status, Status::Failed { cause } if cause.starts_with("breach.fuel")), "{status:?}");
}
