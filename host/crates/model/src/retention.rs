//! How much of each signal is kept in a data directory, and for how long.

use std::time::Duration;

use crate::Signal;

/// How much of an extension's telemetry is kept in a data directory. Without one, `[debugging]` bounds what is kept in
/// memory, but for the ages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of all signals together, files in use and compressed ones alike.
    pub bytes: u64,
    /// What is kept of each signal, by its index.
    pub signals: [SignalRetention; Signal::COUNT],
    /// What is kept of the rollups of metrics: those of a second, of ten seconds, of a minute.
    pub rollups: [SignalRetention; 3],
}

/// How much of one signal is kept; the oldest goes first, a segment at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalRetention {
    /// Bytes of files.
    pub bytes: u64,
    /// How old records may become, about.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        let days = |days: u64| Duration::from_hours(24 * days);
        let kept = |mebibytes: u64, age| SignalRetention { bytes: mebibytes * MIB, age };
        Self {
            bytes: 512 * MIB,
            // Logs, metrics, errors, spans, alerts, invocations: together no more than all.
            signals: [
                kept(128, days(7)),
                kept(64, days(7)),
                kept(64, days(30)),
                kept(128, days(3)),
                kept(32, days(30)),
                kept(64, days(7)),
            ],
            rollups: [kept(16, days(1)), kept(8, days(7)), kept(8, days(30))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_can_have_all_that_it_may() {
        let retention = Retention::default();
        let sum: u64 = retention.signals.iter().chain(&retention.rollups).map(|signal| signal.bytes).sum();
        assert!(sum <= retention.bytes);
    }
}
