//! What a check says: what calls cost, and what differs from the baseline.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use glasshouse::text::{self, visible};
use serde::Serialize;

use super::baseline::{Baseline, Figures, Row};
use super::compare::{Comparison, Difference, Tolerance, Value, Verdict};
use super::measure::Measured;
use crate::output::{self, Align, Paint, Table};

/// Differences of single calls that are shown to people; sums, exports and programs get all.
const SHOWN: usize = 30;

/// What a check says.
pub(super) struct Report<'a> {
    pub(super) measured: &'a Measured,
    pub(super) before: Option<&'a Baseline>,
    pub(super) comparison: Option<&'a Comparison>,
    pub(super) baseline: Option<&'a Path>,
    /// Whether a baseline that was to be written has changed.
    pub(super) written: Option<bool>,
    pub(super) tolerance: Tolerance,
}

/// The same for programs.
#[derive(Serialize)]
pub(super) struct Json<'a> {
    passed: bool,
    extension: &'a str,
    component: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_component: Option<&'a str>,
    wasmtime: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<bool>,
    passed_over: u64,
    unsteady: &'a [Row],
    exports: &'a [Row],
    events: Vec<Event<'a>>,
    lines: &'a [Row],
    incomparable: &'a [String],
    differences: &'a [Difference],
}

/// The calls of one event.
#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    count: usize,
    failed: usize,
    fuel: Spread,
    memory_peak_bytes: Spread,
    host_calls: Spread,
    records: Spread,
    record_bytes: Option<Spread>,
}

/// How a figure is spread over the calls of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Spread {
    min: u64,
    /// The middle one; of an even number of calls the lower of both.
    median: u64,
    max: u64,
    total: u64,
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        let total = values.iter().fold(0, |total: u64, value| total.saturating_add(*value));
        Self { min: at(0), median: at(last / 2), max: at(last), total }
    }
}

fn events(rows: &[Row]) -> Vec<Event<'_>> {
    let mut by_name: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_name.entry(&row.name).or_default().push(row);
    }
    let event = |(name, rows): (_, Vec<&Row>)| {
        let spread = |of: fn(&Figures) -> u64| Spread::of(rows.iter().map(|row| of(&row.figures)).collect());
        let bytes: Option<Vec<_>> = rows.iter().map(|row| row.figures.record_bytes).collect();
        Event {
            name,
            count: rows.len(),
            failed: rows.iter().filter(|row| row.outcome != "ok").count(),
            fuel: spread(|figures| figures.fuel),
            memory_peak_bytes: spread(|figures| figures.memory_peak_bytes),
            host_calls: spread(|figures| figures.host_calls),
            records: spread(|figures| figures.records),
            record_bytes: bytes.map(Spread::of),
        }
    };
    by_name.into_iter().map(event).collect()
}

