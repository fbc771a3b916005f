//! Why an extension was not started, as a sentence and, where its component is to blame, as a record.

use glasshouse_model::{Digest, Failure, FailureKind, Origin, UnixNanos};
use glasshouse_telemetry::{Head, Recorder};

use crate::bounds::TooMuch;
use crate::compile::{CompileCost, CompileLimit};
use crate::failure;
use crate::loader::LoadError;

/// What a record of a component that could not be loaded names as its call.
const CALL: &str = "load";

/// An extension that cannot be started.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) cause: String,
    /// What is stored of it, if the extension is to blame.
    pub(crate) failure: Option<Box<Failure>>,
}

impl From<String> for NotStarted {
    fn from(cause: String) -> Self {
        Self { cause, failure: None }
    }
}

impl NotStarted {
    /// A component that was not loaded.
    pub(crate) fn by(error: &LoadError, component: Digest) -> Self {
        let (kind, evidence) = match error {
            LoadError::TooMuch { cause: TooMuch::Count { found, limit, .. }, .. } => {
                (FailureKind::LoadBreach, vec![("found", *found), ("limit", *limit)])
            }
            LoadError::TooMuch { cause: TooMuch::Bytes { found, limit, .. }, .. } => {
                (FailureKind::LoadBreach, vec![("found_bytes", *found), ("limit_bytes", *limit)])
            }
            LoadError::TooCostly { limit, spent, .. } => {
                let limit = match limit {
                    CompileLimit::Time(time) => ("cpu_limit_ns", time.as_nanos() as u64),
                    CompileLimit::Memory(bytes) => ("memory_limit_bytes", *bytes),
                };
                (FailureKind::LoadBreach, figures(spent).into_iter().chain([limit]).collect())
            }
            LoadError::CompilerBroke { spent, .. } => (FailureKind::LoadBreach, figures(spent).into()),
            LoadError::TooLarge { bytes, .. } => (FailureKind::LoadBreach, vec![("file_bytes", *bytes)]),
            LoadError::TooMuch { cause: TooMuch::Foreign, .. }
            | LoadError::NotAComponent { .. }
            | LoadError::Invalid { .. } => (FailureKind::LoadRefused, Vec::new()),
            LoadError::Unreadable { .. } | LoadError::Host { .. } => return error.to_string().into(),
        };
        Self::new(kind, error.to_string(), component, evidence)
    }

    /// A component that asks for what the host does not offer, or exports what it does not know.
    pub(crate) fn unfit(cause: String, component: Digest) -> Self {
        Self::new(FailureKind::LoadRefused, cause, component, Vec::new())
    }

    fn new(kind: FailureKind, cause: String, component: Digest, evidence: Vec<(&'static str, u64)>) -> Self {
        let failure = Failure {
            kind,
            message: cause.clone(),
            call: CALL.to_owned(),
            component,
            location: None,
            frames: Vec::new(),
            evidence: evidence.into_iter().map(|(name, value)| (name.to_owned(), value as i64)).collect(),
            input: None,
        };
        Self { cause, failure: Some(Box::new(failure)) }
    }
}

/// Stores the failure of a component that was never called.
pub(crate) fn record(recorder: &Recorder, time: UnixNanos, mut failure: Failure) {
    recorder.redactor().redact_failure(&mut failure);
    let head = Head { time, origin: Origin::Host, cut: false, batched: false, context: &[] };
    failure::store(recorder, head, &failure, &mut Vec::new());
}

fn figures(spent: &CompileCost) -> [(&'static str, u64); 2] {
    [("cpu_ns", spent.cpu.as_nanos() as u64), ("memory_peak_bytes", spent.memory_peak_bytes)]
}
