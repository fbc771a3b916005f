//! The values of a record's fields, and the texts that it holds.

use std::fmt::Write as _;

use glasshouse_model::invocation::{Cost, Transfer};
use glasshouse_model::wire::{Alert, Error, Fields, Links, Log, Metric, Record, Value};
use glasshouse_model::{AnsweredError, Context, Envelope, Failure, Signal, SpanCost};

use super::fields::{Field, Known};
use crate::Body;

/// A record as a query sees it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) signal: Signal,
    pub(super) extension: &'a str,
    pub(super) envelope: &'a Envelope,
    pub(super) body: &'a Body<'a>,
}

/// The value of a field. Levels, times, durations and sizes are whole numbers here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand<'a> {
    Text(&'a str),
    Made(String),
    Hex(Hex),
    Integer(i128),
    Float(f64),
    Boolean(bool),
}

/// An id in hexadecimal digits, which takes no allocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hex {
    digits: [u8; 32],
    length: usize,
}

impl Hex {
    pub(super) fn new(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = Self { digits: [b'0'; 32], length: 2 * bytes.len().min(16) };
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        hex
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.length]).unwrap_or_default()
    }
}

impl Operand<'_> {
    /// The text, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            Self::Hex(hex) => Some(hex.as_str()),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    /// The value of a field; `None` if the record has it not.
    #[inline]
    pub(super) fn value(&self, field: &Field) -> Option<Operand<'a>> {
        match field {
            Field::Known(name) => self.known(*name),
            Field::Named(name) => self.named(name),
        }
    }

    fn context(&self) -> Option<&'a Context> {
        self.envelope.context.as_ref()
    }

    fn known(&self, name: Known) -> Option<Operand<'a>> {
        let text = |text: &'a Option<String>| text.as_deref().map(Operand::Text);
        Some(match name {
            Known::Signal => Operand::Text(self.signal.as_str()),
            Known::Extension => Operand::Text(self.extension),
            Known::Time => Operand::Integer(self.envelope.time.0.into()),
            Known::Sequence => Operand::Integer(self.envelope.sequence.into()),
            Known::Origin => Operand::Text(self.envelope.origin.as_str()),
            Known::Cut => Operand::Boolean(self.envelope.cut),
            Known::User => return text(&self.context()?.user),
            Known::Tenant => return text(&self.context()?.tenant),
            Known::Trace => Operand::Hex(Hex::new(&self.context()?.trace_id.0)),
            Known::Span => Operand::Hex(Hex::new(&self.context()?.span_id.0)),
            Known::Correlation => {
                let context = self.context()?;
                text(&context.correlation_id).unwrap_or_else(|| Operand::Hex(Hex::new(&context.trace_id.0)))
            }
            _ => return self.of_body(name),
        })
    }

    fn of_body(&self, name: Known) -> Option<Operand<'a>> {
        let integer = |number: u64| Operand::Integer(number.into());
        Some(match self.body {
            Body::Record(Record::Log(log, _)) => return of_log(log, name),
            Body::Record(Record::Metric(metric, _)) => return of_metric(metric, name),
            Body::Record(Record::Error(error, _)) => return of_error(error, name),
            Body::Answered(answered) if name == Known::InputDigest => Operand::Hex(Hex::new(&answered.input?.0)),
            Body::Answered(answered) => return of_error(&answered.error, name),
            Body::Record(Record::Alert(alert)) => return of_alert(alert, name),
            Body::Failure(failure) => return of_failure(failure, name),
            Body::Span(span) => match name {
                Known::Name => Operand::Text(span.name),
                Known::Kind => Operand::Text(span.kind.as_str()),
                Known::Status => Operand::Text(span.status.as_str()),
                Known::Failure if !span.failure.is_empty() => Operand::Text(span.failure),
                Known::Parent if span.parent.0 != [0; 8] => Operand::Hex(Hex::new(&span.parent.0)),
                Known::Link => Operand::Hex(self.links().next()?),
                Known::Start => Operand::Integer(span.start.0.into()),
                Known::Duration => integer(span.total.elapsed_nanos),
                Known::Fuel => integer(span.total.fuel?),
                Known::MemoryPeak if span.memory_bytes > 0 => Operand::Integer(span.memory_bytes.into()),
                _ => return of_span_cost(&span.total, name),
            },
            Body::Invocation(invocation) => match name {
                Known::Name => Operand::Text(invocation.name),
                Known::Outcome => Operand::Text(invocation.outcome.as_str()),
                Known::Parent => Operand::Hex(Hex::new(&invocation.parent?.0)),
                Known::Fuel => integer(invocation.cost.fuel?),
                Known::Cpu => integer(invocation.cost.cpu_nanos),
                Known::Duration => integer(invocation.cost.elapsed_nanos),
                Known::Queued => integer(invocation.cost.queued_nanos),
                Known::Memory => integer(invocation.cost.memory_bytes),
                Known::MemoryPeak => integer(invocation.cost.memory_peak_bytes),
                Known::Input => integer(invocation.input_bytes),
                Known::InputDigest => Operand::Hex(Hex::new(&invocation.input?.0)),
                Known::Output => integer(invocation.output_bytes),
                _ => return of_cost(&invocation.cost, name),
            },
        })
    }

    /// Fields and labels; none of other records.
    fn fields(&self) -> Fields<'a> {
        match self.body {
            Body::Record(Record::Log(_, fields) | Record::Metric(_, fields) | Record::Error(_, fields)) => *fields,
            Body::Answered(answered) => answered.fields,
            Body::Span(span) => span.fields,
            _ => Fields::EMPTY,
        }
    }

    /// The traces that a span is linked to; none of other records.
    pub(super) fn links(&self) -> impl Iterator<Item = Hex> {
        let links = if let Body::Span(span) = self.body { span.links } else { Links::EMPTY };
        links.into_iter().map(|(link, _)| Hex::new(&link.trace_id))
    }

    /// Of several fields with one name, the last one counts, as it does where records are printed.
    fn named(&self, name: &str) -> Option<Operand<'a>> {
        if let Body::Failure(failure) = self.body {
            let last = failure.evidence.iter().rev().find(|(known, _)| known == name);
            return last.map(|(_, value)| Operand::Integer((*value).into()));
        }
        let last = self.fields().iter().filter(|field| field.name == name).last()?;
        Some(match last.value {
            Value::Text(text) => Operand::Text(text),
            Value::Integer(number) => Operand::Integer(number.into()),
            Value::Float(number) => Operand::Float(number),
            Value::Boolean(value) => Operand::Boolean(value),
        })
    }

    /// Whether any of the texts that a search for words looks at is accepted: the first ones are the likeliest.
    #[inline]
    pub(super) fn any_text(&self, mut accept: impl FnMut(&str) -> bool) -> bool {
        let known = match self.body {
            Body::Record(Record::Log(log, _)) => accept(log.message) || accept(log.target),
            Body::Record(Record::Metric(metric, _)) => accept(metric.name),
            Body::Record(Record::Error(error, _)) | Body::Answered(AnsweredError { error, .. }) => {
                accept(error.message) || accept(error.kind)
            }
            Body::Record(Record::Alert(alert)) => {
                accept(alert.title)
                    || accept(alert.message)
                    || accept(alert.kind)
                    || alert.metric.is_some_and(&mut accept)
            }
            Body::Span(span) => accept(span.name) || accept(span.failure),
            Body::Invocation(invocation) => accept(invocation.name),
            Body::Failure(failure) => {
                accept(&failure.message) || accept(failure.kind.as_str()) || accept(&failure.call)
            }
        };
        known || self.fields().iter().any(|field| matches!(field.value, Value::Text(text) if accept(text)))
    }

    /// Goes through all texts in which a query can look, those of [`View::any_text`] and more.
    pub(super) fn for_each_text(&self, mut each: impl FnMut(&str)) {
        self.any_text(|text| {
            each(text);
            false
        });
        for name in [Known::File, Known::Stack, Known::Unit, Known::Kind] {
            if let Some(value) = self.of_body(name) {
                each(value.as_str().unwrap_or_default());
            }
        }
        if let Some(context) = self.context() {
            [&context.correlation_id, &context.user, &context.tenant].into_iter().flatten().for_each(|text| each(text));
        }
    }
}

