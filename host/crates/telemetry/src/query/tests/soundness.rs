//! What a query needs never excludes a record that it matches.

use glasshouse_model::invocation::HostUses;
use glasshouse_model::record::{KIND_ANSWERED, KIND_FAILURE, KIND_SPAN};
use glasshouse_model::{Digest, Failure, FailureKind, Frame, Span, SpanCost, SpanId, SpanKind, SpanStatus};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Clauses, LevelSet, TokenFilter, TokenFilterBuilder, required};
use super::*;

/// Few parts, so that queries often match: in both cases, next to each other, and with odd letters among them.
const PARTS: &[&str] = &[
    "time", "out", "Time", "TIMEOUT", "refused", "by", "peer", "500", "_", " ", " ", "-", "\n", ".", "σ", "ς", "Σ",
    "\u{212a}", "k", "ſ", "S", "é", "e\u{301}", "²", "İ", "i",
];
const NAMES: &[&str] = &["status", "peer", "x"];

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(select(PARTS), 0..6).prop_map(|parts| parts.concat())
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => select(PARTS).prop_map(|part| part.replace('.', "\\.")),
        3 => select(&[r"\b", " ?", "(?i)", "(?i:time)", ".*", "^", "$", r"\s+", r"\s", "(out|by)", "(refused )+", "[a-z]", "[xk]", r"\w+",
            r"\W", "|", "(?-u:\\b)", r"\B", "(?m)^", r"\b{start}", "[.-]+", "(?i:[ks])", "(time out|by )"][..]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 1..6)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("no pattern", |text| super::super::regex(text).is_ok())
}

/// A term of a query as a person would write it.
fn term() -> impl Strategy<Value = String> {
    use super::super::lexer::quote;
    let field = select(
        &[
            "message",
            "target",
            "kind",
            "stack",
            "field.status",
            "field.peer",
            "name",
            "user",
            "correlation",
            "call",
            "failure",
            "file",
        ][..],
    );
    let has_word = |text: &String| super::super::tokens::words(text).next().is_some();
    prop_oneof![
        3 => text().prop_filter("no word", has_word).prop_map(|text| quote(&text)),
        3 => (field.clone(), text(), select(&["=", "!="][..])).prop_map(|(field, text, op)| format!("{field}{op}{}", quote(&text))),
        2 => (field.clone(), text()).prop_filter("empty", |(_, text)| !text.is_empty())
            .prop_map(|(field, text)| format!("{field}:{}", quote(&text))),
        6 => (field, pattern(), select(&["~", "!~"][..])).prop_map(|(field, text, op)| format!("{field}{op}{}", quote(&text))),
        2 => (select(&["=", "!=", "<", "<=", ">", ">="][..]), select(Level::ALL)).prop_map(|(op, level)| format!("level{op}{level}")),
        1 => (select(&["=", "!=", "<", "<=", ">", ">="][..]), 15..20).prop_map(|(op, number)| format!("sequence{op}{number}")),
        1 => (select(&["=", "!=", "<", "<=", ">", ">="][..]), select(&["0s", "1s"][..])).prop_map(|(op, ago)| format!("time{op}{ago}")),
        1 => (select(&["=", "!="][..]), select(Signal::ALL)).prop_map(|(op, signal)| format!("signal{op}{signal}")),
        1 => (text(), text()).prop_map(|(a, b)| format!("message in ({}, {})", quote(&a), quote(&b))),
        1 => Just("field.status>=500".to_owned()),
        1 => Just("field.status=500".to_owned()),
        1 => Just("kind in (breach.fuel, client)".to_owned()),
        1 => Just("trace=abababababababababababababababab".to_owned()),
        1 => (select(&["=", "!=", "~", ":"][..]), select(&[1, 2, 9][..])).prop_map(|(op, id)| format!("link{op}{}", format!("{id:02x}").repeat(16))),
        1 => select(NAMES).prop_map(|name| format!("has field.{name}")),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    term().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
            inner.prop_map(|inner| format!("not {inner}")),
        ]
    })
}

fn fields() -> impl Strategy<Value = Vec<(&'static str, String, bool)>> {
    proptest::collection::vec((select(NAMES), text(), any::<bool>()), 0..3)
}

