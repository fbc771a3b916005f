//! Requests as a whole: all that happened for one in all extensions, cause to effect, wherever it was stored.

mod operations;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use glasshouse_model::{Signal, TraceId, UnixNanos};
use glasshouse_telemetry::{Entry, Query, QueryError, Reader};

use crate::records::{AlertRecord, ErrorRecord, Head, InvocationRecord, LogRecord, Record, SpanRecord, record};
use crate::{Extension, StoredExtension};

pub use operations::Operation;
pub use tree::{Note, NoteRecord, Step, Trace, Work};

/// Records of one signal of one extension that are read at a time, at most: nobody would read more of a trace.
const RECORDS: usize = 10_000;
/// Traces that are read at a time: as many ids have room in a query.
const AT_ONCE: usize = 100;
/// Traces that are found by one correlation id, at most.
const TRACES: usize = 100;

/// Signals whose records belong to traces.
const SIGNALS: [Signal; 5] = [Signal::Invocation, Signal::Span, Signal::Log, Signal::Error, Signal::Alert];

/// Finds traces in what extensions have stored.
pub struct Traces(Vec<Source>);

/// What an extension has stored.
struct Source {
    extension: String,
    readers: [Reader; SIGNALS.len()],
}

impl Source {
    fn new(extension: &str, reader: impl Fn(Signal) -> Reader) -> Self {
        Self { extension: extension.to_owned(), readers: SIGNALS.map(reader) }
    }

    fn reader(&self, signal: Signal) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.signal() == signal)
    }

    /// The oldest records of a query, as many as are read at a time; notes where there may be more.
    fn read<T: Record>(&self, query: &Query, is_cut: &mut bool) -> impl Iterator<Item = T> + use<T> {
        let entries = self.reader(T::SIGNAL).map(|reader| reader.search(&self.extension, query, RECORDS));
        let entries = entries.unwrap_or_default();
        *is_cut |= entries.len() >= RECORDS;
        entries.into_iter().filter_map(|entry| record(&entry))
    }

    /// The end of the oldest span that is stored, if older ones had to go: of calls that began before it spans may be missing.
    fn spans_from(&self) -> Option<UnixNanos> {
        let spans = self.reader(Signal::Span).filter(|reader| reader.evicted() > 0)?;
        spans.page(1, 1).entries.first().map(Entry::time)
    }

    fn search<'a, T: Record + 'a>(&'a self, query: &'a Query, limit: usize) -> impl Iterator<Item = T> + 'a {
        let entries = self.reader(T::SIGNAL).map(|reader| reader.search(&self.extension, query, limit));
        entries.unwrap_or_default().into_iter().filter_map(|entry| record(&entry))
    }
}

impl Traces {
    /// In what is stored of these extensions.
    pub fn of(extensions: &[StoredExtension]) -> Self {
        Self(extensions.iter().map(|one| Source::new(one.id(), |signal| one.reader(signal))).collect())
    }

