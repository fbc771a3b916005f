//! The command on a host at an address: each verb prints what it prints of the host's data directory, and follows what is cut off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::served::{Served, ping};
use crate::harness::{Ended, Lines, Place, Running, wait_for};

/// Runs a verb on a host at an address.
pub(super) fn over(place: &Place, served: &Served, arguments: &[&str]) -> Ended {
    let url = format!("http://{}", served.address);
    place.glasshouse(&[arguments, &["--host", &url, "--token-file", "data/admin.token"]].concat())
}

/// A host whose extensions have logged, counted, failed and raised alerts.
fn busy(place: &Place) -> Served {
    let settings = ["--set", "defaults.debugging.tracing_enabled=true", "--set", "defaults.budget.failures_in_a_row=9"];
    let mut served = Served::start_with(place, &settings);
    for number in 0..12 {
        let mut call = ping(number);
        call["user"] = json!("ada");
        call["correlation_id"] = json!(format!("order-{number}"));
        assert_eq!(served.call(&call)["ok"], true);
    }
    served.call(&json!({"extension": "panic", "event": "panic", "payload": "noon", "user": "ada"}));
    let alert = json!({"name": "full", "title": "=1+1", "metric": null});
    served.call(&json!({"extension": "alarmist", "event": "raise", "payload": alert}));
    served
}

