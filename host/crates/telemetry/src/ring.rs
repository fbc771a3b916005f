//! The records of one signal of one extension: a ring of segments, bounded in records, bytes and age.

mod upkeep;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use glasshouse_model::Clock;

use crate::allowance::{Refusal, RingAllowance};
use crate::boot;
use crate::depot::Disk;
use crate::frame::FrameParts;
use crate::header::{HEADER_BYTES, Header, Incarnation};
use crate::home::{Found, Home};
use crate::keeper::Errands;
use crate::sealed::SealedFile;
use crate::segment::{OnDisk, Segment, SegmentFile, SegmentWriter};
use crate::shares::Asked;

/// Bytes of a segment in memory, and of the first one in a file: large enough that making one is rare, small enough that
/// a thousand idle extensions cost little.
pub(crate) const SEGMENT_BYTES: usize = 64 * 1024;
/// Each further segment of a ring in files is twice as large, up to so many bytes: a busy ring makes few files.
const LARGEST_SEGMENT_BYTES: usize = 1024 * 1024;
/// Files are a multiple of it.
const PAGE: usize = 4096;
/// A ring has room for so many of its largest segments, at least, so that retiring one leaves most.
const SEGMENTS_AT_LEAST: u64 = 16;

/// What a ring may hold. The oldest records beyond either bound go, a whole segment at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records that are kept in memory, exactly; with a data directory their number has no bound.
    pub records: usize,
    /// Bytes of memory, in whole segments; at least one segment is kept.
    pub bytes: usize,
    /// Bytes on the disk.
    pub disk_bytes: u64,
    /// How long records are kept, about.
    pub age: Duration,
}

/// The records of one signal.
pub(crate) struct Ring {
    bounds: Bounds,
    disk: Option<DiskRing>,
    /// Replaced as a whole when a segment is added, sealed or retired, so that readers never lock.
    shelf: ArcSwap<Shelf>,
    next_sequence: AtomicU64,
    /// Taken by writers (the guest's adapters and the extension's supervisor) and, for moments, by the keeper.
    writer: Mutex<Writer>,
    /// The sequence number of the first record of this host.
    started_at: u64,
    /// The sequence number up to which records are safe against the loss of power.
    synced: AtomicU64,
    /// Whether the bounds left no room for its last segment.
    has_no_room: AtomicBool,
    /// Records that had to go from memory while the disk took none, though older ones are on the disk.
    dropped_from_memory: Mutex<Vec<Range<u64>>>,
    /// Whether the keeper was asked to seal, and has not begun.
    seal_asked: AtomicBool,
    /// Appends that the system has memory for.
    #[cfg(test)]
    pub(crate) memory_for: AtomicU64,
    me: Weak<Ring>,
}

/// What a ring has, oldest first: sealed files, then segments.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) sealed: Arc<Vec<SealedFile>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) incarnation: Incarnation,
}

#[derive(Default)]
struct Writer {
    current: Option<SegmentWriter>,
    /// A file for the segment after the present one.
    spare: Option<SegmentFile>,
    /// Whether the keeper was asked for a spare one.
    asked: bool,
    /// Bytes that the next file has.
    next_bytes: usize,
    next_number: u64,
}

impl Writer {
    fn current_segment(&self) -> Option<Arc<Segment>> {
        self.current.as_ref().map(|current| Arc::clone(current.segment()))
    }

    fn is_current(&self, segment: &Arc<Segment>) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current.segment(), segment))
    }
}

/// What a ring in files needs.
pub(crate) struct DiskRing {
    home: Home,
    disk: Arc<Disk>,
    allowance: RingAllowance,
    errands: Errands,
    clock: Arc<dyn Clock>,
    /// Files of what was taken off the shelf, in that order.
    leaving: Mutex<VecDeque<OnDisk>>,
    /// Held while files leave the disk: in the order in which they have left the shelf, whichever thread sees to it. A host that is killed
    /// between two of them would leave a hole otherwise: an older file that had yet to go, before one that had gone.
    removing: Mutex<()>,
}

