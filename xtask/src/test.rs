//! `cargo xtask test`: builds the guests and runs every test of the workspace.

use std::process::{Command, Stdio};

use anyhow::Result;
use glasshouse_toolchain::ThisMachine;

use crate::guests::{self, GUESTS_VARIABLE};
use crate::readers::{self, Missing};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(filters: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(if filters.is_empty() { 7 } else { 6 });
    let missing = steps.quiet("Looking for programs that read what the host writes", |note| {
        let missing = readers::prepare(&ThisMachine, note);
        for missing in &missing {
            note(&format!("missing: {}", missing.describe()));
        }
        Ok(missing)
    })?;
    let folder = guests::build_all(&workspace, &mut steps)?;
    steps.loud("Looking for cargo-nextest", || install_nextest(&workspace))?;
    let tested = steps.loud("Running the tests", || {
        let mut command = workspace.cargo();
        command.args(["nextest", "run", "--workspace"]).args(filters).env(GUESTS_VARIABLE, &folder);
        if !missing.is_empty() {
            // What is left out may be all that was asked for.
            command.arg("--no-tests=pass").args(["-E", &format!("not ({})", readers::filter(&missing))]);
        }
        run_command(&mut command, "running the tests")
    });
    if !missing.is_empty() {
        name_left_out(&workspace, filters, &missing)?;
    }
    tested?;
    if filters.is_empty() {
        steps.loud("Running the examples in the documentation", || {
            let mut command = workspace.cargo();
            command.args(["test", "--workspace", "--doc", "--quiet"]).env(GUESTS_VARIABLE, &folder);
            run_command(&mut command, "running the examples in the documentation")
        })?;
    }
    let other = if missing.is_empty() { "" } else { "other " };
    if filters.is_empty() {
        eprintln!("\nAll {other}tests passed.");
    } else {
        eprintln!("\nThe {other}tests that match {} passed; without a filter all are run.", filters.join(", "));
    }
    Ok(())
}

/// Says which tests were not run, and why.
fn name_left_out(workspace: &Workspace, filters: &[String], missing: &[Missing]) -> Result<()> {
    eprintln!("\nThese tests were left out:");
    let mut command = workspace.cargo();
    command.args(["nextest", "list", "--workspace", "--cargo-quiet"]).args(filters);
    run_command(command.args(["-E", &readers::filter(missing)]), "naming the tests that were left out")?;
    eprintln!("because this is missing:");
    for missing in missing {
        eprintln!("  {}", missing.describe());
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
