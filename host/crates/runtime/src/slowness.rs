//! Which calls are slow for what they are: those that take longer than all but a twentieth of the recent calls of the same export and event.

use std::sync::{Mutex, PoisonError};

use glasshouse_model::settings::SlowCall;

/// Exports and events that are told apart; each takes one and a half kilobytes. Beyond them, the one that was not called for the
/// longest is forgotten: whoever makes up names gets no more of the host's memory.
const OPERATIONS: usize = 64;
/// Calls of which nineteen twentieths say something: a twentieth of them is five.
const LEAST_CALLS: u32 = 100;
/// Calls after which older ones count half, so that an extension which has become slower is measured by what it has become.
const HALVED_AT: u32 = 4096;
/// Parts of a doubling of time: each is an eighth of its start wide at most, so that the bound is good to that.
const PARTS: u64 = 8;
/// Doublings: up to some eighteen minutes from a nanosecond on; what takes longer counts as that long.
const BUCKETS: usize = 40 * PARTS as usize;

/// What calls of an extension took, by export and event. It belongs to the extension: a new instance finds it as the old one left it.
#[derive(Default)]
pub(crate) struct Slowness(Mutex<Operations>);

#[derive(Default)]
struct Operations {
    known: Vec<Operation>,
    /// The place of the one that was called last, which is mostly called again.
    last: usize,
    calls: u64,
}

struct Operation {
    name: String,
    /// When it was called last, in calls of all.
    used: u64,
    taken: Taken,
}

/// How many calls took how long.
struct Taken {
    counts: Box<[u32; BUCKETS]>,
    calls: u32,
    /// The first bucket with which nineteen twentieths of the calls are reached, and how many there are in those before it.
    bound: usize,
    below: u32,
}

impl Slowness {
    /// Whether a call that took so long is slow; it counts among those that later ones are compared with.
    pub(crate) fn judge(&self, name: &str, nanos: u64) -> bool {
        // An extension serves one call at a time, so that nobody waits here.
        let mut operations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = operations.find(name);
        let is_slow = taken.is_slow(nanos);
        taken.add(nanos);
        is_slow
    }
}

impl Operations {
    fn find(&mut self, name: &str) -> &mut Taken {
        self.calls += 1;
        if self.known.get(self.last).is_none_or(|last| last.name != name) {
            self.last = self.known.iter().position(|one| one.name == name).unwrap_or_else(|| self.make(name));
        }
        let operation = &mut self.known[self.last];
        operation.used = self.calls;
        &mut operation.taken
    }

    fn make(&mut self, name: &str) -> usize {
        let operation = Operation { name: name.to_owned(), used: self.calls, taken: Taken::default() };
        if self.known.len() < OPERATIONS {
            self.known.push(operation);
            return self.known.len() - 1;
        }
        let oldest = self.known.iter().enumerate().min_by_key(|(_, one)| one.used).map_or(0, |(at, _)| at);
        self.known[oldest] = operation;
        oldest
    }
}

impl Default for Taken {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), calls: 0, bound: 0, below: 0 }
    }
}

impl Taken {
    fn is_slow(&self, nanos: u64) -> bool {
        if self.calls < LEAST_CALLS {
            return u128::from(nanos) >= SlowCall::DEFAULT.as_nanos();
        }
        bucket(nanos) > self.bound
    }

    fn add(&mut self, nanos: u64) {
        let at = bucket(nanos);
        self.counts[at] += 1;
        self.calls += 1;
        self.below += u32::from(at < self.bound);
        if self.calls >= HALVED_AT {
            self.halve();
        }
        // One more call moves the bound by a bucket with calls or two.
        while self.below * 20 >= self.calls * 19 && self.bound > 0 {
            self.bound -= 1;
            self.below -= self.counts[self.bound];
        }
        while (self.below + self.counts[self.bound]) * 20 < self.calls * 19 && self.bound + 1 < BUCKETS {
            self.below += self.counts[self.bound];
            self.bound += 1;
        }
    }

    fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.calls = self.counts.iter().sum();
        self.below = self.counts[..self.bound].iter().sum();
    }
}

/// The part of a doubling that a time lies in.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1);
    let doublings = u64::from(nanos.ilog2());
    // The three digits that follow the first one.
    let part = if doublings < 3 { nanos << (3 - doublings) } else { nanos >> (doublings - 3) } & (PARTS - 1);
    ((doublings * PARTS + part) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn a_call_is_slow_for_what_it_is() {
        let slowness = Slowness::default();
        for _ in 0..LEAST_CALLS {
            assert!(!slowness.judge("handle:quick", MILLI));
            assert!(!slowness.judge("handle:long", 500 * MILLI));
        }
        assert!(slowness.judge("handle:quick", 2 * MILLI));
        assert!(!slowness.judge("handle:quick", MILLI));
        assert!(!slowness.judge("handle:long", 500 * MILLI));
        assert!(slowness.judge("handle:long", 600 * MILLI));
    }

    #[test]
    fn while_too_few_calls_are_known_the_default_holds() {
        let slowness = Slowness::default();
        for _ in 1..LEAST_CALLS {
            assert!(!slowness.judge("handle:quick", MILLI));
        }
        assert!(!slowness.judge("handle:quick", 999 * MILLI));
        assert!(Slowness::default().judge("handle:quick", 1000 * MILLI));
    }

    #[test]
    fn an_extension_that_has_become_slower_is_measured_by_what_it_has_become() {
        let slowness = Slowness::default();
        for _ in 0..10 * HALVED_AT {
            slowness.judge("handle:x", MILLI);
        }
        let slow = (0..10 * HALVED_AT).filter(|_| slowness.judge("handle:x", 8 * MILLI)).count();
        assert!(slow < HALVED_AT as usize / 10, "{slow} were slow");
    }

    #[test]
    fn names_that_somebody_makes_up_take_no_more_memory_and_those_in_use_stay() {
        let slowness = Slowness::default();
        for number in 0..10 * OPERATIONS {
            slowness.judge(&format!("handle:{number}"), MILLI);
            slowness.judge("handle:real", MILLI);
        }
        assert!(slowness.judge("handle:real", 2 * MILLI), "it is known");
        assert_eq!(slowness.0.lock().expect("it is free").known.len(), OPERATIONS);
    }

    proptest! {
        #[test]
        fn no_more_than_a_twentieth_is_slow_and_what_is_much_slower_than_that_always_is(
            times in prop::collection::vec(1..10_000_000_000_u64, 200..6000),
        ) {
            let mut taken = Taken::default();
            for nanos in &times {
                taken.add(*nanos);
                prop_assert_eq!(taken.below, taken.counts[..taken.bound].iter().sum::<u32>());
                prop_assert!(taken.below * 20 < taken.calls * 19, "the bound is no higher than need be");
                prop_assert!((taken.below + taken.counts[taken.bound]) * 20 >= taken.calls * 19, "nor lower");
            }
        }

        #[test]
        fn a_longer_time_is_in_no_lower_bucket_and_one_an_eighth_longer_in_a_higher_one(nanos in 1..1_u64 << 39) {
            prop_assert!(bucket(nanos) <= bucket(nanos + 1));
            prop_assert!(bucket(nanos) < bucket(nanos + nanos / PARTS + 1));
        }
    }
}
