//! Guests that crash: the call ends with a typed outcome, the record says what happened, and everything goes on.

use glasshouse_model::{Blame, Failure, FailureKind, Level, Origin, Outcome, Signal, SpanStatus};
use glasshouse_runtime::{CallError, Extension, HandlerError, HostFault, Status, wasmtime};
use glasshouse_telemetry::{Body, Drop};
use serde_json::json;

use crate::harness::{
    House, ask, beside, call, dropped, each, errors, event, fail, failures, guest, invocations, line_of, logs,
    logs_with, on_behalf, scratch, spans,
};

/// Makes a call that must fail beside a neighbour that must not notice, and checks that the extension works again.
async fn check(house: &House, name: &str, failing: &str, payload: &str, kind: FailureKind) -> (Extension, Failure) {
    let neighbour = house.ready("neighbour").await;
    let extension = house.ready(name).await;
    assert_eq!(ask(&extension, "count", "").await, "1");
    let failure = beside(&neighbour, fail(&extension, failing, payload, kind)).await;
    assert_eq!(failure.call, format!("handle:{failing}"));
    assert_eq!(Some(failure.component), extension.component().map(|component| component.digest));
    let stored = failures(&extension);
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].1, *failure);

    assert_eq!(ask(&extension, "count", "").await, "1", "what the old instance held in memory is gone");
    assert_eq!(extension.status(), Status::Ready);
    let inits = invocations(&extension).into_iter().filter(|(name, _)| name == "init");
    assert_eq!(inits.collect::<Vec<_>>(), vec![("init".to_owned(), Outcome::Ok); 2]);
    assert_eq!(logs_with(&extension, "started anew").len(), 1);
    assert_eq!(extension.usage().failures, 1);
    (extension, stored[0].1.clone())
}

