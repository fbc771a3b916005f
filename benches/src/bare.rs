//! The peer: wasmtime with the settings of our engine, and nothing of ours.

mod sink {
    //! What wasmtime makes of the benches' own WIT, and a host that does nothing with what it gets.
    #![allow(clippy::pedantic, reason = "generated from guests/wit, as wasmtime writes it")]

    wasmtime::component::bindgen!({
        path: ["../wit", "guests/wit"],
        world: "glasshouse:bench/bare",
        imports: { default: trappable },
        exports: { default: async },
        with: { "glasshouse:bench/sink.meter": crate::bare::Meter },
    });
}

mod empty {
    //! As above, for a guest that has a handler only.
    #![allow(clippy::pedantic, reason = "generated from guests/wit, as wasmtime writes it")]

    wasmtime::component::bindgen!({
        path: ["../wit", "guests/wit"],
        world: "glasshouse:bench/empty",
        exports: { default: async },
    });
}

use std::hint::black_box;
use std::path::Path;

use glasshouse_model::settings::Budget;
use glasshouse_runtime::bench::YIELD_FUEL;
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable, WasmList};
use wasmtime::{Engine, Error, Result, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

pub(crate) use empty::Empty;
use empty::exports::glasshouse::extension::handler::Event;
pub(crate) use sink::Bare;
use sink::glasshouse::bench::sink::{Field, Host, HostMeter, Level};

/// Gives wasmtime's error the form that all others here have.
pub(crate) fn any<T>(result: Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// Data of a bare store.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
    /// Bytes that came through `emit`.
    pub(crate) bytes: u64,
    sum: f64,
}

/// A meter that is nothing but a place in the table.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Meter;

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Host for State {
    /// Shadowed in [`linker`].
    fn emit(&mut self, records: Vec<u8>) -> Result<()> {
        self.bytes += records.len() as u64;
        Ok(())
    }

    /// Shadowed in [`linker`].
    fn open_span(&mut self, start: Vec<u8>) -> Result<u32> {
        Ok(start.len() as u32)
    }

    fn close_span(&mut self, span: u32) -> Result<()> {
        self.bytes += u64::from(black_box(span));
        Ok(())
    }

    fn log(&mut self, level: Level, message: String, fields: Vec<Field>) -> Result<()> {
        black_box((level, message, fields));
        Ok(())
    }
}

impl HostMeter for State {
    fn new(&mut self) -> Result<Resource<Meter>> {
        Ok(self.table.push(Meter)?)
    }

    fn record(&mut self, meter: Resource<Meter>, value: f64) -> Result<()> {
        self.table.get(&meter)?;
        self.sum += value;
        Ok(())
    }

    fn drop(&mut self, meter: Resource<Meter>) -> Result<()> {
        self.table.delete(meter)?;
        Ok(())
    }
}

/// WASI and the sink; `emit` reads the bytes where they lie, which is the cheapest way that there is.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Bare::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    linker.allow_shadowing(true);
    linker.instance("glasshouse:bench/sink@0.1.0")?.func_wrap(
        "emit",
        |mut store: StoreContextMut<'_, State>, (records,): (WasmList<u8>,)| {
            let bytes = black_box(records.as_le_slice(&store)).len();
            store.data_mut().bytes += bytes as u64;
            Ok(())
        },
    )?;
    linker.instance("glasshouse:bench/sink@0.1.0")?.func_wrap(
        "open-span",
        |store: StoreContextMut<'_, State>, (start,): (WasmList<u8>,)| {
            Ok((black_box(start.as_le_slice(&store)).len() as u32,))
        },
    )?;
    Ok(linker)
}

/// What wasmtime itself meters a guest by; the engine must be made for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnMeter {
    /// Nothing.
    None,
    /// Fuel, with a yield as often as the runtime has one.
    Fuel,
    /// Fuel, and no yield: nobody else runs, and no deadline is looked at.
    FuelAlone,
    /// Epochs, with a yield at each.
    Epochs,
}

