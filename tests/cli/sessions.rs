//! Debug sessions of real extensions: in a host of this process whose clock goes on when a test says so, and by the command on a host
//! that runs, ends or is killed.

use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use glasshouse::config::LAYERS;
use glasshouse::records::{LogRecord, SpanRecord};
use glasshouse::{
    Clock, DebugSession, EndCause, Event, Extension, Host, Level, Query, SessionError, Signal, Stored, Trigger,
    UnixNanos,
};
use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, wait_for};

/// The guest: its event `work` leaves a log at each of debug, info and warning behind, a span that ends well and one that fails.
const GUEST: &str = "telemetry-flood";
/// How the guest is watched by itself: neither its log at debug is stored nor its span that ends well.
const QUIET: [&str; 2] = ["defaults.debugging.log_level=info", "defaults.debugging.metrics_interval=1h"];
const MINUTE: Duration = Duration::from_mins(1);

/// A clock that goes on only when a test says so.
#[derive(Debug, Default)]
struct StillClock(AtomicU64);

impl StillClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000 + self.monotonic_nanos() as i64)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A host in this process, with the guest in it.
struct House {
    host: Host,
    clock: Arc<StillClock>,
    place: Place,
}

impl House {
    async fn new() -> Self {
        let place = Place::with_plugins(&[GUEST]);
        let clock = Arc::new(StillClock::default());
        let host = Host::builder()
            .plugin_dir(place.path("plugins"))
            .overrides(QUIET.map(str::to_owned))
            .data_dir(place.path("data"))
            .cache_folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/glasshouse/components"))
            .compile_worker(env!("CARGO_BIN_EXE_glasshouse"))
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .start()
            .await
            .expect("it starts");
        host.loaded().await;
        Self { host, clock, place }
    }

    fn guest(&self) -> &Extension {
        self.host.extension(GUEST).expect("it is there")
    }

    async fn call(&self, event: &str, payload: &str) {
        let (content_type, payload) = ("application/json".to_owned(), payload.as_bytes().to_vec());
        let event = Event { name: event.to_owned(), content_type, payload };
        self.guest().call(event, Trigger::default()).await.expect("it replies");
    }

    /// Has the guest work, and gives the messages of what it logged and the names of its spans.
    async fn work(&self) -> (Vec<String>, Vec<String>) {
        let guest = self.guest();
        let (logs, spans) = (guest.logs().stored(), guest.spans().stored());
        self.call("work", "null").await;
        let logs = guest.logs().page(logs + 1, 100).records.into_iter().map(|log| log.message).collect();
        let spans = guest.spans().page(spans + 1, 100).records.into_iter().map(|span| span.name).collect();
        (logs, spans)
    }

    /// Whether the guest's log at debug is stored.
    async fn is_heard(&self) -> bool {
        self.work().await.0.iter().any(|message| message == "at debug")
    }
}

fn start(guest: &Extension, values: &[(&str, &str)], minutes: u64) -> Result<DebugSession, SessionError> {
    guest.start_debug_session(values.iter().copied(), Some(MINUTE * u32::try_from(minutes).expect("few")), "a test")
}