fn wire_fields<'a>(fields: &'a [(&'static str, String, bool)]) -> Vec<Field<'a>> {
    let value =
        |(_, text, is_number): &'a (_, String, bool)| if *is_number { Value::Integer(500) } else { Value::Text(text) };
    fields.iter().map(|entry| field(entry.0, value(entry))).collect()
}

prop_compose! {
    fn record()(
        shape in 0..6,
        level in select(Level::ALL),
        texts in proptest::collection::vec(text(), 4),
        fields in fields(),
        user in proptest::option::of(text()),
        correlation in proptest::option::of(text()),
        has_context in any::<bool>(),
    ) -> Stored {
        let fields = wire_fields(&fields);
        let mut record = match shape {
            0 | 1 => {
                let source = (shape == 1).then_some(wire::Source { file: &texts[2], line: 3 });
                let log = wire::Log { level, target: &texts[1], message: &texts[0], source, time: None };
                stored(Signal::Log, wire::KIND_LOG, |buffer| wire::write_log(buffer, &log, format_args!("{}", texts[0]), &fields))
            }
            2 => {
                let error = wire::Error { kind: &texts[0], message: &texts[1], stack: &texts[2], source: None, handled: true };
                stored(Signal::Error, wire::KIND_ERROR, |buffer| wire::write_error(buffer, &error, &fields))
            }
            3 => {
                let error = wire::Error { kind: &texts[0], message: &texts[1], stack: "", source: None, handled: false };
                let mut body = Vec::new();
                wire::write_error(&mut body, &error, &fields);
                let input = Some(glasshouse_model::InputDigest([7; 16]));
                stored(Signal::Error, KIND_ANSWERED, |buffer| glasshouse_model::AnsweredError::encode(buffer, input, None, &body))
            }
            4 => {
                let frame = |text: &String| Frame { function: text.clone(), offset: None };
                let failure = Failure {
                    kind: FailureKind::FuelBreach,
                    message: texts[0].clone(),
                    call: texts[1].clone(),
                    component: Digest([0; 32]),
                    location: Some((texts[2].clone(), 1)),
                    frames: texts.iter().map(frame).collect(),
                    evidence: vec![("status".to_owned(), 500)],
                    input: None,
                };
                stored(Signal::Error, KIND_FAILURE, |buffer| failure.encode(buffer))
            }
            _ => {
                let mut links = vec![(texts[2].len() % 3) as u8];
                for id in 1..=links[0] {
                    let link = wire::Link { trace_id: [id; 16], span_id: [id; 8], state: "" };
                    wire::put_link(&mut links, &link, &[]);
                }
                let span = Span {
                    parent: SpanId([1; 8]),
                    kind: SpanKind::Client,
                    status: SpanStatus::Ok,
                    name: &texts[0],
                    failure: &texts[1],
                    start: NOW,
                    total: SpanCost { elapsed_nanos: 1, fuel: Some(1), ..SpanCost::default() },
                    children: SpanCost::default(),
                    fields: wire::Fields::EMPTY,
                    events: Vec::new(),
                    links: wire::Reader::new(&links).links().expect("they are whole"),
                    memory_bytes: 1,
                    host: HostUses::default(),
                };
                stored(Signal::Span, KIND_SPAN, |buffer| span.encode(buffer, &fields, 0, &[]))
            }
        };
        record.envelope.context = has_context.then(|| Context { user, correlation_id: correlation, ..context() });
        record
    }
}

fn excluded_by(query: &Query, record: &Stored, filter: &TokenFilter) -> Option<&'static str> {
    let (needs, envelope) = (query.needs(), &record.envelope);
    [
        (!needs.time_meets(envelope.time, envelope.time), "time"),
        (!needs.sequences.contains(&envelope.sequence), "sequence"),
        (!needs.levels.meets(LevelSet::of_body(&record.body())), "level"),
        (!needs.signals.contains(record.signal), "signal"),
        (needs.is_impossible(), "everything"),
        (!needs.literals_meet(&record.encoded), "literals"),
        (!filter.might_match(needs), "tokens"),
    ]
    .into_iter()
    .find_map(|(excluded, by)| excluded.then_some(by))
}

/// Whether the text has what is required of it.
fn has(text: &str, (words, literals): &(Clauses<u64>, Clauses<Box<[u8]>>)) -> bool {
    let found: Vec<u64> = super::super::tokens::of(text).collect();
    let bytes = |literal: &[u8]| memchr::memmem::find(text.as_bytes(), literal).is_some();
    words.iter().all(|clause| clause.iter().any(|hash| found.contains(hash)))
        && literals.iter().all(|clause| clause.iter().any(|literal| bytes(literal)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_text_that_matches_has_what_matching_needs(
        texts in proptest::collection::vec(text(), 40),
        part in text().prop_filter("empty", |part| !part.is_empty()),
        pattern in pattern(),
    ) {
        let regex = super::super::regex(&pattern).expect("filtered above");
        let needle = super::super::needle::Needle::new(&part);
        for text in texts {
            if regex.is_match(&text) {
                prop_assert!(has(&text, &required::by_pattern(&pattern)), "{:?} matches {:?}", text, pattern);
            }
            if needle.is_in(&text) {
                prop_assert!(has(&text, &required::by_part(&part)), "{:?} contains {:?}", text, part);
            }
            prop_assert!(has(&text, &required::by_text(&text)));
        }
    }

    #[test]
    fn no_match_is_excluded(records in proptest::collection::vec(record(), 10), condition in condition()) {
        let query = query(&condition);
        for record in &records {
            let mut builder = TokenFilterBuilder::new();
            builder.add_record(record.signal, &record.body(), &record.envelope);
            if record.matches(&query) {
                prop_assert_eq!(excluded_by(&query, record, &builder.finish()), None, "{}", condition);
            }
        }
    }
}

#[test]
fn what_cannot_match_is_excluded() {
    let record = log(Level::Info, "connection refused by peer", &[field("status", Value::Integer(503))]);
    let mut builder = TokenFilterBuilder::new();
    builder.add_record(record.signal, &record.body(), &record.envelope);
    let filter = builder.finish();
    let check = |text: &str, expect: Option<&str>| {
        assert_eq!(excluded_by(&query(text), &record, &filter), expect, "{text}");
    };
    check("refused", None);
    check("timeout", Some("tokens"));
    check("refused or timeout", None);
    check("reset or timeout", Some("tokens"));
    check(r"message~\btimeout\b", Some("literals"));
    check("message~timeout", Some("literals"));
    check("message:\"was reset by\"", Some("tokens"));
    check("user=u2", Some("tokens"));
    check("user=u1", None);
    check("trace=00ababababababababababababababab", Some("tokens"));
    check("level>=warning", Some("level"));
    check("not level<warning", Some("level"));
    check("sequence>17", Some("sequence"));
    check("since 2026-11-22T10:00:01Z", Some("time"));
    check("time<2026-11-22T10:00:00Z", Some("time"));
    check("outcome=trap", Some("signal"));
    check("field.absent=1", Some("literals"));
    check("not refused", None);
}
