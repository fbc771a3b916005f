//! `glasshouse metrics`: samples as they are stored, and what they come to.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use glasshouse::records::MetricRecord;
use glasshouse::text::{count, duration, quantity, visible};
use glasshouse::{Clock as _, Instrument, Query, SeriesSummary, Summary, SystemClock, series_answer};

use super::select::{Chosen, Conditions, Selection};
use super::{Exit, Follow, follow, show};
use crate::cli::{Format, UsageError};
use crate::output::{self, Align, Paint, Table};

/// What `current` looks back for, to find the latest value of each series: longer ago is not current.
const RECENT: Duration = Duration::from_hours(24);
/// What `current` sums up.
const MINUTE: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Examples:
  glasshouse metrics current --data-dir data
  glasshouse metrics summary --data-dir data --hours 2 'name=requests and field.status=500'
  glasshouse metrics summary --data-dir data --since 1d --until 1h --stat count,p50,p99.9
  glasshouse metrics show --data-dir data --hours 2 'name=requests and value>100'";

/// Show what metrics come to, and their samples
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Metrics {
    #[command(subcommand)]
    what: MetricsVerb,
}

#[derive(Debug, Subcommand)]
enum MetricsVerb {
    /// The latest value of each series, and what the last minute came to
    Current(Current),
    /// What the samples of a window of time come to, by series: count, sum, rate, mean, quantiles
    Summary(Summarise),
    /// The newest samples
    Show(ShowSamples),
    /// The newest samples, and then each new one
    Follow(Follow),
}

#[derive(Args, Debug)]
struct Current {
    #[command(flatten)]
    selection: Selection,
    /// Only the series that this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct Summarise {
    #[command(flatten)]
    selection: Selection,
    /// The last so many hours
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "until"])]
    hours: Option<u32>,
    /// The start of the window: so long ago, or a time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The end of the window, which is not part of it
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// What is shown of each series [default: count, sum, rate, mean, p50, p95, p99, last]; JSON has all
    #[arg(long = "stat", value_name = "STAT", value_enum, value_delimiter = ',')]
    stats: Vec<Stat>,
    /// Put the series of all extensions together
    #[arg(long)]
    together: bool,
    /// Only the series, or the samples, that this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

#[derive(Args, Debug)]
struct ShowSamples {
    #[command(flatten)]
    selection: Selection,
    /// Those of the last so many hours
    #[arg(long, value_name = "N")]
    hours: Option<u32>,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

/// What is shown of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stat {
    Count,
    Sum,
    Rate,
    Min,
    Max,
    Mean,
    Last,
    P50,
    P90,
    P95,
    P99,
    #[value(name = "p99.9")]
    P999,
}

const DEFAULT_STATS: [Stat; 8] =
    [Stat::Count, Stat::Sum, Stat::Rate, Stat::Mean, Stat::P50, Stat::P95, Stat::P99, Stat::Last];

impl Metrics {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        match self.what {
            MetricsVerb::Current(Current { selection, query }) => {
                current(&selection.chosen(&Conditions::new(&query))?, format)
            }
            MetricsVerb::Summary(Summarise { selection, hours, since, until, stats, together, query }) => {
                let chosen = selection.chosen(&Conditions { hours, since, until, ..Conditions::new(&query) })?;
                let stats = if stats.is_empty() { DEFAULT_STATS.to_vec() } else { stats };
                summarise(&chosen, together, &stats, format)
            }
            MetricsVerb::Show(ShowSamples { selection, hours, query }) => {
                let conditions = Conditions { hours, ..Conditions::new(&query) };
                show::show::<MetricRecord>(&selection.chosen(&conditions)?, format)
            }
            MetricsVerb::Follow(Follow { selection, after, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query))?;
                follow::follow::<MetricRecord>(&chosen, after.as_ref(), format)
            }
        }
        .map(|()| Exit::Ok)
    }
}

/// What the samples of all extensions that were chosen come to.
fn summary(chosen: &Chosen, query: &Query) -> Result<Summary> {
    let mut whole = Summary::default();
    for extension in chosen.extensions()? {
        whole.merge(extension.records::<MetricRecord>().summary(query));
    }
    Ok(whole)
}

