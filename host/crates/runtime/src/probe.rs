//! Times one in some of the crossings by which a guest tells of itself, to know what debugging costs.

use std::cell::Cell;

use glasshouse_model::{Clock, Level, wire};
use glasshouse_telemetry::{Load, Recorder, TIMED_IN};

/// Chooses the crossings that are timed, at random, so that no pattern of a guest's hides what it costs.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Crossings until the next one that is timed.
    left: Cell<u64>,
}

impl Default for Probe {
    fn default() -> Self {
        Self { left: Cell::new(distance()) }
    }
}

/// Crossings before the next one that is timed: even over what comes to the average, that one included.
fn distance() -> u64 {
    fastrand::u64(0..2 * TIMED_IN - 1)
}

/// When a crossing began that is timed.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed(Option<u64>);

impl Probe {
    /// Begins a crossing. A counter goes down; the clock is read for one in [`TIMED_IN`], on average.
    #[inline]
    pub(crate) fn start(&self, clock: &dyn Clock) -> Timed {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Timed(None)
            }
            None => self.draw(clock),
        }
    }

    #[cold]
    fn draw(&self, clock: &dyn Clock) -> Timed {
        self.left.set(distance());
        Timed(Some(clock.monotonic_nanos()))
    }
}

impl Timed {
    /// Ends the crossing; if it was timed, counts it under its load and gives the time, in `Clock::monotonic_nanos`.
    #[inline]
    pub(crate) fn end(self, clock: &dyn Clock, recorder: &Recorder, load: impl FnOnce() -> Load) -> Option<u64> {
        let began_at = self.0?;
        let at = clock.monotonic_nanos();
        recorder.note_timed(load(), at.saturating_sub(began_at));
        Some(at)
    }
}

/// The load that a log is part of.
pub(crate) fn load_of(level: Level) -> Load {
    match level {
        Level::Trace | Level::Debug => Load::Debug,
        Level::Info => Load::Info,
        _ => Load::Rest,
    }
}

/// The load that a batch is part of: by its first log, since of what else is in it nothing can be shed.
pub(crate) fn load_of_batch(batch: &[u8]) -> Load {
    let records = wire::records(batch).into_iter().flatten().map_while(Result::ok);
    let level =
        records.filter(|(kind, _)| *kind == wire::KIND_LOG).find_map(|(_, body)| Level::from_byte(*body.first()?));
    level.map_or(Load::Rest, load_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn one_crossing_in_so_many_is_timed_and_not_always_the_same_one() {
        const CROSSINGS: u64 = 200_000;
        let (probe, clock) = (Probe::default(), SystemClock::new());
        let timed: Vec<_> = (0..CROSSINGS).filter(|_| probe.start(&clock).0.is_some()).collect();
        let expected = CROSSINGS / TIMED_IN;
        assert!((timed.len() as u64).abs_diff(expected) < expected / 10, "{} of {CROSSINGS}", timed.len());
        let apart: std::collections::BTreeSet<_> = timed.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(apart.len() > 100, "{apart:?}");
    }

    #[test]
    fn a_batch_counts_as_its_first_record() {
        let log = |level, head: &[u8]| {
            let log = wire::Log { level, target: "", message: "", source: None, time: None };
            let mut batch = head.to_owned();
            wire::record(&mut batch, wire::KIND_LOG, |body| wire::write_log(body, &log, format_args!("m"), &[]));
            load_of_batch(&batch)
        };
        for head in [&[wire::VERSION][..], &wire::batched_head(7)] {
            assert_eq!(log(Level::Trace, head), Load::Debug);
            assert_eq!(log(Level::Info, head), Load::Info);
            assert_eq!(log(Level::Error, head), Load::Rest);
        }
        for nonsense in [&[][..], &[9], &[1], &[1, 1], &[1, 1, 0, 0, 0, 0], &[1, 2, 1, 0, 0, 0, 9]] {
            assert_eq!(load_of_batch(nonsense), Load::Rest);
        }
    }
}
