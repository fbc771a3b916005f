//! The command line: what can be said, and what becomes of it. A verb has a file of its own, or shares `records` or `control`.

mod address;
mod build;
mod call;
mod check;
mod completions;
mod config;
mod control;
mod doctor;
mod feed;
mod inspect;
mod list;
mod man;
mod new;
mod progress;
mod records;
mod run;
mod signals;
mod top;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use glasshouse::{Host, HostBuilder, HostLog};

/// What the command is called.
const NAME: &str = "glasshouse";

const EXIT_CODES: &str = "\
Exit codes:
  0    all went well; errors that an extension answered to events of a feed are no failure
  2    the command line cannot be used
  3    the host failed: its configuration, the plugin directory, a file
  4    an extension failed: it could not be built or loaded, is quarantined, or gave no reply to `call`
  5    `check`: something costs more than its baseline allows, or cannot be compared with it
  130  stopped at once by a second Ctrl-C

Environment:
  GLASSHOUSE_LOG           what the host's own log shows, as --log
  GLASSHOUSE_HOST_URL      the host that is asked where neither --host nor a data directory is named, such as http://127.0.0.1:7077
  GLASSHOUSE_TOKEN         the token that such a host is shown, where --token-file names none
  GLASSHOUSE_<TABLE>__...  values of the configuration, such as GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE=2s
  NO_COLOR                 no colours";

/// Runs untrusted WebAssembly extensions, shows everything that they do, and holds them to a budget.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What the host's own log on standard error shows: a level, or `tracing` directives [default: warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// How results are written [default: table]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    format: Option<AnyFormat>,
    #[command(subcommand)]
    verb: Verb,
}

/// What can be said of how results are written: most of it means something to `glasshouse export` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AnyFormat {
    /// For people
    Table,
    /// For programs: JSON, one value a line; on standard error as well
    Json,
    /// For spreadsheets: records and lists of them as comma-separated values
    Csv,
    #[value(hide = true)]
    Jsonl,
    #[value(hide = true)]
    Otlp,
    #[value(hide = true)]
    OtlpJson,
    #[value(hide = true)]
    Jaeger,
    #[value(hide = true)]
    Prometheus,
    #[value(hide = true, name = "openmetrics")]
    OpenMetrics,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: JSON, one value a line; on standard error as well.
    Json,
}

/// How records, what they come to, and how extensions are doing are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    /// For people.
    Table,
    /// For programs: JSON, one value a line; on standard error as well.
    Json,
    /// For spreadsheets: comma-separated values, as exports have them.
    Csv,
}

impl From<Format> for RecordFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
        }
    }
}

impl Cli {
    /// What the command line says; ends the process where it cannot be used.
    pub(crate) fn read() -> Self {
        let mut command = Self::command();
        let matches = command.get_matches_mut();
        if let Some(misplaced) = misplaced(&command, &matches) {
            command.error(ErrorKind::ArgumentConflict, misplaced).exit();
        }
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// Whether what is written to standard error is for programs as well.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.format == Some(AnyFormat::Json)
    }

    /// How results are written by verbs that show no records.
    fn result_format(&self) -> Result<Format, UsageError> {
        match self.format {
            None | Some(AnyFormat::Table) => Ok(Format::Table),
            Some(AnyFormat::Json) => Ok(Format::Json),
            Some(other) => Err(other.refused("table and json")),
        }
    }

    /// How records are written by verbs that show them.
    fn record_format(&self) -> Result<RecordFormat, UsageError> {
        match self.format {
            None | Some(AnyFormat::Table) => Ok(RecordFormat::Table),
            Some(AnyFormat::Json) => Ok(RecordFormat::Json),
            Some(AnyFormat::Csv) if std::io::stdout().is_terminal() => {
                Err(UsageError("csv is nothing for a terminal; write it to a file: > FILE".to_owned()))
            }
            Some(AnyFormat::Csv) => Ok(RecordFormat::Csv),
            Some(other) => Err(other.refused("table, json and csv")),
        }
    }
}

