//! What the language promises: what it reads, what it refuses and how, and which records match.

mod matching;
mod reading;
mod soundness;

use glasshouse_model::wire::{self, Field, Value};
use glasshouse_model::{Context, Envelope, Level, Origin, Signal, TraceId, UnixNanos};

use super::Query;
use crate::Body;

/// 2026-11-22T10:00:00Z.
const NOW: UnixNanos = UnixNanos(1_795_341_600_000_000_000);

/// A record in its stored form.
#[derive(Clone, Debug)]
struct Stored {
    signal: Signal,
    kind: u8,
    envelope: Envelope,
    encoded: Vec<u8>,
}

impl Stored {
    fn body(&self) -> Body<'_> {
        use glasshouse_model::record::{KIND_ANSWERED, KIND_FAILURE, KIND_INVOCATION, KIND_SPAN};
        let body = match self.kind {
            KIND_SPAN => glasshouse_model::Span::decode(&self.encoded).map(Body::Span),
            KIND_INVOCATION => glasshouse_model::Invocation::decode(&self.encoded).map(Body::Invocation),
            KIND_FAILURE => glasshouse_model::Failure::decode(&self.encoded).map(Body::Failure),
            KIND_ANSWERED => glasshouse_model::AnsweredError::decode(&self.encoded).map(Body::Answered),
            kind => wire::decode(kind, &self.encoded).map(Body::Record),
        };
        body.expect("a record that the test has made")
    }

    fn matches(&self, query: &Query) -> bool {
        query.matches(self.signal, "shop", &self.envelope, &self.body())
    }
}

fn envelope(context: Option<Context>) -> Envelope {
    Envelope { sequence: 17, time: NOW, origin: Origin::Guest, cut: false, batched: false, context }
}

fn context() -> Context {
    Context { trace_id: TraceId([0xab; 16]), user: Some("u1".to_owned()), ..Context::default() }
}

fn stored(signal: Signal, kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> Stored {
    let mut encoded = Vec::new();
    write(&mut encoded);
    Stored { signal, kind, envelope: envelope(Some(context())), encoded }
}

fn log(level: Level, message: &str, fields: &[Field<'_>]) -> Stored {
    let log = wire::Log { level, target: "shop::cart", message, source: None, time: None };
    stored(Signal::Log, wire::KIND_LOG, |buffer| wire::write_log(buffer, &log, format_args!("{message}"), fields))
}

fn field<'a>(name: &'a str, value: Value<'a>) -> Field<'a> {
    Field { name, value }
}

fn query(text: &str) -> Query {
    Query::parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"))
}
