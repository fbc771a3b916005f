//! Reading a signal of an extension: pages by sequence number, searches, and following, while the extension goes on writing.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use glasshouse_model::record::{KIND_ANSWERED, KIND_FAILURE, KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::wire::{self, Malformed, Record};
use glasshouse_model::{AnsweredError, Context, Envelope, Failure, Invocation, Origin, Signal, Span, UnixNanos};

use crate::cursor::Cursor;
use crate::frame::Frame;
use crate::metrics::Tier;
use crate::query::{Needs, Order, Query};
use crate::ring::Ring;
use crate::store::{FLAG_BATCHED, FLAG_CUT, origin_of};
use crate::stored::StoredRing;
use crate::view::{Chunk, Sequences, Stop, View, Visit};

/// Reads one signal of one extension. Cheap to clone; what it returns stays readable after it is evicted.
#[derive(Clone)]
pub struct Reader {
    source: Source,
    signal: Signal,
    /// The rollups of what it reads, by length, if that is metric samples.
    rollups: Arc<[Reader]>,
}

#[derive(Clone)]
enum Source {
    /// A ring of this process.
    Ring(Arc<Ring>),
    /// What a host, which may still run, left in its data directory.
    Stored(Arc<StoredRing>),
}

/// Records in the order of their sequence numbers.
#[derive(Clone, Default)]
pub struct Page {
    /// The records, oldest first.
    pub entries: Vec<Entry>,
    /// Records that were asked for and are not there any more.
    pub missed: u64,
    /// What of them it is known why, and where.
    pub gaps: Vec<Gap>,
    /// Where the next page starts.
    pub next_sequence: u64,
}

/// Records that are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The sequence number of the first of them.
    pub first: u64,
    /// The sequence number of the last of them.
    pub last: u64,
    /// Why they are missing.
    pub cause: GapCause,
}

glasshouse_model::wire::byte_enum! {
    /// Why records are missing.
    GapCause {
        /// They were the oldest, and had to go.
        Evicted = 0 "evicted",
        /// What was stored of them is damaged, or they were in memory only since the disk was full, and had to go or went with the host.
        Damaged = 1 "damaged",
    }
}

/// One stored record.
#[derive(Clone)]
pub struct Entry {
    pub(crate) chunk: Chunk,
    pub(crate) frame: Frame,
}