#[test]
fn each_verb_prints_over_an_address_what_it_prints_of_the_data_directory() {
    let place = Place::with_plugins(&["neighbour", "panic", "alarmist"]).lenient();
    let served = busy(&place);
    let first = |arguments: &[&str], name: &str| {
        let told = place.on_data(&[arguments, &["--format", "json"]].concat()).expect_code(0);
        told.json_lines()[0][name].as_str().expect("a text").to_owned()
    };
    let cursor = first(&["logs", "search", "--extension-id", "neighbour", "echoed limit 1"], "cursor");
    let group = first(&["errors", "groups"], "group");
    let alert = first(&["alerts", "list"], "alert");
    // What fires goes on to be counted.
    place.on_data(&["alerts", "resolve", &alert]).expect_code(0);
    let verbs: &[&[&str]] = &[
        &["status"],
        &["status", "--extension-id", "panic"],
        &["debugging", "show"],
        &["debugging", "show", "panic"],
        &["health", "--extension-id", "neighbour"],
        &["tokens", "list"],
        &["logs", "show"],
        &["logs", "show", "--level", "info", "message:echoed or message:boiled"],
        &["logs", "show", "--limit", "3", "oldest first"],
        &["logs", "search", "--extension-id", "neighbour", "echoed since 1h limit 5"],
        &["logs", "search", "--extension-id", "host", "has message"],
        &["logs", "around", &cursor, "--before", "2", "--after", "3"],
        &["logs", "counts", "--bucket", "1h"],
        &["logs", "patterns"],
        &["invocations", "show", "name=\"handle:echo\""],
        &["errors", "show"],
        &["errors", "show", "--unresolved"],
        &["errors", "patterns", "--unresolved"],
        &["errors", "explain", &group],
        &["alerts", "list"],
        &["alerts", "show", "--severity", "low"],
        &["alerts", "history", &alert],
        &["metrics", "show", "--hours", "1", "name=echoes"],
        &["metrics", "summary", "--since", "2020-01-01", "--until", "2100-01-01", "name=echoes"],
        &["metrics", "summary", "--together", "--until", "2100-01-01", "--since", "2020-01-01", "name=echoes"],
        &["traces", "show"],
        &["traces", "list", "name=\"handle:echo\""],
        &["traces", "list", "--extension-id", "panic"],
        &["traces", "slowest", "name=\"handle:echo\""],
        &["trace", "order-7"],
        &["activity", "--user", "ada"],
        &["debug", "list"],
        &["sessions"],
    ];
    for verb in verbs {
        for format in ["table", "json", "csv"] {
            if format == "csv" && verb[0] == "trace" {
                continue;
            }
            let arguments = [verb, &["--format", format][..]].concat();
            // What a host does by itself comes between now and then.
            let (of_folder, of_host) = wait_for(&format!("{arguments:?} to stand still"), || {
                let before = place.on_data(&arguments);
                let of_host = over(&place, &served, &arguments);
                (before.stdout == place.on_data(&arguments).stdout).then_some((before, of_host))
            });
            assert_eq!(of_folder.code, Some(0), "{arguments:?}: {of_folder:?}");
            assert_eq!(of_host.stdout, of_folder.stdout, "{arguments:?}: {of_host:?}");
            assert!(!(format == "csv" && of_host.stdout.contains(",=1+1")), "{of_host:?}");
            assert_eq!((of_host.code, of_host.stderr), (of_folder.code, of_folder.stderr), "{arguments:?}");
            if format == "csv" && matches!(verb[0], "status" | "debugging" | "health" | "tokens") {
                let lines: Vec<_> = of_folder.stdout.split_terminator("\r\n").collect();
                assert!(lines.len() > 1 && lines[0].contains(','), "{arguments:?}: {lines:?}");
            }
        }
    }
    for export in [
        &["export", "logs", "--query", "message:echoed"][..],
        &["export", "all", "--extension-id", "neighbour", "--query", "name=\"handle:echo\"", "--format", "csv"],
        &["export", "traces", "--query", "name=\"handle:echo\" or name=\"handle:panic\"", "--format", "jaeger"],
        &["export", "alerts", "--format", "json", "--extension-id", "alarmist", "--extension-id", "panic"],
    ] {
        let (of_folder, of_host) = (place.on_data(export).expect_code(0), over(&place, &served, export).expect_code(0));
        assert_eq!(of_host.stdout, of_folder.stdout, "{export:?}");
    }
    // What is used changes between two looks, so that only the form of this one is compared.
    let budgets = over(&place, &served, &["budgets", "show", "--format", "csv"]).expect_code(0).stdout;
    let head = budgets.lines().next().unwrap_or_default().to_owned();
    assert_eq!(head.trim_end(), "extension,key,limit,note,origin,peak,used,value");
    assert!(["alarmist", "neighbour", "panic"].iter().all(|id| budgets.contains(&format!("\n{id},budget.deadline,"))));
    let current = ["metrics", "current", "name=echoes", "--format", "json"];
    let names = |told: Ended| -> Vec<Value> {
        told.expect_code(0).json_lines().iter().map(|one| json!([one["name"], one["sum"], one["last_at"]])).collect()
    };
    let of_host = names(over(&place, &served, &current));
    assert!(!of_host.is_empty());
    assert_eq!(of_host, names(place.on_data(&current)));
    let told = over(&place, &served, &["export", "logs", "--output", "logs.jsonl"]).expect_code(0);
    assert!(told.stderr.contains(" to logs.jsonl") && place.read("logs.jsonl").contains("echoed"), "{told:?}");
    for (wrong, why) in [
        (&["logs", "show", "--extension-id", "nobody"][..], "there are alarmist, host, neighbour, panic"),
        (&["logs", "search", "messge:x"], "did you mean \"message\"?"),
        (&["errors", "resolve", "ffffffffffff"], "`glasshouse errors groups` lists them"),
        (&["export", "logs", "--format", "jaeger"], "export `traces`"),
        (&["status", "--extension-id", "neighbor"], "did you mean \"neighbour\"?"),
    ] {
        let told = over(&place, &served, wrong).expect_code(2);
        assert!(told.stderr.contains(why), "{wrong:?}: {told:?}");
    }
}

#[test]
fn more_records_than_a_page_has_come_page_by_page() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.deadline=10m"]);
    served.call(&json!({"extension": "log-flood", "event": "flood", "payload": 3000}));
    for verb in [
        &["logs", "show", "--limit", "2345", "--format", "json"][..],
        &["logs", "show", "--format", "csv", "--extension-id", "log-flood", "oldest first limit 2345"],
        &["logs", "patterns", "--extension-id", "log-flood"],
    ] {
        let (of_folder, of_host) = (place.on_data(verb).expect_code(0), over(&place, &served, verb).expect_code(0));
        assert_eq!((of_host.stdout == of_folder.stdout, of_host.stderr), (true, of_folder.stderr), "{verb:?}");
    }
}

