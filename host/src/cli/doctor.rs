//! `glasshouse doctor`: whether this machine lets a host do its work, and what to change where it does not.

mod api;
mod folders;
mod system;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use glasshouse::text::visible;
use glasshouse::{Containment, Plan};
use glasshouse_toolchain::Toolchain;
use serde::Serialize;

use super::{Exit, Format, Operator};
use crate::output::{self, Paint};

const EXAMPLE: &str = "\
Examples:
  glasshouse doctor plugins --config glasshouse.toml --data-dir data
  glasshouse doctor --format json

Looks and changes nothing but a file that it makes and removes in the cache and data folders.
Exits with 0 if a host can run, if only with warnings, and with 3 if it cannot.";

/// Check this machine: kernel, limits, folders, collector, API, clock and the toolchain for guests
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Doctor {
    /// The folder with the extensions that are to run
    plugin_dir: Option<PathBuf>,
    /// The folder that telemetry is to be kept in; as host.data_dir in the configuration
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    operator: Operator,
}

/// How a check came out, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failure,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// What was looked at and found.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What there is.
    found: String,
    /// What follows from it and what to do, unless all is well.
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    fn failure(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failure, found: found.into(), advice: Some(advice.into()) }
    }
}

/// All checks.
#[derive(Debug, Serialize)]
struct Report {
    verdict: Verdict,
    /// Extensions that the limits are held against.
    extensions: usize,
    checks: Vec<Check>,
}

impl Doctor {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        let report = self.examine();
        match format {
            Format::Json => output::json(&report)?,
            Format::Table => report.write()?,
        }
        Ok(if report.verdict == Verdict::Failure { Exit::Host } else { Exit::Ok })
    }

    fn examine(&self) -> Report {
        let mut builder = self.operator.builder();
        if let Some(folder) = &self.plugin_dir {
            builder = builder.plugin_dir(folder);
        }
        if let Some(folder) = &self.data_dir {
            builder = builder.data_dir(folder);
        }
        let plan = builder.plan();
        let extensions = plan.as_ref().map_or(0, enabled);
        let mut checks = Vec::new();
        match &plan {
            Ok(plan) => {
                checks.push(plugins(plan));
                checks.push(containment(Containment::probe(&builder.compile_settings(plan))));
                checks.push(folders::cache(builder.cache_dir(plan)));
                let limit = plan.host.settings.data_limit;
                checks.extend(builder.kept_in(plan).map(|folder| folders::data(&folder, limit)));
                checks.extend(glasshouse::probe_collectors(&plan.host.settings.otlp).map(collectors));
                checks.extend(api::checks(plan, builder.kept_in(plan)));
                let files = &plan.host.settings.files;
                checks.extend(files.folder.as_ref().map(|folder| folders::log_files(folder, files.keep_bytes)));
            }
            Err(error) => {
                let advice = "mend it; what depends on it was not looked at";
                checks.push(Check::failure("configuration", error.to_string(), advice));
            }
        }
        checks.extend(system::checks(extensions));
        checks.push(match Toolchain::find() {
            Ok(toolchain) => Check::ok("guest toolchain", toolchain.describe()),
            Err(error) => Check::warning("guest toolchain", error.to_string(), "it is needed to build extensions only"),
        });
        let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
        Report { verdict, extensions, checks }
    }
}

fn enabled(plan: &Plan) -> usize {
    plan.extensions.iter().filter(|planned| planned.resolved.enabled).count()
}

/// Extensions whose manifest or grants keep them from being started.
fn plugins(plan: &Plan) -> Check {
    const NAME: &str = "configuration";
    let broken: Vec<_> = plan.extensions.iter().filter(|planned| planned.problem.is_some()).collect();
    let Some(first) = broken.first() else {
        return Check::ok(NAME, format!("{} extensions to run", enabled(plan)));
    };
    let found = format!(
        "{} of {} extensions will fail to start, such as {}: {}",
        broken.len(),
        plan.extensions.len(),
        first.id,
        first.problem.as_deref().unwrap_or_default()
    );
    Check::warning(NAME, found, "`glasshouse list` shows the cause of each")
}

