//! Logs counted: by level over time, and by what they say but for numbers and ids.

use std::time::Duration;

use anyhow::Result;
use glasshouse::Level;
use glasshouse::query::counts::Counts;
use glasshouse::query::patterns::{Collapser, Place};
use glasshouse::records::LogRecord;
use glasshouse::text::{count, visible};

use super::select::Chosen;
use crate::cli::RecordFormat;
use crate::output::{self, Align, Paint, Table};

/// Rows of counts at most.
const BUCKETS: usize = 60;
/// Different patterns that are told apart.
const PATTERNS: usize = 1000;

/// Shows how many logs of each level there were over time.
pub(super) async fn counts(chosen: &Chosen, bucket: Option<Duration>, format: RecordFormat) -> Result<()> {
    // The narrowest buckets that a clock shows, which are joined as more time has to have room.
    let mut counts = Counts::new(bucket.unwrap_or(Duration::from_millis(1)), BUCKETS);
    each(chosen, &mut |log| counts.add(log.head.time, Some(log.level))).await?;
    if counts.total().total() == 0 {
        output::note("nothing is stored that fits");
        return Ok(());
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
    let mut values = Vec::new();
    for row in counts.rows() {
        let levels: serde_json::Map<_, _> =
            Level::ALL.iter().map(|level| (level.as_str().to_owned(), row.counts.of(*level).into())).collect();
        values.push(serde_json::json!({"from": row.start.to_string(), "counts": levels}));
        let cells = Level::ALL.iter().map(|level| row.counts.of(*level)).map(|number| match number {
            0 => String::new(),
            number => count(number),
        });
        table.row(std::iter::once(row.start.to_string()).chain(cells));
    }
    match format {
        RecordFormat::Table => output::line(table.plain(Paint::stdout()))?,
        _ => output::values(&values, format)?,
    }
    Ok(())
}

/// Shows what logs say but for numbers and ids, the most frequent first.
pub(super) async fn patterns(chosen: &Chosen, format: RecordFormat) -> Result<()> {
    let mut collapser = Collapser::new(PATTERNS);
    each(chosen, &mut |log| {
        collapser.add(Some(log.level), &log.message, Place { sequence: log.head.sequence, time: log.head.time });
    })
    .await?;
    let patterns = collapser.finish();
    let mut table =
        Table::new(&[("count", Align::Right), ("level", Align::Left), ("last", Align::Left), ("message", Align::Left)]);
    let mut values = Vec::new();
    for row in patterns.rows.iter().take(chosen.limit) {
        let level = row.level.map_or("", Level::as_str);
        values.push(serde_json::json!({
            "count": row.count, "level": level, "pattern": row.pattern, "sample": row.sample,
            "first": row.first.time.to_string(), "last": row.last.time.to_string(),
        }));
        table.row([
            count(row.count),
            level.to_owned(),
            row.last.time.to_string(),
            visible(&row.pattern, 300).into_owned(),
        ]);
    }
    match format {
        RecordFormat::Table if values.is_empty() => {}
        RecordFormat::Table => output::line(table.plain(Paint::stdout()))?,
        _ => output::values(&values, format)?,
    }
    if values.is_empty() {
        output::note("nothing is stored that fits");
    }
    Ok(())
}

/// Visits all logs that the query asks for.
async fn each(chosen: &Chosen, visit: &mut (dyn FnMut(LogRecord) + Send)) -> Result<()> {
    for extension in chosen.extensions().await? {
        extension.each(&chosen.question, visit).await?;
    }
    Ok(())
}
