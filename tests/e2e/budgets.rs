//! Guests that use more than they may: fuel, time, memory, data; and what becomes of those that go on with it.

use std::time::Duration;

use glasshouse_model::settings::FileAccess;
use glasshouse_model::{FailureKind, Level, Outcome};
use glasshouse_runtime::{CallError, Extension, HostMemory, Status};

use crate::harness::{
    House, LONG, ask, beside, call, event, fail, failures, guest, invocations, logs, logs_with, on_behalf, scratch,
    spans,
};

/// Enough for what the guests do when they behave, little enough to be used up in a moment.
const LITTLE_FUEL: u64 = 20_000_000;
const SHORT: Duration = Duration::from_millis(200);
const MEBIBYTE: u64 = 1 << 20;

fn evidence(extension: &Extension, name: &str) -> Option<i64> {
    let (_, failure) = failures(extension).pop()?;
    failure.evidence.into_iter().find(|(given, _)| given == name).map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_when_its_fuel_is_used_up() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready_with("spin", |spec| spec.settings.budget.fuel_per_call = LITTLE_FUEL).await;
    assert_eq!(ask(&extension, "count", "").await, "1");
    let before = extension.usage().fuel;
    let failure = beside(&neighbour, fail(&extension, "spin", "", FailureKind::FuelBreach)).await;
    assert_eq!(failure.message, "used up its 20.0 M of fuel");
    assert!(failure.frames.iter().any(|frame| frame.function.contains("spin::whirl")), "{:?}", failure.frames);
    let lines = house.runtime.source_frames(&extension, &failure).await;
    assert!(lines.iter().any(|frame| {
        frame.location.as_ref().is_some_and(|(file, _)| file.ends_with("tests/guests/examples/spin.rs"))
    }));
    assert_eq!(evidence(&extension, "fuel_per_call"), Some(LITTLE_FUEL as i64));
    assert!(invocations(&extension).contains(&("handle:spin".to_owned(), Outcome::Breached)));
    assert!(extension.usage().fuel - before >= LITTLE_FUEL);
    assert_eq!(logs_with(&extension, "spinning from now on").len(), 1);
    assert_eq!(spans(&extension).len(), 1);
    assert_eq!(ask(&extension, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_with_fuel_enough_ends_at_its_deadline() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house
        .ready_with("spin", |spec| {
            spec.settings.budget.fuel_per_call = u64::MAX / 2;
            spec.settings.budget.deadline = SHORT;
        })
        .await;
    let failure = beside(&neighbour, fail(&extension, "spin", "", FailureKind::DeadlineBreach)).await;
    assert!(failure.message.starts_with("was not done after 200 ms"), "{failure}");
    assert!(failure.frames.is_empty(), "a call that the host drops has no stack");
    assert_eq!(evidence(&extension, "deadline_ns"), Some(200_000_000));
    assert!(evidence(&extension, "cpu_ns").is_some_and(|nanos| nanos > 0));
    assert_eq!(ask(&extension, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_makes_work_for_the_host_ends_at_its_deadline_and_lets_the_neighbours_run() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    for (event, payload, kind) in [
        ("batches", "20000", FailureKind::DeadlineBreach),
        ("messages", "1000000", FailureKind::DeadlineBreach),
        ("lines", "", FailureKind::DeadlineBreach),
        ("spans", "1000000", FailureKind::HostDataBreach),
    ] {
        let ids = ["first", "second", "third"].map(|id| format!("{event}-{id}"));
        let floods: Vec<_> = ids
            .iter()
            .map(|id| {
                house.start(id, &guest("host-flood"), |spec| {
                    spec.settings.budget.fuel_per_call = u64::MAX / 2;
                    spec.settings.budget.deadline = SHORT;
                })
            })
            .collect();
        for flood in &floods {
            assert_eq!(flood.loaded().await, Status::Ready);
        }
        // More of them than there are threads: a neighbour is served only if they let it.
        let all = async {
            tokio::join!(
                fail(&floods[0], event, payload, kind),
                fail(&floods[1], event, payload, kind),
                fail(&floods[2], event, payload, kind),
            )
        };
        beside(&neighbour, all).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_never_wakes_up_ends_at_its_deadline_and_costs_no_cpu() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready_with("sleeper", |spec| spec.settings.budget.deadline = SHORT).await;
    beside(&neighbour, fail(&extension, "sleep", "", FailureKind::DeadlineBreach)).await;
    assert!(evidence(&extension, "cpu_ns").is_some_and(|nanos| nanos < 100_000_000));
    assert_eq!(logs_with(&extension, "falling asleep").len(), 1);
    assert_eq!(ask(&extension, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_bomb_ends_at_its_budget() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready_with("memory-bomb", |spec| spec.settings.budget.memory_bytes = 32 * MEBIBYTE).await;
    let failure = beside(&neighbour, fail(&extension, "hoard", "", FailureKind::MemoryBreach)).await;
    assert!(failure.message.contains("over its budget of 32.0 MiB"), "{failure}");
    assert_eq!(evidence(&extension, "memory_budget_bytes"), Some(32 * MEBIBYTE as i64));
    assert!(evidence(&extension, "memory_wanted_bytes").is_some_and(|bytes| bytes > 32 * MEBIBYTE as i64));
    let frames = house.runtime.source_frames(&extension, &failure).await;
    assert!(frames.iter().any(|frame| frame.function.contains("hoard")), "{frames:?}");
    let usage = extension.usage();
    assert!((16 * MEBIBYTE..=32 * MEBIBYTE).contains(&usage.memory_peak_bytes), "{usage:?}");
    assert_eq!(ask(&extension, "count", "").await, "1");
    assert!(extension.usage().memory_bytes < 8 * MEBIBYTE, "the bomb's memory is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_may_not_grow_is_told_no_and_ends_if_it_insists() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready("memory-grow").await;
    assert_eq!(ask(&extension, "ask", "100").await, "100");
    assert_eq!(extension.usage().failures, 0, "being told no is no failure");
    beside(&neighbour, fail(&extension, "insist", "", FailureKind::MemoryBreach)).await;
    assert_eq!(ask(&extension, "count", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_over_the_budget_from_the_start_is_named() {
    let cause = House::new().refused("huge-memory", &guest("huge-memory")).await;
    assert!(cause.contains("breach.memory") && cause.contains("1.00 GiB"), "{cause}");
    assert!(cause.contains("raise budget.memory"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_is_under_the_budget_too() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    for (name, fuel, deadline, kind) in
        [("start-spin", LITTLE_FUEL, SHORT * 100, "breach.fuel"), ("init-spin", u64::MAX / 2, SHORT, "breach.deadline")]
    {
        let extension = house.start(name, &guest(name), |spec| {
            spec.settings.budget.fuel_per_call = fuel;
            spec.settings.budget.deadline = deadline;
        });
        let status = beside(&neighbour, extension.loaded()).await;
        assert!(matches!(&status, Status::Failed { cause } if cause.contains(kind)), "{name}: {status:?}");
        assert_eq!(failures(&extension)[0].1.call, "init");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_ten_megabytes_is_cut_and_one_over_the_budget_ends_the_call() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready("long-log").await;
    assert_eq!(beside(&neighbour, ask(&extension, "message", "10000000")).await, "10000000");
    let stored = logs(&extension);
    let long = stored.iter().find(|log| log.message.starts_with("xxx")).expect("the long log is stored");
    assert!(long.envelope.cut);
    assert_eq!(long.message.len(), glasshouse_model::limits::MESSAGE_BYTES);
    let short = stored.iter().find(|log| log.message == "that was long").expect("the short log is stored");
    assert!(!short.envelope.cut);

    let strict = house.start("strict", &guest("long-log"), |spec| spec.settings.budget.host_data_per_call = MEBIBYTE);
    let failure = beside(&neighbour, fail(&strict, "message", "10000000", FailureKind::HostDataBreach)).await;
    assert_eq!(failure.message, "passed more than 1.00 MiB in one host call");
    assert_eq!(ask(&strict, "message", "10").await, "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_thousands_of_fields_keeps_what_fits() {
    let house = House::new();
    let extension = house.ready("long-log").await;
    ask(&extension, "fields", "5000").await;
    let log = logs_with(&extension, "many fields").pop().expect("the log is stored");
    assert!(log.envelope.cut);
    assert!((1..=glasshouse_model::limits::FIELDS).contains(&log.fields.len()));
    assert!(log.fields.iter().all(|(_, value)| value.len() == 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_are_bounded_so_that_a_guest_cannot_fill_the_hosts_memory() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready("open-spans").await;
    let failure = beside(&neighbour, fail(&extension, "hoard", "1000000", FailureKind::ResourceBreach)).await;
    assert_eq!(failure.message, "holds 10\u{202f}000 handles of resources, as many as an instance may");
    assert_eq!(failure.evidence, [("handles_limit".to_owned(), 10_000)]);
    ask(&extension, "forget", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_instance_consists_of_and_the_handles_that_it_holds_are_counted_and_gone_with_it() {
    let house = House::new();
    let parts = "(core module $m (memory 0) (memory 0)) (core module $empty)".to_owned()
        + &"(core instance (instantiate $m))".repeat(3)
        + &"(core instance (instantiate $empty))".repeat(4);
    let file = scratch("parts.wasm", &wat::parse_str(format!("(component {parts})")).expect("it assembles"));
    let of_parts = house.start("parts", &file, |_| {});
    assert_eq!(of_parts.loaded().await, Status::Ready);
    let held = of_parts.host_memory();
    assert_eq!((held.core_instances, held.memories, held.handles), (7, 6, 0));

    let extension = house.ready("open-spans").await;
    let before = extension.host_memory();
    assert!(before.core_instances > 0 && before.memories > 0);
    ask(&extension, "hoard", "3000").await;
    for _ in 0..64 {
        ask(&extension, "hoard", "0").await;
    }
    assert_eq!(extension.host_memory().handles, before.handles + 3000, "a call of sixty-four counts them");
    let failure = fail(&extension, "hoard", "1000000", FailureKind::ResourceBreach).await;
    assert_eq!(failure.evidence, [("handles_limit".to_owned(), 10_000)], "counting has changed no limit");
    let used = extension.host_use();
    assert!((3000..=10_000).contains(&used.handles_peak), "{used:?}");
    assert_eq!((used.core_instances_peak, used.memories_peak), (before.core_instances, before.memories));
    // It is made anew once its failure is told.
    let made_anew = async {
        let parts = |held: HostMemory| (held.core_instances, held.memories);
        while parts(extension.host_memory()) != parts(before) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, made_anew).await.expect("it is made anew");
    house.runtime.shutdown(LONG).await;
    assert_eq!(extension.host_memory(), HostMemory::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_of_the_host_are_bounded_by_a_budget_and_counted() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready_with("open-spans", |spec| spec.settings.budget.resources = 50).await;
    let failure = beside(&neighbour, fail(&extension, "hoard-meters", "51", FailureKind::ResourceBreach)).await;
    assert_eq!(failure.message, "holds 50 resources of the host, as many as an instance may");
    assert_eq!(failure.evidence, [("resources_limit".to_owned(), 50)]);
    ask(&extension, "hoard-meters", "10").await;
    for _ in 0..16 {
        ask(&extension, "hoard-meters", "1").await;
    }
    assert!((10..50).contains(&extension.host_memory().resources), "a call of sixteen counts them");
    assert!(extension.host_memory().table_elements > 0);
    house.runtime.shutdown(LONG).await;
    assert_eq!(extension.host_memory(), HostMemory::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_bounded_by_a_budget_from_the_start_and_as_they_grow() {
    let house = House::new();
    let refused = async |id: &str, module: &str| {
        let text = format!("(component (core module $m {module}) (core instance (instantiate $m)))");
        let file = scratch(&format!("{id}.wasm"), &wat::parse_str(text).expect("it assembles"));
        let extension = house.start(id, &file, |spec| spec.settings.budget.table_elements = 1000);
        match extension.loaded().await {
            Status::Failed { cause } => cause,
            other => panic!("{id} is {}", other.word()),
        }
    };
    let cause = refused("large-table", "(table 1001 funcref)").await;
    assert!(cause.contains("breach.resources: needs tables of more than its 1\u{202f}000 elements"), "{cause}");
    let grow =
        "(table 1 funcref) (func $f (loop (drop (table.grow (ref.null func) (i32.const 900))) (br 0))) (start $f)";
    let cause = refused("table-grow", grow).await;
    assert!(cause.contains("breach.resources: asked 1000 times for larger tables"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_many_memories_is_refused() {
    let many = "(core instance (instantiate $m))".repeat(20);
    let text = format!("(component (core module $m (memory 0)) {many})");
    let file = scratch("many-memories.wasm", &wat::parse_str(&text).expect("it assembles"));
    let cause = House::new().refused("many-memories", &file).await;
    assert!(cause.contains("memor"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_call_uses_the_same_fuel() {
    let house = House::new();
    let extension = house.ready("spin").await;
    let mut used = Vec::new();
    for _ in 0..3 {
        let before = extension.usage().fuel;
        ask(&extension, "work", "1000").await;
        used.push(extension.usage().fuel - before);
    }
    assert!(used[0] > 1000);
    assert_eq!(used[1], used[2], "only the first call may differ: it fills the allocator");
}

/// Lets a guest fail until it is quarantined.
async fn quarantine(house: &House) -> Extension {
    let extension = house.ready("panic").await;
    for _ in 0..3 {
        assert_eq!(extension.status(), Status::Ready);
        fail(&extension, "panic", "\"again\"", FailureKind::Panic).await;
    }
    extension
}

/// Waits until the extension's task has done with the call before: it answers in order.
async fn refused(extension: &Extension) -> String {
    match call(extension, "count", "").await {
        Err(error @ CallError::Quarantined { .. }) => error.to_string(),
        Err(CallError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_failures_in_a_row_quarantine_an_extension_and_a_probe_lets_it_back() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = beside(&neighbour, quarantine(&house)).await;
    let reason = refused(&extension).await;
    assert!(reason.starts_with("quarantined for another 30.00 s: 3 failures in a row"), "{reason}");
    assert!(reason.contains("the kettle boiled dry"), "{reason}");
    assert_eq!(extension.status().word(), "quarantined");
    let told = logs_with(&extension, "quarantined for 30.00 s");
    assert_eq!((told.len(), told[0].level), (1, Level::Error));
    assert!(told[0].fields.contains(&("failures_in_a_row".to_owned(), "3".to_owned())));
    assert_eq!(extension.usage().memory_bytes, 0, "there is no instance in quarantine");

    house.clock.advance(Duration::from_millis(29_999));
    refused(&extension).await;
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&extension, "count", "").await, "1");
    assert_eq!(ask(&extension, "count", "").await, "2");
    assert_eq!(extension.status(), Status::Ready);
    assert_eq!(logs_with(&extension, "the probe succeeded").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_probe_doubles_the_quarantine() {
    let house = House::new();
    let extension = quarantine(&house).await;
    for (over_after, next) in [(30, "60.00 s"), (60, "120.00 s"), (120, "240.00 s")] {
        refused(&extension).await;
        house.clock.advance(Duration::from_secs(over_after));
        fail(&extension, "panic", "\"probe\"", FailureKind::Panic).await;
        let reason = refused(&extension).await;
        assert!(reason.contains(next) && reason.contains("the probe failed"), "{reason}");
    }
    house.clock.advance(Duration::from_mins(4));
    ask(&extension, "count", "").await;
    for _ in 0..3 {
        fail(&extension, "panic", "\"again\"", FailureKind::Panic).await;
    }
    assert!(refused(&extension).await.contains("30.00 s"), "a success starts the count anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_the_operator_cannot_serve_is_not_blamed_and_works_again_once_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let granted = folder.path().join("granted");
    std::fs::create_dir(&granted).expect("making a folder");
    let house = House::new();
    let extension = house
        .ready_with("panic", |spec| {
            let (host, guest) = (granted.clone(), "/data".to_owned());
            spec.settings.permissions.files = vec![FileAccess { root: host.clone(), host, guest, write: false }];
        })
        .await;
    std::fs::remove_dir(&granted).expect("removing the folder");
    fail(&extension, "panic", "\"x\"", FailureKind::Panic).await;
    for _ in 0..5 {
        let reason = refused(&extension).await;
        assert!(reason.contains("permissions.files: cannot open"), "{reason}");
    }
    std::fs::create_dir(&granted).expect("making the folder again");
    assert_eq!(ask(&extension, "count", "").await, "1");
    assert_eq!(extension.status(), Status::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_between_failures_keeps_an_extension_out_of_quarantine() {
    let house = House::new();
    let extension = house.ready("panic").await;
    for _ in 0..4 {
        fail(&extension, "panic", "\"now and then\"", FailureKind::Panic).await;
        fail(&extension, "panic", "\"now and then\"", FailureKind::Panic).await;
        assert_eq!(ask(&extension, "count", "").await, "1");
    }
    assert_eq!(extension.status(), Status::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_an_extension_answers_is_no_failure() {
    let house = House::new();
    let extension = house.ready("neighbour").await;
    for _ in 0..5 {
        let answered = extension.call(event("refuse", ""), on_behalf("c", "u", "t")).await;
        let error = answered.expect_err("it refuses");
        assert_eq!(error.to_string(), "refusal: as it was asked to");
    }
    assert_eq!(extension.status(), Status::Ready);
    let usage = extension.usage();
    assert_eq!((usage.failures, usage.answered_errors, usage.errors()), (0, 5, 5));
    assert!(failures(&extension).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_memories_or_tables_or_too_large_ones_are_a_breach_that_says_so() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    for (id, core, instances, expected) in [
        ("instances", "", 101, "needs 101 core instances; an instance may have 100"),
        ("memories", "(memory 0)", 17, "needs 17 memories; an instance may have 16"),
        ("tables", "(table 0 funcref) (table 0 funcref)", 51, "needs 102 tables; an instance may have 100"),
        (
            "table",
            "(table 1000001 funcref)",
            1,
            "needs tables of more than its 1\u{202f}000\u{202f}000 elements from the start",
        ),
    ] {
        let instances = "(core instance (instantiate $m))".repeat(instances);
        let text = format!("(component (core module $m {core}) {instances})");
        let file = scratch(&format!("many-{id}.wasm"), &wat::parse_str(text).expect("it assembles"));
        let cause = beside(&neighbour, house.refused(id, &file)).await;
        assert!(cause.starts_with(&format!("breach.resources: {expected}")), "{id}: {cause}");
        let extension = house.runtime.extension(id).expect("it is listed");
        assert_eq!(invocations(&extension), [("init".to_owned(), Outcome::Breached)]);
    }
}
