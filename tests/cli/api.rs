//! The API on an address: who is let in, what can be read and ordered, and what becomes of bad requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, wait_for};

/// What all paths start with.
const ROOT: &str = "/api/extensions/debugging";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A host that serves the API on an address of its own.
struct Served {
    host: Running,
    replies: Lines,
    /// Where it listens.
    address: String,
    /// The token that allows everything.
    token: String,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &&str| line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
        self.head.lines().find(of).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A problem of this status and code.
    fn expect_problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(status.into())),
            "{problem}"
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
        problem
    }
}

impl Served {
    fn start(place: &Place) -> Self {
        Self::start_with(place, &[])
    }

    fn start_with(place: &Place, settings: &[&str]) -> Self {
        let mut host = place.start(
            &[&["run", "plugins", "--data-dir", "data", "--feed", "-", "--listen", "127.0.0.1:0"], settings].concat(),
        );
        let replies = host.stdout();
        let notes = host.stderr();
        let note = notes.wait_for("the API listens on http");
        let address = note.split("http://").nth(1).and_then(|rest| rest.split(';').next()).expect("it says where");
        let token = place.read("data/admin.token").trim_end().to_owned();
        let served = Self { host, replies, address: address.trim().to_owned(), token };
        wait_for("it to be ready", || (served.ask("GET /readyz", None, "", "").status == 200).then_some(()));
        served
    }

    /// Sends a request, given as method and path.
    fn ask(&self, request: &str, token: Option<&str>, headers: &str, body: &str) -> Answer {
        let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let length = body.len();
        self.exchange(&format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}{headers}Content-Length: {length}\r\n\r\n{body}",
            self.address
        ))
    }

    /// Sends bytes and reads to the end.
    fn exchange(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("setting a limit");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers with text");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body =
            if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { dechunk(body) } else { body.into() };
        Answer { status, head: head.to_owned(), body }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {ROOT}/{path}"), Some(&self.token), "", "")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&format!("POST {ROOT}/{path}"), Some(&self.token), "", &body.to_string())
    }

    fn call(&mut self, call: &Value) -> Value {
        self.host.call(&self.replies, call)
    }

    /// Opens a stream of events.
    fn stream(&self, path: &str, headers: &str) -> Events {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("setting a limit");
        write!(
            stream,
            "GET {ROOT}/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
            self.address, self.token
        )
        .expect("it reads");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).expect("it answers") > 0, "it ended");
        }
        Events(reader)
    }
}

/// The body of an answer in chunks.
fn dechunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    whole
}

/// Events of a stream as they come.
struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event: its id, name and data.
    fn next(&mut self) -> (Option<String>, String, Value) {
        let (mut id, mut name, mut data) = (None, String::new(), None);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("it goes on") > 0, "it ended");
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).expect("data is JSON"));
            } else if line.is_empty()
                && let Some(data) = data.take()
            {
                return (id, name, data);
            }
        }
    }
}

fn ping(number: u32) -> Value {
    json!({"extension": "neighbour", "event": "echo", "payload": number})
}

#[test]
fn without_a_token_nothing_is_told_but_that_the_host_runs() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    served.ask("GET /livez", None, "", "").expect(200);
    for (request, token) in [
        ("GET /api/extensions/debugging/managers", None),
        ("GET /api/extensions/debugging/managers", Some("glasshouse_00000000_x")),
        ("GET /nothing", None),
        ("POST /api/extensions/debugging/managers/neighbour/stop", None),
    ] {
        let answer = served.ask(request, token, "", "");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"glasshouse\""), "{answer:?}");
        answer.expect_problem(401, "unauthorized");
    }
    let basic = served.ask("GET /api/extensions/debugging/managers", None, "Authorization: Basic YTpi\r\n", "");
    basic.expect_problem(401, "unauthorized");
    served.get("managers").expect(200);
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).json_lines();
    let refused: Vec<_> = logs.iter().filter(|log| log["fields"]["event"] == "login.failed").collect();
    assert_eq!(refused.len(), 5, "{logs:?}");
    assert!(refused.iter().all(|log| log["fields"]["network.peer.address"] == "127.0.0.1"), "{refused:?}");
}

