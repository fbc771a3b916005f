//! What an extension uses, as metric samples of the host's: docs/metrics.md lists them.

use glasshouse_model::wire::{self, Metric};
use glasshouse_model::{Aspect, Clock, Instrument, Origin, Signal};
use glasshouse_telemetry::{Head, Recorder, Usage};

/// Tells from time to time what was used since it last did.
pub(crate) struct UsageMetrics {
    /// What had been used then, and when, in `Clock::monotonic_nanos`.
    before: Usage,
    at: u64,
    /// Whether nothing was used in the time before that: of an extension that rests no more is told.
    rested: bool,
}

impl UsageMetrics {
    /// Of an extension that has used nothing yet.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { before: Usage::default(), at: clock.monotonic_nanos(), rested: false }
    }

    /// Stores samples, if metrics are stored, resources are watched, and the extension did anything since the last time or the one before.
    pub(crate) fn tell(&mut self, recorder: &Recorder, usage: &Usage, clock: &dyn Clock) {
        let at = clock.monotonic_nanos();
        let (before, since) = (std::mem::replace(&mut self.before, *usage), std::mem::replace(&mut self.at, at));
        let rests = usage.elapsed_nanos == before.elapsed_nanos && usage.calls == before.calls;
        let rested = std::mem::replace(&mut self.rested, rests);
        let is_told = recorder.is_enabled(Signal::Metric) && recorder.is_watched(Aspect::Resources);
        if (rests && rested) || !is_told {
            return;
        }
        let time = clock.at(at);
        let mut body = Vec::with_capacity(64);
        for sample in samples(usage, &before, at.saturating_sub(since)) {
            body.clear();
            wire::write_metric(&mut body, &sample, &[]);
            let head = Head { time, origin: Origin::Host, cut: false, batched: false, context: &[] };
            recorder.append(Signal::Metric, head, wire::KIND_METRIC, &body);
        }
    }
}

fn samples(now: &Usage, before: &Usage, elapsed_nanos: u64) -> impl Iterator<Item = Metric<'static>> {
    let per = |part: u64, whole: u64, times: f64| (whole > 0).then(|| part as f64 / whole as f64 * times);
    let cpu_percent = per(now.cpu_nanos.saturating_sub(before.cpu_nanos), elapsed_nanos, 100.0);
    let calls = now.calls.saturating_sub(before.calls);
    let response_millis = per(now.response_nanos.saturating_sub(before.response_nanos), calls, 1e-6);
    let moved = now.transfer.since(before.transfer);
    let gauge = |name, unit, value: Option<f64>| value.map(|value| (Instrument::Gauge, name, unit, value));
    let bytes = |name, bytes: u64| (bytes > 0).then_some((Instrument::Counter, name, "By", bytes as f64));
    [
        gauge("cpu_percent", "%", cpu_percent),
        gauge("memory_mb", "MBy", Some(now.memory_bytes as f64 / 1e6)),
        gauge("response_time", "ms", response_millis),
        bytes("disk_read_bytes", moved.read_bytes),
        bytes("disk_written_bytes", moved.written_bytes),
        bytes("network_sent_bytes", moved.sent_bytes),
        bytes("network_received_bytes", moved.received_bytes),
    ]
    .into_iter()
    .flatten()
    .map(|(instrument, name, unit, value)| Metric { instrument, name, unit, value })
}
