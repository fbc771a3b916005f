//! Runs extensions: the only user of wasmtime. Compiles and caches components, keeps each in a sandbox of its own task,
//! meters its calls, ends what is over its budget, and writes what happens to the extension's store.

mod allocator;
mod background;
#[doc(hidden)]
pub mod bench;
mod bindings;
mod bounds;
mod cache;
mod clock;
mod compile;
mod counts;
mod cuts;
mod demangle;
mod denials;
mod determinism;
mod engine;
mod epochs;
mod exports;
mod extension;
mod failure;
mod flavour;
mod grants;
mod health;
mod held;
mod host;
mod host_calls;
mod identities;
mod imports;
mod input;
mod inspect;
mod intake;
mod job;
mod lanes;
mod limiter;
mod lines;
mod loader;
mod mailbox;
mod meter;
mod neighbours;
mod present;
mod probe;
mod reach;
mod refused;
mod reports;
mod sandbox;
mod slowness;
mod span_uses;
mod standing;
mod state;
mod stdio;
mod supervisor;
mod symbols;
mod threads;
mod told;
mod trial;
mod trigger;
mod turn;
mod usage;
mod weight;

use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use glasshouse_model::settings::Settings;
use glasshouse_model::standing::Standing;
use glasshouse_model::{Clock, Digest, ExtensionId, Failure, Version};
use glasshouse_telemetry::Depot;
use tokio::sync::{mpsc, watch};
use wasmtime::Engine;

pub use allocator::return_large_blocks;
pub use bounds::TooMuch;
pub use clock::SystemClock;
pub use compile::{CompileCost, CompileLimit, CompileSettings, Containment};
pub use determinism::Determinism;
pub use engine::{EngineState, EnginesState, LinkerHook, TickerState, WASMTIME_VERSION};
pub use extension::{CallError, ComponentInfo, Event, Extension, HandlerError, Reply, Status};
pub use failure::HostFault;
pub use grants::GrantError;
pub use health::{Check, Health};
pub use held::{HostMemory, HostUse};
pub use inspect::{Inspection, inspect};
pub use job::EmbedderCall;
pub use loader::LoadError;
pub use present::ApplyError;
pub use sandbox::EmbedderData;
pub use state::State;
pub use symbols::SourceFrame;
pub use threads::tokio_builder;
pub use trial::{Trial, Tried};
pub use trigger::{Carried, Chain, Trigger};
pub use wasmtime;

use background::{Background, Roaming};
use cache::{Cache, digest_file};
use compile::Compiler;
use engine::Engines;
use exports::Exports;
use extension::{ORDERS, Shared};
use grants::Reachable;
use host::http::{Door, Trust};
use loader::{Found, Loaded, Loader, Source, open};
use mailbox::{Mailbox, Traffic};
use meter::Phase;
use neighbours::{Neighbours, Registry};
use present::Present;
use refused::NotStarted;
use sandbox::Blueprint;
use slowness::Slowness;
use supervisor::{Inbox, Supervisor};
use symbols::Symbols;

/// The process that compiles components: a program that embeds the host is its own worker once its `main` calls
/// [`worker::run_if_asked`] first.
pub mod worker {
    pub use crate::compile::worker::{main, run_if_asked};
}

/// How a [`Runtime`] is set up.
pub struct RuntimeSettings {
    /// The folder of compiled components; `None` compiles at every start.
    pub cache_folder: Option<PathBuf>,
    /// Components of usual size that are compiled at once; half as many that take long are compiled beside them, and two large ones.
    pub compile_threads: usize,
    /// In what, and within which bounds, they are compiled.
    pub compile: CompileSettings,
    /// Threads for extensions that compute much, so that those which serve all others are free. They are started once they are
    /// needed; 0 serves every extension where it was started.
    pub background_threads: usize,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What keeps telemetry; `None` keeps it in memory.
    pub depot: Option<Depot>,
    /// An embedder's additions to what components can import.
    pub linker_hooks: Vec<LinkerHook>,
    /// Makes an embedder's data for each instance.
    pub embedder_data: EmbedderData,
    /// The file, in PEM, with the certificates that servers which extensions ask over HTTPS are trusted by; `None` stands for
    /// those of the system.
    pub http_certificate: Option<PathBuf>,
    /// Makes the runs of guests alike, for measuring and for tests; `None` gives them the time and random bytes.
    pub determinism: Option<Determinism>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cache_folder: None,
            compile_threads: processors,
            compile: CompileSettings::default(),
            background_threads: processors,
            clock: Arc::new(SystemClock::new()),
            depot: None,
            linker_hooks: Vec::new(),
            embedder_data: Arc::new(|_| Box::new(()) as Box<dyn Any + Send>),
            http_certificate: None,
            determinism: None,
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct ExtensionSpec {
    /// Its id.
    pub id: ExtensionId,
    /// The version that its manifest names, if it does: what tells whether a resolved error may come back.
    pub version: Option<Version>,
    /// Its component file.
    pub component: PathBuf,
    /// The topics whose events it gets; a trailing `*` stands for any ending.
    pub subscriptions: Vec<String>,
    /// What it may use and do, and how it is watched.
    pub settings: Settings,
}

/// The host could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine, or what is linked into components.
    #[error("cannot set up the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// Two extensions with one id.
    #[error("two extensions have the id \"{0}\"; rename one of them")]
    Duplicate(ExtensionId),
}

