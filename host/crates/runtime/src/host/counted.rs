//! WASI's functions that are counted and not timed: by most of these a socket is set up, and a guest is told where it runs. What
//! they take stands with the guest's own time.

use glasshouse_model::HostFunction;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, sockets};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView, WasiSocketsView as _};

use crate::state::State;

/// Puts these interfaces in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    sockets::tcp::add_to_linker::<State, WasiSockets>(linker, |state| state.counted_sockets(HostFunction::Tcp))?;
    sockets::udp::add_to_linker::<State, WasiSockets>(linker, |state| state.counted_sockets(HostFunction::Udp))?;
    sockets::instance_network::add_to_linker::<State, WasiSockets>(linker, |state| {
        state.counted_sockets(HostFunction::Network)
    })?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, State::counted_cli)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl State {
    pub(crate) fn counted_sockets(&mut self, function: HostFunction) -> WasiSocketsCtxView<'_> {
        self.imports.note(function);
        self.sockets()
    }

    fn counted_cli(&mut self) -> WasiCliCtxView<'_> {
        self.imports.note(HostFunction::Cli);
        self.cli()
    }
}
