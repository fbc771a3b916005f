//! What Jaeger's query API asks for: which services and operations there are, who calls whom, and traces by what one of their spans is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use glasshouse_model::{Signal, SpanId, SpanSearch, TraceId, UnixNanos};
use glasshouse_telemetry::{Body, Order, Query};
use serde_json::{Value, json};

use super::parts;
use super::{
    CALL_KIND, IN_A_QUERY, Span, Tag, kind_word, latest, process_tags, query_for, sizes, span_of, write_these,
};
use crate::export::{Broken, ExportError, Exported};
use crate::walk::Walk;
use crate::{Source, What, otlp};

/// Operations of a service that are told, at most: more than a list to choose from can be.
const OPERATIONS: usize = 1000;
/// Records of a signal that are looked at for a service's operations, the newest.
const OPERATION_RECORDS: u64 = 200_000;
/// Calls among which it is looked who calls whom, at most: some fifty megabytes while it is looked.
const CALLS: usize = 1_000_000;
/// How long a call or a span can last at most, as `budget.deadline` can be no longer: what ended later than this after the window began
/// before it.
const LONGEST: Duration = Duration::from_hours(24);
/// What is written in a trace's place that is not there, as Jaeger has it.
const NOT_FOUND: &str = "trace not found";

/// Something that a service does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// The name of its spans.
    pub name: String,
    /// Their kind, such as `server`.
    pub kind: &'static str,
}

/// That a service calls another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Who calls.
    pub parent: String,
    /// Who is called.
    pub child: String,
    /// How often.
    pub calls: u64,
}

/// Told how much was looked at, from time to time; can stop it.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&Exported) -> ControlFlow<()>;

/// Answers Jaeger's queries from what is stored. All of it blocks for as long as reading takes, unless `watch` stops it, which is then the error.
pub struct JaegerQueries {
    pub(super) sources: Vec<Source>,
}

