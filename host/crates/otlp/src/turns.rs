//! When each line of a service is tried again: one whose requests fail waits by itself, ever longer, and holds up the others for a moment only.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff;
use crate::room::Room;

/// The lines of a service, by their places.
pub(crate) struct Turns {
    all: Vec<Turn>,
    /// When anything is tried again after a request that was not taken for now: when the collector asks for it, or else in a moment, since the next
    /// line's may be taken; later where the requests of one line after the other are not.
    ready_at: Instant,
    /// Whether the host ends: what fails then keeps nobody else from a last try.
    is_ending: bool,
}

struct Turn {
    /// Which line.
    line: usize,
    /// Requests that were refused, in a row.
    refusals: u32,
    /// Requests that were not taken for now, in a row. While there are some, the line is held up.
    failures: u32,
    /// Whether it has failed since anything was taken or refused for good. The more lines have, the likelier it is that the collector is away.
    has_failed: bool,
    ready_at: Instant,
    room: Room,
}

impl Turns {
    /// All lines can be tried at once. `most` is the bytes of a request, at most.
    pub(crate) fn new(lines: impl Iterator<Item = usize>, most: usize, now: Instant) -> Self {
        let turn =
            |line| Turn { line, refusals: 0, failures: 0, has_failed: false, ready_at: now, room: Room::new(most) };
        Self { all: lines.map(turn).collect(), ready_at: now, is_ending: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Which line has a place.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.all[at].line
    }

    /// How large a line's requests may be.
    pub(crate) fn room(&mut self, at: usize) -> &mut Room {
        &mut self.all[at].room
    }

    pub(crate) fn is_ready(&self, at: usize, now: Instant) -> bool {
        self.all[at].ready_at.max(self.ready_at) <= now
    }

    /// When the next of what waits now is ready.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.all.iter().map(|turn| turn.ready_at).chain([self.ready_at]).filter(|at| *at > now).min()
    }

    /// Whether a line is held up by requests that were not taken for now.
    pub(crate) fn is_any_held(&self) -> bool {
        self.all.iter().any(|turn| turn.failures > 0)
    }

    /// A line's request was not taken for now, and the collector has perhaps asked for some time.
    pub(crate) fn later(&mut self, at: usize, after: Option<Duration>, now: Instant) {
        let turn = &mut self.all[at];
        turn.failures = turn.failures.saturating_add(1);
        turn.ready_at = now + backoff::delay(turn.failures, after);
        turn.has_failed = true;
        if after.is_some() || !self.is_ending {
            let failing = self.all.iter().filter(|turn| turn.has_failed).count();
            self.ready_at = now + backoff::delay(u32::try_from(failing).unwrap_or(u32::MAX), after);
        }
    }

    /// A line's request was taken. If it was held up before, the collector is there again, for the others as well.
    pub(crate) fn accepted(&mut self, at: usize, now: Instant) {
        self.all[at].refusals = 0;
        self.all[at].room.grow();
        self.answered(at, now);
    }

    /// A line's request was refused for good. What is refused is lost, and more of the same likely is as well: the fewer tries, the fewer records. Returns whether the line was held up before.
    pub(crate) fn refused(&mut self, at: usize, now: Instant) -> bool {
        let was_held = self.answered(at, now);
        let turn = &mut self.all[at];
        turn.refusals = turn.refusals.saturating_add(1);
        turn.ready_at = now + backoff::delay(turn.refusals, None);
        was_held
    }

    /// A line has nothing to be sent. Returns whether it was held up before.
    pub(crate) fn passed(&mut self, at: usize) -> bool {
        std::mem::take(&mut self.all[at].failures) > 0
    }

    /// The host ends: what is held up is tried once more, though it failed before.
    pub(crate) fn end(&mut self, now: Instant) {
        self.is_ending = true;
        self.ready_at = now;
        self.try_held(now);
    }

    fn answered(&mut self, at: usize, now: Instant) -> bool {
        self.all.iter_mut().for_each(|turn| turn.has_failed = false);
        let was_held = self.passed(at);
        if was_held {
            self.try_held(now);
        }
        was_held
    }

