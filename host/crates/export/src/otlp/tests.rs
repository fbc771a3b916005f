//! What OpenTelemetry's JSON is to the letter, and what samples become. That others read it is tested from the command line.

use glasshouse_model::wire::{Field, Value as Wire};
use glasshouse_model::{Instrument, Origin, UnixNanos};
use glasshouse_telemetry::Aggregate;
use serde_json::{Value, json};

use super::metrics::dense;
use crate::testing::{START, Shelf, export, text};
use crate::{Format, What};

fn documents(shelf: &Shelf, what: What) -> Vec<Value> {
    let lines = text(&[shelf], what, Format::OtlpJson, "");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_log_in_json_is_to_the_letter() {
    let shelf = Shelf::new("markdown");
    let fields = [
        Field { name: "big", value: Wire::Integer(i64::MIN) },
        Field { name: "odd", value: Wire::Float(f64::NEG_INFINITY) },
        Field { name: "glasshouse.origin", value: Wire::Text("host") },
        Field { name: "big", value: Wire::Integer(i64::MAX) },
    ];
    shelf.log("hello", &fields);
    let time = START.to_string();
    let attribute = |key: &str, kind: &str, value: Value| json!({"key": key, "value": {kind: value}});
    assert_eq!(
        documents(&shelf, What::Logs),
        [json!({"resourceLogs": [{
            "resource": {"attributes": [
                attribute("service.name", "stringValue", "markdown".into()),
                attribute("service.namespace", "stringValue", "glasshouse".into()),
            ]},
            "scopeLogs": [{"scope": {"name": "test"}, "logRecords": [{
                "timeUnixNano": time,
                "observedTimeUnixNano": time,
                "severityNumber": 9,
                "severityText": "info",
                "body": {"stringValue": "hello"},
                "attributes": [
                    attribute("glasshouse.origin", "stringValue", "guest".into()),
                    attribute("glasshouse.sequence", "intValue", "1".into()),
                    attribute("glasshouse.correlation_id", "stringValue", format!("{:032x}", 7).into()),
                    attribute("big", "intValue", i64::MAX.to_string().into()),
                    attribute("odd", "doubleValue", "-Infinity".into()),
                ],
                "traceId": format!("{:032x}", 7),
                "spanId": format!("{:016x}", 8),
            }]}],
        }]})]
    );
}

#[test]
fn counters_are_parts_of_sums_side_by_side_and_histograms_what_a_batch_has() {
    let shelf = Shelf::new("markdown");
    for value in [1.0, 2.0, 3.0] {
        shelf.sample(Instrument::Counter, "calls", "{call}", value);
        shelf.sample(Instrument::Gauge, "depth", "", -value);
        shelf.sample(Instrument::Histogram, "took", "ms", value);
    }
    let documents = documents(&shelf, What::Metrics);
    let metrics = &documents[0]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let of = |name: &str| {
        metrics.as_array().expect("metrics").iter().find(|metric| metric["name"] == name).expect("it is there")
    };
    let sum = &of("calls")["sum"];
    assert_eq!(
        (&sum["aggregationTemporality"], &sum["isMonotonic"], &of("calls")["unit"]),
        (&json!(1), &json!(true), &json!("{call}"))
    );
    let points = sum["dataPoints"].as_array().expect("points");
    let values: Vec<_> = points.iter().map(|point| point["asDouble"].clone()).collect();
    assert_eq!(values, [json!(1.0), json!(2.0), json!(3.0)]);
    for pair in points.windows(2) {
        assert_eq!(pair[1]["startTimeUnixNano"], pair[0]["timeUnixNano"], "no part is told twice, and none is missing");
    }
    assert_eq!(points[0]["exemplars"][0]["traceId"], format!("{:032x}", 7));
    let gauge = &of("depth")["gauge"]["dataPoints"];
    assert_eq!((&gauge[2]["asDouble"], gauge[2].get("startTimeUnixNano")), (&json!(-3.0), None));
    let histogram = &of("took")["exponentialHistogram"];
    let point = &histogram["dataPoints"][0];
    assert_eq!(
        (&histogram["aggregationTemporality"], &point["count"], &point["sum"]),
        (&json!(1), &json!("3"), &json!(6.0))
    );
    assert_eq!((&point["min"], &point["max"]), (&json!(1.0), &json!(3.0)));
    let counts = point["positive"]["bucketCounts"].as_array().expect("buckets");
    assert_eq!(counts.iter().filter(|count| **count == json!("1")).count(), 3);
}

#[test]
fn a_part_of_a_sum_in_a_file_follows_on_the_one_before_though_the_clock_is_set_back() {
    let shelf = Shelf::new("markdown");
    for step in [0, 60_000_000_000, -60_000_000_000, 0, 86_400_000_000_000, -86_400_000_000_000, 0] {
        shelf.step(step);
        shelf.sample(Instrument::Counter, "calls", "{call}", 1.0);
    }
    let documents = documents(&shelf, What::Metrics);
    let points = &documents[0]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"];
    let time = |point: &Value, key: &str| point[key].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let parts: Vec<(i64, i64)> = points
        .as_array()
        .expect("points")
        .iter()
        .map(|point| (time(point, "startTimeUnixNano") - START, time(point, "timeUnixNano") - START))
        .collect();
    assert!(parts.iter().all(|(start, end)| start <= end), "{parts:?}");
    // A day back is no time that anything can follow on: there it starts anew.
    let anew = parts.windows(2).position(|pair| pair[0].1 != pair[1].0);
    assert_eq!(anew, Some(4), "{parts:?}");
    assert!(parts[5].1 < 61_000_000_000, "{parts:?}");
}

#[test]
fn what_the_host_measures_is_in_a_scope_of_its_own() {
    use glasshouse_model::wire::Metric;
    let shelf = Shelf::new("markdown");
    for (origin, instrument) in [(Origin::Guest, Instrument::Histogram), (Origin::Host, Instrument::Gauge)] {
        shelf.metric(origin, &Metric { instrument, name: "response_time", unit: "ms", value: 1.0 }, &[]);
    }
    let documents = documents(&shelf, What::Metrics);
    let scopes = documents[0]["resourceMetrics"][0]["scopeMetrics"].as_array().expect("scopes");
    let names: Vec<_> = scopes.iter().map(|scope| scope["scope"]["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["glasshouse", "markdown"]);
}

#[test]
fn a_distribution_of_all_sizes_is_written_in_few_buckets_and_loses_no_sample() {
    let mut aggregate = Aggregate::of(Instrument::Histogram, 0.0, UnixNanos(1));
    for exponent in -300..300 {
        for sign in [1.0, -1.0] {
            aggregate.add(sign * 10_f64.powi(exponent), UnixNanos(1));
        }
    }
    let distribution = aggregate.distribution.expect("a histogram has one");
    let (scale, positive, negative) = dense(&distribution);
    assert!(scale < 0, "{scale}");
    for side in [positive, negative] {
        let side = side.expect("it holds some");
        assert!(side.bucket_counts.len() <= 160);
        assert_eq!(side.bucket_counts.iter().sum::<u64>(), 600);
        // Bucket i is of what is more than base^i, with base = 2^(2^-scale).
        let doublings = f64::from(1 << -scale);
        assert!((f64::from(side.offset) * doublings).exp2() < 1e-299);
    }
}

#[test]
fn links_are_the_protocols_in_both_encodings() {
    use prost::Message as _;
    let shelf = Shelf::new("markdown");
    let fields = [Field { name: "position", value: Wire::Integer(3) }];
    shelf.span_linked(7, 8, 0, &[(0xa, 0xb, "rojo=1", &fields), (7, 9, "", &[])]);
    shelf.span(7, 9, 0);
    let found = documents(&shelf, What::Traces);
    let spans = &found[0]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(
        spans[0]["links"],
        json!([
            {
                "traceId": format!("{:032x}", 0xa),
                "spanId": format!("{:016x}", 0xb),
                "traceState": "rojo=1",
                "attributes": [{"key": "position", "value": {"intValue": "3"}}],
            },
            {"traceId": format!("{:032x}", 7), "spanId": format!("{:016x}", 9)},
        ])
    );
    assert_eq!(spans[1].get("links"), None);
    let (bytes, _) = export(&[&shelf], What::Traces, Format::Otlp, "");
    let data = super::messages::TracesData::decode(&bytes[..]).expect("it decodes");
    let [link, bare] = &data.resource_spans[0].scope_spans[0].spans[0].links[..] else { panic!("two links") };
    assert_eq!((link.trace_id.len(), link.span_id.len(), link.trace_state.as_str()), (16, 8, "rojo=1"));
    assert_eq!((link.attributes[0].key.as_str(), bare.attributes.len()), ("position", 0));
    // The numbers are the protocol's: `links` = 13, and in a link 1 to 4.
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let whole = field(13, &[field(1, &bare.trace_id), field(2, &bare.span_id)].concat());
    assert!(bytes.windows(whole.len()).any(|window| window == whole));
    assert!(bytes.windows(8).any(|window| window == field(3, b"rojo=1")));
}

#[test]
fn a_file_of_protobuf_is_one_message_with_all_batches() {
    use prost::Message as _;
    let shelf = Shelf::new("markdown");
    (0..1200).for_each(|number| shelf.log(&format!("log {number}"), &[]));
    let (bytes, exported) = export(&[&shelf], What::Logs, Format::Otlp, "");
    let data = super::messages::LogsData::decode(&bytes[..]).expect("it decodes");
    assert_eq!((data.resource_logs.len(), exported.written), (3, 1200));
    let records: usize = data.resource_logs.iter().map(|one| one.scope_logs[0].log_records.len()).sum();
    assert_eq!(records, 1200);
}
