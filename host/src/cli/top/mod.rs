//! `glasshouse top`: what the extensions of a running host do at this moment, looked at again and again.

mod figures;
mod screen;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use glasshouse_client::Client;
use glasshouse_client::api::Overview;
use tokio::time::{MissedTickBehavior, interval};

use super::control::told;
use super::records::{Place, duration};
use super::{Exit, Format, UsageError};
use crate::output::{self, Paint};
use figures::Frame;

/// Looks are no closer to each other, so that looking costs the host next to nothing.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);
/// Nor are they further apart: nobody watches for longer.
const MOST_INTERVAL: Duration = Duration::from_hours(1);

const EXAMPLES: &str = "\
Examples:
  glasshouse top --data-dir data
  glasshouse top --sort memory --interval 5s --data-dir data
  glasshouse top --once --format json --data-dir data

On a terminal: q ends it; the arrow keys choose the extension whose logs are shown; c, t, f, m, e, l and n sort by calls, CPU time, fuel,
memory, errors, logs and name. Elsewhere it prints a table, or with --format json a line, at each look. It needs a host that runs: with that
data directory (glasshouse run plugins --data-dir data), or at --host URL";

/// Show what the extensions of a running host do now: calls, CPU time, fuel, memory, errors, logs and alerts
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Top {
    /// Which extensions come first: those with the most of this
    #[arg(long, value_enum, default_value_t = SortBy::Cpu)]
    sort: SortBy,
    /// How often to look
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// Print what is done within one interval, and end
    #[arg(long)]
    once: bool,
    /// Only this extension
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// What extensions are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    /// Calls
    Calls,
    /// CPU time
    Cpu,
    /// Fuel
    Fuel,
    /// Memory
    Memory,
    /// Errors
    Errors,
    /// Logs
    Logs,
    /// Their ids
    Name,
}

/// How each extension was doing at one moment.
struct Look {
    at: Instant,
    overviews: Vec<Overview>,
}

impl Look {
    /// Asks a host, for one extension or all.
    async fn take(client: &Client, only: Option<&str>) -> Result<Self> {
        let overviews = match only {
            Some(id) => vec![told(client.overview(id).await)?],
            None => told(client.overviews().await)?,
        };
        Ok(Self { at: Instant::now(), overviews })
    }
}

impl Top {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        if !(LEAST_INTERVAL..=MOST_INTERVAL).contains(&self.interval) {
            return Err(UsageError("--interval is a duration from 200ms to 1h".to_owned()).into());
        }
        let client = self.place.client()?;
        if format == Format::Table && !self.once && std::io::stdout().is_terminal() {
            screen::show(client, self.extension_id, self.interval, self.sort).await?;
            return Ok(Exit::Ok);
        }
        let mut looks = interval(self.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        let mut before = Look::take(&client, self.extension_id.as_deref()).await?;
        for number in 0_u64.. {
            looks.tick().await;
            let now = Look::take(&client, self.extension_id.as_deref()).await?;
            let frame = Frame::between(&before, &now, self.sort);
            match format {
                Format::Json => output::json(&frame)?,
                Format::Table => {
                    let apart = if number == 0 { "" } else { "\n" };
                    output::line(format_args!("{apart}{}\n{}", frame.title(), frame.table(Paint::stdout())))?;
                }
            }
            if self.once {
                break;
            }
            before = now;
        }
        Ok(Exit::Ok)
    }
}