impl DiskRing {
    pub(crate) fn new(
        home: Home,
        disk: Arc<Disk>,
        allowance: RingAllowance,
        errands: Errands,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (leaving, removing) = (Mutex::default(), Mutex::default());
        Self { home, disk, allowance, errands, clock, leaving, removing }
    }

    /// Lets files leave the disk whose records were just taken off the shelf, by who holds the writer's lock. A reader who finds one gone
    /// finds it off the shelf, too.
    fn let_leave(&self, files: impl IntoIterator<Item = OnDisk>) {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
    }

    /// Removes what is off the shelf from the disk, and waits for what others remove. Tells whether that may have given room.
    fn remove_what_left(&self) -> bool {
        let (_in_order, mut has_removed) = match self.removing.try_lock() {
            Ok(in_order) => (in_order, false),
            Err(_) => (self.removing.lock().unwrap_or_else(PoisonError::into_inner), true),
        };
        loop {
            let next = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(file) = next else { return has_removed };
            self.remove(&file);
            has_removed = true;
        }
    }

    fn remove(&self, file: &OnDisk) {
        // One that is gone already, or that cannot be removed, is looked for again at the next start.
        let _ = fs::remove_file(&file.path);
        self.allowance.give_back(file.bytes);
    }

    /// Removes a file that was made ahead and is not used.
    fn discard(&self, file: &SegmentFile) {
        let bytes = (file.capacity() + HEADER_BYTES) as u64;
        self.remove(&OnDisk { path: file.path().to_owned(), bytes });
    }

    /// Whether files of it have to go, since a bound was lowered: its own, or the host's, of which its extension has more than an equal part.
    fn has_too_much(&self) -> bool {
        match self.allowance.is_exceeded() {
            None => false,
            Some(Refusal::Own) => true,
            Some(Refusal::Host) => self.disk.shares().is_over(&self.allowance, 0),
        }
    }

    /// Asks for room for so many bytes where others have taken it, so many times while they are busy. Tells whether there may be some now; if
    /// not, the ring's own oldest records have to go.
    fn has_others_give(&self, refusal: Refusal, bytes: u64, tries: usize) -> io::Result<bool> {
        if refusal == Refusal::Own {
            return Ok(false);
        }
        match self.disk.shares().ask_others(&self.allowance, bytes, tries) {
            Asked::Given => Ok(true),
            Asked::Refused => Ok(false),
            Asked::Busy => Err(no_room()),
        }
    }

    fn header(&self, first_sequence: u64, incarnation: Incarnation, bytes: u64) -> Header {
        Header {
            signal: self.home.signal,
            flags: 0,
            first_sequence,
            incarnation,
            made: self.clock.now().0,
            bytes,
            extension: self.home.extension.clone(),
            boot: boot::id(),
        }
    }
}

impl Ring {
    /// An empty ring in memory.
    pub(crate) fn in_memory(bounds: Bounds) -> Arc<Self> {
        Self::new(bounds, None, Vec::new(), Vec::new(), 1, Incarnation::new(1), 0)
    }

    /// A ring in files, with what was found of it.
    pub(crate) fn on_disk(bounds: Bounds, disk: DiskRing, found: Found) -> Arc<Self> {
        let sealed_bytes = found.sealed.iter().map(|file| file.bytes);
        let open_bytes = found.segments.iter().filter_map(|segment| segment.file()).map(|file| file.bytes);
        disk.allowance.take_anyway(sealed_bytes.chain(open_bytes).sum());
        let Found { sealed, segments, next_sequence, incarnation, next_number, damaged: _ } = found;
        let unsealed = !segments.is_empty();
        let ring = Self::new(bounds, Some(disk), sealed, segments, next_sequence, incarnation, next_number);
        if unsealed {
            ring.ask_to_seal();
        }
        ring
    }

