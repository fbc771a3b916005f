//! The words of a sealed segment in a few bytes, so that a search can pass by segments that cannot hold a match.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): a hash picks
//! a block of 512 bits by its high half, and seven bits in it by nine bits each of the hash times an odd constant.
//!
//! # Format, version 1
//!
//! ```text
//! filter = version:u8(=1) words:u8 unicode:u8[3] block*     (block = 64 bytes; at least one)
//! ```
//!
//! `words` is the version of what a word is, and `unicode` that of the tables that tell what is in lower case.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use glasshouse_model::{Envelope, Signal, TraceId};

use super::needs::Needs;
use super::record::{Hex, View};
use super::tokens;
use crate::Body;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;
const BLOCK_BYTES: usize = 64;
/// Bits of a block that a word sets.
const PROBES: u32 = 7;
/// Bits of a filter for each distinct word: with blocks of 512 bits and seven probes about 0.6 % of other words seem
/// to be there.
const BITS_PER_TOKEN: usize = 12;
/// Blocks of the largest filter (1 MiB, for 700 000 distinct words); with more words, more of the others seem to be there.
const MAX_BLOCKS: usize = 1024 * 1024 / BLOCK_BYTES;
const MAX_TOKENS: usize = MAX_BLOCKS * BLOCK_BYTES * 8 / BITS_PER_TOKEN;

type Block = [u64; 8];

/// The words of a run of records, with a few that are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFilter {
    blocks: Vec<Block>,
}

/// Why bytes are no filter that can be used. The records can be searched without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It was made by another version of this program; it can be made anew from the records.
    #[error("the token filter was made by a version with other words; make it anew from the records")]
    OtherVersion,
    /// The bytes are damaged.
    #[error("the token filter is damaged: {0} bytes are not a whole number of blocks; make it anew from the records")]
    Damaged(usize),
}

/// Collects the words of records for a [`TokenFilter`]. Takes up to 16 MiB while it does.
#[derive(Clone, Debug, Default)]
pub struct TokenFilterBuilder {
    tokens: HashSet<u64, BuildHasherDefault<Hashed>>,
    /// In place of `tokens` once there are too many of them.
    full: Option<TokenFilter>,
    last_trace: Option<TraceId>,
}

/// Takes a hash as it is.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl TokenFilterBuilder {
    /// Starts with no words.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all words of a record that a query can look for.
    pub fn add_record(&mut self, signal: Signal, body: &Body<'_>, envelope: &Envelope) {
        if let Some(context) = &envelope.context
            && self.last_trace != Some(context.trace_id)
        {
            self.last_trace = Some(context.trace_id);
            self.add_text(Hex::new(&context.trace_id.0).as_str());
        }
        let view = View { signal, extension: "", envelope, body };
        view.for_each_text(|text| self.add_text(text));
        view.links().for_each(|link| self.add_text(link.as_str()));
    }

    fn add_text(&mut self, text: &str) {
        for hash in tokens::of(text) {
            self.add(hash);
        }
    }

    fn add(&mut self, hash: u64) {
        if let Some(full) = &mut self.full {
            full.add(hash);
        } else if self.tokens.insert(hash) && self.tokens.len() > MAX_TOKENS {
            self.full = Some(TokenFilter::of(std::mem::take(&mut self.tokens).into_iter(), MAX_TOKENS));
        }
    }

    /// The filter of all words that were added.
    pub fn finish(self) -> TokenFilter {
        let count = self.tokens.len();
        self.full.unwrap_or_else(|| TokenFilter::of(self.tokens.into_iter(), count))
    }
}

impl TokenFilter {
    fn of(hashes: impl Iterator<Item = u64>, count: usize) -> Self {
        let blocks = (count * BITS_PER_TOKEN).div_ceil(BLOCK_BYTES * 8).clamp(1, MAX_BLOCKS);
        let mut filter = Self { blocks: vec![[0; 8]; blocks] };
        hashes.for_each(|hash| filter.add(hash));
        filter
    }

