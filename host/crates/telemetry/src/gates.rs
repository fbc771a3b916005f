//! Which of the records that a guest makes are stored: by switch, level, sampling, rate, and number of series. What is not is
//! counted by its cause; what is too much is told besides, now and then.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use glasshouse_model::context::is_left_out;
use glasshouse_model::wire::{self, Field, Metric, Record, Value};
use glasshouse_model::{Aspect, Clock, Level, Origin, Signal, UnixNanos, limits, text};

use crate::loggers::{self, Loggers};
use crate::overhead::OverheadMeter;
use crate::rate::{Rates, Worth};
use crate::sampling::Sampling;
use crate::series::{Place, Series};
use crate::store::{Drop, Head, Recorder, StoreSettings};
use crate::uses::Peaks;

/// How often one kind of surplus is told, at most: soon enough for who looks on, and a flood that goes on for a day leaves
/// most of the logs that are kept to others.
const TOLD_EVERY_NANOS: i64 = 10_000_000_000;
/// Bytes that a log of the host takes, mostly.
const HOST_LOG_BYTES: usize = 256;

/// What decides on an extension's records. It belongs to the extension: a new instance finds it as the old one left it.
pub(crate) struct Gates {
    /// One bit for each signal.
    enabled: AtomicU8,
    /// The least level that any logger stores.
    pub(crate) log_level: AtomicU8,
    pub(crate) loggers: Loggers,
    pub(crate) rates: Rates,
    pub(crate) series: Series,
    pub(crate) sampling: Sampling,
    pub(crate) overhead: OverheadMeter,
    /// Bytes that a text in a record may have.
    string_bytes: AtomicU64,
    surplus: [Surplus; 3],
    pub(crate) peaks: Peaks,
}

/// A kind of surplus.
#[derive(Clone, Copy)]
enum Kind {
    Rate = 0,
    Metrics = 1,
    Series = 2,
}

/// What there was too much of since it was last told.
struct Surplus {
    records: AtomicU64,
    bytes: AtomicU64,
    told_at: AtomicI64,
}

impl Default for Surplus {
    fn default() -> Self {
        Self { records: AtomicU64::new(0), bytes: AtomicU64::new(0), told_at: AtomicI64::new(i64::MIN) }
    }
}

impl Surplus {
    /// Counts a record.
    fn add(&self, bytes: usize) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records and bytes to tell of now, if there are any and the last time is long enough ago, or the clock was set back.
    fn due(&self, now: UnixNanos) -> Option<(u64, u64)> {
        let told_at = self.told_at.load(Ordering::Relaxed);
        let is_time = now.0 < told_at || now.0.saturating_sub(told_at) >= TOLD_EVERY_NANOS;
        let is_time = is_time && self.records.load(Ordering::Relaxed) > 0;
        // Of two at once, one tells.
        let mine =
            is_time && self.told_at.compare_exchange(told_at, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine.then(|| (self.records.swap(0, Ordering::Relaxed), self.bytes.swap(0, Ordering::Relaxed)))
    }
}

/// A bit for each signal that is stored.
fn bits(enabled: [bool; Signal::COUNT]) -> u8 {
    enabled.iter().enumerate().map(|(bit, on)| u8::from(*on) << bit).sum()
}

impl Gates {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        let budget = &settings.budget;
        Self {
            enabled: AtomicU8::new(bits(settings.enabled)),
            log_level: AtomicU8::new(loggers::least(settings) as u8),
            loggers: Loggers::new(settings),
            rates: Rates::new(budget),
            series: Series::new(budget),
            sampling: Sampling::new(settings.sampling_rate),
            overhead: OverheadMeter::new(settings),
            string_bytes: AtomicU64::new(budget.string_bytes),
            surplus: Default::default(),
            peaks: Peaks::default(),
        }
    }

    /// Changes what is stored from the next record on.
    pub(crate) fn apply(&self, settings: &StoreSettings) {
        self.enabled.store(bits(settings.enabled), Ordering::Relaxed);
        self.loggers.apply(settings);
        self.log_level.store(loggers::least(settings) as u8, Ordering::Relaxed);
        self.rates.apply(&settings.budget);
        self.series.apply(&settings.budget);
        self.string_bytes.store(settings.budget.string_bytes, Ordering::Relaxed);
        self.overhead.apply(settings, |rate, detail| self.sampling.apply(rate, detail));
    }
}

/// Why something is left out that would be stored in another trace.
fn cause_of_sampling(context: &[u8]) -> Drop {
    if is_left_out(context) { Drop::Sampled } else { Drop::Shed }
}

/// What is to become of a span, or of a log below warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Keep,
    /// It is stored if its call fails or is slow.
    Undecided,
    /// It is not stored.
    LeaveOut,
}

