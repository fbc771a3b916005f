//! The API on an address: what can be read and ordered, and what becomes of bad requests.

mod access;
mod command;
mod embedding;
mod ends;
mod health;
mod jaeger;
mod large;
mod peers;
mod served;
mod strangers;
mod streams;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use self::served::{ROOT, Served, ping};
use crate::harness::Place;

#[test]
fn an_extension_is_read_at_a_glance_by_signal_and_page_by_page() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    for number in 0..25 {
        assert_eq!(served.call(&ping(number))["ok"], true);
    }
    let overview = served.get("dashboard/neighbour/overview").expect(200).json();
    assert_eq!(
        (overview["summary"]["calls"].as_u64(), overview["manager"]["status"].as_str()),
        (Some(25), Some("ready"))
    );
    assert_eq!(overview["health"]["status"], "healthy");

    // Back from the newest, page by page.
    let (mut seen, mut path) = (Vec::new(), "dashboard/neighbour/invocations?limit=7&query=name:echo".to_owned());
    loop {
        let page = served.get(&path).expect(200).json();
        let records = page["records"].as_array().expect("records");
        assert!(records.len() <= 7);
        seen.extend(records.iter().map(|record| record["sequence"].as_u64().expect("a number")));
        let Some(older) = page["older"].as_str() else { break };
        path = format!("dashboard/neighbour/invocations?limit=7&query=name:echo&before={older}");
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");

    // On from the newest, as it comes.
    let newest = served.get("dashboard/neighbour/invocations?limit=1").expect(200).json();
    let newer = newest["newer"].as_str().expect("a cursor").to_owned();
    let none = served.get(&format!("dashboard/neighbour/invocations?after={newer}")).expect(200).json();
    assert_eq!((none["records"].as_array().map(Vec::len), none["newer"].as_str()), (Some(0), Some(newer.as_str())));
    served.call(&ping(1));
    served.call(&ping(2));
    let two = served.get(&format!("dashboard/neighbour/invocations?after={newer}&limit=1")).expect(200).json();
    let after = two["newer"].as_str().expect("a cursor");
    let last = served.get(&format!("dashboard/neighbour/invocations?after={after}")).expect(200).json();
    assert_eq!((two["records"].as_array().map(Vec::len), last["records"].as_array().map(Vec::len)), (Some(1), Some(1)));

    for path in [
        "dashboard/neighbour",
        "dashboard/neighbour/metrics",
        "dashboard/neighbour/errors",
        "dashboard/neighbour/alerts",
    ] {
        served.get(path).expect(200);
    }
    for path in [
        "health",
        "health/neighbour",
        "alerts/neighbour",
        "alerts/neighbour/statistics",
        "traces/neighbour",
        "sessions/neighbour",
    ] {
        served.get(path).expect(200);
    }
    let searched = served.post("dashboard/neighbour/invocations/search", &json!({"query": "outcome=ok", "limit": 3}));
    assert_eq!(searched.expect(200).json()["records"].as_array().map(Vec::len), Some(3));
    served.post("dashboard/neighbour/metrics/realtime", &json!({"metrics": ["a \"name\"\\"]})).expect(200);
    served.post("health/neighbour/check", &json!({})).expect(200);
}

#[test]
fn the_api_is_described_as_it_was_published() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let described = served.ask("GET /api/openapi.json", Some(&served.token), "", "").expect(200);
    let published = include_str!("../../docs/openapi.json");
    if described.body != published {
        let now = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
        std::fs::write(&now, &described.body).expect("writing it");
        panic!(
            "docs/openapi.json is another one: look at what differs from {}, and copy it there if it is meant so",
            now.display()
        );
    }
    let page = served.ask("GET /api/", None, "", "").expect(200);
    assert!(page.body.contains("openapi.json") && page.header("content-security-policy").is_some(), "{page:?}");
}