    /// In what these extensions have stored, which are running.
    pub(crate) fn running<'a>(extensions: impl Iterator<Item = &'a Extension>) -> Self {
        Self(extensions.map(|one| Source::new(one.id().as_str(), |signal| one.reader(signal))).collect())
    }

    /// The traces with this id, or with records of this correlation id; at most 100 of them, the newest, the earliest of
    /// them first.
    ///
    /// # Errors
    ///
    /// The text cannot stand in a query, since it is too long.
    pub fn find(&self, id: &str) -> Result<Vec<Trace>, QueryError> {
        let mut queries = vec![Query::equal("correlation", id)?];
        if id.parse::<TraceId>().is_ok() {
            queries.push(Query::equal("trace", id)?);
        }
        let mut ended = BTreeMap::new();
        for query in &queries {
            note_ends(&mut ended, self.0.iter().flat_map(|source| source.heads(query)));
        }
        self.of_newest(ended, TRACES)
    }

    /// The newest traces that have calls which a query asks for, at most `limit`, the earliest first.
    ///
    /// # Errors
    ///
    /// None that is known of: the queries that are made here are sound.
    pub fn newest(&self, query: &Query, limit: usize) -> Result<Vec<Trace>, QueryError> {
        let mut ended = BTreeMap::new();
        for source in &self.0 {
            note_ends(&mut ended, source.search::<InvocationRecord>(query, RECORDS).map(|call| call.head));
        }
        self.of_newest(ended, limit)
    }

    /// Those of these traces that ended last, the earliest of them first.
    fn of_newest(&self, ended: BTreeMap<TraceId, UnixNanos>, limit: usize) -> Result<Vec<Trace>, QueryError> {
        let mut newest: Vec<_> = ended.into_iter().map(|(id, time)| (time, id)).collect();
        newest.sort_unstable_by(|one, other| other.cmp(one));
        newest.truncate(limit);
        let ids: Vec<_> = newest.into_iter().map(|(_, id)| id).collect();
        let mut traces = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            traces.extend(self.read(ids)?);
        }
        traces.sort_by_key(|trace| trace.start);
        Ok(traces)
    }

    /// Reads all that is stored of some traces, going through each store once; where they have more records than are read at a time,
    /// fewer of them at a time, so that none goes short for another's sake.
    fn read(&self, ids: &[TraceId]) -> Result<Vec<Trace>, QueryError> {
        let list = ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
        let query = Query::parse(&format!("trace in ({list}) oldest first"), UnixNanos(0))?;
        let (mut works, mut notes, mut is_cut) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new(), false);
        let mut robbed = BTreeSet::new();
        for source in &self.0 {
            let extension = || source.extension.clone();
            let calls = source.read::<InvocationRecord>(&query, &mut is_cut).map(Work::Call);
            let spans = source.read::<SpanRecord>(&query, &mut is_cut).map(Work::Span);
            let logs = source.read::<LogRecord>(&query, &mut is_cut).map(NoteRecord::Log);
            let errors = source.read::<ErrorRecord>(&query, &mut is_cut).map(NoteRecord::Error);
            let alerts = source.read::<AlertRecord>(&query, &mut is_cut).map(NoteRecord::Alert);
            if is_cut && ids.len() > 1 {
                let (some, others) = ids.split_at(ids.len() / 2);
                let mut traces = self.read(some)?;
                traces.extend(self.read(others)?);
                return Ok(traces);
            }
            let spans_from = source.spans_from();
            for work in calls.chain(spans) {
                if spans_from.is_some_and(|from| work.began_before(from)) {
                    robbed.extend(trace_of(work.head()));
                }
                works.entry(trace_of(work.head())).or_default().push((extension(), work));
            }
            for record in logs.chain(errors).chain(alerts) {
                notes.entry(trace_of(record.head())).or_default().push(Note { extension: extension(), record });
            }
        }
        let trace = |id: &TraceId| {
            let (works, notes) = (works.remove(&Some(*id)), notes.remove(&Some(*id)));
            tree::grow(*id, works.unwrap_or_default(), notes.unwrap_or_default(), is_cut || robbed.contains(id))
        };
        Ok(ids.iter().map(trace).collect())
    }

    /// What calls and spans that a query asks for took, by extension and name, those that took the longest in all first.
    pub fn operations(&self, query: &Query) -> Vec<Operation> {
        let mut operations = operations::Operations::default();
        for source in &self.0 {
            for call in source.search::<InvocationRecord>(query, usize::MAX) {
                operations.add(&source.extension, &Work::Call(call));
            }
            for span in source.search::<SpanRecord>(query, usize::MAX) {
                operations.add(&source.extension, &Work::Span(span));
            }
        }
        operations.finish()
    }
}

impl Source {
    fn heads(&self, query: &Query) -> impl Iterator<Item = Head> {
        let entries = self.readers.iter().flat_map(|reader| reader.search(&self.extension, query, RECORDS));
        entries.map(|entry| entry.envelope().into())
    }
}

/// The trace that a record is of.
fn trace_of(head: &Head) -> Option<TraceId> {
    head.context.as_ref().map(|context| context.trace_id)
}

/// Notes until when there are records of which traces.
fn note_ends(ended: &mut BTreeMap<TraceId, UnixNanos>, heads: impl Iterator<Item = Head>) {
    for head in heads {
        if let Some(id) = trace_of(&head) {
            let last = ended.entry(id).or_insert(head.time);
            *last = (*last).max(head.time);
        }
    }
}
