//! OpenTelemetry's own variables.

use super::file;
use crate::config::{Layers, OperatorConfig};

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

fn ambient(variables: &[(&str, &str)]) -> (OperatorConfig, Vec<String>) {
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    OperatorConfig::from_opentelemetry(&variables)
}

/// What is in effect of `otlp` and does not come with the host.
fn shown(layers: &Layers) -> Vec<String> {
    let host = layers.host();
    let of = host.origins.iter().map(|setting| format!("{} = {}; {}", setting.key, setting.value, setting.origin));
    of.filter(|line| line.starts_with("otlp.") && !line.ends_with("; built-in")).collect()
}

#[track_caller]
fn check(file_text: &str, variables: &[(&str, &str)], expect: &[&str]) {
    let (ambient, told) = ambient(variables);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(shown(&Layers { file: file(file_text), ambient, ..Layers::default() }), expect);
}

#[test]
fn opentelemetrys_variables_stand_for_keys() {
    let all = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/in"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hunter2, x-key = a%3D\"b\\c%2,"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "console,otlp"),
        ("OTEL_SERVICE_NAME", "shop"),
    ];
    check(
        "",
        &all,
        &[
            "otlp.endpoint = http://collector:4318; OTEL_EXPORTER_OTLP_ENDPOINT",
            "otlp.traces_endpoint = https://traces/in; OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "otlp.protocol = grpc; OTEL_EXPORTER_OTLP_PROTOCOL",
            "otlp.compression = none; OTEL_EXPORTER_OTLP_COMPRESSION",
            "otlp.headers = [authorization=***, x-key=***]; OTEL_EXPORTER_OTLP_HEADERS",
            "otlp.certificate = /etc/ca.pem; OTEL_EXPORTER_OTLP_CERTIFICATE",
            "otlp.signals = [logs, errors, alerts, traces]; OTEL_METRICS_EXPORTER",
            "otlp.timeout = 2500ms; OTEL_EXPORTER_OTLP_TIMEOUT",
        ],
    );
    let host = Layers { ambient: ambient(&all).0, ..Layers::default() }.host();
    let headers: Vec<_> = host.settings.otlp.headers.pairs().collect();
    assert_eq!(headers, [("authorization".to_owned(), "Bearer hunter2"), ("x-key".to_owned(), "a=\"b\\c%2")]);
    assert!(!format!("{host:?}").contains("hunter2"));
}

#[test]
fn they_have_no_say_without_a_place_to_push_to_or_where_they_are_switched_off() {
    check("", &[("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2"), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], &[]);
    check("", &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")], &[]);
    check("", &[ENDPOINT, ("OTEL_SDK_DISABLED", "no")], &[&format!("otlp.endpoint = {}; {}", ENDPOINT.1, ENDPOINT.0)]);
}

#[test]
fn whoever_names_a_place_himself_sends_nothing_elsewhere_and_no_secret_of_another_place_there() {
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2");
    for (key, value) in [("endpoint", "http://mine"), ("endpoint", ""), ("logs_endpoint", "http://mine/logs")] {
        let text = format!("[otlp]\n{key} = \"{value}\"");
        check(&text, &[ENDPOINT, secret], &[&format!("otlp.{key} = {value}; glasshouse.toml line 2")]);
    }
    // What is said of the rest goes over them.
    check(
        "[otlp]\ntimeout = \"1s\"",
        &[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "7000")],
        &[
            "otlp.endpoint = http://collector:4318; OTEL_EXPORTER_OTLP_ENDPOINT",
            "otlp.timeout = 1s; glasshouse.toml line 2",
        ],
    );
}

#[test]
fn one_that_is_wrong_is_passed_over_and_told_without_its_secrets() {
    for (name, value, expect) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "a header has a name"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0d%0ab: c", "printable"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "otlp.timeout"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "ten", "otlp.timeout"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier pigeon", "otlp.protocol"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://user:hunter2@logs", "otlp.headers"),
    ] {
        let (config, told) = ambient(&[ENDPOINT, (name, value)]);
        assert!(told.len() == 1 && told[0].contains(name) && told[0].contains(expect), "{told:?}");
        assert!(!told[0].contains("hunter2"), "{told:?}");
        let left = shown(&Layers { ambient: config, ..Layers::default() });
        assert_eq!(left, [format!("otlp.endpoint = {}; {}", ENDPOINT.1, ENDPOINT.0)]);
    }
}
