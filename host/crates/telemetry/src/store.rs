//! All telemetry of one extension: a ring for each signal, its ledger, and what was dropped.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glasshouse_model::invocation::HostUse;
use glasshouse_model::record::{KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::settings::{Debugging, Settings, TelemetryBudget};
use glasshouse_model::wire::LogSummary;
use glasshouse_model::{AlertId, Aspect, GroupId, Level, Origin, Signal, UnixNanos, text, wire};

use crate::alerts::{Alarm, Alert, AlertError, Alerts, BURST_IS_OVER_AFTER, HostAlert};
use crate::frame::{FrameParts, MAX_CONTEXT_BYTES};
use crate::gates::Gates;
use crate::groups::{BURST_ERRORS, BURST_WINDOW, Component, ErrorGroup, Groups, News, Resolution, ResolveError};
use crate::input::{InputDigester, InputKey};
use crate::metrics::Tier;
use crate::overhead::Overhead;
use crate::provisional::{Files, Provisional};
use crate::reader::Reader;
use crate::redact::{CleanStarts, InvocationName, Redactor, SeenLog};
use crate::ring::{Bounds, Ring, SEGMENT_BYTES};
use crate::thresholds::{THRESHOLD, Thresholds};
use crate::{Ledger, Usage};

/// The label that names the group of errors that an alert is about.
const GROUP: &str = "group";
const ORIGIN_BITS: u8 = 0b11;
pub(crate) const FLAG_CUT: u8 = 0b100;
pub(crate) const FLAG_BATCHED: u8 = 0b1000;

pub(crate) fn origin_of(flags: u8) -> Origin {
    Origin::from_byte(flags & ORIGIN_BITS).unwrap_or(Origin::Host)
}

glasshouse_model::wire::byte_enum! {
    /// Why a record was not stored.
    Drop {
        /// The signal, or the aspect, is switched off.
        Off = 0 "off",
        /// A log below the level that is stored.
        BelowLevel = 1 "below level",
        /// Not in the record format; one is counted for the rest of its batch.
        Malformed = 2 "malformed",
        /// A sample that is not a finite number, or a counter's negative one.
        InvalidSample = 3 "invalid sample",
        /// A span or scope nested too deeply, or text that no context can hold.
        Nesting = 4 "nested too deeply",
        /// An event of a topic that reached the extension while it took no calls.
        Undelivered = 5 "event not delivered",
        /// The system had no memory for it.
        NoMemory = 6 "no memory",
        /// More records, or bytes of them, than the budget allows a second.
        Rate = 7 "over the rate",
        /// A sample of a metric beyond those that the budget allows.
        Metrics = 8 "too many metrics",
        /// A log or span of a trace that is not kept, by `debugging.sampling_rate` or by whoever caused the call.
        Sampled = 9 "sampled out",
        /// A log or span that the overhead governor leaves out.
        Shed = 10 "shed",
        /// A span for which there was no room while its call went on: of a call of the host, or one that waited for how the call would end.
        Crowded = 11 "too many spans in a call",
        /// A `tracestate` or `baggage` that came with a call and is none, or came without a trace to continue: it is as if it had not come.
        Unusable = 12 "unusable trace header",
    }
}

/// How many records were dropped, by cause.
pub type Drops = [(Drop, u64); Drop::ALL.len()];

/// Which records are stored, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// What each signal's ring may hold.
    pub bounds: [Bounds; Signal::COUNT],
    /// What the rings of rollups of metrics may hold, by length.
    pub rollups: [Bounds; Tier::COUNT],
    /// Which signals are stored, by index.
    pub enabled: [bool; Signal::COUNT],
    /// The least level of logs that is stored.
    pub log_level: Level,
    /// Other least levels, for logs whose target starts so.
    pub log_levels: Vec<(String, Level)>,
    /// Whether each aspect is watched, by index.
    pub aspects: [bool; Aspect::COUNT],
    /// Bytes on the disk that all signals may have together.
    pub disk_bytes: u64,
    /// What may be recorded.
    pub budget: TelemetryBudget,
    /// The part of traces whose spans, and logs below warning, are stored, 0.0 to 1.0.
    pub sampling_rate: f64,
    /// The part of its CPU time that debugging may cost the extension, in percent.
    pub overhead_limit: f64,
    /// How often what debugging costs is stored as samples.
    pub metrics_interval: Duration,
    /// Limits of what its metrics come to.
    pub thresholds: Thresholds,
    /// How long after it was last raised a guest's alert is over.
    pub alert_resolve_after: Duration,
}

