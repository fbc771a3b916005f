//! What is exported, as Python's reader of CSV and OpenTelemetry's own decoder read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{PARENT, TRACE, export, lines, served};
use crate::harness::{Place, end};
use crate::peers;

#[test]
fn pythons_reader_of_csv_gives_back_every_text_and_no_cell_is_a_formula() {
    let place = served();
    for what in ["logs", "errors", "metrics", "alerts", "invocations", "traces", "all"] {
        let rows = peers::read("csv", &[], &export(&place, what, "csv", &[]));
        let rows = rows.as_array().expect("rows");
        let records = lines(&place, what, &[]);
        assert_eq!(rows.len(), records.len(), "{what}");
        for (row, record) in rows.iter().zip(&records) {
            let row = row.as_object().expect("a row");
            for (column, cell) in row {
                let cell = cell.as_str().unwrap_or_else(|| panic!("{what}: {column} of {row:?}"));
                let stored = &record[column.as_str()];
                match stored {
                    Value::String(text) => {
                        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{what}: {cell:?}");
                        assert_eq!(cell.strip_prefix('\'').unwrap_or(cell), text, "{what}: {column}");
                    }
                    // Read alike, since a number is not read to its last digit.
                    Value::Number(_) | Value::Bool(_) => {
                        assert_eq!(serde_json::from_str::<Value>(cell).ok().as_ref(), Some(stored), "{what}: {column}");
                    }
                    _ => assert!(cell.is_empty() || !cell.starts_with(['=', '+', '-', '@']), "{what}: {column} {cell}"),
                }
            }
            let fields: Value = serde_json::from_str(row["fields"].as_str().expect("text")).expect("JSON");
            let stored = record.get("fields").or_else(|| record.get("labels")).cloned().unwrap_or_else(|| json!({}));
            assert_eq!(fields, stored, "{what}");
        }
    }
    let logs = fs::read_to_string(place.path("errors.csv")).expect("it was exported");
    assert!(logs.contains("'=cmd|' /C calc'!A0"), "{logs}");
}

/// All of a kind that lie in a list of resources: name of the service, scope, and each.
fn of_services<'v>(data: &'v Value, [resources, scopes, kind]: [&str; 3]) -> Vec<(&'v str, &'v str, &'v Value)> {
    let mut all = Vec::new();
    let list = |value: &'v Value, key: &str| value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    for resource in list(data, resources) {
        let service = &resource["resource"]["attributes"][0];
        assert_eq!(service["key"], "service.name");
        for scope in list(resource, scopes) {
            let name = scope["scope"]["name"].as_str().unwrap_or_default();
            let service = service["value"]["stringValue"].as_str().expect("a name");
            all.extend(list(scope, kind).iter().map(|one| (service, name, one)));
        }
    }
    all
}

fn attribute<'v>(of: &'v Value, key: &str) -> &'v Value {
    let all = of["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found = all.iter().filter(|attribute| attribute["key"] == key);
    let value = found.next().map_or(&Value::Null, |attribute| &attribute["value"]);
    assert!(found.next().is_none(), "{key} is there twice: {of}");
    value
}

/// What OpenTelemetry's own decoder makes of an export: the same in protobuf and in JSON.
fn decoded(place: &Place, what: &str, kind: &str) -> Value {
    let binary = peers::read("otlp", &[kind], &export(place, what, "otlp", &[]));
    let text = peers::read("otlp-json", &[kind], &export(place, what, "otlp-json", &[]));
    assert_eq!(binary, text, "{what}");
    binary
}

/// A time of a record as OpenTelemetry has it.
fn nanos(text: &Value) -> String {
    let text = text.as_str().expect("a time").trim_end_matches('Z');
    let (seconds, nanos) = text.split_once('.').expect("it has nanoseconds");
    let seconds = end(Command::new("date").args(["--utc", "--date", seconds, "+%s"])).expect_code(0).stdout;
    format!("{}{nanos}", seconds.trim())
}

#[test]
fn opentelemetrys_own_decoder_reads_logs_errors_and_alerts() {
    let place = served();
    for what in ["logs", "errors", "alerts"] {
        let data = decoded(&place, what, "logs");
        let decoded = of_services(&data, ["resourceLogs", "scopeLogs", "logRecords"]);
        let stored = lines(&place, what, &[]);
        assert_eq!(decoded.len(), stored.len(), "{what}");
        for record in &stored {
            let sequence = record["sequence"].to_string();
            let same = |one: &&(&str, &str, &Value)| {
                record["extension"] == one.0 && attribute(one.2, "glasshouse.sequence")["intValue"] == sequence
            };
            let (_, scope, log) = decoded.iter().find(same).unwrap_or_else(|| panic!("{record} is not there"));
            assert_eq!(log["body"]["stringValue"], record["message"]);
            assert_eq!((&log["traceId"], &log["spanId"]), (&record["trace_id"], &record["span_id"]));
            assert_eq!(attribute(log, "glasshouse.origin")["stringValue"], record["origin"]);
            let fields = record["fields"].as_object().into_iter().flatten();
            for (name, value) in fields.filter(|(_, value)| value.is_string()) {
                assert_eq!(&attribute(log, name)["stringValue"], value, "{record}");
            }
            let severity = |name: &str| match name {
                "trace" => "SEVERITY_NUMBER_TRACE",
                "debug" => "SEVERITY_NUMBER_DEBUG",
                "info" | "low" => "SEVERITY_NUMBER_INFO",
                "warning" | "medium" => "SEVERITY_NUMBER_WARN",
                "error" | "high" => "SEVERITY_NUMBER_ERROR",
                _ => "SEVERITY_NUMBER_FATAL",
            };
            let level = record.get("level").or_else(|| record.get("severity")).and_then(Value::as_str);
            assert_eq!(log["severityNumber"], severity(level.unwrap_or("error")));
            match what {
                "logs" => assert_eq!(record["target"], **scope),
                "errors" => {
                    assert_eq!(
                        (&log["eventName"], &attribute(log, "exception.type")["stringValue"]),
                        (&json!("exception"), &record["kind"])
                    );
                }
                _ => assert_eq!(attribute(log, "glasshouse.alert.title")["stringValue"], record["title"]),
            }
        }
        let first = stored.first().expect("there is one");
        let times: BTreeSet<_> =
            decoded.iter().map(|(_, _, log)| log["observedTimeUnixNano"].clone().to_string()).collect();
        assert!(times.contains(&json!(nanos(&first["time"])).to_string()), "{what}");
    }
}

