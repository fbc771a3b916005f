//! `glasshouse metrics`: samples as they are stored, and what they come to.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use glasshouse::records::MetricRecord;
use glasshouse::text::{count, counted, duration, quantity, visible};
use glasshouse::{Clock as _, Instrument, Query, Summary, SystemClock, Tier, UnixNanos, metrics_answer};
use glasshouse_client::api::{MetricSummary, Series, Sources};

use super::select::{Chosen, Conditions, Selection};
use super::store::{Question, Store, StoreOf};
use super::{Exit, Follow, follow, show};
use crate::cli::control::told;
use crate::cli::{RecordFormat, UsageError};
use crate::output::{self, Align, Paint, Table};

/// What `current` looks back for, to find the latest value of each series: longer ago is not current.
const RECENT: Duration = Duration::from_hours(24);
/// What `current` sums up.
const MINUTE: Duration = Duration::from_mins(1);

/// Series that a host tells at most.
const MOST: usize = 1000;

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
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what {
            MetricsVerb::Current(Current { selection, query }) => {
                current(&selection.chosen(&Conditions::new(&query)).await?, format).await
            }
            MetricsVerb::Summary(Summarise { selection, hours, since, until, stats, together, query }) => {
                let chosen = selection.chosen(&Conditions { hours, since, until, ..Conditions::new(&query) }).await?;
                let stats = if stats.is_empty() { DEFAULT_STATS.to_vec() } else { stats };
                summarise(&chosen, together, &stats, format).await
            }
            MetricsVerb::Show(ShowSamples { selection, hours, query }) => {
                let conditions = Conditions { hours, ..Conditions::new(&query) };
                show::show::<MetricRecord>(&selection.chosen(&conditions).await?, format).await
            }
            MetricsVerb::Follow(Follow { selection, after, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query)).await?;
                follow::follow::<MetricRecord>(&chosen, after.as_ref(), format).await
            }
        }
        .map(|()| Exit::Ok)
    }
}

/// What the samples come to that a question asks for, of all extensions that were chosen; at most so many series.
async fn summary(chosen: &Chosen, question: &Question, together: bool, limit: usize) -> Result<MetricSummary> {
    if let Store::Host(client) = &chosen.store {
        let (id, question) = chosen.scope(question)?;
        return told(client.metrics(id, &question.text, limit.clamp(1, MOST), together).await);
    }
    let mut whole = Summary::default();
    for records in chosen.extensions().await?.iter().filter_map(StoreOf::records::<MetricRecord>) {
        whole.merge(records.summary(&question.query));
    }
    if together {
        whole = whole.across_extensions();
    }
    Ok(metrics_answer("*", &whole, limit))
}

async fn summarise(chosen: &Chosen, together: bool, stats: &[Stat], format: RecordFormat) -> Result<()> {
    let summary = summary(chosen, &chosen.question, together, chosen.limit).await?;
    let shown = &summary.series[..summary.series.len().min(chosen.limit)];
    if format == RecordFormat::Table {
        let told_by = ToldBy::of(shown);
        let mut columns = told_by.columns();
        columns.extend(stats.iter().map(|stat| (stat.name(), Align::Right)));
        let mut table = Table::new(&columns);
        for series in shown {
            let cells = stats.iter().map(|stat| stat.shown(series));
            table.row(told_by.cells(series).into_iter().chain(cells));
        }
        if !shown.is_empty() {
            output::line(table.plain(Paint::stdout()))?;
        }
    } else {
        output::values(shown, format)?;
    }
    tell(&summary, chosen);
    Ok(())
}

async fn current(chosen: &Chosen, format: RecordFormat) -> Result<()> {
    let asked = &chosen.question;
    if asked.query.since().is_some() || asked.query.until().is_some() {
        return Err(UsageError("what is current is at no other time; `metrics summary` takes a window".into()).into());
    }
    let now = SystemClock::new().now();
    // A host counts from its own clock's now.
    let within = |clauses: String| -> Result<Question> {
        let query = Query::parse(&clauses, now).map_err(|error| UsageError(error.to_string()))?.and(&asked.query);
        Ok(Question { text: format!("{} {clauses}", asked.text), query })
    };
    let recent = summary(chosen, &within(format!("since {}s", RECENT.as_secs()))?, false, chosen.limit).await?;
    let minute = summary(chosen, &within(format!("since {}s until now", MINUTE.as_secs()))?, false, MOST).await?;
    let shown = &recent.series[..recent.series.len().min(chosen.limit)];
    let told_by = ToldBy::of(shown);
    let mut columns = told_by.columns();
    columns.extend([("last", Align::Right), ("ago", Align::Right)]);
    columns.extend(["count in 1m", "rate", "mean", "p95"].map(|name| (name, Align::Right)));
    let mut table = Table::new(&columns);
    let mut values = Vec::new();
    for series in shown {
        let in_minute = minute.series.iter().find(|known| key(known) == key(series));
        let mut value = serde_json::to_value(series)?;
        value["last_minute"] = serde_json::to_value(in_minute)?;
        values.push(value);
        let last_at = series.last_at.parse::<UnixNanos>().map_or(0, |time| time.0);
        let ago = Duration::from_nanos(now.0.saturating_sub(last_at).max(0) as u64);
        let of_minute = [Stat::Count, Stat::Rate, Stat::Mean, Stat::P95]
            .map(|stat| in_minute.map(|series| stat.shown(series)).unwrap_or_default());
        let row = [Stat::Last.shown(series), duration(ago)].into_iter().chain(of_minute);
        table.row(told_by.cells(series).into_iter().chain(row));
    }
    match format {
        RecordFormat::Table if shown.is_empty() => {}
        RecordFormat::Table => output::line(table.plain(Paint::stdout()))?,
        _ => output::values(&values, format)?,
    }
    tell(&recent, chosen);
    Ok(())
}

