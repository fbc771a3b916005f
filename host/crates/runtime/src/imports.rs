//! What a guest asks of its host in a call: how often, how long each function takes, and what is waited in it.
//!
//! A function that does much is timed whenever it is called. One that does little, and may be called a million times, is timed
//! now and then; all other calls of it count as long as those usually took. A reading of the clock costs as much as such a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use glasshouse_model::invocation::{HostUse, Transfer};
use glasshouse_model::{Clock, HostFunction};

use crate::host_calls::{HostCall, HostCalls};
use crate::span_uses::{SpanUses, bit};

/// Of so many calls of a function that does little one is timed.
const ONE_IN: u64 = 64;
/// The first calls of such a function, which are all timed, so that there is something to go by.
const FIRST: u64 = 8;
/// What a sample weighs in what is usual, as one part of so many.
const WEIGHT: u64 = 8;
/// How much longer than usual a sample may count: the system may have taken the thread away meanwhile.
const OUTLIER: u64 = 4;

/// A guest called more functions of the host than its budget allows.
#[derive(Debug, thiserror::Error)]
#[error("called functions of the host more than {limit} times")]
pub(crate) struct TooManyHostCalls {
    limit: u64,
}

/// What the instance's call and whoever polls it tell each other, beside the store, which the call has. One thread at a time
/// changes it, so that no change needs an atomic addition.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Whether the guest is in a function of the host that waits for something if it does not go on.
    waits: AtomicBool,
    exceeded: AtomicBool,
    idle_nanos: AtomicU64,
    yielded_nanos: AtomicU64,
    transferred: [AtomicU64; 4],
    /// What of it was sent and received by tasks of their own, on whichever thread.
    on_wire: [AtomicU64; 2],
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Read = 0,
    Written = 1,
    Sent = 2,
    Received = 3,
}

#[inline]
fn add(total: &AtomicU64, amount: u64) {
    total.store(get(total).wrapping_add(amount), Ordering::Relaxed);
}

#[inline]
fn get(total: &AtomicU64) -> u64 {
    total.load(Ordering::Relaxed)
}

impl Pulse {
    /// Starts a call: nothing was waited for, nothing is exceeded. What was transferred goes on to be counted.
    #[inline]
    fn begin(&self) {
        self.waits.store(false, Ordering::Relaxed);
        self.exceeded.store(false, Ordering::Relaxed);
        self.idle_nanos.store(0, Ordering::Relaxed);
        self.yielded_nanos.store(0, Ordering::Relaxed);
    }

    /// Counts the time between two polls of the call.
    pub(crate) fn note_pause(&self, nanos: u64) {
        let waits = self.waits.load(Ordering::Relaxed);
        add(if waits { &self.idle_nanos } else { &self.yielded_nanos }, nanos);
    }

    /// Says that the function of the host which the guest is in is about to let the neighbours run, and does not wait.
    pub(crate) fn note_yield(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }

    /// Waiting for something, in nanoseconds of this call.
    #[inline]
    pub(crate) fn idle_nanos(&self) -> u64 {
        get(&self.idle_nanos)
    }

    /// Waiting for its turn, in nanoseconds of this call.
    #[inline]
    pub(crate) fn yielded_nanos(&self) -> u64 {
        get(&self.yielded_nanos)
    }

    /// Whether the guest has called more functions of the host than it may, by one that could not fail for it.
    #[inline]
    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// Counts bytes that went through a file or a socket.
    pub(crate) fn note_transfer(&self, way: Way, bytes: usize) {
        add(&self.transferred[way as usize], bytes as u64);
    }

