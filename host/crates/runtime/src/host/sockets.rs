//! The making of sockets: wasmtime's own, with a security event for an extension that was granted no address at all, and
//! so gets no socket. What it wanted to reach is not known then. What others reach for is checked in `grants.rs`. And what goes
//! through sockets, counted.

use glasshouse_model::HostFunction;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostIncomingDatagramStream, HostOutgoingDatagramStream, IncomingDatagramStream, OutgoingDatagram,
    OutgoingDatagramStream,
};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use crate::host::streams::{count_input, count_output};
use crate::imports::Way;
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
            let entered = state.imports.enter(HostFunction::Tcp)?;
            let made = tcp_create_socket::Host::create_tcp_socket(&mut state.sockets(), family);
            state.imports.leave(entered);
            Ok((watched(state, "create-tcp-socket", family, made)?,))
        },
    )?;
    linker.instance(UDP)?.func_wrap_async(
        "create-udp-socket",
        |mut store: StoreContextMut<'_, State>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                let entered = state.imports.enter(HostFunction::Udp)?;
                let made = udp_create_socket::Host::create_udp_socket(&mut state.sockets(), family).await;
                state.imports.leave(entered);
                Ok((watched::<UdpSocket>(state, "create-udp-socket", family, made)?,))
            })
        },
    )?;
    add_transfer(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Adds the functions by which bytes go in and out; those of TCP are its streams.
fn add_transfer(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("wasi:sockets/tcp@0.2.12")?.func_wrap(
        "[method]tcp-socket.finish-connect",
        |mut store: StoreContextMut<'_, State>, (socket,): (Resource<TcpSocket>,)| {
            let state = store.data_mut();
            let entered = state.imports.enter(HostFunction::Tcp)?;
            let made = HostTcpSocket::finish_connect(&mut state.sockets(), socket);
            state.imports.leave(entered);
            let streams = or_code(made)?;
            if let Ok((input, output)) = &streams {
                let pulse = state.imports.pulse();
                count_input(&mut state.table, input, pulse, Way::Received)?;
                count_output(&mut state.table, output, pulse, Way::Sent)?;
            }
            Ok((streams,))
        },
    )?;
    let mut datagrams = linker.instance("wasi:sockets/udp@0.2.12")?;
    datagrams.func_wrap(
        "[method]incoming-datagram-stream.receive",
        |mut store: StoreContextMut<'_, State>, (stream, most): (Resource<IncomingDatagramStream>, u64)| {
            let state = store.data_mut();
            let entered = state.imports.enter(HostFunction::Udp)?;
            let received = HostIncomingDatagramStream::receive(&mut state.sockets(), stream, most);
            if let Ok(received) = &received {
                let bytes = received.iter().map(|datagram| datagram.data.len()).sum();
                state.imports.pulse().note_transfer(Way::Received, bytes);
            }
            state.imports.leave(entered);
            Ok((or_code(received)?,))
        },
    )?;
    datagrams.func_wrap(
        "[method]outgoing-datagram-stream.send",
        |mut store: StoreContextMut<'_, State>,
         (stream, datagrams): (Resource<OutgoingDatagramStream>, Vec<OutgoingDatagram>)| {
            let state = store.data_mut();
            let entered = state.imports.enter(HostFunction::Udp)?;
            let lengths: Vec<_> = datagrams.iter().map(|datagram| datagram.data.len()).collect();
            let sent = HostOutgoingDatagramStream::send(&mut state.sockets(), stream, datagrams);
            if let Ok(sent) = &sent {
                let bytes = lengths.iter().take(*sent as usize).sum();
                state.imports.pulse().note_transfer(Way::Sent, bytes);
            }
            state.imports.leave(entered);
            Ok((or_code(sent)?,))
        },
    )
}

/// A result as the guest gets it.
fn or_code<T>(result: SocketResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
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
