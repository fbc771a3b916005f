//! `wasi:sockets/ip-name-lookup`: a guest sees only the names that were granted, with the addresses that were looked up
//! when it started. Nothing it asks reaches a name server, so names carry no data out.

use std::net::IpAddr;

use glasshouse_model::HostFunction;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::state::State;

/// The interface's name in wasmtime's linker, which also serves components of other 0.2 versions.
const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// The addresses of one name, still to be given out.
struct Addresses(std::vec::IntoIter<IpAddr>);

#[wasmtime_wasi::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {}
}

/// Puts this lookup in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(INTERFACE)?;
    interface.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Addresses>::new_own(rep))?;
        Ok(())
    })?;
    interface.func_wrap("resolve-addresses", resolve)?;
    interface.func_wrap("[method]resolve-address-stream.resolve-next-address", next)?;
    interface.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, State>,
         (stream,): (Resource<Addresses>,)|
         -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().table, stream)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn resolve(
    mut store: StoreContextMut<'_, State>,
    (_network, name): (Resource<Network>, String),
) -> wasmtime::Result<(Result<Resource<Addresses>, ErrorCode>,)> {
    let state = store.data_mut();
    let entered = state.imports.enter(HostFunction::Network)?;
    state.charge(name.len())?;
    let found = state.reachable.addresses(&name);
    state.imports.leave(entered);
    let Some(addresses) = found else {
        state.denied("network", "resolve-addresses", &name);
        return Ok((Err(ErrorCode::NameUnresolvable),));
    };
    Ok((Ok(state.table.push(Addresses(addresses.into_iter()))?),))
}

fn next(
    mut store: StoreContextMut<'_, State>,
    (stream,): (Resource<Addresses>,),
) -> wasmtime::Result<(Result<Option<IpAddress>, ErrorCode>,)> {
    let state = store.data_mut();
    state.imports.note(HostFunction::Network);
    let addresses = state.table.get_mut(&stream)?;
    Ok((Ok(addresses.0.next().map(IpAddress::from)),))
}
