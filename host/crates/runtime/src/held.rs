//! What the host keeps in its own memory on an extension's behalf, as far as it can be counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::counts::{core_instances, live_handles};
use crate::mailbox::Mailbox;
use crate::state::State;

/// Resources are counted after one of so many calls: the table has to be gone through for it.
const COUNTED_EACH: u32 = 16;
/// Handles, likewise: the engine has to be asked twice or more, one of which is an error that it makes for it.
const HANDLES_COUNTED_EACH: u32 = 64;

/// What the host holds for an extension at one moment, beside linear memory ([`crate::Extension::usage`]) and telemetry, which
/// have bounds of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// Open files, sockets, streams, meters and the like, after one of the latest calls; `budget.resources` bounds them.
    pub resources: u64,
    /// Handles of resources, its own included, after one of the latest calls; `budget.handles` bounds them.
    pub handles: u64,
    /// Core instances that it consists of; `budget.instances` bounds them.
    pub core_instances: u64,
    /// Linear memories of these; `budget.memories` bounds them.
    pub memories: u64,
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
    /// The most handles that were counted after a call.
    pub handles_peak: u64,
    /// The most elements of tables after a call.
    pub table_elements_peak: u64,
    /// The most calls that waited when one was begun, that one included.
    pub waiting_calls_peak: u64,
    /// Core instances that any instance of it had.
    pub core_instances_peak: u64,
    /// Linear memories that any instance of it had.
    pub memories_peak: u64,
}

/// A count as it is, and the most that it was.
#[derive(Debug, Default)]
struct Count {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Count {
    /// Notes how many there are. There is one writer, so that nothing is lost between reading and writing.
    #[inline]
    fn note(&self, number: u64) {
        self.now.store(number, Ordering::Relaxed);
        if number > self.peak() {
            self.peak.store(number, Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        self.now.store(0, Ordering::Relaxed);
    }

    #[inline]
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    #[inline]
    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// What the live instance holds, and what was most; written by its owner, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Held {
    resources: Count,
    handles: Count,
    core_instances: Count,
    memories: Count,
    table_elements: Count,
    host_calls: Count,
    waiting_calls: Count,
    calls: AtomicU32,
    /// Core instances and memories that its component makes, once they were counted.
    parts: OnceLock<(u64, u64)>,
}

impl Held {
    /// Notes what is held after a call; what has to be gone through is counted after some calls, and after the last one of an
    /// instance (`is_last`).
    #[inline]
    pub(crate) fn note(&self, store: &mut Store<State>, handles_limit: usize, is_last: bool) {
        const { assert!(HANDLES_COUNTED_EACH.is_multiple_of(COUNTED_EACH), "both are counted at once") };
        // One writer, so that nothing is lost between reading and writing.
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Relaxed);
        if calls.is_multiple_of(COUNTED_EACH) || is_last {
            self.go_through(store, handles_limit, calls.is_multiple_of(HANDLES_COUNTED_EACH) || is_last);
        }
        let state = store.data();
        self.table_elements.note(state.limiter.table_elements() as u64);
        self.host_calls.note(state.imports.calls());
    }

    /// Counts what has to be gone through: resources, and handles where that is due as well.
    #[cold]
    fn go_through(&self, store: &mut Store<State>, handles_limit: usize, with_handles: bool) {
        self.resources.note(store.data_mut().table.iter_mut().count() as u64);
        if with_handles {
            self.handles.note(live_handles(store, self.handles.now() as usize) as u64);
            store.set_max_component_handles(handles_limit);
        }
    }

    /// Notes what a new instance consists of, which is counted the first time.
    pub(crate) async fn note_parts(&self, store: &mut Store<State>, pre: &InstancePre<State>) {
        let (core_instances, memories) = if let Some(parts) = self.parts.get() {
            *parts
        } else {
            let instances = core_instances(store, pre).await.unwrap_or_default();
            let memories = pre.component().resources_required().map_or(0, |parts| parts.num_memories.into());
            *self.parts.get_or_init(|| (instances, memories))
        };
        self.core_instances.note(core_instances);
        self.memories.note(memories);
    }

    /// Notes how many calls waited when one was begun, that one included.
    #[inline]
    pub(crate) fn note_waiting(&self, calls: usize) {
        self.waiting_calls.note(calls as u64);
    }

    /// What was used since the start.
    pub(crate) fn used(&self) -> HostUse {
        HostUse {
            host_calls: self.host_calls.now(),
            host_calls_peak: self.host_calls.peak(),
            resources_peak: self.resources.peak(),
            handles_peak: self.handles.peak(),
            table_elements_peak: self.table_elements.peak(),
            waiting_calls_peak: self.waiting_calls.peak(),
            core_instances_peak: self.core_instances.peak(),
            memories_peak: self.memories.peak(),
        }
    }

    /// Notes that there is no instance.
    pub(crate) fn clear(&self) {
        for count in [&self.resources, &self.handles, &self.core_instances, &self.memories, &self.table_elements] {
            count.clear();
        }
        self.calls.store(0, Ordering::Relaxed);
    }

    /// What is held, with what waits in the mailbox.
    pub(crate) fn read(&self, mailbox: &Mailbox) -> HostMemory {
        HostMemory {
            resources: self.resources.now(),
            handles: self.handles.now(),
            core_instances: self.core_instances.now(),
            memories: self.memories.now(),
            table_elements: self.table_elements.now(),
            waiting_calls: mailbox.waiting() as u64,
            waiting_bytes: mailbox.waiting_bytes() as u64,
        }
    }
}
