//! What the example extensions cost: the same fuel each time, and time that is accounted for, by the call, by the function of the host and
//! by the extension.

use std::path::Path;
use std::sync::Arc;

use glasshouse_model::invocation::{Cost, HostUse};
use glasshouse_model::{Origin, Signal};
use glasshouse_runtime::{Extension, SystemClock};
use glasshouse_telemetry::Body;
use serde_json::json;

use crate::harness::{House, ask, each};

/// How often each of them is started and called anew.
const RUNS: usize = 20;
/// The least wall time of a call of which a part is taken: below, the clock's own steps and other processes are much of it.
const LONG_ENOUGH_NANOS: u64 = 1_000_000;

/// A house whose clock goes.
fn house() -> House {
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    })
}

/// Calls each of the examples with its event; `relay` has `markdown` called besides.
async fn call_all(house: &House, scale: usize) -> [Extension; 4] {
    let text = "## Part\n\nSome *text* and `code`, [a link](https://example.com).\n\n".repeat(scale);
    let markdown = house.ready("markdown").await;
    ask(&markdown, "render", json!({"markdown": text}).to_string()).await;
    let relay = house.ready_with("relay", |spec| spec.settings.permissions.call = vec!["markdown".into()]).await;
    ask(&relay, "page", json!({"markdown": text}).to_string()).await;
    let snippets = house.ready("snippets").await;
    let code = "fn main() {\n    let all = 1 + 2; // a comment\n}\n".repeat(scale);
    ask(&snippets, "highlight", json!({"language": "rust", "code": code}).to_string()).await;
    let access_log = house.ready("access-log").await;
    let line = r#"127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326"#;
    ask(&access_log, "ingest", json!({"lines": vec![line; 10 * scale]}).to_string()).await;
    [markdown, relay, snippets, access_log]
}

/// The calls of an extension: name, cost, and what each asked of the host.
fn calls(extension: &Extension) -> Vec<(String, Cost, Vec<HostUse>)> {
    each(extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(call) => Some((call.name.to_owned(), call.cost, call.host.iter().collect())),
        _ => None,
    })
}

/// The fuel of each call and of each span of the guest's own, by name and in order: all of it, and what inner spans took.
fn fuel(extension: &Extension) -> Vec<(String, Option<u64>, Option<u64>)> {
    let calls = calls(extension).into_iter().map(|(name, cost, _)| (name, cost.fuel, None));
    let spans = each(extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if envelope.origin == Origin::Guest => {
            Some((span.name.to_owned(), span.total.fuel, span.children.fuel))
        }
        _ => None,
    });
    calls.chain(spans).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_example_burns_the_same_fuel_for_the_same_input_on_each_of_twenty_runs() {
    let mut first = None;
    for run in 0..RUNS {
        let house = house();
        let used = call_all(&house, 3).await.map(|extension| (extension.id().to_string(), fuel(&extension)));
        for (id, all) in &used {
            assert!(all.len() >= 3, "{id}: `init`, a call and a span: {all:?}");
            assert!(all.iter().all(|(_, total, _)| *total > Some(0)), "{id}: {all:?}");
        }
        let first = first.get_or_insert_with(|| used.clone());
        for ((id, expected), (_, found)) in first.iter().zip(&used) {
            assert_eq!(found, expected, "{id} in run {run}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_the_host_is_split_by_function_and_an_extensions_split_is_the_sum_of_its_calls() {
    let house = house();
    for extension in call_all(&house, 10).await {
        let id = extension.id();
        let mut sums: Vec<HostUse> = Vec::new();
        for (name, cost, uses) in calls(&extension) {
            assert_eq!(uses.iter().map(|one| one.nanos).sum::<u64>(), cost.host_nanos, "{id} {name}: {uses:?}");
            assert_eq!(uses.iter().map(|one| one.calls).sum::<u64>(), cost.host_calls, "{id} {name}");
            for one in uses {
                match sums.iter_mut().find(|sum| sum.function == one.function) {
                    Some(sum) => {
                        sum.calls += one.calls;
                        sum.nanos += one.nanos;
                        sum.waited_nanos += one.waited_nanos;
                    }
                    None => sums.push(one),
                }
            }
        }
        sums.sort_by_key(|one| one.function as u8);
        assert!(sums.len() >= 2, "{id} logs and counts: {sums:?}");
        assert_eq!(extension.host_functions(), sums, "{id}");
        assert_eq!(extension.usage().host_nanos, sums.iter().map(|one| one.nanos).sum::<u64>(), "{id}");
    }
}

/// The least time in guest of so many calls with an event.
async fn least_in_guest(extension: &Extension, event: &str, payload: &str, times: usize) -> u64 {
    for _ in 0..times {
        ask(extension, event, payload).await;
    }
    let name = format!("handle:{event}");
    let all = calls(extension).into_iter().filter(|(given, ..)| *given == name);
    all.map(|(_, cost, _)| cost.guest_nanos()).min().expect("there were such calls")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figures are published in ARCHITECTURE.md")]
async fn what_is_in_guest_and_no_guests_code_is_under_a_twentieth_of_the_examples_wall_time() {
    const CROSSINGS: u64 = 10_000;
    let house = house();
    // Measured apart from what it is to be a part of, and too high: some of it is this guest's own code.
    let spender = house.ready("spender").await;
    let of_a_call = least_in_guest(&spender, "nothing", "", 200).await;
    let of_many = least_in_guest(&spender, "clock", &CROSSINGS.to_string(), 20).await;
    let of_a_crossing = of_many.saturating_sub(of_a_call) as f64 / CROSSINGS as f64;
    for extension in call_all(&house, 300).await {
        let (name, cost, _) = calls(&extension).pop().expect("it was called");
        let other = of_a_call as f64 + of_a_crossing * cost.host_calls as f64;
        let percent = 100.0 * (other + cost.unattributed_nanos as f64) / cost.wall_nanos() as f64;
        let id = extension.id();
        println!(
            "{id} {name}: {percent:.2} % of {} us in {} calls of the host",
            cost.wall_nanos() / 1000,
            cost.host_calls
        );
        assert!(cost.wall_nanos() >= LONG_ENOUGH_NANOS, "{id} {name}: {cost:?}");
        assert!(percent < 5.0, "{id} {name}: {of_a_call} ns a call, {of_a_crossing:.0} ns a crossing: {percent:.1} %");
    }
}
