//! Exports as a whole: which records, in which order, how many, and how they end.

use std::io::{self, Write};
use std::ops::ControlFlow;

use glasshouse_model::wire::{Field, Value as Wire};
use glasshouse_model::{Instrument, SpanSearch, TraceId, UnixNanos};
use glasshouse_telemetry::Query;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::records::{InvocationRecord, LogRecord, MetricRecord, Record, SpanRecord};
use crate::testing::{START, Shelf, export, text, try_export};
use crate::{Export, ExportError, Exported, Format, JaegerQueries, What};

fn messages(shelf: &Shelf, query: &str) -> Vec<String> {
    let lines = text(&[shelf], What::Logs, Format::JsonLines, query);
    let message = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["message"].as_str().expect("a message").to_owned()
    };
    lines.lines().map(message).collect()
}

#[test]
fn an_export_of_several_pages_has_each_record_once_and_in_order() {
    let shelf = Shelf::new("markdown");
    let all: Vec<_> = (0..40_000).map(|number| format!("log {number}")).collect();
    for message in &all {
        shelf.log(message, &[]);
    }
    assert!(messages(&shelf, "") == all, "each once, the oldest first");
    let newest_first: Vec<_> = all.iter().rev().cloned().collect();
    assert!(messages(&shelf, "newest first") == newest_first);
    assert!(messages(&shelf, "limit 20000") == all[20_000..], "of a limit the newest, the oldest of them first");
    assert_eq!(messages(&shelf, "oldest first limit 2"), all[..2]);
    assert_eq!(messages(&shelf, "newest first limit 2"), newest_first[..2]);
    assert_eq!(messages(&shelf, "message=\"log 39999\" or message=\"log 3\""), ["log 3", "log 39999"]);
}

#[test]
fn one_document_has_a_place_for_each_signal_and_is_whole_where_there_is_nothing() {
    let shelves = [Shelf::new("markdown"), Shelf::new("relay")];
    let all = [&shelves[0], &shelves[1]];
    let empty: Value = serde_json::from_str(&text(&all, What::All, Format::Json, "")).expect("JSON");
    let names: Vec<_> = empty.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["alerts", "errors", "invocations", "logs", "metrics", "spans"]);
    shelves[0].log("one", &[]);
    shelves[1].log("two", &[]);
    shelves[1].sample(Instrument::Counter, "calls", "", 1.0);
    let document: Value = serde_json::from_str(&text(&all, What::All, Format::Json, "")).expect("JSON");
    assert_eq!(document["logs"][1]["extension"], "relay");
    assert_eq!(
        (document["logs"][0]["signal"].is_null(), document["metrics"][0]["name"].as_str()),
        (true, Some("calls"))
    );
    let logs: Value = serde_json::from_str(&text(&all, What::Logs, Format::Json, "")).expect("JSON");
    assert_eq!(logs, document["logs"]);
    let lines = text(&all, What::All, Format::JsonLines, "");
    assert_eq!(lines.matches("\"signal\":\"logs\"").count(), 2, "{lines}");
    assert_eq!(lines.matches("\"signal\":\"metrics\"").count(), 1, "{lines}");
}

#[test]
fn rows_have_as_many_cells_as_the_head_and_what_has_no_column_is_in_the_last() {
    let shelf = Shelf::new("markdown");
    shelf.log("=cmd|' /C calc'!A0", &[Field { name: "a,b", value: Wire::Text("\"") }]);
    shelf.call(1, 2, None, Some(3));
    let csv = text(&[&shelf], What::Logs, Format::Csv, "");
    let [head, row] = csv.split_terminator("\r\n").collect::<Vec<_>>()[..] else { panic!("{csv}") };
    assert!(head.starts_with("extension,sequence,time") && head.ends_with(",fields,more"), "{head}");
    assert!(row.contains(",'=cmd|' /C calc'!A0,"), "{row}");
    assert!(row.ends_with("\"{\"\"a,b\"\":\"\"\\\"\"\"\"}\",{}"), "{row}");
    let calls = text(&[&shelf], What::Invocations, Format::Csv, "");
    assert!(calls.trim_end().ends_with("{},\"{\"\"host_functions\"\":[]}\""), "{calls}");
}

