//! Metrics, from the samples that are stored: counters as sums of what they grew by, gauges, each sample a point; histograms as
//! exponential histograms of what a batch has of a series. All of it is delta, since that is what samples are: nothing that was exported before is in it.
//! In a file each sample of a counter is a point. In a request a series has one, since whoever stores points by their times keeps one of several that
//! have the same.

use std::collections::{BTreeMap, HashMap};

use glasshouse_model::{Instrument, Signal, UnixNanos, limits};
use glasshouse_telemetry::{Aggregate, Distribution};

use super::messages::{
    Buckets, Data, Exemplar, ExponentialHistogram, Gauge, HistogramDataPoint, KeyValue, Metric, MetricsData,
    NumberDataPoint, Resource, ResourceMetrics, Scope, ScopeMetrics, Sum,
};
use super::request::{AROUND, Encoding};
use super::{Attributes, Fill, Out, ids, nanos, scope_of};
use crate::Source;
use crate::export::Broken;
use crate::records::MetricRecord;
use crate::walk::Walk;

/// OpenTelemetry's `AggregationTemporality`.
const DELTA: i32 = 1;
/// Buckets of a histogram of either sign, at most: what OpenTelemetry's SDKs keep where nobody says otherwise. A wider one is written with less precision.
const BUCKETS: i64 = 160;
/// Exemplars of a histogram's point.
const EXEMPLARS: usize = 4;
/// Nanoseconds by which what was told last may be ahead of the clock, which was set back then, for the next part to follow on it: what stores
/// metrics takes them so far ahead of its own time (Prometheus, ten minutes). After a longer way back, a series starts anew.
pub(super) const AHEAD_MOST: u64 = 600_000_000_000;
/// Bytes of a number's point beside its labels and exemplars, at most.
const NUMBER_BYTES: usize = 192;
/// Bytes of a histogram's point beside these and its buckets, at most.
const HISTOGRAM_BYTES: usize = 512 + 2 * 64;
/// Bytes by which a point grows with a sample more: a number in other digits.
const DIGITS: usize = 24;

/// Whose metric it is, what it is called, its unit, what its values mean.
type Key = (Scope, String, String, Instrument);
/// A metric, and its labels as text.
type SeriesKey = (Key, String);

/// What is gathered for a message.
#[derive(Default)]
pub(super) struct Batch {
    metrics: BTreeMap<Key, Points>,
}

#[derive(Default)]
struct Points {
    numbers: Vec<NumberDataPoint>,
    /// In a request, where among them the latest one of each series is, by its labels.
    latest: BTreeMap<String, usize>,
    histograms: BTreeMap<String, Histogram>,
}

struct Histogram {
    attributes: Vec<KeyValue>,
    start: u64,
    end: u64,
    aggregate: Aggregate,
    exemplars: Vec<Exemplar>,
}

/// Where the next part of a sum starts.
pub(super) enum Starts {
    /// Where the last sample of the same series ended it, or else with its first sample: when each series was last told of.
    Series(HashMap<SeriesKey, u64>),
    /// Where what was pushed before ended, whatever series that had.
    After(u64),
}

/// A sample, and which part of its series it is.
pub(super) struct Sample {
    key: Key,
    /// Its labels as text.
    labels: String,
    attributes: Vec<KeyValue>,
    value: f64,
    time: UnixNanos,
    start: u64,
    end: u64,
    exemplar: Option<Exemplar>,
}

/// Writes the samples of a source.
pub(super) fn write(walk: &mut Walk<'_>, source: &Source, out: &mut Out) -> Result<(), Broken> {
    let (mut batch, mut fill) = (Batch::default(), Fill::default());
    let mut starts = Starts::Series(HashMap::new());
    walk.each(source, Signal::Metric, &mut |walk, found| {
        let bytes = found.entry.bytes();
        let Some(record) = found.record::<MetricRecord>() else { return Ok(()) };
        batch.add(Sample::of(source, record, &mut starts), &starts);
        if fill.is_full_with(bytes) { batch.put(walk, out) } else { Ok(()) }
    })?;
    batch.put(walk, out)
}

