//! `cargo xtask bench`: builds the guests and runs the benches, which print one table.

use std::process::Command;

use anyhow::Result;

use crate::guests::{self, GUESTS_VARIABLE};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(extism: bool, arguments: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(4);
    let folder = guests::build_benches(&workspace, &mut steps)?;
    steps.loud("Measuring", || {
        // The command line is measured, too, and stands beside the benches.
        let mut build = workspace.cargo();
        build.args(["build", "--release", "--package", "glasshouse-benches", "--package", "glasshouse"]);
        if extism {
            build.args(["--features", "glasshouse-benches/extism"]);
        }
        run_command(&mut build, "building the benches")?;
        let mut benches = Command::new(workspace.target.join("release/glasshouse-benches"));
        run_command(benches.args(arguments).env(GUESTS_VARIABLE, folder), "running the benches")
    })
}
