//! Slices by the clock, for the flavours with epochs: what ends them, and what a guest finds at the end of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmtime::{Engine, Store, UpdateDeadline};

use crate::state::State;

/// The length of a slice. With 250 µs two spinners hardly change their neighbours' latency, with a millisecond they
/// double it; a tick costs the ticker some 3 µs and a guest 10 ns.
pub(crate) const TICK: Duration = Duration::from_micros(250);
/// Ticks after the last call at which the ticker falls asleep: to wake it up costs as much as some ticks.
const IDLE_TICKS: u32 = 40;

/// A thread that ends slices while guests of an engine are being called.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    /// Calls under way.
    calls: AtomicUsize,
    asleep: AtomicBool,
    stops: AtomicBool,
    begun: Instant,
    /// When it ticked, or woke up, last: nanoseconds after `begun`.
    ticked: AtomicU64,
}

impl Shared {
    fn note_tick(&self) {
        self.ticked.store(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Keeps a [`Ticker`] awake.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn new(engine: &Engine) -> std::io::Result<Self> {
        let shared = Shared {
            calls: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            begun: Instant::now(),
            ticked: AtomicU64::new(0),
        };
        let (shared, engine) = (Arc::new(shared), engine.weak());
        let own = Arc::clone(&shared);
        let tick = move || {
            let mut idle_ticks = 0;
            while !own.stops.load(Ordering::SeqCst) {
                thread::sleep(TICK);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                own.note_tick();
                idle_ticks = if own.calls.load(Ordering::SeqCst) == 0 { idle_ticks + 1 } else { 0 };
                if idle_ticks >= IDLE_TICKS {
                    own.asleep.store(true, Ordering::SeqCst);
                    // A call that begins after this look sees that the ticker is asleep, and wakes it up.
                    while own.calls.load(Ordering::SeqCst) == 0 && !own.stops.load(Ordering::SeqCst) {
                        thread::park();
                    }
                    own.note_tick();
                    own.asleep.store(false, Ordering::SeqCst);
                    idle_ticks = 0;
                }
            }
        };
        let thread = thread::Builder::new().name("ticker".into()).spawn(tick)?;
        Ok(Self { shared, thread })
    }

    /// Whether its thread has ended, so that nothing ends slices any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// How long ago it ticked last, while calls are under way; it sleeps where there are none.
    pub(crate) fn since_tick(&self) -> Option<Duration> {
        let is_needed = self.shared.calls.load(Ordering::SeqCst) > 0 && !self.shared.asleep.load(Ordering::SeqCst);
        let ticked = Duration::from_nanos(self.shared.ticked.load(Ordering::Relaxed));
        is_needed.then(|| self.shared.begun.elapsed().saturating_sub(ticked))
    }

    /// Ticks until the result is dropped.
    pub(crate) fn tick(&self) -> Ticking<'_> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
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
        self.thread.thread().unpark();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seen_whether_a_ticker_ticks_and_that_it_has_ended() {
        let engine = Engine::default();
        let ticker = Ticker::new(&engine).expect("a thread");
        assert_eq!((ticker.has_ended(), ticker.since_tick()), (false, None), "nobody needs it yet");
        let _ticking = ticker.tick();
        let ticked = || ticker.shared.ticked.load(Ordering::Relaxed);
        for _ in 0..3 {
            let before = ticked();
            while ticked() == before {
                thread::yield_now();
            }
        }
        assert!(ticker.since_tick().is_some());
        drop(engine);
        while !ticker.has_ended() {
            thread::yield_now();
        }
        let late = ticker.since_tick();
        thread::yield_now();
        assert!(late.is_some() && ticker.since_tick() > late, "it is later and later");
    }
}
