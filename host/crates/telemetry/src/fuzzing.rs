//! For the fuzz target, and for a test that stands in for it where nobody fuzzes: reads bytes as the files of a ring, without a disk.

use std::sync::LazyLock;

use glasshouse_model::Signal;

use crate::frame::{FrameParts, Scan, guess_key};
use crate::header::{HEADER_BYTES, Header, Incarnation};
use crate::pack::pack;
use crate::sealed::{Packer, blocks};
use crate::segment::Segment;

/// Bytes of the largest sample.
const SAMPLE_BYTES: usize = 64 * 1024;

static SAMPLES: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let header = Header {
        signal: Signal::Log,
        flags: 0,
        first_sequence: 1,
        incarnation: Incarnation { id: 0x1234_5678_9abc_def0, start: 1 },
        made: 0,
        bytes: 0,
        extension: "sample".into(),
        boot: 0,
    };
    let Ok((segment, mut writer)) = Segment::anonymous(1, SAMPLE_BYTES, Some(header.incarnation.key())) else {
        unreachable!("there is memory for a sample")
    };
    for sequence in 1..=100 {
        let body = vec![sequence as u8; sequence as usize * 3];
        writer.append(&FrameParts { sequence, time: 5, kind: 65, flags: 2, context: b"context", body: &body });
    }
    let open = [&header.encode(), segment.bytes()].concat();
    let sealed = Packer::new(header.encode().to_vec()).and_then(|mut packer| {
        pack(&mut packer, Signal::Invocation, &segment)?;
        Ok(packer.finish())
    });
    (open, sealed.unwrap_or_default())
});

/// A file of a hundred records that was mapped.
fn sample_open() -> Vec<u8> {
    SAMPLES.0.clone()
}

/// The same records, sealed.
fn sample_sealed() -> Vec<u8> {
    SAMPLES.1.clone()
}

/// The sequence numbers of the records in a file that was mapped.
fn open_file(bytes: &[u8]) -> Vec<u64> {
    let at = HEADER_BYTES.min(bytes.len());
    let header = Header::decode(bytes).ok().map(|header| header.incarnation.key());
    let key = header.or_else(|| guess_key(&bytes[at..])).unwrap_or_default();
    let scan = Scan::new(bytes, at, 0, key);
    scan.map(|frame| {
        assert!(frame.body(bytes).len() + frame.context(bytes).len() <= bytes.len());
        frame.sequence
    })
    .collect()
}

/// The sequence numbers of the records in a sealed file, as a reader gives them.
fn sealed_file(bytes: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    for block in blocks(bytes) {
        let raw = block.unpack();
        for frame in block.frames(&raw) {
            assert!(frame.body(&raw).len() + frame.context(&raw).len() <= raw.len());
            if found.last().is_none_or(|last| *last < frame.sequence) {
                found.push(frame.sequence);
            }
        }
    }
    found
}

/// Reads arbitrary bytes, of which the first says what the rest is: a whole file, or damage to an undamaged one at an offset.
///
/// # Panics
///
/// If what is found is not in order, is not found again, or was never written.
pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let damaged = |mut file: Vec<u8>| {
        let (at, damage) = rest.split_at(rest.len().min(3));
        let at = at.iter().fold(0, |at, byte| at << 8 | usize::from(*byte)) % file.len();
        for (place, byte) in file[at..].iter_mut().zip(damage) {
            *place ^= byte;
        }
        file
    };
    let read: fn(&[u8]) -> Vec<u64> = if kind & 1 == 0 { open_file } else { sealed_file };
    let file = match kind & 3 {
        0 | 1 => rest.to_vec(),
        2 => damaged(sample_open()),
        _ => damaged(sample_sealed()),
    };
    let found = read(&file);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "in order, and once");
    assert_eq!(read(&file), found);
    if kind & 2 != 0 {
        assert!(found.iter().all(|sequence| (1..=100).contains(sequence)), "nothing is found that was not written");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_read_whole() {
        assert_eq!(open_file(&sample_open()), (1..=100).collect::<Vec<_>>());
        assert_eq!(sealed_file(&sample_sealed()), (1..=100).collect::<Vec<_>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_bytes_are_what_is_found_is_in_order_and_was_written(
            kind in 0_u8..4,
            rest in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            check(&[&[kind][..], &rest].concat());
        }
    }
}
