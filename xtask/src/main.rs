//! The project's own commands: `cargo xtask demo`, `test`, `guests`, `bench`, `tidy`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to the person at the terminal is the purpose")]

mod access_log;
mod bench;
mod demo;
mod feed;
mod guests;
mod readers;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds the host and the example extensions, and runs them on a real feed
    Demo {
        /// Keep the host up when the feed is done, until Ctrl-C
        #[arg(long)]
        serve: bool,
    },
    /// Builds the guests and runs all tests, or those whose names contain a filter
    Test {
        /// Parts of test names; none means all tests, doctests included
        filters: Vec<String>,
    },
    /// Prepares the guest toolchain and builds the guests only
    Guests,
    /// Measures ours against its peers, all rows or those that contain a filter
    Bench {
        /// Measure extism, too; the first time this compiles a wasmtime of its own, for some minutes
        #[arg(long)]
        extism: bool,
        /// What to pass on to the benches
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Checks the rules of the house: layers, file sizes, tests for every failing guest, and more
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Demo { serve } => demo::run(serve),
        Verb::Test { filters } => test::run(&filters),
        Verb::Guests => guests::run(),
        Verb::Bench { extism, arguments } => bench::run(extism, &arguments),
        Verb::Tidy => tidy::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
