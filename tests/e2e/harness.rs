//! What every test needs: a host with guests in it, a clock that stands still, and records in a form to compare.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{Record, Value};
use glasshouse_model::{
    AnsweredError, Clock, Context, Envelope, Failure, FailureKind, Instrument, Level, Outcome, Severity, Signal,
    SpanStatus, UnixNanos,
};
use glasshouse_runtime::{
    CallError, CompileSettings, Event, Extension, ExtensionSpec, Reply, Runtime, RuntimeSettings, Status, Trigger,
};
use glasshouse_telemetry::{Body, Drop};

/// The variable by which `cargo xtask test` tells where the guests are.
const GUESTS_VARIABLE: &str = "GLASSHOUSE_GUESTS";
/// Longer than anything takes on a machine that is busy with other things, so that only what never ends reaches it.
pub(crate) const LONG: Duration = Duration::from_mins(1);
/// How much later than its deadline a call may end: the benches show that it is some milliseconds; this is for a machine
/// that is busy with other tests.
pub(crate) const LATE: Duration = Duration::from_secs(1);
/// The longest that a call of a well-behaved neighbour may take while others do their worst. It takes less than a millisecond, and here it
/// has to wait for its turn among other tests' processes as well; who is held up by a hostile guest, waits as long as that guest pleases.
const IN_TIME: Duration = Duration::from_secs(2);

/// The component file of a guest. One that is written as text is assembled into a folder that tests share.
pub(crate) fn guest(name: &str) -> PathBuf {
    let folder = std::env::var_os(GUESTS_VARIABLE)
        .unwrap_or_else(|| panic!("{GUESTS_VARIABLE} is not set: run the tests with `cargo xtask test`"));
    let folder = PathBuf::from(folder);
    let binary = folder.join(format!("{name}.wasm"));
    if binary.is_file() {
        return binary;
    }
    let text = folder.join(format!("{name}.wat"));
    let bytes = wat::parse_file(&text).unwrap_or_else(|error| panic!("guest {name}: {error}"));
    scratch(&format!("{name}.wasm"), &bytes)
}

/// Writes a file of a test's own making into a folder that tests share; the same name always has the same bytes.
pub(crate) fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
    std::fs::create_dir_all(&folder).expect("making a folder for components");
    let part = tempfile::NamedTempFile::new_in(&folder).expect("making a file");
    std::fs::write(part.path(), bytes).expect("writing a component");
    let path = folder.join(name);
    part.persist(&path).expect("naming a component");
    path
}

/// Components are compiled in processes of a program of this package, since the tests' own is not theirs to start.
pub(crate) fn compile() -> CompileSettings {
    CompileSettings { worker: Some(env!("CARGO_BIN_EXE_glasshouse-test-worker").into()), ..CompileSettings::default() }
}

/// A host and the clock that it goes by.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) clock: Arc<StillClock>,
}

