//! `glasshouse alerts`: records of alerts one by one, and the alerts themselves: how they stand, what became of them, how often and
//! for how long they fired, and that one is over.

mod shown;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::records::AlertRecord;
use glasshouse::{Clock as _, Severity, SystemClock, alert_answer};
use glasshouse_client::Client;
use glasshouse_client::api::{Alert, AlertStatistic, ResolveAlert};

use super::kept;
use super::select::{Conditions, Selection};
use super::{Follow, follow, show};
use crate::cli::control::told;
use crate::cli::{Exit, RecordFormat};
use crate::output;

const ALERTS: &str = "\
Examples:
  glasshouse alerts list --data-dir data --firing
  glasshouse alerts history 3f09a1c2b7de --data-dir data
  glasshouse alerts resolve 3f09a1c2b7de --note 'the disk was full' --data-dir data
  glasshouse alerts stats --data-dir data --extension-id markdown
  glasshouse alerts show --data-dir data --severity high

docs/alerts.md says what the host raises alerts about, and when one is over.";

/// List alerts that fire or did, their history and statistics; show their records; say that one is over
#[derive(Args, Debug)]
#[command(after_help = ALERTS)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    what: AlertsVerb,
}

#[derive(Debug, Subcommand)]
enum AlertsVerb {
    /// Alerts as they stand: each once, however often it was raised; those that fire first
    List(List),
    /// The newest records: each time that a guest raised one, and that one of the host's began to fire
    Show(ShowAlerts),
    /// The newest records, and then each new one
    Follow(Follow),
    /// When an alert fired and was resolved, and why; those of all alerts if none is named
    History(History),
    /// Say that an alert is over; a running host takes it
    Resolve(ResolveOne),
    /// How often and for how long alerts fired
    Stats(List),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    selection: Selection,
    /// Only those that fire
    #[arg(long)]
    firing: bool,
    /// The least severity
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<Severity>,
}

#[derive(Args, Debug)]
struct ShowAlerts {
    #[command(flatten)]
    selection: Selection,
    /// The least severity
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<Severity>,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct History {
    /// The alert, as `alerts list` shows it; its first digits are enough
    #[arg(value_name = "ALERT")]
    alert: Option<String>,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args, Debug)]
struct ResolveOne {
    /// The alert, as `alerts list` shows it; its first digits are enough
    #[arg(value_name = "ALERT")]
    alert: String,
    #[command(flatten)]
    selection: Selection,
    /// What others should know of it
    #[arg(long, visible_alias = "notes", value_name = "TEXT", default_value = "")]
    note: String,
}

impl Alerts {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what {
            AlertsVerb::List(list) => {
                let alerts = list.all().await?;
                match format {
                    RecordFormat::Table => shown::list(&alerts)?,
                    _ => output::values(&alerts, format)?,
                }
            }
            AlertsVerb::Show(ShowAlerts { selection, severity, query }) => {
                let conditions = Conditions { severity, ..Conditions::new(&query) };
                show::show::<AlertRecord>(&selection.chosen(&conditions).await?, format).await?;
            }
            AlertsVerb::Follow(Follow { selection, after, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query)).await?;
                follow::follow::<AlertRecord>(&chosen, after.as_ref(), format).await?;
            }
            AlertsVerb::History(History { alert, selection }) => {
                let mut alerts = all(&selection).await?;
                if let Some(alert) = &alert {
                    alerts = vec![one_of(alerts, alert)?];
                }
                let steps = shown::steps(&alerts, selection.limit.unwrap_or(usize::MAX));
                match format {
                    RecordFormat::Table => shown::history(alert.and(alerts.first()), &steps)?,
                    _ => output::values(&steps, format)?,
                }
            }
            AlertsVerb::Resolve(ResolveOne { alert, selection, note }) => {
                let alert = one_of(all(&selection).await?, &alert)?;
                let client = selection.place.client()?;
                let said = ResolveAlert { note };
                let resolved = told(client.resolve_alert(&alert.extension, &alert.alert, &said).await)?;
                match format {
                    RecordFormat::Table => shown::resolved(&resolved)?,
                    _ => output::values(&[resolved], format)?,
                }
            }
            AlertsVerb::Stats(list) => {
                let alerts = list.all().await?;
                match format {
                    RecordFormat::Table => shown::statistics(&alerts)?,
                    _ => output::values(&alerts.iter().map(AlertStatistic::from).collect::<Vec<_>>(), format)?,
                }
            }
        }
        Ok(Exit::Ok)
    }
}

impl List {
    /// The alerts that are meant.
    async fn all(&self) -> Result<Vec<Alert>> {
        let is_as_severe = |alert: &Alert| {
            let severity = alert.severity.parse::<Severity>().ok();
            self.severity.is_none_or(|least| severity.is_none_or(|severity| severity >= least))
        };
        let mut alerts = all(&self.selection).await?;
        alerts.retain(|alert| (!self.firing || alert.state == "firing") && is_as_severe(alert));
        alerts.truncate(self.selection.limit.unwrap_or(usize::MAX));
        Ok(alerts)
    }
}

/// The alerts of all extensions that are meant: those that fire first, of them the latest first.
async fn all(selection: &Selection) -> Result<Vec<Alert>> {
    let now = SystemClock::new().now();
    let ask = async |client: &Client, extension: &str| client.alerts(extension).await;
    let mut alerts = kept::all(selection, ask, |extension| {
        extension.alert_states().iter().map(|alert| alert_answer(extension.id(), alert, now)).collect()
    })
    .await?;
    // The states are in the order of the alphabet, and times of one form and length in the order of their texts.
    alerts.sort_by(|a, b| a.state.cmp(&b.state).then_with(|| b.since.cmp(&a.since)));
    Ok(alerts)
}

fn one_of(alerts: Vec<Alert>, start: &str) -> Result<Alert> {
    kept::one_of(alerts, start, "alert", "glasshouse alerts list", |alert| (&alert.alert, &alert.extension))
}
