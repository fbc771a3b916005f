//! Slices by the clock, for the flavours with epochs: what ends them, and what a guest finds at the end of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, Store, UpdateDeadline};

use crate::state::State;

/// The length of a slice. With 250 µs two spinners hardly change their neighbours' latency, with a millisecond they
/// double it; a tick costs the ticker some 3 µs and a guest 10 ns.
const TICK: Duration = Duration::from_micros(250);
/// Ticks after the last call at which the ticker falls asleep: to wake it up costs as much as some ticks.
const IDLE_TICKS: u32 = 40;

/// A thread that ends slices while guests of an engine are being called.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    /// Calls under way.
    calls: AtomicUsize,
    asleep: AtomicBool,
    stops: AtomicBool,
}

/// Keeps a [`Ticker`] awake.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn new(engine: &Engine) -> std::io::Result<Self> {
        let (shared, engine) = (Arc::new(Shared::default()), engine.weak());
        let own = Arc::clone(&shared);
        let tick = move || {
            let mut idle_ticks = 0;
            while !own.stops.load(Ordering::SeqCst) {
                thread::sleep(TICK);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                idle_ticks = if own.calls.load(Ordering::SeqCst) == 0 { idle_ticks + 1 } else { 0 };
                if idle_ticks >= IDLE_TICKS {
                    own.asleep.store(true, Ordering::SeqCst);
                    // A call that begins after this look sees that the ticker is asleep, and wakes it up.
                    while own.calls.load(Ordering::SeqCst) == 0 && !own.stops.load(Ordering::SeqCst) {
                        thread::park();
                    }
                    own.asleep.store(false, Ordering::SeqCst);
                    idle_ticks = 0;
                }
            }
        };
        let thread = thread::Builder::new().name("ticker".into()).spawn(tick)?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Ticks until the result is dropped.
    pub(crate) fn tick(&self) -> Ticking<'_> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// What a call and its guest tell each other at the end of a slice: a guest that is past its deadline traps there, with its stack.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The guest stopped in its own code, where it can be made to trap, and not in a host function.
    sliced: AtomicBool,
    /// The call is past its deadline.
    overdue: AtomicBool,
}

impl Pace {
    /// Puts a store's guest under this pace.
    pub(crate) fn set(self: &Arc<Self>, store: &mut Store<State>) {
        let pace = Arc::clone(self);
        store.epoch_deadline_callback(move |store| {
            let state = store.data();
            let overdue =
                pace.overdue.load(Ordering::Relaxed) || state.intake.clock().monotonic_nanos() >= state.deadline_at;
            if overdue {
                return Ok(UpdateDeadline::Interrupt);
            }
            pace.sliced.store(true, Ordering::Relaxed);
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
    }

    /// Starts a call with a whole slice.
    pub(crate) fn begin(&self, store: &mut Store<State>) {
        self.sliced.store(false, Ordering::Relaxed);
        self.overdue.store(false, Ordering::Relaxed);
        store.set_epoch_deadline(1);
    }

    /// Tells whether the poll that has just been ended by the guest's slice, and forgets it.
    pub(crate) fn take_sliced(&self) -> bool {
        self.sliced.swap(false, Ordering::Relaxed)
    }

    /// Makes the guest trap at the end of its next slice.
    pub(crate) fn set_overdue(&self) {
        self.overdue.store(true, Ordering::Relaxed);
    }
}
