//! `glasshouse logs`, `errors`, `metrics`, `traces`, `alerts`, `invocations`, `debug`, `export`: what is in a data directory, whether its host
//! runs, has stopped or was killed, or what a host at an address has.

mod activity;
mod alerts;
mod digest;
mod errors;
mod export;
mod follow;
mod kept;
pub(crate) mod lines;
mod listen;
mod metrics;
mod printer;
mod select;
mod sessions;
mod show;
mod store;
mod traces;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::records::{InvocationRecord, LogRecord};
use glasshouse::{Cursor, Level};

use super::{Exit, RecordFormat};
pub(super) use activity::Activity;
pub(super) use alerts::Alerts;
pub(super) use errors::Errors;
pub(super) use export::Export;
pub(crate) use metrics::Metrics;
use select::{Conditions, Selection};
pub(super) use select::{Place, duration};
pub(crate) use sessions::Debug;
pub(super) use traces::{TraceVerb, Traces};

const QUERIES: &str = "\
Filters, and what `search` takes, are one language (docs/query.md):
  level>=warning and message~\"time ?out\" and user=u1 and field.status>=500 since 15m limit 100";

const LOGS: &str = "\
Examples:
  glasshouse logs show --data-dir data --level warning
  glasshouse logs search --data-dir data --extension-id access-log 'malformed since 1h'
  glasshouse logs follow --data-dir data --format json
  glasshouse logs patterns --data-dir data 'level>=warning since 1d'
  glasshouse logs around --data-dir data 5f0c1d2e.2a.logs.markdown";

/// Show, search and follow logs
#[derive(Args, Debug)]
#[command(after_help = LOGS, after_long_help = format!("{LOGS}\n\n{QUERIES}"))]
pub(crate) struct Logs {
    #[command(subcommand)]
    what: LogsVerb,
}

#[derive(Debug, Subcommand)]
enum LogsVerb {
    /// The newest logs
    Show(ShowLogs),
    /// The newest logs that a query asks for
    Search(Search),
    /// The newest logs, and then each new one
    Follow(Follow),
    /// The logs before and after one of them
    Around(Around),
    /// How many logs of each level there were over time
    Counts(Counts),
    /// Logs that say the same but for numbers and ids, counted
    Patterns(Patterns),
}

#[derive(Args, Debug)]
struct ShowLogs {
    #[command(flatten)]
    selection: Selection,
    /// The least level
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Go on with each new one
    #[arg(long)]
    follow: bool,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct Search {
    #[command(flatten)]
    selection: Selection,
    /// What to look for
    #[arg(value_name = "QUERY", required = true)]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct Follow {
    #[command(flatten)]
    selection: Selection,
    /// Start after this record, as `--format json` has told it
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct Around {
    #[command(flatten)]
    place: select::Place,
    /// The record, as `--format json` has told it
    cursor: Cursor,
    /// How many before it
    #[arg(long, default_value_t = 10)]
    before: usize,
    /// How many after it
    #[arg(long, default_value_t = 10)]
    after: usize,
}

#[derive(Args, Debug)]
struct Counts {
    #[command(flatten)]
    selection: Selection,
    /// How long each row is; by the time that the logs span if left out
    #[arg(long, value_name = "DURATION", value_parser = select::duration)]
    bucket: Option<Duration>,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct Patterns {
    #[command(flatten)]
    selection: Selection,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

impl Logs {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what {
            LogsVerb::Show(ShowLogs { selection, level, follow, query }) => {
                let conditions = Conditions { level, ..Conditions::new(&query) };
                let chosen = selection.chosen(&conditions).await?;
                if follow {
                    follow::follow::<LogRecord>(&chosen, None, format).await
                } else {
                    show::show::<LogRecord>(&chosen, format).await
                }
            }
            LogsVerb::Search(Search { selection, query }) => {
                show::show::<LogRecord>(&selection.chosen(&Conditions::new(&query)).await?, format).await
            }
            LogsVerb::Follow(Follow { selection, after, query }) => {
                follow::follow::<LogRecord>(&selection.chosen(&Conditions::new(&query)).await?, after.as_ref(), format)
                    .await
            }
            LogsVerb::Around(Around { place, cursor, before, after }) => {
                show::around::<LogRecord>(&place.open()?, &cursor, before, after, format).await
            }
            LogsVerb::Counts(Counts { selection, bucket, query }) => {
                digest::counts(&selection.chosen(&Conditions::new(&query)).await?, bucket, format).await
            }
            LogsVerb::Patterns(Patterns { selection, query }) => {
                digest::patterns(&selection.chosen(&Conditions::new(&query)).await?, format).await
            }
        }
        .map(|()| Exit::Ok)
    }
}

const INVOCATIONS: &str = "\
Examples:
  glasshouse invocations show --data-dir data 'outcome!=ok or duration>1s'";

/// Show and follow invocations: each call of an extension, with its cost and outcome
#[derive(Args, Debug)]
#[command(after_help = INVOCATIONS)]
pub(crate) struct Invocations {
    #[command(subcommand)]
    what: InvocationsVerb,
}

#[derive(Debug, Subcommand)]
enum InvocationsVerb {
    /// The newest ones
    Show(ShowInvocations),
    /// The newest ones, and then each new one
    Follow(Follow),
}

#[derive(Args, Debug)]
struct ShowInvocations {
    #[command(flatten)]
    selection: Selection,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

impl Invocations {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what {
            InvocationsVerb::Show(ShowInvocations { selection, query }) => {
                show::show::<InvocationRecord>(&selection.chosen(&Conditions::new(&query)).await?, format).await
            }
            InvocationsVerb::Follow(Follow { selection, after, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query)).await?;
                follow::follow::<InvocationRecord>(&chosen, after.as_ref(), format).await
            }
        }
        .map(|()| Exit::Ok)
    }
}