fn of_cost(cost: &Cost, name: Known) -> Option<Operand<'static>> {
    let number = match name {
        Known::Wall => cost.wall_nanos(),
        Known::InGuest => cost.guest_nanos(),
        Known::InHost => cost.host_nanos,
        Known::Waiting => cost.waiting_nanos(),
        Known::Idle => cost.idle_nanos,
        Known::Unattributed => cost.unattributed_nanos,
        Known::GuestCpu => cost.guest_cpu_nanos(),
        Known::HostCpu => cost.host_cpu_nanos(),
        Known::HostCalls => cost.host_calls,
        Known::MemoryDelta => cost.memory_delta_bytes,
        _ => return of_transfer(&cost.transfer, name),
    };
    Some(Operand::Integer(number.into()))
}

fn of_span_cost(cost: &SpanCost, name: Known) -> Option<Operand<'static>> {
    let number = match name {
        Known::InGuest | Known::GuestCpu => cost.guest_nanos(),
        Known::InHost | Known::HostCpu => cost.host_nanos,
        Known::Waiting => cost.waiting_nanos(),
        Known::Idle => cost.idle_nanos,
        Known::HostCalls => cost.host_calls,
        Known::MemoryDelta => cost.memory_delta_bytes,
        _ => return of_transfer(&cost.transfer, name),
    };
    Some(Operand::Integer(number.into()))
}