impl Sample {
    pub(super) fn of(source: &Source, record: MetricRecord, starts: &mut Starts) -> Self {
        let MetricRecord { head, instrument, name, unit, value, labels } = record;
        let mut attributes = Attributes::default();
        attributes.fields(labels);
        let mut attributes = attributes.0;
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
        let key: Key = (scope_of(head.origin, source), name, unit, instrument);
        let labels = format!("{attributes:?}");
        let time = nanos(head.time);
        let (start, end) = match instrument {
            // It is what it was at that time, and has no start.
            Instrument::Gauge => (0, time),
            Instrument::Counter | Instrument::Histogram => starts.of(&key, &labels, time),
        };
        let (trace_id, span_id) = ids(head.context.as_ref());
        let exemplar = (!trace_id.is_empty()).then_some(Exemplar {
            time_unix_nano: time,
            as_double: Some(value),
            span_id,
            trace_id,
        });
        Self { key, labels, attributes, value, time: head.time, start, end, exemplar }
    }

    fn instrument(&self) -> Instrument {
        self.key.3
    }

    /// Where the part ends that it is in, which can be after its time.
    pub(super) fn until(&self) -> Option<UnixNanos> {
        i64::try_from(self.end).ok().map(UnixNanos)
    }

    /// The point of a sample that is alone in it.
    fn number(self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.end,
            as_double: Some(self.value),
            exemplars: self.exemplar.into_iter().collect(),
        }
    }
}

impl Batch {
    /// Bytes by which a request grows with a sample, at most.
    pub(super) fn growth(&self, sample: &Sample, encoding: Encoding) -> usize {
        let known = self.metrics.get(&sample.key);
        let is_known = known.is_some_and(|points| {
            points.histograms.contains_key(&sample.labels) || points.latest.contains_key(&sample.labels)
        });
        let exemplar = sample.exemplar.as_ref().map_or(0, |exemplar| encoding.size(exemplar));
        let of_metric = if known.is_some() {
            0
        } else {
            let (scope, name, unit, _) = &sample.key;
            let named = Metric { name: name.clone(), unit: unit.clone(), data: None };
            encoding.size(scope) + encoding.size(&named) + 2 * AROUND
        };
        let of_sample = match (sample.instrument(), is_known) {
            (Instrument::Counter | Instrument::Histogram, true) => exemplar + DIGITS,
            (Instrument::Histogram, false) => {
                // As many buckets of both signs as there may be, with counts of one digit.
                let buckets = 2 * BUCKETS as usize * if encoding == Encoding::Json { "\"0\",".len() } else { 1 };
                let attributes = sample.attributes.iter().map(|one| encoding.size(one)).sum::<usize>();
                exemplar + attributes + HISTOGRAM_BYTES + buckets
            }
            // Of a gauge that has the same time again, there is room for more than it takes.
            (Instrument::Gauge, _) | (Instrument::Counter, false) => {
                let attributes = sample.attributes.iter().map(|one| encoding.size(one)).sum::<usize>();
                exemplar + attributes + NUMBER_BYTES
            }
        };
        of_metric + of_sample
    }

    /// Takes a sample; into the latest point of its series in a request.
    pub(super) fn add(&mut self, sample: Sample, starts: &Starts) {
        let (instrument, labels) = (sample.instrument(), sample.labels.clone());
        let points = self.metrics.entry(sample.key.clone()).or_default();
        if instrument == Instrument::Histogram {
            if let Some(known) = points.histograms.get_mut(&labels) {
                known.aggregate.add(sample.value, sample.time);
                known.start = known.start.min(sample.start);
                known.end = known.end.max(sample.end);
                known.exemplars.extend(sample.exemplar.filter(|_| known.exemplars.len() < EXEMPLARS));
            } else {
                let Sample { attributes, start, end, value, time, exemplar, .. } = sample;
                let aggregate = Aggregate::of(instrument, value, time);
                let exemplars = exemplar.into_iter().collect();
                points.histograms.insert(labels, Histogram { attributes, start, end, aggregate, exemplars });
            }
            return;
        }
        if let Starts::After(_) = starts {
            if points.joins(&sample) {
                return;
            }
            points.latest.insert(labels, points.numbers.len());
        }
        points.numbers.push(sample.number());
    }

    fn put(&mut self, walk: &mut Walk<'_>, out: &Out) -> Result<(), Broken> {
        if self.metrics.is_empty() {
            return Ok(());
        }
        out.put(walk, &std::mem::take(self).document(out.resource.clone()))
    }

