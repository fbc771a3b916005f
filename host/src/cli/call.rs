//! `glasshouse call`: calls one extension once, and shows what it answered, what it cost and what it logged.

mod remote;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use glasshouse::records::{FieldList, FieldValue, InvocationRecord, LogRecord, SourceLine, StackFrame, stack_frame};
use glasshouse::text::{self, visible};
use glasshouse::{
    CallError, Event, Extension, Failure, JSON, Level, Reply, TraceParent, Trigger, call_error_answer, limits,
    payload_answer,
};
use glasshouse_client::api::{self, Payload};
use serde::Serialize;

use super::address::Address;
use super::signals::Stop;
use super::{Exit, Format, Operator, UsageError, progress};
use crate::output::{self, Paint};

/// Logs that are shown.
const LOGS: usize = 100;
/// Frames of a stack that are shown to people.
const FRAMES: usize = 20;

const EXAMPLE: &str = "\
Examples:
  glasshouse call plugins/markdown --event render --payload '{\"markdown\": \"# Hi\"}'
  glasshouse call greeter.wasm --event greet --payload @event.json --user ada
  echo '\"Ada\"' | glasshouse call . --event greet --payload -

With --host, `call markdown --host http://127.0.0.1:7077 --event render` calls the one that the host runs.
The reply's payload goes to standard output; cost and logs go to standard error.
Otherwise the extension is alone: calls of other extensions find none.
Exits with 4 if the extension failed, or answered with an error. Ctrl-C gives the call up after host.shutdown_limit; twice ends
it at once.";

/// Call an extension once
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Call {
    /// A component file, or a folder with an extension.toml; with --host, the id of an extension that the host runs
    #[arg(value_name = "EXTENSION", required_unless_present = "extension_id", conflicts_with = "extension_id")]
    path: Option<PathBuf>,
    /// The id of an extension that a running host has
    #[arg(long, value_name = "ID")]
    extension_id: Option<String>,
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
    /// The trace to continue, as W3C Trace Context has it: 00-TRACE-SPAN-FLAGS
    #[arg(long, value_name = "TEXT")]
    traceparent: Option<TraceParent>,
    /// What others say of that trace, as W3C Trace Context has it
    #[arg(long, value_name = "TEXT", requires = "traceparent")]
    tracestate: Option<String>,
    /// What is passed along with the call, as W3C Baggage has it: name=value,...
    #[arg(long, value_name = "TEXT")]
    baggage: Option<String>,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    address: Address,
}

/// What came of a call, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    extension: &'a str,
    event: &'a str,
    ok: bool,
    #[serde(flatten)]
    reply: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<OutcomeError>,
    invocation: Option<InvocationRecord>,
    logs: Vec<LogRecord>,
}

#[derive(Serialize)]
struct OutcomeError {
    #[serde(flatten)]
    error: api::CallError,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stack: Vec<StackFrame>,
}

impl Call {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        let payload = self.read_payload()?;
        // A path is one on this machine, unless the command line itself names a host.
        let data_dir = || Ok(self.operator.host_settings()?.data_dir);
        if let Some(client) = self.address.client(self.path.is_some(), data_dir)? {
            remote::check(&self)?;
            let path = self.path.as_ref().map(|path| path.to_string_lossy().into_owned());
            let extension = self.extension_id.clone().or(path).unwrap_or_default();
            return remote::call(&client, &extension, self.for_host(&payload)?, format).await;
        }
        let Some(path) = &self.path else {
            let why = "--extension-id names one that a running host has: name the host with --host URL";
            return Err(UsageError(why.to_owned()).into());
        };
        let stop = Stop::listen().context("listening for Ctrl-C")?;
        let host = self.operator.builder().extension(path).start().await?;
        let Some(extension) = host.extensions().next() else {
            anyhow::bail!("the extension is switched off by its configuration (enabled = false)");
        };
        let mut trigger = self.traceparent.map_or_else(Trigger::default, Trigger::from);
        if let Some(tracestate) = &self.tracestate {
            trigger = trigger.tracestate(tracestate);
        }
        if let Some(baggage) = &self.baggage {
            trigger = trigger.baggage(baggage);
        }
        trigger.correlation_id.clone_from(&self.correlation_id);
        trigger.user.clone_from(&self.user);
        trigger.tenant.clone_from(&self.tenant);
        let event = Event { name: self.event.clone(), content_type: self.content_type.clone(), payload };
        let limit = host.shutdown_limit();
        let mut call = pin!(async {
            progress::loaded(&host).await;
            extension.call(event, trigger).await
        });
        let result = tokio::select! {
            result = &mut call => result,
            // It is finished, or given up when the host's patience is over.
            () = stop.requested() => tokio::join!(call, host.shutdown(limit)).0,
        };
        let invocation = extension.invocations().latest(1).pop().filter(|record| record.name.starts_with("handle"));
        // What `shutdown` says is part of the story.
        host.shutdown(limit).await;
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

    /// The same call for a host that runs.
    fn for_host(&self, payload: &[u8]) -> Result<api::Call> {
        Ok(api::Call {
            event: self.event.clone(),
            payload: Some(serde_json::from_slice(payload)?),
            correlation_id: self.correlation_id.clone(),
            user: self.user.clone(),
            tenant: self.tenant.clone(),
            traceparent: self.traceparent.as_ref().map(ToString::to_string),
            tracestate: self.tracestate.clone(),
            baggage: self.baggage.clone(),
        })
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
            Err(CallError::Failed(failure)) => output::note(Told::of_call(extension, &failure).await.text(paint)),
            Err(error) => {
                let not_started = match &error {
                    CallError::Unavailable(_) => Told::of_start(extension).await,
                    _ => None,
                };
                if let Some(told) = not_started {
                    output::note("it did not start");
                    output::note(told.text(paint));
                    return Ok(());
                }
                let shown = call_error_answer(&error);
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
            Ok(reply) => (Some(payload_answer(reply)), None),
            Err(error) => (None, Some(described(extension, &error).await)),
        };
        let logs = extension.logs().latest(LOGS);
        let id = extension.id().as_str();
        output::json(&Outcome { extension: id, event: &self.event, ok, reply, error, invocation, logs })?;
        Ok(())
    }
}

