//! Runs a guest's call: measures its CPU time, ends it at its deadline or when the host gives it up.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use glasshouse_model::Clock;
use tokio::sync::watch;

use crate::clock::thread_cpu_nanos;
use crate::epochs::Pace;
use crate::imports::Pulse;
use crate::turn::Rouser;
use crate::weight::Weight;

/// How long a call goes on before its neighbours run: some slices, each of which ends with a look at the deadline.
const TURN_NANOS: u64 = 250_000;

/// How long a first poll goes on before it counts as computing, and the most of it that does. Its length is wall time: what the system took from a short call is not to make
/// an extension heavy.
const FIRST_NANOS: RangeInclusive<u64> = 100_000..=1_000_000;

/// How far the host's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Calls are taken.
    Running,
    /// No new calls are taken from outside; those under way are finished.
    Draining,
    /// Nothing is under way any more: each extension ends.
    Ending,
    /// Calls in flight are given up.
    Cancelling,
}

/// How a call came to its end.
pub(crate) enum Ended<T> {
    /// By itself.
    Finished(T),
    /// At its deadline.
    DeadlinePassed,
    /// For more calls of host functions than it may make.
    TooManyHostCalls,
    /// Given up by the host.
    Cancelled,
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) cpu_nanos: u64,
    /// Whether the thread's CPU clock was never read.
    pub(crate) cpu_estimated: bool,
    /// Wall time of its polls.
    pub(crate) polled_nanos: u64,
    /// When the last of them ended, in `Clock::monotonic_nanos`.
    pub(crate) ended_at: u64,
}

/// What a call goes by while it runs.
pub(crate) struct Conditions<'a> {
    /// When it began, in `Clock::monotonic_nanos`.
    pub(crate) start: u64,
    pub(crate) deadline: Duration,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) phase: &'a mut watch::Receiver<Phase>,
    pub(crate) pace: Option<&'a Pace>,
    pub(crate) pulse: &'a Pulse,
    pub(crate) rouser: &'a Rouser,
    pub(crate) weight: &'a Weight,
}

/// Runs a call to its end: one slice, and from then on turns of several. CPU time is what those took: by the time-stamp
/// counter for the first slice, which is short, and by the thread's CPU clock for all turns, so that what the system took
/// from a long call is not charged to it. The time between turns goes to `pulse`. A call that is over with its first slice has
/// nothing to do with the rest, which is on the heap.
pub(crate) async fn run<F: Future>(mut call: Pin<&mut F>, conditions: Conditions<'_>) -> (Ended<F::Output>, Measured) {
    let Conditions { start, clock, pulse, weight, .. } = conditions;
    let polled = std::future::poll_fn(|task| Poll::Ready(call.as_mut().poll(task))).await;
    let ended_at = clock.monotonic_nanos();
    let ran = ended_at.saturating_sub(start);
    let measured = Measured { cpu_nanos: ran, cpu_estimated: true, polled_nanos: ran, ended_at };
    let mut turns = Turns { measured, idle_before: None };
    if ran > *FIRST_NANOS.start() {
        turns.weigh(ran.min(*FIRST_NANOS.end()), start, pulse, weight);
    }
    match polled {
        Poll::Ready(output) => (Ended::Finished(output), measured),
        Poll::Pending => Box::pin(go_on(call, conditions, turns)).await,
    }
}

/// The turns of a call.
struct Turns {
    measured: Measured,
    /// What the call had waited for at the end of the last turn that was weighed.
    idle_before: Option<u64>,
}

impl Turns {
    /// Adds what was computed in a turn that ended now to the extension's weight.
    #[cold]
    fn weigh(&mut self, computed: u64, start: u64, pulse: &Pulse, weight: &Weight) {
        let idle = pulse.idle_nanos();
        let rested = match self.idle_before.replace(idle) {
            None => start.saturating_sub(weight.last_turn()) + idle,
            Some(before) => idle.saturating_sub(before),
        };
        weight.add(computed, rested, self.measured.ended_at);
    }
}

/// Runs a call to its end that was not over with its first slice.
async fn go_on<F: Future>(
    mut call: Pin<&mut F>,
    conditions: Conditions<'_>,
    mut turns: Turns,
) -> (Ended<F::Output>, Measured) {
    let Conditions { start, deadline, clock, phase, pace, pulse, rouser, weight } = conditions;
    let deadline_at = start.saturating_add(u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX));
    let mut given_up = pin!(phase.wait_for(|phase| *phase == Phase::Cancelling));
    let mut timer = pin!(tokio::time::sleep(deadline));
    let mut is_first = true;
    let ended = std::future::poll_fn(|task| {
        if !std::mem::take(&mut is_first) {
            let measured = &mut turns.measured;
            let polled_at = clock.monotonic_nanos();
            pulse.note_pause(polled_at.saturating_sub(measured.ended_at));
            measured.cpu_estimated = false;
            let cpu_before = thread_cpu_nanos();
            let turn_ends = polled_at.saturating_add(TURN_NANOS).min(deadline_at);
            let goes_on = || clock.monotonic_nanos() < turn_ends && !pulse.is_exceeded();
            let polled = rouser.poll_while(call.as_mut(), task, goes_on);
            measured.ended_at = clock.monotonic_nanos();
            measured.polled_nanos += measured.ended_at.saturating_sub(polled_at);
            let cpu_nanos = thread_cpu_nanos().saturating_sub(cpu_before);
            measured.cpu_nanos += cpu_nanos;
            turns.weigh(cpu_nanos, start, pulse, weight);
            if let Poll::Ready(output) = polled {
                return Poll::Ready(Ended::Finished(output));
            }
        }
        if pulse.is_exceeded() {
            return Poll::Ready(Ended::TooManyHostCalls);
        }
        let sliced = pace.filter(|pace| pace.take_sliced());
        if turns.measured.ended_at >= deadline_at || timer.as_mut().poll(task).is_ready() {
            if let Some(pace) = sliced {
                // It is about to be polled again, and traps.
                pace.set_overdue();
                return Poll::Pending;
            }
            return Poll::Ready(Ended::DeadlinePassed);
        }
        if given_up.as_mut().poll(task).is_ready() {
            return Poll::Ready(Ended::Cancelled);
        }
        Poll::Pending
    });
    (ended.await, turns.measured)
}
