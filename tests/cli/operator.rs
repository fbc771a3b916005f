//! What an operator asks before a run: lists, inspection, the configuration in effect, and what went wrong.

use serde_json::{Value, json};

use crate::harness::{Ended, Place, end, json_lines};

fn cause(listed: &[Value], extension: &str) -> String {
    let found = listed.iter().find(|listed| listed["extension"] == extension);
    let found = found.unwrap_or_else(|| panic!("{extension} is not in {listed:?}"));
    assert_eq!(found["state"], "failed");
    found["cause"].as_str().expect("a failed one has a cause").to_owned()
}

#[test]
fn an_unknown_key_is_refused_with_line_column_and_the_nearest_known_key() {
    let place = Place::with_plugins(&["neighbour"]);
    place.link("neighbour", "plugins/typo/typo.wasm");
    place.write("plugins/typo/extension.toml", "id = \"typo\"\n\n[budget]\n  deadlin = \"2s\"\n");
    let ended = place.glasshouse(&["list", "plugins", "--format", "json"]).expect_code(0);
    let listed = ended.json_lines();
    let cause = cause(&listed, "typo");
    assert!(cause.contains("line 4") && cause.contains("column 3"), "{cause}");
    assert!(cause.contains("\"budget.deadlin\"") || cause.contains("\"deadlin\""), "{cause}");
    assert!(cause.contains("did you mean") && cause.contains("deadline"), "{cause}");
    assert!(listed.iter().any(|listed| listed["extension"] == "neighbour" && listed["state"] == "ready"));
}

#[test]
fn a_list_shows_every_extension_with_its_state_and_cause() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("plugins/text.wasm", "no component");
    place.write("plugins/unbuilt/extension.toml", "id = \"unbuilt\"\n");
    let listed = place.glasshouse(&["list", "plugins", "--format", "json"]).expect_code(0).json_lines();
    let ids: Vec<_> = listed.iter().map(|listed| listed["extension"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, ["neighbour", "text", "unbuilt"]);
    assert!(cause(&listed, "text").contains("does not start with the bytes of WebAssembly"));
    assert!(cause(&listed, "unbuilt").contains("glasshouse build"));
    let table = place.glasshouse(&["list", "plugins"]).expect_code(0);
    assert!(["neighbour", "ready", "failed"].iter().all(|word| table.stdout.contains(word)), "{table:?}");
}

#[test]
fn inspection_shows_what_an_extension_imports_asks_for_and_would_get() {
    let place = Place::with_plugins(&[]);
    place.link("caller", "caller/caller.wasm");
    let manifest = "id = \"caller\"\n[permissions]\ncall = [\"neighbour\", \"stranger\"]\nenv = [\"HOME\"]\n";
    place.write("caller/extension.toml", manifest);
    place.write("glasshouse.toml", "[extensions.caller.permissions]\ncall = [\"neighbour\"]\n");
    let arguments = ["inspect", "caller", "--config", "glasshouse.toml", "--format", "json"];
    let shown = place.glasshouse(&arguments).expect_code(0).json();
    let has = |list: &str, word: &str| {
        let list = shown[list].as_array().unwrap_or_else(|| panic!("{list}: {shown}"));
        list.iter().any(|item| item.as_str().is_some_and(|item| item.contains(word)))
    };
    assert!(has("imports", "glasshouse:extension/events@0.1.0"), "{shown}");
    assert!(has("exports", "glasshouse:extension/handler@0.1.0 (handle)"), "{shown}");
    assert!(has("requests", "stranger") && has("requests", "HOME"), "{shown}");
    assert!(has("granted", "neighbour") && !has("granted", "stranger") && !has("granted", "HOME"), "{shown}");
    assert!(has("denied", "stranger") && has("denied", "HOME"), "{shown}");
    assert!(shown["file_bytes"].as_u64() > Some(10_000) && shown["code_bytes"].as_u64() > Some(10_000), "{shown}");
}

