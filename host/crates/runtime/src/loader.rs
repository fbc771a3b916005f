//! From a component file to code that can be instantiated, without delaying anybody else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use glasshouse_model::Digest;
use glasshouse_model::settings::Metering;
use tokio::sync::{Semaphore, oneshot};
use wasmparser::{Parser, Payload};
use wasmtime::component::Component;

use crate::cache::{Cache, digest_file, just_compiled};
use crate::engine::{Engines, Machine};
use crate::flavour::Flavour;

/// Bytes of the largest component file that is read. The largest real ones (interpreters with their library) are 30 MB.
const COMPONENT_BYTES: u64 = 256 * 1024 * 1024;
/// Components with so many bytes of code are compiled one at a time, so that smaller ones never wait for them. The
/// file's size says little: an extension of 100 KB of code carries 3 MB of line tables.
const LARGE_CODE_BYTES: u64 = 1024 * 1024;
/// How much lower than the guests' the priority of compiling threads is.
const NICENESS: i32 = 10;

/// A component that is ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Loaded {
    /// What it was compiled for.
    pub(crate) machine: Arc<Machine>,
    pub(crate) component: Component,
    pub(crate) digest: Digest,
    pub(crate) file_bytes: u64,
    /// Whether it was compiled now, and not taken from the cache.
    pub(crate) compiled: bool,
}

/// What is found at a component's path.
pub(crate) enum Found {
    /// What was compiled before.
    Compiled(Loaded),
    /// What has to be compiled.
    Component(Source),
}

/// A file that is to be compiled: what for, its bytes, their digest, and how many of them are code.
pub(crate) struct Source {
    machine: Arc<Machine>,
    bytes: Vec<u8>,
    digest: Digest,
    code: u64,
}

/// Why a component file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable {
        /// The component file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is larger than any component that is accepted.
    #[error("{path} has {bytes} bytes; components of up to {COMPONENT_BYTES} bytes are accepted", path = path.display())]
    TooLarge {
        /// The component file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is something else than a component.
    #[error("{path} is not a WebAssembly component: {what}", path = path.display())]
    NotAComponent {
        /// The component file.
        path: PathBuf,
        /// What it is instead, and what to do.
        what: String,
    },
    /// The file is damaged, or uses what the host does not support.
    #[error("{path} does not compile: {cause}", path = path.display())]
    Invalid {
        /// The component file.
        path: PathBuf,
        /// What the compiler said.
        cause: String,
    },
    /// The host could not start compiling.
    #[error("cannot compile {path}: {cause}", path = path.display())]
    Host {
        /// The component file.
        path: PathBuf,
        /// What went wrong in the host.
        cause: String,
    },
}

/// Loads components; shared by all extensions.
pub(crate) struct Loader {
    engines: Arc<Engines>,
    cache: Option<Cache>,
    small: Semaphore,
    large: Semaphore,
}

impl Loader {
    pub(crate) fn new(engines: Arc<Engines>, cache: Option<Cache>, compile_threads: usize) -> Arc<Self> {
        Arc::new(Self { engines, cache, small: Semaphore::new(compile_threads.max(1)), large: Semaphore::new(1) })
    }

