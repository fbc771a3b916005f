//! A call of an extension that a running host has: over its API, with what the call cost and logged as the host has stored it.

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use glasshouse::records::{InvocationRecord, LogRecord};
use glasshouse::text::visible;
use glasshouse::{Level, Signal};
use glasshouse_client::Client;
use glasshouse_client::api::{self, Called, Payload, Wanted};
use serde::de::DeserializeOwned;

use super::{LOGS, Outcome, OutcomeError, cost_line, log_line};
use crate::cli::control::told;
use crate::cli::{Exit, Format, UsageError};
use crate::output::{self, Paint};

/// Calls the extension, and shows what came of it.
pub(super) async fn call(client: &Client, extension: &str, mut call: api::Call, format: Format) -> Result<Exit> {
    // By which its records are found afterwards.
    let correlation = call.correlation_id.get_or_insert_with(|| format!("call-{:016x}", fastrand::u64(..))).clone();
    let Called { ok, payload, payload_base64, content_type, error } = told(client.call(extension, &call).await)?;
    let query = format!("correlation=\"{}\"", correlation.replace('\\', "\\\\").replace('"', "\\\""));
    let calls = format!("{query} and name~\"^handle\"");
    let invocation: Option<InvocationRecord> = stored(client, extension, Signal::Invocation, calls, 1).await.pop();
    let mut logs: Vec<LogRecord> = stored(client, extension, Signal::Log, query, LOGS).await;
    logs.reverse();
    let exit = match &error {
        None if ok => Exit::Ok,
        Some(error) if error.kind == "invalid-event" => Exit::Usage,
        _ => Exit::Guest,
    };
    let reply = Payload { payload, payload_base64, content_type };
    if format == Format::Json {
        let reply = ok.then_some(reply);
        let error = error.map(|error| OutcomeError { error, advice: None, source: None, stack: Vec::new() });
        output::json(&Outcome { extension, event: &call.event, ok, reply, error, invocation, logs })?;
        return Ok(exit);
    }
    let paint = Paint::stderr();
    for log in logs.iter().filter(|log| log.level > Level::Trace) {
        output::note(log_line(log, paint));
    }
    if let Some(invocation) = &invocation {
        output::note(paint.dim(&cost_line(invocation)));
    }
    match error {
        Some(error) => {
            let message = crate::cli::run::cause(&error.message);
            output::note(format_args!("{} {}: {message}", paint.red("error:"), visible(&error.kind, 100)));
            output::note(format_args!("all that is known of it: glasshouse trace {}", visible(&correlation, 128)));
        }
        None => output::payload(&bytes(reply)?)?,
    }
    Ok(exit)
}

/// The newest records that a query asks for; none where the host does not tell them, since the call is over anyway.
async fn stored<T: DeserializeOwned>(
    client: &Client,
    extension: &str,
    signal: Signal,
    query: String,
    limit: usize,
) -> Vec<T> {
    let wanted = Wanted { query, limit: Some(limit), ..Wanted::default() };
    let page = client.records(extension, signal.as_str(), &wanted).await.unwrap_or_default();
    page.records.iter().filter_map(|json| serde_json::from_str(json.get()).ok()).collect()
}

/// The payload as the extension gave it.
fn bytes(reply: Payload) -> Result<Vec<u8>> {
    if let Some(text) = reply.payload_base64 {
        return Ok(BASE64_STANDARD.decode(text)?);
    }
    let json = reply.payload.map_or_else(|| "null".to_owned(), |payload| payload.get().to_owned());
    let is_json = reply.content_type.is_none_or(|kind| kind.contains("json"));
    Ok(if is_json { json.into_bytes() } else { serde_json::from_str::<String>(&json)?.into_bytes() })
}

/// Refuses what the API has no place for.
pub(super) fn check(call: &super::Call) -> Result<(), UsageError> {
    if call.content_type == glasshouse::JSON {
        return Ok(());
    }
    let why = "--content-type is for an extension that is called from its file; a host at an address takes JSON";
    Err(UsageError(why.to_owned()))
}
