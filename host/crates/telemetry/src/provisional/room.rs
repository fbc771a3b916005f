//! The room in which undecided records wait: the newest of them, in the form in which they will be stored. When its newer half is full, the older
//! one goes, so that of what fails there is what came before that.
//!
//! With a data directory the halves are mapped files, from which the next host takes what there is if this one is killed ([`undecided`]). Their
//! records are like those of segments. A half is used again and again: a record after the last one, left from before, has a lower sequence number
//! than that; where the last one has gone, there is the length 0 in its place; and the checksum of one that is decided on, amid others, is inverted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use crate::frame::{Frame, FrameParts, frames};
use crate::header::HEADER_BYTES;
use crate::provisional::files::Files;
use crate::segment::SegmentFile;

/// Bytes of memory of a half that are kept for what comes next, once it is empty.
const KEPT_BYTES: usize = 16 * 1024;
/// Where the checksum of a record stands.
const CHECKSUM_AT: Range<usize> = 4..8;

/// Records with rising sequence numbers, which are this room's own.
pub(super) struct Room {
    older: Half,
    newer: Half,
    /// Bytes that a half may have.
    half_bytes: usize,
    /// The sequence number of the next record.
    next: u64,
    /// Where the newer half ended at the last [`Room::begin`], if it was the newer one then.
    begun_at: Option<usize>,
    files: Option<Arc<Files>>,
}

struct Half {
    /// The number of its file, if it has one.
    number: u64,
    place: Place,
    /// Bytes of its records.
    end: usize,
    /// The sequence number of its first record, if it has any.
    first: u64,
}

enum Place {
    Memory(Vec<u8>),
    /// A file, and the key of its records' checksums.
    File(SegmentFile, u32),
}

impl Half {
    fn new(number: u64) -> Self {
        Self { number, place: Place::Memory(Vec::new()), end: 0, first: 1 }
    }

    fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Its records.
    fn bytes(&self) -> &[u8] {
        match &self.place {
            Place::Memory(bytes) => bytes,
            Place::File(file, _) => &file.bytes()[HEADER_BYTES..][..self.end],
        }
    }

    #[inline]
    fn append(&mut self, parts: &FrameParts<'_>, most: usize) -> bool {
        let (at, end) = (self.end, self.end + parts.padded_len());
        if end > most {
            return false;
        }
        if self.is_empty() {
            self.first = parts.sequence;
        }
        let (place, key) = match &mut self.place {
            Place::Memory(bytes) => {
                bytes.resize(end, 0);
                (&mut bytes[at..end], None)
            }
            Place::File(file, key) => (&mut file.bytes_mut()[HEADER_BYTES..][at..end], Some(*key)),
        };
        parts.write_unpublished(place, key);
        // The process may end between any two instructions.
        compiler_fence(Ordering::SeqCst);
        place[..4].copy_from_slice(&(parts.len() as u32).to_le_bytes());
        self.end = end;
        true
    }

    /// Its records with these sequence numbers, which rise.
    fn each(&self, sequences: &[Range<u64>]) -> impl Iterator<Item = Frame> {
        frames(self.bytes()).filter(move |frame| {
            let at = sequences.partition_point(|range| range.end <= frame.sequence);
            sequences.get(at).is_some_and(|range| range.contains(&frame.sequence))
        })
    }

    /// Forgets all records from a sequence number on.
    fn truncate(&mut self, from: u64) {
        if self.is_empty() {
            return;
        }
        let first = if self.first >= from {
            Some(0)
        } else {
            frames(self.bytes()).find(|frame| frame.sequence >= from).map(|frame| frame.at as usize)
        };
        if let Some(end) = first {
            self.cut(end);
        }
    }

    /// Forgets all records from a place on.
    #[inline]
    fn cut(&mut self, end: usize) {
        if end >= self.end {
            return;
        }
        match &mut self.place {
            Place::Memory(bytes) if end == 0 && bytes.capacity() > KEPT_BYTES => *bytes = Vec::new(),
            Place::Memory(bytes) => bytes.truncate(end),
            Place::File(file, _) => file.bytes_mut()[HEADER_BYTES..][end..][..4].fill(0),
        }
        self.end = end;
    }

