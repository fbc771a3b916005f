//! `cargo xtask bench`: builds the guests and runs the benches, which print one table.

use anyhow::Result;

use crate::guests::{self, GUESTS_VARIABLE};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(extism: bool, arguments: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(3);
    let folder = guests::build_benches(&workspace, &mut steps)?;
    steps.loud("Measuring", || {
        let mut command = workspace.cargo();
        command.args(["run", "--release", "--package", "glasshouse-benches"]);
        if extism {
            command.args(["--features", "extism"]);
        }
        command.arg("--").args(arguments).env(GUESTS_VARIABLE, folder);
        run_command(&mut command, "running the benches")
    })
}
