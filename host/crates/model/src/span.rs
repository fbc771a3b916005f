//! A timed piece of work, as the host stores it when it ends.

use glasshouse_wire::{Field, Fields, Malformed, Reader, put_fields, put_str, put_varint};

use crate::invocation::{decode_fuel, encode_fuel};
use crate::{SpanId, UnixNanos};

glasshouse_wire::byte_enum! {
    /// What a span stands for, as in OpenTelemetry.
    SpanKind {
        /// Work inside the extension.
        Internal = 0 "internal",
        /// Work for a remote caller.
        Server = 1 "server",
        /// A call of something remote.
        Client = 2 "client",
        /// A message made.
        Producer = 3 "producer",
        /// A message taken.
        Consumer = 4 "consumer",
    }
}

glasshouse_wire::byte_enum! {
    /// How a span ended.
    SpanStatus {
        /// As intended, for all that the host knows.
        Ok = 0 "ok",
        /// The guest called it failed.
        Failed = 1 "failed",
        /// It was open when its invocation ended.
        Unfinished = 2 "unfinished",
    }
}

/// A finished span; its trace and own id are those of its envelope's context.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// The span around it.
    pub parent: SpanId,
    /// What it stands for.
    pub kind: SpanKind,
    /// How it ended.
    pub status: SpanStatus,
    /// The work's name.
    pub name: &'a str,
    /// Why it failed; empty if it did not.
    pub failure: &'a str,
    /// When it started.
    pub start: UnixNanos,
    /// From start to end.
    pub elapsed_nanos: u64,
    /// Fuel used from start to end, inner spans included; `None` where none is counted.
    pub fuel: Option<u64>,
    /// Its fields.
    pub fields: Fields<'a>,
    /// What happened meanwhile.
    pub events: Vec<SpanEvent<'a>>,
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent<'a> {
    /// When.
    pub time: UnixNanos,
    /// What.
    pub name: &'a str,
    /// Its fields.
    pub fields: Fields<'a>,
}

impl Span<'_> {
    /// Appends the span as it stands in a stored record. Fields and the encoded events are given beside it, since a
    /// span under construction has them in other forms.
    pub fn encode(&self, buffer: &mut Vec<u8>, fields: &[Field<'_>], events: u32, encoded_events: &[u8]) {
        buffer.extend_from_slice(&self.parent.0);
        buffer.extend_from_slice(&[self.kind as u8, self.status as u8]);
        put_str(buffer, self.name);
        put_str(buffer, self.failure);
        buffer.extend_from_slice(&self.start.0.to_le_bytes());
        buffer.extend_from_slice(&self.elapsed_nanos.to_le_bytes());
        buffer.extend_from_slice(&encode_fuel(self.fuel).to_le_bytes());
        put_fields(buffer, fields);
        put_varint(buffer, events);
        buffer.extend_from_slice(encoded_events);
    }

    /// Appends one event in the form that [`Span::encode`] takes.
    pub fn encode_event(buffer: &mut Vec<u8>, time: UnixNanos, name: &str, fields: &[Field<'_>]) {
        buffer.extend_from_slice(&time.0.to_le_bytes());
        put_str(buffer, name);
        put_fields(buffer, fields);
    }

    /// Reads what [`Span::encode`] wrote.
    pub fn decode(body: &[u8]) -> Result<Span<'_>, Malformed> {
        let mut reader = Reader::new(body);
        let mut span = Span {
            parent: SpanId(reader.array()?),
            kind: SpanKind::from_byte(reader.byte()?).ok_or(Malformed("unknown kind of span"))?,
            status: SpanStatus::from_byte(reader.byte()?).ok_or(Malformed("unknown status of a span"))?,
            name: reader.str()?,
            failure: reader.str()?,
            start: UnixNanos(reader.integer()?),
            elapsed_nanos: reader.integer()? as u64,
            fuel: decode_fuel(reader.integer()? as u64),
            fields: reader.fields()?,
            events: Vec::new(),
        };
        for _ in 0..reader.varint()? {
            let time = UnixNanos(reader.integer()?);
            span.events.push(SpanEvent { time, name: reader.str()?, fields: reader.fields()? });
        }
        Ok(span)
    }
}
