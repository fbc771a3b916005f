//! Which metrics and sets of labels an extension has: a bounded table that outlives its instances.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use glasshouse_model::limits;
use glasshouse_model::settings::TelemetryBudget;

/// Series that are recognised without the table's lock, a power of two: eight lines of the processor's cache, for more series
/// than most extensions sample by turns.
const RECENT: usize = 64;

/// Where a sample belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the series of its labels.
    Own,
    /// In its metric's overflow series: the metric has too many sets of labels.
    Overflow,
    /// Nowhere: there are too many metrics.
    None,
}

/// The series of an extension, known by keyed hashes of 64 bits, whose key no guest can learn: what collides is taken for
/// known, which happens once in some billions of series.
pub(crate) struct Series {
    metrics: AtomicU32,
    per_metric: AtomicU32,
    keys: RandomState,
    recent: [AtomicU64; RECENT],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// How many sets of labels each metric has.
    metrics: HashMap<u64, u32>,
    /// Sets of labels, with their metric's name.
    sets: HashSet<u64>,
}

impl Series {
    pub(crate) fn new(budget: &TelemetryBudget) -> Self {
        Self {
            metrics: AtomicU32::new(budget.metrics),
            per_metric: AtomicU32::new(budget.series_per_metric),
            keys: RandomState::new(),
            recent: std::array::from_fn(|_| AtomicU64::new(0)),
            known: Mutex::default(),
        }
    }

    /// Sets the bounds. What is known stays known.
    pub(crate) fn apply(&self, budget: &TelemetryBudget) {
        self.metrics.store(budget.metrics, Ordering::Relaxed);
        self.per_metric.store(budget.series_per_metric, Ordering::Relaxed);
    }

    /// How many metrics there may be, and sets of labels of each.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        (self.metrics.load(Ordering::Relaxed), self.per_metric.load(Ordering::Relaxed))
    }

    /// How many metrics are known, and sets of labels of the one that has the most.
    pub(crate) fn known(&self) -> (u64, u64) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (known.metrics.len() as u64, known.metrics.values().copied().max().unwrap_or(0).into())
    }

    /// The place of a sample: `identity` is all of it but its instrument and value, as it is encoded. Two orders of the same
    /// labels are two series.
    #[inline]
    pub(crate) fn place(&self, name: &str, identity: &[u8], labelled: bool) -> Place {
        let series = self.keys.hash_one(identity);
        let recent = &self.recent[series as usize % RECENT];
        if recent.load(Ordering::Relaxed) == series {
            return Place::Own;
        }
        let place = self.look_up(name, series, labelled);
        if place == Place::Own {
            recent.store(series, Ordering::Relaxed);
        }
        place
    }

    #[cold]
    fn look_up(&self, name: &str, series: u64, labelled: bool) -> Place {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { metrics, sets } = &mut *known;
        let is_room = metrics.len() < self.metrics.load(Ordering::Relaxed) as usize;
        let count = match metrics.entry(self.keys.hash_one(name)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if is_room => entry.insert(0),
            Entry::Vacant(_) => return Place::None,
        };
        if !labelled || sets.contains(&series) {
            return Place::Own;
        }
        if *count >= self.per_metric.load(Ordering::Relaxed) || sets.len() >= limits::SERIES {
            return Place::Overflow;
        }
        *count += 1;
        sets.insert(series);
        Place::Own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: u32, series_per_metric: u32) -> Series {
        Series::new(&TelemetryBudget { metrics, series_per_metric, ..TelemetryBudget::default() })
    }

    fn place(series: &Series, name: &str, label: u32) -> Place {
        series.place(name, format!("{name} {label}").as_bytes(), true)
    }

    #[test]
    fn surplus_sets_of_labels_overflow_and_known_ones_never_do() {
        let series = series(10, 200);
        for _ in 0..2 {
            for label in 0..200 {
                assert_eq!(place(&series, "calls", label), Place::Own);
            }
            for label in 200..1000 {
                assert_eq!(place(&series, "calls", label), Place::Overflow);
            }
            assert_eq!(series.place("calls", b"calls", false), Place::Own, "without labels there is one series only");
        }
        assert_eq!(place(&series, "depth", 0), Place::Own, "another metric has its own sets");
    }

    #[test]
    fn surplus_metrics_have_no_place() {
        let series = series(3, 10);
        for number in 0..3 {
            assert_eq!(place(&series, &format!("metric-{number}"), 0), Place::Own);
        }
        assert_eq!(place(&series, "metric-3", 0), Place::None);
        assert_eq!(series.place("metric-3", b"metric-3", false), Place::None);
        assert_eq!(place(&series, "metric-2", 1), Place::Own);
    }

    #[test]
    fn all_metrics_together_have_no_more_sets_than_the_limit() {
        let series = series(20_000, 20_000);
        for number in 0..limits::SERIES as u32 {
            assert_eq!(place(&series, &format!("metric-{}", number % 7), number), Place::Own);
        }
        assert_eq!(place(&series, "metric-1", u32::MAX), Place::Overflow);
        let known = series.known.lock().expect("nobody panicked");
        assert_eq!((known.metrics.len(), known.sets.len()), (7, limits::SERIES));
    }

    #[test]
    fn what_is_known_stays_known_when_the_bounds_are_lowered() {
        let series = series(10, 10);
        assert_eq!(place(&series, "calls", 1), Place::Own);
        series.apply(&TelemetryBudget { metrics: 1, series_per_metric: 1, ..TelemetryBudget::default() });
        assert_eq!(place(&series, "calls", 1), Place::Own);
        assert_eq!(place(&series, "calls", 2), Place::Overflow);
        assert_eq!(place(&series, "depth", 1), Place::None);
    }
}
