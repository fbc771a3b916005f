//! Validates a log without taking it apart: for the host's hot path, where most logs are stored as they came.
#![expect(clippy::inline_always, reason = "measured: each call left in this path costs it some nanoseconds")]

use crate::{FLAG_SOURCE, FLAG_TIME, KIND_LOG, Level, Malformed, Reader, decode};

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

/// Looks at the parts of a log while they are validated, in their order, and may know some of them already: such bytes were
/// found valid before, in the same place of a log.
pub trait LogWatch {
    /// Whether a log goes on with the texts from target to message that are most likely to come now, which are known; gives how
    /// many bytes they have, with their lengths, and the source's file and line if the log has one.
    fn expects_start(&mut self, has_source: bool, rest: &[u8]) -> Option<usize>;

    /// Whether the texts from target to message, which were not expected, are known.
    fn knows_start(&mut self, has_source: bool, start: &[u8]) -> bool;

    /// Whether a log goes on with a field's name that is known; gives how many bytes it has, with its length.
    fn knows_name(&mut self, rest: &[u8]) -> Option<usize>;

    /// Shows the text of a field. Whether it was seen to be ASCII alone, and is valid for that.
    fn see_text(&mut self, text: &[u8]) -> bool;
}

/// Knows nothing, and has seen nothing.
pub(crate) struct Unwatched;

impl LogWatch for Unwatched {
    fn expects_start(&mut self, _has_source: bool, _rest: &[u8]) -> Option<usize> {
        None
    }

    fn knows_start(&mut self, _has_source: bool, _start: &[u8]) -> bool {
        false
    }

    fn knows_name(&mut self, _rest: &[u8]) -> Option<usize> {
        None
    }

    fn see_text(&mut self, _text: &[u8]) -> bool {
        false
    }
}

/// Validates a log's body, and accepts exactly what [`decode`] accepts.
#[inline]
pub fn check_log(body: &[u8]) -> Result<LogSummary, Malformed> {
    check_log_with(body, &mut Unwatched)
}

/// The same, watched. What was seen of a log that is refused means nothing.
#[inline]
pub fn check_log_with(body: &[u8], watch: &mut impl LogWatch) -> Result<LogSummary, Malformed> {
    check(body, watch).map_err(|malformed| first_fault(body, malformed))
}

/// What [`decode`] refuses the body for: a body may be malformed in many ways, and lengths are looked at before texts here.
#[cold]
fn first_fault(body: &[u8], malformed: Malformed) -> Malformed {
    decode(KIND_LOG, body).err().unwrap_or(malformed)
}

#[inline]
fn check(body: &[u8], watch: &mut impl LogWatch) -> Result<LogSummary, Malformed> {
    let mut reader = Reader::new(body);
    let level = Level::from_byte(reader.byte()?).ok_or(Malformed("unknown level"))?;
    let flags = reader.byte()?;
    if flags & !(FLAG_TIME | FLAG_SOURCE) != 0 {
        return Err(Malformed("unknown flag bits"));
    }
    let time = if flags & FLAG_TIME == 0 { None } else { Some(reader.integer()?) };
    let at = |reader: &Reader<'_>| body.len() - reader.rest().len();
    let texts_at = at(&reader);
    let has_source = flags & FLAG_SOURCE != 0;
    if let Some(expected) = watch.expects_start(has_source, reader.rest()) {
        reader.take(expected)?;
    } else {
        let target = bytes(&mut reader)?;
        let file = if has_source { bytes(&mut reader)? } else { &[] };
        if has_source {
            reader.varint()?;
        }
        let message = bytes(&mut reader)?;
        if !watch.knows_start(has_source, &body[texts_at..at(&reader)]) {
            [target, file, message].into_iter().try_for_each(text)?;
        }
    }
    let fields_at = at(&reader);
    let fields = reader.varint()?;
    check_fields(&mut reader, fields, watch)?;
    if reader.rest().is_empty() {
        Ok(LogSummary { level, fields, time, texts_at, fields_at })
    } else {
        Err(Malformed("bytes left over after a record"))
    }
}

/// Validates so many fields.
#[inline(always)]
pub(crate) fn check_fields(reader: &mut Reader<'_>, fields: u32, watch: &mut impl LogWatch) -> Result<(), Malformed> {
    for _ in 0..fields {
        match watch.knows_name(reader.rest()) {
            Some(known) => {
                reader.take(known)?;
            }
            None => text(bytes(reader)?)?,
        }
        match reader.byte()? {
            0 => {
                let value = bytes(reader)?;
                if !watch.see_text(value) {
                    text(value)?;
                }
            }
            1 | 2 => {
                reader.take(8)?;
            }
            3 | 4 => {}
            _ => return Err(Malformed("unknown kind of value")),
        }
    }
    Ok(())
}

/// What stands where a text should, with its length before it.
#[inline]
pub(crate) fn bytes<'b>(reader: &mut Reader<'b>) -> Result<&'b [u8], Malformed> {
    let length = reader.varint()?;
    reader.take(length as usize)
}

#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<(), Malformed> {
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
