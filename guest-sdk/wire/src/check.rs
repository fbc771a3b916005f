//! Validates a log without taking it apart: for the host's hot path, where most logs are stored as they came.

use crate::{FLAG_SOURCE, FLAG_TIME, Level, Malformed, Reader};

/// What the host has to know of a log to store it as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// How serious it is.
    pub level: Level,
    /// How many fields it has.
    pub fields: u32,
}

/// Validates a log's body, and accepts exactly what [`decode`](crate::decode) accepts.
#[inline]
pub fn check_log(body: &[u8]) -> Result<LogSummary, Malformed> {
    let mut reader = Reader::new(body);
    let level = Level::from_byte(reader.byte()?).ok_or(Malformed("unknown level"))?;
    let flags = reader.byte()?;
    if flags & !(FLAG_TIME | FLAG_SOURCE) != 0 {
        return Err(Malformed("unknown flag bits"));
    }
    if flags & FLAG_TIME != 0 {
        reader.take(8)?;
    }
    skip_text(&mut reader)?;
    if flags & FLAG_SOURCE != 0 {
        skip_text(&mut reader)?;
        reader.varint()?;
    }
    skip_text(&mut reader)?;
    let fields = reader.varint()?;
    for _ in 0..fields {
        skip_text(&mut reader)?;
        match reader.byte()? {
            0 => skip_text(&mut reader)?,
            1 | 2 => {
                reader.take(8)?;
            }
            3 | 4 => {}
            _ => return Err(Malformed("unknown kind of value")),
        }
    }
    if reader.rest().is_empty() { Ok(LogSummary { level, fields }) } else { Err(Malformed("bytes left over after a record")) }
}

#[inline]
fn skip_text(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let length = reader.varint()?;
    let bytes = reader.take(length as usize)?;
    if is_ascii(bytes) || str::from_utf8(bytes).is_ok() { Ok(()) } else { Err(Malformed("text is not UTF-8")) }
}

/// Whether all bytes are ASCII, without a call for the few bytes that most texts have: what is left over after the
/// last whole word is looked at in a word that overlaps it.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    fn high_bits<const N: usize>(bytes: &[u8]) -> Option<u8> {
        let last = bytes.last_chunk::<N>()?;
        let (words, _) = bytes.as_chunks::<N>();
        let either = |a: [u8; N], b: &[u8; N]| std::array::from_fn(|at| a[at] | b[at]);
        Some(words.iter().fold(*last, either).iter().fold(0, |all, byte| all | byte))
    }
    let all = high_bits::<8>(bytes).or_else(|| high_bits::<4>(bytes));
    all.unwrap_or_else(|| bytes.iter().fold(0, |all, byte| all | byte)) < 0x80
}
