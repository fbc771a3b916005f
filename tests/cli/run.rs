//! `glasshouse run`: a feed is answered in order, a summary tells what it cost, and bad lines and broken extensions
//! stop nothing.

use serde_json::{Value, json};

use crate::harness::{Place, json_lines};

/// The keys of a summary, in their order.
const SUMMARY_KEYS: [&str; 35] = [
    "extension",
    "state",
    "calls",
    "errors",
    "fuel",
    "guest_cpu_ns",
    "host_cpu_ns",
    "elapsed_ns",
    "in_guest_ns",
    "in_host_ns",
    "queued_ns",
    "waiting_ns",
    "idle_ns",
    "unattributed_ns",
    "host_calls",
    "host_functions",
    "read_bytes",
    "written_bytes",
    "sent_bytes",
    "received_bytes",
    "memory_bytes",
    "memory_peak_bytes",
    "resources",
    "table_elements",
    "waiting_calls",
    "waiting_bytes",
    "logs",
    "metrics",
    "spans",
    "alerts",
    "dropped",
    "debug_overhead_ms",
    "debug_overhead_percent",
    "debug_detail",
    "enabled_components",
];

fn feed(lines: &[Value]) -> String {
    lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect()
}

/// The answers of one extension, in the order in which they came.
fn of<'a>(answers: &'a [Value], extension: &str) -> Vec<&'a Value> {
    answers.iter().filter(|answer| answer["extension"] == extension).collect()
}

#[test]
fn each_event_of_a_feed_is_answered_in_order() {
    let place = Place::with_plugins(&["neighbour", "context"]);
    let lines: Vec<_> = (0..20)
        .map(|number| match number % 4 {
            3 => {
                json!({"extension": "context", "event": "tell", "user": "ada", "correlation_id": format!("c-{number}")})
            }
            _ => json!({"extension": "neighbour", "event": "echo", "payload": {"number": number}}),
        })
        .collect();
    place.write("feed.jsonl", &feed(&lines));
    let ended = place.glasshouse(&["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done"]).expect_code(0);
    let answers = ended.json_lines();
    assert_eq!(answers.len(), lines.len());
    let numbers: Vec<_> =
        of(&answers, "neighbour").into_iter().map(|answer| answer["payload"]["number"].as_u64()).collect();
    assert_eq!(numbers, (0..20).filter(|number| number % 4 != 3).map(Some).collect::<Vec<_>>());
    for (answer, number) in of(&answers, "context").into_iter().zip([3, 7, 11, 15, 19]) {
        assert_eq!((&answer["ok"], &answer["line"]), (&json!(true), &json!(number + 1)));
        assert_eq!(answer["correlation_id"], format!("c-{number}"));
        assert_eq!(answer["payload"]["correlation_id"], format!("c-{number}"));
        assert_eq!(answer["payload"]["user"], "ada");
    }
    assert!(ended.stderr.contains("neighbour") && ended.stderr.contains("feed: 20 events"), "{}", ended.stderr);
    let asked = ended.stderr.lines().find(|line| line.starts_with("neighbour in the host: "));
    assert!(asked.is_some_and(|line| line.contains("debugging.emit ")), "{}", ended.stderr);
}

#[test]
fn a_feed_may_come_on_standard_input() {
    let place = Place::with_plugins(&["neighbour"]);
    let input = feed(&[json!({"extension": "neighbour", "event": "echo", "payload": [1, 2]})]);
    let arguments = ["run", "plugins", "--feed", "-", "--exit-when-done"];
    let ended = place.glasshouse_with_input(&arguments, &input).expect_code(0);
    assert_eq!(ended.json_lines()[0]["payload"], json!([1, 2]));
}

#[test]
fn every_kind_of_failure_is_an_answer_and_the_run_goes_on() {
    let place = Place::with_plugins(&["neighbour", "panic"]);
    place.write(
        "feed.jsonl",
        &feed(&[
            json!({"extension": "panic", "event": "panic", "payload": "noon"}),
            json!({"extension": "panic", "event": "panic", "payload": 7}),
            json!({"extension": "panic", "event": "count"}),
            json!({"extension": "neighbour", "event": "refuse"}),
            json!({"extension": "neighbour", "event": "no-such-event"}),
            json!({"extension": "nobody", "event": "echo"}),
            json!({"extension": "neighbour", "event": "count", "user": "a\nb"}),
            json!({"extension": "neighbour", "event": "count"}),
        ]),
    );
    let ended = place.glasshouse(&["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done"]).expect_code(0);
    let answers = ended.json_lines();
    let of_line = |line: u64| answers.iter().find(|answer| answer["line"] == line).expect("the line is answered");
    let kinds: Vec<_> = (1..=8).map(|line| of_line(line)["error"]["kind"].as_str().unwrap_or("none")).collect();
    assert_eq!(
        kinds,
        ["panic", "invalid-payload", "none", "refusal", "unknown-event", "unknown-extension", "invalid-event", "none"]
    );
    assert_eq!(of_line(1)["error"]["message"], "the kettle boiled dry: noon");
    assert_eq!(of_line(3)["payload"], 1);
    assert!(of_line(2)["ok"] == false && of_line(2).get("payload").is_none());
}