impl Report<'_> {
    pub(super) fn json(&self, passed: bool) -> Json<'_> {
        let costs = &self.measured.costs;
        Json {
            passed,
            extension: &costs.extension,
            component: &costs.component,
            baseline_component: self.before.map(|before| before.component.as_str()),
            wasmtime: &costs.wasmtime,
            updated: self.written,
            passed_over: self.measured.passed_over,
            unsteady: &self.measured.unsteady,
            exports: &costs.exports,
            events: events(&costs.events),
            lines: &costs.events,
            incomparable: self.comparison.map_or(&[], |comparison| &comparison.incomparable),
            differences: self.comparison.map_or(&[], |comparison| &comparison.differences),
        }
    }

    /// For people: the costs, then what differs, then the verdict.
    pub(super) fn write(&self) -> io::Result<()> {
        let paint = Paint::stdout();
        output::line(self.costs(paint))?;
        let costs = &self.measured.costs;
        let failed: Vec<_> = costs.exports.iter().chain(&costs.events).filter(|row| row.outcome != "ok").collect();
        for row in failed.iter().take(SHOWN) {
            let outcome = paint.red(&visible(&row.outcome, 100));
            output::line(format_args!("{}: {outcome}", place(row.line, &visible(&row.name, 140))))?;
        }
        if failed.len() > SHOWN {
            output::line(format_args!("and {} more failed", failed.len() - SHOWN))?;
        }
        if let Some(comparison) = self.comparison
            && !comparison.differences.is_empty()
        {
            output::line("")?;
            output::line(differences(&comparison.differences, paint))?;
        }
        output::line("")?;
        output::line(self.verdict(paint))
    }

    fn costs(&self, paint: Paint) -> String {
        let costs = &self.measured.costs;
        let mut table = Table::new(&[
            (if costs.exports.is_empty() { "event" } else { "export or event" }, Align::Left),
            ("calls", Align::Right),
            ("failed", Align::Right),
            ("fuel", Align::Right),
            ("min", Align::Right),
            ("median", Align::Right),
            ("max", Align::Right),
            ("memory peak", Align::Right),
            ("host calls", Align::Right),
            ("records", Align::Right),
            ("bytes", Align::Right),
        ]);
        for export in &costs.exports {
            let failed = usize::from(export.outcome != "ok");
            let figures = &export.figures;
            table.row([
                export.name.clone(),
                "1".into(),
                failed.to_string(),
                text::count(figures.fuel),
                String::new(),
                String::new(),
                String::new(),
                text::bytes(figures.memory_peak_bytes),
                text::count(figures.host_calls),
                text::count(figures.records),
                figures.record_bytes.map_or_else(|| "?".into(), text::bytes),
            ]);
        }
        for event in events(&costs.events) {
            table.row([
                format!("handle:{}", event.name),
                event.count.to_string(),
                event.failed.to_string(),
                text::count(event.fuel.total),
                text::count(event.fuel.min),
                text::count(event.fuel.median),
                text::count(event.fuel.max),
                text::bytes(event.memory_peak_bytes.max),
                text::count(event.host_calls.total),
                text::count(event.records.total),
                event.record_bytes.map_or_else(|| "?".into(), |bytes| text::bytes(bytes.total)),
            ]);
        }
        table.render(paint, |column, cell| (column == 2 && cell.trim() != "0").then(|| paint.red(cell)))
    }

    /// The last lines: whether the baseline holds, and what to do.
    fn verdict(&self, paint: Paint) -> String {
        let costs = &self.measured.costs;
        let mut said = format!(
            "{} {}: {} events and {} exports",
            paint.bold(&costs.extension),
            short(&costs.component),
            costs.events.len(),
            costs.exports.len()
        );
        if self.measured.passed_over > 0 {
            let _ =
                write!(said, " ({} events of other extensions passed over)", text::count(self.measured.passed_over));
        }
        let Some(path) = self.baseline.map(Path::display) else { return said };
        match self.written {
            Some(true) => return format!("{said} written to {path}"),
            Some(false) => return format!("{said}, as {path} has them already"),
            None => {}
        }
        let (Some(comparison), Some(before)) = (self.comparison, self.before) else { return said };
        let of = if before.component == costs.component {
            "the same component".to_owned()
        } else {
            format!("component {}", short(&before.component))
        };
        let _ = writeln!(said, " against {path} ({of}), tolerance {} %", self.tolerance.0 * 100.0);
        if !comparison.incomparable.is_empty() {
            said +=
                &paint.red("failed: the figures are not comparable, since the baseline was made with something else:");
            for reason in &comparison.incomparable {
                let _ = write!(said, "\n  {}", visible(reason, 300));
            }
            return said + "\n  look at the costs above, and take them with --update";
        }
        let count = |verdict| comparison.differences.iter().filter(|difference| difference.verdict == verdict).count();
        if !comparison.passed() {
            said += &paint.red(&format!(
                "failed: {} worse, {} new, {} gone, {} better",
                count(Verdict::Worse),
                count(Verdict::New),
                count(Verdict::Gone),
                count(Verdict::Better)
            ));
            if comparison.unsteady {
                said += "\n  the component is the same and its fuel is not: something outside of it has a say, such as files or the network";
            }
            return said + "\n  if it is meant to be so, take it with --update";
        }
        match count(Verdict::Better) {
            0 => said + &paint.green("passed: all cost what they did"),
            better => said + &paint.green(&format!("passed: {better} better")) + "\n  keep that with --update",
        }
    }
}

fn place(line: Option<u64>, name: &str) -> String {
    line.map_or_else(|| name.to_owned(), |line| format!("  line {line}: {name}"))
}

fn short(digest: &str) -> String {
    visible(digest, 64).chars().take(12).collect()
}

fn differences(all: &[Difference], paint: Paint) -> String {
    let mut table = Table::new(&[
        ("what", Align::Left),
        ("figure", Align::Left),
        ("before", Align::Right),
        ("now", Align::Right),
        ("change", Align::Right),
        ("", Align::Left),
    ]);
    let single = |difference: &Difference| difference.line.is_some();
    let left_out = all.iter().filter(|difference| single(difference)).count().saturating_sub(SHOWN);
    let mut shown = 0;
    for difference in all {
        shown += usize::from(single(difference));
        if single(difference) && shown > SHOWN {
            continue;
        }
        let what = match (difference.line, difference.calls) {
            (Some(_), _) => place(difference.line, &difference.name),
            (None, Some(calls)) => format!("{}, {calls} calls", difference.name),
            (None, None) => difference.name.clone(),
        };
        table.row([
            what,
            difference.what.to_owned(),
            value(difference.before.as_ref()),
            value(difference.now.as_ref()),
            change(difference),
            word(difference.verdict).to_owned(),
        ]);
    }
    let mut shown = table.render(paint, |column, cell| match cell.trim() {
        "worse" | "new" | "gone" if column == 5 => Some(paint.red(cell)),
        "better" if column == 5 => Some(paint.green(cell)),
        _ => None,
    });
    if left_out > 0 {
        let _ = write!(shown, "\nand {left_out} more; --format json has them all");
    }
    shown
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Worse => "worse",
        Verdict::New => "new",
        Verdict::Gone => "gone",
        Verdict::Better => "better",
    }
}

fn value(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::Number(number)) => text::count(*number),
        Some(Value::Text(text)) => visible(text, 60).into_owned(),
    }
}

fn change(difference: &Difference) -> String {
    match (&difference.before, &difference.now) {
        (Some(Value::Number(before)), Some(Value::Number(now))) if *before > 0 => {
            format!("{:+.2} %", (*now as f64 / *before as f64 - 1.0) * 100.0)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_least_middle_most_and_all() {
        assert_eq!(Spread::of(vec![5, 1, 3]), Spread { min: 1, median: 3, max: 5, total: 9 });
        assert_eq!(Spread::of(vec![4, 2]), Spread { min: 2, median: 2, max: 4, total: 6 });
        assert_eq!(Spread::of(vec![u64::MAX, 1]).total, u64::MAX);
    }
}