impl House {
    /// A host whose compiled components are kept for all tests.
    pub(crate) fn new() -> Self {
        Self::with_cache(Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")))
    }

    /// A host with another cache, or with none.
    pub(crate) fn with_cache(cache_folder: Option<PathBuf>) -> Self {
        Self::with(|settings| settings.cache_folder = cache_folder)
    }

    /// A host whose own settings differ from the tests' in some way; it keeps no compiled components unless told so.
    pub(crate) fn with(change: impl FnOnce(&mut RuntimeSettings)) -> Self {
        let clock = Arc::new(StillClock::default());
        let mut settings = RuntimeSettings {
            compile_threads: 2,
            compile: compile(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..RuntimeSettings::default()
        };
        change(&mut settings);
        Self { runtime: Runtime::new(settings).expect("the engine is set up"), clock }
    }

    /// Starts a guest under its own name, and waits until it is ready.
    pub(crate) async fn ready(&self, name: &str) -> Extension {
        self.ready_with(name, |_| {}).await
    }

    /// The same, with other settings than the tests' own.
    pub(crate) async fn ready_with(&self, name: &str, change: impl FnOnce(&mut ExtensionSpec)) -> Extension {
        let extension = self.start(name, &guest(name), change);
        assert_eq!(extension.loaded().await, Status::Ready, "{name}");
        extension
    }

    /// Starts a component file under a name, and does not wait.
    pub(crate) fn start(&self, id: &str, component: &Path, change: impl FnOnce(&mut ExtensionSpec)) -> Extension {
        let mut settings = Settings::default();
        settings.budget.deadline = LONG;
        settings.debugging.tracing_enabled = true;
        // What the host tells of an extension's use is not to come amid what tests count.
        settings.debugging.metrics_interval = Duration::from_hours(1);
        let id = id.parse().expect("an extension id");
        let component = component.to_owned();
        let mut spec = ExtensionSpec { id, version: None, component, subscriptions: Vec::new(), settings };
        change(&mut spec);
        self.runtime.start(spec).expect("the id is free")
    }

    /// Starts a component file that cannot be started, and gives the cause.
    pub(crate) async fn refused(&self, id: &str, component: &Path) -> String {
        match self.start(id, component, |_| {}).loaded().await {
            Status::Failed { cause } => cause,
            other => panic!("{id} is {}", other.word()),
        }
    }
}

/// A clock that goes on only when a test says so.
#[derive(Debug, Default)]
pub(crate) struct StillClock(AtomicU64);

impl StillClock {
    pub(crate) fn advance(&self, by: Duration) {
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

/// An event with a payload.
pub(crate) fn event(name: &str, payload: impl AsRef<[u8]>) -> Event {
    Event { name: name.to_owned(), content_type: "application/json".to_owned(), payload: payload.as_ref().to_owned() }
}

/// On behalf of a user and a tenant, with a correlation id.
pub(crate) fn on_behalf(correlation_id: &str, user: &str, tenant: &str) -> Trigger {
    let mut trigger = Trigger::default();
    let parts =
        [(&mut trigger.correlation_id, correlation_id), (&mut trigger.user, user), (&mut trigger.tenant, tenant)];
    for (part, text) in parts {
        *part = Some(text.to_owned());
    }
    trigger
}

/// Calls an extension.
pub(crate) async fn call(extension: &Extension, name: &str, payload: impl AsRef<[u8]>) -> Result<Reply, CallError> {
    extension.call(event(name, payload), Trigger::default()).await
}

/// Calls an extension that replies, and gives the reply as text.
pub(crate) async fn ask(extension: &Extension, name: &str, payload: impl AsRef<[u8]>) -> String {
    let reply = call(extension, name, payload).await;
    let reply = reply.unwrap_or_else(|error| panic!("{}: {name}: {error}", extension.id()));
    String::from_utf8(reply.payload).expect("the reply is text")
}

/// Makes a call that must fail in a way, and gives the failure.
pub(crate) async fn fail(extension: &Extension, name: &str, payload: &str, kind: FailureKind) -> Arc<Failure> {
    match call(extension, name, payload).await {
        Err(CallError::Failed(failure)) => {
            assert_eq!(failure.kind, kind, "{failure}");
            failure
        }
        other => panic!("{}: {name} gave {other:?}, not {kind}", extension.id()),
    }
}

/// A stored log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) envelope: Envelope,
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) message: String,
    /// The source file and line, where the guest gave them.
    pub(crate) source: Option<(String, u32)>,
    /// The time that the guest gave it.
    pub(crate) time: Option<i64>,
    /// Names and values, as text.
    pub(crate) fields: Vec<(String, String)>,
}

impl Log {
    pub(crate) fn context(&self) -> &Context {
        self.envelope.context.as_ref().expect("the log belongs to an invocation")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.context().user.as_deref()
    }
}

fn value(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
    }
}

/// Calls `see` with each stored record of a signal, oldest first.
pub(crate) fn each<T>(extension: &Extension, signal: Signal, see: impl Fn(Envelope, Body<'_>) -> Option<T>) -> Vec<T> {
    let entries = extension.reader(signal).all();
    let seen =
        |entry: &glasshouse_telemetry::Entry| see(entry.envelope(), entry.body().expect("what is stored can be read"));
    entries.iter().filter_map(seen).collect()
}

/// All logs of an extension.
pub(crate) fn logs(extension: &Extension) -> Vec<Log> {
    each(extension, Signal::Log, |envelope, body| match body {
        Body::Record(Record::Log(log, fields)) => Some(Log {
            envelope,
            level: log.level,
            target: log.target.to_owned(),
            message: log.message.to_owned(),
            source: log.source.map(|source| (source.file.to_owned(), source.line)),
            time: log.time,
            fields: fields.iter().map(|field| (field.name.to_owned(), value(field.value))).collect(),
        }),
        _ => None,
    })
}

/// The logs whose message contains a text.
pub(crate) fn logs_with(extension: &Extension, text: &str) -> Vec<Log> {
    logs(extension).into_iter().filter(|log| log.message.contains(text)).collect()
}

/// The failures that are stored with their context.
pub(crate) fn failures(extension: &Extension) -> Vec<(Envelope, Failure)> {
    each(extension, Signal::Error, |envelope, body| match body {
        Body::Failure(failure) => Some((envelope, failure)),
        _ => None,
    })
}

/// The errors that the guest reported, or answered with: kind, message and whether it went on.
pub(crate) fn errors(extension: &Extension) -> Vec<(Envelope, String, String, bool)> {
    each(extension, Signal::Error, |envelope, body| match body {
        Body::Record(Record::Error(error, _)) | Body::Answered(AnsweredError { error, .. }) => {
            Some((envelope, error.kind.to_owned(), error.message.to_owned(), error.handled))
        }
        _ => None,
    })
}

/// The invocations: name and outcome.
pub(crate) fn invocations(extension: &Extension) -> Vec<(String, Outcome)> {
    each(extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(invocation) => Some((invocation.name.to_owned(), invocation.outcome)),
        _ => None,
    })
}

/// What each invocation took, from its start to its end.
pub(crate) fn elapsed(extension: &Extension) -> Vec<Duration> {
    each(extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(invocation) => Some(Duration::from_nanos(invocation.cost.elapsed_nanos)),
        _ => None,
    })
}