async fn described(extension: &Extension, error: &CallError) -> OutcomeError {
    let told = match error {
        CallError::Failed(failure) => Some(Told::of_call(extension, failure).await),
        CallError::Unavailable(_) => Told::of_start(extension).await,
        _ => None,
    };
    let error = call_error_answer(error);
    match told {
        Some(told) => OutcomeError { error, advice: told.advice, source: told.source, stack: told.stack },
        None => OutcomeError { error, advice: None, source: None, stack: Vec::new() },
    }
}

/// What a call cost, in a line.
fn cost_line(record: &InvocationRecord) -> String {
    let time = |nanos| text::duration(Duration::from_nanos(nanos));
    format!(
        "{}: {} fuel, {} guest CPU, {} host CPU, {} elapsed, {} memory (peak {}), {} in, {} out",
        visible(&record.name, 140),
        text::fuel(record.fuel),
        time(record.guest_cpu_ns),
        time(record.host_cpu_ns),
        time(record.elapsed_ns),
        text::bytes(record.memory_bytes),
        text::bytes(record.memory_peak_bytes),
        text::bytes(record.input_bytes),
        text::bytes(record.output_bytes)
    )
}

/// A failure, with all that is known of it.
struct Told {
    kind: String,
    message: String,
    source: Option<SourceLine>,
    evidence: FieldList,
    stack: Vec<StackFrame>,
    advice: Option<Cow<'static, str>>,
}

impl Told {
    async fn of_call(extension: &Extension, failure: &Failure) -> Self {
        let evidence = failure.evidence.iter().map(|(name, value)| (name.clone(), FieldValue::Integer(*value)));
        Self {
            kind: failure.kind.to_string(),
            message: failure.message.clone(),
            source: failure.location.clone().map(|(file, line)| SourceLine { file, line }),
            evidence: FieldList(evidence.collect()),
            stack: extension.source_frames(failure).await.into_iter().map(stack_frame).collect(),
            advice: Some(failure.kind.advice().into()),
        }
    }

    /// What kept an extension from starting, if it was a failure of its own.
    async fn of_start(extension: &Extension) -> Option<Self> {
        let record = extension.errors().latest(1).await.pop().filter(|record| record.advice.is_some())?;
        Some(Self {
            kind: record.kind,
            message: record.message,
            source: record.source,
            evidence: record.fields,
            stack: record.stack,
            advice: record.advice,
        })
    }

    /// For people: kind, message, figures, stack, and what to do.
    fn text(&self, paint: Paint) -> String {
        let message = super::run::cause(&self.message);
        let mut shown = format!("{} {}: {message}", paint.red("error:"), paint.bold(&visible(&self.kind, 100)));
        if let Some(source) = &self.source {
            let _ = write!(shown, "\n  at {}:{}", visible(&source.file, 200), source.line);
        }
        for (name, value) in &self.evidence.0 {
            let _ = write!(shown, "\n  {}", field_text(name, value));
        }
        if !self.stack.is_empty() {
            shown.push_str("\n  stack, innermost first:");
        }
        let runs = self.stack.chunk_by(|a, b| is_of_library(a) && is_of_library(b));
        for (index, run) in runs.enumerate() {
            if index == FRAMES {
                shown.push_str("\n    and more");
                break;
            }
            match run {
                [frame] => write_frame(&mut shown, frame, paint),
                run => {
                    let folded = format!("\n    ... {} frames of the standard library", run.len());
                    shown.push_str(&paint.dim(&folded));
                }
            }
        }
        if let Some(advice) = &self.advice {
            let _ = write!(shown, "\n  what to do: {advice}");
        }
        shown
    }
}

/// Whether a frame lies in Rust's standard library or the C library: those say little, and there are many of them.
fn is_of_library(frame: &StackFrame) -> bool {
    frame
        .source
        .as_ref()
        .is_some_and(|source| source.file.starts_with("/rustc/") || source.file.contains("/wasi-libc/"))
}

fn write_frame(text: &mut String, frame: &StackFrame, paint: Paint) {
    let function = if frame.function.is_empty() { "(unknown function)".into() } else { visible(&frame.function, 160) };
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let _ = write!(text, "\n    {function}{}", paint.dim(inlined));
    if let Some(source) = &frame.source {
        let place = format!("\n      at {}:{}", visible(&source.file, 200), source.line);
        text.push_str(&paint.dim(&place));
    }
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
        let _ = write!(line, " {}", field_text(name, value));
    }
    line
}

pub(crate) fn field_text(name: &str, value: &FieldValue) -> String {
    let name = visible(name, 60);
    match value {
        FieldValue::Text(text) if text.contains(' ') || text.is_empty() => {
            format!("{name}=\"{}\"", visible(text, 120))
        }
        FieldValue::Text(text) => format!("{name}={}", visible(text, 120)),
        FieldValue::Integer(value) => format!("{name}={value}"),
        FieldValue::Float(value) => format!("{name}={value}"),
        FieldValue::Boolean(value) => format!("{name}={value}"),
    }
}