impl StoreSettings {
    /// Bytes that a record of a signal may take on average before its ring is bounded by bytes and not by count.
    const BYTES_PER_RECORD: usize = 2 * 1024;
    /// Bytes of a ring, whatever its count of records allows.
    const RING_BYTES: usize = 128 * 1024 * 1024;
    /// Rollups of a length that are kept in memory: an hour of seconds.
    const ROLLUPS: usize = 3600;
    /// Bytes of them: that hour has some ten series at a time.
    const ROLLUP_BYTES: usize = 4 * 1024 * 1024;
    /// Spans and invocations that a trace has on average.
    const SPANS_PER_TRACE: usize = 16;

    /// The settings that an extension's `[debugging]` and `[retention]` ask for.
    pub fn new(settings: &Settings) -> Self {
        let (debugging, retention) = (&settings.debugging, &settings.retention);
        let spans = debugging.max_traces.saturating_mul(Self::SPANS_PER_TRACE);
        let records = [
            debugging.max_log_entries,
            debugging.max_metrics,
            debugging.max_errors,
            spans,
            debugging.max_errors,
            spans,
        ];
        // Beside the segment that is being filled there is room for a full one, so that few records are kept, too.
        let bytes = |records: usize| records.saturating_mul(Self::BYTES_PER_RECORD);
        let bounds = std::array::from_fn(|index| Bounds {
            records: records[index],
            bytes: bytes(records[index]).clamp(2 * SEGMENT_BYTES, Self::RING_BYTES),
            disk_bytes: retention.signals[index].bytes,
            age: retention.signals[index].age,
        });
        let rollups = std::array::from_fn(|index| Bounds {
            records: Self::ROLLUPS,
            bytes: Self::ROLLUP_BYTES,
            disk_bytes: retention.rollups[index].bytes,
            age: retention.rollups[index].age,
        });
        Self {
            bounds,
            rollups,
            enabled: [
                debugging.logging_enabled,
                debugging.metrics_enabled,
                debugging.error_tracking_enabled,
                debugging.tracing_enabled,
                debugging.alerting_enabled,
                true,
            ],
            log_level: debugging.log_level,
            log_levels: debugging
                .log_levels
                .iter()
                .filter_map(|text| Debugging::logger_level(text).ok())
                .map(|(start, level)| (start.to_owned(), level))
                .collect(),
            aspects: debugging.aspects,
            disk_bytes: retention.bytes,
            budget: settings.budget.telemetry.clone(),
            sampling_rate: debugging.sampling_rate,
            overhead_limit: debugging.profiling_overhead_limit,
            metrics_interval: debugging.metrics_interval,
            thresholds: Thresholds::of(debugging),
            alert_resolve_after: debugging.alert_resolve_after,
        }
    }
}

/// All telemetry of one extension.
pub struct Store {
    rings: [Arc<Ring>; Signal::COUNT],
    rollups: [Arc<Ring>; Tier::COUNT],
    gates: Gates,
    drops: [AtomicU64; Drop::ALL.len()],
    ledger: Ledger,
    redactor: Arc<Redactor>,
    input_key: Arc<InputKey>,
    groups: Groups,
    alerts: Alerts,
    thresholds: Mutex<Thresholds>,
    provisional: Provisional,
}

/// What else is kept of an extension: where its groups and its alerts are, if they are, by what its inputs are digested, and where what is
/// undecided waits.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) groups: Option<Arc<Ring>>,
    pub(crate) alerts: Option<Arc<Ring>>,
    pub(crate) input_key: Arc<InputKey>,
    pub(crate) provisional: Option<Arc<Files>>,
}

impl Store {
    /// An empty store in memory. Memory for records is taken when the first one comes; what is over its age goes only when
    /// another [`Depot`](crate::Depot) looks after it.
    pub fn new(settings: &StoreSettings, redactor: Arc<Redactor>) -> Arc<Self> {
        let rollups = settings.rollups.map(Ring::in_memory);
        let kept = Kept { input_key: Arc::new(InputKey::random()), ..Kept::default() };
        Self::with_rings("", settings.bounds.map(Ring::in_memory), rollups, kept, settings, redactor)
    }

    pub(crate) fn with_rings(
        extension: &str,
        rings: [Arc<Ring>; Signal::COUNT],
        rollups: [Arc<Ring>; Tier::COUNT],
        kept: Kept,
        settings: &StoreSettings,
        redactor: Arc<Redactor>,
    ) -> Arc<Self> {
        Arc::new(Self {
            groups: Groups::new(Arc::clone(&rings[Signal::Error as usize]), kept.groups),
            alerts: Alerts::new(
                extension,
                Arc::clone(&rings[Signal::Alert as usize]),
                kept.alerts,
                settings.alert_resolve_after,
            ),
            rings,
            rollups,
            gates: Gates::new(settings),
            thresholds: Mutex::new(settings.thresholds.clone()),
            drops: Default::default(),
            ledger: Ledger::default(),
            redactor,
            input_key: kept.input_key,
            provisional: Provisional::new(kept.provisional),
        })
    }

