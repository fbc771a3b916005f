//! What the author of an extension does: make one, build it, call it, and see where it fails.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, end};

/// The versions of other crates that the tests are built with, so that nothing else is downloaded.
const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");

#[test]
fn a_new_extension_builds_and_answers_its_first_call() {
    let place = Place::with_plugins(&[]);
    place.glasshouse(&["new", "greeter"]).expect_code(0);
    fs::copy(LOCK, place.path("greeter/Cargo.lock")).expect("copying the versions");
    // What is built for it, perhaps a standard library, is kept from one run of the tests to the next.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("greeter");
    fs::create_dir_all(&built).expect("making a folder");
    std::os::unix::fs::symlink(built, place.path("greeter/target")).expect("linking the folder");
    let built = place.glasshouse(&["build", "greeter"]).expect_code(0);
    assert!(built.stdout.contains("greeter.wasm"), "{built:?}");
    let payload = "\"Ada\"";
    let called = place.glasshouse(&["call", "greeter", "--event", "greet", "--payload", payload]).expect_code(0);
    assert_eq!(called.stdout, "\"Hello, Ada!\"\n");
    assert!(called.stderr.contains("greeting Ada name=Ada"), "{}", called.stderr);
    let again = place.glasshouse(&["new", "greeter"]).expect_code(3);
    assert!(again.stderr.contains("not empty"), "{}", again.stderr);
}

#[test]
fn what_does_not_compile_is_said_by_the_compiler() {
    let place = Place::with_plugins(&[]);
    let ended = place.glasshouse(&["build", "plugins"]).expect_code(3);
    assert!(ended.stderr.contains("extension.toml") && ended.stderr.contains("glasshouse new"), "{}", ended.stderr);
    place.glasshouse(&["new", "Not An Id"]).expect_code(2);
}

#[test]
fn a_call_shows_the_reply_the_cost_and_the_logs() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("payload.json", "{\"from\": \"a file\"}");
    let call = ["call", "plugins/neighbour.wasm", "--event", "echo", "--payload"];
    let ended = place.glasshouse(&[&call[..], &["@payload.json"]].concat()).expect_code(0);
    assert_eq!(ended.stdout.trim(), "{\"from\": \"a file\"}");
    assert!(ended.stderr.contains("echoed number=1 size=18"), "{}", ended.stderr);
    assert!(ended.stderr.contains(" fuel, ") && ended.stderr.contains(" CPU, "), "{}", ended.stderr);
    let from_input = place.glasshouse_with_input(&[&call[..], &["-"]].concat(), "[1]").expect_code(0);
    assert_eq!(from_input.stdout.trim(), "[1]");
}

#[test]
fn a_panic_is_shown_with_its_place_and_its_stack() {
    let place = Place::with_plugins(&["panic"]);
    let call = ["call", "plugins/panic.wasm", "--event", "panic", "--payload", "\"noon\""];
    let shown = place.glasshouse(&call).expect_code(4).stderr;
    for expected in ["the kettle boiled dry: noon", "tests/guests/examples/panic.rs:", "boil", "what to do:"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let context = ["--user", "ada", "--tenant", "engines", "--correlation-id", "c-1", "--format", "json"];
    let json = place.glasshouse(&[&call[..], &context].concat()).expect_code(4).json();
    assert_eq!((&json["ok"], &json["error"]["kind"]), (&json!(false), &json!("panic")));
    let stack = json["error"]["stack"].as_array().expect("there is a stack");
    let boil = stack.iter().find(|frame| frame["function"].as_str().is_some_and(|name| name.contains("boil")));
    let place_of_boil = boil.map(ToString::to_string).unwrap_or_default();
    assert!(place_of_boil.contains("tests/guests/examples/panic.rs"), "{stack:?}");
}

#[test]
fn what_a_guest_writes_cannot_move_the_cursor() {
    let place = Place::with_plugins(&["stdio"]);
    let ended = place.glasshouse(&["call", "plugins/stdio.wasm", "--event", "speak"]).expect_code(0);
    assert!(ended.stderr.contains("\\u{1b}[31mred"), "{}", ended.stderr);
    let raw = |text: &str| text.chars().any(|character| character.is_control() && character != '\n');
    assert!(!raw(&ended.stderr) && !raw(&ended.stdout), "{ended:?}");
}

#[test]
fn the_second_call_compiles_nothing() {
    let place = Place::with_plugins(&["neighbour"]);
    let compiled = || -> Option<Value> {
        let mut command = place.command(&["call", "plugins/neighbour.wasm", "--event", "count", "--format", "json"]);
        let shown = end(command.env("XDG_CACHE_HOME", place.path("cache"))).expect_code(0).json();
        let started = shown["logs"].as_array()?.iter().find(|log| log["message"] == "started")?.clone();
        Some(started["fields"]["compiled"].clone())
    };
    assert_eq!(compiled(), Some(json!(true)));
    assert_eq!(compiled(), Some(json!(false)));
}