/// Runs extensions. Dropping it gives up all calls; [`Runtime::shutdown`] ends it in order.
pub struct Runtime {
    engines: Arc<Engines>,
    compiler: Arc<Compiler>,
    loader: Arc<Loader>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    depot: Depot,
    embedder_data: EmbedderData,
    trust: Arc<Trust>,
    determinism: Option<Determinism>,
    background: Arc<Background>,
    phase: watch::Sender<Phase>,
    traffic: Arc<Traffic>,
    symbols: Arc<Symbols>,
}

impl Runtime {
    /// Sets up the engine. A cache folder that cannot be used is said in the log, and components are compiled anew.
    pub fn new(settings: RuntimeSettings) -> Result<Self, RuntimeError> {
        let mut hooks = settings.linker_hooks;
        if settings.determinism.is_some() {
            hooks.insert(0, Box::new(host::clocks::add));
        }
        let engines = Arc::new(Engines::new(hooks).map_err(RuntimeError::Engine)?);
        let cache = settings.cache_folder.and_then(|folder| {
            Cache::open(&folder)
                .inspect_err(|error| {
                    tracing::warn!(folder = %folder.display(), "compiled components are not kept, since the folder cannot be used: {error}");
                })
                .ok()
        });
        let compiler = Arc::new(Compiler::new(settings.compile));
        compiler.warn_if_in_process();
        Ok(Self {
            loader: Loader::new(Arc::clone(&engines), cache, Arc::clone(&compiler), settings.compile_threads),
            engines,
            registry: Arc::default(),
            depot: settings.depot.unwrap_or_else(|| Depot::in_memory(Arc::clone(&settings.clock))),
            clock: settings.clock,
            embedder_data: settings.embedder_data,
            trust: Arc::new(Trust::new(settings.http_certificate)),
            determinism: settings.determinism,
            background: Arc::new(Background::new(settings.background_threads)),
            phase: watch::Sender::new(Phase::Running),
            traffic: Arc::default(),
            symbols: Arc::new(Symbols::new(Arc::clone(&compiler))),
            compiler,
        })
    }

