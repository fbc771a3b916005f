//! A sealed segment's file: records that never change again, compressed in blocks that are read, skipped and damaged one by
//! one.
//!
//! ```text
//! file  = header block*                      header: see `header.rs`, with the magic number of a segment
//! block = head[64] filter packed             packed: one frame of zstd, of records as they lay in the segment
//! head  = magic[4] checksum:u32 raw_length:u32 packed_length:u32 filter_length:u32 records:u32 first:u64 last:u64
//!         oldest:i64 newest:i64 levels:u8 zeros[3] key:u32
//! ```
//!
//! `checksum` is the low half of XXH3-64 of the block after it. What is damaged is unpacked as far as that goes, and its records
//! are taken by their own checksums.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::frame::{Frame, Scan, frames, guess_key};
use crate::header::{HEADER_BYTES, Header};
use crate::segment::OnDisk;

const HEAD_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"GHbk";
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of records in a block: more make it smaller, fewer let more be skipped and less be lost.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// A block holds one record more than fits, at most.
const MAX_RAW_BYTES: usize = BLOCK_BYTES + (2 << 20);
/// Files of more bytes were not made by this program.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Level of compression: higher ones take several times as long for a tenth less.
const COMPRESSION_LEVEL: i32 = 3;

/// The ending of a sealed segment's file.
pub(crate) const SEALED: &str = "sealed";

/// A sealed segment's file on the disk. A ring may have thousands, and copies their list often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedFile {
    /// The ring's.
    pub(crate) folder: Arc<Path>,
    /// Sequence numbers of the first and the last record.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bytes: u64,
    /// The newest record's time, which the file has as its time of change.
    pub(crate) newest: i64,
}

/// What a block says of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) records: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
    /// The levels of its records, see `query::LevelSet`.
    pub(crate) levels: u8,
}

/// Writes blocks of records.
pub(crate) struct Packer {
    bytes: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
}

impl Packer {
    /// Starts with a file's header, or with all of an older file that is to be continued.
    pub(crate) fn new(begin: Vec<u8>) -> io::Result<Self> {
        Ok(Self { bytes: begin, compressor: zstd::bulk::Compressor::new(COMPRESSION_LEVEL)? })
    }

    /// Adds records, which lie in a row.
    pub(crate) fn add(&mut self, records: &[u8], key: u32, filter: &[u8], summary: &Summary) -> io::Result<()> {
        let packed = self.compressor.compress(records)?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&MAGIC);
        self.bytes.extend_from_slice(&[0; 4]);
        for number in [records.len() as u32, packed.len() as u32, filter.len() as u32, summary.records] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [summary.first, summary.last, summary.oldest as u64, summary.newest as u64] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.bytes.extend_from_slice(&[summary.levels, 0, 0, 0]);
        self.bytes.extend_from_slice(&key.to_le_bytes());
        debug_assert_eq!(self.bytes.len() - start, HEAD_BYTES);
        self.bytes.extend_from_slice(filter);
        self.bytes.extend_from_slice(&packed);
        let checksum = XxHash3_64::oneshot(&self.bytes[start + 8..]) as u32;
        self.bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
        Ok(())
    }

    /// The file's bytes.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A block as it lies in a file.
pub(crate) struct Block<'f> {
    /// What it says of its records; `None` if it is damaged, and so may hold any.
    pub(crate) summary: Option<Summary>,
    pub(crate) filter: &'f [u8],
    packed: &'f [u8],
    raw_bytes: usize,
    key: Option<u32>,
}

impl Block<'_> {
    /// Its records' bytes: all of them, or what can be saved.
    pub(crate) fn unpack(&self) -> Vec<u8> {
        if self.summary.is_some()
            && let Ok(raw) = zstd::bulk::decompress(self.packed, self.raw_bytes)
        {
            return raw;
        }
        let mut raw = Vec::new();
        if let Ok(decoder) = zstd::stream::read::Decoder::new(self.packed) {
            // What comes before the damage is kept, and what comes after it cannot be had.
            let _ = decoder.take(MAX_RAW_BYTES as u64).read_to_end(&mut raw);
        }
        raw
    }

    /// The records in its unpacked bytes.
    pub(crate) fn frames<'b>(&self, raw: &'b [u8]) -> Box<dyn Iterator<Item = Frame> + 'b> {
        if self.summary.is_some() {
            return Box::new(frames(raw));
        }
        let key = self.key.or_else(|| guess_key(raw)).unwrap_or_default();
        Box::new(Scan::new(raw, 0, 0, key))
    }
}