impl Worth {
    /// What a log is worth.
    #[inline]
    pub fn of_log(level: Level) -> Self {
        if level >= Level::Error { Self::Urgent } else { Self::Usual }
    }

    /// What a record is worth.
    #[inline]
    pub fn of(record: &Record<'_>) -> Self {
        match record {
            Record::Log(log, _) if Aspect::Security.has_logger(log.target) => Self::Urgent,
            Record::Log(log, _) => Self::of_log(log.level),
            Record::Metric(..) => Self::Usual,
            Record::Error(..) | Record::Alert(_) => Self::Urgent,
        }
    }
}

impl Recorder {
    /// Whether a record that a guest made in that encoded context is to be stored, and in which ring; a drop is counted.
    #[inline]
    pub fn admit(&self, record: &Record<'_>, context: &[u8]) -> Option<Signal> {
        let signal = match record {
            Record::Log(log, _) => {
                return self.admit_log(log.level, || log.target, context).then_some(Signal::Log);
            }
            Record::Metric(metric, _) => {
                return self.admit_sample(metric.instrument, metric.value).then_some(Signal::Metric);
            }
            Record::Error(..) => Signal::Error,
            Record::Alert(_) => Signal::Alert,
        };
        self.is_on(signal).then_some(signal)
    }

    /// Whether a guest's sample is one, and is to be stored; a drop is counted.
    #[inline]
    pub fn admit_sample(&self, instrument: wire::Instrument, value: f64) -> bool {
        let negative = instrument == wire::Instrument::Counter && value < 0.0;
        if negative || !value.is_finite() {
            self.dropped(Drop::InvalidSample);
            return false;
        }
        self.is_on(Signal::Metric)
    }

    /// Whether a signal is stored; if not, the record that is dropped for that is counted.
    #[inline]
    pub fn is_on(&self, signal: Signal) -> bool {
        let on = self.is_enabled(signal);
        if !on {
            self.dropped(Drop::Off);
        }
        on
    }