    fn new(
        bounds: Bounds,
        disk: Option<DiskRing>,
        sealed: Vec<SealedFile>,
        segments: Vec<Arc<Segment>>,
        next_sequence: u64,
        incarnation: Incarnation,
        next_number: u64,
    ) -> Arc<Self> {
        let shelf = Shelf { sealed: Arc::new(sealed), segments, incarnation };
        Arc::new_cyclic(|me| Self {
            bounds,
            disk,
            shelf: ArcSwap::from_pointee(shelf),
            next_sequence: AtomicU64::new(next_sequence),
            writer: Mutex::new(Writer { next_bytes: SEGMENT_BYTES, next_number, ..Writer::default() }),
            started_at: next_sequence,
            synced: AtomicU64::new(next_sequence),
            has_no_room: AtomicBool::new(false),
            dropped_from_memory: Mutex::default(),
            seal_asked: AtomicBool::new(false),
            #[cfg(test)]
            memory_for: AtomicU64::new(u64::MAX),
            me: me.clone(),
        })
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record and returns its sequence number, which it has in place of the one in `parts`. Returns 0 if the
    /// system has no memory for it.
    #[inline]
    pub(crate) fn append(&self, mut parts: FrameParts<'_>) -> u64 {
        let mut writer = self.lock();
        #[cfg(test)]
        if self.memory_for.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return 0;
        }
        parts.sequence = self.next_sequence.load(Ordering::Relaxed);
        let fitted = writer.current.as_mut().is_some_and(|current| current.append(&parts));
        if !fitted && !self.start_segment(&mut writer, &parts) {
            return 0;
        }
        if !writer.asked && writer.current.as_ref().is_some_and(SegmentWriter::is_well_begun) {
            self.ask_for_spare(&mut writer);
        }
        self.next_sequence.store(parts.sequence + 1, Ordering::Release);
        parts.sequence
    }

    #[cold]
    fn ask_for_spare(&self, writer: &mut Writer) {
        writer.asked = true;
        if let Some(disk) = &self.disk
            && writer.spare.is_none()
        {
            disk.errands.prepare(self.me.clone());
        }
    }

    /// Starts a segment with this record: in a file, or else in memory.
    #[cold]
    fn start_segment(&self, writer: &mut Writer, parts: &FrameParts<'_>) -> bool {
        writer.asked = false;
        let mut shelf = Shelf::clone(&self.shelf.load());
        let had_segments = !shelf.segments.is_empty();
        let in_file = self.disk.as_ref().and_then(|disk| self.take_file(disk, writer, &mut shelf, parts.padded_len()));
        let started = match (in_file, &self.disk) {
            (Some(file), Some(disk)) => {
                let bytes = (file.capacity() + HEADER_BYTES) as u64;
                Ok(Segment::in_file(file, &disk.header(parts.sequence, shelf.incarnation, bytes)))
            }
            _ => self.start_in_memory(&mut shelf, parts),
        };
        let Ok((segment, mut current)) = started else {
            self.shelf.store(Arc::new(shelf));
            // It may be off the shelf by now, and must not be written to.
            writer.current = None;
            return false;
        };
        let fitted = current.append(parts);
        debug_assert!(fitted, "a segment is made large enough for its first record");
        writer.current = Some(current);
        shelf.segments.push(segment);
        self.shelf.store(Arc::new(shelf));
        if had_segments {
            self.ask_to_seal();
        }
        true
    }

    /// Asks the keeper to seal what is full, unless it was asked already.
    pub(crate) fn ask_to_seal(&self) {
        if let Some(disk) = &self.disk
            && !self.seal_asked.swap(true, Ordering::Relaxed)
        {
            disk.errands.seal(self.me.clone());
        }
    }

    /// The spare file, or a new one.
    fn take_file(&self, disk: &DiskRing, writer: &mut Writer, shelf: &mut Shelf, record: usize) -> Option<SegmentFile> {
        if disk.disk.is_failing() {
            return None;
        }
        if let Some(spare) = writer.spare.take() {
            if spare.capacity() >= record {
                return Some(spare);
            }
            disk.discard(&spare);
        }
        let made = self.make_file(disk, writer, shelf, record);
        made.inspect_err(|error| self.note_failure(disk, error)).ok()
    }

    /// A bound that leaves no room is this ring's matter; all else is the disk's.
    #[cold]
    fn note_failure(&self, disk: &DiskRing, error: &io::Error) {
        if !is_no_room(error) {
            disk.disk.note_failure(error);
        } else if !self.has_no_room.swap(true, Ordering::Relaxed) {
            let (extension, signal) = (&disk.home.extension, disk.home.signal.as_str());
            tracing::warn!(extension, signal, "telemetry goes on in memory: {error}");
        }
    }