impl AnyFormat {
    fn refused(self, known: &str) -> UsageError {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let of = if self == Self::Csv {
            "for verbs that show records, for status, budgets, debugging, health and tokens, and for exports"
        } else {
            "a format of `glasshouse export`"
        };
        UsageError(format!("{name} is {of}; here there are {known}"))
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Call(call::Call),
    Check(check::Check),
    List(list::List),
    Inspect(inspect::Inspect),
    Doctor(doctor::Doctor),
    Config(config::Config),
    New(new::New),
    Build(build::Build),
    Logs(records::Logs),
    Errors(records::Errors),
    Metrics(records::Metrics),
    Trace(records::TraceVerb),
    Traces(records::Traces),
    Activity(records::Activity),
    Alerts(records::Alerts),
    Invocations(records::Invocations),
    Export(records::Export),
    Status(control::Status),
    Top(top::Top),
    Budgets(control::Budgets),
    Debugging(control::Debugging),
    #[command(visible_alias = "sessions")]
    Debug(records::Debug),
    Start(control::Start),
    Stop(control::Stop),
    Health(control::Health),
    Tokens(control::Tokens),
    Completions(completions::Completions),
    Man(man::Man),
}

/// What the operator says.
#[derive(Args, Debug)]
pub(crate) struct Operator {
    /// The operator's configuration: grants and budgets
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets a value over the configuration and the environment, such as extensions.relay.budget.deadline=2s
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl Operator {
    /// What holds for the host itself.
    fn host_settings(&self) -> Result<glasshouse::config::HostSettings, glasshouse::HostError> {
        Ok(self.builder().plan()?.host.settings)
    }

    /// A host with this configuration, and with what the environment says.
    fn builder(&self) -> HostBuilder {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let builder = Host::builder().environment(variables).overrides(self.overrides.iter().cloned());
        match &self.config {
            Some(path) => builder.config_file(path),
            None => builder,
        }
    }
}

/// What is wrong where an option is given to a verb and another verb follows it, which would not heed it: some verbs stand for one of
/// theirs where none follows.
fn misplaced(command: &Command, matches: &ArgMatches) -> Option<String> {
    let (name, given) = matches.subcommand()?;
    let further = given.subcommand_name()?;
    let own = command.find_subcommand(name)?.get_arguments().filter(|argument| !argument.is_global_set());
    let is_given = |argument: &&Arg| given.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
    let option = own.into_iter().find(is_given)?.get_long()?;
    Some(format!("--{option} goes after the last verb: {NAME} {name} {further} --{option} ..."))
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Usage,
    Host,
    Guest,
    /// Something costs other than its baseline.
    Cost,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Usage => 2,
            Exit::Host => 3,
            Exit::Guest => 4,
            Exit::Cost => 5,
        })
    }
}

/// The code of a command that was stopped at once, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// A mistake in the command line that is seen only after it was parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

/// Does what the command line says.
pub(crate) async fn run(cli: Cli, host_log: HostLog) -> anyhow::Result<Exit> {
    let format = cli.result_format();
    let records = cli.record_format();
    match cli.verb {
        Verb::Export(verb) => verb.run(cli.format).await,
        Verb::Run(verb) => verb.run(format?, host_log).await,
        Verb::Call(verb) => verb.run(format?).await,
        Verb::Check(verb) => verb.run(format?).await,
        Verb::List(verb) => verb.run(format?).await,
        Verb::Inspect(verb) => verb.run(format?),
        Verb::Doctor(verb) => verb.run(format?),
        Verb::Config(verb) => verb.run(format?),
        Verb::New(verb) => verb.run(format?),
        Verb::Build(verb) => verb.run(format?),
        Verb::Logs(verb) => verb.run(records?).await,
        Verb::Errors(verb) => verb.run(records?).await,
        Verb::Metrics(verb) => verb.run(records?).await,
        Verb::Trace(verb) => verb.run(records?).await,
        Verb::Traces(verb) => verb.run(records?).await,
        Verb::Activity(verb) => verb.run(records?).await,
        Verb::Alerts(verb) => verb.run(records?).await,
        Verb::Invocations(verb) => verb.run(records?).await,
        Verb::Status(verb) => verb.run(records?).await,
        Verb::Top(verb) => verb.run(format?).await,
        Verb::Budgets(verb) => verb.run(records?).await,
        Verb::Debugging(verb) => verb.run(records?).await,
        Verb::Debug(verb) => verb.run(records?).await,
        Verb::Start(verb) => verb.run(format?).await,
        Verb::Stop(verb) => verb.run(format?).await,
        Verb::Health(verb) => verb.run(records?).await,
        Verb::Tokens(verb) => verb.run(records?).await,
        Verb::Completions(verb) => verb.run(),
        Verb::Man(verb) => verb.run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_each_verb_has_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("glasshouse "), "{} has no example", verb.get_name());
        }
    }
}
