//! How the layers add up, and what is said of where a value comes from.

use std::path::Path;

use super::{file, id, layers, manifest};
use crate::config::{Key, Layers, Manifest, OperatorConfig, Resolved, reference};
use crate::settings::Settings;

fn resolve(manifest_body: &str, layers: &Layers) -> Resolved {
    let manifest = manifest(&format!("id = \"relay\"\n{manifest_body}")).expect("a manifest");
    layers.resolve(&manifest, Path::new("/plugins/relay"))
}

/// Checks a key as `value; origin; note`.
fn check(manifest_body: &str, layers: &Layers, key: &str, expect: &str) {
    let resolved = resolve(manifest_body, layers);
    let setting = resolved.origins.iter().find(|setting| setting.key == key).expect(key);
    let mut found = format!("{}; {}", setting.value, setting.origin);
    if let Some(note) = &setting.note {
        found = format!("{found}; {note}");
    }
    assert_eq!(found, expect, "{key} with {manifest_body}");
}

const DEFAULTS: &str = "[defaults.budget]\ndeadline = \"4s\"\n";
const BOTH: &str = "[defaults.budget]\ndeadline = \"4s\"\n[extensions.relay.budget]\ndeadline = \"3s\"";
const VARIABLE: (&str, &str) = ("GLASSHOUSE_EXTENSIONS__RELAY__BUDGET__DEADLINE", "7s");
const DEFAULT_VARIABLE: (&str, &str) = ("GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE", "6s");
const FLAG: &str = "extensions.relay.budget.deadline=9s";

#[test]
fn higher_layers_win() {
    let key = "budget.deadline";
    check("", &Layers::default(), key, "5s; built-in");
    check("", &layers(DEFAULTS, &[], &[]), key, "4s; glasshouse.toml line 2 (defaults)");
    check("", &layers(BOTH, &[], &[]), key, "3s; glasshouse.toml line 4 (extension)");
    check("", &layers(BOTH, &[DEFAULT_VARIABLE], &[]), key, "6s; GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE");
    check(
        "",
        &layers(BOTH, &[VARIABLE, DEFAULT_VARIABLE], &[]),
        key,
        "7s; GLASSHOUSE_EXTENSIONS__RELAY__BUDGET__DEADLINE",
    );
    check("", &layers(BOTH, &[VARIABLE], &[FLAG]), key, "9s; --set extensions.relay.budget.deadline");
    check(
        "",
        &layers(BOTH, &[], &[FLAG, "extensions.relay.budget.deadline=1s"]),
        key,
        "1s; --set extensions.relay.budget.deadline",
    );
    assert_eq!(resolve("", &layers(BOTH, &[VARIABLE], &[FLAG])).settings.budget.deadline.as_secs(), 9);
}

#[test]
fn a_manifest_may_lower_a_budget_and_never_raise_it() {
    let key = "budget.deadline";
    let asks = |deadline: &str| format!("budget.deadline = \"{deadline}\"");
    check(&asks("1s"), &Layers::default(), key, "1s; manifest line 2");
    check(&asks("10s"), &Layers::default(), key, "5s; built-in; manifest asked 10s, capped by the built-in limit");
    check(
        &asks("10s"),
        &layers(DEFAULTS, &[], &[]),
        key,
        "4s; glasshouse.toml line 2 (defaults); manifest asked 10s, capped by defaults.budget.deadline in glasshouse.toml line 2",
    );
    check(
        &asks("10s"),
        &layers(BOTH, &[], &[]),
        key,
        "3s; glasshouse.toml line 4 (extension); manifest asked 10s, capped by extensions.relay.budget.deadline in glasshouse.toml line 4",
    );
    check(
        &asks("10s"),
        &layers(BOTH, &[VARIABLE], &[]),
        key,
        "7s; GLASSHOUSE_EXTENSIONS__RELAY__BUDGET__DEADLINE; manifest asked 10s, capped by GLASSHOUSE_EXTENSIONS__RELAY__BUDGET__DEADLINE",
    );
    check(
        &asks("1s"),
        &layers(DEFAULTS, &[], &[]),
        key,
        "1s; manifest line 2; stricter than 4s by defaults.budget.deadline in glasshouse.toml line 2",
    );
    check(&asks("4s"), &layers(DEFAULTS, &[], &[]), key, "4s; glasshouse.toml line 2 (defaults)");
    assert_eq!(resolve(&asks("10s"), &layers(DEFAULTS, &[], &[])).settings.budget.deadline.as_secs(), 4);

    let key = "debugging.profiling_overhead_limit";
    check(&format!("{key} = 2.5"), &Layers::default(), key, "2.5; manifest line 2");
    let more = "5.0; built-in; manifest asked 7.5, capped by the built-in limit";
    check(&format!("{key} = 7.5"), &Layers::default(), key, more);
}