    /// Changes what is stored, from the next record on: all but the bounds of rings, which stay as they are.
    pub fn apply(&self, settings: &StoreSettings) {
        self.gates.apply(settings);
        self.alerts.apply(settings.alert_resolve_after);
        *self.thresholds.lock().unwrap_or_else(PoisonError::into_inner) = settings.thresholds.clone();
    }

    pub(crate) fn gates(&self) -> &Gates {
        &self.gates
    }

    /// What waits for what becomes of its trace.
    pub(crate) fn provisional(&self) -> &Provisional {
        &self.provisional
    }

    /// What debugging costs the extension, and how much detail that leaves.
    pub fn overhead(&self) -> Overhead {
        self.gates.overhead.overhead()
    }

    /// Writes to the store.
    pub fn recorder(self: &Arc<Self>) -> Recorder {
        Recorder(Arc::clone(self))
    }

    /// Reads a signal of the store.
    pub fn reader(self: &Arc<Self>, signal: Signal) -> Reader {
        let reader = Reader::of_ring(Arc::clone(&self.rings[signal as usize]), signal);
        if signal == Signal::Metric {
            reader.with_rollups(Tier::ALL.iter().map(|tier| self.rollups(*tier)))
        } else {
            reader
        }
    }

    /// Names the component whose errors come from now on.
    pub fn run(&self, component: Component) {
        self.groups.run(component);
    }

    /// The groups of its errors as of a time, those with the latest errors first.
    pub fn error_groups(&self, now: UnixNanos) -> Vec<ErrorGroup> {
        self.groups.all(now)
    }

    /// Notes that somebody says that the error of a group is mended: in a version, or else in the one that runs. With a data
    /// directory that is stored when this returns.
    /// What is secret in the notes is not. The alerts about the group are over.
    pub fn resolve(&self, group: GroupId, mut resolution: Resolution) -> Result<ErrorGroup, ResolveError> {
        if let Cow::Owned(clean) = self.redactor.redact_text(&resolution.notes) {
            resolution.notes = clean;
        }
        let at = resolution.at;
        let id = group.to_string();
        self.groups.resolve(group, resolution, || {
            self.alerts.recover(at, "the group of errors was resolved", |alert| {
                alert.name.parse().is_ok_and(HostAlert::is_about_group)
                    && alert.labels.iter().any(|(name, value)| name == GROUP && *value == id)
            });
        })
    }

    /// Its alerts as of a time: those that fire first, of them the latest first.
    pub fn alerts(&self, now: UnixNanos) -> Vec<Alert> {
        self.alerts.all(now)
    }

    /// Notes that somebody says that an alert is over. With a data directory that is stored when this returns. What is secret
    /// in the note is not.
    pub fn resolve_alert(&self, id: AlertId, at: UnixNanos, by: &str, note: &str) -> Result<Alert, AlertError> {
        self.alerts.resolve(id, at, by, &self.redactor.redact_text(note))
    }

    /// Limits of what its metrics come to.
    pub(crate) fn thresholds(&self) -> Thresholds {
        self.thresholds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the extension has used so far.
    pub fn usage(&self) -> Usage {
        let mut usage = self.ledger.usage();
        for (index, ring) in self.rings.iter().enumerate() {
            usage.stored[index] = ring.stored_now();
            usage.evicted[index] = ring.evicted();
        }
        usage.dropped = self.drops.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        usage
    }

    /// What the extension's invocations asked of the host since its start, one entry for each function that was called.
    pub fn host_functions(&self) -> Vec<HostUse> {
        self.ledger.host_functions()
    }

    /// How many records were dropped, by cause.
    pub fn drops(&self) -> Drops {
        let mut drops = [(Drop::Off, 0); Drop::ALL.len()];
        for (index, cause) in Drop::ALL.iter().enumerate() {
            drops[index] = (*cause, self.drops[index].load(Ordering::Relaxed));
        }
        drops
    }

    /// All rings, those of rollups included.
    pub(crate) fn rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.rings.iter().chain(&self.rollups)
    }

    pub(crate) fn rollup_ring(&self, tier: Tier) -> &Arc<Ring> {
        &self.rollups[tier as usize]
    }

