//! JSON: one document, or an object a line, which is what the command line prints of a record.

use glasshouse_model::Signal;
use glasshouse_telemetry::Cursor;
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

/// Writes an object a line.
pub(crate) fn write_lines(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    struct Lines;
    impl Take for Lines {
        fn take<T: Serialize>(&mut self, walk: &mut Walk<'_>, line: &Line<'_, T>) -> Result<(), Broken> {
            serde_json::to_writer(walk.buffer(), line)?;
            walk.buffer().push(b'\n');
            Ok(())
        }
    }
    let signals = export.what.signals();
    for signal in signals {
        for source in export.sources {
            feed(walk, source, *signal, (signals.len() > 1).then_some(*signal), &mut Lines)?;
        }
    }
    Ok(())
}

/// Writes one document: an array of one signal's records, or an object with an array for each.
pub(crate) fn write_document(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    struct Items {
        is_first: bool,
    }
    impl Take for Items {
        fn take<T: Serialize>(&mut self, walk: &mut Walk<'_>, line: &Line<'_, T>) -> Result<(), Broken> {
            let separator = if std::mem::take(&mut self.is_first) { "\n" } else { ",\n" };
            walk.buffer().extend_from_slice(separator.as_bytes());
            serde_json::to_writer(walk.buffer(), line)?;
            Ok(())
        }
    }
    let is_object = matches!(export.what, What::All | What::Traces);
    for (index, signal) in export.what.signals().iter().enumerate() {
        if is_object {
            let begin = if index == 0 { "{" } else { "," };
            walk.buffer().extend_from_slice(format!("{begin}\n\"{signal}\": ").as_bytes());
        }
        walk.buffer().push(b'[');
        let mut items = Items { is_first: true };
        for source in export.sources {
            feed(walk, source, *signal, None, &mut items)?;
        }
        walk.buffer().extend_from_slice(b"\n]");
    }
    let end = if is_object { "\n}\n" } else { "\n" };
    walk.buffer().extend_from_slice(end.as_bytes());
    Ok(())
}
