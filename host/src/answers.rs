//! What extensions have used and what their metrics come to, as they are told to people and programs.

use glasshouse_model::Signal;
use glasshouse_model::settings::Metering;
use glasshouse_server::api;
use glasshouse_telemetry::{SeriesSummary, Summary, Tier};

use crate::extension::Extension;

/// Name and part of each quantile that is told of a series.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// What an extension has used and recorded since its host was started, as the API and the command tell it.
pub fn summary_answer(extension: &Extension) -> api::Summary {
    let (usage, overhead, held) = (extension.usage(), extension.overhead(), extension.host_memory());
    let stored = |signal: Signal| usage.stored[signal as usize];
    let settings = extension.settings();
    api::Summary {
        extension: extension.id().to_string(),
        state: extension.status().word().to_owned(),
        calls: usage.calls,
        errors: usage.errors(),
        fuel: (settings.budget.metering == Metering::Fuel).then_some(usage.fuel),
        guest_cpu_ns: usage.guest_cpu_nanos(),
        host_cpu_ns: usage.host_cpu_nanos,
        elapsed_ns: usage.elapsed_nanos,
        in_guest_ns: usage.guest_nanos(),
        in_host_ns: usage.host_nanos,
        queued_ns: usage.queued_nanos,
        waiting_ns: usage.idle_nanos.saturating_add(usage.yielded_nanos),
        idle_ns: usage.idle_nanos,
        unattributed_ns: usage.unattributed_nanos,
        host_calls: usage.host_calls,
        read_bytes: usage.transfer.read_bytes,
        written_bytes: usage.transfer.written_bytes,
        sent_bytes: usage.transfer.sent_bytes,
        received_bytes: usage.transfer.received_bytes,
        memory_bytes: usage.memory_bytes,
        memory_peak_bytes: usage.memory_peak_bytes,
        resources: held.resources,
        table_elements: held.table_elements,
        waiting_calls: held.waiting_calls,
        waiting_bytes: held.waiting_bytes,
        logs: stored(Signal::Log),
        metrics: stored(Signal::Metric),
        spans: stored(Signal::Span),
        alerts: stored(Signal::Alert),
        dropped: usage.dropped,
        debug_overhead_ms: thousandths(overhead.cost_nanos as f64 / 1e6),
        debug_overhead_percent: thousandths(overhead.percent_of(usage.cpu_nanos)),
        debug_detail: overhead.detail.as_str().to_owned(),
        enabled_components: settings.debugging.enabled_components().into_iter().map(str::to_owned).collect(),
    }
}

/// A figure to three places, since more of it means nothing.
fn thousandths(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// A series of a summary as the API and the command tell it: all that is known of it.
pub fn series_answer(summary: &Summary, series: &SeriesSummary) -> serde_json::Value {
    let aggregate = &series.aggregate;
    let labels: serde_json::Map<_, _> =
        series.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let rollups: serde_json::Map<_, _> =
        summary.rolled().map(|(tier, runs)| (tier.as_str().to_owned(), runs.into())).collect();
    let mut value = serde_json::json!({
        "extension": series.extension,
        "name": series.name,
        "labels": labels,
        "unit": series.unit,
        "instrument": series.instrument.as_str(),
        "origin": series.origin.as_str(),
        "since": summary.since.map(|time| time.to_string()),
        "until": summary.until.map(|time| time.to_string()),
        "count": aggregate.count,
        "sum": aggregate.sum,
        "rate": summary.rate(series),
        "min": aggregate.min,
        "max": aggregate.max,
        "mean": aggregate.mean(),
        "last": aggregate.last,
        "last_at": aggregate.last_at.to_string(),
        "resolution": {
            "rollups": rollups,
            "samples": summary.samples,
            "edge": summary.edge.map(Tier::as_str),
        },
        "missed": summary.missed,
    });
    for (name, part) in QUANTILES {
        value[name] = aggregate.quantile(part).into();
    }
    value
}
