//! Thresholds of metrics: what is declared is compared with what the metrics come to, and the host's alerts follow.
//!
//! On a thread of their own, each metrics interval, so that nobody who records or is called pays for it, and no rollup waits for it. Rules
//! in a language of their own will have their place beside [`Watch::look`], and raise alerts by the same call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::Debugging;
use glasshouse_model::{Clock, Instrument, Signal, Statistic, Threshold, UnixNanos, text};

use crate::alerts::{Alarm, HostAlert, METRIC};
use crate::metrics::Aggregate;
use crate::query::Query;
use crate::reader::Reader;
use crate::rounds::{Round, Rounds};
use crate::store::Store;

/// Thresholds of an extension that are looked at: those that the operator may declare, and as many of a manifest's.
pub(crate) const THRESHOLDS: usize = 2 * Threshold::MOST;
/// Looks in a row by which a value has to be within its limit for the alert to be over, so that one which goes to and fro around its
/// limit is one alert and not many.
const CALM_LOOKS: u32 = 3;
/// How often the thread looks whether anything is due; the shortest metrics interval is a second.
const LOOKS: Duration = Duration::from_millis(500);
/// After a look that took some time an extension waits so many times as long, at least. A manifest may ask for wide windows of very many
/// series at short intervals, and all extensions share the thread: this leaves each the tenth part of it at most.
const REST: u64 = 9;
/// The label that names the threshold which an alert is about, beside its metric.
pub(crate) const THRESHOLD: &str = "threshold";

/// What is declared for an extension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    declared: Arc<[Threshold]>,
    /// How often they are looked at.
    every: Duration,
}

impl Thresholds {
    /// Those that settings declare; what is none was refused where it was read.
    pub(crate) fn of(debugging: &Debugging) -> Self {
        let read = debugging.thresholds.iter().filter_map(|text| text.parse().ok());
        Self { declared: read.take(THRESHOLDS).collect(), every: debugging.metrics_interval }
    }
}

/// Looks at the thresholds of one extension.
#[derive(Default)]
struct Watch {
    /// When it looked last; alerts that an earlier host left are looked at first.
    looked_at: Option<UnixNanos>,
    thresholds: Thresholds,
    /// How many looks in a row each was within its limit.
    calm: HashMap<String, u32>,
    /// When it may look again, in `Clock::monotonic_nanos`.
    rests_until: u64,
}

/// Starts the thread that looks at thresholds.
pub(crate) fn watcher(clock: Arc<dyn Clock>) -> Rounds {
    Rounds::start("thresholds", LOOKS, clock, |_| Box::new(Watch::default()))
}

impl Round for Watch {
    fn go(&mut self, store: &Arc<Store>, clock: &dyn Clock) {
        let began = clock.monotonic_nanos();
        if began >= self.rests_until {
            self.look(store, clock.now());
            let ended = clock.monotonic_nanos();
            self.rests_until = ended.saturating_add(REST * ended.saturating_sub(began));
        }
    }
}

