//! The wasmtime engines, one for each flavour that is needed, and what they link into every component.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use glasshouse_model::limits;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, OperatorCost, WasmBacktraceDetails, WasmFeatures};

use crate::bindings::Extension;
use crate::epochs::Ticker;
use crate::flavour::Flavour;
use crate::host::{batch, counted, debugging, files, http, light, names, random, sockets, span_calls, streams};
use crate::state::State;

/// Fuel after which a guest stops for a look at its deadline and its turn: 50 to 250 µs of work. To stop costs a microsecond, a
/// tenth of what 100,000 units take that only compute; with millions, neighbours wait.
pub(crate) const YIELD_FUEL: u64 = 500_000;

/// The version of wasmtime that runs guests: fuel is comparable only under the same one.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// A tick that is so late is told: some four thousand should have come meanwhile.
const LATE: Duration = Duration::from_secs(1);

/// Fuel of a `memory.grow`, and again of each page that it asks for; the most that wasmtime takes. At a unit each a guest could make the
/// system map pages for a second within one slice.
pub(crate) const GROWTH_FUEL: u8 = u8::MAX;

/// What is off: nothing that is compiled to components for WASI 0.2 needs it, and each is work that no meter sees, such as
/// throwing, or collecting garbage.
const WITHOUT: [WasmFeatures; 8] = [
    WasmFeatures::EXCEPTIONS,
    WasmFeatures::GC,
    WasmFeatures::THREADS,
    WasmFeatures::SHARED_EVERYTHING_THREADS,
    WasmFeatures::STACK_SWITCHING,
    WasmFeatures::MEMORY64,
    WasmFeatures::CUSTOM_PAGE_SIZES,
    WasmFeatures::CM_GC,
];

/// How the engines are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnginesState {
    /// Those that were made: what ends the slices of their guests, and whether it works.
    pub engines: Vec<EngineState>,
    /// Whether components are compiled in a process of their own.
    pub is_contained: bool,
    /// What the kernel lacks to confine that process, as far as that is known.
    pub lacks: Vec<&'static str>,
}

/// How an engine is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// `fuel`, `epochs` or `fuel-and-epochs`: what its guests are metered by.
    pub flavour: &'static str,
    /// The thread that ends slices by the clock, where epochs do.
    pub ticker: Option<TickerState>,
}

/// How a thread that ends slices is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickerState {
    /// It ticks, or sleeps since no call is under way.
    Works,
    /// Its last tick was so long ago, though calls are under way.
    Late(Duration),
    /// Its thread has ended.
    Ended,
}

/// An embedder's addition to what every component can import.
pub type LinkerHook = Box<dyn Fn(&mut Linker<State>) -> wasmtime::Result<()> + Send + Sync>;

/// Makes the engine of a flavour.
pub(crate) fn engine(flavour: Flavour) -> wasmtime::Result<Engine> {
    engine_with(flavour.counts_fuel(), flavour.has_epochs())
}

/// Makes an engine with such meters, without the machinery for concurrent calls of one instance, which no component of WASI 0.2
/// needs and which makes each call dearer by half a microsecond.
pub(crate) fn engine_with(fuel: bool, epochs: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .consume_fuel(fuel)
        .operator_cost(costs())
        .epoch_interruption(epochs)
        .concurrency_support(false)
        .parallel_compilation(false)
        .max_wasm_stack(limits::CALL_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(limits::FRAMES));
    for feature in WITHOUT {
        config.wasm_features(feature, false);
    }
    Engine::new(&config)
}

/// What instructions cost: a unit, bulk ones a unit for each byte or element as well, and growth what it takes.
fn costs() -> OperatorCost {
    let mut costs = OperatorCost::new();
    costs.MemoryGrow = GROWTH_FUEL;
    costs.TableGrow = GROWTH_FUEL;
    costs.variable.memory_grow_per_page = GROWTH_FUEL;
    costs
}

