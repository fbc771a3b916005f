//! Decodes arbitrary bytes as a batch; what decodes must say the same when it is encoded again.
#![no_main]

use glasshouse_wire::{
    Field, Fields, KIND_ALERT, KIND_ERROR, KIND_LOG, KIND_METRIC, KIND_SAMPLES, Record, VERSION_BATCHED, decode, records,
    samples, write_alert, write_error, write_log, write_metric,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(batch) = records(bytes) else { return };
    assert_eq!(batch.serial().is_some(), bytes[0] == VERSION_BATCHED);
    for (kind, body) in batch.flatten() {
        if let (KIND_SAMPLES, Ok(samples)) = (kind, samples(body)) {
            assert!(decode(KIND_METRIC, samples.first()).is_ok());
            assert!(samples.values().count() <= body.len());
        }
        let Ok(record) = decode(kind, body) else { continue };
        let mut again = Vec::new();
        let kind = match &record {
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
        let second = decode(kind, &again).expect("what was encoded decodes");
        // Text, since a NaN is not equal to itself, and since lengths may have been written in a longer form.
        assert_eq!(said(&record), said(&second));
    }
});

fn collected(fields: Fields<'_>) -> Vec<Field<'_>> {
    let all: Vec<_> = fields.iter().collect();
    assert_eq!(all.len(), fields.len(), "all fields of a valid record can be gone through");
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
