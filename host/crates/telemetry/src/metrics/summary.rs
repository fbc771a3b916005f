//! What the samples of a window of time come to, by series.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use glasshouse_model::{Instrument, Origin, UnixNanos};

use super::Aggregate;
use super::gather::Gathered;
use super::holes::{Hole, Left};
use super::rollup::{StoredRun, Tier};
use crate::query::{Needs, Order, Query};
use crate::reader::Reader;
use crate::view::Stop;

/// Names and values, in order.
pub type Labels = Vec<(String, String)>;

/// What samples come to over a window of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The start of the window, included: as the query has it, or else the time of the first sample or the start of the rollup that has
    /// it; `None` if there is neither.
    pub since: Option<UnixNanos>,
    /// The end of the window, not included but for the last sample's own time, if the query gives none.
    pub until: Option<UnixNanos>,
    /// By extension, name, labels, unit, instrument and origin.
    pub series: Vec<SeriesSummary>,
    /// Samples that were looked at one by one.
    pub samples: u64,
    /// Rollups that were looked at, by [`Tier`].
    pub rollups: [u64; Tier::COUNT],
    /// What the edges of the window are good to, where neither samples nor shorter rollups are there any more: a rollup counts as a whole
    /// where it starts. `None` if they are exact.
    pub edge: Option<Tier>,
    /// Samples that came too fast: they had to go before they were rolled up, and are in no figure.
    pub missed: u64,
}

/// What the samples of a series come to. A series is told by its extension, name, labels, unit, instrument and origin.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSummary {
    /// The extension's id; `None` where several were put together.
    pub extension: Option<String>,
    /// The metric's name.
    pub name: String,
    /// Its labels, by name.
    pub labels: Labels,
    /// A UCUM code, or empty.
    pub unit: String,
    /// What its values mean.
    pub instrument: Instrument,
    /// Who recorded it: what the host measures of an extension can have the same name as the extension's own.
    pub origin: Origin,
    /// What its samples come to.
    pub aggregate: Aggregate,
}

impl SeriesSummary {
    fn key(&self) -> impl Ord + PartialEq + '_ {
        (&self.extension, &self.name, &self.labels, &self.unit, self.instrument, self.origin)
    }

    /// Whether it is the same series.
    pub fn is_same_series(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// Sorts, and merges what is of one series.
    pub(super) fn put_in_order(all: &mut Vec<Self>) {
        all.sort_by(|one, other| one.key().cmp(&other.key()));
        all.dedup_by(|later, kept| {
            let same = later.key() == kept.key();
            if same {
                kept.aggregate.merge(&later.aggregate);
            }
            same
        });
    }
}

impl Summary {
    /// How many rollups of each length it is made of, the longest first; of those that it is made of.
    pub fn rolled(&self) -> impl Iterator<Item = (Tier, u64)> {
        Tier::ALL.iter().copied().zip(self.rollups).rev().filter(|(_, runs)| *runs > 0)
    }

    /// How long the window is; `None` if it has no length.
    pub fn window(&self) -> Option<Duration> {
        let nanos = self.until?.0.checked_sub(self.since?.0).filter(|nanos| *nanos > 0)?;
        Some(Duration::from_nanos(nanos as u64))
    }

    /// What a series comes to in each second of the window: of a counter what it grew by, of a histogram how many samples; `None` of a
    /// gauge, and of a window without length.
    pub fn rate(&self, series: &SeriesSummary) -> Option<f64> {
        let seconds = self.window()?.as_secs_f64();
        match series.instrument {
            Instrument::Counter => Some(series.aggregate.sum / seconds),
            Instrument::Histogram => Some(series.aggregate.count as f64 / seconds),
            Instrument::Gauge => None,
        }
    }

    /// Adds the summary of another extension, or of a window that follows this one.
    pub fn merge(&mut self, other: Self) {
        self.since = self.since.into_iter().chain(other.since).min();
        self.until = self.until.max(other.until);
        self.samples += other.samples;
        self.missed += other.missed;
        self.edge = self.edge.max(other.edge);
        for (mine, its) in self.rollups.iter_mut().zip(other.rollups) {
            *mine += its;
        }
        self.series.extend(other.series);
        SeriesSummary::put_in_order(&mut self.series);
    }

