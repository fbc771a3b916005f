//! Metrics as they stand now, in Prometheus' text format 0.0.4 and in OpenMetrics 1.0.
//!
//! A counter is what is stored of it in all, rollups included; a gauge its latest value; a histogram has a bucket for each doubling that was met. Unlike
//! other exports it is gathered as a whole before it is written, since all of a family stands together: what an extension can bring in is bounded.

mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;

use glasshouse_model::{HOST, Instrument, Origin, Signal, SpanId, TraceId, UnixNanos};
use glasshouse_telemetry::{Distribution, Labels, Order, SeriesSummary};

use crate::export::{Broken, Export};
use crate::records::{FieldValue, MetricRecord};
use crate::walk::Walk;
use crate::{Format, Source};

/// Series of an extension, at most: a thousand of a hundred extensions is what a Prometheus of usual size takes from one target. What is left out is counted.
const SERIES: usize = 1000;
/// Labels of a series, the extension's id not counted.
const LABELS: usize = 24;
/// Characters of a label's value.
const VALUE_CHARACTERS: usize = 200;
/// Buckets of a histogram. Where more doublings were met, a bucket has several.
const BUCKETS: i32 = 32;
/// Samples of an extension that are looked through for exemplars, the newest.
const EXEMPLARS_AMONG: usize = 4096;

/// What an extension records itself, and what the host records of it and of its own process.
const GUEST_PREFIX: &str = "glasshouse_guest_";
const EXTENSION_PREFIX: &str = "glasshouse_extension_";
const HOST_PREFIX: &str = "glasshouse_host_";
/// Names that Prometheus' client libraries give a process, which stay as they are.
const PROCESS: &str = "process_";

/// Metrics of one name.
struct Family {
    instrument: Instrument,
    unit: &'static str,
    help: String,
    /// By their labels as they are written.
    series: BTreeMap<String, Value>,
}

enum Value {
    Number(f64, Option<Exemplar>),
    Histogram(Histogram),
}

struct Histogram {
    /// The upper bound of each bucket, and how many samples are at or below it.
    buckets: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
    /// Whether a sample was below zero, so that the sum need not grow.
    has_negative: bool,
    exemplar: Option<Exemplar>,
}

/// The latest sample of a series that was recorded in a trace.
#[derive(Clone, Copy)]
struct Exemplar {
    trace: TraceId,
    span: SpanId,
    value: f64,
    time: UnixNanos,
}

#[derive(Default)]
struct Families {
    by_name: BTreeMap<String, Family>,
    /// All names of samples, so that no family takes one of another's.
    taken: BTreeSet<String>,
}

/// Writes all families, each with the series of all sources.
pub(crate) fn write(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    let mut families = Families::default();
    for source in export.sources {
        gather(source, walk, &mut families)?;
    }
    let is_open_metrics = export.format == Format::OpenMetrics;
    for (name, family) in &families.by_name {
        family.write(name, is_open_metrics, walk)?;
        walk.spill()?;
    }
    if is_open_metrics {
        walk.buffer().extend_from_slice(b"# EOF\n");
    }
    Ok(())
}

/// Adds what there is of a source.
fn gather(source: &Source, walk: &mut Walk<'_>, families: &mut Families) -> Result<(), Broken> {
    let reader = source.reader(Signal::Metric);
    let summary = reader.summary(source.extension(), walk.query);
    let exemplars = exemplars(source, walk)?;
    let mut left_out = summary.series.len().saturating_sub(SERIES) as u64;
    for series in summary.series.iter().take(SERIES) {
        if families.add(source, series, &exemplars) {
            walk.exported.written += 1;
        } else {
            left_out += 1;
        }
    }
    walk.exported.left_out += left_out;
    let extension = own_label(source);
    let own = [(
        "series_left_out",
        Instrument::Gauge,
        "Series that are over the bounds of this export, or would take the place of others",
    )];
    for (name, instrument, help) in own {
        families.add_own(&format!("{EXTENSION_PREFIX}{name}"), instrument, help, extension.clone(), left_out as f64);
    }
    for signal in Signal::ALL {
        let reader = source.reader(*signal);
        let labels = format!("{extension},signal=\"{signal}\"");
        for (name, help, count) in [
            ("records_stored", "Records that were ever stored", reader.stored()),
            ("records_evicted", "Records that were stored and had to go", reader.evicted()),
        ] {
            let name = format!("{EXTENSION_PREFIX}{name}");
            families.add_own(&name, Instrument::Counter, help, labels.clone(), count as f64);
        }
    }
    Ok(())
}

fn own_label(source: &Source) -> String {
    format!("extension=\"{}\"", source.extension())
}

/// A series by its name, labels, unit, instrument and origin.
type Key = (String, Labels, String, Instrument, Origin);

