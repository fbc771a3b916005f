//! What calls cost, compared with a baseline: the same for the same input, and a failed build for what costs more.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Ended, Place, Running};

/// A feed for all examples, and two events for the guests that are compared below.
const FEED: &str = r##"{"extension": "markdown", "event": "render", "payload": {"markdown": "# One\n\nand *two*"}, "user": "ada"}
{"extension": "markdown", "event": "render", "payload": {"markdown": "# Two"}, "correlation_id": "c-2"}

{"extension": "markdown", "event": "render", "payload": {"markdown": "# Two"}}
{"extension": "snippets", "event": "languages"}
{"extension": "access-log", "event": "ingest", "payload": {"lines": ["nonsense"]}}
{"extension": "relay", "event": "page", "payload": {"title": "x", "markdown": "# x"}}
{"extension": "changing", "event": "count"}
{"extension": "changing", "event": "count", "payload": [1]}
{"extension": "dice", "event": "roll"}
"##;

fn place() -> Place {
    let place = Place::with_plugins(&[]);
    place.write("feed.jsonl", FEED);
    place
}

/// Runs a check of an extension of the plugin directory.
fn check(place: &Place, id: &str, more: &[&str]) -> Ended {
    place.glasshouse(&arguments(&format!("plugins/{id}"), more))
}

fn arguments<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["check", path, "--feed", "feed.jsonl"], more].concat()
}

/// Writes a baseline, and gives it.
fn update(place: &Place, id: &str) -> String {
    let file = format!("{id}.json");
    check(place, id, &["--baseline", &file, "--update"]).expect_code(0);
    place.read(&file)
}

#[test]
fn the_examples_and_a_guest_that_goes_by_time_and_chance_cost_the_same_in_every_process() {
    let place = place();
    for id in ["markdown", "snippets", "access-log", "relay", "dice"] {
        place.extension(id, id, "[debugging]\ntracing_enabled = true\n");
        let [one, other] = ["one", "other"].map(|name| format!("{id}-{name}.json"));
        let path = format!("plugins/{id}");
        let start = |file| {
            let mut command = place.command(&arguments(&path, &["--baseline", file, "--update"]));
            Running::start(&mut command)
        };
        let mut both = [start(&one), start(&other)];
        for running in &mut both {
            let said = running.stderr();
            assert_eq!(running.0.wait().expect("it ends").code(), Some(0), "{id}");
            let said = said.all_of_them();
            assert!(!said.iter().any(|line| line.contains("cost something else")), "{id}: {said:?}");
        }
        let written = place.read(&one);
        assert_eq!(written, place.read(&other), "{id}");
        assert!(written.contains("\"fuel\":") && !written.contains("\"fuel\":0"), "{id}: {written}");
        let again = check(&place, id, &["--baseline", &one, "--tolerance", "0"]).expect_code(0);
        assert!(again.stdout.contains("passed: all cost what they did"), "{id}: {again:?}");
    }
}

#[test]
fn calls_of_one_event_are_listed_by_line_and_summed_up() {
    let place = place();
    place.extension("markdown", "markdown", "");
    let shown = check(&place, "markdown", &["--format", "json"]).expect_code(0).json();
    let fuel = |index: usize| shown["lines"][index]["fuel"].as_u64().expect("a figure");
    let lines: Vec<_> = shown["lines"].as_array().expect("lines").iter().map(|row| row["line"].clone()).collect();
    assert_eq!(lines, [1, 2, 4]);
    assert_eq!((fuel(1), fuel(1) < fuel(0)), (fuel(2), true), "the same input costs the same, whoever asks");
    let render = &shown["events"][0];
    let expect = json!({ "min": fuel(1), "median": fuel(1), "max": fuel(0), "total": fuel(0) + 2 * fuel(1) });
    assert_eq!((&render["name"], &render["count"], &render["fuel"]), (&json!("render"), &json!(3), &expect));
    assert_eq!(shown["passed_over"], 6);
    let exports: Vec<_> = shown["exports"].as_array().expect("rows").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(exports, ["init", "collect", "check-health", "shutdown"]);
}

