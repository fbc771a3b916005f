//! Invocations.

use glasshouse_model::{Outcome, Signal};
use glasshouse_telemetry::Body;
use serde::Serialize;

use super::sealed::FromStore;
use super::{Head, shown};

/// A call of an export: what it cost and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvocationRecord {
    /// Its place, the time of its end, and context.
    #[serde(flatten)]
    pub head: Head,
    /// The export, and for `handle` the event: `handle:render`.
    pub name: String,
    /// How it ended.
    #[serde(serialize_with = "shown")]
    pub outcome: Outcome,
    /// Wasm fuel: the same for the same input, on every run; absent where `budget.metering` counts none.
    pub fuel: Option<u64>,
    /// CPU time while the extension was being run, host functions on its behalf included, in nanoseconds.
    pub guest_cpu_ns: u64,
    /// From the start of the call to its end, in nanoseconds.
    pub elapsed_ns: u64,
    /// In the mailbox before the call started, in nanoseconds.
    pub queued_ns: u64,
    /// The instance's linear memory at the end of the call.
    pub memory_bytes: u64,
    /// The most that it has been since the instance was made.
    pub memory_peak_bytes: u64,
    /// Bytes of the event's payload.
    pub input_bytes: u64,
    /// Bytes of the reply's payload.
    pub output_bytes: u64,
}

impl FromStore for InvocationRecord {
    const SIGNAL: Signal = Signal::Invocation;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let Body::Invocation(invocation) = body else { return None };
        let cost = invocation.cost;
        Some(Self {
            head,
            name: invocation.name.to_owned(),
            outcome: invocation.outcome,
            fuel: cost.fuel,
            guest_cpu_ns: cost.cpu_nanos,
            elapsed_ns: cost.elapsed_nanos,
            queued_ns: cost.queued_nanos,
            memory_bytes: cost.memory_bytes,
            memory_peak_bytes: cost.memory_peak_bytes,
            input_bytes: invocation.input_bytes,
            output_bytes: invocation.output_bytes,
        })
    }
}
