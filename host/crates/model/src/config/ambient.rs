//! OpenTelemetry's own variables, by which a deployment tells all its programs where telemetry goes.
//!
//! From OpenTelemetry's "OTLP Exporter Configuration" and "Environment Variable Specification". They are meant for many programs, so that what is
//! wrong with one of them does not keep this one from its work.

use super::OperatorConfig;
use super::error::{Place, Problems};
use super::overrides::host_path;
use crate::Blame;
use crate::text::percent_decoded;

/// The variables that say where to push to, and the keys that they stand for.
const ENDPOINTS: [(&str, &str); 4] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp.endpoint"),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "otlp.logs_endpoint"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "otlp.metrics_endpoint"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otlp.traces_endpoint"),
];
/// Those that say how.
const HOW: [(&str, &str); 7] = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "otlp.protocol"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "otlp.compression"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "otlp.certificate"),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "otlp.client_certificate"),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "otlp.client_key"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "otlp.timeout"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otlp.headers"),
];
/// Those of them of which one is nothing without the other.
const PAIR: [&str; 2] = ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
/// Those that say by what each kind of telemetry leaves a program, and what we have of the kind.
const EXPORTERS: [(&str, &[&str]); 3] = [
    ("OTEL_LOGS_EXPORTER", &["logs", "errors", "alerts"]),
    ("OTEL_METRICS_EXPORTER", &["metrics"]),
    ("OTEL_TRACES_EXPORTER", &["traces"]),
];
/// Switches all of OpenTelemetry off.
const DISABLED: &str = "OTEL_SDK_DISABLED";

impl OperatorConfig {
    /// Reads OpenTelemetry's variables, as far as there is a key for them, and only if they say where to push to. What is wrong with one that is passed
    /// over is a sentence each, which quotes no secret.
    pub fn from_opentelemetry(variables: &[(String, String)]) -> (Self, Vec<String>) {
        let (mut config, mut told) = (Self::default(), Vec::new());
        // One that is empty is as one that is not there.
        let value = |name: &str| {
            let found = variables.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let is_told = ENDPOINTS.iter().any(|(name, _)| value(name).is_some());
        if !is_told || value(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return (config, told);
        }
        let is_half = PAIR.iter().filter(|name| value(name).is_some()).count() == 1;
        if is_half {
            told.push(format!("{} go together: the one of them is passed over", PAIR.join(" and ")));
        }
        for (variable, key) in ENDPOINTS.into_iter().chain(HOW) {
            let Some(value) = value(variable).filter(|_| !is_half || !PAIR.contains(&variable)) else { continue };
            let value = match key {
                "otlp.timeout" => format!("{value}ms"),
                "otlp.headers" => headers(value),
                _ => value.to_owned(),
            };
            config.put(variable, key, &value, &mut told);
        }
        let leaves = |variable: &str| {
            value(variable).is_none_or(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case("otlp")))
        };
        if let Some((variable, _)) = EXPORTERS.iter().find(|(variable, _)| !leaves(variable)) {
            let left = EXPORTERS.iter().filter(|(variable, _)| leaves(variable)).flat_map(|(_, signals)| *signals);
            config.put(variable, "otlp.signals", &list(left.map(|signal| (*signal).to_owned())), &mut told);
        }
        (config, told)
    }

    fn put(&mut self, variable: &str, key: &str, value: &str, told: &mut Vec<String>) {
        let mut problems = Problems::default();
        self.set(&host_path(key), value, Place::Variable(variable.to_owned()), &mut problems);
        told.extend(problems.or(Blame::Host, ()).err().map(|error| error.to_string()));
    }
}

/// Headers, as `name=value,name=value` with values that are percent-encoded, as a list of TOML.
fn headers(text: &str) -> String {
    let decoded = |header: &str| match header.split_once('=') {
        Some((name, value)) => format!("{}={}", name.trim(), percent_decoded(value.trim().as_bytes())),
        None => header.trim().to_owned(),
    };
    list(text.split(',').filter(|header| !header.trim().is_empty()).map(decoded))
}

/// Texts as a list of TOML, whose texts may be written as JSON's.
fn list(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<_> = texts.map(|text| serde_json::Value::from(text).to_string()).collect();
    format!("[{}]", texts.join(", "))
}
