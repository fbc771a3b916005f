//! `glasshouse check`: compares what an extension's calls cost with a baseline.

mod baseline;
mod compare;
mod measure;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use glasshouse::{Planned, Trial};

use super::{Exit, Format, Operator, UsageError};
use crate::output;
use baseline::Baseline;
use compare::{Comparison, Tolerance, compare};
use measure::{Measured, measure};
use report::Report;

const EXAMPLE: &str = "\
Examples:
  glasshouse check plugins/markdown --feed events.jsonl --baseline costs.json --update   # once, and commit costs.json
  glasshouse check plugins/markdown --feed events.jsonl --baseline costs.json            # on each change
  glasshouse check hello.wasm --feed events.jsonl                                        # only shows the costs

The feed is that of `run`; what is for other extensions is passed over. Each event gets an instance and a store of its own,
with clocks, random bytes and ids that are the same each time, so that the same input costs the same on every machine: fuel,
the most memory, calls of host functions, and the records that are left with their bytes. The extension is alone, as in `call`.
The file of a baseline is described in docs/check.md.

Exits with 5 if something costs more than the baseline says by more than the tolerance, ended otherwise, is new or gone, or
cannot be compared; with 4 if the extension cannot be loaded.";

/// Compare what an extension's calls cost with a baseline
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Check {
    /// A component file, or a folder with an extension.toml
    #[arg(value_name = "EXTENSION")]
    path: PathBuf,
    /// Events to pass to it, as JSON lines; - stands for standard input
    #[arg(long, value_name = "FILE")]
    feed: PathBuf,
    /// What the calls cost when somebody last said that this is right
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the baseline, instead of comparing with it
    #[arg(long, requires = "baseline")]
    update: bool,
    /// How much more a figure may be. Fuel of an unchanged component is to be the same whatever this is
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = tolerance)]
    tolerance: Tolerance,
    #[command(flatten)]
    operator: Operator,
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    match number {
        Some(percent) if (0.0..=1000.0).contains(&percent) => Ok(Tolerance(percent / 100.0)),
        _ => Err("a tolerance is a part in percent from 0 to 1000, such as 2%".to_owned()),
    }
}

impl Check {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        let trial = self.operator.builder().trial(&self.path).await?;
        let before = match &self.baseline {
            Some(path) => self.read(path, trial.about())?,
            None => None,
        };
        warn_of_the_world(trial.about());
        let measured = match measure(&trial, &self.feed, self.update).await? {
            Ok(measured) => measured,
            Err(cause) => {
                let cause = super::run::cause(&cause);
                output::error(format_args!("{}: {cause}", trial.about().id));
                return Ok(Exit::Guest);
            }
        };
        let comparison = match &before {
            Some(before) if !self.update => Some(compare(before, &measured.costs, self.tolerance)),
            _ => None,
        };
        if self.update {
            warn_of_unsteady(&measured, &trial);
        }
        let written = match &self.baseline {
            Some(path) if self.update => {
                let written = measured.costs.write(path);
                Some(written.with_context(|| format!("writing the baseline {}", path.display()))?)
            }
            _ => None,
        };
        let passed = comparison.as_ref().is_none_or(Comparison::passed);
        let report = Report {
            measured: &measured,
            before: before.as_ref(),
            comparison: comparison.as_ref(),
            baseline: self.baseline.as_deref(),
            written,
            tolerance: self.tolerance,
        };
        match format {
            Format::Json => output::json(&report.json(passed))?,
            Format::Table => report.write()?,
        }
        Ok(if passed { Exit::Ok } else { Exit::Cost })
    }

    /// The baseline, if there is to be one. What is no baseline of this extension is never replaced.
    fn read(&self, path: &Path, planned: &Planned) -> Result<Option<Baseline>> {
        let file = path.display();
        let baseline = Baseline::read(path).with_context(|| format!("reading the baseline {file}"))?;
        match baseline {
            Some(baseline) if baseline.extension != planned.id.as_str() => {
                let of = glasshouse::text::visible(&baseline.extension, 80);
                anyhow::bail!("reading the baseline {file}: it is of the extension {of}, and not of {}; name another file", planned.id)
            }
            None if !self.update => Err(UsageError(format!(
                "there is no baseline {file}; the same command with --update writes it: glasshouse check {} --feed {} --baseline {file} --update",
                self.path.display(),
                self.feed.display()
            ))
            .into()),
            baseline => Ok(baseline),
        }
    }
}

/// What reaches beyond the sandbox may make each run cost something else.
fn warn_of_the_world(planned: &Planned) {
    let granted = &planned.resolved.settings.permissions;
    let worlds = [
        ("files", !granted.files.is_empty()),
        ("network", !granted.network.is_empty()),
        ("env", !granted.env.is_empty()),
    ];
    if !granted.http.is_empty() {
        output::warn(format_args!(
            "{} is granted http: what is run to be compared sends no requests, and each that it tries is denied",
            planned.id
        ));
    }
    let worlds: Vec<_> = worlds.iter().filter(|(_, granted)| *granted).map(|(world, _)| *world).collect();
    if !worlds.is_empty() {
        output::warn(format_args!(
            "{} is granted {}: what it finds there has a say in its costs",
            planned.id,
            worlds.join(" and ")
        ));
    }
}

/// Says which calls cost something else the second time.
fn warn_of_unsteady(measured: &Measured, trial: &Trial) {
    if let Some(row) = measured.unsteady.first() {
        let place = row.line.map_or_else(String::new, |line| format!(" of line {line}"));
        let name = glasshouse::text::visible(&row.name, 140);
        output::warn(format_args!(
            "{} calls of {} cost something else when they were made again, the first of them {name}{place}: something outside of it has a say, and the baseline will not hold",
            measured.unsteady.len(),
            trial.about().id
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_a_part_in_percent() {
        for (text, expect) in [("2%", Some(0.02)), ("0", Some(0.0)), ("0.5 %", Some(0.005)), ("1000%", Some(10.0))] {
            assert_eq!(tolerance(text).ok().map(|tolerance| tolerance.0), expect, "{text}");
        }
        for text in ["", "%", "-1%", "NaN", "inf", "1001", "two"] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }
}
