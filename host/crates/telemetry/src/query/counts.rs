//! How many records of each level there were, over time.

use std::collections::BTreeMap;
use std::time::Duration;

use glasshouse_model::{Level, UnixNanos};

/// Widths that a clock shows, in nanoseconds; each is a multiple of the one before, so that buckets can be joined.
const WIDTHS: [i128; 13] = [
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    5_000_000_000,
    15_000_000_000,
    60_000_000_000,
    300_000_000_000,
    900_000_000_000,
    3_600_000_000_000,
    21_600_000_000_000,
    86_400_000_000_000,
    864_000_000_000_000,
];

/// Counts by level in buckets of time. When there would be too many buckets, neighbours are joined.
#[derive(Clone, Debug)]
pub struct Counts {
    width: i128,
    max_buckets: usize,
    buckets: BTreeMap<i128, LevelCounts>,
}

/// How many records of each level, and without one, there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounts {
    /// By level, least first.
    pub levels: [u64; Level::ALL.len()],
    /// Records without a level.
    pub without: u64,
}

/// What there was in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountRow {
    /// Where the bucket starts, inclusive; the next one starts where it ends. A multiple of the width since 1970.
    pub start: UnixNanos,
    /// What was counted.
    pub counts: LevelCounts,
}

impl LevelCounts {
    /// The records of one level.
    pub fn of(&self, level: Level) -> u64 {
        self.levels[level as usize]
    }

    /// All records.
    pub fn total(&self) -> u64 {
        self.levels.iter().sum::<u64>() + self.without
    }

    fn add(&mut self, other: &Self) {
        self.levels.iter_mut().zip(other.levels).for_each(|(count, more)| *count += more);
        self.without += other.without;
    }
}

impl Counts {
    /// Counts in buckets of this width, at least a nanosecond, or of a multiple of it when there would be more than
    /// `max_buckets` (at least one).
    pub fn new(bucket: Duration, max_buckets: usize) -> Self {
        let width = i128::try_from(bucket.as_nanos()).unwrap_or(i128::from(i64::MAX)).clamp(1, i128::from(i64::MAX));
        Self { width, max_buckets: max_buckets.max(1), buckets: BTreeMap::new() }
    }

    /// The width of a bucket.
    pub fn bucket(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.width).unwrap_or(u64::MAX))
    }

    /// Counts a record.
    pub fn add(&mut self, time: UnixNanos, level: Option<Level>) {
        let time = i128::from(time.0);
        if !self.has_room_for(time) {
            self.join_for(time);
        }
        let counts = self.buckets.entry(time.div_euclid(self.width)).or_default();
        match level {
            Some(level) => counts.levels[level as usize] += 1,
            None => counts.without += 1,
        }
    }

    /// All buckets from the first to the last that has a record, oldest first, the empty ones between them too.
    pub fn rows(&self) -> Vec<CountRow> {
        let (Some((first, _)), Some((last, _))) = (self.buckets.first_key_value(), self.buckets.last_key_value())
        else {
            return Vec::new();
        };
        let row = |index: i128| CountRow {
            start: UnixNanos(i64::try_from(index * self.width).unwrap_or(i64::MIN)),
            counts: self.buckets.get(&index).copied().unwrap_or_default(),
        };
        (*first..=*last).map(row).collect()
    }

    /// All that was counted.
    pub fn total(&self) -> LevelCounts {
        let mut total = LevelCounts::default();
        self.buckets.values().for_each(|counts| total.add(counts));
        total
    }

    fn fits(&self, first: i128, last: i128) -> bool {
        last.div_euclid(self.width) - first.div_euclid(self.width) < self.max_buckets as i128
    }

    fn bounds_with(&self, time: i128) -> (i128, i128) {
        let index = time.div_euclid(self.width);
        let first = self.buckets.first_key_value().map_or(index, |(first, _)| *first);
        let last = self.buckets.last_key_value().map_or(index, |(last, _)| *last);
        (first.min(index), last.max(index))
    }

    fn has_room_for(&self, time: i128) -> bool {
        let (first, last) = self.bounds_with(time);
        last - first < self.max_buckets as i128
    }

    #[cold]
    fn join_for(&mut self, time: i128) {
        let narrow = self.width;
        let (first, last) = self.bounds_with(time);
        while !self.fits(first * narrow, last * narrow) {
            self.width = wider(self.width);
            // A bucket on either side of 1970 is the widest that can be wanted.
            if self.width > 2 * i128::from(i64::MAX) && self.max_buckets == 1 {
                self.max_buckets = 2;
            }
        }
        for (index, counts) in std::mem::take(&mut self.buckets) {
            self.buckets.entry((index * narrow).div_euclid(self.width)).or_default().add(&counts);
        }
    }
}

/// The next width that a clock shows and that this one divides, or else twice this one.
fn wider(width: i128) -> i128 {
    WIDTHS.into_iter().find(|wider| *wider > width && wider % width == 0).unwrap_or(2 * width)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn buckets_become_wide_enough_for_the_time_between_the_first_and_the_last() {
        let check = |seconds: i64, max: usize, expect: u64| {
            let mut counts = Counts::new(Duration::from_millis(1), max);
            for time in [0, seconds * SECOND - 1] {
                counts.add(UnixNanos(time), None);
            }
            assert_eq!(counts.bucket(), Duration::from_secs(expect), "{seconds} s in {max}");
        };
        check(60, 60, 1);
        check(900, 60, 15);
        check(3600, 60, 60);
        check(86_400, 60, 3600);
        check(7 * 86_400, 60, 21_600);
        check(4000 * 86_400, 60, 80 * 86_400);
    }

    #[test]
    fn neighbours_are_joined_and_nothing_is_lost() {
        let mut counts = Counts::new(Duration::from_secs(1), 10);
        for second in 0..1000 {
            counts.add(UnixNanos(second * SECOND), Some(Level::Info));
        }
        counts.add(UnixNanos(999 * SECOND), None);
        assert_eq!(counts.bucket(), Duration::from_mins(5));
        let rows = counts.rows();
        assert_eq!(rows.iter().map(|row| row.counts.total()).collect::<Vec<_>>(), [300, 300, 300, 101]);
        assert_eq!(rows[1].start, UnixNanos(300 * SECOND));
        assert_eq!((counts.total().of(Level::Info), counts.total().without), (1000, 1));
    }

    #[test]
    fn quiet_times_have_rows_too() {
        let mut counts = Counts::new(Duration::from_secs(1), 10);
        counts.add(UnixNanos(-SECOND), Some(Level::Error));
        counts.add(UnixNanos(SECOND), Some(Level::Error));
        assert_eq!(counts.rows().iter().map(|row| row.counts.of(Level::Error)).collect::<Vec<_>>(), [1, 0, 1]);
    }

    proptest::proptest! {
        #[test]
        fn any_times_stay_within_the_bound(
            times in proptest::collection::vec(proptest::num::i64::ANY, 1..40),
            max in 2_usize..20,
            width in 1_u64..u64::MAX,
        ) {
            let mut counts = Counts::new(Duration::from_nanos(width), max);
            for time in &times {
                counts.add(UnixNanos(*time), None);
            }
            proptest::prop_assert!(counts.rows().len() <= max);
            proptest::prop_assert_eq!(counts.total().total(), times.len() as u64);
        }
    }
}
