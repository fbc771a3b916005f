//! Jaeger's query API: what its interface and Grafana ask for, and the shape of what they are answered.

use serde_json::{Value, json};

use super::served::{Answer, Served};
use crate::harness::Place;
use crate::jaeger::check;

const TRACE: &str = "0bf92f3577b34da6a3ce929d0e0e4736";

/// A host in which a caller has called a neighbour for requests from outside, and failed once.
fn served(place: &Place) -> Served {
    let settings = ["--config", "glasshouse.toml", "--set", "defaults.debugging.tracing_enabled=true"];
    let mut served = Served::start_with(place, &settings);
    for (extension, event, trace) in [("neighbour", "echo", TRACE), ("neighbour", "nothing", &TRACE.replace('b', "c"))]
    {
        served.call(&json!({
            "extension": "caller", "event": "call", "user": "ada", "traceparent": format!("00-{trace}-00f067aa0ba902b7-01"),
            "payload": {"extension": extension, "event": event, "payload": "7"},
        }));
    }
    served
}

fn place() -> Place {
    let place = Place::with_plugins(&["neighbour"]);
    place.extension("caller", "caller", "[permissions]\ncall = [\"*\"]\n");
    place.write("glasshouse.toml", "[extensions.caller.permissions]\ncall = [\"*\"]\n");
    place
}

fn get(served: &Served, path: &str) -> Answer {
    served.ask(&format!("GET {path}"), Some(&served.token), "", "")
}

fn checked(served: &Served, path: &str, kind: &str) -> Value {
    let answer = get(served, path).expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let value = answer.json();
    check(&value, kind);
    value
}

/// The ids of the traces of an answer.
fn ids(value: &Value) -> Vec<&str> {
    value["data"].as_array().expect("traces").iter().map(|trace| trace["traceID"].as_str().expect("an id")).collect()
}

#[test]
fn jaegers_interface_reads_services_operations_traces_and_who_calls_whom() {
    let place = place();
    let served = served(&place);
    let services = checked(&served, "/api/services", "services");
    assert_eq!((&services["data"], &services["total"]), (&json!(["caller", "neighbour"]), &json!(2)));
    let names = checked(&served, "/api/services/neighbour/operations", "services");
    assert!(names["data"].as_array().is_some_and(|names| names.contains(&json!("handle:echo"))), "{names}");
    let operations = checked(&served, "/api/operations?service=neighbour&spanKind=server", "operations");
    let echo = json!({"name": "handle:echo", "spanKind": "server"});
    assert!(operations["data"].as_array().is_some_and(|all| all.contains(&echo)), "{operations}");
    let clients = checked(&served, "/api/operations?service=neighbour&spanKind=client", "operations");
    assert_eq!(clients["data"], json!([]));
    assert_eq!(checked(&served, "/api/services/nobody/operations", "services")["data"], json!([]));

    let trace = checked(&served, &format!("/api/traces/{TRACE}"), "traces");
    assert_eq!(ids(&trace), [TRACE]);
    let spans = trace["data"][0]["spans"].as_array().expect("spans");
    let named: Vec<_> = spans.iter().map(|span| span["operationName"].as_str().expect("a name")).collect();
    assert!(named.contains(&"handle:call") && named.contains(&"handle:echo"), "{named:?}");
    // Jaeger leaves out the zeros that an id starts with.
    assert_eq!(checked(&served, &format!("/api/traces/{}", &TRACE[1..]), "traces"), trace);

    let end = "9000000000000";
    let links = checked(&served, &format!("/api/dependencies?endTs={end}&lookback=9000000000000"), "dependencies");
    let of = |link: &Value| (link["parent"].clone(), link["child"].clone(), link["callCount"].as_u64());
    let links: Vec<_> = links["data"].as_array().expect("links").iter().map(of).collect();
    assert_eq!(links, [(json!("caller"), json!("neighbour"), Some(2))]);
    let none =
        checked(&served, &format!("/api/dependencies?endTs={end}&lookback=9000000000000&service=x"), "dependencies");
    assert_eq!(none["data"], json!([]));
}

