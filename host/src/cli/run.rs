//! `glasshouse run`: runs the extensions of a plugin directory, and feeds them.

mod lanes;
mod report;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use glasshouse::{ApiServer, Host, HostLog, ServeError, Status};

use super::feed::Feed;
use super::signals::Stop;
use super::{Exit, Format, Operator, progress};
use crate::output;
use lanes::Lanes;
use report::Ended;
pub(crate) use report::{cause, coloured_state};

/// How much longer than its calls the end may take: a second for instances, one for what is pushed last and three for sealing what is stored, two for replies
/// that nobody reads, and a little more than as much again for a disk that has much to do.
const GRACE: Duration = Duration::from_secs(15);
/// How much longer yet where log files are written: for what is not in them.
const LAST_LINES: Duration = Duration::from_secs(6);

const EXAMPLE: &str = "\
Examples:
  glasshouse run plugins --config glasshouse.toml --feed events.jsonl --exit-when-done
  tail -f events.jsonl | glasshouse run plugins --feed -

A feed has one event a line:
  {\"extension\": \"markdown\", \"event\": \"render\", \"payload\": {\"markdown\": \"# Hi\"}}
  and, if you like, \"correlation_id\", \"user\" and \"tenant\".
Each is answered with a line on standard output, in the order of the feed for each extension:
  {\"extension\", \"event\", \"correlation_id\", \"line\", \"ok\": true, \"payload\"}
  {\"extension\", \"event\", \"correlation_id\", \"line\", \"ok\": false, \"error\": {\"kind\", \"message\"}}
A line that cannot be used is reported on standard error, and the rest goes on.

Ctrl-C or SIGTERM ends the host in order: calls in flight are finished, or given up after host.shutdown_limit;
what is stored is sealed. Twice ends it at once.
Ended so it exits with 0. With --exit-when-done it exits with 4 if an extension failed to load, or is
quarantined at the end; errors in replies leave 0.";

/// Run the extensions of a plugin directory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Run {
    /// The folder with the extensions: <id>/extension.toml with a component, or <id>.wasm
    plugin_dir: PathBuf,
    #[command(flatten)]
    operator: Operator,
    /// Keep telemetry in this folder, so that it outlives the host; as host.data_dir in the configuration
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Serve the API on this address, or off; as host.listen in the configuration [default: 127.0.0.1:7077, and off with
    /// --exit-when-done]
    #[arg(long, value_name = "ADDRESS|off")]
    listen: Option<String>,
    /// Events to pass to the extensions, as JSON lines; - stands for standard input
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
    /// End when the feed is done, instead of waiting for Ctrl-C
    #[arg(long)]
    exit_when_done: bool,
    /// Write the summary, a JSON line for each extension, to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

impl Run {
    pub(crate) async fn run(self, format: Format, host_log: HostLog) -> Result<Exit> {
        let stop = Stop::listen().context("listening for Ctrl-C")?;
        let feed = match &self.feed {
            Some(path) => Some(Feed::open(path).await.with_context(|| format!("reading the feed {}", path.display()))?),
            None => None,
        };
        let summary = match &self.summary {
            Some(path) => Some(File::create(path).with_context(|| format!("writing {}", path.display()))?),
            None => None,
        };
        let mut builder = self.operator.builder().plugin_dir(&self.plugin_dir).host_log(host_log);
        if let Some(folder) = &self.data_dir {
            builder = builder.data_dir(folder);
        }
        if let Some(listen) = &self.listen {
            builder = builder.overrides([format!("host.listen={listen}")]);
        }
        let host = builder.start().await?;
        let control = host.listen().unwrap_or_else(|error| {
            output::warn(format_args!(
                "this host cannot be changed while it runs: its control socket cannot be made: {error}"
            ));
            None
        });
        let served = if self.exit_when_done && host.listens_by_default() { Ok(None) } else { serve(&host).await };
        let api = match served {
            Ok(api) => api,
            Err(error) => {
                drop(control);
                host.shutdown(host.shutdown_limit()).await;
                return Err(error);
            }
        };

        let mut lanes = Lanes::new(&host, &stop);
        let worked = tokio::select! {
            worked = self.work(&host, feed, &mut lanes) => worked,
            () = stop.requested() => Ok(()),
        };
        drop(control);
        let ended = Ended::before_shutdown(&host).await;
        let limit = host.shutdown_limit();
        let finishing = async { tokio::join!(host.shutdown(limit), lanes.finish()) };
        let grace = if host.log_files().is_some() { GRACE + LAST_LINES } else { GRACE };
        let finished = tokio::time::timeout(limit + grace, finishing).await;
        // Last, so that who waits for a call has its reply.
        if let Some(api) = api {
            api.close().await;
        }
        report(&ended, &lanes, format, summary).context("writing the summary")?;
        worked?;
        let Ok(((), written)) = finished else {
            let most = glasshouse::text::duration(limit + grace);
            anyhow::bail!(
                "the end took longer than {most}: nobody reads the replies, or a collector or the disk is slow; what is stored and not sealed \
                 is sealed by the next host"
            );
        };
        written.context("writing the replies")?;
        // Who ends a service in order has no use for how its extensions were.
        Ok(if self.exit_when_done && ended.has_failures() { Exit::Guest } else { Exit::Ok })
    }

    /// Passes on the feed, and waits for what is to be waited for.
    async fn work(&self, host: &Host, feed: Option<Feed>, lanes: &mut Lanes) -> Result<()> {
        if let Some(feed) = feed {
            tokio::join!(progress::loaded(host), lanes.feed(feed)).1.context("reading the feed")?;
        } else {
            progress::loaded(host).await;
        }
        if !self.exit_when_done {
            for extension in host.extensions() {
                if let Status::Failed { cause } = extension.status() {
                    output::note(format_args!("{} failed: {}", extension.id(), glasshouse::text::visible(&cause, 400)));
                }
            }
            output::note("running; Ctrl-C ends it");
            std::future::pending::<()>().await;
        }
        lanes.drain().await;
        Ok(())
    }
}

/// Serves the API, where it can be served. That another host has the usual address keeps nobody from running this one.
async fn serve(host: &Host) -> Result<Option<ApiServer>> {
    match host.serve().await {
        Ok(Some(api)) => {
            let token = match host.first_token() {
                Some(file) => format!("; the token in {} allows everything", file.display()),
                None => String::new(),
            };
            output::note(format_args!("the API listens on {}{token}", api.url()));
            Ok(Some(api))
        }
        Ok(None) => Ok(None),
        Err(error @ (ServeError::Address { .. } | ServeError::Tokens(_))) if host.listens_by_default() => {
            output::warn(format_args!("the API is not served: {error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn report(ended: &Ended, lanes: &Lanes, format: Format, summary: Option<File>) -> std::io::Result<()> {
    let to_file = summary.is_some();
    if let Some(mut file) = summary {
        for line in ended.summaries() {
            writeln!(file, "{}", serde_json::to_string(&line)?)?;
        }
        file.sync_all()?;
    }
    match format {
        Format::Table => output::note(format_args!("{}", ended.report(lanes.totals()))),
        Format::Json if !to_file => {
            for line in ended.summaries() {
                output::json_note(&line)?;
            }
        }
        Format::Json => {}
    }
    Ok(())
}
