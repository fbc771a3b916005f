//! `glasshouse call`: calls one extension once, and shows what it answered, what it cost and what it logged.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use glasshouse::records::{FieldValue, InvocationRecord, LogRecord, StackFrame};
use glasshouse::text::{self, visible};
use glasshouse::{CallError, Event, Extension, Failure, Level, Reply, Trigger, limits};
use serde::Serialize;

use super::payload::{JSON, Shown, ShownError};
use super::{Exit, Format, Operator, UsageError, progress};
use crate::output::{self, Paint};

/// Logs that are shown.
const LOGS: usize = 100;
/// Frames of a stack that are shown to people.
const FRAMES: usize = 20;

const EXAMPLE: &str = "\
Examples:
  glasshouse call plugins/markdown --event render --payload '{\"markdown\": \"# Hi\"}'
  glasshouse call target/greeter.wasm --event greet --payload @event.json --user ada
  echo '\"Ada\"' | glasshouse call . --event greet --payload -

The reply's payload goes to standard output; cost and logs go to standard error.
Exits with 4 if the extension failed, or answered with an error.";

/// Call an extension once
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Call {
    /// A component file, or a folder with an extension.toml
    #[arg(value_name = "EXTENSION")]
    path: PathBuf,
    /// The event's name
    #[arg(long, value_name = "NAME")]
    event: String,
    /// The event's payload: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "null", allow_hyphen_values = true)]
    payload: String,
    /// The payload's media type; where it is not JSON, the payload is sent unchecked
    #[arg(long, value_name = "TYPE", default_value = JSON)]
    content_type: String,
    /// On whose behalf
    #[arg(long)]
    user: Option<String>,
    /// For which customer
    #[arg(long)]
    tenant: Option<String>,
    /// What the call's records are found by: 1 to 128 visible ASCII characters
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

/// What came of a call, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    extension: &'a str,
    event: &'a str,
    ok: bool,
    #[serde(flatten)]
    reply: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<OutcomeError>,
    invocation: Option<InvocationRecord>,
    logs: Vec<LogRecord>,
}

#[derive(Serialize)]
struct OutcomeError {
    #[serde(flatten)]
    error: ShownError,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stack: Vec<StackFrame>,
}

impl Call {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        let payload = self.read_payload()?;
        let host = self.operator.builder().extension(&self.path).start().await?;
        let Some(extension) = host.extensions().next() else {
            anyhow::bail!("the extension is switched off by its configuration (enabled = false)");
        };
        progress::loaded(&host).await;
        let mut trigger = Trigger::default();
        trigger.correlation_id.clone_from(&self.correlation_id);
        trigger.user.clone_from(&self.user);
        trigger.tenant.clone_from(&self.tenant);
        let event = Event { name: self.event.clone(), content_type: self.content_type.clone(), payload };
        let result = extension.call(event, trigger).await;
        let invocation = extension.invocations().latest(1).pop().filter(|record| record.name.starts_with("handle"));
        // What `shutdown` says is part of the story.
        host.shutdown(host.shutdown_limit()).await;
        let exit = match &result {
            Ok(_) => Exit::Ok,
            Err(CallError::InvalidEvent(_)) => Exit::Usage,
            Err(_) => Exit::Guest,
        };
        match format {
            Format::Json => self.write_json(extension, result, invocation).await?,
            Format::Table => self.write(extension, result, invocation.as_ref()).await?,
        }
        Ok(exit)
    }

    fn read_payload(&self) -> Result<Vec<u8>> {
        let payload = match self.payload.as_str() {
            "-" => {
                let mut bytes = Vec::new();
                let most = limits::PAYLOAD_BYTES as u64 + 1;
                std::io::stdin().lock().take(most).read_to_end(&mut bytes).context("reading the payload")?;
                bytes
            }
            given => match given.strip_prefix('@') {
                Some(path) => std::fs::read(path).with_context(|| format!("reading the payload {path}"))?,
                None => given.as_bytes().to_vec(),
            },
        };
        if self.content_type == JSON
            && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload)
        {
            let advice = "write text in quotes, as in --payload '\"Ada\"', or name another --content-type";
            return Err(UsageError(format!("the payload is not JSON: {error}; {advice}")).into());
        }
        Ok(payload)
    }

    async fn write(
        &self,
        extension: &Extension,
        result: Result<Reply, CallError>,
        invocation: Option<&InvocationRecord>,
    ) -> Result<()> {
        let paint = Paint::stderr();
        for log in extension.logs().latest(LOGS).iter().filter(|log| log.level > Level::Trace) {
            output::note(log_line(log, paint));
        }
        if let Some(invocation) = invocation {
            output::note(paint.dim(&cost_line(invocation)));
        }
        match result {
            Ok(reply) => output::payload(&reply.payload)?,
            Err(CallError::Failed(failure)) => {
                let stack = extension.source_frames(&failure).await.into_iter().map(StackFrame::from);
                output::note(failure_text(&failure, &stack.collect::<Vec<_>>(), paint));
            }
            Err(error) => {
                let shown = ShownError::from(&error);
                let kind = visible(&shown.kind, 100);
                let message = super::run::cause(&shown.message);
                output::note(format_args!("{} {kind}: {message}", paint.red("error:")));
            }
        }
        Ok(())
    }

    async fn write_json(
        &self,
        extension: &Extension,
        result: Result<Reply, CallError>,
        invocation: Option<InvocationRecord>,
    ) -> Result<()> {
        let ok = result.is_ok();
        let (reply, error) = match result {
            Ok(reply) => (Some(Shown::from(reply)), None),
            Err(error) => (None, Some(described(extension, &error).await)),
        };
        let logs = extension.logs().latest(LOGS);
        let id = extension.id().as_str();
        output::json(&Outcome { extension: id, event: &self.event, ok, reply, error, invocation, logs })?;
        Ok(())
    }
}

