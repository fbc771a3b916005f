//! Replaces the secrets in a stored record, and leaves its form as it is.

use std::borrow::Cow;

use glasshouse_model::record::{KIND_ANSWERED, KIND_FAILURE, KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::wire::{self, Field, Fields, Link, Malformed, Reader, Record, Source, Value};
use glasshouse_model::{AnsweredError, Failure, Invocation, Span, limits};

use super::{MARKER, Redactor};

/// The body of a record without its secrets; `None` if it had none, or is no record.
pub(super) fn redact(redactor: &Redactor, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    let loose = Pass { redactor, tight: false, changed: false }.record(kind, body)?;
    if loose.len() <= body.len().max(limits::RECORD_BYTES) {
        return Some(loose);
    }
    Pass { redactor, tight: true, changed: false }.record(kind, body)
}

/// One going over a record.
struct Pass<'r> {
    redactor: &'r Redactor,
    /// Whether no text may get longer than it was.
    tight: bool,
    changed: bool,
}

/// A field with text of its own.
struct OwnField<'a> {
    name: Cow<'a, str>,
    value: OwnValue<'a>,
}

enum OwnValue<'a> {
    Text(Cow<'a, str>),
    Other(Value<'a>),
}

impl Pass<'_> {
    fn record(mut self, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
        let mut clean = Vec::with_capacity(body.len() + 2 * MARKER.len());
        match kind {
            KIND_SPAN => self.span(body, &mut clean),
            KIND_INVOCATION => self.invocation(body, &mut clean),
            KIND_FAILURE => self.failure(body, &mut clean),
            KIND_ANSWERED => self.answered(body, &mut clean),
            _ => wire::decode(kind, body).map(|record| self.signal(record, &mut clean)),
        }
        .ok()?;
        self.changed.then_some(clean)
    }

    fn text<'t>(&mut self, text: &'t str, limit: usize) -> Cow<'t, str> {
        let limit = if self.tight { 0 } else { limit };
        match self.redactor.text_within(text, limit) {
            Some(clean) => {
                self.changed = true;
                Cow::Owned(clean)
            }
            None => Cow::Borrowed(text),
        }
    }

    fn name<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.text(text, limits::NAME_BYTES)
    }

    fn message<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.text(text, limits::MESSAGE_BYTES)
    }

    fn fields<'a>(&mut self, fields: Fields<'a>) -> Vec<OwnField<'a>> {
        fields.iter().map(|field| self.field(&field)).collect()
    }

    fn field<'a>(&mut self, field: &Field<'a>) -> OwnField<'a> {
        let name = self.name(field.name);
        let has_content = match field.value {
            Value::Text(text) => !text.is_empty() && text != MARKER,
            Value::Integer(_) | Value::Float(_) => true,
            Value::Boolean(_) => false,
        };
        // The name as it will be stored counts too: its words may be others.
        let is_secret = |name: &str| self.redactor.is_secret_name(name);
        let value = if has_content && (is_secret(field.name) || is_secret(&name)) {
            self.changed = true;
            OwnValue::Text(Cow::Borrowed(MARKER))
        } else if let Value::Text(text) = field.value {
            OwnValue::Text(self.text(text, limits::TEXT_BYTES))
        } else {
            OwnValue::Other(field.value)
        };
        OwnField { name, value }
    }

    fn signal(&mut self, record: Record<'_>, clean: &mut Vec<u8>) {
        match record {
            Record::Log(log, fields) => {
                let (target, message) = (self.name(log.target), self.message(log.message));
                let file = log.source.map(|source| self.name(source.file));
                let fields = self.fields(fields);
                let log = wire::Log { target: &target, source: with_file(log.source, file.as_deref()), ..log };
                wire::write_log(clean, &log, format_args!("{message}"), &borrowed(&fields));
            }
            Record::Metric(metric, labels) => {
                let (name, unit) = (self.name(metric.name), self.name(metric.unit));
                let labels = self.fields(labels);
                wire::write_metric(clean, &wire::Metric { name: &name, unit: &unit, ..metric }, &borrowed(&labels));
            }
            Record::Error(error, fields) => {
                let (kind, message) = (self.name(error.kind), self.message(error.message));
                let stack = self.text(error.stack, limits::TEXT_BYTES);
                let file = error.source.map(|source| self.name(source.file));
                let fields = self.fields(fields);
                let source = with_file(error.source, file.as_deref());
                let error = wire::Error { kind: &kind, message: &message, stack: &stack, source, ..error };
                wire::write_error(clean, &error, &borrowed(&fields));
            }
            Record::Alert(alert) => {
                let (kind, title) = (self.name(alert.kind), self.name(alert.title));
                let message = self.message(alert.message);
                let metric = alert.metric.map(|metric| self.name(metric));
                let metric = metric.as_deref();
                let alert = wire::Alert { kind: &kind, title: &title, message: &message, metric, ..alert };
                wire::write_alert(clean, &alert);
            }
        }
    }

    fn span(&mut self, body: &[u8], clean: &mut Vec<u8>) -> Result<(), Malformed> {
        let span = Span::decode(body)?;
        let (name, failure) = (self.name(span.name), self.message(span.failure));
        let fields = self.fields(span.fields);
        let mut events = Vec::new();
        for event in &span.events {
            let (name, fields) = (self.name(event.name), self.fields(event.fields));
            Span::encode_event(&mut events, event.time, &name, &borrowed(&fields));
        }
        let count = span.events.len() as u32;
        let mut links = Vec::new();
        wire::put_varint(&mut links, span.links.len() as u32);
        for (link, fields) in span.links {
            let (state, fields) = (self.text(link.state, limits::LINK_STATE_BYTES), self.fields(fields));
            wire::put_link(&mut links, &Link { state: &state, ..link }, &borrowed(&fields));
        }
        let links = Reader::new(&links).links()?;
        let clean_span = Span { name: &name, failure: &failure, events: Vec::new(), links, ..span };
        clean_span.encode(clean, &borrowed(&fields), count, &events);
        Ok(())
    }

    fn invocation(&mut self, body: &[u8], clean: &mut Vec<u8>) -> Result<(), Malformed> {
        let invocation = Invocation::decode(body)?;
        let name = self.name(invocation.name);
        Invocation { name: &name, ..invocation }.encode(clean);
        Ok(())
    }

    fn answered(&mut self, body: &[u8], clean: &mut Vec<u8>) -> Result<(), Malformed> {
        let AnsweredError { error, fields, input, reported } = AnsweredError::decode(body)?;
        AnsweredError::encode(clean, input, reported, &[]);
        self.signal(Record::Error(error, fields), clean);
        Ok(())
    }

    fn failure(&mut self, body: &[u8], clean: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut failure = Failure::decode(body)?;
        failure.message = self.message(&failure.message).into_owned();
        failure.call = self.name(&failure.call).into_owned();
        if let Some((file, _)) = &mut failure.location {
            *file = self.name(file).into_owned();
        }
        for frame in &mut failure.frames {
            frame.function = self.name(&frame.function).into_owned();
        }
        for (name, value) in &mut failure.evidence {
            // Evidence is whole numbers only: there is no room for the marker.
            if *value != 0 && self.redactor.is_secret_name(name) {
                (*value, self.changed) = (0, true);
            }
            *name = self.name(name).into_owned();
        }
        failure.encode(clean);
        Ok(())
    }
}

fn with_file<'s>(source: Option<Source<'s>>, file: Option<&'s str>) -> Option<Source<'s>> {
    source.map(|source| Source { file: file.unwrap_or(source.file), line: source.line })
}

fn borrowed<'a>(fields: &'a [OwnField<'_>]) -> Vec<Field<'a>> {
    let value = |value: &'a OwnValue<'_>| match value {
        OwnValue::Text(text) => Value::Text(text),
        OwnValue::Other(other) => *other,
    };
    fields.iter().map(|field| Field { name: &field.name, value: value(&field.value) }).collect()
}
