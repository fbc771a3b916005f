//! What extensions did between two looks at them.

use std::cmp::Ordering;
use std::collections::HashMap;

use glasshouse::text::{bytes, counted, fuel, short_count};
use glasshouse_client::api::Overview;
use serde::Serialize;

use super::{Look, SortBy};
use crate::cli::run::coloured_state;
use crate::output::{Align, Paint, Table};

/// All extensions over one interval.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Frame {
    /// When it ended, by the host's clock; empty where there is no extension.
    pub(super) time: String,
    /// How long it was.
    pub(super) interval_ms: u64,
    pub(super) extensions: Vec<Row>,
}

/// One extension over that interval.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) extension: String,
    pub(super) status: String,
    pub(super) calls_per_second: f64,
    pub(super) errors_per_second: f64,
    /// Of one processor, its own code and the host's functions on its behalf.
    pub(super) cpu_percent: f64,
    /// Absent where none is counted.
    pub(super) fuel_per_second: Option<f64>,
    pub(super) memory_bytes: u64,
    pub(super) memory_peak_bytes: u64,
    pub(super) waiting_calls: u64,
    pub(super) logs_per_second: f64,
    /// Records that were not stored.
    pub(super) dropped_per_second: f64,
    pub(super) open_error_groups: u64,
    pub(super) firing_alerts: u64,
    /// What debugging has cost since the start, of its CPU time.
    pub(super) debug_overhead_percent: f64,
}

/// What a column of the table shows.
type Shown = fn(&Row) -> String;

/// The columns, with how they are aligned.
pub(super) const COLUMNS: [(&str, Align, Shown); 12] = [
    ("extension", Align::Left, |row| row.extension.clone()),
    ("state", Align::Left, |row| row.status.clone()),
    ("calls/s", Align::Right, |row| rate(row.calls_per_second)),
    ("errors/s", Align::Right, |row| rate(row.errors_per_second)),
    ("CPU", Align::Right, |row| format!("{:.1} %", row.cpu_percent)),
    ("fuel/s", Align::Right, |row| fuel(row.fuel_per_second.map(|fuel| fuel as u64))),
    ("memory", Align::Right, |row| bytes(row.memory_bytes)),
    ("peak", Align::Right, |row| bytes(row.memory_peak_bytes)),
    ("waiting", Align::Right, |row| short_count(row.waiting_calls)),
    ("logs/s", Align::Right, |row| rate(row.logs_per_second)),
    ("dropped/s", Align::Right, |row| rate(row.dropped_per_second)),
    ("alerts", Align::Right, |row| short_count(row.firing_alerts)),
];

impl Frame {
    /// What was done between two looks, in this order.
    pub(super) fn between(before: &Look, now: &Look, sort: SortBy) -> Self {
        let elapsed = now.at.saturating_duration_since(before.at);
        let known: HashMap<_, _> = before.overviews.iter().map(|one| (&*one.summary.extension, one)).collect();
        let row =
            |one: &Overview| Row::between(known.get(&*one.summary.extension).copied(), one, elapsed.as_secs_f64());
        let mut frame = Self {
            time: now.overviews.first().map(|one| one.time.clone()).unwrap_or_default(),
            interval_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            extensions: now.overviews.iter().map(row).collect(),
        };
        frame.sort(sort);
        frame
    }

    /// Puts those with the most first.
    pub(super) fn sort(&mut self, by: SortBy) {
        self.extensions.sort_by(|one, other| {
            let most = |figure: fn(&Row) -> f64| figure(other).total_cmp(&figure(one));
            let order = match by {
                SortBy::Calls => most(|row| row.calls_per_second),
                SortBy::Cpu => most(|row| row.cpu_percent),
                SortBy::Fuel => most(|row| row.fuel_per_second.unwrap_or_default()),
                SortBy::Memory => other.memory_bytes.cmp(&one.memory_bytes),
                SortBy::Errors => most(|row| row.errors_per_second),
                SortBy::Logs => most(|row| row.logs_per_second),
                SortBy::Name => Ordering::Equal,
            };
            order.then_with(|| one.extension.cmp(&other.extension))
        });
    }

    /// All of them in a line.
    pub(super) fn title(&self) -> String {
        let sum = |figure: fn(&Row) -> f64| self.extensions.iter().map(figure).sum::<f64>();
        let ready = self.extensions.iter().filter(|row| row.status == "ready").count();
        let alerts: u64 = self.extensions.iter().map(|row| row.firing_alerts).sum();
        let groups: u64 = self.extensions.iter().map(|row| row.open_error_groups).sum();
        format!(
            "{}, {ready} ready; {} calls/s, {} errors/s, CPU {:.1} %; {} firing, {} open",
            counted(self.extensions.len() as u64, "extension", "extensions"),
            rate(sum(|row| row.calls_per_second)),
            rate(sum(|row| row.errors_per_second)),
            sum(|row| row.cpu_percent),
            counted(alerts, "alert", "alerts"),
            counted(groups, "group of errors", "groups of errors"),
        )
    }

