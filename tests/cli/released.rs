//! What released hosts told of records and traces is told by this one as well: under the same names, with values of the same kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use glasshouse::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, SpanRecord};
use glasshouse::traces::{Operation, Trace, TraceSummary};
use glasshouse::{Signal, Stored};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::{Place, json_lines};

/// The names in it that guests choose.
const CHOSEN: [&str; 2] = ["fields", "labels"];

/// The file of each release: lines with what something is, and one that has all that it can have.
fn released() -> Vec<(String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../released");
    let entries = fs::read_dir(folder).expect("there is a folder of released versions");
    let folders = entries.map(|entry| entry.expect("reading a folder").path()).filter(|path| path.is_dir());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("records.jsonl")).expect("each version has its records");
        (path.display().to_string(), json_lines(&text))
    };
    let all: Vec<_> = folders.map(read).collect();
    assert!(!all.is_empty(), "nothing is released");
    all
}

/// What this host makes of something that was told, and would tell of it.
fn again(kind: &str, told: &Value) -> Result<Value, serde_json::Error> {
    fn through<T: Serialize + DeserializeOwned>(told: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<T>(told.clone())?)
    }
    match kind {
        "logs" => through::<LogRecord>(told),
        "metrics" => through::<MetricRecord>(told),
        "errors" => through::<ErrorRecord>(told),
        "spans" => through::<SpanRecord>(told),
        "alerts" => through::<AlertRecord>(told),
        "invocations" => through::<InvocationRecord>(told),
        "trace" => through::<Trace>(told),
        "trace in a list" => through::<TraceSummary>(told),
        "operation" => through::<Operation>(told),
        other => panic!("what is {other}?"),
    }
}

/// The names in something, each with the kinds of what stands under it; names that guests choose are left out.
fn names(value: &Value, at: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    found.entry(at.to_owned()).or_default().insert(kind);
    let empty = json!({});
    match value {
        Value::Array(list) => list.iter().for_each(|one| names(one, &format!("{at}[]"), found)),
        Value::Object(object) => {
            for (name, one) in object {
                // Of what guests choose, no name is looked at.
                let is_chosen = one.is_object() && CHOSEN.contains(&name.as_str());
                names(if is_chosen { &empty } else { one }, &format!("{at}.{name}"), found);
            }
        }
        _ => {}
    }
}

fn all_names(value: &Value) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut found = BTreeMap::new();
    names(value, "", &mut found);
    found
}

/// What of something that was told is told no longer, or otherwise.
fn lacks(before: &Value, now: &Value) -> Vec<String> {
    let now = all_names(now);
    let is_there = |(name, kinds): &(String, BTreeSet<&str>)| now.get(name).is_some_and(|now| kinds.is_subset(now));
    all_names(before)
        .into_iter()
        .filter(|one| !is_there(one))
        .map(|(name, kinds)| format!("{name}: {kinds:?}"))
        .collect()
}

#[test]
fn what_released_hosts_told_is_told_under_the_same_names() {
    for (version, lines) in released() {
        let kinds: BTreeSet<_> = lines.iter().filter_map(|line| line["of"].as_str()).collect();
        let signals: Vec<_> = Signal::ALL.iter().map(|signal| signal.as_str()).collect();
        assert!(signals.iter().all(|signal| kinds.contains(signal)) && kinds.len() >= 9, "{version}: {kinds:?}");
        for line in lines {
            let (kind, told) = (line["of"].as_str().expect("what it is"), &line["told"]);
            let now = again(kind, told).unwrap_or_else(|error| panic!("{version}, {kind}: {error}"));
            assert_eq!(lacks(told, &now), [""; 0], "{version}, {kind}");
        }
    }
}

