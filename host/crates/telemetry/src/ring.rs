//! The records of one signal of one extension: a ring of segments, bounded in records and bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::segment::{FRAME_HEAD_BYTES, FrameParts, Segment, SegmentWriter};

/// Bytes of a segment: large enough that making one is rare, small enough that a thousand idle extensions cost little.
pub(crate) const SEGMENT_BYTES: usize = 64 * 1024;

/// What a ring may hold. The oldest records beyond either bound go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records that are kept.
    pub records: usize,
    /// Bytes of memory, in whole segments; at least one segment is kept.
    pub bytes: usize,
}

/// The records of one signal.
pub(crate) struct Ring {
    bounds: Bounds,
    /// Oldest first; replaced as a whole when a segment is added or retired, so that readers never lock.
    segments: ArcSwap<Vec<Arc<Segment>>>,
    next_sequence: AtomicU64,
    /// Taken by writers only: the guest's adapters and the extension's supervisor.
    writer: Mutex<Option<SegmentWriter>>,
}

impl Ring {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, segments: ArcSwap::default(), next_sequence: AtomicU64::new(1), writer: Mutex::new(None) }
    }

    /// Appends a record and returns its sequence number, which it has in place of the one in `parts`.
    #[inline]
    pub(crate) fn append(&self, mut parts: FrameParts<'_>) -> u64 {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        parts.sequence = self.next_sequence.load(Ordering::Relaxed);
        if !writer.as_mut().is_some_and(|writer| writer.append(parts)) {
            *writer = Some(self.start_segment(parts));
        }
        self.next_sequence.store(parts.sequence + 1, Ordering::Release);
        parts.sequence
    }

    /// Adds a segment that starts with this record, and retires those that the bounds no longer allow. The memory of a
    /// retired one is used again if no reader holds it: fresh memory costs a page fault every few records.
    #[cold]
    fn start_segment(&self, parts: FrameParts<'_>) -> SegmentWriter {
        let capacity = SEGMENT_BYTES.max(parts.len());
        let current = self.segments.load_full();
        let oldest_wanted = (parts.sequence + 1).saturating_sub(self.bounds.records as u64);
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
        let mut kept = current[retired..].to_vec();
        let reusable = current[..retired].iter().find(|segment| segment.capacity() == capacity).cloned();
        let reused = reusable.and_then(|segment| {
            self.segments.store(Arc::new(kept.clone()));
            drop(current);
            Segment::reuse(segment, parts.sequence)
        });
        let (segment, mut writer) = reused.unwrap_or_else(|| Segment::new(parts.sequence, capacity));
        let fitted = writer.append(parts);
        debug_assert!(fitted, "a segment is made large enough for its first record");
        kept.push(segment);
        self.segments.store(Arc::new(kept));
        writer
    }

    /// The segments, oldest first, as they are now.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.load_full()
    }

    /// The sequence number of the next record.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.load(Ordering::Acquire)
    }

    /// The sequence number of the oldest record that is kept; the next one's, if there is none.
    pub(crate) fn oldest_sequence(&self) -> u64 {
        let next = self.next_sequence();
        let by_count = next.saturating_sub(self.bounds.records as u64).max(1);
        self.segments.load().first().map_or(next, |segment| segment.first_sequence().max(by_count))
    }

    /// Bytes of memory that the ring holds.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.load().iter().map(|segment| segment.capacity()).sum()
    }
}

/// The longest context that a frame has room to give the length of.
pub(crate) const MAX_CONTEXT_BYTES: usize = u16::MAX as usize;
const _: () = assert!(SEGMENT_BYTES > 2 * FRAME_HEAD_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn append(ring: &Ring, body: &[u8]) -> u64 {
        ring.append(FrameParts { sequence: 0, time: 7, kind: 1, flags: 0, context: b"ctx", body })
    }

    fn sequences(ring: &Ring) -> Vec<u64> {
        let oldest = ring.oldest_sequence();
        ring.segments()
            .iter()
            .flat_map(|segment| segment.frames().map(|frame| frame.sequence).collect::<Vec<_>>())
            .filter(|sequence| *sequence >= oldest)
            .collect()
    }

    #[test]
    fn the_newest_records_are_kept_exactly_and_the_rest_is_evicted() {
        let ring = Ring::new(Bounds { records: 100, bytes: usize::MAX });
        for _ in 0..5000 {
            append(&ring, &[9; 100]);
        }
        assert_eq!(sequences(&ring), (4901..=5000).collect::<Vec<_>>());
        assert_eq!(ring.oldest_sequence(), 4901);
        assert!(ring.segments().len() <= 2, "retired segments are let go");
    }

    #[test]
    fn what_a_reader_holds_is_not_overwritten() {
        let ring = Ring::new(Bounds { records: 100, bytes: usize::MAX });
        append(&ring, b"held");
        let held = Arc::clone(&ring.segments()[0]);
        for _ in 0..5000 {
            append(&ring, &[9; 100]);
        }
        let first = held.frames().next().expect("the record is still there");
        assert_eq!((first.sequence, first.body(&held)), (1, &b"held"[..]));
    }

    #[test]
    fn the_memory_of_retired_segments_is_used_again() {
        let ring = Ring::new(Bounds { records: 100, bytes: usize::MAX });
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..50_000 {
            append(&ring, &[9; 100]);
            places.insert(
                ring.segments()[0].frames().next().map(|frame| frame.body(&ring.segments()[0]).as_ptr() as usize),
            );
        }
        assert!(places.len() <= 4, "{} places", places.len());
    }

    #[test]
    fn bytes_bound_the_ring_whatever_the_count() {
        let ring = Ring::new(Bounds { records: usize::MAX, bytes: 3 * SEGMENT_BYTES });
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
        let ring = Ring::new(Bounds { records: 10, bytes: usize::MAX });
        append(&ring, b"small");
        append(&ring, &vec![5; 3 * SEGMENT_BYTES]);
        append(&ring, b"after");
        assert_eq!(sequences(&ring), [1, 2, 3]);
    }

    #[test]
    fn readers_see_whole_records_while_a_writer_appends() {
        let ring = Arc::new(Ring::new(Bounds { records: 2_000, bytes: usize::MAX }));
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
            for segment in ring.segments().iter() {
                for (expected, frame) in (segment.first_sequence()..).zip(segment.frames()) {
                    assert_eq!(frame.sequence, expected);
                    let body = frame.body(segment);
                    assert_eq!(body, (expected as u32 - 1).to_le_bytes().repeat(8));
                    assert_eq!(frame.context(segment), b"ctx");
                }
            }
            if finished {
                break;
            }
        }
        writing.join().expect("the writer runs to its end");
    }

    proptest::proptest! {
        #[test]
        fn a_ring_behaves_as_a_plain_queue(lengths in proptest::collection::vec(0_usize..40_000, 1..60), records in 1_usize..30) {
            let ring = Ring::new(Bounds { records, bytes: usize::MAX });
            for length in &lengths {
                append(&ring, &vec![3; *length]);
            }
            let first = lengths.len().saturating_sub(records) as u64 + 1;
            proptest::prop_assert_eq!(sequences(&ring), (first..=lengths.len() as u64).collect::<Vec<_>>());
        }
    }
}
