//! `glasshouse completions`: what a shell needs in order to complete a command line.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::{Cli, Exit, NAME};
use crate::output;

const EXAMPLE: &str = "\
Examples:
  glasshouse completions bash > ~/.local/share/bash-completion/completions/glasshouse
  glasshouse completions zsh > ~/.zfunc/_glasshouse     with fpath+=~/.zfunc before compinit in ~/.zshrc
  glasshouse completions fish > ~/.config/fish/completions/glasshouse.fish";

/// Write what a shell needs in order to complete a command line
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Exit> {
        // Into memory first: `generate` panics where it cannot write.
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), NAME, &mut script);
        output::payload(&script)?;
        Ok(Exit::Ok)
    }
}