#[test]
fn opentelemetrys_own_decoder_reads_metrics_and_none_of_a_sample_is_lost() {
    let place = served();
    let data = decoded(&place, "metrics", "metrics");
    let decoded = of_services(&data, ["resourceMetrics", "scopeMetrics", "metrics"]);
    let mut found = BTreeMap::<_, (f64, u64)>::new();
    for (service, scope, metric) in decoded {
        assert_eq!(scope == "glasshouse", service == "host" || scope != service, "{metric}");
        let name = metric["name"].as_str().unwrap_or_default();
        let sums = &metric["sum"];
        let known = found.entry((service.to_owned(), name.to_owned())).or_default();
        let points = |of: &Value| of["dataPoints"].as_array().cloned().unwrap_or_default();
        for point in points(sums).iter().chain(&points(&metric["gauge"])) {
            known.0 += point["asDouble"].as_f64().expect("a number");
            known.1 += 1;
        }
        if !sums.is_null() {
            let temporality = &sums["aggregationTemporality"];
            assert_eq!((temporality, &sums["isMonotonic"]), (&json!("AGGREGATION_TEMPORALITY_DELTA"), &json!(true)));
        }
        for point in points(&metric["exponentialHistogram"]) {
            let count = |value: &Value| value.as_str().map_or(0, |count| count.parse::<u64>().expect("a count"));
            known.0 += point["sum"].as_f64().expect("a sum");
            known.1 += count(&point["count"]);
            let buckets = point["positive"]["bucketCounts"].as_array().expect("buckets").iter().map(count);
            assert_eq!(buckets.sum::<u64>() + count(&point["zeroCount"]), count(&point["count"]));
            assert_eq!(point["exemplars"][0]["traceId"].as_str().map(str::len), Some(32));
        }
    }
    let mut stored = BTreeMap::<_, (f64, u64)>::new();
    for sample in lines(&place, "metrics", &[]) {
        let text = |key: &str| sample[key].as_str().unwrap_or_default().to_owned();
        let known = stored.entry((text("extension"), text("name"))).or_default();
        known.0 += sample["value"].as_f64().expect("a number");
        known.1 += 1;
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>());
    for (key, (sum, count)) in &stored {
        let (found, found_count) = found[key];
        assert!((found - sum).abs() <= sum.abs() * 1e-9 && found_count == *count, "{key:?}");
    }
}

#[test]
fn opentelemetrys_own_decoder_reads_spans_and_calls() {
    let place = served();
    let data = decoded(&place, "traces", "traces");
    let decoded = of_services(&data, ["resourceSpans", "scopeSpans", "spans"]);
    let stored = lines(&place, "traces", &[]);
    assert_eq!(decoded.len(), stored.len());
    for record in &stored {
        let same = |one: &&(&str, &str, &Value)| {
            (&one.2["traceId"], &one.2["spanId"]) == (&record["trace_id"], &record["span_id"])
        };
        let (service, _, span) = decoded.iter().find(same).unwrap_or_else(|| panic!("{record} is not there"));
        assert_eq!((&record["extension"], &record["name"]), (&json!(service), &span["name"]));
        let parent = record["parent"].as_str().filter(|id| id.contains(|digit| digit != '0'));
        assert_eq!(span["parentSpanId"].as_str(), parent.or(record["cause"].as_str()));
        let is_failed = match record["signal"].as_str() {
            Some("spans") => record["status"] != "ok",
            _ => record["outcome"] != "ok",
        };
        assert_eq!(span["status"]["code"] == "STATUS_CODE_ERROR", is_failed, "{span}");
        let number = |key: &str| span[key].as_str().map_or(0, |time| time.parse::<u64>().expect("a time"));
        assert!(number("startTimeUnixNano") <= number("endTimeUnixNano"), "{span}");
        let events = record["events"].as_array().map_or(0, Vec::len);
        assert_eq!(span["events"].as_array().map_or(0, Vec::len), events);
    }
    let call = decoded.iter().find(|(_, _, span)| span["traceId"] == TRACE && span["parentSpanId"] == PARENT);
    let (service, scope, call) = call.expect("the call that a request from outside made");
    assert_eq!((*service, *scope, &call["kind"]), ("context", "glasshouse", &json!("SPAN_KIND_SERVER")));
    let record = stored.iter().find(|record| record["span_id"] == call["spanId"]).expect("it is stored");
    assert_eq!(call["endTimeUnixNano"], nanos(&record["time"]));
}
