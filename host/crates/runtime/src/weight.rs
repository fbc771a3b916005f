//! How much an extension has computed of late, which tells whether it is served with the others or in the background.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What an extension may compute beyond its share before it is heavy. Callers hardly notice it, since timers are a millisecond late
/// anyway; and ten that begin to rage at once do so beside the others for 20 ms together.
const HEAVY_NANOS: u64 = 2_000_000;
/// So many nanoseconds of rest make up for one of computing: who computes for less than a fifth of the time never is heavy.
const REST_PER_NANO: u64 = 4;
/// The most that is held against an extension: one that was busy for long is light after a second of rest.
const MOST_NANOS: u64 = 250_000_000;

/// The weight of an extension. Only its own task changes it, on one thread at a time. Short calls, which end with their first poll,
/// neither change nor read it.
#[derive(Debug, Default)]
pub(crate) struct Weight {
    /// What was computed and not made up for at `at`.
    nanos: AtomicU64,
    /// The end of the last turn, in `Clock::monotonic_nanos`.
    at: AtomicU64,
    is_heavy: AtomicBool,
}

impl Weight {
    /// Adds a turn of a call that ended now, and what the extension has rested since the turn before. To wait for a turn is
    /// no rest: of many that would compute for ever, each does for a small part of the time.
    pub(crate) fn add(&self, cpu_nanos: u64, rested_nanos: u64, now: u64) {
        let left = self.nanos.load(Ordering::Relaxed).saturating_sub(rested_nanos / REST_PER_NANO);
        let nanos = left.saturating_add(cpu_nanos).min(MOST_NANOS);
        self.nanos.store(nanos, Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
        if nanos > HEAVY_NANOS {
            self.is_heavy.store(true, Ordering::Relaxed);
        }
    }

    /// The end of the last turn, in `Clock::monotonic_nanos`.
    pub(crate) fn last_turn(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// Whether it was heavy at the end of the last turn.
    pub(crate) fn is_heavy(&self) -> bool {
        self.is_heavy.load(Ordering::Relaxed)
    }

    /// Whether a heavy extension still is, now that it waits for something: not once it has rested for all that it computed.
    pub(crate) fn stays_heavy(&self, now: u64) -> bool {
        let rested_nanos = now.saturating_sub(self.last_turn());
        let stays = self.nanos.load(Ordering::Relaxed) > rested_nanos / REST_PER_NANO;
        self.is_heavy.store(stays, Ordering::Relaxed);
        stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn who_computes_for_long_is_heavy_until_it_has_rested_for_that() {
        let weight = Weight::default();
        for turn in 1..=HEAVY_NANOS / 100_000 {
            weight.add(100_000, 0, turn * 100_000);
            assert!(!weight.is_heavy(), "turn {turn}");
        }
        weight.add(100_000, 0, 3 * MILLI);
        assert!(weight.is_heavy());
        let rested = 3 * MILLI + (HEAVY_NANOS + 100_000) * REST_PER_NANO;
        assert!(weight.stays_heavy(rested - REST_PER_NANO));
        assert!(!weight.stays_heavy(rested) && !weight.is_heavy());
    }

    #[test]
    fn who_rests_enough_is_never_heavy_and_who_only_waits_for_turns_is() {
        let [resting, waiting] = [(); 2].map(|()| Weight::default());
        for call in 1..1_000 {
            resting.add(2 * MILLI, 8 * MILLI, call * 10 * MILLI);
            waiting.add(MILLI, 0, call * 500 * MILLI);
        }
        assert!(!resting.is_heavy());
        assert!(waiting.is_heavy());
    }

    #[test]
    fn a_second_of_rest_is_enough_after_any_time() {
        let weight = Weight::default();
        weight.add(u64::MAX, 0, 5);
        weight.add(u64::MAX, 0, 7);
        assert!(weight.stays_heavy(7 + 999 * MILLI));
        assert!(!weight.stays_heavy(7 + 1_000 * MILLI));
    }
}
