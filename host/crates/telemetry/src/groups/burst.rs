//! Whether errors come so fast that a person should know, of whatever groups they are.

use std::time::Duration;

use glasshouse_model::UnixNanos;

/// The time in which errors are a burst.
pub(crate) const BURST_WINDOW: Duration = Duration::from_mins(1);
/// Errors in that time that are a burst: a failure every other second is more than a bug that somebody meets now and then.
pub(crate) const BURST_ERRORS: u32 = 30;
/// Parts in which the window moves on.
const PARTS: usize = 6;
const PART_NANOS: i64 = BURST_WINDOW.as_nanos() as i64 / PARTS as i64;

/// The part of a time: what goes on is told once in each.
pub(crate) fn part_of(time: UnixNanos) -> i64 {
    time.0.div_euclid(PART_NANOS)
}

/// Errors of the last minute, by ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// The newest part, in parts since 1970.
    newest: i64,
    /// The newest first.
    counts: [u32; PARTS],
    /// Whether the newest part was told.
    is_told: bool,
}

impl Burst {
    /// Counts an error; gives how many there were in the window if they are a burst, once in each part of it. Where the clock was set
    /// back within the window, errors count as of the newest part; where it was set back further, all begins anew.
    pub(crate) fn add(&mut self, time: UnixNanos) -> Option<u32> {
        let part = part_of(time);
        if part + (PARTS as i64) < self.newest {
            *self = Self { newest: part, ..Self::default() };
        } else if part > self.newest {
            let later = usize::try_from(part - self.newest).unwrap_or(PARTS).min(PARTS);
            self.counts.rotate_right(later);
            self.counts[..later].fill(0);
            (self.newest, self.is_told) = (part, false);
        }
        self.counts[0] = self.counts[0].saturating_add(1);
        let all = self.counts.iter().fold(0_u32, |all, count| all.saturating_add(*count));
        let tells = all >= BURST_ERRORS && !self.is_told;
        self.is_told |= tells;
        tells.then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_errors_in_a_minute_are_a_burst_and_fewer_are_none() {
        let start = 1_000 * PART_NANOS;
        let add = |burst: &mut Burst, at: i64, count: u32| (0..count).filter_map(|_| burst.add(UnixNanos(at))).last();
        let mut burst = Burst::default();
        assert_eq!(add(&mut burst, start, BURST_ERRORS - 1), None);
        assert_eq!(add(&mut burst, start + 5 * PART_NANOS, 1), Some(BURST_ERRORS));
        assert_eq!(add(&mut burst, start + 5 * PART_NANOS, 1), None, "it is told once in ten seconds");
        assert_eq!(add(&mut burst, start + 6 * PART_NANOS, 1), None, "the first ones are out of the window");
        assert_eq!(add(&mut burst, start, 1), None, "a clock that was set back is coped with");
        assert_eq!(add(&mut burst, start + 60 * PART_NANOS, BURST_ERRORS), Some(BURST_ERRORS));
    }

    #[test]
    fn a_clock_that_was_set_back_by_an_hour_makes_no_burst_and_hides_none() {
        const HOUR: i64 = 360 * PART_NANOS;
        let start = 1_000 * PART_NANOS + HOUR;
        let mut burst = Burst::default();
        assert!((1..BURST_ERRORS).all(|_| burst.add(UnixNanos(start)).is_none()));
        // One each minute is none, for as long as the clock is behind what it was.
        for minute in 0..59 {
            assert_eq!(burst.add(UnixNanos(start - HOUR + 6 * minute * PART_NANOS)), None, "minute {minute}");
        }
        let mut again = Burst::default();
        assert!((0..BURST_ERRORS).any(|_| again.add(UnixNanos(start)).is_some()));
        assert_eq!((0..BURST_ERRORS).find_map(|_| again.add(UnixNanos(start - HOUR))), Some(BURST_ERRORS));
    }
}
