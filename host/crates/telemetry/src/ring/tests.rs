//! Rings in memory.

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
fn an_empty_ring_takes_no_memory() {
    let ring = Ring::in_memory(bounds(100, usize::MAX));
    assert_eq!((ring.bytes(), ring.oldest_sequence(), ring.next_sequence()), (0, 1, 1));
    append(&ring, b"first");
    assert_eq!(ring.bytes(), SEGMENT_BYTES);
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
