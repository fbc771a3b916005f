//! What guests say arrives whole, in order, with its context; what does not fit is counted.

use glasshouse_model::{Instrument, Level, Origin, Severity, Signal, SpanStatus};
use glasshouse_telemetry::Drop;
use serde_json::json;

use crate::harness::{
    House, alerts, ask, beside, call, dropped, errors, event, invocation_envelopes, line_of, logs, logs_with,
    on_behalf, samples, spans,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_flood_of_logs_the_newest_are_kept_and_the_rest_are_counted() {
    const LOGS: u64 = 100_000;
    for kept in [10, 100, 10_000] {
        let house = House::new();
        let neighbour = house.ready("neighbour").await;
        let extension = house.ready_with("log-flood", |spec| spec.settings.debugging.max_log_entries = kept).await;
        let before = extension.usage().stored[Signal::Log as usize];
        beside(&neighbour, ask(&extension, "flood", "100000")).await;
        let usage = extension.usage();
        let stored = usage.stored[Signal::Log as usize];
        assert_eq!(stored - before, LOGS);
        assert_eq!(usage.evicted[Signal::Log as usize], stored - kept as u64);
        assert_eq!(usage.dropped, 0);
        let numbers: Vec<_> = logs(&extension).into_iter().map(|log| log.fields[0].1.clone()).collect();
        let expected: Vec<_> = (LOGS - kept as u64..LOGS).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_logs_are_kept_as_exactly_as_many() {
    let house = House::new();
    let extension = house.ready_with("log-flood", |spec| spec.settings.debugging.max_log_entries = 10).await;
    for _ in 0..100 {
        ask(&extension, "flood", "37").await;
        assert_eq!(logs(&extension).len(), 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_told_what_it_missed() {
    let house = House::new();
    let extension = house.ready_with("log-flood", |spec| spec.settings.debugging.max_log_entries = 100).await;
    ask(&extension, "flood", "1000").await;
    let reader = extension.reader(Signal::Log);
    let page = reader.page(1, 30);
    assert_eq!((page.entries.len() as u64, page.missed), (30, reader.stored() - 100));
    let next = reader.page(page.next_sequence, 1000);
    assert_eq!((next.entries.len(), next.missed), (70, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_carries_level_logger_file_line_and_fields() {
    let house = House::new();
    let extension = house.ready("log-flood").await;
    ask(&extension, "flood", "1").await;
    let log = logs_with(&extension, "another drop").pop().expect("the log is stored");
    assert_eq!((log.level, log.target.as_str(), log.envelope.origin), (Level::Info, "log_flood", Origin::Guest));
    let line = line_of(include_str!("../guests/examples/log-flood.rs"), "info!(\"another drop\", number = number);");
    assert_eq!(log.source, Some(("tests/guests/examples/log-flood.rs".to_owned(), line)));
    assert_eq!(log.fields, [("number".to_owned(), "0".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_carries_the_context_of_its_invocation() {
    let house = House::new();
    let extension = house.ready("context").await;
    let trigger = on_behalf("order-7", "ada", "engines");
    extension.call(event("signals", ""), trigger).await.expect("it replies");
    let log = logs_with(&extension, "a log").pop().expect("the log is stored");
    let mut contexts = vec![log.context().clone()];
    contexts.extend(samples(&extension).into_iter().filter_map(|sample| sample.envelope.context));
    contexts.extend(errors(&extension).into_iter().filter_map(|(envelope, ..)| envelope.context));
    contexts.extend(alerts(&extension).into_iter().filter_map(|(envelope, ..)| envelope.context));
    contexts.extend(spans(&extension).into_iter().map(|span| span.context));
    assert_eq!(contexts.len(), 5);
    let invocation = invocation_envelopes(&extension, "handle:signals").pop().and_then(|envelope| envelope.context);
    let invocation = invocation.expect("the invocation has a context");
    let span = &spans(&extension)[0];
    for context in &contexts {
        assert_eq!(context.correlation_id.as_deref(), Some("order-7"));
        assert_eq!((context.user.as_deref(), context.tenant.as_deref()), (Some("ada"), Some("engines")));
        assert_eq!(context.trace_id, invocation.trace_id);
        assert_eq!(context.span_id, span.context.span_id, "all of them were made in the span");
    }
    assert_eq!(span.parent, invocation.span_id.to_string());
    assert_eq!((span.name.as_str(), span.status), ("work", SpanStatus::Ok));
    let (_, kind, message, handled) = errors(&extension).pop().expect("the error is stored");
    assert_eq!((kind.as_str(), message.as_str(), handled), ("an-error", "an error", true));
    let (_, kind, severity) = alerts(&extension).pop().expect("the alert is stored");
    assert_eq!((kind.as_str(), severity), ("an-alert", Severity::Low));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_correlation_id_the_trace_id_stands_in() {
    let house = House::new();
    let extension = house.ready("context").await;
    let told: serde_json::Value = serde_json::from_str(&ask(&extension, "tell", "").await).expect("the reply is JSON");
    assert_eq!(told["correlation_id"], told["trace_id"]);
    assert_eq!((told["user"].is_null(), told["tenant"].is_null()), (true, true));
    let invocation = invocation_envelopes(&extension, "handle:tell").pop().and_then(|envelope| envelope.context);
    let invocation = invocation.expect("the invocation has a context");
    assert_eq!(told["trace_id"], invocation.trace_id.to_string());
    assert_eq!(told["span_id"], invocation.span_id.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_scopes_change_user_and_tenant_and_give_them_back() {
    let house = House::new();
    let extension = house.ready("context").await;
    extension.call(event("nested", ""), on_behalf("outer-1", "root", "home")).await.expect("it replies");
    let seen: Vec<_> = logs(&extension)
        .into_iter()
        .filter(|log| log.envelope.origin == Origin::Guest)
        .map(|log| {
            let context = log.context().clone();
            [Some(log.message), context.user, context.tenant, context.correlation_id].map(Option::unwrap_or_default)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ["outside", "root", "home", "outer-1"],
            ["for ada", "ada", "engines", "outer-1"],
            ["for grace", "grace", "engines", "inner-1"],
            ["for ada again", "ada", "engines", "outer-1"],
            ["outside again", "root", "home", "outer-1"],
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_in_a_scope_belongs_to_its_user() {
    let house = House::new();
    let extension = house.ready("context").await;
    extension.call(event("print", ""), on_behalf("outer-1", "root", "home")).await.expect("it replies");
    let own = invocation_envelopes(&extension, "handle:print").pop().and_then(|envelope| envelope.context);
    let own = own.expect("the invocation has a context");
    let printed = logs_with(&extension, "printed");
    let seen: Vec<_> = printed.iter().map(|log| (log.message.as_str(), log.user())).collect();
    assert_eq!(
        seen,
        [("printed outside", Some("root")), ("printed for ada", Some("ada")), ("printed outside again", Some("root"))]
    );
    for log in &printed {
        assert_eq!((log.context().trace_id, log.context().span_id), (own.trace_id, own.span_id), "{}", log.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_context_can_hold_is_ignored_and_counted() {
    let house = House::new();
    let extension = house.ready("context").await;
    extension.call(event("illegal", ""), on_behalf("c-1", "root", "home")).await.expect("it replies");
    let log = logs_with(&extension, "as before").pop().expect("the log is stored");
    assert_eq!((log.user(), log.context().correlation_id.as_deref()), (Some("root"), Some("c-1")));
    assert_eq!(dropped(&extension, Drop::Nesting), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_a_guest_forgets_are_ended_with_its_call() {
    let house = House::new();
    let extension = house.ready("open-spans").await;
    ask(&extension, "forget", "").await;
    let ended = spans(&extension);
    let names: Vec<_> = ended.iter().map(|span| (span.name.as_str(), span.status)).collect();
    assert_eq!(names, ["inner", "middle", "outer"].map(|name| (name, SpanStatus::Unfinished)));
    assert_eq!(ended[0].parent, ended[1].context.span_id.to_string());
    assert_eq!(ended[1].parent, ended[2].context.span_id.to_string());
    let log = logs_with(&extension, "three are open").pop().expect("the log is stored");
    assert_eq!(log.context().span_id, ended[0].context.span_id);

    ask(&extension, "forget", "").await;
    assert_eq!(spans(&extension).len(), 6, "the next call starts with none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_a_guest_forgets_ends_with_its_call() {
    let house = House::new();
    let extension = house.ready("open-spans").await;
    extension.call(event("forget-scope", "\"mallory\""), on_behalf("c-1", "ada", "t")).await.expect("it replies");
    extension.call(event("nest", "1"), on_behalf("c-2", "grace", "t")).await.expect("it replies");
    assert_eq!(logs_with(&extension, "in a scope")[0].user(), Some("mallory"));
    assert_eq!(logs_with(&extension, "at the bottom")[0].user(), Some("grace"));
    for (name, user) in [("handle:forget-scope", "ada"), ("handle:nest", "grace")] {
        let invocation = invocation_envelopes(&extension, name).pop().and_then(|envelope| envelope.context);
        assert_eq!(invocation.and_then(|context| context.user).as_deref(), Some(user), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nests_too_deeply_is_counted_and_harms_nobody() {
    const EXTRA: u64 = 40;
    let depth = glasshouse_model::limits::NESTING as u64 + EXTRA;
    let house = House::new();
    let extension = house.ready("open-spans").await;
    ask(&extension, "nest", depth.to_string()).await;
    assert_eq!(dropped(&extension, Drop::Nesting), EXTRA);
    let ended = spans(&extension);
    assert_eq!(ended.len(), glasshouse_model::limits::NESTING);
    assert!(ended.iter().all(|span| span.status == SpanStatus::Ok));
    ask(&extension, "nest-scopes", depth.to_string()).await;
    assert_eq!(dropped(&extension, Drop::Nesting), 2 * EXTRA);
    assert_eq!(logs_with(&extension, "out again")[0].user(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_that_are_no_numbers_and_shrinking_counters_are_refused_and_counted() {
    let house = House::new();
    let extension = house.ready("invalid-metrics").await;
    ask(&extension, "record", "").await;
    assert_eq!(dropped(&extension, Drop::InvalidSample), 8);
    assert_eq!(extension.usage().dropped, 8);
    let kept: Vec<_> = samples(&extension)
        .into_iter()
        .map(|kept| (kept.name, kept.instrument, kept.value.to_string(), kept.unit, kept.labels))
        .collect();
    let sea = vec![("sea".to_owned(), "black".to_owned())];
    assert_eq!(
        kept,
        [
            ("depth".to_owned(), Instrument::Gauge, "-2212".to_owned(), "m".to_owned(), sea),
            ("calls".to_owned(), Instrument::Counter, "1".to_owned(), String::new(), Vec::new()),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_on_standard_output_and_error_become_logs() {
    let house = House::new();
    let extension = house.ready("stdio").await;
    extension.call(event("speak", ""), on_behalf("c-1", "ada", "t")).await.expect("it replies");
    let lines = || logs(&extension).into_iter().filter(|log| log.envelope.origin == Origin::Stdio);
    let of = |stream: &str| -> Vec<_> {
        lines().filter(|log| log.target == stream).map(|log| (log.level, log.message)).collect()
    };
    assert_eq!(
        of("stdout"),
        ["first line", "second line", "no end of line"].map(|line| (Level::Info, line.to_owned()))
    );
    assert_eq!(of("stderr"), [(Level::Warning, "\u{1b}[31mred\u{1b}[0m and a bell \u{7}".to_owned())]);
    assert!(lines().all(|log| log.user() == Some("ada")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_without_an_end_of_line_is_cut_and_what_is_no_text_is_replaced() {
    let house = House::new();
    let extension = house.ready("stdio").await;
    ask(&extension, "write", "z".repeat(1_000_000) + "\nnext\n").await;
    let written = logs(&extension).into_iter().filter(|log| log.envelope.origin == Origin::Stdio).collect::<Vec<_>>();
    assert!(written[0].envelope.cut);
    assert!(written.iter().all(|log| log.message.len() <= glasshouse_model::limits::MESSAGE_BYTES));
    assert_eq!(written.last().map(|log| log.message.as_str()), Some("next"));

    ask(&extension, "write", b"caf\xe9\n").await;
    assert_eq!(logs(&extension).pop().map(|log| log.message), Some("caf\u{fffd}".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_is_switched_off_is_not_even_sent() {
    let house = House::new();
    let quiet = house
        .ready_with("context", |spec| {
            spec.settings.debugging.logging_enabled = false;
            spec.settings.debugging.metrics_enabled = false;
            spec.settings.debugging.error_tracking_enabled = false;
            spec.settings.debugging.alerting_enabled = false;
            spec.settings.debugging.tracing_enabled = false;
        })
        .await;
    assert_eq!(ask(&quiet, "signals", "").await, "null");
    assert!(samples(&quiet).is_empty() && errors(&quiet).is_empty() && alerts(&quiet).is_empty());
    assert!(spans(&quiet).is_empty() && logs_with(&quiet, "a log").is_empty());
    assert_eq!(quiet.drops().iter().map(|(_, count)| count).sum::<u64>(), 0, "what was not sent is not counted");
    assert_eq!(quiet.usage().host_calls, 1, "what is stored is asked for once a call");
    assert_eq!(quiet.usage().calls, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_an_invocation_with_its_cost() {
    let house = House::new();
    let extension = house.ready("neighbour").await;
    ask(&extension, "echo", "hello").await;
    call(&extension, "refuse", "").await.expect_err("it refuses");
    call(&extension, "no-such-event", "").await.expect_err("it is unknown");
    let usage = extension.usage();
    assert_eq!((usage.calls, usage.answered_errors, usage.failures), (3, 2, 0));
    assert!(usage.fuel > 0 && usage.memory_bytes > 0 && usage.memory_peak_bytes >= usage.memory_bytes);
    assert_eq!(usage.stored[Signal::Invocation as usize], 4, "init is one too");
    assert_eq!(logs_with(&extension, "echoed")[0].fields[1], ("size".to_owned(), "5".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_input_burns_the_same_fuel_on_every_run() {
    let line = r#"127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326"#;
    for (example, name, payload) in [
        ("markdown", "render", json!({"markdown": "# One\n\n*two* [three](https://example.com) `four`\n"})),
        ("snippets", "highlight", json!({"language": "rust", "code": "fn main() { println!(\"hi\"); }"})),
        ("access-log", "ingest", json!({"lines": [line, line]})),
        ("relay", "announced", json!(null)),
    ] {
        let mut fuel = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let house = House::new();
            let extension = house.ready(example).await;
            ask(&extension, name, payload.to_string()).await;
            fuel.insert(extension.usage().fuel);
        }
        assert_eq!(fuel.len(), 1, "{example}: {fuel:?}");
    }
}
