//! Code that traces itself by the SDK: what is stored of it, also when it traps, and that it costs nothing where it is off.

use std::collections::HashMap;

use glasshouse_model::settings::Debugging;
use glasshouse_model::wire::Value;
use glasshouse_model::{FailureKind, Level, Signal, SpanStatus};
use glasshouse_runtime::Extension;
use glasshouse_telemetry::Body;

use crate::harness::{House, Log, ask, beside, call, fail, fuel, line_of, logs, logs_with};

const GUEST: &str = "traced";
const SOURCE: &str = include_str!("../guests/examples/traced.rs");

/// A stored span with its fields.
#[derive(Debug)]
struct Span {
    id: String,
    parent: String,
    name: String,
    status: SpanStatus,
    failure: String,
    fields: HashMap<String, String>,
}

impl Span {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The spans, in the order in which they ended.
fn spans(extension: &Extension) -> Vec<Span> {
    let text = |value: Value<'_>| match value {
        Value::Text(text) => text.to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
    };
    let entries = extension.reader(Signal::Span).all();
    let span = |entry: &glasshouse_telemetry::Entry| match entry.body().expect("what is stored can be read") {
        Body::Span(span) => Some(Span {
            id: entry.envelope().context.expect("a span belongs to an invocation").span_id.to_string(),
            parent: span.parent.to_string(),
            name: span.name.to_owned(),
            status: span.status,
            failure: span.failure.to_owned(),
            fields: span.fields.iter().map(|field| (field.name.to_owned(), text(field.value))).collect(),
        }),
        _ => None,
    };
    entries.iter().filter_map(span).collect()
}

/// Name and depth of each span.
fn depths(spans: &[Span]) -> Vec<(&str, &str)> {
    spans.iter().map(|span| (span.name.as_str(), span.field("call.depth"))).collect()
}

/// Message and fields of the logs that the guest's tracing made.
fn told(extension: &Extension) -> Vec<String> {
    let is_ours = |log: &Log| log.message.contains("changed") || log.target == "glasshouse.progress";
    let shown = |log: Log| {
        let fields = log.fields.iter().filter(|(name, _)| !name.starts_with("progress."));
        fields.fold(log.message, |shown, (name, value)| format!("{shown} {name}={value}"))
    };
    logs(extension).into_iter().filter(is_ours).map(shown).collect()
}

