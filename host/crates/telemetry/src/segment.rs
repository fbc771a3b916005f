//! A fixed-size run of records: one writer appends, any number of readers look at what it has committed.
#![expect(unsafe_code, reason = "the writer appends to bytes that readers share; see the safety argument of `Segment`")]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes before a record's context: length, sequence, time, kind, flags, length of the context.
pub(crate) const FRAME_HEAD_BYTES: usize = 4 + 8 + 8 + 1 + 1 + 2;

/// A fixed-size run of records.
///
/// Safety: the bytes below the committed length never change again, and readers look at nothing else. The bytes above
/// it belong to the one [`SegmentWriter`], which cannot be cloned and which publishes them by a release store of the
/// committed length.
pub(crate) struct Segment {
    first_sequence: u64,
    bytes: Box<[UnsafeCell<u8>]>,
    /// Committed bytes in the low half, committed records in the high half, so that both change at once.
    committed: AtomicU64,
}

// SAFETY: see the type: shared bytes are only read, unshared ones only written by the single writer.
unsafe impl Sync for Segment {}

/// The parts of a record that the segment lays out.
#[derive(Clone, Copy)]
pub(crate) struct FrameParts<'a> {
    pub(crate) sequence: u64,
    pub(crate) time: i64,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) context: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl FrameParts<'_> {
    pub(crate) fn len(&self) -> usize {
        FRAME_HEAD_BYTES + self.context.len() + self.body.len()
    }
}

/// A record as it lies in a segment.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    pub(crate) time: i64,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    context_at: u32,
    body_at: u32,
    end: u32,
}

impl Frame {
    pub(crate) fn context<'s>(&self, segment: &'s Segment) -> &'s [u8] {
        &segment.committed_bytes()[self.context_at as usize..self.body_at as usize]
    }

    pub(crate) fn body<'s>(&self, segment: &'s Segment) -> &'s [u8] {
        &segment.committed_bytes()[self.body_at as usize..self.end as usize]
    }
}

impl Segment {
    /// An empty segment and its only writer.
    pub(crate) fn new(first_sequence: u64, bytes: usize) -> (Arc<Self>, SegmentWriter) {
        let zeroed = vec![0_u8; bytes].into_boxed_slice();
        // SAFETY: `UnsafeCell<u8>` has the layout of `u8`, so the slices have the same layout too.
        let bytes = unsafe { Box::from_raw(Box::into_raw(zeroed) as *mut [UnsafeCell<u8>]) };
        Self::start(first_sequence, bytes)
    }

    /// The same, in the memory of a segment that nobody else holds any more; `None` if somebody does.
    pub(crate) fn reuse(retired: Arc<Self>, first_sequence: u64) -> Option<(Arc<Self>, SegmentWriter)> {
        let retired = Arc::into_inner(retired)?;
        Some(Self::start(first_sequence, retired.bytes))
    }

    fn start(first_sequence: u64, bytes: Box<[UnsafeCell<u8>]>) -> (Arc<Self>, SegmentWriter) {
        let segment = Arc::new(Self { first_sequence, bytes, committed: AtomicU64::new(0) });
        (Arc::clone(&segment), SegmentWriter { segment, end: 0, records: 0 })
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn records(&self) -> u64 {
        self.committed.load(Ordering::Acquire) >> 32
    }

    fn committed_bytes(&self) -> &[u8] {
        let end = (self.committed.load(Ordering::Acquire) & 0xffff_ffff) as usize;
        // SAFETY: bytes below the committed length are initialised and never change again; the acquire load above
        // pairs with the writer's release store.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), end) }
    }

    /// The committed records, oldest first.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> + '_ {
        let bytes = self.committed_bytes();
        let mut at = 0;
        std::iter::from_fn(move || {
            let head = bytes.get(at..at + FRAME_HEAD_BYTES)?;
            let length = u32::from_le_bytes(head[0..4].try_into().ok()?);
            let context_at = (at + FRAME_HEAD_BYTES) as u32;
            let frame = Frame {
                sequence: u64::from_le_bytes(head[4..12].try_into().ok()?),
                time: i64::from_le_bytes(head[12..20].try_into().ok()?),
                kind: head[20],
                flags: head[21],
                context_at,
                body_at: context_at + u32::from(u16::from_le_bytes([head[22], head[23]])),
                end: at as u32 + length,
            };
            at = frame.end as usize;
            Some(frame)
        })
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
    pub(crate) fn append(&mut self, parts: FrameParts<'_>) -> bool {
        let length = parts.len();
        if length > self.segment.bytes.len() - self.end {
            return false;
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        head[0..4].copy_from_slice(&(length as u32).to_le_bytes());
        head[4..12].copy_from_slice(&parts.sequence.to_le_bytes());
        head[12..20].copy_from_slice(&parts.time.to_le_bytes());
        head[20] = parts.kind;
        head[21] = parts.flags;
        head[22..24].copy_from_slice(&(parts.context.len() as u16).to_le_bytes());
        // SAFETY: the range is within the allocation (checked above) and above the committed length, so it is this
        // writer's alone until the release store below.
        let unshared = unsafe {
            std::slice::from_raw_parts_mut(self.segment.bytes.as_ptr().add(self.end).cast::<u8>().cast_mut(), length)
        };
        let (at_head, rest) = unshared.split_at_mut(FRAME_HEAD_BYTES);
        let (at_context, at_body) = rest.split_at_mut(parts.context.len());
        at_head.copy_from_slice(&head);
        at_context.copy_from_slice(parts.context);
        at_body.copy_from_slice(parts.body);
        self.end += length;
        self.records += 1;
        self.segment.committed.store(self.records << 32 | self.end as u64, Ordering::Release);
        true
    }
}
