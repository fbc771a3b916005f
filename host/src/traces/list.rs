//! A trace in a few figures, as a list shows it.

use glasshouse_model::{TraceId, UnixNanos};
use serde::{Deserialize, Serialize};

use super::Trace;
use crate::records::{read, shown};

/// What a list shows of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceSummary {
    /// Its id.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub trace_id: TraceId,
    /// When its first step started.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub start: UnixNanos,
    /// From its first step's start to its last one's end.
    pub elapsed_ns: u64,
    /// Wasm fuel of all its calls, and of spans that lie in none; absent where none of them counts any.
    pub fuel: Option<u64>,
    /// Its calls.
    pub calls: usize,
    /// Its spans.
    pub spans: usize,
    /// How many of both failed.
    pub failed: usize,
    /// Whose its first step is.
    pub extension: String,
    /// What that was: the export and event, or the span's name.
    pub name: String,
    /// Whether calls or spans of it are known to be missing.
    pub partial: bool,
    /// Whether it was to be kept.
    pub sampled: bool,
    /// For how many traces it stands, if it was to be kept and that is known.
    pub adjusted_count: Option<f64>,
}

impl TraceSummary {
    /// That of a trace; `None` where no step of it is stored.
    pub fn of(trace: &Trace) -> Option<Self> {
        let first = trace.steps.first()?;
        let calls = trace.calls().count();
        Some(Self {
            trace_id: trace.trace_id,
            start: trace.start,
            elapsed_ns: trace.elapsed_ns,
            fuel: trace.fuel,
            calls,
            spans: trace.steps.len() - calls,
            failed: trace.steps.iter().filter(|step| step.work.failed()).count(),
            extension: first.extension.clone(),
            name: first.work.name().to_owned(),
            partial: trace.partial,
            sampled: trace.sampled,
            adjusted_count: trace.adjusted_count,
        })
    }
}
