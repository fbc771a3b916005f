//! Those who follow a signal over the API: what is new, so much at a time.

use glasshouse_server::api::{Gap, Problem};
use glasshouse_server::{Follower, News};
use glasshouse_telemetry::{Query, Reader};

use crate::pages::{cursor, json, memory_lost};

/// Records that a follower reads at a time, and bytes of those that it is told: what it has not taken yet.
const FOLLOWED: usize = 1000;
const FOLLOWED_BYTES: usize = 256 << 10;

/// Somebody who follows a signal.
pub(crate) struct Following {
    extension: String,
    reader: Reader,
    query: Query,
    next: u64,
    /// Whether records were lost with an earlier host's memory, which is still to be said.
    is_lost: bool,
}

impl Following {
    /// Somebody who follows what a reader reads of an extension: after a cursor, or else from now on.
    pub(crate) fn new(extension: &str, reader: Reader, query: Query, after: Option<&str>) -> Result<Self, Problem> {
        let (next, is_lost) = match after {
            Some(after) => reader.resume(&cursor(after, extension, reader.signal())?),
            None => (reader.next_sequence(), false),
        };
        Ok(Self { extension: extension.to_owned(), reader, query, next, is_lost })
    }
}

impl Follower for Following {
    fn waiting(&self) -> u64 {
        u64::from(self.is_lost).max(self.reader.next_sequence().saturating_sub(self.next))
    }

    fn read(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        if std::mem::take(&mut self.is_lost) {
            news.push(News::Gap { cursor: self.place(), gap: memory_lost() });
        }
        let page = self.reader.page(self.next, FOLLOWED);
        let gap = |gap: &glasshouse_telemetry::Gap| News::Gap {
            cursor: self.reader.cursor(&self.extension, gap.last).to_string(),
            gap: Gap { missed: gap.last - gap.first + 1, cause: gap.cause.as_str().to_owned() },
        };
        let (mut gaps, mut bytes, mut next) = (page.gaps.iter().peekable(), 0, page.next_sequence);
        for entry in &page.entries {
            while let Some(missing) = gaps.next_if(|gap| gap.first < entry.sequence()) {
                news.push(gap(missing));
            }
            if bytes >= FOLLOWED_BYTES {
                next = entry.sequence();
                break;
            }
            let asks_for = self.query.asks_for(self.reader.signal(), &self.extension, entry);
            if asks_for && let Some(record) = json(&self.extension, &self.reader, entry) {
                let cursor = self.reader.cursor(&self.extension, entry.sequence()).to_string();
                bytes += record.get().len();
                news.push(News::Record { cursor, json: record.get().to_owned() });
            }
        }
        if next == page.next_sequence {
            news.extend(gaps.map(gap));
        }
        self.next = next;
        if !matches!(news.last(), Some(News::Record { .. })) {
            news.push(News::Place { cursor: self.place() });
        }
        news
    }

    fn place(&self) -> String {
        self.reader.cursor(&self.extension, self.next - 1).to_string()
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
