//! Our side: a runtime with its cache, and the guests.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use glasshouse_model::ExtensionId;
use glasshouse_model::settings::Settings;
use glasshouse_runtime::bench::Instance;
use glasshouse_runtime::{Event, Extension, ExtensionSpec, Runtime, RuntimeSettings, Status};
use tempfile::TempDir;
use tokio::runtime;

use crate::records;

/// The variable in which `cargo xtask bench` tells where the guests are.
const GUESTS_VARIABLE: &str = "GLASSHOUSE_GUESTS";

/// Everything that the groups share. All work is done on the calling thread, unless the runtime under test moves it.
pub(crate) struct House {
    pub(crate) tokio: runtime::Runtime,
    pub(crate) runtime: Runtime,
    guests: PathBuf,
    folder: TempDir,
}

impl House {
    pub(crate) fn open() -> Result<Self> {
        let guests = std::env::var_os(GUESTS_VARIABLE).with_context(|| {
            format!("{GUESTS_VARIABLE} is not set: run `cargo xtask bench`, which builds the guests")
        })?;
        let folder = TempDir::new().context("making a folder for compiled components")?;
        let tokio = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { tokio, runtime: runtime_with_cache(folder.path())?, guests: guests.into(), folder })
    }

    /// A guest's component file.
    pub(crate) fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    /// The example extensions as the demo lays them out, with its feed and its operator's configuration.
    pub(crate) fn demo(&self) -> PathBuf {
        self.guests.join("demo")
    }

    /// A folder for this run's files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another runtime with the same cache, as after a restart of the host.
    pub(crate) fn restarted(&self) -> Result<Runtime> {
        runtime_with_cache(self.folder())
    }

    /// An instance that is called where it stands.
    pub(crate) fn instance(&self, guest: &str) -> Result<Instance> {
        let spec = spec(guest, self.guest(guest))?;
        self.tokio.block_on(Instance::start(&self.runtime, spec)).map_err(|error| anyhow!("starting {guest}: {error}"))
    }

    /// The same, and what it records is not searched for secrets.
    pub(crate) fn instance_without_redaction(&self, guest: &str) -> Result<Instance> {
        self.instance_with(guest, |settings| settings.redaction.enabled = false)
    }

    /// The same, with other settings.
    pub(crate) fn instance_with(&self, guest: &str, change: impl FnOnce(&mut Settings)) -> Result<Instance> {
        let mut spec = spec(guest, self.guest(guest))?;
        change(&mut spec.settings);
        self.tokio.block_on(Instance::start(&self.runtime, spec)).map_err(|error| anyhow!("starting {guest}: {error}"))
    }

    /// An instance that is called where it stands, and whose records go to a data directory of its own; and the runtime,
    /// which looks after that as long as it lives.
    pub(crate) fn instance_on_disk(&self, guest: &str) -> Result<(Runtime, Instance)> {
        let data_dir = tempfile::tempdir_in(self.folder())?.keep();
        let depot = Some(records::depot(&data_dir)?);
        let cache_folder = Some(self.folder().join("cache"));
        let runtime = Runtime::new(RuntimeSettings { cache_folder, depot, ..settings() })?;
        let spec = spec(guest, self.guest(guest))?;
        let started = self.tokio.block_on(Instance::start(&runtime, spec));
        let instance = started.map_err(|error| anyhow!("starting {guest}: {error}"))?;
        Ok((runtime, instance))
    }

    /// An extension behind its mailbox.
    pub(crate) fn extension(&self, guest: &str) -> Result<Extension> {
        start(&self.tokio, &self.runtime, spec(guest, self.guest(guest))?)
    }
}

fn runtime_with_cache(folder: &Path) -> Result<Runtime> {
    let cache_folder = Some(folder.join("cache"));
    Ok(Runtime::new(RuntimeSettings { cache_folder, ..settings() })?)
}

/// Settings by which all work is done on the threads that it is asked for on: what is measured is those threads' CPU time.
fn settings() -> RuntimeSettings {
    RuntimeSettings { background_threads: 0, ..RuntimeSettings::default() }
}

/// Default settings, but that spans are stored, too, and that no record is too much: what is left out would cost nothing.
pub(crate) fn spec(id: &str, component: PathBuf) -> Result<ExtensionSpec> {
    let mut settings = Settings::default();
    settings.debugging.tracing_enabled = true;
    settings.debugging.profiling_overhead_limit = 100.0;
    settings.budget.telemetry.records_per_second = 100_000_000;
    settings.budget.telemetry.bytes_per_second = 16 << 30;
    Ok(ExtensionSpec {
        id: id.parse().map_err(|error| anyhow!("{error}"))?,
        version: None,
        component,
        subscriptions: Vec::new(),
        settings,
    })
}

/// Starts an extension and waits until it can be called.
pub(crate) fn start(tokio: &runtime::Runtime, runtime: &Runtime, spec: ExtensionSpec) -> Result<Extension> {
    tokio.block_on(async {
        let extension = runtime.start(spec)?;
        match extension.loaded().await {
            Status::Ready => Ok(extension),
            status => bail!("{}: {} {}", extension.id(), status.word(), status.reason().unwrap_or_default()),
        }
    })
}

/// An event that asks a guest to do something so many times.
pub(crate) fn times(name: &str, times: u32) -> Event {
    Event { name: name.into(), content_type: String::new(), payload: times.to_string().into_bytes() }
}

/// The id of the `number`th start of a component.
pub(crate) fn numbered(number: usize) -> Result<ExtensionId> {
    format!("start-{number}").parse().map_err(|error| anyhow!("{error}"))
}
