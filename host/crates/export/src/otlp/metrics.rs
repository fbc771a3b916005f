//! Metrics, from the samples that are stored: counters as sums of what they grew by, gauges, each sample a point; histograms as
//! exponential histograms of what a batch has of a series. All of it is delta, since that is what samples are: nothing that was exported before is in it.
//! In a file each sample of a counter is a point. In a request a series has one, since whoever stores points by their times keeps one of several that
//! have the same.

use std::collections::{BTreeMap, HashMap};

use glasshouse_model::{Instrument, Signal, limits};
use glasshouse_telemetry::{Aggregate, Distribution};

use super::messages::{
    Buckets, Data, Exemplar, ExponentialHistogram, Gauge, HistogramDataPoint, KeyValue, Metric, MetricsData,
    NumberDataPoint, Resource, ResourceMetrics, Scope, ScopeMetrics, Sum,
};
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

/// Writes the samples of a source.
pub(super) fn write(walk: &mut Walk<'_>, source: &Source, out: &mut Out) -> Result<(), Broken> {
    let (mut batch, mut fill) = (Batch::default(), Fill::default());
    let mut starts = Starts::Series(HashMap::new());
    walk.each(source, Signal::Metric, &mut |walk, found| {
        let bytes = found.entry.bytes();
        let Some(record) = found.record::<MetricRecord>() else { return Ok(()) };
        batch.add(source, record, &mut starts);
        if fill.is_full_with(bytes) { batch.put(walk, out) } else { Ok(()) }
    })?;
    batch.put(walk, out)
}

impl Batch {
    pub(super) fn add(&mut self, source: &Source, record: MetricRecord, starts: &mut Starts) {
        let MetricRecord { head, instrument, name, unit, value, labels } = record;
        let mut attributes = Attributes::default();
        attributes.fields(labels);
        let mut attributes = attributes.0;
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
        let key: Key = (scope_of(head.origin, source), name, unit, instrument);
        let labels = format!("{attributes:?}");
        let time = nanos(head.time);
        let start = starts.of(&key, &labels, time);
        let (trace_id, span_id) = ids(head.context.as_ref());
        let exemplar = (!trace_id.is_empty()).then_some(Exemplar {
            time_unix_nano: time,
            as_double: Some(value),
            span_id,
            trace_id,
        });
        let points = self.metrics.entry(key).or_default();
        if instrument == Instrument::Histogram {
            if let Some(known) = points.histograms.get_mut(&labels) {
                known.aggregate.add(value, head.time);
                known.start = known.start.min(start);
                known.exemplars.extend(exemplar.filter(|_| known.exemplars.len() < EXEMPLARS));
            } else {
                let aggregate = Aggregate::of(instrument, value, head.time);
                let exemplars = exemplar.into_iter().collect();
                points.histograms.insert(labels, Histogram { attributes, start, aggregate, exemplars });
            }
        } else {
            if let Starts::After(_) = starts {
                if points.joins(instrument, &labels, time, value, exemplar.as_ref()) {
                    return;
                }
                points.latest.insert(labels, points.numbers.len());
            }
            points.numbers.push(NumberDataPoint {
                attributes,
                // A gauge has no start.
                start_time_unix_nano: if instrument == Instrument::Counter { start } else { 0 },
                time_unix_nano: time,
                as_double: Some(value),
                exemplars: exemplar.into_iter().collect(),
            });
        }
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
    /// The start of a series' part that ends at a time.
    fn of(&mut self, key: &Key, labels: &str, time: u64) -> u64 {
        let told = match self {
            Self::After(until) => return time.min(*until),
            Self::Series(told) => told,
        };
        let series: SeriesKey = (key.clone(), labels.to_owned());
        // The first part of a series starts with its first sample.
        let start = told.get(&series).map_or(time, |told| time.min(*told));
        if told.len() < limits::SERIES || told.contains_key(&series) {
            told.insert(series, time);
        }
        start
    }
}

impl Points {
    /// Takes a sample into the latest point of its series, where that is where it belongs: always into a counter's, into a gauge's if it has
    /// the same time.
    fn joins(
        &mut self,
        instrument: Instrument,
        labels: &str,
        time: u64,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) -> bool {
        let Some(point) = self.latest.get(labels).and_then(|at| self.numbers.get_mut(*at)) else { return false };
        if instrument == Instrument::Counter {
            point.as_double = Some(point.as_double.unwrap_or_default() + value);
            point.time_unix_nano = point.time_unix_nano.max(time);
            if point.exemplars.len() < EXEMPLARS {
                point.exemplars.extend(exemplar.cloned());
            }
            return true;
        }
        if point.time_unix_nano == time {
            point.as_double = Some(value);
            point.exemplars = exemplar.cloned().into_iter().collect();
            return true;
        }
        false
    }
}

impl Histogram {
    fn point(self) -> HistogramDataPoint {
        let Aggregate { count, sum, min, max, last_at, distribution, .. } = self.aggregate;
        let distribution = distribution.unwrap_or_default();
        let (scale, positive, negative) = dense(&distribution);
        HistogramDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: nanos(last_at),
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