/// The latest sample in a trace of each series, among the newest ones.
fn exemplars(source: &Source, walk: &mut Walk<'_>) -> Result<HashMap<Key, Exemplar>, Broken> {
    let mut found = HashMap::new();
    let reader = source.reader(Signal::Metric);
    let sequences = 1..reader.next_sequence();
    let (query, order, limit) = (walk.query, Order::NewestFirst, Some(EXEMPLARS_AMONG));
    walk.search(source.extension(), reader, query, sequences, order, limit, &mut |_, one| {
        let Some(record) = one.record::<MetricRecord>() else { return Ok(()) };
        let Some(context) = record.head.context.as_ref().filter(|context| context.trace_id != TraceId::default())
        else {
            return Ok(());
        };
        let (trace, span, time) = (context.trace_id, context.span_id, record.head.time);
        let text = |value| if let FieldValue::Text(text) = value { text } else { String::new() };
        let mut labels: Labels = record.labels.0.into_iter().map(|(name, value)| (name, text(value))).collect();
        labels.sort();
        let key = (record.name, labels, record.unit, record.instrument, record.head.origin);
        found.entry(key).or_insert(Exemplar { trace, span, value: record.value, time });
        Ok(())
    })?;
    Ok(found)
}

impl Families {
    /// Adds a series. Returns whether there is a place for it.
    fn add(&mut self, source: &Source, series: &SeriesSummary, exemplars: &HashMap<Key, Exemplar>) -> bool {
        let SeriesSummary { name, labels, unit, instrument, origin, aggregate, .. } = series;
        let is_host = source.extension() == HOST;
        let (prefix, whose) = match (is_host, origin) {
            (true, _) if name.starts_with(PROCESS) => ("", "the host's process"),
            (true, _) => (HOST_PREFIX, "the host's process"),
            (false, Origin::Host) => (EXTENSION_PREFIX, "extensions, as the host measures them"),
            (false, _) => (GUEST_PREFIX, "extensions, as they record it"),
        };
        let named = names::metric(prefix, name, unit, *instrument);
        let in_unit = if unit.is_empty() { String::new() } else { format!(" ({})", names::shown(unit)) };
        let help = format!("{}{in_unit} of {whose}", names::shown(name));
        let label_text = labels_of(source, labels);
        let exemplar = exemplars.get(&(name.clone(), labels.clone(), unit.clone(), *instrument, *origin)).copied();
        let exemplar = exemplar.map(|one| Exemplar { value: named.factor.of(one.value), ..one });
        let value = match (instrument, &aggregate.distribution) {
            (Instrument::Histogram, Some(distribution)) => Value::Histogram(Histogram {
                buckets: buckets(distribution, named.factor),
                count: distribution.count(),
                sum: named.factor.of(aggregate.sum),
                has_negative: aggregate.min < 0.0,
                exemplar,
            }),
            (Instrument::Counter, _) => Value::Number(named.factor.of(aggregate.sum), exemplar),
            _ => Value::Number(named.factor.of(aggregate.last), None),
        };
        // Two metrics of one name need not be of one kind. A name that does not end with its unit has none.
        let other = format!("{}_{instrument}", named.family);
        for (family, unit) in [(named.family, named.unit), (other, "")] {
            if self.has_place(&family, *instrument, unit) {
                return self.put(family, *instrument, unit, help, label_text, value);
            }
        }
        false
    }

    fn add_own(&mut self, name: &str, instrument: Instrument, help: &str, labels: String, value: f64) {
        if self.has_place(name, instrument, "") {
            self.put(name.to_owned(), instrument, "", help.to_owned(), labels, Value::Number(value, None));
        }
    }

    /// Whether there is a family of this name and kind, or none that it would be in the way of.
    fn has_place(&self, name: &str, instrument: Instrument, unit: &str) -> bool {
        match self.by_name.get(name) {
            Some(family) => family.instrument == instrument && family.unit == unit,
            None => samples_of(name, instrument).all(|sample| !self.taken.contains(&sample)),
        }
    }

    /// Adds a series to a family that has a place for it. Returns whether it is new there.
    fn put(
        &mut self,
        name: String,
        instrument: Instrument,
        unit: &'static str,
        help: String,
        labels: String,
        value: Value,
    ) -> bool {
        self.taken.extend(samples_of(&name, instrument));
        let family =
            self.by_name.entry(name).or_insert_with(|| Family { instrument, unit, help, series: BTreeMap::new() });
        let is_new = !family.series.contains_key(&labels);
        if is_new {
            family.series.insert(labels, value);
        }
        is_new
    }
}

/// The family's own name, and the names that its samples have or may have.
fn samples_of(name: &str, instrument: Instrument) -> impl Iterator<Item = String> {
    let ends: &[&str] = match instrument {
        Instrument::Counter => &["", "_total", "_created"],
        Instrument::Gauge => &[""],
        Instrument::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
    };
    ends.iter().map(move |end| format!("{name}{end}"))
}