    fn block(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }

    fn add(&mut self, hash: u64) {
        let block = self.block(hash);
        for bit in probes(hash) {
            self.blocks[block][bit / 64] |= 1 << (bit % 64);
        }
    }

    fn contains(&self, hash: u64) -> bool {
        let block = &self.blocks[self.block(hash)];
        probes(hash).all(|bit| block[bit / 64] & (1 << (bit % 64)) != 0)
    }

    /// Whether the records can hold the words that a query needs. Never false if one of them matches the query.
    pub fn might_match(&self, needs: &Needs) -> bool {
        needs.tokens.iter().all(|clause| clause.iter().any(|hash| self.contains(*hash)))
    }

    /// Appends the filter as it is stored.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&head());
        buffer.extend(self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()));
    }

    /// Reads what [`TokenFilter::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, FilterError> {
        let Some((found, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(FilterError::Damaged(bytes.len()));
        };
        if *found != head() {
            return Err(FilterError::OtherVersion);
        }
        let count = rest.len() / BLOCK_BYTES;
        if !rest.len().is_multiple_of(BLOCK_BYTES) || !(1..=MAX_BLOCKS).contains(&count) {
            return Err(FilterError::Damaged(bytes.len()));
        }
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let block = |bytes: &[u8]| std::array::from_fn(|index| word(&bytes[8 * index..8 * index + 8]));
        Ok(Self { blocks: rest.chunks_exact(BLOCK_BYTES).map(block).collect() })
    }

    /// Bytes that it takes in memory and, within a few, when stored.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }
}

fn head() -> [u8; HEAD_BYTES] {
    let (major, minor, update) = char::UNICODE_VERSION;
    [VERSION, tokens::VERSION, major, minor, update]
}

fn probes(hash: u64) -> impl Iterator<Item = usize> {
    let bits = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| (bits >> (1 + 9 * probe)) as usize & 511)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(count: usize) -> TokenFilter {
        let mut builder = TokenFilterBuilder::new();
        (0..count).for_each(|number| builder.add_text(&format!("word{number}")));
        builder.finish()
    }

    #[test]
    fn all_words_are_found_and_few_others_seem_to_be() {
        for count in [1, 100, 20_000] {
            let filter = filter(count);
            assert!((0..count).all(|number| filter.contains(tokens::hash(&format!("word{number}")))));
            let others = 100_000;
            let wrong = (0..others).filter(|number| filter.contains(tokens::hash(&format!("other{number}")))).count();
            assert!(wrong < others / 100, "{wrong} of {others} with {count} words");
        }
    }

    #[test]
    fn a_filter_is_bounded_and_past_its_bound_still_holds_all_words() {
        let count = MAX_TOKENS + 50_000;
        let filter = filter(count);
        assert_eq!(filter.bytes(), MAX_BLOCKS * BLOCK_BYTES);
        assert!((0..count).step_by(97).all(|number| filter.contains(tokens::hash(&format!("word{number}")))));
    }

    #[test]
    fn filters_are_stored_and_damaged_or_foreign_ones_refused() {
        let filter = filter(1000);
        let mut bytes = Vec::new();
        filter.encode(&mut bytes);
        assert_eq!(TokenFilter::decode(&bytes), Ok(filter));
        assert_eq!(TokenFilter::decode(&bytes[..bytes.len() - 1]), Err(FilterError::Damaged(bytes.len() - 1)));
        assert_eq!(TokenFilter::decode(&bytes[..HEAD_BYTES]), Err(FilterError::Damaged(HEAD_BYTES)));
        assert_eq!(TokenFilter::decode(&[]), Err(FilterError::Damaged(0)));
        bytes[1] += 1;
        assert_eq!(TokenFilter::decode(&bytes), Err(FilterError::OtherVersion));
    }
}
