//! HTTP requests of extensions as an operator sees them: asked for, granted, in a trace with what caused them, and left out of checks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::Place;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A server that notes the heads of requests and answers 200, as long as the tests run.
fn server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has an address");
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            seen.lock().expect("nobody panics").push(lines.collect::<Vec<_>>().join("\n"));
            // Who asked may be gone.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    });
    (address, heads)
}

/// An extension that asks for a server by its manifest.
fn place(address: SocketAddr) -> Place {
    let place = Place::with_plugins(&[]);
    let asks = format!("http = [\"http://{address}\", \"https://api.example.com\"]");
    place.extension("second", "fetcher", &format!("[permissions]\n{asks}\n"));
    place
}

#[test]
fn a_request_from_outside_through_two_extensions_to_a_server_is_one_trace() {
    let (address, heads) = server();
    let place = place(address);
    place.extension("first", "fetcher", "[permissions]\ncall = [\"second\"]\n");
    let grants = format!(
        "[extensions.first.permissions]\ncall = [\"second\"]\n[extensions.second.permissions]\nhttp = [\"http://{address}\"]\n"
    );
    place.write("glasshouse.toml", &grants);
    let url = format!("http://{address}/orders?page=2");
    let line = json!({
        "extension": "first", "event": "pass", "payload": ["second", url], "correlation_id": "order-7",
        "traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01"), "baggage": "tier=gold",
    });
    place.write("feed.jsonl", &line.to_string());
    let run = ["run", "plugins", "--config", "glasshouse.toml", "--data-dir", "data", "--feed", "feed.jsonl"];
    let traced = ["--exit-when-done", "--set", "defaults.debugging.tracing_enabled=true"];
    place.glasshouse(&[&run[..], &traced].concat()).expect_code(0);

    let found =
        place.glasshouse(&["trace", "order-7", "--data-dir", "data", "--format", "json"]).expect_code(0).json_lines();
    let steps = found[0]["steps"].as_array().expect("steps");
    let told: Vec<_> = steps
        .iter()
        .map(|step| {
            let name = step["call"]["name"].as_str().or(step["span"]["name"].as_str());
            (step["extension"].as_str().unwrap_or_default(), name.unwrap_or_default(), step["parent"].as_u64())
        })
        .filter(|(_, name, _)| !name.starts_with("wasi:"))
        .collect();
    assert_eq!(told, [("first", "handle:pass", None), ("second", "handle:fetch", Some(0)), ("second", "GET", Some(1))]);
    let request = steps.iter().find(|step| step["span"]["name"] == "GET").expect("the request");
    let heads = heads.lock().expect("nobody panics");
    let [head] = &heads[..] else { panic!("{heads:?}") };
    let id = request["span"]["span_id"].as_str().expect("its id");
    assert!(head.starts_with("GET /orders?page=2 HTTP/1.1"), "{head}");
    assert!(head.contains(&format!("traceparent: 00-{TRACE}-{id}-01")), "{head}");
    assert!(head.contains("baggage: tier=gold"), "{head}");
    let shown = place.glasshouse(&["trace", TRACE, "--data-dir", "data"]).expect_code(0).stdout;
    let line = shown.lines().find(|line| line.contains("GET")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("http.response.status_code=200") && line.contains(&url), "{shown}");
}

#[test]
fn what_an_extension_asks_for_and_would_be_granted_is_shown_before_it_runs() {
    let (address, _) = server();
    let place = place(address);
    let grants = format!(
        "[extensions.second.permissions]\nhttp = [\"https://*.example.com\", \"https://10.0.0.0/8\", \"http://other.example\"]\nnetwork = [\"{address}\"]\n"
    );
    place.write("glasshouse.toml", &grants);
    let arguments = ["inspect", "plugins/second", "--config", "glasshouse.toml", "--format", "json"];
    let shown: Value = place.glasshouse(&arguments).expect_code(0).json_lines().remove(0);
    assert_eq!(shown["requests"], json!([format!("http: http://{address}"), "http: https://api.example.com"]));
    let granted = json!(["http: https://api.example.com", "http, where names lead: https://10.0.0.0/8"]);
    assert_eq!(shown["granted"], granted);
    assert_eq!(shown["denied"], json!([format!("http: http://{address} is not granted")]));
    let unasked = json!([format!("network: {address}"), "http: http://other.example"]);
    assert_eq!(shown["granted_unasked"], unasked);
    let imports = shown["imports"].as_array().expect("imports");
    assert!(
        imports
            .iter()
            .any(|import| import.as_str().is_some_and(|import| import.starts_with("wasi:http/outgoing-handler")))
    );
}

#[test]
fn what_is_run_to_be_compared_sends_nothing_and_says_so() {
    let (address, heads) = server();
    let place = place(address);
    place.write("glasshouse.toml", &format!("[extensions.second.permissions]\nhttp = [\"http://{address}\"]\n"));
    let line = json!({"extension": "second", "event": "fetch", "payload": {"url": format!("http://{address}/")}});
    place.write("feed.jsonl", &line.to_string());
    let check =
        ["check", "plugins/second", "--config", "glasshouse.toml", "--feed", "feed.jsonl", "--baseline", "b.json"];
    let ended = place.glasshouse(&[&check[..], &["--update"]].concat()).expect_code(0);
    assert!(ended.stderr.contains("what is run to be compared sends no requests"), "{ended:?}");
    place.glasshouse(&check).expect_code(0);
    assert!(heads.lock().expect("nobody panics").is_empty());
}
