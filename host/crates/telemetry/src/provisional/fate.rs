//! What becomes of a trace that several calls of a host have a part in: it is decided once, for all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use glasshouse_model::Clock;

use crate::gates::Verdict;
use crate::store::Store;

/// How long after its first call began a trace is decided at the latest, in the host's monotonic time.
pub const DECIDED_AFTER: Duration = Duration::from_secs(30);

/// What becomes of the undecided spans and logs of one trace in this host. The first call of the trace makes it when it first causes another
/// one, and all that it leads to have it by then; a trace of one call has none.
#[derive(Debug)]
pub struct Fate {
    /// When it is decided at the latest, in `Clock::monotonic_nanos`.
    decided_at: u64,
    /// Whether a first call that goes on until then is slow.
    is_slow_by_then: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    decision: Decision,
    /// Spans that were left out, and of which nobody was told.
    left_out: u64,
    /// Where parts of the trace wait for what is decided.
    waits_in: Vec<Weak<Store>>,
}

/// What is decided on a trace. From [`Decision::LeftOut`] a later failure leads to [`Decision::Kept`], and nothing leads away from that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Decision {
    #[default]
    Open,
    LeftOut,
    Kept,
}

/// What is seen of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// One of its calls failed, or was slow.
    Trouble,
    /// One of its calls ended well.
    Ended,
    /// Its first call ended well.
    Over,
    /// It goes on for [`DECIDED_AFTER`]; that may be slow.
    Overdue { is_slow: bool },
}

impl Decision {
    fn after(self, seen: Seen) -> Self {
        match (self, seen) {
            (Self::Kept, _) | (_, Seen::Trouble) | (Self::Open, Seen::Overdue { is_slow: true }) => Self::Kept,
            (Self::LeftOut, _) | (_, Seen::Over | Seen::Overdue { .. }) => Self::LeftOut,
            (Self::Open, Seen::Ended) => Self::Open,
        }
    }
}

/// What came of a call's end for its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFate {
    /// What is to become of what the call left undecided.
    pub verdict: Verdict,
    /// Spans of the trace that were left out before, though the trace is kept after all; it is told once.
    pub missing: u64,
}

impl CallFate {
    /// That of a call which is all of its trace here; it may have failed or have been slow.
    #[inline]
    pub fn alone(matters: bool) -> Self {
        Self { verdict: if matters { Verdict::Keep } else { Verdict::LeaveOut }, missing: 0 }
    }
}