impl Watch {
    /// Looks at all that is declared, if it is time to.
    fn look(&mut self, store: &Arc<Store>, now: UnixNanos) {
        let declared = store.thresholds();
        let is_changed = self.looked_at.is_none() || self.thresholds != declared;
        let since = self.looked_at.map_or(0, |last| now.0.saturating_sub(last.0));
        // A clock that was set back does not stop it.
        let is_due = u128::from(since.unsigned_abs()) >= declared.every.as_nanos();
        if !is_due && !is_changed {
            return;
        }
        self.looked_at = Some(now);
        let recorder = store.recorder();
        if is_changed {
            self.thresholds = declared;
            let names: Vec<_> = self.thresholds.declared.iter().map(ToString::to_string).collect();
            self.calm.retain(|name, _| names.contains(name));
            recorder.recover_thresholds(now, "the threshold is declared no more", |name| {
                !names.iter().any(|declared| declared == name)
            });
        }
        let reader = store.reader(Signal::Metric);
        for threshold in &*self.thresholds.declared {
            let name = threshold.to_string();
            let found = measured(&reader, threshold, now);
            let broken = found.as_ref().filter(|found| threshold.is_broken_by(found.value));
            if let Some(Measured { value, unit }) = broken {
                self.calm.insert(name.clone(), 0);
                let (shown, limit) = (text::quantity(*value, unit), text::quantity(threshold.limit, unit));
                let message = format!(
                    "{} of {} is {shown} over the last {}, {} {limit}; `glasshouse metrics summary 'name=\"{}\"'` shows it",
                    threshold.statistic,
                    threshold.metric,
                    text::duration(threshold.over),
                    if threshold.is_upper { "more than" } else { "less than" },
                    threshold.metric
                );
                let labels = [(METRIC, threshold.metric.as_str()), (THRESHOLD, name.as_str())];
                let (value, threshold) = (Some(*value), Some(threshold.limit));
                let alarm = Alarm {
                    what: HostAlert::MetricThreshold,
                    labels: &labels,
                    message: &message,
                    value,
                    threshold,
                    context: &[],
                };
                recorder.alarm(now, &alarm, None);
                continue;
            }
            let calm = self.calm.entry(name).or_default();
            *calm = calm.saturating_add(1);
            if *calm == CALM_LOOKS {
                let note = found.map_or_else(
                    || "no samples in the window".to_owned(),
                    |found| {
                        format!(
                            "{} now, and within the limit for {CALM_LOOKS} looks",
                            text::quantity(found.value, &found.unit)
                        )
                    },
                );
                let name = threshold.to_string();
                recorder.recover_thresholds(now, &note, |known| known == name);
            }
        }
    }
}

/// What a metric comes to.
struct Measured {
    value: f64,
    unit: String,
}

/// What a threshold is compared with; `None` if there are no samples, or what it asks for is not to be had of them. All series of the metric
/// are taken together, but those of the host's and of the extension's own, of each instrument and unit by themselves, of which the worst
/// counts: so an extension cannot hide what the host measures behind samples of its own.
fn measured(reader: &Reader, threshold: &Threshold, now: UnixNanos) -> Option<Measured> {
    let window = Query::parse(&format!("since {}ms", threshold.over.as_millis()), now).ok()?;
    let query = Query::equal("name", &threshold.metric).ok()?.and(&window);
    let mut together = reader.summary("", &query);
    together.series.iter_mut().for_each(|series| series.labels.clear());
    let together = together.across_extensions();
    let value = |instrument: Instrument, aggregate: &Aggregate| statistic(threshold, instrument, aggregate);
    let found =
        together.series.iter().filter_map(|series| Some((value(series.instrument, &series.aggregate)?, series)));
    let worst =
        found.reduce(|one, other| if (threshold.worse(one.0, other.0) - one.0).abs() > 0.0 { other } else { one });
    worst.map(|(value, series)| {
        let unit = match threshold.statistic {
            Statistic::Count => String::new(),
            Statistic::Rate => "{per second}".to_owned(),
            _ => series.unit.clone(),
        };
        Measured { value, unit }
    })
}

fn statistic(threshold: &Threshold, instrument: Instrument, samples: &Aggregate) -> Option<f64> {
    let seconds = threshold.over.as_secs_f64();
    Some(match threshold.statistic {
        Statistic::Count => samples.count as f64,
        Statistic::Sum => samples.sum,
        Statistic::Rate => match instrument {
            Instrument::Counter => samples.sum / seconds,
            Instrument::Histogram => samples.count as f64 / seconds,
            Instrument::Gauge => return None,
        },
        Statistic::Min => samples.min,
        Statistic::Max => samples.max,
        Statistic::Mean => samples.mean(),
        Statistic::Last => samples.last,
        quantile => samples.quantile(quantile.quantile()?)?,
    })
}
