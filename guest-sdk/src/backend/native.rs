//! No host: what is recorded goes to the test that collects it on this thread, or nowhere.

use glasshouse_wire::{Field, Instrument, Link};

use crate::context::{Headers, Info};
use crate::events::{CallError, PublishError};
use crate::gate::Stored;
use crate::testing::collector::{self, Scopes};
use crate::{Payload, SpanKind};

pub(crate) fn emit(batch: &[u8]) {
    collector::with(|collector| collector.emit(batch));
}

/// Nobody looks at it: a call that fails natively is a test that fails.
pub(crate) fn share_batch(_committed: &[u64], _batch: &[u8]) {}

/// Without a test that says otherwise, everything is stored, so that a test runs the code that makes it.
pub(crate) fn stored() -> Stored {
    collector::with(|collector| collector.stored()).unwrap_or(Stored::ALL)
}

#[derive(Debug)]
pub(crate) struct Meter {
    name: String,
    instrument: Instrument,
    unit: String,
    labels: Vec<(String, String)>,
}

impl Meter {
    pub(crate) fn new(name: &str, instrument: Instrument, unit: &str, labels: &[Field<'_>]) -> Self {
        let labels = collector::labels(labels.iter().copied());
        Self { name: name.to_owned(), instrument, unit: unit.to_owned(), labels: labels.into_iter().collect() }
    }

    pub(crate) fn record(&self, value: f64) {
        collector::with(|collector| collector.sample(&self.name, self.instrument, &self.unit, &self.labels, value));
    }
}

/// Its place among the spans that the test collects.
#[derive(Debug)]
pub(crate) struct Span(Option<usize>);

impl Span {
    #[expect(clippy::unnecessary_wraps, reason = "a host may have no place for it")]
    pub(crate) fn start(name: &str, kind: SpanKind, fields: &[Field<'_>]) -> Option<Self> {
        Some(Self(collector::with(|collector| collector.start_span(name, kind, fields))))
    }

    pub(crate) fn start_linked(
        name: &str,
        kind: SpanKind,
        is_root: bool,
        fields: &[Field<'_>],
        links: &[(Link<'_>, &[Field<'_>])],
    ) -> Option<Self> {
        let span = Self::start(name, kind, fields)?;
        for (link, fields) in links {
            span.add_link(link, fields);
        }
        if is_root {
            span.change(|span| (span.is_root, span.parent) = (true, None));
        }
        Some(span)
    }

    fn change(&self, change: impl FnOnce(&mut crate::testing::Span)) {
        if let Some(index) = self.0 {
            collector::with(|collector| collector.span(index).map(change));
        }
    }

    pub(crate) fn set_field(&self, field: &Field<'_>) {
        self.change(|span| span.fields.extend(collector::fields(std::iter::once(*field))));
    }

    pub(crate) fn add_event(&self, name: &str, fields: &[Field<'_>]) {
        self.change(|span| span.events.push((name.to_owned(), collector::fields(fields.iter().copied()))));
    }

    pub(crate) fn add_link(&self, link: &Link<'_>, fields: &[Field<'_>]) {
        self.change(|span| span.links.push(collector::link(link, fields)));
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.change(|span| span.failure = Some(reason.to_owned()));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.change(|span| span.ended = true);
    }
}

pub(crate) fn current() -> Info {
    Scopes::current()
}

/// Those of a trace that is kept as every trace is, with the baggage that the test passes along.
pub(crate) fn headers() -> Headers {
    let Info { trace_id, span_id, .. } = current();
    Headers {
        traceparent: format!("00-{trace_id}-{span_id}-01"),
        tracestate: "ot=th:0".to_owned(),
        baggage: collector::with(|collector| collector.baggage()).unwrap_or_default(),
    }
}

#[derive(Debug)]
pub(crate) struct Scope(usize);

impl Scope {
    pub(crate) fn enter(correlation_id: Option<&str>, user: Option<&str>, tenant: Option<&str>) -> Self {
        Self(Scopes::enter(correlation_id, user, tenant))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        Scopes::leave(self.0);
    }
}

pub(crate) fn publish(topic: &str, payload: &Payload) -> Result<String, PublishError> {
    collector::with(|collector| collector.publish(topic, payload)).unwrap_or(Err(PublishError::Denied))
}

pub(crate) fn call(extension: &str, event: &str, payload: &Payload) -> Result<Payload, CallError> {
    let answer = collector::with(|collector| collector.answer()).flatten();
    answer.map_or(Err(CallError::UnknownExtension), |answer| (answer.borrow_mut())(extension, event, payload))
}
