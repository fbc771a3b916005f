//! `glasshouse budgets`, `debugging`, `status`, `start`, `stop`: what changes a running host, by the socket in its data
//! directory or at its address.

mod health;
mod shown;
mod tokens;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::text::visible;
use glasshouse_client::api::{Assignments, Changes, code};
use glasshouse_client::{Client, ClientError};
use serde::Serialize;

use super::records::Place;
use super::{Exit, Format, RecordFormat, UsageError};
use crate::output;
pub(crate) use health::Health;
pub(crate) use tokens::Tokens;

const BUDGETS: &str = "\
Examples:
  glasshouse budgets show --data-dir data
  glasshouse budgets set markdown budget.deadline=2s budget.memory=32MiB --data-dir data
  glasshouse budgets release markdown --data-dir data

They need a host that runs: with that data directory (glasshouse run plugins --data-dir data), or at --host URL";
const DEBUGGING: &str = "\
Examples:
  glasshouse debugging show markdown --data-dir data
  glasshouse debugging set markdown debugging.log_level=warning debugging.tracing_enabled=true --data-dir data

They need a host that runs: with that data directory (glasshouse run plugins --data-dir data), or at --host URL";
const STATUS: &str = "\
Example:
  glasshouse status --data-dir data";
const SWITCH: &str = "\
Examples:
  glasshouse stop --extension-id markdown --data-dir data
  glasshouse start --extension-id markdown --data-dir data

The extension itself runs on; its calls are still metered, and what the host says of it is still stored.";

/// What a value is set by.
const EXAMPLE: &str = "budget.deadline=2s";

/// Problems that whoever typed the command can mend by another command line.
const MISTAKES: [&str; 13] = [
    code::UNKNOWN_EXTENSION,
    code::UNKNOWN_GROUP,
    code::UNKNOWN_SESSION,
    code::SESSION_ENDED,
    code::TOO_MANY_SESSIONS,
    code::UNKNOWN_ALERT,
    code::NOT_FIRING,
    code::INVALID_SETTING,
    code::INVALID_BODY,
    code::INVALID_PATH,
    code::INVALID_QUERY,
    code::NOT_LIVE,
    code::UNKNOWN_TOKEN,
];

/// Show what a running host's extensions use of their budgets, change budgets, end a quarantine
#[derive(Args, Debug)]
#[command(after_help = BUDGETS)]
pub(crate) struct Budgets {
    #[command(subcommand)]
    verb: BudgetsVerb,
}

#[derive(Debug, Subcommand)]
enum BudgetsVerb {
    /// How extensions stand, and each budget: value, origin, use now and at its peak
    Show(Show),
    /// Change budgets while the extension runs, until its host ends
    Set(Set),
    /// End a warning, throttling or quarantine
    Release(Release),
}

/// Show and change how a running host watches its extensions
#[derive(Args, Debug)]
#[command(after_help = DEBUGGING)]
pub(crate) struct Debugging {
    #[command(subcommand)]
    verb: DebuggingVerb,
}

#[derive(Debug, Subcommand)]
enum DebuggingVerb {
    /// How an extension is watched
    Show(Show),
    /// Change how an extension is watched while it runs, until its host ends
    Set(Set),
}

#[derive(Args, Debug)]
struct Show {
    /// Only this extension
    #[arg(value_name = "EXTENSION", conflicts_with = "extension_id")]
    extension: Option<String>,
    /// The same
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
struct Set {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    place: Place,
}

/// Whose values are to be others, and which.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// Whose; the first of the words if left out
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
    /// The extension, and what to set
    #[arg(value_name = "EXTENSION | KEY=VALUE", required = true)]
    words: Vec<String>,
}

impl Target {
    /// The extension, and keys with values.
    pub(super) fn split(&self) -> Result<(&str, &[String]), UsageError> {
        let (extension, values) = match (&self.extension_id, &*self.words) {
            (Some(id), values) => (id, values),
            (None, [first, values @ ..]) if !first.contains('=') => (first, values),
            _ => return Err(UsageError("name the extension first, or with --extension-id".to_owned())),
        };
        if values.is_empty() {
            return Err(UsageError(format!("write after {} what to set, as KEY=VALUE", visible(extension, 80))));
        }
        Ok((extension, values))
    }
}