    /// Counts bytes that a task of its own sent or received for the guest.
    pub(crate) fn note_on_wire(&self, way: Way, bytes: usize) {
        let received = usize::from(way == Way::Received);
        self.on_wire[received].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What went through files, sockets and connections since the instance was made.
    #[inline]
    pub(crate) fn transferred(&self) -> Transfer {
        let bytes = |way: Way| get(&self.transferred[way as usize]);
        let [sent, received] = &self.on_wire;
        Transfer {
            read_bytes: bytes(Way::Read),
            written_bytes: bytes(Way::Written),
            sent_bytes: bytes(Way::Sent).wrapping_add(get(sent)),
            received_bytes: bytes(Way::Received).wrapping_add(get(received)),
        }
    }
}

/// What one function was used for.
#[derive(Clone, Copy, Default)]
struct Used {
    /// In this call: how often, how long, and what was waited.
    calls: u64,
    nanos: u64,
    waited_nanos: u64,
    /// Since the instance was made: how often, and how long a call of it usually takes.
    seen: u64,
    usual_nanos: u64,
}

/// The functions of the host that one instance uses.
pub(crate) struct Imports {
    pulse: Arc<Pulse>,
    clock: Arc<dyn Clock>,
    used: Box<[Used; HostFunction::COUNT]>,
    /// A bit for each function that was called in this call.
    touched: u64,
    calls: u64,
    limit: u64,
    nanos: u64,
    /// Those that get spans of their own.
    pub(crate) host_calls: HostCalls,
    spans: SpanUses,
}

const _: () = assert!(HostFunction::COUNT <= u64::BITS as usize, "there is a bit for each function");

/// A time in `Clock::monotonic_nanos`, and what had been waited by then.
#[derive(Clone, Copy)]
struct Moment {
    at: u64,
    idle_nanos: u64,
    yielded_nanos: u64,
}

/// A call of a function of the host that is under way.
#[must_use]
pub(crate) struct Entered {
    function: HostFunction,
    /// When it was entered and what had been waited then, if it is timed.
    since: Option<Moment>,
    /// Whether it does little, so that it shows how long such calls usually take.
    is_light: bool,
}

impl Imports {
    pub(crate) fn new(pulse: Arc<Pulse>, clock: Arc<dyn Clock>) -> Self {
        let used = Box::new([Used::default(); HostFunction::COUNT]);
        let (host_calls, spans) = (HostCalls::default(), SpanUses::default());
        Self { pulse, clock, used, touched: 0, calls: 0, limit: u64::MAX, nanos: 0, host_calls, spans }
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Starts a call of the guest, which may call so many functions; `traced` tells whether its spans may be stored.
    #[inline]
    pub(crate) fn begin(&mut self, limit: u64, traced: bool) {
        self.host_calls.begin(traced);
        self.spans.clear();
        self.pulse.begin();
        let mut left = std::mem::take(&mut self.touched);
        while left != 0 {
            let used = &mut self.used[left.trailing_zeros() as usize];
            (used.calls, used.nanos, used.waited_nanos) = (0, 0, 0);
            left &= left - 1;
        }
        (self.calls, self.nanos, self.limit) = (0, 0, limit);
    }

    /// Calls of functions in this call.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Time in functions in this call, without what was waited in them.
    pub(crate) fn nanos(&self) -> u64 {
        self.nanos
    }

    /// What each function was used for in this call.
    pub(crate) fn uses(&self) -> impl Iterator<Item = HostUse> {
        let mut left = self.touched;
        std::iter::from_fn(move || {
            let function = *HostFunction::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(self.used_for(function))
        })
    }

    /// What a function was used for in this call.
    #[inline]
    fn used_for(&self, function: HostFunction) -> HostUse {
        let Used { calls, nanos, waited_nanos, .. } = self.used[function as usize];
        HostUse { function, calls, nanos, waited_nanos }
    }

    /// A span of the guest's is opened, in those that are open.
    #[inline]
    pub(crate) fn open_span(&mut self) {
        self.spans.open();
    }

    /// What each function was used for in the open span at a place, but for those that open and end spans.
    #[inline]
    pub(crate) fn uses_in_span(&self, place: usize) -> impl Iterator<Item = HostUse> {
        self.spans.within(place, |function| self.used_for(function))
    }

    /// The open span at a place has ended.
    #[inline]
    pub(crate) fn close_span(&mut self, place: usize) {
        self.spans.close(place);
    }

    /// The function that was called the most.
    pub(crate) fn busiest(&self) -> Option<HostUse> {
        self.uses().max_by_key(|one| one.calls)
    }

    /// The guest calls a function that does little.
    #[inline]
    pub(crate) fn enter_light(&mut self, function: HostFunction) -> Result<Entered, TooManyHostCalls> {
        let entered = self.sample(function);
        self.admit()?;
        Ok(entered)
    }

    /// The guest calls a function that does much, and may wait.
    pub(crate) fn enter(&mut self, function: HostFunction) -> Result<Entered, TooManyHostCalls> {
        let entered = self.time(function);
        self.admit()?;
        Ok(entered)
    }

    /// The guest calls a function that is not timed, and that cannot fail for having been called too often.
    pub(crate) fn note(&mut self, function: HostFunction) {
        self.count(function);
        self.check();
    }

    /// Ends the call of the guest when it next lets go of its thread, if it has called too many functions.
    fn check(&self) {
        if self.admit().is_err() {
            self.pulse.exceeded.store(true, Ordering::Relaxed);
        }
    }

    fn admit(&self) -> Result<(), TooManyHostCalls> {
        if self.calls > self.limit { Err(TooManyHostCalls { limit: self.limit }) } else { Ok(()) }
    }

    #[inline]
    fn count(&mut self, function: HostFunction) -> &mut Used {
        self.calls += 1;
        self.touched |= bit(function);
        if self.spans.is_new(bit(function)) {
            self.spans.note(self.used_for(function));
        }
        let used = &mut self.used[function as usize];
        used.calls += 1;
        used
    }

    #[inline]
    fn sample(&mut self, function: HostFunction) -> Entered {
        let used = self.count(function);
        used.seen += 1;
        if used.seen <= FIRST || used.seen.is_multiple_of(ONE_IN) {
            return Entered { function, since: Some(self.now()), is_light: true };
        }
        let usual = used.usual_nanos;
        used.nanos += usual;
        self.nanos += usual;
        Entered { function, since: None, is_light: true }
    }

    fn time(&mut self, function: HostFunction) -> Entered {
        self.count(function);
        self.pulse.waits.store(true, Ordering::Relaxed);
        Entered { function, since: Some(self.now()), is_light: false }
    }

    /// The function has done its work.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "what was entered is left once")]
    pub(crate) fn leave(&mut self, entered: Entered) {
        if let Some(since) = entered.since {
            self.add_time(&entered, since);
        }
    }

    #[cold]
    fn add_time(&mut self, entered: &Entered, since: Moment) {
        self.pulse.note_yield();
        let now = self.now();
        let idle_nanos = now.idle_nanos.saturating_sub(since.idle_nanos);
        let yielded_nanos = now.yielded_nanos.saturating_sub(since.yielded_nanos);
        let waited = idle_nanos + yielded_nanos;
        let nanos = now.at.saturating_sub(since.at).saturating_sub(waited);
        let used = &mut self.used[entered.function as usize];
        used.nanos += nanos;
        used.waited_nanos += waited;
        self.nanos += nanos;
        if entered.is_light {
            used.usual_nanos = match used.usual_nanos {
                0 => nanos,
                // The first calls make files and fill caches, which later ones do not.
                usual if used.seen <= FIRST => usual.min(nanos),
                usual => (usual * (WEIGHT - 1) + nanos.min(usual * OUTLIER)).div_ceil(WEIGHT),
            };
        } else {
            let function = entered.function;
            self.host_calls.note(HostCall::new(function, since.at, now.at, [idle_nanos, yielded_nanos]));
        }
    }

    fn now(&self) -> Moment {
        let pulse = &self.pulse;
        let (idle_nanos, yielded_nanos) = (pulse.idle_nanos(), pulse.yielded_nanos());
        Moment { at: self.clock.monotonic_nanos(), idle_nanos, yielded_nanos }
    }
}

/// A call of one of WASI's functions, timed until it is dropped. Those cannot fail for having been called too often, so that
/// the call of the guest is ended when it next lets go of its thread, or at its end.
pub(crate) struct Timing<'a> {
    imports: &'a mut Imports,
    entered: Option<Entered>,
}

impl<'a> Timing<'a> {
    /// Of a function that does little.
    pub(crate) fn light(imports: &'a mut Imports, function: HostFunction) -> Self {
        let entered = imports.sample(function);
        Self::new(imports, entered)
    }

