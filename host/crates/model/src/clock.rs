//! Time: nanoseconds inside, RFC 3339 outside, and a clock that tests can set.

use std::fmt;

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
