//! `wasi:clocks`, and the numbers of `wasi:random`: wasmtime's own, timed now and then, since they do little and may be called
//! much. Lists of random bytes are in `random.rs`.

use glasshouse_model::HostFunction;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksCtxView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::WasiRandomCtx;

use crate::imports::Timing;
use crate::state::State;

/// wasmtime's interfaces for one call of the guest.
pub(crate) struct Light<'a, T> {
    pub(crate) inner: T,
    pub(crate) _timing: Timing<'a>,
}

struct TimedClocks;

impl HasData for TimedClocks {
    type Data<'a> = Light<'a, WasiClocksCtxView<'a>>;
}

struct TimedRandom;

impl HasData for TimedRandom {
    type Data<'a> = Light<'a, &'a mut WasiRandomCtx>;
}

/// Puts these interfaces in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<State, TimedClocks>(linker, State::clocks)?;
    monotonic_clock::add_to_linker::<State, TimedClocks>(linker, State::clocks)?;
    random::add_to_linker::<State, TimedRandom>(linker, State::random)?;
    insecure::add_to_linker::<State, TimedRandom>(linker, State::random)?;
    insecure_seed::add_to_linker::<State, TimedRandom>(linker, State::random)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl State {
    fn clocks(&mut self) -> Light<'_, WasiClocksCtxView<'_>> {
        let inner = WasiClocksCtxView { ctx: self.wasi.clocks(), table: &mut self.table };
        Light { inner, _timing: Timing::light(&mut self.imports, HostFunction::Clock) }
    }

    fn random(&mut self) -> Light<'_, &mut WasiRandomCtx> {
        Light { inner: self.wasi.random(), _timing: Timing::light(&mut self.imports, HostFunction::Random) }
    }
}

impl wall_clock::Host for Light<'_, WasiClocksCtxView<'_>> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        wall_clock::Host::now(&mut self.inner)
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        wall_clock::Host::resolution(&mut self.inner)
    }
}

impl monotonic_clock::Host for Light<'_, WasiClocksCtxView<'_>> {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        monotonic_clock::Host::now(&mut self.inner)
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        monotonic_clock::Host::resolution(&mut self.inner)
    }

    fn subscribe_instant(&mut self, when: monotonic_clock::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        monotonic_clock::Host::subscribe_instant(&mut self.inner, when)
    }

    fn subscribe_duration(&mut self, length: monotonic_clock::Duration) -> wasmtime::Result<Resource<DynPollable>> {
        monotonic_clock::Host::subscribe_duration(&mut self.inner, length)
    }
}

impl random::Host for Light<'_, &mut WasiRandomCtx> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        random::Host::get_random_bytes(self.inner, length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        random::Host::get_random_u64(self.inner)
    }
}

impl insecure::Host for Light<'_, &mut WasiRandomCtx> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        insecure::Host::get_insecure_random_bytes(self.inner, length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        insecure::Host::get_insecure_random_u64(self.inner)
    }
}

impl insecure_seed::Host for Light<'_, &mut WasiRandomCtx> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        insecure_seed::Host::insecure_seed(self.inner)
    }
}
