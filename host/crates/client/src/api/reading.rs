//! What is read of a running host, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{Alert, ErrorGroup, Manager};

/// Which records are meant. All of it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// What they must be, in the language of docs/query.md: `level>=warning since 15m`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// At most so many: 1 to 1,000, and 100 if it is left out. An answer that would be too long ends before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those before this cursor, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Only those after this cursor, the oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Records of a signal of an extension.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Records {
    /// The extension's id.
    pub extension: String,
    /// The signal, such as `logs`.
    pub signal: String,
    /// The records, in the order that was asked for: the newest first, if nothing was said. Each has its `cursor`.
    #[schema(value_type = Vec<Object>)]
    pub records: Vec<Box<RawValue>>,
    /// The cursor to name as `before` for those before these; nothing if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<String>,
    /// The cursor to name as `after` for those that came since; nothing if nothing was ever stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<String>,
    /// Whether it ended before all was looked at: at the limit, or at some megabytes. There may be more behind the last record, after `newer` where
    /// the oldest come first, and before `older` where the newest do.
    #[serde(default)]
    pub more: bool,
    /// Records after the cursor that are not there any more, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// Records that are not there any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// How many; 0 if nobody knows.
    pub missed: u64,
    /// Why: `evicted`, `damaged`, or `memory lost`.
    pub cause: String,
}

/// What a function of the host was used for since the host was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostFunctionTotal {
    /// The function, or several that are much alike.
    pub function: String,
    /// How often it was called.
    pub calls: u64,
    /// Time in it, without what was waited in it, in nanoseconds. Of a function that does little, it is an estimate from some of the
    /// calls.
    pub in_host_ns: u64,
    /// What was waited in it, in nanoseconds.
    pub waited_ns: u64,
}

/// What an extension has used and recorded since its host was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The extension's id.
    pub extension: String,
    /// `loading`, `ready`, `throttled`, `quarantined`, `probing`, `failed` or `stopped`.
    pub state: String,
    /// Calls of its handler.
    pub calls: u64,
    /// Calls that gave no reply: failures and answered errors.
    pub errors: u64,
    /// Units of fuel; none where fuel is not counted.
    pub fuel: Option<u64>,
    /// CPU time of its own code, in nanoseconds.
    pub guest_cpu_ns: u64,
    /// CPU time of host functions on its behalf, in nanoseconds.
    pub host_cpu_ns: u64,
    /// Wall time of its calls, without that in the mailbox, in nanoseconds.
    pub elapsed_ns: u64,
    /// What of it was in its own code, in nanoseconds.
    pub in_guest_ns: u64,
    /// What of it was in host functions, in nanoseconds.
    pub in_host_ns: u64,
    /// Time in the mailbox, in nanoseconds.
    pub queued_ns: u64,
    /// Time in which it waited, in nanoseconds.
    pub waiting_ns: u64,
    /// What of that it waited for something, and not for its turn, in nanoseconds.
    pub idle_ns: u64,
    /// Time that is none of these, in nanoseconds.
    pub unattributed_ns: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Those calls by function, what took the longest first.
    #[serde(default)]
    pub host_functions: Vec<HostFunctionTotal>,
    /// Bytes read from files.
    pub read_bytes: u64,
    /// Bytes written to files.
    pub written_bytes: u64,
    /// Bytes sent over sockets.
    pub sent_bytes: u64,
    /// Bytes received over sockets.
    pub received_bytes: u64,
    /// Linear memory now, in bytes.
    pub memory_bytes: u64,
    /// The most linear memory that it had, in bytes.
    pub memory_peak_bytes: u64,
    /// Handles of the host's that it holds.
    pub resources: u64,
    /// Elements of its tables.
    pub table_elements: u64,
    /// Messages in its mailbox.
    pub waiting_calls: u64,
    /// Bytes of them.
    pub waiting_bytes: u64,
    /// Logs that were stored.
    pub logs: u64,
    /// Samples that were stored.
    pub metrics: u64,
    /// Spans that were stored.
    pub spans: u64,
    /// Alerts that were stored.
    pub alerts: u64,
    /// Records that were never stored.
    pub dropped: u64,
    /// CPU time that debugging took, about, in milliseconds.
    pub debug_overhead_ms: f64,
    /// The part of its CPU time that this is, in percent.
    pub debug_overhead_percent: f64,
    /// How much detail its telemetry has now.
    pub debug_detail: String,
    /// The components of debugging that are on, by their keys.
    pub enabled_components: Vec<String>,
}

