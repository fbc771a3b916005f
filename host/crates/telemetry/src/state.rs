//! What else is known of an extension, to outlive its records: kept in a ring of its own, and written anew as a whole from time
//! to time, so that the ring may drop what is old.
//!
//! ```text
//! counted = version:u8 sequence:u64            records up to it are counted in what is before it
//! whole   = version:u8 sequence:u64            nothing before the record with that number is needed
//! ```

use std::sync::Arc;

use glasshouse_model::record::{KIND_STATE_COUNTED, KIND_STATE_WHOLE};
use glasshouse_model::wire;
use glasshouse_model::{Origin, Signal, UnixNanos};

use crate::frame::FrameParts;
use crate::reader::{Entry, Reader};
use crate::ring::Ring;

/// The version of these records. Those of another one are passed by.
pub(crate) const VERSION: u8 = 1;
/// Records after which what they add up to is stored: so many are read again when a host starts anew, in a millisecond or so.
pub(crate) const UNSAVED: u32 = 256;
/// Records that are read again at most, where no state is left: the newest.
const READ_AGAIN: u64 = 1024;
/// Bytes of state after which all of it is written anew, so that what is old may go.
const WHOLE_EVERY: usize = 1 << 20;

/// Where state is stored, if it is.
pub(crate) struct StateLog {
    ring: Option<Arc<Ring>>,
    /// Whether it was read; it is when it is first asked for, so that a host of many extensions starts soon.
    is_read: bool,
    /// The sequence number of its first record that is needed.
    whole_from: u64,
    /// Bytes that were written since.
    written: usize,
    buffer: Vec<u8>,
}

/// What an earlier host left.
pub(crate) struct StoredState {
    /// All records that are needed, the oldest first.
    pub(crate) records: Vec<Entry>,
    /// The last record that they count.
    pub(crate) counted: u64,
    whole_from: u64,
}

/// Records that came after what is counted.
pub(crate) struct Uncounted {
    pub(crate) records: Vec<Entry>,
    /// Records were lost with the memory of an earlier host, and others have their numbers, from this one on.
    pub(crate) lost_from: Option<u64>,
}

impl StateLog {
    pub(crate) fn new(ring: Option<Arc<Ring>>) -> Self {
        Self { ring, is_read: false, whole_from: 1, written: 0, buffer: Vec::new() }
    }

    /// Whether anything is stored.
    pub(crate) fn is_kept(&self) -> bool {
        self.ring.is_some()
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.as_ref().is_none_or(|ring| ring.next_sequence() == 1)
    }

    /// What an earlier host left, when it is first asked for.
    pub(crate) fn take_stored(&mut self) -> Option<StoredState> {
        let ring = self.ring.as_ref().filter(|_| !self.is_read)?;
        self.is_read = true;
        let stored = read(&Reader::of_ring(Arc::clone(ring), Signal::Error));
        self.whole_from = stored.whole_from;
        self.written = stored.records.iter().map(Entry::bytes).sum();
        Some(stored)
    }

    /// Appends a record, if records are kept; tells whether it was stored. `write` gives its kind.
    pub(crate) fn store(&mut self, now: UnixNanos, write: impl FnOnce(&mut Vec<u8>) -> u8) -> bool {
        let Some(ring) = &self.ring else { return true };
        self.buffer.clear();
        let kind = write(&mut self.buffer);
        let flags = Origin::Host as u8;
        let parts = FrameParts { sequence: 0, time: now.0, kind, flags, context: &[], body: &self.buffer };
        self.written += parts.len();
        ring.append(parts) != 0
    }

    /// Notes up to which record all is counted in what was stored.
    pub(crate) fn store_counted(&mut self, now: UnixNanos, sequence: u64) -> bool {
        self.store(now, |buffer| put_mark(buffer, KIND_STATE_COUNTED, sequence))
    }

    /// Whether it is time to write all that is needed anew.
    pub(crate) fn is_whole_due(&self) -> bool {
        let is_short = |ring: &Arc<Ring>| self.written > WHOLE_EVERY || ring.oldest_sequence() > self.whole_from;
        self.ring.as_ref().is_some_and(is_short)
    }

    /// Writes all that is needed anew by what `write` stores, so that nothing older is; it tells whether all was stored.
    pub(crate) fn store_whole(&mut self, now: UnixNanos, write: impl FnOnce(&mut Self) -> bool) {
        let Some(whole_from) = self.ring.as_ref().map(|ring| ring.next_sequence()) else { return };
        let stored = write(self) && self.store(now, |buffer| put_mark(buffer, KIND_STATE_WHOLE, whole_from));
        if stored {
            (self.whole_from, self.written) = (whole_from, 0);
        }
    }
}

/// Reads a state back to where it was last written as a whole.
pub(crate) fn read(state: &Reader) -> StoredState {
    let mut needed = 1;
    let records = state.back_to(|entry| {
        needed = mark(entry, KIND_STATE_WHOLE).map_or(needed, |from| needed.max(from));
        entry.sequence() <= needed
    });
    let counted = records.iter().rev().find_map(|entry| mark(entry, KIND_STATE_COUNTED)).unwrap_or(0);
    let whole_from = records.first().map_or_else(|| state.next_sequence(), Entry::sequence);
    StoredState { records, counted, whole_from }
}

/// The records that came after one that is counted, as far as they are to be read again.
pub(crate) fn uncounted(records: &Reader, counted: u64) -> Uncounted {
    let next = records.next_sequence();
    let lost_from = (counted >= next).then_some(next);
    let from = (counted.min(next - 1) + 1).max(next.saturating_sub(READ_AGAIN));
    Uncounted { records: records.page(from, READ_AGAIN as usize).entries, lost_from }
}

fn put_mark(buffer: &mut Vec<u8>, kind: u8, sequence: u64) -> u8 {
    buffer.push(VERSION);
    buffer.extend_from_slice(&sequence.to_le_bytes());
    kind
}

/// Says that something of that id is there no longer, by a record of that kind.
pub(crate) fn put_gone(buffer: &mut Vec<u8>, kind: u8, id: &[u8]) -> u8 {
    buffer.push(VERSION);
    buffer.extend_from_slice(id);
    kind
}

/// The number that a mark names, if the record is such a mark and whole.
fn mark(entry: &Entry, kind: u8) -> Option<u64> {
    let (found, body) = entry.raw();
    let mut reader = wire::Reader::new(body);
    let is_mark = found == kind && reader.byte().ok()? == VERSION;
    if is_mark { reader.integer().ok().map(|number| number as u64) } else { None }
}

/// Reads a list of so many at most.
pub(crate) fn few<'r, T>(
    reader: &mut wire::Reader<'r>,
    most: usize,
    mut read: impl FnMut(&mut wire::Reader<'r>) -> Result<T, wire::Malformed>,
) -> Result<Vec<T>, wire::Malformed> {
    match reader.varint()? as usize {
        count if count > most => Err(wire::Malformed("a list is longer than it may be")),
        count => (0..count).map(|_| read(reader)).collect(),
    }
}