    /// The same as a table.
    pub(super) fn table(&self, paint: Paint) -> String {
        let mut table = Table::new(&COLUMNS.map(|(name, align, _)| (name, align)));
        for row in &self.extensions {
            table.row(COLUMNS.map(|(_, _, shown)| shown(row)));
        }
        table.render(paint, |column, cell| (column == 1).then(|| coloured_state(paint, cell)))
    }
}

impl Row {
    fn between(before: Option<&Overview>, now: &Overview, seconds: f64) -> Self {
        let (before, own) = (before.map(|before| &before.summary), &now.summary);
        let per_second = |figure: fn(&glasshouse_client::api::Summary) -> u64| {
            let (earlier, later) = (before.map_or(0, figure), figure(own));
            // What has become less was counted anew, by a host that was started since then.
            let more = later.checked_sub(earlier).unwrap_or(later);
            if before.is_some() && seconds > 0.0 { more as f64 / seconds } else { 0.0 }
        };
        Self {
            extension: own.extension.clone(),
            status: now.manager.status.clone(),
            calls_per_second: per_second(|one| one.calls),
            errors_per_second: per_second(|one| one.errors),
            cpu_percent: per_second(|one| one.guest_cpu_ns.saturating_add(one.host_cpu_ns)) / 1e7,
            fuel_per_second: own.fuel.map(|_| per_second(|one| one.fuel.unwrap_or_default())),
            memory_bytes: own.memory_bytes,
            memory_peak_bytes: own.memory_peak_bytes,
            waiting_calls: own.waiting_calls,
            logs_per_second: per_second(|one| one.logs),
            dropped_per_second: per_second(|one| one.dropped),
            open_error_groups: now.open_error_groups,
            firing_alerts: now.firing_alerts,
            debug_overhead_percent: own.debug_overhead_percent,
        }
    }
}

/// A number per second, in few characters.
fn rate(rate: f64) -> String {
    if rate == 0.0 || rate >= 100.0 { short_count(rate.round() as u64) } else { format!("{rate:.1}") }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use glasshouse_client::api::{Manager, Summary};

    use super::*;

    fn overview(extension: &str, calls: u64, memory_bytes: u64) -> Overview {
        let summary = Summary {
            extension: extension.to_owned(),
            calls,
            fuel: Some(1000 * calls),
            guest_cpu_ns: 1_000_000 * calls,
            memory_bytes,
            ..Summary::default()
        };
        let manager = Manager { status: "ready".to_owned(), ..Manager::default() };
        Overview { summary, manager, ..Overview::default() }
    }

    #[test]
    fn what_was_done_is_told_by_the_second_and_a_host_that_was_started_anew_counts_anew() {
        let at = Instant::now();
        let before = Look { at, overviews: vec![overview("a", 100, 5), overview("b", 100, 5)] };
        let overviews = vec![overview("a", 300, 7), overview("b", 40, 9), overview("new", 60, 1)];
        let now = Look { at: at + Duration::from_secs(2), overviews };
        let frame = Frame::between(&before, &now, SortBy::Calls);
        let rates: Vec<_> = frame.extensions.iter().map(|row| (&*row.extension, row.calls_per_second)).collect();
        assert_eq!(rates, [("a", 100.0), ("b", 20.0), ("new", 0.0)], "of a new one nothing is known yet");
        let first = &frame.extensions[0];
        assert_eq!((first.cpu_percent, first.fuel_per_second), (10.0, Some(100_000.0)));
        assert_eq!(frame.interval_ms, 2000);
        assert!(frame.title().starts_with("3 extensions, 3 ready; 120 calls/s"), "{}", frame.title());
    }

    #[test]
    fn those_with_the_most_come_first_and_those_that_are_alike_by_name() {
        let at = Instant::now();
        let overviews = vec![overview("b", 1, 1), overview("a", 1, 1), overview("c", 0, 9)];
        let look = Look { at, overviews };
        let order = |sort| {
            let frame = Frame::between(&look, &look, sort);
            frame.extensions.into_iter().map(|row| row.extension).collect::<String>()
        };
        assert_eq!([SortBy::Memory, SortBy::Name, SortBy::Errors].map(order), ["cab", "abc", "abc"]);
    }

    #[test]
    fn rates_take_few_characters() {
        let shown = [0.0, 0.04, 3.26, 99.94, 120.4, 1_234_567.0].map(rate);
        assert_eq!(shown[..5], ["0", "0.0", "3.3", "99.9", "120"].map(str::to_owned));
        assert!(shown[5].len() <= 6, "{}", shown[5]);
    }
}
