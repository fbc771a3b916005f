//! Pushing to a collector: what it is sent, as others read it, and what becomes of it when the collector, the host or the disk fails.

mod apart;
mod collector;
mod rotel;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::export::{busy_with, place};
use crate::harness::{Lines, Place, Running, wait_for};
use crate::peers;
use collector::{Answer, Collector, decoded, nowhere, settings};

/// A secret like no other.
const SECRET: &str = "c4n4ry-0f-4-h34d3r";
/// How long a host may take to end.
const SOON: Duration = Duration::from_mins(1);

fn texts(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// Records of requests or of an export, in an order of their own: see [`in_order`].
fn records(data: &[Value], path: [&str; 3]) -> Vec<(String, String, Value)> {
    let mut found = in_order(data, path);
    found.sort_by_cached_key(|one| format!("{one:?}"));
    found
}

/// Records as they came: the extension, the scope, and the record; those of the host's own process, which records that it pushes, are left out.
fn in_order(data: &[Value], path: [&str; 3]) -> Vec<(String, String, Value)> {
    let [resources, scopes, records] = path;
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for resource in data.iter().flat_map(|data| list(data, resources)) {
        let service = text(attribute(&resource["resource"], "service.name"));
        for scope in list(&resource, scopes).iter().filter(|_| service != "host") {
            let of_scope = list(scope, records).into_iter();
            found.extend(of_scope.map(|record| (service.clone(), text(&scope["scope"]["name"]), record)));
        }
    }
    found
}

const LOGS: [&str; 3] = ["resourceLogs", "scopeLogs", "logRecords"];
const SPANS: [&str; 3] = ["resourceSpans", "scopeSpans", "spans"];
const METRICS: [&str; 3] = ["resourceMetrics", "scopeMetrics", "metrics"];

/// The text or number of an attribute.
fn attribute<'v>(record: &'v Value, key: &str) -> &'v Value {
    let attributes = record["attributes"].as_array();
    let found = attributes.into_iter().flatten().find(|attribute| attribute["key"] == key);
    found.and_then(|found| found["value"].as_object()?.values().next()).unwrap_or(&Value::Null)
}

/// The numbers of the logs of an extension, in the order in which they came.
fn sequences(data: &[Value], extension: &str) -> Vec<u64> {
    let number = |log: &Value| attribute(log, "glasshouse.sequence").as_str().and_then(|text| text.parse().ok());
    let of_it = in_order(data, LOGS).into_iter().filter(|(service, ..)| service == extension);
    of_it.map(|(_, _, log)| number(&log).expect("each has one")).collect()
}

/// What an export holds, by the same decoder.
fn exported(place: &Place, what: &str, kind: &str) -> Value {
    let file = format!("{what}.binpb");
    let ended = place.on_data(&["export", what, "--format", "otlp", "--output", &file]);
    ended.expect_code(0);
    peers::read("otlp", &[kind], &place.path(&file))
}

/// The sums of counters and the counts of histograms, by extension and name; of gauges the number of points.
fn amounts(data: &[Value]) -> BTreeMap<(String, String), f64> {
    let mut amounts = BTreeMap::new();
    for (service, _, metric) in records(data, METRICS) {
        let points = |kind: &str| metric[kind]["dataPoints"].as_array().cloned().unwrap_or_default();
        let sums = points("sum").into_iter().map(|point| point["asDouble"].as_f64().expect("a number"));
        let gauges = points("gauge").into_iter().map(|_| 1.0);
        let counts = points("exponentialHistogram").into_iter();
        let counts = counts.map(|point| point["count"].as_str().and_then(|text| text.parse().ok()).expect("a count"));
        let name = metric["name"].as_str().unwrap_or_default().to_owned();
        *amounts.entry((service, name)).or_default() += sums.chain(gauges).chain(counts).sum::<f64>();
    }
    amounts
}

/// The check of pushing among those of a host's health.
fn health(place: &Place) -> Value {
    let ended = place.on_data(&["health", "--format", "json"]);
    let checks = ended.json()["checks"].clone();
    let found = checks.as_array().into_iter().flatten().find(|check| check["name"] == "otlp");
    found.unwrap_or_else(|| panic!("{checks}")).clone()
}

