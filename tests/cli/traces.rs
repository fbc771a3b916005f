//! One request across extensions: `trace`, `traces` and `activity`.

use serde_json::{Value, json};

use crate::harness::Place;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A data directory in which a caller has called a neighbour, which has logged and failed, for a request from outside.
fn served() -> Place {
    let place = Place::with_plugins(&["neighbour", "panic"]);
    place.extension("caller", "caller", "[permissions]\ncall = [\"*\"]\n");
    place.write("glasshouse.toml", "[extensions.caller.permissions]\ncall = [\"*\"]\n");
    let call = |extension: &str, event: &str, payload: &str, context: Value| {
        let mut line = json!({
            "extension": "caller", "event": "call",
            "payload": {"extension": extension, "event": event, "payload": payload},
        });
        let (Value::Object(line), Value::Object(context)) = (&mut line, context) else { panic!("objects") };
        line.extend(context);
        json!(line).to_string()
    };
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let feed = [
        call("neighbour", "echo", "7", json!({"correlation_id": "order-7", "user": "ada", "traceparent": traceparent})),
        call("panic", "panic", "\"noon\"", json!({"correlation_id": "order-8", "user": "bob", "tenant": "engines"})),
    ];
    place.write("feed.jsonl", &feed.join("\n"));
    let run = ["run", "plugins", "--config", "glasshouse.toml", "--data-dir", "data", "--feed", "feed.jsonl"];
    let traced = ["--exit-when-done", "--set", "defaults.debugging.tracing_enabled=true"];
    place.glasshouse(&[&run[..], &traced].concat()).expect_code(0);
    place
}

fn json_of(place: &Place, arguments: &[&str]) -> Vec<Value> {
    place.glasshouse(&[arguments, &["--data-dir", "data", "--format", "json"]].concat()).expect_code(0).json_lines()
}

#[test]
fn a_request_is_found_from_any_of_its_ends_and_told_from_cause_to_effect() {
    let place = served();
    let by_correlation = json_of(&place, &["trace", "order-7"]);
    assert_eq!(by_correlation, json_of(&place, &["trace", TRACE]), "by either id");
    let [trace] = &by_correlation[..] else { panic!("one trace: {by_correlation:?}") };
    let steps = trace["steps"].as_array().expect("steps");
    let told: Vec<_> = steps.iter().map(|step| (&step["extension"], &step["parent"], &step["call"]["name"])).collect();
    let (caller, neighbour) = (json!("caller"), json!("neighbour"));
    let (outer, inner) = (json!("handle:call"), json!("handle:echo"));
    assert_eq!(told, [(&caller, &Value::Null, &outer), (&neighbour, &json!(0), &inner)]);
    assert_eq!(steps[0]["call"]["parent"], PARENT, "where the request came from");
    assert_eq!(steps[1]["call"]["cause"], steps[0]["call"]["span_id"]);
    assert_eq!(steps[1]["notes"][0]["log"]["message"], "echoed");
    assert_eq!(trace["partial"], false);
    let number = |step: &Value, key: &str| step[key].as_u64().expect("a number");
    let critical: u64 = steps.iter().map(|step| number(step, "critical_ns")).sum();
    assert_eq!(critical, number(&steps[0], "elapsed_ns"), "the critical path is what the request took");
    let fuel: u64 = steps.iter().map(|step| number(&step["call"], "fuel")).sum();
    assert_eq!(number(trace, "fuel"), fuel);

    let shown = place.glasshouse(&["trace", "order-8", "--data-dir", "data"]).expect_code(0).stdout;
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].contains("2 calls") && lines[0].contains("in 2 extensions"), "{shown}");
    assert!(lines[0].ends_with(", user bob, tenant engines"), "{shown}");
    let place_of = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{shown}"));
    assert!(place_of("caller handle:call") < place_of("panic handle:panic"), "{shown}");
    assert!(place_of("panic handle:panic trap") < place_of("the kettle boiled dry: noon"), "{shown}");
    let nothing = place.glasshouse(&["trace", "order-9", "--data-dir", "data"]).expect_code(0);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("`glasshouse traces list` shows"), "{nothing:?}");
    let refused = place.glasshouse(&["trace", "two words", "--data-dir", "data"]).expect_code(2);
    assert!(refused.stderr.contains("visible ASCII"), "{refused:?}");
}

#[test]
fn traces_are_listed_and_what_took_the_longest_is_named() {
    let place = served();
    let all = json_of(&place, &["traces", "list"]);
    assert!(all.len() > 2, "starts and rounds of the extensions are traces, too: {all:?}");
    let failed = json_of(&place, &["traces", "list", "outcome=trap"]);
    let [failed] = &failed[..] else { panic!("one trace: {failed:?}") };
    assert_eq!((&failed["extension"], &failed["calls"], &failed["failed"]), (&json!("caller"), &json!(2), &json!(1)));
    let slowest = json_of(&place, &["traces", "slowest", "name=handle:echo"]);
    assert_eq!((slowest.len(), &slowest[0]["extension"], &slowest[0]["count"]), (1, &json!("neighbour"), &json!(1)));
    let table = place.glasshouse(&["traces", "slowest", "--data-dir", "data", "--limit", "1"]).expect_code(0).stdout;
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[test]
fn all_that_one_user_or_tenant_did_is_told_in_its_order() {
    let place = served();
    let ada = json_of(&place, &["activity", "--user", "ada"]);
    assert!(ada.iter().all(|one| one["user"] == "ada" && one["correlation_id"] == "order-7"), "{ada:?}");
    let times: Vec<_> = ada.iter().map(|one| one["time"].as_str().expect("a time")).collect();
    assert!(times.is_sorted() && ada.len() >= 4, "two calls and what they logged: {ada:?}");
    let bob = json_of(&place, &["activity", "--tenant", "engines"]);
    assert!(bob.iter().any(|one| one["kind"] == "panic") && bob.iter().all(|one| one["user"] == "bob"), "{bob:?}");
    assert!(json_of(&place, &["activity", "--user", "ada", "--tenant", "engines"]).is_empty());
    let newest = json_of(&place, &["activity", "--user", "ada", "--limit", "1"]);
    assert_eq!(newest[..], ada[ada.len() - 1..]);
    place.glasshouse(&["activity", "--data-dir", "data"]).expect_code(2);
}
