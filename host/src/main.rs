//! The `glasshouse` command.

mod cli;
mod output;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Exit};

/// What the host's own log shows where nobody says otherwise.
const LOG: &str = "warn";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = cli.log.clone().or_else(|| std::env::var("GLASSHOUSE_LOG").ok()).unwrap_or_else(|| LOG.to_owned());
    let filter = match EnvFilter::try_new(&log) {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log {log}: {error}; use a level such as debug"), Exit::Usage),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::Paint::stderr().is_on())
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}"), Exit::Host),
    };
    let ended = runtime.block_on(cli::run(cli));
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

fn fail(message: &str, exit: Exit) -> ExitCode {
    let paint = output::Paint::stderr();
    output::note(format_args!("{} {message}", paint.red("error:")));
    exit.into()
}
