//! Groups of errors: found, explained and resolved by the command, under a host that runs, was killed, and runs again.

use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running};

/// Makes the guest panic, on behalf of a user.
fn panic(host: &mut Running, replies: &Lines, user: &str) {
    host.call(replies, &json!({"extension": "panic", "event": "panic", "payload": user, "user": user}));
}

fn groups(place: &Place) -> Vec<Value> {
    place.on_data(&["errors", "groups", "--format", "json"]).expect_code(0).json_lines()
}

#[test]
fn a_group_is_resolved_outlives_a_killed_host_and_comes_back_by_a_later_error() {
    let place = Place::with_plugins(&[]);
    place.extension("panic", "panic", "version = \"1.2.0\"\n");
    let (mut running, replies) = place.host(&[]);
    panic(&mut running, &replies, "ada");
    panic(&mut running, &replies, "grace");
    let found = groups(&place);
    assert_eq!(found.len(), 1, "{found:?}");
    let group = &found[0];
    assert_eq!((&group["state"], &group["count"], &group["users"]), (&json!("new"), &json!(2), &json!(2)));
    assert_eq!(group["components"][0]["version"], "1.2.0");
    let id = group["group"].as_str().expect("it has an id");

    let told = place.on_data(&["errors", "explain", &id[..8]]).expect_code(0).stdout;
    for part in [
        "the kettle boiled dry",
        "by functions, of kind panic",
        "panic::boil",
        "about to panic",
        "Its call:",
        "What to do: mend",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let unknown = place.on_data(&["errors", "resolve", "ffffffffffff"]).expect_code(2);
    assert!(unknown.stderr.contains("`glasshouse errors groups` lists them"), "{unknown:?}");
    let wrong = place.on_data(&["errors", "resolve", id, "--fixed-in", "soon"]).expect_code(2);
    assert!(wrong.stderr.contains("write one such as 1.3.0"), "{wrong:?}");
    let long = format!("1.0.0-{}", "a".repeat(100));
    let wrong = place.on_data(&["errors", "resolve", id, "--fixed-in", &long]).expect_code(2);
    assert!(wrong.stderr.contains("write one such as 1.3.0"), "{wrong:?}");
    let resolve = ["errors", "resolve", id, "--notes", "less \u{1b}[2J steam"];
    let told = place.on_data(&resolve).expect_code(0).stdout;
    assert!(told.contains("an error of version 1.2.0 or a later one"), "{told}");
    running.kill();

    // What was acknowledged is there, without the host and with another one.
    let stored = groups(&place);
    assert_eq!(
        (&stored[0]["state"], &stored[0]["resolution"]["notes"]),
        (&json!("resolved"), &json!("less \u{1b}[2J steam"))
    );
    assert!(stored[0]["resolution"]["by"].as_str().is_some_and(|by| by.starts_with("uid ")), "{stored:?}");
    assert!(!place.on_data(&["errors", "explain", id]).expect_code(0).stdout.contains('\u{1b}'));
    assert!(
        place.on_data(&["errors", "show", "--unresolved", "--format", "json"]).expect_code(0).json_lines().is_empty()
    );
    assert!(
        place.on_data(&["errors", "patterns", "--unresolved", "--format", "json"]).expect_code(0).stdout.is_empty()
    );
    let refused = place.on_data(&resolve).expect_code(3);
    assert!(refused.stderr.contains("no host runs on the data directory"), "{refused:?}");

    let (mut running, replies) = place.host(&[]);
    assert_eq!(groups(&place)[0]["state"], "resolved");
    panic(&mut running, &replies, "ada");
    let back = &groups(&place)[0];
    assert_eq!((&back["state"], &back["count"], &back["group"]), (&json!("regressed"), &json!(3), &json!(id)));
    let by = place.on_data(&["logs", "show", "--format", "json", "field.event=\"errors.resolved\""]).expect_code(0);
    assert_eq!(by.json_lines()[0]["fields"]["group"], id);
}

#[test]
fn a_group_shows_whether_its_errors_came_by_the_same_input_and_each_of_the_latest_with_all_that_led_to_it() {
    let place = Place::with_plugins(&["answers"]);
    let (mut running, replies) = place.host(&[]);
    for text in ["first", "second", "first"] {
        running.call(&replies, &json!({"extension": "answers", "event": "panic", "payload": text, "user": text}));
    }
    let group = &groups(&place)[0];
    assert_eq!((&group["count"], &group["inputs"], &group["with_input"]), (&json!(3), &json!(2), &json!(3)));
    let id = group["group"].as_str().expect("it has an id");
    let told = place.on_data(&["errors", "explain", id]).expect_code(0).stdout;
    for part in
        ["2 different ones in all 3", "Number 3:", "open when its call ended:", "outer", "inner", "about to panic"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let second = place.on_data(&["errors", "explain", id, "--number", "2"]).expect_code(0).stdout;
    assert!(second.contains("Number 2:") && second.contains("text=second"), "{second}");
    let none = place.on_data(&["errors", "explain", id, "--number", "9"]).expect_code(2);
    assert!(none.stderr.contains("there are 1, 2, 3"), "{none:?}");
    let shown = place.on_data(&["errors", "explain", id, "--format", "json"]).expect_code(0).json_lines();
    let samples = shown[0]["context"]["samples"].as_array().expect("samples");
    let digest = |index: usize| samples[index]["error"]["input_digest"].as_str().expect("a digest");
    assert!(digest(0) == digest(2) && digest(0) != digest(1), "{samples:?}");
    assert_eq!(samples[1]["invocation"]["input_digest"], digest(1));
    assert!(samples[1]["invocation"]["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{samples:?}");

    let query = format!("input_digest={}", digest(0));
    let same = place.on_data(&["errors", "show", "--format", "json", &query]).expect_code(0).json_lines();
    assert_eq!(same.iter().map(|error| &error["sequence"]).collect::<Vec<_>>(), [&json!(1), &json!(3)]);
    let shown = place.on_data(&["errors", "show", &query]).expect_code(0).stdout;
    assert!(shown.contains(&format!("input {}", &digest(0)[..12])), "{shown}");
}

#[test]
fn an_error_that_comes_of_what_was_not_granted_names_the_setting_that_grants_it() {
    let place = Place::with_plugins(&["answers"]);
    let (mut running, replies) = place.host(&[]);
    for permission in ["publish", "call", "http", "a card"] {
        running.tell(&json!({"extension": "answers", "event": "insist", "payload": permission}));
    }
    replies.wait_for("a card was denied");
    let mut settings: Vec<_> = groups(&place).iter().map(|group| group["suggestion"]["setting"].clone()).collect();
    settings.sort_by_key(Value::to_string);
    let named = ["permissions.call", "permissions.http", "permissions.publish"].map(Value::from);
    assert_eq!(settings[..3], named);
    assert_eq!(settings[3..], [Value::Null], "what a guest denies is its own matter");
    let found = groups(&place);
    let http = found.iter().find(|group| group["suggestion"]["setting"] == "permissions.http").expect("it is there");
    let told = place.on_data(&["errors", "explain", http["group"].as_str().expect("an id")]).expect_code(0).stdout;
    assert!(told.contains("[extensions.ID.permissions]") && told.contains("permissions.http"), "{told}");
}

#[test]
fn a_failure_that_is_a_limit_names_its_setting_and_its_present_value() {
    let place = Place::with_plugins(&["spin"]);
    let (mut running, replies) = place.host(&["--set", "defaults.budget.fuel_per_call=20000000"]);
    running.tell(&json!({"extension": "spin", "event": "spin", "payload": null}));
    replies.wait_for("breach.fuel");
    let found = groups(&place);
    let suggestion = &found[0]["suggestion"];
    assert_eq!((&suggestion["setting"], &suggestion["value"]), (&json!("budget.fuel_per_call"), &json!("20000000")));
    let told = place.on_data(&["errors", "explain", found[0]["group"].as_str().expect("an id")]).expect_code(0).stdout;
    assert!(told.contains("budget.fuel_per_call is 20000000 now"), "{told}");
}