#[derive(Args, Debug)]
struct Release {
    /// Which extension
    #[arg(value_name = "EXTENSION", required_unless_present = "extension_id", conflicts_with = "extension_id")]
    extension: Option<String>,
    /// The same
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Show how a running host's extensions are doing
#[derive(Args, Debug)]
#[command(after_help = STATUS)]
pub(crate) struct Status {
    /// Only this extension
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Switch an extension's debugging on, as it was before `stop`
#[derive(Args, Debug)]
#[command(after_help = SWITCH)]
pub(crate) struct Start {
    #[command(flatten)]
    switch: Switch,
}

/// Switch an extension's debugging off
#[derive(Args, Debug)]
#[command(after_help = SWITCH)]
pub(crate) struct Stop {
    #[command(flatten)]
    switch: Switch,
}

#[derive(Args, Debug)]
struct Switch {
    /// Which extension
    #[arg(long, value_name = "ID")]
    extension_id: String,
    #[command(flatten)]
    place: Place,
}

impl Budgets {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.verb {
            BudgetsVerb::Show(Show { extension, extension_id, place }) => {
                let client = place.client()?;
                let all = match extension.or(extension_id) {
                    Some(id) => vec![told(client.budgets(&id).await)?],
                    None => told(client.all_budgets().await)?,
                };
                match format {
                    RecordFormat::Table => shown::budgets(&all)?,
                    RecordFormat::Json => output::values(&all, format)?,
                    RecordFormat::Csv => {
                        let mut rows = Vec::new();
                        for one in all {
                            rows.extend(one.budgets.into_iter().map(row_of(&one.extension)));
                        }
                        output::values(&rows, format)?;
                    }
                }
            }
            BudgetsVerb::Set(Set { target, place }) => {
                let (extension, values) = target.split()?;
                let values = assignments(values, EXAMPLE)?;
                change(&told(place.client()?.set_budgets(extension, &values).await)?, format)?;
            }
            BudgetsVerb::Release(Release { extension, extension_id, place }) => {
                // The command line has one of them.
                let extension = extension.or(extension_id).unwrap_or_default();
                let released = told(place.client()?.release(&extension).await)?;
                match (format, &released.from) {
                    (RecordFormat::Json | RecordFormat::Csv, _) => output::values(&[released], format)?,
                    (_, Some(from)) => output::line(format_args!("{extension} is healthy; it was {from}"))?,
                    (_, None) => output::line(format_args!("{extension}: there was nothing to end"))?,
                }
            }
        }
        Ok(Exit::Ok)
    }
}

impl Debugging {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.verb {
            DebuggingVerb::Show(Show { extension, extension_id, place }) => {
                let client = place.client()?;
                let ids = match extension.or(extension_id) {
                    Some(id) => vec![id],
                    None => told(client.managers().await)?.into_iter().map(|manager| manager.extension).collect(),
                };
                let mut rows = Vec::new();
                for (index, id) in ids.iter().enumerate() {
                    let settings = told(client.settings(id).await)?;
                    match format {
                        RecordFormat::Table => shown::settings(&settings, index == 0)?,
                        RecordFormat::Json => output::json(&settings)?,
                        RecordFormat::Csv => rows.extend(settings.settings.into_iter().map(row_of(id))),
                    }
                }
                if format == RecordFormat::Csv {
                    output::values(&rows, format)?;
                }
            }
            DebuggingVerb::Set(Set { target, place }) => {
                let (extension, values) = target.split()?;
                let values = assignments(values, EXAMPLE)?;
                change(&told(place.client()?.set(extension, &values).await)?, format)?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl Status {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        status(&self.place.client()?, self.extension_id.as_deref(), format).await
    }
}

/// Shows how extensions are doing: one, or all of a host.
pub(super) async fn status(client: &Client, extension: Option<&str>, format: RecordFormat) -> Result<Exit> {
    let all = match extension {
        Some(id) => vec![told(client.manager(id).await)?],
        None => told(client.managers().await)?,
    };
    match format {
        RecordFormat::Table => shown::managers(&all)?,
        RecordFormat::Json | RecordFormat::Csv => output::values(&all, format)?,
    }
    Ok(Exit::Ok)
}

/// A row of a table about several extensions.
#[derive(Serialize)]
struct Row<T> {
    extension: String,
    #[serde(flatten)]
    of: T,
}

/// Makes rows about an extension.
fn row_of<T>(extension: &str) -> impl Fn(T) -> Row<T> {
    move |of| Row { extension: extension.to_owned(), of }
}

impl Start {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        self.switch.run(true, format.into()).await
    }
}

impl Stop {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        self.switch.run(false, format.into()).await
    }
}

impl Switch {
    async fn run(self, on: bool, format: RecordFormat) -> Result<Exit> {
        let changes = told(self.place.client()?.switch(&self.extension_id, on).await)?;
        change(&changes, format)?;
        Ok(Exit::Ok)
    }
}

/// Tells a mistake in the command line from what keeps the host from doing it.
pub(super) fn told<T>(result: Result<T, ClientError>) -> Result<T> {
    result.map_err(|error| match error {
        ClientError::Refused(problem) if MISTAKES.contains(&problem.code.as_str()) => UsageError(problem.detail).into(),
        other => other.into(),
    })
}

/// Keys and values as they were typed; `example` is one.
pub(super) fn assignments(values: &[String], example: &str) -> Result<Assignments> {
    let mut assignments = Assignments::new();
    for text in values {
        let Some((key, value)) = text.split_once('=') else {
            let text = visible(text, 80);
            return Err(UsageError(format!("{text}: a value is missing; write key=value, such as {example}")).into());
        };
        assignments.insert(key.trim().to_owned(), value.to_owned());
    }
    Ok(assignments)
}

fn change(changes: &Changes, format: RecordFormat) -> Result<()> {
    match format {
        RecordFormat::Table => shown::changes(changes)?,
        RecordFormat::Json | RecordFormat::Csv => output::values(std::slice::from_ref(changes), format)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use glasshouse_client::api::Problem;

    use super::*;

    #[test]
    fn only_what_another_command_line_mends_is_a_usage_error() {
        for (status, code, expect) in [
            (404, code::UNKNOWN_EXTENSION, true),
            (422, code::INVALID_SETTING, true),
            (409, code::NOT_LIVE, true),
            (409, code::UNAVAILABLE, false),
            (404, code::NOT_FOUND, false),
            (504, code::TIMEOUT, false),
        ] {
            let refused = ClientError::Refused(Problem::new(status, code, "", "why"));
            let error = told::<()>(Err(refused)).expect_err("it is refused");
            assert_eq!(error.is::<UsageError>(), expect, "{code}");
        }
    }
}
