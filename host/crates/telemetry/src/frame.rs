//! How a record lies in a segment: a head with its length and checksum, its context, its body. Bytes that may be damaged
//! are read by [`Scan`], which gives every record that is whole and in order, and nothing else.
//!
//! ```text
//! record = length:u32 checksum:u32 sequence:u64 time:i64 kind:u8 flags:u8 context_length:u16 context body padding
//! ```
//!
//! Integers are little-endian. `length` counts all but the padding to the next multiple of 8, and is written last, so that what is not
//! whole has the length 0; `sequence` is written first, so that what a killed host left unfinished is told from damage. `checksum` is the low half of a digest of the length and the bytes after
//! the checksum, combined by exclusive or with a random key that guests never see: else a record could carry others in its body, which would be found if it were damaged.
//!
//! The digest is made of those of the parts, so that a writer takes it of them where they come from: to read what was just written in other portions costs more than all of it. The body's is XXH3-64; so is
//! the context's, seeded with that, if there is a context; and the head is multiplied into it (`FrameParts::digest`). In format 1 the digest was XXH3-64 of the bytes after the checksum, and such
//! records are still read.

use std::sync::atomic::{Ordering, compiler_fence};

use twox_hash::XxHash3_64;

/// Bytes before a record's context.
pub(crate) const HEAD_BYTES: usize = 28;
/// Records start at multiples of so many bytes, so that their lengths are written at once.
pub(crate) const ALIGNMENT: usize = 8;
/// Where the part starts that a checksum of format 1 is of.
const CHECKED_AT: usize = 8;
/// The longest record that is read: more than the longest that is written, see `model::limits`.
const MAX_BYTES: usize = 1 << 20;
/// The longest context that a head has room to give the length of.
pub(crate) const MAX_CONTEXT_BYTES: usize = u16::MAX as usize;

