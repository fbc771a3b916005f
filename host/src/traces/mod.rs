//! Requests as a whole: all that happened for one in all extensions, cause to effect, wherever it was stored.

mod list;
mod operations;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_model::record::SPANS_LEFT_OUT;
use glasshouse_model::{HOST, Signal, SpanId, TraceId, UnixNanos};
use glasshouse_telemetry::{Body, Entry, Query, QueryError, Reader, Store};
use serde::Serialize;

use crate::records::{Head, Record, record};
use crate::{Extension, StoredExtension};

pub use list::TraceSummary;
pub use operations::Operation;
pub use tree::{Note, NoteRecord, Step, Trace, Work};

/// Records of one signal of one extension that are read at a time, at most: nobody would read more of a trace.
const RECORDS: usize = 10_000;
/// Bytes of JSON that the records of a trace take at most, in all extensions together; a trace of more is told in part. It is more than anybody reads, and few enough
/// that a trace is one answer over the API, and that some of them have room in memory.
const TRACE_BYTES: usize = 24 << 20;
/// What a step or a note says beside its record, in bytes of JSON, at most.
const AROUND_BYTES: usize = 320;
/// Traces that are read at a time: as many ids have room in a query.
const AT_ONCE: usize = 100;
/// Traces that are found by one correlation id, at most.
const TRACES: usize = 100;

/// Signals whose records belong to traces, in the order in which they are read.
const SIGNALS: [Signal; 6] =
    [Signal::Invocation, Signal::Span, Signal::Error, Signal::Alert, Signal::Log, Signal::Metric];

/// Finds traces in what extensions have stored.
pub struct Traces(Vec<Source>);

/// What an extension has stored.
struct Source {
    extension: String,
    readers: [Reader; SIGNALS.len()],
}

/// How much of traces is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All of them.
    Whole,
    /// Calls and spans, and of what was said only that there were more of these.
    Steps,
}

/// How traces are read, all those that are asked for together.
struct Look {
    depth: Depth,
    /// As of each source: see [`Source::spans_from`].
    spans_from: Vec<Option<UnixNanos>>,
}

/// What may still be read of the traces that are being read.
struct Room {
    bytes: usize,
    /// Whether there is more than had room.
    is_cut: bool,
}

impl Room {
    /// Takes the room of a record, if there is any left.
    fn take(&mut self, record: &impl Serialize) -> bool {
        let has_room = self.bytes > 0;
        self.is_cut |= !has_room;
        self.bytes = self.bytes.saturating_sub(AROUND_BYTES + json_bytes(record));
        has_room
    }
}

/// How many bytes something takes as JSON.
fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Nothing that is counted fails to be written.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

impl Source {
    fn new(extension: &str, reader: impl Fn(Signal) -> Reader) -> Self {
        Self { extension: extension.to_owned(), readers: SIGNALS.map(reader) }
    }

    /// Visits the records of a signal that a query asks for, in its order, one by one.
    fn each(&self, signal: Signal, query: &Query, visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>) {
        for reader in self.readers.iter().filter(|reader| reader.signal() == signal) {
            reader.candidates(1..u64::MAX, query.order(), query, &mut |entry| {
                if query.asks_for(signal, &self.extension, &entry) { visit(&entry) } else { ControlFlow::Continue(()) }
            });
        }
    }

    /// The first records of a query, as many as are read at a time and have room; notes where there are more.
    fn read<T: Record + Serialize>(&self, query: &Query, room: &mut Room) -> Vec<T> {
        let mut records = Vec::new();
        self.each(T::SIGNAL, query, &mut |entry| {
            if records.len() == RECORDS {
                room.is_cut = true;
                return ControlFlow::Break(());
            }
            let Some(record) = record::<T>(entry) else { return ControlFlow::Continue(()) };
            if !room.take(&record) {
                return ControlFlow::Break(());
            }
            records.push(record);
            ControlFlow::Continue(())
        });
        records
    }

    /// The end of the oldest span that is stored, if older ones had to go: of calls that began before it spans may be missing.
    fn spans_from(&self) -> Option<UnixNanos> {
        let spans = self.readers.iter().find(|reader| reader.signal() == Signal::Span)?;
        if spans.evicted() == 0 {
            return None;
        }
        spans.page(1, 1).entries.first().map(Entry::time)
    }