    /// Makes a file with room for a record, after the oldest files have gone as far as the bounds ask for it.
    fn make_file(
        &self,
        disk: &DiskRing,
        writer: &mut Writer,
        shelf: &mut Shelf,
        record: usize,
    ) -> io::Result<SegmentFile> {
        let bytes = writer.next_bytes.max((record + HEADER_BYTES).next_multiple_of(PAGE));
        while let Err(refusal) = disk.allowance.take(bytes as u64) {
            if disk.has_others_give(refusal, bytes as u64, 1)? {
                continue;
            }
            let has_retired = self.retire_oldest(shelf, None);
            if !disk.remove_what_left() && !has_retired {
                return Err(no_room());
            }
        }
        let number = self.next_number(writer);
        let made = disk.home.make_file(number, bytes);
        if made.is_err() {
            disk.allowance.give_back(bytes as u64);
        }
        made
    }

    /// The number of the next file; the one after it is to be larger, up to a part of what the ring may have.
    fn next_number(&self, writer: &mut Writer) -> u64 {
        let most = self.disk.as_ref().map_or(0, |disk| disk.allowance.most());
        let largest = (most / SEGMENTS_AT_LEAST) as usize;
        writer.next_bytes = (2 * writer.next_bytes).min(largest.clamp(SEGMENT_BYTES, LARGEST_SEGMENT_BYTES));
        writer.next_number += 1;
        writer.next_number - 1
    }

    /// Starts a segment in memory, and retires those that the bounds no longer allow. The memory of a retired one is used
    /// again if no reader holds it: fresh memory costs a page fault every few records.
    fn start_in_memory(&self, shelf: &mut Shelf, parts: &FrameParts<'_>) -> io::Result<(Arc<Segment>, SegmentWriter)> {
        let key = self.disk.as_ref().map(|_| shelf.incarnation.key());
        let capacity = SEGMENT_BYTES.max(parts.padded_len());
        if self.disk.is_some() {
            if let Some(last) = shelf.segments.last() {
                last.mark_continued_in_memory();
            }
            let memory = |shelf: &Shelf| {
                let in_memory = shelf.segments.iter().filter(|segment| segment.is_in_memory_only());
                in_memory.map(|segment| segment.capacity()).sum::<usize>()
            };
            while capacity + memory(shelf) > self.bounds.bytes && self.drop_from_memory(shelf, parts.sequence) {}
            return Self::start_anonymous(shelf, parts, capacity, key);
        }
        let oldest_wanted = (parts.sequence + 1).saturating_sub(self.bounds.records as u64);
        let current = &mut shelf.segments;
        let mut bytes = capacity + current.iter().map(|segment| segment.capacity()).sum::<usize>();
        let mut retired = 0;
        while retired < current.len() {
            let next = current.get(retired + 1).map_or(parts.sequence, |segment| segment.first_sequence());
            if next > oldest_wanted && bytes <= self.bounds.bytes {
                break;
            }
            bytes -= current[retired].capacity();
            retired += 1;
        }
        let retired: Vec<_> = current.drain(..retired).collect();
        self.shelf.store(Arc::new(shelf.clone()));
        let reusable = retired.into_iter().find(|segment| segment.capacity() == capacity);
        match reusable.and_then(|segment| Segment::reuse(segment, parts.sequence, key)) {
            Some(reused) => Ok(reused),
            None => Self::start_anonymous(shelf, parts, capacity, key),
        }
    }

