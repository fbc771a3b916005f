//! `glasshouse debug`: debug sessions of a running host, and what they collected, also after their host is gone.

mod shown;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, SpanRecord};
use glasshouse::{SessionState, Signal, session_answer};
use glasshouse_client::ClientError;
use glasshouse_client::api::{Collected, Session, StartSession};

use super::printer::Printer;
use super::select::{self, Conditions, Place, Selection};
use super::store::StoreOf;
use super::{kept, show};
use crate::cli::control::{Target, assignments, told};
use crate::cli::{Exit, RecordFormat, UsageError};
use crate::output::{self, Paint};

/// Records of each signal that are shown where nobody says otherwise.
const LIMIT: usize = 20;

const DEBUG: &str = "\
Examples:
  glasshouse debug start markdown log_level=trace tracing_enabled=true --for 10m --data-dir data
  glasshouse debug list --data-dir data
  glasshouse debug stop 3f09a1c2b7de --data-dir data
  glasshouse debug show 3f09a1c2b7de --data-dir data
  glasshouse debug show 3f09a1c2b7de --data-dir data --signal logs --limit 1000 'level>=warning'

start and stop need a host that runs with that data directory: glasshouse run plugins --data-dir data
docs/debug-sessions.md says what holds while a session is active.";

/// Watch an extension otherwise for a while, and see what was stored of it meanwhile; without a verb, as `debug list`
#[derive(Args, Debug)]
#[command(after_help = DEBUG)]
pub(crate) struct Debug {
    #[command(subcommand)]
    what: Option<DebugVerb>,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Debug, Subcommand)]
enum DebugVerb {
    /// Start a session: override how an extension is watched, until it is stopped, its time is over, or its host ends
    Start(Start),
    /// End a session: what it has overridden is as it would be without it
    Stop(Named),
    /// All sessions, those that were started last first
    List(List),
    /// A session, and what was stored of the extension meanwhile
    Show(Show),
}

#[derive(Args, Debug)]
struct Start {
    #[command(flatten)]
    target: Target,
    /// For how long, 1s to 24h [default: 15m]
    #[arg(long = "for", value_name = "DURATION", value_parser = select::duration)]
    lasting: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
struct Named {
    /// The session, as `debug list` shows it; its first digits are enough
    #[arg(value_name = "SESSION")]
    session: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args, Debug)]
struct Show {
    #[command(flatten)]
    named: Named,
    /// Only records of this signal: logs, metrics, errors, spans, alerts or invocations; may be given several times
    #[arg(long = "signal", value_name = "SIGNAL")]
    signals: Vec<Signal>,
    /// At most so many records of each signal
    #[arg(long, value_name = "N", default_value_t = LIMIT)]
    limit: usize,
    /// Only records that this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

impl Debug {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what.unwrap_or(DebugVerb::List(List { selection: self.selection })) {
            DebugVerb::Start(Start { target, lasting, place }) => {
                let (extension, values) = target.split()?;
                let for_ms = lasting.map(|lasting| u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX));
                let wanted = StartSession { set: assignments(values, "log_level=trace")?, for_ms };
                let started = told(place.client()?.start_session(extension, &wanted).await)?;
                match format {
                    RecordFormat::Table => shown::started(&started)?,
                    _ => output::values(&[started], format)?,
                }
            }
            DebugVerb::Stop(named) => {
                let session = named.find().await?;
                let client = named.place.client()?;
                let stopped = told(client.stop_session(&session.extension, &session.session).await)?;
                match format {
                    RecordFormat::Table => shown::stopped(&stopped)?,
                    _ => output::values(&[stopped], format)?,
                }
            }
            DebugVerb::List(List { selection }) => {
                let mut sessions = all(&selection.place, &selection.extensions().await?).await?;
                sessions.truncate(selection.limit.unwrap_or(usize::MAX));
                match format {
                    RecordFormat::Table => shown::sessions(&sessions)?,
                    _ => output::values(&sessions, format)?,
                }
            }
            DebugVerb::Show(show) => show.run(format).await?,
        }
        Ok(Exit::Ok)
    }
}

