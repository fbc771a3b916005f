//! Logs from a fixed place in the source: what the place fixes is encoded when the guest is compiled, and the rest is
//! written with as few instructions as can be, each of which costs the guest fuel.
#![expect(
    clippy::inline_always,
    reason = "measured: a guest is built for size, and each call left in this path costs it"
)]

use std::fmt;

use crate::encode::{put_fields, put_message};
use crate::{FLAG_SOURCE, FLAG_TIME, Field, KIND_LOG, Level, RECORD_HEADER_BYTES, VERSION, Value};

/// Bytes before the log's own: the version, and the record's header, whose length is filled in later.
const HEAD_BYTES: usize = 1 + RECORD_HEADER_BYTES;
/// Where a prefix parts for the time of the log: after its level and its flags.
const TIME_AT: usize = HEAD_BYTES + 2;

/// A place in the source that logs. Its [`prefix`](Self::prefix) is the start of a batch of one log, up to the message,
/// or up to the fields if the message is a literal.
///
/// ```
/// use glasshouse_wire::{Level, LogSite};
///
/// const SITE: LogSite =
///     LogSite { level: Level::Info, target: "demo", file: "src/lib.rs", line: 7, message: "started" };
/// static PREFIX: [u8; SITE.prefix_bytes()] = SITE.prefix();
///
/// let mut buffer = Vec::new();
/// let batch = glasshouse_wire::write_log_at(&mut buffer, &PREFIX, &[]);
/// assert_eq!(glasshouse_wire::records(batch)?.count(), 1);
/// # Ok::<(), glasshouse_wire::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LogSite {
    /// How serious its logs are.
    pub level: Level,
    /// The logger's name.
    pub target: &'static str,
    /// The source file as the compiler names it.
    pub file: &'static str,
    /// Counted from 1.
    pub line: u32,
    /// The message's format string.
    pub message: &'static str,
}

impl LogSite {
    /// Whether the message says the same each time: its format string has neither arguments nor escapes.
    pub const fn is_literal(&self) -> bool {
        let bytes = self.message.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if matches!(bytes[at], b'{' | b'}') {
                return false;
            }
            at += 1;
        }
        true
    }

    /// Bytes of the prefix.
    pub const fn prefix_bytes(&self) -> usize {
        let fixed = HEAD_BYTES + 2 + str_bytes(self.target) + str_bytes(self.file) + varint_bytes(self.line);
        if self.is_literal() { fixed + str_bytes(self.message) } else { fixed }
    }

    /// The prefix, as [`write_log_at`](crate::write_log_at) wants it.
    ///
    /// # Panics
    ///
    /// If `N` is not what [`LogSite::prefix_bytes`] gives.
    pub const fn prefix<const N: usize>(&self) -> [u8; N] {
        let mut prefix = [0; N];
        prefix[0] = VERSION;
        prefix[1] = KIND_LOG;
        prefix[HEAD_BYTES] = self.level as u8;
        prefix[HEAD_BYTES + 1] = FLAG_SOURCE;
        let at = put_str(&mut prefix, HEAD_BYTES + 2, self.target);
        let at = put_str(&mut prefix, at, self.file);
        let at = put_varint(&mut prefix, at, self.line);
        let end = if self.is_literal() { put_str(&mut prefix, at, self.message) } else { at };
        assert!(end == N, "the prefix has another length");
        prefix
    }
}

const fn varint_bytes(number: u32) -> usize {
    let mut bytes = 1;
    let mut rest = number >> 7;
    while rest > 0 {
        bytes += 1;
        rest >>= 7;
    }
    bytes
}

const fn str_bytes(text: &str) -> usize {
    varint_bytes(text.len() as u32) + text.len()
}

const fn put_varint(into: &mut [u8], mut at: usize, mut number: u32) -> usize {
    while number >= 0x80 {
        into[at] = number as u8 | 0x80;
        at += 1;
        number >>= 7;
    }
    into[at] = number as u8;
    at + 1
}

const fn put_str(into: &mut [u8], at: usize, text: &str) -> usize {
    let start = put_varint(into, at, text.len() as u32);
    let mut index = 0;
    while index < text.len() {
        into[start + index] = text.as_bytes()[index];
        index += 1;
    }
    start + text.len()
}

/// The least size of the buffer: most logs fit.
const BUFFER_BYTES: usize = 1024;

