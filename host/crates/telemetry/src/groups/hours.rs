//! How many errors came in each of the last hours, and what that says.

use glasshouse_model::UnixNanos;
use glasshouse_model::wire::{Malformed, Reader, put_varint};

/// Hours that are counted one by one: with a day, what comes each night is seen.
pub const HOURS: usize = 24;
const HOUR_NANOS: i64 = 3_600_000_000_000;
/// Hours that are compared with those before them.
const RECENT: usize = 3;
/// Errors in an hour below which nothing escalates: a second and a third error are no burst.
const BURST: u32 = 10;
/// How many times as many errors as usual in an hour are a burst.
const BURST_TIMES: f64 = 4.0;

glasshouse_model::wire::byte_enum! {
    /// Whether errors come more often than before.
    Trend {
        /// Half as many again in the last three hours as before, by the hour.
        Rising = 0 "rising",
        /// About as many.
        Steady = 1 "steady",
        /// Less than two thirds of that.
        Falling = 2 "falling",
    }
}

/// Errors by the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hours {
    /// The newest hour, in hours since 1970.
    newest: i64,
    /// The newest first.
    counts: [u32; HOURS],
}

fn hour(time: UnixNanos) -> i64 {
    time.0.div_euclid(HOUR_NANOS)
}

impl Hours {
    /// Counts an error. One of the hour before the newest one came a little late. One of before that shows that the clock was set back: what was
    /// counted until then is taken for that of the hours up to the present one. Tells whether it was.
    pub(crate) fn add(&mut self, time: UnixNanos) -> bool {
        let earlier = self.newest.saturating_sub(hour(time));
        let is_set_back = earlier > 1;
        if is_set_back {
            self.newest = hour(time);
        } else if earlier < 0 {
            *self = self.seen_from(hour(time));
        }
        let count = &mut self.counts[usize::from(earlier == 1)];
        *count = count.saturating_add(1);
        is_set_back
    }

    /// The counts as of a later hour.
    fn seen_from(&self, newest: i64) -> Self {
        let mut counts = [0; HOURS];
        let later = usize::try_from(newest.saturating_sub(self.newest)).unwrap_or(0);
        if let Some(kept) = HOURS.checked_sub(later) {
            counts[later..].copy_from_slice(&self.counts[..kept]);
        }
        Self { newest: newest.max(self.newest), counts }
    }

    /// Errors in each of the last hours, the present one first.
    pub(crate) fn as_of(&self, now: UnixNanos) -> [u32; HOURS] {
        self.seen_from(hour(now)).counts
    }

    /// Errors an hour in the last day, or since the first one.
    pub(crate) fn rate(&self, first_seen: UnixNanos, now: UnixNanos) -> f64 {
        let total: u64 = self.as_of(now).iter().map(|count| u64::from(*count)).sum();
        let hours = now.0.saturating_sub(first_seen.0) as f64 / HOUR_NANOS as f64;
        total as f64 / hours.clamp(1.0, HOURS as f64)
    }

    /// Whether they come more often than before.
    pub(crate) fn trend(&self, first_seen: UnixNanos, now: UnixNanos) -> Trend {
        let counts = self.as_of(now);
        let known = known(first_seen, now);
        if known <= RECENT {
            return Trend::Steady;
        }
        let recent = mean(&counts[..RECENT]);
        let before = mean(&counts[RECENT..known]);
        if recent > before * 1.5 {
            Trend::Rising
        } else if recent < before / 1.5 {
            Trend::Falling
        } else {
            Trend::Steady
        }
    }

    /// Whether they come far more often in this hour or the one before it than in those before.
    pub(crate) fn is_burst(&self, first_seen: UnixNanos, now: UnixNanos) -> bool {
        if self.newest.saturating_sub(hour(now)) > 1 {
            // They came while the clock was ahead: which hours those were nobody knows.
            return false;
        }
        let counts = self.as_of(now);
        let known = known(first_seen, now);
        known > 2 && {
            let most = counts[0].max(counts[1]);
            most >= BURST && f64::from(most) >= BURST_TIMES * mean(&counts[2..known])
        }
    }

