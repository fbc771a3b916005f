//! A distribution of numbers in few bytes: OpenTelemetry's exponential histogram, of which only buckets that hold something
//! are kept. Two of them merge into exactly what one of both would have been.
//!
//! Bucket `i` of scale `s` holds what is more than `base^i` and at most `base^(i+1)`, with `base = 2^(2^-s)`
//! (OpenTelemetry's data model for metrics, "ExponentialHistogram"). Negative numbers have buckets of their own.

use glasshouse_model::wire::{Malformed, Reader};

use super::varint::{integer, put_integer, put_varint, varint};

/// The scale of a new one: 64 buckets for each doubling, so that a quantile is off by 0.55 % at most.
const SCALE: u8 = 6;
/// Buckets, of which a distribution halves its precision when it has more: 66 doublings (nineteen orders of magnitude) without a gap,
/// which nothing that is measured has. Numbers of all sizes and either sign have 4198 at the least precision. They take 66 KiB of memory.
const MAX_BUCKETS: usize = 66 * 64;

/// How numbers are distributed. Not-a-number and infinities have no place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    scale: u8,
    zeros: u64,
    positive: Buckets,
    negative: Buckets,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { scale: SCALE, zeros: 0, positive: Buckets::default(), negative: Buckets::default() }
    }
}

/// Index and count of each bucket, in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Buckets(Vec<(i32, u64)>);

impl Distribution {
    /// Adds a finite number. Returns whether that took a new bucket.
    pub fn add(&mut self, value: f64) -> bool {
        debug_assert!(value.is_finite(), "what is recorded is finite");
        if value == 0.0 {
            self.zeros = self.zeros.saturating_add(1);
            return false;
        }
        let index = index(value.abs()) >> (SCALE - self.scale);
        let buckets = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        let is_new = buckets.add(index, 1);
        if is_new {
            self.shrink();
        }
        is_new
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        while self.scale > other.scale {
            self.halve();
        }
        let shift = other.scale - self.scale;
        self.zeros = self.zeros.saturating_add(other.zeros);
        for (mine, its) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            for (index, count) in &its.0 {
                mine.add(index >> shift, *count);
            }
        }
        self.shrink();
    }

    /// How many numbers it has.
    pub fn count(&self) -> u64 {
        let counts = self.positive.0.iter().chain(&self.negative.0).map(|(_, count)| *count);
        counts.fold(self.zeros, u64::saturating_add)
    }

    /// The scale of its buckets, as OpenTelemetry's data model has it.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// How many zeros it has.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Index and count of each bucket of positive numbers that holds any, by index.
    pub fn positive(&self) -> &[(i32, u64)] {
        &self.positive.0
    }

    /// The same of negative numbers, by their distance from zero.
    pub fn negative(&self) -> &[(i32, u64)] {
        &self.negative.0
    }

    /// Buckets in use.
    pub fn buckets(&self) -> usize {
        self.positive.0.len() + self.negative.0.len()
    }

    /// The number below or at which a part of all numbers are, from 0.0 to 1.0; `None` if there are none. It is off by
    /// [`Distribution::relative_error`] of itself at most.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // The nearest rank: the least number with that part of all at or below it.
        let mut rank = ((part.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        for (index, count) in self.negative.0.iter().rev() {
            if rank <= *count {
                return Some(-self.middle(*index));
            }
            rank -= count;
        }
        if rank <= self.zeros {
            return Some(0.0);
        }
        rank -= self.zeros;
        for (index, count) in &self.positive.0 {
            if rank <= *count {
                return Some(self.middle(*index));
            }
            rank -= count;
        }
        None
    }

    /// How much a quantile may be off, as a part of itself.
    pub fn relative_error(&self) -> f64 {
        let base = self.base();
        (base - 1.0) / (base + 1.0)
    }

    fn base(&self) -> f64 {
        (-f64::from(self.scale)).exp2().exp2()
    }

    /// The number from which both ends of a bucket are as far, each as a part of itself.
    fn middle(&self, index: i32) -> f64 {
        let lower = (f64::from(index) * (-f64::from(self.scale)).exp2()).exp2();
        lower * (2.0 / (1.0 + self.base().recip()))
    }

    fn shrink(&mut self) {
        while self.buckets() > MAX_BUCKETS && self.scale > 0 {
            self.halve();
        }
    }

    /// Halves the precision: two buckets become one.
    fn halve(&mut self) {
        self.scale -= 1;
        for buckets in [&mut self.positive, &mut self.negative] {
            for (index, _) in &mut buckets.0 {
                *index >>= 1;
            }
            buckets.0.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    kept.1 = kept.1.saturating_add(later.1);
                }
                same
            });
        }
    }

    /// Appends it as it is stored: scale, zeros, then the buckets of positive and of negative numbers, each by its distance from
    /// the one before.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.push(self.scale);
        put_varint(buffer, self.zeros);
        for buckets in [&self.positive, &self.negative] {
            put_varint(buffer, buckets.0.len() as u64);
            let mut before = 0;
            for (index, count) in &buckets.0 {
                put_integer(buffer, i64::from(index - before));
                put_varint(buffer, *count);
                before = *index;
            }
        }
    }

    /// Reads what [`Distribution::encode`] wrote.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let scale = reader.byte()?;
        if scale > SCALE {
            return Err(Malformed("a distribution of an unknown scale"));
        }
        let zeros = varint(reader)?;
        let (positive, negative) = (Buckets::decode(reader)?, Buckets::decode(reader)?);
        let read = Self { scale, zeros, positive, negative };
        if read.buckets() > MAX_BUCKETS { Err(Malformed("a distribution of too many buckets")) } else { Ok(read) }
    }
}

