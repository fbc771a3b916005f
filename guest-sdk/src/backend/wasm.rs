//! The component's imports.

use std::num::NonZeroU32;

use glasshouse_wire::{self as wire, Field, Instrument, Value};

use crate::bindings::glasshouse::extension::{context, debugging, events, types};
use crate::context::{Headers, Info};
use crate::events::{CallError, PublishError};
use crate::gate::Stored;
use crate::log::encode;
use crate::{Error, Payload, SpanKind};

#[inline]
pub(crate) fn emit(batch: &[u8]) {
    debugging::emit(batch);
}

pub(crate) fn share_batch(committed: &[u64], batch: &[u8]) {
    debugging::share_batch(committed, batch);
}

pub(crate) fn stored() -> Stored {
    Stored::from_bits(debugging::enabled().bits().into())
}

#[derive(Debug)]
pub(crate) struct Meter(debugging::Meter);

impl Meter {
    pub(crate) fn new(name: &str, instrument: Instrument, unit: &str, labels: &[Field<'_>]) -> Self {
        let instrument = match instrument {
            Instrument::Counter => debugging::Instrument::Counter,
            Instrument::Gauge => debugging::Instrument::Gauge,
            Instrument::Histogram => debugging::Instrument::Histogram,
        };
        let labels: Vec<_> = labels.iter().copied().map(text_label).collect();
        Self(debugging::Meter::new(name, instrument, unit, &labels))
    }

    #[inline]
    pub(crate) fn record(&self, value: f64) {
        self.0.record(value);
    }
}

/// A label as the contract has it; the SDK makes no label that is not text.
fn text_label(label: Field<'_>) -> (&str, &str) {
    match label.value {
        Value::Text(text) => (label.name, text),
        _ => (label.name, ""),
    }
}

/// Its number in the host.
#[derive(Debug)]
pub(crate) struct Span(NonZeroU32);

impl Span {
    /// Starts one; `None` where the host has no place for it.
    #[inline]
    pub(crate) fn start(name: &str, kind: SpanKind, fields: &[Field<'_>]) -> Option<Self> {
        let number = encode(|buffer| wire::write_span_start(buffer, kind, name, fields), debugging::open_span);
        NonZeroU32::new(number).map(Self)
    }

    /// The same with links, of one that perhaps begins a trace.
    pub(crate) fn start_linked(
        name: &str,
        kind: SpanKind,
        is_root: bool,
        fields: &[Field<'_>],
        links: &[(wire::Link<'_>, &[Field<'_>])],
    ) -> Option<Self> {
        let number = encode(
            |buffer| wire::write_linked_span_start(buffer, kind, is_root, links, name, fields),
            debugging::open_span,
        );
        NonZeroU32::new(number).map(Self)
    }

    pub(crate) fn set_field(&self, field: &Field<'_>) {
        self.change(|buffer| wire::write_span_field(buffer, field));
    }

    pub(crate) fn add_event(&self, name: &str, fields: &[Field<'_>]) {
        self.change(|buffer| wire::write_span_event(buffer, name, fields));
    }

    pub(crate) fn add_link(&self, link: &wire::Link<'_>, fields: &[Field<'_>]) {
        self.change(|buffer| wire::write_span_link(buffer, link, fields));
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.change(|buffer| wire::write_span_failure(buffer, reason));
    }

    /// Sent at once, so that it is not lost if the call traps.
    fn change(&self, write: impl FnOnce(&mut Vec<u8>) -> &[u8]) {
        encode(write, |change| debugging::change_span(self.0.get(), change));
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        debugging::close_span(self.0.get());
    }
}

pub(crate) fn current() -> Info {
    let context::Info { correlation_id, user, tenant, trace_id, span_id } = context::current();
    Info { correlation_id, user, tenant, trace_id, span_id }
}

pub(crate) fn headers() -> Headers {
    let context::TraceHeaders { traceparent, tracestate, baggage } = context::current_headers();
    Headers { traceparent, tracestate, baggage }
}

#[derive(Debug)]
pub(crate) struct Scope {
    _scope: context::Scope,
}

impl Scope {
    pub(crate) fn enter(correlation_id: Option<&str>, user: Option<&str>, tenant: Option<&str>) -> Self {
        Self { _scope: context::Scope::new(context::Overrides { correlation_id, user, tenant }) }
    }
}

pub(crate) fn publish(topic: &str, payload: &Payload) -> Result<String, PublishError> {
    events::publish(topic, &payload.content_type, &payload.bytes).map_err(|error| match error {
        events::PublishError::Denied => PublishError::Denied,
        events::PublishError::InvalidTopic => PublishError::InvalidTopic,
        events::PublishError::Full(subscribers) => PublishError::Full(subscribers),
    })
}

pub(crate) fn call(extension: &str, event: &str, payload: &Payload) -> Result<Payload, CallError> {
    let event = types::EventParam { name: event, content_type: &payload.content_type, payload: &payload.bytes };
    let reply = events::call(extension, event).map_err(|error| match error {
        events::CallError::Denied => CallError::Denied,
        events::CallError::UnknownExtension => CallError::UnknownExtension,
        events::CallError::Busy(milliseconds) => CallError::Busy(milliseconds),
        events::CallError::Unavailable(reason) => CallError::Unavailable(reason),
        events::CallError::Cycle => CallError::Cycle,
        events::CallError::Answered(error) => CallError::Answered(match error {
            types::HandlerError::UnknownEvent(message) => Error::UnknownEvent(message),
            types::HandlerError::InvalidPayload(message) => Error::InvalidPayload(message),
            types::HandlerError::Failed((kind, message)) => Error::Failed { kind, message },
        }),
        events::CallError::Failed(reason) => CallError::Failed(reason),
    })?;
    Ok(Payload { content_type: reply.content_type, bytes: reply.payload })
}
