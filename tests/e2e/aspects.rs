//! What the SDK's helpers tell, by aspects that are switched while the extension runs; and signals that are off.

use glasshouse_model::settings::{Debugging, FileAccess};
use glasshouse_model::{Aspect, FailureKind, Level, Origin};
use glasshouse_runtime::Extension;
use glasshouse_telemetry::Drop;

use crate::harness::{House, Log, alerts, ask, call, dropped, errors, fail, logs, samples, spans};

const GUEST: &str = "aspects";

/// Changes how the extension is watched.
fn watch(extension: &Extension, change: impl FnOnce(&mut Debugging)) {
    let mut settings = (*extension.settings()).clone();
    change(&mut settings.debugging);
    extension.apply(settings, "a test").expect("it can be changed while it runs");
}

/// The logs of a logger and those below it.
fn of(extension: &Extension, logger: &str) -> Vec<Log> {
    logs(extension).into_iter().filter(|log| log.target.starts_with(logger)).collect()
}

/// Level, message and fields of each.
fn shown(logs: &[Log]) -> Vec<String> {
    let shown = |log: &Log| {
        let mut parts = vec![log.level.to_string(), log.message.clone()];
        parts.extend(log.fields.iter().map(|(name, value)| format!("{name}={value}")));
        parts.join(" ")
    };
    logs.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helpers_tell_with_the_fields_and_levels_that_are_documented() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    ask(&extension, "tell", "").await;
    let url = "http.request.method=GET url.full=https://example.com/users?page=2";
    assert_eq!(
        shown(&of(&extension, "glasshouse.request")),
        [
            format!(
                "info GET https://example.com/users?page=2: 200 {url} http.response.status_code=200 elapsed_ms=1.5"
            ),
            format!(
                "warning GET https://example.com/users?page=2: 404 {url} http.response.status_code=404 elapsed_ms=1.5"
            ),
            format!(
                "error GET https://example.com/users?page=2: 503 {url} http.response.status_code=503 elapsed_ms=1.5"
            ),
            format!(
                "warning GET https://example.com/users?page=2: 204 {url} http.response.status_code=204 \
                 elapsed_ms=4000 slow=true"
            ),
            format!(
                "error GET https://example.com/users?page=2 failed: timeout {url} elapsed_ms=1.5 error.type=timeout"
            ),
        ]
    );
    let query = "db.operation.name=SELECT db.collection.name=orders db.system.name=postgresql \
                 db.response.returned_rows=3 elapsed_ms=1.5";
    assert_eq!(
        shown(&of(&extension, "glasshouse.database")),
        [
            format!("debug SELECT orders {query}"),
            format!("error SELECT orders failed: deadlock {query} error.type=deadlock"),
        ]
    );
    assert_eq!(
        shown(&of(&extension, "glasshouse.function")),
        [
            "info markdown render plugin.name=markdown plugin.operation=render success=true elapsed_ms=1.5",
            "error markdown render failed: too-deep plugin.name=markdown plugin.operation=render success=false \
             error.type=too-deep",
        ]
    );
    assert_eq!(
        shown(&of(&extension, "glasshouse.cache")),
        [
            "debug get pages: hit cache.name=pages cache.operation=get cache.hit=true elapsed_ms=1.5",
            "debug get pages: miss cache.name=pages cache.operation=get cache.hit=false",
        ]
    );
    assert_eq!(
        shown(&of(&extension, "glasshouse.recovery")),
        [
            "info rates: attempt 2 recovery.action=retry recovery.subject=rates recovery.attempt=2 error.type=timeout",
            "warning rates: yesterday's instead recovery.action=fallback recovery.subject=rates \
             recovery.to=yesterday's error.type=timeout",
            "warning search: without highlighting recovery.action=degradation recovery.subject=search \
             recovery.without=highlighting",
        ]
    );
    let events = of(&extension, "glasshouse.security");
    let kinds: Vec<_> = events.iter().map(|log| log.field("event").unwrap_or_default()).collect();
    assert_eq!(
        kinds,
        [
            "session.created",
            "session.ended",
            "login.ok",
            "login.failed",
            "password.changed",
            "token.made",
            "token.revoked",
            "permission.allowed",
            "permission.denied",
            "privilege.escalation",
            "data.read",
            "data.exported",
            "privacy.operation",
        ]
    );
    for log in &events {
        let fields = [("user.id", "ada"), ("permission", "orders"), ("operation", "read"), ("target", "order 7")];
        assert!(fields.iter().all(|(name, value)| log.field(name) == Some(value)), "{log:?}");
        let warns = ["login.failed", "permission.denied", "privilege.escalation"];
        let warned = warns.contains(&log.message.as_str());
        assert_eq!(log.level, if warned { Level::Warning } else { Level::Info }, "{log:?}");
        assert_eq!(log.envelope.origin, Origin::Guest, "no guest passes for the host");
        assert!(log.source.as_ref().is_some_and(|(file, _)| file.ends_with("aspects.rs")), "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aspect_that_is_switched_off_drops_its_records_and_no_others() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    ask(&extension, "tell", "").await;
    let loggers = [
        (Aspect::Function, "glasshouse.function"),
        (Aspect::Request, "glasshouse.request"),
        (Aspect::Database, "glasshouse.database"),
        (Aspect::Cache, "glasshouse.cache"),
        (Aspect::Security, "glasshouse.security"),
    ];
    let told = || loggers.map(|(_, logger)| of(&extension, logger).len());
    let all = told();
    assert!(all.iter().all(|count| *count > 0));
    for (at, (aspect, _)) in loggers.into_iter().enumerate() {
        watch(&extension, |debugging| debugging.aspects[aspect as usize] = false);
        let before = told();
        ask(&extension, "tell", "").await;
        let mut expect = all;
        expect[at] = 0;
        let now = told();
        assert_eq!(std::array::from_fn(|at| now[at] - before[at]), expect, "{aspect}");
        watch(&extension, |debugging| debugging.aspects[aspect as usize] = true);
    }
    assert_eq!(dropped(&extension, Drop::Off), 0, "the SDK does not make what is not stored");

    // Who sends it all the same is told no and counted, whatever the level of the logger.
    watch(&extension, |debugging| {
        debugging.aspects[Aspect::Request as usize] = false;
        debugging.log_levels = vec!["glasshouse.request.upstream=trace".into()];
    });
    let before = (of(&extension, "glasshouse.request.").len(), of(&extension, "glasshouse.requests").len());
    ask(&extension, "insist", "").await;
    let now = (of(&extension, "glasshouse.request.").len(), of(&extension, "glasshouse.requests").len());
    assert_eq!((now.0 - before.0, now.1 - before.1), (0, 1));
    assert_eq!(dropped(&extension, Drop::Off), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_security_event_is_sampled_out_and_the_level_of_logs_holds_for_them() {
    let house = House::new();
    let extension = house.ready_with(GUEST, |spec| spec.settings.debugging.sampling_rate = 0.0).await;
    ask(&extension, "tell", "").await;
    assert_eq!(of(&extension, "glasshouse.security").len(), 13);
    assert!(of(&extension, "glasshouse.request").iter().all(|log| log.level >= Level::Warning));
    watch(&extension, |debugging| debugging.log_level = Level::Warning);
    ask(&extension, "tell", "").await;
    assert_eq!(of(&extension, "glasshouse.security").len(), 13 + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_uses_are_an_aspect_as_well_and_are_counted_when_it_is_off() {
    let house = House::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("note"), "here").expect("writing a file");
    let extension = house
        .ready_with("trespasser", |spec| {
            spec.settings.permissions.files = vec![FileAccess {
                host: folder.path().to_owned(),
                root: folder.path().to_owned(),
                guest: "/data".into(),
                write: false,
            }];
        })
        .await;
    let denials = || logs(&extension).iter().filter(|log| log.field("event") == Some("permission.denied")).count();
    let check = async |told: usize, counted: u64| {
        let before = (denials(), dropped(&extension, Drop::Off));
        let _ = call(&extension, "write", r#"{"path": "/data/other", "text": "x"}"#).await;
        assert_eq!((denials() - before.0, dropped(&extension, Drop::Off) - before.1), (told, counted));
    };
    check(1, 0).await;
    watch(&extension, |debugging| debugging.aspects[Aspect::Security as usize] = false);
    check(0, 1).await;
    watch(&extension, |debugging| debugging.aspects[Aspect::Security as usize] = true);
    check(1, 0).await;
}

fn all_off(debugging: &mut Debugging) {
    debugging.logging_enabled = false;
    debugging.metrics_enabled = false;
    debugging.error_tracking_enabled = false;
    debugging.alerting_enabled = false;
    debugging.tracing_enabled = false;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_calls_of_what_is_off_are_dropped_and_counted_and_a_guest_can_ask_before() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    let before = (logs(&extension).len(), samples(&extension).len());
    assert_eq!(ask(&extension, "stored", "").await, "[true,true,true,true]");
    watch(&extension, all_off);
    let changes = logs(&extension).len() - before.0;
    assert_eq!(ask(&extension, "stored", "").await, "[false,false,false,false]", "from the next call on");
    ask(&extension, "typed", "").await;
    assert_eq!(dropped(&extension, Drop::Off), 5);
    assert_eq!((logs(&extension).len(), samples(&extension).len()), (before.0 + changes, before.1));
    assert!(errors(&extension).is_empty() && alerts(&extension).is_empty() && spans(&extension).is_empty());
    // A panic is told all the same: the caller learns of it.
    let failure = fail(&extension, "panic", "", FailureKind::Panic).await;
    assert!(failure.message.contains("whatever is switched off"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tracing_failed_spans_are_kept_as_long_as_errors_are() {
    let house = House::new();
    let extension = house.ready(GUEST).await;
    let check = async |tracing: bool, tracking: bool, expect: &[&str]| {
        watch(&extension, |debugging| {
            debugging.tracing_enabled = tracing;
            debugging.error_tracking_enabled = tracking;
        });
        let before = spans(&extension).len();
        ask(&extension, "spans", "").await;
        let names: Vec<_> = spans(&extension).split_off(before).into_iter().map(|span| span.name).collect();
        assert_eq!(names, expect, "tracing {tracing}, error tracking {tracking}");
    };
    check(true, true, &["done", "failed"]).await;
    check(false, true, &["failed"]).await;
    check(true, false, &["done", "failed"]).await;
    check(false, false, &[]).await;
    check(true, true, &["done", "failed"]).await;
}