/// The records of sessions, in words.
fn told(guest: &Extension) -> Vec<String> {
    let query =
        Query::parse("logger=glasshouse and field.event~\"^debug\" oldest first", UnixNanos(0)).expect("a query");
    guest.logs().search(&query, 100).into_iter().map(|log| log.message).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_asks_for_is_stored_while_it_lasts_and_is_found_by_it() {
    let house = House::new().await;
    let guest = house.guest();
    let before = guest.settings();
    let quiet = (vec!["at info".to_owned(), "at warning".to_owned()], vec!["failed".to_owned()]);
    assert_eq!(house.work().await, quiet);

    let session =
        start(guest, &[("log_level", "debug"), ("debugging.tracing_enabled", "true")], 10).expect("it starts");
    assert_eq!((session.left, session.ended.as_ref()), (Some(10 * MINUTE), None));
    let loud =
        (["at debug", "at info", "at warning"].map(str::to_owned).to_vec(), vec!["done".into(), "failed".into()]);
    assert_eq!(house.work().await, loud);
    house.clock.advance(9 * MINUTE);
    let active = &guest.debug_sessions()[0];
    assert_eq!((active.id, active.left, active.ended.as_ref()), (session.id, Some(MINUTE), None));
    let origins = guest.present_config();
    let level = origins.iter().find(|setting| setting.key == "debugging.log_level").expect("a key");
    let expect = format!("set while running, by debug session {}", session.id);
    assert_eq!((level.value.as_str(), level.origin.to_string()), ("debug", expect));

    house.clock.advance(MINUTE);
    assert_eq!(guest.debug_sessions()[0].ended.as_ref().map(|end| end.why), Some(EndCause::TimeOver));
    assert_eq!(guest.settings(), before);
    assert_eq!(house.work().await, quiet);

    let ended = guest.debug_sessions().remove(0);
    let read = |signal: Signal| ended.collected[signal as usize].clone();
    let all = Query::parse("oldest first", UnixNanos(0)).expect("a query");
    let logs = guest.logs().reader().search_among(read(Signal::Log), GUEST, &all, 100);
    let logs: Vec<_> = logs.iter().filter_map(glasshouse::records::record::<LogRecord>).collect();
    assert_eq!(logs.iter().map(|log| log.message.clone()).collect::<Vec<_>>(), loud.0, "and nothing else");
    let spans = guest.spans().reader().search_among(read(Signal::Span), GUEST, &all, 100);
    let spans: Vec<_> = spans.iter().filter_map(glasshouse::records::record::<SpanRecord>).collect();
    assert_eq!(spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>(), loud.1);
    assert_eq!((read(Signal::Invocation).end - read(Signal::Invocation).start, ended.left_out.as_str()), (1, ""));

    let told = told(guest);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("was started by a test") && told[0].contains("debugging.log_level=debug"), "{told:?}");
    assert!(told[1].ends_with("has ended: time over"), "{told:?}");
    // Whoever reads the directory is told the same.
    let stored = Stored::open(&house.place.path("data")).expect("it is a data directory");
    assert_eq!(stored.extension(GUEST).debug_sessions(), slice::from_ref(&ended));
    // Nor can the extension make sessions up, or hide them among such.
    house.call("impersonate", "2000").await;
    let forged = Query::parse("logger=glasshouse origin=guest field.event=\"debug.started\"", UnixNanos(0));
    assert_eq!(guest.logs().search(&forged.expect("a query"), 10_000).len(), 2000);
    assert_eq!(stored.extension(GUEST).debug_sessions(), [ended]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_sets_meanwhile_holds_at_once_and_stays() {
    let house = House::new().await;
    let guest = house.guest();
    let level = || guest.settings().debugging.log_level;
    start(guest, &[("log_level", "debug"), ("sampling_rate", "0.5")], 10).expect("it starts");
    let changed = guest.set([("debugging.log_level", "warning"), ("budget.deadline", "2s")], "ada").expect("it is set");
    assert_eq!(level(), Level::Warning);
    assert!(changed.set.iter().any(|setting| setting.note.as_ref().is_some_and(|note| note.contains("no longer"))));
    let overrides = guest.debug_sessions().remove(0).overrides;
    assert_eq!(overrides[0].note.as_deref(), Some("set since, and kept at that"));
    assert_eq!(overrides[1].note, None);
    house.clock.advance(10 * MINUTE);
    assert_eq!(guest.debug_sessions()[0].left, None);
    assert_eq!((level(), guest.settings().debugging.sampling_rate), (Level::Warning, 1.0));
    assert_eq!(guest.settings().budget.deadline, Duration::from_secs(2));
    let origins = guest.present_config();
    let origin = |key: &str| origins.iter().find(|one| one.key == key).map(|one| one.origin.to_string());
    assert_eq!(origin("debugging.log_level").as_deref(), Some("set while running, by ada"));
    assert_eq!(origin("debugging.sampling_rate").as_deref(), Some("built-in"));

    // What is set to the value that a session gave it is kept as well.
    let session = start(guest, &[("log_level", "debug")], 10).expect("it starts");
    guest.set([("debugging.log_level", "debug")], "ada").expect("it is set");
    guest.stop_debug_session(session.id, "grace").expect("it is active");
    assert_eq!(level(), Level::Debug);
    let by_ada = Query::parse("field.by=ada field.to=debug", UnixNanos(0)).expect("a query");
    let noted = guest.logs().search(&by_ada, 10);
    assert_eq!(noted.len(), 1, "that it was set is a record, though nothing was different then");
    // Other settings as a whole set those that differ from what is in force.
    let session = start(guest, &[("log_level", "trace"), ("tracing_enabled", "true")], 10).expect("it starts");
    let mut settings = (*guest.settings()).clone();
    settings.debugging.tracing_enabled = false;
    guest.apply(settings, "ada").expect("it is applied");
    guest.stop_debug_session(session.id, "grace").expect("it is active");
    assert_eq!((level(), guest.settings().debugging.tracing_enabled), (Level::Debug, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sessions_the_later_counts_and_each_leaves_what_there_would_be_without_it() {
    let house = House::new().await;
    let guest = house.guest();
    let level = || guest.settings().debugging.log_level;
    for first_ends_first in [true, false] {
        let first = start(guest, &[("log_level", "debug")], 10).expect("it starts");
        let second = start(guest, &[("log_level", "error")], 10).expect("it starts");
        assert_eq!(level(), Level::Error);
        let note = guest.debug_sessions().remove(1).overrides.remove(0).note;
        assert_eq!(note, Some(format!("overridden by debug session {}", second.id)));
        let (next, last) = if first_ends_first { (first.id, second.id) } else { (second.id, first.id) };
        let ended = guest.stop_debug_session(next, "ada").expect("it is active").ended.expect("it has ended");
        assert_eq!((ended.why, ended.by.as_deref()), (EndCause::Stopped, Some("ada")));
        assert_eq!(level(), if first_ends_first { Level::Error } else { Level::Debug });
        assert!(matches!(guest.stop_debug_session(next, "ada"), Err(SessionError::Ended { .. })));
        guest.stop_debug_session(last, "ada").expect("it is active");
        assert_eq!(level(), Level::Info);
    }
    // There are so many at once, and so many that are remembered: those that ended last.
    let long = start(guest, &[("log_level", "trace")], 1000).expect("it starts");
    for _ in 0..20 {
        let short = start(guest, &[("log_level", "debug")], 10).expect("it starts");
        house.clock.advance(MINUTE);
        guest.stop_debug_session(short.id, "ada").expect("it is active");
    }
    house.clock.advance(MINUTE);
    let ended = guest.stop_debug_session(long.id, "ada").expect("it is active");
    let remembered = guest.debug_sessions();
    assert!(remembered.len() == 12 && remembered.contains(&ended), "{remembered:?}");
    for round in 0..4 {
        let all: Vec<_> =
            (0..LAYERS).map(|_| start(guest, &[("log_level", "debug")], 10).expect("there is room")).collect();
        let error = start(guest, &[("log_level", "debug")], 10).expect_err("there is no room");
        assert!(matches!(&error, SessionError::TooMany(active) if active.len() == LAYERS), "{error}");
        assert!(guest.debug_sessions().len() <= LAYERS + 12, "{round}");
        for session in all {
            guest.stop_debug_session(session.id, "ada").expect("it is active");
        }
    }
    assert_eq!(level(), Level::Info);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debugging_is_switched_off_and_on_whatever_sessions_override() {
    let house = House::new().await;
    let guest = house.guest();
    let before = guest.enabled_components();
    let values = [("tracing_enabled", "true"), ("metrics_enabled", "false"), ("log_level", "debug")];
    let session = start(guest, &values, 10).expect("it starts");
    guest.stop_debugging("ada").expect("it is switched off");
    assert!(guest.enabled_components().is_empty());
    guest.stop_debug_session(session.id, "ada").expect("it is active");
    assert!(guest.enabled_components().is_empty(), "it stays off");
    guest.start_debugging("ada").expect("it is switched on");
    assert_eq!(guest.enabled_components(), before, "nothing of the session is left");
    // One that is started while debugging is off watches all the same.
    let session = start(guest, &[("logging_enabled", "true"), ("log_level", "debug")], 10).expect("it starts");
    assert!(house.is_heard().await);
    guest.stop_debug_session(session.id, "ada").expect("it is active");
    assert!(!house.is_heard().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_with_their_host_and_say_so() {
    let house = House::new().await;
    let guest = house.guest().clone();
    let session = start(&guest, &[("log_level", "debug")], 10).expect("it starts");
    assert!(house.is_heard().await);
    house.host.shutdown(MINUTE).await;
    assert_eq!(guest.settings().debugging.log_level, Level::Info);
    let refused = start(&guest, &[("log_level", "debug")], 10).expect_err("the host has ended");
    assert!(matches!(refused, SessionError::Unavailable(_)), "{refused}");
    drop(house.host);
    let stored = Stored::open(&house.place.path("data")).expect("it is a data directory");
    let recorded = stored.extension(GUEST).debug_sessions().remove(0);
    assert_eq!((recorded.id, recorded.ended.map(|end| end.why)), (session.id, Some(EndCause::HostEnd)));
    let logs = recorded.collected[Signal::Log as usize].clone();
    assert_eq!(logs.end - logs.start, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_with_a_host_that_is_dropped() {
    let House { host, place, .. } = House::new().await;
    let guest = host.extension(GUEST).expect("it is there").clone();
    let session = start(&guest, &[("log_level", "debug")], 10).expect("it starts");
    drop(host);
    assert_eq!(guest.settings().debugging.log_level, Level::Info);
    assert!(matches!(start(&guest, &[("log_level", "debug")], 10), Err(SessionError::Unavailable(_))));
    let stored = Stored::open(&place.path("data")).expect("it is a data directory");
    let recorded = stored.extension(GUEST).debug_sessions().remove(0);
    assert_eq!((recorded.id, recorded.ended.map(|end| end.why)), (session.id, Some(EndCause::HostEnd)));
}

/// Has the guest work.
fn work(host: &mut Running, replies: &Lines) {
    call(host, replies, GUEST, "work", &Value::Null);
}

fn call(host: &mut Running, replies: &Lines, extension: &str, event: &str, payload: &Value) {
    host.call(replies, &json!({"extension": extension, "event": event, "payload": payload}));
}

/// The sessions, those that were started last first.
fn sessions(place: &Place) -> Vec<Value> {
    place.on_data(&["debug", "list", "--format", "json"]).expect_code(0).json_lines()
}

/// The id of a session that is started.
fn begin(place: &Place, arguments: &[&str]) -> String {
    let started = place.on_data(&[&["debug", "start", GUEST], arguments, &["--format", "json"]].concat());
    let started = started.expect_code(0).json();
    assert_eq!(started["state"], "active", "{started}");
    started["session"].as_str().expect("it has an id").to_owned()
}

#[test]
fn sessions_of_a_running_host_are_started_shown_listed_and_end() {
    let place = Place::with_plugins(&[GUEST]);
    assert!(place.on_data(&["debug", "list"]).expect_code(3).stderr.contains("there is no data directory"));
    let (mut running, replies) = place.host(&["--set", QUIET[0]]);
    let none = place.on_data(&["debug", "list"]).expect_code(0);
    assert!(none.stderr.contains("there is no debug session; `glasshouse debug start"), "{none:?}");

    let started = ["debug", "start", GUEST, "log_level=debug", "tracing_enabled=true", "--for", "10m"];
    let started = place.on_data(&started).expect_code(0).stdout;
    for part in ["it ends by itself in 10m", "  debugging.log_level = debug", "  debugging.tracing_enabled = true"] {
        assert!(started.contains(part), "{started}");
    }
    work(&mut running, &replies);
    let id = sessions(&place)[0]["session"].as_str().expect("it has an id").to_owned();
    let shown = place.on_data(&["debug", "show", &id[..6]]).expect_code(0).stdout;
    for part in
        ["active, another ", "debugging.log_level = debug", "logs: 3\n", "at debug", "spans: 2\n", "invocations: 1\n"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let counts = |line: &str| line.split_whitespace().eq(["logs", "3", "0"]);
    assert!(shown.lines().any(counts) && !shown.contains("was started by"), "{shown}");
    let one = place.on_data(&["debug", "show", &id, "--signal", "logs", "level>=warning"]).expect_code(0).stdout;
    assert!(one.contains("at warning") && !one.contains("at info") && !one.contains("spans:"), "{one}");
    let lines = place.on_data(&["debug", "show", &id, "--format", "json", "--limit", "1"]).expect_code(0).json_lines();
    assert_eq!(
        lines[0]["collected"][0],
        json!({"signal": "logs", "from": lines[0]["collected"][0]["from"], "records": 3})
    );
    assert_eq!(lines.len(), 4, "a log, a span and an invocation: {lines:?}");
    let told = place.on_data(&["debugging", "show", GUEST]).expect_code(0).stdout;
    assert!(told.contains(&format!("set while running, by debug session {id}")), "{told}");

    let stopped = place.on_data(&["debug", "stop", &id]).expect_code(0).stdout;
    assert!(stopped.contains("stored meanwhile: 3 logs, 2 spans, 1 invocations"), "{stopped}");
    work(&mut running, &replies);
    let again = place.on_data(&["debug", "stop", &id]).expect_code(2).stderr;
    assert!(again.contains("has ended already") && again.contains("stopped"), "{again}");

    // One that nobody stops ends by itself.
    let forgotten = begin(&place, &["log_level=debug", "--for", "1s"]);
    let ended = wait_for("its end", || {
        sessions(&place).into_iter().find(|one| one["state"] == "ended" && one["session"] == forgotten.as_str())
    });
    assert_eq!(ended["ended"]["why"], "time over");
    let told = place.on_data(&["logs", "show", "--format", "json", "field.event~\"^debug\" oldest first"]);
    let told: Vec<_> = told.expect_code(0).json_lines().iter().map(|log| log["fields"].clone()).collect();
    let by = format!("uid {} (process ", rustix::process::geteuid().as_raw());
    let seen: Vec<_> = told.iter().map(|log| (log["event"].as_str(), log["why"].as_str())).collect();
    let (begun, over) = (Some("debug.started"), Some("debug.ended"));
    assert_eq!(seen, [(begun, None), (over, Some("stopped")), (begun, None), (over, Some("time over"))]);
    assert!(told[0]["started_by"].as_str().is_some_and(|who| who.starts_with(&by)), "{told:?}");
    assert!(told[1]["by"].as_str().is_some_and(|who| who.starts_with(&by)), "{told:?}");
    let listed = place.on_data(&["sessions", "list"]).expect_code(0).stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[test]
fn nothing_of_a_session_outlives_its_host_but_what_was_stored() {
    let place = Place::with_plugins(&[GUEST]);
    let (mut running, replies) = place.host(&["--set", QUIET[0]]);
    let killed = begin(&place, &["log_level=debug"]);
    work(&mut running, &replies);
    running.kill();
    let cut_off = |sessions: &[Value]| {
        let found = sessions.iter().find(|session| session["session"] == killed.as_str()).expect("it is listed");
        assert_eq!((&found["state"], &found["overrides"][0]["value"]), (&json!("cut off"), &json!("debug")));
    };
    cut_off(&sessions(&place));
    let shown = place.on_data(&["debug", "show", &killed]).expect_code(0).stdout;
    assert!(shown.contains("cut off: its host is gone") && shown.contains("at debug"), "{shown}");
    let refused = place.on_data(&["debug", "stop", &killed]).expect_code(3).stderr;
    assert!(refused.contains("no host runs on the data directory"), "{refused}");

    let (mut running, replies) = place.host(&["--set", QUIET[0]]);
    cut_off(&sessions(&place));
    let level = place.on_data(&["debugging", "show", GUEST]).expect_code(0).stdout;
    let level = level.lines().find(|line| line.contains("debugging.log_level ")).unwrap_or_default();
    assert!(level.contains("info") && !level.contains("running"), "{level}");
    let unknown = place.on_data(&["debug", "stop", &killed]).expect_code(2).stderr;
    assert!(unknown.contains(&format!("the extension has no debug session {killed}")), "{unknown}");
    let last = begin(&place, &["log_level=debug"]);
    work(&mut running, &replies);
    running.interrupt();
    running.code_within(MINUTE);
    let ended = &sessions(&place)[0];
    assert_eq!((&ended["session"], &ended["ended"]["why"]), (&json!(last), &json!("end of the host")));
    assert_eq!(ended["collected"][0]["records"], 3);
}

#[test]
fn a_session_that_cannot_be_says_why_and_what_to_do() {
    let place = Place::with_plugins(&[GUEST, "init-trap", "panic"]);
    place.extension("strict", "neighbour", "[debugging]\nprofiling_overhead_limit = 2.0\n");
    let (mut running, replies) = place.host(&["--set", QUIET[0]]);
    let check = |arguments: &[&str], code: i32, expect: &str| {
        let ended = place.on_data(&[&["debug"], arguments].concat()).expect_code(code);
        assert!(ended.stderr.contains(expect), "{ended:?}");
    };
    check(&["start", GUEST, "log_levle=trace"], 2, "did you mean \"extensions.telemetry-flood.debugging.log_level\"");
    check(&["start", GUEST, "log_level=loud"], 2, "use one of trace, debug");
    check(&["start", GUEST, "sampling_rate=1.5"], 2, "debugging.sampling_rate: found \"1.5\", allowed is 0.0 to 1.0");
    check(
        &["start", GUEST, "metrics_interval=10ms"],
        2,
        "debugging.metrics_interval: found \"10ms\", allowed is 1s to 1d",
    );
    check(&["start", GUEST, "max_log_entries=7"], 2, "start the host anew");
    check(&["start", GUEST, "budget.deadline=2s"], 2, "\"budget.deadline\" is no key of debugging");
    check(&["start", GUEST, "log_level"], 2, "a value is missing; write key=value, such as log_level=trace");
    check(&["start", GUEST, "log_level=debug", "debugging.log_level=trace"], 2, "debugging.log_level has two values");
    check(&["start", GUEST], 2, "KEY=VALUE");
    check(&["start", GUEST, "log_level=trace", "--for", "2d"], 2, "a debug session lasts from 1.00 s to 24 hours");
    check(&["start", GUEST, "log_level=trace", "--for", "1ms"], 2, "a debug session lasts from 1.00 s to 24 hours");
    check(&["start", GUEST, "log_level=trace", "--for", "soon"], 2, "is no duration");
    check(&["start", "telemetry-flod", "log_level=trace"], 2, "(did you mean \"telemetry-flood\"?)");
    check(&["start", "init-trap", "log_level=trace"], 3, "nothing would be collected: the extension has failed");
    check(&["stop", "ffffffffffff"], 2, "there is no debug session ffffffffffff; `glasshouse debug list`");
    check(&["show", "\u{1b}[2J"], 2, "there is no debug session \\u{1b}[2J;");
    assert!(sessions(&place).is_empty(), "all of it or nothing");
    for _ in 0..LAYERS {
        begin(&place, &["log_level=debug"]);
    }
    check(&["start", GUEST, "log_level=trace"], 2, "as many as it may");

    // A manifest that is stricter stays in force, and one in quarantine can be watched when it comes back.
    let strict = ["debug", "start", "strict", "profiling_overhead_limit=100"];
    let started = place.on_data(&strict).expect_code(0).stdout;
    assert!(started.contains("debugging.profiling_overhead_limit = 2.0   (stricter than 100.0"), "{started}");
    for _ in 0..3 {
        call(&mut running, &replies, "panic", "panic", &json!("again"));
    }
    let status = place.on_data(&["status", "--extension-id", "panic", "--format", "json"]).expect_code(0).json();
    assert_eq!(status["status"], "quarantined");
    place.on_data(&["debug", "start", "panic", "log_level=trace"]).expect_code(0);
}
