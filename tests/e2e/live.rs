//! Settings that are changed while an extension runs.

use std::time::Duration;

use glasshouse_model::settings::{Metering, Settings};
use glasshouse_model::{FailureKind, Level};
use glasshouse_runtime::{ApplyError, Extension};

use crate::harness::{House, ask, call, dropped, fail, failures, guest, invocations, logs, logs_with};

/// Changes some settings, and tells which are different.
fn change(extension: &Extension, change: impl FnOnce(&mut Settings)) -> Vec<&'static str> {
    let mut settings = (*extension.settings()).clone();
    change(&mut settings);
    let changes = extension.apply(settings, "a test").expect("all of it can be changed while it runs");
    changes.iter().map(|change| change.key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_budget_holds_from_the_next_call_on() {
    let house = House::new();
    let spin = house.ready("spin").await;
    // The call under way ends by the fuel that it began with.
    let under_way = tokio::spawn({
        let spin = spin.clone();
        async move { fail(&spin, "spin", "", FailureKind::FuelBreach).await }
    });
    while logs_with(&spin, "spinning").is_empty() {
        tokio::task::yield_now().await;
    }
    let keys = change(&spin, |settings| {
        settings.budget.fuel_per_call = 1 << 60;
        settings.budget.deadline = Duration::from_millis(150);
    });
    assert_eq!(keys, ["budget.fuel_per_call", "budget.deadline"]);
    assert_eq!(under_way.await.expect("it ends").message, "used up its 2.00 G of fuel");
    let failure = fail(&spin, "spin", "", FailureKind::DeadlineBreach).await;
    assert!(failure.message.starts_with("was not done after 150 ms"), "{failure}");
    change(&spin, |settings| settings.budget.fuel_per_call = 1_000_000);
    assert_eq!(fail(&spin, "spin", "", FailureKind::FuelBreach).await.message, "used up its 1.00 M of fuel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_memory_budget_holds_for_the_instance_that_lives() {
    let house = House::new();
    let bomb = house.ready("memory-bomb").await;
    assert_eq!(ask(&bomb, "count", "").await, "1");
    change(&bomb, |settings| settings.budget.memory_bytes = 8 << 20);
    assert_eq!(ask(&bomb, "count", "").await, "2", "it is the same instance");
    fail(&bomb, "hoard", "", FailureKind::MemoryBreach).await;
    let evidence = failures(&bomb).pop().expect("a failure").1.evidence;
    assert!(evidence.contains(&("memory_budget_bytes".to_owned(), 8 << 20)), "{evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_changes_at_once_and_each_change_is_a_record() {
    let house = House::new();
    let flood = house.ready("log-flood").await;
    let check = async |stored: usize| {
        let before = logs_with(&flood, "another drop").len();
        ask(&flood, "flood", "3").await;
        assert_eq!(logs_with(&flood, "another drop").len() - before, stored);
    };
    check(3).await;
    change(&flood, |settings| settings.debugging.log_level = Level::Warning);
    check(0).await;
    change(&flood, |settings| settings.debugging.logging_enabled = false);
    change(&flood, |settings| settings.debugging.log_level = Level::Debug);
    check(0).await;
    change(&flood, |settings| settings.debugging.logging_enabled = true);
    check(3).await;
    assert_eq!(dropped(&flood, glasshouse_telemetry::Drop::Malformed), 0);
    let told: Vec<_> = logs(&flood)
        .into_iter()
        .filter(|log| log.field("event") == Some("settings.changed"))
        .map(|log| {
            assert_eq!(log.field("by"), Some("a test"));
            ["key", "from", "to"].map(|name| log.field(name).unwrap_or_default().to_owned()).join(" ")
        })
        .collect();
    let expect = [
        "debugging.log_level debug warning",
        "debugging.logging_enabled true false",
        "debugging.log_level warning debug",
        "debugging.logging_enabled false true",
    ];
    assert_eq!(told, expect);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_at_the_start_cannot_be_changed_later() {
    let house = House::new();
    let extension = house.start("neighbour", &guest("neighbour"), |_| {});
    let before = extension.settings();
    let check = |change: fn(&mut Settings), expect: &str| {
        let mut settings = (*before).clone();
        // What could be changed is not, if not all can be.
        settings.budget.deadline = Duration::from_secs(1);
        change(&mut settings);
        let error = extension.apply(settings, "a test").expect_err("it cannot be changed");
        assert!(error.to_string().starts_with(expect), "{error}");
        assert_eq!(extension.settings(), before);
        error
    };
    let error = check(|settings| settings.permissions.env.push("HOME".into()), "permissions is read when");
    assert_eq!(error, ApplyError::AtStart("permissions"));
    check(|settings| settings.budget.metering = Metering::Cpu, "budget.metering is read when");
    check(|settings| settings.redaction.enabled = false, "redaction.enabled is read when");
    check(|settings| settings.budget.memory_bytes = 1, "budget.memory: 1B is out of bounds");
    assert!(logs_with(&extension, "changed from").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_changed_by_many_at_once_are_those_of_one_of_them() {
    let house = House::new();
    let extension = house.ready("neighbour").await;
    let changers: Vec<_> = (1..=8_u64)
        .map(|number| {
            let extension = extension.clone();
            tokio::spawn(async move {
                for round in 0..50 {
                    change(&extension, |settings| {
                        settings.budget.deadline = Duration::from_secs(number + 10 * round);
                        settings.budget.quarantine = Duration::from_secs(number + 10 * round);
                    });
                    call(&extension, "echo", "x").await.expect("calls go on");
                }
            })
        })
        .collect();
    for changer in changers {
        changer.await.expect("it ends");
    }
    let budget = &extension.settings().budget;
    assert_eq!(budget.deadline, budget.quarantine);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_interval_holds_before_the_old_one_is_over() {
    let house = House::new();
    let canary = house.ready("canary").await;
    let asked = |name: &str| invocations(&canary).iter().any(|(given, _)| given == name);
    change(&canary, |settings| {
        settings.debugging.metrics_interval = Duration::from_secs(1);
        settings.debugging.health_check_interval = Duration::from_secs(1);
    });
    let both = async {
        while !asked("collect") || !asked("check-health") {
            tokio::task::yield_now().await;
        }
    };
    // The intervals before were of half a minute and a minute.
    tokio::time::timeout(Duration::from_secs(25), both).await.expect("it is asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logger_has_a_level_of_its_own_while_the_extension_runs() {
    let house = House::new();
    let flood = house.ready("log-flood").await;
    ask(&flood, "flood", "1").await;
    let target = logs_with(&flood, "another drop").pop().expect("a log").target;
    assert!(!target.is_empty());
    let check = async |level: Level, levels: &[String], stored: usize| {
        change(&flood, |settings| {
            settings.debugging.log_level = level;
            settings.debugging.log_levels = levels.to_vec();
        });
        let before = logs_with(&flood, "another drop").len();
        ask(&flood, "flood", "3").await;
        assert_eq!(logs_with(&flood, "another drop").len() - before, stored, "{level} {levels:?}");
    };
    check(Level::Error, &[format!("{target}=info")], 3).await;
    check(Level::Error, &["elsewhere=trace".to_owned()], 0).await;
    check(Level::Trace, &[format!("{}=warning", &target[..3])], 0).await;
    check(Level::Trace, &[format!("{}=warning", &target[..3]), format!("{target}=debug")], 3).await;
    check(Level::Trace, &[], 3).await;
}
