//! What the calls of one extension cost when nothing else has a say.

use std::path::PathBuf;

use glasshouse_runtime::{Event, Tried, Trigger};

use crate::plan::Planned;
use crate::{HostBuilder, HostError};

/// One extension that is called in an instance and a store of its own each time, with clocks, random bytes and ids that are
/// the same each time: the same input costs the same. It is alone, and takes part in no host.
///
/// ```no_run
/// use glasshouse::{Event, Host, Trigger};
///
/// # async fn measure() -> Result<(), Box<dyn std::error::Error>> {
/// let trial = Host::builder().trial("plugins/markdown").await?;
/// let payload = br##"{"markdown": "# Hello"}"##.to_vec();
/// let event = Event { name: "render".into(), content_type: "application/json".into(), payload };
/// let tried = trial.call(event, Trigger::default()).await?;
/// let fuel = tried.cost.fuel.unwrap_or_default();
/// assert!(fuel < 1_000_000, "it used {fuel} of fuel");
/// # Ok(())
/// # }
/// ```
pub struct Trial {
    planned: Planned,
    inner: glasshouse_runtime::Trial,
}

impl HostBuilder {
    /// Sets up a trial of one extension, a folder with an `extension.toml` and a component or a component file, under the
    /// configuration that the builder has. Extensions, clocks and data directories that it was told of are passed over.
    pub async fn trial(self, extension: impl Into<PathBuf>) -> Result<Trial, HostError> {
        let path = extension.into();
        let (builder, plan) = self.only(path.clone()).planned().await?;
        let settings = builder.settings_without_depot(&plan);
        let Some(planned) = plan.extensions.into_iter().next() else {
            return Err(HostError::NoExtension { path, cause: std::io::ErrorKind::NotFound.into() });
        };
        planned.warn_of_denied();
        let inner = glasshouse_runtime::Trial::new(settings, planned.spec())?;
        Ok(Trial { planned, inner })
    }
}

impl Trial {
    /// The extension's manifest, its folder, and what the configuration has for it.
    pub fn about(&self) -> &Planned {
        &self.planned
    }

    /// The settings in effect: what would make calls differ is fixed.
    pub fn settings(&self) -> &glasshouse_model::settings::Settings {
        self.inner.settings()
    }

    /// How work is metered, in words: fuel is comparable only where this and the version of wasmtime are the same.
    pub fn metering(&self) -> String {
        self.inner.metering()
    }

    /// Calls the handler of a new instance. An error says why there is none. Cancelling it gives the call up.
    pub async fn call(&self, event: Event, trigger: Trigger) -> Result<Tried, String> {
        self.problem()?;
        self.inner.call(event, trigger).await
    }

    /// Calls what else a new instance exports, one after the other: `init`, `collect`, `check-health` and `shutdown`, up to
    /// the first that fails. An error says why there is no instance.
    pub async fn life_cycle(&self) -> Result<Vec<(&'static str, Tried)>, String> {
        self.problem()?;
        self.inner.life_cycle().await
    }

    /// What keeps it from being called at all.
    fn problem(&self) -> Result<(), String> {
        match &self.planned.problem {
            Some(problem) => Err(problem.clone()),
            None if self.planned.resolved.enabled => Ok(()),
            None => Err(format!("it is switched off: set extensions.{}.enabled = true", self.planned.id)),
        }
    }
}
