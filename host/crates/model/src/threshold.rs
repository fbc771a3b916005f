//! Thresholds of metrics, as a configuration declares them: `p95(response_time) > 250 over 5m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::config::duration_of;
use crate::{limits, text};

glasshouse_wire::byte_enum! {
    /// What of a metric's samples is compared with a threshold.
    Statistic {
        /// Samples.
        Count = 0 "count",
        /// Their sum; of a counter what it grew by.
        Sum = 1 "sum",
        /// By the second: of a counter what it grew by, of a histogram samples; a gauge has none.
        Rate = 2 "rate",
        /// The least.
        Min = 3 "min",
        /// The greatest.
        Max = 4 "max",
        /// The mean.
        Mean = 5 "mean",
        /// The latest.
        Last = 6 "last",
        /// The median; counters have no quantiles.
        P50 = 7 "p50",
        /// The 90th percentile.
        P90 = 8 "p90",
        /// The 95th percentile.
        P95 = 9 "p95",
        /// The 99th percentile.
        P99 = 10 "p99",
        /// The 99.9th percentile.
        P999 = 11 "p99.9",
    }
}

impl Statistic {
    /// The part of the samples that are at or below a quantile; `None` of what is no quantile.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            Self::P999 => Some(0.999),
            _ => None,
        }
    }
}

/// A limit of what a metric comes to, beyond which the host raises an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The metric's name; its series are taken together, whatever their labels.
    pub metric: String,
    /// What of its samples is compared.
    pub statistic: Statistic,
    /// Whether more than the limit is too much; else less is too little.
    pub is_upper: bool,
    /// The limit, in the metric's unit.
    pub limit: f64,
    /// The window that ends now.
    pub over: Duration,
}

impl Threshold {
    /// Thresholds that one source, the operator or a manifest, may declare: each is worked out anew at each metrics interval.
    pub const MOST: usize = 8;
    /// The window where none is named: some metrics intervals, so that a single sample rarely decides.
    const OVER: Duration = Duration::from_mins(5);
    /// The shortest window, which the finest rollups tell, and the longest, after which those of seconds have gone.
    const LEAST_OVER: Duration = Duration::from_secs(1);
    const MOST_OVER: Duration = Duration::from_hours(24);

    /// Whether a value is beyond the limit.
    pub fn is_broken_by(&self, value: f64) -> bool {
        if self.is_upper { value > self.limit } else { value < self.limit }
    }

    /// Which of two values is the worse.
    pub fn worse(&self, one: f64, other: f64) -> f64 {
        if self.is_upper { one.max(other) } else { one.min(other) }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_upper { '>' } else { '<' };
        let over = crate::config::shown_duration(self.over);
        write!(f, "{}({}) {sign} {} over {over}", self.statistic, self.metric, self.limit)
    }
}

impl FromStr for Threshold {
    /// A sentence about what is wrong with it.
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let form = || "write such as p95(response_time) > 250 over 5m".to_owned();
        let (statistic, rest) = given.trim().split_once('(').ok_or_else(form)?;
        let (metric, rest) = rest.split_once(')').ok_or_else(form)?;
        let rest = rest.trim_start();
        let (is_upper, rest) = match (rest.strip_prefix('>'), rest.strip_prefix('<')) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(form()),
        };
        let (limit, over) = match rest.split_once(" over ") {
            Some((limit, over)) => (limit, Some(over.trim())),
            None => (rest, None),
        };
        let statistic = statistic.trim().parse::<Statistic>()?;
        let metric = metric.trim();
        if metric.is_empty() || metric.len() > limits::NAME_BYTES || metric.contains(char::is_control) {
            return Err(format!("a metric's name has 1 to {} bytes, and no control characters", limits::NAME_BYTES));
        }
        let limit = limit.trim();
        let shown = text::visible(limit, 40);
        let number = limit.parse::<f64>().ok().filter(|number| number.is_finite());
        let limit = number.ok_or_else(|| format!("\"{shown}\" is no number: {}", form()))?;
        let over = match over {
            None => Self::OVER,
            Some(over) => {
                let known = duration_of(over).filter(|over| (Self::LEAST_OVER..=Self::MOST_OVER).contains(over));
                known.ok_or_else(|| format!("\"{}\" is no window from 1s to 1d", text::visible(over, 40)))?
            }
        };
        Ok(Self { metric: metric.to_owned(), statistic, is_upper, limit, over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_they_are_shown_and_what_is_none_says_what_would_be() {
        let check = |given: &str, expect: Result<&str, &str>| {
            let read = given.parse::<Threshold>();
            let shown = read.as_ref().map(ToString::to_string);
            assert_eq!(shown.as_deref().map_err(|error| error.as_str()), expect, "{given}");
            if let Ok(threshold) = read {
                assert_eq!(threshold.to_string().parse(), Ok(threshold));
            }
        };
        check("p95(response_time) > 250 over 10m", Ok("p95(response_time) > 250 over 600s"));
        check(" rate( requests )<0.5 ", Ok("rate(requests) < 0.5 over 300s"));
        check("p99.9(a b) > -1e3 over 1h", Ok("p99.9(a b) > -1000 over 1h"));
        let form = "write such as p95(response_time) > 250 over 5m";
        check("response_time > 250", Err(form));
        check("p95(x) = 3", Err(form));
        check("p95(x) > inf", Err(&format!("\"inf\" is no number: {form}")));
        check("p95(x) > 3ms", Err(&format!("\"3ms\" is no number: {form}")));
        check("max() > 3", Err("a metric's name has 1 to 256 bytes, and no control characters"));
        check("max(x) > 3 over 2d", Err("\"2d\" is no window from 1s to 1d"));
        check("max(x) > 3 over soon", Err("\"soon\" is no window from 1s to 1d"));
        assert!("p42(x) > 3".parse::<Threshold>().is_err_and(|error| error.contains("p99.9")));
    }

    #[test]
    fn what_is_beyond_the_limit_breaks_it_and_the_limit_itself_does_not() {
        let upper: Threshold = "max(x) > 3".parse().expect("a threshold");
        let lower: Threshold = "min(x) < 3".parse().expect("a threshold");
        assert!(upper.is_broken_by(3.1) && !upper.is_broken_by(3.0) && !upper.is_broken_by(2.0));
        assert!(lower.is_broken_by(2.9) && !lower.is_broken_by(3.0) && !lower.is_broken_by(4.0));
        assert!(
            (upper.worse(1.0, 2.0) - 2.0).abs() < f64::EPSILON && (lower.worse(1.0, 2.0) - 1.0).abs() < f64::EPSILON
        );
    }
}
