//! The records of one signal of one extension: a ring of segments, bounded in records, bytes and age.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use glasshouse_model::Clock;

use crate::allowance::RingAllowance;
use crate::depot::Disk;
use crate::frame::FrameParts;
use crate::header::{HEADER_BYTES, Header, Incarnation};
use crate::home::{Found, Home};
use crate::keeper::{Errand, Errands};
use crate::pack::pack;
use crate::sealed::{Packer, SealedFile};
use crate::segment::{Segment, SegmentFile, SegmentWriter};

/// Bytes of a segment in memory, and of the first one in a file: large enough that making one is rare, small enough that
/// a thousand idle extensions cost little.
pub(crate) const SEGMENT_BYTES: usize = 64 * 1024;
/// Each further segment of a ring in files is twice as large, up to so many bytes: a busy ring makes few files.
const LARGEST_SEGMENT_BYTES: usize = 1024 * 1024;
/// A ring has room for so many of its largest segments, at least, so that retiring one leaves most.
const SEGMENTS_AT_LEAST: u64 = 16;
/// A sealed file of fewer bytes is continued by the next segment, so that many starts do not leave many small files.
const CONTINUED_BELOW_BYTES: u64 = 64 * 1024;

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
}

impl DiskRing {
    pub(crate) fn new(
        home: Home,
        disk: Arc<Disk>,
        allowance: RingAllowance,
        errands: Errands,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { home, disk, allowance, errands, clock }
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
        let errands = disk.errands.clone();
        let Found { sealed, segments, next_sequence, incarnation, next_number, damaged: _ } = found;
        let unsealed = !segments.is_empty();
        let ring = Self::new(bounds, Some(disk), sealed, segments, next_sequence, incarnation, next_number);
        if unsealed {
            errands.send(Errand::Seal(ring.me.clone()));
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
            disk.errands.send(Errand::Prepare(self.me.clone()));
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
            return false;
        };
        let fitted = current.append(parts);
        debug_assert!(fitted, "a segment is made large enough for its first record");
        writer.current = Some(current);
        shelf.segments.push(segment);
        self.shelf.store(Arc::new(shelf));
        if let Some(disk) = &self.disk
            && had_segments
        {
            disk.errands.send(Errand::Seal(self.me.clone()));
        }
        true
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
            discard(disk, &spare);
        }
        let made = self.make_file(disk, writer, shelf, None, record);
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
        keep: Option<&Arc<Segment>>,
        record: usize,
    ) -> io::Result<SegmentFile> {
        const PAGE: usize = 4096;
        let bytes = writer.next_bytes.max((record + HEADER_BYTES).next_multiple_of(PAGE));
        while !disk.allowance.take(bytes as u64) {
            if !self.retire_oldest(disk, shelf, keep) {
                return Err(no_room());
            }
        }
        let number = writer.next_number;
        writer.next_number += 1;
        let made = disk.home.make_file(number, bytes);
        match &made {
            Ok(_) => {
                let largest = (self.bounds.disk_bytes / SEGMENTS_AT_LEAST) as usize;
                let largest = largest.clamp(SEGMENT_BYTES, LARGEST_SEGMENT_BYTES);
                writer.next_bytes = (2 * writer.next_bytes).min(largest);
            }
            Err(_) => disk.allowance.give_back(bytes as u64),
        }
        made
    }

    /// Starts a segment in memory, and retires those that the bounds no longer allow. The memory of a retired one is used
    /// again if no reader holds it: fresh memory costs a page fault every few records.
    fn start_in_memory(&self, shelf: &mut Shelf, parts: &FrameParts<'_>) -> io::Result<(Arc<Segment>, SegmentWriter)> {
        let key = shelf.incarnation.key();
        let capacity = SEGMENT_BYTES.max(parts.padded_len());
        if let Some(disk) = &self.disk {
            if let Some(last) = shelf.segments.last() {
                last.mark_continued_in_memory();
            }
            let memory = |shelf: &Shelf| {
                let in_memory = shelf.segments.iter().filter(|segment| segment.is_in_memory_only());
                in_memory.map(|segment| segment.capacity()).sum::<usize>()
            };
            while capacity + memory(shelf) > self.bounds.bytes && self.retire_oldest(disk, shelf, None) {}
            return Segment::anonymous(parts.sequence, capacity, key);
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
            None => Segment::anonymous(parts.sequence, capacity, key),
        }
    }

    /// Takes the oldest file, or segment, from the shelf, and then from the disk, so that a reader who finds it gone finds it
    /// off the shelf, too; `false` if there is none but the one to keep.
    fn retire_oldest(&self, disk: &DiskRing, shelf: &mut Shelf, keep: Option<&Arc<Segment>>) -> bool {
        let (path, bytes) = if shelf.sealed.is_empty() {
            let is_kept = |segment: &Arc<Segment>| keep.is_some_and(|keep| Arc::ptr_eq(keep, segment));
            if shelf.segments.first().is_none_or(is_kept) {
                return false;
            }
            let segment = shelf.segments.remove(0);
            segment.file().map(|file| (file.path.clone(), file.bytes)).unzip()
        } else {
            let mut sealed = shelf.sealed.to_vec();
            let file = sealed.remove(0);
            if file.is_marker() && sealed.is_empty() {
                return false;
            }
            shelf.sealed = Arc::new(sealed);
            (Some(file.path), Some(file.bytes))
        };
        self.shelf.store(Arc::new(shelf.clone()));
        if let (Some(path), Some(bytes)) = (path, bytes) {
            remove(disk, &path, bytes);
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
    pub(crate) fn oldest_sequence(&self) -> Option<u64> {
        let sealed = self.sealed.first().map(|file| file.first);
        sealed.or_else(|| self.segments.first().map(|segment| segment.first_sequence()))
    }
}

/// What the keeper does for a ring, on its own thread.
impl Ring {
    /// Makes the file of the next segment, so that the writer need not.
    pub(crate) fn prepare(&self) {
        let Some(disk) = self.disk.as_ref().filter(|disk| !disk.disk.is_failing()) else { return };
        let mut writer = self.lock();
        if writer.spare.is_some() {
            return;
        }
        let mut shelf = Shelf::clone(&self.shelf.load());
        let keep = writer.current_segment();
        let made = self.make_file(disk, &mut writer, &mut shelf, keep.as_ref(), 0);
        let next_number = writer.next_number;
        drop(writer);
        match made {
            Ok(file) => {
                file.populate();
                let mut writer = self.lock();
                if writer.next_number == next_number {
                    writer.spare = Some(file);
                } else {
                    // The writer could not wait, and files are used in the order of their numbers.
                    discard(disk, &file);
                }
            }
            Err(error) => self.note_failure(disk, &error),
        }
    }

    /// Writes the oldest full segment to a sealed file. Returns how many bytes it had; `None` if there is none.
    pub(crate) fn seal_oldest(&self) -> Option<usize> {
        let disk = self.disk.as_ref().filter(|disk| !disk.disk.is_failing())?;
        let segment = {
            let writer = self.lock();
            let oldest = self.shelf.load().segments.first().cloned()?;
            (!writer.is_current(&oldest)).then_some(oldest)?
        };
        match self.seal(disk, &segment) {
            Ok(()) => Some(segment.bytes().len().max(1)),
            Err(error) => {
                self.note_failure(disk, &error);
                None
            }
        }
    }

    fn seal(&self, disk: &DiskRing, segment: &Arc<Segment>) -> io::Result<()> {
        let shelf = self.shelf.load_full();
        let first = segment.first_sequence();
        let Some(last) = segment.frames().last().map(|frame| frame.sequence) else {
            return self.replace(disk, segment, None, None);
        };
        // It continues the file before it, if that is small and undamaged.
        let continued = shelf.sealed.last().filter(|file| file.bytes < CONTINUED_BELOW_BYTES).and_then(|file| {
            let bytes = file.read().ok().filter(|bytes| bytes.len() as u64 == file.bytes)?;
            Header::decode(&bytes).is_ok().then_some((file, bytes))
        });
        let header = || disk.header(first, shelf.incarnation, 0).encode().to_vec();
        let (continued, begin) = continued.map_or_else(|| (None, header()), |(file, bytes)| (Some(file), bytes));
        let mut packer = Packer::new(begin)?;
        let newest = pack(&mut packer, disk.home.signal, segment)?.max(continued.map_or(i64::MIN, |file| file.newest));
        let bytes = packer.finish();
        let written = bytes.len() as u64;
        while !disk.allowance.take(written) {
            let writer = self.lock();
            let mut shelf = Shelf::clone(&self.shelf.load());
            if !self.retire_oldest(disk, &mut shelf, writer.current_segment().as_ref()) {
                return Err(no_room());
            }
        }
        let first = continued.map_or(first, |file| file.first);
        match disk.home.write_sealed(first, last, newest, &bytes) {
            Ok(file) => self.replace(disk, segment, continued, Some(file)),
            Err(error) => {
                disk.allowance.give_back(written);
                Err(error)
            }
        }
    }

    /// Puts a sealed file into the place of its segment, and of the file that it continues. If those have gone meanwhile, it
    /// goes too.
    fn replace(
        &self,
        disk: &DiskRing,
        segment: &Arc<Segment>,
        continued: Option<&SealedFile>,
        file: Option<SealedFile>,
    ) -> io::Result<()> {
        let writer = self.lock();
        let mut shelf = Shelf::clone(&self.shelf.load());
        let is_there = shelf.segments.first().is_some_and(|first| Arc::ptr_eq(first, segment))
            && continued.is_none_or(|continued| shelf.sealed.last() == Some(continued));
        if !is_there {
            drop(writer);
            if let Some(file) = &file {
                fs::remove_file(&file.path)?;
                disk.allowance.give_back(file.bytes);
            }
            return Ok(());
        }
        shelf.segments.remove(0);
        let mut sealed = shelf.sealed.to_vec();
        if continued.is_some() {
            sealed.pop();
        }
        sealed.extend(file);
        shelf.sealed = Arc::new(sealed);
        self.shelf.store(Arc::new(shelf));
        drop(writer);
        if let Some(continued) = continued {
            remove(disk, &continued.path, continued.bytes);
        }
        if let Some(file) = segment.file() {
            remove(disk, &file.path, file.bytes);
        }
        Ok(())
    }

    /// Retires what is over its age, or over bounds that were lowered.
    pub(crate) fn clean_up(&self, now: i64) {
        let oldest_wanted = now.saturating_sub(i64::try_from(self.bounds.age.as_nanos()).unwrap_or(i64::MAX));
        let mut writer = self.lock();
        let mut shelf = Shelf::clone(&self.shelf.load());
        let is_old = |segment: &Segment| segment.frames().last().is_some_and(|frame| frame.time < oldest_wanted);
        if let Some(disk) = &self.disk {
            let is_old = |file: &SealedFile| file.newest < oldest_wanted;
            let is_over = |shelf: &Shelf| disk.allowance.ring.is_exceeded() || shelf.sealed.first().is_some_and(is_old);
            // What others have too much of costs this ring one file at a time.
            let mut again = disk.allowance.is_exceeded();
            while (again || is_over(&shelf)) && self.retire_oldest(disk, &mut shelf, writer.current_segment().as_ref())
            {
                again = false;
            }
        }
        let is_empty = |shelf: &Shelf| shelf.sealed.iter().all(SealedFile::is_marker);
        while is_empty(&shelf) && shelf.segments.first().is_some_and(|oldest| is_old(oldest)) {
            let oldest = Arc::clone(&shelf.segments[0]);
            if writer.is_current(&oldest) {
                writer.current = None;
            }
            shelf.segments.remove(0);
            self.shelf.store(Arc::new(shelf.clone()));
            if let (Some(disk), Some(file)) = (&self.disk, oldest.file()) {
                remove(disk, &file.path, file.bytes);
            }
        }
        if let Some(disk) = &self.disk {
            self.mark_end(disk, &mut shelf, now);
        }
        self.shelf.store(Arc::new(shelf));
        drop(writer);
        if let Some(disk) = &self.disk
            && self.has_no_room.swap(false, Ordering::Relaxed)
        {
            self.return_to_disk();
            disk.errands.send(Errand::Seal(self.me.clone()));
        }
    }

    /// Keeps the place of a ring that has become empty, so that its sequence numbers go on after a restart.
    fn mark_end(&self, disk: &DiskRing, shelf: &mut Shelf, now: i64) {
        let next = self.next_sequence();
        if next == 1 || !shelf.segments.is_empty() || !shelf.sealed.is_empty() {
            return;
        }
        match disk.home.write_marker(&disk.header(next, shelf.incarnation, 0), now) {
            Ok(marker) => {
                disk.allowance.take_anyway(marker.bytes);
                shelf.sealed = Arc::new(vec![marker]);
            }
            // A restart then starts a new incarnation.
            Err(error) => self.note_failure(disk, &error),
        }
    }

    /// Lets the next record start a segment in a file, if the present one is in memory only.
    pub(crate) fn return_to_disk(&self) {
        let mut writer = self.lock();
        if self.disk.is_some() && writer.current_segment().is_some_and(|segment| segment.is_in_memory_only()) {
            writer.current = None;
        }
    }

    /// Waits until what is recorded so far is on the disk.
    pub(crate) fn sync(&self) {
        let next = self.next_sequence();
        if self.disk.is_none() || self.synced.swap(next, Ordering::Relaxed) == next {
            return;
        }
        for segment in &self.shelf().segments {
            // A disk that fails is noticed when the next file is made.
            let _ = segment.sync();
        }
    }

    /// Seals all up to the last segment that is in memory only.
    pub(crate) fn seal_what_is_in_memory(&self) {
        self.return_to_disk();
        while self.shelf().segments.iter().any(|segment| segment.is_in_memory_only()) && self.seal_oldest().is_some() {}
    }

    /// Removes the file that was made for the next segment.
    pub(crate) fn discard_spare(&self) {
        if let (Some(disk), Some(spare)) = (&self.disk, self.lock().spare.take()) {
            discard(disk, &spare);
        }
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

fn discard(disk: &DiskRing, file: &SegmentFile) {
    remove(disk, file.path(), (file.capacity() + HEADER_BYTES) as u64);
}

fn remove(disk: &DiskRing, path: &std::path::Path, bytes: u64) {
    // One that is gone already, or that cannot be removed, is looked for again at the next start.
    let _ = fs::remove_file(path);
    disk.allowance.give_back(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;

    fn bounds(records: usize, bytes: usize) -> Bounds {
        Bounds { records, bytes, disk_bytes: 0, age: Duration::MAX }
    }

    fn append(ring: &Ring, body: &[u8]) -> u64 {
        ring.append(FrameParts { sequence: 0, time: 7, kind: 1, flags: 0, context: b"ctx", body })
    }

    fn sequences(ring: &Ring) -> Vec<u64> {
        let oldest = ring.oldest_sequence();
        let segments = &ring.shelf().segments;
        let all = segments.iter().flat_map(|segment| segment.frames().map(|frame| frame.sequence).collect::<Vec<_>>());
        all.filter(|sequence| *sequence >= oldest).collect()
    }

    #[test]
    fn the_newest_records_are_kept_exactly_and_the_rest_is_evicted() {
        let ring = Ring::in_memory(bounds(100, usize::MAX));
        for _ in 0..5000 {
            append(&ring, &[9; 100]);
        }
        assert_eq!(sequences(&ring), (4901..=5000).collect::<Vec<_>>());
        assert_eq!(ring.oldest_sequence(), 4901);
        assert!(ring.shelf().segments.len() <= 2, "retired segments are let go");
    }

    #[test]
    fn what_a_reader_holds_is_not_overwritten() {
        let ring = Ring::in_memory(bounds(100, usize::MAX));
        append(&ring, b"held");
        let held = Arc::clone(&ring.shelf().segments[0]);
        for _ in 0..5000 {
            append(&ring, &[9; 100]);
        }
        let first = held.frames().next().expect("the record is still there");
        assert_eq!((first.sequence, first.body(held.bytes())), (1, &b"held"[..]));
    }

    #[test]
    fn the_memory_of_retired_segments_is_used_again() {
        let ring = Ring::in_memory(bounds(100, usize::MAX));
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..50_000 {
            append(&ring, &[9; 100]);
            places.insert(ring.shelf().segments[0].bytes().as_ptr() as usize);
        }
        assert!(places.len() <= 4, "{} places", places.len());
    }

    #[test]
    fn bytes_bound_the_ring_whatever_the_count() {
        let ring = Ring::in_memory(bounds(usize::MAX, 3 * SEGMENT_BYTES));
        for _ in 0..100 {
            append(&ring, &[1; 10_000]);
        }
        assert!(ring.bytes() <= 3 * SEGMENT_BYTES);
        let kept = sequences(&ring);
        assert_eq!(kept.last(), Some(&100));
        assert_eq!(kept.first(), Some(&ring.oldest_sequence()));
    }

    #[test]
    fn an_oversized_record_gets_a_segment_of_its_own() {
        let ring = Ring::in_memory(bounds(10, usize::MAX));
        append(&ring, b"small");
        append(&ring, &vec![5; 3 * SEGMENT_BYTES]);
        append(&ring, b"after");
        assert_eq!(sequences(&ring), [1, 2, 3]);
    }

    #[test]
    fn what_is_over_its_age_goes_with_its_segment() {
        let ring = Ring::in_memory(Bounds { age: Duration::from_nanos(10), ..bounds(100, usize::MAX) });
        append(&ring, b"at 7");
        ring.clean_up(17);
        assert_eq!(sequences(&ring), [1]);
        ring.clean_up(18);
        assert_eq!((sequences(&ring), ring.oldest_sequence()), (vec![], 2));
        assert_eq!(append(&ring, b"after"), 2);
        assert_eq!(sequences(&ring), [2]);
    }

    #[test]
    fn readers_see_whole_records_while_a_writer_appends() {
        let ring = Ring::in_memory(bounds(2_000, usize::MAX));
        let writing = {
            let ring = Arc::clone(&ring);
            std::thread::spawn(move || {
                for index in 0..50_000_u32 {
                    append(&ring, &index.to_le_bytes().repeat(8));
                }
            })
        };
        loop {
            let finished = writing.is_finished();
            let shelf = ring.shelf();
            let view = View::new(&shelf, 1, ring.next_sequence());
            for segment in &view.segments {
                for (expected, frame) in (segment.first_sequence()..).zip(segment.frames()) {
                    assert_eq!(frame.sequence, expected);
                    let body = frame.body(segment.bytes());
                    assert_eq!(body, (expected as u32 - 1).to_le_bytes().repeat(8));
                    assert_eq!(frame.context(segment.bytes()), b"ctx");
                }
            }
            if finished {
                break;
            }
        }
        writing.join().expect("the writer runs to its end");
    }
}