/// The functions of a failure's stack, innermost first, as its source lines are looked up, with file and line.
async fn source(house: &House, extension: &Extension, failure: &Failure) -> Vec<(String, String, u32)> {
    let frames = house.runtime.source_frames(extension, failure).await;
    let known = frames.into_iter().filter_map(|frame| frame.location.map(|(file, line)| (frame.function, file, line)));
    known.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_arrives_with_message_file_and_line() {
    let house = House::new();
    let (extension, failure) = check(&house, "panic", "panic", "\"at noon\"", FailureKind::Panic).await;
    assert_eq!(failure.message, "the kettle boiled dry: at noon");
    let line = line_of(include_str!("../guests/examples/panic.rs"), "// the line that panics");
    assert_eq!(failure.location, Some(("tests/guests/examples/panic.rs".to_owned(), line)));
    assert!(failure.frames.iter().any(|frame| frame.function.contains("panic::boil")), "{:?}", failure.frames);

    let source = source(&house, &extension, &failure).await;
    let found = source.iter().find(|(function, ..)| function.contains("boil"));
    let (_, file, found_line) = found.unwrap_or_else(|| panic!("no frame of `boil` has a line: {source:?}"));
    assert!(file.ends_with("tests/guests/examples/panic.rs"), "{file}");
    assert_eq!(*found_line, line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_carries_the_context_of_its_invocation() {
    let house = House::new();
    let extension = house.ready("panic").await;
    let trigger = on_behalf("order-7", "ada", "engines");
    let outcome = extension.call(event("panic", "\"x\""), trigger).await;
    assert!(matches!(outcome, Err(CallError::Failed(_))), "{outcome:?}");
    let (envelope, _) = &failures(&extension)[0];
    let context = envelope.context.as_ref().expect("the failure belongs to an invocation");
    assert_eq!(context.correlation_id.as_deref(), Some("order-7"));
    assert_eq!((context.user.as_deref(), context.tenant.as_deref()), (Some("ada"), Some("engines")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_a_scope_is_that_users_and_the_next_call_is_nobodys() {
    let house = House::new();
    let extension = house.ready("panic").await;
    fail(&extension, "panic-as", "\"grace\"", FailureKind::Panic).await;
    fail(&extension, "panic", "\"x\"", FailureKind::Panic).await;
    let users: Vec<_> = failures(&extension)
        .into_iter()
        .map(|(envelope, _)| envelope.context.and_then(|context| context.user))
        .collect();
    assert_eq!(users, [Some("grace".to_owned()), None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_keeps_the_logs_before_it_and_ends_the_spans_that_were_open() {
    let house = House::new();
    let extension = house.ready("panic").await;
    fail(&extension, "panic", "\"x\"", FailureKind::Panic).await;
    assert_eq!(logs_with(&extension, "about to panic").len(), 1);
    let spans = spans(&extension);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["kettle", "kitchen"]);
    assert!(spans.iter().all(|span| span.status == SpanStatus::Unfinished));
    assert_eq!(spans[0].parent, spans[1].context.span_id.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_recursion_is_told_from_other_traps() {
    let house = House::new();
    let (extension, failure) = check(&house, "recursion", "descend", "", FailureKind::StackOverflow).await;
    let deep = failure.frames.iter().filter(|frame| frame.function.contains("recursion::deeper")).count();
    assert!(deep > 20, "{:?}", failure.frames);
    let source = source(&house, &extension, &failure).await;
    assert!(source.iter().any(|(_, file, _)| file.ends_with("tests/guests/examples/recursion.rs")), "{source:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_break_the_sandbox_has_its_kind() {
    for (name, kind) in [
        ("unreachable", FailureKind::Unreachable),
        ("out-of-bounds", FailureKind::MemoryOutOfBounds),
        ("bad-call", FailureKind::BadCall),
        ("not-utf8", FailureKind::InvalidInterfaceUse),
    ] {
        let house = House::new();
        let (extension, failure) = check(&house, "traps", name, "", kind).await;
        assert!(!failure.message.is_empty() && failure.location.is_none());
        let source = source(&house, &extension, &failure).await;
        let function = name.replace('-', "_");
        let known = source
            .iter()
            .any(|(found, file, _)| found.contains(&function) && file.ends_with("tests/guests/examples/traps.rs"));
        assert!(known, "{function}: {source:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_exits_is_rebuilt_and_its_host_stays() {
    let house = House::new();
    let (extension, failure) = check(&house, "exits", "exit", "1", FailureKind::Exit).await;
    assert_eq!(failure.message, "called exit with status 1");
    fail(&extension, "exit", "0", FailureKind::Exit).await;
    assert_eq!(logs_with(&extension, "leaving").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_init_is_the_reason_why_an_extension_is_listed_as_failed() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let cause = beside(&neighbour, house.refused("init-trap", &guest("init-trap"))).await;
    assert!(cause.contains("there is nothing to start from"), "{cause}");
    assert!(cause.contains("tests/guests/examples/init-trap.rs"), "{cause}");
    let extension = house.runtime.extension("init-trap").expect("it is listed");
    let (_, failure) = &failures(&extension)[0];
    assert_eq!((failure.kind, failure.call.as_str()), (FailureKind::Panic, "init"));
    assert_eq!(logs_with(&extension, "about to fail").len(), 1);
    let refused = call(&extension, "echo", "").await;
    assert!(matches!(&refused, Err(CallError::Unavailable(reason)) if *reason == cause), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_answers_an_error_says_why_and_starts_once_it_is_configured() {
    let house = House::new();
    let cause = house.refused("init-refuses", &guest("init-refuses")).await;
    assert!(cause.contains("a key is needed: set config.key"), "{cause}");
    let refused = house.runtime.extension("init-refuses").expect("it is listed");
    assert_eq!(failures(&refused)[0].1.kind, FailureKind::InitRefused);
    assert_eq!(refused.usage().memory_bytes, 0, "there is no instance");

    let house = House::new();
    let configured = house
        .ready_with("init-refuses", |spec| {
            spec.settings.config.insert("key".to_owned(), "C major".into());
        })
        .await;
    assert_eq!(ask(&configured, "key", "").await, "\"C major\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_that_is_disguised_as_a_panic_is_a_breach() {
    let house = House::new();
    let extension = house.start("disguise", &guest("disguise"), |spec| spec.settings.budget.fuel_per_call = 1_000_000);
    let status = extension.loaded().await;
    assert!(matches!(&status, Status::Failed { cause } if cause.contains("breach.fuel")), "{status:?}");
    assert_eq!(failures(&extension)[0].1.kind, FailureKind::FuelBreach);
    let (_, kind, message, handled) = errors(&extension).pop().expect("what it said is kept");
    assert_eq!((kind.as_str(), message.as_str(), handled), ("panic", "not my fault", false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_panic_is_cut_and_marked() {
    let house = House::new();
    let extension = house.ready("panic").await;
    let long = json!("x".repeat(100_000)).to_string();
    let failure = fail(&extension, "panic", &long, FailureKind::Panic).await;
    assert_eq!(failure.message.len(), glasshouse_model::limits::MESSAGE_BYTES);
    assert!(failures(&extension)[0].0.cut);
    fail(&extension, "panic", "\"x\"", FailureKind::Panic).await;
    assert!(!failures(&extension)[1].0.cut);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_is_not_stored_is_counted() {
    let house = House::new();
    let extension = house.ready_with("panic", |spec| spec.settings.debugging.error_tracking_enabled = false).await;
    fail(&extension, "panic", "\"x\"", FailureKind::Panic).await;
    assert!(failures(&extension).is_empty());
    assert_eq!(dropped(&extension, Drop::Off), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_name_that_stands_for_gigabytes_stays_as_it_is() {
    // Each argument is a template of eight times the one before it.
    let mut name = format!("_Z1f1A1BI{}E", "S_".repeat(8));
    for before in "123456789ABCDEFGHI".chars() {
        name.extend(["S0_I", &format!("S{before}_").repeat(8), "E"]);
    }
    let text = format!(
        "(component (core module $m (func $s (@name \"{name}\") unreachable) (start $s)) \
         (core instance (instantiate $m)))"
    );
    let file = scratch("long-name.wasm", &wat::parse_str(&text).expect("it assembles"));
    let house = House::new();
    let cause = house.refused("long-name", &file).await;
    assert!(cause.contains("trap.unreachable"), "{cause}");
    let extension = house.runtime.extension("long-name").expect("it is listed");
    let (_, failure) = failures(&extension).pop().expect("the failure is stored");
    assert_eq!(failure.frames[0].function, name[..glasshouse_model::limits::NAME_BYTES]);
    let frames = house.runtime.source_frames(&extension, &failure).await;
    assert_eq!(frames[0].function, failure.frames[0].function);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_batch_is_counted_and_never_costs_more_than_itself() {
    let house = House::new();
    let extension = house.ready("malformed-emit").await;
    let neighbour = house.ready("neighbour").await;
    let batches: &[&[u8]] = &[
        b"",
        b"\0",
        b"\xff\xff\xff\xff\xff",
        b"\x01\x01",
        b"\x01\x01\xff\xff\xff\xff",
        b"\x01\x01\x04\0\0\0\x63\x00\x00\x00",
        b"\x01\x42\0\0\0\0",
        b"\x01\x01\x05\0\0\0\x02\0\0\x01\xff",
    ];
    beside(&neighbour, async {
        for batch in batches {
            assert_eq!(ask(&extension, "emit", batch).await, "null");
        }
    })
    .await;
    assert_eq!(dropped(&extension, Drop::Malformed), batches.len() as u64);
    assert_eq!(logs_with(&extension, "still here").len(), batches.len());
    let told = logs_with(&extension, "malformed");
    assert_eq!(told.len(), batches.len());
    assert!(told.iter().all(|log| log.level == Level::Warning && log.target == "glasshouse"));

    ask(&extension, "thrice", b"\0").await;
    assert_eq!(dropped(&extension, Drop::Malformed), batches.len() as u64 + 3);
    assert_eq!(logs_with(&extension, "malformed").len(), batches.len() + 1, "it is told once a call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_nobody_can_place_keeps_its_functions() {
    let house = House::new();
    let extension = house.ready("panic").await;
    let mut failure = (*fail(&extension, "panic", "\"x\"", FailureKind::Panic).await).clone();
    failure.component.0[0] ^= 1;
    let frames = house.runtime.source_frames(&extension, &failure).await;
    assert_eq!(frames.len(), failure.frames.len());
    assert!(frames.iter().all(|frame| frame.location.is_none()));
    assert!(frames.iter().any(|frame| frame.function.contains("boil")));
    assert!(logs(&extension).iter().all(|log| log.level < Level::Error));
}

/// A component whose `work` calls an embedder's import.
const EMBEDDED: &str = r#"(component
    (import "test:embedder/store@1.0.0" (instance $store (export "save" (func))))
    (core func $save (canon lower (func $store "save")))
    (core module $m
        (import "store" "save" (func $save))
        (func $work (export "work") call $save))
    (core instance $i (instantiate $m (with "store" (instance (export "save" (func $save))))))
    (func (export "work") (canon lift (core func $i "work"))))"#;

/// Calls `work` in a host whose `save` fails with an error, as often as it may fail and once more.
async fn fail_in_an_import(
    error: impl Fn() -> wasmtime::Error + Send + Sync + 'static,
) -> (House, Extension, Vec<Result<(), CallError>>) {
    let error = std::sync::Arc::new(error);
    let house = House::with(move |settings| {
        settings.linker_hooks.push(Box::new(move |linker| {
            let error = std::sync::Arc::clone(&error);
            linker
                .instance("test:embedder/store@1.0.0")?
                .func_wrap("save", move |_, ()| -> wasmtime::Result<()> { Err(error()) })
        }));
    });
    let component = scratch("embedded.wasm", &wat::parse_str(EMBEDDED).expect("it assembles"));
    let extension = house.start("embedded", &component, |_| {});
    assert_eq!(extension.loaded().await, Status::Ready);
    let mut ended = Vec::new();
    for _ in 0..=extension.settings().budget.failures_in_a_row {
        let work = extension.call_exports(
            "work",
            Box::new(|store, instance| {
                Box::pin(async move {
                    let work = instance.get_typed_func::<(), ()>(&mut *store, "work")?;
                    work.call_async(store, ()).await
                })
            }),
        );
        ended.push(work.await);
    }
    (house, extension, ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_host_in_an_import_is_not_held_against_the_guest() {
    let fault = || wasmtime::Error::new(HostFault("the disk is full".into())).context("saving");
    let (_house, extension, ended) = fail_in_an_import(fault).await;
    for ended in &ended {
        let Err(CallError::Failed(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Internal, "the disk is full"));
        assert_eq!(failure.kind.blame(), Blame::Host);
        assert!(failure.frames.iter().any(|frame| frame.function == "work"), "{:?}", failure.frames);
    }
    assert_eq!(failures(&extension).len(), ended.len());
    assert_eq!(extension.status(), Status::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_error_of_an_import_is_the_guests_own_and_ends_in_quarantine() {
    let (_house, extension, mut ended) = fail_in_an_import(|| wasmtime::Error::msg("no such shelf")).await;
    let last = ended.pop().expect("there is a last call");
    assert!(matches!(last, Err(CallError::Quarantined { .. })), "{last:?}");
    for ended in ended {
        let Err(CallError::Failed(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::InvalidInterfaceUse, "no such shelf"));
    }
    assert!(matches!(extension.status(), Status::Quarantined { .. }), "{:?}", extension.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_is_an_answer_is_stored_with_its_context_and_the_same_ones_are_one_group() {
    let house = House::new();
    let extension = house.ready("markdown").await;
    for payload in ["{\"markdown\": 1}", "{\"markdown\": 234}"] {
        let answered = extension.call(event("render", payload), on_behalf("c", "ada", "t")).await;
        assert!(matches!(answered, Err(CallError::Answered(HandlerError::InvalidPayload(_)))), "{answered:?}");
    }
    extension.call(event("no-such-event", ""), on_behalf("c", "ada", "t")).await.expect_err("it is unknown");
    let stored = errors(&extension);
    let kinds: Vec<_> = stored.iter().map(|(_, kind, _, handled)| (kind.as_str(), *handled)).collect();
    assert_eq!(kinds, [("invalid-payload", true), ("invalid-payload", true), ("unknown-event", true)]);
    for (envelope, ..) in &stored {
        let context = envelope.context.as_ref().expect("it belongs to a call");
        assert_eq!(
            (envelope.origin, context.user.as_deref()),
            (Origin::Guest, Some("ada")),
            "its words are the guest's"
        );
    }
    let returned = each(&extension, Signal::Error, |_, body| match body {
        Body::Answered(answered) => Some(answered.fields.iter().any(|field| field.name == "returned")),
        _ => None,
    });
    assert_eq!(returned, [true; 3]);
    let mut groups: Vec<_> = extension.error_groups().into_iter().map(|group| (group.kind, group.count)).collect();
    groups.sort();
    assert_eq!(groups, [("invalid-payload".to_owned(), 2), ("unknown-event".to_owned(), 1)]);
}
