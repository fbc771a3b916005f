//! Spans that cross as bytes and numbers: whatever a guest says, what it opened is stored as it was, and the rest is counted.

use glasshouse_model::{FailureKind, Level, Signal, SpanId, SpanKind, SpanStatus, TraceId, limits};
use glasshouse_runtime::Extension;
use glasshouse_telemetry::{Body, Drop};

use crate::harness::{House, ask, beside, call, dropped, each, fail, logs_with, spans};

const GUEST: &str = "forged-spans";

/// What opens the guest's good span, but for its fields.
const HEAD: &[u8] = b"\x01\x02\x04made";

/// A stored span as a person would say it: kind, name, fields, events and why it failed.
fn said(extension: &Extension) -> Vec<String> {
    each(extension, Signal::Span, |_, body| match body {
        Body::Span(span) => {
            let fields = |fields: glasshouse_model::wire::Fields<'_>| {
                fields.iter().map(|field| format!("{}={:?}", field.name, field.value)).collect::<Vec<_>>().join(" ")
            };
            let events: Vec<_> =
                span.events.iter().map(|event| format!("{}({})", event.name, fields(event.fields))).collect();
            let (kind, name) = (span.kind, span.name);
            Some(format!("{kind} {name} [{}] {events:?} {:?}", fields(span.fields), span.failure))
        }
        _ => None,
    })
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_opens_no_span_is_counted_and_told_once_a_call() {
    let house = House::new();
    let (extension, neighbour) = (house.ready(GUEST).await, house.ready("neighbour").await);
    let starts: &[&[u8]] = &[
        b"",
        b"\x01",
        b"\x02\x00\x01n\x00",
        b"\x01\x05\x01n\x00",
        b"\x01\x00\x02n",
        b"\x01\x00\x01\xff\x00",
        b"\x01\x00\x01n",
        b"\x01\x00\x01n\x02\x01f\x03",
        b"\x01\x00\x01n\x01\x01f\x05",
        b"\x01\x00\x01n\x01\x01f\x00\x01\xc3",
        b"\x01\x00\x01n\x00left over",
        b"\x01\x00\x01n\xff\xff\xff\xff\x0f",
        b"\x01\x00\xff\xff\xff\xff\x0f",
        b"\x01\x00\xff\xff\xff\xff\xff",
        b"\x01\x40\x01n\x00",
        b"\x01\x80\x01n\x00",
        b"\x01\x80\x01sixteen bytes...\0\0\0\0\0\0\0\0\x00\x00\x01n\x00",
        b"\x01\x80\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0andeight\x00\x00\x01n\x00",
        b"\x01\x80\x01sixteen bytes...andeight\x02\xff\xff\x00\x01n\x00",
        b"\x01\x80\xff\xff\xff\xff\x0fsixteen bytes...andeight\x00\x00\x01n\x00",
    ];
    beside(&neighbour, async {
        for start in starts {
            assert_eq!(ask(&extension, "open", start).await, "0", "{start:?}");
        }
    })
    .await;
    assert_eq!(dropped(&extension, Drop::Malformed), starts.len() as u64);
    let told = logs_with(&extension, "is malformed");
    assert_eq!(told.len(), starts.len());
    assert!(told.iter().all(|log| log.level == Level::Warning && log.target == "glasshouse"));
    assert!(said(&extension).is_empty());

    assert_ne!(ask(&extension, "open", joined(&[HEAD, b"\x00"])).await, "0");
    assert_eq!(said(&extension), ["client made [] [] \"\""]);
    assert_eq!(spans(&extension)[0].status, SpanStatus::Unfinished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_none_leaves_the_span_as_it_was() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    let good = |fields: &str, rest: &str| format!("client made [{fields}] {rest}");
    let (one, two) = ("one=Integer(1)", "two=Text(\"zwei\")");
    let as_it_was = good(&format!("{one} {two}"), "[] \"\"");
    let malformed: &[&[u8]] = &[
        b"",
        b"\x01",
        b"\x01\x00",
        b"\x01\x05\x01n",
        b"\x01\x04sixteen bytes...",
        b"\x01\x04sixteen bytes...andeight\x00",
        b"\x01\x04sixteen bytes...andeight\x00\x00\x00",
        b"\x01\x04sixteen bytes...\0\0\0\0\0\0\0\0\x00\x00",
        b"\x02\x03\x01n",
        b"\x01\x01\x01n",
        b"\x01\x01\x01n\x07",
        b"\x01\x01\x01\xff\x03",
        b"\x01\x02\x01n",
        b"\x01\x02\x01n\x09",
        b"\x01\x03\x09short",
        b"\x01\x03\x01nn",
    ];
    for change in malformed {
        ask(&extension, "change", change).await;
    }
    assert_eq!(dropped(&extension, Drop::Malformed), malformed.len() as u64);
    assert_eq!(said(&extension), vec![as_it_was; malformed.len()]);

    let changes: [(&[u8], String); 5] = [
        (b"\x01\x01\x03one\x04", good(&format!("one=Boolean(true) {two}"), "[] \"\"")),
        (b"\x01\x01\x03two\x00\x00", good(&format!("{one} two=Text(\"\")"), "[] \"\"")),
        (b"\x01\x01\x01n\x03", good(&format!("{one} {two} n=Boolean(false)"), "[] \"\"")),
        (b"\x01\x02\x01e\x01\x01f\x04", good(&format!("{one} {two}"), "[\"e(f=Boolean(true))\"] \"\"")),
        (b"\x01\x03\x03why", good(&format!("{one} {two}"), "[] \"why\"")),
    ];
    for (change, expect) in changes {
        ask(&extension, "change", change).await;
        assert_eq!(said(&extension).pop(), Some(expect));
    }
    assert_eq!(spans(&extension).pop().map(|span| span.status), Some(SpanStatus::Failed));
    let (logged, ended) = (logs_with(&extension, "in it"), spans(&extension));
    assert!(logged.iter().zip(&ended).all(|(log, span)| log.context().span_id == span.context.span_id));
}

/// The links of all spans, each by ids, state and number of fields, and whether the span is marked as cut.
fn linked(extension: &Extension) -> Vec<(Vec<String>, bool)> {
    each(extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) => {
            let links = span.links.iter().map(|(link, fields)| {
                let (trace, id) = (TraceId(link.trace_id), SpanId(link.span_id));
                format!("{trace} {id} {:?} {}", link.state, fields.len())
            });
            Some((links.collect(), envelope.cut))
        }
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_come_by_both_doors_and_what_names_no_span_is_counted() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";
    let house = House::new();
    let extension = house.ready(GUEST).await;
    let zeros = "0".repeat(32);
    let links = [
        (TRACE, SPAN, "rojo=1"),
        (TRACE, SPAN, "none"),
        (&zeros, SPAN, ""),
        (TRACE, &zeros[..16], ""),
        (&TRACE[1..], SPAN, ""),
        (TRACE, "00F067AA0BA902B7", ""),
        (TRACE, "", ""),
        ("", "\u{0}", ""),
    ];
    ask(&extension, "link-typed", serde_json::to_string(&links).expect("JSON")).await;
    assert_eq!(dropped(&extension, Drop::Malformed), 6);
    assert_eq!(logs_with(&extension, "is malformed").len(), 1, "it is told once a call");
    let kept = vec![format!("{TRACE} {SPAN} \"rojo=1\" 0"), format!("{TRACE} {SPAN} \"\" 0")];
    assert_eq!(linked(&extension), [(kept, true)], "a state that is none is left out, and the span says so");

    ask(&extension, "change", b"\x01\x04sixteen bytes...andeight\x05a=b:c\x01\x01f\x04").await;
    let to = |state: &str, fields: u32| {
        let ids = (TraceId(*b"sixteen bytes..."), SpanId(*b"andeight"));
        format!("{} {} {state:?} {fields}", ids.0, ids.1)
    };
    assert_eq!(linked(&extension).pop(), Some((vec![to("a=b:c", 1)], false)));

    for (links, cut) in [(limits::LINKS / 2, false), (limits::LINKS / 2 + 1, true)] {
        ask(&extension, "links", links.to_string()).await;
        let kept = linked(&extension).pop().expect("the span is stored");
        assert_eq!(kept, (vec![to("", 0); limits::LINKS], cut), "{links} at its start, and as many later");
    }
    assert_eq!(dropped(&extension, Drop::Malformed), 6);

    let neighbour = house.ready("neighbour").await;
    beside(&neighbour, ask(&extension, "links", "100000")).await;
    assert_eq!(linked(&extension).pop(), Some((vec![to("", 0); limits::LINKS], true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_guessed_is_counted_and_harms_no_span() {
    const GUESSES: u64 = 100;
    let house = House::new();
    let extension = house.ready(GUEST).await;
    // The numbers of spans of earlier calls may have been kept in good faith.
    for call in 1..=3 {
        let number: u64 = ask(&extension, "guess", GUESSES.to_string()).await.parse().expect("a number");
        assert_eq!(number, call);
        assert_eq!(logs_with(&extension, "is malformed").len() as u64, call, "it is told once a call");
    }
    // Of the first call all but the span's own, each to change it and to end it; of later ones those of earlier spans as well.
    let expected: u64 = (1..=3).map(|call| 2 * (GUESSES - 1 - (call - 1))).sum();
    assert_eq!(dropped(&extension, Drop::Malformed), expected);
    assert_eq!(said(&extension), vec!["client made [one=Integer(1) two=Text(\"zwei\")] [] \"\""; 3]);
    assert!(spans(&extension).iter().all(|span| span.status == SpanStatus::Ok));

    ask(&extension, "twice", "").await;
    assert_eq!((dropped(&extension, Drop::Malformed), spans(&extension).len()), (expected + 1, 4));

    ask(&extension, "keep", "").await;
    ask(&extension, "end-kept", "").await;
    assert_eq!((dropped(&extension, Drop::Malformed), spans(&extension).len()), (expected + 1, 5));
    assert_eq!(spans(&extension).pop().map(|span| span.status), Some(SpanStatus::Unfinished));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_thousand_spans_in_each_other_the_outer_ones_are_kept_and_the_rest_is_counted() {
    const SPANS: usize = 100_000;
    let house = House::new();
    let (extension, neighbour) = (house.ready(GUEST).await, house.ready("neighbour").await);
    for round in 1..=2 {
        let surplus = SPANS - limits::NESTING;
        let refused = beside(&neighbour, ask(&extension, "deep", SPANS.to_string())).await;
        assert_eq!(refused, surplus.to_string());
        assert_eq!(dropped(&extension, Drop::Nesting), (round * surplus) as u64);
        assert_eq!(spans(&extension).len(), round * limits::NESTING);
    }
    assert!(spans(&extension).iter().all(|span| span.status == SpanStatus::Unfinished));
    assert_eq!(dropped(&extension, Drop::Malformed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_end_in_any_order_and_those_of_both_kinds_lie_in_each_other() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    ask(&extension, "cross", "3").await;
    let ended = spans(&extension);
    let logged = logs_with(&extension, "in the inner one");
    for (pair, log) in ended.chunks(2).zip(&logged) {
        let [outer, inner] = pair else { panic!("two each time") };
        assert_eq!(inner.parent, outer.context.span_id.to_string());
        assert_eq!(log.context().span_id, inner.context.span_id);
        assert_eq!(outer.parent, ended[0].parent, "each outer one lies in the call itself");
    }
    assert_eq!((ended.len(), logged.len()), (6, 3));

    ask(&extension, "mix", "").await;
    let [outermost, middle, innermost] = &spans(&extension)[6..] else { panic!("three") };
    assert_eq!([&outermost.name, &middle.name, &innermost.name], ["outermost", "made", "innermost"]);
    assert_eq!(middle.parent, outermost.context.span_id.to_string());
    assert_eq!(innermost.parent, middle.context.span_id.to_string());
    assert_eq!(dropped(&extension, Drop::Malformed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gathered_belongs_to_the_span_around_it_also_after_a_trap() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    fail(&extension, "gather", "", FailureKind::Unreachable).await;
    let [span] = spans(&extension).try_into().expect("one");
    assert_eq!((span.name.as_str(), span.status), ("work", SpanStatus::Unfinished));
    for (message, within) in [("before", false), ("within", true), ("to be found", true)] {
        let log = logs_with(&extension, message).pop().expect("none is lost");
        assert_eq!(log.context().span_id == span.context.span_id, within, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_value_of_a_field_counts_and_what_is_too_much_is_cut() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    ask(&extension, "fields", "0").await;
    assert_eq!(said(&extension), ["internal made [a=Boolean(true)] [] \"\""], "a name that was there twice");
    ask(&extension, "fields", "1000").await;
    let all = each(&extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) => {
            let fields: Vec<_> = span.fields.iter().map(|field| format!("{}{:?}", field.name, field.value)).collect();
            Some((envelope.cut, span.kind, fields))
        }
        _ => None,
    });
    let expected: Vec<_> = (b'a'..=b'z')
        .map(|name| {
            let last = (0..1000).rfind(|field| field % 26 == usize::from(name - b'a')).expect("there is one");
            format!("{}Text(\"{:02}\")", char::from(name), last % 100)
        })
        .collect();
    assert_eq!(all[1], (false, SpanKind::Internal, expected));

    ask(&extension, "long", "100000").await;
    let longest = each(&extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if span.name == "long" => Some((envelope.cut, span.fields.len())),
        _ => None,
    });
    assert!(longest[0].0, "it is cut, and told to be");
    assert!(call(&extension, "past-the-end", "").await.is_err());
}
