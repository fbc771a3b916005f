//! A host that serves is asked to end by SIGTERM: what it has taken is finished, and what it has stored is kept.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::served::{Served, ping};
use crate::harness::{Place, wait_for};

/// How long the call takes that is under way: long enough that others wait for it, and that what is refused meanwhile is seen.
const NAP: u64 = 4000;
/// Far above what ending takes.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn sigterm_finishes_what_was_taken_takes_no_more_and_keeps_all_that_was_stored() {
    let place = Place::with_plugins(&["sleeper"]);
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.deadline=10m"]);
    let call = |event: &str, payload: Value| {
        served.post("call/sleeper", &json!({"event": event, "payload": payload})).expect(200).json()
    };
    let answers: Vec<Value> = thread::scope(|scope| {
        let nap = scope.spawn(|| call("nap", json!(NAP)));
        let overview = || served.get("dashboard/sleeper/overview").expect(200).json();
        wait_for("the nap", || (overview()["summary"]["logs"].as_u64() >= Some(2)).then_some(()));
        let counts: Vec<_> = (0..3).map(|_| scope.spawn(|| call("count", Value::Null))).collect();
        wait_for("the mailbox to hold three", || {
            (overview()["summary"]["waiting_calls"].as_u64() == Some(3)).then_some(())
        });
        served.host.terminate();
        // What comes now is not taken: the socket is gone, and calls are refused.
        wait_for("the intake to stop", || (!place.path("data/control.sock").exists()).then_some(()));
        // One that was taken just before waits for the nap, so that the first that is answered was refused.
        let mut late = Vec::new();
        let refused = wait_for("a call to be refused", || {
            late.push(scope.spawn(|| call("count", Value::Null)));
            let answered = late.iter().position(thread::ScopedJoinHandle::is_finished)?;
            late.swap_remove(answered).join().ok()
        });
        assert_eq!(refused["ok"], false, "{refused}");
        assert!(refused["error"]["message"].as_str().is_some_and(|why| why.contains("stop")), "{refused}");
        std::iter::once(nap).chain(counts).map(|answer| answer.join().expect("it is answered")).collect()
    });
    assert!(answers.iter().all(|answer| answer["ok"] == true), "what was taken is finished: {answers:?}");
    assert_eq!(served.host.code_within(SOON), Some(0));
    TcpStream::connect(&served.address).expect_err("nobody listens any more");

    assert_eq!(files_of(&place, "open"), Vec::<PathBuf>::new(), "all is sealed before another host looks at it");
    assert!(!files_of(&place, "sealed").is_empty() && place.path("data/ended").exists());
    let stored = place.on_data(&["export", "invocations", "--extension-id", "sleeper"]).expect_code(0).json_lines();
    let names: Vec<_> = stored.iter().filter_map(|call| call["name"].as_str()).collect();
    let calls = names.iter().filter(|name| name.starts_with("handle:")).count();
    assert!(calls >= 4 && names.first() == Some(&"init") && names.last() == Some(&"shutdown"), "{names:?}");
    // The next host goes on where this one ended, and lacks nothing.
    let before = stored.len();
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    let later = place.on_data(&["export", "invocations", "--extension-id", "sleeper"]).expect_code(0).json_lines();
    assert_eq!(later[..before], stored[..]);
    assert_eq!(files_of(&place, "open"), Vec::<PathBuf>::new());
}

/// The files of segments in the data directory that end so.
fn files_of(place: &Place, ending: &str) -> Vec<PathBuf> {
    fn look(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                look(&path, ending, found);
            } else if path.extension().is_some_and(|own| own == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(&place.path("data/extensions"), ending, &mut found);
    found
}

#[test]
fn a_busy_host_that_is_ended_leaves_all_that_it_stored_sealed() {
    let place = Place::with_plugins(&["log-flood", "neighbour", "alarmist", "panic"]).lenient();
    let settings = ["--set", "defaults.debugging.tracing_enabled=true", "--set", "defaults.budget.deadline=10m"];
    let mut served = Served::start_with(&place, &settings);
    served.call(&json!({"extension": "log-flood", "event": "flood", "payload": 30_000}));
    served.call(&json!({"extension": "panic", "event": "panic", "payload": "noon"}));
    served.call(&json!({"extension": "alarmist", "event": "flood", "payload": 20}));
    served.call_often(&ping(1), 200);
    let newest = served.get("dashboard/log-flood/logs?limit=1").expect(200).json()["records"][0]["sequence"].as_u64();
    assert!(!files_of(&place, "open").is_empty(), "what is written to is open");
    served.host.terminate();
    assert_eq!(served.host.code_within(SOON), Some(0));
    assert_eq!(files_of(&place, "open"), Vec::<PathBuf>::new());
    assert_eq!(files_of(&place, "part"), Vec::<PathBuf>::new());
    let logs = place.on_data(&["export", "logs", "--extension-id", "log-flood"]).expect_code(0).json_lines();
    let numbers: Vec<_> = logs.iter().filter_map(|log| log["sequence"].as_u64()).collect();
    assert!(numbers.len() == logs.len() && numbers.windows(2).all(|two| two[1] == two[0] + 1), "none is lost");
    assert!(numbers.first() == Some(&1) && numbers.last().copied() >= newest, "{newest:?}: {:?}", numbers.last());
}

#[test]
fn a_service_that_is_ended_ends_well_though_an_extension_of_it_is_not() {
    let place = Place::with_plugins(&["traps", "neighbour"]);
    place.write("plugins/broken.wasm", "no component");
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.failures_in_a_row=1"]);
    served.call(&json!({"extension": "traps", "event": "out-of-bounds", "payload": null}));
    let states: Vec<_> = served.get("managers").expect(200).json().as_array().expect("a list").clone();
    let states: Vec<_> = states.iter().map(|one| one["status"].clone()).collect();
    assert_eq!(states, [json!("failed"), json!("ready"), json!("quarantined")]);
    served.host.terminate();
    assert_eq!(served.host.code_within(SOON), Some(0));
    // Who runs a feed to its end is told.
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(4);
}

#[test]
fn streams_tell_what_was_stored_before_the_host_ended_and_end_whole() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    let mut calls = served.stream("dashboard/neighbour/invocations/stream", "");
    calls.next_id();
    let mut life = served.stream("managers/stream", "");
    life.next();
    served.call_often(&ping(1), 500);
    served.host.terminate();
    let told = calls.rest();
    assert_eq!(told.matches("\"name\":\"handle:echo\"").count(), 500);
    assert!(told.contains("\"name\":\"shutdown\""), "its last call is told as well");
    assert!(told.ends_with("0\r\n\r\n"), "{:?}", &told[told.len().saturating_sub(200)..]);
    assert!(life.rest().ends_with("0\r\n\r\n"));
    assert_eq!(served.host.code_within(SOON), Some(0));
}

#[test]
fn who_does_not_read_a_stream_holds_up_no_end() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.deadline=10m"]);
    let stream = served.stream("dashboard/log-flood/logs/stream", "");
    // More than the system keeps for who does not read.
    served.call_often(&json!({"extension": "log-flood", "event": "flood", "payload": 60_000}), 1);
    served.host.terminate();
    assert_eq!(served.host.code_within(SOON), Some(0));
    drop(stream);
}
