//! Which records match.

use glasshouse_model::invocation::{Cost, HostUses, Transfer};
use glasshouse_model::record::{KIND_FAILURE, KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::wire::{Alert, Error, Instrument, Metric, Severity, Source};
use glasshouse_model::{
    Digest, Failure, FailureKind, Frame, InputDigest, Invocation, Outcome, Span, SpanCost, SpanId, SpanKind, SpanStatus,
};

use super::*;

fn check(record: &Stored, text: &str, expect: bool) {
    assert_eq!(record.matches(&query(text)), expect, "{text}");
}

#[test]
fn logs_match_by_level_text_and_fields() {
    let fields = [
        field("status", Value::Integer(503)),
        field("ratio", Value::Float(0.5)),
        field("path", Value::Text("/api/Orders")),
        field("code", Value::Text("42")),
        field("ok", Value::Boolean(false)),
        field("twice", Value::Integer(1)),
        field("twice", Value::Integer(2)),
    ];
    let record = log(Level::Error, "Upstream time out after 30s", &fields);
    let yes = |text| check(&record, text, true);
    let no = |text| check(&record, text, false);
    yes("");
    yes(r#"level>=warning and message~"time ?out" and user="u1" and field.status>=500 since 15m limit 100"#);
    yes("level=error");
    no("level<error");
    yes("level in (error, critical)");
    yes("upstream OUT orders");
    no("upstr");
    no("503");
    yes("message:STREAM");
    no("message=\"upstream time out after 30s\"");
    yes("message~\"(?i)^upstream\"");
    no("message~upstream");
    yes("target=shop::cart");
    yes("field.status=503.0");
    yes("field.status<503.5");
    no("field.status=\"503\"");
    yes("field.code=42 field.code>41.5 field.code=\"42\"");
    yes("field.ratio=0.5 field.ok=false");
    yes("field.twice=2");
    no("field.twice=1");
    no("field.status~5");
    yes("field.status!~5");
    no("field.absent!=1");
    no("field.absent!~x");
    yes("not field.absent=1");
    no("has field.absent");
    yes("has field.path");
    no("has tenant");
    yes("trace=abababababababababababababababab");
    yes("correlation=abababababababababababababababab");
    yes("extension=shop origin=guest signal=logs sequence=17 cut=false");
    no("sequence>17");
    yes("time>=2026-11-22T10:00:00Z time<=now");
    no("since 2026-11-22T10:00:01Z");
    no("until now");
    no("severity=high");
    yes("refused or orders");
    no("not (refused or orders)");
}

#[test]
fn other_signals_match_by_their_own_fields() {
    let labels = [field("route", Value::Text("/cart"))];
    let metric = Metric { instrument: Instrument::Gauge, name: "queue.length", unit: "{item}", value: 12.5 };
    let metric = stored(Signal::Metric, wire::KIND_METRIC, |buffer| wire::write_metric(buffer, &metric, &labels));
    check(&metric, "name=queue.length value>12 instrument=gauge unit=\"{item}\" field.route=/cart queue", true);
    check(&metric, "level>=trace", false);
    check(&metric, "not level>=trace", true);

    let error = Error {
        kind: "DatabaseError",
        message: "no rows",
        stack: "at main\nat cart",
        source: Some(Source { file: "src/cart.rs", line: 7 }),
        handled: true,
    };
    let error = stored(Signal::Error, wire::KIND_ERROR, |buffer| wire::write_error(buffer, &error, &[]));
    check(&error, "kind=DatabaseError blame=guest handled=true file:cart line=7 stack~\"at cart$\"", true);
    check(&error, "databaseerror rows", true);

    let failure = Failure {
        kind: FailureKind::DeadlineBreach,
        message: "took too long".to_owned(),
        call: "handle:render".to_owned(),
        component: Digest([0; 32]),
        location: None,
        frames: vec![
            Frame { function: "spin".to_owned(), offset: None },
            Frame { function: "main".to_owned(), offset: None },
        ],
        evidence: vec![("limit_ms".to_owned(), 250)],
        input: None,
    };
    let failure = stored(Signal::Error, KIND_FAILURE, |buffer| failure.encode(buffer));
    check(
        &failure,
        "kind~\"^breach\" blame=guest handled=false call:render field.limit_ms=250 stack:spin deadline",
        true,
    );
    check(&failure, "has file", false);

    let mut links = vec![2];
    for id in [0x1f, 0x2f] {
        let link = wire::Link { trace_id: [id; 16], span_id: [id; 8], state: "" };
        wire::put_link(&mut links, &link, &[]);
    }
    let span = Span {
        parent: SpanId([0; 8]),
        kind: SpanKind::Client,
        status: SpanStatus::Failed,
        name: "fetch prices",
        failure: "refused",
        start: NOW,
        total: SpanCost { elapsed_nanos: 250_000_000, fuel: Some(900), ..SpanCost::default() },
        children: SpanCost::default(),
        fields: wire::Fields::EMPTY,
        events: Vec::new(),
        links: wire::Reader::new(&links).links().expect("two links"),
        memory_bytes: 3 << 20,
        host: HostUses::default(),
    };
    let bare = Span { links: wire::Links::EMPTY, memory_bytes: 0, ..span.clone() };
    let bare = stored(Signal::Span, KIND_SPAN, |buffer| bare.encode(buffer, &[], 0, &[]));
    let span = stored(Signal::Span, KIND_SPAN, |buffer| {
        span.encode(buffer, &[field("peer", Value::Text("10.0.0.1"))], 0, &[]);
    });
    check(&span, "duration>=250ms fuel<1000 status=failed kind=client prices failure:refuse field.peer=10.0.0.1", true);
    check(&span, "has parent", false);
    check(&span, "memory_peak=3MiB memory_peak_bytes<4MiB", true);
    check(&bare, "has memory_peak", false);
    let [first, second, other] = ["1f", "2f", "3f"].map(|byte| byte.repeat(16));
    check(&span, &format!("has link link={first} links={second} link:2f2f link in ({other}, {second})"), true);
    check(&span, &format!("link!={other} link!~3f"), true);
    // What is said not to be is in none of them.
    for not in [format!("link={other}"), format!("link!={second}"), "link~^3f".to_owned()] {
        check(&span, &not, false);
    }
    for query in ["has link".to_owned(), format!("link={first}"), format!("link!={first}")] {
        check(&bare, &query, false);
    }

    let cost = Cost {
        fuel: Some(5000),
        cpu_nanos: 3_000_000,
        elapsed_nanos: 9_000_000,
        memory_bytes: 1 << 20,
        host_nanos: 1_000_000,
        queued_nanos: 2_000_000,
        transfer: Transfer { sent_bytes: 512, ..Transfer::default() },
        ..Cost::default()
    };
    let invocation = Invocation {
        outcome: Outcome::Trapped,
        name: "handle:render",
        parent: Some(SpanId([0xab; 8])),
        cause: None,
        cost,
        host: HostUses::default(),
        input_bytes: 10,
        input: Some(InputDigest([0xcd; 16])),
        output_bytes: 0,
    };
    let invocation = stored(Signal::Invocation, KIND_INVOCATION, |buffer| invocation.encode(buffer));
    check(&invocation, "outcome=trap cpu>1ms elapsed_ns<1s memory=1MiB input<1kB name:render fuel=5000", true);
    check(&invocation, "in_guest=8ms in_host=1ms wall=11ms guest_cpu_ns=2ms host_cpu=1ms sent_bytes=512 idle=0s", true);
    check(&invocation, "parent=abababababababab", true);
    check(&invocation, "input_digest=cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd and input_digest~\"^cdcd\"", true);
    check(&invocation, "input_digest=cd", false);

    let alert = Alert {
        severity: Severity::High,
        kind: "slow",
        title: "Slow cart",
        message: "p99 is high",
        metric: Some("latency"),
        value: Some(2.5),
        threshold: None,
    };
    let alert = stored(Signal::Alert, wire::KIND_ALERT, |buffer| wire::write_alert(buffer, &alert));
    check(&alert, "severity>medium type=slow title:slow metric=latency value=2.5 p99", true);
    check(&alert, "has threshold", false);
    check(&alert, "threshold!=1", false);
}