/// What a stored record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// What a guest, or the host in the same form, recorded.
    Record(Record<'a>),
    /// A finished span.
    Span(Span<'a>),
    /// A finished invocation.
    Invocation(Invocation<'a>),
    /// A failed call.
    Failure(Failure),
    /// An error that a call was answered with.
    Answered(AnsweredError<'a>),
}

impl Reader {
    pub(crate) fn of_ring(ring: Arc<Ring>, signal: Signal) -> Self {
        Self { source: Source::Ring(ring), signal, rollups: Arc::default() }
    }

    pub(crate) fn of_stored(ring: Arc<StoredRing>, signal: Signal) -> Self {
        Self { source: Source::Stored(ring), signal, rollups: Arc::default() }
    }

    /// The same, with the rollups of what it reads, by length.
    pub(crate) fn with_rollups(self, rollups: impl Iterator<Item = Self>) -> Self {
        Self { rollups: rollups.collect(), ..self }
    }

    /// Reads the rollups of what it reads; `None` if it reads no metric samples.
    pub(crate) fn rollups(&self, tier: Tier) -> Option<&Self> {
        self.rollups.get(tier as usize)
    }

    /// The signal that it reads.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn view(&self) -> View {
        match &self.source {
            Source::Ring(ring) => {
                // In this order: all records below the number are on the shelf that is looked at then, and what has come since
                // is left to the next view. The other way round, records of a segment begun meanwhile would seem lost.
                let next = ring.next_sequence();
                let shelf = ring.shelf();
                View::new(&shelf, ring.oldest_by_count(next), next)
            }
            Source::Stored(ring) => ring.view(),
        }
    }

    /// Up to `limit` records from sequence number `from` on, oldest first.
    pub fn page(&self, from: u64, limit: usize) -> Page {
        let view = self.view();
        let from = from.max(1);
        let mut page = Page { next_sequence: from.max(view.oldest_sequence()), ..Page::default() };
        let mut expected = from;
        let view = self.visit(view, from..u64::MAX, Order::OldestFirst, &Needs::nothing(), &mut |entry| {
            if page.entries.len() == limit {
                return ControlFlow::Break(Stop::Enough);
            }
            page.entries.push(entry);
            ControlFlow::Continue(())
        });
        for index in 0..page.entries.len() {
            let sequence = page.entries[index].frame.sequence;
            page.add_gap(expected, sequence, view.oldest_sequence());
            expected = sequence + 1;
            page.next_sequence = expected;
        }
        if page.entries.len() < limit {
            // Nothing is left after what was found.
            page.add_gap(expected, view.next_sequence, view.oldest_sequence());
            page.next_sequence = page.next_sequence.max(view.next_sequence);
        }
        page
    }

    /// The newest `limit` records, oldest of them first.
    pub fn latest(&self, limit: usize) -> Vec<Entry> {
        let mut entries = self.matching(1..u64::MAX, Order::NewestFirst, &Needs::nothing(), limit, |_| true);
        entries.reverse();
        entries
    }

    /// All records that are kept, oldest first.
    pub fn all(&self) -> Vec<Entry> {
        self.page(1, usize::MAX).entries
    }

    /// The newest records back to the first that is said to be enough, oldest of them first.
    pub(crate) fn back_to(&self, mut is_enough: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.visit(self.view(), 1..u64::MAX, Order::NewestFirst, &Needs::nothing(), &mut |entry| {
            let enough = is_enough(&entry);
            entries.push(entry);
            if enough { ControlFlow::Break(Stop::Enough) } else { ControlFlow::Continue(()) }
        });
        entries.reverse();
        entries
    }

    /// A record and up to so many before and after it, oldest first; empty if it is not there any more.
    pub fn around(&self, sequence: u64, before: usize, after: usize) -> Vec<Entry> {
        let from = sequence.saturating_sub(before as u64).max(1);
        let mut entries = self.page(from, before + 1 + after).entries;
        entries.retain(|entry| entry.frame.sequence <= sequence.saturating_add(after as u64));
        if entries.iter().any(|entry| entry.frame.sequence == sequence) { entries } else { Vec::new() }
    }

    /// The records that a query asks for, in its order and up to its limit, or else to this one.
    pub fn search(&self, extension: &str, query: &Query, limit: usize) -> Vec<Entry> {
        self.search_among(1..u64::MAX, extension, query, limit)
    }

    /// The same, but only of those with these sequence numbers.
    pub fn search_among(&self, sequences: Range<u64>, extension: &str, query: &Query, limit: usize) -> Vec<Entry> {
        let limit = query.limit().unwrap_or(limit);
        let asks_for = |entry: &Entry| query.asks_for(self.signal, extension, entry);
        self.matching(sequences, query.order(), query.needs(), limit, asks_for)
    }

    /// Visits, one by one in an order, the records with these sequence numbers that could be what a query asks for; which of them are, is
    /// left to the visitor, who also says when it is enough. Memory does not grow with how many there are.
    pub fn candidates(
        &self,
        sequences: Range<u64>,
        order: Order,
        query: &Query,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) {
        self.visit(self.view(), sequences, order, query.needs(), &mut |entry| match visit(entry) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(Stop::Enough),
        });
    }

    fn matching(
        &self,
        sequences: Sequences,
        order: Order,
        needs: &Needs,
        limit: usize,
        matches: impl Fn(&Entry) -> bool,
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.visit(self.view(), sequences, order, needs, &mut |entry| {
            if entries.len() < limit && matches(&entry) {
                entries.push(entry);
            }
            if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(Stop::Enough) }
        });
        entries
    }

    /// Visits what a view has; where a file of it has gone meanwhile, what there is by then. Returns the last view.
    pub(crate) fn visit(
        &self,
        mut view: View,
        mut sequences: Sequences,
        order: Order,
        needs: &Needs,
        visit: Visit<'_>,
    ) -> View {
        while let ControlFlow::Break(Stop::Gone(file)) = view.visit(sequences.clone(), order, needs, visit) {
            // All that comes before it was visited.
            match order {
                Order::OldestFirst => sequences.start = sequences.start.max(file.first),
                Order::NewestFirst => sequences.end = sequences.end.min(file.last + 1),
            }
            let now = self.view();
            if now.sealed.contains(&file) {
                // It is listed again and still not there: nothing more can be had of it.
                match order {
                    Order::OldestFirst => sequences.start = file.last + 1,
                    Order::NewestFirst => sequences.end = file.first,
                }
            }
            view = now;
        }
        view
    }

    /// The place after the record with this sequence number, to go on from later, also after a restart of the host.
    pub fn cursor(&self, extension: &str, sequence: u64) -> Cursor {
        let incarnation = match &self.source {
            Source::Ring(ring) => ring.shelf().incarnation,
            Source::Stored(ring) => ring.incarnation(),
        };
        let incarnation = incarnation.name();
        Cursor { incarnation, extension: extension.to_owned(), signal: self.signal, sequence }
    }

    /// The sequence number to go on from after a cursor, and whether records after it may have been lost with the memory
    /// of an earlier host.
    pub fn resume(&self, cursor: &Cursor) -> (u64, bool) {
        let incarnation = self.view().incarnation;
        let next = cursor.sequence.saturating_add(1);
        if cursor.incarnation == incarnation.name() { (next, false) } else { (next.min(incarnation.start), true) }
    }

    /// Records ever stored.
    pub fn stored(&self) -> u64 {
        self.view().next_sequence - 1
    }

    /// Records that were stored and had to go, since they were the oldest.
    pub fn evicted(&self) -> u64 {
        self.view().oldest_sequence() - 1
    }

    /// The sequence number that the next record gets: a reader that has seen all before it has nothing to read.
    pub fn next_sequence(&self) -> u64 {
        match &self.source {
            Source::Ring(ring) => ring.next_sequence(),
            Source::Stored(ring) => ring.view().next_sequence,
        }
    }

    /// Bytes of memory that hold the records.
    pub fn bytes(&self) -> usize {
        self.view().segments.iter().map(|segment| segment.capacity()).sum()
    }
}