#[test]
fn the_configuration_in_effect_says_where_each_value_comes_from() {
    let place = Place::with_plugins(&["neighbour", "caller"]);
    place.write(
        "glasshouse.toml",
        "[defaults.budget]\ndeadline = \"9s\"\nmemory = \"48MiB\"\nmailbox = 7\n\
         [extensions.neighbour.budget]\ndeadline = \"8s\"\nmemory = \"40MiB\"\n",
    );
    let mut command = place.command(&["config", "show", "plugins", "--config", "glasshouse.toml", "--format", "json"]);
    command.args(["--set", "extensions.neighbour.budget.deadline=6s"]);
    command.env("GLASSHOUSE_EXTENSIONS__NEIGHBOUR__BUDGET__DEADLINE", "7s");
    command.env("GLASSHOUSE_EXTENSIONS__NEIGHBOUR__BUDGET__MEMORY", "32MiB");
    let sections = end(&mut command).expect_code(0).json_lines();
    let shown = |extension: &str, key: &str| {
        let section = sections.iter().find(|section| section["extension"] == extension).expect("it is there");
        let settings = section["settings"].as_array().expect("settings are a list");
        let setting = settings.iter().find(|setting| setting["key"] == key).expect("the key is there").clone();
        let text = |name: &str| setting[name].as_str().unwrap_or_default().trim_matches('"').to_owned();
        (text("value"), text("origin"))
    };
    let (value, origin) = shown("neighbour", "budget.deadline");
    assert!(value == "6s" && origin.contains("--set"), "{value} {origin}");
    let (value, origin) = shown("neighbour", "budget.memory");
    assert!(
        value == "32MiB" && origin.contains("GLASSHOUSE_EXTENSIONS__NEIGHBOUR__BUDGET__MEMORY"),
        "{value} {origin}"
    );
    let (value, origin) = shown("neighbour", "budget.mailbox");
    assert!(value == "7" && origin.contains("glasshouse.toml"), "{value} {origin}");
    assert_eq!(shown("caller", "budget.deadline").0, "9s");
    assert_eq!(shown("caller", "budget.quarantine"), ("30s".to_owned(), "built-in".to_owned()));
}

#[test]
fn options_of_all_verbs_stand_anywhere_and_others_after_the_last_verb() {
    let place = Place::with_plugins(&[]);
    for verb in ["traces", "debug"] {
        // Both come as far as to look for the folder.
        for line in [
            [verb, "--format", "json", "list", "--data-dir", "none"],
            [verb, "list", "--data-dir", "none", "--format", "json"],
        ] {
            let ended = place.glasshouse(&line).expect_code(3);
            assert!(ended.stderr.contains("there is no data directory none"), "{ended:?}");
        }
        let ended = place.glasshouse(&[verb, "--data-dir", "none", "list"]).expect_code(2);
        assert!(
            ended.stderr.contains(&format!("--data-dir goes after the last verb: glasshouse {verb} list --data-dir")),
            "{ended:?}"
        );
        let ended = place.glasshouse(&[verb, "--data-dir", "none"]).expect_code(3);
        assert!(ended.stderr.contains("there is no data directory none"), "{ended:?}");
    }
}

