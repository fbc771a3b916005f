//! `glasshouse export`: what a host has stored, as other people's programs read it.

mod prometheus;
mod python;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Place, Running, end, wait_for};
use crate::jaeger;

const SIGNALS: [&str; 5] = ["logs", "errors", "metrics", "alerts", "invocations"];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Texts that are more than text to some reader.
const HOSTILE: [&str; 9] = [
    "=cmd|' /C calc'!A0",
    "+1,\"2\"\r\n3",
    "-1",
    "@SUM(A1)",
    "'quoted",
    "a\"} 1\n# TYPE up counter\nup{b=\"\\",
    "\u{1b}[2J\u{202e}",
    "é∞\u{0}",
    "__name__",
];
/// Where the guest `canary` puts such texts.
const PLACES: [&str; 11] = [
    "log-field",
    "log-message",
    "metric-name",
    "metric-unit",
    "metric-label",
    "metric-label-name",
    "error-message",
    "alert-title",
    "span-name",
    "span-event",
    "span-failure",
];

/// A host that has done a little of everything, hostile things among it, and still runs.
fn busy(place: &Place) -> Running {
    busy_with(place, &[])
}

/// The same with more settings.
pub(crate) fn busy_with(place: &Place, settings: &[&str]) -> Running {
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-"];
    let traced = ["--set", "defaults.debugging.tracing_enabled=true"];
    let mut host = place.start(&[&run[..], &traced, settings].concat());
    let replies = host.stdout();
    let mut count = 0;
    let mut tell = |line: Value| {
        host.tell(&line);
        count += 1;
    };
    for number in 1..=5 {
        tell(json!({"extension": "neighbour", "event": "echo", "payload": number, "user": format!("u{number}")}));
    }
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    tell(json!({"extension": "context", "event": "signals", "correlation_id": "c-1", "traceparent": traceparent}));
    tell(json!({"extension": "panic", "event": "panic", "payload": "noon"}));
    for put in PLACES {
        tell(json!({"extension": "canary", "event": "plant", "payload": {"place": put, "texts": HOSTILE}}));
    }
    wait_for("all replies", || (replies.count() == count).then_some(()));
    host
}

pub(crate) fn place() -> Place {
    Place::with_plugins(&["neighbour", "context", "panic", "canary"]).lenient()
}

/// A data directory of a host that has ended.
fn served() -> Place {
    let place = place();
    busy(&place).kill();
    place
}

/// Exports to a file; returns what was said of it.
fn export(place: &Place, what: &str, format: &str, more: &[&str]) -> std::path::PathBuf {
    let file = format!("{what}.{format}");
    let ended = place.on_data(&[&["export", what, "--format", format, "--output", &file], more].concat());
    let ended = ended.expect_code(0);
    assert!(ended.stdout.is_empty() && (ended.stderr.contains("wrote ") || format == "json"), "{ended:?}");
    place.path(&file)
}

fn lines(place: &Place, what: &str, more: &[&str]) -> Vec<Value> {
    place.on_data(&[&["export", what], more].concat()).expect_code(0).json_lines()
}

fn check_lines(place: &Place) {
    let all = lines(place, "all", &[]);
    for signal in SIGNALS {
        for extension in ["neighbour", "context", "panic", "canary", "host"] {
            let own = ["--extension-id", extension];
            let shown = place.on_data(&[&[signal, "show", "--format", "json", "--limit", "100000"], &own[..]].concat());
            let exported = place.on_data(&[&["export", signal], &own[..]].concat()).expect_code(0);
            assert_eq!(exported.stdout, shown.stdout, "{signal} of {extension}");
            let mut among_all = all.iter().filter(|line| line["signal"] == signal && line["extension"] == extension);
            for line in exported.json_lines() {
                let mut same = among_all.next().expect("it is among all").clone();
                same.as_object_mut().expect("an object").remove("signal");
                assert_eq!(same, line);
            }
            assert!(among_all.next().is_none());
        }
    }
    let traces = lines(place, "traces", &[]);
    let of_traces = |line: &&Value| line["signal"] == "spans" || line["signal"] == "invocations";
    assert_eq!(traces.len(), all.iter().filter(of_traces).count());
    assert!(traces.iter().any(|line| line["name"] == "kettle"), "{traces:?}");
}

