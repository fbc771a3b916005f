//! What opens and changes a span is decoded as it was written, and no bytes make the decoder panic or read on past their end.

use glasshouse_wire::{
    Field, Link, Links, Malformed, SpanChange, SpanKind, SpanStart, SpanSummary, Value, check_span_start, span_change,
    span_start, write_linked_span_start, write_span_event, write_span_failure, write_span_field, write_span_link,
    write_span_start,
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

/// What a link says: ids that are not zero, and a state.
type LinkTo = ([u8; 16], [u8; 8], String);

fn link_to() -> impl Strategy<Value = LinkTo> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), text())
        .prop_filter("an id is not all zero", |(trace, span, _)| *trace != [0; 16] && *span != [0; 8])
}

fn link((trace_id, span_id, state): &LinkTo) -> Link<'_> {
    Link { trace_id: *trace_id, span_id: *span_id, state }
}

/// Links as they are read, with their fields.
fn read(links: Links<'_>) -> Vec<(Link<'_>, Vec<Field<'_>>)> {
    links.iter().map(|(link, fields)| (link, fields.iter().collect())).collect()
}

fn kind() -> impl Strategy<Value = SpanKind> {
    select(SpanKind::ALL)
}

/// The check and the decoder say the same of what opens a span; what begins a trace or has links is the decoder's.
fn check(bytes: &[u8]) -> Result<Option<SpanSummary>, Malformed> {
    let (checked, decoded) = (check_span_start(bytes), span_start(bytes));
    match (&checked, &decoded) {
        (Ok(Some(summary)), Ok(start)) => {
            assert_eq!((summary.kind, summary.fields as usize), (start.kind, start.fields.len()));
            assert!(start.links.is_empty() && !start.is_root);
            assert!(bytes[summary.name_at..summary.fields_at].ends_with(start.name.as_bytes()));
            assert!(summary.fields_at < summary.first_field_at && summary.first_field_at <= bytes.len());
        }
        (Ok(None), Ok(start)) => {
            assert!(start.is_root || bytes[1] & 0x80 != 0, "it has links, or says that it has none");
            assert_eq!(read(start.links).len(), start.links.len());
        }
        (Ok(None), Err(_)) => return decoded.map(|_| None),
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
        let SpanStart { kind: read_kind, is_root, links, name: read_name, fields: read } =
            span_start(start).expect("it was just written");
        prop_assert_eq!((read_kind, read_name, links, is_root), (kind, name.as_str(), Links::EMPTY, false));
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), fields);
        prop_assert!(check(start).is_ok());
    }

    #[test]
    fn what_opens_a_span_with_links_is_read_as_it_was_written(
        kind in kind(), name in text(), names in vec(text(), 0..4), to in vec(link_to(), 0..5), before in 0..3000_usize,
    ) {
        let fields = fields(&names, -7);
        // Each with one field less than the one before it.
        let links: Vec<_> = to.iter().enumerate().map(|(at, to)| (link(to), &fields[at.min(fields.len())..])).collect();
        let mut buffer = vec![0xee; before];
        for is_root in [false, true] {
            let start = write_linked_span_start(&mut buffer, kind, is_root, &links, &name, &fields);
            let read_start = span_start(start).expect("it was just written");
            prop_assert_eq!((read_start.kind, read_start.is_root, read_start.name), (kind, is_root, name.as_str()));
            prop_assert_eq!(read_start.fields.iter().collect::<Vec<_>>(), fields.clone());
            let written: Vec<_> = links.iter().map(|(link, fields)| (*link, fields.to_vec())).collect();
            prop_assert_eq!(read(read_start.links), written);
            let summary = check(start).expect("it was just written");
            prop_assert_eq!(summary, None);
        }
    }

    #[test]
    fn a_change_is_read_as_it_was_written(
        name in text(), names in vec(text(), 1..6), number in any::<i64>(), to in link_to(),
    ) {
        let fields = fields(&names, number);
        let mut buffer = Vec::new();
        let change = write_span_field(&mut buffer, &fields[0]);
        prop_assert_eq!(span_change(change), Ok(SpanChange::Field(fields[0])));
        let change = write_span_failure(&mut buffer, &name);
        prop_assert_eq!(span_change(change), Ok(SpanChange::Failure(&name)));
        let change = write_span_link(&mut buffer, &link(&to), &fields);
        let Ok(SpanChange::Link(read_link, read)) = span_change(change) else { panic!("it was just written") };
        prop_assert_eq!((read_link, read.iter().collect::<Vec<_>>()), (link(&to), fields.clone()));
        let change = write_span_event(&mut buffer, &name, &fields);
        let Ok(SpanChange::Event { name: read_name, fields: read }) = span_change(change) else {
            panic!("it was just written")
        };
        prop_assert_eq!(read_name, name.as_str());
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), fields);
    }

    #[test]
    fn what_is_cut_anywhere_or_has_bytes_left_over_is_malformed(
        kind in kind(), name in text(), names in vec(text(), 0..4), cut in any::<Index>(), to in link_to(),
    ) {
        let fields = fields(&names, 7);
        let mut buffer = Vec::new();
        let plain = write_span_start(&mut buffer, kind, &name, &fields).to_vec();
        let linked = write_linked_span_start(&mut buffer, kind, false, &[(link(&to), &fields)], &name, &fields).to_vec();
        for start in [plain, linked] {
            prop_assert!(check(&start[..cut.index(start.len())]).is_err());
            prop_assert!(check(&[&start[..], &[0]].concat()).is_err());
        }
        let added = write_span_link(&mut buffer, &link(&to), &fields).to_vec();
        prop_assert!(span_change(&added[..cut.index(added.len())]).is_err());
        prop_assert!(span_change(&[&added[..], &[0]].concat()).is_err());
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
    fn mutated_bytes_do_not_panic(
        name in text(), names in vec(text(), 0..4), at in any::<Index>(), byte in any::<u8>(), to in link_to(),
    ) {
        let mut buffer = Vec::new();
        let fields = fields(&names, -1);
        let plain = write_span_start(&mut buffer, SpanKind::Server, &name, &fields).to_vec();
        let links = [(link(&to), &fields[..]), (link(&to), &[])];
        let linked = write_linked_span_start(&mut buffer, SpanKind::Server, false, &links, &name, &fields).to_vec();
        for mut start in [plain, linked] {
            let at = at.index(start.len());
            start[at] = byte;
            let _ = check(&start);
        }
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
    let link = Link { trace_id: [0xaa; 16], span_id: [0xbb; 8], state: "a=1" };
    let linked = [&[0xaa; 16][..], &[0xbb; 8], b"\x03a=1\x01\x01n\x04"].concat();
    assert_eq!(write_span_link(&mut buffer, &link, &[field]), [b"\x01\x04", &linked[..]].concat());
    assert_eq!(
        write_linked_span_start(&mut buffer, SpanKind::Consumer, false, &[(link, &[field])], "work", &[]),
        [b"\x01\x84\x01", &linked[..], b"\x04work\x00"].concat()
    );
    assert_eq!(
        write_linked_span_start(&mut buffer, SpanKind::Server, true, &[], "work", &[]),
        b"\x01\xc1\x00\x04work\x00"
    );
    assert_eq!(span_start(b"\x01\x41\x04work\x00"), span_start(b"\x01\xc1\x00\x04work\x00"), "it need not have links");
}

#[test]
fn each_malformation_is_told_apart() {
    let start = |bytes: &[u8], expect| assert_eq!(check(bytes).err(), Some(Malformed(expect)), "{bytes:?}");
    start(b"", "the record ends too early");
    start(b"\x02\x00\x01n\x00", "unknown version of the span format");
    start(b"\x01\x05\x01n\x00", "unknown kind of span");
    start(b"\x01\x45\x01n\x00", "unknown kind of span");
    start(b"\x01\x20\x01n\x00", "unknown kind of span");
    start(b"\x01\x85\x00\x01n\x00", "unknown kind of span");
    start(b"\x01\x80\xff\xff\xff\xff\x0f", "the record ends too early");
    start(b"\x01\x00\x01\xff\x00", "text is not UTF-8");
    start(b"\x01\x00\x01n\x01\x01f\x05", "unknown kind of value");
    start(b"\x01\x00\x01n\x00\x00", "bytes left over after a span's part");
    for (trace, span) in [([0; 16], [1; 8]), ([1; 16], [0; 8])] {
        let zero = [&trace[..], &span, b"\x00\x00"].concat();
        start(&[b"\x01\x80\x01", &zero[..], b"\x01n\x00"].concat(), "a link names no trace or no span");
        let change = [b"\x01\x04", &zero[..]].concat();
        assert_eq!(span_change(&change), Err(Malformed("a link names no trace or no span")));
    }
    assert_eq!(span_change(b"\x01\x05"), Err(Malformed("unknown change of a span")));
    assert_eq!(span_change(b"\x01\x03\x00\x00"), Err(Malformed("bytes left over after a span's part")));
}