#[test]
fn what_costs_more_fails_with_a_table_and_what_costs_less_is_told() {
    let place = place();
    place.extension("changing", "spin", "");
    let cheap = update(&place, "changing");
    place.extension("changing-dear", "neighbour", "");
    fs::copy(place.path("plugins/changing-dear/neighbour.wasm"), place.path("plugins/changing/spin.wasm.new"))
        .expect("copying a component");
    fs::rename(place.path("plugins/changing/spin.wasm.new"), place.path("plugins/changing/spin.wasm"))
        .expect("replacing a component");
    let baseline = ["--baseline", "changing.json"];
    let failed = check(&place, "changing", &baseline).expect_code(5);
    for expected in
        ["before", "now", "change", "worse", "shutdown", "fuel", "count, 2 calls", "line 8: count", "--update"]
    {
        assert!(failed.stdout.contains(expected), "{expected}: {failed:?}");
    }
    let json = check(&place, "changing", &[&baseline[..], &["--format", "json"]].concat()).expect_code(5).json();
    assert_eq!(json["passed"], false);
    let difference =
        json["differences"].as_array().expect("differences").iter().find(|found| found["name"] == "shutdown");
    let difference = difference.expect("the export costs more");
    assert!(difference["now"].as_u64() > difference["before"].as_u64(), "{difference}");

    check(&place, "changing", &[&baseline[..], &["--tolerance", "1000%"]].concat()).expect_code(5);
    assert_eq!(place.read("changing.json"), cheap, "a check writes nothing");
    let dear = update(&place, "changing");
    assert_ne!(dear, cheap);
    check(&place, "changing", &baseline).expect_code(0);
    place.write("changing.json", &dear.replace("\"fuel\":", "\"fuel\":9").replace(&component(&dear), &"0".repeat(64)));
    let better = check(&place, "changing", &baseline).expect_code(0);
    assert!(better.stdout.contains("better") && better.stdout.contains("keep that"), "{better:?}");
}

/// The digest of the component that a baseline names.
fn component(baseline: &str) -> String {
    let baseline: Value = serde_json::from_str(baseline).expect("it is JSON");
    baseline["component"].as_str().expect("a digest").to_owned()
}

#[test]
fn a_regression_passes_within_the_tolerance_and_not_beyond_it() {
    let place = place();
    place.extension("markdown", "markdown", "");
    let written = update(&place, "markdown");
    let mut baseline: Value = serde_json::from_str(&written).expect("it is JSON");
    baseline["component"] = json!("0".repeat(64));
    for row in baseline["events"].as_array_mut().expect("rows") {
        let fuel = row["fuel"].as_f64().expect("a figure");
        row["fuel"] = json!((fuel / 1.05) as u64);
    }
    place.write("markdown.json", &baseline.to_string());
    let with = |tolerance| check(&place, "markdown", &["--baseline", "markdown.json", "--tolerance", tolerance]);
    with("6%").expect_code(0);
    let failed = with("4%").expect_code(5);
    assert!(failed.stdout.contains("+5.0"), "{failed:?}");
    with("many").expect_code(2);
}

#[test]
fn the_fuel_of_an_unchanged_component_is_to_be_the_same_whatever_the_tolerance() {
    let place = place();
    place.extension("markdown", "markdown", "");
    let written = update(&place, "markdown");
    let fuel = serde_json::from_str::<Value>(&written).expect("it is JSON")["events"][0]["fuel"].clone();
    let less = format!("\"fuel\":{}", fuel.as_u64().expect("a figure") - 1);
    place.write("markdown.json", &written.replace(&format!("\"fuel\":{fuel}"), &less));
    let failed = check(&place, "markdown", &["--baseline", "markdown.json"]).expect_code(5);
    assert!(failed.stdout.contains("something outside of it has a say"), "{failed:?}");
}

#[test]
fn a_call_that_fails_is_a_row_whose_end_is_compared() {
    let place = Place::with_plugins(&[]);
    let feed = r#"{"extension": "x", "event": "spin"}
{"extension": "x", "event": "sleep"}
{"extension": "x", "event": "unreachable"}
{"extension": "x", "event": "count"}
"#;
    place.write("feed.jsonl", feed);
    let budget = "[budget]\nfuel_per_call = 10_000_000\n";
    for (guest, expect) in [
        ("spin", ["breach.fuel", "unknown-event", "unknown-event", "ok"]),
        ("sleeper", ["unknown-event", "breach.fuel", "unknown-event", "ok"]),
        ("traps", ["unknown-event", "unknown-event", "trap.unreachable", "ok"]),
    ] {
        place.extension("x", guest, budget);
        let _ = fs::remove_file(place.path("x.json"));
        let first = check(&place, "x", &["--baseline", "x.json", "--update", "--format", "json"]).expect_code(0).json();
        let outcomes: Vec<_> =
            first["lines"].as_array().expect("rows").iter().map(|row| row["outcome"].clone()).collect();
        assert_eq!(outcomes, expect, "{guest}");
        let shown = check(&place, "x", &["--baseline", "x.json"]).expect_code(0).stdout;
        assert!(shown.contains(expect.iter().find(|end| **end != "ok").expect("one fails")), "{shown}");
    }
    let written = place.read("x.json").replace("trap.unreachable", "ok");
    place.write("x.json", &written);
    let failed = check(&place, "x", &["--baseline", "x.json"]).expect_code(5);
    assert!(failed.stdout.contains("outcome") && failed.stdout.contains("trap.unreachable"), "{failed:?}");

    place.extension("x", "init-trap", "");
    let _ = fs::remove_file(place.path("x.json"));
    let first = check(&place, "x", &["--baseline", "x.json", "--update", "--format", "json"]).expect_code(0).json();
    assert_eq!((&first["exports"][0]["outcome"], &first["lines"][0]["outcome"]), (&json!("panic"), &json!("panic")));
}