impl JaegerQueries {
    /// Of these extensions.
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources }
    }

    /// The sources that are meant, with their places among all.
    fn of<'a>(&'a self, service: Option<&'a str>) -> impl Iterator<Item = (usize, &'a Source)> {
        let sources = self.sources.iter().enumerate();
        sources.filter(move |(_, source)| service.is_none_or(|service| service == source.extension()))
    }

    /// What a service did lately, by name. What was found is told also where `watch` stops it.
    pub fn operations(&self, service: &str, watch: Watch<'_>) -> Vec<Operation> {
        let (mut operations, query, mut sink) = (BTreeSet::new(), Query::all(), io::sink());
        let mut walk = Walk::new(&query, None, &mut sink, watch);
        for (_, source) in self.of(Some(service)) {
            for signal in What::Traces.signals() {
                let reader = source.reader(*signal);
                let mut left = OPERATION_RECORDS;
                let mut look = |_: &mut Walk<'_>, found: crate::walk::Found<'_>| {
                    let (name, kind) = match found.body {
                        Body::Invocation(call) => (call.name, CALL_KIND),
                        Body::Span(span) => (span.name, kind_word(span.kind)),
                        _ => return Ok(()),
                    };
                    if found.envelope.context.is_some() {
                        operations.insert(Operation { name: name.to_owned(), kind });
                    }
                    left -= 1;
                    if left == 0 || operations.len() >= OPERATIONS { Err(Broken::Stopped) } else { Ok(()) }
                };
                let sequences = 1..reader.next_sequence();
                let _ = walk.search(service, reader, &query, sequences, Order::NewestFirst, None, &mut look);
            }
        }
        operations.into_iter().collect()
    }

    /// Which services called which others, by calls that ended in a time.
    ///
    /// # Errors
    ///
    /// `watch` stopped it, or there are more than a million calls in that time.
    pub fn dependencies(
        &self,
        since: UnixNanos,
        until: UnixNanos,
        watch: Watch<'_>,
    ) -> Result<Vec<Dependency>, ExportError> {
        let (query, mut sink) = (window(since, until), io::sink());
        let mut walk = Walk::new(&query, None, &mut sink, watch);
        // Ids of spans are drawn by lot: of a million calls no two have one.
        let (mut owners, mut causes) = (HashMap::<SpanId, usize>::new(), HashMap::<(usize, SpanId), u64>::new());
        for (index, source) in self.sources.iter().enumerate() {
            let reader = source.reader(Signal::Invocation);
            let sequences = 1..reader.next_sequence();
            let mut note = |_: &mut Walk<'_>, found: crate::walk::Found<'_>| {
                if let (Some(context), Body::Invocation(call)) = (&found.envelope.context, &found.body) {
                    owners.insert(context.span_id, index);
                    if let Some(cause) = call.cause {
                        *causes.entry((index, cause)).or_default() += 1;
                    }
                }
                if owners.len() > CALLS { Err(Broken::Stopped) } else { Ok(()) }
            };
            let ended = walk.search(source.extension(), reader, &query, sequences, Order::OldestFirst, None, &mut note);
            ended.map_err(|broken| told(broken, walk.exported))?;
        }
        let mut links = BTreeMap::<(usize, usize), u64>::new();
        for ((child, cause), calls) in causes {
            if let Some(parent) = owners.get(&cause).filter(|parent| **parent != child) {
                *links.entry((*parent, child)).or_default() += calls;
            }
        }
        let name = |index: usize| self.sources[index].extension().to_owned();
        let link = |((parent, child), calls)| Dependency { parent: name(parent), child: name(child), calls };
        Ok(links.into_iter().map(link).collect())
    }

    /// The traces that have a span as it is asked for, the latest first.
    ///
    /// # Errors
    ///
    /// `watch` stopped it.
    pub fn find(&self, search: &SpanSearch, watch: Watch<'_>) -> Result<Vec<TraceId>, ExportError> {
        // Records have the time of their span's end.
        let longest = search.longest.unwrap_or(LONGEST).min(LONGEST).as_nanos() as u64;
        let until = UnixNanos(search.until.0.saturating_add_unsigned(longest).saturating_add(1));
        let (query, mut sink) = (window(search.since, until), io::sink());
        let mut walk = Walk::new(&query, None, &mut sink, watch);
        let mut found = HashMap::<TraceId, UnixNanos>::new();
        for (index, source) in self.of(search.service.as_deref()) {
            for signal in What::Traces.signals() {
                let reader = source.reader(*signal);
                let sequences = 1..reader.next_sequence();
                // Of each source no more can be among the newest than there may be of all.
                let (mut left, mut is_full) = (search.limit, false);
                let mut look = |_: &mut Walk<'_>, one: crate::walk::Found<'_>| {
                    let time = one.envelope.time;
                    let Some(id) = one.envelope.context.as_ref().map(|context| context.trace_id) else { return Ok(()) };
                    if !span_of(index, one).is_some_and(|span| asks_for(search, source.extension(), &span)) {
                        return Ok(());
                    }
                    if left == 0 && !found.contains_key(&id) {
                        is_full = true;
                        return Err(Broken::Stopped);
                    }
                    let known = found.entry(id).or_insert_with(|| {
                        left -= 1;
                        time
                    });
                    *known = time.max(*known);
                    Ok(())
                };
                let ended =
                    walk.search(source.extension(), reader, &query, sequences, Order::NewestFirst, None, &mut look);
                if let (Err(broken), false) = (ended, is_full) {
                    return Err(told(broken, walk.exported));
                }
            }
            if found.len() > search.limit {
                found = latest(found, search.limit).into_iter().collect();
            }
        }
        Ok(latest(found, search.limit).into_iter().map(|(id, _)| id).collect())
    }

    /// How many spans and calls each of some traces has; those that have none are left out.
    ///
    /// # Errors
    ///
    /// `watch` stopped it.
    pub fn count(&self, ids: &[TraceId], watch: Watch<'_>) -> Result<HashMap<TraceId, u64>, ExportError> {
        let (query, mut sink, mut counts) = (Query::all(), io::sink(), HashMap::new());
        let mut walk = Walk::new(&query, None, &mut sink, watch);
        for some in ids.chunks(IN_A_QUERY) {
            let sizes = sizes(&self.sources, What::Traces, &mut walk, some);
            let sizes = sizes.map_err(|broken| told(broken, walk.exported))?;
            counts.extend(sizes.into_iter().map(|(id, size)| (id, size.spans)));
        }
        Ok(counts)
    }

    /// Writes traces as Jaeger's interface reads them, in this order; one that is not stored is among the errors.
    ///
    /// # Errors
    ///
    /// The output fails, or `watch` stops it: what was written by then is no whole document.
    pub fn write(&self, ids: &[TraceId], output: &mut dyn Write, watch: Watch<'_>) -> Result<Exported, ExportError> {
        let query = Query::all();
        let mut walk = Walk::new(&query, None, output, watch);
        let mut write = || {
            walk.buffer().extend_from_slice(b"{\"data\":[");
            let (mut is_first, mut missing) = (true, Vec::new());
            for some in ids.chunks(IN_A_QUERY) {
                missing.extend(write_these(&self.sources, What::Traces, &mut walk, some, &mut is_first)?);
            }
            let missing = missing.iter().map(|id| json!({"msg": NOT_FOUND, "traceID": id.to_string()}));
            let errors = Some(missing.collect::<Vec<_>>()).filter(|missing| !missing.is_empty());
            let rest = json!({"total": 0, "limit": 0, "offset": 0, "errors": errors}).to_string();
            walk.buffer().extend_from_slice(b"\n],");
            walk.buffer().extend_from_slice(&rest.as_bytes()[1..]);
            walk.buffer().push(b'\n');
            walk.flush()
        };
        let ended = write();
        ended.map(|()| walk.exported).map_err(|broken| told(broken, walk.exported))
    }

    /// Writes traces as the third generation of Jaeger's API has them: OpenTelemetry's JSON as the result of a call.
    ///
    /// # Errors
    ///
    /// The output fails, or `watch` stops it: what was written by then is no whole document.
    pub fn write_otlp(
        &self,
        ids: &[TraceId],
        output: &mut dyn Write,
        watch: Watch<'_>,
    ) -> Result<Exported, ExportError> {
        let query = Query::all();
        let mut walk = Walk::new(&query, None, &mut *output, &mut *watch);
        walk.buffer().extend_from_slice(b"{\"result\":{\"resourceSpans\":[");
        let begun = walk.flush();
        let (mut all, mut is_first) = (walk.exported, true);
        begun.map_err(|broken| told(broken, all))?;
        for some in ids.chunks(IN_A_QUERY) {
            let query = query_for(&some.iter().copied().collect());
            let mut walk = Walk::new(&query, None, &mut *output, &mut *watch);
            let ended = otlp::write_elements(&self.sources, &mut walk, &mut is_first).and_then(|()| walk.flush());
            all.written += walk.exported.written;
            all.bytes += walk.exported.bytes;
            all.seen += walk.exported.seen;
            ended.map_err(|broken| told(broken, all))?;
        }
        let end = output.write_all(b"]}}\n").and_then(|()| output.flush());
        end.map(|()| all).map_err(|cause| ExportError::Output { exported: all, cause })
    }
}

