//! Stored records as lines. What is stored is redacted already.

use glasshouse_export::records::{
    AlertRecord, ContextRecord, ErrorRecord, FieldList, FieldValue, Head, InvocationRecord, LogRecord, SourceLine,
    record,
};
use glasshouse_model::text::{duration, fuel};
use glasshouse_model::{HOST, Level, LogTier, Origin, Severity, Signal, UnixNanos};
use glasshouse_telemetry::{Entry, GapCause};

use crate::line::{Line, Work};
use crate::tiers::Tiers;

/// The signals whose records are lines. Samples and spans are not: they are no log, and have exports of their own.
pub(crate) const SIGNALS: [Signal; 4] = [Signal::Log, Signal::Error, Signal::Alert, Signal::Invocation];
/// The logger of what this writer itself has to say.
pub(crate) const LOGGER: &str = "glasshouse::files";

/// The line of a record; `None` if it cannot be read.
pub(crate) fn line(extension: &str, signal: Signal, entry: &Entry) -> Option<Line> {
    match signal {
        Signal::Log => record(entry).map(|log| of_log(extension, log)),
        Signal::Error => record(entry).map(|error| of_error(extension, error)),
        Signal::Alert => record(entry).map(|alert| of_alert(extension, alert)),
        Signal::Invocation => record(entry).map(|call| of_invocation(extension, call)),
        Signal::Metric | Signal::Span => None,
    }
}

/// The line about records that were gone before they could be written.
pub(crate) fn gone(extension: &str, signal: Signal, time: UnixNanos, first: u64, last: u64, cause: GapCause) -> Line {
    let why = match cause {
        GapCause::Evicted => "were evicted before they could be written here",
        GapCause::Damaged => "cannot be read where they are stored",
    };
    let count = last.saturating_sub(first).saturating_add(1);
    let details = vec![
        ("first", FieldValue::Integer(first as i64)),
        ("last", FieldValue::Integer(last as i64)),
        ("missing", FieldValue::Integer(count as i64)),
    ];
    let message = format!("{count} {signal} {why}");
    own(extension, format!("{signal}:{first}"), time, Level::Warning, message, details)
}

