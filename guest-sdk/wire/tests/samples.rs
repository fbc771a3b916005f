//! Samples of one series are decoded as they were written, and no bytes make the decoder panic or read on past their end.

use glasshouse_wire::{
    Field, Instrument, KIND_METRIC, KIND_SAMPLES, Malformed, Metric, Record, SAMPLES, SAMPLES_COUNT_AT,
    SAMPLES_FIRST_AT, Value, decode, samples, write_metric, write_samples,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A record with these values, and room for some more.
fn encode(metric: &Metric<'_>, labels: &[Field<'_>], values: &[f64], room: usize) -> Vec<u8> {
    let mut body = Vec::new();
    write_samples(&mut body, metric, labels, (values.len() - 1 + room) as u16);
    let start = body.len() - (values.len() - 1 + room) * 8;
    body[SAMPLES_FIRST_AT].copy_from_slice(&values[0].to_le_bytes());
    for (index, value) in values[1..].iter().enumerate() {
        body[start + index * 8..][..8].copy_from_slice(&value.to_le_bytes());
    }
    body[SAMPLES_COUNT_AT].copy_from_slice(&(values.len() as u16).to_le_bytes());
    body
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        instrument in select(Instrument::ALL),
        (name, unit, label) in (".{0,20}", ".{0,5}", ".{0,20}"),
        values in vec(-1e300..1e300, 1..=usize::from(SAMPLES)),
        room in 0..40_usize,
    ) {
        let metric = Metric { instrument, name: &name, unit: &unit, value: values[0] };
        let labels = [Field { name: &label, value: Value::Text(&name) }];
        let body = encode(&metric, &labels, &values, room);
        let read = samples(&body).expect("it is well-formed");
        prop_assert_eq!(read.metric, metric);
        prop_assert_eq!(read.labels.iter().collect::<Vec<_>>(), labels);
        prop_assert_eq!(read.values().collect::<Vec<_>>(), values);
        let mut first = Vec::new();
        write_metric(&mut first, &metric, &labels);
        prop_assert_eq!(read.first(), first);
        prop_assert!(matches!(decode(KIND_METRIC, read.first()), Ok(Record::Metric(..))));
        for end in 0..body.len() {
            // Room may be missing, whole samples of it.
            let cut = samples(&body[..end]);
            prop_assert_eq!(cut.is_ok(), end >= body.len() - room * 8 && (body.len() - end).is_multiple_of(8));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(read) = samples(&bytes) {
            prop_assert!((1..=bytes.len()).contains(&read.values().count()));
        }
    }
}

#[test]
fn each_malformation_is_told_apart() {
    let metric = Metric { instrument: Instrument::Histogram, name: "m", unit: "", value: 1.0 };
    let check = |count: u16, labels: &[Field<'_>], rest: usize, expect: &'static str| {
        let mut body = encode(&metric, labels, &[1.0, 2.0], 0);
        body[SAMPLES_COUNT_AT].copy_from_slice(&count.to_le_bytes());
        body.resize(body.len() + rest, 0);
        assert_eq!(samples(&body), Err(Malformed(expect)));
    };
    check(0, &[], 0, "a record of no samples");
    check(3, &[], 0, "samples past the end of their record");
    check(SAMPLES, &[], 0, "samples past the end of their record");
    check(SAMPLES + 1, &[], 8 * usize::from(SAMPLES), "more samples than a record may have");
    check(u16::MAX, &[], 0, "more samples than a record may have");
    check(1, &[], 7, "room for samples is not a whole number of them");
    check(1, &[Field { name: "l", value: Value::Integer(1) }], 0, "a label is not text");
    assert_eq!(samples(&[]), Err(Malformed("the record ends too early")));
    assert_eq!(samples(&[1, 0, 3]), Err(Malformed("unknown instrument")));
    assert_eq!(decode(KIND_SAMPLES, &[]), Err(Malformed("unknown kind of record")), "it is no single record");
}
