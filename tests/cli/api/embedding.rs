//! What the API does, done from Rust: a program that embeds a host lacks nothing that goes over a socket.

use std::path::Path;
use std::time::Duration;

use glasshouse::export::{Export, Format, What};
use glasshouse::{
    Event, Extension, HealthReport, Host, MakeToken, Query, Scope, SessionState, Setting, Signal, Trigger, UnixNanos,
};
use serde_json::{Value, json};

use super::served::{Answer, Events, PROOF, ROOT, ask};
use crate::harness::Place;

/// Who gives the orders.
const BY: &str = "an embedder";
const JSON: &str = "application/json";

/// An operation of the API beside the call in Rust that is the same.
struct Same {
    /// What it is asked: its path behind the root, and its query.
    path: String,
    body: Value,
    /// What of its answer is compared.
    of_answer: fn(&Answer) -> Value,
    /// What the same comes to in Rust.
    in_rust: Value,
}

fn same(path: impl Into<String>, of_answer: fn(&Answer) -> Value, in_rust: Value) -> Same {
    Same { path: path.into(), body: Value::Null, of_answer, in_rust }
}

fn order(path: impl Into<String>, body: Value, of_answer: fn(&Answer) -> Value, in_rust: Value) -> Same {
    Same { body, ..same(path, of_answer, in_rust) }
}

/// What each entry of a list says under a name.
fn each(list: &Value, name: &str) -> Value {
    list.as_array().map_or(Value::Null, |list| list.iter().map(|one| one[name].clone()).collect())
}

fn keys(settings: impl IntoIterator<Item = Setting>) -> Value {
    settings.into_iter().map(|setting| json!([setting.key, setting.value])).collect()
}

fn keys_told(list: &Value) -> Value {
    list.as_array().map_or(Value::Null, |list| list.iter().map(|one| json!([one["key"], one["value"]])).collect())
}

fn checks(report: &HealthReport) -> Value {
    json!([report.status.as_str(), report.checks.iter().map(|check| &check.name).collect::<Vec<_>>()])
}

fn checks_told(answer: &Answer) -> Value {
    let told = answer.json();
    json!([told["status"], each(&told["checks"], "name")])
}

fn sequences<T>(records: &[T], of: impl Fn(&T) -> u64) -> Value {
    records.iter().map(|record| json!(of(record))).collect()
}

fn guest<'h>(host: &'h Host, id: &str) -> &'h Extension {
    host.extension(id).expect("it is there")
}

async fn call(extension: &Extension, event: &str, payload: Value) -> Option<Value> {
    let event = Event { name: event.to_owned(), content_type: JSON.to_owned(), payload: payload.to_string().into() };
    let trigger = Trigger { correlation_id: Some("order-7".to_owned()), ..Trigger::default() };
    let reply = extension.try_call(event, trigger).await.ok()?;
    serde_json::from_slice(&reply.payload).ok()
}

/// Lines without those that tell of the export that they are of.
fn without_exports(lines: &str) -> Vec<&str> {
    lines.lines().filter(|line| !line.contains("data.exported")).collect()
}

fn raise(name: &str) -> Value {
    json!({"name": name, "title": name, "metric": null})
}