/// A line of the host's own about the files themselves.
pub(crate) fn own(
    extension: &str,
    id: String,
    time: UnixNanos,
    level: Level,
    message: String,
    details: Vec<(&'static str, FieldValue)>,
) -> Line {
    Line {
        time,
        level,
        extension: extension.to_owned(),
        origin: Origin::Host,
        id,
        work: None,
        logger: LOGGER.to_owned(),
        message,
        module: None,
        function: None,
        at: None,
        thread: None,
        details,
        fields: FieldList::default(),
        tiers: Tiers::of_level(level),
    }
}

fn text(text: impl Into<String>) -> FieldValue {
    FieldValue::Text(text.into())
}

fn number(number: u64) -> FieldValue {
    FieldValue::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What the head of a record says; the rest is empty.
fn begun(extension: &str, signal: Signal, head: Head, level: Level, logger: String, message: String) -> Line {
    let work = |context: ContextRecord| Work {
        request: context.correlation_id,
        trace_id: context.trace_id.to_string(),
        span_id: context.span_id.to_string(),
        user: context.user,
        tenant: context.tenant,
    };
    let mut details = Vec::new();
    if head.cut {
        details.push(("cut", FieldValue::Boolean(true)));
    }
    if head.batched {
        details.push(("batched", FieldValue::Boolean(true)));
    }
    let line = own(extension, format!("{signal}:{}", head.sequence), head.time, level, message, details);
    Line { origin: head.origin, work: head.context.map(work), logger, ..line }
}

fn put_source(line: &mut Line, source: Option<SourceLine>) {
    if let Some(SourceLine { file, line: number }) = source {
        (line.module, line.at) = (Some(file), Some(number));
    }
}

fn of_log(extension: &str, log: LogRecord) -> Line {
    let event = match log.fields.get("event") {
        Some(FieldValue::Text(event)) => Some(event.as_str()),
        _ => None,
    };
    let tiers = Tiers::of_log(log.level, &log.target, log.head.origin, event);
    let mut line = begun(extension, Signal::Log, log.head, log.level, log.target, log.message);
    put_source(&mut line, log.source);
    if let Some(time) = log.guest_time {
        line.details.push(("guest_time", text(time.to_string())));
    }
    Line { fields: log.fields, tiers, ..line }
}

fn of_error(extension: &str, error: ErrorRecord) -> Line {
    let level = if error.handled { Level::Warning } else { Level::Error };
    let message = format!("{}: {}", error.kind, error.message);
    let mut line = begun(extension, Signal::Error, error.head, level, "glasshouse.error".to_owned(), message);
    line.function = error.stack.first().map(|frame| frame.function.clone()).filter(|function| !function.is_empty());
    put_source(&mut line, error.source);
    let details = &mut line.details;
    details.push(("kind", text(error.kind)));
    details.push(("group", text(error.group)));
    details.push(("blame", text(error.blame.to_string())));
    details.push(("handled", FieldValue::Boolean(error.handled)));
    details.extend(error.call.map(|call| ("call", text(call))));
    let stack: Vec<_> = error.stack.into_iter().map(|frame| frame.function).collect();
    let stack = if stack.is_empty() { error.guest_stack } else { stack.join("\n") };
    if !stack.is_empty() {
        details.push(("stack", text(stack)));
    }
    details.extend(error.input_digest.map(|input| ("input_digest", text(input.to_string()))));
    details.extend(error.advice.map(|advice| ("advice", text(advice))));
    Line { fields: error.fields, ..line }
}

fn of_alert(extension: &str, alert: AlertRecord) -> Line {
    let level = match alert.severity {
        Severity::Low => Level::Info,
        Severity::Medium => Level::Warning,
        Severity::High => Level::Error,
        Severity::Critical => Level::Critical,
    };
    let message =
        if alert.message.is_empty() { alert.title.clone() } else { format!("{}: {}", alert.title, alert.message) };
    let mut line = begun(extension, Signal::Alert, alert.head, level, "glasshouse.alert".to_owned(), message);
    let details = &mut line.details;
    details.push(("type", text(alert.kind)));
    details.push(("severity", text(alert.severity.as_str())));
    details.extend(alert.metric.map(|metric| ("metric", text(metric))));
    details.extend(alert.value.map(|value| ("value", FieldValue::Float(value))));
    details.extend(alert.threshold.map(|threshold| ("threshold", FieldValue::Float(threshold))));
    line
}

fn of_invocation(extension: &str, call: InvocationRecord) -> Line {
    let took = duration(std::time::Duration::from_nanos(call.wall_ns));
    let message = format!("{} ended with {} after {took}, {} fuel", call.name, call.outcome, fuel(call.fuel));
    let logger = "glasshouse.invocation".to_owned();
    let mut line = begun(extension, Signal::Invocation, call.head, Level::Info, logger, message);
    line.details.push(("outcome", text(call.outcome.as_str())));
    line.details.extend(call.fuel.map(|fuel| ("fuel", number(fuel))));
    line.details.extend(
        [
            ("wall_ns", call.wall_ns),
            ("guest_cpu_ns", call.guest_cpu_ns),
            ("in_guest_ns", call.in_guest_ns),
            ("in_host_ns", call.in_host_ns),
            ("queued_ns", call.queued_ns),
            ("waiting_ns", call.waiting_ns),
            ("host_calls", call.host_calls),
            ("memory_peak_bytes", call.memory_peak_bytes),
            ("input_bytes", call.input_bytes),
            ("output_bytes", call.output_bytes),
        ]
        .map(|(name, value)| (name, number(value))),
    );
    line.function = Some(call.name);
    line.tiers = line.tiers.and(LogTier::Performance);
    line
}

/// The line of something that the host itself said.
pub(crate) fn of_message(message: crate::host_log::Message) -> Line {
    let tiers = Tiers::of_log(message.level, &message.logger, Origin::Host, None);
    Line {
        time: message.time,
        level: message.level,
        extension: HOST.to_owned(),
        origin: Origin::Host,
        id: format!("messages:{}", message.number),
        work: None,
        logger: message.logger,
        message: message.text,
        module: message.module,
        function: None,
        at: message.line,
        thread: message.thread,
        details: Vec::new(),
        fields: message.fields,
        tiers,
    }
}