/// A store with the limits that the runtime's default budget sets.
pub(crate) fn store(engine: &Engine) -> Result<Store<State>> {
    metered_store(engine, OwnMeter::Fuel)
}

fn metered_store(engine: &Engine, meter: OwnMeter) -> Result<Store<State>> {
    let budget = Budget::default();
    let state = State {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
        limits: StoreLimitsBuilder::new().memory_size(budget.memory_bytes as usize).build(),
        bytes: 0,
        sum: 0.0,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(budget.host_data_per_call as usize);
    match meter {
        OwnMeter::None => {}
        OwnMeter::Fuel => {
            store.set_fuel(budget.fuel_per_call)?;
            store.fuel_async_yield_interval(Some(YIELD_FUEL))?;
        }
        OwnMeter::FuelAlone => store.set_fuel(budget.fuel_per_call)?,
        OwnMeter::Epochs => {
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
    }
    Ok(store)
}

/// The guest that calls the sink.
pub(crate) struct Guest {
    pub(crate) store: Store<State>,
    pub(crate) bare: Bare,
}

impl Guest {
    pub(crate) async fn start(engine: &Engine, component: &Path) -> Result<Self> {
        let component = Component::from_file(engine, component)?;
        let mut store = store(engine)?;
        let bare = Bare::instantiate_async(&mut store, &component, &linker(engine)?).await?;
        Ok(Self { store, bare })
    }

    pub(crate) async fn emit(&mut self, times: u32) -> Result<()> {
        self.refuel()?;
        self.bare.call_emit(&mut self.store, times).await
    }

    pub(crate) async fn emit_at_site(&mut self, times: u32) -> Result<()> {
        self.refuel()?;
        self.bare.call_emit_at_site(&mut self.store, times).await
    }

    pub(crate) async fn log(&mut self, times: u32) -> Result<()> {
        self.refuel()?;
        self.bare.call_log(&mut self.store, times).await
    }

    pub(crate) async fn log_whole(&mut self, times: u32) -> Result<()> {
        self.refuel()?;
        self.bare.call_log_whole(&mut self.store, times).await
    }

    pub(crate) async fn meter(&mut self, times: u32) -> Result<()> {
        self.refuel()?;
        self.bare.call_meter(&mut self.store, times).await
    }

    pub(crate) async fn cross_twice(&mut self, times: u32) -> Result<()> {
        self.refuel()?;
        self.bare.call_cross_twice(&mut self.store, times).await
    }

    fn refuel(&mut self) -> Result<()> {
        self.store.set_fuel(Budget::default().fuel_per_call)
    }
}

/// A guest that has a handler and nothing else: one that does nothing, or one that computes.
pub(crate) struct EmptyGuest {
    store: Store<State>,
    empty: Empty,
    meter: OwnMeter,
}

impl EmptyGuest {
    pub(crate) async fn start(engine: &Engine, component: &Path) -> Result<Self> {
        Self::metered(&Component::from_file(engine, component)?, OwnMeter::Fuel).await
    }

    pub(crate) async fn metered(component: &Component, meter: OwnMeter) -> Result<Self> {
        let engine = component.engine();
        let mut store = metered_store(engine, meter)?;
        let empty = Empty::instantiate_async(&mut store, component, &linker(engine)?).await?;
        Ok(Self { store, empty, meter })
    }

    /// Calls the handler with fuel of its own, as the runtime does for each call.
    pub(crate) async fn handle(&mut self, event: glasshouse_runtime::Event) -> Result<()> {
        match self.meter {
            OwnMeter::None => {}
            OwnMeter::Fuel | OwnMeter::FuelAlone => self.store.set_fuel(Budget::default().fuel_per_call)?,
            OwnMeter::Epochs => self.store.set_epoch_deadline(1),
        }
        let event = Event { name: event.name, content_type: event.content_type, payload: event.payload };
        let handler = self.empty.glasshouse_extension_handler();
        let reply = handler.call_handle(&mut self.store, &event).await?;
        black_box(reply.map_err(Error::msg)?);
        Ok(())
    }
}
