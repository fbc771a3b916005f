//! The extensions that are shipped, with their manifests and the operator's configuration: what they do, and what the report says that it
//! cost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use glasshouse::text;
use serde_json::{Value, json};

use crate::harness::{Ended, Place, json_lines};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../example-extensions");
const HEAD: [&str; 12] = [
    "extension",
    "state",
    "calls",
    "errors",
    "fuel",
    "guest CPU",
    "host CPU",
    "waited",
    "memory",
    "peak",
    "dropped",
    "evicted",
];
/// Samples of `access-log` that are kept: fewer than it makes.
const SAMPLES_KEPT: usize = 4;

fn feed() -> Vec<Value> {
    let status = |number: usize| if number.is_multiple_of(2) { 503 } else { 200 };
    let time = "22/Nov/2026:10:00:00 +0000";
    let request = |number: usize| format!("192.0.2.1 - - [{time}] \"GET /{number} HTTP/1.1\" {} 162", status(number));
    let requests: Vec<_> = (0..30).map(request).collect();
    let page = |text: &str| json!({"extension": "relay", "event": "page", "payload": {"markdown": text}});
    let highlight = |code: &str, language: &str| json!({"extension": "snippets", "event": "highlight", "payload": {"code": code, "language": language}});
    let panic = json!({"extension": "panic", "event": "panic", "payload": "noon"});
    vec![
        json!({"extension": "markdown", "event": "render", "payload": {"markdown": "# One\n\n[two](three)"}}),
        json!({"extension": "markdown", "event": "render", "payload": 7}),
        highlight("fn main() {}", "rust"),
        highlight("MOVE 1 TO ANSWER.", "cobol-61"),
        json!({"extension": "access-log", "event": "ingest", "payload": {"lines": requests}}),
        page("# Four"),
        page("# Five"),
        json!({"extension": "relay", "event": "announced"}),
        panic.clone(),
        panic.clone(),
        panic,
    ]
}

/// Runs the feed on the shipped extensions, and on one that panics.
fn ran(place: &Place) -> (Ended, Vec<Value>) {
    for id in ["markdown", "snippets", "access-log", "relay"] {
        let manifest = Path::new(SHIPPED).join(id).join("extension.toml");
        place.write(&format!("plugins/{id}/extension.toml"), &fs::read_to_string(manifest).expect("its manifest"));
        place.link(id, &format!("plugins/{id}/{id}.wasm"));
    }
    place.write("feed.jsonl", &feed().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let config = format!("{SHIPPED}/glasshouse.toml");
    let kept = format!("extensions.access-log.debugging.max_metrics={SAMPLES_KEPT}");
    let rare = "extensions.snippets.budget.records_per_second=1";
    let run = ["run", "plugins", "--config", &config, "--feed", "feed.jsonl", "--exit-when-done"];
    let more = ["--summary", "summary.jsonl", "--set", &kept, "--set", rare];
    // Compiled before, since relay does not wait for that longer than its deadline.
    place.glasshouse(&["list", "plugins"]).expect_code(0);
    // One of them is quarantined in the end.
    let ended = place.glasshouse(&[&run[..], &more].concat()).expect_code(4);
    let summaries = json_lines(&place.read("summary.jsonl"));
    (ended, summaries)
}

/// The cells of a line of the report's table, which are apart by two spaces at least.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

/// What the table has to say of an extension, but for what was evicted.
fn row(summary: &Value) -> Vec<String> {
    let number = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("{key} of {summary}"));
    let word = |key: &str| summary[key].as_str().expect("a word").to_owned();
    let nanos = |key: &str| text::duration(Duration::from_nanos(number(key)));
    vec![
        word("extension"),
        word("state"),
        text::count(number("calls")),
        text::count(number("errors")),
        text::fuel(Some(number("fuel"))),
        nanos("guest_cpu_ns"),
        nanos("host_cpu_ns"),
        nanos("waiting_ns"),
        text::bytes(number("memory_bytes")),
        text::bytes(number("memory_peak_bytes")),
        text::count(number("dropped")),
    ]
}

