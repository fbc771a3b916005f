//! `cargo xtask bench`: builds the guests and runs the benches, which print one table.

use anyhow::Result;

use crate::guests::{self, GUESTS_VARIABLE};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(4);
    let folder = guests::build_all(&workspace, &mut steps)?;
    steps.loud("Measuring", || {
        let mut command = workspace.cargo();
        command.args(["run", "--release", "--package", "glasshouse-benches", "--"]).args(arguments);
        run_command(command.env(GUESTS_VARIABLE, folder), "running the benches")
    })
}