    /// What was gathered as a message.
    pub(super) fn document(self, resource: Resource) -> MetricsData {
        let mut scopes = BTreeMap::<Scope, Vec<Metric>>::new();
        for ((scope, name, unit, instrument), points) in self.metrics {
            let data = match instrument {
                Instrument::Counter => {
                    Data::Sum(Sum { data_points: points.numbers, aggregation_temporality: DELTA, is_monotonic: true })
                }
                Instrument::Gauge => Data::Gauge(Gauge { data_points: points.numbers }),
                Instrument::Histogram => Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: points.histograms.into_values().map(Histogram::point).collect(),
                    aggregation_temporality: DELTA,
                }),
            };
            scopes.entry(scope).or_default().push(Metric { name, unit, data: Some(data) });
        }
        let scopes = scopes.into_iter();
        let scope_metrics = scopes.map(|(scope, metrics)| ScopeMetrics { scope: Some(scope), metrics }).collect();
        MetricsData { resource_metrics: vec![ResourceMetrics { resource: Some(resource), scope_metrics }] }
    }
}

impl Starts {
    /// The part of a series that a sample is in: its start, and its end. Whatever becomes of the clock, a part has its end where it starts or after, and
    /// starts where the one before it ended; unless that is further ahead than [`AHEAD_MOST`], where the series starts anew.
    fn of(&mut self, key: &Key, labels: &str, time: u64) -> (u64, u64) {
        let told = match self {
            Self::After(until) => return (*until, time.max(*until + 1)),
            Self::Series(told) => told,
        };
        let series: SeriesKey = (key.clone(), labels.to_owned());
        let (start, end) = match told.get(&series) {
            Some(told) if told.saturating_sub(time) <= AHEAD_MOST => (*told, time.max(*told + 1)),
            // The first part of a series starts with its first sample.
            _ => (time, time),
        };
        if told.len() < limits::SERIES || told.contains_key(&series) {
            told.insert(series, end);
        }
        (start, end)
    }
}

impl Points {
    /// Takes a sample into the latest point of its series, where that is where it belongs: always into a counter's, into a gauge's if it has
    /// the same time.
    fn joins(&mut self, sample: &Sample) -> bool {
        let Some(point) = self.latest.get(&sample.labels).and_then(|at| self.numbers.get_mut(*at)) else {
            return false;
        };
        if sample.instrument() == Instrument::Counter {
            point.as_double = Some(point.as_double.unwrap_or_default() + sample.value);
            point.time_unix_nano = point.time_unix_nano.max(sample.end);
            if point.exemplars.len() < EXEMPLARS {
                point.exemplars.extend(sample.exemplar.clone());
            }
            return true;
        }
        if point.time_unix_nano == sample.end {
            point.as_double = Some(sample.value);
            point.exemplars = sample.exemplar.clone().into_iter().collect();
            return true;
        }
        false
    }
}

impl Histogram {
    fn point(self) -> HistogramDataPoint {
        let Aggregate { count, sum, min, max, distribution, .. } = self.aggregate;
        let distribution = distribution.unwrap_or_default();
        let (scale, positive, negative) = dense(&distribution);
        HistogramDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.end,
            count,
            // With negative numbers it is no sum that only grows, and must not be given.
            sum: negative.is_none().then_some(sum),
            scale,
            zero_count: distribution.zeros(),
            positive,
            negative,
            exemplars: self.exemplars,
            min: Some(min),
            max: Some(max),
        }
    }
}

/// The scale and the buckets of a distribution, without gaps, and with less precision where they would be too many.
pub(super) fn dense(distribution: &Distribution) -> (i32, Option<Buckets>, Option<Buckets>) {
    let sides = [distribution.positive(), distribution.negative()];
    let is_wide = |buckets: &[(i32, u64)], shift: u32| {
        buckets
            .first()
            .zip(buckets.last())
            .is_some_and(|(first, last)| i64::from(last.0 >> shift) - i64::from(first.0 >> shift) >= BUCKETS)
    };
    let mut shift = 0;
    while sides.iter().any(|side| is_wide(side, shift)) {
        shift += 1;
    }
    let [positive, negative] = sides.map(|side| {
        let offset = side.first()?.0 >> shift;
        let mut bucket_counts = Vec::new();
        for (index, count) in side {
            let at = ((index >> shift) - offset) as usize;
            if bucket_counts.len() <= at {
                bucket_counts.resize(at + 1, 0_u64);
            }
            bucket_counts[at] = bucket_counts[at].saturating_add(*count);
        }
        Some(Buckets { offset, bucket_counts })
    });
    (i32::from(distribution.scale()) - shift as i32, positive, negative)
}
