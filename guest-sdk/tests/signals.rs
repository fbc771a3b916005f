//! What is said through the SDK arrives as it was said.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use glasshouse_sdk::testing::{Host, Recorded};
use glasshouse_sdk::{
    ApiRequest, CacheAccess, DatabaseQuery, ErrorReport, Instrument, Kind, Level, PluginExecution, SecurityEvent,
    SecurityKind, Severity, Span, SpanKind, alert, context, counter, critical, debug, enabled, error, gauge, histogram,
    in_span, info, record_error, record_exception, span, trace, warning,
};
use serde_json::{Value, json};

fn recorded(work: impl FnOnce()) -> Recorded {
    Host::new().run(work).1
}

fn fields(fields: &BTreeMap<String, serde_json::Value>) -> serde_json::Value {
    json!(fields)
}

#[test]
fn a_log_carries_level_target_message_place_and_fields() {
    let who = String::from("Ada");
    let line = line!() + 1;
    let recorded = recorded(|| info!("greeting {}", who, name = who, visits = 3_u64, share = 0.5, known = true));
    let [log] = &recorded.logs[..] else { panic!("one log: {recorded:?}") };
    assert_eq!((log.level, log.message.as_str()), (Level::Info, "greeting Ada"));
    assert_eq!(log.target, "signals");
    assert_eq!(log.source, Some((file!().to_owned(), line)));
    assert_eq!(fields(&log.fields), json!({ "name": "Ada", "visits": 3, "share": 0.5, "known": true }));
    assert_eq!(who, "Ada", "fields are borrowed");
}

#[test]
fn each_level_has_its_macro() {
    let recorded = recorded(|| {
        trace!("0");
        debug!("1");
        info!("2");
        warning!("3");
        error!("4");
        critical!("5");
    });
    let levels: Vec<_> = recorded.logs.iter().map(|log| (log.level, log.message.as_str())).collect();
    let expected: Vec<_> = Level::ALL.iter().copied().zip(["0", "1", "2", "3", "4", "5"]).collect();
    assert_eq!(levels, expected);
}

#[test]
fn the_syntax_of_fields() {
    let (id, list) = (7, [1, 2]);
    let address = std::net::Ipv4Addr::LOCALHOST;
    let recorded = recorded(|| {
        info!(target: "access", "{id}: {}", id + 1, "http.status" = 200, at = %address, list = ?list,);
        info!("short", %address, ?list, own = Box::new("x".to_owned()), big = u64::MAX, negative = -1);
        info!("{0} {1:>3} {0}", id, address.octets()[0], mixed = 1, "trailing" = "text");
        let comparison = 1;
        info!("an argument that compares: {}", comparison == 1);
    });
    let [first, second, third, fourth] = &recorded.logs[..] else { panic!("four logs: {recorded:?}") };
    assert_eq!((first.target.as_str(), first.message.as_str()), ("access", "7: 8"));
    assert_eq!(fields(&first.fields), json!({ "http.status": 200, "at": "127.0.0.1", "list": "[1, 2]" }));
    assert_eq!(second.fields["own"], "x");
    assert_eq!(second.fields["big"], u64::MAX as f64);
    assert_eq!((&second.fields["address"], &second.fields["list"]), (&json!("127.0.0.1"), &json!("[1, 2]")));
    assert_eq!(third.message, "7 127 7");
    assert_eq!(fields(&third.fields), json!({ "mixed": 1, "trailing": "text" }));
    assert_eq!(fourth.message, "an argument that compares: true");
}

#[test]
fn nothing_below_the_threshold_is_evaluated() {
    let evaluated = Cell::new(0);
    let count = || {
        evaluated.set(evaluated.get() + 1);
        1
    };
    let ((), recorded) = Host::new().threshold(Level::Warning).run(|| {
        info!("{}", count(), field = count());
        warning!("{}", count(), field = count());
        assert!(!enabled(Level::Info) && enabled(Level::Error));
    });
    assert_eq!((recorded.logs.len(), evaluated.get()), (1, 2));
}