    /// Reads its rollups of a length.
    pub(crate) fn rollups(&self, tier: Tier) -> Reader {
        Reader::of_ring(Arc::clone(self.rollup_ring(tier)), Signal::Metric)
    }

    pub(crate) fn ring(&self, signal: Signal) -> &Ring {
        &self.rings[signal as usize]
    }
}

/// Writes the telemetry of one extension. Cheap to clone; no call waits for a reader.
#[derive(Clone)]
pub struct Recorder(Arc<Store>);

/// What the host puts around a record that it stores.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// When it was received or made.
    pub time: UnixNanos,
    /// Who made it.
    pub origin: Origin,
    /// Whether something was cut off.
    pub cut: bool,
    /// Whether the guest gathered it and sent it later, with others.
    pub batched: bool,
    /// The context, encoded; empty outside of any invocation.
    pub context: &'a [u8],
}

#[inline]
pub(crate) fn frame_parts<'a>(head: Head<'a>, kind: u8, body: &'a [u8]) -> FrameParts<'a> {
    debug_assert!(head.context.len() <= MAX_CONTEXT_BYTES, "contexts are bounded where they are made");
    let flags = head.origin as u8 | if head.cut { FLAG_CUT } else { 0 } | if head.batched { FLAG_BATCHED } else { 0 };
    FrameParts { sequence: 0, time: head.time.0, kind, flags, context: head.context, body }
}

impl Recorder {
    /// Stores a record in its encoded form, which the caller has validated, without what is secret in it. Returns its
    /// sequence number; 0 if there is no memory for it.
    #[inline]
    pub fn append(&self, signal: Signal, head: Head<'_>, kind: u8, body: &[u8]) -> u64 {
        self.append_searched(signal, head, kind, body, self.0.redactor.is_suspect(body))
    }

    /// The same for a guest's log, with what was seen of it by [`Redactor::watch`] when it was validated.
    #[inline]
    pub fn append_log(
        &self,
        head: Head<'_>,
        body: &[u8],
        log: &LogSummary,
        seen: SeenLog,
        known: &mut CleanStarts,
    ) -> u64 {
        let is_suspect = self.0.redactor.is_suspect_log(body, log, seen, known);
        self.append_searched(Signal::Log, head, wire::KIND_LOG, body, is_suspect)
    }

    /// The same for an invocation, whose name is all of its text.
    #[inline]
    pub fn append_invocation(&self, head: Head<'_>, body: &[u8], name: &mut InvocationName) -> u64 {
        let is_suspect = self.0.redactor.is_suspect_name(name);
        self.append_searched(Signal::Invocation, head, KIND_INVOCATION, body, is_suspect)
    }

    /// The same for a span, whose texts may be known to be clean from when they came.
    #[inline]
    pub fn append_span(&self, head: Head<'_>, body: &[u8], is_clean: bool) -> u64 {
        self.append_searched(Signal::Span, head, KIND_SPAN, body, !is_clean && self.0.redactor.is_suspect(body))
    }

    /// The same for a meter's sample, whose texts were searched when it was made.
    #[inline]
    pub fn append_sample(&self, head: Head<'_>, body: &[u8], is_suspect: bool) -> u64 {
        self.append_searched(Signal::Metric, head, wire::KIND_METRIC, body, is_suspect)
    }

    /// The same for an error that a guest reports; gives the group that counts it as well.
    pub fn append_report(&self, head: Head<'_>, body: &[u8]) -> (u64, Option<GroupId>) {
        let parts = frame_parts(head, wire::KIND_ERROR, body);
        let (sequence, group) = if self.0.redactor.is_suspect(body) {
            self.without_secrets(parts, |parts| self.append_error(parts))
        } else {
            self.append_error(parts)
        };
        if sequence == 0 {
            self.dropped(Drop::NoMemory);
        }
        (sequence, group)
    }

    /// Begins a digest of a call's input.
    pub fn digest_input(&self) -> InputDigester {
        InputDigester::new(&self.0.input_key)
    }

    #[inline]
    fn append_searched(&self, signal: Signal, head: Head<'_>, kind: u8, body: &[u8], is_suspect: bool) -> u64 {
        let parts = frame_parts(head, kind, body);
        if is_suspect {
            self.without_secrets(parts, |parts| self.append_clean(signal, parts))
        } else {
            self.append_clean(signal, parts)
        }
    }