#[test]
fn what_a_format_has_no_place_for_is_refused_before_anything_is_written() {
    let shelf = Shelf::new("markdown");
    for (what, format, says) in [
        (What::All, Format::Otlp, "one by one"),
        (What::All, Format::OtlpJson, "one by one"),
        (What::Logs, Format::Jaeger, "export `traces`"),
        (What::Logs, Format::Prometheus, "export `metrics`"),
        (What::All, Format::OpenMetrics, "export `metrics`"),
    ] {
        let mut output = Vec::new();
        let refused = try_export(&[&shelf], what, format, "", &mut output).expect_err("there is no place");
        assert!(matches!(refused, ExportError::NoPlace { .. }) && refused.to_string().contains(says), "{refused}");
        assert!(output.is_empty());
    }
}

/// An output with room for so many bytes.
struct Narrow(usize);

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_takes_no_more_ends_every_format_with_its_cause() {
    let shelf = Shelf::new("markdown");
    for number in 0..2000_u32 {
        shelf.log(&format!("log {number}"), &[]);
        shelf.sample(Instrument::Histogram, &format!("metric {number}"), "ms", 1.0);
        shelf.span(number.into(), 1, 0);
    }
    for format in Format::ALL {
        let what = match format {
            Format::Jaeger => What::Traces,
            Format::Prometheus | Format::OpenMetrics => What::Metrics,
            _ => What::Logs,
        };
        let ended = try_export(&[&shelf], what, *format, "", &mut Narrow(1000)).expect_err("there is no room");
        let ExportError::Output { cause, .. } = ended else { panic!("{format}: {ended}") };
        assert_eq!(cause.kind(), io::ErrorKind::StorageFull, "{format}");
    }
}