    /// Nanoseconds until a burst of this hour is none of the last two hours any more.
    pub(crate) fn burst_ends_after(now: UnixNanos) -> u64 {
        (2 * HOUR_NANOS - now.0.rem_euclid(HOUR_NANOS)) as u64
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.newest.to_le_bytes());
        for count in self.counts {
            put_varint(buffer, count);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut hours = Self { newest: reader.integer()?, counts: [0; HOURS] };
        for count in &mut hours.counts {
            *count = reader.varint()?;
        }
        Ok(hours)
    }
}

/// Hours of which the counts are known, the present one included.
fn known(first_seen: UnixNanos, now: UnixNanos) -> usize {
    usize::try_from(hour(now) - hour(first_seen) + 1).unwrap_or(1).clamp(1, HOURS)
}

fn mean(counts: &[u32]) -> f64 {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    total as f64 / counts.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> UnixNanos {
        UnixNanos(hour * HOUR_NANOS + 1)
    }

    /// Errors in the hours from 100 on.
    fn hours(counts: &[u32]) -> Hours {
        let mut hours = Hours::default();
        for (index, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                hours.add(at(100 + index as i64));
            }
        }
        hours
    }

    #[test]
    fn errors_are_counted_by_the_hour_for_a_day() {
        let hours = hours(&[3, 0, 2]);
        assert_eq!(hours.as_of(at(102))[..4], [2, 0, 3, 0]);
        assert_eq!(hours.as_of(at(104))[..5], [0, 0, 2, 0, 3]);
        assert_eq!(hours.as_of(at(126)), [0; HOURS]);
        assert_eq!(hours.as_of(at(7))[..3], [2, 0, 3], "a clock that was set back loses nothing");
        assert!((hours.rate(at(100), at(102)) - 2.5).abs() < 0.01);
        let mut bytes = Vec::new();
        hours.encode(&mut bytes);
        assert_eq!(Hours::decode(&mut Reader::new(&bytes)), Ok(hours));
    }

    #[test]
    fn a_clock_that_was_once_ahead_makes_no_burst_that_stays_and_stops_no_hours() {
        for ahead in [2, 3, 40, 1_000_000] {
            let mut hours = hours(&[1; 12]);
            assert!((0..20).all(|_| !hours.add(at(112 + ahead))), "it goes on");
            assert!(hours.is_burst(at(100), at(112 + ahead)));
            assert!(!hours.is_burst(at(100), at(112)), "not at a time of before it");
            for hour in 112..120 {
                assert_eq!(hours.add(at(hour)), hour == 112, "{ahead}: it was set back once");
                assert_eq!(hours.is_burst(at(100), at(hour)), hour < 114, "{ahead}: it ends by itself");
            }
            assert_eq!(hours.as_of(at(119))[..8], [1, 1, 1, 1, 1, 1, 1, 21], "each hour has its own");
        }
    }

    #[test]
    fn an_error_that_comes_a_little_late_counts_in_its_own_hour() {
        let mut hours = hours(&[3, 2]);
        assert!(!hours.add(at(100)) && !hours.add(at(101)));
        assert_eq!(hours.as_of(at(101))[..3], [3, 4, 0]);
    }

    #[test]
    fn a_trend_and_a_burst_are_told_from_the_hours_before() {
        for (counts, trend, burst) in [
            (&[50][..], Trend::Steady, false),
            (&[5, 5, 5, 5, 5, 5], Trend::Steady, false),
            (&[1, 1, 1, 5, 5, 5], Trend::Rising, false),
            (&[9, 9, 9, 1, 1, 1], Trend::Falling, false),
            (&[1, 1, 1, 1, 1, 60], Trend::Rising, true),
            (&[1, 0, 0, 0, 0, 9], Trend::Rising, false),
        ] {
            let now = at(100 + counts.len() as i64 - 1);
            let hours = hours(counts);
            assert_eq!((hours.trend(at(100), now), hours.is_burst(at(100), now)), (trend, burst), "{counts:?}");
        }
    }
}
