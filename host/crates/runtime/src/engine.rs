//! The wasmtime engine and what it links into every component.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use glasshouse_model::limits;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use crate::bindings::Extension;
use crate::host::{batch, debugging, files, names, sockets};
use crate::state::State;

/// Fuel between two yields of a guest to its neighbours: some 50 µs of work. With 100,000 a spinner hardly changes its
/// neighbours' latency; longer slices do, and a yield costs about 1 µs.
pub(crate) const YIELD_FUEL: u64 = 100_000;

/// How an engine meters and slices guests. Compiled code fits engines of its own flavour only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// By fuel alone.
    Fuel,
}

impl Flavour {
    const ALL: [Self; 1] = [Self::Fuel];

    /// One word, by which the process that compiles is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
        }
    }

    /// The flavour of that word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flavour| flavour.word() == word)
    }

    /// An engine of this flavour.
    pub(crate) fn engine(self) -> wasmtime::Result<Engine> {
        match self {
            Self::Fuel => engine(),
        }
    }
}

/// An embedder's addition to what every component can import.
pub type LinkerHook = Box<dyn Fn(&mut Linker<State>) -> wasmtime::Result<()> + Send + Sync>;

/// Makes the engine: metered and sliced by fuel alone, without the machinery for concurrent calls of one instance,
/// which no component of WASI 0.2 needs and which makes each call dearer by half a microsecond.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .concurrency_support(false)
        .parallel_compilation(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(limits::FRAMES));
    Engine::new(&config)
}

/// Links WASI 0.2, the interfaces of `wit/` and what the embedder adds.
pub(crate) fn linker(engine: &Engine, hooks: &[LinkerHook]) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Extension::add_to_linker::<_, State>(&mut linker, |state| state)?;
    debugging::add_emit(&mut linker)?;
    batch::add(&mut linker)?;
    files::add(&mut linker)?;
    sockets::add(&mut linker)?;
    names::add(&mut linker)?;
    for hook in hooks {
        hook(&mut linker)?;
    }
    Ok(linker)
}

/// What tells this engine's compiled code from any other's: version, settings and processor features.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