    /// Starts an extension on a task of its own and returns at once; [`Extension::loaded`] waits for it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(&self, spec: ExtensionSpec) -> Result<Extension, RuntimeError> {
        // Before anything is read for it; who comes at the same time is found out when it is listed.
        if self.registry.find(spec.id.as_str()).is_some() {
            return Err(RuntimeError::Duplicate(spec.id));
        }
        let assembler = self.assembler(&spec);
        self.spawn(spec, |extension| assembler.load(extension))
    }

    fn assembler(&self, spec: &ExtensionSpec) -> Assembler {
        Assembler {
            loader: Arc::clone(&self.loader),
            neighbours: Neighbours::new(&self.registry, spec.settings.permissions.clone()),
            embedder_data: Arc::clone(&self.embedder_data),
            trust: Arc::clone(&self.trust),
            determinism: self.determinism,
        }
    }

    /// Lists an extension that cannot be started, with its cause, so that it is seen with the others.
    pub fn start_failed(&self, spec: ExtensionSpec, cause: String) -> Result<Extension, RuntimeError> {
        self.spawn(spec, |_| std::future::ready(Err(cause.into())))
    }

    fn spawn<F>(&self, spec: ExtensionSpec, load: impl FnOnce(Extension) -> F) -> Result<Extension, RuntimeError>
    where
        F: Future<Output = Result<Assembled, NotStarted>> + Send + 'static,
    {
        let (extension, inbox) = self.handle(spec);
        let recorder = extension.shared().store.recorder();
        if !self.registry.add(extension.clone()) {
            return Err(RuntimeError::Duplicate(extension.id().clone()));
        }
        let supervisor = Supervisor { extension: extension.clone(), recorder, inbox, phase: self.phase.subscribe() };
        let task = tokio::spawn(Roaming::new(
            supervisor.run(load(extension.clone())),
            Arc::clone(&self.background),
            Arc::clone(&extension.shared().weight),
            Arc::clone(&self.clock),
        ));
        let watched = extension.clone();
        tokio::spawn(async move {
            if let Err(error) = task.await {
                let cause = format!("the host failed while it served this extension; restart the host: {error}");
                tracing::error!(extension = %watched.id(), "{cause}");
                watched.shared().status.send_replace(Status::Failed { cause });
            }
        });
        Ok(extension)
    }

    /// A new extension's handle, and what its supervisor goes by.
    fn handle(&self, spec: ExtensionSpec) -> (Extension, Inbox) {
        let store = self.depot.store(spec.id.as_str(), &spec.settings).unwrap_or_else(|error| {
            tracing::error!(extension = %spec.id, "its telemetry is kept in memory only: {error}");
            self.depot.store_in_memory(&spec.settings)
        });
        let standing = Standing::new(&spec.settings.budget);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (sender, mailbox) = Mailbox::new(spec.settings.budget.mailbox, Arc::clone(&self.traffic));
        let extension = Extension::new(Shared {
            id: spec.id,
            subscriptions: spec.subscriptions,
            store,
            present: Present::new(spec.settings),
            clock: Arc::clone(&self.clock),
            mailbox: sender,
            status: watch::Sender::new(Status::Loading),
            stand: Mutex::new(standing.state().clone()),
            uses: Arc::clone(standing.uses()),
            next_call_at: AtomicU64::new(0),
            orders,
            component: OnceLock::new(),
            version: spec.version,
            path: spec.component,
            health: Mutex::default(),
            held: Arc::default(),
            weight: Arc::default(),
        });
        (extension, Inbox { mailbox, orders: ordered, standing })
    }

    /// The extension with this id.
    pub fn extension(&self, id: &str) -> Option<Extension> {
        self.registry.find(id)
    }

    /// All extensions, by id.
    pub fn extensions(&self) -> Vec<Extension> {
        self.registry.all()
    }

    /// What keeps the extensions' telemetry.
    pub fn depot(&self) -> &Depot {
        &self.depot
    }

    /// The engine that meters by fuel, for an embedder that compiles or inspects components itself.
    pub fn engine(&self) -> &Engine {
        &self.engines.usual().engine
    }

    /// How the engines are doing.
    pub fn engines(&self) -> EnginesState {
        EnginesState {
            engines: self.engines.states(),
            is_contained: self.compiler.is_contained(),
            lacks: self.compiler.lacks().to_vec(),
        }
    }

    /// The source lines of a failure's stack, innermost first. Reads and parses the component's line tables on a
    /// blocking thread the first time. May be cancelled.
    pub async fn source_frames(&self, extension: &Extension, failure: &Failure) -> Vec<SourceFrame> {
        let symbols = Arc::clone(&self.symbols);
        let path = extension.shared().path.clone();
        let (component, frames) = (failure.component, failure.frames.clone());
        tokio::task::spawn_blocking(move || symbols.resolve(&path, &component, &frames)).await.unwrap_or_default()
    }

    /// Ends all extensions: no new calls are taken, those under way and what they lead to are finished, what is not done
    /// after `limit` is given up, and `shutdown` runs in each live instance. Cancelling this leaves the host draining;
    /// calling it again with a shorter limit hastens it.
    pub async fn shutdown(&self, limit: Duration) {
        self.advance(Phase::Draining);
        self.traffic.close();
        let ended = async {
            self.traffic.idle().await;
            self.advance(Phase::Ending);
            // Each extension's task holds a receiver until it ends, also by a panic.
            self.phase.closed().await;
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            self.advance(Phase::Cancelling);
            self.phase.closed().await;
        }
    }

    /// Goes on to a later phase; there is no way back.
    fn advance(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let changes = *phase < next;
            *phase = (*phase).max(next);
            changes
        });
    }

    /// Gives up all calls in flight at once; a [`Runtime::shutdown`] under way then ends soon.
    pub fn cancel(&self) {
        self.traffic.close();
        self.advance(Phase::Cancelling);
    }
}