#[test]
fn only_the_operator_may_do_without_fuel() {
    let key = "budget.metering";
    let cpu = "[extensions.relay.budget]\nmetering = \"cpu\"";
    check("", &Layers::default(), key, "fuel; built-in");
    check(
        "budget.metering = \"cpu\"",
        &Layers::default(),
        key,
        "fuel; built-in; manifest asked cpu, kept by the built-in limit",
    );
    check("", &layers(cpu, &[], &[]), key, "cpu; glasshouse.toml line 2 (extension)");
    check(
        "budget.metering = \"fuel\"",
        &layers(cpu, &[], &[]),
        key,
        "fuel; manifest line 2; stricter than cpu by extensions.relay.budget.metering in glasshouse.toml line 2",
    );
}

#[test]
fn a_manifest_may_lengthen_its_quarantine_and_never_shorten_it() {
    let key = "budget.quarantine";
    check(
        "budget.quarantine = \"1s\"",
        &Layers::default(),
        key,
        "30s; built-in; manifest asked 1s, kept by the built-in limit",
    );
    check("budget.quarantine = \"60s\"", &Layers::default(), key, "60s; manifest line 2");
}

#[test]
fn no_manifest_is_laxer_than_the_operator() {
    // The most that each key takes, in the lax direction.
    let lax = "[budget]\nfuel_per_call = 9_223_372_036_854_775_807\ndeadline = \"24h\"\nmemory = \"4GiB\"\n\
        host_data_per_call = \"4GiB\"\nmailbox = 65536\nfailures_in_a_row = 1000\nquarantine = \"1ms\"";
    assert_eq!(resolve(lax, &Layers::default()).settings.budget, Settings::default().budget);
}

#[test]
fn a_manifest_may_only_make_redaction_stricter() {
    let off = layers("[defaults.redaction]\nenabled = false", &[], &[]);
    let enabled = "redaction.enabled";
    check("", &off, enabled, "false; glasshouse.toml line 2 (defaults)");
    check(
        "redaction.enabled = false",
        &Layers::default(),
        enabled,
        "true; built-in; manifest asked false, kept by the built-in limit",
    );
    check(
        "redaction.enabled = true",
        &off,
        enabled,
        "true; manifest line 2; stricter than false by defaults.redaction.enabled in glasshouse.toml line 2",
    );
    check("redaction.email = true", &Layers::default(), "redaction.email", "true; manifest line 2");

    let operator = layers("[defaults.redaction]\nfields = [\"badge\"]\nkeep_fields = [\"pin\"]", &[], &[]);
    let asks = "redaction.fields = [\"badge\", \"patient_no\"]";
    check(asks, &Layers::default(), "redaction.fields", "[badge, patient_no]; manifest line 2");
    check(
        asks,
        &operator,
        "redaction.fields",
        "[badge, patient_no]; manifest line 2; 1 added to those of glasshouse.toml line 2 (defaults)",
    );
    check("redaction.fields = []", &operator, "redaction.fields", "[badge]; glasshouse.toml line 2 (defaults)");
    assert_eq!(resolve(asks, &operator).settings.redaction.keep_fields, ["pin"]);
}