#[test]
fn who_tries_on_and_on_is_asked_to_wait_and_who_has_a_token_is_not() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let tries: Vec<_> = (0..40).map(|_| served.ask("GET /api", Some("wrong"), "", "")).collect();
    let last = tries.last().expect("there are some");
    assert!(last.header("retry-after").is_some(), "{last:?}");
    assert_eq!(tries.iter().filter(|one| one.status == 401).count(), 10, "{:?}", tries.last());
    served.get("managers").expect(200);
    // Not each of them is a record, but all of them are told of.
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).json_lines();
    let records = logs.iter().filter(|log| log["fields"]["event"] == "login.failed").count();
    assert!((10..=40).contains(&records), "{records}");
}

#[test]
fn a_token_allows_what_its_scope_says_and_each_order_leaves_a_record() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let make = |name: &str, scope: &str| {
        let made = served.post("tokens", &json!({"name": name, "scope": scope})).expect(200).json();
        (made["id"].as_str().expect("an id").to_owned(), made["secret"].as_str().expect("a secret").to_owned())
    };
    let (reader_id, reader) = make("a dashboard", "read");
    let (_, operator) = make("a colleague", "operate");
    let ask = |request: &str, token: &str| served.ask(&request.replace('~', ROOT), Some(token), "", "{}");
    ask("GET ~/managers", &reader).expect(200);
    ask("POST ~/managers/neighbour/stop", &reader).expect_problem(403, "forbidden");
    ask("GET ~/tokens", &operator).expect_problem(403, "forbidden");
    ask("POST ~/managers/neighbour/stop", &operator).expect(200);
    let tokens = served.get("tokens").expect(200);
    assert!(!tokens.body.contains(&reader) && tokens.body.contains("a dashboard"), "{tokens:?}");
    served.ask(&format!("DELETE {ROOT}/tokens/{reader_id}"), Some(&served.token), "", "").expect(200);
    ask("GET ~/managers", &reader).expect_problem(401, "unauthorized");

    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "message:stop"]);
    let orders: Vec<_> = logs
        .json_lines()
        .iter()
        .map(|log| (log["fields"]["by"].clone(), log["fields"]["http.response.status_code"].clone()))
        .collect();
    let name =
        |(by, status): &(Value, Value)| (by.as_str().is_some_and(|by| by.ends_with("(a colleague)")), status.clone());
    assert_eq!(orders.iter().map(name).collect::<Vec<_>>(), [(false, json!(403)), (true, json!(200))]);
    assert!(!place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).stdout.contains(&operator));
}

#[test]
fn tokens_are_made_and_revoked_by_the_command_and_survive_the_host() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut served = Served::start(&place);
    let made = place.on_data(&["tokens", "create", "ci", "--for", "1d"]).expect_code(0);
    let secret = made.stdout.trim_end().to_owned();
    served.ask(&format!("GET {ROOT}/managers"), Some(&secret), "", "").expect(200);
    let list = place.on_data(&["tokens", "list", "--format", "json"]).expect_code(0).json_lines();
    let scopes: Vec<_> = list.iter().map(|token| (token["name"].clone(), token["scope"].clone())).collect();
    assert_eq!(scopes, [(json!("first"), json!("admin")), (json!("ci"), json!("read"))]);
    served.host.kill();

    let served = Served::start(&place);
    served.ask(&format!("GET {ROOT}/managers"), Some(&secret), "", "").expect(200);
    let id = list[1]["id"].as_str().expect("an id");
    place.on_data(&["tokens", "revoke", id]).expect_code(0);
    served.ask(&format!("GET {ROOT}/managers"), Some(&secret), "", "").expect(401);
    let unknown = place.on_data(&["tokens", "revoke", id]).expect_code(2);
    assert!(unknown.stderr.contains("`glasshouse tokens list` lists them"), "{unknown:?}");
}

