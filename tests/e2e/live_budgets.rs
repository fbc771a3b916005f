//! Each budget is lowered while an extension runs, and holds from the next call of the same instance on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use glasshouse_model::settings::Budget;
use glasshouse_model::{FailureKind, Signal};
use glasshouse_runtime::{CallError, EmbedderCall, Extension, Trigger};
use glasshouse_telemetry::Drop;

use crate::harness::{
    House, ask, call, dropped, event, fail, guest, invocations, logs, logs_with, samples, scratch, spans,
};

/// Starts a guest with budgets as they are by default, has it do something that they allow, and lowers one; its instance is the same.
async fn lowered(
    house: &House,
    name: &str,
    first: (&str, &str),
    key: &str,
    lower: impl FnOnce(&mut Budget),
) -> Extension {
    let extension = house.start(&format!("{name}-{}", key.replace('_', "-")), &guest(name), |_| {});
    extension.loaded().await;
    ask(&extension, first.0, first.1).await;
    change(&extension, key, lower);
    extension
}

/// Lowers one budget.
fn change(extension: &Extension, key: &str, lower: impl FnOnce(&mut Budget)) {
    let mut settings = (*extension.settings()).clone();
    lower(&mut settings.budget);
    let changes = extension.apply(settings, "a test").expect("it can be changed while it runs");
    let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
    assert_eq!(keys, [format!("budget.{key}")]);
}

