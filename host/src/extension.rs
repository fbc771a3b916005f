//! An extension as an embedder sees it: a handle to call it, and to read what it did.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use glasshouse_export::Source;
use glasshouse_model::settings::Settings;
use glasshouse_model::standing;
use glasshouse_model::{AlertId, ExtensionId, Failure, GroupId, Signal, UnixNanos, Version};
use glasshouse_runtime::wasmtime::{self, Store, component::Instance};
use glasshouse_runtime::{
    CallError, Check, ComponentInfo, EmbedderCall, Event, HostMemory, HostUse, Reply, Runtime, SourceFrame, State,
    Status, Trigger,
};
use glasshouse_telemetry::{Alert, AlertError, Drops, ErrorGroup, Overhead, Reader, ResolveError, TelemetryUse, Usage};
use tokio::sync::{Notify, oneshot};

use crate::control::Steering;
use crate::plan::Planned;
use crate::records::{
    AlertRecord, Errors, HostFunctionUse, InvocationRecord, LogRecord, MetricRecord, Record, Records, SpanRecord,
};

/// A handle of an extension. Cheap to clone; it does not keep the host running.
#[derive(Clone)]
pub struct Extension {
    handle: glasshouse_runtime::Extension,
    planned: Arc<Planned>,
    runtime: Weak<Runtime>,
    pub(crate) steering: Arc<Steering>,
}

impl Extension {
    /// `wake` is notified when a debug session was started.
    pub(crate) fn new(
        handle: glasshouse_runtime::Extension,
        planned: Arc<Planned>,
        runtime: Weak<Runtime>,
        wake: Arc<Notify>,
    ) -> Self {
        let steering = Arc::new(Steering::new((*handle.settings()).clone(), wake));
        Self { handle, planned, runtime, steering }
    }

    pub(crate) fn handle(&self) -> &glasshouse_runtime::Extension {
        &self.handle
    }

    /// Its id.
    pub fn id(&self) -> &ExtensionId {
        self.handle.id()
    }

    /// Its manifest, its folder, and what held for it when it was started; [`Extension::present_config`] is what holds now.
    pub fn about(&self) -> &Planned {
        &self.planned
    }

