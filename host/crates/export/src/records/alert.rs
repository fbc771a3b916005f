//! Alerts.

use glasshouse_model::wire::Record;
use glasshouse_model::{Severity, Signal};
use glasshouse_telemetry::Body;
use serde::{Deserialize, Serialize};

use super::sealed::FromStore;
use super::{Head, read, shown};

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Its place, time, origin and context.
    #[serde(flatten)]
    pub head: Head,
    /// How serious it is.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub severity: Severity,
    /// What makes two alerts of an extension the same.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line for a person.
    pub title: String,
    /// The whole story.
    pub message: String,
    /// The metric that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The metric's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The threshold that it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl FromStore for AlertRecord {
    const SIGNAL: Signal = Signal::Alert;

    fn from_store(head: Head, body: Body<'_>) -> Option<Self> {
        let Body::Record(Record::Alert(alert)) = body else { return None };
        Some(Self {
            head,
            severity: alert.severity,
            kind: alert.kind.to_owned(),
            title: alert.title.to_owned(),
            message: alert.message.to_owned(),
            metric: alert.metric.map(str::to_owned),
            value: alert.value,
            threshold: alert.threshold,
        })
    }
}