#[test]
fn what_is_stored_is_exported_as_the_command_exports_it_and_leaves_a_record() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    for number in 0..50 {
        served.call(&ping(number));
    }
    let exported = served.get("export/neighbour/logs?format=jsonl").expect(200);
    assert!(exported.header("content-disposition").is_some_and(|name| name.contains("neighbour-logs.jsonl")));
    let by_command = ["export", "logs", "--extension-id", "neighbour", "--format", "jsonl"];
    assert_eq!(exported.body, place.on_data(&by_command).expect_code(0).stdout);
    assert_eq!(exported.body.lines().count(), 51, "{exported:?}");
    for (what, format) in [
        ("metrics", "csv"),
        ("errors", "json"),
        ("alerts", "json"),
        ("traces", "jaeger"),
        ("traces", "otlp-json"),
        ("invocations", "csv"),
        ("all", "json"),
    ] {
        let export =
            served.get(&format!("export/neighbour/{what}?format={format}&query=since%201h&limit=5")).expect(200);
        assert!(!export.body.is_empty(), "{what} {format}");
    }
    served.get("export/*/all?format=jsonl").expect(200);
    for (path, code) in [
        ("export/neighbour/moods", "invalid-query"),
        ("export/neighbour/logs?format=xml", "invalid-query"),
        ("export/neighbour/logs?format=jaeger", "invalid-query"),
        ("export/neighbour/logs?query=%28", "invalid-query"),
        ("export/neighbour/logs?colour=red", "invalid-query"),
    ] {
        served.get(path).expect_problem(400, code);
    }
    let metrics = |accept: &str| served.ask("GET /metrics", Some(&served.token), accept, "").expect(200);
    let plain = metrics("");
    assert!(
        plain.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")),
        "{plain:?}"
    );
    assert!(plain.body.contains("extension=\"neighbour\""), "{plain:?}");
    let open = metrics("Accept: application/openmetrics-text; version=1.0.0\r\n");
    assert!(open.body.ends_with("# EOF\n"), "{open:?}");
    let told =
        || place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "field.event=data.exported"]);
    assert_eq!(told().json_lines().len(), 9, "{:?}", told());
    // Whoever exports on and on drives no other record out: one is left each minute, once there were so many.
    for _ in 0..30 {
        served.get("export/neighbour/alerts").expect(200);
    }
    let told = told().json_lines().len();
    assert!((20..25).contains(&told), "{told}");
}

#[test]
fn an_extension_is_called_and_the_call_is_found_by_its_id() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let call = json!({"event": "echo", "payload": 3, "correlation_id": "order-4711", "user": "ada"});
    let called = served.post("call/neighbour", &call).expect(200).json();
    assert_eq!(called["ok"], true, "{called}");
    let found =
        served.get("dashboard/neighbour/invocations?query=correlation=order-4711%20user=ada").expect(200).json();
    assert_eq!(found["records"].as_array().map(Vec::len), Some(1));
    let unknown = served.post("call/neighbour", &json!({"event": "nothing"})).expect(200).json();
    assert_eq!((unknown["ok"].as_bool(), unknown["error"]["kind"].is_string()), (Some(false), true), "{unknown}");
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// By which headers the guest says that others go on with a call, which came with these fields of its body and these of its own.
fn continued(served: &Served, fields: Value, headers: &[(&str, &str)]) -> [String; 4] {
    let mut call = json!({"event": "headers"});
    let (Value::Object(call), Value::Object(fields)) = (&mut call, fields) else { panic!("objects") };
    call.extend(fields);
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("POST {ROOT}/call/context");
    let called = served.ask(&request, Some(&served.token), &headers.concat(), &json!(call).to_string());
    let called = called.expect(200).json();
    serde_json::from_value(called["payload"].clone()).unwrap_or_else(|error| panic!("{called}: {error}"))
}

