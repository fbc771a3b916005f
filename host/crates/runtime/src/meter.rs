//! Runs a guest's call: measures its CPU time, ends it at its deadline or when the host gives it up.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use glasshouse_model::Clock;
use tokio::sync::watch;

use crate::clock::thread_cpu_nanos;
use crate::epochs::Pace;

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
    /// Given up by the host.
    Cancelled,
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) cpu_nanos: u64,
    pub(crate) elapsed_nanos: u64,
}

/// Runs a call that began at `start`, in `Clock::monotonic_nanos`, to its end. CPU time is what the polls of the call took: by the time-stamp counter for the first poll,
/// which a slice keeps short, and by the thread's CPU clock for all further ones, so that what the system took
/// from a long call is not charged to it.
pub(crate) async fn run<F: Future>(
    call: F,
    start: u64,
    deadline: Duration,
    clock: &dyn Clock,
    phase: &mut watch::Receiver<Phase>,
    pace: Option<&Pace>,
) -> (Ended<F::Output>, Measured) {
    let mut call = pin!(call);
    let deadline_nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    let mut cpu_nanos = 0;
    let mut timer: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let mut given_up = pin!(phase.wait_for(|phase| *phase == Phase::Cancelling));
    let ended = std::future::poll_fn(|task| {
        let first = timer.is_none();
        let before = if first { 0 } else { thread_cpu_nanos() };
        let polled = call.as_mut().poll(task);
        let elapsed = clock.monotonic_nanos().saturating_sub(start);
        cpu_nanos += if first { elapsed } else { thread_cpu_nanos().saturating_sub(before) };
        if let Poll::Ready(output) = polled {
            return Poll::Ready((Ended::Finished(output), elapsed));
        }
        let sliced = pace.filter(|pace| pace.take_sliced());
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(deadline)));
        if elapsed >= deadline_nanos || timer.as_mut().poll(task).is_ready() {
            if let Some(pace) = sliced {
                // It is about to be polled again, and traps.
                pace.set_overdue();
                return Poll::Pending;
            }
            return Poll::Ready((Ended::DeadlinePassed, elapsed));
        }
        if given_up.as_mut().poll(task).is_ready() {
            return Poll::Ready((Ended::Cancelled, elapsed));
        }
        Poll::Pending
    });
    let (ended, elapsed_nanos) = ended.await;
    (ended, Measured { cpu_nanos, elapsed_nanos })
}
