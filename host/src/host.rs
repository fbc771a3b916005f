//! A running host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glasshouse_export::Source;
use glasshouse_files::{LogFiles, LogFilesStatus};
use glasshouse_model::config::HostSettings;
use glasshouse_model::{ExtensionId, HOST, Signal};
use glasshouse_otlp::{Pusher, Report};
use glasshouse_runtime::Runtime;
use glasshouse_telemetry::Reader;
use tokio::sync::Notify;

use crate::control::Controlled;
use crate::extension::Extension;
use crate::health::HealthReport;
use crate::journal::Journal;
use crate::plan::{EffectiveConfig, Plan, Planned};
use crate::push;
use crate::records::{LogRecord, MetricRecord, Records};
use crate::resources::{Monitor, Resources};
use crate::serve::Access;
use crate::sessions::Expiry;
use crate::traces::Traces;
use crate::{HostBuilder, HostError};

/// How long what is left may take to be pushed where the end has taken all of its time already.
const LAST_PUSH: Duration = Duration::from_secs(1);
/// How long sealing what is stored may take at the end.
const LAST_SEALS: Duration = Duration::from_secs(3);

/// A running host. Dropping it gives up all calls; [`Host::shutdown`] ends it in order.
pub struct Host {
    runtime: Arc<Runtime>,
    plan: Plan,
    extensions: BTreeMap<ExtensionId, Extension>,
    monitor: Monitor,
    sessions: Expiry,
    controlled: Arc<Controlled>,
    log_files: Option<Arc<LogFiles>>,
}

