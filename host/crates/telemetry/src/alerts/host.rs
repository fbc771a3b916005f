//! What the host raises alerts about by itself.

use std::time::Duration;

use glasshouse_model::{Severity, limits, text, wire};

use super::METRIC;

glasshouse_model::wire::byte_enum! {
    /// An alert that the host raises about an extension.
    HostAlert {
        /// It is over a rate of its budget, so that its calls are spaced.
        Throttled = 0 "budget.throttled",
        /// It asked for more than a rate for so long that it takes no calls.
        Quarantined = 1 "budget.quarantined",
        /// It failed so often in a row that it takes no calls.
        TrapLoop = 2 "trap.loop",
        /// Its memory has grown to most of what it may have.
        MemoryGrowth = 3 "memory.growth",
        /// It has many errors in a short time, of whatever groups.
        ErrorBurst = 4 "errors.burst",
        /// A group of its errors comes far more often than before.
        ErrorsEscalating = 5 "errors.escalating",
        /// A group of its errors was resolved, and came back.
        ErrorsRegressed = 6 "errors.regressed",
        /// What a metric comes to is beyond a limit that is declared for it.
        MetricThreshold = 7 "metric.threshold",
        /// It uses most of what its budget allows.
        Warned = 8 "budget.warned",
    }
}

impl HostAlert {
    /// Those about how an extension stands with its budget. None of them outlives the instance.
    pub const OF_STANDING: &[Self] =
        &[Self::Warned, Self::Throttled, Self::Quarantined, Self::TrapLoop, Self::MemoryGrowth];

    /// Whether there may be one for each group of errors; of the others there are few.
    pub fn is_about_group(self) -> bool {
        matches!(self, Self::ErrorsEscalating | Self::ErrorsRegressed)
    }

    /// How serious it is: critical is what keeps the extension from working.
    pub fn severity(self) -> Severity {
        match self {
            Self::Quarantined | Self::TrapLoop => Severity::Critical,
            Self::ErrorBurst | Self::ErrorsEscalating | Self::ErrorsRegressed => Severity::High,
            Self::Throttled | Self::MemoryGrowth | Self::MetricThreshold => Severity::Medium,
            Self::Warned => Severity::Low,
        }
    }

    /// One line for a person.
    pub fn title(self) -> &'static str {
        match self {
            Self::Warned => "it uses most of what its budget allows",
            Self::Throttled => "over a rate of its budget: its calls are spaced",
            Self::Quarantined => "over a rate of its budget for long: it takes no calls",
            Self::TrapLoop => "it fails call after call: it takes no calls",
            Self::MemoryGrowth => "its memory has grown to most of budget.memory",
            Self::ErrorBurst => "many errors in a short time",
            Self::ErrorsEscalating => "an error comes far more often than before",
            Self::ErrorsRegressed => "an error that was resolved came back",
            Self::MetricThreshold => "a metric is beyond a threshold that is declared for it",
        }
    }
}

/// How long after its last error a burst is over.
pub(crate) const BURST_IS_OVER_AFTER: Duration = Duration::from_mins(5);

/// That the host has found something to raise an alert about.
#[derive(Clone, Copy, Debug)]
pub struct Alarm<'a> {
    /// What it is.
    pub what: HostAlert,
    /// What it is about, in the order of the names.
    pub labels: &'a [(&'a str, &'a str)],
    /// The whole story: figures, and what to do.
    pub message: &'a str,
    /// What was measured.
    pub value: Option<f64>,
    /// The threshold that it passed.
    pub threshold: Option<f64>,
    /// The encoded context of the call that led to it; empty where none did.
    pub context: &'a [u8],
}

impl Alarm<'_> {
    /// The record of it.
    pub(crate) fn record(&self) -> wire::Alert<'_> {
        wire::Alert {
            severity: self.what.severity(),
            kind: self.what.as_str(),
            title: self.what.title(),
            message: text::cut(self.message, limits::MESSAGE_BYTES),
            metric: self.labels.iter().find(|(name, _)| *name == METRIC).map(|(_, metric)| *metric),
            value: self.value,
            threshold: self.threshold,
        }
    }
}
