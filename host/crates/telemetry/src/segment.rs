//! A fixed-size run of records in memory that a file may stand behind: one writer appends, any number of readers look at
//! what it has committed.
#![expect(unsafe_code, reason = "the writer appends to bytes that readers share; see the safety argument of `Segment`")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};

use crate::frame::{Frame, FrameParts, frames};
use crate::header::{FLAG_CONTINUED_IN_MEMORY, HEADER_BYTES, Header};

/// A fixed-size run of records.
///
/// Safety: the bytes below the committed length never change again, and readers look at nothing else. The bytes above
/// it belong to the one [`SegmentWriter`], which cannot be cloned and which publishes them by a release store of the
/// committed length. Memory that a file stands behind is shared with other processes only if they belong to the same user,
/// who is trusted not to write to a running host's files; they read by system calls.
pub(crate) struct Segment {
    memory: MmapRaw,
    /// Where the records start: after the file's header, or at 0.
    start: usize,
    first_sequence: u64,
    /// The key of its records' checksums; `None` if they have none, since they stay in memory.
    key: Option<u32>,
    /// Committed bytes of records in the low half, their number in the high half, so that both change at once.
    committed: AtomicU64,
    file: Option<OnDisk>,
}

/// The file that a segment's records are in.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk {
    pub(crate) path: PathBuf,
    /// Bytes that it takes.
    pub(crate) bytes: u64,
}

impl Segment {
    /// An empty segment in anonymous memory, and its only writer. Its pages are taken as they are written.
    pub(crate) fn anonymous(
        first_sequence: u64,
        capacity: usize,
        key: Option<u32>,
    ) -> io::Result<(Arc<Self>, SegmentWriter)> {
        let memory = MmapMut::map_anon(capacity)?;
        Ok(Self::begin(MmapRaw::from(memory), 0, first_sequence, key, None))
    }

    /// Takes all of its pages now: for one that will be filled soon, that costs a fraction of taking them one by one.
    pub(crate) fn populate(&self) {
        // An older kernel does not know how to.
        let _ = self.memory.advise(Advice::PopulateWrite);
    }

    /// The same, in the memory of a segment that nobody else holds any more; `None` if somebody does.
    pub(crate) fn reuse(
        retired: Arc<Self>,
        first_sequence: u64,
        key: Option<u32>,
    ) -> Option<(Arc<Self>, SegmentWriter)> {
        let retired = Arc::into_inner(retired)?;
        Some(Self::begin(retired.memory, 0, first_sequence, key, None))
    }

    /// An empty segment in a file that was made for it.
    pub(crate) fn in_file(file: SegmentFile, header: &Header) -> (Arc<Self>, SegmentWriter) {
        let SegmentFile { memory, path } = file;
        let size = memory.len() as u64;
        let encoded = header.encode();
        // SAFETY: the mapping is larger than a header (see `SegmentFile::new`), and nobody else knows of it yet.
        unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr(), HEADER_BYTES) }.copy_from_slice(&encoded);
        Self::begin(
            memory,
            HEADER_BYTES,
            header.first_sequence,
            Some(header.incarnation.key()),
            Some(OnDisk { bytes: size, path }),
        )
    }

    fn begin(
        memory: MmapRaw,
        start: usize,
        first_sequence: u64,
        key: Option<u32>,
        file: Option<OnDisk>,
    ) -> (Arc<Self>, SegmentWriter) {
        let segment = Arc::new(Self { memory, start, first_sequence, key, committed: AtomicU64::new(0), file });
        (Arc::clone(&segment), SegmentWriter { segment, end: 0, records: 0 })
    }

    /// A copy in anonymous memory of records that were found whole in the file of that name.
    pub(crate) fn recovered<'b>(
        file: OnDisk,
        key: u32,
        records: impl Iterator<Item = FrameParts<'b>> + Clone,
    ) -> io::Result<Option<Arc<Self>>> {
        let bytes: usize = records.clone().map(|parts| parts.padded_len()).sum();
        let Some(first) = records.clone().next() else { return Ok(None) };
        let memory = MmapRaw::from(MmapMut::map_anon(bytes)?);
        let (segment, mut writer) = Self::begin(memory, 0, first.sequence, Some(key), Some(file));
        for parts in records {
            writer.append(&parts);
        }
        Ok(Some(segment))
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Bytes of records that it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len() - self.start
    }

    /// The key of its records' checksums, which what is or may become a file has.
    pub(crate) fn key(&self) -> u32 {
        self.key.unwrap_or_default()
    }

    /// The file that its records are in, too.
    pub(crate) fn file(&self) -> Option<&OnDisk> {
        self.file.as_ref()
    }

    /// Whether its records are in memory only.
    pub(crate) fn is_in_memory_only(&self) -> bool {
        self.file.is_none()
    }

    /// The committed records' bytes; they never change again.
    pub(crate) fn bytes(&self) -> &[u8] {
        let end = (self.committed.load(Ordering::Acquire) & 0xffff_ffff) as usize;
        // SAFETY: bytes below the committed length are initialised and never change again; the acquire load above
        // pairs with the writer's release store.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.start), end) }
    }

    /// The committed records, oldest first.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> + '_ {
        frames(self.bytes())
    }

    /// Notes in its file that what came after it went to memory only.
    pub(crate) fn mark_continued_in_memory(&self) {
        if self.start == HEADER_BYTES {
            // SAFETY: the byte lies in the mapped header, which only the ring's writer changes, under its lock; nobody
            // in this process reads it.
            unsafe { self.memory.as_mut_ptr().add(Header::FLAGS_AT).write_volatile(FLAG_CONTINUED_IN_MEMORY) };
        }
    }

    /// Waits until its file's bytes are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // What is not written yet need not be, and the writer would take a page fault for each page of it anew.
        if self.start == HEADER_BYTES { self.memory.flush_range(0, HEADER_BYTES + self.bytes().len()) } else { Ok(()) }
    }
}

