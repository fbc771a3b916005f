//! Logs as lines of JSON, written from what is stored without a copy in between. They are nearly all of what is exported, and a record of its own for
//! each would cost as much as the rest. The bytes are those that serde writes of [`crate::records::LogRecord`], which a test holds them to.

use std::io::Write as _;

use glasshouse_model::wire::{Log, Record, Value};
use glasshouse_model::{Signal, UnixNanos};
use glasshouse_telemetry::{Body, Cursor, Entry};

use crate::export::Broken;
use crate::records::state_of;
use crate::walk::Found;

/// Bytes that a line has room for at first: as many as most have.
const LINE_BYTES: usize = 512;

/// Writes the logs of one extension, each as an object in one line.
pub struct LogLines {
    /// What each line begins with, up to the sequence number in its cursor, and what comes then, up to its own.
    begin: Vec<u8>,
    middle: Vec<u8>,
    times: Times,
}

/// Writes times. Many in a row are of one second.
struct Times {
    second: i64,
    /// That second with its point, such as `2026-11-22T14:40:17.`.
    text: String,
}

impl LogLines {
    /// Writes the logs of an extension, whose cursors differ from this one by the sequence number only. `None` if nothing can be written.
    pub fn of(extension: &str, cursor: &Cursor) -> Option<Self> {
        Self::new(None, extension, cursor).ok()
    }

    /// A log as a line without its end; `None` if it is none, or does not decode.
    pub fn line(&mut self, entry: &Entry) -> Option<String> {
        let mut line = Vec::with_capacity(LINE_BYTES);
        let is_log = self.put(&mut line, &Found::of(entry)?).ok()?;
        String::from_utf8(line).ok().filter(|_| is_log)
    }

    pub(super) fn new(named: Option<Signal>, extension: &str, cursor: &Cursor) -> Result<Self, Broken> {
        let mut begin = b"{".to_vec();
        if let Some(signal) = named {
            write!(begin, "\"signal\":\"{signal}\",")?;
        }
        let (before, after) = cursor.around_sequence();
        begin.extend_from_slice(b"\"extension\":");
        serde_json::to_writer(&mut begin, extension)?;
        begin.extend_from_slice(b",\"cursor\":");
        serde_json::to_writer(&mut begin, &before)?;
        begin.pop();
        let mut middle = serde_json::to_vec(&after)?;
        middle.remove(0);
        middle.extend_from_slice(b",\"sequence\":");
        Ok(Self { begin, middle, times: Times { second: i64::MIN, text: String::new() } })
    }

    /// Appends a log, without a line's end. Returns whether it is one.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, found: &Found<'_>) -> Result<bool, Broken> {
        let Body::Record(Record::Log(log, fields)) = &found.body else { return Ok(false) };
        let envelope = &found.envelope;
        out.extend_from_slice(&self.begin);
        write!(out, "{:x}", envelope.sequence)?;
        out.extend_from_slice(&self.middle);
        serde_json::to_writer(&mut *out, &envelope.sequence)?;
        out.extend_from_slice(b",\"time\":\"");
        self.times.put(out, envelope.time)?;
        out.extend_from_slice(b"\",\"origin\":\"");
        out.extend_from_slice(envelope.origin.as_str().as_bytes());
        out.extend_from_slice(if envelope.cut { b"\",\"cut\":true" } else { b"\",\"cut\":false" });
        if envelope.batched {
            out.extend_from_slice(b",\"batched\":true");
        }
        if let Some(context) = &envelope.context {
            out.extend_from_slice(b",\"trace_id\":\"");
            put_hex(out, &context.trace_id.0);
            out.extend_from_slice(b"\",\"span_id\":\"");
            put_hex(out, &context.span_id.0);
            out.extend_from_slice(b"\",\"correlation_id\":");
            if let Some(correlation) = &context.correlation_id {
                serde_json::to_writer(&mut *out, correlation)?;
            } else {
                out.push(b'"');
                put_hex(out, &context.trace_id.0);
                out.push(b'"');
            }
            for (name, text) in [(&b",\"user\":"[..], &context.user), (b",\"tenant\":", &context.tenant)] {
                if let Some(text) = text {
                    out.extend_from_slice(name);
                    serde_json::to_writer(&mut *out, text)?;
                }
            }
            if !context.sampling.is_sampled {
                out.extend_from_slice(b",\"sampled\":false");
            }
            if let Some(state) = state_of(&context.sampling) {
                out.extend_from_slice(b",\"tracestate\":");
                serde_json::to_writer(&mut *out, &state)?;
            }
        }
        self.put_log(out, log)?;
        out.extend_from_slice(b",\"fields\":{");
        let fields: Vec<_> = fields.iter().collect();
        let mut separator: &[u8] = b"";
        for (index, field) in fields.iter().enumerate() {
            // Of several with one name the last one counts.
            if fields[index + 1..].iter().any(|later| later.name == field.name) {
                continue;
            }
            out.extend_from_slice(separator);
            separator = b",";
            serde_json::to_writer(&mut *out, field.name)?;
            out.push(b':');
            match field.value {
                Value::Text(text) => serde_json::to_writer(&mut *out, text)?,
                Value::Integer(integer) => serde_json::to_writer(&mut *out, &integer)?,
                Value::Float(float) => serde_json::to_writer(&mut *out, &float)?,
                Value::Boolean(boolean) => serde_json::to_writer(&mut *out, &boolean)?,
            }
        }
        out.extend_from_slice(b"}}");
        Ok(true)
    }

    fn put_log(&mut self, out: &mut Vec<u8>, log: &Log<'_>) -> Result<(), Broken> {
        out.extend_from_slice(b",\"level\":\"");
        out.extend_from_slice(log.level.as_str().as_bytes());
        out.extend_from_slice(b"\",\"target\":");
        serde_json::to_writer(&mut *out, log.target)?;
        out.extend_from_slice(b",\"message\":");
        serde_json::to_writer(&mut *out, log.message)?;
        if let Some(source) = &log.source {
            out.extend_from_slice(b",\"source\":{\"file\":");
            serde_json::to_writer(&mut *out, source.file)?;
            out.extend_from_slice(b",\"line\":");
            serde_json::to_writer(&mut *out, &source.line)?;
            out.push(b'}');
        }
        if let Some(time) = log.time {
            out.extend_from_slice(b",\"guest_time\":\"");
            self.times.put(out, UnixNanos(time))?;
            out.push(b'"');
        }
        Ok(())
    }
}

impl Times {
    fn put(&mut self, out: &mut Vec<u8>, time: UnixNanos) -> Result<(), Broken> {
        const NANOS: i64 = 1_000_000_000;
        let second = time.0.div_euclid(NANOS);
        if second != self.second || self.text.is_empty() {
            self.text = time.to_string();
            let point = self.text.find('.').map_or(0, |point| point + 1);
            self.text.truncate(point);
            self.second = second;
        }
        if self.text.is_empty() {
            write!(out, "{time}")?;
            return Ok(());
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut digits = *b"000000000Z";
        let mut left = time.0.rem_euclid(NANOS);
        for digit in digits[..9].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&digits);
        Ok(())
    }
}

fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}
