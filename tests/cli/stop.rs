//! Ctrl-C and SIGTERM: once ends a run in order, twice ends it at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Place, Running, json_lines, wait_for};

/// Far below what the call takes that is given up, far above what giving it up takes.
const SOON: Duration = Duration::from_secs(30);

/// A run with a call in flight that never ends, and what it has left to write.
fn busy(place: &Place, shutdown_limit: &str) -> (Running, BufReader<ChildStdout>) {
    let limit = format!("host.shutdown_limit={shutdown_limit}");
    let run = ["run", "plugins", "--feed", "-", "--summary", "summary.jsonl", "--data-dir", "data"];
    let mut command = place.command(&run);
    command.args(["--set", &limit, "--set", "defaults.budget.deadline=10m"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("the command starts"));
    let mut replies = BufReader::new(running.0.stdout.take().expect("it has an output"));
    // Once the first is answered, the sleeper is up; once the last is, the feed goes on beside it.
    for (event, answered) in [
        (json!({"extension": "sleeper", "event": "count"}), true),
        (json!({"extension": "sleeper", "event": "sleep"}), false),
        (json!({"extension": "neighbour", "event": "echo", "payload": "before"}), true),
    ] {
        let input = running.0.stdin.as_mut().expect("it has an input");
        writeln!(input, "{event}").expect("it reads its input");
        if answered {
            let mut line = String::new();
            replies.read_line(&mut line).expect("it answers");
            let answer: Value = serde_json::from_str(&line).expect("the answer is JSON");
            assert_eq!((&answer["extension"], &answer["ok"]), (&event["extension"], &json!(true)));
        }
    }
    wait_for("the sleep", || {
        let told = place.on_data(&["logs", "show", "--extension-id", "sleeper", "--format", "json"]);
        told.json_lines().iter().any(|log| log["message"] == "falling asleep").then_some(())
    });
    (running, replies)
}

#[test]
fn one_interrupt_gives_up_calls_in_flight_runs_shutdown_and_writes_the_summary() {
    let place = Place::with_plugins(&["neighbour", "sleeper"]);
    let (mut running, mut replies) = busy(&place, "200ms");
    running.interrupt();
    let mut rest = String::new();
    replies.read_to_string(&mut rest).expect("it ends its output");
    assert_eq!(running.code_within(SOON), Some(0));
    let answers = json_lines(&rest);
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0]["extension"], &answers[0]["error"]["kind"]), (&json!("sleeper"), &json!("cancelled")));
    let summaries = json_lines(&place.read("summary.jsonl"));
    assert_eq!(summaries.len(), 2);
    let mut report = String::new();
    running.0.stderr.take().expect("it has a stderr").read_to_string(&mut report).expect("it writes text");
    assert!(report.contains("stopping: calls in flight are finished first"), "{report}");
    assert!(report.contains("goodbye"), "the last logs are those of `shutdown`: {report}");
}

#[test]
fn two_interrupts_end_it_at_once() {
    let place = Place::with_plugins(&["neighbour", "sleeper"]);
    let (mut running, _replies) = busy(&place, "10m");
    running.interrupt();
    let mut told = BufReader::new(running.0.stderr.take().expect("it has a stderr"));
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert!(told.read_line(&mut line).expect("it writes text") > 0, "it ended after one interrupt");
    }
    running.interrupt();
    assert_eq!(running.code_within(SOON), Some(130));
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut command = place.command(&["run", "plugins", "--feed", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("the command starts"));
    drop(running.0.stdout.take());
    let echo = json!({"extension": "neighbour", "event": "echo", "payload": "x"});
    let input = running.0.stdin.as_mut().expect("it has an input");
    writeln!(input, "{echo}").expect("it reads its input");
    assert_eq!(running.code_within(SOON), Some(3));
}

#[test]
fn an_interrupted_call_is_given_up_in_order_and_told() {
    let place = Place::with_plugins(&["sleeper"]);
    let set = ["--set", "host.shutdown_limit=200ms", "--set", "extensions.sleeper.budget.deadline=10m"];
    let call = ["call", "plugins/sleeper.wasm", "--event", "sleep", "--log", "glasshouse_runtime=debug"];
    let mut running = place.start(&[&call[..], &set].concat());
    let stderr = running.stderr();
    stderr.wait_for("ready");
    running.interrupt();
    assert_eq!(running.code_within(SOON), Some(4));
    let said = stderr.all_of_them();
    for expected in ["stopping: calls in flight are finished first", "cancelled"] {
        assert!(said.iter().any(|line| line.contains(expected)), "{expected}: {said:?}");
    }
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let place = Place::with_plugins(&["neighbour", "sleeper"]);
    let (mut running, _replies) = busy(&place, "10m");
    let notes = running.stderr();
    running.terminate();
    notes.wait_for("stopping: calls in flight are finished first");
    running.terminate();
    assert_eq!(running.code_within(SOON), Some(130));
}