fn of_transfer(transfer: &Transfer, name: Known) -> Option<Operand<'static>> {
    let bytes = match name {
        Known::Read => transfer.read_bytes,
        Known::Written => transfer.written_bytes,
        Known::Sent => transfer.sent_bytes,
        Known::Received => transfer.received_bytes,
        _ => return None,
    };
    Some(Operand::Integer(bytes.into()))
}

fn of_log<'a>(log: &Log<'a>, name: Known) -> Option<Operand<'a>> {
    Some(match name {
        Known::Level => Operand::Integer(log.level as i128),
        Known::Target => Operand::Text(log.target),
        Known::Message => Operand::Text(log.message),
        Known::File => Operand::Text(log.source?.file),
        Known::Line => Operand::Integer(log.source?.line.into()),
        _ => return None,
    })
}

fn of_metric<'a>(metric: &Metric<'a>, name: Known) -> Option<Operand<'a>> {
    Some(match name {
        Known::Instrument => Operand::Text(metric.instrument.as_str()),
        Known::Name => Operand::Text(metric.name),
        Known::Unit => Operand::Text(metric.unit),
        Known::Value => Operand::Float(metric.value),
        _ => return None,
    })
}

fn of_error<'a>(error: &Error<'a>, name: Known) -> Option<Operand<'a>> {
    Some(match name {
        Known::Kind => Operand::Text(error.kind),
        Known::Message => Operand::Text(error.message),
        Known::Blame => Operand::Text(glasshouse_model::Blame::Guest.as_str()),
        Known::Handled => Operand::Boolean(error.handled),
        Known::Stack if !error.stack.is_empty() => Operand::Text(error.stack),
        Known::File => Operand::Text(error.source?.file),
        Known::Line => Operand::Integer(error.source?.line.into()),
        _ => return None,
    })
}

fn of_failure(failure: &Failure, name: Known) -> Option<Operand<'_>> {
    Some(match name {
        Known::Kind => Operand::Text(failure.kind.as_str()),
        Known::Message => Operand::Text(&failure.message),
        Known::Blame => Operand::Text(failure.kind.blame().as_str()),
        Known::Handled => Operand::Boolean(false),
        Known::Call => Operand::Text(&failure.call),
        Known::InputDigest => Operand::Hex(Hex::new(&failure.input?.0)),
        Known::File => Operand::Text(&failure.location.as_ref()?.0),
        Known::Line => Operand::Integer(failure.location.as_ref()?.1.into()),
        Known::Stack if !failure.frames.is_empty() => {
            let mut stack = String::new();
            for frame in &failure.frames {
                let _ = writeln!(stack, "{}", frame.function);
            }
            stack.pop();
            Operand::Made(stack)
        }
        _ => return None,
    })
}

fn of_alert<'a>(alert: &Alert<'a>, name: Known) -> Option<Operand<'a>> {
    Some(match name {
        Known::Severity => Operand::Integer(alert.severity as i128),
        Known::Type => Operand::Text(alert.kind),
        Known::Title => Operand::Text(alert.title),
        Known::Message => Operand::Text(alert.message),
        Known::Metric => Operand::Text(alert.metric?),
        Known::Value => Operand::Float(alert.value?),
        Known::Threshold => Operand::Float(alert.threshold?),
        _ => return None,
    })
}
