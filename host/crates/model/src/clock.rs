//! Time: nanoseconds inside, RFC 3339 outside, and a clock that tests can set.

use std::fmt;
use std::str::FromStr;

/// Nanoseconds since 1970-01-01 00:00 UTC, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub i64);

impl fmt::Display for UnixNanos {
    /// RFC 3339 with nanoseconds, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => write!(f, "{time:.9}"),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// Text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no time as RFC 3339 has it, such as 2026-11-22T10:00:00Z")]
pub struct InvalidTime;

impl FromStr for UnixNanos {
    type Err = InvalidTime;

    /// What [`Display`](fmt::Display) writes, and any other time of RFC 3339 that has room in 64 bits.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if let Some(number) = text.strip_suffix(" ns") {
            return number.parse().map(Self).map_err(|_| InvalidTime);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTime)?;
        i64::try_from(time.as_nanosecond()).map(Self).map_err(|_| InvalidTime)
    }
}

impl UnixNanos {
    /// The date, in UTC.
    pub fn date(self) -> String {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default().strftime("%F").to_string()
    }

    /// The time of day with milliseconds, in UTC, for lines that a person reads.
    pub fn time_of_day(self) -> String {
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default();
        time.strftime("%H:%M:%S%.3f").to_string()
    }
}

/// Where the host takes its time from.
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> UnixNanos;

    /// Nanoseconds since some fixed moment; never goes back.
    fn monotonic_nanos(&self) -> u64;

    /// The time at a moment that [`Clock::monotonic_nanos`] gave. Here it is reckoned back from now, by reading the clock twice;
    /// a clock that keeps both in step can tell it without reading, for whoever needs both.
    fn at(&self, monotonic_nanos: u64) -> UnixNanos {
        let since = self.monotonic_nanos().saturating_sub(monotonic_nanos);
        UnixNanos(self.now().0.saturating_sub_unsigned(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written_and_nothing_else_is_one() {
        for nanos in [0, 1, -1, 1_780_000_000_123_456_789, i64::MIN, i64::MAX] {
            let time = UnixNanos(nanos);
            assert_eq!(time.to_string().parse(), Ok(time), "{time}");
        }
        for text in ["", "now", " ns", "2026-11-22", "2026-11-22T10:00:00", "9999-01-01T00:00:00Z"] {
            assert_eq!(text.parse::<UnixNanos>(), Err(InvalidTime), "{text}");
        }
    }
}
