//! `wasi:random`'s lists of bytes: wasmtime's own, for which a guest yields to its neighbours now and then. They are much work for
//! a host call, and no fuel is used for them. Each is timed.

use glasshouse_model::HostFunction;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::random::{insecure, random};
use wasmtime_wasi::random::WasiRandomCtx;

use super::debugging::yield_if;
use crate::state::State;

/// What a random byte costs, as so many bytes of a record.
const BYTE_COST: usize = 4;

/// Puts these functions in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    add_one(linker, "wasi:random/random@0.2.12", "get-random-bytes", random::Host::get_random_bytes)?;
    add_one(
        linker,
        "wasi:random/insecure@0.2.12",
        "get-insecure-random-bytes",
        insecure::Host::get_insecure_random_bytes,
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn add_one(
    linker: &mut Linker<State>,
    interface: &str,
    name: &str,
    make: fn(&mut WasiRandomCtx, u64) -> wasmtime::Result<Vec<u8>>,
) -> wasmtime::Result<()> {
    linker.instance(interface)?.func_wrap_async(name, move |mut store: StoreContextMut<'_, State>, (bytes,): (u64,)| {
        Box::new(async move {
            let state = store.data_mut();
            let entered = state.imports.enter(HostFunction::Random)?;
            let made = make(state.ctx().ctx.random(), bytes)?;
            state.imports.leave(entered);
            state.intake.note_work(made.len().saturating_mul(BYTE_COST));
            yield_if(state.intake.is_yield_due()).await?;
            Ok((made,))
        })
    })
}