impl Host {
    /// Sets up a host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    pub(crate) fn start(builder: HostBuilder, plan: Plan) -> Result<Self, HostError> {
        // A host of chosen extensions may have the configuration of all.
        let unknown = if builder.has_plugin_dirs() { plan.unknown.as_slice() } else { &[] };
        let host_log = builder.host_log.clone();
        let settings = builder.runtime_settings(&plan)?;
        let clock = Arc::clone(&settings.clock);
        let log_files = LogFiles::open(&plan.host.settings.files, &host_log, Arc::clone(&clock))?.map(Arc::new);
        for id in unknown {
            tracing::warn!(extension = %id, "the configuration speaks of an extension that is not there");
        }
        let runtime = Arc::new(Runtime::new(settings)?);
        let enabled = || plan.extensions.iter().filter(|planned| planned.resolved.enabled);
        runtime.depot().open_ahead(enabled().map(|planned| planned.id.as_str()));
        let wake = Arc::new(Notify::new());
        let mut extensions = BTreeMap::new();
        for planned in enabled() {
            planned.warn_of_denied();
            let spec = planned.spec();
            let handle = match &planned.problem {
                None => runtime.start(spec)?,
                Some(problem) => runtime.start_failed(spec, problem.clone())?,
            };
            let planned_for = Arc::new(planned.clone());
            let extension = Extension::new(handle, planned_for, Arc::downgrade(&runtime), Arc::clone(&wake));
            extensions.insert(planned.id.clone(), extension);
        }
        let journal = Arc::new(Journal::open(runtime.depot(), clock));
        if let Some(log_files) = &log_files {
            let of_host = Source::new(HOST, |signal| journal.store().reader(signal));
            let sources: Vec<_> = std::iter::once(of_host).chain(extensions.values().map(Extension::source)).collect();
            log_files.start(&sources)?;
        }
        let monitor = Monitor::start(Arc::clone(&journal), host_log, plan.host.settings.metrics_interval);
        let sessions = Expiry::start(extensions.values().cloned().collect(), wake);
        let push = push::start(&plan.host.settings, extensions.values(), &journal, runtime.depot().data_dir());
        let controlled = Arc::new(Controlled {
            extensions: extensions.clone(),
            push,
            journal,
            access: Access::new(runtime.depot().data_dir().map(Path::to_owned)),
            runtime: Arc::downgrade(&runtime),
            log_files: log_files.as_ref().map(Arc::downgrade),
        });
        Ok(Self { runtime, plan, extensions, monitor, sessions, controlled, log_files })
    }

    /// The host as other programs see it.
    pub(crate) fn controlled(&self) -> &Arc<Controlled> {
        &self.controlled
    }

    /// What holds for the host itself.
    pub fn settings(&self) -> &HostSettings {
        &self.plan.host.settings
    }

    /// What the host records of itself: orders that were given to it, and who was turned away.
    pub fn logs(&self) -> Records<LogRecord> {
        Records::new(|signal| self.reader(signal), HOST)
    }

    /// Reads one of the signals that the host records of itself, as it is stored.
    pub fn reader(&self, signal: Signal) -> Reader {
        self.controlled.journal.store().reader(signal)
    }

    /// All that the host records of itself, to be exported.
    pub fn source(&self) -> Source {
        self.controlled.own_source()
    }

    /// The extension with this id; one that the operator has switched off is not there.
    pub fn extension(&self, id: &str) -> Option<&Extension> {
        self.extensions.get(id)
    }

    /// All extensions, by id; failed ones too.
    pub fn extensions(&self) -> impl ExactSizeIterator<Item = &Extension> {
        self.extensions.values()
    }

    /// Finds requests that several extensions may have had a part in.
    pub fn traces(&self) -> Traces {
        Traces::running(self.extensions.values(), self.controlled.journal.store())
    }

    /// The extensions that the operator has switched off.
    pub fn disabled(&self) -> impl Iterator<Item = &Planned> {
        self.plan.extensions.iter().filter(|planned| !planned.resolved.enabled)
    }

    /// Waits until no extension is loading any more. May be cancelled.
    pub async fn loaded(&self) {
        for extension in self.extensions.values() {
            extension.loaded().await;
        }
    }

    /// The values in effect, each with where it comes from.
    pub fn config(&self) -> EffectiveConfig {
        self.plan.config()
    }

    /// The folder that telemetry is kept in, if it is.
    pub fn data_dir(&self) -> Option<&Path> {
        self.runtime.depot().data_dir()
    }

    /// What the host's process used when that was measured last, which is done every `host.metrics_interval`; `None` before the
    /// first time.
    pub fn resources(&self) -> Option<Resources> {
        self.monitor.latest()
    }

    /// Measures what the host's process uses now, and stores it; on a blocking thread. `None` while the
    /// async runtime ends.
    pub async fn measure_resources(&self) -> Option<Resources> {
        self.monitor.measure().await
    }

    /// The host's own metric samples: what its process used.
    pub fn metrics(&self) -> Records<MetricRecord> {
        self.monitor.metrics()
    }

    /// How pushing to a collector goes; `None` if nothing is pushed.
    pub fn pushed(&self) -> Option<Report> {
        self.controlled.push.as_ref().map(Pusher::report)
    }

    /// How the host's parts are doing, and all its extensions: what works, what does not, and what to do about it. Asks the file system of the
    /// data directory for what it has left.
    pub fn health(&self) -> HealthReport {
        self.controlled.health_report()
    }

    /// How long calls in flight may go on when the host stops, as the operator has it.
    pub fn shutdown_limit(&self) -> Duration {
        self.plan.host.settings.shutdown_limit
    }

    /// How the writing of log files goes; `None` if none are written.
    pub fn log_files(&self) -> Option<LogFilesStatus> {
        self.log_files.as_ref().map(|files| files.status())
    }

    /// Ends all extensions: no new calls are taken, those in the mailboxes are finished, what is not done after `limit`
    /// is given up, and each instance's `shutdown` runs; then debug sessions end, and what is left is written to log files, for some
    /// seconds at most, and pushed, for a second at least; at last what is stored is sealed, for three seconds at most. Cancelling this leaves
    /// the host draining.
    pub async fn shutdown(&self, limit: Duration) {
        let begun = Instant::now();
        self.runtime.shutdown(limit).await;
        self.sessions.finish();
        self.monitor.finish().await;
        if let Some(log_files) = self.log_files.clone() {
            // It fails only while the async runtime ends, and what is left is given up then.
            let _ = tokio::task::spawn_blocking(move || log_files.finish()).await;
        }
        if let Some(push) = &self.controlled.push {
            push.finish(limit.saturating_sub(begun.elapsed()).max(LAST_PUSH)).await;
        }
        let runtime = Arc::clone(&self.runtime);
        // As with log files. What is not sealed stays in its files.
        let _ = tokio::task::spawn_blocking(move || runtime.depot().finish(LAST_SEALS)).await;
    }

    /// Gives up all calls in flight at once; a [`Host::shutdown`] under way then ends soon.
    pub fn cancel(&self) {
        self.runtime.cancel();
    }
}
