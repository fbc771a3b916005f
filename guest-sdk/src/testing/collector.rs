//! Decodes what an extension sends and keeps it for the test of this thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use glasshouse_wire::{self as wire, Field, Instrument, Record, Source, Value, decode, records};

use super::{Alert, Answer, Fields, Link, Log, Recorded, Report, Sample, Span};
use crate::context::Info;
use crate::events::PublishError;
use crate::gate::Stored;
use crate::{Payload, SpanKind};

/// What one `Host::run` collects.
pub(crate) struct Collector {
    stored: Stored,
    answer: Option<Answer>,
    refusal: Option<PublishError>,
    baggage: String,
    recorded: Recorded,
}

thread_local! {
    static COLLECTOR: RefCell<Option<Collector>> = const { RefCell::new(None) };
    static SCOPES: RefCell<Vec<Option<Info>>> = const { RefCell::new(Vec::new()) };
}

/// Lets the collector of this thread do something, if there is one.
pub(crate) fn with<T>(act: impl FnOnce(&mut Collector) -> T) -> Option<T> {
    COLLECTOR.with_borrow_mut(|collector| collector.as_mut().map(act))
}

/// Starts to collect; gives what collected before.
pub(super) fn begin(
    stored: Stored,
    answer: Option<Answer>,
    refusal: Option<PublishError>,
    baggage: String,
) -> Option<Collector> {
    COLLECTOR.replace(Some(Collector { stored, answer, refusal, baggage, recorded: Recorded::default() }))
}

/// Gives what was collected, and puts back what collected before.
pub(super) fn end(before: Option<Collector>) -> Recorded {
    COLLECTOR.replace(before).map(|collector| collector.recorded).unwrap_or_default()
}

pub(crate) fn fields<'a>(fields: impl Iterator<Item = Field<'a>>) -> Fields {
    let value = |value: Value<'_>| match value {
        Value::Text(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Boolean(truth) => truth.into(),
    };
    fields.map(|field| (field.name.to_owned(), value(field.value))).collect()
}

pub(crate) fn labels<'a>(labels: impl Iterator<Item = Field<'a>>) -> BTreeMap<String, String> {
    labels
        .filter_map(|label| match label.value {
            Value::Text(text) => Some((label.name.to_owned(), text.to_owned())),
            _ => None,
        })
        .collect()
}

pub(crate) fn link(link: &wire::Link<'_>, link_fields: &[Field<'_>]) -> Link {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Link {
        trace_id: digits(&link.trace_id),
        span_id: digits(&link.span_id),
        tracestate: link.state.to_owned(),
        fields: fields(link_fields.iter().copied()),
    }
}

fn source(source: Option<Source<'_>>) -> Option<(String, u32)> {
    source.map(|source| (source.file.to_owned(), source.line))
}

impl Collector {
    pub(crate) fn stored(&self) -> Stored {
        self.stored
    }