/// The parts of a record that is to be written.
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
    /// Bytes of the record without its padding.
    pub(crate) fn len(&self) -> usize {
        HEAD_BYTES + self.context.len() + self.body.len()
    }

    /// Bytes that it takes in a segment.
    pub(crate) fn padded_len(&self) -> usize {
        self.len().next_multiple_of(ALIGNMENT)
    }

    /// Writes all but the length to the start of `place`, which has room for it. Without a key there is no checksum: where a
    /// record is never written to a file, nobody asks for it.
    #[inline]
    pub(crate) fn write_unpublished(&self, place: &mut [u8], key: Option<u32>) {
        let (head, rest) = place.split_at_mut(HEAD_BYTES);
        head[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        // The process may end between any two instructions, and what it has written by then stays.
        compiler_fence(Ordering::SeqCst);
        head[16..24].copy_from_slice(&self.time.to_le_bytes());
        let [low, high] = (self.context.len() as u16).to_le_bytes();
        head[24..28].copy_from_slice(&[self.kind, self.flags, low, high]);
        copy_short(&mut rest[..self.context.len()], self.context);
        rest[self.context.len()..][..self.body.len()].copy_from_slice(self.body);
        let checksum = key.map_or(0, |key| self.digest() ^ key);
        place[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// What the checksum is made of, but for the key.
    #[inline]
    fn digest(&self) -> u32 {
        let body = XxHash3_64::oneshot(self.body);
        let content = if self.context.is_empty() { body } else { XxHash3_64::oneshot_with_seed(body, self.context) };
        let sizes = u64::from(self.kind)
            | u64::from(self.flags) << 8
            | u64::from(self.context.len() as u16) << 16
            | (self.len() as u64) << 32;
        let head = fold(self.sequence ^ FACTORS[0], self.time as u64 ^ FACTORS[1]);
        fold(content ^ head, sizes ^ FACTORS[2]) as u32
    }
}

/// Numbers without a pattern, which make factors of what may be small or zero: the multipliers of SplitMix64.
const FACTORS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// A product's two halves, one over the other: each bit of it depends on all of both factors.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Copies between slices of the same length, without a call for nothing and for what most contexts have: two runs of 16
/// bytes, which may overlap.
#[inline]
fn copy_short(to: &mut [u8], from: &[u8]) {
    match (from.first_chunk::<16>(), from.last_chunk::<16>()) {
        (Some(first), Some(last)) if from.len() <= 32 => {
            let rest = from.len() - 16;
            to[..16].copy_from_slice(first);
            to[rest..].copy_from_slice(last);
        }
        _ if from.is_empty() => {}
        _ => to.copy_from_slice(from),
    }
}

/// A record as it lies in a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    pub(crate) time: i64,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) at: u32,
    body_at: u32,
    end: u32,
}

impl Frame {
    pub(crate) fn context<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.at as usize + HEAD_BYTES..self.body_at as usize]
    }

    pub(crate) fn body<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.body_at as usize..self.end as usize]
    }

    /// The whole record, as it was written.
    pub(crate) fn parts<'b>(&self, bytes: &'b [u8]) -> FrameParts<'b> {
        let (context, body) = (self.context(bytes), self.body(bytes));
        FrameParts { sequence: self.sequence, time: self.time, kind: self.kind, flags: self.flags, context, body }
    }

    /// Its bytes: head, context and body.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.at) as usize
    }

    /// Where the record after it starts.
    pub(crate) fn next_at(&self) -> usize {
        (self.end as usize).next_multiple_of(ALIGNMENT)
    }

    /// Reads the head of a record, and checks that its parts lie within the bytes and make sense; the content may still
    /// be damaged.
    #[inline]
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = bytes.get(at..)?.first_chunk()?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let context = usize::from(u16::from_le_bytes([head[26], head[27]]));
        if length < HEAD_BYTES + context || length > MAX_BYTES || length > bytes.len() - at {
            return None;
        }
        Some(Self {
            sequence: u64::from_le_bytes(*head[8..].first_chunk()?),
            time: i64::from_le_bytes(*head[16..].first_chunk()?),
            kind: head[24],
            flags: head[25],
            at: at as u32,
            body_at: (at + HEAD_BYTES + context) as u32,
            end: (at + length) as u32,
        })
    }

    /// Whether it is as it was written with a key.
    pub(crate) fn is_whole(&self, bytes: &[u8], key: u32) -> bool {
        self.key(bytes) == key
    }

    /// The key that its checksum was made with, if it is whole.
    fn key(&self, bytes: &[u8]) -> u32 {
        self.checksum(bytes) ^ self.parts(bytes).digest()
    }

    /// The same, if it is of format 1.
    fn key_in_format_1(&self, bytes: &[u8]) -> u32 {
        self.checksum(bytes) ^ XxHash3_64::oneshot(&bytes[self.at as usize + CHECKED_AT..self.end as usize]) as u32
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        u32::from_le_bytes(bytes[self.at as usize + 4..].first_chunk().copied().unwrap_or_default())
    }
}

/// The key of records whose header is lost: one that two in a row were made with. What a record carries in its body is not
/// looked at.
pub(crate) fn guess_key(bytes: &[u8]) -> Option<u32> {
    let guess = |key: fn(&Frame, &[u8]) -> u32| {
        let keys: Vec<_> = frames(bytes).map(|frame| key(&frame, bytes)).collect();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    };
    guess(Frame::key).or_else(|| guess(Frame::key_in_format_1))
}

/// The records of bytes that this process has written, or checked: oldest first.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = Frame::read(bytes, at)?;
        at = frame.next_at();
        Some(frame)
    })
}

/// Reads records from bytes that may hold anything. It gives those whose checksum fits and whose sequence numbers rise;
/// after damage it goes on at the next such record.
pub(crate) struct Scan<'b> {
    bytes: &'b [u8],
    at: usize,
    /// The sequence number that the next record has at least.
    next_sequence: u64,
    key: u32,
    /// Whether bytes were passed over that are no record and not empty.
    damaged: bool,
}

impl<'b> Scan<'b> {
    /// Starts at an offset that is a multiple of 8; records below `next_sequence` are passed over.
    pub(crate) fn new(bytes: &'b [u8], at: usize, next_sequence: u64, key: u32) -> Self {
        Self { bytes, at, next_sequence, key, damaged: false }
    }

