//! The file that Jaeger's user interface writes and reads: traces, each with all of its spans, and the processes that they ran in.
//!
//! Names and types are those of Jaeger's `model/json` (the answer of `/api/traces`): ids are hexadecimal digits, times and durations microseconds. All spans of a trace stand
//! together, but lie in the stores of several extensions, so the stores are gone through several times: for the traces that are wanted, for how many
//! spans each of them has, and then for as many traces at a time as have room in memory; one that has none is written as it is read.

mod figures;
mod long;
mod parts;
mod queries;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use glasshouse_model::{Outcome, Signal, SpanId, SpanKind, SpanStatus, TraceId, UnixNanos};
use glasshouse_telemetry::{Order, Query};
use serde::Serialize;
use serde_json::{Value, json};

use crate::export::{Broken, Export};
use crate::records::{FieldList, FieldValue, InvocationRecord, SpanLinkRecord, SpanRecord};
use crate::walk::{Found, Walk};
use crate::{Source, What};

pub use queries::{Dependency, JaegerQueries, Operation};

/// Traces that are written where nobody says otherwise, the newest: more than Jaeger's interface can list.
const TRACES: usize = 1000;
/// Spans that are in memory at a time, and of one trace at most: a trace that has more is cut, and says so.
const SPANS: u64 = 20_000;
/// Bytes of their records that are in memory at a time: as many as that many usual spans have. In memory a record takes ten times as much, and thirty times where it
/// has nothing but the smallest of fields.
const HELD_BYTES: u64 = 4 << 20;
/// Traces whose ids have room in a query.
const IN_A_QUERY: usize = 100;
/// Integers beyond this are no longer themselves in JavaScript; Jaeger writes them as text (2^53 - 1).
const SAFE_INTEGER: i64 = (1 << 53) - 1;

/// What a call is beside spans: somebody from outside waits for it.
const CALL_KIND: &str = "server";

#[derive(Serialize)]
struct Trace {
    #[serde(rename = "traceID")]
    id: String,
    spans: Vec<Span>,
    processes: BTreeMap<String, Process>,
    warnings: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Process {
    #[serde(rename = "serviceName")]
    service_name: String,
    tags: Vec<Tag>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    id: String,
    flags: u32,
    operation_name: String,
    references: Vec<Reference>,
    start_time: u64,
    duration: u64,
    tags: Vec<Tag>,
    logs: Vec<Log>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
    /// The place of its source among the others.
    #[serde(skip)]
    source: usize,
    #[serde(skip)]
    start: UnixNanos,
    #[serde(skip)]
    elapsed_ns: u64,
    #[serde(skip)]
    own: SpanId,
    #[serde(skip)]
    parents: Vec<SpanId>,
}

impl Reference {
    /// To what a span is linked to.
    fn to(link: &SpanLinkRecord) -> Self {
        let (trace_id, span_id) = (link.trace_id.to_string(), link.span_id.to_string());
        Self { ref_type: "FOLLOWS_FROM", trace_id, span_id }
    }
}

#[derive(Serialize)]
struct Reference {
    #[serde(rename = "refType")]
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Serialize)]
struct Log {
    timestamp: u64,
    fields: Vec<Tag>,
}

#[derive(Serialize)]
struct Tag {
    key: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: Value,
}

/// Spans of traces that are gathered.
#[derive(Default)]
struct Gathered {
    spans: Vec<Span>,
    size: Size,
    left_out: u64,
}

/// How much there is of a trace, or may be.
#[derive(Clone, Copy, Default)]
struct Size {
    spans: u64,
    bytes: u64,
}

impl Size {
    fn add(&mut self, found: &Found<'_>) {
        self.spans += 1;
        self.bytes += found.entry.bytes() as u64;
    }

    /// Whether so much has room in memory.
    fn fits(self) -> bool {
        self.spans <= SPANS && self.bytes <= HELD_BYTES
    }
}

/// Visits a span or a call of a trace, and by its place among the sources whose it is.
type Visit<'v> = &'v mut dyn FnMut(&mut Walk<'_>, usize, TraceId, Found<'_>) -> Result<(), Broken>;

/// Writes the newest traces that have a span or a call which the query asks for, the latest of them first.
pub(crate) fn write(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    let wanted = newest(export, walk)?;
    walk.buffer().extend_from_slice(b"{\"data\":[");
    write_these(export.sources, export.what, walk, &wanted, &mut true)?;
    walk.buffer().extend_from_slice(b"\n],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n");
    Ok(())
}

