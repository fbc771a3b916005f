//! Errors: those that an extension reported, and its failures.

use std::borrow::Cow;

use glasshouse_model::wire::{Error, Fields, Record};
use glasshouse_model::{AnsweredError, Blame, Failure, InputDigest, Signal};
use glasshouse_telemetry::{Body, group_of};
use serde::{Deserialize, Serialize};

use super::sealed::FromStore;
use super::{FieldList, FieldValue, Head, SourceLine, read, read_if_any, shown, shown_if_any};

/// An error that an extension reported, or a failure of one of its calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// Its place, time, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// The error's type; of a failure one of [`glasshouse_model::FailureKind`].
    pub kind: String,
    /// The group of errors that are the same: what an extension's groups of errors count it in.
    pub group: String,
    /// What happened.
    pub message: String,
    /// Whose fault it is.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
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
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stack: Vec<StackFrame>,
    /// The guest's own account of the stack; may be empty.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub guest_stack: String,
    /// Its fields; of a failure, the figures that prove it.
    pub fields: FieldList,
    /// What tells whether other calls had the same input: of a failure, and of an error that a call was answered with.
    #[serde(
        serialize_with = "shown_if_any",
        deserialize_with = "read_if_any",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub input_digest: Option<InputDigest>,
    /// Of an error that a call was answered with, the number of the report of the same error in that call: they count once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_as: Option<u64>,
    /// Of a failure, what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Cow<'static, str>>,
    #[serde(skip)]
    failure: Option<Box<Failure>>,
}

/// A frame of a guest's stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFrame {
    /// The function, demangled; empty if unknown.
    pub function: String,
    /// File and line, if known.
    #[serde(flatten)]
    pub source: Option<SourceLine>,
    /// Whether the compiler put it into the function below it.
    pub inlined: bool,
}

impl StackFrame {
    fn named(function: &str) -> Self {
        Self { function: function.to_owned(), source: None, inlined: false }
    }
}

impl ErrorRecord {
    /// Takes the failure that it was made from, for whoever can find the source lines of its stack; `None` if it is none of a call,
    /// or was taken.
    pub fn take_failure(&mut self) -> Option<Box<Failure>> {
        self.failure.take()
    }

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
                    advice: Some(failure.kind.advice().into()),
                    failure: Some(Box::new(failure)),
                })
            }
            _ => None,
        }
    }
}
