//! What of its records an extension need not even make: whoever asks before it makes one spares both sides the rest.

use std::sync::atomic::Ordering;

use glasshouse_model::{Aspect, Level, Signal};

use crate::store::{Drop, Recorder};

/// Which records of an extension are stored, if only some of them. What is not among them need not be made, and is not counted
/// if it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The least level of logs; `None` if there are to be none.
    pub logs: Option<Level>,
    /// Samples of metrics.
    pub metrics: bool,
    /// Errors.
    pub errors: bool,
    /// Spans, or only those that fail or whose call fails or is slow: which a span will be, nobody knows when it starts.
    pub spans: bool,
    /// Alerts.
    pub alerts: bool,
    /// Logs of each aspect, by index; of security events whatever their level, since none of them is ever left out to save time.
    pub aspects: [bool; Aspect::COUNT],
}

impl Recorder {
    /// Which records are stored at this moment in that encoded context.
    pub fn wanted(&self, context: &[u8]) -> Wanted {
        let logs = self.is_enabled(Signal::Log);
        Wanted {
            logs: logs.then(|| self.least_level(context)),
            metrics: self.is_enabled(Signal::Metric),
            errors: self.is_enabled(Signal::Error),
            spans: self.keeps_failed_spans(),
            alerts: self.is_enabled(Signal::Alert),
            aspects: std::array::from_fn(|index| logs && self.gates().loggers.is_watched(Aspect::ALL[index])),
        }
    }

    /// The least level of which some logs are stored, if logs are.
    fn least_level(&self, context: &[u8]) -> Level {
        let gates = self.gates();
        let level = Level::from_byte(gates.log_level.load(Ordering::Relaxed)).unwrap_or(Level::Info);
        level.max(gates.sampling.least_level(context))
    }

    /// Whether an aspect is watched.
    pub fn is_watched(&self, aspect: Aspect) -> bool {
        self.gates().loggers.is_watched(aspect)
    }

    /// Whether what the host has to tell of an aspect is to be stored; if not, that is counted.
    pub fn admit_aspect(&self, aspect: Aspect) -> bool {
        let watched = self.is_watched(aspect);
        if !watched {
            self.dropped(Drop::Off);
        }
        watched
    }

    /// Whether spans that failed are stored: where not all spans are, they belong to what went wrong.
    #[inline]
    pub(crate) fn keeps_failed_spans(&self) -> bool {
        self.is_enabled(Signal::Span) || self.is_enabled(Signal::Error)
    }

    /// Whether a span that failed is to be stored; a drop is counted.
    #[inline]
    pub fn admit_failed_span(&self) -> bool {
        let kept = self.keeps_failed_spans();
        if !kept {
            self.dropped(Drop::Off);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glasshouse_model::settings::{Debugging, Settings};
    use glasshouse_model::{Context, TraceId};

    use super::*;
    use crate::{Store, StoreSettings};

    #[test]
    fn what_is_off_is_not_wanted_and_failed_spans_are_while_errors_are() {
        let all = Wanted {
            logs: Some(Level::Debug),
            metrics: true,
            errors: true,
            spans: true,
            alerts: true,
            aspects: [true; Aspect::COUNT],
        };
        let check = |change: fn(&mut Debugging), expect: Wanted| {
            let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
            assert_eq!(store.recorder().wanted(&[]), all);
            let mut settings = Settings::default();
            change(&mut settings.debugging);
            store.apply(&StoreSettings::new(&settings));
            let (recorder, mut context) = (store.recorder(), Vec::new());
            let sampling = recorder.sample_root(TraceId::default(), None);
            Context { sampling, ..Context::default() }.encode(&mut context);
            assert_eq!(recorder.wanted(&context), expect);
        };
        check(|debugging| debugging.log_level = Level::Warning, Wanted { logs: Some(Level::Warning), ..all });
        check(|debugging| debugging.log_levels = vec!["db=trace".into()], Wanted { logs: Some(Level::Trace), ..all });
        check(|debugging| debugging.sampling_rate = 0.0, Wanted { logs: Some(Level::Warning), ..all });
        check(|debugging| debugging.metrics_enabled = false, Wanted { metrics: false, ..all });
        check(|debugging| debugging.alerting_enabled = false, Wanted { alerts: false, ..all });
        check(|debugging| debugging.error_tracking_enabled = false, Wanted { errors: false, spans: false, ..all });
        check(
            |debugging| {
                debugging.error_tracking_enabled = false;
                debugging.tracing_enabled = true;
            },
            Wanted { errors: false, ..all },
        );
        check(
            |debugging| debugging.logging_enabled = false,
            Wanted { logs: None, aspects: [false; Aspect::COUNT], ..all },
        );
        let mut aspects = all.aspects;
        aspects[Aspect::Database as usize] = false;
        check(|debugging| debugging.aspects[Aspect::Database as usize] = false, Wanted { aspects, ..all });
    }
}