#[test]
fn whoever_watches_an_export_can_stop_it_also_while_nothing_fits() {
    let shelf = Shelf::new("markdown");
    (0..10_000).for_each(|number| shelf.log(&format!("log {number}"), &[]));
    let sources = [shelf.source()];
    let query = Query::parse("message!~log", UnixNanos(START)).expect("a query");
    let job = Export { sources: &sources, what: What::Logs, format: Format::JsonLines, query: &query, limit: None };
    let mut reports = 0;
    let ended = job.write(&mut Vec::new(), &mut |exported| {
        reports += 1;
        if exported.seen >= 4000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let Err(ExportError::Stopped(exported)) = ended else { panic!("{ended:?}") };
    assert!((4000..8000).contains(&exported.seen) && exported.written == 0 && reports > 1, "{exported:?}");
}

#[test]
fn jaeger_has_links_as_references_behind_that_to_what_caused_a_span() {
    let shelf = Shelf::new("markdown");
    shelf.span_linked(7, 8, 9, &[(0xa, 0xb, "", &[]), (7, 9, "", &[])]);
    shelf.span(7, 9, 0);
    let document: Value = serde_json::from_str(&text(&[&shelf], What::Traces, Format::Jaeger, "")).expect("JSON");
    let spans = document["data"][0]["spans"].as_array().expect("spans");
    let of = |id: u64| spans.iter().find(|span| span["spanID"] == format!("{id:016x}")).expect("it is there");
    let references: Vec<_> = of(8)["references"]
        .as_array()
        .expect("references")
        .iter()
        .map(|one| {
            [&one["refType"], &one["traceID"], &one["spanID"]].map(|text| text.as_str().expect("text")).join(" ")
        })
        .collect();
    let (trace, other) = (format!("{:032x}", 7), format!("{:032x}", 0xa));
    assert_eq!(
        references,
        [
            format!("CHILD_OF {trace} {:016x}", 9),
            format!("FOLLOWS_FROM {other} {:016x}", 0xb),
            format!("FOLLOWS_FROM {trace} {:016x}", 9),
        ]
    );
    assert_eq!(of(9)["references"], Value::Array(Vec::new()));
}

#[test]
fn jaeger_has_all_spans_of_a_trace_together_whichever_store_they_lie_in() {
    let shelves = [Shelf::new("p2"), Shelf::new("p1")];
    // The ids of the extensions are those of each other's processes.
    for trace in 1..=150 {
        shelves[0].call(trace, 1, Some(99), None);
        shelves[1].call(trace, 2, Some(50), Some(1));
        shelves[1].span(trace, 3, 2);
    }
    let document: Value =
        serde_json::from_str(&text(&[&shelves[0], &shelves[1]], What::Traces, Format::Jaeger, "")).expect("JSON");
    let traces = document["data"].as_array().expect("traces");
    assert_eq!(traces.len(), 150);
    for trace in traces {
        let spans = trace["spans"].as_array().expect("spans");
        let of = |id: &str| spans.iter().find(|span| span["spanID"] == id).expect("it is there");
        assert_eq!(spans.len(), 3);
        let parent = |id: &str| of(id)["references"][0]["spanID"].clone();
        assert_eq!(parent("0000000000000001"), "0000000000000063", "from outside");
        assert!(of("0000000000000001")["warnings"][0].is_string());
        assert_eq!(
            parent("0000000000000002"),
            "0000000000000001",
            "its own span was not stored: the call that caused it"
        );
        assert_eq!(
            (parent("0000000000000003"), of("0000000000000003")["warnings"].is_null()),
            ("0000000000000002".into(), true)
        );
        let service =
            |id: &str| trace["processes"][of(id)["processID"].as_str().expect("an id")]["serviceName"].clone();
        assert_eq!((service("0000000000000001"), service("0000000000000003")), ("p2".into(), "p1".into()));
    }
    assert_eq!(traces[0]["traceID"], format!("{:032x}", 150), "the latest first");
    let (_, few) = export(&[&shelves[0], &shelves[1]], What::Traces, Format::Jaeger, "limit 2");
    assert_eq!((few.written, few.left_out), (6, 0));
}

#[test]
fn a_trace_that_is_too_large_for_jaeger_is_cut_and_says_so() {
    let shelf = Shelf::new("markdown");
    shelf.span(1, 1, 0);
    (1..=20_010).for_each(|id| shelf.span(2, id, 0));
    let (bytes, exported) = export(&[&shelf], What::Traces, Format::Jaeger, "");
    assert_eq!((exported.written, exported.left_out), (20_001, 10));
    let document: Value = serde_json::from_slice(&bytes).expect("JSON");
    let warning = document["data"][0]["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("10 more spans"), "{warning}");
}

#[test]
fn records_come_back_from_json_as_they_were_written() {
    fn check<T: Record + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(shelf: &Shelf, what: What) {
        let lines = text(&[shelf], what, Format::JsonLines, "");
        assert!(!lines.is_empty());
        for line in lines.lines() {
            let written: serde_json::Map<String, Value> = serde_json::from_str(line).expect("JSON");
            if written.get("signal").is_some_and(|signal| signal != T::SIGNAL.as_str()) {
                continue;
            }
            let record: T = serde_json::from_str(line).expect(line);
            let mut again = serde_json::to_value(&record).expect("JSON");
            for name in ["extension", "cursor", "signal"] {
                if let Some(value) = written.get(name) {
                    again[name] = value.clone();
                }
            }
            assert_eq!(again, Value::Object(written));
        }
    }
    let shelf = Shelf::new("markdown");
    let fields =
        [("a", Wire::Text("1")), ("b", Wire::Integer(-1)), ("c", Wire::Float(0.5)), ("d", Wire::Boolean(true))];
    shelf.log("one", &fields.map(|(name, value)| Field { name, value }));
    shelf.log("none", &[Field { name: "n", value: Wire::Float(f64::NAN) }]);
    shelf.sample(Instrument::Gauge, "size", "By", 1.5);
    shelf.sample(Instrument::Gauge, "size", "By", f64::INFINITY);
    shelf.call(7, 1, Some(9), None);
    shelf.span(7, 2, 1);
    check::<LogRecord>(&shelf, What::Logs);
    check::<MetricRecord>(&shelf, What::Metrics);
    check::<InvocationRecord>(&shelf, What::Invocations);
    check::<SpanRecord>(&shelf, What::Traces);
}

#[test]
fn a_search_for_traces_that_has_what_it_wants_reads_no_further() {
    let shelf = Shelf::new("markdown");
    for trace in 1..=5000 {
        shelf.call(trace, 1, None, None);
    }
    let queries = JaegerQueries::new(vec![shelf.source()]);
    let search = |tag: &str| SpanSearch {
        tags: vec![("span.kind".to_owned(), tag.to_owned())],
        until: UnixNanos(i64::MAX),
        limit: 3,
        ..SpanSearch::default()
    };
    // Who looks at a few thousand records is told to stop.
    let mut never = |_: &Exported| ControlFlow::Break(());
    let found = queries.find(&search("server"), &mut never).expect("it looks at a few only");
    assert_eq!(found, [5000, 4999, 4998].map(|id: u128| TraceId(id.to_be_bytes())));
    assert!(matches!(queries.find(&search("client"), &mut never), Err(ExportError::Stopped(_))));
    assert!(matches!(
        queries.dependencies(UnixNanos(0), UnixNanos(i64::MAX), &mut never),
        Err(ExportError::Stopped(_))
    ));
}

#[test]
fn a_trace_that_has_no_room_in_memory_is_written_while_it_is_read() {
    const SPANS: u64 = 5000;
    let shelf = Shelf::new("markdown");
    shelf.call(7, 9_000_001, None, None);
    shelf.span(8, 1, 0);
    let why = "x".repeat(8000);
    for id in 1..=SPANS {
        shelf.span_that_failed(7, id, if id == 1 { 9_000_001 } else { id - 1 }, &why);
    }
    shelf.span_that_failed(7, SPANS + 1, 77_777_777, &why);
    let queries = JaegerQueries::new(vec![shelf.source()]);
    let ids = [7, 8, 9].map(|id: u128| TraceId(id.to_be_bytes()));
    let (mut bytes, mut most, mut before) = (Vec::new(), 0, 0);
    let written = queries.write(&ids, &mut bytes, &mut |exported: &Exported| {
        most = most.max(exported.bytes - before);
        before = exported.bytes;
        ControlFlow::Continue(())
    });
    let written = written.expect("it is written");
    // Reports come with every so many records: what is written between two of them is theirs, and no more waits.
    assert_eq!(written.written, SPANS + 3);
    assert!(written.bytes > 40_000_000 && most < 20_000_000, "{most} of {}", written.bytes);
    let document: Value = serde_json::from_slice(&bytes).expect("JSON");
    let long = &document["data"][0];
    assert_eq!((long["traceID"].as_str(), &long["warnings"]), (Some(&*format!("{:032}", 7)), &Value::Null));
    assert_eq!(long["processes"]["p1"]["serviceName"], "markdown");
    let spans = long["spans"].as_array().expect("spans");
    let missing: Vec<_> = spans.iter().filter(|span| !span["warnings"].is_null()).map(|span| &span["spanID"]).collect();
    assert_eq!((spans.len() as u64, missing), (SPANS + 2, vec![&Value::from(format!("{:016x}", SPANS + 1))]));
    assert!(spans.iter().all(|span| span["processID"] == "p1" && !span["references"].is_null()));
    assert_eq!(document["data"][1]["spans"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["errors"][0]["traceID"], format!("{:032}", 9));
}

#[test]
fn a_list_of_traces_tells_of_each_what_it_comes_to() {
    let shelves = [Shelf::new("a"), Shelf::new("b")];
    shelves[0].call(1, 10, Some(5), None);
    shelves[0].span_that_failed(1, 11, 10, "no");
    shelves[1].call(1, 20, Some(11), Some(10));
    shelves[1].call(1, 21, Some(66), Some(67));
    shelves[1].span(2, 30, 0);
    shelves[0].span(2, 31, 30);
    let queries = JaegerQueries::new(shelves.iter().map(Shelf::source).collect());
    let ids = [2, 9, 1].map(|id: u128| TraceId(id.to_be_bytes()));
    let all = queries.figures(&ids, &mut |_| ControlFlow::Continue(())).expect("it looks");
    let told: Vec<_> =
        all.iter().map(|one| (one.trace_id, &one.root, one.spans, one.failed, one.orphans, &one.services)).collect();
    let root = |service: &str, name: &str| (service.to_owned(), name.to_owned());
    let of = |name: &str, spans: u64, failed: u64| (name.to_owned(), spans, failed);
    assert_eq!(
        told,
        [
            (ids[0], &root("b", "work"), 2, 0, 0, &vec![of("a", 1, 0), of("b", 1, 0)]),
            // Of what somebody outside began, the first is taken for the root.
            (ids[2], &root("a", "handle:test"), 4, 1, 2, &vec![of("a", 2, 1), of("b", 2, 0)]),
        ]
    );
    assert!(all.iter().all(|one| one.end > one.start));
}