    pub(crate) fn baggage(&self) -> String {
        self.baggage.clone()
    }

    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answer.clone()
    }

    /// How many logs have arrived.
    #[cfg(test)]
    pub(crate) fn logs(&self) -> usize {
        self.recorded.logs.len()
    }

    /// The samples that have arrived: name and value.
    #[cfg(test)]
    pub(crate) fn samples(&self) -> Vec<(String, f64)> {
        self.recorded.samples.iter().map(|sample| (sample.name.clone(), sample.value)).collect()
    }

    /// # Panics
    ///
    /// If the bytes are malformed: the encoder is ours.
    pub(crate) fn emit(&mut self, batch: &[u8]) {
        for record in records(batch).expect("the SDK sends batches of a version that there is") {
            let (kind, body) = record.expect("the SDK sends whole records");
            if kind == wire::KIND_SAMPLES {
                let samples = wire::samples(body).expect("the SDK sends well-formed samples");
                for value in samples.values() {
                    self.keep(Record::Metric(wire::Metric { value, ..samples.metric }, samples.labels));
                }
            } else {
                self.keep(decode(kind, body).expect("the SDK sends well-formed records"));
            }
        }
    }

    fn keep(&mut self, record: Record<'_>) {
        match record {
            Record::Log(log, log_fields) => self.recorded.logs.push(Log {
                level: log.level,
                target: log.target.to_owned(),
                message: log.message.to_owned(),
                source: source(log.source),
                fields: fields(log_fields.iter()),
            }),
            Record::Metric(metric, metric_labels) => self.recorded.samples.push(Sample {
                name: metric.name.to_owned(),
                instrument: metric.instrument,
                unit: metric.unit.to_owned(),
                value: metric.value,
                labels: labels(metric_labels.iter()),
            }),
            Record::Error(error, error_fields) => self.recorded.errors.push(Report {
                kind: error.kind.to_owned(),
                message: error.message.to_owned(),
                stack: error.stack.to_owned(),
                source: source(error.source),
                handled: error.handled,
                fields: fields(error_fields.iter()),
            }),
            Record::Alert(alert) => self.recorded.alerts.push(Alert {
                kind: alert.kind.to_owned(),
                severity: alert.severity,
                title: alert.title.to_owned(),
                message: alert.message.to_owned(),
                metric: alert.metric.map(str::to_owned),
                value: alert.value,
                threshold: alert.threshold,
            }),
        }
    }

    pub(crate) fn sample(
        &mut self,
        name: &str,
        instrument: Instrument,
        unit: &str,
        labels: &[(String, String)],
        value: f64,
    ) {
        let labels = labels.iter().cloned().collect();
        self.recorded.samples.push(Sample { name: name.to_owned(), instrument, unit: unit.to_owned(), value, labels });
    }

    pub(crate) fn start_span(&mut self, name: &str, kind: SpanKind, span_fields: &[Field<'_>]) -> usize {
        let spans = &mut self.recorded.spans;
        spans.push(Span {
            name: name.to_owned(),
            kind,
            fields: fields(span_fields.iter().copied()),
            events: Vec::new(),
            links: Vec::new(),
            failure: None,
            parent: spans.iter().rev().find(|span| !span.ended).map(|span| span.name.clone()),
            is_root: false,
            ended: false,
        });
        spans.len() - 1
    }

    pub(crate) fn span(&mut self, index: usize) -> Option<&mut Span> {
        self.recorded.spans.get_mut(index)
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &Payload) -> Result<String, PublishError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.recorded.published.push((topic.to_owned(), payload.clone()));
        Ok(format!("event-{}", self.recorded.published.len()))
    }
}

/// The nested contexts of this thread.
pub(crate) struct Scopes;

impl Scopes {
    pub(crate) fn current() -> Info {
        SCOPES.with_borrow(|scopes| scopes.iter().rev().flatten().next().cloned()).unwrap_or_else(|| Info {
            correlation_id: "test".to_owned(),
            trace_id: "0".repeat(31) + "1",
            span_id: "0".repeat(15) + "1",
            ..Info::default()
        })
    }

    pub(crate) fn enter(correlation_id: Option<&str>, user: Option<&str>, tenant: Option<&str>) -> usize {
        let mut info = Self::current();
        if let Some(id) = correlation_id {
            id.clone_into(&mut info.correlation_id);
        }
        info.user = user.map(str::to_owned).or(info.user);
        info.tenant = tenant.map(str::to_owned).or(info.tenant);
        SCOPES.with_borrow_mut(|scopes| {
            scopes.push(Some(info));
            scopes.len() - 1
        })
    }

    pub(crate) fn leave(index: usize) {
        SCOPES.with_borrow_mut(|scopes| {
            if let Some(scope) = scopes.get_mut(index) {
                *scope = None;
            }
            while scopes.last().is_some_and(Option::is_none) {
                scopes.pop();
            }
        });
    }
}
