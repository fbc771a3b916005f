//! The verbs that read a data directory: what they show of a host that runs, has stopped, or was killed.

use serde_json::{Value, json};

use crate::harness::{Ended, Place, Running, wait_for};

const SIGNALS: [&str; 6] = ["logs", "errors", "metrics", "traces", "alerts", "invocations"];

/// A host that has done a little of everything, and still runs.
fn busy(place: &Place) -> Running {
    let mut host = place.start(&[
        "run",
        "plugins",
        "--data-dir",
        "data",
        "--feed",
        "-",
        "--set",
        "defaults.debugging.tracing_enabled=true",
    ]);
    let replies = host.stdout();
    for number in 1..=5 {
        host.tell(&json!({"extension": "neighbour", "event": "echo", "payload": number, "user": format!("u{number}")}));
    }
    host.tell(&json!({"extension": "context", "event": "signals", "correlation_id": "c-1"}));
    host.tell(&json!({"extension": "panic", "event": "panic", "payload": "noon"}));
    wait_for("all replies", || (replies.count() == 7).then_some(()));
    host
}

fn read(place: &Place, arguments: &[&str]) -> Ended {
    place.glasshouse(&[&arguments[..2], &["--data-dir", "data"], &arguments[2..]].concat())
}

fn rows(place: &Place, arguments: &[&str]) -> Vec<Value> {
    read(place, &[arguments, &["--format", "json"]].concat()).expect_code(0).json_lines()
}

