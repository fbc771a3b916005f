//! The file that Jaeger's user interface writes and reads: traces, each with all of its spans, and the processes that they ran in.
//!
//! Names and types are those of Jaeger's `model/json` (the answer of `/api/traces`): ids are hexadecimal digits, times and durations microseconds. All spans of a trace stand
//! together, but lie in the stores of several extensions, so the stores are gone through several times: for the traces that are wanted, for how many
//! spans each of them has, and then for as many traces at a time as have room in memory.

mod queries;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use glasshouse_model::{Outcome, Signal, SpanId, SpanKind, SpanStatus, TraceId, UnixNanos};
use glasshouse_telemetry::{Order, Query};
use serde::Serialize;
use serde_json::{Value, json};

use crate::export::{Broken, Export};
use crate::records::{FieldList, FieldValue, InvocationRecord, SpanRecord};
use crate::walk::{Found, Walk};
use crate::{Source, What};

pub use queries::{Dependency, JaegerQueries, Operation, SpanSearch};

/// Traces that are written where nobody says otherwise, the newest: more than Jaeger's interface can list.
const TRACES: usize = 1000;
/// Spans that are in memory at a time, and of one trace at most: a trace that has more is cut, and says so. Each is some kilobytes.
const SPANS: u64 = 20_000;
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

#[derive(Serialize)]
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
    #[serde(skip)]
    extension: String,
    #[serde(skip)]
    start: UnixNanos,
    #[serde(skip)]
    elapsed_ns: u64,
    #[serde(skip)]
    own: SpanId,
    #[serde(skip)]
    parents: Vec<SpanId>,
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
    left_out: u64,
}

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
    let counts = counted(sources, what, walk, wanted)?;
    let (mut rest, mut missing) = (wanted, Vec::new());
    while !rest.is_empty() {
        let mut room = SPANS;
        let mut fits = |id: &TraceId| {
            let count = counts.get(id).copied().unwrap_or_default().min(SPANS);
            let fits = count <= room;
            room = room.saturating_sub(count);
            fits
        };
        let length = rest.iter().take_while(|id| fits(id)).count().max(1);
        let (now, later) = rest.split_at(length);
        rest = later;
        let mut traces: HashMap<_, _> = now.iter().map(|id| (*id, Gathered::default())).collect();
        let now_ids = now.iter().copied().collect();
        each_of(sources, what, walk, &now_ids, &mut |source, id, found| {
            let Some(gathered) = traces.get_mut(&id) else { return };
            if gathered.spans.len() as u64 >= SPANS {
                gathered.left_out += 1;
            } else if let Some(span) = span_of(source, found) {
                gathered.spans.push(span);
            }
        })?;
        for id in now {
            let Some(trace) = traces.remove(id).and_then(|gathered| trace(walk, *id, gathered, sources)) else {
                missing.push(*id);
                continue;
            };
            let separator: &[u8] = if std::mem::take(is_first) { b"\n" } else { b",\n" };
            walk.buffer().extend_from_slice(separator);
            serde_json::to_writer(walk.buffer(), &trace)?;
            walk.spill()?;
        }
    }
    Ok(missing)
}

/// How many spans and calls each of some traces has; those that have none are left out.
fn counted(
    sources: &[Source],
    what: What,
    walk: &mut Walk<'_>,
    wanted: &[TraceId],
) -> Result<HashMap<TraceId, u64>, Broken> {
    let ids = wanted.iter().copied().collect();
    let mut counts = HashMap::<TraceId, u64>::new();
    each_of(sources, what, walk, &ids, &mut |_, id, _| *counts.entry(id).or_default() += 1)?;
    Ok(counts)
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
    visit: &mut dyn FnMut(&Source, TraceId, Found<'_>),
) -> Result<(), Broken> {
    let query = query_for(ids);
    for source in sources {
        for signal in what.signals() {
            let reader = source.reader(*signal);
            let sequences = 1..reader.next_sequence();
            walk.search(source.extension(), reader, &query, sequences, Order::OldestFirst, None, &mut |_, found| {
                if let Some(id) = found.envelope.context.as_ref().map(|context| context.trace_id)
                    && ids.contains(&id)
                {
                    visit(source, id, found);
                }
                Ok(())
            })?;
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
    let Gathered { mut spans, left_out } = gathered;
    if spans.is_empty() {
        return None;
    }
    spans.sort_by_key(|span| span.start_time);
    let known: BTreeSet<_> = spans.iter().map(|span| span.own).collect();
    for span in &mut spans {
        let parents = std::mem::take(&mut span.parents);
        // A span that was not stored is left out: what lies in it hangs on the call that caused it.
        let stored = parents.iter().find(|parent| known.contains(parent) && **parent != span.own);
        if let Some(parent) = stored.or(parents.first()) {
            let (trace_id, span_id) = (id.to_string(), parent.to_string());
            span.references.push(Reference { ref_type: "CHILD_OF", trace_id, span_id });
        }
        if stored.is_none() && !parents.is_empty() {
            span.warnings = Some(vec!["what caused it is not stored".to_owned()]);
        }
    }
    let mut processes = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let name = format!("p{}", index + 1);
        let mut is_in_it = false;
        for span in spans.iter_mut().filter(|span| span.extension == source.extension()) {
            span.process_id.clone_from(&name);
            is_in_it = true;
        }
        if is_in_it {
            let tags = process_tags();
            processes.insert(name, Process { service_name: source.extension().to_owned(), tags });
        }
    }
    walk.exported.written += spans.len() as u64;
    walk.exported.left_out += left_out;
    let warnings =
        (left_out > 0).then(|| vec![format!("{left_out} more spans are left out: a trace has {SPANS} at most here")]);
    Some(Trace { id: id.to_string(), spans, processes, warnings })
}

fn process_tags() -> Vec<Tag> {
    vec![text("service.namespace", "glasshouse")]
}

fn span_of(source: &Source, found: Found<'_>) -> Option<Span> {
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

fn span(source: &Source, record: SpanRecord) -> Option<Span> {
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
        references: Vec::new(),
        start_time: micros(record.start),
        duration: record.total.elapsed_ns / 1000,
        tags,
        logs: logs.collect(),
        process_id: String::new(),
        warnings: None,
        extension: source.extension().to_owned(),
        start: record.start,
        elapsed_ns: record.total.elapsed_ns,
        own: context.span_id,
        parents: Some(record.parent).filter(|parent| *parent != SpanId::default()).into_iter().collect(),
    })
}

fn call(source: &Source, record: InvocationRecord) -> Option<Span> {
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
        process_id: String::new(),
        warnings: None,
        extension: source.extension().to_owned(),
        start,
        elapsed_ns: record.wall_ns,
        own: context.span_id,
        parents: record.parent.into_iter().chain(record.cause).collect(),
    })
}