#[test]
fn a_name_that_is_another_or_gone_is_found() {
    for (_, lines) in released() {
        for line in lines {
            let told = &line["told"];
            assert_eq!(lacks(told, told), [""; 0]);
            let object = told.as_object().expect("an object");
            for (name, value) in object {
                let mut renamed = object.clone();
                let value = renamed.remove(name).unwrap_or_else(|| value.clone());
                assert!(!lacks(told, &Value::Object(renamed.clone())).is_empty(), "{name} is gone");
                renamed.insert(format!("{name}_"), value);
                assert!(!lacks(told, &Value::Object(renamed.clone())).is_empty(), "{name} is another");
                renamed.insert(name.clone(), json!([[]]));
                assert!(!lacks(told, &Value::Object(renamed)).is_empty(), "{name} is of another kind");
            }
        }
    }
    // A host that told a record without its number, or its trace without an id, would not read what was released either.
    let (_, lines) = released().remove(0);
    for line in &lines {
        let (kind, mut told) = (line["of"].as_str().expect("what it is"), line["told"].clone());
        let name = if told["sequence"].is_null() { "trace_id" } else { "sequence" };
        if let Some(value) = told.as_object_mut().and_then(|object| object.remove(name)) {
            told["renamed"] = value;
            assert!(again(kind, &told).is_err(), "{kind} without {name}");
        }
    }
}

#[test]
fn what_is_told_today_is_all_among_what_was_written_down() {
    let place =
        Place::with_plugins(&["neighbour", "panic", "alarmist", "traced", "context", "answers", "aspects"]).lenient();
    let events = [
        json!({"extension": "neighbour", "event": "echo", "payload": 1, "user": "ada", "tenant": "acme"}),
        json!({"extension": "neighbour", "event": "refuse", "payload": null}),
        json!({"extension": "panic", "event": "panic", "payload": "noon", "user": "ada"}),
        json!({"extension": "alarmist", "event": "raise", "payload": {"name": "full", "title": "t", "metric": "echoes"}}),
        json!({"extension": "traced", "event": "descend", "payload": "trap"}),
        json!({"extension": "traced", "event": "plain", "payload": 3}),
        json!({"extension": "context", "event": "signals", "payload": null, "correlation_id": "order-7"}),
    ];
    let feed: Vec<_> = events.iter().map(Value::to_string).collect();
    place.write("feed.jsonl", &feed.join("\n"));
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done"];
    let settings = ["--set", "defaults.debugging.tracing_enabled=true", "--set", "defaults.budget.failures_in_a_row=9"];
    place.glasshouse(&[&run[..], &settings].concat()).expect_code(0);
    let stored = Stored::open(&place.path("data")).expect("it is a data directory");
    assert!(stored.extensions().expect("they are listed").len() >= 7);

    let mut known: BTreeMap<String, BTreeMap<String, BTreeSet<&str>>> = BTreeMap::new();
    let newest = released().pop().expect("one is released").1;
    for line in &newest {
        let of = known.entry(line["of"].as_str().expect("what it is").to_owned()).or_default();
        names(&line["told"], "", of);
    }
    let mut told = Vec::new();
    for signal in Signal::ALL {
        let lines = place.on_data(&["export", "all", "--format", "jsonl"]).expect_code(0).json_lines();
        told.extend(
            lines.into_iter().filter(|line| line["signal"] == signal.as_str()).map(|line| (signal.as_str(), line)),
        );
    }
    let asked = |verb: &[&str]| {
        let lines = place.on_data(&[verb, &["--format", "json"]].concat()).expect_code(0).json_lines();
        assert!(!lines.is_empty(), "{verb:?}");
        lines
    };
    let list = asked(&["traces", "list"]);
    let is_call = |one: &&Value| one["name"].as_str().is_some_and(|name| name.starts_with("handle:"));
    for one in list.iter().filter(is_call) {
        let whole = asked(&["trace", one["trace_id"].as_str().expect("an id")]);
        told.extend(whole.into_iter().map(|line| ("trace", line)));
    }
    told.extend(list.into_iter().map(|line| ("trace in a list", line)));
    told.extend(asked(&["traces", "slowest"]).into_iter().map(|line| ("operation", line)));
    let mut unknown = BTreeSet::new();
    for (kind, mut line) in told {
        let object = line.as_object_mut().expect("an object");
        if Signal::ALL.iter().any(|signal| signal.as_str() == kind) {
            // What an export says beside the record.
            for around in ["extension", "cursor", "signal"] {
                assert!(object.remove(around).is_some_and(|value| value.is_string()), "{kind} without {around}");
            }
        }
        let of = &known[kind];
        for (name, kinds) in all_names(&line) {
            if !of.get(&name).is_some_and(|known| kinds.is_subset(known) || kinds.contains("nothing")) {
                unknown.insert(format!("{kind}{name}: {kinds:?}"));
            }
        }
    }
    assert!(unknown.is_empty(), "add these to the newest released/*/records.jsonl: {unknown:#?}");
}