#[test]
fn a_display_that_logs_by_itself_does_no_harm() {
    struct Talkative;
    impl fmt::Display for Talkative {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            debug!("inner");
            f.write_str("outer")
        }
    }
    let recorded = recorded(|| info!("{}", Talkative));
    let messages: Vec<_> = recorded.logs.iter().map(|log| log.message.as_str()).collect();
    assert_eq!(messages, ["inner", "outer"]);
}

#[test]
fn a_metric_keeps_all_its_labels_however_many_there_are() {
    let names: Vec<_> = (0..9).map(|number| format!("label-{number}")).collect();
    for count in 0..names.len() {
        let recorded = recorded(|| {
            let mut metric = counter("a");
            for name in &names[..count] {
                metric = metric.label(name, "v");
            }
            metric.record(1);
            metric.bind().record(1);
        });
        for sample in &recorded.samples {
            assert!(sample.labels.keys().eq(&names[..count]), "{count}: {:?}", sample.labels);
        }
        assert_eq!(recorded.samples.len(), 2);
    }
}

#[test]
fn metrics_carry_unit_labels_and_value() {
    let recorded = recorded(|| {
        counter("a").label("k", "v").label("l", "w").record(2_u8);
        let meter = histogram("b").unit("s").label("k", "v").bind();
        meter.record(Duration::from_millis(1500));
        meter.increment();
        gauge("c").record(-1);
    });
    let samples: Vec<_> = recorded
        .samples
        .iter()
        .map(|sample| {
            (sample.name.as_str(), sample.instrument, sample.unit.as_str(), sample.labels.len(), sample.value)
        })
        .collect();
    assert_eq!(
        samples,
        [
            ("a", Instrument::Counter, "", 2, 2.0),
            ("b", Instrument::Histogram, "s", 1, 1.5),
            ("b", Instrument::Histogram, "s", 1, 1.0),
            ("c", Instrument::Gauge, "", 0, -1.0),
        ]
    );
}

#[test]
fn spans_nest_and_end_when_dropped() {
    let recorded = recorded(|| {
        let outer = span!(kind: SpanKind::Client, "outer", size = 3);
        in_span("inner", |span| {
            span.add_event("hit", &[]);
            span.set_field("found", true);
            span.fail("not enough");
        });
        outer.set_field("size", 4);
        drop(outer);
        std::mem::forget(Span::start("open", SpanKind::Internal, &[]));
    });
    let [outer, inner, open] = &recorded.spans[..] else { panic!("three spans: {recorded:?}") };
    assert_eq!((outer.kind, outer.parent.as_deref(), outer.ended), (SpanKind::Client, None, true));
    assert_eq!(outer.fields["size"], 4);
    assert_eq!((inner.parent.as_deref(), inner.failure.as_deref()), (Some("outer"), Some("not enough")));
    assert_eq!((inner.events[0].0.as_str(), &inner.fields["found"]), ("hit", &json!(true)));
    assert!(!open.ended);
}