#[test]
fn exit_codes_tell_usage_host_and_guest_apart() {
    let place = Place::with_plugins(&["neighbour", "panic"]);
    let check = |arguments: &[&str], code: i32| -> Ended {
        let ended = place.glasshouse(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(code == 0 || !ended.stderr.is_empty(), "{arguments:?} says nothing");
        ended
    };
    let call = |event: &'static str, payload: &'static str| {
        ["call", "plugins/panic.wasm", "--event", event, "--payload", payload]
    };
    check(&call("count", "null"), 0);
    check(&["--help"], 0);
    check(&["no-such-verb"], 2);
    check(&["run"], 2);
    check(&call("count", "not json"), 2);
    check(&["run", "plugins", "--set", "nonsense"], 3);
    check(&["list", "no-such-folder"], 3);
    check(&["run", "plugins", "--config", "no-such-file.toml"], 3);
    check(&["run", "plugins", "--feed", "no-such-file.jsonl"], 3);
    check(&call("panic", "\"noon\""), 4);
    check(&call("no-such-event", "null"), 4);
}

#[test]
fn every_verb_has_help_with_an_example() {
    let place = Place::with_plugins(&[]);
    for verb in ["run", "call", "inspect", "list", "new", "build", "config"] {
        let help = place.glasshouse(&[verb, "--help"]).expect_code(0).stdout;
        assert!(help.contains("Example") && help.contains(&format!("glasshouse {verb}")), "{help}");
        assert!(help.contains("--format"), "{verb}: {help}");
    }
}

#[test]
fn a_setting_of_the_operator_ends_a_call() {
    let place = Place::with_plugins(&["spin"]);
    let arguments = [
        "call",
        "plugins/spin.wasm",
        "--event",
        "spin",
        "--format",
        "json",
        "--set",
        "defaults.budget.fuel_per_call=1000000",
    ];
    let shown = place.glasshouse(&arguments).expect_code(4).json();
    assert_eq!((&shown["ok"], &shown["error"]["kind"]), (&json!(false), &json!("breach.fuel")));
    assert_eq!(shown["error"]["message"], "used up its 1.00 M of fuel");
    assert!(shown["error"]["advice"].as_str().is_some_and(|advice| advice.contains("budget.fuel_per_call")));
}

#[test]
fn programs_get_json_on_standard_error_too() {
    let place = Place::with_plugins(&["neighbour"]);
    place.extension("asking", "neighbour", "[permissions]\nenv = [\"HOME\"]\n");
    place.write("feed.jsonl", "nonsense\n");
    let run = ["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done", "--format", "json"];
    let lines = json_lines(&place.glasshouse(&run).expect_code(0).stderr);
    let of =
        |level: &str| lines.iter().filter(|line| line["level"] == level).map(ToString::to_string).collect::<String>();
    assert!(of("WARN").contains("it asks for what it does not get"), "{lines:?}");
    assert!(of("INFO").contains("feed line 1: not an event"), "{lines:?}");
    let failed = json_lines(&place.glasshouse(&["run", "nowhere", "--format", "json"]).expect_code(3).stderr);
    assert_eq!(failed[0]["level"], "ERROR", "{failed:?}");
    let list = ["list", "plugins", "--format", "json", "--log", "glasshouse=loud"];
    let refused = json_lines(&place.glasshouse(&list).expect_code(2).stderr);
    assert!(
        refused[0]["message"].as_str().is_some_and(|said| said.starts_with("--log glasshouse=loud: ")),
        "{refused:?}"
    );
}

#[test]
fn a_secret_in_the_configuration_is_not_shown() {
    let place = Place::with_plugins(&[]);
    place.write(
        "glasshouse.toml",
        "[host]\ndata_dir = \"/srv/password=hunter2hunter2\"\n[extensions.absent.config]\napi_key = \"hunter2hunter2\"\n",
    );
    let shown = place.glasshouse(&["config", "show", "--config", "glasshouse.toml"]).expect_code(0).stdout;
    assert!(shown.contains("[redacted]") && !shown.contains("hunter2hunter2"), "{shown}");
}

/// What the command writes to a terminal.
fn on_a_terminal(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = place.on_terminal(arguments);
    let ended = crate::harness::end(command.envs(variables.iter().copied())).expect_code(0);
    assert!(ended.stdout.contains("neighbour") && ended.stdout.contains("ready"), "{ended:?}");
    ended.stdout
}

#[test]
fn there_are_colours_on_a_terminal_only_and_not_where_nobody_wants_them() {
    let place = Place::with_plugins(&["neighbour"]);
    let (_host, _replies) = place.host(&[]);
    let status = ["status", "--data-dir", "data"];
    assert!(on_a_terminal(&place, &status, &[]).contains("\u{1b}[32m"));
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!on_a_terminal(&place, &status, &[variable]).contains('\u{1b}'), "{variable:?}");
    }
    // An empty one is none (no-color.org).
    assert!(on_a_terminal(&place, &status, &[("NO_COLOR", "")]).contains("\u{1b}[32m"));
    let piped = place.glasshouse(&status).expect_code(0);
    assert!(!piped.stdout.contains('\u{1b}') && !piped.stderr.contains('\u{1b}'), "{piped:?}");
}