/// What a series is told from others by.
fn key(series: &Series) -> impl PartialEq + '_ {
    (&series.extension, &series.name, &series.labels, &series.unit, &series.instrument, &series.origin)
}

/// Says what the answer is made of, and what it leaves out.
fn tell(summary: &MetricSummary, chosen: &Chosen) {
    match (summary.since.as_ref().zip(summary.until.as_ref()), summary.series.first()) {
        (Some((since, until)), Some(first)) => {
            output::note(format_args!("{since} to {until}: {}", sources(first)));
        }
        _ => output::note("nothing is stored that fits"),
    }
    let shown = summary.series.len().min(chosen.limit);
    if summary.total > shown as u64 {
        output::note(format_args!("these are {shown} of {} series; --limit shows more", summary.total));
    }
}

/// What a summary is made of, in words, as each of its series says.
fn sources(series: &Series) -> String {
    let several = |number, what: &str| counted(number, what, &format!("{what}s"));
    let Sources { rollups, samples, edge } = &series.resolution;
    let runs = |tier: &Tier| rollups.get(tier.as_str()).map(|runs| (*tier, *runs));
    let mut from: Vec<_> = Tier::ALL
        .iter()
        .rev()
        .filter_map(runs)
        .map(|(tier, runs)| format!("{} of {tier}", several(runs, "rollup")))
        .collect();
    if *samples > 0 || from.is_empty() {
        from.push(several(*samples, "sample"));
    }
    let mut text = format!("from {}", from.join(", "));
    if let Some(tier) = edge {
        let tier = visible(tier, 20);
        let _ = write!(text, "; its edges are good to {tier}, since what is finer is not there any more");
    }
    if series.missed > 0 {
        let _ = write!(text, "; {} came too fast to be counted", several(series.missed, "sample"));
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
    fn of(all: &[Series]) -> Self {
        let differ = |same: fn(&Series, &Series) -> bool| all.windows(2).any(|pair| !same(&pair[0], &pair[1]));
        // What is of one name and the same labels stands side by side.
        let is_alike = |one: &Series, other: &Series| {
            one.extension == other.extension && one.name == other.name && one.labels == other.labels
        };
        let alike = all.windows(2).filter(|pair| is_alike(&pair[0], &pair[1]));
        let differ_alike = |same: fn(&Series, &Series) -> bool| alike.clone().any(|pair| !same(&pair[0], &pair[1]));
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

    fn cells(&self, series: &Series) -> Vec<String> {
        let extension = self.extension.then(|| series.extension.clone().unwrap_or_default());
        let word = |word: &str| visible(word, 20).into_owned();
        let origin = self.origin.then(|| word(&series.origin));
        let instrument = self.instrument.then(|| word(&series.instrument));
        let unit = self
            .unit
            .then(|| if series.unit.is_empty() { "-".to_owned() } else { visible(&series.unit, 40).into_owned() });
        extension.into_iter().chain(origin).chain([title(series)]).chain(instrument).chain(unit).collect()
    }
}

/// A series' name and labels.
fn title(series: &Series) -> String {
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
    fn shown(self, series: &Series) -> String {
        let is = |instrument: Instrument| series.instrument == instrument.as_str();
        let value = match self {
            Self::Count => return count(series.count),
            Self::Rate => {
                let unit = if is(Instrument::Counter) { series.unit.as_str() } else { "" };
                return series.rate.map_or_else(|| "-".into(), |rate| format!("{}/s", quantity(rate, unit)));
            }
            Self::Sum => series.sum.filter(|_| !is(Instrument::Gauge)),
            Self::Min => series.min,
            Self::Max => series.max,
            Self::Mean => series.mean,
            Self::Last => series.last.filter(|_| !is(Instrument::Counter)),
            Self::P50 => series.p50,
            Self::P90 => series.p90,
            Self::P95 => series.p95,
            Self::P99 => series.p99,
            Self::P999 => series.p999,
        };
        value.map_or_else(|| "-".into(), |value| quantity(value, &series.unit))
    }
}

#[cfg(test)]
mod tests {
    use glasshouse::Instrument::{Counter, Gauge};

    use super::*;

    #[test]
    fn series_of_one_name_and_the_same_labels_are_told_apart_by_what_they_differ_in() {
        let told = |kinds: &[(&str, Instrument, &str)]| {
            let series = |(name, instrument, unit): &(&str, Instrument, &str)| Series {
                name: (*name).to_owned(),
                unit: (*unit).to_owned(),
                instrument: instrument.to_string(),
                origin: "guest".to_owned(),
                ..Series::default()
            };
            let all: Vec<_> = kinds.iter().map(series).collect();
            let told_by = ToldBy::of(&all);
            let heads: Vec<_> = told_by.columns().into_iter().map(|(name, _)| name).collect();
            [vec![heads.join(" ")], all.iter().map(|one| told_by.cells(one).join(" ")).collect()].concat()
        };
        assert_eq!(told(&[("size", Gauge, "By"), ("time", Counter, "s")]), ["metric", "size", "time"]);
        assert_eq!(told(&[("size", Gauge, ""), ("size", Gauge, "By")]), ["metric unit", "size -", "size By"]);
        assert_eq!(
            told(&[("size", Counter, "By"), ("size", Gauge, "By"), ("time", Gauge, "s")]),
            ["metric instrument", "size counter", "size gauge", "time gauge"]
        );
    }
}