/// A file that was made for a segment: allocated on the disk, and mapped.
pub(crate) struct SegmentFile {
    memory: MmapRaw,
    path: PathBuf,
}

impl SegmentFile {
    /// Maps a file of so many bytes, all of them allocated, for records and a header.
    pub(crate) fn new(file: &std::fs::File, path: PathBuf, bytes: usize) -> io::Result<Self> {
        let memory = MmapOptions::new().len(bytes.max(2 * HEADER_BYTES)).map_raw(file)?;
        Ok(Self { memory, path })
    }

    /// Takes all of its pages now, so that the writer need not.
    pub(crate) fn populate(&self) {
        // An older kernel does not know how to; the pages are then taken one by one.
        let _ = self.memory.advise(Advice::PopulateWrite);
    }

    /// Bytes of records that it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len() - HEADER_BYTES
    }

    /// All of its bytes, for who makes no segment of it.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is as long as it says, and lives as long as this; all references into it are made of this one, and what other
        // processes do to it is as `Segment` has it.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.memory.len()) }
    }

    /// The same, to be written to.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; there is no other reference while this one is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr(), self.memory.len()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }
}

/// The one writer of a segment.
pub(crate) struct SegmentWriter {
    segment: Arc<Segment>,
    end: usize,
    records: u64,
}

impl SegmentWriter {
    /// Appends a record, if it still fits.
    #[inline]
    pub(crate) fn append(&mut self, parts: &FrameParts<'_>) -> bool {
        let length = parts.padded_len();
        if length > self.segment.capacity() - self.end {
            return false;
        }
        // SAFETY: the range is within the mapping (checked above) and above the committed length, so it is this
        // writer's alone until the release store below.
        let place = unsafe { self.segment.memory.as_mut_ptr().add(self.segment.start + self.end) };
        // SAFETY: as above.
        let unshared = unsafe { std::slice::from_raw_parts_mut(place, length) };
        parts.write_unpublished(unshared, self.segment.key);
        // SAFETY: records start at multiples of 8 from the start of a page, so the length is aligned; another process
        // that reads the file takes a record only if its length is there.
        let published = unsafe { AtomicU32::from_ptr(place.cast()) };
        published.store((parts.len() as u32).to_le(), Ordering::Release);
        self.end += length;
        self.records += 1;
        self.segment.committed.store(self.records << 32 | self.end as u64, Ordering::Release);
        true
    }

    /// Whether it is time to ask for the file after this one: making and populating it takes milliseconds, in which a busy
    /// guest fills half a megabyte.
    #[inline]
    pub(crate) fn is_well_begun(&self) -> bool {
        const BYTES: usize = 64 * 1024;
        self.end > BYTES.min(self.segment.capacity() / 2)
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}
