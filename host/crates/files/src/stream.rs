//! One signal of one extension on its way into log files: how far it was read, and what comes next.

use std::ops::ControlFlow;

use glasshouse_export::Source;
use glasshouse_model::{Signal, UnixNanos};
use glasshouse_telemetry::{Cursor, Entry, GapCause, Order, Page, Query, Reader};

use crate::line::Line;
use crate::told;

/// One signal of one extension.
pub(crate) struct Stream {
    extension: String,
    signal: Signal,
    reader: Reader,
    /// Up to where its lines are in the files.
    done: Place,
    /// Up to where the lines are that are being written.
    taken: Option<Place>,
}

/// How far a stream has got.
#[derive(Clone, Debug)]
struct Place {
    /// The sequence number of the next record.
    next: u64,
    /// The latest time of a line, which no later one is sorted before.
    time: i64,
    /// The place as text.
    cursor: String,
}

/// Takes lines, each with the time that it is sorted by, until it says that it is enough.
pub(crate) trait Take {
    /// Takes a line.
    fn take(&mut self, time: i64, line: &Line);
    /// Whether no more is wanted.
    fn is_full(&self) -> bool;
}

impl Stream {
    /// A signal that goes on where an earlier host's files ended, or else with what was recorded from a time on.
    pub(crate) fn new(source: &Source, signal: Signal, cursor: Option<&Cursor>, since: UnixNanos) -> Self {
        let (extension, reader) = (source.extension().to_owned(), source.reader(signal).clone());
        let next = match cursor {
            // What an incarnation has lost, nobody can write; the gap is told as any other where numbers go on.
            Some(cursor) => reader.resume(cursor).0.min(reader.next_sequence()),
            None => first_since(&reader, since),
        };
        let mut stream =
            Self { extension, signal, reader, done: Place { next, time: 0, cursor: String::new() }, taken: None };
        stream.done.cursor = stream.cursor(next);
        stream
    }

    fn cursor(&self, next: u64) -> String {
        self.reader.cursor(&self.extension, next.saturating_sub(1)).to_string()
    }

    /// Whether a cursor is of this stream.
    pub(crate) fn is_of(source: &Source, signal: Signal, cursor: &Cursor) -> bool {
        cursor.signal == signal && cursor.extension == source.extension()
    }

    /// Records that are still to be written.
    pub(crate) fn behind(&self) -> u64 {
        self.reader.next_sequence().saturating_sub(self.done.next)
    }

    /// The place up to which lines were taken.
    fn at(&self) -> &Place {
        self.taken.as_ref().unwrap_or(&self.done)
    }

    /// Whether there are records whose lines were not taken yet.
    pub(crate) fn has_more(&self) -> bool {
        self.reader.next_sequence() > self.at().next
    }

    /// The place up to which lines are in the files, or are being written.
    pub(crate) fn place(&self, with_taken: bool) -> &str {
        if with_taken { &self.at().cursor } else { &self.done.cursor }
    }

    /// Takes the lines of what comes next, of so many records at most. Returns how many records were gone before.
    pub(crate) fn take(&mut self, lines: &mut dyn Take, limit: usize) -> u64 {
        let (mut next, mut time, mut missed) = (self.at().next, self.at().time, 0);
        let page = self.reader.page(next, limit);
        for entry in &page.entries {
            if lines.is_full() {
                break;
            }
            time = time.max(entry.time().0);
            missed += self.take_gone(lines, time, &page, next..entry.sequence());
            missed += self.take_one(lines, time, entry);
            next = entry.sequence() + 1;
        }
        if !lines.is_full() && page.entries.len() < limit {
            missed += self.take_gone(lines, time, &page, next..page.next_sequence);
            next = next.max(page.next_sequence);
        }
        self.taken = Some(Place { next, time, cursor: self.cursor(next) });
        missed
    }

    fn take_one(&self, lines: &mut dyn Take, time: i64, entry: &Entry) -> u64 {
        let line = told::line(&self.extension, self.signal, entry);
        let number = entry.sequence();
        let unreadable = || told::gone(&self.extension, self.signal, entry.time(), number, number, GapCause::Damaged);
        lines.take(time, line.as_ref().unwrap_or(&unreadable()));
        u64::from(line.is_none())
    }

    /// Tells of the records with these sequence numbers, which are not there.
    fn take_gone(&self, lines: &mut dyn Take, time: i64, page: &Page, numbers: std::ops::Range<u64>) -> u64 {
        for gap in page.gaps.iter().filter(|gap| numbers.contains(&gap.first)) {
            let last = gap.last.min(numbers.end - 1);
            lines.take(time, &told::gone(&self.extension, self.signal, UnixNanos(time), gap.first, last, gap.cause));
        }
        numbers.end.saturating_sub(numbers.start)
    }

    /// The lines that were taken are in the files.
    pub(crate) fn settle(&mut self) {
        self.done = self.taken.take().unwrap_or_else(|| self.done.clone());
    }

    /// They are not: they are taken again.
    pub(crate) fn forget(&mut self) {
        self.taken = None;
    }
}

/// The sequence number of the first record that was made from a time on; the next one, if there is none.
fn first_since(reader: &Reader, since: UnixNanos) -> u64 {
    let mut first = reader.next_sequence();
    reader.candidates(1..u64::MAX, Order::NewestFirst, &Query::all(), &mut |entry| {
        if entry.time() < since {
            return ControlFlow::Break(());
        }
        first = first.min(entry.sequence());
        ControlFlow::Continue(())
    });
    first
}
