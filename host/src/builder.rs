//! How a host is set up: where its extensions and its configuration are, and what an embedder adds.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glasshouse_files::HostLog;
use glasshouse_model::config::{Layers, OperatorConfig};
use glasshouse_model::{Clock, ExtensionId};
use glasshouse_runtime::wasmtime::{self, component::Linker};
use glasshouse_runtime::{CompileSettings, EmbedderData, LinkerHook, RuntimeSettings, State};
use glasshouse_telemetry::{Depot, DepotSettings};

use crate::discover::{self, Candidate, absolute};
use crate::folders;
use crate::plan::Plan;
use crate::{Host, HostError};

/// Bytes of the longest operator configuration that is read.
const CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// Sets up a [`Host`].
#[derive(Default)]
pub struct HostBuilder {
    plugin_dirs: Vec<PathBuf>,
    extensions: Vec<PathBuf>,
    config: Option<Config>,
    environment: Vec<(String, String)>,
    overrides: Vec<String>,
    cache: CacheFolder,
    data_dir: Option<PathBuf>,
    compile_worker: Option<PathBuf>,
    background_threads: Option<usize>,
    pub(crate) host_log: HostLog,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) imports: Vec<LinkerHook>,
    pub(crate) embedder_data: Option<EmbedderData>,
}

enum Config {
    File(PathBuf),
    Text { text: String, base: PathBuf },
}

#[derive(Default)]
enum CacheFolder {
    #[default]
    OfUser,
    At(PathBuf),
    None,
}