/// The blocks of a file, in order; those that are damaged, too.
pub(crate) fn blocks(file: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut at = HEADER_BYTES;
    let key = Header::decode(file).ok().map(|header| header.incarnation.key());
    std::iter::from_fn(move || {
        let rest = file.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some((block, length)) = whole_block(rest) {
            at += length;
            return Some(block);
        }
        let length = memchr::memmem::find_iter(&rest[1..], &MAGIC)
            .map(|found| found + 1)
            .find(|found| whole_block(&rest[*found..]).is_some())
            .unwrap_or(rest.len());
        at += length;
        let damaged = &rest[..length];
        let packed = memchr::memmem::find(damaged, &ZSTD_MAGIC).map_or(&[][..], |found| &damaged[found..]);
        Some(Block { summary: None, filter: &[], packed, raw_bytes: 0, key })
    })
}

/// The undamaged block that bytes start with, and its length.
fn whole_block(bytes: &[u8]) -> Option<(Block<'_>, usize)> {
    let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
    let short = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(short(at)) | u64::from(short(at + 4)) << 32;
    let (raw_bytes, packed, filter) = (short(8) as usize, short(12) as usize, short(16) as usize);
    let length = HEAD_BYTES.checked_add(filter)?.checked_add(packed)?;
    if head[..4] != MAGIC || raw_bytes > MAX_RAW_BYTES || length > bytes.len() {
        return None;
    }
    if XxHash3_64::oneshot(&bytes[8..length]) as u32 != short(4) {
        return None;
    }
    let summary = Summary {
        records: short(20),
        first: long(24),
        last: long(32),
        oldest: long(40) as i64,
        newest: long(48) as i64,
        levels: head[56],
    };
    let (filter, packed) = bytes[HEAD_BYTES..length].split_at(filter);
    Some((Block { summary: Some(summary), filter, packed, raw_bytes, key: Some(short(60)) }, length))
}

impl SealedFile {
    /// The name of a file that holds these records.
    pub(crate) fn name(first: u64, last: u64) -> String {
        format!("{first:020}-{last:020}.{SEALED}")
    }

    /// The sequence numbers in a name; `None` if it is none.
    pub(crate) fn parse(name: &str) -> Option<(u64, u64)> {
        let (first, last) = name.strip_suffix(SEALED)?.strip_suffix('.')?.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (Self::name(first, last) == name).then_some((first, last))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(Self::name(self.first, self.last))
    }

    /// What it takes on the disk.
    pub(crate) fn on_disk(&self) -> OnDisk {
        OnDisk { path: self.path(), bytes: self.bytes }
    }

    /// Whether it holds no records, but only says where sequence numbers go on.
    pub(crate) fn is_marker(&self) -> bool {
        self.last < self.first
    }

    /// Whether its header, or else any of its blocks, fits its name.
    pub(crate) fn holds_its_last(&self) -> bool {
        let mut header = [0; HEADER_BYTES];
        let read = File::open(self.path()).and_then(|file| file.read_exact_at(&mut header, 0));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Ok(()) if Header::decode(&header).is_ok_and(|header| header.first_sequence == self.first) => true,
            _ => self.read().is_ok_and(|bytes| {
                let mut summaries = blocks(&bytes).filter_map(|block| block.summary);
                summaries.any(|summary| summary.last == self.last)
            }),
        }
    }

    /// Reads all of it, however long it has become or is no more.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        read_whole(&File::open(self.path())?)
    }
}

/// Reads a file by its present length: one that shrinks meanwhile gives what is left.
pub(crate) fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(MAX_FILE_BYTES) as usize;
    let mut bytes = vec![0; length];
    let mut at = 0;
    while at < length {
        match file.read_at(&mut bytes[at..], at as u64) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}
