//! From a segment's records to the bytes of a sealed file.

use std::io;

use glasshouse_model::{Level, Signal, wire};

use crate::frame::Frame;
use crate::query::{LevelSet, TokenFilterBuilder};
use crate::reader::{body, envelope};
use crate::sealed::{BLOCK_BYTES, Packer, Summary};
use crate::segment::Segment;

/// Adds a segment's records to a sealed file, in blocks; returns the newest record's time.
pub(crate) fn pack(packer: &mut Packer, signal: Signal, segment: &Segment) -> io::Result<i64> {
    let bytes = segment.bytes();
    let mut newest = i64::MIN;
    let mut block = Vec::new();
    for frame in segment.frames() {
        block.push(frame);
        if frame.next_at() - block[0].at as usize >= BLOCK_BYTES {
            newest = newest.max(add_block(packer, signal, segment.key(), bytes, &block)?);
            block.clear();
        }
    }
    if !block.is_empty() {
        newest = newest.max(add_block(packer, signal, segment.key(), bytes, &block)?);
    }
    Ok(newest)
}

fn add_block(packer: &mut Packer, signal: Signal, key: u32, bytes: &[u8], frames: &[Frame]) -> io::Result<i64> {
    let (first, last) = (&frames[0], &frames[frames.len() - 1]);
    let mut summary = Summary {
        records: frames.len() as u32,
        first: first.sequence,
        last: last.sequence,
        oldest: i64::MAX,
        newest: i64::MIN,
        levels: 0,
    };
    let mut levels = LevelSet::NONE;
    let mut words = TokenFilterBuilder::new();
    for frame in frames {
        summary.oldest = summary.oldest.min(frame.time);
        summary.newest = summary.newest.max(frame.time);
        levels = levels.union(levels_of(frame, bytes));
        // What does not decode matches no query, whatever its words.
        if let Ok(body) = body(frame, bytes) {
            words.add_record(signal, &body, &envelope(frame, bytes));
        }
    }
    summary.levels = levels.to_byte();
    let mut filter = Vec::new();
    words.finish().encode(&mut filter);
    packer.add(&bytes[first.at as usize..last.next_at()], key, &filter, &summary)?;
    Ok(summary.newest)
}

/// The set that a record's level is in, without decoding it.
pub(crate) fn levels_of(frame: &Frame, bytes: &[u8]) -> LevelSet {
    let level = frame.body(bytes).first().filter(|_| frame.kind == wire::KIND_LOG);
    level.and_then(|byte| Level::from_byte(*byte)).map_or(LevelSet::WITHOUT, LevelSet::of)
}