#[test]
fn whoever_is_pushed_to_is_told_of_at_each_start_as_who_exports_is() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("feed.jsonl", &json!({"extension": "neighbour", "event": "echo", "payload": 1}).to_string());
    let told = || {
        let told =
            ["logs", "show", "--extension-id", "host", "--format", "json", "field.event=data.exported oldest first"];
        let told = place.on_data(&told).expect_code(0).json_lines();
        told.iter().map(|log| log["fields"]["detail"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    // Nobody listens there: that it was to be sent is what is told.
    let settings: [&[&str]; 3] = [
        &[],
        &["--set", "otlp.endpoint=http://127.0.0.1:9/tenants/4711"],
        &["--set", "otlp.endpoint=http://127.0.0.1:9", "--set", "otlp.metrics_endpoint=http://[::1]:9/metrics"],
    ];
    let expect = [0, 1, 3].map(|count| &["otlp to 127.0.0.1:9", "otlp to 127.0.0.1:9", "otlp to [::1]:9"][..count]);
    for (settings, expect) in settings.into_iter().zip(expect) {
        let run = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done"];
        place.glasshouse(&[&run[..], settings].concat()).expect_code(0);
        assert_eq!(told(), expect, "{settings:?}");
    }
    let last = ["logs", "show", "--extension-id", "host", "field.event=data.exported limit 1"];
    let last = place.on_data(&last).expect_code(0).stdout;
    assert!(last.contains("metrics of all extensions are pushed to [::1]:9") && !last.contains("4711"), "{last}");
}

#[test]
fn what_is_exported_is_what_is_shown_while_a_host_runs_and_after_it_was_killed() {
    let place = place();
    let mut host = busy(&place);
    let ran = lines(&place, "logs", &[]);
    check_lines(&place);
    host.kill();
    check_lines(&place);
    assert_eq!(lines(&place, "logs", &[]), ran);
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    check_lines(&place);
    let chosen = lines(&place, "logs", &["--query", "message=echoed", "--limit", "2"]);
    let numbers: Vec<_> = chosen.iter().map(|log| log["fields"]["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(4), Some(5)]);
    let document = place.on_data(&["export", "--format", "json"]).expect_code(0).json();
    assert_eq!(document["logs"].as_array().map(Vec::len), Some(lines(&place, "logs", &[]).len()));
}

#[test]
fn jaegers_file_has_the_fields_and_types_of_the_public_format() {
    let place = served();
    let text = fs::read_to_string(export(&place, "traces", "jaeger", &[])).expect("it was exported");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    jaeger::check(&document, "traces");
    let traces = document["data"].as_array().expect("traces");
    let spans: Vec<_> = traces.iter().flat_map(|trace| trace["spans"].as_array().expect("spans")).collect();
    assert_eq!(spans.len(), lines(&place, "traces", &[]).len());
    for trace in traces {
        for span in trace["spans"].as_array().expect("spans") {
            assert_eq!(span["traceID"], trace["traceID"]);
            assert!(trace["processes"].get(span["processID"].as_str().expect("an id")).is_some(), "{span}");
            for tag in span["tags"].as_array().expect("tags") {
                let fits = match tag["type"].as_str() {
                    Some("string") => tag["value"].is_string(),
                    Some("bool") => tag["value"].is_boolean(),
                    Some("int64") => tag["value"].is_i64() || tag["value"].is_string(),
                    Some("float64") => tag["value"].is_number(),
                    _ => false,
                };
                assert!(fits, "{tag}");
            }
        }
    }
    let kettle = spans.iter().find(|span| span["operationName"] == "kettle").expect("the span in which it panicked");
    let error = json!({"key": "error", "type": "bool", "value": true});
    assert!(kettle["tags"].as_array().is_some_and(|tags| tags.contains(&error)), "{kettle}");
}

#[test]
fn an_export_that_breaks_off_says_so_and_leaves_no_half_file() {
    let place = served();
    let full = place.on_data(&["export", "logs", "--output", "/dev/full"]).expect_code(3);
    assert!(full.stderr.contains("No space left") && full.stderr.contains("no whole export"), "{full:?}");

    place.write("kept.jsonl", "what was there before\n");
    let mut limited = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" export all --data-dir data --output kept.jsonl";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_glasshouse")]).current_dir(place.path("."));
    let limited = end(&mut limited).expect_code(3);
    assert!(limited.stderr.contains("File too large") && limited.stderr.contains("kept.jsonl"), "{limited:?}");
    assert_eq!(place.read("kept.jsonl"), "what was there before\n");
    let left: Vec<_> =
        fs::read_dir(place.path(".")).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");

    let mut closed = place.start(&["export", "all", "--data-dir", "data"]);
    let mut first = [0; 10];
    let mut stdout = closed.0.stdout.take().expect("its output is a pipe");
    stdout.read_exact(&mut first).expect("it writes");
    drop(stdout);
    let said = closed.stderr();
    assert_eq!(closed.code_within(Duration::from_mins(1)), Some(3));
    let said = said.all_of_them().join("\n");
    assert!(said.contains("Broken pipe") && said.contains("no whole export"), "{said}");

    let mode = |name: &str| fs::metadata(place.path(name)).expect("it is there").permissions().mode() & 0o777;
    place.on_data(&["export", "logs", "--output", "new.jsonl"]).expect_code(0);
    assert_eq!(mode("new.jsonl"), 0o600, "as private as the data directory");
    fs::set_permissions(place.path("kept.jsonl"), fs::Permissions::from_mode(0o640)).expect("it is ours");
    place.on_data(&["export", "logs", "--output", "kept.jsonl"]).expect_code(0);
    assert_eq!(mode("kept.jsonl"), 0o640);
    assert_eq!(place.read("kept.jsonl").lines().count(), lines(&place, "logs", &[]).len());
}

#[test]
fn what_cannot_be_exported_is_refused_with_what_to_do() {
    let place = Place::with_plugins(&["neighbour"]);
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    for (arguments, code, says) in [
        (&["export", "moods"][..], 2, "logs, metrics, errors, alerts, traces, invocations, all"),
        (&["export", "--format", "table"], 2, "export as one of json, jsonl, csv"),
        (&["export", "--format", "xml"], 2, "possible values"),
        (&["export", "--format", "otlp"], 2, "one by one"),
        (&["export", "logs", "--format", "jaeger"], 2, "export `traces`"),
        (&["export", "all", "--format", "prometheus"], 2, "export `metrics`"),
        (&["export", "--query", "messge=x"], 2, "did you mean \"message\"?"),
        (&["export", "--extension-id", "stranger"], 2, "\"stranger\""),
        (&["export", "--output", "plugins"], 3, "is a folder"),
        (&["export", "--output", "nowhere/logs.jsonl"], 3, "nowhere/logs.jsonl"),
        (
            &["logs", "show", "--format", "jaeger"],
            2,
            "jaeger is a format of `glasshouse export`; here there are table, json and csv",
        ),
        (
            &["doctor", "--format", "csv"],
            2,
            "csv is for verbs that show records, for status, budgets, debugging, health and tokens, and for exports",
        ),
    ] {
        let ended = place.on_data(arguments).expect_code(code);
        assert!(ended.stdout.is_empty() && ended.stderr.contains(says), "{arguments:?}: {ended:?}");
    }
    let nothing = place.on_data(&["export", "logs", "--query", "message=never"]).expect_code(0);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("nothing is stored that fits"), "{nothing:?}");
    let mut piped = place.command(&["export", "logs", "--data-dir", "data", "--output", "/dev/stdout"]);
    let piped = end(piped.stdout(Stdio::piped())).expect_code(0);
    assert_eq!(piped.json_lines(), lines(&place, "logs", &[]));
}