/// Checks that an extension was started once only.
fn is_as_it_was(extension: &Extension) {
    assert_eq!(invocations(extension).iter().filter(|(name, _)| name == "init").count(), 1, "{}", extension.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_may_ask_of_the_host_and_hold_of_it_holds_at_once_when_it_is_lowered() {
    use FailureKind::{HostCallBreach, HostDataBreach, ResourceBreach};
    /// Lowers a budget.
    type Lower = fn(&mut Budget);
    /// The key, the guest, what it may do before and no more after, and how that ends.
    type Row = (&'static str, &'static str, (&'static str, &'static str), Lower, FailureKind);
    let rows: [Row; 4] = [
        (
            "host_calls_per_call",
            "spender",
            ("log", "5000"),
            |budget| budget.host_calls_per_call = 1_000,
            HostCallBreach,
        ),
        (
            "host_data_per_call",
            "long-log",
            ("message", "1000000"),
            |budget| budget.host_data_per_call = 100_000,
            HostDataBreach,
        ),
        ("handles", "open-spans", ("hoard", "500"), |budget| budget.handles = 600, ResourceBreach),
        ("resources", "open-spans", ("hoard-meters", "50"), |budget| budget.resources = 80, ResourceBreach),
    ];
    let house = House::new();
    for (key, name, deed, lower, kind) in rows {
        let extension = lowered(&house, name, deed, key, lower).await;
        is_as_it_was(&extension);
        fail(&extension, deed.0, deed.1, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_grow_no_further_at_once_when_their_elements_are_fewer() {
    let text = "(component (core module $m (table 1 funcref)
        (func (export \"grow\") (result i32) (table.grow (ref.null func) (i32.const 900))))
        (core instance $i (instantiate $m))
        (func (export \"grow\") (result s32) (canon lift (core func $i \"grow\"))))";
    let file = scratch("grow-on-call.wasm", &wat::parse_str(text).expect("it assembles"));
    let house = House::new();
    let extension = house.start("grow-on-call", &file, |_| {});
    extension.loaded().await;
    let grow = async || {
        let answer = Arc::new(AtomicI64::new(i64::MIN));
        let told = Arc::clone(&answer);
        let call: EmbedderCall = Box::new(move |store, instance| {
            Box::pin(async move {
                let grow = instance.get_typed_func::<(), (i32,)>(&mut *store, "grow")?;
                let (before,) = grow.call_async(store, ()).await?;
                told.store(before.into(), Ordering::Relaxed);
                Ok(())
            })
        });
        extension.call_exports("grow", call).await.expect("it returns");
        answer.load(Ordering::Relaxed)
    };
    assert_eq!((grow().await, grow().await), (1, 901));
    change(&extension, "table_elements", |budget| budget.table_elements = 2_000);
    assert_eq!(grow().await, -1);
    is_as_it_was(&extension);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_recorded_is_cut_and_dropped_at_once_when_it_is_lowered() {
    let house = House::new();
    let name = "telemetry-flood";
    let told = |extension: &Extension, text: &str| logs_with(extension, text).len() as u64;

    let lower = |budget: &mut Budget| budget.telemetry.records_per_second = 10;
    let extension = lowered(&house, name, ("print", "1000"), "records_per_second", lower).await;
    assert_eq!((told(&extension, "a line"), dropped(&extension, Drop::Rate)), (1_000, 0));
    ask(&extension, "print", "1000").await;
    assert!(dropped(&extension, Drop::Rate) >= 980, "{}", dropped(&extension, Drop::Rate));
    is_as_it_was(&extension);

    let lower = |budget: &mut Budget| budget.telemetry.bytes_per_second = 64 << 10;
    let extension = lowered(&house, name, ("print", "10000"), "record_bytes_per_second", lower).await;
    assert_eq!(dropped(&extension, Drop::Rate), 0);
    ask(&extension, "print", "10000").await;
    assert!(dropped(&extension, Drop::Rate) > 0);
    is_as_it_was(&extension);

    let fields = lowered(&house, name, ("long", ""), "fields_per_record", |budget| budget.telemetry.fields = 1).await;
    let texts = lowered(&house, name, ("long", ""), "string_bytes", |budget| budget.telemetry.string_bytes = 100).await;
    for extension in [&fields, &texts] {
        ask(extension, "long", "").await;
        is_as_it_was(extension);
    }
    let of_long = |extension: &Extension| {
        let long = logs(extension).into_iter().filter(|log| log.message == "long");
        long.map(|log| (log.fields.len(), log.fields[0].1.len(), log.envelope.cut)).collect::<Vec<_>>()
    };
    assert_eq!(of_long(&fields), [(3, 1000, false), (1, 1000, true)]);
    assert_eq!(of_long(&texts), [(3, 1000, false), (3, 100, true)]);

    let extension = lowered(&house, name, ("names", "3"), "metrics", |budget| budget.telemetry.metrics = 5).await;
    ask(&extension, "names", "10").await;
    assert_eq!(dropped(&extension, Drop::Metrics), 2 * 5, "each is recorded twice");
    is_as_it_was(&extension);

    let lower = |budget: &mut Budget| budget.telemetry.series_per_metric = 5;
    let extension = lowered(&house, name, ("labels", "3"), "series_per_metric", lower).await;
    let surplus = || {
        let is_surplus = |labels: &[(String, String)]| labels.iter().any(|(name, _)| name == "otel.metric.overflow");
        samples(&extension).iter().filter(|sample| is_surplus(&sample.labels)).count()
    };
    assert_eq!(surplus(), 0);
    ask(&extension, "labels", "10").await;
    assert_eq!(surplus(), 2 * 5, "each is counted twice");
    is_as_it_was(&extension);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_may_be_open_and_how_deep_they_lie_hold_at_once_when_they_are_lowered() {
    let house = House::new();
    for (key, name, nest, lower) in [
        (
            "open_spans",
            "open-spans",
            "nest",
            (|budget: &mut Budget| budget.telemetry.open_spans = 5) as fn(&mut Budget),
        ),
        ("span_depth", "telemetry-flood", "chain", |budget| budget.telemetry.span_depth = 5),
    ] {
        let extension = lowered(&house, name, (nest, "8"), key, lower).await;
        assert_eq!((spans(&extension).len(), dropped(&extension, Drop::Nesting)), (8, 0), "{key}");
        ask(&extension, nest, "8").await;
        let dropped = dropped(&extension, Drop::Nesting);
        assert!(dropped > 0 && spans(&extension).len() as u64 + dropped == 16, "{key}: {dropped}");
        is_as_it_was(&extension);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_calls_may_wait_at_once_when_the_mailbox_is_smaller_and_more_again_when_it_is_larger() {
    let house = House::new();
    let sleeper = lowered(&house, "sleeper", ("nap", "1"), "mailbox", |budget| budget.mailbox = 1).await;
    let naps = async |wanted: usize| {
        let nap = || sleeper.try_call(event("nap", "100"), Trigger::default());
        let all = tokio::join!(nap(), nap(), nap(), nap());
        let busy = <[_; 4]>::from(all).into_iter().filter(|reply| matches!(reply, Err(CallError::Busy { .. }))).count();
        assert!(if wanted == 0 { busy == 0 } else { busy >= wanted }, "{busy} were turned away");
    };
    naps(2).await;
    change(&sleeper, "mailbox", |budget| budget.mailbox = 4);
    naps(0).await;
    is_as_it_was(&sleeper);

    // Who waits for room gets it when there is more.
    change(&sleeper, "mailbox", |budget| budget.mailbox = 1);
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let sleeper = sleeper.clone();
            tokio::spawn(async move { call(&sleeper, "nap", "50").await })
        })
        .collect();
    while sleeper.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sleeper.waiting(), 1);
    change(&sleeper, "mailbox", |budget| budget.mailbox = 100);
    while sleeper.waiting() == 1 {
        tokio::task::yield_now().await;
    }
    for waiting in waiting {
        waiting.await.expect("it ends").expect("it is served");
    }
    assert_eq!(sleeper.usage().stored[Signal::Error as usize], 0);
}
