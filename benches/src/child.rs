//! Parts of a measurement that take a process of their own: this program again.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::{idle, push, start};

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Child {
    Idle,
    /// Takes what is pushed, and prints its address.
    Sink,
    Start,
}

impl Child {
    /// Does it, and prints its figures.
    pub(crate) fn act(self, folder: &Path) -> Result<()> {
        let figures = match self {
            Self::Idle => idle::child(folder)?,
            Self::Sink => return push::sink(),
            Self::Start => start::child(folder)?,
        };
        for figure in figures {
            println!("{figure}");
        }
        Ok(())
    }
}

/// Runs a child and reads its figures.
pub(crate) fn run(child: Child, folder: &Path) -> Result<Vec<f64>> {
    let name = child.to_possible_value().context("each child has a name")?;
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", name.get_name(), "--folder"])
        .arg(folder)
        .output()
        .context("running this program again")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| Ok(line.parse()?)).collect()
}
