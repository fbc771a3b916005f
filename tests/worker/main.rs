//! Compiles components for the hosts of the end-to-end tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    glasshouse_runtime::worker::main()
}
