//! For the fuzz targets, and for tests that stand in for them where nobody fuzzes: bytes are read as what crosses, and what is read must say
//! the same when it is written again.

use crate::{
    Field, Fields, KIND_ALERT, KIND_ERROR, KIND_LOG, KIND_METRIC, KIND_SAMPLES, Links, Malformed, Record, SpanChange,
    SpanStart, VERSION_BATCHED, check_log, check_span_start, decode, records, samples, span_change, span_start,
    write_alert, write_error, write_linked_span_start, write_log, write_metric, write_span_event, write_span_failure,
    write_span_field, write_span_link, write_span_start,
};

/// Reads arbitrary bytes as a batch of records. Returns how many of its records are whole.
///
/// # Panics
///
/// If a record that is whole does not say the same when it is encoded again, or if two that validate a record do not agree.
pub fn check_batch(bytes: &[u8]) -> usize {
    let Ok(batch) = records(bytes) else { return 0 };
    assert_eq!(batch.serial().is_some(), bytes.first() == Some(&VERSION_BATCHED));
    let mut whole = 0;
    for (kind, body) in batch.flatten() {
        if kind == KIND_SAMPLES
            && let Ok(samples) = samples(body)
        {
            whole += 1;
            assert!(decode(KIND_METRIC, samples.first()).is_ok());
            assert!(samples.values().count() <= body.len());
        }
        let decoded = decode(kind, body);
        if kind == KIND_LOG {
            assert_eq!(fault(&check_log(body)), fault(&decoded), "both say the same of a log");
        }
        if let Ok(record) = decoded {
            whole += 1;
            check_record(&record);
        }
    }
    whole
}

fn check_record(record: &Record<'_>) {
    let mut again = Vec::new();
    let kind = match record {
        Record::Log(log, fields) => {
            write_log(&mut again, log, format_args!("{}", log.message), &collected(*fields));
            KIND_LOG
        }
        Record::Metric(metric, labels) => {
            write_metric(&mut again, metric, &collected(*labels));
            KIND_METRIC
        }
        Record::Error(error, fields) => {
            write_error(&mut again, error, &collected(*fields));
            KIND_ERROR
        }
        Record::Alert(alert) => {
            write_alert(&mut again, alert);
            KIND_ALERT
        }
    };
    // Text, since a NaN is not equal to itself, and since lengths may have been written in a longer form.
    let second = decode(kind, &again);
    assert_eq!(second.as_ref().map(said), Ok(said(record)), "what was encoded decodes");
}

/// Reads arbitrary bytes as what opens a span and as what changes one. Returns whether they are one of these.
///
/// # Panics
///
/// If what is whole does not say the same when it is encoded again, or if two that validate it do not agree.
pub fn check_span(bytes: &[u8]) -> bool {
    let (start, change) = (span_start(bytes), span_change(bytes));
    let checked = check_span_start(bytes);
    if checked != Ok(None) {
        assert_eq!(fault(&checked), fault(&start), "both say the same of a start");
    }
    let mut buffer = Vec::new();
    if let Ok(start) = &start {
        let (kind, name, fields) = (start.kind, start.name, collected(start.fields));
        let links: Vec<_> = start.links.iter().map(|(link, fields)| (link, collected(fields))).collect();
        let links: Vec<_> = links.iter().map(|(link, fields)| (*link, &fields[..])).collect();
        let again = if links.is_empty() && !start.is_root {
            write_span_start(&mut buffer, kind, name, &fields)
        } else {
            write_linked_span_start(&mut buffer, kind, start.is_root, &links, name, &fields)
        };
        let said = |start: SpanStart<'_>| {
            let SpanStart { kind, name, fields, is_root, links } = start;
            format!("{kind} {name} {:?} {is_root} {:?}", collected(fields), linked(links))
        };
        assert_eq!(span_start(again).map(said), Ok(said(*start)), "what was encoded decodes");
    }
    if let Ok(change) = &change {
        let again = match change {
            SpanChange::Field(field) => write_span_field(&mut buffer, field),
            SpanChange::Event { name, fields } => write_span_event(&mut buffer, name, &collected(*fields)),
            SpanChange::Failure(reason) => write_span_failure(&mut buffer, reason),
            SpanChange::Link(link, fields) => write_span_link(&mut buffer, link, &collected(*fields)),
        };
        let said = |change: &SpanChange<'_>| match change {
            SpanChange::Event { name, fields } => format!("{name} {:?}", collected(*fields)),
            SpanChange::Link(link, fields) => format!("{link:?} {:?}", collected(*fields)),
            other => format!("{other:?}"),
        };
        assert_eq!(span_change(again).as_ref().map(said), Ok(said(change)), "what was encoded decodes");
    }
    start.is_ok() || change.is_ok()
}

fn fault<T>(outcome: &Result<T, Malformed>) -> Option<Malformed> {
    outcome.as_ref().err().copied()
}

