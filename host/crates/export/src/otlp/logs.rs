//! Logs; and errors and alerts, which the protocol has as logs with the name of an event.

use std::collections::BTreeMap;

use glasshouse_model::{Level, Severity, Signal};

use super::messages::{AnyValue, LogRecord, LogsData, Resource, ResourceLogs, Scope, ScopeLogs, Value};
use super::{Attributes, Fill, Out, ids, nanos, scope_of};
use crate::export::Broken;
use crate::records::{self, AlertRecord, ErrorRecord, Head, SourceLine};
use crate::walk::{Found, Walk};
use crate::{Source, What};

/// The records of a batch, by scope.
pub(super) type Batch = BTreeMap<Scope, Vec<LogRecord>>;

/// Writes one of the signals that become logs.
pub(super) fn write(walk: &mut Walk<'_>, source: &Source, what: What, out: &mut Out) -> Result<(), Broken> {
    let (mut batch, mut fill) = (Batch::new(), Fill::default());
    for signal in what.signals() {
        walk.each(source, *signal, &mut |walk, found| {
            let bytes = found.entry.bytes();
            let Some((scope, record)) = log_record(*signal, source, found) else { return Ok(()) };
            batch.entry(scope).or_default().push(record);
            if fill.is_full_with(bytes) { put(walk, &mut batch, out) } else { Ok(()) }
        })?;
    }
    put(walk, &mut batch, out)
}

fn put(walk: &mut Walk<'_>, batch: &mut Batch, out: &Out) -> Result<(), Broken> {
    if batch.is_empty() {
        return Ok(());
    }
    out.put(walk, &document(std::mem::take(batch), out.resource.clone()))
}

/// The records of a batch as a message.
pub(super) fn document(batch: Batch, resource: Resource) -> LogsData {
    let scopes = batch.into_iter();
    let scope_logs = scopes.map(|(scope, log_records)| ScopeLogs { scope: Some(scope), log_records }).collect();
    LogsData { resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs }] }
}

/// What becomes of a record of one of the signals that become logs.
pub(super) fn log_record(signal: Signal, source: &Source, found: Found<'_>) -> Option<(Scope, LogRecord)> {
    match signal {
        Signal::Log => found.record().map(log),
        Signal::Error => {
            found.record().map(|record: ErrorRecord| (scope_of(record.head.origin, source), error(record)))
        }
        Signal::Alert => {
            found.record().map(|record: AlertRecord| (scope_of(record.head.origin, source), alert(record)))
        }
        _ => None,
    }
}

/// What all of them have. The attributes are those that the host gives, so that no extension's can take their place.
fn begin(head: &Head, attributes: Attributes, body: String) -> LogRecord {
    let (trace_id, span_id) = ids(head.context.as_ref());
    LogRecord {
        time_unix_nano: nanos(head.time),
        observed_time_unix_nano: nanos(head.time),
        body: Some(AnyValue { value: Some(Value::Text(body)) }),
        attributes: attributes.0,
        trace_id,
        span_id,
        ..LogRecord::default()
    }
}

fn log(record: records::LogRecord) -> (Scope, LogRecord) {
    let mut attributes = Attributes::default();
    attributes.head(&record.head);
    attributes.source(record.source.as_ref());
    attributes.fields(record.fields);
    let severity_number = match record.level {
        Level::Trace => 1,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Warning => 13,
        Level::Error => 17,
        Level::Critical => 21,
    };
    let log = LogRecord {
        time_unix_nano: nanos(record.guest_time.unwrap_or(record.head.time)),
        severity_number,
        severity_text: record.level.as_str().to_owned(),
        ..begin(&record.head, attributes, record.message)
    };
    (Scope { name: record.target }, log)
}

/// An error as the semantic conventions have an exception.
fn error(record: ErrorRecord) -> LogRecord {
    let mut attributes = Attributes::default();
    attributes.head(&record.head);
    attributes.text("exception.type", &record.kind);
    attributes.text("exception.message", &record.message);
    let mut stack: Vec<_> = record.stack.iter().map(|frame| format!("at {}", frame.function)).collect();
    if !record.guest_stack.is_empty() {
        stack.push(record.guest_stack);
    }
    if !stack.is_empty() {
        attributes.text("exception.stacktrace", &stack.join("\n"));
    }
    attributes.text("glasshouse.error.group", &record.group);
    attributes.text("glasshouse.error.blame", record.blame.as_str());
    attributes.set("glasshouse.error.handled", Value::Boolean(record.handled));
    if let Some(call) = &record.call {
        attributes.text("glasshouse.error.call", call);
    }
    if let Some(advice) = record.advice {
        attributes.text("glasshouse.error.advice", &advice);
    }
    attributes.source(record.source.as_ref());
    attributes.fields(record.fields);
    LogRecord {
        severity_number: 17,
        severity_text: "error".to_owned(),
        event_name: "exception".to_owned(),
        ..begin(&record.head, attributes, record.message)
    }
}

fn alert(record: AlertRecord) -> LogRecord {
    let mut attributes = Attributes::default();
    attributes.head(&record.head);
    attributes.text("glasshouse.alert.type", &record.kind);
    attributes.text("glasshouse.alert.title", &record.title);
    if let Some(metric) = &record.metric {
        attributes.text("glasshouse.alert.metric", metric);
    }
    for (key, value) in [("glasshouse.alert.value", record.value), ("glasshouse.alert.threshold", record.threshold)] {
        if let Some(value) = value {
            attributes.set(key, Value::Double(value));
        }
    }
    let severity_number = match record.severity {
        Severity::Low => 9,
        Severity::Medium => 13,
        Severity::High => 17,
        Severity::Critical => 21,
    };
    LogRecord {
        severity_number,
        severity_text: record.severity.as_str().to_owned(),
        event_name: "glasshouse.alert".to_owned(),
        ..begin(&record.head, attributes, record.message)
    }
}

impl Attributes {
    /// A place in the source, as the semantic conventions have it.
    fn source(&mut self, source: Option<&SourceLine>) {
        if let Some(SourceLine { file, line }) = source {
            self.text("code.file.path", file);
            self.count("code.line.number", (*line).into());
        }
    }
}