#[test]
fn a_page_of_a_strangers_cannot_ask_under_its_own_name() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start_with(&place, &["--set", "host.names=[\"glass.example\"]"]);
    let ask = |host: &str| {
        let token = &served.token;
        served.exchange(&format!(
            "GET {ROOT}/managers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    };
    for host in ["evil.example", "evil.example:7077", "localhost.evil.example", "127.0.0.1.nip.io", "", "a b"] {
        let answer = ask(host);
        assert!(matches!(answer.status, 400 | 421), "{host}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:7077", "[::1]:7077", "Glass.Example:443"] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
}

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
        place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "field.event=data.exported"]);
    assert_eq!(told.json_lines().len(), 9, "{told:?}");
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
    let head = String::from_utf8_lossy(&packed[..packed.len().min(600)]).to_ascii_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
}

#[test]
fn a_stream_goes_on_where_it_broke_off_with_nothing_lost_or_doubled() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    let mut events = served.stream("dashboard/neighbour/invocations/stream?query=name:echo", "");
    let mut seen = Vec::new();
    let mut last = String::new();
    for round in 0..4 {
        for number in 0..10 {
            served.call(&ping(number));
        }
        // It is broken off in the middle, and the rest comes over the next one.
        for _ in 0..if round == 3 { 40 - seen.len() } else { 7 } {
            let (id, name, data) = events.next();
            assert_eq!((name.as_str(), data["cursor"].as_str()), ("record", id.as_deref()));
            seen.push(data["sequence"].as_u64().expect("a number"));
            last = id.expect("it has an id");
        }
        if round < 3 {
            events = served.stream(
                "dashboard/neighbour/invocations/stream?query=name:echo",
                &format!("Last-Event-ID: {last}\r\n"),
            );
        }
    }
    let stored =
        served.get("dashboard/neighbour/invocations?limit=1000&query=name:echo%20oldest%20first").expect(200).json();
    let stored: Vec<_> = stored["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|one| one["sequence"].as_u64().expect("a number"))
        .collect();
    assert_eq!((seen.len(), seen), (40, stored));
}

#[test]
fn a_stream_tells_what_was_evicted_before_it_was_taken() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let settings = ["--set", "defaults.retention.logs_bytes=256KiB", "--set", "defaults.budget.deadline=10m"];
    let mut served = Served::start_with(&place, &settings);
    let mut flood = |logs: u32| served.call(&json!({"extension": "log-flood", "event": "flood", "payload": logs}));
    flood(1);
    flood(20_000);
    let first = served.get("dashboard/log-flood/logs?limit=1&query=newest%20first").expect(200).json();
    let newest = first["records"][0]["cursor"].as_str().expect("a cursor").to_owned();
    let (incarnation, rest) = newest.split_once('.').expect("a cursor's parts");
    let of = rest.split_once('.').expect("a cursor's parts").1;
    let first = format!("{incarnation}.1.{of}");
    let mut events = served.stream(&format!("dashboard/log-flood/logs/stream?after={first}"), "");
    let (_, name, gap) = events.next();
    assert_eq!((name.as_str(), gap["cause"].as_str()), ("gap", Some("evicted")), "{gap}");
    let (_, _, record) = events.next();
    assert_eq!(record["sequence"].as_u64(), gap["missed"].as_u64().map(|missed| missed + 2), "{gap} {record}");
    let page = served.get(&format!("dashboard/log-flood/logs?after={first}")).expect(200).json();
    assert_eq!((&page["gaps"][0]["cause"], &page["gaps"][0]["missed"]), (&json!("evicted"), &gap["missed"]), "{page}");
}