    fn try_held(&mut self, now: Instant) {
        for turn in self.all.iter_mut().filter(|turn| turn.failures > 0) {
            turn.ready_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn turns(now: Instant) -> Turns {
        Turns::new(10..13, 1000, now)
    }

    #[test]
    fn a_line_that_fails_on_and_on_waits_a_minute_and_the_others_for_a_moment() {
        let start = Instant::now();
        let (mut turns, mut now) = (turns(start), start);
        for _ in 0..20 {
            turns.later(0, None, now);
            assert!(!turns.is_ready(1, now), "the collector has a moment");
            assert!(turns.is_ready(1, now + SECOND / 2));
            assert!(!turns.is_ready(0, now + SECOND / 5));
            // Others are taken meanwhile, and change nothing of that, since they were not held up.
            turns.accepted(1, now);
            now += 60 * SECOND;
            assert!(turns.is_ready(0, now));
        }
        turns.later(0, None, now);
        assert!(!turns.is_ready(0, now + 29 * SECOND) && turns.is_any_held());
        assert_eq!((turns.len(), turns.line(2)), (3, 12));
    }

    #[test]
    fn where_one_line_after_the_other_fails_the_collector_is_tried_seldom_and_at_once_when_it_is_there() {
        let (start, mut last) = (Instant::now(), 0);
        let (mut turns, mut now, mut tries) = (Turns::new(0..100, 1000, start), start, [0, 0]);
        while now < start + 1200 * SECOND {
            // Each in its turn.
            let Some(at) = (1..=100).map(|step| (last + step) % 100).find(|at| turns.is_ready(*at, now)) else {
                now = turns.next(now).expect("all wait");
                continue;
            };
            turns.later(at, None, now);
            last = at;
            tries[usize::from(now >= start + 600 * SECOND)] += 1;
        }
        assert!(tries[0] < 200 && (10..=21).contains(&tries[1]), "{tries:?} in ten minutes each, of a hundred lines");
        now += 60 * SECOND;
        turns.accepted(3, now);
        turns.later(4, None, now);
        assert!(turns.is_ready(5, now + SECOND / 2), "the others wait for a moment again");
    }

    #[test]
    fn once_a_line_that_was_held_up_is_taken_all_that_are_held_up_are_tried_at_once() {
        let now = Instant::now();
        let mut turns = turns(now);
        for at in [0, 1, 2] {
            (0..10).for_each(|_| turns.later(at, None, now));
        }
        let later = now + 2 * SECOND;
        assert!(!turns.is_ready(0, later) && !turns.is_ready(2, later));
        turns.accepted(1, later);
        assert!(turns.is_ready(0, later) && turns.is_ready(2, later) && turns.is_any_held());
        // Whoever fails again waits as long as before.
        turns.later(0, None, later);
        assert!(!turns.is_ready(0, later + 29 * SECOND));
        assert!(turns.refused(2, later + SECOND), "it answers");
        assert!(turns.passed(0) && !turns.passed(0) && !turns.is_any_held());
    }

    #[test]
    fn what_the_collector_asks_for_holds_for_all_and_what_it_refuses_for_one() {
        let now = Instant::now();
        let mut turns = turns(now);
        turns.later(0, Some(7 * SECOND), now);
        assert!((0..3).all(|at| !turns.is_ready(at, now + 6 * SECOND) && turns.is_ready(at, now + 7 * SECOND)));
        assert_eq!(turns.next(now), Some(now + 7 * SECOND));
        let now = now + 7 * SECOND;
        assert!(!turns.refused(1, now));
        assert!(!turns.is_ready(1, now) && turns.is_ready(0, now) && turns.is_ready(2, now));
    }

    #[test]
    fn at_the_end_each_line_has_a_last_try_unless_the_collector_asks_for_time() {
        let now = Instant::now();
        let mut turns = turns(now);
        (0..9).for_each(|_| turns.later(0, None, now));
        turns.end(now);
        assert!(turns.is_ready(0, now));
        turns.later(0, None, now);
        assert!(!turns.is_ready(0, now) && turns.is_ready(1, now) && turns.is_ready(2, now));
        turns.later(1, Some(SECOND), now);
        assert!(!turns.is_ready(2, now));
    }

    #[test]
    fn a_line_whose_requests_are_too_large_makes_no_others_smaller() {
        let now = Instant::now();
        let mut turns = turns(now);
        turns.room(0).shrink(900);
        assert_eq!((turns.room(0).bytes(), turns.room(1).bytes()), (450, 1000));
    }
}