    /// Takes a component from the cache, or else reads it. Blocks while it does.
    pub(crate) fn find(&self, path: &Path, metering: Metering) -> Result<Found, LoadError> {
        check_size(path)?;
        let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
        if let Some(cache) = &self.cache {
            let (digest, file_bytes) = digest_file(path).map_err(unreadable)?;
            let machine = self.machine(path, Flavour::usual(metering))?;
            if let Some(component) = cache.load(machine, &digest) {
                let machine = Arc::clone(machine);
                return Ok(Found::Compiled(Loaded { machine, component, digest, file_bytes, compiled: false }));
            }
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        if let Some(what) = not_a_component(&bytes) {
            return Err(LoadError::NotAComponent { path: path.to_owned(), what });
        }
        let digest = Digest(*blake3::hash(&bytes).as_bytes());
        let machine = Arc::clone(self.machine(path, Flavour::of(metering, &bytes))?);
        if let Some(cache) = self.cache.as_ref().filter(|_| machine.flavour != Flavour::usual(metering))
            && let Some(component) = cache.load(&machine, &digest)
        {
            let file_bytes = bytes.len() as u64;
            return Ok(Found::Compiled(Loaded { machine, component, digest, file_bytes, compiled: false }));
        }
        Ok(Found::Component(Source { machine, code: code_bytes(&bytes), bytes, digest }))
    }

    fn machine(&self, path: &Path, flavour: Flavour) -> Result<&Arc<Machine>, LoadError> {
        let cause = |error| LoadError::Host { path: path.to_owned(), cause: format!("no engine: {error:#}") };
        self.engines.get(flavour).map_err(cause)
    }

    /// Compiles on a thread of low priority that ends with the work, once its lane is free.
    pub(crate) async fn compile(self: &Arc<Self>, path: &Path, source: Source) -> Result<Loaded, LoadError> {
        let Source { machine, bytes, digest, code } = source;
        let file_bytes = bytes.len() as u64;
        let lane = if code < LARGE_CODE_BYTES { &self.small } else { &self.large };
        let _turn = lane.acquire().await;
        let host = |cause: String| LoadError::Host { path: path.to_owned(), cause };
        let (done, result) = oneshot::channel();
        let (loader, target) = (Arc::clone(self), Arc::clone(&machine));
        std::thread::Builder::new()
            .name("compile".into())
            .spawn(move || {
                // Refused where the system does not let a process lower itself: it then compiles as usual.
                let _ = rustix::process::nice(NICENESS);
                // The waiting task may be gone; what was compiled is in the cache all the same.
                let _ = done.send(loader.compile_now(&target, &bytes, &digest));
            })
            .map_err(|error| host(format!("no thread: {error}")))?;
        let compiled = result.await.map_err(|_| host("the compiler panicked".into()))?;
        let component =
            compiled.map_err(|error| LoadError::Invalid { path: path.to_owned(), cause: format!("{error:#}") })?;
        Ok(Loaded { machine, component, digest, file_bytes, compiled: true })
    }

    fn compile_now(&self, machine: &Machine, bytes: &[u8], digest: &Digest) -> wasmtime::Result<Component> {
        let code = machine.engine.precompile_component(bytes)?;
        if let Some(cache) = &self.cache {
            cache.store(machine, digest, &code);
            // What is mapped from the file takes no memory of its own until it is used.
            if let Some(component) = cache.load(machine, digest) {
                return Ok(component);
            }
        }
        just_compiled(&machine.engine, &code)
    }
}

/// Refuses what is no file, and what is too large.
pub(crate) fn check_size(path: &Path) -> Result<(), LoadError> {
    let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a file")));
    }
    if metadata.len() > COMPONENT_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes: metadata.len() });
    }
    Ok(())
}

/// Bytes of code in all of a component's modules; those before the damage, if it is damaged.
fn code_bytes(component: &[u8]) -> u64 {
    let code = Parser::new(0).parse_all(component).map_while(Result::ok).map(|payload| match payload {
        Payload::CodeSectionStart { size, .. } => u64::from(size),
        _ => 0,
    });
    code.sum()
}

/// What a file is, if its first bytes are not those of a component.
pub(crate) fn not_a_component(bytes: &[u8]) -> Option<String> {
    const MAGIC: &[u8] = b"\0asm";
    /// Version and layer of a component, and of a core module.
    const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];
    const MODULE: &[u8] = &[1, 0, 0, 0];
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(MAGIC), Some(COMPONENT)) => None,
        (Some(MAGIC), Some(MODULE)) => Some(
            "it is a core module; build it for the target wasm32-wasip2, or make it a component with \
             `wasm-tools component new`"
                .into(),
        ),
        (Some(MAGIC), _) => Some("its header is of an unknown version, or cut off".into()),
        (Some(b"\x7fELF"), _) => Some("it is native or precompiled code, which is never loaded from a plugin".into()),
        _ => Some("it does not start with the bytes of WebAssembly; was it built to its end?".into()),
    }
}
