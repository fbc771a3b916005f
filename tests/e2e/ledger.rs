//! What calls and spans cost: the parts of their time, what they moved and kept, and what they asked of the host.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use glasshouse_model::invocation::{Cost, HostUse, Transfer};
use glasshouse_model::settings::{FileAccess, SlowCall};
use glasshouse_model::{Aspect, FailureKind, HostFunction, Origin, Outcome, Signal, SpanCost, SpanId, SpanStatus};
use glasshouse_runtime::{Extension, Status, SystemClock};
use glasshouse_telemetry::Body;
use serde_json::json;

use crate::harness::{House, LONG, ask, beside, each, fail, guest, invocation_envelopes, invocations, samples};

const MILLISECOND: u64 = 1_000_000;

/// A house whose clock goes.
fn living_house() -> House {
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    })
}

/// The costs of all calls with a name, and what they asked of the host.
fn costs(extension: &Extension, name: &str) -> Vec<(Cost, Vec<HostUse>)> {
    let cost = |entry: &glasshouse_telemetry::Entry| match entry.body().expect("what is stored can be read") {
        Body::Invocation(call) if call.name == name || name.is_empty() => Some((call.cost, call.host.iter().collect())),
        _ => None,
    };
    extension.reader(Signal::Invocation).all().iter().filter_map(cost).collect()
}

/// The last call with a name.
fn last(extension: &Extension, name: &str) -> (Cost, Vec<HostUse>) {
    costs(extension, name).pop().expect("there was such a call")
}

/// How often a call called a function.
fn calls_of(uses: &[HostUse], function: HostFunction) -> u64 {
    uses.iter().find(|one| one.function == function).map_or(0, |one| one.calls)
}

/// The total and the inner spans' part of the span with a name.
fn span_of(extension: &Extension, name: &str) -> (SpanCost, SpanCost) {
    let found = extension.reader(Signal::Span).all().into_iter().rev().find_map(|entry| {
        match entry.body().expect("what is stored can be read") {
            Body::Span(span) if span.name == name => Some((span.total, span.children)),
            _ => None,
        }
    });
    found.unwrap_or_else(|| panic!("there is no span {name}"))
}