fn wait_for_health(place: &Place, what: &str) -> Value {
    wait_for(what, || Some(health(place)).filter(|check| check.to_string().contains(what)))
}

fn echo(host: &mut Running, replies: &Lines, count: usize) {
    for number in 0..count {
        host.call(replies, &json!({"extension": "neighbour", "event": "echo", "payload": number}));
    }
}

fn stop(mut host: Running) {
    host.terminate();
    assert_eq!(host.code_within(SOON), Some(0));
}

/// What was pushed of logs and spans is what an export has: each record once.
fn check_traced(place: &Place, data: &[Value]) {
    let logs = ["logs", "errors", "alerts"].map(|what| exported(place, what, "logs"));
    assert!(logs.iter().all(|logs| !in_order(std::slice::from_ref(logs), LOGS).is_empty()));
    assert_eq!(records(data, LOGS), records(&logs, LOGS));
    assert_eq!(records(data, SPANS), records(&[exported(place, "traces", "traces")], SPANS));
}

/// What was pushed of metrics comes to what an export has.
fn check_measured(place: &Place, data: &[Value]) {
    assert_eq!(amounts(data), amounts(&[exported(place, "metrics", "metrics")]));
    check_starts(data);
}

/// Each series' parts of sums come one after the other, and none reaches into another.
fn check_starts(data: &[Value]) {
    let mut ends = BTreeMap::<String, u64>::new();
    let mut parts = 0;
    for one in data {
        for (service, scope, metric) in in_order(std::slice::from_ref(one), METRICS) {
            for kind in ["sum", "exponentialHistogram"] {
                let Some(points) = metric[kind]["dataPoints"].as_array() else { continue };
                assert_eq!(metric[kind]["aggregationTemporality"], "AGGREGATION_TEMPORALITY_DELTA");
                for point in points {
                    let time =
                        |key: &str| point[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time");
                    let series = format!("{service} {scope} {} {}", metric["name"], point["attributes"]);
                    let (start, end) = (time("startTimeUnixNano"), time("timeUnixNano"));
                    let before = ends.insert(series, end);
                    assert!(
                        start < end && before.is_none_or(|before| before <= start),
                        "{before:?} {start} {end} {metric}"
                    );
                    parts += 1;
                }
            }
        }
    }
    assert!(parts > 0);
}

#[test]
fn what_is_pushed_is_read_by_others_in_both_encodings_and_the_last_of_it_at_the_end() {
    for (protocol, compression) in [("http/protobuf", "gzip"), ("http/json", "none")] {
        let (protocol, compression) =
            (&format!("otlp.protocol={protocol}"), &format!("otlp.compression={compression}"));
        let collector = Collector::start();
        let place = place();
        let more =
            [protocol.as_str(), compression, "otlp.batch_records=20", "otlp.interval=1h", "host.shutdown_limit=60s"];
        let host = busy_with(&place, &texts(&collector.settings(&more)));
        // What came after the start of the host, it looks for at its end.
        stop(host);
        let received = collector.received();
        for request in &received {
            let is_json = protocol.ends_with("json");
            let kind = if is_json { "application/json" } else { "application/x-protobuf" };
            assert_eq!(request.header("content-type"), Some(kind), "{}", request.head);
            assert_eq!(request.header("content-encoding"), (!is_json).then_some("gzip"), "{}", request.head);
            assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("OTel-OTLP-Exporter-")));
            if is_json {
                check_letters(&serde_json::from_slice(&request.body).expect("JSON"));
            }
        }
        let paths: BTreeSet<_> = received.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/v1/logs", "/v1/metrics", "/v1/traces"]);
        let data = collector.taken(&place.path(""));
        check_traced(&place, &data);
        check_measured(&place, &data);
    }
}