fn collectors(probed: Result<String, String>) -> Check {
    const NAME: &str = "collector";
    match probed {
        Ok(reached) => Check::ok(NAME, format!("{reached} can be connected to")),
        Err(cause) => Check::warning(
            NAME,
            cause,
            "start it, or mend [otlp] in the configuration; until then what is stored waits, and goes with retention",
        ),
    }
}

fn containment(probed: Result<Containment, String>) -> Check {
    const NAME: &str = "compiling apart";
    match probed {
        Ok(Containment::Process { lacks, escapes, past_landlock, took })
            if lacks.is_empty() && escapes.is_empty() && past_landlock.is_empty() =>
        {
            let took = glasshouse::text::duration(took);
            Check::ok(NAME, format!("Landlock, seccomp and limits hold; a process for it takes {took} to come and go"))
        }
        Ok(Containment::Process { lacks, escapes, past_landlock, .. }) => {
            let lacks = (!lacks.is_empty()).then(|| format!("the kernel lacks {}", lacks.join(", ")));
            let escapes = (!escapes.is_empty()).then(|| format!("the process could {}", escapes.join(", ")));
            let past = (!past_landlock.is_empty()).then(|| {
                format!("seccomp alone keeps the process from what Landlock is for: {}", past_landlock.join(", "))
            });
            let found = lacks.into_iter().chain(escapes).chain(past).collect::<Vec<_>>().join("; ");
            let advice = "components are compiled in a process of their own all the same, with its limits on time and memory; \
                          run untrusted ones on a kernel that has what is missing";
            Check::warning(NAME, found, advice)
        }
        Ok(Containment::None) => Check::warning(
            NAME,
            "components are compiled in the host's own process",
            "a hostile one can use much time and memory: the program is to call worker::run_if_asked first in its main, or to \
             set HostBuilder::compile_worker",
        ),
        Err(cause) => Check::failure(NAME, cause, "no component can be compiled; only those in the cache can run"),
    }
}

impl Report {
    fn write(&self) -> std::io::Result<()> {
        let paint = Paint::stdout();
        for check in &self.checks {
            let word = format!("{:<8}", check.verdict.word());
            let word = match check.verdict {
                Verdict::Ok => paint.green(&word),
                Verdict::Warning => paint.yellow(&word),
                Verdict::Failure => paint.red(&word),
            };
            output::line(format_args!("{word} {:<18} {}", check.name, visible(&check.found, 1000)))?;
            if let Some(advice) = &check.advice {
                output::line(format_args!("{:28}{}", "", visible(advice, 1000)))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_missing_for_compiling_apart_is_told_in_a_whole_sentence() {
        let of_three = |lacks: &[&'static str], escapes: &[&str], past_landlock: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|one| (*one).to_owned()).collect();
            Ok(Containment::Process {
                lacks: lacks.to_vec(),
                escapes: owned(escapes),
                past_landlock: owned(past_landlock),
                took: Duration::ZERO,
            })
        };
        let process = |lacks: &[&'static str], escapes: &[&str]| of_three(lacks, escapes, &[]);
        for (probed, verdict, found, advice) in [
            (process(&[], &[]), Verdict::Ok, "Landlock, seccomp and limits hold; ", ""),
            (process(&["Landlock"], &[]), Verdict::Warning, "the kernel lacks Landlock", "on a kernel that has"),
            (process(&[], &["read a file"]), Verdict::Warning, "the process could read a file", "on a kernel that has"),
            (
                process(&["Landlock", "seccomp"], &["read a file", "connect"]),
                Verdict::Warning,
                "the kernel lacks Landlock, seccomp; the process could read a file, connect",
                "on a kernel that has",
            ),
            (
                of_three(&["Landlock"], &[], &["open files"]),
                Verdict::Warning,
                "the kernel lacks Landlock; seccomp alone keeps the process from what Landlock is for: open files",
                "on a kernel that has",
            ),
            (
                Ok(Containment::None),
                Verdict::Warning,
                "components are compiled in the host's own",
                "run_if_asked first",
            ),
            (Err("it does not start".to_owned()), Verdict::Failure, "it does not start", "only those in the cache"),
        ] {
            let check = containment(probed);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.found.starts_with(found) && !check.found.contains("lacks ;"), "{check:?}");
            assert!(check.advice.as_deref().unwrap_or_default().contains(advice), "{check:?}");
        }
    }
}