    /// Notes until when there are records of which traces, among as many as are read at a time.
    fn note_ends(&self, signal: Signal, query: &Query, ended: &mut BTreeMap<TraceId, UnixNanos>) {
        let mut left = RECORDS;
        self.each(signal, query, &mut |entry| {
            let envelope = entry.envelope();
            if let Some(context) = envelope.context {
                let last = ended.entry(context.trace_id).or_insert(envelope.time);
                *last = (*last).max(envelope.time);
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Notes the traces that the extension itself has begun, by the spans that did, among as many spans as are read at a time.
    fn note_begun(&self, query: &Query, ended: &mut BTreeMap<TraceId, UnixNanos>) {
        let mut left = RECORDS;
        self.each(Signal::Span, query, &mut |entry| {
            let begins = matches!(entry.body(), Ok(Body::Span(span)) if span.parent == SpanId::default());
            if let (true, Some(context)) = (begins, entry.envelope().context) {
                let last = ended.entry(context.trace_id).or_insert(entry.time());
                *last = (*last).max(entry.time());
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
}

impl Traces {
    /// In what is stored of these extensions.
    pub fn of(extensions: &[StoredExtension]) -> Self {
        Self(extensions.iter().map(|one| Source::new(one.id(), |signal| one.reader(signal))).collect())
    }

    /// In what these extensions have stored, which are running, and their host.
    pub(crate) fn running<'a>(extensions: impl Iterator<Item = &'a Extension>, host: &Arc<Store>) -> Self {
        let mut sources: Vec<_> =
            extensions.map(|one| Source::new(one.id().as_str(), |signal| one.reader(signal))).collect();
        sources.push(Source::new(HOST, |signal| host.reader(signal)));
        sources.sort_by(|one, other| one.extension.cmp(&other.extension));
        Self(sources)
    }

    /// The traces with this id, or with records of this correlation id; at most 100 of them, the newest, the earliest of
    /// them first.
    ///
    /// # Errors
    ///
    /// The text cannot stand in a query, since it is too long.
    pub fn find(&self, id: &str) -> Result<Vec<Trace>, QueryError> {
        self.whole(&self.find_ids(id)?)
    }

    /// Their ids, those that ended last first.
    pub(crate) fn find_ids(&self, id: &str) -> Result<Vec<TraceId>, QueryError> {
        let mut queries = vec![Query::equal("correlation", id)?];
        if id.parse::<TraceId>().is_ok() {
            queries.push(Query::equal("trace", id)?);
        }
        let mut ended = BTreeMap::new();
        for (query, source) in queries.iter().flat_map(|query| self.0.iter().map(move |source| (query, source))) {
            // Of samples alone nobody looks for a trace, and there are many.
            for signal in SIGNALS.into_iter().filter(|signal| *signal != Signal::Metric) {
                source.note_ends(signal, query, &mut ended);
            }
        }
        Ok(latest(ended, TRACES))
    }

    /// The newest traces that have calls which a query asks for, or that an extension began with such a span, at most `limit`, the earliest first.
    ///
    /// # Errors
    ///
    /// None that is known of: the queries that are made here are sound.
    pub fn newest(&self, query: &Query, limit: usize) -> Result<Vec<Trace>, QueryError> {
        self.whole(&self.newest_ids(query, limit))
    }

    /// Their ids, those that ended last first.
    pub(crate) fn newest_ids(&self, query: &Query, limit: usize) -> Vec<TraceId> {
        let mut ended = BTreeMap::new();
        for source in &self.0 {
            source.note_ends(Signal::Invocation, query, &mut ended);
            source.note_begun(query, &mut ended);
        }
        latest(ended, limit)
    }

    /// The same traces, each in a few figures. Memory does not grow with what there is of them.
    ///
    /// # Errors
    ///
    /// As [`newest`](Self::newest).
    pub fn list(&self, query: &Query, limit: usize) -> Result<Vec<TraceSummary>, QueryError> {
        let mut list = Vec::new();
        self.each(&self.newest_ids(query, limit), &self.look(Depth::Steps), &mut |trace| {
            list.extend(TraceSummary::of(trace));
            ControlFlow::Continue(())
        })?;
        list.sort_by_key(|one| one.start);
        Ok(list)
    }

    fn whole(&self, ids: &[TraceId]) -> Result<Vec<Trace>, QueryError> {
        let mut traces = Vec::with_capacity(ids.len());
        let mut take = |some| {
            traces.extend(some);
            ControlFlow::Continue(())
        };
        let look = self.look(Depth::Whole);
        for ids in ids.chunks(AT_ONCE) {
            self.read(ids, &look, &mut take).map(drop)?;
        }
        traces.sort_by_key(|trace: &Trace| trace.start);
        Ok(traces)
    }

    /// Visits traces in this order, until it is enough. Returns how many were visited.
    pub(crate) fn visit(
        &self,
        ids: &[TraceId],
        visit: &mut dyn FnMut(&Trace) -> ControlFlow<()>,
    ) -> Result<usize, QueryError> {
        self.each(ids, &self.look(Depth::Whole), visit)
    }

    fn look(&self, depth: Depth) -> Look {
        Look { depth, spans_from: self.0.iter().map(Source::spans_from).collect() }
    }

    fn each(
        &self,
        ids: &[TraceId],
        look: &Look,
        visit: &mut dyn FnMut(&Trace) -> ControlFlow<()>,
    ) -> Result<usize, QueryError> {
        let mut seen = 0;
        for ids in ids.chunks(AT_ONCE) {
            let ended = self.read(ids, look, &mut |some| {
                for trace in &some {
                    seen += 1;
                    visit(trace)?;
                }
                ControlFlow::Continue(())
            })?;
            if ended.is_break() {
                break;
            }
        }
        Ok(seen)
    }

    /// Reads all that is stored of some traces, going through each store once; where they have more records than are read at a time,
    /// fewer of them at a time, so that none goes short for another's sake, and what is in memory has a bound.
    fn read(
        &self,
        ids: &[TraceId],
        look: &Look,
        take: &mut dyn FnMut(Vec<Trace>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, QueryError> {
        if let Some(traces) = self.read_at_once(ids, look)? {
            return Ok(take(traces));
        }
        let (some, others) = ids.split_at(ids.len() / 2);
        if self.read(some, look, take)?.is_break() { Ok(ControlFlow::Break(())) } else { self.read(others, look, take) }
    }

    /// The same; `None` where they are too many to be read at once.
    fn read_at_once(&self, ids: &[TraceId], look: &Look) -> Result<Option<Vec<Trace>>, QueryError> {
        let list = ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
        let query = Query::parse(&format!("trace in ({list}) oldest first"), UnixNanos(0))?;
        let of_logs = match look.depth {
            Depth::Whole => query.clone(),
            Depth::Steps => query.and(&Query::equal("field.event", SPANS_LEFT_OUT)?),
        };
        let mut room = Room { bytes: TRACE_BYTES, is_cut: false };
        let (mut works, mut notes) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let mut robbed = BTreeSet::new();
        // What there was to do comes before what was said of it, where not all has room.
        for signal in SIGNALS {
            for (source, spans_from) in self.0.iter().zip(&look.spans_from) {
                let mut work = |work: Work| {
                    if spans_from.is_some_and(|from| work.began_before(from)) {
                        robbed.extend(trace_of(work.head()));
                    }
                    works.entry(trace_of(work.head())).or_default().push((source.extension.clone(), work));
                };
                let mut note = |record: NoteRecord| {
                    let extension = source.extension.clone();
                    notes.entry(trace_of(record.head())).or_default().push(Note { extension, record });
                };
                let room = &mut room;
                match signal {
                    Signal::Invocation => source.read(&query, room).into_iter().map(Work::Call).for_each(&mut work),
                    Signal::Span => source.read(&query, room).into_iter().map(Work::Span).for_each(&mut work),
                    Signal::Log => source.read(&of_logs, room).into_iter().map(NoteRecord::Log).for_each(&mut note),
                    Signal::Error | Signal::Alert | Signal::Metric if look.depth == Depth::Steps => {}
                    Signal::Error => source.read(&query, room).into_iter().map(NoteRecord::Error).for_each(&mut note),
                    Signal::Alert => source.read(&query, room).into_iter().map(NoteRecord::Alert).for_each(&mut note),
                    Signal::Metric => source.read(&query, room).into_iter().map(NoteRecord::Metric).for_each(&mut note),
                }
                if room.is_cut && ids.len() > 1 {
                    return Ok(None);
                }
            }
        }
        let is_cut = room.is_cut;
        let trace = |id: &TraceId| {
            let (works, notes) = (works.remove(&Some(*id)), notes.remove(&Some(*id)));
            tree::grow(*id, works.unwrap_or_default(), notes.unwrap_or_default(), is_cut || robbed.contains(id))
        };
        Ok(Some(ids.iter().map(trace).collect()))
    }

    /// What calls and spans that a query asks for took, by extension and name, those that took the longest in all first.
    pub fn operations(&self, query: &Query) -> Vec<Operation> {
        let mut operations = operations::Operations::default();
        for source in &self.0 {
            let mut add = |work: Option<Work>| {
                if let Some(work) = work {
                    operations.add(&source.extension, &work);
                }
                ControlFlow::Continue(())
            };
            source.each(Signal::Invocation, query, &mut |entry| add(record(entry).map(Work::Call)));
            source.each(Signal::Span, query, &mut |entry| add(record(entry).map(Work::Span)));
        }
        operations.finish()
    }
}

/// The trace that a record is of.
fn trace_of(head: &Head) -> Option<TraceId> {
    head.context.as_ref().map(|context| context.trace_id)
}

/// Those that ended last, the latest first.
fn latest(ended: BTreeMap<TraceId, UnixNanos>, limit: usize) -> Vec<TraceId> {
    let mut newest: Vec<_> = ended.into_iter().map(|(id, time)| (time, id)).collect();
    newest.sort_unstable_by(|one, other| other.cmp(one));
    newest.truncate(limit);
    newest.into_iter().map(|(_, id)| id).collect()
}
