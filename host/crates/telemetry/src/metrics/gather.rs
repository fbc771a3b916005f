//! Samples and rollups put together by series, of those that a query asks for.

use std::collections::HashMap;

use glasshouse_model::record::Envelope;
use glasshouse_model::wire::{self, Metric, Record, Value};
use glasshouse_model::{Origin, Signal, UnixNanos};

use super::rollup::{Key, StoredRun, sample};
use super::{Aggregate, SeriesSummary};
use crate::query::Query;
use crate::reader::{Body, Entry};

/// The samples of one extension, by series.
pub(super) struct Gathered<'q> {
    extension: &'q str,
    query: &'q Query,
    /// Whether the query asks for series as a whole, so that one sample of each decides on all.
    by_series: bool,
    /// `None` if the query does not ask for it.
    series: HashMap<Box<[u8]>, Option<Aggregate>>,
    key: Key,
    /// Times of the first and of the last sample, of a rollup its start and its last sample.
    pub(super) times: Option<(UnixNanos, UnixNanos)>,
    /// Samples that were added one by one.
    pub(super) samples: u64,
}

impl<'q> Gathered<'q> {
    pub(super) fn new(extension: &'q str, query: &'q Query) -> Self {
        let by_series = query.is_of_series();
        Self { extension, query, by_series, series: HashMap::new(), key: Key::new(), times: None, samples: 0 }
    }

    /// Adds a stored sample, if it is one and the query asks for it.
    pub(super) fn add_sample(&mut self, entry: &Entry) {
        let body = entry.frame.body(entry.chunk.bytes());
        let Some((instrument, value)) = sample(entry.frame.kind, body) else { return };
        let is_wanted = self.by_series
            || wire::decode(entry.frame.kind, body).is_ok_and(|record| self.asks_for(&entry.envelope(), record));
        if !is_wanted {
            return;
        }
        let time = entry.time();
        let added = self.add(entry.origin(), body, |aggregate| match aggregate {
            Some(aggregate) => {
                aggregate.add(value, time);
            }
            None => *aggregate = Some(Aggregate::of(instrument, value, time)),
        });
        if added {
            self.samples += 1;
            self.note_times(time, time);
        }
    }

    /// Adds a stored run. What is damaged of it is left out.
    pub(super) fn add_run(&mut self, run: &StoredRun<'_>) {
        for (origin, body, its) in run.series().flatten() {
            let last_at = its.last_at;
            let added = self.add(origin, body, |aggregate| match aggregate {
                Some(aggregate) => aggregate.merge(&its),
                None => *aggregate = Some(its),
            });
            if added {
                self.note_times(UnixNanos(run.start), last_at);
            }
        }
    }

    fn note_times(&mut self, from: UnixNanos, to: UnixNanos) {
        let (first, last) = self.times.unwrap_or((from, to));
        self.times = Some((first.min(from), last.max(to)));
    }

    /// Adds to the series of a sample's body, if the query asks for it. Returns whether it does.
    fn add(&mut self, origin: Origin, body: &[u8], add: impl FnOnce(&mut Option<Aggregate>)) -> bool {
        if let Some(known) = self.series.get_mut(self.key.set(origin, body)) {
            if known.is_some() {
                add(known);
            }
            return known.is_some();
        }
        let mut aggregate = None;
        if !self.by_series || wire::decode(wire::KIND_METRIC, body).is_ok_and(|record| self.has(origin, record)) {
            add(&mut aggregate);
        }
        let is_wanted = aggregate.is_some();
        self.series.insert(self.key.set(origin, body).into(), aggregate);
        is_wanted
    }

    /// Whether the query asks for the series of a record.
    fn has(&self, origin: Origin, record: Record<'_>) -> bool {
        let envelope = Envelope { sequence: 0, time: UnixNanos(0), origin, cut: false, batched: false, context: None };
        self.asks_for(&envelope, record)
    }

    fn asks_for(&self, envelope: &Envelope, record: Record<'_>) -> bool {
        self.query.holds(Signal::Metric, self.extension, envelope, &Body::Record(record))
    }

    /// What was gathered, by name and labels. Sets of labels that differ in their order only are one.
    pub(super) fn finish(self) -> Vec<SeriesSummary> {
        let mut all = Vec::with_capacity(self.series.len());
        for (key, aggregate) in self.series {
            let Some((aggregate, (origin, body))) = aggregate.zip(Key::parts(&key)) else { continue };
            if let Ok(Record::Metric(metric, labels)) = wire::decode(wire::KIND_METRIC, body) {
                all.push(SeriesSummary::new(self.extension, origin, &metric, labels, aggregate));
            }
        }
        SeriesSummary::put_in_order(&mut all);
        all
    }
}

impl SeriesSummary {
    fn new(
        extension: &str,
        origin: Origin,
        metric: &Metric<'_>,
        labels: wire::Fields<'_>,
        aggregate: Aggregate,
    ) -> Self {
        let text = |value: Value<'_>| if let Value::Text(text) = value { text.to_owned() } else { String::new() };
        let mut labels: Vec<_> = labels.iter().map(|label| (label.name.to_owned(), text(label.value))).collect();
        labels.sort();
        Self {
            extension: Some(extension.to_owned()),
            name: metric.name.to_owned(),
            labels,
            unit: metric.unit.to_owned(),
            instrument: metric.instrument,
            origin,
            aggregate,
        }
    }
}