#[test]
fn the_life_of_extensions_is_a_stream() {
    let place = Place::with_plugins(&["neighbour", "traps"]);
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.failures_in_a_row=1"]);
    let mut events = served.stream("managers/stream", "");
    let first: Vec<_> = (0..2).map(|_| events.next().2["extension"].clone()).collect();
    assert_eq!(first, [json!("neighbour"), json!("traps")]);
    served.call(&json!({"extension": "traps", "event": "out-of-bounds", "payload": null}));
    let (_, name, data) = events.next();
    assert_eq!(
        (name.as_str(), data["extension"].as_str(), data["status"].as_str()),
        ("manager", Some("traps"), Some("quarantined"))
    );
    let health = served.get("health").expect(200).json();
    assert_eq!(health["status"], "unhealthy", "{health}");
    let remedy =
        health["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "extension traps"));
    assert!(
        remedy.is_some_and(|check| check["remedy"].as_str().is_some_and(|text| text.contains("budgets release traps"))),
        "{health}"
    );
    place.on_data(&["health"]).expect_code(4);
    place.on_data(&["health", "--extension-id", "neighbour", "--check"]).expect_code(0);
}

#[test]
fn an_address_that_others_reach_needs_tls_and_a_taken_one_is_told() {
    let place = Place::with_plugins(&["neighbour"]);
    let run = |listen: &str, more: &[&str]| {
        place.glasshouse(
            &[&["run", "plugins", "--data-dir", "data", "--exit-when-done", "--listen", listen], more].concat(),
        )
    };
    let exposed = run("0.0.0.0:0", &[]).expect_code(3);
    assert!(exposed.stderr.contains("which other machines can reach, without TLS"), "{exposed:?}");
    let half = run("127.0.0.1:0", &["--set", "host.tls_key=key.pem"]).expect_code(3);
    assert!(half.stderr.contains("go together: name both"), "{half:?}");
    let none = run("127.0.0.1:0", &["--set", "host.tls_key=key.pem", "--set", "host.tls_certificate=none.pem"]);
    assert!(none.expect_code(3).stderr.contains("none.pem"));
    for wrong in ["7077", "localhost", "127.0.0.1", "on"] {
        let refused = run(wrong, &[]).expect_code(3);
        assert!(refused.stderr.contains("is no address with a port"), "{refused:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free one");
    let address = taken.local_addr().expect("it has one").to_string();
    let refused = run(&address, &[]).expect_code(3);
    assert!(refused.stderr.contains("choose another with --listen"), "{refused:?}");
    run("off", &[]).expect_code(0);
}

#[test]
fn on_loopback_no_token_is_needed_only_if_it_is_configured_so() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start_with(&place, &["--set", "host.open_on_loopback=true"]);
    served.ask(&format!("GET {ROOT}/managers"), None, "", "").expect(200);
    served.ask(&format!("GET {ROOT}/managers"), Some("wrong"), "", "").expect_problem(401, "unauthorized");
}

#[test]
fn with_a_certificate_the_api_speaks_tls_and_nothing_else() {
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

    let place = Place::with_plugins(&["neighbour"]);
    let made = rcgen::generate_simple_self_signed(["glass.example".to_owned()]).expect("a certificate");
    place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", &made.signing_key.serialize_pem());
    let tls = ["--set", "host.tls_certificate=cert.pem", "--set", "host.tls_key=key.pem"];
    let names = ["--set", "host.names=[\"glass.example\"]"];
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--listen", "0.0.0.0:0"];
    let mut host = place.start(&[&run[..], &tls, &names].concat());
    let note = host.stderr().wait_for("the API listens on https://0.0.0.0:");
    let port = note.split("0.0.0.0:").nth(1).and_then(|rest| rest.split(';').next()).expect("it says where");
    let address = format!("127.0.0.1:{}", port.trim());
    let token = place.read("data/admin.token");

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec())).expect("it is one");
    let config = ClientConfig::builder_with_provider(std::sync::Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("glass.example").expect("a name");
    let client = ClientConnection::new(std::sync::Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(client, TcpStream::connect(&address).expect("it listens"));
    let token = token.trim_end();
    write!(
        stream,
        "GET {ROOT}/managers HTTP/1.1\r\nHost: glass.example\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    // It may end without a farewell.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"neighbour\""), "{answer}");

    let mut plain = TcpStream::connect(&address).expect("it listens");
    write!(plain, "GET {ROOT}/managers HTTP/1.1\r\nHost: glass.example\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
