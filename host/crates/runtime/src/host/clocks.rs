//! `wasi:clocks/monotonic-clock` for instances whose runs are to be alike: a sleep advances their clock and is over at once.

use glasshouse_model::HostFunction;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::determinism::GuestClock;
use crate::state::State;

/// The interface's name in wasmtime's linker, which also serves components of other 0.2 versions.
const INTERFACE: &str = "wasi:clocks/monotonic-clock@0.2.12";

/// A moment that comes as soon as the guest waits for it.
struct Due {
    clock: GuestClock,
    at: u64,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Due {
    async fn ready(&mut self) {
        self.clock.advance_to(self.at);
    }
}

/// Puts these sleeps in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(INTERFACE)?;
    interface.func_wrap("subscribe-instant", |store, (when,): (u64,)| due(store, |_| when))?;
    interface.func_wrap("subscribe-duration", |store, (nanos,): (u64,)| due(store, |now| now.saturating_add(nanos)))?;
    linker.allow_shadowing(false);
    Ok(())
}

fn due(
    mut store: StoreContextMut<'_, State>,
    at: impl FnOnce(u64) -> u64,
) -> wasmtime::Result<(Resource<DynPollable>,)> {
    let state = store.data_mut();
    // This interface is linked in for such instances only.
    state.imports.note(HostFunction::Clock);
    let clock = state.guest_clock.clone().unwrap_or_default();
    let at = at(clock.read());
    let due = state.table.push(Due { clock, at })?;
    Ok((subscribe(&mut state.table, due)?,))
}
