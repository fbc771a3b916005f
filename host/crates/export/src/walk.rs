//! Going through what is stored, a page at a time, and writing what comes of it.

use std::io::Write;
use std::ops::{ControlFlow, Range};

use glasshouse_model::{Envelope, Signal};
use glasshouse_telemetry::{Body, Entry, Order, Query, Reader};

use crate::export::{Broken, Exported};
use crate::records::Head;
use crate::{Source, records};

/// Records that are read at a time. What is retired while a page is read stays in memory until its end, so that a page is over in a moment; each one costs
/// a look at the store's list of files.
const PAGE: u64 = 16_384;
/// Records that are looked at between two reports.
const REPORT: u64 = 2048;
/// Bytes that are gathered before they are written: enough that the calls of the system cost nothing beside the rest.
const BUFFER_BYTES: usize = 64 * 1024;

/// Goes through records, and gathers what is to be written.
pub(crate) struct Walk<'a> {
    pub(crate) query: &'a Query,
    limit: Option<usize>,
    output: &'a mut dyn Write,
    watch: &'a mut dyn FnMut(&Exported) -> ControlFlow<()>,
    buffer: Vec<u8>,
    pub(crate) exported: Exported,
}

/// A record that a query asks for, as it is stored.
pub(crate) struct Found<'e> {
    pub(crate) entry: &'e Entry,
    pub(crate) envelope: Envelope,
    pub(crate) body: Body<'e>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        query: &'a Query,
        limit: Option<usize>,
        output: &'a mut dyn Write,
        watch: &'a mut dyn FnMut(&Exported) -> ControlFlow<()>,
    ) -> Self {
        let limit = limit.into_iter().chain(query.limit()).min();
        let buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        Self { query, limit, output, watch, buffer, exported: Exported::default() }
    }

    /// How many records are wanted of each signal of each source.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Where text is appended that is to be written.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what was gathered, if that is worth a call.
    pub(crate) fn spill(&mut self) -> Result<(), Broken> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.write_out() }
    }

    fn write_out(&mut self) -> Result<(), Broken> {
        self.output.write_all(&self.buffer)?;
        self.exported.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes all that was gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        self.write_out()?;
        self.output.flush()?;
        self.report()
    }

    fn report(&mut self) -> Result<(), Broken> {
        if (self.watch)(&self.exported).is_break() { Err(Broken::Stopped) } else { Ok(()) }
    }

    /// Visits the records of a signal that the export's query asks for, in its order, or else the oldest first.
    pub(crate) fn each(
        &mut self,
        source: &Source,
        signal: Signal,
        visit: &mut dyn FnMut(&mut Self, Found<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let query = self.query;
        let order = query.given_order().unwrap_or(Order::OldestFirst);
        let reader = source.reader(signal);
        let mut sequences = 1..reader.next_sequence();
        if let (None, Some(limit)) = (query.given_order(), self.limit) {
            sequences.start = self.start_of_newest(source, reader, sequences.clone(), limit)?;
        }
        let mut before = None;
        self.search(source.extension(), reader, query, sequences, order, self.limit, &mut |walk, found| {
            if query.wants_all() {
                let sequence = found.envelope.sequence;
                walk.exported.missing += before.map_or(0, |before| sequence.abs_diff(before).saturating_sub(1));
                before = Some(sequence);
            }
            walk.exported.written += 1;
            visit(walk, found)?;
            walk.spill()
        })
    }

    /// Where the newest so many records start that the query asks for.
    fn start_of_newest(
        &mut self,
        source: &Source,
        reader: &Reader,
        sequences: Range<u64>,
        limit: usize,
    ) -> Result<u64, Broken> {
        let mut start = sequences.end;
        let (query, order) = (self.query, Order::NewestFirst);
        self.search(source.extension(), reader, query, sequences, order, Some(limit), &mut |_, found| {
            start = found.envelope.sequence;
            Ok(())
        })?;
        Ok(start)
    }

    /// Visits the records among these that a query asks for, a page at a time. What the query says of order and limit means nothing here.
    #[expect(clippy::too_many_arguments, reason = "each says one thing, and all callers are in this crate")]
    pub(crate) fn search(
        &mut self,
        extension: &str,
        reader: &Reader,
        query: &Query,
        mut sequences: Range<u64>,
        order: Order,
        limit: Option<usize>,
        visit: &mut dyn FnMut(&mut Self, Found<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut left = limit.unwrap_or(usize::MAX);
        while left > 0 && !sequences.is_empty() {
            let (mut seen, mut last, mut ended) = (0, 0, Ok(()));
            reader.candidates(sequences.clone(), order, query, &mut |entry| {
                (seen, last) = (seen + 1, entry.sequence());
                self.exported.seen += 1;
                if self.exported.seen.is_multiple_of(REPORT) {
                    ended = self.report();
                }
                if ended.is_ok()
                    && let Some(found) = found(reader.signal(), extension, query, &entry)
                {
                    left -= 1;
                    ended = visit(self, found);
                }
                if ended.is_err() || left == 0 || seen == PAGE {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            ended?;
            if seen < PAGE {
                break;
            }
            match order {
                Order::OldestFirst => sequences.start = last + 1,
                Order::NewestFirst => sequences.end = last,
            }
        }
        Ok(())
    }
}

/// An entry, if a query asks for it. What does not decode is asked for by none.
fn found<'e>(signal: Signal, extension: &str, query: &Query, entry: &'e Entry) -> Option<Found<'e>> {
    let found = Found::of(entry)?;
    (query.wants_all() || query.matches(signal, extension, &found.envelope, &found.body)).then_some(found)
}

impl<'e> Found<'e> {
    /// An entry as it is stored; `None` if it does not decode.
    pub(crate) fn of(entry: &'e Entry) -> Option<Self> {
        Some(Found { entry, envelope: entry.envelope(), body: entry.body().ok()? })
    }

    /// It as a record of a kind.
    pub(crate) fn record<T: records::Record>(self) -> Option<T> {
        T::from_store(Head::from(self.envelope), self.body)
    }
}
