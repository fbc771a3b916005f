//! A running host that is asked and changed from outside, by friends and by others.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, wait_for};

/// What all paths start with.
const ROOT: &str = "/api/extensions/debugging";

/// Calls an extension and waits for the reply.
fn call(host: &mut Running, replies: &Lines, extension: &str, event: &str, payload: &Value) -> Value {
    host.call(replies, &json!({"extension": extension, "event": event, "payload": payload}))
}

/// Sends bytes and reads the answer to its end.
fn send(place: &Place, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(place.path("data/control.sock")).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(40))).expect("it can be set");
    // A host that has seen enough may close before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} {ROOT}/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    (head + body).into_bytes()
}

/// The logs of an extension that say who changed what.
fn audit(place: &Place, extension: &str) -> Vec<String> {
    let shown = place.on_data(&["logs", "show", "--extension-id", extension, "--format", "json"]).expect_code(0);
    let by = |log: &Value| log["fields"]["by"].as_str().map(str::to_owned);
    let told = |log: Value| by(&log).map(|by| format!("{by}: {}", log["message"].as_str().unwrap_or_default()));
    shown.json_lines().into_iter().filter_map(told).collect()
}

#[test]
fn budgets_show_what_is_used_of_those_of_telemetry_and_of_the_host_with_the_most_that_was() {
    let place = Place::with_plugins(&["answers", "neighbour"]);
    let (mut host, replies) = place.host(&[]);
    for _ in 0..2 {
        call(&mut host, &replies, "answers", "panic", &json!("two spans deep"));
    }
    call(&mut host, &replies, "neighbour", "echo", &json!("x"));
    let budget = |extension: &str, key: &str| {
        let shown = place.on_data(&["budgets", "show", extension, "--format", "json"]).expect_code(0).json();
        let budgets = shown["budgets"].as_array().expect("a list");
        budgets.iter().find(|budget| budget["key"] == key).unwrap_or_else(|| panic!("{key} is listed")).clone()
    };
    for (extension, key, peak, limit) in [
        ("answers", "budget.open_spans", 2, 128),
        ("answers", "budget.span_depth", 2, 128),
        ("answers", "budget.mailbox", 1, 256),
        ("neighbour", "budget.metrics", 1, 1000),
        ("neighbour", "budget.series_per_metric", 0, 2000),
    ] {
        let budget = budget(extension, key);
        assert_eq!((&budget["peak"], &budget["limit"]), (&json!(peak), &json!(limit)), "{budget}");
    }
    let at_least_one = |key| budget("answers", key)["peak"].as_u64().is_some_and(|peak| peak > 0);
    assert!(at_least_one("budget.fields_per_record") && at_least_one("budget.host_calls_per_call"));
    let elements = budget("neighbour", "budget.table_elements");
    assert!(elements["used"].as_u64() > Some(0) && elements["used"] == elements["peak"], "{elements}");
    for (key, least) in [("budget.instances", 1), ("budget.memories", 1), ("budget.handles", 0)] {
        let budget = budget("neighbour", key);
        assert!(budget["used"].as_u64() >= Some(least) && budget["used"] == budget["peak"], "{budget}");
    }
    let texts = budget("neighbour", "budget.string_bytes");
    assert_eq!((&texts["used"], &texts["limit"]), (&Value::Null, &json!(16 << 10)), "{texts}");
    assert!(texts["peak"].as_u64().is_some_and(|peak| peak > 0 && peak <= 256), "{texts}");
    assert!(texts["note"].as_str().is_some_and(|note| note.starts_with("peak: at least")), "{texts}");
    wait_for("a second in which records were stored", || {
        // Whatever the first calls fell into, one of the seconds has some.
        call(&mut host, &replies, "neighbour", "echo", &json!("x"));
        let stored = ["budget.records_per_second", "budget.record_bytes_per_second"];
        stored.iter().all(|key| budget("neighbour", key)["peak"].as_u64() > Some(0)).then_some(())
    });
    let table = place.on_data(&["budgets", "show", "answers"]).expect_code(0).stdout;
    let line = table.lines().find(|line| line.contains("budget.open_spans")).expect("it is listed");
    assert!(line.contains("2 (1 %)"), "{line}");
}

