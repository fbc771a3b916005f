//! An extension as its host sees it: a handle to call it and to read it by, and the task that owns its instance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glasshouse_model::config::Change;
use glasshouse_model::settings::Settings;
use glasshouse_model::standing::{State as Stand, Uses};
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{
    AlertId, Clock, Digest, ExtensionId, Failure, GroupId, Level, Signal, UnixNanos, Version, invocation, limits, text,
};
use glasshouse_telemetry::{
    Alert, AlertError, Drops, ErrorGroup, Overhead, Reader, Resolution, ResolveError, Store, StoreSettings,
    TelemetryUse, Usage,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::health::Check;
use crate::held::{Held, HostMemory, HostUse};
use crate::job::EmbedderCall;
use crate::mailbox::{Mailbox, Refused, Work};
use crate::present::{ApplyError, Present};
use crate::told::host_log;
use crate::trigger::Trigger;
use crate::weight::Weight;

/// Work for an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What is asked for.
    pub name: String,
    /// The payload's media type.
    pub content_type: String,
    /// The input.
    pub payload: Vec<u8>,
}

/// What came of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The payload's media type.
    pub content_type: String,
    /// The output.
    pub payload: Vec<u8>,
}

/// An extension's own answer that it gives no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// It does not know the event.
    #[error("unknown event: {0}")]
    UnknownEvent(String),
    /// The payload is not what the event takes.
    #[error("invalid payload: {0}")]
    InvalidPayload(String),
    /// The work failed.
    #[error("{kind}: {message}")]
    Failed {
        /// The error's type.
        kind: String,
        /// What happened.
        message: String,
    },
}

/// Why a call gave no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The extension answered so.
    #[error(transparent)]
    Answered(HandlerError),
    /// The call ended in a trap or a breach.
    #[error("{0}")]
    Failed(Arc<Failure>),
    /// Its mailbox is full, or it is throttled.
    #[error("busy: try again in {}", text::duration(*.retry_after))]
    Busy {
        /// How long to wait before it is worth trying again.
        retry_after: Duration,
    },
    /// It goes on failing, or using more than its rate, and takes no calls for a while.
    #[error("quarantined for another {}: {evidence}", text::duration(*.left))]
    Quarantined {
        /// How long it goes on.
        left: Duration,
        /// What it did.
        evidence: String,
    },
    /// It is failed, or cannot be started anew.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It exports no handler.
    #[error("it exports no `glasshouse:extension/handler`, so it takes no events")]
    NoHandler,
    /// The event is longer than what is passed on, or its context is not text that a context can hold.
    #[error("{0}")]
    InvalidEvent(String),
    /// The host stopped first.
    #[error("the host is stopping")]
    Cancelled,
}

/// How an extension is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being read, compiled or started.
    Loading,
    /// It takes calls; [`Extension::standing`] tells whether it was warned.
    Ready,
    /// It is over a rate: its calls are spaced, and wait in its mailbox.
    Throttled {
        /// What it used.
        evidence: String,
    },
    /// It failed several times in a row, and takes no calls for a while.
    Quarantined {
        /// When the next call may probe it, in [`Clock::monotonic_nanos`].
        until: u64,
        /// What it did.
        evidence: String,
    },
    /// One call is tried after a quarantine.
    Probing,
    /// It could not be started.
    Failed {
        /// Why, and what to do.
        cause: String,
    },
    /// It was shut down.
    Stopped,
}

impl Status {
    /// One word for lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Throttled { .. } => "throttled",
            Self::Quarantined { .. } => "quarantined",
            Self::Probing => "probing",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Why it is not ready, if there is more to say than the word.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Throttled { evidence } | Self::Quarantined { evidence, .. } => Some(evidence),
            Self::Failed { cause } => Some(cause),
            _ => None,
        }
    }
}

/// What is known of an extension's component once it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentInfo {
    /// The digest of its file.
    pub digest: Digest,
    /// The file's size.
    pub file_bytes: u64,
    /// Whether it was compiled at this start, and not taken from the cache.
    pub compiled: bool,
}

