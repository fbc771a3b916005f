//! What many samples of a series come to.

use glasshouse_model::wire::{Malformed, Reader};
use glasshouse_model::{Instrument, UnixNanos};

use super::Distribution;
use super::varint::{put_varint, varint};

/// What samples come to. Those of any parts merge into that of the whole: counts, extremes and quantiles exactly, sums as
/// floating-point numbers add up, which is exact for whole numbers below 2^53.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Samples.
    pub count: u64,
    /// Their sum, of a counter what it grew by. One that no number can hold is the largest number.
    pub sum: f64,
    /// The least of them.
    pub min: f64,
    /// The greatest of them.
    pub max: f64,
    /// The latest of them.
    pub last: f64,
    /// When that was.
    pub last_at: UnixNanos,
    /// How they are distributed; `None` of counters, whose samples are parts of a total.
    pub distribution: Option<Distribution>,
}

impl Aggregate {
    /// What one sample comes to.
    pub fn of(instrument: Instrument, value: f64, time: UnixNanos) -> Self {
        let distribution = (instrument != Instrument::Counter).then(|| {
            let mut distribution = Distribution::default();
            distribution.add(value);
            distribution
        });
        Self { count: 1, sum: value, min: value, max: value, last: value, last_at: time, distribution }
    }

    /// Adds a sample. Returns whether its distribution grew by a bucket.
    pub fn add(&mut self, value: f64, time: UnixNanos) -> bool {
        self.count = self.count.saturating_add(1);
        self.sum = bounded(self.sum + value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        // Of several at one time, the one that was stored last.
        if time >= self.last_at {
            (self.last, self.last_at) = (value, time);
        }
        self.distribution.as_mut().is_some_and(|distribution| distribution.add(value))
    }

    /// Adds all of another one, which was stored later.
    pub fn merge(&mut self, later: &Self) {
        self.count = self.count.saturating_add(later.count);
        self.sum = bounded(self.sum + later.sum);
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        if later.last_at >= self.last_at {
            (self.last, self.last_at) = (later.last, later.last_at);
        }
        match (&mut self.distribution, &later.distribution) {
            (Some(mine), Some(its)) => mine.merge(its),
            (mine, _) => *mine = None,
        }
    }

    /// The mean of the samples.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The number below or at which a part of the samples are, from 0.0 to 1.0, within 1 %; `None` of a counter.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let found = self.distribution.as_ref()?.quantile(part)?;
        let exact = if part <= 0.0 { self.min } else { self.max };
        Some(if (f64::MIN_POSITIVE..1.0).contains(&part) { found.clamp(self.min, self.max) } else { exact })
    }

    /// Appends all but the last value, with times as they are after `start`.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>, start: UnixNanos) {
        put_varint(buffer, self.count);
        for number in [self.sum, self.min, self.max] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        put_varint(buffer, self.last_at.0.saturating_sub(start.0).max(0) as u64);
        buffer.push(u8::from(self.distribution.is_some()));
        if let Some(distribution) = &self.distribution {
            distribution.encode(buffer);
        }
    }

    /// Reads what [`Aggregate::encode`] wrote.
    pub(super) fn decode(reader: &mut Reader<'_>, start: UnixNanos, last: f64) -> Result<Self, Malformed> {
        let count = varint(reader)?;
        let (sum, min, max) = (reader.float()?, reader.float()?, reader.float()?);
        let after = i64::try_from(varint(reader)?).unwrap_or(i64::MAX);
        let distribution = match reader.byte()? {
            0 => None,
            1 => Some(Distribution::decode(reader)?),
            _ => return Err(Malformed("unknown kind of distribution")),
        };
        if count == 0 || ![sum, min, max, last].iter().all(|number| number.is_finite()) || min > max {
            return Err(Malformed("an aggregate of nothing, or of what is no number"));
        }
        let last_at = UnixNanos(start.0.saturating_add(after));
        Ok(Self { count, sum, min, max, last, last_at, distribution })
    }
}

/// A sum, or the number next to it if it is beyond all numbers.
fn bounded(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(instrument: Instrument, values: &[f64], from: i64) -> Option<Aggregate> {
        let mut times = (from..).map(UnixNanos);
        let mut values = values.iter();
        let mut aggregate = Aggregate::of(instrument, *values.next()?, times.next()?);
        for (value, time) in values.zip(times) {
            aggregate.add(*value, time);
        }
        Some(aggregate)
    }

    fn whole() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((-1_000_000..1_000_000).prop_map(f64::from), 1..100)
    }

    proptest! {
        #[test]
        fn the_parts_come_to_what_the_whole_does(
            one in whole(), other in whole(), instrument in prop::sample::select(Instrument::ALL),
        ) {
            let mut merged = of(instrument, &one, 0).expect("it has samples");
            let later = of(instrument, &other, one.len() as i64).expect("it has samples");
            merged.merge(&later);
            prop_assert_eq!(Some(merged), of(instrument, &[one, other].concat(), 0));
        }

        #[test]
        fn it_is_read_as_it_was_written(values in whole(), instrument in prop::sample::select(Instrument::ALL)) {
            let given = of(instrument, &values, 77).expect("it has samples");
            let mut bytes = Vec::new();
            given.encode(&mut bytes, UnixNanos(70));
            prop_assert_eq!(Aggregate::decode(&mut Reader::new(&bytes), UnixNanos(70), given.last), Ok(given));
        }
    }

    #[test]
    fn sums_beyond_all_numbers_stay_numbers() {
        let huge = of(Instrument::Gauge, &[f64::MAX, f64::MAX, f64::MIN, f64::MIN, f64::MIN], 0).expect("samples");
        assert_eq!((huge.count, huge.sum), (5, f64::MIN));
        assert_eq!((huge.quantile(0.0), huge.quantile(1.0)), (Some(f64::MIN), Some(f64::MAX)));
        assert!(huge.mean().is_finite());
    }

    #[test]
    fn the_latest_sample_counts_whatever_the_order() {
        let mut late = Aggregate::of(Instrument::Gauge, 7.0, UnixNanos(9));
        assert!(late.add(3.0, UnixNanos(5)));
        assert_eq!((late.last, late.last_at), (7.0, UnixNanos(9)));
        let mut early = Aggregate::of(Instrument::Gauge, 1.0, UnixNanos(1));
        early.merge(&late);
        assert_eq!((early.last, early.min, early.max, early.sum), (7.0, 1.0, 7.0, 11.0));
    }
}