pub(super) fn told(broken: Broken, exported: Exported) -> ExportError {
    match broken {
        Broken::Output(cause) => ExportError::Output { exported, cause },
        Broken::Stopped => ExportError::Stopped(exported),
    }
}

/// A query for what has a time from one on and before another.
fn window(since: UnixNanos, until: UnixNanos) -> Query {
    let text = format!("since {since} until {until}");
    // A time that cannot be written in a query bounds nothing: what is found is looked at in any case.
    Query::parse(&text, UnixNanos(0)).unwrap_or_else(|_| Query::all())
}

/// Whether a search is for this span of a service.
fn asks_for(search: &SpanSearch, service: &str, span: &Span) -> bool {
    let elapsed = Duration::from_nanos(span.elapsed_ns);
    (search.since..search.until).contains(&span.start)
        && search.operation.as_ref().is_none_or(|name| *name == span.operation_name)
        && search.shortest.is_none_or(|shortest| elapsed >= shortest)
        && search.longest.is_none_or(|longest| elapsed <= longest)
        && search.tags.iter().all(|(key, value)| {
            let process = process_tags();
            let all = span.tags.iter().chain(&process).chain(span.logs.iter().flat_map(|log| &log.fields));
            all.filter(|tag| tag.key == *key).any(|tag| tag.says(value))
        })
        && search.filter.as_ref().is_none_or(|filter| filter.holds(&|part| parts::read(service, span, part)))
}

impl Tag {
    /// Whether its value is this, as text.
    fn says(&self, text: &str) -> bool {
        match &self.value {
            Value::String(value) => value == text,
            // A number or a truth value, as JSON writes it.
            value => format!("{value}") == text,
        }
    }
}
