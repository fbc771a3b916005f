//! What else is known of an extension, to outlive its records: kept in a ring of its own, and written anew as a whole from time
//! to time, so that the ring may drop what is old.
//!
//! ```text
//! counted = version:u8 sequence:u64            records up to it are counted in what is before it
//! whole   = version:u8 sequence:u64            nothing before the record with that number is needed
//! ```

use std::collections::HashSet;
use std::hash::Hash;
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
/// Saves that go by once all of it could not be written anew, before that is tried again: who saves holds a lock, and while the
/// disk or memory is short it would write all in vain each time.
const SAVES_UNTIL_AGAIN: u32 = 64;

/// Where state is stored, if it is.
pub(crate) struct StateLog {
    ring: Option<Arc<Ring>>,
    /// Whether it was read; it is when it is first asked for, so that a host of many extensions starts soon.
    is_read: bool,
    /// The sequence number of its first record that is needed.
    whole_from: u64,
    /// Bytes that were written since.
    written: usize,
    /// Saves that are to go by before all is written anew.
    pause: u32,
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
        Self { ring, is_read: false, whole_from: 1, written: 0, pause: 0, buffer: Vec::new() }
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
        let stored = ring.append(parts) != 0;
        if stored {
            self.written += parts.len();
        }
        stored
    }

    /// Stores what is not stored yet, as `put` writes it, and once all of it is, that all records up to `counted` are counted in
    /// it. Tells whether it is; what is not stays in `unsaved` for the next time.
    pub(crate) fn save<Id: Copy + Eq + Hash>(
        &mut self,
        now: UnixNanos,
        unsaved: &mut HashSet<Id>,
        counted: u64,
        mut put: impl FnMut(&mut Vec<u8>, Id) -> u8,
    ) -> bool {
        self.pause = self.pause.saturating_sub(1);
        unsaved.retain(|id| !self.store(now, |buffer| put(buffer, *id)));
        unsaved.is_empty() && self.store_counted(now, counted)
    }

    /// Notes up to which record all is counted in what was stored.
    fn store_counted(&mut self, now: UnixNanos, sequence: u64) -> bool {
        self.store(now, |buffer| put_mark(buffer, KIND_STATE_COUNTED, sequence))
    }

    /// Whether it is time to write all that is needed anew.
    pub(crate) fn is_whole_due(&self) -> bool {
        let is_short = |ring: &Arc<Ring>| self.written > WHOLE_EVERY || ring.oldest_sequence() > self.whole_from;
        self.pause == 0 && self.ring.as_ref().is_some_and(is_short)
    }

    /// Writes all that is needed anew by what `write` stores, with all records up to `counted` in it, so that nothing older is
    /// needed; it tells whether all was stored.
    pub(crate) fn store_whole(&mut self, now: UnixNanos, counted: u64, write: impl FnOnce(&mut Self) -> bool) {
        let Some(whole_from) = self.ring.as_ref().map(|ring| ring.next_sequence()) else { return };
        let stored = write(self)
            && self.store_counted(now, counted)
            && self.store(now, |buffer| put_mark(buffer, KIND_STATE_WHOLE, whole_from));
        if stored {
            (self.whole_from, self.written) = (whole_from, 0);
        } else {
            self.pause = SAVES_UNTIL_AGAIN;
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::ring::Bounds;

    const KIND: u8 = 200;
    const NOW: UnixNanos = UnixNanos(7);

    fn ring() -> Arc<Ring> {
        let (records, bytes) = (usize::MAX, 64 << 20);
        Ring::in_memory(Bounds { records, bytes, disk_bytes: 0, age: Duration::MAX })
    }

    /// What is stored of each id, and up to which record all is counted.
    fn stored(ring: &Arc<Ring>) -> (BTreeMap<u8, u64>, u64) {
        let state = read(&Reader::of_ring(Arc::clone(ring), Signal::Error));
        let values = state.records.iter().map(Entry::raw).filter(|(kind, _)| *kind == KIND);
        let values = values.map(|(_, body)| (body[0], u64::from_le_bytes(*body[1..].first_chunk().expect("a number"))));
        (values.collect(), state.counted)
    }

    proptest! {
        /// Whenever the system has no memory, and whenever the host ends: what is not stored is after the records that are said to be
        /// counted, and so is counted again.
        #[test]
        fn whatever_cannot_be_stored_is_not_said_to_be_counted(
            steps in prop::collection::vec((0..5_u8, prop_oneof![Just(None), (0..6_u64).prop_map(Some)]), 1..60),
        ) {
            let ring = ring();
            let mut log = StateLog::new(Some(Arc::clone(&ring)));
            let (mut last, mut unsaved, mut sequence) = (BTreeMap::new(), HashSet::new(), 0_u64);
            let put = |last: &BTreeMap<u8, u64>, buffer: &mut Vec<u8>, id: u8| {
                buffer.push(id);
                buffer.extend_from_slice(&last[&id].to_le_bytes());
                KIND
            };
            for (id, memory_for) in steps {
                sequence += 1;
                last.insert(id, sequence);
                unsaved.insert(id);
                ring.memory_for.store(memory_for.unwrap_or(u64::MAX), Ordering::Relaxed);
                let saved = log.save(NOW, &mut unsaved, sequence, |buffer, id| put(&last, buffer, id));
                if sequence % 7 == 0 {
                    log.store_whole(NOW, sequence, |log| {
                        last.keys().all(|id| log.store(NOW, |buffer| put(&last, buffer, *id)))
                    });
                }
                let (values, counted) = stored(&ring);
                prop_assert!(!saved || counted == sequence);
                prop_assert!(memory_for.is_some() || saved);
                for (id, last) in &last {
                    prop_assert!(*last > counted || values.get(id) == Some(last), "{} at {}", id, sequence);
                }
            }
        }
    }

    #[test]
    fn a_state_that_cannot_be_written_anew_is_left_alone_for_a_while() {
        let ring = ring();
        let mut log = StateLog::new(Some(Arc::clone(&ring)));
        let large = |buffer: &mut Vec<u8>, _: u8| {
            buffer.resize(WHOLE_EVERY / 8, 1);
            KIND
        };
        ring.memory_for.store(0, Ordering::Relaxed);
        for _ in 0..20 {
            assert!(!log.save(NOW, &mut HashSet::from([1]), 1, large));
        }
        assert!(!log.is_whole_due(), "nothing was written");
        ring.memory_for.store(u64::MAX, Ordering::Relaxed);
        assert!(log.save(NOW, &mut (0..10).collect(), 1, large));
        assert!(log.is_whole_due());
        log.store_whole(NOW, 1, |_| false);
        for _ in 0..SAVES_UNTIL_AGAIN {
            assert!(!log.is_whole_due());
            log.save(NOW, &mut HashSet::from([1]), 1, large);
        }
        assert!(log.is_whole_due(), "it is tried again");
        log.store_whole(NOW, 1, |_| true);
        assert!(!log.is_whole_due());
    }
}