    /// Takes the oldest segment that is in memory only off the shelf: what is on the disk stays there, since it takes up no memory. The next
    /// record has the sequence number `next`. Tells whether there was one.
    fn drop_from_memory(&self, shelf: &mut Shelf, next: u64) -> bool {
        let Some(oldest) = shelf.segments.iter().position(|segment| segment.is_in_memory_only()) else { return false };
        let first = shelf.segments.remove(oldest).first_sequence();
        let after = shelf.segments.get(oldest).map_or(next, |segment| segment.first_sequence());
        let oldest = self.oldest_sequence();
        let mut dropped = self.dropped_from_memory.lock().unwrap_or_else(PoisonError::into_inner);
        // As many ranges as the disk failed times since the oldest record that is there.
        dropped.retain(|range| range.end > oldest);
        match dropped.last_mut() {
            Some(last) if last.end == first => last.end = after,
            _ => dropped.push(first..after),
        }
        drop(dropped);
        self.shelf.store(Arc::new(shelf.clone()));
        true
    }

    /// A segment in fresh memory: all of it is taken at once, unless it is the first, which may never be filled.
    fn start_anonymous(
        shelf: &Shelf,
        parts: &FrameParts<'_>,
        capacity: usize,
        key: Option<u32>,
    ) -> io::Result<(Arc<Segment>, SegmentWriter)> {
        let (segment, writer) = Segment::anonymous(parts.sequence, capacity, key)?;
        if !shelf.segments.is_empty() {
            segment.populate();
        }
        Ok((segment, writer))
    }

    /// Takes the oldest file, or segment, from the shelf, by who holds the writer's lock, and lets its file leave the disk. Tells whether
    /// there was one but the one to keep.
    fn retire_oldest(&self, shelf: &mut Shelf, keep: Option<&Arc<Segment>>) -> bool {
        let file = if shelf.sealed.is_empty() {
            let is_kept = |segment: &&Arc<Segment>| keep.is_some_and(|keep| Arc::ptr_eq(keep, segment));
            if shelf.segments.first().is_none_or(|segment| is_kept(&segment)) {
                return false;
            }
            shelf.segments.remove(0).file().cloned()
        } else {
            let mut sealed = shelf.sealed.to_vec();
            let file = sealed.remove(0);
            if file.is_marker() && sealed.is_empty() {
                return false;
            }
            shelf.sealed = Arc::new(sealed);
            Some(file.on_disk())
        };
        self.shelf.store(Arc::new(shelf.clone()));
        if let Some(disk) = &self.disk {
            disk.let_leave(file);
        }
        true
    }

    /// What there is now, for readers.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        self.shelf.load_full()
    }

    /// The sequence number of the next record.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.load(Ordering::Acquire)
    }

    /// The sequence number of the oldest record that is kept; the next one's, if there is none.
    pub(crate) fn oldest_sequence(&self) -> u64 {
        let next = self.next_sequence();
        self.shelf.load().oldest_sequence().unwrap_or(next).max(self.oldest_by_count(next))
    }

    /// The sequence number below which records are over the bound on their number.
    pub(crate) fn oldest_by_count(&self, next: u64) -> u64 {
        if self.disk.is_some() { 1 } else { next.saturating_sub(self.bounds.records as u64).max(1) }
    }

    /// Records that were stored and had to go: the oldest ones, and those of [`Ring::drop_from_memory`].
    pub(crate) fn evicted(&self) -> u64 {
        let oldest = self.oldest_sequence();
        let dropped = self.dropped_from_memory.lock().unwrap_or_else(PoisonError::into_inner);
        oldest - 1 + dropped.iter().map(|range| range.end.saturating_sub(range.start.max(oldest))).sum::<u64>()
    }

    /// Bytes of memory that the ring holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.shelf.load().segments.iter().map(|segment| segment.capacity()).sum()
    }

    /// Records that were stored since the start of this host.
    pub(crate) fn stored_now(&self) -> u64 {
        self.next_sequence() - self.started_at
    }
}

impl Shelf {
    fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.segments.is_empty()
    }

    pub(crate) fn oldest_sequence(&self) -> Option<u64> {
        let sealed = self.sealed.first().map(|file| file.first);
        sealed.or_else(|| self.segments.first().map(|segment| segment.first_sequence()))
    }
}

/// The error of bounds that leave no room for what a ring needs.
fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, NoRoom)
}

fn is_no_room(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NoRoom>)
}

#[derive(Debug, thiserror::Error)]
#[error("its bounds on bytes, or the host's, leave no room for another segment on the disk")]
struct NoRoom;

#[cfg(test)]
mod tests;