/// An extension at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// When it was so.
    pub time: String,
    /// How it is doing.
    pub manager: Manager,
    /// What it has used and recorded.
    pub summary: Summary,
    /// How many groups of errors are not resolved.
    pub open_error_groups: u64,
    /// How many alerts fire.
    pub firing_alerts: u64,
    /// What it says of its own health.
    pub health: Health,
}

/// All that a first page about an extension shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Dashboard {
    /// At a glance.
    pub overview: Overview,
    /// Its latest logs, the newest first.
    pub logs: Records,
    /// The groups of its errors that are not resolved, those with the latest errors first.
    pub error_groups: Vec<ErrorGroup>,
    /// Its alerts that fire, the latest first.
    pub alerts: Vec<Alert>,
}

/// The errors of an extension.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Errors {
    /// In groups, those with the latest errors first.
    pub groups: Vec<ErrorGroup>,
    /// One by one.
    pub errors: Records,
}

/// How well something works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `healthy`, `degraded` or `unhealthy`: the worst of the checks.
    pub status: String,
    /// What was checked.
    pub checks: Vec<Check>,
}

/// One thing that was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What.
    pub name: String,
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// What was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How often and for how long the alerts of an extension fired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertStatistics {
    /// The extension's id.
    pub extension: String,
    /// How many alerts there are.
    pub alerts: u64,
    /// How many of them fire.
    pub firing: u64,
    /// How many of those that fire are critical.
    pub firing_critical: u64,
    /// How often alerts began to fire.
    pub fired: u64,
    /// How often alerts were raised.
    pub raised: u64,
    /// Each alert.
    pub of: Vec<AlertStatistic>,
}

/// How often and for how long an alert fired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertStatistic {
    /// The extension's id.
    pub extension: String,
    /// The alert's.
    pub alert: String,
    /// `guest` or `host`: who raises it.
    pub origin: String,
    /// The host's word for what it is, or the guest's type.
    pub name: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// How often it began to fire.
    pub fired: u64,
    /// How often it was raised.
    pub raised: u64,
    /// For how long it has fired in all, in nanoseconds.
    pub firing_ns: u64,
    /// How long it fired each time, at the mean, in nanoseconds.
    pub mean_ns: u64,
    /// The longest time that it fired, in nanoseconds.
    pub longest_ns: u64,
}

impl From<&Alert> for AlertStatistic {
    fn from(alert: &Alert) -> Self {
        Self {
            extension: alert.extension.clone(),
            alert: alert.alert.clone(),
            origin: alert.origin.clone(),
            name: alert.name.clone(),
            state: alert.state.clone(),
            severity: alert.severity.clone(),
            fired: alert.fired,
            raised: alert.raised,
            firing_ns: alert.firing_ns,
            mean_ns: alert.firing_ns / alert.fired.max(1),
            longest_ns: alert.longest_ns,
        }
    }
}

impl AlertStatistics {
    /// Of the alerts of an extension.
    pub fn of(extension: &str, alerts: &[Alert]) -> Self {
        let firing = alerts.iter().filter(|alert| alert.state == "firing");
        Self {
            extension: extension.to_owned(),
            alerts: alerts.len() as u64,
            firing: firing.clone().count() as u64,
            firing_critical: firing.filter(|alert| alert.severity == "critical").count() as u64,
            fired: alerts.iter().map(|alert| alert.fired).sum(),
            raised: alerts.iter().map(|alert| alert.raised).sum(),
            of: alerts.iter().map(AlertStatistic::from).collect(),
        }
    }
}

/// Which metrics are meant, by their names; all if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricNames {
    /// The names.
    #[serde(default)]
    pub metrics: Vec<String>,
}