    /// Notes in its file that the records with these sequence numbers are decided on.
    fn mark_decided(&mut self, sequences: &[Range<u64>]) {
        if matches!(self.place, Place::Memory(_)) {
            return;
        }
        let places: Vec<_> = self.each(sequences).map(|frame| frame.at as usize).collect();
        if let Place::File(file, _) = &mut self.place {
            let bytes = &mut file.bytes_mut()[HEADER_BYTES..];
            for at in places {
                bytes[at..][CHECKSUM_AT].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
    }
}

impl Room {
    /// An empty one, with halves of so many bytes: in the files with that number and the next one, if there is to be any.
    pub(super) fn new(half_bytes: usize, files: Option<Arc<Files>>, number: u64) -> Self {
        Self { older: Half::new(number), newer: Half::new(number + 1), half_bytes, next: 1, begun_at: Some(0), files }
    }

    /// The sequence number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Begins a run of records, which [`Room::truncate`] is likely to forget; gives the sequence number of its first one.
    #[inline]
    pub(super) fn begin(&mut self) -> u64 {
        self.begun_at = Some(self.newer.end);
        self.next
    }

    /// Appends a record, with the next sequence number in place of its own. Those that had to go for it are told of. One that is longer than a
    /// half has no room, and no number.
    #[inline]
    pub(super) fn append(&mut self, parts: FrameParts<'_>, gone: impl FnOnce(Range<u64>)) -> bool {
        let parts = FrameParts { sequence: self.next, ..parts };
        if self.newer.is_empty() {
            self.go_to_file();
        }
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
        self.begun_at = None;
        let end = if self.older.is_empty() { self.next } else { self.older.first };
        let gone = if self.newer.is_empty() { end..end } else { self.newer.first..end };
        self.newer.cut(0);
        self.go_to_file();
        gone
    }

    /// Gives the newer half, which is empty, a file if it is to have one and has none.
    #[inline]
    fn go_to_file(&mut self) {
        if let Some(files) = &self.files
            && let Place::Memory(_) = self.newer.place
            && let Some((file, key)) = files.make(self.newer.number, self.half_bytes)
        {
            self.newer.place = Place::File(file, key);
        }
    }

    /// The records with these sequence numbers, which rise, that are there, oldest first.
    pub(super) fn each(&self, sequences: &[Range<u64>]) -> impl Iterator<Item = FrameParts<'_>> {
        [&self.older, &self.newer]
            .into_iter()
            .flat_map(move |half| half.each(sequences).map(move |frame| frame.parts(half.bytes())))
    }

    /// Forgets all records.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.newer.cut(0);
        self.older.cut(0);
    }

    /// Forgets all records from a sequence number on: that of the last [`Room::begin`], or one after it.
    pub(super) fn truncate(&mut self, from: u64) {
        if let Some(at) = self.begun_at {
            self.newer.cut(at);
        } else {
            self.newer.truncate(from);
            self.older.truncate(from);
        }
    }

    /// Notes that these records are decided on, though others after them are not.
    pub(super) fn mark_decided(&mut self, sequences: &[Range<u64>]) {
        self.older.mark_decided(sequences);
        self.newer.mark_decided(sequences);
    }
}

impl Drop for Room {
    /// What waits stays for the next host.
    fn drop(&mut self) {
        for half in [&self.older, &self.newer] {
            if let (Some(files), Place::File(file, _)) = (&self.files, &half.place) {
                files.leave(file, half.is_empty());
            }
        }
    }
}

/// The records of a half's file that were not decided on when its host was killed, in order.
pub(super) fn undecided(bytes: &[u8], key: u32) -> Vec<FrameParts<'_>> {
    let (mut found, mut next) = (Vec::new(), 0);
    // Damage ends it: nobody relies on what is after that.
    for frame in frames(bytes) {
        if frame.sequence >= next && frame.is_whole(bytes, key) {
            next = frame.sequence + 1;
            found.push(frame.parts(bytes));
        }
    }
    found
}