impl Fate {
    /// That of a trace whose first call began at a time in `Clock::monotonic_nanos`, and is slow or not if it goes on for [`DECIDED_AFTER`].
    pub fn new(began_at: u64, is_slow_by_then: bool) -> Arc<Self> {
        let decided_at = began_at.saturating_add(DECIDED_AFTER.as_nanos() as u64);
        Arc::new(Self { decided_at, is_slow_by_then, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call of the trace has ended, its first one or another, and whether it failed or was slow. What waits elsewhere for what
    /// is decided by it is stored or left out when this returns.
    pub fn ended(&self, is_first: bool, matters: bool, clock: &dyn Clock) -> CallFate {
        let (ended, waiting) = {
            let mut inner = self.lock();
            self.pass_time(&mut inner, clock);
            let seen = match (matters, is_first) {
                (true, _) => Seen::Trouble,
                (false, true) => Seen::Over,
                (false, false) => Seen::Ended,
            };
            inner.decision = inner.decision.after(seen);
            let missing = if inner.decision == Decision::Kept { std::mem::take(&mut inner.left_out) } else { 0 };
            (CallFate { verdict: inner.verdict(), missing }, inner.take_waiting())
        };
        self.tell(&waiting, clock);
        ended
    }

    fn pass_time(&self, inner: &mut Inner, clock: &dyn Clock) {
        if self.is_overdue(clock) {
            inner.decision = inner.decision.after(Seen::Overdue { is_slow: self.is_slow_by_then });
        }
    }

    /// Whether it is to be decided by now.
    pub(super) fn is_overdue(&self, clock: &dyn Clock) -> bool {
        clock.monotonic_nanos() >= self.decided_at
    }

    /// Decides on it if it is time to.
    pub(super) fn pass(&self, clock: &dyn Clock) {
        let waiting = {
            let mut inner = self.lock();
            self.pass_time(&mut inner, clock);
            inner.take_waiting()
        };
        self.tell(&waiting, clock);
    }

    /// What is decided by now.
    pub(super) fn verdict(&self) -> Verdict {
        self.lock().verdict()
    }

    /// Lets a store, in which a part of the trace waits, know what is decided: when it is, or at once.
    pub(super) fn wait_in(&self, store: &Arc<Store>, clock: &dyn Clock) {
        let waiting = {
            let mut inner = self.lock();
            let store = Arc::downgrade(store);
            if !inner.waits_in.iter().any(|known| known.ptr_eq(&store)) {
                inner.waits_in.push(store);
            }
            inner.take_waiting()
        };
        self.tell(&waiting, clock);
    }

    /// Counts spans that were left out.
    pub fn note_left_out(&self, spans: u64) {
        self.lock().left_out += spans;
    }

    fn tell(&self, stores: &[Weak<Store>], clock: &dyn Clock) {
        for store in stores.iter().filter_map(Weak::upgrade) {
            store.recorder().resolve(self, clock);
        }
    }
}

impl Inner {
    fn verdict(&self) -> Verdict {
        match self.decision {
            Decision::Open => Verdict::Undecided,
            Decision::LeftOut => Verdict::LeaveOut,
            Decision::Kept => Verdict::Keep,
        }
    }

    /// Who is to be told, if it is decided.
    fn take_waiting(&mut self) -> Vec<Weak<Store>> {
        if self.decision == Decision::Open { Vec::new() } else { std::mem::take(&mut self.waits_in) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::support::Hand;

    const BEGAN: u64 = 7;
    const LATEST: u64 = BEGAN + DECIDED_AFTER.as_nanos() as u64;

    /// The end of a call: whether it was the first one, whether it failed or was slow, and when, in nanoseconds from the start.
    type End = (bool, bool, u64);

    /// A clock that stands at a time.
    fn at(nanos: u64) -> Hand {
        Hand(std::sync::atomic::AtomicI64::new(nanos as i64))
    }

    /// What is to become of each call's part when it ends, for ends in order, the first call's being told by a flag.
    fn check(is_slow_by_then: bool, ends: &[End], expect: &[Verdict]) {
        let fate = Fate::new(BEGAN, is_slow_by_then);
        let verdict = |end: &End| fate.ended(end.0, end.1, &at(BEGAN + end.2)).verdict;
        let found: Vec<_> = ends.iter().map(verdict).collect();
        assert_eq!(found, expect, "{ends:?}");
    }

    #[test]
    fn a_trace_is_decided_as_a_whole() {
        use Verdict::{Keep, LeaveOut, Undecided};
        let (well, failed) = (false, true);
        let (first, other) = (true, false);
        let late = DECIDED_AFTER.as_nanos() as u64;
        check(false, &[(other, well, 1), (first, well, 2)], &[Undecided, LeaveOut]);
        check(false, &[(other, failed, 1), (first, well, 2)], &[Keep, Keep]);
        check(false, &[(other, well, 1), (first, failed, 2)], &[Undecided, Keep]);
        check(false, &[(other, well, 1), (other, failed, 2), (other, well, 3)], &[Undecided, Keep, Keep]);
        // What comes later follows, and what fails then is kept all the same.
        check(false, &[(first, well, 1), (other, well, 2)], &[LeaveOut, LeaveOut]);
        check(false, &[(first, failed, 1), (other, well, 2)], &[Keep, Keep]);
        check(false, &[(first, well, 1), (other, failed, 2), (other, well, 3)], &[LeaveOut, Keep, Keep]);
        // After thirty seconds, nobody waits for the first call.
        check(false, &[(other, well, late - 1), (other, well, late)], &[Undecided, LeaveOut]);
        check(true, &[(other, well, late - 1), (other, well, late)], &[Undecided, Keep]);
        check(true, &[(first, well, late)], &[Keep]);
        check(true, &[(first, well, 1), (other, well, late)], &[LeaveOut, LeaveOut]);
        check(false, &[(other, well, late), (first, failed, late + 1)], &[LeaveOut, Keep]);
    }

    #[test]
    fn a_trace_that_is_kept_after_all_tells_once_how_much_of_it_is_missing() {
        let fate = Fate::new(BEGAN, false);
        assert_eq!(fate.ended(true, false, &at(BEGAN)), CallFate { verdict: Verdict::LeaveOut, missing: 0 });
        fate.note_left_out(3);
        assert_eq!(fate.ended(false, false, &at(BEGAN)), CallFate { verdict: Verdict::LeaveOut, missing: 0 });
        fate.note_left_out(4);
        assert_eq!(fate.ended(false, true, &at(BEGAN)), CallFate { verdict: Verdict::Keep, missing: 7 });
        assert_eq!(fate.ended(false, true, &at(BEGAN)), CallFate { verdict: Verdict::Keep, missing: 0 });
    }

    proptest! {
        #[test]
        fn whatever_happens_in_whatever_order_trouble_is_kept_and_what_is_kept_stays_so(
            is_slow_by_then: bool,
            mut ends in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.1), 0..2 * LATEST), 1..40),
        ) {
            ends.sort_by_key(|(_, _, at)| *at);
            let fate = Fate::new(BEGAN, is_slow_by_then);
            let (mut has_failed, mut is_decided) = (false, false);
            for (is_first, matters, time) in ends {
                let is_over = is_first || time >= LATEST;
                let CallFate { verdict, missing } = fate.ended(is_first, matters, &at(time));
                prop_assert!(!matters || verdict == Verdict::Keep, "what fails is kept");
                prop_assert!(!has_failed || verdict == Verdict::Keep, "and all that comes after it");
                prop_assert_eq!(verdict == Verdict::Undecided, !(has_failed || matters || is_decided || is_over));
                prop_assert!(has_failed || matters || verdict != Verdict::Keep || (is_slow_by_then && time >= LATEST));
                prop_assert_eq!(missing, 0, "nothing was left out");
                prop_assert_eq!(fate.verdict(), verdict);
                has_failed |= matters;
                is_decided |= is_over;
            }
        }
    }
}