impl Page {
    /// Notes that there is nothing between two sequence numbers.
    fn add_gap(&mut self, from: u64, to: u64, oldest: u64) {
        self.missed += to.saturating_sub(from);
        let evicted_to = oldest.min(to);
        if from < evicted_to {
            self.gaps.push(Gap { first: from, last: evicted_to - 1, cause: GapCause::Evicted });
        }
        let damaged_from = from.max(evicted_to);
        if damaged_from < to {
            self.gaps.push(Gap { first: damaged_from, last: to - 1, cause: GapCause::Damaged });
        }
    }
}

impl Entry {
    /// The record's place, time, origin and context.
    pub fn envelope(&self) -> Envelope {
        envelope(&self.frame, self.chunk.bytes())
    }

    /// What it says.
    pub fn body(&self) -> Result<Body<'_>, Malformed> {
        body(&self.frame, self.chunk.bytes())
    }

    /// Its kind and its body, as they are stored.
    pub(crate) fn raw(&self) -> (u8, &[u8]) {
        (self.frame.kind, self.frame.body(self.chunk.bytes()))
    }

    /// Its context, as it is stored.
    pub(crate) fn context(&self) -> &[u8] {
        self.frame.context(self.chunk.bytes())
    }

    /// Who made it.
    pub fn origin(&self) -> Origin {
        origin_of(self.frame.flags)
    }

    /// Its sequence number.
    pub fn sequence(&self) -> u64 {
        self.frame.sequence
    }

    /// Bytes that it takes in its segment, its head and its context included.
    pub fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// Its time.
    pub fn time(&self) -> UnixNanos {
        UnixNanos(self.frame.time)
    }
}

/// What the host put around a record.
pub(crate) fn envelope(frame: &Frame, bytes: &[u8]) -> Envelope {
    let context = frame.context(bytes);
    Envelope {
        sequence: frame.sequence,
        time: UnixNanos(frame.time),
        origin: origin_of(frame.flags),
        cut: frame.flags & FLAG_CUT != 0,
        batched: frame.flags & FLAG_BATCHED != 0,
        context: if context.is_empty() { None } else { Context::decode(context).ok() },
    }
}

/// What a record says.
pub(crate) fn body<'b>(frame: &Frame, bytes: &'b [u8]) -> Result<Body<'b>, Malformed> {
    let body = frame.body(bytes);
    match frame.kind {
        KIND_SPAN => Span::decode(body).map(Body::Span),
        KIND_INVOCATION => Invocation::decode(body).map(Body::Invocation),
        KIND_FAILURE => Failure::decode(body).map(Body::Failure),
        KIND_ANSWERED => AnsweredError::decode(body).map(Body::Answered),
        kind => wire::decode(kind, body).map(Body::Record),
    }
}