/// The labels of a series as they are written: the extension first, names unique, values bounded.
fn labels_of(source: &Source, labels: &Labels) -> String {
    let mut clean = BTreeMap::<String, String>::new();
    for (name, text) in labels.iter().take(LABELS) {
        let text = names::value(text, VALUE_CHARACTERS);
        // Names that have become one: OpenTelemetry's compatibility specification for Prometheus joins their values so.
        clean.entry(names::label(name)).and_modify(|known| *known = format!("{known};{text}")).or_insert(text);
    }
    let mut written = own_label(source);
    for (name, text) in clean {
        let _ = write!(written, ",{name}=\"{text}\"");
    }
    written
}

/// Buckets whose bounds are powers of two, of the unit that was recorded in; what is zero or less is in one of its own.
fn buckets(distribution: &Distribution, factor: names::Factor) -> Vec<(f64, u64)> {
    let scale = distribution.scale();
    let below: u64 = distribution
        .negative()
        .iter()
        .map(|(_, count)| count)
        .fold(distribution.zeros(), |sum, count| sum.saturating_add(*count));
    let mut buckets = Vec::new();
    if below > 0 {
        buckets.push((0.0, below));
    }
    let positive = distribution.positive();
    let Some((first, last)) = positive.first().zip(positive.last()) else { return buckets };
    let mut shift = u32::from(scale);
    while (last.0 >> shift) - (first.0 >> shift) >= BUCKETS {
        shift += 1;
    }
    let doublings = shift - u32::from(scale);
    let (mut sum, mut at) = (below, 0);
    for index in first.0 >> shift..=last.0 >> shift {
        while let Some((_, count)) = positive.get(at).filter(|(bucket, _)| bucket >> shift == index) {
            sum = sum.saturating_add(*count);
            at += 1;
        }
        let bound = factor.of(f64::from((index + 1) << doublings).exp2());
        // The last doubling of all numbers ends where numbers do.
        if bound.is_finite() {
            buckets.push((bound, sum));
        }
    }
    buckets
}

impl Family {
    fn write(&self, name: &str, is_open_metrics: bool, walk: &mut Walk<'_>) -> Result<(), Broken> {
        let Self { instrument, unit, help, series } = self;
        let is_counter = *instrument == Instrument::Counter;
        let total = if is_counter { "_total" } else { "" };
        // OpenMetrics names the family, and the older format the sample.
        let described = if is_open_metrics { name.to_owned() } else { format!("{name}{total}") };
        let out = walk.buffer();
        writeln!(out, "# HELP {described} {}", names::help(help, is_open_metrics))?;
        writeln!(out, "# TYPE {described} {instrument}")?;
        if is_open_metrics && !unit.is_empty() {
            writeln!(out, "# UNIT {described} {unit}")?;
        }
        for (labels, value) in series {
            match value {
                Value::Number(number, exemplar) => {
                    write!(out, "{name}{total}{{{labels}}} {}", shown(*number))?;
                    end(out, exemplar.filter(|_| is_open_metrics && is_counter))?;
                }
                Value::Histogram(histogram) => {
                    let mut exemplar = histogram.exemplar.filter(|_| is_open_metrics);
                    for (bound, count) in histogram.buckets.iter().copied().chain([(f64::INFINITY, histogram.count)]) {
                        write!(out, "{name}_bucket{{{labels},le=\"{}\"}} {count}", shown(bound))?;
                        let is_in_it = exemplar.is_some_and(|exemplar| exemplar.value <= bound);
                        end(out, if is_in_it { exemplar.take() } else { None })?;
                    }
                    // OpenMetrics has it that a sum only grows, and is there if the count is.
                    if !(is_open_metrics && histogram.has_negative) {
                        writeln!(out, "{name}_sum{{{labels}}} {}", shown(histogram.sum))?;
                        writeln!(out, "{name}_count{{{labels}}} {}", histogram.count)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The end of a line, with an exemplar if there is one.
fn end(out: &mut Vec<u8>, exemplar: Option<Exemplar>) -> std::io::Result<()> {
    // A time before 1970 is none that a reader takes.
    if let Some(Exemplar { trace, span, value, time }) = exemplar.filter(|exemplar| exemplar.time.0 >= 0) {
        let (seconds, nanos) = (time.0.div_euclid(1_000_000_000), time.0.rem_euclid(1_000_000_000));
        write!(out, " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {} {seconds}.{nanos:09}", shown(value))?;
    }
    writeln!(out)
}

/// A number as both formats read it. One that another unit has no number for is infinite.
fn shown(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    format!("{number:?}")
}