async fn described(extension: &Extension, error: &CallError) -> OutcomeError {
    let shown = ShownError::from(error);
    let CallError::Failed(failure) = error else {
        return OutcomeError { error: shown, advice: None, location: None, stack: Vec::new() };
    };
    let frames = extension.source_frames(failure).await;
    OutcomeError {
        error: shown,
        advice: Some(failure.kind.advice()),
        location: failure.location.as_ref().map(|(file, line)| format!("{file}:{line}")),
        stack: frames.into_iter().map(StackFrame::from).collect(),
    }
}

/// What a call cost, in a line.
fn cost_line(record: &InvocationRecord) -> String {
    let time = |nanos| text::duration(Duration::from_nanos(nanos));
    format!(
        "{}: {} fuel, {} CPU, {} elapsed, {} memory (peak {}), {} in, {} out",
        visible(&record.name, 140),
        text::short_count(record.fuel),
        time(record.guest_cpu_ns),
        time(record.elapsed_ns),
        text::bytes(record.memory_bytes),
        text::bytes(record.memory_peak_bytes),
        text::bytes(record.input_bytes),
        text::bytes(record.output_bytes)
    )
}

/// A failure for people: kind, message, stack, figures, and what to do.
fn failure_text(failure: &Failure, stack: &[StackFrame], paint: Paint) -> String {
    let message = super::run::cause(&failure.message);
    let mut shown = format!("{} {}: {message}", paint.red("error:"), paint.bold(failure.kind.as_str()));
    if let Some((file, line)) = &failure.location {
        let _ = write!(shown, "\n  at {}:{line}", visible(file, 200));
    }
    for (name, value) in &failure.evidence {
        let _ = write!(shown, "\n  {name} = {value}");
    }
    if !stack.is_empty() {
        shown.push_str("\n  stack, innermost first:");
    }
    for frame in stack.iter().take(FRAMES) {
        let function = if frame.function.is_empty() { "(unknown function)".into() } else { visible(&frame.function, 160) };
        let inlined = if frame.inlined { " (inlined)" } else { "" };
        let _ = write!(shown, "\n    {function}{}", paint.dim(inlined));
        if let Some(source) = &frame.source {
            let place = format!("\n      at {}:{}", visible(&source.file, 200), source.line);
            shown.push_str(&paint.dim(&place));
        }
    }
    if stack.len() > FRAMES {
        let _ = write!(shown, "\n    and {} more", stack.len() - FRAMES);
    }
    let _ = write!(shown, "\n  what to do: {}", failure.kind.advice());
    shown
}

/// A log in a line: time, level, message, fields.
pub(crate) fn log_line(log: &LogRecord, paint: Paint) -> String {
    let level = format!("{:<8}", log.level.as_str());
    let level = match log.level {
        Level::Error | Level::Critical => paint.red(&level),
        Level::Warning => paint.yellow(&level),
        Level::Trace | Level::Debug => paint.dim(&level),
        Level::Info => level,
    };
    let time = paint.dim(&log.head.time.time_of_day());
    let mut line = format!("{time} {level} {}", visible(&log.message, 400));
    for (name, value) in &log.fields.0 {
        let name = visible(name, 60);
        let _ = match value {
            FieldValue::Text(text) if text.contains(' ') || text.is_empty() => {
                write!(line, " {name}=\"{}\"", visible(text, 120))
            }
            FieldValue::Text(text) => write!(line, " {name}={}", visible(text, 120)),
            FieldValue::Integer(value) => write!(line, " {name}={value}"),
            FieldValue::Float(value) => write!(line, " {name}={value}"),
            FieldValue::Boolean(value) => write!(line, " {name}={value}"),
        };
    }
    line
}