#[test]
fn a_baseline_that_cannot_be_used_is_refused_with_what_to_do_and_never_replaced() {
    let place = place();
    place.extension("dice", "dice", "");
    place.extension("relay", "relay", "");
    let baseline = ["--baseline", "dice.json"];
    let missing = check(&place, "dice", &baseline).expect_code(2);
    let typed = "glasshouse check plugins/dice --feed feed.jsonl --baseline dice.json --update";
    assert!(missing.stderr.contains(typed), "{missing:?}");

    let written = update(&place, "dice");
    let refused = |text: &str, said: &str| {
        place.write("dice.json", text);
        for more in [&baseline[..], &[&baseline[..], &["--update"]].concat()] {
            let ended = check(&place, "dice", more).expect_code(3);
            assert!(ended.stderr.contains(said), "{said}: {ended:?}");
        }
        assert_eq!(place.read("dice.json"), text);
    };
    refused(&written[..written.len() / 2], "damaged");
    refused(&written.replace("\"version\": 1", "\"version\": 7"), "has version 7");
    refused("[package]\nname = \"not a baseline\"\n", "no baseline");
    refused(&update(&place, "relay"), "of the extension relay");

    for (from, to, said) in [
        ("\"wasmtime\": \"", "\"wasmtime\": \"0", "wasmtime: 0"),
        ("\"metering\": \"fuel", "\"metering\": \"cpu", "metering: cpu, growth 255 then, fuel, growth 255 now"),
    ] {
        place.write("dice.json", &written.replace(from, to));
        let ended = check(&place, "dice", &baseline).expect_code(5);
        assert!(ended.stdout.contains("not comparable") && ended.stdout.contains(said), "{ended:?}");
        assert_eq!(update(&place, "dice"), written);
    }
    let names: Vec<_> =
        fs::read_dir(place.path(".")).expect("a folder").flatten().map(|file| file.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("part")), "{names:?}");
}

#[test]
fn a_feed_that_cannot_be_used_says_where() {
    let place = place();
    place.extension("dice", "dice", "");
    let ended = |feed: &str| {
        place.write("feed.jsonl", feed);
        check(&place, "dice", &[]).expect_code(3).stderr
    };
    let bad = ended("{\"extension\": \"dice\", \"event\": \"roll\"}\n\nnonsense\n");
    assert!(bad.contains("line 3 of the feed feed.jsonl: not an event"), "{bad}");
    let long = format!("{{\"extension\": \"dice\", \"event\": \"{}\"}}\n", "x".repeat(200));
    assert!(ended(&long).contains("line 1 of the feed feed.jsonl: an event's name"));
    let none = ended("{\"extension\": \"other\", \"event\": \"roll\"}\n");
    assert!(none.contains("has no event for the extension dice, and 1 for others"), "{none}");
}

#[test]
fn an_extension_that_cannot_be_loaded_and_worlds_that_have_a_say_are_told() {
    let place = place();
    place.write("plugins/dice.wasm", "no component");
    let failed = place.glasshouse(&arguments("plugins/dice.wasm", &[])).expect_code(4);
    assert!(failed.stderr.contains("dice"), "{failed:?}");
    fs::remove_file(place.path("plugins/dice.wasm")).expect("removing a file");
    place.extension("dice", "dice", "[permissions]\nenv = [\"HOME\"]\n");
    let quiet = check(&place, "dice", &[]).expect_code(0);
    assert!(!quiet.stderr.contains("has a say"), "{quiet:?}");
    let told = check(&place, "dice", &["--set", "extensions.dice.permissions.env=[\"HOME\"]"]).expect_code(0);
    assert!(told.stderr.contains("dice is granted env"), "{told:?}");
}
