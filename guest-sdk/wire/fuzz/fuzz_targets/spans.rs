//! Decodes arbitrary bytes as what opens a span and as what changes one; what decodes must say the same when it is encoded again.
#![no_main]

use glasshouse_wire::{
    Field, Fields, Links, SpanChange, span_change, span_start, write_linked_span_start, write_root_span_start, write_span_event,
    write_span_failure, write_span_field, write_span_link, write_span_start,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = Vec::new();
    if let Ok(start) = span_start(bytes) {
        let own = collected(start.fields);
        let links: Vec<_> = start.links.iter().map(|(link, fields)| (link, collected(fields))).collect();
        let links: Vec<_> = links.iter().map(|(link, fields)| (*link, &fields[..])).collect();
        let again = if start.is_root {
            write_root_span_start(&mut buffer, start.kind, &links, start.name, &own)
        } else if links.is_empty() {
            write_span_start(&mut buffer, start.kind, start.name, &own)
        } else {
            write_linked_span_start(&mut buffer, start.kind, &links, start.name, &own)
        };
        let second = span_start(again).expect("what was encoded decodes");
        // Text, since a NaN is not equal to itself, and since lengths may have been written in a longer form.
        let fields = |fields| format!("{:?}", collected(fields));
        assert_eq!((start.kind, start.name, fields(start.fields)), (second.kind, second.name, fields(second.fields)));
        assert_eq!((start.is_root, linked(start.links)), (second.is_root, linked(second.links)));
    }
    if let Ok(change) = span_change(bytes) {
        let again = match change {
            SpanChange::Field(field) => write_span_field(&mut buffer, &field),
            SpanChange::Event { name, fields } => write_span_event(&mut buffer, name, &collected(fields)),
            SpanChange::Failure(reason) => write_span_failure(&mut buffer, reason),
            SpanChange::Link(link, fields) => write_span_link(&mut buffer, &link, &collected(fields)),
        };
        assert_eq!(said(&change), said(&span_change(again).expect("what was encoded decodes")));
    }
});

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

fn said(change: &SpanChange<'_>) -> String {
    match change {
        SpanChange::Event { name, fields } => format!("{name} {:?}", collected(*fields)),
        SpanChange::Link(link, fields) => format!("{link:?} {:?}", collected(*fields)),
        other => format!("{other:?}"),
    }
}
