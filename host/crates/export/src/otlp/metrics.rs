//! Metrics, from the samples that are stored: counters as sums of what they grew by, each sample a point; gauges, each sample a point; histograms as
//! exponential histograms of what a batch has of a series. All of it is delta, since that is what samples are: nothing that was exported before is in it.

use std::collections::{BTreeMap, HashMap};

use glasshouse_model::{Instrument, Signal, limits};
use glasshouse_telemetry::{Aggregate, Distribution};

use super::messages::{
    Buckets, Data, Exemplar, ExponentialHistogram, Gauge, HistogramDataPoint, KeyValue, Metric, MetricsData,
    NumberDataPoint, ResourceMetrics, Scope, ScopeMetrics, Sum,
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

#[derive(Default)]
struct Batch {
    metrics: BTreeMap<Key, Points>,
}

#[derive(Default)]
struct Points {
    numbers: Vec<NumberDataPoint>,
    histograms: BTreeMap<String, Histogram>,
}

struct Histogram {
    attributes: Vec<KeyValue>,
    start: u64,
    aggregate: Aggregate,
    exemplars: Vec<Exemplar>,
}

/// Writes the samples of a source.
pub(super) fn write(walk: &mut Walk<'_>, source: &Source, out: &mut Out) -> Result<(), Broken> {
    let (mut batch, mut fill) = (Batch::default(), Fill::default());
    // When each series was last told of: where the next part of it starts.
    let mut told = HashMap::<SeriesKey, u64>::new();
    walk.each(source, Signal::Metric, &mut |walk, found| {
        let bytes = found.entry.bytes();
        let Some(record) = found.record::<MetricRecord>() else { return Ok(()) };
        batch.add(source, record, &mut told);
        if fill.is_full_with(bytes) { batch.put(walk, out) } else { Ok(()) }
    })?;
    batch.put(walk, out)
}

impl Batch {
    fn add(&mut self, source: &Source, record: MetricRecord, told: &mut HashMap<SeriesKey, u64>) {
        let MetricRecord { head, instrument, name, unit, value, labels } = record;
        let mut attributes = Attributes::default();
        attributes.fields(labels);
        let mut attributes = attributes.0;
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
        let key: Key = (scope_of(head.origin, source), name, unit, instrument);
        let labels = format!("{attributes:?}");
        let time = nanos(head.time);
        let series: SeriesKey = (key.clone(), labels.clone());
        // The first part of a series starts with its first sample.
        let start = told.get(&series).map_or(time, |told| time.min(*told));
        if told.len() < limits::SERIES || told.contains_key(&series) {
            told.insert(series, time);
        }
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
        let mut scopes = BTreeMap::<Scope, Vec<Metric>>::new();
        for ((scope, name, unit, instrument), points) in std::mem::take(&mut self.metrics) {
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
        if scopes.is_empty() {
            return Ok(());
        }
        let scopes = scopes.into_iter();
        let scope_metrics = scopes.map(|(scope, metrics)| ScopeMetrics { scope: Some(scope), metrics }).collect();
        out.put(
            walk,
            &MetricsData {
                resource_metrics: vec![ResourceMetrics { resource: Some(out.resource.clone()), scope_metrics }],
            },
        )
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