/// The sessions of these extensions, those that were started last first: as their host tells them, and as records do of those that it
/// does not know.
async fn all(place: &Place, extensions: &[StoreOf]) -> Result<Vec<Session>> {
    // Before the host is asked: it knows each one that is active by then, so that none is taken for one that was cut off.
    let recorded: Vec<_> = extensions
        .iter()
        .filter_map(StoreOf::stored)
        .flat_map(|extension| {
            extension.debug_sessions().into_iter().map(|session| session_answer(extension.id(), &session))
        })
        .collect();
    let mut sessions = match place.client()?.all_sessions().await {
        Err(ClientError::NoHost(_)) => Vec::new(),
        told_by_host => told(told_by_host)?,
    };
    sessions.retain(|session| extensions.iter().any(|extension| extension.id() == session.extension));
    let known: HashSet<_> = sessions.iter().map(|session| session.session.clone()).collect();
    sessions.extend(recorded.into_iter().filter(|session| !known.contains(&session.session)));
    // Times of one form and length are in the order of their texts.
    sessions.sort_by(|a, b| b.started.cmp(&a.started));
    Ok(sessions)
}

impl Named {
    /// The session that is meant.
    async fn find(&self) -> Result<Session> {
        let found = all(&self.place, &self.place.open()?.extensions().await?).await?;
        kept::one_of(found, &self.session, "debug session", "glasshouse debug list", |session| {
            (&session.session, &session.extension)
        })
    }
}

/// How a session stands; `None` where a host of another version says something else.
fn state(session: &Session) -> Option<SessionState> {
    session.state.parse().ok()
}

/// Why a session is not written as comma-separated values.
const NO_TABLE: &str = "a session with its records is no table; use json, or --format csv with the verb of each signal";

impl Show {
    async fn run(self, format: RecordFormat) -> Result<()> {
        if format == RecordFormat::Csv {
            return Err(UsageError(NO_TABLE.to_owned()).into());
        }
        let session = self.named.find().await?;
        let mut conditions = Conditions::new(&self.query);
        // What came after the end of its host is told apart from it by time alone.
        conditions.until = (state(&session) == Some(SessionState::CutOff)).then(|| session.until.clone());
        let question = conditions.question()?;
        let extension = self.named.place.open()?.extension(&session.extension);
        match format {
            RecordFormat::Table => shown::session(&session, &extension).await?,
            _ => output::json(&session)?,
        }
        let wanted = |signal: &Signal| self.signals.is_empty() || self.signals.contains(signal);
        for signal in Signal::ALL.iter().filter(|signal| wanted(signal)) {
            let Some(part) = session.collected.iter().find(|part| part.signal == signal.as_str()) else { continue };
            let among = show::Among {
                extension: &extension,
                sequences: sequences(part),
                question: &question,
                limit: self.limit,
            };
            let printer = Printer::new(format, &[], &[*signal])?;
            let head = |records: usize| match format {
                RecordFormat::Table => {
                    output::line(format_args!("\n{}", Paint::stdout().bold(&heading(*signal, records, part))))
                }
                _ => Ok(()),
            };
            match signal {
                Signal::Log => show::show_among::<LogRecord>(&among, head, &printer).await,
                Signal::Metric => show::show_among::<MetricRecord>(&among, head, &printer).await,
                Signal::Error => show::show_among::<ErrorRecord>(&among, head, &printer).await,
                Signal::Span => show::show_among::<SpanRecord>(&among, head, &printer).await,
                Signal::Alert => show::show_among::<AlertRecord>(&among, head, &printer).await,
                Signal::Invocation => show::show_among::<InvocationRecord>(&among, head, &printer).await,
            }?;
        }
        Ok(())
    }
}

fn sequences(part: &Collected) -> std::ops::Range<u64> {
    part.from..part.records.map_or(u64::MAX, |records| part.from.saturating_add(records))
}

/// Above the records of a signal.
fn heading(signal: Signal, shown: usize, part: &Collected) -> String {
    match part.records {
        Some(all) if all > shown as u64 => format!("{signal}: {shown} of {all}, the newest that fit"),
        _ => format!("{signal}: {shown}"),
    }
}
