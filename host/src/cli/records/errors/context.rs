//! What is stored of a group's latest errors: each with its call, and all that led to one of them.

use anyhow::Result;
use glasshouse::InputDigest;
use glasshouse::records::{ErrorRecord, InvocationRecord, LogRecord, SpanRecord};
use glasshouse_client::api::ErrorGroup;
use serde::Serialize;

use super::super::store::{Kind, Question, StoreOf};
use crate::cli::UsageError;

/// Logs and spans that are shown of the call in which an error came.
const LOGS: usize = 10;
const SPANS: usize = 20;

/// What is stored of a group's latest errors, as far as it still is.
#[derive(Debug, Default, Serialize)]
pub(super) struct Context {
    /// The latest errors, the latest last.
    pub(super) samples: Vec<Sample>,
    /// The number of the one that all else is of.
    number: Option<u64>,
    /// The last logs of its call, the latest last.
    pub(super) logs: Vec<LogRecord>,
    /// The spans of its trace.
    pub(super) spans: Vec<SpanRecord>,
}

/// An error with the call in which it came, and what that cost.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    pub(super) error: ErrorRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invocation: Option<InvocationRecord>,
}

/// A group with what led to an error of it.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    #[serde(flatten)]
    group: &'a ErrorGroup,
    context: &'a Context,
}

impl Sample {
    async fn of(extension: &StoreOf, error: ErrorRecord) -> Result<Self> {
        let time = error.head.time.0;
        // A call that fails ends a moment before its failure is stored, one that reports an error after that.
        let apart = |call: &InvocationRecord| {
            let end = call.head.time.0;
            let start = end.saturating_sub_unsigned(call.elapsed_ns);
            if time < start { start.abs_diff(time) } else { time.saturating_sub(end).max(0).unsigned_abs() }
        };
        let calls = match of_trace(&error) {
            Some(question) => all::<InvocationRecord>(extension, &question, usize::MAX).await?,
            None => Vec::new(),
        };
        let invocation = calls.into_iter().min_by_key(apart);
        Ok(Self { error, invocation })
    }

    /// What tells whether others came by the same input: of its record, or of its call.
    pub(super) fn input_digest(&self) -> Option<InputDigest> {
        self.error.input_digest.or_else(|| self.invocation.as_ref()?.input_digest)
    }
}

/// Asks for what is of the same trace as an error.
fn of_trace(error: &ErrorRecord) -> Option<Question> {
    let trace = error.head.context.as_ref()?.trace_id;
    Question::parse(&format!("trace={trace}")).ok()
}

async fn all<T: Kind>(extension: &StoreOf, question: &Question, limit: usize) -> Result<Vec<T>> {
    Ok(extension.search(question, limit).await?.into_iter().map(|found| found.record).collect())
}

impl Context {
    /// That of the latest errors of a group, and of the one of this number, or else the latest.
    pub(super) async fn of(extension: &StoreOf, group: &ErrorGroup, number: Option<u64>) -> Result<Self> {
        let mut samples = Vec::new();
        for sequence in &group.samples {
            // A number that another error has by now is passed by.
            let found = extension.one::<ErrorRecord>(*sequence).await?.filter(|found| is_of(group, &found.record));
            if let Some(found) = found {
                samples.push(Sample::of(extension, found.record).await?);
            }
        }
        let number = number.or_else(|| Some(samples.last()?.error.head.sequence));
        let Some(number) = number else { return Ok(Self::default()) };
        let mut context = Self { samples, number: Some(number), ..Self::default() };
        let Some(shown) = context.shown() else {
            let numbers: Vec<_> = context.samples.iter().map(|one| one.error.head.sequence.to_string()).collect();
            let there = match &*numbers {
                [] => "none of its errors is stored any more".to_owned(),
                numbers => format!("there are {}", numbers.join(", ")),
            };
            return Err(UsageError(format!("number {number} is none of the group's latest errors: {there}")).into());
        };
        let Some(question) = of_trace(&shown.error) else { return Ok(context) };
        let time = shown.error.head.time;
        let mut logs: Vec<LogRecord> = all(extension, &question, usize::MAX).await?;
        logs.retain(|log| log.head.time <= time);
        logs.sort_by_key(|log| (log.head.time, log.head.sequence));
        logs.drain(..logs.len().saturating_sub(LOGS));
        let mut spans: Vec<SpanRecord> = all(extension, &question, SPANS).await?;
        spans.reverse();
        (context.logs, context.spans) = (logs, spans);
        Ok(context)
    }

    /// The error that all is told of.
    pub(super) fn shown(&self) -> Option<&Sample> {
        self.samples.iter().find(|sample| Some(sample.error.head.sequence) == self.number)
    }

    pub(super) fn with<'a>(&'a self, group: &'a ErrorGroup) -> Explained<'a> {
        Explained { group, context: self }
    }
}

/// Whether an error is of a group; the overflow has errors of all.
fn is_of(group: &ErrorGroup, error: &ErrorRecord) -> bool {
    group.fingerprint.basis == "overflow" || error.group == group.group
}
