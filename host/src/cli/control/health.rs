//! `glasshouse health`: what of a running host and its extensions works, what does not, and what to do about it.

use anyhow::Result;
use clap::Args;
use glasshouse::text::visible;
use glasshouse_client::api;

use super::super::records::Place;
use super::super::{Exit, RecordFormat};
use super::told;
use crate::output::{self, Align, Paint, Table};

/// Characters of what was found, which may quote a guest.
const DETAIL: usize = 400;

const EXAMPLES: &str = "\
Examples:
  glasshouse health --data-dir data
  glasshouse health --extension-id markdown --check --data-dir data

Exits with 4 if something is unhealthy.";

/// Show the health of a running host, or of one of its extensions
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Health {
    /// Only that of this extension
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
    /// Ask the extension now, instead of telling what it said last
    #[arg(long, requires = "extension_id")]
    check: bool,
    #[command(flatten)]
    place: Place,
}

impl Health {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        let client = self.place.client()?;
        let health = told(match &self.extension_id {
            Some(id) if self.check => client.check_health(id).await,
            Some(id) => client.health(id).await,
            None => client.host_health().await,
        })?;
        match format {
            RecordFormat::Table => show(&health)?,
            RecordFormat::Json => output::json(&health)?,
            RecordFormat::Csv => output::values(&health.checks, format)?,
        }
        Ok(if health.status == "unhealthy" { Exit::Guest } else { Exit::Ok })
    }
}

fn show(health: &api::Health) -> std::io::Result<()> {
    let paint = Paint::stdout();
    let coloured = |status: &str| match status.trim_end() {
        "healthy" => paint.green(status),
        "unhealthy" => paint.red(status),
        _ => paint.yellow(status),
    };
    output::line(format_args!("{}", coloured(&health.status)))?;
    let mut table = Table::new(&["check", "status", "found", "what to do"].map(|name| (name, Align::Left)));
    for check in &health.checks {
        let text = |text: &str| visible(text, DETAIL).into_owned();
        table.row([text(&check.name), check.status.clone(), text(&check.detail), text(&check.remedy)]);
    }
    output::line(table.render(paint, |column, cell| (column == 1).then(|| coloured(cell))))
}
