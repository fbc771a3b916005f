//! An export of stored logs as lines of JSON, beside what serde_json spends on the same records in memory; and what memory exports take, whatever
//! there is to be written.

use std::hint::black_box;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use glasshouse::Stored;
use glasshouse::export::{Export, Format, What};
use glasshouse::records::LogRecord;
use glasshouse_model::invocation::HostUses;
use glasshouse_model::record::KIND_SPAN;
use glasshouse_model::wire::{Fields, Links};
use glasshouse_model::{
    Clock as _, Context as Correlation, Origin, Signal, Span, SpanCost, SpanId, SpanKind, SpanStatus, TraceId,
    UnixNanos,
};
use glasshouse_telemetry::{Head, Query, Recorder};
use serde::Serialize;
use tempfile::TempDir;

use crate::harness::{Plan, Row, Side, Spread, Unit, cpu};
use crate::records::{EXTENSION, Logs, clock, depot, roomy, store};

/// Logs that are exported: more than any cache holds.
const LOGS: u32 = 200_000;
/// What a hundredth of them is asked for by.
const FEW: &str = "limit 2000";
/// Spans that are exported beside them, and how many of them a trace has.
const SPANS: u32 = 200_000;
const OF_A_TRACE: u32 = 10;
/// What a hundredth of their traces is asked for by.
const FEW_TRACES: &str = "limit 200";
/// Exports of which the memory is measured, and what asks for a hundredth of each.
const WRITTEN: [(What, Format, &str); 4] = [
    (LINES.0, LINES.1, FEW),
    (What::Logs, Format::Csv, FEW),
    (What::Logs, Format::Otlp, FEW),
    (What::Traces, Format::Jaeger, FEW_TRACES),
];

/// The export that is measured in time as well.
const LINES: (What, Format) = (What::Logs, Format::JsonLines);

/// A line as `glasshouse export logs` writes it.
#[derive(Serialize)]
struct Line<'a> {
    extension: &'a str,
    cursor: String,
    #[serde(flatten)]
    record: LogRecord,
}

/// Takes bytes and counts them.
#[derive(Default)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += black_box(bytes).len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let folder = TempDir::new()?;
    fill(folder.path())?;
    let mut memory = Vec::new();
    for (what, format, few) in WRITTEN {
        let few = peak_bytes(folder.path(), (what, format), few)?;
        let all = peak_bytes(folder.path(), (what, format), "")?;
        let what =
            format!("memory for an export of {LOGS} {} as {format}", if what == What::Logs { "logs" } else { "spans" });
        memory.push(Row::figure("export", what, Unit::Bytes, Spread::of(all)).beside("for one of 2000", few));
    }
    let records = Stored::open(folder.path())?.extension(EXTENSION).records::<LogRecord>();
    let line = |record: LogRecord| {
        let cursor = records.cursor(record.head.sequence).to_string();
        Line { extension: EXTENSION, cursor, record }
    };
    let in_memory: Vec<_> = records.latest(LOGS as usize).into_iter().map(line).collect();
    ensure!(in_memory.len() == LOGS as usize, "not all logs are stored");

    let (mut exported, mut written) = (0, 0);
    let ours: Side<'_> = Box::new(|| cpu(LOGS, || export(folder.path(), LINES, "").map(|bytes| exported = bytes)));
    let peer: Side<'_> = Box::new(|| {
        cpu(LOGS, || {
            let mut output = io::BufWriter::with_capacity(64 * 1024, Count::default());
            for line in &in_memory {
                serde_json::to_writer(&mut output, line)?;
                output.write_all(b"\n")?;
            }
            output.flush()?;
            written = output.get_ref().0;
            Ok(())
        })
    });
    let [ours, peer] = plan.run([ours, peer])?;
    ensure!(exported == written, "an export of {exported} bytes is not the same as {written} bytes of serde_json");
    let what = format!("a log as a line of JSON, of {LOGS} stored and sealed ones");
    let speed = ours.against(&peer, "export", &what, "serde_json, the same records in memory", Some(1.5));
    Ok(std::iter::once(speed).chain(memory).collect())
}

fn fill(data_dir: &Path) -> Result<()> {
    let depot = depot(data_dir)?;
    let mut settings = roomy();
    settings.retention.signals[Signal::Span as usize].bytes = 4 << 30;
    let store = store(&depot, EXTENSION, &settings)?;
    let recorder = store.recorder();
    let mut logs = Logs::new(1, LOGS.into());
    for _ in 0..LOGS {
        logs.record(&recorder, None)?;
    }
    for number in 0..SPANS {
        record_span(&recorder, number)?;
    }
    depot.settle();
    Ok(())
}

/// Records a span, in a trace with those before or after it.
fn record_span(recorder: &Recorder, number: u32) -> Result<()> {
    let (mut body, mut context) = (Vec::new(), Vec::new());
    let now = clock().now();
    let id = |number: u32| SpanId(u64::from(number + 1).to_be_bytes());
    let trace_id = TraceId(u128::from(number / OF_A_TRACE + 1).to_be_bytes());
    Correlation { trace_id, span_id: id(number), ..Correlation::default() }.encode(&mut context);
    let span = Span {
        parent: if number.is_multiple_of(OF_A_TRACE) { SpanId::default() } else { id(number - 1) },
        kind: SpanKind::Internal,
        status: SpanStatus::Ok,
        name: "render",
        failure: "",
        start: UnixNanos(now.0 - 500_000),
        total: SpanCost { elapsed_nanos: 500_000, ..SpanCost::default() },
        children: SpanCost::default(),
        links: Links::EMPTY,
        fields: Fields::EMPTY,
        events: Vec::new(),
        memory_bytes: 1 << 20,
        host: HostUses::default(),
    };
    span.encode(&mut body, &[], 0, &[]);
    let head = Head { time: now, origin: Origin::Guest, cut: false, batched: false, context: &context };
    ensure!(recorder.append(Signal::Span, head, KIND_SPAN, &body) > 0, "a span was not stored");
    Ok(())
}

/// Exports what a query asks for; returns how many bytes that are.
fn export(data_dir: &Path, (what, format): (What, Format), query: &str) -> Result<u64> {
    let sources = [Stored::open(data_dir)?.extension(EXTENSION).source()];
    let query = Query::parse(query, UnixNanos(0))?;
    let export = Export { sources: &sources, what, format, query: &query, limit: None };
    let mut output = Count::default();
    export.write(&mut output, &mut |_| ControlFlow::Continue(()))?;
    Ok(output.0)
}

/// What an export adds to the memory that is resident, at most.
fn peak_bytes(data_dir: &Path, written: (What, Format), query: &str) -> Result<f64> {
    // Makes the peak what is resident now (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").context("setting the peak of memory back")?;
    let before = resident_bytes("VmRSS:")?;
    export(data_dir, written, query)?;
    Ok((resident_bytes("VmHWM:")? - before).max(0.0))
}

fn resident_bytes(what: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context("the kernel tells what is resident")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}
