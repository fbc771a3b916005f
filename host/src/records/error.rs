//! Errors: those that an extension reported, and its failures, with their source lines.

use glasshouse_model::wire::{Error, Fields, Record};
use glasshouse_model::{AnsweredError, Blame, Failure, InputDigest, Signal};
use glasshouse_runtime::SourceFrame;
use glasshouse_telemetry::{Body, group_of};
use serde::Serialize;

use super::sealed::FromStore;
use super::{FieldList, FieldValue, Head, RecordPage, SourceLine, shown, shown_if_any};
use crate::Extension;

/// An error that an extension reported, or a failure of one of its calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorRecord {
    /// Its place, time, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// The error's type; of a failure one of [`glasshouse_model::FailureKind`].
    pub kind: String,
    /// The group of errors that are the same: what [`crate::Extension::error_groups`] counts it in.
    pub group: String,
    /// What happened.
    pub message: String,
    /// Whose fault it is.
    #[serde(serialize_with = "shown")]
    pub blame: Blame,
    /// Whether the extension went on as intended.
    pub handled: bool,
    /// Of a failure, the export, and for `handle` the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Where it was made, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLine>,
    /// Of a failure, the guest's stack, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<StackFrame>,
    /// The guest's own account of the stack; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub guest_stack: String,
    /// Its fields; of a failure, the figures that prove it.
    pub fields: FieldList,
    /// What tells whether other calls had the same input: of a failure, and of an error that a call was answered with.
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<InputDigest>,
    /// Of an error that a call was answered with, the number of the report of the same error in that call: they count once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_as: Option<u64>,
    /// Of a failure, what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
    #[serde(skip)]
    failure: Option<Box<Failure>>,
}

/// A frame of a guest's stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackFrame {
    /// The function, demangled; empty if unknown.
    pub function: String,
    /// File and line, if known.
    #[serde(flatten)]
    pub source: Option<SourceLine>,
    /// Whether the compiler put it into the function below it.
    pub inlined: bool,
}

/// Reads the errors of one extension.
#[derive(Clone)]
pub struct Errors(Extension);

impl Errors {
    pub(crate) fn new(extension: Extension) -> Self {
        Self(extension)
    }

    /// The newest `limit` errors, oldest of them first, with source lines. May be cancelled.
    pub async fn latest(&self, limit: usize) -> Vec<ErrorRecord> {
        let mut records = self.0.records::<ErrorRecord>().latest(limit);
        self.add_sources(&mut records).await;
        records
    }

    /// Up to `limit` errors from sequence number `from` on, oldest first, with source lines. May be cancelled.
    pub async fn page(&self, from: u64, limit: usize) -> RecordPage<ErrorRecord> {
        let mut page = self.0.records::<ErrorRecord>().page(from, limit);
        self.add_sources(&mut page.records).await;
        page
    }

    async fn add_sources(&self, records: &mut [ErrorRecord]) {
        for record in records {
            if let Some(failure) = record.failure.take() {
                record.stack = self.0.source_frames(&failure).await.into_iter().map(Into::into).collect();
            }
        }
    }
}

impl StackFrame {
    fn named(function: &str) -> Self {
        Self { function: function.to_owned(), source: None, inlined: false }
    }
}

impl From<SourceFrame> for StackFrame {
    fn from(frame: SourceFrame) -> Self {
        let source = frame.location.map(|(file, line)| SourceLine { file, line });
        Self { function: frame.function, source, inlined: frame.inlined }
    }
}

impl ErrorRecord {
    /// An error in the extension's own words.
    fn reported(head: Head, group: String, error: &Error<'_>, fields: Fields<'_>) -> Self {
        Self {
            head,
            kind: error.kind.to_owned(),
            group,
            message: error.message.to_owned(),
            blame: Blame::Guest,
            handled: error.handled,
            call: None,
            source: error.source.map(Into::into),
            stack: Vec::new(),
            guest_stack: error.stack.to_owned(),
            fields: fields.into(),
            input_digest: None,
            reported_as: None,
            advice: None,
            failure: None,
        }
    }
}

impl FromStore for ErrorRecord {
    const SIGNAL: Signal = Signal::Error;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let group = group_of(&body)?.to_string();
        match body {
            Body::Record(Record::Error(error, fields)) => Some(Self::reported(head, group, &error, fields)),
            Body::Answered(AnsweredError { error, fields, input, reported }) => Some(Self {
                input_digest: input,
                reported_as: reported.map(|reported| reported.sequence),
                ..Self::reported(head, group, &error, fields)
            }),
            Body::Failure(failure) => {
                let evidence = failure.evidence.iter().cloned();
                Some(Self {
                    head,
                    kind: failure.kind.to_string(),
                    group,
                    message: failure.message.clone(),
                    blame: failure.kind.blame(),
                    handled: false,
                    call: Some(failure.call.clone()),
                    source: failure.location.clone().map(|(file, line)| SourceLine { file, line }),
                    // Its source lines take the component's file to find.
                    stack: failure.frames.iter().map(|frame| StackFrame::named(&frame.function)).collect(),
                    guest_stack: String::new(),
                    fields: FieldList(evidence.map(|(name, value)| (name, FieldValue::Integer(value))).collect()),
                    input_digest: failure.input,
                    reported_as: None,
                    advice: Some(failure.kind.advice()),
                    failure: Some(Box::new(failure)),
                })
            }
            _ => None,
        }
    }
}
