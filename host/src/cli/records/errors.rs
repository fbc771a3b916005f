//! `glasshouse errors`: errors one by one, their groups, what is known of a group, and that it is mended.

mod context;
mod shown;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::group_answer;
use glasshouse::records::ErrorRecord;
use glasshouse_client::Client;
use glasshouse_client::api::{ErrorGroup, Resolve};

use super::kept;
use super::select::{Conditions, Selection};
use super::{Follow, follow, show};
use crate::cli::control::told;
use crate::cli::{Exit, RecordFormat};
use crate::output;
use context::Context;

const ERRORS: &str = "\
Examples:
  glasshouse errors show --data-dir data 'blame=guest and kind~\"^breach\" since 1d'
  glasshouse errors groups --data-dir data --unresolved
  glasshouse errors explain 3f09a1c2b7de --data-dir data
  glasshouse errors resolve 3f09a1c2b7de --notes 'checks the length' --fixed-in 1.3.0 --data-dir data

docs/errors.md says how errors are grouped.";

/// Show and follow errors, their groups, and say that one is mended
#[derive(Args, Debug)]
#[command(after_help = ERRORS)]
pub(crate) struct Errors {
    #[command(subcommand)]
    what: ErrorsVerb,
}

#[derive(Debug, Subcommand)]
enum ErrorsVerb {
    /// The newest ones
    Show(ShowErrors),
    /// The newest ones, and then each new one
    Follow(Follow),
    /// Errors that are the same bug, counted
    #[command(visible_alias = "patterns")]
    Groups(ListGroups),
    /// All that is known of a group: why its errors are one, what to do, its latest errors, and what led to one
    Explain(ExplainGroup),
    /// Say that a group's error is mended; a running host takes it
    Resolve(ResolveGroup),
}

#[derive(Args, Debug)]
struct ShowErrors {
    #[command(flatten)]
    selection: Selection,
    /// Only those whose group is not resolved
    #[arg(long)]
    unresolved: bool,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct ListGroups {
    #[command(flatten)]
    selection: Selection,
    /// Only those that are not resolved
    #[arg(long)]
    unresolved: bool,
}

#[derive(Args, Debug)]
struct Named {
    /// The group, as `errors groups` shows it; its first digits are enough
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args, Debug)]
struct ExplainGroup {
    #[command(flatten)]
    named: Named,
    /// Which of its latest errors to show with what led to it, by its number; the latest if left out
    #[arg(long, value_name = "NUMBER")]
    number: Option<u64>,
}

#[derive(Args, Debug)]
struct ResolveGroup {
    #[command(flatten)]
    named: Named,
    /// What others should know of it
    #[arg(long, value_name = "TEXT", default_value = "")]
    notes: String,
    /// The version of the extension in which it is mended; the one that runs if left out
    #[arg(long, value_name = "VERSION")]
    fixed_in: Option<String>,
}

impl Errors {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what {
            ErrorsVerb::Show(ShowErrors { selection, unresolved, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query)).await?;
                if unresolved {
                    let mut resolved = all(&selection).await?;
                    resolved.retain(|group| group.state == "resolved");
                    show::show_those::<ErrorRecord>(&chosen, format, |extension, error| {
                        !resolved.iter().any(|group| group.extension == extension && group.group == error.group)
                    })
                    .await?;
                } else {
                    show::show::<ErrorRecord>(&chosen, format).await?;
                }
            }
            ErrorsVerb::Follow(Follow { selection, after, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query)).await?;
                follow::follow::<ErrorRecord>(&chosen, after.as_ref(), format).await?;
            }
            ErrorsVerb::Groups(ListGroups { selection, unresolved }) => {
                let mut groups = all(&selection).await?;
                groups.retain(|group| !unresolved || group.state != "resolved");
                groups.truncate(selection.limit.unwrap_or(usize::MAX));
                match format {
                    RecordFormat::Table => shown::groups(&groups)?,
                    _ => output::values(&groups, format)?,
                }
            }
            ErrorsVerb::Explain(ExplainGroup { named, number }) => {
                let group = named.find().await?;
                let extension = named.selection.place.open()?.extension(&group.extension);
                let context = Context::of(&extension, &group, number).await?;
                match format {
                    RecordFormat::Table => shown::explain(&group, &context)?,
                    _ => output::values(&[context.with(&group)], format)?,
                }
            }
            ErrorsVerb::Resolve(ResolveGroup { named, notes, fixed_in }) => {
                let group = named.find().await?;
                let client = named.selection.place.client()?;
                let said = Resolve { notes, version: fixed_in };
                let resolved = told(client.resolve(&group.extension, &group.group, &said).await)?;
                match format {
                    RecordFormat::Table => shown::resolved(&resolved)?,
                    _ => output::values(&[resolved], format)?,
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// The groups of all extensions that are meant, those with the latest errors first.
async fn all(selection: &Selection) -> Result<Vec<ErrorGroup>> {
    let ask = async |client: &Client, extension: &str| client.error_groups(extension).await;
    let mut groups = kept::all(selection, ask, |extension| {
        let stored = extension.error_groups();
        stored.iter().map(|group| group_answer(extension.id(), group, None)).collect()
    })
    .await?;
    // Times of one form and length are in the order of their texts.
    groups.sort_by(|a, b| b.last_seen.cmp(&a.last_seen));
    Ok(groups)
}

impl Named {
    /// The group that is meant.
    async fn find(&self) -> Result<ErrorGroup> {
        let found = all(&self.selection).await?;
        kept::one_of(found, &self.group, "group", "glasshouse errors groups", |group| (&group.group, &group.extension))
    }
}
