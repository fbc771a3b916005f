//! Records that extensions of released versions send, and that data directories hold, are read as what they were.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use glasshouse_wire::{
    Alert, Error, Field, Instrument, KIND_ALERT, KIND_ERROR, KIND_LOG, KIND_METRIC, KIND_SAMPLES, Level, Link, Log,
    Metric, Severity, Source, SpanKind, Value, decode, samples, span_change, span_start, write_alert, write_error,
    write_linked_span_start, write_log, write_metric, write_samples, write_span_event, write_span_failure,
    write_span_field, write_span_link, write_span_start,
};

/// The file of records in the folder of a version: a line each, with kind, name and body in hexadecimal.
const FILE: &str = "records.txt";

/// What opens a span, and what changes one, has a door of its own and so no kind of a record. In the file it has these.
const SPAN_START: u8 = 200;
const SPAN_CHANGE: u8 = 201;

const FIELDS: [Field<'_>; 4] = [
    Field { name: "path", value: Value::Text("/päge?x=1") },
    Field { name: "size", value: Value::Integer(-4096) },
    Field { name: "share", value: Value::Float(0.25) },
    Field { name: "cached", value: Value::Boolean(true) },
];
const LABELS: [Field<'_>; 1] = [Field { name: "route", value: Value::Text("home") }];
const SOURCE: Option<Source<'_>> = Some(Source { file: "src/lib.rs", line: 70_000 });
const METRIC: Metric<'_> = Metric { instrument: Instrument::Histogram, name: "took", unit: "ms", value: 12.5 };

/// What can cross, each with all that it can have and with nothing that it need not have.
fn records() -> BTreeMap<&'static str, (u8, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut add = |name, kind, write: &dyn Fn(&mut Vec<u8>)| {
        let mut body = Vec::new();
        write(&mut body);
        all.insert(name, (kind, body));
    };
    let long = "ä".repeat(100);
    let log = Log { level: Level::Warning, target: "shop::cart", message: "", source: SOURCE, time: Some(-1) };
    add("log", KIND_LOG, &|body| write_log(body, &log, format_args!("served in {} ms: {long}", 12), &FIELDS));
    let bare = Log { level: Level::Trace, target: "", source: None, time: None, ..log };
    add("log-bare", KIND_LOG, &|body| write_log(body, &bare, format_args!(""), &[]));
    add("metric", KIND_METRIC, &|body| write_metric(body, &METRIC, &LABELS));
    let counter = Metric { instrument: Instrument::Counter, name: "hits", unit: "", value: 1.0 };
    add("metric-bare", KIND_METRIC, &|body| write_metric(body, &counter, &[]));
    add("samples", KIND_SAMPLES, &|body| write_samples(body, &METRIC, &LABELS, 3));
    let error = Error { kind: "io", message: "gone", stack: "a\nb", source: SOURCE, handled: true };
    add("error", KIND_ERROR, &|body| write_error(body, &error, &FIELDS));
    let bare = Error { kind: "", message: "", stack: "", source: None, handled: false };
    add("error-bare", KIND_ERROR, &|body| write_error(body, &bare, &[]));
    let alert = Alert {
        severity: Severity::High,
        kind: "stock",
        title: "Low",
        message: "3 left",
        metric: Some("stock.left"),
        value: Some(3.0),
        threshold: Some(5.0),
    };
    add("alert", KIND_ALERT, &|body| write_alert(body, &alert));
    let bare = Alert { severity: Severity::Low, metric: None, value: None, threshold: None, ..alert };
    add("alert-bare", KIND_ALERT, &|body| write_alert(body, &bare));
    let span = SpanKind::Client;
    add("span", SPAN_START, &|body| *body = write_span_start(&mut Vec::new(), span, "render", &FIELDS).to_vec());
    add("span-bare", SPAN_START, &|body| {
        *body = write_span_start(&mut Vec::new(), SpanKind::Internal, "", &[]).to_vec();
    });
    add("span-field", SPAN_CHANGE, &|body| *body = write_span_field(&mut Vec::new(), &FIELDS[1]).to_vec());
    add("span-event", SPAN_CHANGE, &|body| *body = write_span_event(&mut Vec::new(), "retried", &FIELDS).to_vec());
    let link = Link { trace_id: [0x4b; 16], span_id: [0xf0; 8], state: "rojo=00f067aa0ba902b7" };
    let bare = Link { state: "", ..link };
    add("span-linked", SPAN_START, &|body| {
        let links = [(link, &FIELDS[..]), (bare, &[])];
        *body = write_linked_span_start(&mut Vec::new(), span, false, &links, "render", &FIELDS).to_vec();
    });
    add("span-root", SPAN_START, &|body| {
        *body = write_linked_span_start(&mut Vec::new(), SpanKind::Consumer, true, &[(bare, &[])], "page", &FIELDS)
            .to_vec();
    });
    add("span-link", SPAN_CHANGE, &|body| *body = write_span_link(&mut Vec::new(), &link, &FIELDS).to_vec());
    add("span-failure", SPAN_CHANGE, &|body| *body = write_span_failure(&mut Vec::new(), "gone").to_vec());
    all
}

/// What a record says, in a form to compare.
fn read(kind: u8, body: &[u8]) -> String {
    match kind {
        KIND_SAMPLES => {
            let read = samples(body).map(|read| (read.metric, read.labels, read.values().collect::<Vec<_>>()));
            format!("{read:?}")
        }
        SPAN_START => format!("{:?}", span_start(body)),
        SPAN_CHANGE => format!("{:?}", span_change(body)),
        _ => format!("{:?}", decode(kind, body)),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Vec<u8> {
    let digits = |at: usize| text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    (0..text.len()).step_by(2).map(|at| digits(at).expect("a byte is two digits")).collect()
}

fn released() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../released");
    let entries = fs::read_dir(folder).expect("there is a folder of released versions");
    entries.map(|entry| entry.expect("reading a folder").path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn records_of_released_versions_say_what_they_said() {
    let today = records();
    for (name, (kind, body)) in &today {
        assert!(read(*kind, body).starts_with("Ok("), "{name}: {}", read(*kind, body));
    }
    for version in released() {
        let text = fs::read_to_string(version.join(FILE)).unwrap_or_else(|error| {
            let lines = today.iter().map(|(name, (kind, body))| format!("{kind} {name} {}", hexadecimal(body)));
            let lines: Vec<_> = lines.collect();
            panic!("{}: {error}; today's records would be:\n{}", version.join(FILE).display(), lines.join("\n"))
        });
        assert!(text.lines().count() > 0, "{}: no records", version.display());
        for line in text.lines() {
            let [kind, name, body] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("not a record: {line}") };
            let kind = kind.parse().expect("a kind is a number");
            let (now_kind, now) = today.get(name).unwrap_or_else(|| panic!("there is no record {name} any more"));
            assert_eq!((kind, read(kind, &bytes(body))), (*now_kind, read(*now_kind, now)), "{name}");
        }
    }
}