/// A handle of an extension. Cheap to clone.
#[derive(Clone)]
pub struct Extension(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) id: ExtensionId,
    pub(crate) subscriptions: Vec<String>,
    pub(crate) present: Present,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mailbox: Mailbox,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) stand: Mutex<Stand>,
    pub(crate) uses: Arc<Uses>,
    /// While it is throttled: when its next call may begin, in `Clock::monotonic_nanos`.
    pub(crate) next_call_at: AtomicU64,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) component: std::sync::OnceLock<ComponentInfo>,
    pub(crate) version: Option<Version>,
    pub(crate) path: std::path::PathBuf,
    pub(crate) health: std::sync::Mutex<Vec<Check>>,
    pub(crate) held: Arc<Held>,
    /// How much it computes of late.
    pub(crate) weight: Arc<Weight>,
}

/// What an extension's supervisor is asked to do. A few wait at most; each makes it take the present settings.
pub(crate) enum Order {
    /// The settings were replaced.
    Settle,
    /// All is to be well again; the answer is the word of the state that this ended, if it ended one.
    Release { by: String, done: oneshot::Sender<Option<&'static str>> },
    /// It is to be asked for its health at once.
    CheckHealth { done: oneshot::Sender<()> },
}

/// Orders that wait for a supervisor: releases by several operators, at most.
pub(crate) const ORDERS: usize = 8;

/// What the caller of a full mailbox is asked to wait: about what draining a part of it takes.
const FULL_RETRY: Duration = Duration::from_millis(50);

impl Extension {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Its id.
    pub fn id(&self) -> &ExtensionId {
        &self.0.id
    }

    /// The topics that it subscribes to.
    pub fn subscriptions(&self) -> &[String] {
        &self.0.subscriptions
    }

    /// What it may use and do, and how it is watched, at present.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.present.get()
    }

    /// Replaces its settings while it runs, and tells what is different. Budgets hold from the next call on (a lower one on
    /// memory refuses growth and takes nothing away), what is stored changes at once, and intervals begin anew. Nothing is
    /// changed if any difference can only take effect at a start.
    ///
    /// Each change is a log of the extension, made by the host, in which `by` says who made it.
    pub fn apply(&self, settings: Settings, by: &str) -> Result<Vec<Change>, ApplyError> {
        self.0.present.replace(settings, |settings, changes| {
            self.0.store.apply(&StoreSettings::new(settings));
            self.0.mailbox.set_messages(settings.budget.mailbox);
            let recorder = self.0.store.recorder();
            for change in changes {
                let fields = [("event", "settings.changed"), ("by", by), ("key", change.key)];
                let values = [("from", &*change.from), ("to", &*change.to)];
                let fields: Vec<_> = fields
                    .into_iter()
                    .chain(values)
                    .map(|(name, value)| Field { name, value: Value::Text(value) })
                    .collect();
                let message = format!("{} changed from {} to {} by {by}", change.key, change.from, change.to);
                host_log(&recorder, &*self.0.clock, &[], Level::Info, &message, &fields);
            }
            // Where there is no room, the orders that wait make its supervisor settle.
            let _ = self.0.orders.try_send(Order::Settle);
        })
    }