impl HostBuilder {
    /// Adds all extensions of a plugin directory: folders `<id>` with an `extension.toml` and a component, and components
    /// `<id>.wasm`.
    pub fn plugin_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.plugin_dirs.push(path.into());
        self
    }

    /// Adds one extension: a folder with an `extension.toml` and a component, or a component file.
    pub fn extension(mut self, path: impl Into<PathBuf>) -> Self {
        self.extensions.push(path.into());
        self
    }

    /// Takes the operator's configuration from a file, usually `glasshouse.toml`.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Some(Config::File(path.into()));
        self
    }

    /// Takes the operator's configuration from a text; its relative paths are resolved against `base`.
    pub fn config_text(mut self, text: impl Into<String>, base: impl Into<PathBuf>) -> Self {
        self.config = Some(Config::Text { text: text.into(), base: base.into() });
        self
    }

    /// Takes environment variables into account, such as `GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE`, and below all else those by which OpenTelemetry's exporters
    /// are told where to push to; others are passed over.
    /// Without a call of this, no variable has a say.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Sets a value over the configuration and the environment: `extensions.relay.budget.deadline=2s`.
    pub fn set(mut self, path_and_value: impl Into<String>) -> Self {
        self.overrides.push(path_and_value.into());
        self
    }

    /// Sets several values as [`HostBuilder::set`] does.
    pub fn overrides(mut self, paths_and_values: impl IntoIterator<Item = String>) -> Self {
        self.overrides.extend(paths_and_values);
        self
    }

    /// Keeps compiled components in this folder where the configuration names none; in the user's cache folder otherwise.
    /// It is made, and readable by this user only.
    pub fn cache_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache = CacheFolder::At(path.into());
        self
    }

    /// Keeps no compiled components where the configuration names no folder for them.
    pub fn without_cache(mut self) -> Self {
        self.cache = CacheFolder::None;
        self
    }

    /// Keeps telemetry in this folder, whatever the configuration says of it, so that it outlives the host; in memory only
    /// without either. It is made, and readable by this user only.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Compiles components in processes of this program, whose `main` is [`crate::worker::main`]. An application that calls
    /// [`crate::worker::run_if_asked`] first in its own `main` needs none; without either, components are compiled in the
    /// application's process, without bounds on time and memory, and a warning is logged.
    pub fn compile_worker(mut self, program: impl Into<PathBuf>) -> Self {
        self.compile_worker = Some(program.into());
        self
    }

    /// Serves extensions that compute much by so many threads of the host's own, so that those of the application's runtime, which
    /// serve the others, are free for timers and callers; as many as there are processors without a call of this. They are
    /// started once they are needed. With 0 every extension is served by the runtime that the host was started in.
    pub fn background_threads(mut self, threads: usize) -> Self {
        self.background_threads = Some(threads);
        self
    }

    /// Puts what the process says by `tracing` into the host's log files too, where it writes any: what comes to [`HostLog::layer`], which the
    /// application adds to its own subscriber. Without a call of this, the files have what extensions and the host record.
    pub fn host_log(mut self, host_log: HostLog) -> Self {
        self.host_log = host_log;
        self
    }

    /// Takes time from another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Adds imports of the embedder's own to what components may import.
    pub fn import(mut self, add: impl Fn(&mut Linker<State>) -> wasmtime::Result<()> + Send + Sync + 'static) -> Self {
        self.imports.push(Box::new(add));
        self
    }

    /// Makes the data that the embedder's own imports find in [`State::embedder`], anew for each instance.
    pub fn embedder_data<T: Any + Send>(mut self, make: impl Fn(&ExtensionId) -> T + Send + Sync + 'static) -> Self {
        self.embedder_data = Some(Arc::new(move |id| Box::new(make(id)) as Box<dyn Any + Send>));
        self
    }

    /// Finds the extensions and works out what holds for each, without starting anything. Blocks while it reads.
    pub fn plan(&self) -> Result<Plan, HostError> {
        let mut candidates = Vec::new();
        for path in &self.plugin_dirs {
            let found =
                discover::plugin_dir(path).map_err(|cause| HostError::PluginDir { path: path.clone(), cause })?;
            candidates.extend(found);
        }
        for path in &self.extensions {
            let found = discover::single(path).map_err(|cause| HostError::NoExtension { path: path.clone(), cause })?;
            candidates.push(found);
        }
        discover::settle_ids(&mut candidates);
        let layers = self.layers(&candidates)?;
        Ok(Plan::new(layers, candidates))
    }

    /// Starts the host and its extensions, each on a task of its own, and returns while they are loading. One that cannot
    /// be started is listed as failed and stops no other.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Host, HostError> {
        let (builder, plan) = self.planned().await?;
        Host::start(builder, plan)
    }

    /// Plans on a thread that may block, and comes back with the plan.
    pub(crate) async fn planned(self) -> Result<(Self, Plan), HostError> {
        let planning = tokio::task::spawn_blocking(move || self.plan().map(|plan| (self, plan)));
        planning.await.map_err(|error| HostError::Interrupted(error.to_string()))?
    }

    /// Whether it runs all that is in some folder, and not only chosen extensions.
    pub(crate) fn has_plugin_dirs(&self) -> bool {
        !self.plugin_dirs.is_empty()
    }

    fn layers(&self, candidates: &[Candidate]) -> Result<Layers, HostError> {
        let file = match &self.config {
            None => OperatorConfig::default(),
            Some(Config::Text { text, base }) => {
                OperatorConfig::parse(text, "configuration")?.based_at(&absolute(base))
            }
            Some(Config::File(path)) => {
                let text = discover::read_text(path, CONFIG_BYTES)
                    .map_err(|cause| HostError::ConfigFile { path: path.clone(), cause })?;
                let folder = absolute(path).parent().map(Path::to_owned).unwrap_or_default();
                OperatorConfig::parse(&text, &path.display().to_string())?.based_at(&folder)
            }
        };
        let here = absolute(Path::new("."));
        let mut ids: Vec<_> = candidates.iter().map(|candidate| candidate.id.clone()).collect();
        ids.extend(file.extension_ids().cloned());
        ids.sort();
        ids.dedup();
        let variables = self.environment.iter().filter(|(name, _)| self.has_plugin_dirs() || !is_of_others(name, &ids));
        let environment = OperatorConfig::from_environment(variables.cloned(), &ids)?.based_at(&here);
        let flags = OperatorConfig::from_flags(&self.overrides)?.based_at(&here);
        let (ambient, passed_over) = OperatorConfig::from_opentelemetry(&self.environment);
        for why in passed_over {
            tracing::warn!("passed over: {why}");
        }
        Ok(Layers { file, environment, flags, ambient: ambient.based_at(&here) })
    }

    /// The builder for this extension and no other; what else it was told holds.
    pub(crate) fn only(mut self, extension: PathBuf) -> Self {
        self.plugin_dirs.clear();
        self.extensions = vec![extension];
        self
    }

    /// The folder of compiled components, if there is to be one.
    pub fn cache_dir(&self, plan: &Plan) -> Option<PathBuf> {
        match (&plan.host.settings.cache_dir, &self.cache) {
            (Some(folder), _) | (None, CacheFolder::At(folder)) => Some(folder.clone()),
            (None, CacheFolder::OfUser) => folders::cache().map(|folder| folder.join("components")),
            (None, CacheFolder::None) => None,
        }
    }

    /// The folder that telemetry is kept in, if it is.
    pub fn kept_in(&self, plan: &Plan) -> Option<PathBuf> {
        self.data_dir.clone().or_else(|| plan.host.settings.data_dir.clone())
    }

    /// In what, and within which bounds, components are compiled.
    pub fn compile_settings(&self, plan: &Plan) -> CompileSettings {
        let configured = &plan.host.settings;
        CompileSettings {
            worker: self.compile_worker.clone(),
            memory_bytes: configured.compile_memory,
            time: configured.compile_time,
        }
    }

    /// The runtime's settings, as far as they are the builder's and the configuration's to say.
    pub(crate) fn runtime_settings(self, plan: &Plan) -> Result<RuntimeSettings, HostError> {
        let configured = &plan.host.settings;
        let depot = DepotSettings {
            data_dir: self.kept_in(plan),
            data_limit: configured.data_limit,
            cleanup_interval: configured.cleanup_interval,
            sync_interval: configured.sync_interval,
        };
        let mut settings = self.settings_without_depot(plan);
        settings.depot = Some(Depot::open(&depot, Arc::clone(&settings.clock))?);
        Ok(settings)
    }

    /// The settings of a runtime that keeps its telemetry in memory, in a depot of its own.
    pub(crate) fn settings_without_depot(self, plan: &Plan) -> RuntimeSettings {
        let configured = &plan.host.settings;
        let compile = self.compile_settings(plan);
        let cache_folder = self.cache_dir(plan);
        let mut settings =
            RuntimeSettings { cache_folder, compile, linker_hooks: self.imports, ..RuntimeSettings::default() };
        settings.http_certificate.clone_from(&configured.http_certificate);
        if configured.compile_threads > 0 {
            settings.compile_threads = configured.compile_threads;
        }
        if let Some(threads) = self.background_threads {
            settings.background_threads = threads;
        }
        if let Some(clock) = self.clock {
            settings.clock = clock;
        }
        if let Some(embedder_data) = self.embedder_data {
            settings.embedder_data = embedder_data;
        }
        settings
    }
}

/// Whether a variable speaks of an extension that is none of these.
fn is_of_others(variable: &str, ids: &[ExtensionId]) -> bool {
    let of = |rest: &str, id: &ExtensionId| {
        rest.strip_prefix(&id.as_str().to_ascii_uppercase().replace('-', "_")).is_some_and(|key| key.starts_with("__"))
    };
    variable.strip_prefix("GLASSHOUSE_EXTENSIONS__").is_some_and(|rest| !ids.iter().any(|id| of(rest, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_other_extensions_are_told_apart() {
        let ids = ["access-log".parse().expect("an id")];
        for (variable, expect) in [
            ("GLASSHOUSE_EXTENSIONS__RELAY__BUDGET__DEADLINE", true),
            ("GLASSHOUSE_EXTENSIONS__ACCESS_LOG__BUDGET__DEADLINE", false),
            ("GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE", false),
        ] {
            assert_eq!(is_of_others(variable, &ids), expect, "{variable}");
        }
    }
}
