//! What makes the runs of a guest alike: clocks, random bytes and ids that are the same each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use glasshouse_model::UnixNanos;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// By how much a guest's clocks advance each time that they are read: one that waits for the time to pass comes to an end.
const TICK_NANOS: u64 = 1_000;

/// Random bytes before they repeat: a prime, so that reads of any size see them at ever other places.
const RANDOM_BYTES: usize = 4099;

/// Makes the runs of a guest alike, so that what the same input costs can be compared: each instance starts at the same
/// time and gets the same random bytes and ids. A sleep takes no real time: it advances the instance's clocks. What the
/// guest learns from elsewhere, such as files and the network, can still differ.
///
/// Random bytes that anybody can foresee protect nothing, so this is for measuring and for tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Determinism {
    /// What the guest's wall clock shows when its instance is made.
    pub start: UnixNanos,
    /// What its random bytes, and the ids of its traces and spans, are made from.
    pub seed: u64,
}

impl Default for Determinism {
    /// The first moment of 2026, and the seed 0.
    fn default() -> Self {
        Self { start: UnixNanos(1_767_225_600_000_000_000), seed: 0 }
    }
}

impl Determinism {
    /// Where an instance's ids come from.
    pub(crate) fn ids(self) -> Ids {
        Ids(fastrand::Rng::with_seed(self.seed))
    }

    /// Gives the guest the clock and the random bytes. What seeds its hash tables has nothing of its component here, since
    /// two versions of one are to be compared.
    pub(crate) fn apply(self, builder: &mut WasiCtxBuilder, clock: &GuestClock) {
        let mut random = fastrand::Rng::with_seed(self.seed);
        builder.insecure_random_seed(random.u128(..));
        let mut bytes = || {
            let mut bytes = vec![0; RANDOM_BYTES];
            random.fill(&mut bytes);
            Deterministic::new(bytes)
        };
        builder.secure_random(bytes()).insecure_random(bytes());
        builder.wall_clock(WallClock { start: self.start, clock: clock.clone() }).monotonic_clock(clock.clone());
    }
}

/// Where the ids of an instance's traces and spans come from.
#[derive(Debug, Default)]
pub(crate) struct Ids(fastrand::Rng);

impl Ids {
    /// A number that is not 0.
    #[inline]
    pub(crate) fn draw(&mut self) -> u64 {
        self.0.u64(..).max(1)
    }
}

/// The time since an instance was made, as it sees it: it passes by reading the clock and by sleeping.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestClock(Arc<AtomicU64>);

impl GuestClock {
    /// The present time, in nanoseconds.
    pub(crate) fn read(&self) -> u64 {
        self.0.fetch_add(TICK_NANOS, Ordering::Relaxed).saturating_add(TICK_NANOS)
    }

    /// Lets the time pass up to a moment.
    pub(crate) fn advance_to(&self, nanos: u64) {
        // Far from the end of numbers, so that reading it goes on.
        self.0.fetch_max(nanos.min(i64::MAX as u64), Ordering::Relaxed);
    }
}

impl HostMonotonicClock for GuestClock {
    fn resolution(&self) -> u64 {
        TICK_NANOS
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

struct WallClock {
    start: UnixNanos,
    clock: GuestClock,
}

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(TICK_NANOS)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.start.0).unwrap_or_default().saturating_add(self.clock.read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_by_reading_and_by_sleeping_and_never_goes_back() {
        let clock = GuestClock::default();
        let first = clock.read();
        assert_eq!(clock.read(), first + TICK_NANOS);
        clock.advance_to(5_000_000);
        clock.advance_to(3);
        assert_eq!(clock.read(), 5_000_000 + TICK_NANOS);
        clock.advance_to(u64::MAX);
        let last = clock.read();
        assert!(clock.read() > last);
    }
}