    /// Of a function that does much, and may wait.
    pub(crate) fn full(imports: &'a mut Imports, function: HostFunction) -> Self {
        let entered = imports.time(function);
        Self::new(imports, entered)
    }

    fn new(imports: &'a mut Imports, entered: Entered) -> Self {
        imports.check();
        Self { imports, entered: Some(entered) }
    }

    /// Says which of an interface's functions it is.
    pub(crate) fn of(&mut self, function: HostFunction) {
        let Some(entered) = &mut self.entered else { return };
        self.imports.used[entered.function as usize].calls -= 1;
        self.imports.calls -= 1;
        self.imports.count(function);
        if self.imports.used[entered.function as usize].calls == 0 {
            self.imports.touched &= !bit(entered.function);
        }
        entered.function = function;
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.imports.pulse
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        if let Some(entered) = self.entered.take() {
            self.imports.leave(entered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SetClock;

    #[test]
    fn what_a_function_that_does_little_usually_takes_is_not_learnt_from_the_calls_of_it_that_do_much() {
        let clock = Arc::new(SetClock::default());
        let mut imports = Imports::new(Arc::default(), Arc::clone(&clock) as Arc<dyn Clock>);
        imports.begin(u64::MAX, false);
        for _ in 0..FIRST {
            let entered = imports.enter_light(HostFunction::Random).expect("it may be called");
            clock.advance(10);
            imports.leave(entered);
        }
        for _ in 0..FIRST {
            let entered = imports.enter(HostFunction::Random).expect("it may be called");
            clock.advance(1_000_000);
            imports.leave(entered);
        }
        let before = imports.nanos();
        assert_eq!(before, FIRST * 1_000_010);
        let entered = imports.enter_light(HostFunction::Random).expect("it may be called");
        imports.leave(entered);
        assert_eq!(imports.nanos() - before, 10);
    }
}