#[test]
fn errors_carry_their_causes_and_the_callers_place() {
    #[derive(Debug)]
    struct Outer(fmt::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot write")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let line = line!() + 2;
    let recorded = recorded(|| {
        record_error("cache", "miss");
        record_exception(&Outer(fmt::Error));
        record_exception(&Outer(fmt::Error) as &dyn std::error::Error);
        ErrorReport::new("lost", "gone").field("tries", &3).stack("a\nb").unhandled().send();
    });
    let [error, exception, erased, report] = &recorded.errors[..] else { panic!("four errors: {recorded:?}") };
    assert_eq!((error.kind.as_str(), error.message.as_str(), error.handled), ("cache", "miss", true));
    assert_eq!(error.source, Some((file!().to_owned(), line)));
    assert!(exception.kind.ends_with("::Outer"), "{}", exception.kind);
    assert_eq!(exception.stack, format!("caused by: {}", fmt::Error));
    assert_eq!(exception.source, Some((file!().to_owned(), line + 1)));
    assert_eq!((erased.kind.as_str(), erased.message.as_str()), ("error", "cannot write"));
    assert_eq!((report.stack.as_str(), report.handled, &report.fields["tries"]), ("a\nb", false, &json!(3)));
}

#[test]
fn an_alert_carries_what_it_is_about() {
    let recorded = recorded(|| {
        alert("slow", Severity::High, "Too slow").message("Look.").metric("latency").value(2.0).threshold(1.0).raise();
    });
    let alert = &recorded.alerts[0];
    assert_eq!((alert.kind.as_str(), alert.severity, alert.title.as_str()), ("slow", Severity::High, "Too slow"));
    assert_eq!((alert.metric.as_deref(), alert.value, alert.threshold), (Some("latency"), Some(2.0), Some(1.0)));
}

#[test]
fn a_context_is_in_force_until_it_is_dropped() {
    let outer = context::current();
    {
        let _user = context::scope().user("ada").enter();
        let tenant = context::scope().tenant("engines").correlation_id("c-1").enter();
        let info = context::current();
        assert_eq!((info.user.as_deref(), info.tenant.as_deref()), (Some("ada"), Some("engines")));
        assert_eq!(info.correlation_id, "c-1");
        drop(tenant);
        assert_eq!(context::current().tenant, None);
        assert_eq!(context::current().user.as_deref(), Some("ada"));
    }
    assert_eq!(context::current(), outer);
}

#[test]
fn what_came_along_with_a_request_can_be_read() {
    let ((tier, none, headers), _) = Host::new()
        .baggage("tier=gold%20or%zz;ttl=1, note = caf%C3%A9,tier=later")
        .run(|| (context::baggage("tier"), context::baggage("ttl"), context::headers()));
    assert_eq!((tier.as_deref(), none), (Some("gold or%zz"), None));
    let members: Vec<_> = headers.baggage_members().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(members, ["tier=gold or%zz", "note=café", "tier=later"]);
    assert_eq!(headers.traceparent, context::current().traceparent());
}

#[test]
fn the_log_crate_arrives() {
    let line = line!() + 1;
    let recorded = recorded(|| log::warn!(target: "elsewhere", "{} left", 3));
    let [log] = &recorded.logs[..] else { panic!("one log: {recorded:?}") };
    assert_eq!((log.level, log.target.as_str(), log.message.as_str()), (Level::Warning, "elsewhere", "3 left"));
    assert_eq!(log.source, Some((file!().to_owned(), line)));
    assert_eq!(fields(&log.fields), json!({ "code.module.name": module_path!() }), "its target does not tell it");
    let here = self::recorded(|| log::warn!("here"));
    assert_eq!((here.logs[0].target.as_str(), here.logs[0].fields.len()), (module_path!(), 0));
    let ((), recorded) = Host::new().threshold(Level::Error).run(|| log::warn!("below"));
    assert!(recorded.logs.is_empty());
}

#[test]
fn tracing_arrives_with_fields_and_spans() {
    let line = line!() + 5;
    let recorded = recorded(|| {
        let outer = tracing::info_span!("outer", size = 3, state = tracing::field::Empty);
        outer.in_scope(|| {
            let _inner = tracing::debug_span!("inner").entered();
            tracing::error!(target: "db", code = 7_u64, table = "users", list = ?[1], ok = false, "lost {}", "it");
        });
        outer.record("state", "done");
        let copy = outer.clone();
        drop(outer);
        drop(copy);
        tracing::info!("after");
    });
    let [lost, after] = &recorded.logs[..] else { panic!("two logs: {recorded:?}") };
    assert_eq!((lost.level, lost.target.as_str(), lost.message.as_str()), (Level::Error, "db", "lost it"));
    assert_eq!(lost.source, Some((file!().to_owned(), line)));
    assert_eq!(
        fields(&lost.fields),
        json!({ "code": 7, "table": "users", "list": "[1]", "ok": false, "code.module.name": "signals" })
    );
    assert_eq!((after.target.as_str(), after.fields.len()), ("signals", 0));
    let [outer, inner] = &recorded.spans[..] else { panic!("two spans: {recorded:?}") };
    let place = |line: u32, level: &str, own: Value| {
        let mut all =
            json!({ "code.file.path": file!(), "code.line.number": line, "target": "signals", "level": level });
        let (Value::Object(of_code), Value::Object(own)) = (&mut all, own) else { panic!("objects") };
        of_code.extend(own);
        all
    };
    assert_eq!(fields(&outer.fields), place(line - 3, "info", json!({ "size": 3, "state": "done" })));
    assert_eq!(fields(&inner.fields), place(line - 1, "debug", json!({})));
    assert_eq!(inner.parent.as_deref(), Some("outer"));
    assert!(outer.ended && inner.ended);

    let ((), recorded) = Host::new().threshold(Level::Error).run(|| tracing::info!("below"));
    assert!(recorded.logs.is_empty());
}

#[test]
fn a_span_of_tracing_keeps_its_module_under_another_target_and_what_its_author_calls_so() {
    let line = line!() + 2;
    let recorded = recorded(|| {
        tracing::warn_span!(target: "db", "query", level = 3, code.file.path = "query.sql").in_scope(|| ());
    });
    let expect = json!({
        "level": 3, "code.file.path": "query.sql", "code.line.number": line, "target": "db",
        "code.module.name": "signals",
    });
    assert_eq!(fields(&recorded.spans[0].fields), expect);
}

#[test]
fn what_is_not_stored_is_neither_made_nor_sent() {
    let evaluated = Cell::new(0);
    let count = || {
        evaluated.set(evaluated.get() + 1);
        "text"
    };
    let work = || {
        let meter = counter("bound").bind();
        counter("one").record(1);
        meter.increment();
        record_error("kind", "message");
        record_exception(&fmt::Error);
        ErrorReport::new("kind", "message").send();
        alert("kind", Severity::Low, "title").raise();
        let span = span!("work", text = count());
        span.set_field("more", 1);
        span.add_event("event", &[]);
        span.fail("reason");
        tracing::info_span!("other", text = count()).in_scope(|| ());
        ApiRequest::new("GET", "/").log();
        DatabaseQuery::new("SELECT", "orders").log();
        CacheAccess::new("pages", "get").log();
        PluginExecution::new("plugin", "run").log();
        SecurityEvent::new(SecurityKind::LoginOk).log();
    };
    let kinds = [
        Kind::Metrics,
        Kind::Errors,
        Kind::Alerts,
        Kind::Spans,
        Kind::Function,
        Kind::Request,
        Kind::Database,
        Kind::Cache,
        Kind::Security,
    ];
    let none = kinds.into_iter().fold(Host::new(), Host::without);
    assert_eq!(none.run(work).1, Recorded::default());
    assert_eq!(evaluated.get(), 0);
    // One kind at a time: samples, errors, alerts, spans, logs.
    let all = [2, 3, 1, 2, 5];
    for (kind, expect) in kinds.into_iter().zip([
        [0, 3, 1, 2, 5],
        [2, 0, 1, 2, 5],
        [2, 3, 0, 2, 5],
        [2, 3, 1, 0, 5],
        [2, 3, 1, 2, 4],
        [2, 3, 1, 2, 4],
        [2, 3, 1, 2, 4],
        [2, 3, 1, 2, 4],
        [2, 3, 1, 2, 4],
    ]) {
        let counts = |recorded: &Recorded| {
            let Recorded { logs, samples, errors, spans, alerts, .. } = recorded;
            [samples.len(), errors.len(), alerts.len(), spans.len(), logs.len()]
        };
        assert_eq!(counts(&recorded(work)), all);
        assert_eq!(counts(&Host::new().without(kind).run(work).1), expect, "{kind:?}");
    }
}

#[test]
fn a_helpers_level_is_that_of_its_outcome() {
    use Level::{Error, Info, Trace, Warning};

    let levels = |threshold: Level| {
        let ((), recorded) = Host::new().threshold(threshold).run(|| {
            let (quick, slow) = (Duration::from_millis(1), Duration::from_millis(3));
            let request = ApiRequest::new("GET", "/").slow_after(Duration::from_millis(2));
            for (status, elapsed) in [(200, quick), (399, slow), (400, quick), (499, slow), (500, quick), (599, slow)] {
                request.status(status).elapsed(elapsed).log();
            }
            DatabaseQuery::new("SELECT", "orders").slow_after(quick).elapsed(slow).log();
            PluginExecution::new("plugin", "run").failed("cause").log();
        });
        recorded.logs.iter().map(|log| log.level).collect::<Vec<_>>()
    };
    assert_eq!(levels(Trace), [Info, Warning, Warning, Warning, Error, Error, Warning, Error]);
    assert_eq!(levels(Error), [Error, Error, Error]);
}