/// Ids, numbers of 64 bits and enums are written as OpenTelemetry's JSON has them.
fn check_letters(value: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let is_text_of = |digits: fn(u8) -> bool, length: Option<usize>| {
            let text = value.as_str().unwrap_or_default();
            text.bytes().all(digits) && length.map_or(!text.is_empty(), |length| text.len() == length)
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_right = match key.as_str() {
            "traceId" => is_text_of(is_hex, Some(32)),
            "spanId" | "parentSpanId" => is_text_of(is_hex, Some(16)),
            "timeUnixNano"
            | "observedTimeUnixNano"
            | "startTimeUnixNano"
            | "endTimeUnixNano"
            | "count"
            | "zeroCount" => is_text_of(|byte| byte.is_ascii_digit(), None),
            "intValue" => value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()),
            "bucketCounts" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            "severityNumber" | "kind" | "code" | "aggregationTemporality" | "scale" => value.is_u64() || value.is_i64(),
            "asDouble" | "sum" if !value.is_object() => value.is_f64(),
            _ => !key.contains('_'),
        };
        assert!(is_right, "{key}: {value}");
        check_letters(value);
    }
    value.as_array().into_iter().flatten().for_each(check_letters);
}

#[test]
fn what_a_collector_does_not_take_for_now_is_sent_again_and_nothing_is_lost_or_doubled() {
    let failures = [
        Answer::Say(429, "Retry-After: 2\r\n", Vec::new()),
        Answer::Say(502, "", b"<html>bad".to_vec()),
        Answer::Say(503, "Retry-After: nonsense\r\n", Vec::new()),
        Answer::Say(504, "", Vec::new()),
        Answer::Garbage,
        Answer::Close,
        Answer::Hang,
    ];
    let count = failures.len();
    let collector = Collector::with(move |number, _, _| match number % 2 {
        1 if number / 2 < count => failures[number / 2].clone(),
        _ => Answer::Take,
    });
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let more = ["otlp.signals=[\"logs\"]", "otlp.batch_records=4", "otlp.timeout=5s"];
    let (mut host, replies) = place.host(&texts(&collector.settings(&more)));
    echo(&mut host, &replies, 60);
    wait_for("all failures and what comes after them", || (collector.received().len() > 2 * count).then_some(()));
    wait_for_health(&place, " 0 wait");
    stop(host);
    let received = collector.received();
    let data = decoded(&place.path(""), &received);
    let numbers: Vec<_> = data.iter().map(|one| sequences(std::slice::from_ref(one), "neighbour")).collect();
    let taken = || received.iter().zip(&numbers).filter(|(request, _)| request.is_taken());
    let mut all: Vec<_> = taken().flat_map(|(_, numbers)| numbers.clone()).collect();
    all.sort_unstable();
    let expected = records(&[exported(&place, "logs", "logs")], LOGS).len() as u64;
    assert_eq!(all, (1..=expected).collect::<Vec<_>>());
    let asked = received.iter().position(|request| matches!(request.answer, Answer::Say(429, ..))).expect("it came");
    let waited = received[asked + 1].at - received[asked].at;
    assert!(waited >= Duration::from_secs(2), "it was asked to wait longer than {waited:?}");
}

#[test]
fn what_is_refused_or_taken_in_part_is_counted_told_and_not_sent_again() {
    let full = AtomicUsize::new(0);
    let collector = Collector::with(move |_, path, body| {
        assert_eq!(path, "/v1/logs");
        if String::from_utf8_lossy(body).matches("echoed").count() < 5 {
            return Answer::Take;
        }
        match full.fetch_add(1, Ordering::SeqCst) {
            // Of a partial success: three records, and why.
            2 => Answer::Say(200, "Content-Type: application/x-protobuf\r\n", b"\x0a\x07\x08\x03\x12\x03old".to_vec()),
            3 => Answer::Say(400, "", b"\x12\x09no thanks".to_vec()),
            4 => Answer::Say(301, "Location: http://127.0.0.1:1/\r\n", Vec::new()),
            _ => Answer::Take,
        }
    });
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let more = ["otlp.signals=[\"logs\"]", "otlp.batch_records=5", "otlp.interval=2s", "otlp.compression=none"];
    let (mut host, replies) = place.host(&texts(&collector.settings(&more)));
    echo(&mut host, &replies, 60);
    wait_for_health(&place, " 0 wait");
    let check = health(&place);
    stop(host);
    let received = collector.received();
    let data = decoded(&place.path(""), &received);
    let mut numbers = sequences(&data, "neighbour");
    numbers.sort_unstable();
    let expected = records(&[exported(&place, "logs", "logs")], LOGS).len() as u64;
    assert_eq!(numbers, (1..=expected).collect::<Vec<_>>(), "each was sent once, whatever became of it");
    let refused: usize = received
        .iter()
        .zip(&data)
        .filter(|(request, _)| matches!(request.answer, Answer::Say(400 | 301, ..)))
        .map(|(_, data)| data.to_string().matches("glasshouse.sequence").count())
        .sum();
    let detail = check["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("; 3 were rejected by the collector"), "{check}");
    assert!(detail.contains(&format!("; {refused} were refused by the collector")), "{refused}: {check}");
    assert_eq!(check["status"], "healthy", "what came later was taken: {check}");
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "--limit", "1000"]);
    let of_event =
        |event: &str| logs.json_lines().into_iter().filter(|log| log["fields"]["event"] == event).collect::<Vec<_>>();
    let lost = of_event("otlp.lost");
    let sum = |key: &str| lost.iter().filter_map(|log| log["fields"][key].as_u64()).sum::<u64>();
    assert_eq!((sum("rejected"), sum("refused")), (3, refused as u64), "{lost:?}");
}