/// Writes traces as the items of a list, in this order. Returns those of which nothing is stored.
fn write_these(
    sources: &[Source],
    what: What,
    walk: &mut Walk<'_>,
    wanted: &[TraceId],
    is_first: &mut bool,
) -> Result<Vec<TraceId>, Broken> {
    let sizes = sizes(sources, what, walk, wanted)?;
    let (mut rest, mut missing) = (wanted, Vec::new());
    while !rest.is_empty() {
        let mut all = Size::default();
        let mut fits = |id: &TraceId| {
            let size = sizes.get(id).copied().unwrap_or_default();
            all = Size { spans: all.spans + size.spans, bytes: all.bytes + size.bytes };
            all.fits()
        };
        let length = rest.iter().take_while(|id| fits(id)).count();
        let (now, later) = rest.split_at(length.max(1));
        rest = later;
        if length == 0 {
            if !long::write(sources, what, walk, now[0], is_first)? {
                missing.push(now[0]);
            }
            continue;
        }
        let mut traces: HashMap<_, _> = now.iter().map(|id| (*id, Gathered::default())).collect();
        let now_ids = now.iter().copied().collect();
        each_of(sources, what, walk, &now_ids, &mut |_, index, id, found| {
            let Some(gathered) = traces.get_mut(&id) else { return Ok(()) };
            // It has grown since its size was taken, if it does not fit.
            gathered.size.add(&found);
            if !gathered.size.fits() {
                gathered.left_out += 1;
            } else if let Some(span) = span_of(index, found) {
                gathered.spans.push(span);
            }
            Ok(())
        })?;
        for id in now {
            let Some(trace) = traces.remove(id).and_then(|gathered| trace(walk, *id, gathered, sources)) else {
                missing.push(*id);
                continue;
            };
            separate(walk, is_first);
            serde_json::to_writer(walk.buffer(), &trace)?;
            walk.spill()?;
        }
    }
    Ok(missing)
}

/// Begins a trace, the first or another.
fn separate(walk: &mut Walk<'_>, is_first: &mut bool) {
    let separator: &[u8] = if std::mem::take(is_first) { b"\n" } else { b",\n" };
    walk.buffer().extend_from_slice(separator);
}

/// How many spans and calls each of some traces has, and how large they are; those that have none are left out.
fn sizes(
    sources: &[Source],
    what: What,
    walk: &mut Walk<'_>,
    wanted: &[TraceId],
) -> Result<HashMap<TraceId, Size>, Broken> {
    let ids = wanted.iter().copied().collect();
    let mut sizes = HashMap::<TraceId, Size>::new();
    each_of(sources, what, walk, &ids, &mut |_, _, id, found| {
        sizes.entry(id).or_default().add(&found);
        Ok(())
    })?;
    Ok(sizes)
}

