//! What an extension has used so far: totals that its owner adds to and anybody may read.

use std::sync::atomic::{AtomicU64, Ordering};

use glasshouse_model::invocation::Cost;
use glasshouse_model::{Outcome, Signal};

/// The running totals of one extension.
#[derive(Debug, Default)]
pub struct Ledger {
    calls: AtomicU64,
    failures: AtomicU64,
    answered_errors: AtomicU64,
    fuel: AtomicU64,
    cpu_nanos: AtomicU64,
    elapsed_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    memory_peak_bytes: AtomicU64,
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
    /// CPU time of all invocations, in nanoseconds.
    pub cpu_nanos: u64,
    /// Wall time of all invocations, in nanoseconds.
    pub elapsed_nanos: u64,
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
    /// Calls that gave no reply: failures and answered errors.
    pub fn errors(&self) -> u64 {
        self.failures + self.answered_errors
    }
}

impl Ledger {
    /// Adds a finished invocation; `counts` tells whether it is a call, or part of the extension's life cycle.
    pub fn add(&self, outcome: Outcome, cost: &Cost, counts: bool) {
        let add = |total: &AtomicU64, amount: u64| {
            if amount > 0 {
                total.fetch_add(amount, Ordering::Relaxed);
            }
        };
        add(&self.calls, u64::from(counts));
        add(&self.failures, u64::from(outcome.is_failure()));
        add(&self.answered_errors, u64::from(outcome == Outcome::Answered));
        add(&self.fuel, cost.fuel.unwrap_or_default());
        add(&self.cpu_nanos, cost.cpu_nanos);
        add(&self.elapsed_nanos, cost.elapsed_nanos);
        self.set_memory(cost.memory_bytes);
        if cost.memory_peak_bytes > self.memory_peak_bytes.load(Ordering::Relaxed) {
            self.memory_peak_bytes.fetch_max(cost.memory_peak_bytes, Ordering::Relaxed);
        }
    }

    /// Sets the linear memory of the live instance.
    pub fn set_memory(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Usage {
            calls: read(&self.calls),
            failures: read(&self.failures),
            answered_errors: read(&self.answered_errors),
            fuel: read(&self.fuel),
            cpu_nanos: read(&self.cpu_nanos),
            elapsed_nanos: read(&self.elapsed_nanos),
            memory_bytes: read(&self.memory_bytes),
            memory_peak_bytes: read(&self.memory_peak_bytes),
            ..Usage::default()
        }
    }
}
