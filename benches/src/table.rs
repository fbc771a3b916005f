//! Prints what was measured.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Row, Spread};

const HEAD: [&str; 8] = ["what", "ours", "peer", "the peer's", "ratio", "min..max", "target", "verdict"];

/// The rows as a table for a person.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let widths: Vec<_> = (0..HEAD.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    let missed = rows.iter().filter(|row| row.is_met() == Some(false)).count();
    let targets = rows.iter().filter(|row| row.target.is_some()).count();
    let _ = writeln!(
        text,
        "\n{} of {targets} targets met. Times and ratios are medians; a ratio is of one turn.",
        targets - missed
    );
    text
}

fn cells(row: &Row) -> [String; 8] {
    [
        format!("{}: {}", row.group, row.what),
        time(row.ours),
        row.peer_name.clone(),
        time(row.peer),
        format!("{:.2}", row.ratio.median),
        format!("{:.2}..{:.2}", row.ratio.least, row.ratio.most),
        row.target.map_or_else(String::new, |target| format!("<= {target}")),
        match row.is_met() {
            Some(true) => "met".into(),
            Some(false) => "MISSED".into(),
            None => String::new(),
        },
    ]
}

fn time(spread: Spread) -> String {
    let nanos = spread.median;
    if nanos < 10_000.0 {
        format!("{nanos:.0} ns")
    } else if nanos < 10_000_000.0 {
        format!("{:.1} us", nanos / 1e3)
    } else {
        format!("{:.1} ms", nanos / 1e6)
    }
}

/// The rows for a machine; times are in nanoseconds.
pub(crate) fn json(rows: &[Row]) -> Value {
    let spread = |spread: Spread| json!({ "median": spread.median, "min": spread.least, "max": spread.most });
    rows.iter()
        .map(|row| {
            json!({
                "group": row.group,
                "what": row.what,
                "ours_ns": spread(row.ours),
                "peer": row.peer_name,
                "peer_ns": spread(row.peer),
                "ratio": spread(row.ratio),
                "target": row.target,
                "met": row.is_met(),
            })
        })
        .collect()
}