    /// Where the next record would start.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether there were bytes, before the last record that was given or after it, that are no records.
    pub(crate) fn damaged(&self) -> bool {
        self.damaged
    }

    /// Whether the bytes after the last record are one that was being written when its host was killed. Nobody was told that
    /// it is stored, so that nothing is lost with it.
    pub(crate) fn ends_unfinished(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let sequence = self.next_sequence.to_le_bytes();
        self.next_sequence > 0 && rest.starts_with(&[0; 4]) && rest.get(8..16) == Some(&sequence[..])
    }

    fn whole_at(&self, at: usize) -> Option<Frame> {
        /// A hole of more records than fit into so many bytes is garbage that happens to look like a head.
        const MAX_HOLE: u64 = 1 << 32;
        let frame = Frame::read(self.bytes, at)?;
        let plausible = frame.sequence >= self.next_sequence
            && (self.next_sequence == 0 || frame.sequence - self.next_sequence < MAX_HOLE);
        let is_whole = || frame.key(self.bytes) == self.key || frame.key_in_format_1(self.bytes) == self.key;
        (plausible && is_whole()).then_some(frame)
    }
}

impl Iterator for Scan<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let mut at = self.at;
        let mut passed_over = false;
        while at + HEAD_BYTES <= self.bytes.len() {
            if let Some(frame) = self.whole_at(at) {
                self.damaged |= at > self.at;
                self.at = frame.next_at();
                self.next_sequence = frame.sequence + 1;
                return Some(frame);
            }
            passed_over |= self.bytes[at..at + ALIGNMENT] != [0; ALIGNMENT];
            at += ALIGNMENT;
        }
        passed_over |= self.bytes.get(at..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0));
        self.damaged |= passed_over && !self.ends_unfinished();
        None
    }
}