#[test]
fn the_operator_decides_how_an_extension_is_watched_and_else_its_manifest() {
    let asks = "debugging.log_level = \"error\"";
    check(asks, &Layers::default(), "debugging.log_level", "error; manifest line 2");
    check(
        asks,
        &layers("[defaults.debugging]\nlog_level = \"trace\"", &[], &[]),
        "debugging.log_level",
        "trace; glasshouse.toml line 2 (defaults)",
    );
}

#[test]
fn the_operators_config_overlays_the_manifests_key_by_key() {
    let asks = "[config]\ntheme = \"dark\"\nlimits = { lines = 10, bytes = 20 }";
    let layers = layers(
        "[extensions.relay.config]\nlimits.lines = 5",
        &[("GLASSHOUSE_EXTENSIONS__RELAY__CONFIG__THEME", "light grey")],
        &["extensions.relay.config.limits.deep.er=[1]"],
    );
    let config = serde_json::Value::from(resolve(asks, &layers).settings.config).to_string();
    assert_eq!(config, r#"{"limits":{"bytes":20,"deep":{"er":[1]},"lines":5},"theme":"light grey"}"#);
    check(asks, &layers, "config.limits.bytes", "20; manifest line 4");
    check(asks, &layers, "config.limits.lines", "5; glasshouse.toml line 2 (extension)");
    check(asks, &layers, "config.theme", "\"light grey\"; GLASSHOUSE_EXTENSIONS__RELAY__CONFIG__THEME");
}

#[test]
fn permissions_are_shown_as_granted_with_what_was_not() {
    let asks = "permissions.env = [\"LANG\", \"HOME\"]\npermissions.files = [{ host = \"docs\", guest = \"/docs\" }]";
    let text = "[extensions.relay.permissions]\nenv = [\"LANG\", \"TERM\"]\nfiles = [{ host = \"relay\" }]";
    let layers = Layers { file: file(text).based_at(Path::new("/plugins")), ..Layers::default() };
    check(asks, &layers, "permissions.env", "[LANG]; glasshouse.toml line 2 (extension); \"HOME\" is not granted");
    check(
        asks,
        &layers,
        "permissions.files",
        "[read \"/plugins/relay/docs\" as \"/docs\"]; glasshouse.toml line 3 (extension)",
    );
    check(asks, &layers, "permissions.network", "[]; built-in");
    let resolved = resolve(asks, &layers);
    assert_eq!(resolved.grant.unused, ["env: \"TERM\""]);
    assert_eq!(resolved.settings.permissions, resolved.grant.effective);
    assert_eq!(resolve(asks, &Layers::default()).settings.permissions, Settings::default().permissions);
}

#[test]
fn every_key_of_an_extension_is_shown_once() {
    let resolved = Layers::default().resolve(&Manifest::bare(id("relay")), Path::new("/x"));
    assert_eq!(resolved.settings, Settings::default());
    assert!(resolved.enabled);
    let shown: Vec<_> = resolved.origins.iter().map(|setting| setting.key.as_str()).collect();
    let expect: Vec<_> = reference()
        .map(Key::path)
        .filter(|path| {
            *path == "enabled"
                || ["permissions.", "budget.", "debugging.", "retention.", "redaction."]
                    .iter()
                    .any(|s| path.starts_with(s))
        })
        .collect();
    assert_eq!(shown, expect);
    let off = layers("[extensions.relay]\nenabled = false", &[], &[]);
    assert!(!resolve("", &off).enabled);
}

#[test]
fn the_hosts_settings_have_their_layers_too() {
    let mut layers = layers(
        "[host]\ncache_dir = \"cache\"\ncompile_threads = 2\n[otlp]\nendpoint = \"http://127.0.0.1:4318\"\n\
         [files]\nfolder = \"logs\"\ntiers = [\"error\", \"all\"]",
        &[
            ("GLASSHOUSE_HOST__COMPILE_THREADS", "3"),
            ("GLASSHOUSE_FILES__FORMAT", "json"),
            ("GLASSHOUSE_OTLP__HEADERS", "[\"Authorization=Bearer hunter2\"]"),
        ],
        &["host.shutdown_limit=1", "otlp.protocol=grpc", "files.rotate_size=1MiB"],
    );
    layers.file = layers.file.based_at(Path::new("/etc/glasshouse"));
    let host = layers.host();
    let shown: Vec<_> =
        host.origins.iter().map(|setting| format!("{} = {}; {}", setting.key, setting.value, setting.origin)).collect();
    assert_eq!(
        shown,
        [
            "host.cache_dir = /etc/glasshouse/cache; glasshouse.toml line 2",
            "host.data_dir = ; built-in",
            "host.data_limit = 16GiB; built-in",
            "host.cleanup_interval = 60s; built-in",
            "host.metrics_interval = 30s; built-in",
            "host.sync_interval = 5s; built-in",
            "host.compile_threads = 3; GLASSHOUSE_HOST__COMPILE_THREADS",
            "host.compile_memory = 2GiB; built-in",
            "host.compile_time = 60s; built-in",
            "host.http_certificate = ; built-in",
            "host.shutdown_limit = 1s; --set host.shutdown_limit",
            "host.listen = 127.0.0.1:7077; built-in",
            "host.names = []; built-in",
            "host.tls_certificate = ; built-in",
            "host.tls_key = ; built-in",
            "host.open_on_loopback = false; built-in",
            "otlp.endpoint = http://127.0.0.1:4318; glasshouse.toml line 5",
            "otlp.logs_endpoint = ; built-in",
            "otlp.metrics_endpoint = ; built-in",
            "otlp.traces_endpoint = ; built-in",
            "otlp.protocol = grpc; --set otlp.protocol",
            "otlp.compression = gzip; built-in",
            "otlp.headers = [authorization=***]; GLASSHOUSE_OTLP__HEADERS",
            "otlp.certificate = ; built-in",
            "otlp.client_certificate = ; built-in",
            "otlp.client_key = ; built-in",
            "otlp.signals = [logs, errors, alerts, metrics, traces]; built-in",
            "otlp.interval = 5s; built-in",
            "otlp.timeout = 10s; built-in",
            "otlp.batch_records = 512; built-in",
            "otlp.batch_bytes = 1MiB; built-in",
            "files.folder = /etc/glasshouse/logs; glasshouse.toml line 7",
            "files.tiers = [error, all]; glasshouse.toml line 8",
            "files.format = json; GLASSHOUSE_FILES__FORMAT",
            "files.rotate_size = 1MiB; --set files.rotate_size",
            "files.rotate_age = 1d; built-in",
            "files.compress = true; built-in",
            "files.keep_count = 100; built-in",
            "files.keep_age = 30d; built-in",
            "files.keep_bytes = 4GiB; built-in",
        ]
    );
    assert_eq!(host.settings.compile_threads, 3);
    let headers: Vec<_> = host.settings.otlp.headers.pairs().collect();
    assert_eq!(headers, [("authorization".to_owned(), "Bearer hunter2")]);
    assert!(!format!("{layers:?}{host:?}").contains("hunter2"));
    assert_eq!(OperatorConfig::default(), file(""));
}

#[test]
fn a_manifest_may_switch_off_aspects_but_those_by_which_the_operator_watches_it() {
    let off = |aspect: &str| format!("debugging.aspects.{aspect} = false");
    check(&off("request"), &Layers::default(), "debugging.aspects.request", "false; manifest line 2");
    let defaults = layers("[defaults.debugging.aspects]\nsecurity = false\n", &[], &[]);
    check("", &defaults, "debugging.aspects.security", "false; glasshouse.toml line 2 (defaults)");
    for aspect in ["security", "resources"] {
        manifest(&format!("id = \"relay\"\n{}", off(aspect))).expect_err(aspect);
    }
}
