//! The room in which undecided records wait: the newest of them, in the form in which they will be stored. When its newer half is full, the older
//! one goes, so that of what fails there is what came before that.

use std::ops::Range;

use crate::frame::{Frame, FrameParts, frames};

/// Bytes of a half that are kept for what comes next, once it is empty.
const KEPT_BYTES: usize = 16 * 1024;

/// Records with rising sequence numbers, which are this room's own.
pub(super) struct Room {
    older: Half,
    newer: Half,
    /// Bytes that a half may have.
    half_bytes: usize,
    /// The sequence number of the next record.
    next: u64,
}

#[derive(Default)]
struct Half {
    bytes: Vec<u8>,
    /// The sequence number of its first record, if it has any.
    first: u64,
}

impl Half {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    fn append(&mut self, parts: &FrameParts<'_>, most: usize) -> bool {
        let (at, end) = (self.bytes.len(), self.bytes.len() + parts.padded_len());
        if end > most {
            return false;
        }
        if self.is_empty() {
            self.first = parts.sequence;
        }
        self.bytes.resize(end, 0);
        let place = &mut self.bytes[at..end];
        parts.write_unpublished(place, None);
        place[..4].copy_from_slice(&(parts.len() as u32).to_le_bytes());
        true
    }

    fn each(&self, sequences: Range<u64>) -> impl Iterator<Item = Frame> {
        frames(&self.bytes).filter(move |frame| sequences.contains(&frame.sequence))
    }

    /// Forgets all records from a sequence number on.
    fn truncate(&mut self, from: u64) {
        let first =
            if self.first >= from { Some(0) } else { self.each(from..u64::MAX).next().map(|frame| frame.at as usize) };
        self.bytes.truncate(first.unwrap_or(usize::MAX));
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

impl Room {
    pub(super) fn new(half_bytes: usize) -> Self {
        Self { older: Half::default(), newer: Half::default(), half_bytes, next: 1 }
    }

    /// The sequence number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Appends a record, with the next sequence number in place of its own. Those that had to go for it are told of. One that is longer than a
    /// half has no room, and no number.
    #[inline]
    pub(super) fn append(&mut self, parts: FrameParts<'_>, gone: impl FnOnce(Range<u64>)) -> bool {
        let parts = FrameParts { sequence: self.next, ..parts };
        let fits = self.newer.append(&parts, self.half_bytes) || {
            gone(self.turn());
            self.newer.append(&parts, self.half_bytes)
        };
        self.next += u64::from(fits);
        fits
    }

    #[cold]
    fn turn(&mut self) -> Range<u64> {
        std::mem::swap(&mut self.older, &mut self.newer);
        let end = if self.older.is_empty() { self.next } else { self.older.first };
        let gone = if self.newer.is_empty() { end..end } else { self.newer.first..end };
        self.newer.truncate(0);
        gone
    }

    /// The records with these sequence numbers that are there, oldest first.
    pub(super) fn each(&self, sequences: Range<u64>) -> impl Iterator<Item = FrameParts<'_>> {
        [&self.older, &self.newer]
            .into_iter()
            .flat_map(move |half| half.each(sequences.clone()).map(move |frame| frame.parts(&half.bytes)))
    }

    /// Forgets all records from a sequence number on.
    #[inline]
    pub(super) fn truncate(&mut self, from: u64) {
        for half in [&mut self.newer, &mut self.older] {
            if !half.is_empty() {
                half.truncate(from);
            }
        }
    }
}