#[test]
fn budgets_of_a_running_host_are_shown_set_and_released() {
    let place = Place::with_plugins(&["neighbour", "panic", "spin"]);
    let (mut host, replies) = place.host(&[]);
    let mode = std::fs::metadata(place.path("data/control.sock")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A smaller budget holds from the next call on.
    assert_eq!(call(&mut host, &replies, "spin", "work", &json!(1000))["ok"], true);
    let set = place.on_data(&["budgets", "set", "spin", "budget.fuel_per_call=1000000", "budget.warn_at=100"]);
    let set = set.expect_code(0).stdout;
    for line in [
        "spin: budget.fuel_per_call 2000000000 -> 1000000",
        "  [extensions.spin]",
        "  budget.fuel_per_call = 1000000",
        "This holds until the host ends.",
    ] {
        assert!(set.contains(line), "{set}");
    }
    let failed = call(&mut host, &replies, "spin", "spin", &Value::Null);
    assert_eq!(failed["error"]["message"], "used up its 1.00 M of fuel");
    let shown = place.on_data(&["budgets", "show", "spin", "--format", "json"]).expect_code(0).json();
    assert_eq!(shown["standing"]["state"], "warned");
    assert_eq!(shown["standing"]["evidence"]["budget"], "budget.fuel_per_call");
    let budgets = shown["budgets"].as_array().expect("a list");
    let fuel = budgets.iter().find(|budget| budget["key"] == "budget.fuel_per_call").expect("it is listed");
    assert_eq!(
        (&fuel["value"], &fuel["peak"], &fuel["limit"]),
        (&json!("1000000"), &json!(1_000_000), &json!(1_000_000))
    );
    assert!(fuel["origin"].as_str().is_some_and(|origin| origin.starts_with("set while running, by uid ")), "{fuel}");
    let deadline = budgets.iter().find(|budget| budget["key"] == "budget.deadline").expect("it is listed");
    assert_eq!(deadline["origin"], "built-in");

    // Quarantine, and the way out of it.
    for _ in 0..3 {
        call(&mut host, &replies, "panic", "panic", &json!("again"));
    }
    let refused = call(&mut host, &replies, "panic", "count", &Value::Null);
    assert_eq!(refused["error"]["kind"], "quarantined");
    let shown = place.on_data(&["budgets", "show", "panic"]).expect_code(0).stdout;
    assert!(shown.starts_with("panic  quarantined for ") && shown.contains("3 failures in a row"), "{shown}");
    let released = place.on_data(&["budgets", "release", "panic"]).expect_code(0).stdout;
    assert_eq!(released, "panic is healthy; it was quarantined\n");
    assert_eq!(call(&mut host, &replies, "panic", "count", &Value::Null)["ok"], true);
    let again = place.on_data(&["budgets", "release", "panic"]).expect_code(0).stdout;
    assert_eq!(again, "panic: there was nothing to end\n");

    let by = format!("uid {} (process ", rustix::process::geteuid().as_raw());
    let told = audit(&place, "spin");
    assert!(told.iter().any(|log| log.starts_with(&by) && log.contains("from 2000000000 to 1000000")), "{told:?}");
    let told = audit(&place, "panic");
    assert!(told.iter().any(|log| log.starts_with(&by) && log.contains("no longer quarantined")), "{told:?}");
    assert!(audit(&place, "neighbour").is_empty());
}

#[test]
fn debugging_is_switched_while_the_extension_runs_on() {
    let place = Place::with_plugins(&["neighbour"]);
    let (mut host, replies) = place.host(&[]);
    let logs = || {
        let shown = place.on_data(&["logs", "show", "--format", "json", "message=echoed"]).expect_code(0);
        shown.json_lines().len()
    };
    let mut echo = |stored: usize| {
        let before = logs();
        assert_eq!(call(&mut host, &replies, "neighbour", "echo", &json!("x"))["ok"], true);
        assert_eq!(logs() - before, stored);
    };
    echo(1);
    let stopped = place.on_data(&["stop", "--extension-id", "neighbour"]).expect_code(0).stdout;
    assert!(stopped.contains("neighbour: debugging.logging_enabled true -> false"), "{stopped}");
    echo(0);
    let status = place.on_data(&["status", "--format", "json"]).expect_code(0).json();
    assert_eq!(
        (&status["debugging"], &status["enabled_components"], &status["status"]),
        (&json!(false), &json!([]), &json!("ready"))
    );
    place.on_data(&["start", "--extension-id", "neighbour"]).expect_code(0);
    echo(1);
    let twice = place.on_data(&["start", "--extension-id", "neighbour"]).expect_code(0).stdout;
    assert_eq!(twice, "neighbour: nothing to change\n");
    // A stop after a switch was set on by hand forgets nothing of what the first one switched off.
    let enabled = || place.on_data(&["status", "--format", "json"]).expect_code(0).json()["enabled_components"].clone();
    let before = enabled();
    for verb in [
        &["stop", "--extension-id"][..],
        &["debugging", "set"],
        &["stop", "--extension-id"],
        &["start", "--extension-id"],
    ] {
        let value: &[&str] = if verb[0] == "debugging" { &["debugging.logging_enabled=true"] } else { &[] };
        place.on_data(&[verb, &["neighbour"], value].concat()).expect_code(0);
    }
    assert_eq!(enabled(), before);
    assert!(before.as_array().is_some_and(|keys| keys.len() > 1), "{before}");
    place.on_data(&["debugging", "set", "neighbour", "debugging.log_level=error"]).expect_code(0);
    echo(0);
    let shown = place.on_data(&["debugging", "show", "neighbour"]).expect_code(0).stdout;
    assert!(
        shown.lines().any(|line| line.contains("debugging.log_level") && line.contains("set while running")),
        "{shown}"
    );
    let since_then = shown.lines().find(|line| line.contains("debugging.logging_enabled")).unwrap_or_default();
    assert!(since_then.contains("true") && since_then.contains("built-in"), "{shown}");
}

#[test]
fn what_cannot_be_done_says_why_and_what_to_do() {
    let place = Place::with_plugins(&["neighbour"]);
    let missing = place.on_data(&["status"]).expect_code(3).stderr;
    assert!(missing.contains("there is no data directory data"), "{missing}");
    let unnamed = place.glasshouse(&["budgets", "show"]).expect_code(2).stderr;
    assert!(unnamed.contains("name the data directory with --data-dir"), "{unnamed}");
    let (mut running, _replies) = place.host(&[]);
    let check = |arguments: &[&str], expect: &str| {
        let ended = place.on_data(arguments).expect_code(2);
        assert!(ended.stderr.contains(expect), "{ended:?}");
    };
    check(&["budgets", "show", "nobody"], "this host runs no extension \"nobody\"; it runs neighbour");
    check(&["status", "--extension-id", "neighbor"], "(did you mean \"neighbour\"?); it runs neighbour");
    check(
        &["budgets", "set", "neighbour", "budget.dedline=2s"],
        "did you mean \"extensions.neighbour.budget.deadline\"",
    );
    check(&["budgets", "set", "neighbour", "budget.metering=cpu"], "start the host anew");
    check(&["budgets", "set", "neighbour", "debugging.log_level=info"], "is no key of budget.");
    check(&["budgets", "set", "neighbour", "budget.memory=8MiB", "budget.deadline=0s"], "budget.deadline");
    check(&["budgets", "set", "neighbour", "budget.memory"], "a value is missing");
    let shown = place.on_data(&["budgets", "show", "neighbour"]).expect_code(0).stdout;
    assert!(!shown.contains("set while running"), "all of it or nothing: {shown}");

    // A host that is killed leaves its socket, which nobody takes for a host, and which the next one replaces.
    running.kill();
    assert!(place.path("data/control.sock").exists());
    let gone = place.on_data(&["status"]).expect_code(3).stderr;
    assert!(gone.contains("no host runs on the data directory data: start one with"), "{gone}");
    let (running, _replies) = place.host(&[]);
    let second = place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(3);
    assert!(second.stderr.contains("in use by another host"), "{}", second.stderr);
    place.on_data(&["status"]).expect_code(0);
    running.interrupt();
    let mut running = running;
    running.code_within(Duration::from_secs(30));
    assert!(!place.path("data/control.sock").exists(), "a host that ends takes its socket with it");
}

#[test]
fn hostile_clients_are_answered_or_dropped_and_others_are_served() {
    let place = Place::with_plugins(&["neighbour"]);
    let (mut host, replies) = place.host(&[]);
    let check = |bytes: &[u8], expect: &[&str]| {
        let answer = send(&place, bytes);
        for part in expect {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    };
    check(b"\0\x01garbage\r\n\r\n", &["HTTP/1.1 400"]);
    check(&request("GET", "nothing", ""), &["404", "application/problem+json", "\"code\":\"not-found\""]);
    check(&request("DELETE", "managers", ""), &["405", "\"code\":\"method-not-allowed\""]);
    let not_text = ["HTTP/1.1 400", "application/problem+json", "\"code\":\"invalid-path\""];
    check(&request("GET", "managers/%2e%2e%2f%00%ff/status", ""), &not_text);
    check(&request("PATCH", "budgets/%ff", "{}"), &not_text);
    let unknown = ["HTTP/1.1 404", "\"code\":\"unknown-extension\""];
    check(&request("GET", "managers/%2e%2e%2f%00/status", ""), &unknown);
    check(&request("PATCH", "budgets/neighbour", "[1, 2"), &["400", "\"code\":\"invalid-body\""]);
    check(&request("PATCH", "budgets/neighbour", "{\"a\\u001b[2J\": \"1\"}"), &["422", "\"code\":\"invalid-setting\""]);
    let no_session = ["HTTP/1.1 404", "\"code\":\"unknown-session\""];
    check(&request("POST", "sessions/neighbour/%1b%5b2J/stop", ""), &no_session);
    check(&request("POST", "sessions/neighbour/0123456789ab/stop", ""), &no_session);
    check(&request("POST", "sessions/neighbour/start", "{\"set\": {}}"), &["422", "nothing is overridden"]);
    check(
        &request("POST", "sessions/neighbour/start", "{\"set\": {}, \"ever\": 1}"),
        &["400", "\"code\":\"invalid-body\""],
    );
    let for_ever = "{\"set\": {\"log_level\": \"trace\"}, \"for_ms\": 18446744073709551615}";
    check(&request("POST", "sessions/neighbour/start", for_ever), &["422", "\"code\":\"invalid-setting\""]);
    check(&request("GET", "sessions/nobody", ""), &unknown);
    let nested = "[".repeat(60_000);
    check(&request("PATCH", "budgets/neighbour", &nested), &["400", "\"code\":\"invalid-body\""]);
    let huge = format!("{{\"budget.deadline\": \"{}\"}}", "9".repeat(1 << 20));
    check(&request("PATCH", "budgets/neighbour", &huge), &["413", "\"code\":\"body-too-large\""]);
    let head = format!("GET {ROOT}/managers HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    check(head.as_bytes(), &["HTTP/1.1 431"]);

    // Many that say nothing take all places; those that behave get theirs when the silent ones have had their time.
    let silent: Vec<_> =
        (0..64).map(|_| UnixStream::connect(place.path("data/control.sock")).expect("it listens")).collect();
    assert_eq!(call(&mut host, &replies, "neighbour", "echo", &json!("x"))["ok"], true, "calls take no notice");
    wait_for("a place", || (place.on_data(&["status"]).code == Some(0)).then_some(()));
    drop(silent);
    // A body that never comes is given up.
    let begun = format!(
        "PATCH {ROOT}/budgets/neighbour HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{{"
    );
    check(begun.as_bytes(), &["504", "\"code\":\"timeout\""]);
    // Two at once: one of them was the last.
    std::thread::scope(|scope| {
        for value in ["1s", "2s", "3s", "4s"] {
            let place = &place;
            scope.spawn(move || {
                let setting = format!("budget.deadline={value}");
                place.on_data(&["budgets", "set", "neighbour", &setting]).expect_code(0);
            });
        }
    });
    let shown = place.on_data(&["budgets", "show", "neighbour", "--format", "json"]).expect_code(0).json();
    let deadline = shown["budgets"].as_array().and_then(|all| all.iter().find(|one| one["key"] == "budget.deadline"));
    assert!(
        deadline
            .is_some_and(|deadline| ["1s", "2s", "3s", "4s"].contains(&deadline["value"].as_str().unwrap_or_default())),
        "{shown}"
    );
}

#[test]
fn an_aspect_is_switched_off_and_on_while_the_extension_runs() {
    let place = Place::with_plugins(&["aspects"]);
    let (mut host, replies) = place.host(&[]);
    let requests = || {
        let shown = place.on_data(&["logs", "show", "--format", "json", "logger=glasshouse.request"]);
        shown.expect_code(0).json_lines().len()
    };
    let mut tell = |stored: usize| {
        let before = requests();
        assert_eq!(call(&mut host, &replies, "aspects", "tell", &Value::Null)["ok"], true);
        assert_eq!(requests() - before, stored);
    };
    tell(5);
    let set = place.on_data(&["debugging", "set", "aspects", "debugging.aspects.request=false"]).expect_code(0);
    assert!(set.stdout.contains("aspects: debugging.aspects.request true -> false"), "{}", set.stdout);
    tell(0);
    place.on_data(&["debugging", "set", "aspects", "debugging.aspects.request=true"]).expect_code(0);
    tell(5);
    let unknown = place.on_data(&["debugging", "set", "aspects", "debugging.aspects.requests=false"]);
    assert!(unknown.expect_code(2).stderr.contains("debugging.aspects.request"));
}
