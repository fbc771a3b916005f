//! Why an extension stands as it does: figures, budget and window.

use std::fmt;
use std::time::Duration;

use crate::text;

/// What speaks for a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of thing happened.
    pub cause: Cause,
    /// The key of the budget, such as `budget.fuel_per_call`.
    pub budget: &'static str,
    /// What was used: units of fuel, nanoseconds, bytes or failures. For a rate, in the window.
    pub used: u64,
    /// What may be used, in the same unit.
    pub limit: u64,
    /// The last failure, where failures are the cause.
    pub detail: String,
}

/// What led to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What one call used.
    Call,
    /// What was used in a window of time.
    Rate {
        /// The window.
        window: Duration,
    },
    /// Failures in a row.
    Failures,
    /// The call after a quarantine failed.
    ProbeFailed,
    /// It asked for more than its rate for long, although its calls were spaced.
    Throttled {
        /// For how long.
        length: Duration,
        /// The rate's window.
        window: Duration,
    },
}

impl Evidence {
    /// The part of the limit that was used, in thousandths.
    pub fn share_permille(&self) -> u64 {
        let share = u128::from(self.used) * 1000 / u128::from(self.limit.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// The part of the limit that was used, in percent.
    pub fn share_percent(&self) -> u64 {
        self.share_permille() / 10
    }

    /// The window, where a rate is the cause.
    pub fn window(&self) -> Option<Duration> {
        match self.cause {
            Cause::Rate { window } | Cause::Throttled { window, .. } => Some(window),
            _ => None,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, budget) = (self.share_percent(), self.budget);
        let amount = |amount: u64| match budget {
            "budget.fuel_per_call" | "budget.fuel_per_second" => text::short_count(amount),
            "budget.memory" => text::bytes(amount),
            _ => text::duration(Duration::from_nanos(amount)),
        };
        let (used, limit) = (amount(self.used), amount(self.limit));
        match self.cause {
            Cause::Call => match budget {
                "budget.fuel_per_call" => write!(f, "a call used {used} of fuel, {share} % of {budget} ({limit})"),
                "budget.deadline" => write!(f, "a call took {used}, {share} % of {budget} ({limit})"),
                _ => write!(f, "it has {used} of memory, {share} % of {budget} ({limit})"),
            },
            Cause::Rate { window } | Cause::Throttled { window, .. } => {
                if let Cause::Throttled { length, .. } = self.cause {
                    write!(f, "throttled for {} without an end: ", text::duration(length))?;
                }
                let what = if budget == "budget.cpu_share" { "CPU" } else { "fuel" };
                let window = text::duration(window);
                write!(f, "{used} of {what} in {window}, {share} % of {budget} ({limit} in {window})")
            }
            Cause::Failures => write!(f, "{} failures in a row, the last one: {}", self.used, self.detail),
            Cause::ProbeFailed => write!(f, "the probe failed: {}", self.detail),
        }
    }
}
