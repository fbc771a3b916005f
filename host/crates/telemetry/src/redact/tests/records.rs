//! Records lose their secrets and stay records.

use glasshouse_model::invocation::{HostUse, HostUses};
use glasshouse_model::record::{KIND_ANSWERED, KIND_FAILURE, KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::wire::{self, Field, KIND_ALERT, KIND_ERROR, KIND_LOG, KIND_METRIC, Value};
use glasshouse_model::{
    AnsweredError, Context, Digest, Failure, FailureKind, Frame, HostFunction, InputDigest, Invocation, Level, Outcome,
    Severity, Span, SpanCost, SpanId, SpanKind, SpanStatus, UnixNanos, limits,
};

use super::redactor;
use crate::redact::MARKER;

/// What every text of a record holds here, and no stored one may hold.
const CANARY: &str = "c4n4ry";

fn planted(before: &str) -> String {
    format!("{before} password={CANARY}")
}

/// Checks that a record with canaries is suspect, loses them all, and is then left alone.
fn check(kind: u8, body: &[u8]) -> Vec<u8> {
    let redactor = redactor();
    assert!(redactor.is_suspect(body));
    let clean = redactor.redact_record(kind, body).expect("a record with secrets");
    assert!(memchr::memmem::find(&clean, CANARY.as_bytes()).is_none(), "{}", String::from_utf8_lossy(&clean));
    assert_eq!(redactor.redact_record(kind, &clean), None, "{}", String::from_utf8_lossy(&clean));
    clean
}

fn fields(name: &str) -> [Field<'_>; 5] {
    [
        Field { name: "user", value: Value::Text("ada") },
        Field { name: "password", value: Value::Text(CANARY) },
        Field { name: "card_pin", value: Value::Integer(1234) },
        Field { name: "has_token", value: Value::Boolean(true) },
        Field { name, value: Value::Float(1.5) },
    ]
}

const CLEAN: [Value<'static>; 4] = [Value::Text("ada"), Value::Text(MARKER), Value::Text(MARKER), Value::Boolean(true)];

fn first_values(fields: wire::Fields<'_>) -> Vec<Value<'_>> {
    fields.iter().map(|field| field.value).take(CLEAN.len()).collect()
}

#[test]
fn all_texts_of_guests_records_lose_their_secrets() {
    let (text, mut body) = (planted("x"), Vec::new());
    let source = Some(wire::Source { file: &text, line: 7 });
    let log = wire::Log { level: Level::Info, target: &text, message: "", source, time: Some(5) };
    wire::write_log(&mut body, &log, format_args!("{text}"), &fields(&text));
    let clean = check(KIND_LOG, &body);
    let Ok(wire::Record::Log(log, found)) = wire::decode(KIND_LOG, &clean) else { panic!("no log") };
    assert_eq!((log.level, log.time, log.message), (Level::Info, Some(5), "x password=[redacted]"));
    assert_eq!(first_values(found), CLEAN);

    body.clear();
    let metric = wire::Metric { instrument: wire::Instrument::Gauge, name: &text, unit: &text, value: 2.5 };
    let labels =
        [Field { name: "session_id", value: Value::Text(CANARY) }, Field { name: &text, value: Value::Text("") }];
    wire::write_metric(&mut body, &metric, &labels);
    assert!(wire::decode(KIND_METRIC, &check(KIND_METRIC, &body)).is_ok());

    body.clear();
    let error = wire::Error { kind: &text, message: &text, stack: &text, source, handled: true };
    wire::write_error(&mut body, &error, &fields(&text));
    let clean = check(KIND_ERROR, &body);
    let Ok(wire::Record::Error(error, found)) = wire::decode(KIND_ERROR, &clean) else { panic!("no error") };
    assert!(error.handled);
    assert_eq!(first_values(found), CLEAN);

    let (input, mut answered) = (Some(InputDigest([0xcd; 16])), Vec::new());
    AnsweredError::encode(&mut answered, input, None, &body);
    let clean = check(KIND_ANSWERED, &answered);
    let answered = AnsweredError::decode(&clean).expect("an answered error");
    assert_eq!((answered.input, first_values(answered.fields)), (input, CLEAN.to_vec()));

    body.clear();
    let alert = wire::Alert {
        severity: Severity::High,
        kind: &text,
        title: &text,
        message: &text,
        metric: Some(&text),
        value: Some(1.0),
        threshold: None,
    };
    wire::write_alert(&mut body, &alert);
    assert!(wire::decode(KIND_ALERT, &check(KIND_ALERT, &body)).is_ok());
}

#[test]
fn all_texts_of_the_hosts_records_lose_their_secrets() {
    let (text, mut body, mut events) = (planted("x"), Vec::new(), Vec::new());
    Span::encode_event(&mut events, UnixNanos(3), &text, &fields(&text));
    let (mut links, ids) = (vec![2], ([4; 16], [5; 8]));
    for state in [&*text, "rojo=1"] {
        let link = wire::Link { trace_id: ids.0, span_id: ids.1, state };
        wire::put_link(&mut links, &link, &fields(&text));
    }
    let read = HostUse { function: HostFunction::FileRead, calls: 3, nanos: 20, waited_nanos: 1 };
    let mut uses = Vec::new();
    let span = Span {
        parent: SpanId([7; 8]),
        kind: SpanKind::Client,
        status: SpanStatus::Failed,
        name: &text,
        failure: &text,
        start: UnixNanos(9),
        total: SpanCost { elapsed_nanos: 1, fuel: Some(2), ..SpanCost::default() },
        children: SpanCost::default(),
        fields: wire::Fields::EMPTY,
        events: Vec::new(),
        links: wire::Reader::new(&links).links().expect("two links"),
        memory_bytes: 1 << 20,
        host: HostUses::encode(&mut uses, [read]),
    };
    span.encode(&mut body, &fields(&text), 1, &events);
    let clean = check(KIND_SPAN, &body);
    let span = Span::decode(&clean).expect("a span");
    assert_eq!((first_values(span.fields), first_values(span.events[0].fields)), (CLEAN.to_vec(), CLEAN.to_vec()));
    assert_eq!((span.parent, span.start, span.total.fuel), (SpanId([7; 8]), UnixNanos(9), Some(2)));
    assert_eq!((span.memory_bytes, span.host.iter().collect::<Vec<_>>()), (1 << 20, vec![read]));
    for (link, fields) in span.links {
        assert_eq!(((link.trace_id, link.span_id), first_values(fields)), (ids, CLEAN.to_vec()));
    }
    let states: Vec<_> = span.links.iter().map(|(link, _)| link.state).collect();
    assert_eq!((states.len(), states[1]), (2, "rojo=1"));

    body.clear();
    let cost = glasshouse_model::invocation::Cost::default();
    let (parent, cause, host) = (Some(SpanId([8; 8])), Some(SpanId([9; 8])), HostUses::default());
    Invocation {
        outcome: Outcome::Ok,
        name: &text,
        parent,
        cause,
        cost,
        host,
        input_bytes: 1,
        input: None,
        output_bytes: 2,
    }
    .encode(&mut body);
    let clean = check(KIND_INVOCATION, &body);
    let call = Invocation::decode(&clean).expect("an invocation");
    assert_eq!((call.parent, call.cause), (parent, cause));

    body.clear();
    let failure = Failure {
        kind: FailureKind::Panic,
        message: text.clone(),
        call: text.clone(),
        component: Digest([1; 32]),
        location: Some((text.clone(), 3)),
        frames: vec![Frame { function: text.clone(), offset: None }],
        evidence: vec![("limit".to_owned(), 5), ("pin".to_owned(), 1234), (text, 0)],
        input: None,
    };
    failure.encode(&mut body);
    let clean = Failure::decode(&check(KIND_FAILURE, &body)).expect("a failure");
    assert_eq!(clean.evidence[..2], [("limit".to_owned(), 5), ("pin".to_owned(), 0)]);
}

#[test]
fn contexts_lose_their_secrets() {
    let redactor = redactor();
    let context = Context { user: Some(planted("ada")), tenant: Some("acme".to_owned()), ..Context::default() };
    let mut bytes = Vec::new();
    context.encode(&mut bytes);
    assert!(redactor.is_suspect(&bytes));
    let clean = redactor.redact_context(&context).expect("a secret");
    assert_eq!(clean.user.as_deref(), Some("ada password=[redacted]"));
    assert_eq!(redactor.redact_context(&clean), None);
}

#[test]
fn a_record_does_not_outgrow_its_limits() {
    let mut body = Vec::new();
    let message = "pin=1,".repeat(limits::MESSAGE_BYTES / 6);
    let value = "pin=1,".repeat(limits::TEXT_BYTES / 6);
    let log = wire::Log { level: Level::Info, target: "t", message: "", source: None, time: None };
    let fields =
        [Field { name: "a", value: Value::Text(&value) }, Field { name: "b", value: Value::Text(&value[..6000]) }];
    wire::write_log(&mut body, &log, format_args!("{message}"), &fields);
    let redactor = redactor();
    let clean = redactor.redact_record(KIND_LOG, &body).expect("secrets");
    assert!(clean.len() <= limits::RECORD_BYTES, "{}", clean.len());
    assert!(wire::decode(KIND_LOG, &clean).is_ok());
    assert_eq!(redactor.redact_record(KIND_LOG, &clean), None);
}

#[test]
fn bytes_that_are_no_record_are_left_to_the_decoder() {
    assert_eq!(redactor().redact_record(KIND_LOG, b"password=hunter2"), None);
    assert_eq!(redactor().redact_record(200, b"password=hunter2"), None);
}

#[test]
fn a_card_number_is_suspect_whatever_lengths_stand_around_it() {
    // A target that ends with a digit, and lengths of messages and of names that look like digits.
    for bytes in 16..80 {
        let message = format!("4111111111111111{}", " ".repeat(bytes - 16));
        let log = wire::Log { level: Level::Info, target: "stage2", message: "", source: None, time: None };
        for name in ["n".to_owned(), "5".repeat(bytes)] {
            let mut body = Vec::new();
            let fields = [Field { name: &name, value: Value::Integer(i64::from_le_bytes(*b"00000000")) }];
            wire::write_log(&mut body, &log, format_args!("{message}"), &fields);
            assert!(redactor().is_suspect(&body), "{message:?} {name:?}");
        }
    }
}
