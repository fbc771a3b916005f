//! `glasshouse export`: takes what is in a data directory, or what a host at an address has, elsewhere, in the formats of other tools.

mod fetch;
mod target;

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use glasshouse::export::{Export as Job, ExportError, Exported, Format, Source, What};
use glasshouse::text::{bytes, count};
use glasshouse::{Query, StoredExtension};

use super::select::{Conditions, Selection};
use super::store::{Store, StoreOf};
use crate::cli::control::told;
use crate::cli::signals::Stop;
use crate::cli::{AnyFormat, Exit, UsageError};
use crate::output;
use target::Target;

/// How long an export takes before it is spoken of.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two words of it.
const TICK: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  glasshouse export logs --data-dir data --query 'level>=warning since 1d' --output logs.jsonl
  glasshouse export errors --data-dir data --format csv --output errors.csv
  glasshouse export traces --data-dir data --format jaeger --output traces.json
  glasshouse export metrics --data-dir data --format otlp-json | gzip > metrics.json.gz

Signals: logs, metrics, errors, alerts, traces, invocations, all.

Formats (docs/export.md):
  jsonl        a JSON object a line; the default
  json         one JSON document
  csv          comma-separated values, safe to open in a spreadsheet
  otlp         OpenTelemetry's protocol in protobuf: logs, errors, alerts, metrics or traces
  otlp-json    the same as JSON, a message a line
  jaeger       what Jaeger's interface opens: traces
  prometheus   metrics as they stand now, text format 0.0.4
  openmetrics  the same as OpenMetrics 1.0";

/// Export what is stored, to a file or to standard output
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in super::super) struct Export {
    /// What is exported [default: all; traces for jaeger, metrics for prometheus and openmetrics]
    #[arg(value_name = "SIGNAL")]
    what: Option<What>,
    #[command(flatten)]
    selection: Selection,
    /// Only what this query asks for
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// The file that it is written to, which is there only when it is whole; standard output if left out
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(in super::super) async fn run(self, format: Option<AnyFormat>) -> Result<Exit> {
        let format = format_of(format)?;
        let what = self.what.unwrap_or(match format {
            Format::Jaeger => What::Traces,
            Format::Prometheus | Format::OpenMetrics => What::Metrics,
            _ => What::All,
        });
        let path = self.output.filter(|path| path != Path::new("-"));
        if path.is_none() && !format.is_for_terminals() && std::io::stdout().is_terminal() {
            return Err(UsageError(format!("{format} is nothing for a terminal; name a file with --output")).into());
        }
        let limit = self.selection.limit;
        let conditions = Conditions::new(&Vec::from_iter(self.query));
        let chosen = self.selection.chosen_of(usize::MAX, &conditions).await?;
        let stop =
            Stop::listen_and_say("stopping: what was written is no whole export").context("listening for Ctrl-C")?;
        if let Store::Host(client) = &chosen.store {
            let (id, question) = chosen.scope(&chosen.question)?;
            let begun = client.export(id, what.as_str(), format.as_str(), &question.text, limit).await;
            fetch::write(told(begun)?, path.as_deref(), &stop).await?;
            return Ok(Exit::Ok);
        }
        let extensions = chosen.extensions().await?;
        let sources = extensions.iter().filter_map(StoreOf::stored).map(StoredExtension::source).collect();
        let task = Task { sources, what, format, query: chosen.question.query.clone(), limit, path };
        tokio::task::spawn_blocking(move || task.run(&stop)).await.context("exporting")??;
        Ok(Exit::Ok)
    }
}

/// The format that was named.
fn format_of(named: Option<AnyFormat>) -> Result<Format, UsageError> {
    Ok(match named {
        None | Some(AnyFormat::Jsonl) => Format::JsonLines,
        Some(AnyFormat::Json) => Format::Json,
        Some(AnyFormat::Csv) => Format::Csv,
        Some(AnyFormat::Otlp) => Format::Otlp,
        Some(AnyFormat::OtlpJson) => Format::OtlpJson,
        Some(AnyFormat::Jaeger) => Format::Jaeger,
        Some(AnyFormat::Prometheus) => Format::Prometheus,
        Some(AnyFormat::OpenMetrics) => Format::OpenMetrics,
        Some(AnyFormat::Table) => {
            let known: Vec<_> = Format::ALL.iter().map(|format| format.as_str()).collect();
            return Err(UsageError(format!("a table is for people; export as one of {}", known.join(", "))));
        }
    })
}

/// An export, on a thread of its own.
struct Task {
    sources: Vec<Source>,
    what: What,
    format: Format,
    query: Query,
    limit: Option<usize>,
    path: Option<PathBuf>,
}

impl Task {
    fn run(self, stop: &Stop) -> Result<()> {
        let Self { sources, what, format, query, limit, path } = self;
        let job = Job { sources: &sources, what, format, query: &query, limit };
        let mut target = Target::open(path.as_deref())?;
        let mut progress = Progress::new(path.is_some());
        let written = job.write(&mut target, &mut |exported| {
            progress.show(exported);
            if stop.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.clear();
        let exported = match written {
            Ok(exported) => exported,
            Err(error @ ExportError::NoPlace { .. }) => return Err(UsageError(error.to_string()).into()),
            // Not as an error of the system: a pipe that is closed is no end of an export that nobody need hear of.
            Err(error) => match path {
                Some(path) => bail!("exporting to {}: {error}; {}", path.display(), target.given_up()),
                None => bail!("exporting: {error}; what was written is no whole export"),
            },
        };
        target.finish()?;
        tell(&exported, format, path.as_deref());
        Ok(())
    }
}

/// Says what was written, if that is worth a word.
fn tell(exported: &Exported, format: Format, path: Option<&Path>) {
    let Exported { written, bytes: size, missing, left_out, .. } = *exported;
    let what = match format {
        Format::Prometheus | Format::OpenMetrics => "series",
        Format::Jaeger => "spans",
        _ => "records",
    };
    if missing > 0 {
        output::warn(format_args!(
            "{} records between these are missing: what was stored of them is damaged, or went meanwhile",
            count(missing)
        ));
    }
    if left_out > 0 {
        output::warn(format_args!("{} {what} are left out: {format} has no room for them", count(left_out)));
    }
    if let Some(path) = path {
        output::note(format_args!("wrote {} {what} ({}) to {}", count(written), bytes(size), path.display()));
    }
    if written == 0 {
        output::note("nothing is stored that fits");
    }
}

/// Shows on a terminal how far a long export is.
struct Progress {
    started: Instant,
    shown: Option<Instant>,
    has_room: bool,
}

impl Progress {
    fn new(to_file: bool) -> Self {
        let has_room = if to_file { output::is_for_people() } else { output::has_room_for_progress() };
        Self { started: Instant::now(), shown: None, has_room }
    }

    fn show(&mut self, exported: &Exported) {
        let is_due = match self.shown {
            None => self.started.elapsed() >= PATIENCE,
            Some(shown) => shown.elapsed() >= TICK,
        };
        if self.has_room && is_due {
            self.shown = Some(Instant::now());
            let Exported { seen, written, bytes: size, .. } = exported;
            let text = match seen {
                // A host at an address does not tell how many records it has looked at.
                0 => format!("exporting: {}", bytes(*size)),
                seen => format!("exporting: {} of {} records, {}", count(*written), count(*seen), bytes(*size)),
            };
            output::progress(&text);
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            output::progress("");
        }
    }
}
