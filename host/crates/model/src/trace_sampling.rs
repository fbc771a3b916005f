//! Which traces are kept, in the form in which programs agree on it: OpenTelemetry's consistent probability sampling,
//! <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::TraceId;

/// Bits of randomness that a trace has.
const BITS: u32 = 56;
/// Hexadecimal digits that they are written in.
const DIGITS: usize = 14;
/// So many different values.
const ALL: u64 = 1 << BITS;
/// Digits that a threshold has beside leading `f`s: what the specification recommends, good to a hundredth of a percent.
const PRECISION: u32 = 4;

/// What a trace is chosen by: a number of 56 bits that is the same for all who decide on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Randomness(OneMore);

/// A number of up to 56 bits, and one more, so that none takes no room of its own: what is decided on a trace goes with each call.
type OneMore = NonZeroU64;

const fn one_more(number: u64) -> OneMore {
    OneMore::MIN.saturating_add(number)
}

/// Text that is no [`Randomness`] or no [`SamplingThreshold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a threshold has 1 to 14 lower-case hexadecimal digits, and a random value 14")]
pub struct InvalidSampling;

impl Randomness {
    /// Bytes that it takes where it is stored.
    pub(crate) const BYTES: usize = 7;

    /// That of a trace for which nobody has drawn another one: the last seven bytes of its id.
    #[inline]
    pub fn of(trace_id: TraceId) -> Self {
        Self(one_more(u128::from_be_bytes(trace_id.0) as u64 & (ALL - 1)))
    }

    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(one_more(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        std::array::from_fn(|index| (self.number() >> (8 * (Self::BYTES - 1 - index))) as u8)
    }

    #[inline]
    fn number(self) -> u64 {
        self.0.get() - 1
    }
}

impl FromStr for Randomness {
    type Err = InvalidSampling;

    fn from_str(text: &str) -> Result<Self, InvalidSampling> {
        if text.len() == DIGITS { digits(text).map(|number| Self(one_more(number))) } else { Err(InvalidSampling) }
    }
}

impl fmt::Display for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}", self.number())
    }
}

/// The part of all traces that is not kept: those whose randomness is below it, of 2^56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SamplingThreshold(OneMore);

impl SamplingThreshold {
    /// Every trace is kept.
    pub const KEEP_ALL: Self = Self(one_more(0));
    /// No trace is kept: this is no probability, and has no text form that others would read.
    pub const KEEP_NONE: Self = Self(one_more(ALL));

    /// That at which traces are kept with a probability, which is rounded to four digits; 0 and less keeps none, 1 and more all.
    pub fn of_probability(probability: f64) -> Self {
        if probability.is_nan() || probability <= 0.0 {
            return Self::KEEP_NONE;
        }
        if probability >= 1.0 {
            return Self::KEEP_ALL;
        }
        // Each leading `f` of the threshold is four bits by which the probability is smaller.
        let leading = (-probability.log2()).floor() as u32 / 4;
        let digits = (PRECISION + leading).min(DIGITS as u32 - 2);
        let unit = 1_u64 << (4 * (DIGITS as u32 - digits));
        let kept = ((probability * ALL as f64).round() as u64).max(1);
        let rounded = (ALL - kept + unit / 2) / unit * unit;
        // What is to be kept now and then is not rounded to never.
        Self(one_more(rounded.min(ALL - unit)))
    }

    /// The part of all traces that is kept, 0.0 to 1.0.
    pub fn probability(self) -> f64 {
        (ALL - self.to_bits()) as f64 / ALL as f64
    }

    /// Whether a trace is kept.
    #[inline]
    pub fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// As a number: the values of randomness that are not kept, of 2^56.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0.get() - 1
    }

    /// What [`SamplingThreshold::to_bits`] gave.
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(one_more(bits.min(ALL)))
    }
}

impl FromStr for SamplingThreshold {
    type Err = InvalidSampling;

    fn from_str(text: &str) -> Result<Self, InvalidSampling> {
        let left_out = DIGITS.checked_sub(text.len()).filter(|_| !text.is_empty()).ok_or(InvalidSampling)?;
        Ok(Self(one_more(digits(text)? << (4 * left_out))))
    }
}

impl fmt::Display for SamplingThreshold {
    /// Without trailing zeros, as it is passed on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:014x}", self.to_bits());
        let digits = digits.trim_end_matches('0');
        f.write_str(if digits.is_empty() { "0" } else { digits })
    }
}

/// Lower-case hexadecimal digits as a number; fourteen at most.
fn digits(text: &str) -> Result<u64, InvalidSampling> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u64::from_str_radix(text, 16).map_err(|_| InvalidSampling) } else { Err(InvalidSampling) }
}

/// What was decided on a trace where it began, for all that have a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSampling {
    /// Whether it is kept.
    pub is_sampled: bool,
    /// At which threshold that was decided. `None` where the trace is not kept, and where nobody said: then nobody knows for how many
    /// traces it stands.
    pub threshold: Option<SamplingThreshold>,
    /// What it was chosen by, if that is not in its id.
    pub randomness: Option<Randomness>,
}

impl Default for TraceSampling {
    /// Kept, as every trace is.
    fn default() -> Self {
        Self { is_sampled: true, threshold: Some(SamplingThreshold::KEEP_ALL), randomness: None }
    }
}

impl TraceSampling {
    /// Decides on a trace that begins here.
    #[inline]
    pub fn of_root(trace_id: TraceId, threshold: SamplingThreshold, randomness: Option<Randomness>) -> Self {
        let is_sampled = threshold.keeps(randomness.unwrap_or_else(|| Randomness::of(trace_id)));
        Self { is_sampled, threshold: Some(threshold).filter(|_| is_sampled), randomness }
    }

