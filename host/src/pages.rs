//! Pages of records as the API tells them: at most so many, and so many bytes of them, with the cursors to go on by.

use std::ops::{ControlFlow, Range};

use glasshouse_model::{Signal, UnixNanos};
use glasshouse_server::api::{Gap, Problem, Records, Wanted, code};
use glasshouse_telemetry::{Cursor, Entry, GapCause, Order, Page, Query, Reader};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, Record, SpanRecord, record};

/// Records of an answer where nobody says otherwise.
pub(crate) const LIMIT: usize = 100;
/// Records of an answer at most: some hundred kilobytes, and more is a page away.
pub(crate) const LIMIT_MOST: usize = 1000;
/// Bytes of an answer's records at which it ends, whatever their number: a thousand of the largest would take two hundred million, which nobody who asks for a
/// page has room for. One record takes 200 KiB at most.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// How many are wanted, of which there is a usual and a largest number.
pub(crate) fn limit(wanted: Option<usize>, query: &Query, (usual, most): (usize, usize)) -> Result<usize, Problem> {
    let limit = wanted.into_iter().chain(query.limit()).min().unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(unusable(format!("the limit is {limit}; use 1 to {most}, and name a cursor for those that follow")))
}

/// A cursor that is one of this signal of this extension.
pub(crate) fn cursor(text: &str, extension: &str, signal: Signal) -> Result<Cursor, Problem> {
    let cursor: Cursor = text.parse().map_err(unusable)?;
    if cursor.extension != extension || cursor.signal != signal {
        let (of, whose) = (cursor.signal, &cursor.extension);
        return Err(unusable(format!(
            "the cursor is one of the {of} of {whose}, and not of the {signal} of {extension}"
        )));
    }
    Ok(cursor)
}

pub(crate) fn parsed(query: &str, now: UnixNanos) -> Result<Query, Problem> {
    Query::parse(query, now).map_err(unusable)
}

pub(crate) fn unusable(error: impl std::fmt::Display) -> Problem {
    Problem::new(400, code::INVALID_QUERY, "The query cannot be used", error.to_string())
}

/// Records that were found, as they are told.
#[derive(Default)]
struct Found {
    records: Vec<Box<RawValue>>,
    bytes: usize,
    /// How many were found, those that cannot be told included.
    count: usize,
    /// The least and the largest of their sequence numbers.
    ends: Option<(u64, u64)>,
    /// Whether it was not looked any further, since that is enough.
    more: bool,
}

impl Found {
    /// Adds a record. Returns whether there is room for another.
    fn add(&mut self, sequence: u64, json: Option<Box<RawValue>>, limit: usize) -> ControlFlow<()> {
        self.count += 1;
        self.bytes += json.as_ref().map_or(0, |json| json.get().len());
        self.records.extend(json);
        self.ends =
            Some(self.ends.map_or((sequence, sequence), |(least, most)| (least.min(sequence), most.max(sequence))));
        self.more = self.count >= limit || self.bytes >= PAGE_BYTES;
        if self.more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The records that are wanted, and where to go on.
pub(crate) fn page(extension: &str, reader: &Reader, wanted: &Wanted, now: UnixNanos) -> Result<Records, Problem> {
    let mut query = parsed(&wanted.query, now)?;
    let limit = limit(wanted.limit, &query, (LIMIT, LIMIT_MOST))?;
    let (mut from, mut to, mut gaps) = (1, reader.next_sequence(), Vec::new());
    match (&wanted.before, &wanted.after) {
        (Some(_), Some(_)) => return Err(unusable("before and after go in different directions: name one of them")),
        (Some(before), None) => {
            let before = cursor(before, extension, reader.signal())?;
            // Of an earlier host whose memory was lost nothing is there from there on, and the numbers are others' now.
            let (next, is_lost) = reader.resume(&before);
            to = before.sequence.min(next).min(to);
            gaps.extend(is_lost.then(memory_lost));
            query = parsed("newest first", now)?.and(&query);
        }
        (None, Some(after)) => {
            let is_lost;
            (from, is_lost) = reader.resume(&cursor(after, extension, reader.signal())?);
            gaps.extend(is_lost.then(memory_lost));
            let evicted = (reader.evicted() + 1).saturating_sub(from);
            gaps.extend((evicted > 0).then(|| Gap { missed: evicted, cause: "evicted".to_owned() }));
            query = parsed("oldest first", now)?.and(&query);
        }
        (None, None) => {}
    }
    let mut found = Found::default();
    reader.candidates(from..to, query.order(), &query, &mut |entry| {
        if query.asks_for(reader.signal(), extension, &entry) {
            found.add(entry.sequence(), json(extension, reader, &entry), limit)
        } else {
            ControlFlow::Continue(())
        }
    });
    let (first, last) = (found.ends.map(|(first, _)| first), found.ends.map(|(_, last)| last));
    let looked_at = match query.order() {
        Order::NewestFirst => first.filter(|_| found.more).unwrap_or(from)..to,
        Order::OldestFirst => from..last.filter(|_| found.more).map_or(to, |last| last + 1),
    };
    gaps.extend(damaged(reader, &looked_at));
    let at = |sequence: u64| reader.cursor(extension, sequence).to_string();
    // Where nothing stopped it, all up to the end was looked at.
    let (older, newer) = match query.order() {
        Order::NewestFirst => (first.filter(|_| found.more), Some(to.saturating_sub(1))),
        Order::OldestFirst => {
            (first.filter(|first| *first > 1), if found.more { last } else { Some(to.max(from) - 1) })
        }
    };
    Ok(Records {
        extension: extension.to_owned(),
        signal: reader.signal().to_string(),
        records: found.records,
        older: older.map(at),
        newer: newer.filter(|newer| *newer > 0).map(at),
        more: found.more,
        gaps,
    })
}

/// What is damaged among the records of these numbers, of which the first thousand are looked at: a page without a condition has no more.
fn damaged(reader: &Reader, among: &Range<u64>) -> impl Iterator<Item = Gap> {
    let page = if among.is_empty() { Page::default() } else { reader.page(among.start, LIMIT_MOST) };
    let end = among.end;
    let damaged = page.gaps.into_iter().filter(move |gap| gap.cause == GapCause::Damaged && gap.first < end);
    damaged.map(move |gap| Gap { missed: gap.last.min(end - 1) - gap.first + 1, cause: gap.cause.as_str().to_owned() })
}

/// A record as the API tells it, as the command does.
pub(crate) fn json(extension: &str, reader: &Reader, entry: &Entry) -> Option<Box<RawValue>> {
    match reader.signal() {
        Signal::Log => json_of::<LogRecord>(extension, reader, entry),
        Signal::Metric => json_of::<MetricRecord>(extension, reader, entry),
        Signal::Error => json_of::<ErrorRecord>(extension, reader, entry),
        Signal::Span => json_of::<SpanRecord>(extension, reader, entry),
        Signal::Alert => json_of::<AlertRecord>(extension, reader, entry),
        Signal::Invocation => json_of::<InvocationRecord>(extension, reader, entry),
    }
}

fn json_of<T: Record + Serialize>(extension: &str, reader: &Reader, entry: &Entry) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        extension: &'a str,
        cursor: String,
        #[serde(flatten)]
        record: T,
    }
    let cursor = reader.cursor(extension, entry.sequence()).to_string();
    serde_json::value::to_raw_value(&Line { extension, cursor, record: record::<T>(entry)? }).ok()
}

/// That records of an earlier host are gone with its memory.
pub(crate) fn memory_lost() -> Gap {
    Gap { missed: 0, cause: "memory lost".to_owned() }
}