/// Makes records that they are as in format 1.
#[cfg(test)]
pub(crate) fn turn_into_format_1(bytes: &mut [u8], key: u32) {
    for frame in frames(bytes).collect::<Vec<_>>() {
        let (at, end) = (frame.at as usize, frame.end as usize);
        let checksum = XxHash3_64::oneshot(&bytes[at + CHECKED_AT..end]) as u32 ^ key;
        bytes[at + 4..at + CHECKED_AT].copy_from_slice(&checksum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: u32 = 0x1234_5678;

    fn segment(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            let parts = FrameParts { sequence: 10 + index as u64, time: 7, kind: 1, flags: 2, context: b"ctx", body };
            let at = bytes.len();
            bytes.resize(at + parts.padded_len(), 0);
            parts.write_unpublished(&mut bytes[at..], Some(KEY));
            bytes[at..at + 4].copy_from_slice(&(parts.len() as u32).to_le_bytes());
        }
        bytes.resize(bytes.len() + 256, 0);
        bytes
    }

    fn scanned(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        Scan::new(bytes, 0, 0, KEY).map(|frame| (frame.sequence, frame.body(bytes).to_vec())).collect()
    }

    fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..40)
    }

    #[test]
    fn a_scan_of_undamaged_bytes_gives_all_and_stops_at_the_end() {
        let bytes = segment(&[vec![1; 3], vec![], vec![2; 100]]);
        let mut scan = Scan::new(&bytes, 0, 0, KEY);
        assert_eq!(scan.by_ref().count(), 3);
        assert!(!scan.damaged());
        assert_eq!(scan.at(), bytes.len() - 256);
    }

    #[test]
    fn bytes_without_a_length_are_damage_and_hide_nothing_after_them() {
        let mut bytes = segment(&[vec![1; 30], vec![2; 30], vec![3; 30]]);
        bytes[64..68].fill(0);
        assert_eq!(scanned(&bytes).iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [10, 12]);
        let mut scan = Scan::new(&bytes, 0, 0, KEY);
        assert_eq!(scan.by_ref().count(), 2);
        assert!(scan.damaged());
    }

    #[test]
    fn a_record_that_was_being_written_is_no_damage() {
        let unfinished = |first: u64, bytes: &[u8]| {
            let mut scan = Scan::new(bytes, 0, first, KEY);
            let found = scan.by_ref().count();
            (found, scan.damaged(), scan.ends_unfinished())
        };
        let check = |bodies: usize| {
            let mut bytes = segment(&vec![vec![7; 30]; bodies]);
            let at = bytes.len() - 256;
            assert_eq!(unfinished(10, &bytes), (bodies, false, false));
            let next =
                FrameParts { sequence: 10 + bodies as u64, time: 7, kind: 1, flags: 2, context: b"", body: &[8; 99] };
            next.write_unpublished(&mut bytes[at..], Some(KEY));
            assert_eq!(unfinished(10, &bytes), (bodies, false, true));
            bytes[at + 40..].fill(0);
            assert_eq!(unfinished(10, &bytes), (bodies, false, true), "whatever of it there was");
            bytes[at + 8] += 1;
            assert_eq!(unfinished(10, &bytes), (bodies, true, false), "it is not the next one");
        };
        check(0);
        check(3);
    }

    #[test]
    fn a_record_inside_of_a_damaged_one_is_not_believed() {
        let found = |guessed_key: u32| {
            let forged = FrameParts { sequence: 11, time: 0, kind: 1, flags: 0, context: b"", body: b"forged" };
            let mut record = vec![0; forged.padded_len()];
            forged.write_unpublished(&mut record, Some(guessed_key));
            record[..4].copy_from_slice(&(forged.len() as u32).to_le_bytes());
            // Its own head and context end one byte before a multiple of 8.
            let mut bytes = segment(&[[vec![0], record].concat(), vec![]]);
            assert_eq!(guess_key(&bytes), Some(KEY));
            bytes[8] ^= 1;
            Scan::new(&bytes, 0, 0, KEY).map(|frame| frame.body(&bytes).to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(found(KEY), [b"forged".to_vec()], "the key is all that stands against it");
        assert_eq!(found(KEY ^ 1), [Vec::<u8>::new()]);
    }

    #[test]
    fn records_of_format_1_are_read_and_so_are_those_after_them() {
        let (old, new) = (vec![vec![1; 30], vec![2; 200]], vec![vec![1; 30], vec![2; 200], vec![3; 30]]);
        let mut bytes = segment(&new);
        let old_bytes = segment(&old).len() - 256;
        turn_into_format_1(&mut bytes[..old_bytes], KEY);
        assert_eq!(scanned(&bytes), [(10, new[0].clone()), (11, new[1].clone()), (12, new[2].clone())]);
        assert_eq!(guess_key(&bytes), Some(KEY));
        bytes[old_bytes - 8] ^= 1;
        assert_eq!(scanned(&bytes).len(), 2, "damage is found in them, too");
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_record_is_found() {
        for length in [0, 3, 20, 150, 300] {
            let mut bytes = vec![0; 512];
            let body = vec![9; length];
            let parts = FrameParts { sequence: 10, time: 7, kind: 1, flags: 2, context: b"a context", body: &body };
            parts.write_unpublished(&mut bytes, Some(KEY));
            bytes[..4].copy_from_slice(&(parts.len() as u32).to_le_bytes());
            assert_eq!(Scan::new(&bytes, 0, 10, KEY).count(), 1);
            for bit in 0..parts.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Scan::new(&bytes, 0, 10, KEY).count(), 0, "bit {bit} of {length} bytes");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    proptest! {
        #[test]
        fn damage_loses_only_what_it_touches(
            bodies in bodies(), at in any::<prop::sample::Index>(), garbage in prop::collection::vec(any::<u8>(), 1..60),
        ) {
            let whole = segment(&bodies);
            let mut bytes = whole.clone();
            let from = at.index(bytes.len());
            let to = (from + garbage.len()).min(bytes.len());
            bytes[from..to].copy_from_slice(&garbage[..to - from]);
            let untouched: Vec<_> = frames(&whole)
                .filter(|frame| {
                    let range = frame.at as usize..frame.end as usize;
                    bytes[range.clone()] == whole[range]
                })
                .map(|frame| (frame.sequence, frame.body(&whole).to_vec()))
                .collect();
            prop_assert_eq!(scanned(&bytes), untouched);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            scanned(&bytes);
        }
    }
}