    /// Puts a record somewhere without what is secret in it.
    #[cold]
    pub(crate) fn without_secrets<T>(&self, parts: FrameParts<'_>, put: impl FnOnce(FrameParts<'_>) -> T) -> T {
        let redacted = self.0.redactor.redact_record(parts.kind, parts.body);
        put(FrameParts { body: redacted.as_deref().unwrap_or(parts.body), ..parts })
    }

    /// Appends what holds nothing secret.
    #[inline]
    pub(crate) fn append_clean(&self, signal: Signal, parts: FrameParts<'_>) -> u64 {
        let sequence = self.append_as_is(signal, parts);
        if sequence == 0 {
            self.dropped(Drop::NoMemory);
        }
        sequence
    }

    /// Appends what may be stored; an error is counted by its group, too, and an alert by what is known of it.
    #[inline]
    fn append_as_is(&self, signal: Signal, parts: FrameParts<'_>) -> u64 {
        match signal {
            Signal::Error => self.append_error(parts).0,
            Signal::Alert => self.0.alerts.append(parts),
            _ => self.0.ring(signal).append(parts),
        }
    }

    #[cold]
    fn append_error(&self, parts: FrameParts<'_>) -> (u64, Option<GroupId>) {
        self.0.groups.append(parts, |news| self.alarm_of_errors(&parts, news))
    }

    /// Raises what an error has shown.
    fn alarm_of_errors(&self, error: &FrameParts<'_>, news: &News) {
        let (at, context) = (UnixNanos(error.time), error.context);
        let id = news.group.to_string();
        let about_group = [(GROUP, id.as_str())];
        let message =
            format!("{}; `glasshouse errors explain {id}` shows the latest one with what led to it", news.title);
        let of_group = Alarm {
            what: HostAlert::ErrorsRegressed,
            labels: &about_group,
            message: &message,
            value: None,
            threshold: None,
            context,
        };
        if news.regressed {
            self.alarm(at, &of_group, None);
        }
        if let Some(nanos) = news.escalates_for {
            self.alarm(at, &Alarm { what: HostAlert::ErrorsEscalating, ..of_group }, Some(Duration::from_nanos(nanos)));
        }
        if let Some(count) = news.burst {
            let window = text::duration(BURST_WINDOW);
            let message = format!(
                "{count} errors in {window}, where {BURST_ERRORS} are many; `glasshouse errors groups` lists them"
            );
            let (value, threshold) = (Some(f64::from(count)), Some(f64::from(BURST_ERRORS)));
            let alarm =
                Alarm { what: HostAlert::ErrorBurst, labels: &[], message: &message, value, threshold, context };
            self.alarm(at, &alarm, Some(BURST_IS_OVER_AFTER));
        }
    }

    /// Raises an alert of the host's about the extension, unless alerts are switched off. It is over by itself if it is not raised again for
    /// so long, or else when [`Recorder::recover`] says so. Where it fires since then it is a record, too.
    pub fn alarm(&self, at: UnixNanos, alarm: &Alarm<'_>, over_after: Option<Duration>) {
        if !self.is_enabled(Signal::Alert) {
            return;
        }
        let message = self.0.redactor.redact_text(alarm.message);
        let alarm = Alarm { message: &message, ..*alarm };
        let quiet = over_after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        if self.0.alerts.raise(at, &alarm, quiet) == Some(0) {
            self.dropped(Drop::NoMemory);
        }
    }

    /// Ends these alerts of the host's about the extension, whatever their labels, since their cause is over.
    pub fn recover(&self, at: UnixNanos, those: &[HostAlert], note: &str) {
        self.0.alerts.recover(at, note, |alert| those.iter().any(|known| known.as_str() == alert.name));
    }

    /// Ends the alerts of those thresholds, by their text, that `is_over` says so of.
    pub(crate) fn recover_thresholds(&self, at: UnixNanos, note: &str, is_over: impl Fn(&str) -> bool) {
        self.0.alerts.recover(at, note, |alert| {
            alert.name == HostAlert::MetricThreshold.as_str()
                && alert.labels.iter().any(|(name, value)| name == THRESHOLD && is_over(value))
        });
    }

    #[inline]
    pub(crate) fn gates(&self) -> &Gates {
        &self.0.gates
    }

    pub(crate) fn provisional(&self) -> &Provisional {
        &self.0.provisional
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.0
    }

    /// What finds secrets before they are stored.
    pub fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// Counts a record that is not stored.
    #[cold]
    pub fn dropped(&self, cause: Drop) {
        self.dropped_all(cause, 1);
    }

    /// Counts so many records that are not stored.
    #[cold]
    pub fn dropped_all(&self, cause: Drop, records: u64) {
        self.0.drops[cause as usize].fetch_add(records, Ordering::Relaxed);
    }

    /// The extension's totals.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }
}