#[test]
fn a_call_goes_on_with_the_trace_of_its_body_or_else_of_its_request() {
    let place = Place::with_plugins(&["context"]).lenient();
    let served = Served::start(&place);
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let fields = json!({"traceparent": parent, "tracestate": "rojo=1,ot=th:0", "baggage": "tier=gold%21"});
    let headers =
        [("TraceParent", &*parent), ("tracestate", "rojo=1"), ("tracestate", "ot=th:0"), ("baggage", "tier=gold%21")];
    let others = [("traceparent", other), ("tracestate", "other=1"), ("baggage", "tier=lead")];
    for (fields, headers) in [(fields.clone(), &[][..]), (json!({}), &headers), (fields, &others)] {
        let [traceparent, rest @ ..] = continued(&served, fields, headers);
        assert!(traceparent.starts_with(&parent[..36]) && traceparent.ends_with("-01"), "{traceparent}");
        assert_eq!(rest, ["ot=th:0,rojo=1", "tier=gold%21", "gold!"]);
    }
    // What others say belongs to their trace, and what is passed along to nobody's.
    let [traceparent, tracestate, baggage, _] = continued(&served, json!({"traceparent": parent}), &others);
    assert!(traceparent.starts_with(&parent[..36]), "{traceparent}");
    assert_eq!((&*tracestate, &*baggage), ("", "tier=lead"));
    // What is no such header costs no call, and is told.
    for wrong in
        [&[("traceparent", "00-1"), ("baggage", "a b")][..], &[("traceparent", other), ("traceparent", &parent)]]
    {
        let [traceparent, _, baggage, _] = continued(&served, json!({}), wrong);
        assert!(!traceparent.contains(TRACE) && !traceparent.contains(&other[3..35]), "{traceparent}");
        assert_eq!(baggage, "");
    }
    let told = served.get("dashboard/context/logs?query=message:%22left%20out%20of%20account%22").expect(200).json();
    assert!(told.to_string().contains("the traceparent that came with a call"), "{told}");
}

#[test]
fn what_a_call_over_the_api_leaves_counts_for_all_that_its_caller_left_out() {
    let place = Place::with_plugins(&["context"]);
    let served = Served::start_with(&place, &["--set", "defaults.debugging.tracing_enabled=true"]);
    // Of a caller that keeps one trace in eight, and this one.
    let call = json!({
        "event": "signals", "correlation_id": "order-7", "traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01"),
        "tracestate": "ot=th:e;rv:f0000000000000",
    });
    assert_eq!(served.post("call/context", &call).expect(200).json()["ok"], true);
    let traces = served.get(&format!("trace/{TRACE}")).expect(200).json();
    let [trace] = &traces["traces"].as_array().expect("traces")[..] else { panic!("one trace: {traces}") };
    assert_eq!(
        (&trace["steps"][0]["call"]["correlation_id"], &trace["sampled"]),
        (&json!("order-7"), &json!(true)),
        "{trace}"
    );
    let spans = served.get("dashboard/context/spans?query=name=work").expect(200).json();
    assert_eq!(spans["records"][0]["adjusted_count"], 8.0, "{spans}");
    let counted = served.get("traces/context/operations?query=name=work").expect(200).json();
    assert_eq!(counted["operations"][0]["count"], 8, "{counted}");
}

#[test]
fn what_cannot_be_asked_is_answered_by_what_is_wrong_and_what_to_do() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    for (path, status, code) in [
        ("managers/nobody/status", 404, "unknown-extension"),
        ("dashboard/neighbour/moods", 404, "unknown-signal"),
        ("dashboard/neighbour/logs?query=messge:x", 400, "invalid-query"),
        ("dashboard/neighbour/logs?limit=0", 400, "invalid-query"),
        ("dashboard/neighbour/logs?limit=1001", 400, "invalid-query"),
        ("dashboard/neighbour/logs?limit=many", 400, "invalid-query"),
        ("dashboard/neighbour/logs?colour=red", 400, "invalid-query"),
        ("dashboard/neighbour/logs?after=x", 400, "invalid-query"),
        ("dashboard/neighbour/logs?after=00000001.1.metrics.neighbour", 400, "invalid-query"),
        ("dashboard/neighbour/logs?after=00000001.1.logs.other", 400, "invalid-query"),
        (
            "dashboard/neighbour/logs?after=00000001.1.logs.neighbour&before=00000001.1.logs.neighbour",
            400,
            "invalid-query",
        ),
        ("dashboard/neighbour/logs/stream?query=%28", 400, "invalid-query"),
        ("traces/neighbour?limit=101", 400, "invalid-query"),
        ("trace/nobody-asked-so", 404, "unknown-trace"),
        ("managers/%ff/status", 400, "invalid-path"),
        ("nothing", 404, "not-found"),
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.expect_problem(status, code);
    }
    served.ask(&format!("PUT {ROOT}/managers"), Some(&served.token), "", "").expect_problem(405, "method-not-allowed");
    for (path, body, status, code) in [
        ("call/neighbour", "", 400, "invalid-body"),
        ("call/neighbour", "{\"event\": 1}", 400, "invalid-body"),
        ("call/neighbour", "{\"event\": \"echo\", \"traceparent\": \"00-1\"}", 422, "invalid-body"),
        ("tokens", "{\"name\": \"\"}", 422, "invalid-body"),
        ("tokens", "{\"name\": \"x\", \"scope\": \"root\"}", 400, "invalid-body"),
        ("dashboard/neighbour/logs/search", "[]", 400, "invalid-body"),
    ] {
        let request = format!("POST {ROOT}/{path}");
        served.ask(&request, Some(&served.token), "", body).expect_problem(status, code);
    }
    let large = "x".repeat(100_000);
    let request = format!("POST {ROOT}/dashboard/neighbour/logs/search");
    served.ask(&request, Some(&served.token), "", &large).expect_problem(413, "body-too-large");
    served.get("managers").expect(200);
}

