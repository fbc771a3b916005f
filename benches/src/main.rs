//! Measures Glasshouse side by side with its peers, in one run, and prints one table.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to the person at the terminal is the purpose")]

mod api;
mod append;
mod bare;
mod call;
mod child;
mod core_module;
mod costs;
mod deadlines;
mod delay;
mod export;
#[cfg(feature = "extism")]
mod extism;
mod follow;
mod group;
mod harness;
mod house;
mod idle;
mod loading;
mod log;
mod metering;
mod metric;
mod neighbours;
mod overhead;
mod push;
mod ready;
mod records;
mod rollup;
mod seal;
mod search;
mod span;
mod start;
mod strip;
mod table;
#[path = "../guests/visit.rs"]
mod visit;

use std::cell::OnceCell;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};

use child::Child;
use harness::{Plan, Row};
use house::House;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures Glasshouse side by side with its peers")]
struct Arguments {
    /// Measure only the groups whose names contain this: ready, loading, log, call, costs, metering, neighbours, api, push, span,
    /// metric, overhead, extism, deadlines, append, group, delay, search, export, follow, rollup, seal, idle, start
    filter: Option<String>,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// How often each side is measured, in turn with the others
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(11..))]
    repeats: u32,
    /// Of how many gigabytes of sealed segments a start is measured, in the folder for temporary files
    #[arg(long, value_name = "GB", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    sealed_gigabytes: u64,
    /// Drop all caches of files before each start; this is felt by the whole machine, and only root may do it
    #[arg(long)]
    drop_caches: bool,
    /// Fail if a row misses its target in each of three tries
    #[arg(long)]
    check: bool,
    /// What this process does for one that measures
    #[arg(long, hide = true, requires = "folder")]
    child: Option<Child>,
    /// Where it does it
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// How often a group is measured before a row is said to miss its target.
const TRIES: u32 = 3;

/// What belongs together: measured in turns, so that what the machine does besides hits all sides alike.
enum Group {
    /// With guests in their sandboxes.
    Guests(fn(&House, &Plan) -> Result<Vec<Row>>),
    /// Of the store alone.
    Store(fn(&Plan) -> Result<Vec<Row>>),
}

const GROUPS: &[(&str, Group)] = &[
    ("ready", Group::Guests(ready::measure)),
    ("loading", Group::Guests(loading::measure)),
    ("log", Group::Guests(log::measure)),
    ("call", Group::Guests(call::measure)),
    ("costs", Group::Guests(costs::measure)),
    ("metering", Group::Guests(metering::measure)),
    ("neighbours", Group::Guests(neighbours::measure)),
    ("api", Group::Guests(api::measure)),
    ("push", Group::Guests(push::measure)),
    ("span", Group::Guests(span::measure)),
    ("metric", Group::Guests(metric::measure)),
    ("overhead", Group::Guests(overhead::measure)),
    #[cfg(feature = "extism")]
    ("extism", Group::Guests(extism::measure)),
    ("deadlines", Group::Guests(deadlines::measure)),
    ("append", Group::Store(append::measure)),
    ("group", Group::Store(group::measure)),
    ("delay", Group::Store(delay::measure)),
    ("search", Group::Store(search::measure)),
    ("export", Group::Store(export::measure)),
    ("follow", Group::Store(follow::measure)),
    ("rollup", Group::Store(rollup::measure)),
    ("seal", Group::Store(seal::measure)),
    ("idle", Group::Store(idle::measure)),
    ("start", Group::Store(start::measure)),
];

fn main() -> Result<()> {
    glasshouse_runtime::worker::run_if_asked();
    glasshouse_runtime::return_large_blocks();
    let arguments = Arguments::parse();
    if let (Some(child), Some(folder)) = (arguments.child, &arguments.folder) {
        return child.act(folder);
    }
    let plan = Plan {
        repeats: arguments.repeats,
        sealed_bytes: arguments.sealed_gigabytes * 1_000_000_000,
        drop_caches: arguments.drop_caches,
    };
    let house = OnceCell::new();
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let mut rows = Vec::new();
    for (name, group) in GROUPS.iter().filter(|(name, _)| name.contains(filter)) {
        let measure = || {
            eprintln!("      measuring: {name}");
            measure(group, &house, &plan).with_context(|| format!("measuring {name}"))
        };
        let mut measured = measure()?;
        // A machine that does other things as well makes some rows dearer, but hardly the same ones each time.
        for _ in 1..if arguments.check { TRIES } else { 1 } {
            if measured.iter().all(|row| row.is_met() != Some(false)) {
                break;
            }
            measured = measured.into_iter().zip(measure()?).map(|(before, now)| before.better(now)).collect();
        }
        rows.extend(measured);
    }
    match arguments.format {
        Format::Table => print!("{}", table::text(&rows)),
        Format::Json => println!("{}", table::json(&rows)),
    }
    let missed = rows.iter().filter(|row| row.is_met() == Some(false)).count();
    ensure!(!arguments.check || missed == 0, "{missed} rows missed their targets in each of {TRIES} tries");
    Ok(())
}

fn measure(group: &Group, house: &OnceCell<House>, plan: &Plan) -> Result<Vec<Row>> {
    match group {
        Group::Guests(measure) => {
            if house.get().is_none() {
                let _ = house.set(House::open()?);
            }
            house.get().context("the house is open").and_then(|house| measure(house, plan))
        }
        Group::Store(measure) => measure(plan),
    }
}