#[test]
fn an_outage_loses_nothing_though_the_host_is_killed_in_it() {
    let address = nowhere();
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let all = settings(&address, &[]);
    let (mut host, replies) = place.host(&texts(&all));
    echo(&mut host, &replies, 30);
    let check = wait_for_health(&place, "cannot be connected to");
    assert_eq!(check["status"], "degraded", "{check}");
    assert!(check["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("start the collector")), "{check}");
    host.kill();
    let (mut host, replies) = place.host(&texts(&all));
    echo(&mut host, &replies, 30);
    let collector = Collector::at(&address, |_, _, _| Answer::Take);
    let check = wait_for_health(&place, " 0 wait");
    assert_eq!(check["status"], "healthy", "{check}");
    // It goes away while it is connected to, and comes back.
    let mut requests = collector.received();
    drop(collector);
    echo(&mut host, &replies, 10);
    wait_for_health(&place, "fail since");
    let collector = Collector::at(&address, |_, _, _| Answer::Take);
    wait_for_health(&place, " 0 wait");
    host.kill();
    requests.extend(collector.received());
    let data = decoded(&place.path(""), &requests);
    let mut logs = sequences(&data, "neighbour");
    logs.sort_unstable();
    let mut expected = sequences(&[exported(&place, "logs", "logs")], "neighbour");
    expected.sort_unstable();
    assert!(logs == expected && logs.len() >= 70, "{logs:?} {expected:?}");
    let echoes = |data: &[Value]| amounts(data)[&("neighbour".to_owned(), "echoes".to_owned())].to_string();
    assert_eq!(echoes(&data), "70");
    check_starts(&data);
}

#[test]
fn a_kill_doubles_the_request_that_was_on_its_way_and_nothing_else() {
    let (sender, reached) = channel();
    let (sender, kills) = (Mutex::new(sender), 4);
    // Each eleventh request is kept, and its host never hears of it, for as many hosts as are killed.
    let collector = Collector::with(move |number, _, _| {
        if number % 11 < 10 || number / 11 >= kills {
            return Answer::Take;
        }
        sender.lock().expect("nobody panics with it").send(()).expect("the test waits for it");
        Answer::Hang
    });
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let more = ["otlp.signals=[\"logs\"]", "otlp.batch_records=7", "otlp.timeout=10m"];
    let all = collector.settings(&more);
    for _ in 0..kills {
        let (mut host, replies) = place.host(&texts(&all));
        // Enough for as many requests as the next one that hangs takes.
        let mut told = 0;
        wait_for("the request that hangs", || {
            if reached.try_recv().is_ok() {
                return Some(());
            }
            if told < 120 {
                echo(&mut host, &replies, 10);
                told += 10;
            }
            None
        });
        host.kill();
    }
    let (host, _replies) = place.host(&texts(&all));
    wait_for_health(&place, " 0 wait");
    stop(host);
    let received = collector.received();
    let data = decoded(&place.path(""), &received);
    let mut times = BTreeMap::<u64, usize>::new();
    for number in sequences(&data, "neighbour") {
        *times.entry(number).or_default() += 1;
    }
    let expected = records(&[exported(&place, "logs", "logs")], LOGS).len() as u64;
    assert_eq!(times.keys().copied().collect::<Vec<_>>(), (1..=expected).collect::<Vec<_>>(), "none is lost");
    let hung = received.iter().zip(&data).filter(|(request, _)| request.answer == Answer::Hang);
    let on_their_way: BTreeSet<_> =
        hung.flat_map(|(_, data)| sequences(std::slice::from_ref(data), "neighbour")).collect();
    for (number, times) in &times {
        let most = if on_their_way.contains(number) { 2 } else { 1 };
        assert!(*times <= most, "{number} was sent {times} times");
    }
    assert!(times.values().any(|times| *times == 2), "what was on its way was sent again");
}

#[test]
fn what_retention_removes_in_an_outage_is_counted_to_the_record() {
    let address = nowhere();
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let more =
        ["otlp.signals=[\"logs\"]", "defaults.retention.logs_bytes=256KiB", "defaults.debugging.max_log_entries=1000"];
    let (mut host, replies) = place.host(&texts(&settings(&address, &more)));
    host.call(&replies, &json!({"extension": "log-flood", "event": "flood", "payload": 20_000}));
    wait_for_health(&place, "fail since");
    wait_for("retention to do its work", || {
        let kept = place.on_data(&["logs", "show", "--format", "json", "--limit", "100000"]);
        (kept.json_lines().iter().filter(|log| log["extension"] == "log-flood").count() < 20_000).then_some(())
    });
    let collector = Collector::at(&address, |_, _, _| Answer::Take);
    let check = wait_for_health(&place, " 0 wait");
    stop(host);
    let data = collector.taken(&place.path(""));
    let came = sequences(&data, "log-flood");
    let distinct: BTreeSet<_> = came.iter().collect();
    assert_eq!(distinct.len(), came.len());
    let detail = check["detail"].as_str().unwrap_or_default();
    let removed = detail.split("; ").find_map(|part| part.strip_suffix(" were removed by retention before"));
    let removed: usize = removed.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{check}"));
    let last = came.iter().max().copied().unwrap_or_default();
    assert!(removed > 0 && last >= 20_000 && (removed + came.len()) as u64 == last, "{removed} {} {last}", came.len());
}

#[test]
fn secrets_of_headers_are_sent_and_shown_nowhere() {
    let answers = [Answer::Echo(400), Answer::Echo(503), Answer::Echo(200), Answer::Echo(500)];
    let collector = Collector::with(move |number, _, _| answers.get(number).cloned().unwrap_or(Answer::Take));
    check_secrets(&collector.address, "http/protobuf", || collector.received().len() > 6);
    for request in collector.received() {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!(request.header("x-key"), Some(SECRET));
    }
    let (behind, place, grpc) = (Collector::start(), Place::with_plugins(&[]), nowhere());
    let _rotel = rotel::start(&place, &grpc, &nowhere(), &behind);
    check_secrets(&grpc, "grpc", || behind.received().len() > 2);
}

/// Runs a host with secrets in its headers until it has pushed enough, and looks for them wherever it says something.
fn check_secrets(address: &SocketAddr, protocol: &str, is_enough: impl Fn() -> bool) {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let headers = format!("\"Authorization=Bearer {SECRET}\", \"x-key={SECRET}\"");
    place.write("glasshouse.toml", &format!("[otlp]\nheaders = [{headers}]\nprotocol = \"{protocol}\"\n"));
    let config = ["--config", "glasshouse.toml", "--log", "trace"];
    let all = settings(address, &["otlp.batch_records=10"]);
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-"];
    let mut host = place.start(&[&run[..], &config, &texts(&all)].concat());
    let (replies, log) = (host.stdout(), host.stderr());
    echo(&mut host, &replies, 50);
    wait_for("enough to be pushed", || is_enough().then_some(()));
    let shown = [
        place.on_data(&["health"]),
        place.on_data(&["health", "--format", "json"]),
        place.on_data(&[&["doctor", "plugins"], &config[..2], &texts(&all)].concat()),
        place.glasshouse(&[&["config", "show"], &config[..2]].concat()),
        place.glasshouse(&[&["config", "show", "--format", "json"], &config[..2]].concat()),
    ];
    assert!(shown[3].stdout.contains("authorization=***"), "{:?}", shown[3]);
    stop(host);
    let shown = shown.into_iter().chain([place.on_data(&["export", "all"])]);
    for ended in shown {
        assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
    }
    let log = log.all_of_them();
    let teller = if protocol == "grpc" { "h2::" } else { "glasshouse::otlp" };
    assert!(log.iter().any(|line| line.contains(teller)), "there was something to hear of {teller}");
    assert!(!log.iter().any(|line| line.contains(SECRET)));
    check_files(&place.path("data"));
}

/// No file below a folder has the secret in it.
fn check_files(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check_files(&path);
        } else if let Ok(bytes) = fs::read(&path) {
            let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[test]
fn a_signal_that_is_left_out_for_a_while_goes_on_where_it_stopped() {
    let collector = Collector::start();
    let place = Place::with_plugins(&["neighbour"]).lenient();
    for signals in ["[\"logs\", \"metrics\"]", "[\"logs\"]", "[\"metrics\"]"] {
        let signals = format!("otlp.signals={signals}");
        let (mut host, replies) = place.host(&texts(&collector.settings(&[&signals])));
        echo(&mut host, &replies, 10);
        stop(host);
    }
    let data = collector.taken(&place.path(""));
    check_measured(&place, &data);
    let mut came = sequences(&data, "neighbour");
    came.sort_unstable();
    let distinct: BTreeSet<_> = came.iter().collect();
    assert!(distinct.len() == came.len() && came.len() > 20, "{came:?}");
}

#[test]
fn cursors_that_are_damaged_are_told_and_all_that_is_stored_is_sent_again() {
    let collector = Collector::start();
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let all = collector.settings(&["otlp.signals=[\"logs\"]"]);
    let (mut host, replies) = place.host(&texts(&all));
    echo(&mut host, &replies, 5);
    wait_for_health(&place, " 0 wait");
    host.kill();
    let before = sequences(&collector.taken(&place.path("")), "neighbour");
    let file = place.path("data/otlp/neighbour.cursors");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
    let kept = fs::read_to_string(&file).expect("it is text");
    fs::write(&file, kept.replacen(".logs.", ".spans.", 1)).expect("damaging it");
    let (host, _replies) = place.host(&texts(&all));
    wait_for("all to be sent again", || {
        (sequences(&collector.taken(&place.path("")), "neighbour").len() >= 2 * before.len()).then_some(())
    });
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "--limit", "1000"]);
    let told = logs.json_lines().iter().any(|log| log["message"].to_string().contains("it is damaged"));
    assert!(told, "{logs:?}");
    stop(host);
    let mut came = sequences(&collector.taken(&place.path("")), "neighbour").split_off(before.len());
    came.sort_unstable();
    let expected = records(&[exported(&place, "logs", "logs")], LOGS).len() as u64;
    assert_eq!(came, (1..=expected).collect::<Vec<_>>());
}

#[test]
fn a_doctor_says_whether_the_collector_is_there() {
    let place = Place::with_plugins(&[]);
    let collector = Collector::start();
    let doctor = |all: &[String]| {
        let ended = place.glasshouse(&[&["doctor", "plugins", "--format", "json"], &texts(all)[..]].concat());
        let checks = ended.json()["checks"].clone();
        let found = checks.as_array().into_iter().flatten().find(|check| check["name"] == "collector").cloned();
        found.map(|check| (check["verdict"].clone(), check["found"].to_string()))
    };
    assert_eq!(doctor(&[]), None);
    let (verdict, found) = doctor(&collector.settings(&[])).expect("it is looked for");
    assert!(verdict == "ok" && found.contains("can be connected to"), "{found}");
    let (verdict, found) = doctor(&settings(&nowhere(), &[])).expect("it is looked for");
    assert!(verdict == "warning" && found.contains("cannot be connected to"), "{found}");
    place.write("empty.pem", "");
    let tls = ["--set", "otlp.endpoint=https://127.0.0.1:1", "--set", "otlp.certificate=empty.pem"].map(str::to_owned);
    let (verdict, found) = doctor(&tls).expect("it is looked for");
    assert!(verdict == "warning" && found.contains("it has none in PEM that"), "{found}");
}
