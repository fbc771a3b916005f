//! What a host says of its health: each of its parts is there, and what does not work comes with its cause and what to do.

use std::fs;

use serde_json::{Value, json};

use super::served::{ROOT, Served, ask};
use crate::data_dir::on_a_full_disk;
use crate::harness::{Place, Running, wait_for};

fn checks(health: &Value) -> &Vec<Value> {
    health["checks"].as_array().unwrap_or_else(|| panic!("{health}"))
}

fn names(health: &Value) -> Vec<&str> {
    checks(health).iter().map(|check| check["name"].as_str().expect("a name")).collect()
}

fn check<'h>(health: &'h Value, name: &str) -> &'h Value {
    checks(health).iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {health}"))
}

/// Each check that is not healthy has a cause and a remedy.
fn expect_remedies(health: &Value) {
    let says = |check: &Value, what: &str| check[what].as_str().is_some_and(|text| !text.is_empty());
    for check in checks(health) {
        assert!(check["status"] == "healthy" || (says(check, "detail") && says(check, "remedy")), "{check}");
    }
}

#[test]
fn each_part_of_a_host_and_each_extension_is_checked() {
    let place = Place::with_plugins(&["neighbour", "traps", "canary"]);
    place.write("plugins/broken.wasm", "no component");
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.failures_in_a_row=1"]);
    let own = ["engine", "ticker", "recorder", "disk"];
    let of_extensions = ["extension broken", "extension canary", "extension neighbour", "extension traps"];
    let health = served.get("health").expect(200).json();
    assert_eq!(names(&health), [&own[..], &of_extensions].concat());
    for name in own {
        assert_eq!(check(&health, name)["status"], "healthy", "{health}");
    }
    assert!(check(&health, "engine")["detail"].as_str().is_some_and(|text| text.contains("fuel")), "{health}");
    assert!(check(&health, "disk")["detail"].as_str().is_some_and(|text| text.contains("16.0 GiB")), "{health}");
    served.call(&json!({"extension": "traps", "event": "out-of-bounds", "payload": null}));
    // What an extension finds of itself is its own to mend, which is said.
    let low = json!({"extension": "canary", "event": "plant", "payload": {"place": "health-detail", "texts": ["low"]}});
    assert_eq!(served.call(&low)["ok"], true);
    let of_canary = served.post("health/canary/check", &json!({})).expect(200).json();
    assert_eq!((&of_canary["status"], &check(&of_canary, "store")["detail"]), (&json!("degraded"), &json!("low")));
    let health = served.get("health").expect(200).json();
    let of = |name: &str| check(&health, &format!("extension {name}"))["status"].as_str();
    let expected = [Some("unhealthy"), Some("degraded"), Some("healthy"), Some("unhealthy")];
    assert_eq!(["broken", "canary", "neighbour", "traps"].map(of), expected, "{health}");
    expect_remedies(&health);
    expect_remedies(&of_canary);
    let shown = place.on_data(&["health"]).expect_code(4).stdout;
    assert!(names(&health).iter().all(|name| shown.contains(name)), "{shown}");
    served.host.terminate();
    assert_eq!(served.host.code_within(std::time::Duration::from_mins(1)), Some(0));

    // What is switched on is checked as well; a collector that is not there is told.
    let more =
        ["--set", "files.folder=logs", "--set", "otlp.endpoint=http://127.0.0.1:9", "--set", "otlp.interval=100ms"];
    let by_clock = ["--set", "extensions.neighbour.budget.metering=cpu"];
    let served = Served::start_with(&place, &[&more[..], &by_clock].concat());
    let health = wait_for("the collector to be missed", || {
        let health = served.get("health").expect(200).json();
        (check(&health, "otlp")["status"] == "degraded").then_some(health)
    });
    assert_eq!(names(&health), [&own[..], &["files", "otlp"], &of_extensions].concat());
    expect_remedies(&health);
    let says = |name: &str, text: &str| check(&health, name)["detail"].as_str().is_some_and(|told| told.contains(text));
    assert!(says("engine", "epochs") && says("ticker", "slices end by the clock"), "{health}");
}

#[test]
fn a_full_disk_is_told_with_what_to_do() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    place.glasshouse(&["call", "plugins/neighbour.wasm", "--event", "count"]).expect_code(0);
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-"];
    let mut host = Running::start(&mut on_a_full_disk(&place, &run));
    let (replies, told) = (host.stdout(), host.stderr());
    let echo = json!({"extension": "neighbour", "event": "echo", "payload": "x"});
    (0..3000).for_each(|_| host.tell(&echo));
    wait_for("all calls to be answered", || (replies.count() == 3000).then_some(()));
    told.wait_for("cannot be written to the disk");
    let health = place.on_data(&["health", "--format", "json"]).expect_code(0).json();
    assert_eq!(health["status"], "degraded", "{health}");
    for name in ["recorder", "disk"] {
        assert_eq!(check(&health, name)["status"], "degraded", "{health}");
    }
    expect_remedies(&health);
    assert!(check(&health, "disk")["remedy"].as_str().is_some_and(|text| text.contains("free space")), "{health}");
}

#[test]
fn a_host_is_ready_once_what_it_compiles_is_loaded() {
    let place = Place::with_plugins(&["neighbour"]);
    // Components that nobody has compiled before: the same, each with a section of its own.
    let component = fs::read(crate::harness::guest("neighbour")).expect("it is built");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_nanos();
    for number in 0..4 {
        let name = format!("made-at-{now}-{number}");
        let length = u8::try_from(name.len()).expect("a short name");
        let section = [&[0, length + 1, length], name.as_bytes()].concat();
        fs::write(place.path(&format!("plugins/fresh-{number}.wasm")), [&component[..], &section].concat())
            .expect("writing a component");
    }
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--listen", "127.0.0.1:0"];
    let mut host = place.start(&[&run[..], &["--set", "host.compile_threads=1"]].concat());
    let note = host.stderr().wait_for("the API listens on http");
    let address = note.split("http://").nth(1).and_then(|rest| rest.split(';').next()).expect("it says where").trim();
    let mut early = Vec::new();
    wait_for("it to be ready", || {
        let answer = ask(address, "GET /readyz", None, "", "");
        let is_ready = answer.status == 200;
        early.extend((!is_ready).then_some(answer));
        is_ready.then_some(())
    });
    // It listens before it has compiled anything, and is alive then.
    assert!(!early.is_empty(), "it was ready at once");
    for answer in early {
        answer.expect_problem(503, "unavailable");
    }
    let token = place.read("data/admin.token");
    let managers = ask(address, &format!("GET {ROOT}/managers"), Some(token.trim_end()), "", "").expect(200).json();
    assert!(managers.as_array().is_some_and(|all| all.iter().all(|one| one["status"] == "ready")), "{managers}");
}
