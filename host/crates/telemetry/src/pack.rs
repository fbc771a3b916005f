//! From a segment's records to the bytes of a sealed file.

use std::io;

use glasshouse_model::wire;

use crate::frame::Frame;
use crate::sealed::{BLOCK_BYTES, Packer, Summary};
use crate::segment::Segment;

/// Adds a segment's records to a sealed file, in blocks; returns the newest record's time.
pub(crate) fn pack(packer: &mut Packer, segment: &Segment) -> io::Result<i64> {
    let bytes = segment.bytes();
    let mut newest = i64::MIN;
    let mut block = Vec::new();
    for frame in segment.frames() {
        block.push(frame);
        if frame.next_at() - block[0].at as usize >= BLOCK_BYTES {
            newest = newest.max(add_block(packer, segment.key(), bytes, &block)?);
            block.clear();
        }
    }
    if !block.is_empty() {
        newest = newest.max(add_block(packer, segment.key(), bytes, &block)?);
    }
    Ok(newest)
}

fn add_block(packer: &mut Packer, key: u32, bytes: &[u8], frames: &[Frame]) -> io::Result<i64> {
    let (first, last) = (&frames[0], &frames[frames.len() - 1]);
    let summary = Summary {
        records: frames.len() as u32,
        first: first.sequence,
        last: last.sequence,
        oldest: frames.iter().map(|frame| frame.time).min().unwrap_or_default(),
        newest: frames.iter().map(|frame| frame.time).max().unwrap_or_default(),
        levels: frames.iter().fold(0, |levels, frame| levels | levels_of(frame, bytes)),
    };
    let records = &bytes[first.at as usize..last.next_at()];
    packer.add(records, key, &[], &summary)?;
    Ok(summary.newest)
}

/// The bit of a log's level; all bits for what is no log.
pub(crate) fn levels_of(frame: &Frame, bytes: &[u8]) -> u8 {
    match frame.body(bytes).first() {
        Some(level @ 0..8) if frame.kind == wire::KIND_LOG => 1 << level,
        _ => u8::MAX,
    }
}