    /// Stores a log that the host makes about it, whatever its level of logging.
    pub fn note(&self, message: &str, fields: &[Field<'_>]) {
        host_log(&self.0.store.recorder(), &*self.0.clock, &[], Level::Info, message, fields);
    }

    /// The time by the host's clock.
    pub fn now(&self) -> UnixNanos {
        self.0.clock.now()
    }

    /// The groups of its errors as they stand now, those with the latest errors first.
    pub fn error_groups(&self) -> Vec<ErrorGroup> {
        self.0.store.error_groups(self.0.clock.now())
    }

    /// Notes that the error of a group is mended: in a version, or else in the one that runs. With a data directory it is
    /// stored when this returns. It is a log of the extension, made by the host, in which `by` says who said so.
    pub fn resolve_error(
        &self,
        group: GroupId,
        version: Option<Version>,
        notes: &str,
        by: &str,
    ) -> Result<ErrorGroup, ResolveError> {
        let (by, notes) = (by.to_owned(), notes.to_owned());
        let resolution = Resolution { at: self.0.clock.now(), by, notes, version, known: Vec::new() };
        let group = self.0.store.resolve(group, resolution)?;
        let id = group.id.to_string();
        let resolution = group.resolution.as_ref();
        let by = resolution.map_or("", |resolution| &resolution.by);
        let version = resolution.and_then(|resolution| resolution.version.as_ref()).map(Version::to_string);
        let fields = [("event", "errors.resolved"), ("by", by), ("group", &*id)];
        let fields = fields.into_iter().chain(version.as_deref().map(|version| ("version", version)));
        let fields: Vec<_> = fields.map(|(name, value)| Field { name, value: Value::Text(value) }).collect();
        let message = format!("the errors of group {id} were resolved by {by}");
        host_log(&self.0.store.recorder(), &*self.0.clock, &[], Level::Info, &message, &fields);
        Ok(group)
    }

    /// Its alerts as they stand now, its own and the host's about it: those that fire first, of them the latest first.
    pub fn alert_states(&self) -> Vec<Alert> {
        self.0.store.alerts(self.0.clock.now())
    }

    /// Notes that an alert is over; it fires again when it is raised again. With a data directory it is stored when this returns. It is
    /// a log of the extension, made by the host, in which `by` says who said so.
    pub fn resolve_alert(&self, alert: AlertId, note: &str, by: &str) -> Result<Alert, AlertError> {
        let alert = self.0.store.resolve_alert(alert, self.0.clock.now(), by, note)?;
        let id = alert.id.to_string();
        let fields = [("event", "alerts.resolved"), ("by", by), ("alert", &*id), ("name", &*alert.name)];
        let fields = fields.map(|(name, value)| Field { name, value: Value::Text(value) });
        let message = format!("alert {id} was resolved by {by}");
        host_log(&self.0.store.recorder(), &*self.0.clock, &[], Level::Info, &message, &fields);
        Ok(alert)
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// Its component, once that is loaded.
    pub fn component(&self) -> Option<ComponentInfo> {
        self.0.component.get().copied()
    }

    /// Waits until it is no longer loading. May be cancelled.
    pub async fn loaded(&self) -> Status {
        let mut changes = self.0.status.subscribe();
        match changes.wait_for(|status| *status != Status::Loading).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Stopped,
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        self.0.store.usage()
    }

    /// What its invocations asked of the host so far, one entry for each function that was called.
    pub fn host_functions(&self) -> Vec<invocation::HostUse> {
        self.0.store.host_functions()
    }

    /// What the host keeps in its own memory on its behalf.
    pub fn host_memory(&self) -> HostMemory {
        self.0.held.read(&self.0.mailbox)
    }

    /// What it has used of what the host counts for it.
    pub fn host_use(&self) -> HostUse {
        self.0.held.used()
    }

    /// What it uses of its budgets of telemetry.
    pub fn telemetry_use(&self) -> TelemetryUse {
        self.0.store.telemetry_use()
    }

    /// What debugging costs it, and how much detail that leaves.
    pub fn overhead(&self) -> Overhead {
        self.0.store.overhead()
    }

    /// How many of its records were dropped, by cause.
    pub fn drops(&self) -> Drops {
        self.0.store.drops()
    }

    /// What it said of its health when it was last asked; empty if it was not, or has nothing to say.
    pub fn health(&self) -> Vec<Check> {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads one of its signals.
    pub fn reader(&self, signal: Signal) -> Reader {
        self.0.store.reader(signal)
    }

    /// Calls its handler and waits: for room in its mailbox, then for the reply. If it is cancelled before the call
    /// started, the call is not made.
    pub async fn call(&self, event: Event, trigger: Trigger) -> Result<Reply, CallError> {
        let (work, reply) = checked(event, trigger)?;
        self.0.mailbox.send(work, self.monotonic_nanos()).await.map_err(|refused| self.refused(refused))?;
        reply.await.map_err(|_| self.closed())?
    }

    /// As [`Extension::call`], but a full mailbox, or calls that are spaced, are an error at once.
    pub async fn try_call(&self, event: Event, trigger: Trigger) -> Result<Reply, CallError> {
        let (work, reply) = checked(event, trigger)?;
        if let Some(retry_after) = self.throttled_for() {
            return Err(CallError::Busy { retry_after });
        }
        self.0.mailbox.try_send(work, self.monotonic_nanos()).map_err(|refused| self.refused(refused))?;
        reply.await.map_err(|_| self.closed())?
    }

    /// Calls exports of an embedder's own, on the extension's task, as an invocation named `name`.
    pub async fn call_exports(&self, name: &str, call: EmbedderCall) -> Result<(), CallError> {
        let (done, finished) = oneshot::channel();
        let work = Work::Embedder { name: name.to_owned(), call, done };
        self.0.mailbox.send(work, self.monotonic_nanos()).await.map_err(|refused| self.refused(refused))?;
        finished.await.map_err(|_| self.closed())?
    }

    /// Queues an event whose reply nobody waits for; tells whether there was room. An extension that takes no calls
    /// gets nothing, and that is no lack of room.
    pub(crate) fn try_notify(&self, event: Event, trigger: Trigger) -> bool {
        let work = Work::Event { event, trigger, reply: None };
        !matches!(self.0.mailbox.try_send(work, self.monotonic_nanos()), Err(Refused::Full))
    }

    fn refused(&self, refused: Refused) -> CallError {
        match refused {
            Refused::Full => CallError::Busy { retry_after: FULL_RETRY },
            Refused::Closed => self.closed(),
        }
    }

    fn closed(&self) -> CallError {
        match self.status() {
            Status::Failed { cause } => CallError::Unavailable(cause),
            _ => CallError::Cancelled,
        }
    }

    /// How it stands with its budget: healthy, warned, throttled, quarantined or probing, with the evidence.
    pub fn standing(&self) -> Stand {
        self.0.stand.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it uses of its budgets.
    pub fn uses(&self) -> &Uses {
        &self.0.uses
    }

    /// The host's monotonic time, in which [`Extension::standing`] and [`Uses::in_window`] count.
    pub fn monotonic_nanos(&self) -> u64 {
        self.0.clock.monotonic_nanos()
    }

    /// Messages that wait in its mailbox.
    pub fn waiting(&self) -> usize {
        self.0.mailbox.waiting()
    }

    /// For how long its next call is held back from now, if it is throttled and its last one is not paid for.
    pub fn throttled_for(&self) -> Option<Duration> {
        let next = self.0.next_call_at.load(Ordering::Relaxed);
        let left = if next == 0 { 0 } else { next.saturating_sub(self.monotonic_nanos()) };
        (left > 0).then_some(Duration::from_nanos(left))
    }

    /// Ends a warning, throttling, quarantine or probing: what it used of its rates and its failures are forgotten, and it is
    /// healthy. Gives the word of the state that it ended, or `None` if there was nothing to end. The record of it says by whom.
    /// Waits for the call that is under way; if this is cancelled, it may still be done.
    pub async fn release(&self, by: &str) -> Result<Option<&'static str>, CallError> {
        let (done, released) = oneshot::channel();
        let order = Order::Release { by: by.to_owned(), done };
        self.0.orders.send(order).await.map_err(|_| self.closed())?;
        released.await.map_err(|_| self.closed())
    }

    /// Asks it for its health, as is done from time to time anyway, and gives what it says. Waits for the call that is under way. One
    /// that is quarantined, or exports no `health`, is not asked.
    pub async fn check_health(&self) -> Result<Vec<Check>, CallError> {
        let (done, checked) = oneshot::channel();
        self.0.orders.send(Order::CheckHealth { done }).await.map_err(|_| self.closed())?;
        checked.await.map_err(|_| self.closed())?;
        Ok(self.health())
    }

    /// How long a quarantine goes on from now.
    pub fn quarantine_left(&self) -> Option<Duration> {
        match self.status() {
            Status::Quarantined { until, .. } => {
                Some(Duration::from_nanos(until.saturating_sub(self.monotonic_nanos())))
            }
            _ => None,
        }
    }
}

/// Whether an event is one that may pass.
pub(crate) fn check(event: &Event, trigger: &Trigger) -> Result<(), CallError> {
    trigger.check()?;
    if event.payload.len() > limits::PAYLOAD_BYTES {
        let message = format!("the payload has {} bytes; {} may pass", event.payload.len(), limits::PAYLOAD_BYTES);
        return Err(CallError::InvalidEvent(message));
    }
    if !(1..=limits::CONTEXT_BYTES).contains(&event.name.len()) {
        return Err(CallError::InvalidEvent("an event's name has 1 to 128 bytes".into()));
    }
    Ok(())
}

/// An event as work, if it is one that may pass.
fn checked(event: Event, trigger: Trigger) -> Result<(Work, oneshot::Receiver<Result<Reply, CallError>>), CallError> {
    check(&event, &trigger)?;
    let (sender, receiver) = oneshot::channel();
    Ok((Work::Event { event, trigger, reply: Some(sender) }, receiver))
}
