//! Manifests and the operator's file: what is read, and what is said of what cannot be.

use proptest::prelude::*;

use super::{file, id, manifest};
use crate::Blame;
use crate::config::{Layers, Manifest, OperatorConfig, reference, reference_markdown};

/// The messages without the label that each of them starts with.
fn check(text: &str, expect: &[&str]) {
    let error = manifest(text).expect_err(text);
    let message = error.to_string();
    let found: Vec<_> =
        message.lines().map(|line| line.strip_prefix("relay: extension.toml").unwrap_or(line)).collect();
    assert_eq!(found, expect, "{text}");
    assert_eq!(error.blame, Blame::Guest);
}

fn check_body(body: &str, expect: &[&str]) {
    check(&format!("id = \"relay\"\n{body}"), expect);
}

const WHOLE: &str = r#"
id = "relay"
version = "1.2.3"
name = "Relay"
description = "Passes work on."
authors = ["Ada", "Grace"]
component = "build/relay.wasm"
subscribe = ["pages.rendered", "logs.*"]

[permissions]
files = [{ host = "docs", guest = "/docs", access = "read" }, { host = "/tmp/x", guest = "/out", access = "write" }]
env = ["LANG"]
network = ["10.0.0.0/8:443", "[::1]:80", "192.0.2.1", "example.com:443"]
http = ["https://API.example.com:443", "http://127.0.0.1:8080"]
call = ["markdown"]
publish = ["pages.rendered"]

[budget]
deadline = "1s"
memory = "1MiB"

[debugging]
metrics_interval = 5
sampling_rate = 1

[config]
theme = "dark"
limits = { lines = 10, since = 2024-01-01, parts = [1, 2.5, true] }
"#;

