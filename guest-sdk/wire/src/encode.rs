//! Writes records into a byte buffer, with no allocation beyond the buffer's own growth.

use std::fmt;

use crate::{
    Alert, BATCHED_HEAD_BYTES, Error, FLAG_HANDLED, FLAG_METRIC, FLAG_SOURCE, FLAG_THRESHOLD, FLAG_TIME, FLAG_VALUE,
    Field, Level, Log, Metric, RECORD_HEADER_BYTES, Source, VERSION, VERSION_BATCHED, Value,
};

/// Starts a batch: empties the buffer and writes the version byte.
#[inline]
pub fn begin_batch(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(VERSION);
}

/// The head of a batch of gathered records.
#[inline]
pub const fn batched_head(serial: u32) -> [u8; BATCHED_HEAD_BYTES] {
    let serial = serial.to_le_bytes();
    [VERSION_BATCHED, serial[0], serial[1], serial[2], serial[3]]
}

/// Writes one record: its header, and the body that `write_body` appends.
#[inline]
pub fn record(buffer: &mut Vec<u8>, kind: u8, write_body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
    write_body(buffer);
    let length = (buffer.len() - start - RECORD_HEADER_BYTES) as u32;
    buffer[start + 1..start + RECORD_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Writes the body of a log. The message of `log` is not used: `message` is formatted straight into the buffer.
pub fn write_log(buffer: &mut Vec<u8>, log: &Log<'_>, message: fmt::Arguments<'_>, fields: &[Field<'_>]) {
    write_log_head(buffer, log.level, log.target, log.source, log.time);
    put_message(buffer, message);
    put_fields(buffer, fields);
}

#[inline]
pub(crate) fn put_message(buffer: &mut Vec<u8>, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => put_str(buffer, text),
        None => put_formatted(buffer, message),
    }
}

fn write_log_head(buffer: &mut Vec<u8>, level: Level, target: &str, source: Option<Source<'_>>, time: Option<i64>) {
    let flags = if time.is_some() { FLAG_TIME } else { 0 } | source_flag(source);
    buffer.extend_from_slice(&[level as u8, flags]);
    if let Some(time) = time {
        buffer.extend_from_slice(&time.to_le_bytes());
    }
    put_str(buffer, target);
    put_source(buffer, source);
}

/// Writes the body of a metric sample.
#[inline]
pub fn write_metric(buffer: &mut Vec<u8>, metric: &Metric<'_>, labels: &[Field<'_>]) {
    buffer.push(metric.instrument as u8);
    buffer.extend_from_slice(&metric.value.to_le_bytes());
    put_str(buffer, metric.name);
    put_str(buffer, metric.unit);
    put_fields(buffer, labels);
}

/// Writes the body of an error.
pub fn write_error(buffer: &mut Vec<u8>, error: &Error<'_>, fields: &[Field<'_>]) {
    buffer.push(if error.handled { FLAG_HANDLED } else { 0 } | source_flag(error.source));
    put_str(buffer, error.kind);
    put_str(buffer, error.message);
    put_str(buffer, error.stack);
    put_source(buffer, error.source);
    put_fields(buffer, fields);
}

/// Writes the body of an alert.
pub fn write_alert(buffer: &mut Vec<u8>, alert: &Alert<'_>) {
    let mut flags = 0;
    for (present, flag) in [
        (alert.metric.is_some(), FLAG_METRIC),
        (alert.value.is_some(), FLAG_VALUE),
        (alert.threshold.is_some(), FLAG_THRESHOLD),
    ] {
        if present {
            flags |= flag;
        }
    }
    buffer.extend_from_slice(&[alert.severity as u8, flags]);
    put_str(buffer, alert.kind);
    put_str(buffer, alert.title);
    put_str(buffer, alert.message);
    if let Some(metric) = alert.metric {
        put_str(buffer, metric);
    }
    for number in [alert.value, alert.threshold].into_iter().flatten() {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
}

fn source_flag(source: Option<Source<'_>>) -> u8 {
    if source.is_some() { FLAG_SOURCE } else { 0 }
}

fn put_source(buffer: &mut Vec<u8>, source: Option<Source<'_>>) {
    if let Some(source) = source {
        put_str(buffer, source.file);
        put_varint(buffer, source.line);
    }
}

/// Writes fields: their count, then name and value of each.
pub fn put_fields(buffer: &mut Vec<u8>, fields: &[Field<'_>]) {
    put_varint(buffer, fields.len() as u32);
    for field in fields {
        put_field(buffer, field);
    }
}

/// Writes name and value of a field.
pub fn put_field(buffer: &mut Vec<u8>, field: &Field<'_>) {
    put_str(buffer, field.name);
    match field.value {
        Value::Text(text) => {
            buffer.push(0);
            put_str(buffer, text);
        }
        Value::Integer(number) => {
            buffer.push(1);
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            buffer.push(2);
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        Value::Boolean(truth) => buffer.push(if truth { 4 } else { 3 }),
    }
}

/// Writes text with its length before it.
#[inline]
pub fn put_str(buffer: &mut Vec<u8>, text: &str) {
    put_varint(buffer, text.len() as u32);
    put_bytes(buffer, text.as_bytes());
}

/// Bytes that are copied in words: in a guest, to copy by `memory.copy` is a call of the host.
const BYTES_IN_WORDS: usize = 32;

/// Appends bytes. What is left over after the last whole word is copied by a word that overlaps it.
#[inline]
fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        0..4 => bytes.iter().for_each(|byte| buffer.push(*byte)),
        4..8 => put_words::<4>(buffer, bytes),
        8..=BYTES_IN_WORDS => put_words::<8>(buffer, bytes),
        _ => buffer.extend_from_slice(bytes),
    }
}

#[inline]
fn put_words<const N: usize>(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<N>();
    for word in words {
        buffer.extend_from_slice(word);
    }
    if let (false, Some(last)) = (rest.is_empty(), bytes.last_chunk::<N>()) {
        buffer.truncate(buffer.len() - (N - rest.len()));
        buffer.extend_from_slice(last);
    }
}

/// Writes an unsigned number in LEB128.
#[inline]
pub fn put_varint(buffer: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Formats text in place: its length is not known before, so it gets all five bytes of a varint.
#[cold]
fn put_formatted(buffer: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Appender<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let start = buffer.len();
    buffer.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0]);
    // A `Display` that fails has written what it could; that much is kept.
    let _ = fmt::write(&mut Appender(buffer), text);
    let length = (buffer.len() - start - 5) as u32;
    for (index, byte) in buffer[start..start + 5].iter_mut().enumerate() {
        let group = (length >> (7 * index)) as u8 & 0x7f;
        *byte = if index < 4 { group | 0x80 } else { group };
    }
}
