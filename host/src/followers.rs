//! Those who follow a signal over the API: what is new, so much at a time.

use glasshouse_export::LogLines;
use glasshouse_model::Signal;
use glasshouse_server::api::{Gap, Problem};
use glasshouse_server::{Follower, News, What};
use glasshouse_telemetry::{Query, Reader};

use crate::pages::{cursor, json, memory_lost};

/// Records that a follower reads at a time, at most.
const FOLLOWED: usize = 1000;
/// Bytes that a record has as JSON at the least, about: of who is told all of them no more are looked at than can be told.
const RECORD_BYTES: usize = 200;

/// Somebody who follows a signal.
pub(crate) struct Following {
    extension: String,
    reader: Reader,
    query: Query,
    next: u64,
    /// Whether records were lost with an earlier host's memory, which is still to be said.
    is_lost: bool,
    /// Writes logs, which are nearly all of what is followed.
    logs: Option<LogLines>,
    /// What stands before and after the sequence number in its cursors.
    cursors: (String, String),
}

impl Following {
    /// Somebody who follows what a reader reads of an extension: after a cursor, or else from now on.
    pub(crate) fn new(extension: &str, reader: Reader, query: Query, after: Option<&str>) -> Result<Self, Problem> {
        let (next, is_lost) = match after {
            Some(after) => reader.resume(&cursor(after, extension, reader.signal())?),
            None => (reader.next_sequence(), false),
        };
        let cursor = reader.cursor(extension, 0);
        let logs = match reader.signal() {
            Signal::Log => LogLines::of(extension, &cursor),
            _ => None,
        };
        let cursors = cursor.around_sequence();
        Ok(Self { extension: extension.to_owned(), reader, query, next, is_lost, logs, cursors })
    }

    fn news(&self, last: u64, what: What) -> News {
        News { last, cursor: self.cursor(last), what }
    }

    fn cursor(&self, sequence: u64) -> String {
        let (before, after) = &self.cursors;
        format!("{before}{sequence:x}{after}")
    }
}

impl Follower for Following {
    fn waiting(&self) -> u64 {
        u64::from(self.is_lost).max(self.reader.next_sequence().saturating_sub(self.next))
    }

    fn read(&mut self, most: usize) -> Vec<News> {
        let (mut news, mut logs) = (Vec::new(), self.logs.take());
        if std::mem::take(&mut self.is_lost) {
            news.push(self.news(self.next - 1, What::Gap(memory_lost())));
        }
        let wants_all = self.query.wants_all();
        // What a query leaves out is not told, and what it takes to look at it is paced by itself.
        let looked_at = if wants_all { (most / RECORD_BYTES).clamp(1, FOLLOWED) } else { FOLLOWED };
        let page = self.reader.page(self.next, looked_at);
        let gap = |gap: &glasshouse_telemetry::Gap| {
            let missed = gap.last - gap.first + 1;
            self.news(gap.last, What::Gap(Gap { missed, cause: gap.cause.as_str().to_owned() }))
        };
        let (mut gaps, mut bytes, mut next) = (page.gaps.iter().peekable(), 0, page.next_sequence);
        for entry in &page.entries {
            while let Some(missing) = gaps.next_if(|gap| gap.first < entry.sequence()) {
                news.push(gap(missing));
            }
            if bytes >= most {
                next = entry.sequence();
                break;
            }
            if !wants_all && !self.query.asks_for(self.reader.signal(), &self.extension, entry) {
                continue;
            }
            let record = match &mut logs {
                Some(logs) => logs.line(entry),
                None => json(&self.extension, &self.reader, entry).map(|json| Box::<str>::from(json).into()),
            };
            if let Some(record) = record {
                bytes += record.len();
                news.push(self.news(entry.sequence(), What::Record(record)));
            }
        }
        if next == page.next_sequence {
            news.extend(gaps.map(gap));
        }
        (self.next, self.logs) = (next, logs);
        if news.last().is_none_or(|last| last.last + 1 < next) {
            news.push(self.news(next - 1, What::Place));
        }
        news
    }

    fn place(&self) -> String {
        self.cursor(self.next - 1)
    }

    fn feed(&self) -> String {
        format!("{} {} {}", self.extension, self.reader.signal(), self.query)
    }

    fn next(&self) -> Option<u64> {
        (!self.is_lost).then_some(self.next)
    }

    fn skip_to(&mut self, next: u64) {
        self.next = next;
    }
}
