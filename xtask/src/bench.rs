//! `cargo xtask bench`: builds the guests and runs the benches, which print one table.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::demo::lay_out;
use crate::feed;
use crate::guests::{self, EXAMPLES, GUESTS_VARIABLE};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(extism: bool, arguments: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(5);
    let (toolchain, folder) = guests::build_benches(&workspace, &mut steps)?;
    steps.loud("Building the example extensions", || {
        let artifacts = guests::build_examples(&workspace, &toolchain)?;
        let demo = folder.join("demo");
        lay_out(&workspace, &artifacts, &demo.join("plugins"))?;
        guests::copy(&workspace.root.join(EXAMPLES).join("glasshouse.toml"), &demo.join("glasshouse.toml"))?;
        fs::write(demo.join("feed.jsonl"), feed::feed(&workspace.root)?).context("writing the feed")
    })?;
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