fn summarise(chosen: &Chosen, together: bool, stats: &[Stat], format: Format) -> Result<()> {
    let mut summary = summary(chosen, &chosen.query)?;
    if together {
        summary = summary.across_extensions();
    }
    if format == Format::Json {
        for series in summary.series.iter().take(chosen.limit) {
            output::json(&series_answer(&summary, series))?;
        }
        told(&summary, chosen);
        return Ok(());
    }
    let told_by = ToldBy::of(&summary);
    let mut columns = told_by.columns();
    columns.extend(stats.iter().map(|stat| (stat.name(), Align::Right)));
    let mut table = Table::new(&columns);
    for series in summary.series.iter().take(chosen.limit) {
        let cells = stats.iter().map(|stat| stat.shown(&summary, series));
        table.row(told_by.cells(series).into_iter().chain(cells));
    }
    if !summary.series.is_empty() {
        output::line(table.plain(Paint::stdout()))?;
    }
    told(&summary, chosen);
    Ok(())
}

fn current(chosen: &Chosen, format: Format) -> Result<()> {
    let now = SystemClock::new().now();
    let since = |ago: Duration| {
        let query = Query::parse(&format!("since {}s", ago.as_secs()), now);
        query.map(|query| query.and(&chosen.query)).map_err(|error| UsageError(error.to_string()))
    };
    if chosen.query.since().is_some() || chosen.query.until().is_some() {
        return Err(UsageError("what is current is at no other time; `metrics summary` takes a window".into()).into());
    }
    let (recent, mut minute) = (summary(chosen, &since(RECENT)?)?, summary(chosen, &since(MINUTE)?)?);
    minute.until = Some(now);
    let told_by = ToldBy::of(&recent);
    let mut columns = told_by.columns();
    columns.extend([("last", Align::Right), ("ago", Align::Right)]);
    columns.extend(["count in 1m", "rate", "mean", "p95"].map(|name| (name, Align::Right)));
    let mut table = Table::new(&columns);
    for series in recent.series.iter().take(chosen.limit) {
        let in_minute = minute.series.iter().find(|known| known.is_same_series(series));
        if format == Format::Json {
            let mut value = series_answer(&recent, series);
            value["last_minute"] =
                in_minute.map_or(serde_json::Value::Null, |of_minute| series_answer(&minute, of_minute));
            output::json(&value)?;
            continue;
        }
        let ago = Duration::from_nanos(now.0.saturating_sub(series.aggregate.last_at.0).max(0) as u64);
        let of_minute = [Stat::Count, Stat::Rate, Stat::Mean, Stat::P95]
            .map(|stat| in_minute.map(|series| stat.shown(&minute, series)).unwrap_or_default());
        let row = [Stat::Last.shown(&recent, series), duration(ago)].into_iter().chain(of_minute);
        table.row(told_by.cells(series).into_iter().chain(row));
    }
    if format == Format::Table && !recent.series.is_empty() {
        output::line(table.plain(Paint::stdout()))?;
    }
    told(&recent, chosen);
    Ok(())
}

/// Says what the answer is made of, and what it leaves out.
fn told(summary: &Summary, chosen: &Chosen) {
    match summary.since.zip(summary.until) {
        Some((since, until)) if !summary.series.is_empty() => {
            output::note(format_args!("{since} to {until}: {}", sources(summary)));
        }
        _ => output::note("nothing is stored that fits"),
    }
    if summary.series.len() > chosen.limit {
        output::note(format_args!("these are {} of {} series; --limit shows more", chosen.limit, summary.series.len()));
    }
}

/// What a summary is made of, in words.
fn sources(summary: &Summary) -> String {
    let several = |number, what| format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" });
    let mut from: Vec<_> =
        summary.rolled().map(|(tier, runs)| format!("{} of {tier}", several(runs, "rollup"))).collect();
    if summary.samples > 0 || from.is_empty() {
        from.push(several(summary.samples, "sample"));
    }
    let mut text = format!("from {}", from.join(", "));
    if let Some(tier) = summary.edge {
        let _ = write!(text, "; its edges are good to {tier}, since what is finer is not there any more");
    }
    if summary.missed > 0 {
        let _ = write!(text, "; {} came too fast to be counted", several(summary.missed, "sample"));
    }
    text
}

/// What the series of a table are told apart by: their names and labels, and what else they differ in.
struct ToldBy {
    extension: bool,
    /// What the host measures of an extension can have the same name as the extension's own.
    origin: bool,
    /// Series of one name and the same labels.
    instrument: bool,
    unit: bool,
}

impl ToldBy {
    fn of(summary: &Summary) -> Self {
        let differ = |same: fn(&SeriesSummary, &SeriesSummary) -> bool| {
            summary.series.windows(2).any(|pair| !same(&pair[0], &pair[1]))
        };
        // What is of one name and the same labels stands side by side.
        let is_alike = |one: &SeriesSummary, other: &SeriesSummary| {
            one.extension == other.extension && one.name == other.name && one.labels == other.labels
        };
        let alike = summary.series.windows(2).filter(|pair| is_alike(&pair[0], &pair[1]));
        let differ_alike =
            |same: fn(&SeriesSummary, &SeriesSummary) -> bool| alike.clone().any(|pair| !same(&pair[0], &pair[1]));
        Self {
            extension: differ(|one, other| one.extension == other.extension),
            origin: differ(|one, other| one.origin == other.origin),
            instrument: differ_alike(|one, other| one.instrument == other.instrument),
            unit: differ_alike(|one, other| one.unit == other.unit),
        }
    }

