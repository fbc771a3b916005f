//! `glasshouse logs follow`: it catches up from a cursor, then shows what comes; nothing is lost or doubled on the way.

use std::fs;
use std::io::{BufRead as _, BufReader};

use glasshouse::Stored;
use glasshouse::records::LogRecord;
use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, json_lines, wait_for};

/// Logs that a burst has.
const BURST: u64 = 100_000;
const FOLLOW: [&str; 8] = ["logs", "follow", "--data-dir", "data", "--extension-id", "log-flood", "--format", "json"];

/// A host with an extension that has made one log.
fn host(place: &Place, settings: &[&str]) -> (Running, Lines) {
    let mut arguments = vec!["run", "plugins", "--data-dir", "data", "--feed", "-"];
    arguments.extend(["--set", "defaults.budget.deadline=10m"]);
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut host = place.start(&arguments);
    let replies = host.stdout();
    host.tell(&flood(1));
    wait_for("the first log", || (replies.count() == 1).then_some(()));
    (host, replies)
}

fn flood(logs: u64) -> Value {
    json!({"extension": "log-flood", "event": "flood", "payload": logs})
}

fn stored(place: &Place) -> u64 {
    Stored::open(&place.path("data"))
        .expect("it is a data directory")
        .extension("log-flood")
        .records::<LogRecord>()
        .stored()
}

#[test]
fn what_is_shown_is_followed_where_that_is_asked_for() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let (mut host, _replies) = host(&place, &[]);
    let mut shown = place.start(&[&["logs", "show", "--follow"], &FOLLOW[2..], &["--level", "info"]].concat());
    let lines = shown.stdout();
    wait_for("the log that was there", || (lines.count() > 0).then_some(()));
    host.tell(&flood(10));
    wait_for("those that come", || (lines.count() > 10).then_some(()));
    shown.kill();
    let sequences: Vec<_> =
        json_lines(&lines.all_of_them().join("\n")).iter().map(|line| line["sequence"].as_u64()).collect();
    assert!(sequences.len() > 10 && sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
}

#[test]
fn a_follower_that_is_cut_off_and_comes_back_sees_what_a_query_sees() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let (mut host, replies) = host(&place, &[]);
    let mut follower = place.start(&FOLLOW);
    let mut lines = follower.stdout();
    wait_for("the log that was there", || (lines.count() > 0).then_some(()));
    host.tell(&flood(BURST));
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..3 {
        let enough = fastrand::usize(1..BURST as usize / 5);
        wait_for("some of the burst", || (lines.count() > enough).then_some(()));
        follower.kill();
        seen.extend(lines.all_of_them());
        let last: Value = serde_json::from_str(seen.last().expect("some")).expect("it is JSON");
        let cursor = last["cursor"].as_str().expect("each has a cursor").to_owned();
        follower = place.start(&[&FOLLOW[..], &["--after", &cursor]].concat());
        lines = follower.stdout();
    }
    wait_for("the burst to end", || (replies.count() == 2).then_some(()));
    let total = stored(&place);
    wait_for("all to be seen", || (seen.len() + lines.count() >= total as usize).then_some(()));
    follower.kill();
    seen.extend(lines.all_of_them());
    let sequences: Vec<_> = json_lines(&seen.join("\n")).iter().map(|line| line["sequence"].as_u64()).collect();
    assert!(sequences.iter().copied().eq((1..=total).map(Some)), "in order and once: {} of {total}", seen.len());
    let show = ["logs", "show", "--data-dir", "data", "--limit", "1000000", "--format", "json", "oldest first"];
    let queried = place.glasshouse(&show).expect_code(0).stdout;
    assert!(queried.lines().eq(seen.iter().map(String::as_str)), "the same set, exactly");
    let files = fs::read_dir(place.path("data/extensions/log-flood/logs")).expect("the folder is there");
    let names: Vec<_> = files.map(|file| file.expect("an entry").file_name().into_string().expect("text")).collect();
    assert!(names.iter().any(|name| name.ends_with(".sealed")), "segments were sealed underneath: {names:?}");
}

#[test]
fn a_follower_that_does_not_read_holds_up_nothing_and_is_told_what_it_missed() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let (mut host, replies) = host(&place, &["defaults.retention.logs_bytes=256KiB"]);
    let mut follower = place.start(&FOLLOW);
    let mut lines = BufReader::new(follower.0.stdout.take().expect("its output is a pipe"));
    let mut line = String::new();
    let mut read = || {
        line.clear();
        lines.read_line(&mut line).expect("it is text");
        serde_json::from_str::<Value>(&line).expect("it is JSON")
    };
    let mut expected = read()["sequence"].as_u64().expect("a log") + 1;
    // Its pipe is full after some hundred of them.
    for burst in 2..=4 {
        host.tell(&flood(BURST));
        wait_for("a call while nobody reads", || (replies.count() == burst).then_some(()));
    }
    let total = stored(&place);
    let mut missed = 0;
    while expected <= total {
        let line = read();
        if let Some(gap) = line["gap"].as_object() {
            assert_eq!(gap["cause"], "evicted", "{line}");
            let gone = gap["missed"].as_u64().expect("a number");
            (missed, expected) = (missed + gone, expected + gone);
        } else {
            assert_eq!(line["sequence"], expected);
            expected += 1;
        }
    }
    assert!(missed > BURST, "{missed} were gone");
}
