//! `glasshouse doctor`: what it finds on a machine that can run a host, and where something is amiss.

use serde_json::Value;

use crate::harness::{Place, end};

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a report has checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn a_machine_that_can_run_a_host_passes_and_each_check_says_what_it_found() {
    let place = Place::with_plugins(&["neighbour", "mute"]);
    let report =
        place.glasshouse(&["doctor", "plugins", "--data-dir", "data", "--format", "json"]).expect_code(0).json();
    assert_eq!(report["extensions"], 2);
    for name in ["configuration", "compiling apart", "cache folder", "data directory", "memory mappings", "open files"]
    {
        let check = check(&report, name);
        assert_ne!(check["verdict"], "failure", "{check}");
        assert!(!check["found"].as_str().unwrap_or_default().is_empty(), "{check}");
        assert_eq!(check["advice"].is_null(), check["verdict"] == "ok", "{check}");
    }
    assert!(!place.path("data").exists(), "it makes nothing");
    let table = place.glasshouse(&["doctor", "plugins"]).expect_code(0);
    assert!(table.stdout.lines().any(|line| line.contains("compiling apart")), "{table:?}");
}

#[test]
fn what_keeps_a_host_from_running_is_a_failure_with_a_remedy() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("data", "a file");
    let ended = place.glasshouse(&["doctor", "plugins", "--data-dir", "data", "--format", "json"]).expect_code(3);
    let report = ended.json();
    assert_eq!(report["verdict"], "failure");
    let data = check(&report, "data directory");
    assert!(data["found"].as_str().unwrap_or_default().contains("is not a folder"), "{data}");
    place.write("glasshouse.toml", "[host]\ncompile_tim = \"1s\"\n");
    let report = place.glasshouse(&["doctor", "--config", "glasshouse.toml", "--format", "json"]).expect_code(3).json();
    let found = check(&report, "configuration")["found"].as_str().unwrap_or_default();
    assert!(found.contains("did you mean \"host.compile_time\""), "{report}");
    let missing = place.glasshouse(&["doctor", "nowhere", "--format", "json"]).expect_code(3).json();
    assert_eq!(check(&missing, "configuration")["verdict"], "failure");
}

#[test]
fn an_extension_that_will_fail_and_a_cache_that_cannot_be_used_are_warnings() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("plugins/unbuilt/extension.toml", "id = \"unbuilt\"\n");
    place.write("file", "no folder");
    let mut command = place.command(&["doctor", "plugins", "--format", "json"]);
    let report = end(command.env("GLASSHOUSE_HOST__CACHE_DIR", "file")).expect_code(0).json();
    let broken = check(&report, "configuration");
    assert_eq!(broken["verdict"], "warning");
    assert!(broken["found"].as_str().unwrap_or_default().contains("such as unbuilt"), "{broken}");
    assert_eq!(check(&report, "cache folder")["verdict"], "warning");
}

#[test]
fn what_keeps_the_api_from_being_served_is_told_and_a_host_that_serves_it_is_known() {
    let place = Place::with_plugins(&["neighbour"]);
    let doctor = |listen: &str| {
        let mut command = place.command(&["doctor", "plugins", "--data-dir", "data", "--format", "json"]);
        end(command.env("GLASSHOUSE_HOST__LISTEN", listen))
    };
    assert_eq!(check(&doctor("off").expect_code(0).json(), "API address")["verdict"], "ok");
    let exposed = doctor("0.0.0.0:0").expect_code(3).json();
    let advice = check(&exposed, "API address")["advice"].as_str().unwrap_or_default().to_owned();
    assert!(advice.contains("host.tls_certificate"), "{exposed}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free one");
    let address = taken.local_addr().expect("it has one").to_string();
    assert_eq!(check(&doctor(&address).expect_code(3).json(), "API address")["verdict"], "failure");
    let (host, _replies) = place.host(&[]);
    let report = doctor(&address).expect_code(0).json();
    let found = check(&report, "API address")["found"].as_str().unwrap_or_default().to_owned();
    assert!(found.contains("a host runs on the data directory"), "{report}");
    assert_eq!(check(&report, "wall clock")["verdict"], "ok");
    drop(host);
}
