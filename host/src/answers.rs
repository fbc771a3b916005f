//! What extensions have used and what their metrics come to, as they are told to people and programs.

use glasshouse_model::Signal;
use glasshouse_model::settings::Metering;
use glasshouse_server::api;
use glasshouse_telemetry::{SeriesSummary, Summary};

use crate::extension::Extension;
use crate::pages::PAGE_BYTES;
use crate::records::HostFunctionUse;

/// Bytes of a series as JSON, without its labels, at most: its figures, its times and its name.
const SERIES_BYTES: usize = 3 << 10;

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
        host_functions: extension.host_functions().into_iter().map(host_function).collect(),
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

fn host_function(one: HostFunctionUse) -> api::HostFunctionTotal {
    let HostFunctionUse { function, calls, in_host_ns, waited_ns } = one;
    api::HostFunctionTotal { function: function.to_string(), calls, in_host_ns, waited_ns }
}

/// A figure to three places, since more of it means nothing.
fn thousandths(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// A summary of an extension, or of all with `*`, as the API and the command tell it, with at most so many series.
pub fn metrics_answer(extension: &str, summary: &Summary, limit: usize) -> api::MetricSummary {
    let series = summary.series.iter().take(limit).map(|series| series_answer(summary, series));
    with_series(extension, summary, series.collect())
}

/// The same over the API: as many of the series as have room in an answer, without those that are to be left out first.
pub(crate) fn metrics_page(extension: &str, summary: &Summary, skip: usize, limit: usize) -> api::MetricSummary {
    let (mut told, mut bytes) = (Vec::new(), 0);
    for series in summary.series.iter().skip(skip).take(limit) {
        if bytes >= PAGE_BYTES {
            break;
        }
        // Of control characters each takes six bytes.
        let label = |(name, value): &(String, String)| 6 * (name.len() + value.len());
        bytes += SERIES_BYTES + series.labels.iter().map(label).sum::<usize>();
        told.push(series_answer(summary, series));
    }
    with_series(extension, summary, told)
}

fn with_series(extension: &str, summary: &Summary, series: Vec<api::Series>) -> api::MetricSummary {
    api::MetricSummary {
        extension: extension.to_owned(),
        since: summary.since.map(|time| time.to_string()),
        until: summary.until.map(|time| time.to_string()),
        series,
        total: summary.series.len() as u64,
    }
}

/// A series of a summary: all that is known of it.
fn series_answer(summary: &Summary, series: &SeriesSummary) -> api::Series {
    let aggregate = &series.aggregate;
    // JSON has no other numbers.
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let quantile = |part: f64| aggregate.quantile(part).and_then(finite);
    api::Series {
        extension: series.extension.clone(),
        name: series.name.clone(),
        labels: series.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        unit: series.unit.clone(),
        instrument: series.instrument.to_string(),
        origin: series.origin.to_string(),
        since: summary.since.map(|time| time.to_string()),
        until: summary.until.map(|time| time.to_string()),
        count: aggregate.count,
        sum: finite(aggregate.sum),
        rate: summary.rate(series).and_then(finite),
        min: finite(aggregate.min),
        max: finite(aggregate.max),
        mean: finite(aggregate.mean()),
        last: finite(aggregate.last),
        last_at: aggregate.last_at.to_string(),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        resolution: api::Sources {
            rollups: summary.rolled().map(|(tier, runs)| (tier.to_string(), runs)).collect(),
            samples: summary.samples,
            edge: summary.edge.map(|tier| tier.to_string()),
        },
        missed: summary.missed,
    }
}
