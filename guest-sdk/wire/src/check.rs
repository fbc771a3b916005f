//! Validates a log without taking it apart: for the host's hot path, where most logs are stored as they came.

use crate::{FLAG_SOURCE, FLAG_TIME, Level, Malformed, Reader};

/// What the host has to know of a log to store it as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// How serious it is.
    pub level: Level,
    /// How many fields it has.
    pub fields: u32,
    /// Unix nanoseconds by the guest's clock, if it gave one.
    pub time: Option<i64>,
    /// Where its target starts: all from there to its fields is the same for each log of one place in the source, if the
    /// message is a literal.
    pub texts_at: usize,
    /// Where its fields start, their number first.
    pub fields_at: usize,
}

/// Where the time stands in the body of a log that has one: after level and flags.
const TIME_AT: std::ops::Range<usize> = 2..10;

/// Sets the time of a log's body that has one.
pub fn set_log_time(body: &mut [u8], time: i64) {
    let has_time = body.get(1).is_some_and(|flags| flags & FLAG_TIME != 0);
    if let Some(place) = body.get_mut(TIME_AT).filter(|_| has_time) {
        place.copy_from_slice(&time.to_le_bytes());
    }
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
    let time = if flags & FLAG_TIME == 0 { None } else { Some(reader.integer()?) };
    let texts_at = body.len() - reader.rest().len();
    skip_text(&mut reader)?;
    if flags & FLAG_SOURCE != 0 {
        skip_text(&mut reader)?;
        reader.varint()?;
    }
    skip_text(&mut reader)?;
    let fields_at = body.len() - reader.rest().len();
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
    if reader.rest().is_empty() {
        Ok(LogSummary { level, fields, time, texts_at, fields_at })
    } else {
        Err(Malformed("bytes left over after a record"))
    }
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
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let all = if let Some(last) = bytes.last_chunk::<8>() {
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().fold(u64::from_ne_bytes(*last), |all, word| all | u64::from_ne_bytes(*word))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last))
    } else {
        bytes.iter().fold(0, |all, byte| all | u64::from(*byte))
    };
    all & HIGH_BITS == 0
}
