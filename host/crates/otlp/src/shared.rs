//! What the loops of all services share, and others look at: how far each line came, and how it goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glasshouse_export::Source;
use glasshouse_model::config::OtlpSettings;
use glasshouse_model::{Clock, Signal, UnixNanos};
use tokio::time::Instant;

use crate::report::{Counts, Refused, Report, ServiceReport};

/// How long it is shown that records were refused, unless more are or some are taken: what refused one request long ago may be mended, and
/// where nothing comes any more nothing says so.
const REFUSED_SHOWN: Duration = Duration::from_hours(1);

/// What is pushed of a signal of an extension.
pub(crate) struct Line {
    pub(crate) source: Source,
    pub(crate) signal: Signal,
    /// Which of the services takes it.
    pub(crate) lane: usize,
    place: Mutex<Spot>,
}

/// How far a line came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// The sequence number of what is next.
    pub(crate) next: u64,
    /// Where what was pushed ends.
    pub(crate) until: Option<UnixNanos>,
    /// Whether it is known how far an earlier host came. It is not pushed before.
    pub(crate) is_known: bool,
}

pub(crate) struct Shared {
    pub(crate) settings: Arc<OtlpSettings>,
    /// Those of one extension one after the other.
    pub(crate) lines: Vec<Line>,
    pub(crate) clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    report: Report,
    /// Lines whose last request was refused, and when.
    refused: BTreeMap<usize, (Instant, Refused)>,
}

impl Line {
    pub(crate) fn new(source: Source, signal: Signal, lane: usize) -> Self {
        let next = source.reader(signal).evicted() + 1;
        Self { source, signal, lane, place: Mutex::new(Spot { next, until: None, is_known: true }) }
    }

    pub(crate) fn spot(&self) -> Spot {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, spot: Spot) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = spot;
    }

    /// Whether it is known how far an earlier host came with it.
    pub(crate) fn is_known(&self) -> bool {
        self.spot().is_known
    }

    /// Whether it is this extension's.
    pub(crate) fn is_of(&self, extension: &str) -> bool {
        self.source.extension() == extension
    }
}

impl Shared {
    pub(crate) fn new(
        settings: Arc<OtlpSettings>,
        lines: Vec<Line>,
        services: Vec<ServiceReport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State { report: Report { services, ..Report::default() }, ..State::default() };
        Self { settings, lines, clock, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is shown.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.state().report)
    }

    /// Whether it is known of all lines how far an earlier host came with them.
    pub(crate) fn is_all_known(&self) -> bool {
        self.lines.iter().all(Line::is_known)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().report.counts
    }

    /// Records that are still to be sent.
    pub(crate) fn waiting(&self) -> u64 {
        let of = |line: &Line| line.source.reader(line.signal).next_sequence().saturating_sub(line.spot().next);
        self.lines.iter().map(of).sum()
    }

    /// Notes that a line's request was refused.
    pub(crate) fn refused(&self, index: usize, why: &str) {
        let (now, line) = (self.clock.now(), &self.lines[index]);
        let mut state = self.state();
        let since = state.refused.get(&index).map_or(now, |(_, before)| before.since);
        let (extension, signal) = (line.source.extension().to_owned(), line.signal);
        let refused = Refused { extension, signal, lane: line.lane, since, why: why.to_owned() };
        state.refused.insert(index, (Instant::now(), refused));
    }

    /// Notes that a line's request was taken.
    pub(crate) fn taken(&self, index: usize) {
        self.state().refused.remove(&index);
    }

    pub(crate) fn report(&self) -> Report {
        let waiting = self.waiting();
        let mut state = self.state();
        state.refused.retain(|_, (at, _)| at.elapsed() < REFUSED_SHOWN);
        let refused = state.refused.values().map(|(_, refused)| refused.clone()).collect();
        Report { refused, waiting, ..state.report.clone() }
    }
}