#[test]
fn traces_are_found_by_what_one_of_their_spans_is() {
    let place = place();
    let served = served(&place);
    let found = |query: &str| {
        let value = checked(&served, &format!("/api/traces?{query}"), "traces");
        ids(&value).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let other = TRACE.replace('b', "c");
    assert_eq!(found("service=caller&operation=handle%3Acall"), [other.as_str(), TRACE], "the latest first");
    assert_eq!(found("service=caller&limit=1&lookback=1h"), [other.as_str()]);
    assert_eq!(found("service=neighbour&operation=handle%3Aecho"), [TRACE]);
    assert_eq!(
        found("service=neighbour&operation=handle%3Anothing&tags=%7B%22error%22%3A%22true%22%7D"),
        [other.as_str()]
    );
    assert_eq!(found("service=neighbour&operation=handle%3Aecho&tag=glasshouse.call.outcome:ok"), [TRACE]);
    assert_eq!(found("service=neighbour&tag=service.namespace:glasshouse").len(), 3, "tags of processes, too");
    assert_eq!(found("service=neighbour&tag=user.id:bob"), [""; 0]);
    assert_eq!(found("service=caller&minDuration=1h"), [""; 0]);
    assert_eq!(found("service=caller&operation=handle%3Acall&minDuration=1ns&maxDuration=1h").len(), 2);
    assert_eq!(found("service=caller&start=0&end=1000000"), [""; 0]);
    assert_eq!(found("service=nobody"), [""; 0]);
    assert_eq!(found(&format!("traceID={TRACE}&traceID={other}")), [TRACE, other.as_str()]);
    let missing = checked(&served, &format!("/api/traces?traceID={TRACE}&traceID=77"), "traces");
    let told = json!([{"msg": "trace not found", "traceID": format!("{:032}", 77)}]);
    assert_eq!((ids(&missing), &missing["errors"]), (vec![TRACE], &told));
}

#[test]
fn the_third_generation_answers_in_opentelemetrys_json() {
    let place = place();
    let served = served(&place);
    let services = checked(&served, "/api/v3/services", "v3.services");
    assert_eq!(services["services"], json!(["caller", "neighbour"]));
    let operations = checked(&served, "/api/v3/operations?service=neighbour&span_kind=server", "v3.operations");
    assert!(!operations["operations"].as_array().expect("operations").is_empty());
    let spans = |path: &str| {
        let value = checked(&served, path, "v3.traces");
        let resources = value["result"]["resourceSpans"].as_array().expect("resources").clone();
        let mut spans = Vec::new();
        for resource in resources {
            let service = resource["resource"]["attributes"][0]["value"]["stringValue"].clone();
            for scope in resource["scopeSpans"].as_array().expect("scopes") {
                for span in scope["spans"].as_array().expect("spans") {
                    spans.push((service.clone(), span["traceId"].clone(), span["name"].clone()));
                }
            }
        }
        spans
    };
    let whole = spans(&format!("/api/v3/traces/{TRACE}"));
    assert!(whole.contains(&(json!("caller"), json!(TRACE), json!("handle:call"))), "{whole:?}");
    assert!(whole.contains(&(json!("neighbour"), json!(TRACE), json!("handle:echo"))), "{whole:?}");
    let window = "query.start_time_min=2020-01-01T00:00:00Z&query.start_time_max=2200-01-01T00:00:00.5%2B01:00";
    let query =
        "query.service_name=neighbour&query.operation_name=handle:echo&query.search_depth=5&query.duration_max=1h";
    assert_eq!(spans(&format!("/api/v3/traces?{window}&{query}")), whole);
    let attributes = "query.attributes=%7B%22glasshouse.call.outcome%22%3A%22ok%22%7D";
    assert_eq!(
        spans(&format!(
            "/api/v3/traces?{window}&query.service_name=neighbour&query.operation_name=handle:echo&{attributes}"
        )),
        whole
    );
    // The same by a structured filter, which a span has to meet as a whole.
    let filter = |parts: &[(&str, Value, &str)]| {
        let call = |(op, of, value): &(&str, Value, &str)| json!({"call": {"op": op, "args": [of, {"scalar": {"value": value}}]}});
        let filter = json!({"op": "and", "args": parts.iter().map(call).collect::<Vec<_>>()}).to_string();
        let escaped = filter.bytes().fold(String::new(), |escaped, byte| format!("{escaped}%{byte:02x}"));
        format!("/api/v3/traces?{window}&query.filter={escaped}")
    };
    let field = |level: &str, name: &str| json!({"field": {"level": level, "name": name}});
    let outcome = json!({"attr": {"key": "glasshouse.call.outcome"}});
    let echo = [
        ("eq", field("resource", "service"), "neighbour"),
        ("eq", field("span", "name"), "handle:echo"),
        ("ne", field("span", "status"), "error"),
        ("lt", field("span", "duration"), "1h"),
        ("gt", field("span", "startTime"), "2020-01-01T00:00:00Z"),
        ("eq", field("span", "traceID"), &TRACE[1..]),
        ("eq", outcome.clone(), "ok"),
    ];
    assert_eq!(spans(&filter(&echo)), whole);
    let failed = [echo[0].clone(), ("eq", field("span", "status"), "error"), ("ne", outcome, "ok")];
    let failed = spans(&filter(&failed));
    let other = TRACE.replace('b', "c");
    assert!(!failed.is_empty() && failed.iter().all(|(_, trace, _)| *trace == json!(other)), "{failed:?}");
    let hostile = format!("/api/v3/traces?{window}&query.filter={}", "%5B".repeat(2000));
    check(&get(&served, &hostile).expect(400).json(), "v3.error");
    let none = get(&served, &format!("/api/v3/traces?{window}&query.service_name=nobody")).expect(404).json();
    check(&none, "v3.error");
}

#[test]
fn the_third_generation_lists_traces_in_a_few_figures() {
    let place = place();
    let served = served(&place);
    // As Jaeger's interface names the parameters.
    let window = "query.startTimeMin=2020-01-01T00:00:00.000Z&query.startTimeMax=2200-01-01T00:00:00.000Z";
    let summaries = |query: &str| {
        let value = checked(&served, &format!("/api/v3/trace-summaries?{window}&{query}"), "v3.summaries");
        value["summaries"].as_array().expect("a list").clone()
    };
    let all = summaries("query.serviceName=caller&query.operationName=handle%3Acall&query.searchDepth=20");
    let ids: Vec<_> = all.iter().map(|one| one["traceId"].as_str().expect("an id")).collect();
    assert_eq!(ids, [TRACE.replace('b', "c").as_str(), TRACE], "the latest first");
    let whole = &all[1];
    assert_eq!((&whole["rootServiceName"], &whole["rootOperationName"]), (&json!("caller"), &json!("handle:call")));
    let spans =
        checked(&served, &format!("/api/traces/{TRACE}"), "traces")["data"][0]["spans"].as_array().map(Vec::len);
    assert_eq!((whole["spanCount"].as_u64(), &whole["errorSpanCount"]), (spans.map(|spans| spans as u64), &json!(0)));
    assert_eq!(whole["orphanSpanCount"], 1, "what began it is somebody else's: {whole}");
    let services: Vec<_> =
        whole["services"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(services, [json!("caller"), json!("neighbour")]);
    assert!(all[0]["errorSpanCount"].as_u64() > Some(0), "{}", all[0]);
    assert!(summaries("query.serviceName=nobody").is_empty());
    let refused = get(&served, "/api/v3/trace-summaries").expect(400).json();
    check(&refused, "v3.error");
}

#[test]
fn what_is_refused_on_jaegers_paths_is_told_as_jaeger_tells_it() {
    let place = place();
    let served = served(&place);
    for (path, status) in [
        ("/api/traces", 400),
        ("/api/traces?service=caller&limit=0", 400),
        ("/api/traces?service=caller&limit=1000000", 400),
        ("/api/traces?service=caller&tags=x", 400),
        ("/api/traces?traceID=nonsense", 400),
        ("/api/traces/nonsense", 400),
        ("/api/traces/00000000000000000000000000000000000", 400),
        ("/api/traces/77", 404),
        ("/api/traces/77/spans", 404),
        ("/api/operations", 400),
        ("/api/services/%ff/operations", 400),
        ("/api/dependencies", 400),
        ("/api/dependencies?endTs=x", 400),
    ] {
        let refused = get(&served, path).expect(status).json();
        check(&refused, "traces");
        assert_eq!((&refused["data"], &refused["errors"][0]["code"]), (&Value::Null, &json!(status)), "{path}");
    }
    for (path, status) in [
        ("/api/v3/traces", 400),
        ("/api/v3/traces?query.start_time_min=x&query.start_time_max=y", 400),
        ("/api/v3/traces/nonsense", 400),
        ("/api/v3/traces/77", 404),
        ("/api/v3/operations", 400),
        ("/api/v3/dreams", 404),
    ] {
        let refused = get(&served, path).expect(status).json();
        check(&refused, "v3.error");
        assert_eq!(refused["error"]["httpCode"], json!(status), "{path}");
    }
    let post = served.ask("POST /api/traces", Some(&served.token), "", "{}").expect(405).json();
    check(&post, "traces");
    for (path, kind) in [("/api/services", "traces"), ("/api/v3/services", "v3.error")] {
        let stranger = served.ask(&format!("GET {path}"), None, "", "").expect(401);
        assert!(stranger.header("www-authenticate").is_some(), "{stranger:?}");
        check(&stranger.json(), kind);
    }
}

#[test]
fn who_takes_traces_or_metrics_away_is_told_and_who_scrapes_is_not() {
    let place = place();
    let served = served(&place);
    let told = || {
        let told =
            ["logs", "show", "--extension-id", "host", "--format", "json", "field.event=data.exported oldest first"];
        let told = place.on_data(&told).expect_code(0).json_lines();
        told.iter().map(|log| [log["fields"]["operation"].clone(), log["fields"]["detail"].clone()]).collect::<Vec<_>>()
    };
    get(&served, "/metrics").expect(200);
    get(&served, "/api/services").expect(200);
    get(&served, "/api/traces/00000000000000000000000000000001").expect(404);
    assert_eq!(told(), [[""; 2]; 0], "nothing was taken away");
    get(&served, "/api/traces?service=neighbour").expect(200);
    get(&served, &format!("/api/v3/traces/{TRACE}")).expect(200);
    for format in ["prometheus", "openmetrics"] {
        served.get(&format!("export/neighbour/metrics?format={format}")).expect(200);
    }
    let expect = [["traces", "jaeger"], ["traces", "otlp-json"], ["metrics", "prometheus"], ["metrics", "openmetrics"]];
    assert_eq!(told(), expect);
    // Who reads on and on, as an interface does that is left open, drives no other record out.
    for _ in 0..40 {
        get(&served, "/api/traces?service=neighbour").expect(200);
    }
    let told = told().len();
    assert!((20..25).contains(&told), "{told}");
}
