//! From a component file to code that can be instantiated, without delaying anybody else.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glasshouse_model::settings::Metering;
use glasshouse_model::{Digest, text};
use tokio::sync::{Semaphore, oneshot};
use wasmtime::component::Component;

use crate::bounds::{self, TooMuch};
use crate::cache::{Cache, just_compiled};
use crate::compile::{CompileCost, CompileLimit, Compiler, Refusal, Share, costly, overdue};
use crate::engine::{Engines, Machine};
use crate::flavour::Flavour;
use crate::lanes::Lanes;
use crate::reach::Reach;

/// Bytes of the largest component file that is read. The largest real ones (interpreters with their library) are 30 MB.
const COMPONENT_BYTES: u64 = 256 * 1024 * 1024;
/// Lanes of large components, and of small ones that turned out to be hard. Two, so that one that is made to take all of
/// its time does not hold up every other; not more, since each may take `host.compile_memory`.
const LARGE_LANES: usize = 2;
/// Of them, what small ones that turned out to be hard may have at once, so that they never hold up all large ones: a file of a few
/// kilobytes can be made to take all of its time, and copies of it cost nothing.
const HARD_LANES: usize = 1;

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

impl Source {
    /// The digest of the file.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
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
        cause: io::Error,
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
    /// It consists of more than is accepted.
    #[error("{path} was not loaded: {cause}", path = path.display())]
    TooMuch {
        /// The component file.
        path: PathBuf,
        /// What there is too much of.
        cause: TooMuch,
    },
    /// The file is damaged, or uses what the host does not support.
    #[error("{path} does not compile: {cause}", path = path.display())]
    Invalid {
        /// The component file.
        path: PathBuf,
        /// What the compiler said.
        cause: String,
    },
    /// Compiling it takes more time or memory than it may.
    #[error("{path} was not loaded: {}", costly(.limit, .spent), path = path.display())]
    TooCostly {
        /// The component file.
        path: PathBuf,
        /// What was reached.
        limit: CompileLimit,
        /// What was used by then.
        spent: CompileCost,
    },
    /// The compiler broke off, in its own process.
    #[error(
        "{path} was not loaded: the compiler broke off after {} of CPU time: {cause}", text::duration(.spent.cpu),
        path = path.display()
    )]
    CompilerBroke {
        /// The component file.
        path: PathBuf,
        /// What is known of it.
        cause: String,
        /// What was used by then.
        spent: CompileCost,
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

impl LoadError {
    pub(crate) fn new(path: &Path, refusal: Refusal) -> Self {
        let path = path.to_owned();
        match refusal {
            Refusal::Invalid(cause) => Self::Invalid { path, cause },
            Refusal::Costly { limit, spent } => Self::TooCostly { path, limit, spent },
            Refusal::Broken { cause, spent } => Self::CompilerBroke { path, cause, spent },
            Refusal::Overdue { limit, spent } => Self::Host { path, cause: overdue(limit, &spent) },
            Refusal::Host(cause) => Self::Host { path, cause },
        }
    }
}

/// Loads components; shared by all extensions.
pub(crate) struct Loader {
    engines: Arc<Engines>,
    cache: Option<Cache>,
    compiler: Arc<Compiler>,
    /// For first tries.
    small: Arc<Lanes>,
    /// For second tries.
    slow: Arc<Semaphore>,
    large: Arc<Semaphore>,
    hard: Arc<Semaphore>,
}

impl Loader {
    pub(crate) fn new(
        engines: Arc<Engines>,
        cache: Option<Cache>,
        compiler: Arc<Compiler>,
        threads: usize,
    ) -> Arc<Self> {
        let large = Arc::new(Semaphore::new(if compiler.is_contained() { LARGE_LANES } else { 1 }));
        let small = Lanes::new(threads.max(1));
        // Half as many: what is tried here takes its time from first tries, and needs as much memory.
        let slow = Arc::new(Semaphore::new((threads / 2).max(1)));
        let hard = Arc::new(Semaphore::new(HARD_LANES));
        Arc::new(Self { engines, cache, compiler, small, slow, large, hard })
    }

    /// Takes a component from the cache if all of it is in memory, and not much. It waits for no disk; where the file lies on another machine, its state
    /// may be asked for there.
    pub(crate) fn find_in_place(&self, path: &Path, metering: Metering) -> Option<Loaded> {
        let cache = self.cache.as_ref()?;
        let metadata = Reach::Memory.metadata(path).ok()?;
        check(path, &metadata).ok()?;
        let digest = cache.recall(&metadata, Reach::Memory)?;
        let machine = self.engines.made(Flavour::usual(metering))?;
        let component = cache.load(machine, &digest, Reach::Memory)?;
        Some(Loaded { machine: Arc::clone(machine), component, digest, file_bytes: metadata.len(), compiled: false })
    }

    /// Takes a component from the cache, or else reads it. Blocks while it does.
    pub(crate) fn find(&self, path: &Path, metering: Metering) -> Result<Found, LoadError> {
        let (file, metadata) = open(path)?;
        let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
        if let Some(cache) = &self.cache {
            let (digest, file_bytes) = cache.identify(&file, &metadata).map_err(unreadable)?;
            let machine = self.machine(path, Flavour::usual(metering))?;
            if let Some(component) = cache.load(machine, &digest, Reach::Disk) {
                let machine = Arc::clone(machine);
                return Ok(Found::Compiled(Loaded { machine, component, digest, file_bytes, compiled: false }));
            }
        }
        let bytes = read(&file, &metadata).map_err(unreadable)?;
        if let Some(what) = not_a_component(&bytes) {
            return Err(LoadError::NotAComponent { path: path.to_owned(), what });
        }
        let extent = bounds::check(&bytes).map_err(|cause| LoadError::TooMuch { path: path.to_owned(), cause })?;
        let digest = Digest(*blake3::hash(&bytes).as_bytes());
        let machine = Arc::clone(self.machine(path, Flavour::of(metering, &bytes))?);
        if let Some(cache) = self.cache.as_ref().filter(|_| machine.flavour != Flavour::usual(metering))
            && let Some(component) = cache.load(&machine, &digest, Reach::Disk)
        {
            let file_bytes = bytes.len() as u64;
            return Ok(Found::Compiled(Loaded { machine, component, digest, file_bytes, compiled: false }));
        }
        Ok(Found::Component(Source { machine, code: extent.code_bytes, bytes, digest }))
    }

    fn machine(&self, path: &Path, flavour: Flavour) -> Result<&Arc<Machine>, LoadError> {
        let cause = |error| LoadError::Host { path: path.to_owned(), cause: format!("no engine: {error:#}") };
        self.engines.get(flavour).map_err(cause)
    }

    /// Compiles once there is a free lane. May be cancelled; the try under way goes on, for the cache.
    pub(crate) async fn compile(self: &Arc<Self>, path: &Path, source: Source) -> Result<Loaded, LoadError> {
        let (machine, digest, file_bytes) = (Arc::clone(&source.machine), source.digest, source.bytes.len() as u64);
        let made = self.compile_in_turn(&Arc::new(source)).await;
        let Made { component, compiled } = made.map_err(|refusal| LoadError::new(path, refusal))?;
        Ok(Loaded { machine, component, digest, file_bytes, compiled })
    }

    /// Small components go first. One that takes more than it may gives up its lane and begins anew with more, where it waits for others of its kind only, and
    /// at last among the large ones.
    async fn compile_in_turn(self: &Arc<Self>, source: &Arc<Source>) -> Result<Made, Refusal> {
        let whole = self.compiler.whole();
        let mut is_hard = false;
        for (number, share) in self.compiler.tries(source.code).into_iter().enumerate() {
            let made = if number == 0 {
                let lane = self.small.enter(source.code).await;
                self.on_a_thread(source, share, lane).await
            } else {
                // First come, first served: of those, the small ones are the suspicious ones.
                let lane = Arc::clone(&self.slow).acquire_owned().await;
                self.on_a_thread(source, share, lane).await
            };
            is_hard = true;
            match made {
                Err(Refusal::Costly { limit: CompileLimit::Time(_), .. } | Refusal::Overdue { .. }) => {}
                // The next share has no more memory, but the last one may.
                Err(Refusal::Costly { .. } | Refusal::Broken { .. }) if share.memory_bytes < whole.memory_bytes => {
                    break;
                }
                ended => return ended,
            }
        }
        if !is_hard {
            let lane = Arc::clone(&self.large).acquire_owned().await;
            return self.on_a_thread(source, whole, lane).await;
        }
        let among_hard = Arc::clone(&self.hard).acquire_owned().await;
        let lane = Arc::clone(&self.large).acquire_owned().await;
        self.on_a_thread(source, self.compiler.whole_of_hard(), (among_hard, lane)).await
    }

    /// Compiles on a thread that ends with the work, and keeps the lane until then, whoever still waits for it.
    async fn on_a_thread(
        self: &Arc<Self>,
        source: &Arc<Source>,
        share: Share,
        lane: impl Send + 'static,
    ) -> Result<Made, Refusal> {
        let (done, result) = oneshot::channel();
        let (loader, source) = (Arc::clone(self), Arc::clone(source));
        std::thread::Builder::new()
            .name("compile".into())
            .spawn(move || {
                let made = loader.compile_now(&source, share);
                drop(lane);
                // The waiting task may be gone; what was compiled is in the cache all the same.
                let _ = done.send(made);
            })
            .map_err(|error| Refusal::Host(format!("no thread: {error}")))?;
        result.await.map_err(|_| Refusal::Host("the compiler panicked".into()))?
    }

    fn compile_now(&self, source: &Source, share: Share) -> Result<Made, Refusal> {
        let machine = &source.machine;
        let stored = || self.cache.as_ref()?.load(machine, &source.digest, Reach::Disk);
        // Another extension of the same component may have had the lane before.
        if let Some(component) = stored() {
            return Ok(Made { component, compiled: false });
        }
        let code = self.compiler.compile((machine.flavour, &machine.engine), &source.bytes, share)?;
        if let Some(cache) = &self.cache {
            cache.store(machine, &source.digest, &code);
        }
        // What is mapped from the file takes no memory of its own until it is used.
        let component = match stored() {
            Some(component) => component,
            None => just_compiled(&machine.engine, &code)
                .map_err(|error| Refusal::Host(format!("compiled code does not load: {error:#}")))?,
        };
        Ok(Made { component, compiled: true })
    }
}

/// Code, and whether it was compiled now.
struct Made {
    component: Component,
    compiled: bool,
}

/// Opens a component file, unless it is no file, or too large: what is none is not even opened, since that alone may wait for somebody, or
/// set something off.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), LoadError> {
    let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
    check(path, &Reach::Disk.metadata(path).map_err(unreadable)?)?;
    // It may have been replaced meanwhile.
    let file = Reach::Disk.open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check(path, &metadata)?;
    Ok((file, metadata))
}