    /// Whether a guest's log of this level is to be stored, if it has that target, in that encoded context; a drop is counted.
    /// The target is asked for only where some logger has a level of its own, an aspect is off, or the log's trace is left out:
    /// security events are kept all the same.
    #[inline]
    pub fn admit_log<'t>(&self, level: Level, target: impl Fn() -> &'t str, context: &[u8]) -> bool {
        match self.judge_log(level, target, context) {
            Verdict::Keep => true,
            Verdict::Undecided => self.sampled_out(context),
            Verdict::LeaveOut => false,
        }
    }

    /// As [`Recorder::admit_log`], but a log of a trace that is left out may wait for how its call ends; it is not counted then.
    #[inline]
    pub fn judge_log<'t>(&self, level: Level, target: impl Fn() -> &'t str, context: &[u8]) -> Verdict {
        if !self.is_on(Signal::Log) {
            return Verdict::LeaveOut;
        }
        let gates = self.gates();
        let below = (level as u8) < gates.log_level.load(Ordering::Relaxed);
        let refusal = if below { Some(Drop::BelowLevel) } else { gates.loggers.refusal(level, &target) };
        if let Some(cause) = refusal {
            self.dropped(cause);
            return Verdict::LeaveOut;
        }
        if gates.sampling.keeps_log(level, context) || Aspect::Security.has_logger(target()) {
            Verdict::Keep
        } else if gates.sampling.may_keep_log(level, context) {
            Verdict::Undecided
        } else {
            self.sampled_out(context);
            Verdict::LeaveOut
        }
    }

    /// What is to become of a span that ended well, in that encoded context.
    #[inline]
    pub fn judge_span(&self, context: &[u8]) -> Verdict {
        if self.is_enabled(Signal::Span) && self.gates().sampling.keeps_span(context) {
            Verdict::Keep
        } else if self.may_store_spans(context) {
            Verdict::Undecided
        } else {
            Verdict::LeaveOut
        }
    }

    /// Whether spans that end well are stored in that encoded context, or may be for how their call ends. The governor's word
    /// holds for those as well.
    #[inline]
    pub fn may_store_spans(&self, context: &[u8]) -> bool {
        let sampling = &self.gates().sampling;
        if self.is_enabled(Signal::Span) {
            !sampling.sheds_spans() || sampling.keeps_span(context)
        } else {
            self.keeps_failed_spans() && !sampling.sheds_spans()
        }
    }

    /// Counts so many spans that are left out for their trace, if spans are stored at all: by the settings, or else by the governor.
    #[cold]
    pub fn leave_out_spans(&self, context: &[u8], spans: u64) {
        if self.is_enabled(Signal::Span) {
            self.dropped_all(cause_of_sampling(context), spans);
        }
    }

    /// Counts what sampling leaves out: its trace, or else the governor. It is not stored.
    #[cold]
    fn sampled_out(&self, context: &[u8]) -> bool {
        self.dropped(cause_of_sampling(context));
        false
    }

    /// Whether there is room in the extension's rates for a record whose body has so many bytes, its context counted besides; if
    /// not, that is counted and told.
    #[inline]
    pub fn affords(&self, worth: Worth, head: &Head<'_>, bytes: usize) -> bool {
        let bytes = bytes + head.context.len();
        self.gates().rates.take(worth, head.time, bytes) || self.refuse(head.time, bytes)
    }

    /// The same for a log of a level, with its target: a security event has room where an error has. The target is asked for only where
    /// there is none for others.
    #[inline]
    pub fn affords_log<'t>(&self, level: Level, target: impl Fn() -> &'t str, head: &Head<'_>, bytes: usize) -> bool {
        let bytes = bytes + head.context.len();
        self.gates().rates.take(Worth::of_log(level), head.time, bytes)
            || self.affords_security(target(), head.time, bytes)
            || self.refuse(head.time, bytes)
    }

    #[cold]
    fn affords_security(&self, target: &str, now: UnixNanos, bytes: usize) -> bool {
        Aspect::Security.has_logger(target) && self.gates().rates.take(Worth::Urgent, now, bytes)
    }

    #[cold]
    fn refuse(&self, now: UnixNanos, bytes: usize) -> bool {
        self.dropped(Drop::Rate);
        self.note_surplus(Kind::Rate, now, bytes, None);
        false
    }

    /// The place of a sample, or of a meter, whose body is encoded. What is too much is told.
    #[inline]
    pub fn place(&self, metric: &Metric<'_>, body: &[u8], labelled: bool, clock: &dyn Clock) -> Place {
        let place = self.gates().series.place(metric.name, &body[wire::METRIC_NAME_AT..], labelled);
        if place != Place::Own {
            self.misplaced(place, metric.name, clock.now(), body.len());
        }
        place
    }

    #[cold]
    fn misplaced(&self, place: Place, name: &str, now: UnixNanos, bytes: usize) {
        let kind = if place == Place::None { Kind::Metrics } else { Kind::Series };
        self.note_surplus(kind, now, bytes, Some(name));
    }

    fn note_surplus(&self, kind: Kind, now: UnixNanos, bytes: usize, metric: Option<&str>) {
        self.gates().surplus[kind as usize].add(bytes);
        self.tell(kind, now, metric);
    }

    /// Tells of what there was too much of and was not told, if it is time.
    pub(crate) fn tell_surplus(&self, now: UnixNanos) {
        for kind in [Kind::Rate, Kind::Metrics, Kind::Series] {
            self.tell(kind, now, None);
        }
    }

    fn tell(&self, kind: Kind, now: UnixNanos, metric: Option<&str>) {
        let gates = self.gates();
        let Some((records, bytes)) = gates.surplus[kind as usize].due(now) else { return };
        let (records_per_second, bytes_per_second) = gates.rates.budget();
        let (metrics, series_per_metric) = gates.series.bounds();
        let number = |name, number: u64| Field { name, value: Value::Integer(number as i64) };
        let metric = metric.map(|metric| Field { name: "metric", value: Value::Text(metric) });
        let (event, message, budget, more) = match kind {
            Kind::Rate => (
                "telemetry.rate",
                "more records than the budget allows: the surplus is dropped",
                number("records_per_second", records_per_second),
                Some(number("record_bytes_per_second", bytes_per_second)),
            ),
            Kind::Metrics => (
                "telemetry.metrics",
                "more metrics than the budget allows: samples of further ones are dropped",
                number("metrics", metrics.into()),
                metric,
            ),
            Kind::Series => (
                "telemetry.series",
                "more sets of labels than the budget allows: further ones go to the overflow series of their metric",
                number("series_per_metric", series_per_metric.into()),
                metric,
            ),
        };
        let event = Field { name: "event", value: Value::Text(event) };
        let mut fields = vec![event, number("records", records), number("bytes", bytes), budget];
        fields.extend(more);
        self.host_log(now, &[], Level::Warning, message, &fields);
    }

    /// Stores a log that the host makes about the extension, in an encoded context, whatever its level of logging.
    pub fn host_log(&self, time: UnixNanos, context: &[u8], level: Level, message: &str, fields: &[Field<'_>]) {
        let log = wire::Log { level, target: "glasshouse", message, source: None, time: None };
        let mut body = Vec::with_capacity(HOST_LOG_BYTES);
        wire::write_log(&mut body, &log, format_args!("{}", text::cut(message, limits::MESSAGE_BYTES)), fields);
        let head = Head { time, origin: Origin::Host, cut: false, batched: false, context };
        self.append(Signal::Log, head, wire::KIND_LOG, &body);
    }

    /// Bytes that a text in a record may have by the extension's budget.
    pub fn string_bytes(&self) -> usize {
        self.gates().string_bytes.load(Ordering::Relaxed) as usize
    }

    /// Whether a signal is stored.
    #[inline]
    pub fn is_enabled(&self, signal: Signal) -> bool {
        self.gates().enabled.load(Ordering::Relaxed) & (1 << signal as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glasshouse_model::settings::Settings;
    use glasshouse_model::{Context, TraceId};

    use super::*;
    use crate::Store;
    use crate::redact::Redactor;

    #[test]
    fn a_surplus_is_told_now_and_then_and_after_the_clock_was_set_back() {
        let surplus = Surplus::default();
        let check = |now: i64, expect: Option<(u64, u64)>| {
            surplus.add(100);
            assert_eq!(surplus.due(UnixNanos(now)), expect);
        };
        let start = 1_000 * TOLD_EVERY_NANOS;
        check(start, Some((1, 100)));
        check(start + TOLD_EVERY_NANOS - 1, None);
        check(start + TOLD_EVERY_NANOS, Some((2, 200)));
        check(0, Some((1, 100)));
        check(1, None);
    }

    #[test]
    fn over_the_rate_a_security_event_has_room_where_an_error_has() {
        let mut settings = Settings::default();
        settings.budget.telemetry.records_per_second = 8;
        let store = Store::new(&StoreSettings::new(&settings), Arc::new(Redactor::default()));
        let recorder = store.recorder();
        let head = Head { time: UnixNanos(0), origin: Origin::Guest, cut: false, batched: false, context: &[] };
        let stored =
            |level: Level, target: &str| (0..100).filter(|_| recorder.affords_log(level, || target, &head, 10)).count();
        assert_eq!(stored(Level::Info, "shop"), 16, "what a quiet while saved up, and as much again");
        assert_eq!(stored(Level::Info, "glasshouse.securities"), 0);
        assert!(recorder.affords_log(Level::Info, || "glasshouse.security", &head, 10));
        assert_eq!(stored(Level::Error, "shop") + stored(Level::Info, "glasshouse.security"), 3, "a quarter, twice");
        let record = |target| {
            let log = wire::Log { level: Level::Info, target, message: "", source: None, time: None };
            Worth::of(&Record::Log(log, wire::Fields::EMPTY))
        };
        assert_eq!((record("glasshouse.security.login"), record("shop")), (Worth::Urgent, Worth::Usual));
    }

    #[test]
    fn a_log_that_is_not_stored_is_counted_by_the_first_cause() {
        let check_of = |target: &str, change: fn(&mut Settings), expect: Option<Drop>| {
            let mut settings = Settings::default();
            settings.debugging.log_level = Level::Warning;
            settings.debugging.log_levels = vec!["shop=trace".into()];
            settings.debugging.sampling_rate = 0.0;
            change(&mut settings);
            let store = Store::new(&StoreSettings::new(&settings), Arc::new(Redactor::default()));
            let sampling = store.recorder().sample_root(TraceId::default(), None);
            let mut context = Vec::new();
            Context { sampling, ..Context::default() }.encode(&mut context);
            let admitted = store.recorder().admit_log(Level::Debug, || target, &context);
            let dropped: Vec<_> = store.drops().into_iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!((admitted, dropped), (expect.is_none(), expect.map(|cause| (cause, 1)).into_iter().collect()));
        };
        let check = |change, expect| check_of("shop.till", change, expect);
        check(|settings| settings.debugging.sampling_rate = 1.0, None);
        check(|_| {}, Some(Drop::Sampled));
        check(|settings| settings.debugging.log_levels.clear(), Some(Drop::BelowLevel));
        check(|settings| settings.debugging.log_levels.push("shop.till=info".into()), Some(Drop::BelowLevel));
        check(
            |settings| {
                settings.debugging.logging_enabled = false;
                settings.debugging.log_levels.clear();
            },
            Some(Drop::Off),
        );
        let of_all_levels = |settings: &mut Settings| settings.debugging.log_level = Level::Trace;
        check_of("glasshouse.request", of_all_levels, Some(Drop::Sampled));
        check_of("glasshouse.security", of_all_levels, None);
        let without_security = |settings: &mut Settings| {
            settings.debugging.log_level = Level::Trace;
            settings.debugging.aspects[Aspect::Security as usize] = false;
        };
        check_of("glasshouse.security", without_security, Some(Drop::Off));
    }
}
