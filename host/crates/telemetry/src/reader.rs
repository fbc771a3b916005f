//! Reading a store: pages of records by sequence number, while the extension goes on writing.

use std::sync::Arc;

use glasshouse_model::record::{KIND_FAILURE, KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::wire::{self, Malformed, Record};
use glasshouse_model::{Context, Envelope, Failure, Invocation, Origin, Signal, Span, UnixNanos};

use crate::segment::{Frame, Segment};
use crate::store::{FLAG_BATCHED, FLAG_CUT, Store, origin_of};

/// Reads one signal of one extension. Cheap to clone; what it returns stays readable after it is evicted.
#[derive(Clone)]
pub struct Reader {
    store: Arc<Store>,
    signal: Signal,
}

/// Records in the order of their sequence numbers.
pub struct Page {
    /// The records, oldest first.
    pub entries: Vec<Entry>,
    /// Records that were asked for and had been evicted.
    pub missed: u64,
    /// Where the next page starts.
    pub next_sequence: u64,
}

/// One stored record.
#[derive(Clone)]
pub struct Entry {
    segment: Arc<Segment>,
    frame: Frame,
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
}

impl Reader {
    pub(crate) fn new(store: Arc<Store>, signal: Signal) -> Self {
        Self { store, signal }
    }

    /// Up to `limit` records from sequence number `from` on, oldest first.
    pub fn page(&self, from: u64, limit: usize) -> Page {
        let ring = self.store.ring(self.signal);
        let segments = ring.segments();
        let oldest = ring.oldest_sequence();
        let start = from.max(oldest);
        let mut entries = Vec::new();
        for segment in segments.iter() {
            if segment.first_sequence() + segment.records() <= start {
                continue;
            }
            for frame in segment.frames().filter(|frame| frame.sequence >= start) {
                if entries.len() == limit {
                    break;
                }
                entries.push(Entry { segment: Arc::clone(segment), frame });
            }
        }
        let first_found = entries.first().map_or(start, |entry: &Entry| entry.frame.sequence);
        let next_sequence = entries.last().map_or(start, |entry| entry.frame.sequence + 1);
        Page { entries, missed: first_found.saturating_sub(from.max(1)), next_sequence }
    }

    /// The newest `limit` records, oldest of them first.
    pub fn latest(&self, limit: usize) -> Vec<Entry> {
        let next = self.store.ring(self.signal).next_sequence();
        self.page(next.saturating_sub(limit as u64).max(1), limit).entries
    }

    /// All records that are kept, oldest first.
    pub fn all(&self) -> Vec<Entry> {
        self.page(1, usize::MAX).entries
    }

    /// Records ever stored.
    pub fn stored(&self) -> u64 {
        self.store.ring(self.signal).next_sequence() - 1
    }

    /// Records that were stored and had to go.
    pub fn evicted(&self) -> u64 {
        self.store.ring(self.signal).oldest_sequence() - 1
    }

    /// Bytes of memory that hold the records.
    pub fn bytes(&self) -> usize {
        self.store.ring(self.signal).bytes()
    }
}

impl Entry {
    /// The record's place, time, origin and context.
    pub fn envelope(&self) -> Envelope {
        let context = self.frame.context(&self.segment);
        Envelope {
            sequence: self.frame.sequence,
            time: UnixNanos(self.frame.time),
            origin: origin_of(self.frame.flags),
            cut: self.frame.flags & FLAG_CUT != 0,
            batched: self.frame.flags & FLAG_BATCHED != 0,
            context: if context.is_empty() { None } else { Context::decode(context).ok() },
        }
    }

    /// What it says.
    pub fn body(&self) -> Result<Body<'_>, Malformed> {
        let body = self.frame.body(&self.segment);
        match self.frame.kind {
            KIND_SPAN => Span::decode(body).map(Body::Span),
            KIND_INVOCATION => Invocation::decode(body).map(Body::Invocation),
            KIND_FAILURE => Failure::decode(body).map(Body::Failure),
            kind => wire::decode(kind, body).map(Body::Record),
        }
    }

    /// Who made it.
    pub fn origin(&self) -> Origin {
        origin_of(self.frame.flags)
    }
}