fn collected(fields: Fields<'_>) -> Vec<Field<'_>> {
    let all: Vec<_> = fields.iter().collect();
    assert_eq!(all.len(), fields.len(), "all fields of what is valid can be gone through");
    all
}

fn linked(links: Links<'_>) -> Vec<String> {
    let all: Vec<_> = links.iter().map(|(link, fields)| format!("{link:?} {:?}", collected(fields))).collect();
    assert_eq!(all.len(), links.len(), "all links of what is valid can be gone through");
    all
}

fn said(record: &Record<'_>) -> String {
    match record {
        Record::Log(log, fields) => format!("{log:?} {:?}", collected(*fields)),
        Record::Metric(metric, labels) => format!("{metric:?} {:?}", collected(*labels)),
        Record::Error(error, fields) => format!("{error:?} {:?}", collected(*fields)),
        Record::Alert(alert) => format!("{alert:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Alert, Error, Instrument, Level, Link, Log, Metric, Severity, Source, SpanKind, Value, batched_head,
        begin_batch, record, write_samples,
    };

    const FIELDS: [Field<'static>; 4] = [
        Field { name: "text", value: Value::Text("zwei, três") },
        Field { name: "integer", value: Value::Integer(-7) },
        Field { name: "float", value: Value::Float(0.5) },
        Field { name: "boolean", value: Value::Boolean(true) },
    ];

    /// Records of each kind, with all that they can have and with nothing of it.
    fn put_records(batch: &mut Vec<u8>) {
        let source = Some(Source { file: "src/lib.rs", line: 300 });
        let full = Log { level: Level::Error, target: "house", message: "", source, time: Some(5) };
        let bare = Log { level: Level::Trace, target: "", message: "", source: None, time: None };
        record(batch, KIND_LOG, |body| write_log(body, &full, format_args!("a log"), &FIELDS));
        record(batch, KIND_LOG, |body| write_log(body, &bare, format_args!(""), &[]));
        let metric = Metric { instrument: Instrument::Histogram, name: "size", unit: "By", value: 2.5 };
        let labels = [Field { name: "of", value: Value::Text("pages") }];
        record(batch, KIND_METRIC, |body| write_metric(body, &metric, &labels));
        record(batch, KIND_SAMPLES, |body| write_samples(body, &metric, &labels, 3));
        let error = Error { kind: "io", message: "no room", stack: "inner\nouter", source, handled: true };
        record(batch, KIND_ERROR, |body| write_error(body, &error, &FIELDS));
        let (kind, title, message) = ("deep", "Too deep", "Pump it out.");
        let severity = Severity::Critical;
        let alert =
            Alert { severity, kind, title, message, metric: Some("depth"), value: Some(9.0), threshold: Some(8.0) };
        record(batch, KIND_ALERT, |body| write_alert(body, &alert));
        record(batch, KIND_ALERT, |body| {
            write_alert(body, &Alert { metric: None, value: None, threshold: None, ..alert });
        });
    }

    const RECORDS: usize = 7;

    /// A batch of each version.
    fn batches() -> [Vec<u8>; 2] {
        let (mut single, mut gathered) = (Vec::new(), batched_head(7).to_vec());
        begin_batch(&mut single);
        put_records(&mut single);
        put_records(&mut gathered);
        [single, gathered]
    }

    /// What crosses of spans: starts and changes.
    fn spans() -> [Vec<u8>; 8] {
        let mut buffer = Vec::new();
        let link = Link { trace_id: [7; 16], span_id: [8; 8], state: "rojo=1" };
        [
            write_linked_span_start(&mut buffer, SpanKind::Internal, true, &[], "own", &FIELDS).to_vec(),
            write_linked_span_start(
                &mut buffer,
                SpanKind::Consumer,
                false,
                &[(link, &FIELDS), (link, &[])],
                "join",
                &[],
            )
            .to_vec(),
            write_span_link(&mut buffer, &link, &FIELDS).to_vec(),
            write_span_start(&mut buffer, SpanKind::Client, "fetch", &FIELDS).to_vec(),
            write_span_start(&mut buffer, SpanKind::Internal, "", &[]).to_vec(),
            write_span_field(&mut buffer, &FIELDS[1]).to_vec(),
            write_span_event(&mut buffer, "retry", &FIELDS).to_vec(),
            write_span_failure(&mut buffer, "it did not work").to_vec(),
        ]
    }

    /// Bytes with some of them changed, taken out or put in, and perhaps cut off.
    fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let places = 0..whole.len();
        let deed = (places.clone(), 0..3_u8, any::<u8>());
        (vec(deed, 0..6), prop::option::weighted(0.1, places)).prop_map(move |(deeds, cut)| {
            let mut bytes = whole.clone();
            for (at, deed, byte) in deeds {
                let at = at.min(bytes.len() - 1);
                match deed {
                    0 => bytes[at] ^= byte,
                    1 => bytes.insert(at, byte),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
            }
            bytes.truncate(cut.unwrap_or(bytes.len()));
            bytes
        })
    }

    #[test]
    fn what_is_damaged_here_is_whole_before() {
        assert_eq!(batches().map(|batch| check_batch(&batch)), [RECORDS; 2]);
        assert!(spans().iter().all(|span| check_span(span)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_batch_is_refused_or_says_the_same_when_it_is_written_again(
            bytes in prop::sample::select(batches().to_vec()).prop_flat_map(damaged),
        ) {
            check_batch(&bytes);
        }

        #[test]
        fn what_crosses_of_spans_is_refused_or_says_the_same_when_it_is_written_again(
            bytes in prop::sample::select(spans().to_vec()).prop_flat_map(damaged),
        ) {
            check_span(&bytes);
        }

        #[test]
        fn no_bytes_are_too_strange_for_either(version in 0_u8..4, bytes in vec(any::<u8>(), 0..200)) {
            let bytes = [&[version][..], &bytes].concat();
            check_batch(&bytes);
            check_span(&bytes);
        }
    }
}
