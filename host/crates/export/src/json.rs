//! JSON: one document, or an object a line, which is what the command line prints of a record.

mod log;

use glasshouse_model::Signal;
use glasshouse_telemetry::Cursor;
pub use log::LogLines;
use serde::Serialize;

use crate::export::{Broken, Export};
use crate::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, Record, SpanRecord, shown};
use crate::walk::{Found, Walk};
use crate::{Source, What};

/// A record, with what tells whose it is and where.
#[derive(Serialize)]
pub(crate) struct Line<'a, T> {
    /// Where several signals are written.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_shown")]
    pub(crate) signal: Option<Signal>,
    pub(crate) extension: &'a str,
    #[serde(serialize_with = "shown")]
    pub(crate) cursor: &'a Cursor,
    #[serde(flatten)]
    pub(crate) record: &'a T,
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes fields in this form")]
fn some_shown<S: serde::Serializer>(signal: &Option<Signal>, serializer: S) -> Result<S::Ok, S::Error> {
    crate::records::shown_if_any(signal, serializer)
}

/// What becomes of each record, whatever its kind.
pub(crate) trait Take {
    fn take<T: Serialize>(&mut self, walk: &mut Walk<'_>, line: &Line<'_, T>) -> Result<(), Broken>;
}

/// Hands over all records of a signal of a source.
pub(crate) fn feed(
    walk: &mut Walk<'_>,
    source: &Source,
    signal: Signal,
    named: Option<Signal>,
    take: &mut impl Take,
) -> Result<(), Broken> {
    fn one<T: Record + Serialize>(
        walk: &mut Walk<'_>,
        line: (Option<Signal>, &str, &Cursor),
        found: Found<'_>,
        take: &mut impl Take,
    ) -> Result<(), Broken> {
        let (signal, extension, cursor) = line;
        let Some(record) = found.record::<T>() else { return Ok(()) };
        take.take(walk, &Line { signal, extension, cursor, record: &record })
    }
    let extension = source.extension();
    let mut cursor = source.reader(signal).cursor(extension, 0);
    walk.each(source, signal, &mut |walk, found| {
        cursor.sequence = found.envelope.sequence;
        let line = (named, extension, &cursor);
        match signal {
            Signal::Log => one::<LogRecord>(walk, line, found, take),
            Signal::Metric => one::<MetricRecord>(walk, line, found, take),
            Signal::Error => one::<ErrorRecord>(walk, line, found, take),
            Signal::Span => one::<SpanRecord>(walk, line, found, take),
            Signal::Alert => one::<AlertRecord>(walk, line, found, take),
            Signal::Invocation => one::<InvocationRecord>(walk, line, found, take),
        }
    })
}

/// Appends each record of a signal of a source as an object, between what `begin` appends and an end.
fn objects(
    walk: &mut Walk<'_>,
    source: &Source,
    signal: Signal,
    named: Option<Signal>,
    begin: &mut dyn FnMut(&mut Vec<u8>),
    end: &[u8],
) -> Result<(), Broken> {
    struct Objects<'o> {
        begin: &'o mut dyn FnMut(&mut Vec<u8>),
        end: &'o [u8],
    }
    impl Take for Objects<'_> {
        fn take<T: Serialize>(&mut self, walk: &mut Walk<'_>, line: &Line<'_, T>) -> Result<(), Broken> {
            (self.begin)(walk.buffer());
            serde_json::to_writer(walk.buffer(), line)?;
            walk.buffer().extend_from_slice(self.end);
            Ok(())
        }
    }
    if signal != Signal::Log {
        return feed(walk, source, signal, named, &mut Objects { begin, end });
    }
    let cursor = source.reader(signal).cursor(source.extension(), 0);
    let mut lines = log::LogLines::new(named, source.extension(), &cursor)?;
    walk.each(source, signal, &mut |walk, found| {
        begin(walk.buffer());
        if lines.put(walk.buffer(), &found)? {
            walk.buffer().extend_from_slice(end);
        }
        Ok(())
    })
}