/// What is needed to load an extension's component and to plan its instances.
struct Assembler {
    loader: Arc<Loader>,
    neighbours: Neighbours,
    embedder_data: EmbedderData,
    trust: Arc<Trust>,
    determinism: Option<Determinism>,
}

/// An extension that is about to be served.
type Assembled = (Arc<Blueprint>, ComponentInfo);

impl Assembler {
    /// Loads on the extension's own task. All that waits for the disk or for a name server is done on a blocking thread, and all that a start
    /// with a warm cache takes in one go there, since each hand-over between threads costs 30 µs on a quiet machine, and on a busy one the wait for
    /// a processor. What waits for nothing, and is little, is done where it is asked for.
    async fn load(self, extension: Extension) -> Result<Assembled, NotStarted> {
        let settings = extension.settings();
        let metering = settings.budget.metering;
        if !Reachable::has_names(&settings.permissions.network)
            && let Some(loaded) = self.loader.find_in_place(&extension.shared().path, metering)
        {
            return self.plan(&extension, &loaded);
        }
        let first = tokio::task::spawn_blocking(move || {
            let path = &extension.shared().path;
            let found = self.loader.find(path, metering).map_err(|error| {
                // What cannot be read has no digest, and what is too large is not read.
                let digest = open(path).ok().and_then(|(file, _)| digest_file(&file).ok());
                NotStarted::by(&error, digest.map_or(Digest([0; 32]), |(digest, _)| digest))
            })?;
            Ok::<_, NotStarted>(match found {
                Found::Compiled(loaded) => Begun::Done(self.plan(&extension, &loaded)?),
                Found::Component(source) => Begun::ToCompile(self, extension, source),
            })
        });
        let (assembler, extension, source) = match first.await.map_err(|error| error.to_string())?? {
            Begun::Done(assembled) => return Ok(assembled),
            Begun::ToCompile(assembler, extension, source) => (assembler, extension, source),
        };
        let digest = source.digest();
        let loaded = assembler.loader.compile(&extension.shared().path, source).await;
        let loaded = loaded.map_err(|error| NotStarted::by(&error, digest))?;
        let last = tokio::task::spawn_blocking(move || assembler.plan(&extension, &loaded));
        last.await.map_err(|error| error.to_string())?
    }

    /// Looks up names, for which it blocks, and links.
    fn plan(self, extension: &Extension, loaded: &Loaded) -> Result<Assembled, NotStarted> {
        let shared = extension.shared();
        let settings = shared.present.get();
        let reachable = Reachable::resolve(&settings.permissions.network).map_err(|error| error.to_string())?;
        let door = Door::new(&settings.permissions, self.trust, self.determinism.is_some());
        let link = |error: wasmtime::Error| NotStarted::unfit(inspect::link_error(&error), loaded.digest);
        let pre = loaded.machine.linker.instantiate_pre(&loaded.component).map_err(link)?;
        let exports = Exports::find(&pre).map_err(link)?;
        let blueprint = Blueprint {
            id: shared.id.clone(),
            machine: Arc::clone(&loaded.machine),
            pre,
            exports,
            component: loaded.digest,
            settings: shared.present.follow(),
            reachable: Arc::new(reachable),
            door: Arc::new(door),
            recorder: shared.store.recorder(),
            clock: Arc::clone(&shared.clock),
            neighbours: self.neighbours,
            embedder_data: self.embedder_data,
            held: Arc::clone(&shared.held),
            weight: Arc::clone(&shared.weight),
            determinism: self.determinism,
            slowness: Slowness::default(),
        };
        let info = ComponentInfo { digest: loaded.digest, file_bytes: loaded.file_bytes, compiled: loaded.compiled };
        Ok((Arc::new(blueprint), info))
    }
}

/// How far loading came on its first blocking thread.
enum Begun {
    Done(Assembled),
    ToCompile(Assembler, Extension, Source),
}