/// A spender that may write to a folder and reach an address.
async fn spender(house: &House, folder: &Path, address: &str) -> Extension {
    house
        .ready_with("spender", |spec| {
            let (host, guest) = (folder.to_owned(), "/data".to_owned());
            spec.settings.permissions.files = vec![FileAccess { root: host.clone(), host, guest, write: true }];
            if !address.is_empty() {
                spec.settings.permissions.network = vec![address.parse().expect("an address")];
            }
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_of_a_call_of_each_example_add_up_to_its_wall_time() {
    let house = living_house();
    let long = "## Part\n\nSome *text* and `code`.\n\n".repeat(200);
    let markdown = house.ready("markdown").await;
    ask(&markdown, "render", json!({"markdown": long}).to_string()).await;
    let relay = house.ready_with("relay", |spec| spec.settings.permissions.call = vec!["markdown".into()]).await;
    ask(&relay, "page", json!({"markdown": "# Hi"}).to_string()).await;
    let snippets = house.ready("snippets").await;
    ask(&snippets, "highlight", json!({"language": "rust", "code": "fn main() {}"}).to_string()).await;
    let access_log = house.ready("access-log").await;
    let line = r#"127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326"#;
    ask(&access_log, "ingest", json!({"lines": [line]}).to_string()).await;

    for extension in [&markdown, &relay, &snippets, &access_log] {
        let all = costs(extension, "");
        assert!(all.len() >= 2, "{}", extension.id());
        let (mut elapsed, mut host_calls) = (0, 0);
        for (cost, uses) in all {
            let Cost { queued_nanos, host_nanos, unattributed_nanos, .. } = cost;
            let parts = [cost.guest_nanos(), host_nanos, queued_nanos, cost.waiting_nanos(), unattributed_nanos];
            assert_eq!(parts.iter().sum::<u64>(), cost.wall_nanos(), "{}: {cost:?}", extension.id());
            assert_eq!(unattributed_nanos, 0, "a call that ends by itself ends with its last poll");
            assert!(cost.guest_nanos() > 0 && cost.guest_cpu_nanos() + cost.host_cpu_nanos() == cost.cpu_nanos);
            assert_eq!(uses.iter().map(|one| one.calls).sum::<u64>(), cost.host_calls);
            (elapsed, host_calls) = (elapsed + cost.elapsed_nanos, host_calls + cost.host_calls);
        }
        let usage = extension.usage();
        assert_eq!((usage.elapsed_nanos, usage.host_calls), (elapsed, host_calls), "the ledger is their sum");
    }
    // One that another thread answers at once is not waited for, which is seldom.
    for page in 1.. {
        let (cost, uses) = last(&relay, "handle:page");
        let call = uses.iter().find(|one| one.function == HostFunction::Call).expect("it called the renderer");
        assert!(call.calls == 1 && cost.idle_nanos >= call.waited_nanos, "{cost:?} {uses:?}");
        if call.waited_nanos > 0 {
            break;
        }
        assert!(page < 100, "none of so many calls was waited for: {cost:?} {uses:?}");
        ask(&relay, "page", json!({"markdown": "# Hi"}).to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_waits_for_is_idle_and_no_time_in_the_guest_or_the_host() {
    let house = living_house();
    let extension = house.ready("spender").await;
    ask(&extension, "nap", "30").await;
    let (cost, uses) = last(&extension, "handle:nap");
    // The time runs from when the host was asked; a busy machine may hold the thread up for a while before it waits.
    assert!(cost.idle_nanos + cost.host_nanos >= 30 * MILLISECOND, "{cost:?}");
    assert!(cost.idle_nanos > cost.elapsed_nanos / 2 && cost.elapsed_nanos >= cost.idle_nanos, "{cost:?}");
    let poll = uses.iter().find(|one| one.function == HostFunction::Poll).expect("a sleep is a poll");
    assert_eq!(poll.waited_nanos, cost.idle_nanos);
    assert!(cost.cpu_nanos < cost.elapsed_nanos && !cost.cpu_estimated, "{cost:?}");

    ask(&extension, "work", "1000000").await;
    let (cost, _) = last(&extension, "handle:work");
    assert!(cost.yielded_nanos > 0 && cost.idle_nanos == 0, "it yields, and waits for nothing: {cost:?}");
    ask(&extension, "nothing", "").await;
    let (cost, _) = last(&extension, "handle:nothing");
    assert!(cost.cpu_estimated && cost.waiting_nanos() == 0, "one poll: {cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_files_are_counted_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new();
    let extension = spender(&house, folder.path(), "").await;
    for (write, append, read) in [(100_000, 5_000, 70_000), (0, 0, 0), (3, 1, 4)] {
        let files = json!({"folder": "/data", "write": write, "append": append, "read": read});
        ask(&extension, "files", files.to_string()).await;
        let (cost, uses) = last(&extension, "handle:files");
        let expected = Transfer { read_bytes: read, written_bytes: write + append, ..Transfer::default() };
        assert_eq!(cost.transfer, expected);
        assert!(calls_of(&uses, HostFunction::FileOpen) >= 3, "{uses:?}");
    }
    let sum = Transfer { read_bytes: 70_004, written_bytes: 105_004, ..Transfer::default() };
    assert_eq!(extension.usage().transfer, sum);
}

/// A peer that takes and gives so many bytes, and the address at which it does.
fn peer(send: usize, receive: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("it has an address").to_string();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the guest connects");
        stream.read_exact(&mut vec![0; send]).expect("the guest sends");
        stream.write_all(&vec![1; receive]).expect("the guest receives");
    });
    (address, peer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_sockets_are_counted_exactly() {
    let (send, receive) = (100_000, 40_000);
    let (address, peer) = peer(send, receive);
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new();
    let extension = spender(&house, folder.path(), &address).await;
    let exchange = json!({"address": address, "send": send, "receive": receive});
    ask(&extension, "tcp", exchange.to_string()).await;
    peer.join().expect("the peer is done");
    let expected = Transfer { sent_bytes: 100_000, received_bytes: 40_000, ..Transfer::default() };
    assert_eq!(last(&extension, "handle:tcp").0.transfer, expected);
    let names: Vec<_> = host_spans(&extension).into_iter().map(|span| span.name).collect();
    assert!(names.iter().filter(|name| *name == "wasi:sockets/tcp").count() >= 2, "made and connected: {names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_datagrams_are_counted_exactly() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = peer.local_addr().expect("it has an address").to_string();
    let peer = std::thread::spawn(move || {
        let (_, guest) = peer.recv_from(&mut [0; 2000]).expect("the guest sends");
        peer.send_to(&[1; 300], guest).expect("the guest receives");
    });
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new();
    let extension = spender(&house, folder.path(), &address).await;
    let exchange = json!({"address": address, "send": 1200, "receive": 2000});
    assert_eq!(ask(&extension, "udp", exchange.to_string()).await, "300");
    peer.join().expect("the peer is done");
    let expected = Transfer { sent_bytes: 1200, received_bytes: 300, ..Transfer::default() };
    assert_eq!(last(&extension, "handle:udp").0.transfer, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spans_own_cost_and_that_of_its_inner_spans_are_its_total() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut fuel = Vec::new();
    for _ in 0..2 {
        let house = living_house();
        let extension = spender(&house, folder.path(), "").await;
        ask(&extension, "nest", "\"/data\"").await;
        let [outer, first, within, second] =
            ["outer", "first", "within", "second"].map(|name| span_of(&extension, name));
        assert_eq!(outer.1, first.0.with(second.0), "what inner spans took");
        let id = span_id(&extension, "first");
        let by_the_host = host_spans(&extension).into_iter().filter(|span| span.parent == id);
        assert_eq!(first.1, by_the_host.fold(within.0, |sum, span| sum.with(span.cost)), "the host's among them");
        assert_eq!((within.1, second.1), (SpanCost::default(), SpanCost::default()));
        for (total, children) in [outer, first, within, second] {
            let own = total.without(children);
            assert_eq!(own.with(children), total);
            assert_eq!(total.guest_nanos() + total.host_nanos + total.waiting_nanos(), total.elapsed_nanos);
            assert!(own.fuel > Some(0) && total.host_calls > 0, "{total:?}");
        }
        assert!(first.0.memory_delta_bytes >= 1 << 20, "it kept a mebibyte: {first:?}");
        // The nap runs from when the host was asked; a busy machine may hold the thread up for a while before it waits.
        assert!(first.0.idle_nanos > 0, "it napped: {first:?}");
        assert!(first.0.idle_nanos + first.0.host_nanos >= 5 * MILLISECOND, "it napped: {first:?}");
        let own = outer.0.without(outer.1);
        assert_eq!((first.0.transfer.written_bytes, own.transfer.written_bytes), (100, 0));
        assert_eq!((own.idle_nanos, own.memory_delta_bytes), (0, 0), "the nap and the memory are the inner span's");
        let (call, _) = last(&extension, "handle:nest");
        assert!(call.fuel > outer.0.fuel && call.memory_delta_bytes >= outer.0.memory_delta_bytes);
        fuel.push([outer, first, within, second].map(|(total, _)| total.fuel));
    }
    assert_eq!(fuel[0], fuel[1], "the same work burns the same fuel in each span");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_tells_what_each_function_of_the_host_was_used_for_in_it_and_the_memory_at_its_peak() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = living_house();
    let extension = spender(&house, folder.path(), "").await;
    ask(&extension, "nest", "\"/data\"").await;
    let spans = each(&extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if envelope.origin == Origin::Guest => {
            Some((span.name.to_owned(), (span.total, span.memory_bytes, span.host.iter().collect::<Vec<_>>())))
        }
        _ => None,
    });
    let span =
        |name: &str| spans.iter().find(|(of, _)| of == name).map(|(_, span)| span.clone()).expect("it is stored");
    let uses_of = |uses: &[HostUse], function| uses.iter().find(|one| one.function == function).copied();
    let (outer, first, second) = (span("outer"), span("first"), span("second"));
    let nap = uses_of(&first.2, HostFunction::Poll).expect("it napped");
    let waited: u64 = first.2.iter().map(|one| one.waited_nanos).sum();
    let (idle, all) = (first.0.idle_nanos, first.0.idle_nanos + first.0.yielded_nanos);
    assert!(nap.waited_nanos > 0 && (idle..=all).contains(&waited), "{waited} of {idle} to {all}: {:?}", first.2);
    assert!(uses_of(&first.2, HostFunction::StreamWrite).is_some(), "it wrote a file: {:?}", first.2);
    assert_eq!(second.2, [], "it asked the host for nothing");
    for of_first in &first.2 {
        let of_outer = uses_of(&outer.2, of_first.function).expect("the outer span has what is in the inner one");
        assert!(of_outer.calls >= of_first.calls && of_outer.nanos >= of_first.nanos, "{of_outer:?} {of_first:?}");
    }
    for (name, (total, _, uses)) in &spans {
        let calls: u64 = uses.iter().map(|one| one.calls).sum();
        let nanos: u64 = uses.iter().map(|one| one.nanos).sum();
        // What is left are the starts and ends of spans, its own end among them.
        let tracing = 1 + 2 * u64::from(name == "first") + 6 * u64::from(name == "outer");
        assert_eq!(
            (total.host_calls - calls, total.host_nanos >= nanos),
            (tracing, true),
            "{name}: {total:?} {uses:?}"
        );
    }
    let (call, _) = last(&extension, "handle:nest");
    assert_eq!((outer.1, second.1, call.memory_peak_bytes), (first.1, first.1, first.1), "it grew in the first one");
    assert!(first.1 > first.0.memory_delta_bytes, "{first:?}");
}

/// A span that the host made of a call of one of its functions.
struct HostSpan {
    name: String,
    parent: SpanId,
    start: i64,
    end: i64,
    cost: SpanCost,
}

fn host_spans(extension: &Extension) -> Vec<HostSpan> {
    each(extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if envelope.origin == Origin::Host => {
            let (name, parent, cost) = (span.name.to_owned(), span.parent, span.total);
            Some(HostSpan { name, parent, start: span.start.0, end: envelope.time.0, cost })
        }
        _ => None,
    })
}

/// The id of the guest's span with a name.
fn span_id(extension: &Extension, name: &str) -> SpanId {
    let ids = each(extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if span.name == name => envelope.context.map(|context| context.span_id),
        _ => None,
    });
    ids.last().copied().unwrap_or_else(|| panic!("there is no span {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_does_with_files_and_waits_for_has_spans_of_the_host_where_it_did_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = living_house();
    let extension = spender(&house, folder.path(), "").await;
    ask(&extension, "nest", "\"/data\"").await;
    let first = span_id(&extension, "first");
    let spans = host_spans(&extension);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    for (name, least) in [("wasi:io/poll", 5 * MILLISECOND), ("wasi:filesystem.open-at", 1)] {
        let span = spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {names:?}"));
        assert_eq!(span.parent, first, "{name} is in the innermost span around it");
        assert!(span.cost.elapsed_nanos >= least && span.end - span.start == span.cost.elapsed_nanos as i64);
        assert_eq!((span.cost.host_calls, span.cost.fuel), (1, None));
    }
    let nap = spans.iter().find(|span| span.name == "wasi:io/poll").expect("it was found before");
    assert!(nap.cost.idle_nanos >= 5 * MILLISECOND, "what it waited is no work: {:?}", nap.cost);

    let before = spans.len();
    let files = json!({"folder": "/data", "write": 10, "append": 10, "read": 5}).to_string();
    ask(&extension, "files", files).await;
    let own = each(&extension, Signal::Invocation, |envelope, _| envelope.context.map(|context| context.span_id));
    let call = own.last().copied().expect("the call is stored");
    let spans = host_spans(&extension).split_off(before);
    assert!(spans.len() >= 4 && spans.iter().all(|span| span.parent == call), "without spans of its own: its call");
    assert!(spans.is_sorted_by_key(|span| span.start));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_knows_nothing_of_glasshouse_has_spans_of_its_exports_and_of_its_calls_of_the_host() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("there.txt"), "it is").expect("writing a file");
    let house = living_house();
    let extension = house
        .ready_with("open-file", |spec| {
            let (host, guest) = (folder.path().to_owned(), "/data".to_owned());
            spec.settings.permissions.files = vec![FileAccess { root: host.clone(), host, guest, write: false }];
        })
        .await;
    let [init] = &invocation_envelopes(&extension, "init")[..] else { panic!("it was started once") };
    let init = init.context.as_ref().expect("a call has a context");
    let opened = each(&extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if span.name == "wasi:filesystem.open-at" => Some((envelope, span.parent, span.status)),
        _ => None,
    });
    let [(envelope, parent, status)] = &opened[..] else { panic!("it opened one file: {}", opened.len()) };
    assert_eq!((envelope.origin, *parent, *status), (Origin::Host, init.span_id, SpanStatus::Ok));
    assert_eq!(envelope.context.as_ref().map(|context| context.trace_id), Some(init.trace_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_does_with_files_has_no_spans_while_tracing_is_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = living_house();
    let extension = spender(&house, folder.path(), "").await;
    let mut settings = (*extension.settings()).clone();
    settings.debugging.tracing_enabled = false;
    settings.debugging.slow_call = SlowCall::After(Duration::from_hours(1));
    extension.apply(settings, "test").expect("it can change at any time");
    ask(&extension, "nest", "\"/data\"").await;
    assert!(host_spans(&extension).is_empty());
    assert!(last(&extension, "handle:nest").0.transfer.written_bytes > 0, "it wrote all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_span_that_outlives_the_one_around_it_only_a_part_is_within_that() {
    let house = living_house();
    let extension = house.ready("spender").await;
    ask(&extension, "cross", "").await;
    let ((outer, part), (inner, _)) = (span_of(&extension, "outer"), span_of(&extension, "inner"));
    assert!(part.fuel > Some(0) && part.fuel < inner.fuel && part.fuel < outer.fuel, "{outer:?} {part:?} {inner:?}");
    assert!(part.elapsed_nanos <= inner.elapsed_nanos && part.elapsed_nanos <= outer.elapsed_nanos);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_span_has_its_cost_though_no_others_are_stored() {
    let house = living_house();
    let extension = house.ready_with("spender", |spec| spec.settings.debugging.tracing_enabled = false).await;
    ask(&extension, "fail", "").await;
    let (total, children) = span_of(&extension, "outer");
    assert!(total.fuel > Some(0) && total.elapsed_nanos > 0);
    assert!(
        children.fuel > Some(0) && children.fuel < total.fuel,
        "the inner span's fuel is its own, stored or not: {children:?}"
    );
    assert_eq!(extension.usage().stored[Signal::Span as usize], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_the_host_are_counted_by_function() {
    let house = House::new();
    let extension = house.ready("spender").await;
    ask(&extension, "log", "1000").await;
    ask(&extension, "clock", "1000").await;
    let (logged, log_uses) = last(&extension, "handle:log");
    let (timed, clock_uses) = last(&extension, "handle:clock");
    assert_eq!(calls_of(&log_uses, HostFunction::Emit), 1000);
    assert_eq!(calls_of(&clock_uses, HostFunction::Clock), 1000);
    assert_eq!(calls_of(&clock_uses, HostFunction::Emit), 0, "what one call asked is not the next one's");
    assert!(logged.host_calls < 1010 && timed.host_calls < 1010, "{log_uses:?} {clock_uses:?}");
    let all: u64 = costs(&extension, "").iter().map(|(cost, _)| cost.host_calls).sum();
    assert_eq!(extension.usage().host_calls, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_of_the_host_than_the_budget_allows_are_a_breach_with_evidence() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let extension = house
        .ready_with("spender", |spec| {
            spec.settings.budget.host_calls_per_call = 1_000;
            spec.settings.budget.failures_in_a_row = 100;
        })
        .await;
    ask(&extension, "log", "990").await;
    let by_log = beside(&neighbour, fail(&extension, "log", "5000", FailureKind::HostCallBreach)).await;
    assert_eq!(by_log.evidence, [("host_calls".to_owned(), 1_001), ("host_calls_per_call".to_owned(), 1_000)]);
    assert!(by_log.message.contains("debugging.emit") && !by_log.frames.is_empty(), "{by_log:?}");
    // A function of WASI cannot fail for it: the call ends at its next slice, or at its end.
    for times in ["100000000", "1001"] {
        let by_clock = beside(&neighbour, fail(&extension, "clock", times, FailureKind::HostCallBreach)).await;
        assert!(by_clock.message.contains("wasi:clocks"), "{by_clock}");
    }
    ask(&extension, "nothing", "").await;
    let breaches = invocations(&extension).into_iter().filter(|(_, outcome)| *outcome == Outcome::Breached);
    assert_eq!(breaches.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_keeps_is_its_memory_delta() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new();
    let extension = spender(&house, folder.path(), "").await;
    let (init, _) = last(&extension, "init");
    assert_eq!(init.memory_delta_bytes, init.memory_bytes, "what it starts with");
    ask(&extension, "nest", "\"/data\"").await;
    let (nest, _) = last(&extension, "handle:nest");
    assert_eq!(nest.memory_bytes - init.memory_bytes, nest.memory_delta_bytes);
    ask(&extension, "nothing", "").await;
    assert_eq!(last(&extension, "handle:nothing").0.memory_delta_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_extension_uses_is_told_as_metrics_of_the_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new();
    let (address, peer) = peer(300, 200);
    let extension = spender(&house, folder.path(), &address).await;
    let unwatched = house.start("unwatched", &guest("spender"), |spec| {
        spec.settings.debugging.aspects[Aspect::Resources as usize] = false;
    });
    assert_eq!(unwatched.loaded().await, Status::Ready);
    ask(&unwatched, "nothing", "").await;
    let mute = house.ready_with("mute", |spec| spec.settings.debugging.metrics_enabled = false).await;
    let files = json!({"folder": "/data", "write": 1000, "append": 0, "read": 10});
    ask(&extension, "files", files.to_string()).await;
    ask(&extension, "tcp", json!({"address": address, "send": 300, "receive": 200}).to_string()).await;
    peer.join().expect("the peer is done");
    house.clock.advance(Duration::from_secs(10));
    house.runtime.shutdown(LONG).await;

    let of_use = |extension: &Extension| {
        let told = samples(extension).into_iter().filter(|sample| !sample.name.starts_with("debug_overhead"));
        told.map(|sample| (sample.name, sample.unit, sample.value)).collect::<Vec<_>>()
    };
    let told = of_use(&extension);
    let names: Vec<_> = told.iter().map(|(name, unit, _)| (name.as_str(), unit.as_str())).collect();
    let expected = [
        ("cpu_percent", "%"),
        ("memory_mb", "MBy"),
        ("response_time", "ms"),
        ("disk_read_bytes", "By"),
        ("disk_written_bytes", "By"),
        ("network_sent_bytes", "By"),
        ("network_received_bytes", "By"),
    ];
    assert_eq!(names, expected);
    assert_eq!((told[3].2, told[4].2), (10.0, 1000.0));
    assert_eq!((told[5].2, told[6].2), (300.0, 200.0));
    assert_eq!(of_use(&unwatched), [], "its use of resources is not watched");
    assert!(samples(&extension).iter().all(|sample| sample.envelope.origin == Origin::Host));
    assert!(samples(&mute).is_empty(), "its metrics are switched off");
}