/// What the last invocation with a name took.
pub(crate) fn last_took(extension: &Extension, name: &str) -> Duration {
    let all = each(extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(call) if call.name == name => Some(Duration::from_nanos(call.cost.elapsed_nanos)),
        _ => None,
    });
    all.last().copied().unwrap_or_else(|| panic!("{}: there was no {name}", extension.id()))
}

/// The fuel of each invocation, where it was counted.
pub(crate) fn fuel(extension: &Extension) -> Vec<Option<u64>> {
    each(extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(invocation) => Some(invocation.cost.fuel),
        _ => None,
    })
}

/// The envelopes of the invocations with a name.
pub(crate) fn invocation_envelopes(extension: &Extension, name: &str) -> Vec<Envelope> {
    each(extension, Signal::Invocation, |envelope, body| match body {
        Body::Invocation(invocation) if invocation.name == name => Some(envelope),
        _ => None,
    })
}

/// A stored span.
#[derive(Debug)]
pub(crate) struct StoredSpan {
    pub(crate) context: Context,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) status: SpanStatus,
}

/// The spans, in the order in which they ended.
pub(crate) fn spans(extension: &Extension) -> Vec<StoredSpan> {
    each(extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) => Some(StoredSpan {
            context: envelope.context.expect("a span belongs to an invocation"),
            parent: span.parent.to_string(),
            name: span.name.to_owned(),
            status: span.status,
        }),
        _ => None,
    })
}

/// A stored sample.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) envelope: Envelope,
    pub(crate) name: String,
    pub(crate) instrument: Instrument,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// All samples of an extension.
pub(crate) fn samples(extension: &Extension) -> Vec<Sample> {
    each(extension, Signal::Metric, |envelope, body| match body {
        Body::Record(Record::Metric(metric, labels)) => Some(Sample {
            envelope,
            name: metric.name.to_owned(),
            instrument: metric.instrument,
            value: metric.value,
            unit: metric.unit.to_owned(),
            labels: labels.iter().map(|label| (label.name.to_owned(), value(label.value))).collect(),
        }),
        _ => None,
    })
}

/// The alerts: context, kind and severity.
pub(crate) fn alerts(extension: &Extension) -> Vec<(Envelope, String, Severity)> {
    each(extension, Signal::Alert, |envelope, body| match body {
        Body::Record(Record::Alert(alert)) => Some((envelope, alert.kind.to_owned(), alert.severity)),
        _ => None,
    })
}

/// How many records were dropped for a cause.
pub(crate) fn dropped(extension: &Extension, cause: Drop) -> u64 {
    extension.drops().into_iter().find(|(one, _)| *one == cause).map_or(0, |(_, count)| count)
}

/// The line of a guest's source that ends with a comment.
pub(crate) fn line_of(source: &str, comment: &str) -> u32 {
    let line = source.lines().position(|line| line.ends_with(comment)).expect("the comment is in the source");
    line as u32 + 1
}

/// Calls a neighbour again and again until `other` is done, and checks that each call was answered in time and that it lost nothing.
pub(crate) async fn beside<T>(neighbour: &Extension, other: impl Future<Output = T>) -> T {
    let before = neighbour.usage();
    let (mut calls, mut longest) = (0_u64, Duration::ZERO);
    let mut other = std::pin::pin!(other);
    let output = loop {
        let payload = format!("{calls}");
        let called = Instant::now();
        tokio::select! {
            biased;
            output = &mut other => {
                longest = longest.max(called.elapsed());
                break output;
            }
            reply = call(neighbour, "echo", &payload) => {
                longest = longest.max(called.elapsed());
                assert_eq!(reply.expect("the neighbour replies").payload, payload.into_bytes());
                calls += 1;
            }
        }
    };
    let called = Instant::now();
    assert_eq!(ask(neighbour, "echo", "last").await, "last");
    longest = longest.max(called.elapsed());
    assert!(longest <= IN_TIME, "of {calls} calls of the neighbour one took {longest:?}");
    let after = neighbour.usage();
    // One call may have been under way when the other was done.
    let served = after.calls - before.calls;
    assert!((calls + 1..=calls + 2).contains(&served), "{calls} calls waited for, {served} served");
    assert_eq!(after.errors(), before.errors());
    assert_eq!(after.dropped, before.dropped);
    let stored = |signal: Signal| after.stored[signal as usize] - before.stored[signal as usize];
    assert_eq!(stored(Signal::Log), served);
    assert_eq!(stored(Signal::Metric), served);
    output
}