/// What metrics come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricSummary {
    /// The extension's id, or `*` for all.
    pub extension: String,
    /// The start of the window; of the oldest sample, if the query names none.
    pub since: Option<String>,
    /// Its end.
    pub until: Option<String>,
    /// Each series, with what its samples come to.
    pub series: Vec<Series>,
    /// How many series there are, of which the first ones are told, or those behind as many as are to be left out: as many as are wanted, or
    /// fill some megabytes.
    pub total: u64,
}

/// What the samples of a series come to. What is no finite number is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// The extension's id; nothing where several were put together.
    pub extension: Option<String>,
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// A UCUM code, or empty.
    pub unit: String,
    /// `counter`, `gauge` or `histogram`.
    pub instrument: String,
    /// `guest` or `host`: who recorded it.
    pub origin: String,
    /// The start of the window.
    pub since: Option<String>,
    /// Its end.
    pub until: Option<String>,
    /// How many samples.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// What it comes to in each second of the window; nothing of a gauge.
    pub rate: Option<f64>,
    /// The least of them.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Their mean.
    pub mean: Option<f64>,
    /// The latest.
    pub last: Option<f64>,
    /// When that was.
    pub last_at: String,
    /// What half of them are at most.
    pub p50: Option<f64>,
    /// What nine tenths of them are at most.
    pub p90: Option<f64>,
    /// What 95 of 100 are at most.
    pub p95: Option<f64>,
    /// What 99 of 100 are at most.
    pub p99: Option<f64>,
    /// What 999 of 1000 are at most.
    #[serde(rename = "p99.9")]
    pub p999: Option<f64>,
    /// What the figures are made of.
    pub resolution: Sources,
    /// Samples of the window that came too fast to be counted.
    pub missed: u64,
}

/// What the figures of a window are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sources {
    /// How many rollups of each length.
    pub rollups: BTreeMap<String, u64>,
    /// How many samples.
    pub samples: u64,
    /// What the edges of the window are good to, if they are not exact.
    pub edge: Option<String>,
}

/// What calls and spans took, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Operations {
    /// Those that took the longest in all first, as `glasshouse traces slowest --format json` has them.
    #[schema(value_type = Vec<Object>)]
    pub operations: Vec<Box<RawValue>>,
}

/// Requests, each as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Traces {
    /// The requests, the newest first, as `glasshouse trace --format json` has them.
    #[schema(value_type = Vec<Object>)]
    pub traces: Vec<Box<RawValue>>,
    /// The trace ids of those that had no room in the answer, in the same order: `trace/{id}` tells each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// Requests, each in a few figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TraceList {
    /// The requests, the newest first, as `glasshouse traces list --format json` has them.
    #[schema(value_type = Vec<Object>)]
    pub traces: Vec<Box<RawValue>>,
}

/// An event for an extension's handler.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The event's name.
    pub event: String,
    /// What it says; `null` if it is left out.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    pub payload: Option<Box<RawValue>>,
    /// What the call's records are found by: 1 to 128 visible ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For which customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The trace to continue, as W3C Trace Context has it. The request's own headers `traceparent` and `tracestate` hold where neither of the two is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What others say of that trace, as W3C Trace Context has it; OpenTelemetry's member tells for how many traces it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// What is passed along with the call, as W3C Baggage has it. The request's own header `baggage` holds where it is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baggage: Option<String>,
}

/// A reply's payload; one of the payloads is there.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Payload {
    /// Where it is JSON or text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    pub payload: Option<Box<RawValue>>,
    /// In base64, where it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Its media type, where that is not JSON's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// What came of a call: a payload or an error.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Called {
    /// Whether the extension replied.
    pub ok: bool,
    /// The reply, where it is JSON or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    pub payload: Option<Box<RawValue>>,
    /// The reply in base64, where it is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Its media type, where that is not JSON's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Why there is no reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
}

/// Why a call gave no reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallError {
    /// A word for it: the extension's own, or the host's.
    pub kind: String,
    /// In words.
    pub message: String,
}
