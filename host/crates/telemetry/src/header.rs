//! The first bytes of a segment's file: what it is, whose it is, and where its sequence numbers start.

use glasshouse_model::Signal;
use twox_hash::XxHash3_64;

/// Bytes of a header; records come after it.
pub(crate) const HEADER_BYTES: usize = 128;
/// The version of the store's format: of headers, records and sealed blocks.
pub(crate) const FORMAT_VERSION: u16 = 2;
/// The oldest version that is read. In it, records had other checksums, see `frame`.
pub(crate) const OLDEST_FORMAT_VERSION: u16 = 1;
/// What came after the segment was kept in memory only.
pub(crate) const FLAG_CONTINUED_IN_MEMORY: u8 = 1;

const MAGIC: [u8; 8] = *b"glasshse";
const ID_AT: usize = 57;
const ID_BYTES: usize = 64;
const BOOT_AT: usize = 124;

/// What a header says.
///
/// ```text
/// header = magic[8] version:u16 signal:u8 flags:u8 checksum:u32 first_sequence:u64 incarnation:u64
///          incarnation_start:u64 made:i64 bytes:u64 id_length:u8 id[64] zeros[3] boot:u32
/// ```
///
/// The checksum is the low half of XXH3-64 of the whole header with flags and checksum as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) signal: Signal,
    /// See [`FLAG_CONTINUED_IN_MEMORY`].
    pub(crate) flags: u8,
    pub(crate) first_sequence: u64,
    pub(crate) incarnation: Incarnation,
    /// Unix nanoseconds.
    pub(crate) made: i64,
    /// Bytes that the file was made with; 0 if it is sealed.
    pub(crate) bytes: u64,
    pub(crate) extension: String,
    /// Under which boot of the system it was written, see [`boot`](crate::boot).
    pub(crate) boot: u32,
}

/// A span of sequence numbers without repetition: a new one starts when records may have been lost with the host's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    /// Random: one half is its name, the other its key.
    pub(crate) id: u64,
    /// Its first sequence number.
    pub(crate) start: u64,
}

impl Incarnation {
    /// A new one that starts with this sequence number.
    pub(crate) fn new(start: u64) -> Self {
        Self { id: fastrand::u64(..), start }
    }

    /// The key of its records' checksums, which nobody is told.
    pub(crate) fn key(self) -> u32 {
        self.id as u32
    }

    /// What cursors tell it by.
    pub(crate) fn name(self) -> u32 {
        (self.id >> 32) as u32
    }
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Nothing was written yet.
    Empty,
    /// Of a version that this host does not know.
    Version(u16),
    Damaged,
}

impl Header {
    /// Where the flags stand.
    pub(crate) const FLAGS_AT: usize = 11;
    const CHECKSUM_AT: usize = 12;

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10] = self.signal as u8;
        bytes[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.incarnation.id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.incarnation.start.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.made.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.bytes.to_le_bytes());
        let id = self.extension.as_bytes();
        let length = id.len().min(ID_BYTES);
        bytes[ID_AT - 1] = length as u8;
        bytes[ID_AT..ID_AT + length].copy_from_slice(&id[..length]);
        bytes[BOOT_AT..].copy_from_slice(&self.boot.to_le_bytes());
        let checksum = XxHash3_64::oneshot(&bytes) as u32;
        bytes[Self::CHECKSUM_AT..16].copy_from_slice(&checksum.to_le_bytes());
        bytes[Self::FLAGS_AT] = self.flags;
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(BadHeader::Damaged)?;
        if *bytes == [0; HEADER_BYTES] {
            return Err(BadHeader::Empty);
        }
        let mut bare = *bytes;
        bare[Self::FLAGS_AT..16].fill(0);
        let whole = (XxHash3_64::oneshot(&bare) as u32).to_le_bytes() == bytes[Self::CHECKSUM_AT..16];
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if whole && bytes[..8] == MAGIC && !(OLDEST_FORMAT_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(BadHeader::Version(version));
        }
        let number = |at: usize| bytes[at..].first_chunk().copied().unwrap_or_default();
        let id = bytes[ID_AT..ID_AT + ID_BYTES].get(..usize::from(bytes[ID_AT - 1]));
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        let (true, Some(signal), Some(id)) = (whole && bytes[..8] == MAGIC, Signal::from_byte(bytes[10]), id) else {
            return Err(BadHeader::Damaged);
        };
        Ok(Self {
            signal,
            flags: bytes[Self::FLAGS_AT],
            first_sequence: u64::from_le_bytes(number(16)),
            incarnation: Incarnation { id: u64::from_le_bytes(number(24)), start: u64::from_le_bytes(number(32)) },
            made: i64::from_le_bytes(number(40)),
            bytes: u64::from_le_bytes(number(48)),
            extension: id.to_owned(),
            boot: bytes[BOOT_AT..].first_chunk().map_or(0, |boot| u32::from_le_bytes(*boot)),
        })
    }
}

/// Gives the header that bytes start with another version.
#[cfg(test)]
pub(crate) fn set_version(bytes: &mut [u8], version: u16) {
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let flags = std::mem::take(&mut bytes[Header::FLAGS_AT]);
    bytes[Header::CHECKSUM_AT..16].fill(0);
    let checksum = XxHash3_64::oneshot(&bytes[..HEADER_BYTES]) as u32;
    bytes[Header::CHECKSUM_AT..16].copy_from_slice(&checksum.to_le_bytes());
    bytes[Header::FLAGS_AT] = flags;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            signal: Signal::Span,
            flags: 0,
            first_sequence: 77,
            incarnation: Incarnation { id: 5, start: 3 },
            made: -1,
            bytes: 65_536,
            extension: "a".repeat(64),
            boot: 0xfedc_ba98,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_whatever_its_flags() {
        let mut bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        bytes[Header::FLAGS_AT] = FLAG_CONTINUED_IN_MEMORY;
        assert_eq!(Header::decode(&bytes), Ok(Header { flags: FLAG_CONTINUED_IN_MEMORY, ..header() }));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged));
        for unknown in [0, FORMAT_VERSION + 1, 9] {
            set_version(&mut bytes, unknown);
            assert_eq!(Header::decode(&bytes), Err(BadHeader::Version(unknown)));
        }
        set_version(&mut bytes, OLDEST_FORMAT_VERSION);
        assert_eq!(Header::decode(&bytes), Ok(header()));
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), Err(BadHeader::Empty));
        assert_eq!(Header::decode(b"glasshse"), Err(BadHeader::Damaged));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(byte in 0..HEADER_BYTES, bit in 0..8) {
            let mut bytes = header().encode();
            bytes[byte] ^= 1_u8 << bit;
            if byte == Header::FLAGS_AT {
                prop_assert!(Header::decode(&bytes).is_ok());
            } else {
                prop_assert!(Header::decode(&bytes).is_err());
            }
        }
    }
}