/// The traces that are wanted, the latest first.
fn newest(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<Vec<TraceId>, Broken> {
    let limit = walk.limit().unwrap_or(TRACES);
    let mut found = HashMap::<TraceId, UnixNanos>::new();
    let query = walk.query;
    for source in export.sources {
        for signal in export.what.signals() {
            let reader = source.reader(*signal);
            let sequences = 1..reader.next_sequence();
            // Of each source no more can be among the newest than there may be of all.
            let mut left = limit;
            walk.search(source.extension(), reader, query, sequences, Order::NewestFirst, None, &mut |_, one| {
                let Some(context) = &one.envelope.context else { return Ok(()) };
                if left > 0 || found.contains_key(&context.trace_id) {
                    let known = found.entry(context.trace_id).or_insert_with(|| {
                        left -= 1;
                        one.envelope.time
                    });
                    *known = one.envelope.time.max(*known);
                }
                Ok(())
            })?;
            if found.len() > limit {
                found = latest(found, limit).into_iter().collect();
            }
        }
    }
    Ok(latest(found, limit).into_iter().map(|(id, _)| id).collect())
}

fn latest(found: HashMap<TraceId, UnixNanos>, limit: usize) -> Vec<(TraceId, UnixNanos)> {
    let mut all: Vec<_> = found.into_iter().collect();
    all.sort_by_key(|(id, time)| (std::cmp::Reverse(*time), *id));
    all.truncate(limit);
    all
}

/// Visits all spans and calls of some traces.
fn each_of(
    sources: &[Source],
    what: What,
    walk: &mut Walk<'_>,
    ids: &BTreeSet<TraceId>,
    visit: Visit<'_>,
) -> Result<(), Broken> {
    let query = query_for(ids);
    for (index, source) in sources.iter().enumerate() {
        for signal in what.signals() {
            let reader = source.reader(*signal);
            let sequences = 1..reader.next_sequence();
            walk.search(
                source.extension(),
                reader,
                &query,
                sequences,
                Order::OldestFirst,
                None,
                &mut |walk, found| match found.envelope.context.as_ref().map(|context| context.trace_id) {
                    Some(id) if ids.contains(&id) => visit(walk, index, id, found),
                    _ => Ok(()),
                },
            )?;
        }
    }
    Ok(())
}

/// A query for what belongs to some traces, so that most of a store need not be read; for all records where they are too many for one.
fn query_for(ids: &BTreeSet<TraceId>) -> Query {
    if ids.len() > IN_A_QUERY {
        return Query::all();
    }
    let list: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    let parsed = Query::parse(&format!("trace in ({})", list.join(",")), UnixNanos(0));
    parsed.unwrap_or_else(|_| Query::all())
}

/// Puts a trace together; `None` if nothing is there any more.
fn trace(walk: &mut Walk<'_>, id: TraceId, gathered: Gathered, sources: &[Source]) -> Option<Trace> {
    let Gathered { mut spans, left_out, .. } = gathered;
    if spans.is_empty() {
        return None;
    }
    spans.sort_by_key(|span| span.start_time);
    let known: HashSet<_> = spans.iter().map(|span| span.own).collect();
    let mut processes = BTreeMap::new();
    for span in &mut spans {
        span.settle(&known);
        processes.entry(span.process_id.clone()).or_insert_with(|| process(&sources[span.source]));
    }
    walk.exported.written += spans.len() as u64;
    walk.exported.left_out += left_out;
    let warnings = warnings(left_out, "the trace has grown while it was read");
    Some(Trace { id: id.to_string(), spans, processes, warnings })
}

impl Span {
    /// Says what caused it, by the spans of its trace that are known.
    fn settle(&mut self, known: &HashSet<SpanId>) {
        // A span that was not stored is left out: what lies in it hangs on the call that caused it.
        let stored = self.parents.iter().find(|parent| known.contains(parent) && **parent != self.own);
        if let Some(parent) = stored.or(self.parents.first()) {
            let (trace_id, span_id) = (self.trace_id.clone(), parent.to_string());
            // The interface takes the first reference for what a span hangs on.
            self.references.insert(0, Reference { ref_type: "CHILD_OF", trace_id, span_id });
        }
        if stored.is_none() && !self.parents.is_empty() {
            self.warnings = Some(vec!["what caused it is not stored".to_owned()]);
        }
    }
}

/// What is said of a trace of which so many spans are left out, and why.
fn warnings(left_out: u64, why: &str) -> Option<Vec<String>> {
    (left_out > 0).then(|| vec![format!("{left_out} more spans are left out: {why}")])
}

fn process(source: &Source) -> Process {
    Process { service_name: source.extension().to_owned(), tags: process_tags() }
}

/// What a source's process is called in a trace.
fn process_id(source: usize) -> String {
    format!("p{}", source + 1)
}

fn process_tags() -> Vec<Tag> {
    vec![text("service.namespace", "glasshouse")]
}

/// A span or a call of the source at this place.
fn span_of(source: usize, found: Found<'_>) -> Option<Span> {
    match source_signal(&found) {
        Signal::Invocation => found.record().and_then(|record| call(source, record)),
        _ => found.record().and_then(|record| span(source, record)),
    }
}

fn source_signal(found: &Found<'_>) -> Signal {
    match found.body {
        glasshouse_telemetry::Body::Invocation(_) => Signal::Invocation,
        _ => Signal::Span,
    }
}

fn micros(time: UnixNanos) -> u64 {
    u64::try_from(time.0).unwrap_or_default() / 1000
}

fn tag(key: &str, value: &FieldValue) -> Tag {
    let (kind, value) = match value {
        FieldValue::Text(text) => ("string", json!(text)),
        FieldValue::Boolean(boolean) => ("bool", json!(boolean)),
        FieldValue::Integer(integer) if integer.abs_diff(0) <= SAFE_INTEGER as u64 => ("int64", json!(integer)),
        FieldValue::Integer(integer) => ("int64", json!(integer.to_string())),
        // JSON has no number for it.
        FieldValue::Float(float) if !float.is_finite() => ("string", json!(float.to_string())),
        FieldValue::Float(float) => ("float64", json!(float)),
    };
    Tag { key: key.to_owned(), kind, value }
}

fn text(key: &str, text: &str) -> Tag {
    tag(key, &FieldValue::Text(text.to_owned()))
}

fn count(key: &str, count: u64) -> Tag {
    tag(key, &FieldValue::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn failed(tags: &mut Vec<Tag>, how: &str) {
    tags.push(tag("error", &FieldValue::Boolean(true)));
    tags.push(text("otel.status_code", "ERROR"));
    tags.push(text("otel.status_description", how));
}

fn fields(fields: &FieldList) -> impl Iterator<Item = Tag> {
    fields.0.iter().map(|(name, value)| tag(name, value))
}

/// A span's kind as Jaeger has it.
fn kind_word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn span(source: usize, record: SpanRecord) -> Option<Span> {
    let context = record.head.context?;
    let mut tags =
        vec![text("span.kind", kind_word(record.kind)), text("glasshouse.origin", record.head.origin.as_str())];
    match record.status {
        SpanStatus::Ok => {}
        SpanStatus::Failed => failed(&mut tags, &record.failure),
        SpanStatus::Unfinished => failed(&mut tags, "unfinished"),
    }
    tags.extend(record.total.fuel.map(|fuel| count("glasshouse.fuel", fuel)));
    tags.push(count("glasshouse.in_guest_ns", record.total.in_guest_ns));
    tags.push(count("glasshouse.in_host_ns", record.total.in_host_ns));
    tags.push(count("glasshouse.waiting_ns", record.total.waiting_ns));
    tags.extend(record.memory_peak_bytes.map(|bytes| count("glasshouse.memory_peak_bytes", bytes)));
    tags.extend(fields(&record.fields));
    let logs = record.events.iter().map(|event| Log {
        timestamp: micros(event.time),
        fields: std::iter::once(text("event", &event.name)).chain(fields(&event.fields)).collect(),
    });
    Some(Span {
        trace_id: context.trace_id.to_string(),
        id: context.span_id.to_string(),
        flags: 1,
        operation_name: record.name,
        references: record.links.iter().map(Reference::to).collect(),
        start_time: micros(record.start),
        duration: record.total.elapsed_ns / 1000,
        tags,
        logs: logs.collect(),
        process_id: process_id(source),
        warnings: None,
        source,
        start: record.start,
        elapsed_ns: record.total.elapsed_ns,
        own: context.span_id,
        parents: Some(record.parent).filter(|parent| *parent != SpanId::default()).into_iter().collect(),
    })
}

fn call(source: usize, record: InvocationRecord) -> Option<Span> {
    let context = record.head.context?;
    let mut tags = vec![text("span.kind", CALL_KIND), text("glasshouse.call.outcome", record.outcome.as_str())];
    if record.outcome != Outcome::Ok {
        failed(&mut tags, record.outcome.as_str());
    }
    tags.extend(record.fuel.map(|fuel| count("glasshouse.fuel", fuel)));
    tags.push(count("glasshouse.queued_ns", record.queued_ns));
    tags.push(count("glasshouse.guest_cpu_ns", record.guest_cpu_ns));
    tags.push(count("glasshouse.memory_peak_bytes", record.memory_peak_bytes));
    for (key, text_of) in [("user.id", context.user), ("glasshouse.tenant", context.tenant)] {
        tags.extend(text_of.map(|of| text(key, &of)));
    }
    let start = UnixNanos(record.head.time.0.saturating_sub_unsigned(record.wall_ns));
    Some(Span {
        trace_id: context.trace_id.to_string(),
        id: context.span_id.to_string(),
        flags: 1,
        operation_name: record.name,
        references: Vec::new(),
        start_time: micros(start),
        duration: record.wall_ns / 1000,
        tags,
        logs: Vec::new(),
        process_id: process_id(source),
        warnings: None,
        source,
        start,
        elapsed_ns: record.wall_ns,
        own: context.span_id,
        parents: record.parent.into_iter().chain(record.cause).collect(),
    })
}