#[test]
fn a_line_that_cannot_be_used_is_reported_with_its_number() {
    let place = Place::with_plugins(&["neighbour"]);
    let good = json!({"extension": "neighbour", "event": "echo", "payload": 1});
    let bad = json!({"extension": "neighbour", "evnt": "echo"});
    place.write("feed.jsonl", &format!("{good}\nnonsense\n\n{bad}\n{good}"));
    let ended = place.glasshouse(&["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done"]).expect_code(0);
    assert_eq!(ended.json_lines().len(), 2);
    assert!(ended.stderr.contains("feed line 2:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("feed line 4: ") && ended.stderr.contains("evnt"), "{}", ended.stderr);
}

#[test]
fn the_summary_has_the_same_keys_in_a_file_and_on_standard_error() {
    let place = Place::with_plugins(&["neighbour", "context"]);
    place.write(
        "feed.jsonl",
        &feed(&[
            json!({"extension": "neighbour", "event": "echo", "payload": 1}),
            json!({"extension": "neighbour", "event": "refuse"}),
            json!({"extension": "context", "event": "signals"}),
        ]),
    );
    let run = ["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done"];
    let to_stderr = ["--format", "json", "--data-dir", "told"];
    let to_stderr = place.glasshouse(&[&run[..], &to_stderr].concat()).expect_code(0);
    place.glasshouse(&[&run[..], &["--summary", "summary.jsonl", "--data-dir", "written"]].concat()).expect_code(0);
    for (text, data) in [(to_stderr.stderr, "told"), (place.read("summary.jsonl"), "written")] {
        for line in text.lines() {
            let found: Vec<_> = SUMMARY_KEYS.iter().map(|key| line.find(&format!("\"{key}\":"))).collect();
            assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{line}");
        }
        let summaries = json_lines(&text);
        assert_eq!(summaries.len(), 2);
        assert!(
            summaries.iter().all(|summary| summary.as_object().is_some_and(|keys| keys.len() == SUMMARY_KEYS.len()))
        );
        let (context, neighbour) = (&summaries[0], &summaries[1]);
        assert_eq!((&neighbour["extension"], &neighbour["state"]), (&json!("neighbour"), &json!("ready")));
        assert_eq!(
            (&neighbour["calls"], &neighbour["errors"], &neighbour["dropped"]),
            (&json!(2), &json!(1), &json!(0))
        );
        for summary in [neighbour, context] {
            let functions = summary["host_functions"].as_array().expect("a list");
            let calls = functions.iter().filter_map(|one| one["calls"].as_u64()).sum::<u64>();
            assert_eq!(Some(calls), summary["host_calls"].as_u64(), "{functions:?}");
            assert!(functions.iter().any(|one| one["function"] == "debugging.emit"), "{functions:?}");
            // Beside its own sample there are the host's, of what it used.
            let id = summary["extension"].as_str().expect("an id");
            let show =
                ["metrics", "show", "--extension-id", id, "--limit", "100000", "--format", "json", "--data-dir", data];
            let stored = place.glasshouse(&show).expect_code(0).json_lines();
            let own = stored.iter().filter(|sample| sample["origin"] == "guest").count();
            assert_eq!((own, summary["metrics"].as_u64()), (1, Some(stored.len() as u64)), "{stored:?}");
        }
        assert_eq!(context["alerts"], 1);
        let positive = |key: &str| neighbour[key].as_u64().is_some_and(|number| number > 0);
        assert!(positive("fuel") && positive("guest_cpu_ns") && positive("memory_bytes") && positive("logs"));
        assert!(neighbour["memory_peak_bytes"].as_u64() >= neighbour["memory_bytes"].as_u64());
    }
}

#[test]
fn broken_extensions_stop_no_others_and_are_told_by_the_exit_code() {
    let place = Place::with_plugins(&["neighbour", "init-trap"]);
    place.write("plugins/text.wasm", "this is no component");
    place.write("plugins/typo/extension.toml", "id = \"typo\"\n[budget]\ndeadlin = \"2s\"\n");
    place.write("feed.jsonl", &feed(&[json!({"extension": "neighbour", "event": "echo", "payload": 1})]));
    let run = ["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done", "--summary", "summary.jsonl"];
    let ended = place.glasshouse(&run).expect_code(4);
    assert_eq!(ended.json_lines()[0]["payload"], 1);
    let states: Vec<_> = json_lines(&place.read("summary.jsonl"))
        .into_iter()
        .map(|summary| format!("{} {}", summary["extension"], summary["state"]).replace('"', ""))
        .collect();
    assert_eq!(states, ["init-trap failed", "neighbour ready", "text failed", "typo failed"]);
    for cause in ["there is nothing to start from", "is not a WebAssembly component", "deadline"] {
        assert!(ended.stderr.contains(cause), "{cause}: {}", ended.stderr);
    }
}

#[test]
fn an_extension_that_keeps_failing_is_quarantined_and_the_exit_code_says_so() {
    let place = Place::with_plugins(&["panic", "neighbour"]);
    let mut lines = vec![json!({"extension": "panic", "event": "panic", "payload": "again"}); 4];
    lines.push(json!({"extension": "neighbour", "event": "echo", "payload": 1}));
    place.write("feed.jsonl", &feed(&lines));
    let ended = place.glasshouse(&["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done"]).expect_code(4);
    let answers = ended.json_lines();
    let kinds: Vec<_> = of(&answers, "panic").into_iter().map(|answer| answer["error"]["kind"].clone()).collect();
    assert_eq!(kinds, ["panic", "panic", "panic", "quarantined"]);
    assert_eq!(of(&answers, "neighbour")[0]["ok"], true);
    assert!(ended.stderr.contains("quarantined"), "{}", ended.stderr);
}
