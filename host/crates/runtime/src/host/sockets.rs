//! The making of sockets: wasmtime's own, with a security event for an extension that was granted no address at all, and
//! so gets no socket. What it wanted to reach is not known then. What others reach for is checked in `grants.rs`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use crate::state::State;

/// The interfaces' names in wasmtime's linker, which also serves components of other 0.2 versions.
const TCP: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";

/// Puts these functions in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(TCP)?.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, State>,
         (family,): (IpAddressFamily,)|
         -> wasmtime::Result<(Result<Resource<TcpSocket>, ErrorCode>,)> {
            let state = store.data_mut();
            let made = tcp_create_socket::Host::create_tcp_socket(&mut state.sockets(), family);
            Ok((watched(state, "create-tcp-socket", family, made)?,))
        },
    )?;
    linker.instance(UDP)?.func_wrap_async(
        "create-udp-socket",
        |mut store: StoreContextMut<'_, State>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                let made = udp_create_socket::Host::create_udp_socket(&mut state.sockets(), family).await;
                Ok((watched::<UdpSocket>(state, "create-udp-socket", family, made)?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What the guest gets, told if it is a denial.
fn watched<T>(
    state: &State,
    operation: &str,
    family: IpAddressFamily,
    made: SocketResult<Resource<T>>,
) -> wasmtime::Result<Result<Resource<T>, ErrorCode>> {
    let error = match made {
        Ok(socket) => return Ok(Ok(socket)),
        Err(error) => error.downcast()?,
    };
    if error == ErrorCode::AccessDenied {
        let target = match family {
            IpAddressFamily::Ipv4 => "any IPv4 address",
            IpAddressFamily::Ipv6 => "any IPv6 address",
        };
        state.denied("network", operation, target);
    }
    Ok(Err(error))
}
