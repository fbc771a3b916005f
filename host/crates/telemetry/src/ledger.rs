//! What an extension has used so far: totals that its owner adds to and anybody may read.

use std::sync::atomic::{AtomicU64, Ordering};

use glasshouse_model::invocation::{Cost, HostUse, Transfer, without};
use glasshouse_model::{HostFunction, Outcome, Signal};

/// The running totals of one extension. One owner adds to them, and one call at a time, so that adding needs no atomic addition.
#[derive(Debug)]
pub struct Ledger {
    totals: [AtomicU64; Total::COUNT],
    /// Of each function of the host: calls, nanoseconds in it, and nanoseconds that were waited in it.
    host: [[AtomicU64; 3]; HostFunction::COUNT],
    memory_bytes: AtomicU64,
    memory_peak_bytes: AtomicU64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            totals: Default::default(),
            host: std::array::from_fn(|_| Default::default()),
            memory_bytes: AtomicU64::default(),
            memory_peak_bytes: AtomicU64::default(),
        }
    }
}

/// Adds to a total that one owner adds to.
#[inline]
fn add(total: &AtomicU64, amount: u64) {
    total.store(total.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// What is summed up.
#[derive(Clone, Copy)]
enum Total {
    Calls,
    Failures,
    AnsweredErrors,
    Fuel,
    Cpu,
    Elapsed,
    Queued,
    Response,
    Host,
    HostCpu,
    HostCalls,
    Idle,
    Yielded,
    Unattributed,
    Read,
    Written,
    Sent,
    Received,
}

impl Total {
    const COUNT: usize = Self::Received as usize + 1;
}

/// What a [`Ledger`] says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Invocations of `handle`, and of an embedder's own exports; not `init` and `shutdown`.
    pub calls: u64,
    /// Those that ended in a trap or a breach, those of `init` and `shutdown` included.
    pub failures: u64,
    /// Those that the extension answered with an error.
    pub answered_errors: u64,
    /// Fuel of all invocations that counted it.
    pub fuel: u64,
    /// CPU time of all invocations, that of host functions on their behalf included, in nanoseconds.
    pub cpu_nanos: u64,
    /// What of the CPU time host functions took, in nanoseconds.
    pub host_cpu_nanos: u64,
    /// Wall time of all invocations, without that in the mailbox, in nanoseconds.
    pub elapsed_nanos: u64,
    /// Time in the mailbox, in nanoseconds.
    pub queued_nanos: u64,
    /// Wall time of what `calls` counts, that in the mailbox included, in nanoseconds.
    pub response_nanos: u64,
    /// Time in host functions, without what was waited in them, in nanoseconds.
    pub host_nanos: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Time in which something was waited for, in nanoseconds.
    pub idle_nanos: u64,
    /// Time in which the next turn was waited for, in nanoseconds.
    pub yielded_nanos: u64,
    /// Time that is none of these, in nanoseconds.
    pub unattributed_nanos: u64,
    /// What went through files and sockets.
    pub transfer: Transfer,
    /// Linear memory of the live instance; 0 if there is none.
    pub memory_bytes: u64,
    /// The most linear memory that any instance has had.
    pub memory_peak_bytes: u64,
    /// Records of each signal that were stored since the start of this host.
    pub stored: [u64; Signal::COUNT],
    /// Records of each signal that were stored, by this host or one before it, and had to go.
    pub evicted: [u64; Signal::COUNT],
    /// Records that were never stored.
    pub dropped: u64,
}

impl Usage {
    /// CPU time of all invocations without that of host functions, in nanoseconds.
    pub fn guest_cpu_nanos(&self) -> u64 {
        self.cpu_nanos.saturating_sub(self.host_cpu_nanos)
    }

    /// Time in which guests' code ran and their values were passed, in nanoseconds.
    pub fn guest_nanos(&self) -> u64 {
        without(self.elapsed_nanos, &[self.host_nanos, self.idle_nanos, self.yielded_nanos, self.unattributed_nanos])
    }

    /// Calls that gave no reply: failures and answered errors.
    pub fn errors(&self) -> u64 {
        self.failures + self.answered_errors
    }
}

impl Ledger {
    /// Adds a finished invocation of the one owner, and what it asked of the host; `counts` tells whether it is a call, or part of the
    /// extension's life cycle.
    #[inline]
    pub fn add(&self, outcome: Outcome, cost: &Cost, counts: bool, host: impl Iterator<Item = HostUse>) {
        for HostUse { function, calls, nanos, waited_nanos } in host {
            let [all_calls, all_nanos, all_waited] = &self.host[function as usize];
            add(all_calls, calls);
            add(all_nanos, nanos);
            add(all_waited, waited_nanos);
        }
        self.add_each([
            (Total::Calls, u64::from(counts)),
            (Total::Fuel, cost.fuel.unwrap_or_default()),
            (Total::Cpu, cost.cpu_nanos),
            (Total::HostCpu, cost.host_cpu_nanos()),
            (Total::Elapsed, cost.elapsed_nanos),
            (Total::Queued, cost.queued_nanos),
            (Total::Response, if counts { cost.wall_nanos() } else { 0 }),
            (Total::Host, cost.host_nanos),
            (Total::HostCalls, cost.host_calls),
            (Total::Unattributed, cost.unattributed_nanos),
        ]);
        // What most calls have nothing of.
        if outcome != Outcome::Ok {
            self.add_each([
                (Total::Failures, u64::from(outcome.is_failure())),
                (Total::AnsweredErrors, u64::from(outcome == Outcome::Answered)),
            ]);
        }
        if cost.waiting_nanos() > 0 {
            self.add_each([(Total::Idle, cost.idle_nanos), (Total::Yielded, cost.yielded_nanos)]);
        }
        let Transfer { read_bytes, written_bytes, sent_bytes, received_bytes } = cost.transfer;
        if cost.transfer != Transfer::default() {
            self.add_each([
                (Total::Read, read_bytes),
                (Total::Written, written_bytes),
                (Total::Sent, sent_bytes),
                (Total::Received, received_bytes),
            ]);
        }
        self.set_memory(cost.memory_bytes);
        if cost.memory_peak_bytes > self.memory_peak_bytes.load(Ordering::Relaxed) {
            self.memory_peak_bytes.store(cost.memory_peak_bytes, Ordering::Relaxed);
        }
    }

    #[inline]
    fn add_each<const N: usize>(&self, amounts: [(Total, u64); N]) {
        for (total, amount) in amounts {
            add(&self.totals[total as usize], amount);
        }
    }

    /// Sets the linear memory of the live instance.
    #[inline]
    pub fn set_memory(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What all invocations asked of the host, one entry for each function that was called.
    pub(crate) fn host_functions(&self) -> Vec<HostUse> {
        let of = |function: &HostFunction| {
            let [calls, nanos, waited_nanos] =
                [0, 1, 2].map(|total: usize| self.host[*function as usize][total].load(Ordering::Relaxed));
            (calls > 0).then_some(HostUse { function: *function, calls, nanos, waited_nanos })
        };
        HostFunction::ALL.iter().filter_map(of).collect()
    }

    pub(crate) fn usage(&self) -> Usage {
        let read = |total: Total| self.totals[total as usize].load(Ordering::Relaxed);
        Usage {
            calls: read(Total::Calls),
            failures: read(Total::Failures),
            answered_errors: read(Total::AnsweredErrors),
            fuel: read(Total::Fuel),
            cpu_nanos: read(Total::Cpu),
            host_cpu_nanos: read(Total::HostCpu),
            elapsed_nanos: read(Total::Elapsed),
            queued_nanos: read(Total::Queued),
            response_nanos: read(Total::Response),
            host_nanos: read(Total::Host),
            host_calls: read(Total::HostCalls),
            idle_nanos: read(Total::Idle),
            yielded_nanos: read(Total::Yielded),
            unattributed_nanos: read(Total::Unattributed),
            transfer: Transfer {
                read_bytes: read(Total::Read),
                written_bytes: read(Total::Written),
                sent_bytes: read(Total::Sent),
                received_bytes: read(Total::Received),
            },
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
            memory_peak_bytes: self.memory_peak_bytes.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}