async fn ready(house: &House, change: impl FnOnce(&mut Debugging)) -> Extension {
    house.ready_with(GUEST, |spec| change(&mut spec.settings.debugging)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traced_code_tells_all_but_its_secrets() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    assert_eq!(ask(&extension, "log-in", r#"{"user": "ada", "password": "xyz"}"#).await, "2");
    let stored = spans(&extension);
    let [check, welcome, log_in] = &stored[..] else { panic!("three spans: {stored:?}") };
    assert_eq!((check.name.as_str(), &check.parent), ("check the password", &log_in.id));
    assert_eq!(check.field("password"), "[redacted]");
    assert!(!check.fields.contains_key("user"), "{check:?}");
    assert_eq!((welcome.name.as_str(), &welcome.parent), ("welcome", &log_in.id));
    let state = ["before.visits", "after.visits", "before.password", "after.password"].map(|name| welcome.field(name));
    assert_eq!(state, ["1", "2", "[redacted]", "[redacted]"]);
    assert_eq!(log_in.field("login"), "Login { user: \"ada\", password: \"[redacted]\" }");
    assert_eq!(depths(&stored), [("check the password", "2"), ("welcome", "2"), ("log_in", "1")]);
    assert_eq!(check.field("code.file.path"), "tests/guests/examples/traced.rs");
    let line = line_of(SOURCE, "fn check(user: &str, password: &str) -> Result<String, Error> {");
    assert_eq!(check.field("code.line.number"), line.to_string());
    assert!(stored.iter().all(|span| span.status == SpanStatus::Ok), "{stored:?}");
    assert_eq!(
        told(&extension),
        [
            "Session.user changed old.user= new.user=ada",
            "Session.token changed old.token= new.token=[redacted]",
            "Session.visits changed old.visits=0 new.visits=1",
        ]
    );
    let visits = &logs_with(&extension, "Session.visits")[0];
    let line = line_of(SOURCE, "self.session.set_visits(self.session.visits + 1);");
    assert_eq!(visits.source, Some(("tests/guests/examples/traced.rs".to_owned(), line)));
    assert_eq!((visits.level, visits.target.as_str()), (Level::Debug, "traced"));

    let wrong = r#"{"user": "ada", "password": "hunter2"}"#;
    let reply = call(&extension, "log-in", wrong).await;
    assert!(reply.is_err(), "{reply:?}");
    let failed = &spans(&extension)[3..];
    assert_eq!(depths(failed), [("check the password", "2"), ("log_in", "1")]);
    for span in failed {
        assert_eq!(span.status, SpanStatus::Failed, "{span:?}");
        assert!(span.failure.contains("the password of ada has 7 letters"), "{span:?}");
        assert_eq!(span.field("error.type"), "glasshouse_sdk::handler::Error");
    }
    let everything = format!("{stored:?} {failed:?} {:?}", logs(&extension));
    for secret in ["xyz", "hunter2", "token of"] {
        assert!(!everything.contains(secret), "{secret} in {everything}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_traced_code_are_balanced_however_the_guest_ends() {
    for (gathers, end, kind) in [
        (false, "panic", FailureKind::Panic),
        (true, "panic", FailureKind::Panic),
        (false, "trap", FailureKind::Unreachable),
        (true, "trap", FailureKind::Unreachable),
        (true, "spin", FailureKind::FuelBreach),
    ] {
        let house = House::new();
        let neighbour = house.ready("neighbour").await;
        let extension = house.ready_with(GUEST, |spec| spec.settings.budget.fuel_per_call = 20_000_000).await;
        if gathers {
            ask(&extension, "gather", "").await;
        }
        beside(&neighbour, fail(&extension, "descend", &format!("{end:?}"), kind)).await;
        let stored = spans(&extension);
        // Each that was begun has ended once, the inner before the outer, below the one in which it lies.
        let floor = [("inner", "3"), ("stairs", "2"), ("outer", "1")];
        assert_eq!(depths(&stored), [floor, floor].concat(), "{end}");
        let (whole, unfinished) = stored.split_at(3);
        for spans in [whole, unfinished] {
            assert_eq!((&spans[0].parent, &spans[1].parent), (&spans[1].id, &spans[2].id), "{end}");
        }
        assert_eq!(whole[2].parent, unfinished[2].parent, "both lie in the call");
        assert!(whole.iter().all(|span| span.status == SpanStatus::Ok), "{whole:?}");
        assert!(unfinished.iter().all(|span| span.status == SpanStatus::Unfinished), "{unfinished:?}");
        assert_eq!((whole[2].field("return"), unfinished[2].field("return")), ("1", ""));
        let state = |span: &Span| [span.field("before.steps").to_owned(), span.field("after.steps").to_owned()];
        assert_eq!(
            (state(&whole[1]), state(&unfinished[1])),
            (["0", "1"].map(str::to_owned), ["0", ""].map(str::to_owned))
        );
        assert_eq!(unfinished[0].field("floor"), "second", "its arguments are known");
        assert_eq!(told(&extension), ["go down: 1 of 2", "go down: 2 of 2"], "{end}: what was told before is kept");

        assert_eq!(ask(&extension, "descend", "\"well\"").await, "3");
        let after = spans(&extension).split_off(6);
        assert_eq!(depths(&after), [floor, floor].concat(), "{end}: the next call begins at the top");
        assert!(after.iter().all(|span| span.status == SpanStatus::Ok), "{after:?}");
    }
}

/// Turns of a loop in each of two calls, whose costs are compared.
const TURNS: [u64; 2] = [1_000, 2_000];
/// What a traced place that is off may cost, in units of fuel: a look at flags and the way around what is not done are some
/// dozens; what is done where it is on, some thousands.
const MOST_FUEL: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traced_code_that_is_off_evaluates_sends_and_costs_nothing() {
    let all_off = |debugging: &mut Debugging| {
        debugging.logging_enabled = false;
        debugging.tracing_enabled = false;
        debugging.error_tracking_enabled = false;
    };
    let level_off = |debugging: &mut Debugging| debugging.log_level = Level::Info;
    for change in [all_off as fn(&mut Debugging), level_off] {
        let house = House::new();
        let extension = ready(&house, change).await;
        let per_turn = async |event: &str| {
            let mut costs = [0; 2];
            for (cost, turns) in costs.iter_mut().zip(TURNS) {
                let host_calls = extension.usage().host_calls;
                assert_eq!(ask(&extension, event, turns.to_string()).await, "0", "{event}: nothing is formatted");
                let host_calls = extension.usage().host_calls - host_calls;
                assert!(host_calls <= 1, "{event}: what is stored is asked for once a call, not {host_calls} times");
                *cost = fuel(&extension).pop().flatten().expect("fuel is counted");
            }
            (costs[1] - costs[0]) / (TURNS[1] - TURNS[0])
        };
        let plain = per_turn("plain").await;
        let mut more = Vec::new();
        for event in ["instrumented", "watched", "set", "lent", "iterated"] {
            more.push((event, per_turn(event).await.saturating_sub(plain)));
        }
        assert!(more.iter().all(|(_, fuel)| *fuel <= MOST_FUEL), "{more:?} beside {plain}");
        assert!(spans(&extension).is_empty() && told(&extension).is_empty());
        assert_eq!(extension.usage().dropped, 0, "what was not sent is not counted");
    }

    // The same code, where it is on.
    let house = House::new();
    let extension = house.ready(GUEST).await;
    assert_eq!(ask(&extension, "instrumented", "3").await, "3");
    assert_eq!(ask(&extension, "watched", "3").await, "9", "before and after");
    assert_eq!(spans(&extension).len(), 6);
    ask(&extension, "iterated", "2000").await;
    assert_eq!(told(&extension), ["loop: 1000 of 2000", "loop: 2000 of 2000", "loop: done, 2000"]);
}