/// Writes a batch of one log whose message is a literal, and thus in the prefix of its [`LogSite`]; gives the part of
/// the buffer that holds it.
#[inline]
pub fn write_log_at<'b>(buffer: &'b mut Vec<u8>, prefix: &[u8], fields: &[Field<'_>]) -> &'b [u8] {
    let length = write_until_it_fits(buffer, |room| {
        room.put_bytes(prefix)?;
        room.put_fields(fields)
    });
    set_length(buffer, length);
    &buffer[..length]
}

/// Writes what `write` does to the start of a buffer, which grows until it fits; gives the part of the buffer that holds it.
#[inline]
pub(crate) fn write_whole(buffer: &mut Vec<u8>, write: impl Fn(&mut Room<'_>) -> Option<()>) -> &[u8] {
    let length = write_until_it_fits(buffer, write);
    &buffer[..length]
}

/// The same; gives the number of bytes.
#[inline]
fn write_until_it_fits(buffer: &mut Vec<u8>, write: impl Fn(&mut Room<'_>) -> Option<()>) -> usize {
    loop {
        let mut room = Room(buffer);
        if write(&mut room).is_some() {
            let left = room.0.len();
            return buffer.len() - left;
        }
        let larger = buffer.len().saturating_mul(2).max(BUFFER_BYTES);
        buffer.resize(larger, 0);
    }
}

/// The same, of a log whose message is formatted, with the time by the guest's clock if it gives one.
pub fn write_formatted_log_at<'b>(
    buffer: &'b mut Vec<u8>,
    prefix: &[u8],
    time: Option<i64>,
    message: fmt::Arguments<'_>,
    fields: &[Field<'_>],
) -> &'b [u8] {
    buffer.clear();
    match (time, prefix.split_at_checked(TIME_AT)) {
        (Some(time), Some((head, rest))) => {
            buffer.extend_from_slice(head);
            buffer[TIME_AT - 1] |= FLAG_TIME;
            buffer.extend_from_slice(&time.to_le_bytes());
            buffer.extend_from_slice(rest);
        }
        _ => buffer.extend_from_slice(prefix),
    }
    put_message(buffer, message);
    put_fields(buffer, fields);
    let length = buffer.len();
    set_length(buffer, length);
    buffer
}

fn set_length(batch: &mut [u8], batch_bytes: usize) {
    let length = (batch_bytes - HEAD_BYTES) as u32;
    batch[2..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// The level of the logs of a place, by its prefix.
#[inline]
pub fn prefix_level(prefix: &[u8]) -> Option<Level> {
    Level::from_byte(*prefix.get(HEAD_BYTES)?)
}

/// Writes a log whose message is a literal, and thus in the prefix of its [`LogSite`], as one more record of a batch: to
/// the start of `room`, which what was gathered before it left. Gives the bytes that it took; without room enough, `None`,
/// and what is in `room` means nothing.
#[inline]
pub fn write_log_record(room: &mut [u8], prefix: &[u8], time: Option<i64>, fields: &[Field<'_>]) -> Option<usize> {
    let record = prefix.get(1..)?;
    let mut left = Room(&mut *room);
    match time {
        None => left.put_bytes(record)?,
        Some(time) => {
            let (head, rest) = record.split_at_checked(TIME_AT - 1)?;
            let place = left.take(head.len())?;
            place.copy_from_slice(head);
            *place.last_mut()? |= FLAG_TIME;
            left.put(time.to_le_bytes())?;
            left.put_bytes(rest)?;
        }
    }
    left.put_fields(fields)?;
    let left = left.0.len();
    let bytes = room.len() - left;
    room[1..RECORD_HEADER_BYTES].copy_from_slice(&((bytes - RECORD_HEADER_BYTES) as u32).to_le_bytes());
    Some(bytes)
}

/// What is left of a buffer; each method takes what it writes off the front, and gives `None` where that is too short.
pub(crate) struct Room<'b>(&'b mut [u8]);

impl<'b> Room<'b> {
    #[inline(always)]
    fn take(&mut self, bytes: usize) -> Option<&'b mut [u8]> {
        let (place, rest) = std::mem::take(&mut self.0).split_at_mut_checked(bytes)?;
        self.0 = rest;
        Some(place)
    }

    #[inline(always)]
    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Option<()> {
        let (place, rest) = std::mem::take(&mut self.0).split_first_chunk_mut::<N>()?;
        *place = bytes;
        self.0 = rest;
        Some(())
    }

    #[inline(always)]
    fn put_varint(&mut self, mut number: u32) -> Option<()> {
        while number >= 0x80 {
            self.put([number as u8 | 0x80])?;
            number >>= 7;
        }
        self.put([number as u8])
    }

    #[inline(always)]
    pub(crate) fn put_str(&mut self, text: &str) -> Option<()> {
        self.put_varint(text.len() as u32)?;
        self.put_bytes(text.as_bytes())
    }

    #[inline(always)]
    fn put_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        copy(self.take(bytes.len())?, bytes);
        Some(())
    }

    #[inline(always)]
    pub(crate) fn put_fields(&mut self, fields: &[Field<'_>]) -> Option<()> {
        self.put_varint(fields.len() as u32)?;
        for field in fields {
            self.put_field(field)?;
        }
        Some(())
    }

    #[inline(always)]
    pub(crate) fn put_field(&mut self, field: &Field<'_>) -> Option<()> {
        self.put_str(field.name)?;
        match field.value {
            Value::Text(text) => {
                self.put([0])?;
                self.put_str(text)
            }
            Value::Integer(number) => {
                self.put([1])?;
                self.put(number.to_le_bytes())
            }
            Value::Float(number) => {
                self.put([2])?;
                self.put(number.to_le_bytes())
            }
            Value::Boolean(truth) => self.put([if truth { 4 } else { 3 }]),
        }
    }
}

/// Copies between slices of the same length: short ones in words, of which the last may overlap others. To copy by
/// `memory.copy`, which the compiler makes of all that is larger than a word, is a call of the host in a guest.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0 => {}
        1..4 => {
            for at in [0, from.len() / 2, from.len() - 1] {
                to[at] = from[at];
            }
        }
        4..8 => copy_ends::<4>(to, from),
        8..=16 => copy_ends::<8>(to, from),
        17..=32 => {
            let half = from.len() / 2;
            copy_ends::<8>(&mut to[..half], &from[..half]);
            copy_ends::<8>(&mut to[half..], &from[half..]);
        }
        _ => to.copy_from_slice(from),
    }
}

/// Copies at least `N` and at most twice as many bytes.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}
