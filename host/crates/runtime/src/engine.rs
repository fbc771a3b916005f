//! The wasmtime engine and what it links into every component.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use glasshouse_model::limits;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use crate::bindings::Extension;
use crate::host::{batch, clocks, debugging, files, names, sockets};
use crate::state::State;

/// Fuel between two yields of a guest to its neighbours: some 50 µs of work. With 100,000 a spinner hardly changes its
/// neighbours' latency; longer slices do, and a yield costs about 1 µs.
pub(crate) const YIELD_FUEL: u64 = 100_000;

/// The version of wasmtime that runs guests: fuel is comparable only under the same one.
pub const WASMTIME_VERSION: &str = "48.0.8";

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

/// Links WASI 0.2, the interfaces of `wit/` and what the embedder adds; `fixed_clocks` for instances whose runs are to be alike.
pub(crate) fn linker(engine: &Engine, hooks: &[LinkerHook], fixed_clocks: bool) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Extension::add_to_linker::<_, State>(&mut linker, |state| state)?;
    debugging::add_emit(&mut linker)?;
    batch::add(&mut linker)?;
    files::add(&mut linker)?;
    sockets::add(&mut linker)?;
    names::add(&mut linker)?;
    if fixed_clocks {
        clocks::add(&mut linker)?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_is_told_is_the_one_in_use() {
        let lock = include_str!("../../../../Cargo.lock");
        let line = format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n");
        assert!(lock.contains(&line), "Cargo.lock has another version of wasmtime: change WASMTIME_VERSION");
    }
}
