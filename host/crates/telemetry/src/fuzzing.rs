//! For the fuzz target: reads bytes as the files of a ring, without a disk.

use std::sync::LazyLock;

use glasshouse_model::Signal;

use crate::frame::{FrameParts, Scan, guess_key};
use crate::header::{HEADER_BYTES, Header, Incarnation};
use crate::pack::pack;
use crate::sealed::{Packer, blocks};
use crate::segment::Segment;

/// Bytes of the largest sample.
pub const SAMPLE_BYTES: usize = 64 * 1024;

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
pub fn sample_open() -> Vec<u8> {
    SAMPLES.0.clone()
}

/// The same records, sealed.
pub fn sample_sealed() -> Vec<u8> {
    SAMPLES.1.clone()
}

/// The sequence numbers of the records in a file that was mapped.
pub fn open_file(bytes: &[u8]) -> Vec<u64> {
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
pub fn sealed_file(bytes: &[u8]) -> Vec<u64> {
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
