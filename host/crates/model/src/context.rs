//! Whose work a record belongs to.

use glasshouse_wire::{Malformed, Reader, put_str};

use crate::{SpanId, TraceId, limits};

const FLAG_CORRELATION: u8 = 1;
const FLAG_USER: u8 = 2;
const FLAG_TENANT: u8 = 4;

/// The context of an invocation or of a scope in it; the host puts it on every record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The trace that it is part of.
    pub trace_id: TraceId,
    /// The innermost open span, or the invocation's own.
    pub span_id: SpanId,
    /// What the trigger gave; `None` stands for the trace id.
    pub correlation_id: Option<String>,
    /// On whose behalf.
    pub user: Option<String>,
    /// For which customer.
    pub tenant: Option<String>,
}

/// Text that may not stand in a context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} must be 1 to {} visible ASCII characters", limits::CONTEXT_BYTES)]
pub struct InvalidContext {
    /// Which part of the context.
    pub what: &'static str,
}

impl Context {
    /// The correlation id: the one given, or else the trace id.
    pub fn correlation(&self) -> String {
        self.correlation_id.clone().unwrap_or_else(|| self.trace_id.to_string())
    }

    /// Checks text for one part of a context: 1 to 128 visible ASCII characters, and for names any other
    /// character that is not a control character.
    pub fn check(what: &'static str, text: &str) -> Result<(), InvalidContext> {
        let legal = match what {
            "correlation id" => text.bytes().all(|byte| byte.is_ascii_graphic()),
            _ => !text.chars().any(char::is_control),
        };
        if legal && (1..=limits::CONTEXT_BYTES).contains(&text.len()) { Ok(()) } else { Err(InvalidContext { what }) }
    }

    /// Whether it has more than its ids.
    #[inline]
    pub fn has_texts(&self) -> bool {
        self.correlation_id.is_some() || self.user.is_some() || self.tenant.is_some()
    }

    /// Appends the context as it stands in a stored record.
    #[inline]
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        // In the pieces in which a new id was just written: to read sixteen bytes of two eights has to wait for both.
        let (halves, _) = self.trace_id.0.as_chunks::<8>();
        for id in halves.iter().chain([&self.span_id.0]) {
            buffer.extend_from_slice(id);
        }
        if self.has_texts() {
            self.encode_texts(buffer);
        } else {
            buffer.push(0);
        }
    }

    fn encode_texts(&self, buffer: &mut Vec<u8>) {
        let parts = [(&self.correlation_id, FLAG_CORRELATION), (&self.user, FLAG_USER), (&self.tenant, FLAG_TENANT)];
        buffer.push(parts.iter().filter(|(part, _)| part.is_some()).map(|(_, flag)| flag).sum());
        for text in parts.iter().filter_map(|(part, _)| part.as_ref()) {
            put_str(buffer, text);
        }
    }

    /// Reads what [`Context::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (trace_id, span_id) = (TraceId(reader.array()?), SpanId(reader.array()?));
        let flags = reader.byte()?;
        let mut part = |flag| if flags & flag == 0 { Ok(None) } else { reader.str().map(|text| Some(text.to_owned())) };
        Ok(Self {
            trace_id,
            span_id,
            correlation_id: part(FLAG_CORRELATION)?,
            user: part(FLAG_USER)?,
            tenant: part(FLAG_TENANT)?,
        })
    }
}