fn check_all_verbs(place: &Place) {
    let count = |arguments: &[&str]| rows(place, arguments).len();
    let echoed = rows(place, &["logs", "show", "--extension-id", "neighbour", "message=echoed"]);
    let numbers: Vec<_> = echoed.iter().map(|log| log["fields"]["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=5).map(Some).collect::<Vec<_>>(), "the newest last");
    let newest = rows(place, &["logs", "show", "--limit", "2", "--extension-id", "neighbour", "message=echoed"]);
    assert_eq!(newest, echoed[3..]);
    let first = rows(place, &["logs", "search", "message=echoed oldest first limit 1"]);
    assert_eq!(first, echoed[..1]);
    assert_eq!(rows(place, &["logs", "search", "echoed and user=u3"]), echoed[2..3]);
    assert!(rows(place, &["logs", "show", "--level", "info"]).iter().all(|log| log["level"] != "debug"));
    assert_eq!(count(&["logs", "show", "--level", "critical", "--extension-id", "neighbour"]), 0);
    let cursor = echoed[2]["cursor"].as_str().expect("each has a cursor");
    let around = rows(place, &["logs", "around", cursor, "--before", "1", "--after", "1"]);
    assert_eq!(around, echoed[1..4]);
    let counts = rows(place, &["logs", "counts", "message=echoed", "--bucket", "1d"]);
    assert_eq!(counts.iter().filter_map(|row| row["counts"]["info"].as_u64()).sum::<u64>(), 5);
    let patterns = rows(place, &["logs", "patterns", "message=echoed"]);
    assert_eq!((patterns.len(), &patterns[0]["count"], &patterns[0]["pattern"]), (1, &json!(5), &json!("echoed")));

    let errors = rows(place, &["errors", "show", "--extension-id", "panic"]);
    assert_eq!((errors.len(), &errors[0]["kind"], &errors[0]["blame"]), (1, &json!("panic"), &json!("guest")));
    let stack = errors[0]["stack"].as_array().expect("a stack");
    assert!(
        stack.iter().any(|frame| frame["function"].as_str().is_some_and(|name| name.contains("boil"))),
        "{stack:?}"
    );
    let shown = read(place, &["errors", "show", "kind=panic"]).expect_code(0).stdout;
    assert!(
        shown.contains("the kettle boiled dry: noon") && shown.contains("    at ") && shown.contains("boil"),
        "{shown}"
    );
    assert_eq!(count(&["metrics", "show", "--hours", "1", "name=echoes"]), 5);
    let alerts = rows(place, &["alerts", "show", "--severity", "low"]);
    assert_eq!(
        (alerts.len(), &alerts[0]["title"], &alerts[0]["correlation_id"]),
        (1, &json!("an alert"), &json!("c-1"))
    );
    assert_eq!(count(&["alerts", "show", "--severity", "medium"]), 0);
    let spans = rows(place, &["traces", "show", "--extension-id", "panic"]);
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap_or_default()).collect();
    assert!(names.contains(&"kitchen") && names.contains(&"kettle"), "{names:?}");
    let failed = rows(place, &["invocations", "show", "outcome!=ok"]);
    assert_eq!(
        (failed.len(), &failed[0]["extension"], &failed[0]["name"]),
        (1, &json!("panic"), &json!("handle:panic"))
    );
    for signal in SIGNALS {
        let table = read(place, &[signal, "show"]).expect_code(0).stdout;
        assert!(["neighbour", "context", "panic"].iter().any(|id| table.contains(id)), "{signal}: {table}");
    }
}

#[test]
fn each_verb_shows_what_a_running_a_stopped_and_a_killed_host_recorded() {
    let place = Place::with_plugins(&["neighbour", "context", "panic"]);
    let mut host = busy(&place);
    check_all_verbs(&place);
    host.kill();
    check_all_verbs(&place);
    // A later host goes on where that one was killed, and ends in order.
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    check_all_verbs(&place);
    assert_eq!(rows(&place, &["logs", "search", "goodbye"]).len(), 1);
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_place_and_a_proposal() {
    let place = Place::with_plugins(&["neighbour"]);
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    let refused = |arguments: &[&str], code: i32, says: &[&str]| {
        let ended = place.glasshouse(arguments).expect_code(code);
        assert!(
            ended.stdout.is_empty() && says.iter().all(|says| ended.stderr.contains(says)),
            "{arguments:?}: {ended:?}"
        );
    };
    let show = ["logs", "show", "--data-dir", "data"];
    refused(&[&show[..], &["messge=x"]].concat(), 2, &["column 1", "did you mean \"message\"?"]);
    refused(&[&show[..], &["level>=info", "and", "(message=x"]].concat(), 2, &["column"]);
    refused(&[&show[..], &["--level", "loud"]].concat(), 2, &["loud"]);
    refused(&[&show[..], &["--extension-id", "stranger"]].concat(), 2, &["\"stranger\"", "there are host, neighbour"]);
    refused(&["alerts", "show", "--data-dir", "data", "--severity", "dire"], 2, &["dire"]);
    refused(&["logs", "follow", "--data-dir", "data", "--after", "yesterday"], 2, &["no cursor"]);
    refused(&["logs", "around", "--data-dir", "data", "00000001.999.logs.neighbour"], 3, &["not there any more"]);
    refused(&["logs", "show"], 2, &["--data-dir", "host.data_dir"]);
    refused(&["logs", "show", "--data-dir", "nowhere"], 3, &["nowhere"]);
    refused(&["logs", "show", "--data-dir", "plugins"], 3, &["no data directory"]);
    place.write("glasshouse.toml", "[host]\ndata_dir = \"data\"\n");
    let shown = place.glasshouse(&["logs", "show", "--config", "glasshouse.toml"]).expect_code(0);
    assert!(shown.stdout.contains("goodbye"), "{shown:?}");
    let nothing = place.glasshouse(&[&show[..], &["nothing-like-it"]].concat()).expect_code(0);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("nothing is stored that fits"), "{nothing:?}");
}

#[test]
fn whatever_a_guest_calls_things_no_verb_moves_the_cursor_or_turns_the_text() {
    let place = Place::with_plugins(&["painter"]);
    let feed = ["paint", "fall"].map(|event| json!({"extension": "painter", "event": event}).to_string() + "\n");
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--exit-when-done"];
    let trace = ["--set", "defaults.debugging.tracing_enabled=true"];
    let ended = place.glasshouse_with_input(&[&run[..], &trace[..]].concat(), &feed.concat());
    let tame = |what: &str, text: &str| {
        let wild = |one: char| (one.is_control() && one != '\n') || ('\u{202a}'..='\u{202e}').contains(&one);
        assert!(!text.chars().any(wild), "{what}: {text:?}");
    };
    tame("run", &ended.stderr);
    for signal in SIGNALS {
        let shown = read(&place, &[signal, "show"]).expect_code(0);
        assert!(signal == "invocations" || shown.stdout.contains("paint"), "{signal}: {shown:?}");
        tame(signal, &shown.stdout);
        tame(signal, &shown.stderr);
    }
    for verb in ["counts", "patterns"] {
        tame(verb, &read(&place, &["logs", verb]).expect_code(0).stdout);
    }
}