/// Links WASI 0.2, the interfaces of `wit/` and what the embedder adds.
fn linker(engine: &Engine, hooks: &[LinkerHook]) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Extension::add_to_linker::<_, State>(&mut linker, |state| state)?;
    debugging::add_emit(&mut linker)?;
    debugging::add_record(&mut linker)?;
    batch::add(&mut linker)?;
    span_calls::add(&mut linker)?;
    streams::add(&mut linker)?;
    light::add(&mut linker)?;
    counted::add(&mut linker)?;
    random::add(&mut linker)?;
    files::add(&mut linker)?;
    sockets::add(&mut linker)?;
    names::add(&mut linker)?;
    http::add(&mut linker)?;
    for hook in hooks {
        hook(&mut linker)?;
    }
    Ok(linker)
}

/// What tells an engine's compiled code from any other's: version, settings and processor features.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// An engine with all that goes by it.
pub(crate) struct Machine {
    pub(crate) flavour: Flavour,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    /// As [`compatibility`] has it.
    pub(crate) compatibility: u64,
    /// What ends the slices of its guests, if epochs do.
    pub(crate) ticker: Option<Ticker>,
}

impl Machine {
    fn new(flavour: Flavour, hooks: &[LinkerHook]) -> wasmtime::Result<Self> {
        let engine = engine(flavour)?;
        Ok(Self {
            flavour,
            linker: linker(&engine, hooks)?,
            compatibility: compatibility(&engine),
            ticker: flavour.has_epochs().then(|| Ticker::new(&engine)).transpose()?,
            engine,
        })
    }

    fn state(&self) -> EngineState {
        let ticker = self.ticker.as_ref().map(|ticker| match ticker.since_tick() {
            _ if ticker.has_ended() => TickerState::Ended,
            Some(late) if late >= LATE => TickerState::Late(late),
            _ => TickerState::Works,
        });
        EngineState { flavour: self.flavour.word(), ticker }
    }
}

/// The engines of a host: that of the default flavour at once, the others when the first extension needs them.
pub(crate) struct Engines {
    hooks: Vec<LinkerHook>,
    usual: Arc<Machine>,
    others: [OnceLock<Arc<Machine>>; 2],
}

impl Engines {
    pub(crate) fn new(hooks: Vec<LinkerHook>) -> wasmtime::Result<Self> {
        Ok(Self { usual: Arc::new(Machine::new(Flavour::Fuel, &hooks)?), hooks, others: Default::default() })
    }

    /// The engine of the default flavour.
    pub(crate) fn usual(&self) -> &Arc<Machine> {
        &self.usual
    }

    /// Those that were made.
    pub(crate) fn states(&self) -> Vec<EngineState> {
        let others = self.others.iter().filter_map(OnceLock::get);
        std::iter::once(&self.usual).chain(others).map(|machine| machine.state()).collect()
    }

    /// Where the engine of a flavour is kept that is not the default one.
    fn slot(&self, flavour: Flavour) -> Option<&OnceLock<Arc<Machine>>> {
        match flavour {
            Flavour::Fuel => None,
            Flavour::Epochs => Some(&self.others[0]),
            Flavour::FuelAndEpochs => Some(&self.others[1]),
        }
    }

    /// The engine of a flavour, if it was made.
    pub(crate) fn made(&self, flavour: Flavour) -> Option<&Arc<Machine>> {
        self.slot(flavour).map_or(Some(&self.usual), OnceLock::get)
    }

    /// The engine of a flavour.
    pub(crate) fn get(&self, flavour: Flavour) -> wasmtime::Result<&Arc<Machine>> {
        let Some(slot) = self.slot(flavour) else { return Ok(&self.usual) };
        if let Some(machine) = slot.get() {
            return Ok(machine);
        }
        // Of two that are made at once, one is dropped.
        let machine = Arc::new(Machine::new(flavour, &self.hooks)?);
        Ok(slot.get_or_init(|| machine))
    }
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
