//! Prints what was measured.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Row, Spread, Unit};

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
        "\n{} of {targets} targets met. Figures and ratios are medians; a ratio is of one turn. A target that holds always is for the largest.",
        targets - missed
    );
    text
}

fn cells(row: &Row) -> [String; 8] {
    let peer = row.peer.as_ref();
    let text = |text: Option<String>| text.unwrap_or_default();
    [
        format!("{}: {}", row.group, row.what),
        figure(row.unit, row.ours),
        text(peer.map(|peer| peer.name.clone())),
        text(peer.map(|peer| figure(row.unit, peer.spread))),
        text(peer.map(|peer| format!("{:.2}", peer.ratio.median))),
        text(peer.map(|peer| format!("{:.2}..{:.2}", peer.ratio.least, peer.ratio.most))),
        row.target.map_or_else(String::new, |target| {
            let target = format!("<= {target:.3}");
            let target = target.trim_end_matches('0').trim_end_matches('.');
            if row.holds_always { format!("{target} always") } else { target.to_owned() }
        }),
        match row.is_met() {
            Some(true) => "met".into(),
            Some(false) => "MISSED".into(),
            None => String::new(),
        },
    ]
}

fn figure(unit: Unit, spread: Spread) -> String {
    let median = spread.median;
    match unit {
        Unit::Nanos if median < 10_000.0 => format!("{median:.0} ns"),
        Unit::Nanos if median < 10_000_000.0 => format!("{:.1} us", median / 1e3),
        Unit::Nanos => format!("{:.1} ms", median / 1e6),
        Unit::Bytes => format!("{:.1} MiB", median / 1_048_576.0),
        Unit::BytesPerSecond => format!("{:.0} MB/s", median / 1e6),
    }
}

/// The rows for a machine.
pub(crate) fn json(rows: &[Row]) -> Value {
    let spread = |spread: Spread| json!({ "median": spread.median, "min": spread.least, "max": spread.most });
    rows.iter()
        .map(|row| {
            json!({
                "group": row.group,
                "what": row.what,
                "unit": match row.unit {
                    Unit::Nanos => "ns",
                    Unit::Bytes => "bytes",
                    Unit::BytesPerSecond => "bytes/s",
                },
                "ours": spread(row.ours),
                "peer_name": row.peer.as_ref().map(|peer| &peer.name),
                "peer": row.peer.as_ref().map(|peer| spread(peer.spread)),
                "ratio": row.peer.as_ref().map(|peer| spread(peer.ratio)),
                "target": row.target,
                "holds_always": row.holds_always,
                "met": row.is_met(),
            })
        })
        .collect()
}
