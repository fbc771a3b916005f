//! Logs counted: by level over time, and by what they say but for numbers and ids.

use std::time::Duration;

use anyhow::Result;
use glasshouse::query::counts::Counts;
use glasshouse::query::patterns::{Collapser, Place};
use glasshouse::records::{LogRecord, record};
use glasshouse::text::{count, visible};
use glasshouse::{Level, Query, UnixNanos};

use super::select::Chosen;
use crate::cli::Format;
use crate::output::{self, Align, Paint, Table};

/// Rows of counts at most.
const BUCKETS: usize = 60;
/// Different patterns that are told apart.
const PATTERNS: usize = 1000;

/// Shows how many logs of each level there were over time.
pub(super) fn counts(chosen: &Chosen, bucket: Option<Duration>, format: Format) -> Result<()> {
    let logs = all(chosen)?;
    let (Some(oldest), Some(newest)) = (logs.iter().map(time).min(), logs.iter().map(time).max()) else {
        output::note("nothing is stored that fits");
        return Ok(());
    };
    let mut counts = match bucket {
        Some(bucket) => Counts::new(bucket, BUCKETS),
        None => Counts::for_span(oldest, newest, BUCKETS),
    };
    for (_, log) in &logs {
        counts.add(log.head.time, Some(log.level));
    }
    let mut table = Table::new(&[
        ("from", Align::Left),
        ("trace", Align::Right),
        ("debug", Align::Right),
        ("info", Align::Right),
        ("warning", Align::Right),
        ("error", Align::Right),
        ("critical", Align::Right),
    ]);
    for row in counts.rows() {
        match format {
            Format::Json => {
                let levels: serde_json::Map<_, _> =
                    Level::ALL.iter().map(|level| (level.as_str().to_owned(), row.counts.of(*level).into())).collect();
                output::json(&serde_json::json!({"from": row.start.to_string(), "counts": levels}))?;
            }
            Format::Table => {
                let cells = Level::ALL.iter().map(|level| row.counts.of(*level)).map(|number| match number {
                    0 => String::new(),
                    number => count(number),
                });
                table.row(std::iter::once(row.start.to_string()).chain(cells));
            }
        }
    }
    if format == Format::Table {
        output::line(table.plain(Paint::stdout()))?;
    }
    Ok(())
}

/// Shows what logs say but for numbers and ids, the most frequent first.
pub(super) fn patterns(chosen: &Chosen, format: Format) -> Result<()> {
    let mut collapser = Collapser::new(PATTERNS);
    let logs = all(chosen)?;
    for (_, log) in &logs {
        collapser.add(Some(log.level), &log.message, Place { sequence: log.head.sequence, time: log.head.time });
    }
    let patterns = collapser.finish();
    let mut table =
        Table::new(&[("count", Align::Right), ("level", Align::Left), ("last", Align::Left), ("message", Align::Left)]);
    for row in patterns.rows.iter().take(chosen.limit) {
        let level = row.level.map_or("", Level::as_str);
        match format {
            Format::Json => output::json(&serde_json::json!({
                "count": row.count, "level": level, "pattern": row.pattern, "sample": row.sample,
                "first": row.first.time.to_string(), "last": row.last.time.to_string(),
            }))?,
            Format::Table => table.row([
                count(row.count),
                level.to_owned(),
                row.last.time.to_string(),
                visible(&row.pattern, 300).into_owned(),
            ]),
        }
    }
    if format == Format::Table && !patterns.rows.is_empty() {
        output::line(table.plain(Paint::stdout()))?;
    }
    if logs.is_empty() {
        output::note("nothing is stored that fits");
    }
    Ok(())
}

fn time((_, log): &(String, LogRecord)) -> UnixNanos {
    log.head.time
}

/// All logs that the query asks for.
fn all(chosen: &Chosen) -> Result<Vec<(String, LogRecord)>> {
    let query: &Query = &chosen.query;
    let mut logs = Vec::new();
    for extension in chosen.extensions()? {
        let limit = query.limit().unwrap_or(usize::MAX);
        let entries = extension.records::<LogRecord>().reader().search(extension.id(), query, limit);
        logs.extend(entries.iter().filter_map(record::<LogRecord>).map(|log| (extension.id().to_owned(), log)));
    }
    Ok(logs)
}