    fn columns(&self) -> Vec<(&'static str, Align)> {
        let before = [self.extension.then_some("extension"), self.origin.then_some("origin"), Some("metric")];
        let after = [self.instrument.then_some("instrument"), self.unit.then_some("unit")];
        before.into_iter().chain(after).flatten().map(|name| (name, Align::Left)).collect()
    }

    fn cells(&self, series: &SeriesSummary) -> Vec<String> {
        let extension = self.extension.then(|| series.extension.clone().unwrap_or_default());
        let origin = self.origin.then(|| series.origin.to_string());
        let instrument = self.instrument.then(|| series.instrument.to_string());
        let unit = self
            .unit
            .then(|| if series.unit.is_empty() { "-".to_owned() } else { visible(&series.unit, 40).into_owned() });
        extension.into_iter().chain(origin).chain([title(series)]).chain(instrument).chain(unit).collect()
    }
}

/// A series' name and labels.
fn title(series: &SeriesSummary) -> String {
    let mut title = visible(&series.name, 80).into_owned();
    if !series.labels.is_empty() {
        let labels: Vec<_> =
            series.labels.iter().map(|(name, value)| format!("{}={}", visible(name, 40), visible(value, 60))).collect();
        title = format!("{title}{{{}}}", labels.join(","));
    }
    title
}

impl Stat {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Rate => "rate",
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Last => "last",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }

    /// The figure with its unit; a dash where it means nothing.
    fn shown(self, summary: &Summary, series: &SeriesSummary) -> String {
        let aggregate = &series.aggregate;
        let is_counter = series.instrument == Instrument::Counter;
        let value = match self {
            Self::Count => return count(aggregate.count),
            Self::Rate => {
                let unit = if is_counter { series.unit.as_str() } else { "" };
                return summary.rate(series).map_or_else(|| "-".into(), |rate| format!("{}/s", quantity(rate, unit)));
            }
            Self::Sum => Some(aggregate.sum).filter(|_| series.instrument != Instrument::Gauge),
            Self::Min => Some(aggregate.min),
            Self::Max => Some(aggregate.max),
            Self::Mean => Some(aggregate.mean()),
            Self::Last => Some(aggregate.last).filter(|_| !is_counter),
            Self::P50 => aggregate.quantile(0.5),
            Self::P90 => aggregate.quantile(0.9),
            Self::P95 => aggregate.quantile(0.95),
            Self::P99 => aggregate.quantile(0.99),
            Self::P999 => aggregate.quantile(0.999),
        };
        value.map_or_else(|| "-".into(), |value| quantity(value, &series.unit))
    }
}

#[cfg(test)]
mod tests {
    use glasshouse::Instrument::{Counter, Gauge};
    use glasshouse::{Aggregate, Origin, UnixNanos};

    use super::*;

    #[test]
    fn series_of_one_name_and_the_same_labels_are_told_apart_by_what_they_differ_in() {
        let told = |kinds: &[(&str, Instrument, &str)]| {
            let series = |(name, instrument, unit): &(&str, Instrument, &str)| SeriesSummary {
                extension: None,
                name: (*name).to_owned(),
                labels: Vec::new(),
                unit: (*unit).to_owned(),
                instrument: *instrument,
                origin: Origin::Guest,
                aggregate: Aggregate::of(*instrument, 1.0, UnixNanos(0)),
            };
            let summary = Summary { series: kinds.iter().map(series).collect(), ..Summary::default() };
            let told_by = ToldBy::of(&summary);
            let heads: Vec<_> = told_by.columns().into_iter().map(|(name, _)| name).collect();
            [vec![heads.join(" ")], summary.series.iter().map(|one| told_by.cells(one).join(" ")).collect()].concat()
        };
        assert_eq!(told(&[("size", Gauge, "By"), ("time", Counter, "s")]), ["metric", "size", "time"]);
        assert_eq!(told(&[("size", Gauge, ""), ("size", Gauge, "By")]), ["metric unit", "size -", "size By"]);
        assert_eq!(
            told(&[("size", Counter, "By"), ("size", Gauge, "By"), ("time", Gauge, "s")]),
            ["metric instrument", "size counter", "size gauge", "time gauge"]
        );
    }
}