/// The table has each figure of the summary, in its column.
fn check_table(report: &str, summaries: &[Value]) {
    let mut lines = report.lines().skip_while(|line| !line.starts_with("extension "));
    assert_eq!(cells(lines.next().expect("the table has a head")), HEAD);
    let rows: Vec<_> = lines.take_while(|line| !line.is_empty()).map(cells).collect();
    assert_eq!(rows.len(), summaries.len(), "{report}");
    for (cells, summary) in rows.iter().zip(summaries) {
        let expected = row(summary);
        assert_eq!(cells[..expected.len()], expected, "{report}");
        let evicted = if summary["extension"] == "access-log" {
            let stored = summary["metrics"].as_u64().expect("a number");
            text::count(stored - SAMPLES_KEPT as u64)
        } else {
            "0".to_owned()
        };
        assert_eq!(cells[expected.len()..], [evicted], "{report}");
    }
    // Columns that say the same of all would hide that they are swapped.
    for first in 0..HEAD.len() {
        for second in first + 1..HEAD.len() {
            let differ = rows.iter().any(|row| row[first] != row[second]);
            assert!(differ, "{} and {} are the same: {report}", HEAD[first], HEAD[second]);
        }
    }
}

/// Below the table stand the last logs of each, and how many there are.
fn check_last_words(report: &str, summaries: &[Value]) {
    for summary in summaries {
        let id = summary["extension"].as_str().expect("an id");
        let logs = summary["logs"].as_u64().expect("a number");
        let last = logs.min(5);
        let heading = format!("{id}: the last {last} of {} logs", text::count(logs));
        let mut lines = report.lines().skip_while(|line| *line != heading);
        assert!(lines.next().is_some(), "{heading}: {report}");
        let below: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let logs = below.iter().filter(|line| line.starts_with(' ') && line.contains(':'));
        let alerts = usize::from(below.last().is_some_and(|line| line.starts_with("  alerts: ")));
        assert_eq!(logs.count() - alerts, last as usize, "{below:?}");
    }
}

#[test]
fn what_the_shipped_extensions_did_and_cost_is_reported_as_it_was() {
    let place = Place::with_plugins(&["panic"]).lenient();
    let (ended, summaries) = ran(&place);
    let replies = ended.json_lines();
    let reply = |line: u64| replies.iter().find(|reply| reply["line"] == line).expect("each line is answered");
    let failed: Vec<_> = (1..=11).filter(|line| reply(*line)["ok"] == false).collect();
    assert_eq!(failed, [2, 4, 9, 10, 11], "{replies:?}");
    let html = reply(1)["payload"]["html"].as_str().unwrap_or_default();
    assert!(html.starts_with("<h1 id=\"one\">One</h1>") && html.contains("<a href=\"three\">two</a>"), "{html}");
    assert_eq!(reply(4)["error"]["kind"], "unknown-language");
    for line in [6, 7] {
        let relayed = &reply(line)["payload"];
        assert_eq!(relayed["topic"], "pages.rendered");
        assert!(relayed["event_id"].is_string(), "{relayed}: it was published");
    }
    assert_eq!(reply(8)["payload"], 2, "what it publishes reaches who subscribes to it");
    let errors = |id: &str| {
        let summary = summaries.iter().find(|summary| summary["extension"] == id);
        summary.map(|summary| (summary["calls"].as_u64(), summary["errors"].as_u64()))
    };
    assert_eq!(errors("snippets"), Some((Some(2), Some(1))));
    assert_eq!(errors("panic"), Some((Some(3), Some(3))));

    let report = &ended.stderr;
    check_table(report, &summaries);
    check_last_words(report, &summaries);
    let alert = "  alerts: 1, the last one: high Too many requests fail: ";
    assert!(report.contains(alert), "{report}");
    assert!(report.contains("panic is quarantined: 3 failures in a row"), "{report}");
    assert!(report.contains("\nfeed: 11 events, 5 of them answered with an error\n"), "{report}");
    assert!(report.lines().any(|line| line.starts_with("host: ") && line.contains(" memory")), "{report}");
    assert!(report.contains("a page was announced title=Five"), "{report}");
}