    /// What it may use and do, and how it is watched, at present.
    pub fn settings(&self) -> Arc<Settings> {
        self.handle.settings()
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// How long its quarantine goes on, if it is in one.
    pub fn quarantine_left(&self) -> Option<Duration> {
        self.handle.quarantine_left()
    }

    /// How it stands with its budget: healthy, warned, throttled, quarantined or probing, with the evidence. Times are in
    /// [`Extension::monotonic_nanos`].
    pub fn standing(&self) -> standing::State {
        self.handle.standing()
    }

    /// What it uses of its budgets.
    pub fn uses(&self) -> &standing::Uses {
        self.handle.uses()
    }

    /// The host's time.
    pub fn now(&self) -> UnixNanos {
        self.handle.now()
    }

    /// The time of its host's monotonic clock.
    pub fn monotonic_nanos(&self) -> u64 {
        self.handle.monotonic_nanos()
    }

    /// For how long its next call is held back, if it is throttled.
    pub fn throttled_for(&self) -> Option<Duration> {
        self.handle.throttled_for()
    }

    /// Messages that wait in its mailbox.
    pub fn waiting(&self) -> usize {
        self.handle.waiting()
    }

    /// Waits until it is no longer loading. May be cancelled.
    pub async fn loaded(&self) -> Status {
        self.handle.loaded().await
    }

    /// Its component, once that is loaded.
    pub fn component(&self) -> Option<ComponentInfo> {
        self.handle.component()
    }

    /// Calls its handler and waits: for room in its mailbox, then for the reply. If this is cancelled before the call
    /// started, the call may still run; its reply is lost.
    pub async fn call(&self, event: Event, trigger: Trigger) -> Result<Reply, CallError> {
        self.handle.call(event, trigger).await
    }

    /// As [`Extension::call`], but a full mailbox, or calls that are spaced since it is throttled, are an error at once that
    /// tells how long to wait.
    pub async fn try_call(&self, event: Event, trigger: Trigger) -> Result<Reply, CallError> {
        self.handle.try_call(event, trigger).await
    }

    /// Calls exports of the embedder's own, as an invocation called `name`, under the extension's budget. If this is
    /// cancelled, the call goes on and its result is lost.
    pub async fn call_exports<T: Send + 'static>(
        &self,
        name: &str,
        call: impl for<'a> FnOnce(
            &'a mut Store<State>,
            &'a Instance,
        ) -> Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>
        + Send
        + 'static,
    ) -> Result<T, CallError> {
        let (sender, receiver) = oneshot::channel();
        let job: EmbedderCall = Box::new(move |store, instance| {
            Box::pin(async move {
                // The caller may be gone.
                drop(sender.send(call(store, instance).await?));
                Ok(())
            })
        });
        self.handle.call_exports(name, job).await?;
        receiver.await.map_err(|_| CallError::Cancelled)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        self.handle.usage()
    }

    /// What its calls asked of the host since it was started, by function; what took the longest first.
    pub fn host_functions(&self) -> Vec<HostFunctionUse> {
        HostFunctionUse::list(self.handle.host_functions())
    }

    /// What the host keeps in its own memory on its behalf.
    pub fn host_memory(&self) -> HostMemory {
        self.handle.host_memory()
    }

    /// What it has used of what the host counts for it since it was started.
    pub fn host_use(&self) -> HostUse {
        self.handle.host_use()
    }

    /// What it uses of its budgets of telemetry.
    pub fn telemetry_use(&self) -> TelemetryUse {
        self.handle.telemetry_use()
    }

    /// What it said of its health when it was last asked; empty if it was not, or has nothing to say.
    pub fn health(&self) -> Vec<Check> {
        self.handle.health()
    }

    /// Asks it for its health, as is done each `debugging.health_check_interval` anyway, and gives what it says. Waits for the call that
    /// is under way. One that is quarantined, or exports no `health`, is not asked.
    pub async fn check_health(&self) -> Result<Vec<Check>, CallError> {
        self.handle.check_health().await
    }

    /// What debugging costs it, and how much detail that leaves.
    pub fn overhead(&self) -> Overhead {
        self.handle.overhead()
    }

    /// How many of its records were dropped, by cause.
    pub fn drops(&self) -> Drops {
        self.handle.drops()
    }

    /// Its logs.
    pub fn logs(&self) -> Records<LogRecord> {
        self.records()
    }

    /// Its metric samples.
    pub fn metrics(&self) -> Records<MetricRecord> {
        self.records()
    }

    /// Its errors: those that it reported, and its failures with their stacks.
    pub fn errors(&self) -> Errors {
        Errors::new(self.clone())
    }

    /// The groups of its errors that are the same bug, as they stand now; those with the latest errors first.
    pub fn error_groups(&self) -> Vec<ErrorGroup> {
        self.handle.error_groups()
    }

    /// Notes that the error of a group is mended: in a version of the extension, or else in the one that runs. It comes back, as
    /// regressed, with an error of that version or a later one. With a data directory this is stored when it returns, and the
    /// record of it says by whom.
    pub fn resolve_error(
        &self,
        group: GroupId,
        version: Option<Version>,
        notes: &str,
        by: &str,
    ) -> Result<ErrorGroup, ResolveError> {
        self.handle.resolve_error(group, version, notes, by)
    }

    /// Its alerts as they stand now, its own and the host's about it: those that fire first, of them the latest first.
    pub fn alert_states(&self) -> Vec<Alert> {
        self.handle.alert_states()
    }

    /// Notes that an alert is over; it fires again when it is raised again. With a data directory this is stored when it returns, and
    /// the record of it says by whom.
    pub fn resolve_alert(&self, alert: AlertId, note: &str, by: &str) -> Result<Alert, AlertError> {
        self.handle.resolve_alert(alert, note, by)
    }

    /// Its spans.
    pub fn spans(&self) -> Records<SpanRecord> {
        self.records()
    }

    /// The records of its alerts: each that the guest raised, and each that began to fire of the host's.
    pub fn alerts(&self) -> Records<AlertRecord> {
        self.records()
    }

    /// Its invocations, with what each of them cost.
    pub fn invocations(&self) -> Records<InvocationRecord> {
        self.records()
    }

    /// Reads one of its signals as it is stored.
    pub fn reader(&self, signal: Signal) -> Reader {
        self.handle.reader(signal)
    }

    /// All that is stored of it, to be exported.
    pub fn source(&self) -> Source {
        Source::new(self.id().as_str(), |signal| self.reader(signal))
    }

    /// The source lines of a failure's stack, innermost first. Without lines if the host is gone, or the component has
    /// none. May be cancelled.
    pub async fn source_frames(&self, failure: &Failure) -> Vec<SourceFrame> {
        if let Some(runtime) = self.runtime.upgrade() {
            return runtime.source_frames(&self.handle, failure).await;
        }
        let named = |function: &String| SourceFrame { function: function.clone(), location: None, inlined: false };
        failure.frames.iter().map(|frame| named(&frame.function)).collect()
    }

    /// Its records of a kind, such as `records::<LogRecord>()`; the stacks of failures are then told without source lines.
    pub fn records<T: Record>(&self) -> Records<T> {
        Records::new(|signal| self.reader(signal), self.id().as_str())
    }
}
