//! One request across extensions: `trace`, `traces` and `activity`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::Place;
use crate::jaeger::check;

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
    assert!(place_of("Most of the time went to ") == lines.len() - 1, "{shown}");
    assert!(place_of("panic handle:panic trap") < place_of("the kettle boiled dry: noon"), "{shown}");
    let nothing = place.glasshouse(&["trace", "order-9", "--data-dir", "data"]).expect_code(0);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("`glasshouse traces list` shows"), "{nothing:?}");
    let refused = place.glasshouse(&["trace", "two words", "--data-dir", "data"]).expect_code(2);
    assert!(refused.stderr.contains("visible ASCII"), "{refused:?}");
}

#[test]
fn what_was_measured_for_a_request_stands_by_series_in_the_step_in_which_it_was() {
    let place = Place::with_plugins(&["access-log"]);
    let line = |status, bytes, micros| {
        format!(r#"1.2.3.4 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" {status} {bytes} "-" "curl" {micros}"#)
    };
    let lines = [line(200, 100, 250_000), line(200, 10, 750_000), line(404, 5, 500_000)];
    let payload = json!({"lines": lines});
    let event = json!({"extension": "access-log", "event": "ingest", "payload": payload, "correlation_id": "lines-1"});
    place.write("feed.jsonl", &event.to_string());
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done"];
    place.glasshouse(&[&run[..], &["--set", "defaults.debugging.tracing_enabled=true"]].concat()).expect_code(0);

    let traces = json_of(&place, &["trace", "lines-1"]);
    let steps = traces[0]["steps"].as_array().expect("steps");
    let span = steps.iter().find(|step| step["span"]["name"] == "ingest").expect("the span is stored");
    let of = |step: &Value, name: &str| -> Vec<f64> {
        let notes = step["notes"].as_array().expect("notes").iter().map(|note| &note["metric"]);
        notes.filter(|sample| sample["name"] == name).filter_map(|sample| sample["value"].as_f64()).collect()
    };
    assert_eq!(of(span, "http.request.duration"), [0.25, 0.75, 0.5]);
    assert_eq!(of(&steps[0], "http.request.duration"), [0.0; 0], "they are the span's");

    let shown = place.glasshouse(&["trace", "lines-1", "--data-dir", "data"]).expect_code(0).stdout;
    for expected in [
        "counter http.response.bytes +115 B",
        "histogram http.request.duration 250 ms to 750 ms in 3 samples",
        "counter http.requests +2 status=2xx",
        "counter http.requests +1 status=4xx",
    ] {
        let lines: Vec<_> = shown.lines().filter(|line| line.trim_end().ends_with(expected)).collect();
        assert_eq!(lines.len(), 1, "{expected}: {shown}");
    }
}

#[test]
fn what_a_span_is_linked_to_is_told_wherever_the_span_is() {
    let place = Place::with_plugins(&["context"]);
    let other = "0af7651916cd43dd8448eb211c80319c";
    let payload = [format!("00-{other}-{PARENT}-01"), "nonsense".to_owned(), format!("00-{TRACE}-{PARENT}-00")];
    let line = json!({"extension": "context", "event": "linked", "payload": payload, "correlation_id": "c-1"});
    place.write("feed.jsonl", &line.to_string());
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done"];
    place.glasshouse(&[&run[..], &["--set", "defaults.debugging.tracing_enabled=true"]].concat()).expect_code(0);

    let spans = json_of(&place, &["traces", "show", "name in (before, batch)"]);
    let [before, batch] = &spans[..] else { panic!("two spans: {spans:?}") };
    let fields = json!({"reason": "batched together"});
    let to = |trace: &str| json!({"trace_id": trace, "span_id": PARENT, "tracestate": "rojo=1", "fields": fields});
    let own = json!({
        "trace_id": before["trace_id"], "span_id": before["span_id"], "tracestate": "ot=th:0", "fields": {},
    });
    assert_eq!(batch["links"], json!([to(other), to(TRACE), own]));
    assert_eq!((before.get("links"), &batch["cut"]), (None, &json!(false)));

    let shown = place.on_data(&["trace", "c-1"]).expect_code(0).stdout;
    let line_of = |text: &str| shown.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{shown}"));
    let link = line_of(&format!("link to trace {TRACE} span {PARENT}"));
    assert!(link.ends_with("reason=\"batched together\""), "{shown}");
    let (trace, id) = (&before["trace_id"], &before["span_id"]);
    let [trace, id] = [trace, id].map(|id| id.as_str().expect("an id"));
    let named = line_of(&format!("link to trace {trace} span {id}"));
    assert!(named.ends_with(", context before"), "one of the same trace is named: {shown}");
    let listed = place.on_data(&["traces", "show", "name=batch"]).expect_code(0).stdout;
    assert!(listed.contains(&format!("\n    link to trace {other} span {PARENT}")), "{listed}");

    // Whoever looks for a trace finds what is linked to it.
    let found = |query: String| json_of(&place, &["traces", "show", &query]).len();
    assert_eq!([found(format!("link={TRACE}")), found(format!("link={PARENT}"))], [1, 0]);

    let exported = |format: &str| place.on_data(&["export", "traces", "--format", format]).expect_code(0).stdout;
    let otlp: Value = serde_json::from_str(&exported("otlp-json")).expect("JSON");
    check(&otlp, "v3.traces-data");
    let scopes = otlp["resourceSpans"][0]["scopeSpans"].as_array().expect("scopes");
    let spans = scopes.iter().flat_map(|scope| scope["spans"].as_array().expect("spans"));
    let links: Vec<_> = spans.filter(|span| span["name"] == "batch").map(|span| span["links"].clone()).collect();
    let attributes = json!([{"key": "reason", "value": {"stringValue": "batched together"}}]);
    let to =
        |trace: &str| json!({"traceId": trace, "spanId": PARENT, "traceState": "rojo=1", "attributes": attributes});
    let own = json!({"traceId": trace, "spanId": id, "traceState": "ot=th:0"});
    assert_eq!(links, [json!([to(other), to(TRACE), own])]);

    let jaeger: Value = serde_json::from_str(&exported("jaeger")).expect("JSON");
    check(&jaeger, "traces");
    let traces = jaeger["data"].as_array().expect("traces");
    let mut spans = traces.iter().flat_map(|trace| trace["spans"].as_array().expect("spans"));
    let batch = spans.find(|span| span["operationName"] == "batch").expect("it is there");
    let references = batch["references"].as_array().expect("references");
    let told: Vec<_> = references.iter().map(|one| (&one["refType"], &one["traceID"])).collect();
    let (child, follows) = (json!("CHILD_OF"), json!("FOLLOWS_FROM"));
    let (own, others) = (json!(trace), [json!(other), json!(TRACE)]);
    assert_eq!(told, [(&child, &own), (&follows, &others[0]), (&follows, &others[1]), (&follows, &own)]);

    let csv = exported("csv");
    assert!(csv.contains(&format!("\"\"links\"\":[{{\"\"fields\"\":{{\"\"reason\"\":\"\"batched together\"\"}},\"\"span_id\"\":\"\"{PARENT}\"\"")), "{csv}");
    let lines = place.on_data(&["export", "traces", "--format", "jsonl"]).expect_code(0).json_lines();
    assert_eq!(lines.iter().filter(|line| line.get("links").is_some()).count(), 1);
}

#[test]
fn a_trace_that_an_extension_begins_is_one_of_its_own_and_either_end_leads_to_the_other() {
    let place = Place::with_plugins(&["neighbour"]);
    place.extension("context", "context", "[permissions]\ncall = [\"*\"]\n");
    place.write("glasshouse.toml", "[extensions.context.permissions]\ncall = [\"*\"]\n");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let line = json!({"extension": "context", "event": "round", "payload": "neighbour", "traceparent": traceparent});
    place.write("feed.jsonl", &line.to_string());
    let run = ["run", "plugins", "--config", "glasshouse.toml", "--data-dir", "data", "--feed", "feed.jsonl"];
    let traced = ["--exit-when-done", "--set", "defaults.debugging.tracing_enabled=true"];
    place.glasshouse(&[&run[..], &traced].concat()).expect_code(0);

    // The call's id is the correlation id of both.
    let found = json_of(&place, &["trace", TRACE]);
    let [call, own] = &found[..] else { panic!("two traces: {found:?}") };
    let steps = |trace: &Value| {
        let steps = trace["steps"].as_array().expect("steps").clone();
        steps.into_iter().map(|step| {
            let work = if step["call"].is_object() { &step["call"] } else { &step["span"] };
            (format!("{} {}", step["extension"], work["name"]).replace('"', ""), step["parent"].as_u64())
        })
    };
    let of_call: Vec<_> = steps(call).collect();
    assert_eq!(of_call, [("context handle:round".to_owned(), None), ("context outer".to_owned(), Some(0))]);
    let of_own: Vec<_> = steps(own).collect();
    let expected = [("round", None), ("inner", Some(0)), ("handle:echo", Some(0)), ("wasi:io/poll", Some(0))];
    for (step, (name, parent)) in of_own.iter().zip(expected) {
        assert!(step.0.ends_with(&format!(" {name}")) && step.1 == parent, "{of_own:?}");
    }
    assert_eq!(of_own.len(), expected.len());
    assert_eq!([&call["partial"], &own["partial"], &own["sampled"]], [&json!(false), &json!(false), &json!(true)]);
    assert_eq!(
        (&call["trace_id"], &own["steps"][2]["call"]["cause"]),
        (&json!(TRACE), &call["steps"][0]["call"]["span_id"])
    );
    let root = &own["steps"][0]["span"];
    let outer = &call["steps"][1]["span"];
    assert_eq!(root["links"], json!([{"trace_id": TRACE, "span_id": outer["span_id"], "fields": {}}]));
    assert_eq!((&root["fields"]["called"], &root["correlation_id"]), (&json!(true), &json!(TRACE)));
    let notes = |step: &Value| {
        let notes = step["notes"].as_array().expect("notes").iter();
        notes.map(|note| note["log"]["message"].as_str().expect("a log").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(notes(&call["steps"][1]), ["before", "after"]);
    assert_eq!(
        (notes(&own["steps"][0]), notes(&own["steps"][1])),
        (vec!["within".to_owned()], vec!["inside".to_owned()])
    );

    // By its own id it is found alone, and leads back.
    let id = own["trace_id"].as_str().expect("an id");
    assert_eq!(json_of(&place, &["trace", id]), std::slice::from_ref(own));
    let shown = place.on_data(&["trace", id]).expect_code(0).stdout;
    let outer = outer["span_id"].as_str().expect("an id");
    assert!(shown.contains(&format!("link to trace {TRACE} span {outer}\n")), "{shown}");
    assert_eq!(json_of(&place, &["traces", "show", &format!("link={TRACE}")]).len(), 1);

    let listed = json_of(&place, &["traces", "list"]);
    let began: BTreeSet<_> =
        listed.iter().map(|one| (one["trace_id"].clone().to_string(), one["name"].to_string())).collect();
    assert!(
        began.contains(&(format!("\"{id}\""), "\"round\"".to_owned())) && began.len() == listed.len(),
        "{listed:?}"
    );

    let exported = place.on_data(&["export", "traces", "--format", "otlp-json"]).expect_code(0).json_lines();
    for message in &exported {
        check(message, "v3.traces-data");
    }
}

#[test]
fn a_failure_two_extensions_further_on_is_one_trace_and_one_group_of_each_and_either_leads_to_the_other() {
    let place = Place::with_plugins(&[]);
    for (example, manifest) in [
        ("markdown", include_str!("../../example-extensions/markdown/extension.toml")),
        ("relay", include_str!("../../example-extensions/relay/extension.toml")),
    ] {
        place.write(&format!("plugins/{example}/extension.toml"), manifest);
        place.link(example, &format!("plugins/{example}/{example}.wasm"));
    }
    let budget = "[extensions.markdown.budget]\nfuel_per_call = 5_000_000\n";
    place.write("glasshouse.toml", &format!("[extensions.relay.permissions]\ncall = [\"markdown\"]\n{budget}"));
    // The page is far more than its renderer may work on; the two have nothing in common but the bug.
    let traces = [TRACE, "0af7651916cd43dd8448eb211c80319c"];
    let feed = [("*a* ", "order-1"), ("# b\n\n", "order-2")].iter().zip(traces).map(|((text, order), trace)| {
        let page = json!({"markdown": text.repeat(50_000)});
        let parent = format!("00-{trace}-{PARENT}-01");
        json!({"extension": "relay", "event": "page", "payload": page, "correlation_id": order, "traceparent": parent})
    });
    place.write("feed.jsonl", &feed.map(|line| line.to_string()).collect::<Vec<_>>().join("\n"));
    let run = ["run", "plugins", "--config", "glasshouse.toml", "--data-dir", "data", "--feed", "feed.jsonl"];
    let traced = ["--exit-when-done", "--set", "defaults.debugging.tracing_enabled=true"];
    place.glasshouse(&[&run[..], &traced].concat()).expect_code(0);

    // From the request to its errors: one trace by either id, and what each extension says of it is in one group of its own.
    let mut by_extension = Vec::new();
    for (order, trace) in ["order-1", "order-2"].into_iter().zip(traces) {
        let found = json_of(&place, &["trace", order]);
        assert_eq!(found, json_of(&place, &["trace", trace]), "by either id");
        let [found] = &found[..] else { panic!("one trace: {found:?}") };
        let steps = found["steps"].as_array().expect("steps");
        let calls = steps.iter().filter(|step| step["call"].is_object());
        let calls: Vec<_> =
            calls.map(|step| (&step["extension"], &step["call"]["name"], &step["call"]["outcome"])).collect();
        let [(relay, page, relayed), (markdown, render, rendered)] = calls[..] else { panic!("two calls: {calls:?}") };
        assert_eq!((relay, page, relayed), (&json!("relay"), &json!("handle:page"), &json!("error")));
        assert_eq!((markdown, render, rendered), (&json!("markdown"), &json!("handle:render"), &json!("breach")));
        let notes = steps.iter().flat_map(|step| step["notes"].as_array().into_iter().flatten());
        let errors = notes.filter(|note| note["error"].is_object()).map(|note| {
            let group = note["error"]["group"].as_str().expect("a group");
            (note["extension"].as_str().expect("an id").to_owned(), group.to_owned())
        });
        let errors: BTreeMap<_, _> = errors.collect();
        assert_eq!(errors.keys().collect::<Vec<_>>(), ["markdown", "relay"], "{found}");
        let shown = place.glasshouse(&["trace", order, "--data-dir", "data"]).expect_code(0).stdout;
        assert!(errors.values().all(|group| shown.contains(&format!("group {group}"))), "{shown}");
        by_extension.push(errors);
    }
    assert_eq!(by_extension[0], by_extension[1], "the same bug");

    // And back: there are no other groups, each of both requests, and each of its errors leads to the whole request.
    let groups = json_of(&place, &["errors", "groups"]);
    assert_eq!(groups.len(), 2, "{groups:?}");
    for group in &groups {
        let extension = group["extension"].as_str().expect("an id");
        assert_eq!((group["group"].as_str(), &group["count"]), (Some(&*by_extension[0][extension]), &json!(2)));
        let explained = json_of(&place, &["errors", "explain", &by_extension[0][extension]]);
        let samples = explained[0]["context"]["samples"].as_array().expect("samples");
        let led_to = samples.iter().map(|sample| sample["error"]["trace_id"].as_str().expect("an id"));
        assert_eq!(led_to.collect::<BTreeSet<_>>(), traces.into(), "{explained:?}");
        let shown = place.glasshouse(&["errors", "explain", &by_extension[0][extension], "--data-dir", "data"]);
        assert!(["order-1", "order-2"].iter().all(|order| shown.stdout.contains(order)), "{shown:?}");
    }
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
    let all = json_of(&place, &["traces", "slowest"]);
    let totals: Vec<_> = all.iter().map(|one| one["total_ns"].as_u64().expect("a number")).collect();
    assert!(totals.len() > 2 && totals.is_sorted_by(|one, next| one >= next), "what took the longest first: {all:?}");
    assert_eq!(json_of(&place, &["traces", "slowest", "--limit", "1"]), all[..1]);
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

/// What `traces slowest` tells of one name, as stored, counted, estimated, and failed.
fn counted(all: &[Value], name: &str) -> (u64, u64, bool, u64) {
    let found = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {all:?}"));
    let number = |key: &str| found[key].as_u64().expect("a number");
    (number("stored"), number("count"), found["is_estimate"] == true, number("failed"))
}

#[test]
fn figures_are_true_though_one_trace_in_eight_is_kept() {
    const CALLS: u64 = 3000;
    // Each trace is kept with one chance in eight and then counts eight: five standard deviations of their sum.
    let error = 5.0 * (CALLS as f64 * 7.0).sqrt();
    let check_estimate = |what: &str, found: u64| {
        assert!((found as f64 - CALLS as f64).abs() < error, "{what}: {found} of {CALLS}, good to {error:.0}");
    };
    // Of traces that are left out, no span that ended well is stored, or all are, since each call counts as slow.
    for (slow_call, all_are_stored) in [("1d", false), ("0s", true)] {
        let place = Place::with_plugins(&["telemetry-flood"]);
        let line = json!({"extension": "telemetry-flood", "event": "work"}).to_string();
        place.write("feed.jsonl", &vec![line; CALLS as usize].join("\n"));
        let slow_call = format!("slow_call={slow_call}");
        // Nothing is shed, however slow this build is.
        let sets = ["tracing_enabled=true", "sampling_rate=0.125", "profiling_overhead_limit=100", &slow_call];
        let sets = sets.map(|set| format!("--set=defaults.debugging.{set}"));
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        let run = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done"];
        place.glasshouse(&[&run[..], &sets].concat()).expect_code(0);

        let all = json_of(&place, &["traces", "slowest"]);
        assert_eq!(counted(&all, "handle:work"), (CALLS, CALLS, false, 0), "calls are always stored");
        assert_eq!(counted(&all, "failed"), (CALLS, CALLS, false, CALLS), "and so are spans that failed");
        let (stored, count, is_estimate, failed) = counted(&all, "done");
        assert_eq!((is_estimate, failed), (true, 0));
        check_estimate("spans", count);
        if all_are_stored {
            assert_eq!(stored, CALLS);
        } else {
            check_estimate("eight for each that is stored", 8 * stored);
        }
        let table = place.glasshouse(&["traces", "slowest", "--data-dir", "data"]).expect_code(0);
        assert!(
            table.stdout.contains('~') && table.stderr.contains("estimated from the traces that are kept"),
            "{table:?}"
        );

        let spans = json_of(&place, &["traces", "show", "name=done", "--limit", "100000"]);
        let kept: Vec<_> = spans.iter().filter(|span| span["adjusted_count"] == 8.0).collect();
        assert_eq!(kept.len() as u64 * 8, count);
        assert!(kept.iter().all(|span| span["tracestate"] == "ot=th:e" && span.get("sampled").is_none()));
        let left_out: Vec<_> = spans.iter().filter(|span| span["adjusted_count"] == 0.0).collect();
        assert!(left_out.len() + kept.len() == spans.len() && left_out.iter().all(|span| span["sampled"] == false));
        let shown = |span: &Value| {
            let id = span["trace_id"].as_str().expect("an id");
            place.glasshouse(&["trace", id, "--data-dir", "data"]).expect_code(0).stdout
        };
        assert!(shown(kept[0]).contains(", kept as one of 8"), "{}", shown(kept[0]));
        if let Some(span) = left_out.first() {
            assert!(shown(span).contains(", left out by sampling"), "{}", shown(span));
        }
    }
}

#[test]
fn what_is_passed_along_with_a_request_reaches_the_guest_and_no_file() {
    let place = Place::with_plugins(&["context"]);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let line = |headers: Value| {
        let mut line = json!({"extension": "context", "event": "headers"});
        let (Value::Object(line), Value::Object(headers)) = (&mut line, headers) else { panic!("objects") };
        line.extend(headers);
        json!(line).to_string()
    };
    let feed = [
        line(json!({"traceparent": traceparent, "tracestate": "rojo=brought-along", "baggage": "tier=brought-along"})),
        line(json!({"traceparent": traceparent, "tracestate": "brought-along", "baggage": "brought-along"})),
    ];
    place.write("feed.jsonl", &feed.join("\n"));
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done", "--format", "json"];
    let answers = place.glasshouse(&[&run[..], &["--set", "defaults.debugging.tracing_enabled=true"]].concat());
    let answers = answers.expect_code(0).stdout;
    assert!(answers.contains("rojo=brought-along") && answers.contains("tier=brought-along"), "{answers}");
    let traces = json_of(&place, &["trace", TRACE]);
    assert_eq!(traces[0]["sampled"], true);
    let mut folders = vec![place.path("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).expect("it is read");
                assert!(!bytes.windows(13).any(|window| window == b"brought-along"), "{}", entry.path().display());
            }
        }
    }
    let told = json_of(&place, &["logs", "show", "level>=warning"]);
    assert!(told.iter().any(|log| log["message"].as_str().is_some_and(|text| text.contains("left out of account"))));
}

#[test]
fn a_call_by_hand_continues_a_trace_with_all_that_comes_along() {
    let place = Place::with_plugins(&["context"]);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let call = ["call", "plugins/context.wasm", "--event", "headers"];
    let headers = ["--traceparent", &traceparent, "--tracestate", "rojo=1,ot=th:0", "--baggage", "tier=gold%21"];
    let reply = place.glasshouse(&[&call[..], &headers].concat()).expect_code(0).stdout;
    let told: [String; 4] = serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{reply}: {error}"));
    assert!(told[0].starts_with(&traceparent[..36]) && told[0].ends_with("-01"), "{told:?}");
    assert_eq!(told[1..], ["ot=th:0,rojo=1", "tier=gold%21", "gold!"]);
    let alone = place.glasshouse(&[&call[..], &headers[2..4]].concat()).expect_code(2);
    assert!(alone.stderr.contains("--traceparent"), "{alone:?}");
    // What is no such header is told, and costs no call.
    let wrong = place.glasshouse(&[&call[..], &["--baggage", "a b"]].concat()).expect_code(0);
    assert!(wrong.stderr.contains("the baggage that came with a call is left out of account"), "{wrong:?}");
}
