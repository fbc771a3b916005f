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

/// What the live instance holds; written by its owner, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Held {
    resources: AtomicU64,
    table_elements: AtomicU64,
    calls: AtomicU32,
}

impl Held {
    /// Notes what is held after a call.
    #[inline]
    pub(crate) fn note(&self, table: &mut ResourceTable, limiter: &Limiter) {
        // One writer, so that nothing is lost between reading and writing.
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Relaxed);
        if calls.is_multiple_of(COUNTED_EACH) {
            self.resources.store(table.iter_mut().count() as u64, Ordering::Relaxed);
        }
        self.table_elements.store(limiter.table_elements() as u64, Ordering::Relaxed);
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
