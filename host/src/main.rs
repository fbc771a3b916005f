//! The `glasshouse` command.

mod cli;
mod output;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::filter::{FilterExt as _, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use cli::{Cli, Exit};
use glasshouse::{HostLog, tokio_builder};

/// What the host's own log shows where nobody says otherwise.
const LOG: &str = "warn";

fn main() -> ExitCode {
    glasshouse::worker::run_if_asked();
    glasshouse::return_large_blocks();
    let cli = Cli::read();
    let for_programs = cli.is_for_programs();
    if for_programs {
        output::speak_to_programs();
    }
    let log = cli.log.clone().or_else(|| std::env::var("GLASSHOUSE_LOG").ok()).unwrap_or_else(|| LOG.to_owned());
    let filter = match EnvFilter::try_new(&log) {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log {log}: {error}; use a level such as debug"), Exit::Usage),
    };
    let stderr = if for_programs {
        fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed()
    } else {
        fmt::layer().with_writer(std::io::stderr).with_ansi(output::Paint::stderr().is_on()).boxed()
    };
    // Log files have what is shown, and what is worth to be looked up later. Whether there are any, is not known yet.
    let host_log = HostLog::default();
    let for_files = EnvFilter::new(&log).or(LevelFilter::INFO).and(without_arguments());
    tracing_subscriber::registry()
        .with(stderr.with_filter(filter.and(without_arguments())))
        .with(host_log.layer().with_filter(for_files))
        .init();
    raise_open_files();
    let runtime = match tokio_builder().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}"), Exit::Host),
    };
    let ended = runtime.block_on(cli::run(cli, host_log));
    // A thread that waits for standard input would never end.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(error) if output::is_broken_pipe(&error) => Exit::Host.into(),
        Err(error) => {
            let exit = error.downcast_ref::<cli::UsageError>().map_or(Exit::Host, |_| Exit::Usage);
            fail(&format!("{error:#}"), exit)
        }
    }
}

/// Lets all pass but what shows a guest's arguments.
fn without_arguments() -> FilterFn {
    // Of filters that are put together, one that names no level would have each event of the process looked at.
    let passes: fn(&tracing::Metadata<'_>) -> bool = |metadata| !shows_arguments(metadata);
    filter_fn(passes).with_max_level_hint(LevelFilter::TRACE)
}

/// Whether a line of a library's log shows what a guest passed to WASI, such as paths and what it writes: nothing redacts that.
fn shows_arguments(metadata: &tracing::Metadata<'_>) -> bool {
    *metadata.level() == tracing::Level::TRACE && metadata.is_event() && metadata.target().starts_with("wasmtime_wasi")
}

/// Lets the process open as many files as the system allows it: each instance may hold files and sockets, and the usual soft
/// limit of 1024 is for programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

fn fail(message: &str, exit: Exit) -> ExitCode {
    output::error(message);
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_are_opened_as_the_system_allows() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(512), ..limit }).expect("lowering it");
        raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: limit.maximum, ..limit });
    }
}
