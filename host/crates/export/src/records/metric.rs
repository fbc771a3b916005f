//! Metric samples.

use glasshouse_model::wire::Record;
use glasshouse_model::{Instrument, Signal};
use glasshouse_telemetry::{Body, Query, Summary};
use serde::{Deserialize, Serialize};

use super::sealed::FromStore;
use super::{FieldList, Head, Records, number, read, shown};

/// A metric sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRecord {
    /// Its place, time, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// What the value means.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub instrument: Instrument,
    /// The metric's name.
    pub name: String,
    /// A UCUM code, or empty.
    pub unit: String,
    /// The sample. JSON has no number for what is not finite, and comes back as what is none.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// Its labels; all of them text.
    pub labels: FieldList,
}

impl FromStore for MetricRecord {
    const SIGNAL: Signal = Signal::Metric;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let Body::Record(Record::Metric(metric, labels)) = body else { return None };
        Some(Self {
            head,
            instrument: metric.instrument,
            name: metric.name.to_owned(),
            unit: metric.unit.to_owned(),
            value: metric.value,
            labels: labels.into(),
        })
    }
}

impl Records<MetricRecord> {
    /// What the samples come to that a query asks for, by series: count, sum, rate, extremes, quantiles. Summaries of several
    /// extensions and windows can be merged.
    pub fn summary(&self, query: &Query) -> Summary {
        self.reader.summary(&self.extension, query)
    }
}
