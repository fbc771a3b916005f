//! `cargo xtask test`: builds the guests and runs every test of the workspace.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::guests::{self, GUESTS_VARIABLE};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(filters: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(if filters.is_empty() { 6 } else { 5 });
    let folder = guests::build_all(&workspace, &mut steps)?;
    steps.loud("Looking for cargo-nextest", || install_nextest(&workspace))?;
    steps.loud("Running the tests", || {
        let mut command = workspace.cargo();
        command.args(["nextest", "run", "--workspace"]).args(filters).env(GUESTS_VARIABLE, &folder);
        run_command(&mut command, "running the tests")
    })?;
    if filters.is_empty() {
        steps.loud("Running the examples in the documentation", || {
            let mut command = workspace.cargo();
            command.args(["test", "--workspace", "--doc", "--quiet"]).env(GUESTS_VARIABLE, &folder);
            run_command(&mut command, "running the examples in the documentation")
        })?;
        eprintln!("\nAll tests passed.");
    } else {
        eprintln!("\nThe tests that match {} passed; without a filter all are run.", filters.join(", "));
    }
    Ok(())
}

fn install_nextest(workspace: &Workspace) -> Result<()> {
    let mut probe: Command = workspace.cargo();
    let probe = probe.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    eprintln!("      not there; installing it (some minutes, once)");
    run_command(workspace.cargo().args(["install", "--locked", "cargo-nextest"]), "installing cargo-nextest")
}