#[test]
fn a_whole_manifest_is_read() {
    let manifest = manifest(WHOLE).expect("a manifest");
    assert_eq!((manifest.id.as_str(), manifest.version.to_string().as_str()), ("relay", "1.2.3"));
    assert_eq!((manifest.name.as_str(), manifest.description.as_str()), ("Relay", "Passes work on."));
    assert_eq!(manifest.authors, ["Ada", "Grace"]);
    assert_eq!(manifest.component.to_str(), Some("build/relay.wasm"));
    assert_eq!(manifest.subscribe, ["pages.rendered", "logs.*"]);
    let shown: Vec<_> = manifest.permissions.files.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [r#"read "docs" as "/docs""#, r#"write "/tmp/x" as "/out""#]);
    let shown: Vec<_> = manifest.permissions.network.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8:443", "[::1]:80", "192.0.2.1", "example.com:443"]);
    let shown: Vec<_> = manifest.permissions.http.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["https://api.example.com", "http://127.0.0.1:8080"]);
    let settings = Layers::default().resolve(&manifest, "/x".as_ref()).settings;
    assert_eq!((settings.budget.deadline.as_secs(), settings.budget.memory_bytes), (1, 1 << 20));
    assert_eq!(settings.debugging.metrics_interval.as_secs(), 5);
    let config = serde_json::Value::from(settings.config).to_string();
    assert_eq!(config, r#"{"limits":{"lines":10,"parts":[1,2.5,true],"since":"2024-01-01"},"theme":"dark"}"#);
}

#[test]
fn an_id_is_enough_for_a_manifest() {
    assert_eq!(manifest("id = \"relay\""), Ok(Manifest::bare(id("relay"))));
    assert_eq!(Manifest::bare(id("relay")).component.to_str(), Some("relay.wasm"));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    check_body(
        "[permissions]\nfs = []",
        &[r#" line 3, column 1: unknown key "permissions.fs" (did you mean "permissions.files"?)"#],
    );
    check_body(
        "deadline = \"2s\"",
        &[r#" line 2, column 1: unknown key "deadline" (did you mean "budget.deadline"?)"#],
    );
    check_body("[bugdet]\nmemory = 1", &[r#" line 2, column 2: unknown key "bugdet" (did you mean "budget"?)"#]);
    check_body("xyzzy = 1", &[r#" line 2, column 1: unknown key "xyzzy""#]);
    check_body("\"a\\u001bb\" = 1", &[r#" line 2, column 1: unknown key "a\u{1b}b""#]);
    check_body(
        "permissions.files = [{ host = \"a\", guest = \"/a\", acess = \"read\" }]",
        &[r#" line 2, column 50: unknown key "permissions.files.acess" (did you mean "permissions.files.access"?)"#],
    );
    // Keys of the operator have no place in a manifest.
    check_body("enabled = true", &[r#" line 2, column 1: unknown key "enabled": only the operator may set it"#]);
    check_body(
        "redaction.keep_fields = [\"token\"]",
        &[r#" line 2, column 11: unknown key "redaction.keep_fields": only the operator may set it"#],
    );
}

#[test]
fn wrong_kinds_are_refused_with_an_example() {
    check_body(
        "budget.deadline = true",
        &[r#" line 2, column 19: budget.deadline: found true, expected a duration, such as "5s""#],
    );
    check_body(
        "budget.deadline = \"soon\"",
        &[r#" line 2, column 19: budget.deadline: found the text "soon", expected a duration, such as "5s""#],
    );
    check_body(
        "budget.mailbox = \"many\"",
        &[r#" line 2, column 18: budget.mailbox: found the text "many", expected an integer, such as 256"#],
    );
    check_body("budget = 3", &[r" line 2, column 10: budget: found the integer 3, expected a table: write [budget]"]);
    check_body(
        "permissions.env = \"LANG\"",
        &[
            r#" line 2, column 19: permissions.env: found the text "LANG", expected a list of texts, such as ["one", "two"]"#,
        ],
    );
    check_body(
        "debugging.log_level = \"loud\"",
        &[
            r#" line 2, column 23: debugging.log_level: found "loud", use one of trace, debug, info, warning, error, critical"#,
        ],
    );
    check_body("config = 1", &[r" line 2, column 10: config: found the integer 1, expected a table, such as {}"]);
    check_body(
        "config.a = nan",
        &[r" line 2, column 12: config.a: found nan, which JSON cannot carry; write it as a text"],
    );
}

#[test]
fn values_out_of_bounds_are_refused_with_the_bounds() {
    check_body(
        "budget.memory = \"1KiB\"",
        &[r#" line 2, column 17: budget.memory: found the text "1KiB", allowed is 64KiB to 4GiB: use at least 64KiB"#],
    );
    check_body(
        "budget.mailbox = 70000",
        &[r" line 2, column 18: budget.mailbox: found the integer 70000, allowed is 1 to 65536: use at most 65536"],
    );
    check_body(
        "budget.deadline = \"0s\"",
        &[r#" line 2, column 19: budget.deadline: found the text "0s", allowed is 1ms to 1d: use at least 1ms"#],
    );
    check_body(
        "debugging.sampling_rate = 1.5",
        &[r" line 2, column 27: debugging.sampling_rate: found the number 1.5, allowed is 0.0 to 1.0: use at most 1.0"],
    );
    check_body(
        "debugging.profiling_overhead_limit = -1",
        &[
            r" line 2, column 38: debugging.profiling_overhead_limit: found the integer -1, allowed is 0.0 to 100.0: use at least 0.0",
        ],
    );
    check_body(
        "budget.fuel_per_call = -1",
        &[r" line 2, column 24: budget.fuel_per_call: found -1, allowed are whole numbers from 0 up"],
    );
}

#[test]
fn a_component_stays_in_its_folder_and_an_id_is_an_id() {
    for path in ["../x.wasm", "/x.wasm", "a/../../x.wasm", "", "./x.wasm", "a\\\\x.wasm"] {
        let shown = path.replace("\\\\", "\\");
        check_body(
            &format!("component = \"{path}\""),
            &[&format!(
                " line 2, column 13: component: \"{shown}\" is not inside the extension's folder: use a relative path with / and without .."
            )],
        );
    }
    check(
        "id = \"Relay!\"",
        &[r#" line 1, column 6: id: "Relay!" is not an extension id: use 1 to 64 characters of a-z, 0-9 and -"#],
    );
    check(
        "version = \"1\"",
        &[
            r#" line 1, column 11: version: "1" is not a version: unexpected end of input while parsing major version number; write it like 1.2.3 (semver.org)"#,
            r#": the key "id" is missing: add id = "...", the name of the extension's folder"#,
        ],
    );
    check_body(
        "subscribe = [\"a b\"]",
        &[
            r#" line 2, column 14: subscribe: "a b" is not a topic: use 1 to 128 characters of a-z, 0-9, ., _ and -, and * at the end only"#,
        ],
    );
}

#[test]
fn folders_say_what_they_lack() {
    check_body(
        "permissions.files = [{}]",
        &[
            r#" line 2, column 22: permissions.files: a folder without host; add host = "path""#,
            r#" line 2, column 22: permissions.files: a folder without guest; add guest = "/path", where the extension sees it"#,
        ],
    );
    check_body(
        "permissions.files = [{ host = 1, guest = \"docs\", access = \"all\" }]",
        &[
            " line 2, column 31: permissions.files.host: found the integer 1, expected a text",
            r#" line 2, column 42: permissions.files.guest: "docs" is not a guest's folder: write an absolute path such as "/docs", without .. and without a / at the end"#,
            r#" line 2, column 59: permissions.files.access: found "all", use "read" or "write""#,
        ],
    );
    check_body(
        "permissions.network = [\"300.0.0.1\", 4]",
        &[
            r#" line 2, column 24: permissions.network: "300.0.0.1" is not a place on the network: it is neither an address, nor a block such as 10.0.0.0/8, nor a host name in ASCII"#,
            r#" line 2, column 37: permissions.network: found the integer 4 in the list, expected a text, as in ["10.0.0.0/8:443", "example.com:443"]"#,
        ],
    );
}

#[test]
fn patterns_are_refused_with_their_place_and_the_cause() {
    check_body(
        "[redaction]\npatterns = [\n  'acct-[0-9]{8}',\n  'acct-[0-9',\n]",
        &[r#" line 5, column 3: redaction.patterns: the pattern "acct-[0-9" is refused: unclosed character class"#],
    );
    check_body(
        "redaction.patterns = ['x*']",
        &[
            r#" line 2, column 23: redaction.patterns: the pattern "x*" is refused: it matches the empty text, and so any: require a character, such as x+ for x*"#,
        ],
    );
    check_body(
        r"redaction.patterns = ['\w{1000}']",
        &[
            r#" line 2, column 23: redaction.patterns: the pattern "\w{1000}" is refused: it takes too much memory: repeat less, and write [0-9A-Za-z_] for \w"#,
        ],
    );
    check_body(
        &format!("redaction.patterns = [{}]", "'x',".repeat(17)),
        &[" line 2, column 22: redaction.patterns: found 17 items, allowed are 16"],
    );
    check_body(
        "redaction.fields = [\"--\"]",
        &[
            r#" line 2, column 21: redaction.fields: "--" is not the name of a field: use letters or digits, 256 bytes at most"#,
        ],
    );
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_place() {
    check_body("name = ", &[" line 2, column 8: not TOML: string values must be quoted, expected literal string"]);
    check_body("id = \"again\"", &[" line 2, column 1: not TOML: duplicate key"]);
    check(&" ".repeat((1 << 20) + 1), &[": the file has 1.00 MiB, allowed is 1 MiB: make it smaller"]);
}

#[test]
fn many_problems_are_counted_not_listed() {
    let text = (0..100).map(|index| format!("xyzzy{index} = 1")).collect::<Vec<_>>().join("\n");
    let error = manifest(&format!("id = \"relay\"\n{text}")).expect_err("unknown keys");
    assert_eq!((error.problems.len(), error.more), (20, 80));
    assert!(error.to_string().ends_with("\nand 80 more"));
}

#[test]
fn hostile_nesting_is_refused_not_followed() {
    let keys = vec!["k"; 79].join(".");
    let nested = |depth: usize| format!("{}1{}", format!("{{ {keys} = ").repeat(depth), " }".repeat(depth));
    for depth in [1, 70] {
        let error = manifest(&format!("id = \"relay\"\nconfig.a = {}", nested(depth))).expect_err("too deep");
        assert!(error.to_string().contains("nested deeper than 32 levels; make it flatter"), "{error}");
    }
    manifest(&format!("id = \"relay\"\nconfig.a = {}", "[".repeat(100_000))).expect_err("too deep");
    manifest(&format!("id = \"relay\"\n[config.{}]", vec!["k"; 100_000].join("."))).expect_err("too deep");
}

#[test]
fn the_operators_file_is_read_and_refused_alike() {
    let check = |text: &str, expect: &str| {
        let error = OperatorConfig::parse(text, "glasshouse.toml").expect_err(text);
        assert_eq!((error.to_string().as_str(), error.blame), (expect, Blame::Host), "{text}");
    };
    check(
        "[extension.relay]",
        "glasshouse.toml line 1, column 2: unknown key \"extension\" (did you mean \"extensions\"?)",
    );
    check(
        "[extensions.relay.budget]\ndedline = 1",
        "glasshouse.toml line 2, column 1: unknown key \"extensions.relay.budget.dedline\" (did you mean \"extensions.relay.budget.deadline\"?)",
    );
    check(
        "[extensions.Relay]",
        "glasshouse.toml line 1, column 13: extensions: \"Relay\" is not an extension id: use 1 to 64 characters of a-z, 0-9 and -",
    );
    check("[defaults.permissions]", "glasshouse.toml line 1, column 11: unknown key \"defaults.permissions\"");
    check("host = 1", "glasshouse.toml line 1, column 8: host: found the integer 1, expected a table: write [host]");
    check(
        "[host]\ncache = \"x\"",
        "glasshouse.toml line 2, column 1: unknown key \"host.cache\" (did you mean \"host.cache_dir\"?)",
    );
    check(
        "[files]\ntiers = [\"all\", \"eror\"]",
        "glasshouse.toml line 2, column 17: files.tiers: \"eror\" is not one of all, debug, error, structured, performance, security, \
         database, request, cache, function, recovery",
    );
    check(
        "[files]\nformat = \"xml\"",
        "glasshouse.toml line 2, column 10: files.format: found \"xml\", use one of text, json",
    );
    check(
        "[files]\nrotate_size = \"1KiB\"",
        "glasshouse.toml line 2, column 15: files.rotate_size: found the text \"1KiB\", allowed is 64KiB to 1024GiB: use at least 64KiB",
    );
    check(
        "[files]\nfoldr = \"x\"",
        "glasshouse.toml line 2, column 1: unknown key \"files.foldr\" (did you mean \"files.folder\"?)",
    );
    let config = file("[extensions.relay]\nenabled = false\n[extensions.a]");
    assert_eq!(config.extension_ids().map(ToString::to_string).collect::<Vec<_>>(), ["a", "relay"]);
}

#[test]
fn the_reference_has_every_key() {
    let table = reference_markdown();
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), reference().count());
    let row = "| `budget.deadline` | a duration | `5s` | 1ms to 1d | manifest, `defaults`, `extensions.<id>` | Wall time that one call may take, waiting included. |";
    assert!(table.lines().any(|line| line == row), "{table}");
}

/// Text of pieces that occur in manifests, so that more than the first error is reached.
fn toml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(reference().map(|key| key.path().to_owned()).collect::<Vec<_>>()),
        prop::sample::select(
            ["[", "]", "{", "}", "=", " = ", ",", "\n", "\"", ".", "id = \"relay\"\n", "[config]\n", "true", "[]"]
                .map(str::to_owned)
                .to_vec()
        ),
        "[a-z0-9.\"*/:-]{0,12}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn parsing_never_panics(text in prop_oneof![any::<String>(), toml_like()]) {
        let _ = manifest(&text);
        let _ = OperatorConfig::parse(&text, "glasshouse.toml");
        let _ = OperatorConfig::from_flags([&text]);
        let _ = OperatorConfig::from_environment([(format!("GLASSHOUSE_{text}"), text.clone())], &[id("a")]);
        for key in reference() {
            let _ = OperatorConfig::from_flags([format!("extensions.a.{}={text}", key.path())]);
            let _ = manifest(&format!("id = \"a\"\n{} = {text}", key.path()));
        }
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_told_without_it() {
    for given in [
        "\"hunter2\"",
        "[\"hunter2\"]",
        "[\"content-type=hunter2\"]",
        "[\"a=hunter2\\nb\"]",
        "[[\"hunter2\"]]",
        "{ hunter2 = 1 }",
        "hunter2",
        "[\"hunter2",
    ] {
        let file = OperatorConfig::parse(&format!("[otlp]\nheaders = {given}"), "glasshouse.toml");
        let flag = OperatorConfig::from_flags([format!("otlp.headers={given}")]);
        for error in [file, flag].map(|read| read.expect_err(given).to_string()) {
            assert!(!error.contains("hunter2"), "{given}: {error}");
        }
    }
    let error = OperatorConfig::parse("[otlp]\nendpoint = \"localhost:4318\"", "glasshouse.toml").expect_err("no URL");
    assert!(error.to_string().contains("write one such as http://127.0.0.1:4318"), "{error}");
}
