//! What debugging costs an extension, estimated from samples, and held under its limit by the governor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use glasshouse_model::wire::{self, Field, Instrument, Metric, Value};
use glasshouse_model::{Clock, Level, Origin, Signal, UnixNanos};

use crate::governor::{Decision, Detail, Governor, INTERVAL_NANOS, Load, Measured, percent};
use crate::store::{Head, Recorder, StoreSettings};

/// One crossing in so many is timed, on average.
pub const TIMED_IN: u64 = 64;
/// What a crossing costs beside what is timed of it: the way into the host and back, and the encoding in the guest. Measured by
/// `cargo xtask bench`: what a log costs from the SDK's macro to its end, less what the host's function takes.
const UNTIMED_NANOS: u64 = 120;
/// What reading the clock adds to a crossing that is timed.
const CLOCK_NANOS: u64 = 25;
/// A timed crossing counts for so many usual ones at most, and so many nanoseconds more: what is longer was most likely
/// interrupted by the system.
const MOST_OF_TYPICAL: u64 = 8;
const MOST_MORE_NANOS: u64 = 2_000;
/// How much of the usual time is that of the newest sample: one part in so many.
const MEMORY: u64 = 16;

/// What debugging costs an extension, and how much detail that leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overhead {
    /// CPU time that debugging took since the host was started, about, in nanoseconds. It is part of the extension's own.
    pub cost_nanos: u64,
    /// The part of the extension's CPU time that it took in the last interval that was measured, in percent.
    pub percent: f64,
    /// How much detail the extension's telemetry has now.
    pub detail: Detail,
    /// When that began; `None` if it was never otherwise.
    pub since: Option<UnixNanos>,
}

impl Overhead {
    /// The part of so much CPU time that debugging took since the host was started, in percent.
    pub fn percent_of(&self, cpu_nanos: u64) -> f64 {
        percent(self.cost_nanos, cpu_nanos)
    }
}

/// What was measured, and the governor.
pub(crate) struct OverheadMeter {
    costs: [AtomicU64; Load::COUNT],
    /// What a crossing takes, usually.
    typical: [AtomicU64; Load::COUNT],
    /// When the governor decides next, in `Clock::monotonic_nanos`.
    next_at: AtomicU64,
    control: Mutex<Control>,
}

struct Control {
    governor: Governor,
    limit: f64,
    sampling_rate: f64,
    /// How often the cost is stored as samples, in nanoseconds.
    metrics_interval: u64,
    /// What was stored last: when, in `Clock::monotonic_nanos`, and what cost and CPU time there were by then, in nanoseconds.
    published: Published,
    /// When the interval began, in `Clock::monotonic_nanos`; `None` before the first one.
    began_at: Option<u64>,
    costs: [u64; Load::COUNT],
    cpu_nanos: u64,
    percent: f64,
    since: Option<UnixNanos>,
}

#[derive(Clone, Copy, Default)]
struct Published {
    at: u64,
    cost_nanos: u64,
    cpu_nanos: u64,
}