/// The same as an operation, in Rust. An operation that is none of these cannot be done from Rust, or has no row yet.
#[expect(clippy::too_many_lines, reason = "a table: a row for each operation")]
async fn in_rust(host: &Host, operation: &str) -> Same {
    let (neighbour, alarmist, panic) = (guest(host, "neighbour"), guest(host, "alarmist"), guest(host, "panic"));
    let all = Query::all();
    let query = |text: &str| Query::parse(text, neighbour.now()).expect("a query");
    let traces = || host.traces();
    match operation {
        "get alerts/{id}" => {
            let ids: Value = alarmist.alert_states().iter().map(|alert| json!(alert.id.to_string())).collect();
            same("alerts/alarmist", |told| each(&told.json(), "alert"), ids)
        }
        "get alerts/{id}/statistics" => {
            let fired: u64 = alarmist.alert_states().iter().map(|alert| alert.fired).sum();
            same("alerts/alarmist/statistics", |told| told.json()["fired"].clone(), json!(fired))
        }
        "post alerts/{id}/{alert}/resolve" => {
            call(alarmist, "raise", raise("one")).await;
            call(alarmist, "raise", raise("other")).await;
            let id = |name: &str| {
                let found = alarmist.alert_states().into_iter().find(|alert| alert.name == name);
                found.expect("it fires").id
            };
            let resolved = alarmist.resolve_alert(id("one"), "calm", BY).expect("it fires");
            let path = format!("alerts/alarmist/{}/resolve", id("other"));
            let state = resolved.state().as_str();
            order(path, json!({"note": "calm"}), |told| told.json()["state"].clone(), json!(state))
        }
        "get budgets" => {
            let ids: Value = host.extensions().map(|one| json!([one.id().as_str(), one.budgets().len()])).collect();
            let told = |told: &Answer| {
                let all = told.json();
                let of = |one: &Value| json!([one["extension"], one["budgets"].as_array().map(Vec::len)]);
                all.as_array().into_iter().flatten().map(of).collect()
            };
            same("budgets", told, ids)
        }
        "get budgets/{id}" => {
            let budgets = neighbour.budgets().into_iter().map(|budget| budget.setting);
            same("budgets/neighbour", |told| keys_told(&told.json()["budgets"]), keys(budgets))
        }
        "patch budgets/{id}" => {
            let changed = neighbour.set([("budget.deadline", "41s")], BY).expect("it is set");
            let (body, key) = (json!({"budget.deadline": "42s"}), changed.changes[0].key);
            order("budgets/neighbour", body, |told| told.json()["changes"][0]["key"].clone(), json!(key))
        }
        "post budgets/{id}/release" => {
            let from = neighbour.release(BY).await.expect("it is running");
            order("budgets/neighbour/release", json!({}), |told| told.json()["from"].clone(), json!(from))
        }
        "post call/{id}" => {
            let reply = call(neighbour, "echo", json!([1, 2])).await;
            let body = json!({"event": "echo", "payload": [1, 2]});
            order("call/neighbour", body, |told| told.json()["payload"].clone(), json!(reply))
        }
        "get dashboard" => {
            let all: Value = host.extensions().map(|one| json!(glasshouse::summary_answer(one).calls)).collect();
            let told = |told: &Answer| {
                let all = told.json();
                all.as_array()
                    .map_or(Value::Null, |all| all.iter().map(|one| one["summary"]["calls"].clone()).collect())
            };
            same("dashboard", told, all)
        }
        "get dashboard/{id}" => {
            let mut logs = sequences(&neighbour.logs().latest(20), |log| log.head.sequence);
            logs.as_array_mut().expect("a list").reverse();
            same("dashboard/neighbour", |told| each(&told.json()["logs"]["records"], "sequence"), logs)
        }
        "get dashboard/{id}/overview" => {
            let summary = glasshouse::summary_answer(neighbour);
            let told = |told: &Answer| json!([told.json()["summary"]["calls"], told.json()["summary"]["logs"]]);
            same("dashboard/neighbour/overview", told, json!([summary.calls, summary.logs]))
        }
        "get dashboard/{id}/errors" => {
            let errors = sequences(&panic.errors().latest(100).await, |error| error.head.sequence);
            same(
                "dashboard/panic/errors?query=oldest%20first",
                |told| each(&told.json()["errors"]["records"], "sequence"),
                errors,
            )
        }
        "get dashboard/{id}/metrics" => {
            let echoes = neighbour.metrics().summary(&query("name=echoes"));
            let path = "dashboard/neighbour/metrics?query=name=echoes";
            same(path, |told| each(&told.json()["series"], "count"), json!([echoes.series[0].aggregate.count]))
        }
        "post dashboard/{id}/metrics/realtime" => {
            let echoes = neighbour.metrics().summary(&query("name=echoes since 60s"));
            let (path, body) = ("dashboard/neighbour/metrics/realtime", json!({"metrics": ["echoes"]}));
            order(path, body, |told| each(&told.json()["series"], "count"), json!([echoes.series[0].aggregate.count]))
        }
        "get dashboard/{id}/{signal}" => {
            let spans = sequences(&neighbour.spans().search(&query("oldest first"), 100), |span| span.head.sequence);
            same(
                "dashboard/neighbour/spans?query=oldest%20first",
                |told| each(&told.json()["records"], "sequence"),
                spans,
            )
        }
        "post dashboard/{id}/{signal}/search" => {
            let calls = neighbour.invocations().search(&query("outcome=ok newest first"), 3);
            let (path, body) = ("dashboard/neighbour/invocations/search", json!({"query": "outcome=ok", "limit": 3}));
            let calls = sequences(&calls, |call| call.head.sequence);
            order(path, body, |told| each(&told.json()["records"], "sequence"), calls)
        }
        "get dashboard/{id}/{signal}/stream" => {
            let page = neighbour.reader(Signal::Invocation).page(1, 1);
            let cursor = neighbour.invocations().cursor(0).to_string();
            // No further than to its first record.
            let first = |told: &Answer| told.json()["sequence"].clone();
            same(
                format!("dashboard/neighbour/invocations/stream?after={cursor}"),
                first,
                json!(page.entries[0].sequence()),
            )
        }
        "get managers/stream" => {
            let first = host.extensions().next().expect("there are some");
            same("managers/stream", |told| told.json()["extension"].clone(), json!(first.id().as_str()))
        }
        "get errors/{id}/groups" => {
            let ids: Value = panic.error_groups().iter().map(|group| json!(group.id.to_string())).collect();
            same("errors/panic/groups", |told| each(&told.json(), "group"), ids)
        }
        "post errors/{id}/{group}/resolve" => {
            let id = panic.error_groups()[0].id;
            let resolved = panic.resolve_error(id, None, "mended", BY).expect("it is there");
            let (path, body) = (format!("errors/panic/{id}/resolve"), json!({"notes": "mended"}));
            order(path, body, |told| told.json()["state"].clone(), json!(resolved.state.as_str()))
        }
        "get export/{id}/{what}" => {
            let mut sources: Vec<_> = host.extensions().map(Extension::source).chain([host.source()]).collect();
            sources.sort_by(|one, other| one.extension().cmp(other.extension()));
            let export =
                Export { sources: &sources, what: What::Logs, format: Format::JsonLines, query: &all, limit: None };
            let mut bytes = Vec::new();
            export.write(&mut bytes, &mut |_| std::ops::ControlFlow::Continue(())).expect("it is written");
            let text = String::from_utf8(bytes).expect("text");
            assert!(text.contains(r#""extension":"host""#), "{text}");
            same("export/*/logs?format=jsonl", |told| json!(without_exports(&told.body)), json!(without_exports(&text)))
        }
        "get health" => same("health", checks_told, checks(&host.health())),
        "get health/{id}" => same("health/neighbour", checks_told, checks(&neighbour.health_report())),
        "post health/{id}/check" => {
            neighbour.check_health().await.expect("it is running");
            order("health/neighbour/check", json!({}), checks_told, checks(&neighbour.health_report()))
        }
        "get managers" => {
            let all: Value = host.extensions().map(|one| json!(one.status().word())).collect();
            same("managers", |told| each(&told.json(), "status"), all)
        }
        "get managers/{id}/status" => {
            same("managers/neighbour/status", |told| told.json()["status"].clone(), json!(neighbour.status().word()))
        }
        "get managers/{id}/settings" => {
            let watched = neighbour.present_config().into_iter().filter(|one| one.key.starts_with("debugging."));
            same("managers/neighbour/settings", |told| keys_told(&told.json()["settings"]), keys(watched))
        }
        "patch managers/{id}/settings" => {
            let changed = neighbour.set([("debugging.log_level", "warning")], BY).expect("it is set");
            let (body, key) = (json!({"debugging.log_level": "error"}), changed.changes[0].key);
            order("managers/neighbour/settings", body, |told| told.json()["changes"][0]["key"].clone(), json!(key))
        }
        "post managers/{id}/stop" | "post managers/{id}/start" => {
            let stopped = neighbour.stop_debugging(BY).expect("it is switched off");
            let started = neighbour.start_debugging(BY).expect("it is switched on");
            let is_stop = operation.ends_with("stop");
            if !is_stop {
                neighbour.stop_debugging(BY).expect("it is switched off");
            }
            let changes = if is_stop { &stopped } else { &started };
            let changes: Value = changes.iter().map(|change| json!(change.key)).collect();
            let path = if is_stop { "managers/neighbour/stop" } else { "managers/neighbour/start" };
            order(path, json!({}), |told| each(&told.json()["changes"], "key"), changes)
        }
        "get sessions" => {
            let of = |one: &Extension| one.debug_sessions().into_iter().map(|session| json!(session.id.to_string()));
            let all: Value = host.extensions().flat_map(of).collect();
            same("sessions", |told| each(&told.json(), "session"), all)
        }
        "get sessions/{id}" => {
            let all: Value = neighbour.debug_sessions().iter().map(|one| json!(one.id.to_string())).collect();
            same("sessions/neighbour", |told| each(&told.json(), "session"), all)
        }
        "post sessions/{id}/start" => {
            let values = [("log_level", "trace")];
            let session = neighbour.start_debug_session(values, Some(Duration::from_mins(1)), BY).expect("it starts");
            let (is_active, key) = (session.state() == SessionState::Active, session.overrides[0].key.clone());
            let told = |told: &Answer| json!([told.json()["state"] == "active", told.json()["overrides"][0]["key"]]);
            order("sessions/neighbour/start", json!({"set": {"log_level": "trace"}}), told, json!([is_active, key]))
        }
        "post sessions/{id}/{session}/stop" => {
            let start = || neighbour.start_debug_session([("log_level", "trace")], None, BY).expect("it starts").id;
            let (one, other) = (start(), start());
            let stopped = neighbour.stop_debug_session(one, BY).expect("it is active");
            let is_ended = stopped.ended.is_some();
            let path = format!("sessions/neighbour/{other}/stop");
            order(path, json!({}), |told| json!(told.json()["state"] == "ended"), json!(is_ended))
        }
        "get tokens" => same("tokens", Answer::json, json!(host.tokens().expect("they are listed"))),
        "post tokens" => {
            let wanted = MakeToken { name: "a reader".to_owned(), ..MakeToken::default() };
            let made = host.make_token(&wanted, BY).expect("it is made");
            assert_eq!((made.token.scope, made.token.by.as_str()), (Scope::Read, BY));
            let told = |told: &Answer| json!([told.json()["name"], told.json()["scope"]]);
            order("tokens", json!({"name": "a reader"}), told, json!([made.token.name, made.token.scope]))
        }
        "delete tokens/{id}" => {
            let made = |name: &str| {
                let wanted = MakeToken { name: name.to_owned(), ..MakeToken::default() };
                host.make_token(&wanted, BY).expect("it is made").token.id
            };
            let (one, other) = (made("short-lived"), made("short-lived"));
            let revoked = host.revoke_token(&one, BY).expect("it is there");
            let path = format!("tokens/{other}");
            order(path, Value::Null, |told| told.json()["name"].clone(), json!(revoked.name))
        }
        "get trace/{id}" => {
            let mut found: Vec<_> =
                traces().find("order-7").expect("it is found").iter().map(|one| one.steps.len()).collect();
            found.sort_unstable();
            let steps = |told: &Answer| {
                let traces = told.json()["traces"].clone();
                let mut steps: Vec<_> = traces
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|one| one["steps"].as_array().map(Vec::len))
                    .collect();
                steps.sort_unstable();
                json!(steps)
            };
            same("trace/order-7", steps, json!(found))
        }
        "get traces/{id}" => {
            let newest = traces().newest(&query("extension=panic"), 1).expect("a query");
            same(
                "traces/panic?limit=1",
                |told| each(&told.json()["traces"], "trace_id"),
                json!([newest[0].trace_id.to_string()]),
            )
        }
        "get traces/{id}/list" => {
            let list = traces().list(&query("extension=panic"), 1).expect("a query");
            same("traces/panic/list?limit=1", |told| told.json()["traces"].clone(), json!(list))
        }
        "get traces/{id}/operations" => {
            let operations = traces().operations(&query("extension=panic"));
            same("traces/panic/operations", |told| told.json()["operations"].clone(), json!(operations))
        }
        other => panic!("{other} has no row: what does the same from Rust?"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_of_the_api_has_a_call_in_rust_that_comes_to_the_same() {
    let place = Place::with_plugins(&["neighbour", "alarmist", "panic"]);
    let lenient =
        ["debugging.profiling_overhead_limit=100", "debugging.tracing_enabled=true", "budget.failures_in_a_row=9"];
    let host = Host::builder()
        .plugin_dir(place.path("plugins"))
        .overrides(lenient.iter().map(|value| format!("defaults.{value}")))
        .overrides(["host.listen=127.0.0.1:0".to_owned()])
        .data_dir(place.path("data"))
        .cache_folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/glasshouse/components"))
        .compile_worker(env!("CARGO_BIN_EXE_glasshouse"))
        .start()
        .await
        .expect("it starts");
    host.loaded().await;
    let api = host.serve().await.expect("it serves").expect("it listens");
    let url = api.url();
    let address = url.strip_prefix("http://").expect("no TLS").to_owned();
    let token = place.read("data/admin.token").trim_end().to_owned();
    for number in 0..5 {
        assert_eq!(call(guest(&host, "neighbour"), "echo", json!(number)).await, Some(json!(number)));
    }
    assert_eq!(call(guest(&host, "panic"), "panic", json!("noon")).await, None);
    call(guest(&host, "alarmist"), "raise", raise("full")).await;

    let described = include_str!("../../../docs/openapi.json");
    let described: Value = serde_json::from_str(described).expect("it is JSON");
    let mut seen = 0;
    for (path, methods) in described["paths"].as_object().expect("paths") {
        // By that a host proves itself to its clients: there is nothing to embed.
        if path == PROOF {
            continue;
        }
        let path = path.strip_prefix(ROOT).and_then(|path| path.strip_prefix('/')).expect("all start alike");
        for method in methods.as_object().expect("methods").keys() {
            let operation = format!("{method} {path}");
            let Same { path, body, of_answer, in_rust } = in_rust(&host, &operation).await;
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let request = format!("{} {ROOT}/{path}", method.to_uppercase());
            let answer = tokio::task::block_in_place(|| {
                if operation.ends_with("/stream") {
                    let (_, _, first) = Events::open(&address, &request, &token, "").next();
                    Answer { status: 200, head: String::new(), body: first.to_string() }
                } else {
                    ask(&address, &request, Some(&token), "", &body)
                }
            });
            let answer = answer.expect(200);
            assert_eq!(of_answer(&answer), in_rust, "{operation}: {answer:?}");
            seen += 1;
        }
    }
    assert!(seen >= 40, "{seen} operations");
    // What was done to tokens from Rust is told as what was done over the API.
    let told = Query::parse("field.event:\"token.\" oldest first", UnixNanos(0)).expect("a query");
    let told: Vec<_> = host.logs().search(&told, 100).into_iter().map(|log| log.message).collect();
    let by_embedder = |what: &str| told.iter().filter(|message| message.ends_with(what)).count();
    assert_eq!((by_embedder("was made by an embedder"), by_embedder("was revoked by an embedder")), (3, 1), "{told:?}");
    api.close().await;
    host.shutdown(Duration::from_secs(5)).await;
}
