//! Invocations.

use glasshouse_model::invocation::{HostUse, Transfer};
use glasshouse_model::{HostFunction, InputDigest, Outcome, Signal, SpanId};
use glasshouse_telemetry::Body;
use serde::{Deserialize, Serialize};

use super::sealed::FromStore;
use super::{Head, read, read_if_any, shown, shown_if_any};

/// A call of an export: what it cost and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvocationRecord {
    /// Its place, the time of its end, and context.
    #[serde(flatten)]
    pub head: Head,
    /// The export, and for `handle` the event: `handle:render`.
    pub name: String,
    /// The span that caused it: of another extension, or from outside of the host.
    #[serde(
        serialize_with = "shown_if_any",
        deserialize_with = "read_if_any",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub parent: Option<SpanId>,
    /// The call of another extension that caused it, by its own span.
    #[serde(
        serialize_with = "shown_if_any",
        deserialize_with = "read_if_any",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub cause: Option<SpanId>,
    /// How it ended.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub outcome: Outcome,
    /// Wasm fuel: the same for the same input, on every run; absent where `budget.metering` counts none.
    pub fuel: Option<u64>,
    /// The guest's CPU time, in nanoseconds.
    pub guest_cpu_ns: u64,
    /// CPU time of host functions on the guest's behalf, as far as they ran on its thread, in nanoseconds.
    pub host_cpu_ns: u64,
    /// Whether the call was too short for the thread's CPU clock, so that wall time stands for its CPU time.
    pub cpu_estimated: bool,
    /// From when the call was put into the mailbox to its end, in nanoseconds: the sum of `in_guest_ns`, `in_host_ns`,
    /// `queued_ns`, `waiting_ns` and `unattributed_ns`.
    pub wall_ns: u64,
    /// From the start of the call to its end, in nanoseconds.
    pub elapsed_ns: u64,
    /// In the guest's code, and in passing its values.
    pub in_guest_ns: u64,
    /// In host functions, without what was waited in them.
    pub in_host_ns: u64,
    /// In the mailbox before the call started, in nanoseconds.
    pub queued_ns: u64,
    /// Neither running nor in the mailbox, in nanoseconds.
    pub waiting_ns: u64,
    /// What of that was spent waiting for something, and not for the next turn, in nanoseconds.
    pub idle_ns: u64,
    /// None of these: the sandbox's own work at the end of the call.
    pub unattributed_ns: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// What each host function was called for, the one that took the longest first.
    pub host_functions: Vec<HostFunctionUse>,
    /// The instance's linear memory at the end of the call; 0 if it was given up.
    pub memory_bytes: u64,
    /// What linear memory has grown by during the call.
    pub memory_delta_bytes: u64,
    /// The most that it has been since the instance was made.
    pub memory_peak_bytes: u64,
    /// Bytes read from and written to files, sent and received by sockets.
    #[serde(flatten)]
    pub transfer: TransferRecord,
    /// Bytes of the event's payload.
    pub input_bytes: u64,
    /// What tells whether other calls had the same input, of one that failed or was answered with an error.
    #[serde(
        serialize_with = "shown_if_any",
        deserialize_with = "read_if_any",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub input_digest: Option<InputDigest>,
    /// Bytes of the reply's payload.
    pub output_bytes: u64,
}

/// What went through files and sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// Read from files.
    pub read_bytes: u64,
    /// Written to files: handed over to the system.
    pub written_bytes: u64,
    /// Sent by sockets: handed over to the system.
    pub sent_bytes: u64,
    /// Received by sockets.
    pub received_bytes: u64,
}

impl From<Transfer> for TransferRecord {
    fn from(transfer: Transfer) -> Self {
        let Transfer { read_bytes, written_bytes, sent_bytes, received_bytes } = transfer;
        Self { read_bytes, written_bytes, sent_bytes, received_bytes }
    }
}

/// What one function of the host was used for in a call, or in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFunctionUse {
    /// The function, or several that are much alike.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub function: HostFunction,
    /// How often it was called.
    pub calls: u64,
    /// Time in it, without what was waited in it, in nanoseconds. Of a function that does little, it is an estimate from some
    /// of the calls.
    pub in_host_ns: u64,
    /// What was waited in it, in nanoseconds.
    pub waited_ns: u64,
}

impl From<HostUse> for HostFunctionUse {
    fn from(HostUse { function, calls, nanos, waited_nanos }: HostUse) -> Self {
        Self { function, calls, in_host_ns: nanos, waited_ns: waited_nanos }
    }
}

impl HostFunctionUse {
    /// Uses as they are told: what took the longest first.
    pub fn list(uses: impl IntoIterator<Item = HostUse>) -> Vec<Self> {
        let mut all: Vec<_> = uses.into_iter().map(Self::from).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.in_host_ns.saturating_add(one.waited_ns)));
        all
    }
}

impl FromStore for InvocationRecord {
    const SIGNAL: Signal = Signal::Invocation;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let Body::Invocation(invocation) = body else { return None };
        let cost = invocation.cost;
        Some(Self {
            head,
            name: invocation.name.to_owned(),
            parent: invocation.parent,
            cause: invocation.cause,
            outcome: invocation.outcome,
            fuel: cost.fuel,
            guest_cpu_ns: cost.guest_cpu_nanos(),
            host_cpu_ns: cost.host_cpu_nanos(),
            cpu_estimated: cost.cpu_estimated,
            wall_ns: cost.wall_nanos(),
            elapsed_ns: cost.elapsed_nanos,
            in_guest_ns: cost.guest_nanos(),
            in_host_ns: cost.host_nanos,
            queued_ns: cost.queued_nanos,
            waiting_ns: cost.waiting_nanos(),
            idle_ns: cost.idle_nanos,
            unattributed_ns: cost.unattributed_nanos,
            host_calls: cost.host_calls,
            host_functions: HostFunctionUse::list(invocation.host.iter()),
            memory_bytes: cost.memory_bytes,
            memory_delta_bytes: cost.memory_delta_bytes,
            memory_peak_bytes: cost.memory_peak_bytes,
            transfer: cost.transfer.into(),
            input_bytes: invocation.input_bytes,
            input_digest: invocation.input,
            output_bytes: invocation.output_bytes,
        })
    }
}