/// Writes an object a line.
pub(crate) fn write_lines(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    let signals = export.what.signals();
    for signal in signals {
        for source in export.sources {
            objects(walk, source, *signal, (signals.len() > 1).then_some(*signal), &mut |_| (), b"\n")?;
        }
    }
    Ok(())
}

/// Writes one document: an array of one signal's records, or an object with an array for each.
pub(crate) fn write_document(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    let is_object = matches!(export.what, What::All | What::Traces);
    for (index, signal) in export.what.signals().iter().enumerate() {
        if is_object {
            let begin = if index == 0 { "{" } else { "," };
            walk.buffer().extend_from_slice(format!("{begin}\n\"{signal}\": ").as_bytes());
        }
        walk.buffer().push(b'[');
        let mut is_first = true;
        let mut begin = |out: &mut Vec<u8>| {
            let separator: &[u8] = if std::mem::take(&mut is_first) { b"\n" } else { b",\n" };
            out.extend_from_slice(separator);
        };
        for source in export.sources {
            objects(walk, source, *signal, None, &mut begin, b"")?;
        }
        walk.buffer().extend_from_slice(b"\n]");
    }
    let end = if is_object { "\n}\n" } else { "\n" };
    walk.buffer().extend_from_slice(end.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use glasshouse_model::wire::{Field, Source as Place, Value};
    use glasshouse_model::{Context, Level, Origin, SpanId, TraceId, TraceSampling};

    use super::*;
    use crate::testing::{START, Shelf};

    #[test]
    fn logs_are_written_as_serde_writes_them() {
        let shelf = Shelf::new("markdown");
        let source = Place { file: "src/\"a\".rs", line: 7 };
        let fields = [
            Field { name: "a", value: Value::Text("\u{1b}\n\"é") },
            Field { name: "b\t", value: Value::Integer(i64::MIN) },
            Field { name: "a", value: Value::Float(0.1) },
            Field { name: "c", value: Value::Float(f64::NAN) },
            Field { name: "d", value: Value::Boolean(true) },
        ];
        let whole = Context {
            trace_id: TraceId([0xa5; 16]),
            span_id: SpanId([0x0f; 8]),
            correlation_id: Some("c-\"1\"".into()),
            user: Some("ada".into()),
            tenant: Some("engines\u{202e}".into()),
            sampling: TraceSampling {
                is_sampled: false,
                threshold: None,
                randomness: Some("00000000000001".parse().expect("a random value")),
            },
        };
        let plain = Context { trace_id: TraceId([1; 16]), ..Context::default() };
        let times = [0, -1, i64::MIN, i64::MAX, START, START + 1, START + 999_999_999, START + 1_000_000_000];
        for (number, time) in times.into_iter().enumerate() {
            for (context, origin) in
                [(None, Origin::Host), (Some(&whole), Origin::Guest), (Some(&plain), Origin::Stdio)]
            {
                let is_odd = number % 2 == 1;
                let log = glasshouse_model::wire::Log {
                    level: Level::ALL[number % Level::ALL.len()],
                    target: "a::\\b",
                    message: "",
                    source: is_odd.then_some(source),
                    time: is_odd.then_some(time ^ 1),
                };
                let fields = if is_odd { &fields[..] } else { &[] };
                shelf.log_as(&log, "said \"so\"", fields, time, origin, context, is_odd);
            }
        }
        let source = shelf.source();
        let reader = source.reader(Signal::Log);
        for named in [None, Some(Signal::Log)] {
            let mut lines =
                log::LogLines::new(named, "markdown", &reader.cursor("markdown", 0)).expect("a line begins");
            for entry in reader.all() {
                let found = Found { entry: &entry, envelope: entry.envelope(), body: entry.body().expect("a log") };
                let mut line = Vec::new();
                assert!(lines.put(&mut line, &found).expect("it is written"));
                let record: LogRecord = found.record().expect("a log");
                let cursor = reader.cursor("markdown", entry.sequence());
                let expect = serde_json::to_string(&Line {
                    signal: named,
                    extension: "markdown",
                    cursor: &cursor,
                    record: &record,
                });
                assert_eq!(String::from_utf8(line).expect("text"), expect.expect("JSON"));
            }
        }
    }
}
