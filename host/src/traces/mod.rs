//! Requests as a whole: all that happened for one in all extensions, cause to effect, wherever it was stored.

mod operations;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;

use glasshouse_model::{Signal, TraceId, UnixNanos};
use glasshouse_telemetry::{Query, QueryError, Reader};

use crate::records::{AlertRecord, ErrorRecord, Head, InvocationRecord, LogRecord, Record, SpanRecord, record};
use crate::{Extension, StoredExtension};

pub use operations::Operation;
pub use tree::{Note, NoteRecord, Step, Trace, Work};

/// Records of one signal of one extension that a trace is made of, at most: more would not be read by anybody.
const RECORDS: usize = 10_000;
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
        let mut ids = BTreeSet::new();
        for query in &queries {
            let heads = self.0.iter().flat_map(|source| source.heads(query));
            ids.extend(heads.filter_map(|head| Some(head.context?.trace_id)));
        }
        let mut traces = ids.into_iter().map(|id| self.trace(id)).collect::<Result<Vec<_>, _>>()?;
        traces.sort_by_key(|trace| trace.start);
        traces.drain(..traces.len().saturating_sub(TRACES));
        Ok(traces)
    }

    fn trace(&self, id: TraceId) -> Result<Trace, QueryError> {
        let query = Query::parse(&format!("trace={id} oldest first"), UnixNanos(0))?;
        let (mut works, mut notes, mut partial) = (Vec::new(), Vec::new(), false);
        for source in &self.0 {
            let extension = || source.extension.clone();
            let calls = source.search::<InvocationRecord>(&query, RECORDS).map(Work::Call);
            let spans = source.search::<SpanRecord>(&query, RECORDS).map(Work::Span);
            let before = works.len();
            works.extend(calls.chain(spans).map(|work| (extension(), work)));
            let logs = source.search::<LogRecord>(&query, RECORDS).map(NoteRecord::Log);
            let errors = source.search::<ErrorRecord>(&query, RECORDS).map(NoteRecord::Error);
            let alerts = source.search::<AlertRecord>(&query, RECORDS).map(NoteRecord::Alert);
            let noted = notes.len();
            notes.extend(logs.chain(errors).chain(alerts).map(|record| Note { extension: extension(), record }));
            partial |= works.len() - before >= RECORDS || notes.len() - noted >= RECORDS;
        }
        Ok(tree::grow(id, works, notes, partial))
    }

    /// The newest traces that have calls which a query asks for, at most `limit`, the earliest first.
    ///
    /// # Errors
    ///
    /// None that is known of: the queries that are made here are sound.
    pub fn newest(&self, query: &Query, limit: usize) -> Result<Vec<Trace>, QueryError> {
        let mut ended: Vec<(UnixNanos, TraceId)> = Vec::new();
        for source in &self.0 {
            let calls = source.search::<InvocationRecord>(query, RECORDS);
            ended.extend(calls.filter_map(|call| Some((call.head.time, call.head.context?.trace_id))));
        }
        ended.sort_unstable_by(|one, other| other.cmp(one));
        let mut known = BTreeSet::new();
        ended.retain(|(_, id)| known.len() < limit && known.insert(*id));
        let mut traces = ended.into_iter().map(|(_, id)| self.trace(id)).collect::<Result<Vec<_>, _>>()?;
        traces.sort_by_key(|trace| trace.start);
        Ok(traces)
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
