//! Measures Glasshouse side by side with its peers, in one run, and prints one table.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to the person at the terminal is the purpose")]

mod bare;
mod call;
#[cfg(feature = "extism")]
mod extism;
mod harness;
mod house;
mod log;
mod metric;
mod ready;
mod span;
mod strip;
mod table;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use harness::{Plan, Row};
use house::House;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures Glasshouse side by side with its peers")]
struct Arguments {
    /// Measure only the groups whose names contain this: ready, log, call, span, metric, extism
    filter: Option<String>,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// How often each side is measured, in turn with the others
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(11..))]
    repeats: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// What belongs together: measured in turns, so that what the machine does besides hits all sides alike.
type Group = fn(&House, &Plan) -> Result<Vec<Row>>;

const GROUPS: &[(&str, Group)] = &[
    ("ready", ready::measure),
    ("log", log::measure),
    ("call", call::measure),
    ("span", span::measure),
    ("metric", metric::measure),
    #[cfg(feature = "extism")]
    ("extism", extism::measure),
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let house = House::open()?;
    let plan = Plan { repeats: arguments.repeats };
    let mut rows = Vec::new();
    for (name, group) in GROUPS {
        if arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            eprintln!("      measuring: {name}");
            rows.extend(group(&house, &plan).with_context(|| format!("measuring {name}"))?);
        }
    }
    match arguments.format {
        Format::Table => print!("{}", table::text(&rows)),
        Format::Json => println!("{}", table::json(&rows)),
    }
    Ok(())
}