impl OverheadMeter {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        Self {
            costs: Default::default(),
            typical: Default::default(),
            next_at: AtomicU64::new(0),
            control: Mutex::new(Control {
                governor: Governor::default(),
                limit: settings.overhead_limit,
                sampling_rate: settings.sampling_rate,
                metrics_interval: settings.metrics_interval.as_nanos() as u64,
                published: Published::default(),
                began_at: None,
                costs: [0; Load::COUNT],
                cpu_nanos: 0,
                percent: 0.0,
                since: None,
            }),
        }
    }

    /// Sets the limit, the rate and the interval; `set` gets the rate and the present detail.
    pub(crate) fn apply(&self, settings: &StoreSettings, set: impl FnOnce(f64, Detail)) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.limit = settings.overhead_limit;
        control.sampling_rate = settings.sampling_rate;
        control.metrics_interval = settings.metrics_interval.as_nanos() as u64;
        set(control.sampling_rate, control.governor.detail());
    }

    pub(crate) fn overhead(&self) -> Overhead {
        let cost_nanos = self.costs.iter().map(|cost| cost.load(Ordering::Relaxed)).sum();
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let Control { percent, since, .. } = *control;
        Overhead { cost_nanos, percent, detail: control.governor.detail(), since }
    }

    /// Whether the interval that is over by `at` is the caller's to decide on: of two at once, it is one's.
    fn claims(&self, at: u64) -> bool {
        let next_at = self.next_at.load(Ordering::Relaxed);
        let after = at.saturating_add(INTERVAL_NANOS);
        at >= next_at && self.next_at.compare_exchange(next_at, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Counts a timed crossing for all of those that were not.
    fn add(&self, load: Load, nanos: u64) {
        let nanos = nanos.saturating_sub(CLOCK_NANOS);
        let typical = &self.typical[load as usize];
        let usual = typical.load(Ordering::Relaxed);
        let nanos = nanos.min(MOST_OF_TYPICAL * usual + MOST_MORE_NANOS);
        typical.store(usual - usual / MEMORY + nanos / MEMORY, Ordering::Relaxed);
        self.costs[load as usize].fetch_add((nanos + UNTIMED_NANOS) * TIMED_IN, Ordering::Relaxed);
    }
}

impl Control {
    /// Ends an interval, if there was one; `cpu_nanos` and `costs` are all that there were.
    fn measure(&mut self, at: u64, cpu_nanos: u64, costs: [u64; Load::COUNT]) -> Option<Measured> {
        let began_at = self.began_at.replace(at)?;
        let before = (std::mem::replace(&mut self.cpu_nanos, cpu_nanos), std::mem::replace(&mut self.costs, costs));
        // What a call that waits had taken by then was taken for more than it was: this interval tells nothing.
        let cpu_nanos = cpu_nanos.checked_sub(before.0)?;
        let costs = std::array::from_fn(|load| costs[load].saturating_sub(before.1[load]));
        let measured = Measured { costs, cpu_nanos, elapsed_nanos: at.saturating_sub(began_at) };
        self.percent = measured.percent();
        Some(measured)
    }

    /// Cost and CPU time since the cost was last stored, in nanoseconds, if it is time to store it again.
    fn publish(&mut self, at: u64) -> Option<(u64, u64)> {
        let before = self.published;
        if at.saturating_sub(before.at) < self.metrics_interval {
            return None;
        }
        let cost_nanos = self.costs.iter().sum();
        self.published = Published { at, cost_nanos, cpu_nanos: self.cpu_nanos };
        Some((cost_nanos.saturating_sub(before.cost_nanos), self.cpu_nanos.saturating_sub(before.cpu_nanos)))
    }
}

impl Recorder {
    /// Counts what was timed as a whole, and is done once for many records.
    #[cold]
    pub(crate) fn note_whole(&self, load: Load, nanos: u64) {
        self.gates().overhead.costs[load as usize].fetch_add(nanos.saturating_sub(CLOCK_NANOS), Ordering::Relaxed);
    }

    /// Counts a crossing that was timed; see [`TIMED_IN`].
    #[cold]
    pub fn note_timed(&self, load: Load, nanos: u64) {
        self.gates().overhead.add(load, nanos);
    }

    /// Lets the governor decide, if an interval is over by `at`, which is in `Clock::monotonic_nanos`. `in_flight` is the CPU
    /// time of a call that is not over, at most, in nanoseconds.
    #[inline]
    pub fn govern(&self, clock: &dyn Clock, at: u64, in_flight: u64) {
        if at >= self.gates().overhead.next_at.load(Ordering::Relaxed) {
            self.decide(clock, at, in_flight);
        }
    }

    #[cold]
    fn decide(&self, clock: &dyn Clock, at: u64, in_flight: u64) {
        let meter = &self.gates().overhead;
        if !meter.claims(at) {
            return;
        }
        let cpu_nanos = self.ledger().usage().cpu_nanos.saturating_add(in_flight);
        let now = clock.now();
        self.tell_surplus(now);
        let (measured, decision, limit, published) = {
            let mut control = meter.control.lock().unwrap_or_else(PoisonError::into_inner);
            let costs = std::array::from_fn(|load| meter.costs[load].load(Ordering::Relaxed));
            let Some(measured) = control.measure(at, cpu_nanos, costs) else { return };
            let published = control.publish(at);
            let limit = control.limit;
            let decision = control.governor.decide(&measured, limit);
            if let Decision::Step { to, .. } = decision {
                control.since = Some(now);
                self.gates().sampling.apply(control.sampling_rate, to);
            }
            (measured, decision, limit, published)
        };
        if let Some((cost_nanos, cpu_nanos)) = published {
            self.store_overhead(now, cost_nanos, cpu_nanos);
        }
        match decision {
            Decision::Stay => {}
            Decision::Step { from, to } => self.tell_step(now, &measured, limit, Some((from, to))),
            Decision::Stuck => self.tell_step(now, &measured, limit, None),
        }
    }

    /// Stores what debugging cost since that was last stored, as samples of the host's.
    fn store_overhead(&self, now: UnixNanos, cost_nanos: u64, cpu_nanos: u64) {
        if !self.is_enabled(Signal::Metric) {
            return;
        }
        let cost = Metric {
            instrument: Instrument::Counter,
            name: "debug_overhead_ms",
            unit: "ms",
            value: cost_nanos as f64 / 1e6,
        };
        let part = Metric {
            instrument: Instrument::Gauge,
            name: "debug_overhead_percent",
            unit: "%",
            value: percent(cost_nanos, cpu_nanos),
        };
        let mut body = Vec::with_capacity(64);
        for sample in [cost, part] {
            body.clear();
            wire::write_metric(&mut body, &sample, &[]);
            let head = Head { time: now, origin: Origin::Host, cut: false, batched: false, context: &[] };
            self.append(Signal::Metric, head, wire::KIND_METRIC, &body);
        }
    }

    /// Stores what the governor did, and why.
    fn tell_step(&self, now: UnixNanos, measured: &Measured, limit: f64, step: Option<(Detail, Detail)>) {
        let percent = measured.percent();
        let cost = format!("debugging costs {percent:.1} % of its CPU time, and may cost {limit} %");
        let (level, message) = match step {
            Some((from, to)) if to > from => (Level::Warning, format!("{cost}; kept from now on: {to}")),
            Some((_, to)) => (Level::Info, format!("{cost}: detail comes back; kept from now on: {to}")),
            None => (Level::Warning, format!("{cost}; nothing that may be left out would help")),
        };
        let millis = |nanos: u64| Value::Float(nanos as f64 / 1e6);
        let cost = |load: Load| millis(measured.costs[load as usize]);
        let mut fields = vec![
            Field { name: "event", value: Value::Text("overhead.step") },
            Field { name: "percent", value: Value::Float(percent) },
            Field { name: "limit", value: Value::Float(limit) },
            Field { name: "cost_ms", value: millis(measured.cost_nanos()) },
            Field { name: "cpu_ms", value: millis(measured.cpu_nanos) },
            Field { name: "elapsed_ms", value: millis(measured.elapsed_nanos) },
            Field { name: "debug_logs_ms", value: cost(Load::Debug) },
            Field { name: "info_logs_ms", value: cost(Load::Info) },
            Field { name: "spans_ms", value: cost(Load::Span) },
            Field { name: "rest_ms", value: cost(Load::Rest) },
        ];
        if let Some((from, to)) = step {
            fields.push(Field { name: "from", value: Value::Text(from.as_str()) });
            fields.push(Field { name: "to", value: Value::Text(to.as_str()) });
        }
        if level == Level::Warning {
            fields.push(Field { name: "advice", value: Value::Text(advice(measured)) });
        }
        self.host_log(now, &[], level, &message, &fields);
    }
}

/// What would lower the cost, by what costs most.
fn advice(measured: &Measured) -> &'static str {
    match Load::ALL.into_iter().max_by_key(|load| measured.costs[*load as usize]) {
        Some(Load::Debug) => "set debugging.log_level to info, or gather logs (glasshouse_sdk::batch)",
        Some(Load::Info) => {
            "log less at info, gather logs (glasshouse_sdk::batch), or set debugging.log_level to warning"
        }
        Some(Load::Span) => "make fewer spans, or lower debugging.sampling_rate",
        _ => "record fewer samples (add up in the extension, record once an interval), and fewer warnings and errors",
    }
}