/// Reads an open file, and no more than it had when it was opened.
pub(crate) fn read(file: &File, metadata: &Metadata) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(metadata.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), LoadError> {
    let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    if metadata.len() > COMPONENT_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes: metadata.len() });
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::compile::CompileSettings;
    use crate::reach::tests::folder;

    #[tokio::test]
    async fn what_was_compiled_before_and_is_in_memory_is_found_in_place_until_the_file_changes() {
        let (folder, can_tell) = folder();
        let path = folder.path().join("empty.wasm");
        fs::write(&path, b"\0asm\x0d\0\x01\0").expect("writing an empty component");
        let engines = Arc::new(Engines::new(Vec::new()).expect("an engine"));
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        let compiler = Arc::new(Compiler::new(CompileSettings::default()));
        let loader = Loader::new(engines, Some(cache), compiler, 1);
        // A file that was changed a moment ago is not remembered.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        assert!(loader.find_in_place(&path, Metering::Fuel).is_none());
        let Ok(Found::Component(source)) = loader.find(&path, Metering::Fuel) else { panic!("nothing was compiled") };
        let digest = loader.compile(&path, source).await.expect("it compiles").digest;
        let found = loader.find_in_place(&path, Metering::Fuel);
        assert_eq!(found.map(|loaded| (loaded.digest, loaded.compiled)), can_tell.then_some((digest, false)));
        assert!(loader.find_in_place(&path, Metering::Cpu).is_none(), "there is no engine for that, and none is made");
        fs::write(&path, b"\0asm\x0d\0\x01\0").expect("writing it again");
        assert!(loader.find_in_place(&path, Metering::Fuel).is_none());
    }
}