#[test]
fn a_host_at_an_address_is_steered_and_its_extensions_are_called() {
    let place = Place::with_plugins(&["neighbour", "panic", "alarmist", "context"]).lenient();
    let served = busy(&place);
    let run = |arguments: &[&str]| over(&place, &served, arguments);
    let echoed = run(&["call", "neighbour", "--event", "echo", "--payload", "[1, 2]", "--user", "bob"]).expect_code(0);
    assert_eq!(echoed.stdout, "[1, 2]\n", "{echoed:?}");
    assert!(echoed.stderr.contains("echoed") && echoed.stderr.contains("handle:echo: "), "{echoed:?}");
    let failed =
        run(&["call", "--extension-id", "panic", "--event", "panic", "--payload", "\"x\"", "--format", "json"]);
    let failed = failed.expect_code(4).json();
    assert_eq!((&failed["ok"], &failed["invocation"]["outcome"]), (&json!(false), &json!("trap")), "{failed}");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let along = ["--traceparent", parent, "--tracestate", "ot=th:0,rojo=1", "--baggage", "tier=gold%21"];
    let told = run(&[&["call", "context", "--event", "headers"][..], &along].concat()).expect_code(0);
    let told: [String; 4] = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{told:?}: {error}"));
    assert!(told[0].starts_with(&parent[..36]), "{told:?}");
    assert_eq!(told[1..], ["ot=th:0,rojo=1", "tier=gold%21", "gold!"]);
    let refused = run(&["call", "neighbour", "--event", "echo", "--content-type", "text/plain"]).expect_code(2);
    assert!(refused.stderr.contains("--content-type is for an extension that is called from its file"), "{refused:?}");

    run(&["budgets", "set", "--extension-id", "neighbour", "budget.deadline=3s"]).expect_code(0);
    let budgets = run(&["budgets", "show", "--extension-id", "neighbour"]).expect_code(0);
    assert!(budgets.stdout.contains("3s"), "{budgets:?}");
    run(&["budgets", "set", "budget.deadline=3s"]).expect_code(2);
    run(&["budgets", "set", "neighbour"]).expect_code(2);
    run(&["budgets", "release", "--extension-id", "panic"]).expect_code(0);
    run(&["stop", "--extension-id", "neighbour"]).expect_code(0);
    let url = format!("http://{}", served.address);
    let listed = place.glasshouse(&["list", "--host", &url, "--token", &served.token]).expect_code(0);
    assert_eq!(listed.stdout, run(&["status"]).expect_code(0).stdout);
    run(&["start", "--extension-id", "neighbour"]).expect_code(0);
    run(&["health", "--extension-id", "neighbour", "--check"]).expect_code(0);

    let started = run(&["debug", "start", "--extension-id", "neighbour", "log_level=trace", "--format", "json"]);
    let session = started.expect_code(0).json()["session"].as_str().expect("an id").to_owned();
    over(&place, &served, &["call", "neighbour", "--event", "echo"]).expect_code(0);
    run(&["debug", "stop", &session]).expect_code(0);
    let shown = run(&["debug", "show", &session[..8]]).expect_code(0);
    assert_eq!(shown.stdout, place.on_data(&["debug", "show", &session]).expect_code(0).stdout);
    assert!(shown.stdout.contains("echoed"), "{shown:?}");

    let first = |arguments: &[&str], name: &str| {
        run(&[arguments, &["--format", "json"]].concat()).expect_code(0).json_lines()[0][name]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    run(&["errors", "resolve", &first(&["errors", "patterns"], "group"), "--notes", "mended"]).expect_code(0);
    assert_eq!(run(&["errors", "show", "--unresolved", "--extension-id", "panic"]).expect_code(0).stdout, "");
    let alert = first(&["alerts", "list", "--extension-id", "alarmist"], "alert");
    run(&["alerts", "resolve", &alert, "--notes", "calm"]).expect_code(0);
    let stats = run(&["alerts", "stats", "--extension-id", "alarmist", "--format", "json"]).expect_code(0);
    assert_eq!(stats.json_lines()[0]["state"], "resolved", "{stats:?}");
}

/// Passes connections on to a host, until it is told to cut them.
struct Middle {
    address: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Middle {
    fn start(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free address");
        let address = listener.local_addr().expect("it has one").to_string();
        let (open, host) = (Arc::<Mutex<Vec<TcpStream>>>::default(), host.to_owned());
        let all = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&host) else { continue };
                let mut known = all.lock().expect("nobody panics with it");
                let copy = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                known.extend([copy(&client), copy(&server)]);
                pass(copy(&client), copy(&server));
                pass(server, client);
            }
        });
        Self { address, open }
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("nobody panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 300];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// A follower of the calls of `neighbour`, who finds the token by itself or names it.
fn follower(place: &Place, url: &str, token: [&str; 2]) -> (Running, Lines) {
    let query = "name=\"handle:echo\" oldest first";
    let follow = ["invocations", "follow", "--extension-id", "neighbour", "--format", "json", query];
    let mut follower = place.start(&[&follow[..], &["--host", url], &token].concat());
    let lines = follower.stdout();
    (follower, lines)
}

fn sequences(lines: &Lines) -> Vec<u64> {
    let read = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].as_u64();
    lines.so_far().iter().map(|line| read(line).expect("a record")).collect()
}

