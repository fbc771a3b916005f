//! Iterators that tell how far they came.

use std::fmt;
use std::panic::Location;

use glasshouse_wire::{self as wire, Field, Level, Source, Value};

use crate::{enabled, log};

/// The logger of progress.
const LOGGER: &str = "glasshouse.progress";

/// Items between two reports, unless [`Progress::every`] says another number: seldom enough for loops of millions.
const EVERY: u64 = 1_000;

/// Lets any iterator tell how far it came.
pub trait ReportProgress: Iterator + Sized {
    /// Tells of progress under a name: after each thousand items (see [`Progress::every`]), and how it ended.
    ///
    /// A report is a log of the logger `glasshouse.progress` at level debug (see [`Progress::level`]), in the file and line of this
    /// call, with the fields `progress.name`, `progress.count`, `progress.state` (`under way`, `done`, or `left` if the iterator was
    /// dropped before its end), and, where the number of all items is known, `progress.total` and `progress.percent`.
    ///
    /// An item costs an addition and a comparison; whether the level is on is asked for a report only.
    ///
    /// ```
    /// use glasshouse_sdk::ReportProgress;
    ///
    /// let sum: u64 = (1..=1000_u64).progress("add up").every(250).sum();
    /// assert_eq!(sum, 500_500);
    /// ```
    #[track_caller]
    fn progress(self, name: &str) -> Progress<'_, Self> {
        let place = Location::caller();
        Progress {
            items: self,
            name,
            level: Level::Debug,
            every: EVERY,
            next_report: EVERY,
            count: 0,
            has_ended: false,
            source: Source { file: place.file(), line: place.line() },
        }
    }
}

impl<I: Iterator> ReportProgress for I {}

/// An iterator that tells how far it came; see [`ReportProgress::progress`].
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is consumed"]
pub struct Progress<'a, I: Iterator> {
    items: I,
    name: &'a str,
    level: Level,
    every: u64,
    /// The count at which the next report is due.
    next_report: u64,
    count: u64,
    has_ended: bool,
    source: Source<'static>,
}

/// Where an iteration stands.
#[derive(Clone, Copy)]
enum State {
    UnderWay,
    Done,
    Left,
}

impl<I: Iterator> Progress<'_, I> {
    /// Tells after each so many items; with 0 only how it ended.
    pub fn every(mut self, items: u64) -> Self {
        self.every = items;
        self.next_report = if items == 0 { u64::MAX } else { self.count.saturating_add(items) };
        self
    }

    /// The level of its logs.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    #[cold]
    fn report(&mut self, state: State) {
        self.next_report = self.count.saturating_add(self.every);
        if !enabled(self.level) {
            return;
        }
        let total = match (state, self.items.size_hint()) {
            (State::Done, _) => Some(self.count),
            (_, (least, Some(most))) if least == most => Some(self.count.saturating_add(least as u64)),
            _ => None,
        };
        let number = |number: u64| i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer);
        let word = match state {
            State::UnderWay => "under way",
            State::Done => "done",
            State::Left => "left",
        };
        let percent = match total {
            Some(total) if total > 0 => (u128::from(self.count) * 100 / u128::from(total)) as u64,
            _ => 100,
        };
        let fields = [
            Field { name: "progress.name", value: Value::Text(self.name) },
            Field { name: "progress.state", value: Value::Text(word) },
            Field { name: "progress.count", value: number(self.count) },
            Field { name: "progress.total", value: number(total.unwrap_or(0)) },
            Field { name: "progress.percent", value: number(percent) },
        ];
        let known = if total.is_some() { &fields[..] } else { &fields[..3] };
        let send = |message: fmt::Arguments<'_>| {
            log::send_log(self.level, |body, time| {
                let log = wire::Log { level: self.level, target: LOGGER, message: "", source: Some(self.source), time };
                wire::write_log(body, &log, message, known);
            });
        };
        let (name, count) = (self.name, self.count);
        match (state, total) {
            (State::Done, _) => send(format_args!("{name}: done, {count}")),
            (State::Left, Some(total)) => send(format_args!("{name}: left after {count} of {total}")),
            (State::Left, None) => send(format_args!("{name}: left after {count}")),
            (State::UnderWay, Some(total)) => send(format_args!("{name}: {count} of {total}")),
            (State::UnderWay, None) => send(format_args!("{name}: {count}")),
        }
    }
}

impl<I: Iterator> Iterator for Progress<'_, I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        let item = self.items.next();
        if item.is_some() {
            self.count += 1;
            if self.count == self.next_report {
                self.report(State::UnderWay);
            }
        } else if !self.has_ended {
            self.has_ended = true;
            self.report(State::Done);
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for Progress<'_, I> {}

impl<I: Iterator> Drop for Progress<'_, I> {
    fn drop(&mut self) {
        if !self.has_ended && self.count > 0 {
            // Who knows the number of items need not ask for one more.
            let is_done = self.items.size_hint() == (0, Some(0));
            self.report(if is_done { State::Done } else { State::Left });
        }
    }
}
