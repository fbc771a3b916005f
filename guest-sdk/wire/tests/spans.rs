//! What opens and changes a span is decoded as it was written, and no bytes make the decoder panic or read on past their end.

use glasshouse_wire::{
    Field, Malformed, SpanChange, SpanKind, SpanStart, SpanSummary, Value, check_span_start, span_change, span_start,
    write_span_event, write_span_failure, write_span_field, write_span_start,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Texts that make varints of one and of two bytes, with and without multi-byte characters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a-z]{120,140}"]
}

/// Fields of every kind of value, by their names.
fn fields<'f>(names: &'f [String], number: i64) -> Vec<Field<'f>> {
    let value = |index: usize, name: &'f str| match index % 4 {
        0 => Value::Text(name),
        1 => Value::Integer(number),
        2 => Value::Float(number as f64),
        _ => Value::Boolean(number > 0),
    };
    names.iter().enumerate().map(|(index, name)| Field { name, value: value(index, name) }).collect()
}

fn kind() -> impl Strategy<Value = SpanKind> {
    select(SpanKind::ALL)
}

/// The check and the decoder say the same of what opens a span.
fn check(bytes: &[u8]) -> Result<SpanSummary, Malformed> {
    let (checked, decoded) = (check_span_start(bytes), span_start(bytes));
    match (&checked, &decoded) {
        (Ok(summary), Ok(start)) => {
            assert_eq!((summary.kind, summary.fields as usize), (start.kind, start.fields.len()));
            assert!(bytes[summary.name_at..summary.fields_at].ends_with(start.name.as_bytes()));
            assert!(summary.fields_at < summary.first_field_at && summary.first_field_at <= bytes.len());
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        _ => panic!("{checked:?}, but {decoded:?}"),
    }
    checked
}

proptest! {
    #[test]
    fn what_opens_a_span_is_read_as_it_was_written(
        kind in kind(), name in text(), names in vec(text(), 0..6), number in any::<i64>(), before in 0..3000_usize,
    ) {
        let fields = fields(&names, number);
        // Whatever is in the buffer from before, and however large it is.
        let mut buffer = vec![0xee; before];
        let start = write_span_start(&mut buffer, kind, &name, &fields);
        let SpanStart { kind: read_kind, name: read_name, fields: read } = span_start(start).expect("it was just written");
        prop_assert_eq!((read_kind, read_name), (kind, name.as_str()));
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), fields);
        prop_assert!(check(start).is_ok());
    }

    #[test]
    fn a_change_is_read_as_it_was_written(name in text(), names in vec(text(), 1..6), number in any::<i64>()) {
        let fields = fields(&names, number);
        let mut buffer = Vec::new();
        let change = write_span_field(&mut buffer, &fields[0]);
        prop_assert_eq!(span_change(change), Ok(SpanChange::Field(fields[0])));
        let change = write_span_failure(&mut buffer, &name);
        prop_assert_eq!(span_change(change), Ok(SpanChange::Failure(&name)));
        let change = write_span_event(&mut buffer, &name, &fields);
        let Ok(SpanChange::Event { name: read_name, fields: read }) = span_change(change) else {
            panic!("it was just written")
        };
        prop_assert_eq!(read_name, name.as_str());
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), fields);
    }

    #[test]
    fn what_is_cut_anywhere_or_has_bytes_left_over_is_malformed(
        kind in kind(), name in text(), names in vec(text(), 0..4), cut in any::<Index>(),
    ) {
        let fields = fields(&names, 7);
        let mut buffer = Vec::new();
        let start = write_span_start(&mut buffer, kind, &name, &fields).to_vec();
        prop_assert!(check(&start[..cut.index(start.len())]).is_err());
        prop_assert!(check(&[&start[..], &[0]].concat()).is_err());
        let event = write_span_event(&mut buffer, &name, &fields).to_vec();
        prop_assert!(span_change(&event[..cut.index(event.len())]).is_err());
        prop_assert!(span_change(&[&event[..], &[0]].concat()).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..100), version in any::<bool>()) {
        let bytes = if version { [&[1][..], &bytes].concat() } else { bytes };
        let _ = (check(&bytes), span_change(&bytes));
    }

    #[test]
    fn mutated_bytes_do_not_panic(name in text(), names in vec(text(), 0..4), at in any::<Index>(), byte in any::<u8>()) {
        let mut buffer = Vec::new();
        let fields = fields(&names, -1);
        let mut start = write_span_start(&mut buffer, SpanKind::Server, &name, &fields).to_vec();
        let at = at.index(start.len());
        start[at] = byte;
        let _ = check(&start);
    }
}

#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    let mut buffer = Vec::new();
    let field = Field { name: "n", value: Value::Boolean(true) };
    assert_eq!(write_span_start(&mut buffer, SpanKind::Consumer, "work", &[field]), b"\x01\x04\x04work\x01\x01n\x04");
    assert_eq!(write_span_field(&mut buffer, &field), b"\x01\x01\x01n\x04");
    assert_eq!(write_span_event(&mut buffer, "done", &[field]), b"\x01\x02\x04done\x01\x01n\x04");
    assert_eq!(write_span_failure(&mut buffer, "why"), b"\x01\x03\x03why");
}

#[test]
fn each_malformation_is_told_apart() {
    let start = |bytes: &[u8], expect| assert_eq!(check(bytes).err(), Some(Malformed(expect)), "{bytes:?}");
    start(b"", "the record ends too early");
    start(b"\x02\x00\x01n\x00", "unknown version of the span format");
    start(b"\x01\x05\x01n\x00", "unknown kind of span");
    start(b"\x01\x00\x01\xff\x00", "text is not UTF-8");
    start(b"\x01\x00\x01n\x01\x01f\x05", "unknown kind of value");
    start(b"\x01\x00\x01n\x00\x00", "bytes left over after a span's part");
    assert_eq!(span_change(b"\x01\x04"), Err(Malformed("unknown change of a span")));
    assert_eq!(span_change(b"\x01\x03\x00\x00"), Err(Malformed("bytes left over after a span's part")));
}