fn stored(place: &Place) -> Vec<u64> {
    let show = ["invocations", "show", "--extension-id", "neighbour", "--format", "json", "--limit", "1000"];
    let told = place.on_data(&[&show[..], &["name=\"handle:echo\" oldest first"]].concat()).expect_code(0);
    told.json_lines().iter().map(|one| one["sequence"].as_u64().expect("a number")).collect()
}

#[test]
fn a_follower_whose_connection_is_cut_goes_on_with_nothing_lost_or_doubled() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    for number in 0..5 {
        served.call(&ping(number));
    }
    let middle = Middle::start(&served.address);
    let (_follower, lines) =
        follower(&place, &format!("http://{}", middle.address), ["--token-file", "data/admin.token"]);
    wait_for("what was there", || (lines.count() == 5).then_some(()));
    for round in 0..4 {
        for number in 0..20 {
            served.call(&ping(number));
            if number == 5 * round {
                middle.cut();
            }
        }
    }
    wait_for("all of them", || (lines.count() >= 85).then_some(()));
    assert_eq!(sequences(&lines), stored(&place));
}

#[test]
fn a_follower_outlives_a_host_that_is_killed_and_starts_again_on_its_address() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free address").local_addr().expect("it has one").to_string();
    let mut served = Served::start_on(&place, &free, &[]);
    for number in 0..5 {
        served.call(&ping(number));
    }
    let (mut follower, lines) = follower(&place, &format!("http://{free}"), ["--data-dir", "data"]);
    let notes = follower.stderr();
    wait_for("what was there", || (lines.count() == 5).then_some(()));
    served.call(&ping(5));
    served.host.kill();
    notes.wait_for("trying again");
    let mut served = Served::start_on(&place, &free, &[]);
    for number in 0..5 {
        served.call(&ping(number));
    }
    wait_for("all of them", || (lines.count() >= 11).then_some(()));
    assert_eq!(sequences(&lines), stored(&place));
    notes.wait_for("connected again");
    // Whose token is revoked hears why it ends.
    let id = served.get("tokens").expect(200).json()[0]["id"].as_str().expect("an id").to_owned();
    served.ask(&format!("DELETE {}/tokens/{id}", super::served::ROOT), Some(&served.token), "", "").expect(200);
    notes.wait_for("does not let you in");
    assert_eq!(follower.code_within(std::time::Duration::from_mins(1)), Some(3));
}