impl Buckets {
    /// Adds to a bucket. Returns whether it is a new one.
    fn add(&mut self, index: i32, count: u64) -> bool {
        // Mostly what comes is like what came.
        match self.0.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(at) => {
                self.0[at].1 = self.0[at].1.saturating_add(count);
                false
            }
            Err(at) => {
                self.0.insert(at, (index, count));
                true
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let length = varint(reader)?;
        if length > MAX_BUCKETS as u64 {
            return Err(Malformed("a distribution of too many buckets"));
        }
        let mut buckets = Vec::with_capacity(length as usize);
        let mut before = 0_i32;
        for number in 0..length {
            let distance = i32::try_from(integer(reader)?).map_err(|_| Malformed("a bucket that no number has"))?;
            let index = before.checked_add(distance).ok_or(Malformed("a bucket that no number has"))?;
            if number > 0 && index <= before {
                return Err(Malformed("buckets that are out of order"));
            }
            buckets.push((index, varint(reader)?));
            before = index;
        }
        Ok(Self(buckets))
    }
}

/// The bucket of a number above zero, at the finest scale.
fn index(value: f64) -> i32 {
    (value.log2() * f64::from(1_u32 << SCALE)).ceil() as i32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Distribution {
        let mut distribution = Distribution::default();
        for value in values {
            distribution.add(*value);
        }
        distribution
    }

    /// Each quantile is within 1 % of the number of that rank.
    fn check(values: &[f64]) -> Result<(), TestCaseError> {
        let distribution = of(values);
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        for part in [0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            let rank = ((part * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (exact, found) = (sorted[rank - 1], distribution.quantile(part).expect("it has numbers"));
            prop_assert!((found - exact).abs() <= 0.01 * exact.abs(), "{part}: {found}, and exactly {exact}");
        }
        Ok(())
    }

    /// Numbers between zero and one, each as likely.
    fn even() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(f64::EPSILON..1.0, 1..600)
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent_of_evenly_spread_numbers(values in even()) {
            check(&values)?;
        }

        #[test]
        fn quantiles_are_within_one_percent_of_numbers_with_a_long_tail(values in even()) {
            // Pareto with shape 1: the mean of many has no end.
            check(&values.iter().map(|value| 0.001 / value).collect::<Vec<_>>())?;
        }

        #[test]
        fn quantiles_are_within_one_percent_of_waiting_times(values in even()) {
            check(&values.iter().map(|value| -value.ln()).collect::<Vec<_>>())?;
        }

        #[test]
        fn quantiles_are_within_one_percent_of_two_humps_of_either_sign(values in even()) {
            let hump = |value: &f64| if *value < 0.3 { -5.0 - value } else { 1000.0 + value };
            check(&values.iter().map(hump).collect::<Vec<_>>())?;
        }

        #[test]
        fn quantiles_are_within_one_percent_of_any_normal_numbers(
            values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..300),
        ) {
            check(&values)?;
        }

        #[test]
        fn two_that_are_merged_are_one_of_both(
            one in prop::collection::vec(prop::num::f64::NORMAL, 0..200), other in even(),
        ) {
            let mut merged = of(&one);
            merged.merge(&of(&other));
            prop_assert_eq!(merged, of(&[one, other].concat()));
        }

        #[test]
        fn it_is_read_as_it_was_written(values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 0..300)) {
            let (given, mut bytes) = (of(&values), Vec::new());
            given.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Distribution::decode(&mut reader), Ok(given));
            prop_assert!(reader.rest().is_empty());
            for cut in 0..bytes.len() {
                prop_assert!(Distribution::decode(&mut Reader::new(&bytes[..cut])).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Distribution::decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn numbers_of_every_size_take_bounded_memory_at_less_precision() {
        let every: Vec<_> = (-1074..1023)
            .flat_map(|exponent| (0..64).map(move |part| f64::from(exponent) + f64::from(part) / 64.0))
            .collect();
        let mut distribution = Distribution::default();
        for exponent in &every {
            distribution.add(exponent.exp2());
            distribution.add(-exponent.exp2());
        }
        assert!(distribution.buckets() <= MAX_BUCKETS);
        assert_eq!(distribution.count(), 2 * every.len() as u64);
        assert!(distribution.relative_error() < 1.0, "{}", distribution.relative_error());
        let mut merged = of(&[1.0, f64::MAX, f64::MIN, f64::from_bits(1), -f64::from_bits(1)]);
        merged.merge(&distribution);
        assert_eq!(merged.count(), distribution.count() + 5);
        assert!(merged.buckets() <= MAX_BUCKETS);
        let mut bytes = Vec::new();
        merged.encode(&mut bytes);
        assert_eq!(Distribution::decode(&mut Reader::new(&bytes)), Ok(merged));
    }
}
