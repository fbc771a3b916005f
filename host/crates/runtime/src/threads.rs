//! The threads that serve extensions.
#![expect(unsafe_code, reason = "slices are asked for by a system call that has no safe interface")]

use std::mem::size_of;
use std::time::Duration;

use tokio::runtime::Builder;

/// Tasks that a thread polls before it looks at timers and sockets. While guests keep all threads busy each poll is a turn, and with tokio's 61 a
/// timer would be late by as many; to look costs about a microsecond.
const EVENT_INTERVAL: u32 = 7;

/// The slices of a thread that serves calls: it works for microseconds at a time, and then waits. The least that the system takes.
const SLICE: Duration = Duration::from_micros(100);

/// A builder of the tokio runtime that is to serve extensions: a thread for each processor, timers and sockets. Its threads look at timers often, and
/// are woken promptly beside threads that compute, such as those of the host for extensions that do so for long
/// ([`RuntimeSettings::background_threads`]); in another runtime, callers wait several times as long while there are any.
///
/// What is given to `block_on` runs on the thread that calls it, which stays as it is: spawn what is to be prompt. The builder has one
/// `on_thread_start`, so that another one takes the place of what makes the threads prompt. That takes Linux 6.12; and a thread that was made so
/// may no longer be given another policy without a privilege (`SCHED_FLAG_RESET_ON_FORK`).
///
/// [`RuntimeSettings::background_threads`]: crate::RuntimeSettings::background_threads
pub fn tokio_builder() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().event_interval(EVENT_INTERVAL).on_thread_start(shorten_slices);
    builder
}

/// Asks the system for short slices, so that the calling thread, once it is woken, runs before others have used up theirs. That leaves its share of
/// the processors and its priority as they are, and needs no privilege; threads that it starts have usual slices. Blocking threads get them as well, whose
/// work is longer: they lose nothing by it. Nothing is done where the system knows no such thing, and where the thread has another policy or a higher
/// priority, which somebody has chosen.
fn shorten_slices() {
    let Some(mut attributes) = attributes().filter(can_be_shortened) else { return };
    attributes.sched_flags |= libc::SCHED_FLAG_RESET_ON_FORK as u64;
    attributes.sched_runtime = SLICE.as_nanos() as u64;
    // SAFETY: the system reads as many bytes as the structure says that it has. Where it refuses, the thread is served as all others.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// A system that knows no slices tells none.
fn can_be_shortened(attributes: &libc::sched_attr) -> bool {
    attributes.sched_policy == libc::SCHED_OTHER as u32 && attributes.sched_nice >= 0 && attributes.sched_runtime > 0
}

/// How the calling thread is scheduled.
fn attributes() -> Option<libc::sched_attr> {
    const BYTES: u32 = size_of::<libc::sched_attr>() as u32;
    let mut attributes = libc::sched_attr {
        size: BYTES,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the system writes no more bytes than it is told that there are.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, BYTES, 0) };
    (done == 0).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Policy, niceness and slice in nanoseconds of the calling thread.
    fn scheduled() -> (u32, i32, u64) {
        let attributes = attributes().expect("how a thread is scheduled");
        (attributes.sched_policy, attributes.sched_nice, attributes.sched_runtime)
    }

    #[test]
    fn threads_of_the_builder_have_short_slices_and_what_they_start_has_usual_ones() {
        let usual = scheduled();
        let short = attributes().filter(can_be_shortened).map_or(usual.2, |_| SLICE.as_nanos() as u64);
        let runtime = tokio_builder().worker_threads(1).build().expect("a runtime");
        let of_thread = runtime.block_on(async { tokio::spawn(async { scheduled() }).await });
        assert_eq!(of_thread.expect("it ends"), (usual.0, usual.1, short));
        let started =
            runtime.block_on(async { tokio::spawn(async { thread::spawn(scheduled).join().expect("it ends") }).await });
        assert_eq!(started.expect("it ends"), usual);
    }
}
