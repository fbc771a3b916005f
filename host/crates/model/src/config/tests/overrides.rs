//! Environment variables and flags.

use super::id;
use crate::config::{Layers, Manifest, OperatorConfig};

const IDS: [&str; 4] = ["relay", "access-log", "a", "a--config"];

fn variable(name: &str, value: &str) -> Result<OperatorConfig, String> {
    OperatorConfig::from_environment([(name.to_owned(), value.to_owned())], &IDS.map(id)).map_err(|e| e.to_string())
}

fn check_variable(name: &str, value: &str, expect: Result<&str, &str>) {
    let flag = expect.map(|flag| OperatorConfig::from_flags([flag]).expect(flag));
    let settings = |config: OperatorConfig| {
        let layers = Layers { flags: config, ..Layers::default() };
        let extensions = IDS.map(|text| layers.resolve(&Manifest::bare(id(text)), "/x".as_ref()).settings);
        (extensions, layers.host().settings)
    };
    let refusal = |message| format!("environment variable {name}: {message}");
    assert_eq!(variable(name, value).map(settings), flag.map(settings).map_err(refusal), "{name}");
}

fn check_flag(flag: &str, expect: &str) {
    let message = OperatorConfig::from_flags([flag]).map_err(|error| error.to_string());
    assert_eq!(message.expect_err(flag), expect, "{flag}");
}

#[test]
fn variables_set_what_flags_set() {
    check_variable("GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE", "2s", Ok("defaults.budget.deadline=2s"));
    check_variable(
        "GLASSHOUSE_EXTENSIONS__ACCESS_LOG__BUDGET__FUEL_PER_CALL",
        "7",
        Ok("extensions.access-log.budget.fuel_per_call=7"),
    );
    check_variable("GLASSHOUSE_HOST__CACHE_DIR", "/c", Ok("host.cache_dir=/c"));
    check_variable("GLASSHOUSE_EXTENSIONS__A__CONFIG__MAX_LINES", "3", Ok("extensions.a.config.max_lines=3"));
    check_variable("GLASSHOUSE_EXTENSIONS__A__CONFIG", "{ b = 1 }", Ok("extensions.a.config={ b = 1 }"));
}

#[test]
fn unknown_variables_are_refused_with_the_nearest_known_one() {
    check_variable(
        "GLASSHOUSE_DEFAULTS__BUDGET__DEDLINE",
        "2s",
        Err("unknown key \"defaults.budget.dedline\" (did you mean \"GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE\"?)"),
    );
    check_variable(
        "GLASSHOUSE_EXTENSIONS__ACCES_LOG__BUDGET__DEADLINE",
        "2s",
        Err("no extension is called \"acces-log\" (did you mean \"access-log\"?)"),
    );
    check_variable(
        "GLASSHOUSE_EXTENSION__RELAY__ENABLED",
        "true",
        Err("unknown key \"extension.relay.enabled\" (did you mean \"extensions\"?)"),
    );
    check_variable(
        "GLASSHOUSE_EXTENSIONS__A__CONFIG__BUDGET__DEADLINE",
        "2s",
        Err(
            "it could mean each of the extensions \"a\" and \"a--config\": use the file or --set, or rename one of them",
        ),
    );
    check_variable(
        "GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE",
        "soon",
        Err("defaults.budget.deadline: found \"soon\", expected a duration, such as \"5s\""),
    );
}

#[test]
fn variables_that_are_not_keys_are_not_looked_at() {
    for name in ["GLASSHOUSE_GUESTS", "HOME", "GLASSHOUSE", "OTHER__BUDGET__DEADLINE"] {
        assert_eq!(variable(name, "x"), Ok(OperatorConfig::default()), "{name}");
    }
}

#[test]
fn ids_that_look_alike_in_variables_are_told_apart_by_the_key() {
    let ids = ["a", "a-", "a--b", "a-b"].map(id);
    for (name, expect) in [("A", "a"), ("A_", "a-"), ("A__B", "a--b"), ("A_B", "a-b")] {
        let variable = (format!("GLASSHOUSE_EXTENSIONS__{name}__ENABLED"), "false".to_owned());
        let config = OperatorConfig::from_environment([variable], &ids).expect(name);
        assert_eq!(config.extension_ids().map(ToString::to_string).collect::<Vec<_>>(), [expect]);
    }
}

#[test]
fn flags_say_what_is_wrong_with_them() {
    check_flag(
        "defaults.budget.deadline",
        "--set defaults.budget.deadline: a value is missing; write path=value, such as defaults.budget.deadline=2s",
    );
    check_flag(
        "extensions.relay.bugdet.deadline=2s",
        "--set extensions.relay.bugdet.deadline: unknown key \"extensions.relay.bugdet.deadline\" (did you mean \"extensions.relay.budget.deadline\"?)",
    );
    check_flag("deadline=2s", "--set deadline: unknown key \"deadline\"");
    check_flag(
        "extensions.relay=2s",
        "--set extensions.relay: a key is missing; write extensions.relay.budget.deadline, for example",
    );
    check_flag(
        "extensions.relay.permissions.env=LANG",
        "--set extensions.relay.permissions.env: not TOML: string values must be quoted, expected literal string; write a value such as [\"one\", \"two\"]",
    );
    check_flag(
        "extensions.relay.budget.mailbox=0",
        "--set extensions.relay.budget.mailbox: found \"0\", allowed is 1 to 65536: use at least 1",
    );
}