    /// The same with the series of all extensions together: those that are the same but for the extension become one.
    #[must_use]
    pub fn across_extensions(mut self) -> Self {
        for series in &mut self.series {
            series.extension = None;
        }
        SeriesSummary::put_in_order(&mut self.series);
        self
    }
}

/// The window that is asked for.
#[derive(Clone, Copy)]
struct Window {
    since: i64,
    until: i64,
}

impl Window {
    fn of(query: &Query) -> Self {
        let since = query.since().map_or(i64::MIN, |since| since.0);
        Self { since, until: query.until().map_or(i64::MAX, |until| until.0) }
    }

    fn holds(self, time: i64) -> bool {
        (self.since..self.until).contains(&time)
    }
}

/// Where a summary is made from.
struct Sources<'r> {
    rollups: [&'r Reader; Tier::COUNT],
    window: Window,
    /// The samples that there are.
    kept: Range<u64>,
}

impl Reader {
    /// What the metric samples come to that a query asks for, by series: from the longest rollups that lie in its window, from shorter ones
    /// and samples at its edges, and from samples alone if it asks for more than which series. Its limit and order mean nothing here.
    pub fn summary(&self, extension: &str, query: &Query) -> Summary {
        /// Samples that go while they are read may be told of by rollups then; a ring that is turned over faster than it is read
        /// stays a guess.
        const TRIES: usize = 3;
        let mut tries = 1;
        loop {
            let view = self.view();
            let kept = view.oldest_sequence()..view.next_sequence;
            let oldest = kept.start;
            let summary = self.summary_from(extension, query, kept);
            if tries == TRIES || self.view().oldest_sequence() == oldest {
                return summary;
            }
            tries += 1;
        }
    }

    fn summary_from(&self, extension: &str, query: &Query, kept: Range<u64>) -> Summary {
        let mut gathered = Gathered::new(extension, query);
        let mut summary = Summary::default();
        let window = Window::of(query);
        let mut holes = vec![Hole { sequences: 1..u64::MAX, times: window.since..window.until }];
        let rollups = Tier::ALL.iter().map(|tier| self.rollups(*tier)).collect::<Option<Vec<_>>>();
        if let Some(Ok(rollups)) = rollups.filter(|_| query.is_of_series()).map(<[&Self; Tier::COUNT]>::try_from) {
            let sources = Sources { rollups, window, kept };
            for tier in Tier::ALL.iter().rev() {
                let edges = sources.edges(*tier);
                let fill = |hole: &Hole| sources.fill(*tier, hole, &edges, &mut gathered, &mut summary);
                holes = holes.iter().flat_map(fill).collect();
            }
        }
        let needs = Needs { since: query.since(), until: query.until(), ..Needs::nothing() };
        for hole in holes {
            self.visit(self.view(), hole.sequences, Order::OldestFirst, &needs, &mut |entry| {
                gathered.add_sample(&entry);
                ControlFlow::Continue(())
            });
        }
        let (first, last) = gathered.times.unzip();
        summary.since = query.since().or(first);
        summary.until = query.until().or(last);
        summary.samples = gathered.samples;
        summary.series = gathered.finish();
        summary
    }
}

