//! `glasshouse man`: the manual pages, and the reference of the command line.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man as Page;

use super::{Cli, Exit, NAME};
use crate::output;

/// Columns of the reference.
const COLUMNS: usize = 110;

const EXAMPLE: &str = "\
Examples:
  glasshouse man | man -l -
  glasshouse man --output ~/.local/share/man/man1
  glasshouse man --markdown > docs/cli.md";

/// Write the manual pages, or the reference of the command line
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Man {
    /// Write a page for each verb into this folder, instead of the first page to standard output
    #[arg(long, value_name = "DIR", conflicts_with = "markdown")]
    output: Option<PathBuf>,
    /// Write what all verbs say of themselves, in Markdown
    #[arg(long)]
    markdown: bool,
}

impl Man {
    pub(crate) fn run(self) -> Result<Exit> {
        let mut command = Cli::command();
        if self.markdown {
            output::payload(markdown(command).as_bytes())?;
        } else if let Some(folder) = &self.output {
            let shown = folder.display();
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
            clap_mangen::generate_to(command, folder)
                .with_context(|| format!("cannot write into the folder {shown}"))?;
            output::note(format_args!("the manual pages are in {shown}: read one with `man {shown}/{NAME}.1`"));
        } else {
            command.build();
            let mut page = Vec::new();
            Page::new(command).render(&mut page)?;
            output::payload(&page)?;
        }
        Ok(Exit::Ok)
    }
}

/// What each verb says of itself, one after the other.
fn markdown(command: Command) -> String {
    let mut command = command.term_width(COLUMNS);
    command.build();
    let mut text = String::from("# The command line\n\nWhat each verb says with `--help`.\n");
    describe(&mut command, &mut text);
    text
}

fn describe(command: &mut Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(NAME).to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    let _ = writeln!(text, "\n## `{name}`\n\n```text\n{}\n```", lines.join("\n").trim_end());
    for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        describe(verb, text);
    }
}