#[test]
fn who_looks_again_is_told_only_what_is_new_and_may_have_it_packed() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let first = served.get("managers").expect(200);
    let tag = first.header("etag").expect("it has a tag").to_owned();
    let headers = format!("If-None-Match: \"other\", {tag}\r\nX-Request-Id: mine-1\r\n");
    let again = served.ask(&format!("GET {ROOT}/managers"), Some(&served.token), &headers, "").expect(304);
    assert_eq!((again.body.as_str(), again.header("x-request-id")), ("", Some("mine-1")));
    let bad = served.ask(&format!("GET {ROOT}/managers"), Some(&served.token), "X-Request-Id: a b\r\n", "").expect(200);
    assert_ne!(bad.header("x-request-id"), Some("a b"));
    let mut stream = TcpStream::connect(&served.address).expect("it listens");
    write!(
        stream,
        "GET {ROOT}/budgets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer {}\r\n\r\n",
        served.token
    )
    .expect("it reads");
    let mut packed = Vec::new();
    stream.read_to_end(&mut packed).expect("it answers");
    let at = packed.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("its head ends");
    let head = String::from_utf8_lossy(&packed[..at]).to_ascii_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let (mut chunks, mut body) = (&packed[at + 4..], Vec::new());
    loop {
        let end = chunks.windows(2).position(|bytes| bytes == b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&chunks[..end]).ok().and_then(|length| usize::from_str_radix(length, 16).ok());
        let chunk = &chunks[end + 2..];
        let length = length.expect("it is a number");
        if length == 0 {
            break;
        }
        body.extend_from_slice(&chunk[..length]);
        chunks = &chunk[length + 2..];
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("it can be unpacked");
    assert!(text.starts_with("[{") && text.contains("budget.memory"), "{text}");
}

#[test]
fn the_hosts_own_records_are_read_under_its_id_as_an_extensions_are() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    served.post("managers/neighbour/stop", &json!({})).expect(200);
    let dashboard = served.get("dashboard/host").expect(200).json();
    assert_eq!(dashboard["overview"]["manager"]["extension"], "host", "{dashboard}");
    assert!(dashboard["overview"]["summary"]["logs"].as_u64() >= Some(1), "{dashboard}");
    let first = dashboard["logs"]["records"][0]["message"].as_str();
    assert!(first.is_some_and(|message| message.contains("managers/neighbour/stop")), "{dashboard}");
    for (path, name) in [
        ("dashboard/host/overview", "manager"),
        ("dashboard/host/logs", "records"),
        ("dashboard/host/errors", "groups"),
        ("dashboard/host/metrics", "series"),
        ("traces/host", "traces"),
        ("traces/host/list", "traces"),
        ("traces/host/operations", "operations"),
        ("alerts/host/statistics", "of"),
        ("health/host", "checks"),
    ] {
        let told = served.get(path).expect(200).json();
        assert!(!told[name].is_null(), "{path}: {told}");
    }
    for path in ["alerts/host", "errors/host/groups"] {
        assert_eq!(served.get(path).expect(200).json(), json!([]), "{path}");
    }
    // It takes no orders: it is no extension.
    served.post("managers/host/stop", &json!({})).expect_problem(404, "unknown-extension");
    let told = place.glasshouse(&[
        "traces",
        "list",
        "--extension-id",
        "host",
        "--host",
        &format!("http://{}", served.address),
        "--token-file",
        "data/admin.token",
    ]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), ""), "{told:?}");
}