impl Sources<'_> {
    /// Adds what the runs of a tier tell of a hole, and returns what is left of it. Runs that an edge of the window lies in are left to
    /// finer ones or to samples, where these are there.
    fn fill(
        &self,
        tier: Tier,
        hole: &Hole,
        edges: &[Range<u64>],
        gathered: &mut Gathered<'_>,
        summary: &mut Summary,
    ) -> Vec<Hole> {
        let Window { since, until } = self.window;
        let mut left = Left::of(hole.clone());
        self.runs(tier, hole, &mut |run| {
            let end = run.start.saturating_add(tier.nanos());
            // What was missed before it is nowhere else.
            let told = run.from - run.missed..run.to;
            let is_inside = run.start >= since && end <= until;
            let is_outside = end <= since || run.start >= until;
            if !is_inside && !is_outside && are_told(run, edges) {
                return left.pass_over(told, run.start..end);
            }
            if !left.tell(told) || is_outside || !self.window.holds(run.start) {
                return;
            }
            // At an edge that nothing finer tells of, a run counts where it starts, so that windows side by side add up.
            if !is_inside {
                summary.edge = summary.edge.max(Some(tier));
            }
            summary.missed += run.missed;
            summary.rollups[tier as usize] += 1;
            gathered.add_run(run);
        });
        left.finish()
    }

    /// Visits the runs of a tier that have samples of a hole, in order.
    fn runs(&self, tier: Tier, hole: &Hole, visit: &mut dyn FnMut(&StoredRun<'_>)) {
        let Range { start: from, end: to } = hole.sequences;
        let mut first = Some(1);
        if from > 1 {
            // Mostly it is the end of the ring that is looked at.
            first = None;
            self.visit(tier, 1, Order::NewestFirst, &hole.times, &mut |at, run| {
                if run.to <= from {
                    return ControlFlow::Break(Stop::Enough);
                }
                first = Some(at);
                ControlFlow::Continue(())
            });
        }
        let Some(first) = first else { return };
        self.visit(tier, first, Order::OldestFirst, &hole.times, &mut |_, run| {
            if run.from >= to {
                return ControlFlow::Break(Stop::Enough);
            }
            if run.to > from {
                visit(run);
            }
            ControlFlow::Continue(())
        });
    }

    /// Visits the runs of a tier that are of these times, or shortly before and after, with their numbers in their ring.
    fn visit(
        &self,
        tier: Tier,
        first: u64,
        order: Order,
        times: &Range<i64>,
        visit: &mut dyn FnMut(u64, &StoredRun<'_>) -> ControlFlow<Stop>,
    ) {
        // The edges may lie in runs, and those outside tell where the samples of the window are.
        let around = 2 * tier.nanos();
        let since = UnixNanos(times.start.saturating_sub(around));
        let until = UnixNanos(times.end.saturating_add(around));
        let needs = Needs { since: Some(since), until: Some(until), ..Needs::nothing() };
        let rollups = self.rollups[tier as usize];
        rollups.visit(rollups.view(), first..u64::MAX, order, &needs, &mut |entry| {
            let run = StoredRun::decode(entry.frame.body(entry.chunk.bytes()), entry.frame.time);
            // What is damaged is told of by finer ones, or by the samples.
            run.map_or(ControlFlow::Continue(()), |run| visit(entry.sequence(), &run))
        });
    }

    /// Samples that something finer tells of where an edge of the window can lie in a run of a tier: in a row each, and each from one
    /// source, the samples themselves or the rollups of a finer tier.
    fn edges(&self, tier: Tier) -> Vec<Range<u64>> {
        let mut told = vec![self.kept.clone()];
        let Window { since, until } = self.window;
        // What starts at an edge does not lie on both sides of it, nor does anything of a window without one.
        let is_in_a_run = |edge: &i64| *edge != i64::MAX && tier.start(*edge) != *edge;
        for edge in [since, until].into_iter().filter(is_in_a_run) {
            let start = tier.start(edge);
            let all = Hole { sequences: 1..u64::MAX, times: start..start.saturating_add(tier.nanos()) };
            for finer in Tier::ALL.iter().take_while(|finer| **finer < tier) {
                let mut row = 0..0;
                self.runs(*finer, &all, &mut |run| {
                    if run.from == row.end {
                        row.end = run.to;
                    } else {
                        told.push(std::mem::replace(&mut row, run.from..run.to));
                    }
                });
                told.push(row);
            }
        }
        told
    }
}

/// Whether all samples of a run are in one of these rows.
fn are_told(run: &StoredRun<'_>, rows: &[Range<u64>]) -> bool {
    rows.iter().any(|row| row.start <= run.from && run.to <= row.end)
}