    /// What whoever caused a call has decided on its trace. A threshold that cannot have led to that is not believed.
    pub fn of_parent(
        trace_id: TraceId,
        is_sampled: bool,
        threshold: Option<SamplingThreshold>,
        randomness: Option<Randomness>,
    ) -> Self {
        let chosen_by = randomness.unwrap_or_else(|| Randomness::of(trace_id));
        let threshold = threshold.filter(|threshold| is_sampled && threshold.keeps(chosen_by));
        Self { is_sampled, threshold, randomness }
    }

    /// How many traces one that is kept stands for: 1 divided by its probability; `None` if it is not kept, or nobody knows.
    pub fn adjusted_count(&self) -> Option<f64> {
        let known = self.threshold.filter(|threshold| self.is_sampled && *threshold < SamplingThreshold::KEEP_NONE);
        known.map(|threshold| threshold.probability().recip())
    }

    /// The same trace where something keeps no more of all traces than another threshold does.
    #[must_use]
    pub fn raised(self, least: SamplingThreshold) -> Self {
        // What nobody knows is taken for all of them: so it stands for those that were left out here.
        let threshold = self.threshold.unwrap_or(SamplingThreshold::KEEP_ALL).max(least);
        Self { threshold: Some(threshold).filter(|_| self.is_sampled), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thresholds_are_those_of_the_specifications_table() {
        for (of, text) in [
            (1.0, "0"),
            (2.0, "8"),
            (3.0, "aaab"),
            (4.0, "c"),
            (5.0, "cccd"),
            (8.0, "e"),
            (10.0, "e666"),
            (16.0, "f"),
            (100.0, "fd70a"),
            (1000.0, "ffbe77"),
            (10_000.0, "fff9724"),
            (100_000.0, "ffff583a"),
            (1_000_000.0, "ffffef39"),
        ] {
            let threshold = SamplingThreshold::of_probability(1.0 / of);
            assert_eq!(threshold.to_string(), text, "1 in {of}");
            assert_eq!(text.parse(), Ok(threshold));
            let counted = TraceSampling { threshold: Some(threshold), ..TraceSampling::default() };
            let counted = counted.adjusted_count().expect("it is known");
            assert!((counted / of - 1.0).abs() < 0.001, "1 in {of} counts {counted}");
        }
        assert_eq!(SamplingThreshold::of_probability(1e-30).to_string(), "ffffffffffff", "the least, and not never");
    }

    #[test]
    fn a_random_value_is_fourteen_digits_and_that_of_an_id_its_last_ones() {
        let id = "4bf92f3577b34da6a36e6d1a75832a2f".parse().expect("a trace id");
        let random: Randomness = "6e6d1a75832a2f".parse().expect("the specification's own example");
        assert_eq!((Randomness::of(id), random.to_string()), (random, "6e6d1a75832a2f".to_owned()));
        assert_eq!(Randomness::from_bytes(random.to_bytes()), random);
        for (kept, threshold) in
            [(true, "6e6d1a75832a2f"), (true, "6e6d1a75832a2e"), (false, "6e6d1a75832a3"), (true, "0")]
        {
            assert_eq!(threshold.parse::<SamplingThreshold>().expect("a threshold").keeps(random), kept, "{threshold}");
        }
        for text in ["", "6e6d1a75832a2", "6e6d1a75832a2f0", "6E6D1A75832A2F", "+e6d1a75832a2f"] {
            assert_eq!(text.parse::<Randomness>(), Err(InvalidSampling), "{text}");
        }
        for text in ["", "6e6d1a75832a2f0", "E", "-1", "g"] {
            assert_eq!(text.parse::<SamplingThreshold>(), Err(InvalidSampling), "{text}");
        }
    }

    #[test]
    fn a_threshold_that_cannot_have_led_to_the_decision_is_not_believed() {
        let id = TraceId([1; 16]);
        let (low, high) = ("01".parse().expect("a threshold"), "02".parse().expect("a threshold"));
        let check = |is_sampled, threshold, expect: Option<SamplingThreshold>| {
            let found = TraceSampling::of_parent(id, is_sampled, threshold, None);
            assert_eq!((found.is_sampled, found.threshold), (is_sampled, expect));
        };
        check(true, Some(low), Some(low));
        check(true, Some(high), None);
        check(true, None, None);
        check(false, Some(high), None);
        let never = TraceSampling { threshold: Some(SamplingThreshold::KEEP_NONE), ..TraceSampling::default() };
        assert_eq!(never.adjusted_count(), None, "nothing stands for all that there is");
    }

    proptest! {
        #[test]
        fn who_keeps_more_keeps_what_who_keeps_less_does(one in 0.0..=1.0, other in 0.0..=1.0, id in any::<[u8; 16]>()) {
            let kept = |rate: f64| TraceSampling::of_root(TraceId(id), SamplingThreshold::of_probability(rate), None).is_sampled;
            prop_assert!(kept(f64::max(one, other)) || !kept(f64::min(one, other)));
        }

        #[test]
        fn any_probability_is_kept_to_a_thousandth_and_comes_back_from_text(exponent in -30.0..0.0_f64) {
            let probability = exponent.exp2();
            let threshold = SamplingThreshold::of_probability(probability);
            prop_assert!((threshold.probability() / probability - 1.0).abs() < 0.001, "{threshold}");
            prop_assert_eq!(threshold.to_string().parse(), Ok(threshold));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-fA-F.+]{0,16}") {
            if let Ok(threshold) = text.parse::<SamplingThreshold>() {
                prop_assert!((0.0..=1.0).contains(&threshold.probability()));
            }
            if let Ok(random) = text.parse::<Randomness>() {
                prop_assert_eq!(random.to_string(), text);
            }
        }
    }
}
