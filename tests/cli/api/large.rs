//! Records of the largest size, more of them than one answer holds: what is asked for comes in several, over an address as from the data directory.

use serde_json::{Value, json};

use super::command::over;
use super::served::Served;
use crate::harness::Place;

const TRACE: &str = "0bf92f3577b34da6a3ce929d0e0e4736";
/// Logs of 32 KiB: more than 32 MiB of them, which no answer holds.
const LOGS: usize = 1100;
/// As many as fill an answer, and have room in it where they are one request.
const LOGS_OF_A_TRACE: usize = 200;
/// How many of them each call makes.
const OF_A_CALL: usize = 10;
/// Bytes of an answer, far above what a page may have and far below what these records take.
const ANSWER_BYTES: usize = 8 << 20;

/// A host with an extension that has logged so much, for requests of its own or for this one.
fn served(place: &Place, logs: usize, trace: Option<&str>) -> Served {
    let settings = ["--set", "defaults.retention.logs_bytes=256MiB", "--set", "defaults.budget.deadline=10m"];
    let mut served = Served::start_with(place, &settings);
    let mut call = json!({"extension": "long-log", "event": "largest", "payload": OF_A_CALL});
    if let Some(trace) = trace {
        call["traceparent"] = json!(format!("00-{trace}-00f067aa0ba902b7-01"));
    }
    served.call_often(&call, logs / OF_A_CALL);
    served
}

/// All records of a signal, page by page.
fn walked(served: &Served, query: &str, cursor: &str, way: &str) -> Vec<Value> {
    let (mut all, mut at) = (Vec::new(), String::new());
    loop {
        let answer = served.get(&format!("dashboard/long-log/logs?limit=1000&query={query}{at}")).expect(200);
        assert!(answer.body.len() < ANSWER_BYTES, "{}", answer.body.len());
        let page = answer.json();
        all.extend(page["records"].as_array().expect("records").iter().map(|record| record["sequence"].clone()));
        if page["more"] != true {
            return all;
        }
        at = format!("&{way}={}", page[cursor].as_str().expect("a cursor"));
    }
}

#[test]
fn however_large_records_are_each_verb_gets_all_of_them_over_an_address() {
    let place = Place::with_plugins(&["long-log"]).lenient();
    let served = served(&place, LOGS, None);
    let newest = walked(&served, "has%20field.field0", "older", "before");
    let mut oldest = walked(&served, "has%20field.field0%20oldest%20first", "newer", "after");
    assert_eq!(oldest.len(), LOGS);
    oldest.reverse();
    assert_eq!(newest, oldest, "each once, whatever the order");

    for verb in [
        &["logs", "show", "--limit", "1000", "--extension-id", "long-log", "--format", "json", "has field.field0"][..],
        &["logs", "counts", "--bucket", "1h", "--extension-id", "long-log", "--format", "json"],
        &["logs", "patterns", "--extension-id", "long-log"],
        &["traces", "list", "--limit", "4", "--extension-id", "long-log", "name=\"handle:largest\""],
    ] {
        let (of_folder, of_host) = (place.on_data(verb).expect_code(0), over(&place, &served, verb));
        assert_eq!((of_host.code, &of_host.stderr), (Some(0), &of_folder.stderr), "{verb:?}");
        assert!(of_host.stdout == of_folder.stdout && !of_host.stdout.is_empty(), "{verb:?}");
    }
}

#[test]
fn requests_that_have_no_room_in_an_answer_are_named_and_asked_for_one_by_one() {
    let place = Place::with_plugins(&["long-log"]).lenient();
    let mut served = served(&place, LOGS_OF_A_TRACE, Some(TRACE));
    let other = TRACE.replace('b', "c");
    let call = json!({
        "extension": "long-log", "event": "largest", "payload": 1, "correlation_id": "order-1",
        "traceparent": format!("00-{other}-00f067aa0ba902b7-01"),
    });
    served.call_often(&call, 1);
    served.call_often(
        &json!({
            "extension": "long-log", "event": "largest", "payload": 1, "correlation_id": "order-1",
            "traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01"),
        }),
        1,
    );
    let path = "traces/long-log?query=name=%22handle:largest%22";
    let told = served.get(path).expect(200).json();
    assert_eq!(told["traces"].as_array().map(Vec::len), Some(1), "the latest fills the answer: {}", told["left"]);
    assert_eq!(told["left"], json!([other]));
    let list = served.get(&path.replace('?', "/list?")).expect(200).json();
    let ids: Vec<_> = list["traces"].as_array().expect("traces").iter().map(|one| one["trace_id"].clone()).collect();
    assert!(ids.len() == 2 && ids.contains(&json!(TRACE)) && ids.contains(&json!(other)), "{list}");
    let whole = served.get(&format!("trace/{TRACE}")).expect(200).json();
    let noted: usize = whole["traces"][0]["steps"].as_array().expect("steps").iter().map(notes).sum();
    assert_eq!((noted, &whole["traces"][0]["partial"]), (LOGS_OF_A_TRACE + 1, &json!(false)), "all of it is told");
    let verb = ["trace", "order-1", "--format", "json"];
    let (of_folder, of_host) = (place.on_data(&verb).expect_code(0), over(&place, &served, &verb).expect_code(0));
    assert_eq!((of_host.stdout.lines().count(), of_host.stdout == of_folder.stdout), (2, true));
}

/// How many logs of the largest a step has.
fn notes(step: &Value) -> usize {
    let notes = step["notes"].as_array().expect("notes");
    notes.iter().filter(|note| !note["log"]["fields"]["field0"].is_null()).count()
}
