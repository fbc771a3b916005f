//! What the host keeps in its own memory on an extension's behalf, as far as it can be counted.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use wasmtime::component::ResourceTable;

use crate::limiter::Limiter;
use crate::mailbox::Mailbox;

/// Resources are counted after one of so many calls: the table has to be gone through for it.
const COUNTED_EACH: u32 = 16;

/// What the host holds for an extension at one moment, beside linear memory ([`crate::Extension::usage`]) and telemetry, which
/// have bounds of their own. Handles are not among it: the engine bounds them by `budget.handles` and does not count aloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// Open files, sockets, streams, meters and the like, after one of the latest calls; `budget.resources` bounds them.
    pub resources: u64,
    /// Elements of its tables, each a pointer, after the latest call; `budget.table_elements` bounds them.
    pub table_elements: u64,
    /// Calls that wait in its mailbox; `budget.mailbox` bounds them.
    pub waiting_calls: u64,
    /// Bytes of their payloads; 32 MiB at most.
    pub waiting_bytes: u64,
}

/// What an extension has used of what the host counts for it since it was started, whatever instances it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostUse {
    /// Calls of host functions in the latest call.
    pub host_calls: u64,
    /// The most in any call.
    pub host_calls_peak: u64,
    /// The most resources that were counted after a call.
    pub resources_peak: u64,
    /// The most elements of tables after a call.
    pub table_elements_peak: u64,
    /// The most calls that waited when one was begun, that one included.
    pub waiting_calls_peak: u64,
}

/// What the live instance holds, and what was most; written by its owner, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Held {
    resources: AtomicU64,
    table_elements: AtomicU64,
    calls: AtomicU32,
    host_calls: AtomicU64,
    /// Of resources, elements, calls of the host and waiting calls.
    peaks: [AtomicU64; 4],
}

/// Keeps the greater number; there is one writer.
#[inline]
fn note(peak: &AtomicU64, number: u64) {
    if number > peak.load(Ordering::Relaxed) {
        peak.store(number, Ordering::Relaxed);
    }
}

impl Held {
    /// Notes what is held after a call that made so many calls of host functions.
    #[inline]
    pub(crate) fn note(&self, table: &mut ResourceTable, limiter: &Limiter, host_calls: u64) {
        let [resources_peak, elements_peak, host_calls_peak, _] = &self.peaks;
        // One writer, so that nothing is lost between reading and writing.
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Relaxed);
        if calls.is_multiple_of(COUNTED_EACH) {
            let resources = table.iter_mut().count() as u64;
            self.resources.store(resources, Ordering::Relaxed);
            note(resources_peak, resources);
        }
        let elements = limiter.table_elements() as u64;
        self.table_elements.store(elements, Ordering::Relaxed);
        note(elements_peak, elements);
        self.host_calls.store(host_calls, Ordering::Relaxed);
        note(host_calls_peak, host_calls);
    }

    /// Notes how many calls waited when one was begun, that one included.
    #[inline]
    pub(crate) fn note_waiting(&self, calls: usize) {
        note(&self.peaks[3], calls as u64);
    }

    /// What was used since the start.
    pub(crate) fn used(&self) -> HostUse {
        let [resources_peak, table_elements_peak, host_calls_peak, waiting_calls_peak] =
            self.peaks.each_ref().map(|peak| peak.load(Ordering::Relaxed));
        let host_calls = self.host_calls.load(Ordering::Relaxed);
        HostUse { host_calls, host_calls_peak, resources_peak, table_elements_peak, waiting_calls_peak }
    }

    /// Notes that there is no instance.
    pub(crate) fn clear(&self) {
        for count in [&self.resources, &self.table_elements] {
            count.store(0, Ordering::Relaxed);
        }
        self.calls.store(0, Ordering::Relaxed);
    }

    /// What is held, with what waits in the mailbox.
    pub(crate) fn read(&self, mailbox: &Mailbox) -> HostMemory {
        HostMemory {
            resources: self.resources.load(Ordering::Relaxed),
            table_elements: self.table_elements.load(Ordering::Relaxed),
            waiting_calls: mailbox.waiting() as u64,
            waiting_bytes: mailbox.waiting_bytes() as u64,
        }
    }
}
