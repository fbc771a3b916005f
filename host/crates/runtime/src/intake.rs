//! The door for records that a guest made: validated, gated, cut to the limits, and stored with the host's envelope.

mod samples;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use glasshouse_model::record::KIND_ANSWERED;
use glasshouse_model::settings::TelemetryBudget;
use glasshouse_model::text::cut;
use glasshouse_model::wire::{self, Error, Field, Fields, Log, Metric, Record, Value};
use glasshouse_model::{
    AnsweredError, Clock, Context, InputDigest, Level, Origin, Reported, Signal, UnixNanos, limits,
};
use glasshouse_telemetry::{CleanStarts, Decided, Drop, Fate, Head, Load, Place, Recorder, Verdict, Worth};

use crate::cuts::{Cuts, overflow};
use crate::extension::HandlerError;
use crate::probe::{Probe, Timed};
use crate::reports::Reports;
use crate::told::tell;
pub(crate) use samples::BoundSample;

/// What a guest said of its panic, kept until the trap that follows it.
#[derive(Clone, Debug)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: Option<(String, u32)>,
    /// The report itself, to be stored if no trap follows.
    body: Vec<u8>,
    /// Whether something was cut off.
    pub(crate) cut: bool,
}

/// Takes the records of one instance. Its methods borrow it shared, so that a guest's bytes can be read in place.
pub(crate) struct Intake {
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    context: Context,
    context_bytes: Vec<u8>,
    panic: RefCell<Option<PanicReport>>,
    malformed: Cell<u64>,
    /// When the present invocation began, in `Clock::monotonic_nanos`.
    began_at: Cell<u64>,
    /// When the guest last sent gathered records in this invocation.
    flushed_at: Cell<Option<UnixNanos>>,
    /// The serial number of the last batch of gathered records.
    last_serial: Cell<Option<u32>>,
    /// Bytes taken since the guest last yielded, with an allowance for each record.
    taken: Cell<usize>,
    /// What need not be searched for secrets again.
    clean_starts: RefCell<CleanStarts>,
    /// What one record may be.
    cuts: Cell<Cuts>,
    probe: Probe,
    reports: Reports,
    /// Whether anything of the present invocation waits for how it ends.
    has_undecided: Cell<bool>,
}

/// How a record came.
#[derive(Clone, Copy)]
enum Arrival {
    /// When it was made.
    AtOnce,
    /// Later, with others that were made since the ones before them came.
    Batched { since: UnixNanos, receipt: UnixNanos },
}

impl Arrival {
    /// What the host makes of the time that a guest gave a record, if that cannot be.
    fn corrected(self, time: Option<i64>) -> Option<i64> {
        match (self, time) {
            (Self::Batched { since, receipt }, Some(time)) => {
                Some(time.max(since.0).min(receipt.0)).filter(|possible| *possible != time)
            }
            _ => None,
        }
    }
}

/// Bytes of one batch; the SDK sends a record at a time, of 32 KiB at most, or gathers 16 KiB.
const BATCH_BYTES: usize = 256 * 1024;
/// What taking a record costs beyond its bytes, as so many bytes.
const RECORD_COST: usize = 64;
/// Bytes after which a guest that records yields to its neighbours: a tenth of a millisecond or so of the host's work,
/// which no fuel is used for.
const TAKEN_BEFORE_YIELD: usize = 256 * 1024;

/// Where the span id stands in an encoded context.
const SPAN_ID_AT: std::ops::Range<usize> = 16..24;
/// The kind of error that the SDK's panic hook reports.
const PANIC_KIND: &str = "panic";

impl Intake {
    pub(crate) fn new(recorder: Recorder, clock: Arc<dyn Clock>) -> Self {
        Self {
            recorder,
            clock,
            context: Context::default(),
            context_bytes: Vec::new(),
            panic: RefCell::default(),
            malformed: Cell::new(0),
            began_at: Cell::new(0),
            flushed_at: Cell::new(None),
            last_serial: Cell::new(None),
            taken: Cell::new(0),
            clean_starts: RefCell::default(),
            cuts: Cell::default(),
            probe: Probe::default(),
            reports: Reports::default(),
            has_undecided: Cell::new(false),
        }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The same, for what goes on beside the guest.
    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn context_bytes(&self) -> &[u8] {
        &self.context_bytes
    }

    pub(crate) fn set_context(&mut self, context: Context) {
        self.context = context;
        self.encode_anew();
    }

    /// Changes the context where it stands.
    #[inline]
    pub(crate) fn change_context(&mut self, change: impl FnOnce(&mut Context)) {
        change(&mut self.context);
        if !self.context.encode_over(&mut self.context_bytes) {
            self.encode_anew();
        }
    }

    fn encode_anew(&mut self) {
        self.context_bytes.clear();
        encode_redacted(&self.recorder, &self.context, &mut self.context_bytes);
    }

    /// Appends a context as it is stored. What is passed on to others is left as it is; what is stored is not.
    pub(crate) fn encode_context(&self, context: &Context, buffer: &mut Vec<u8>) {
        encode_redacted(&self.recorder, context, buffer);
    }

    /// An encoded context as it is for another span in it.
    pub(crate) fn with_span(context: &[u8], span: glasshouse_model::SpanId) -> Vec<u8> {
        let mut context = context.to_vec();
        if let Some(place) = context.get_mut(SPAN_ID_AT) {
            place.copy_from_slice(&span.0);
        }
        context
    }

    pub(crate) fn set_span(&mut self, span: glasshouse_model::SpanId) {
        self.context.span_id = span;
        if let Some(place) = self.context_bytes.get_mut(SPAN_ID_AT) {
            place.copy_from_slice(&span.0);
        }
    }

    /// Whether spans in the present context are stored, or may be once their call is over.
    #[inline]
    pub(crate) fn may_store_spans(&self) -> bool {
        self.recorder.may_store_spans(&self.context_bytes)
    }

    /// What one record may be.
    pub(crate) fn cuts(&self) -> Cuts {
        self.cuts.get()
    }

    /// Begins a crossing that tells of the guest: one in some is timed.
    #[inline]
    pub(crate) fn cross(&self) -> Timed {
        self.probe.start(&*self.clock)
    }

    /// Ends a crossing that carried a load, which is asked for only if the crossing was timed.
    #[inline]
    pub(crate) fn crossed(&self, timed: Timed, load: impl FnOnce() -> Load) {
        if let Some(at) = timed.end(&*self.clock, &self.recorder, load) {
            self.recorder.govern(&*self.clock, at, at.saturating_sub(self.began_at.get()));
        }
    }

    /// Takes no more than a budget allows from now on.
    pub(crate) fn settle(&self, budget: &TelemetryBudget) {
        self.cuts.set(Cuts::new(budget));
    }

    /// Begins an invocation at a time in `Clock::monotonic_nanos`.
    #[inline]
    pub(crate) fn begin_invocation(&self, began_at: u64) {
        self.began_at.set(began_at);
        self.flushed_at.set(None);
        self.reports.clear();
    }

    /// Takes the batch that a guest had gathered and not sent when its call ended, unless it was sent after all.
    #[cold]
    pub(crate) fn recover(&self, tail: Result<Option<&[u8]>, wire::Malformed>) {
        let tail = match tail {
            Ok(Some(tail)) => tail,
            Ok(None) => return,
            Err(malformed) => return self.refuse(malformed),
        };
        match wire::records(tail).map(|records| records.serial()) {
            Ok(None) => self.refuse(wire::Malformed("a shared batch has no serial number")),
            Ok(serial) if serial == self.last_serial.get() => {}
            Ok(_) | Err(_) => self.emit(tail),
        }
    }

    /// Notes that gathered records came.
    fn note_flush(&self, serial: u32) -> Arrival {
        self.last_serial.set(Some(serial));
        let receipt = self.clock.now();
        let since = self.flushed_at.replace(Some(receipt)).unwrap_or_else(|| self.clock.at(self.began_at.get()));
        Arrival::Batched { since, receipt }
    }

    /// Takes a batch in the wire format.
    #[inline]
    pub(crate) fn emit(&self, batch: &[u8]) {
        if batch.len() > BATCH_BYTES {
            return self.refuse(wire::Malformed("a batch is longer than 256 KiB"));
        }
        self.note_work(batch.len());
        let records = match wire::records(batch) {
            Ok(records) => records,
            Err(malformed) => return self.refuse(malformed),
        };
        let arrival = records.serial().map_or(Arrival::AtOnce, |serial| self.note_flush(serial));
        let cuts = self.cuts.get();
        for record in records {
            self.note_work(RECORD_COST);
            if let Ok((wire::KIND_LOG, body)) = record
                && body.len() <= cuts.uncut
            {
                let mut known = self.clean_starts.borrow_mut();
                let mut search = self.recorder.redactor().watch(&known);
                let checked = wire::check_log_with(body, &mut search);
                let seen = search.seen();
                match checked {
                    Ok(log) if log.fields as usize <= cuts.fields => {
                        self.recorder.note_fields(log.fields as usize);
                        if self.recorder.may_have_longest_text(body.len()) {
                            self.note_texts(body);
                        }
                        let target = || wire::Reader::new(&body[log.texts_at..]).str().unwrap_or_default();
                        match self.recorder.judge_log(log.level, target, &self.context_bytes) {
                            Verdict::Keep => {
                                let head = self.head(arrival, false);
                                if self.recorder.affords_log(log.level, target, &head, body.len()) {
                                    let body = with_time(body, arrival.corrected(log.time));
                                    self.recorder.append_log(head, &body, &log, seen, &mut known);
                                }
                            }
                            Verdict::Undecided => {
                                let body = with_time(body, arrival.corrected(log.time));
                                let head = self.head(arrival, false);
                                self.recorder.wait_checked_log(head, &body, &log, seen, &mut known);
                                self.has_undecided.set(true);
                            }
                            Verdict::LeaveOut => {}
                        }
                        continue;
                    }
                    // Too many fields: the rest are cut off below.
                    Ok(_) => {}
                    Err(malformed) => return self.refuse(malformed),
                }
            }
            if let Ok((wire::KIND_SAMPLES, body)) = record {
                match wire::samples(body) {
                    Ok(samples) => self.take_samples(arrival, &samples),
                    Err(malformed) => return self.refuse(malformed),
                }
                continue;
            }
            let decoded = record.and_then(|(kind, body)| Ok((kind, body, wire::decode(kind, body)?)));
            match decoded {
                Ok((kind, body, record)) => self.take(arrival, kind, body, &record),
                Err(malformed) => return self.refuse(malformed),
            }
        }
    }

    /// Takes one record that the host encoded from a typed call.
    pub(crate) fn take_encoded(&self, kind: u8, body: &[u8]) {
        self.note_work(RECORD_COST + body.len());
        match wire::decode(kind, body) {
            Ok(record) => self.take(Arrival::AtOnce, kind, body, &record),
            Err(malformed) => self.refuse(malformed),
        }
    }

    /// A sample's body in its place: the series of its labels, or its metric's overflow series; `None` if it has none.
    fn placed<'b>(&self, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        match wire::decode(wire::KIND_METRIC, body) {
            Ok(Record::Metric(metric, labels)) => self.place(&metric, labels, body),
            _ => None,
        }
    }

    #[inline]
    fn place<'b>(&self, metric: &Metric<'_>, labels: Fields<'_>, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        match self.recorder.place(metric, body, !labels.is_empty(), &*self.clock) {
            Place::Own => Some(Cow::Borrowed(body)),
            Place::Overflow => Some(Cow::Owned(overflow(metric))),
            Place::None => None,
        }
    }

    /// Counts work that the guest made, as so many bytes of records.
    #[inline]
    pub(crate) fn note_work(&self, bytes: usize) {
        self.taken.set(self.taken.get().saturating_add(bytes));
    }

    /// Whether the guest has made so much work since it last yielded that it is to yield now.
    #[inline]
    pub(crate) fn is_yield_due(&self) -> bool {
        let due = self.taken.get() >= TAKEN_BEFORE_YIELD;
        if due {
            self.taken.set(0);
        }
        due
    }

    #[inline]
    fn take(&self, arrival: Arrival, kind: u8, body: &[u8], record: &Record<'_>) {
        if let Record::Error(error, _) = record
            && error.kind == PANIC_KIND
            && !error.handled
        {
            return self.note_panic(error, body, record);
        }
        let (signal, waits) = match record {
            Record::Log(log, _) => match self.recorder.judge_log(log.level, || log.target, &self.context_bytes) {
                Verdict::Keep => (Signal::Log, false),
                Verdict::Undecided => (Signal::Log, true),
                Verdict::LeaveOut => return,
            },
            _ => match self.recorder.admit(record, &self.context_bytes) {
                Some(signal) => (signal, false),
                None => return,
            },
        };
        if let Record::Log(_, fields) | Record::Metric(_, fields) | Record::Error(_, fields) = record {
            self.recorder.note_fields(fields.len());
        }
        if self.recorder.may_have_longest_text(body.len()) {
            self.recorder.note_text(Cuts::longest_text(record));
        }
        let cuts = self.cuts.get();
        let cut = !cuts.fits(record, body.len());
        let body = if cut { Cow::Owned(cuts.cut(record)) } else { Cow::Borrowed(body) };
        let time = if let Record::Log(log, _) = record { log.time } else { None };
        let body = match arrival.corrected(time) {
            None => body,
            corrected => Cow::Owned(with_time(&body, corrected).into_owned()),
        };
        let placed = match record {
            Record::Metric(..) if cut => self.placed(&body),
            Record::Metric(metric, labels) => self.place(metric, *labels, &body),
            _ => Some(Cow::Borrowed(&*body)),
        };
        let Some(body) = placed else { return self.recorder.dropped(Drop::Metrics) };
        match record {
            Record::Log(..) if waits => {
                self.recorder.wait_log(self.head(arrival, cut), &body);
                self.has_undecided.set(true);
            }
            Record::Error(error, _) => self.store_report(arrival, error, &body, cut),
            _ => self.store(arrival, signal, kind, &body, cut, Worth::of(record)),
        }
    }

    /// Notes how long the texts of a log are.
    #[cold]
    fn note_texts(&self, body: &[u8]) {
        if let Ok(record) = wire::decode(wire::KIND_LOG, body) {
            self.recorder.note_text(Cuts::longest_text(&record));
        }
    }

    /// Keeps a span for how its call will end.
    #[inline]
    pub(crate) fn wait_span(&self, head: Head<'_>, body: &[u8], is_clean: bool) {
        self.recorder.wait_span(head, body, is_clean);
        self.has_undecided.set(true);
    }

    /// Whether anything waits for how the invocation ends.
    #[inline]
    pub(crate) fn has_undecided(&self) -> bool {
        self.has_undecided.get()
    }

    /// Stores what waited for how the invocation would end, or leaves it out.
    #[cold]
    pub(crate) fn decide(&self, is_kept: bool) -> Decided {
        self.has_undecided.set(false);
        let decided = self.recorder.decide_call(is_kept, &self.context_bytes, &*self.clock);
        self.note_work(decided.bytes);
        decided
    }

    /// Leaves what waits to the fate of the trace, with so many spans for which there was no room.
    #[cold]
    pub(crate) fn leave(&self, fate: &Arc<Fate>, gone: u64) {
        self.has_undecided.set(false);
        self.recorder.leave_call(fate, &self.context_bytes, gone, &*self.clock);
    }

    /// Stores an error that the guest reports, and notes what it says: the call may be answered with the same.
    #[cold]
    fn store_report(&self, arrival: Arrival, error: &Error<'_>, body: &[u8], cut: bool) {
        let head = self.head(arrival, cut);
        if self.recorder.affords(Worth::Urgent, &head, body.len())
            && let (sequence, Some(group)) = self.recorder.append_report(head, body)
        {
            self.reports.note(error, Reported { sequence, group, handled: error.handled });
        }
    }

    #[inline]
    fn store(&self, arrival: Arrival, signal: Signal, kind: u8, body: &[u8], cut: bool, worth: Worth) {
        let head = self.head(arrival, cut);
        if self.recorder.affords(worth, &head, body.len()) {
            self.recorder.append(signal, head, kind, body);
        }
    }

    #[inline]
    fn head(&self, arrival: Arrival, cut: bool) -> Head<'_> {
        let (time, batched) = match arrival {
            Arrival::AtOnce => (self.clock.now(), false),
            Arrival::Batched { receipt, .. } => (receipt, true),
        };
        Head { time, origin: Origin::Guest, cut, batched, context: &self.context_bytes }
    }

    /// Keeps a panic for the trap that follows it: the two are one failure.
    #[cold]
    fn note_panic(&self, error: &Error<'_>, body: &[u8], record: &Record<'_>) {
        let location = error.source.map(|source| (cut(source.file, limits::NAME_BYTES).to_owned(), source.line));
        let message = cut(error.message, limits::MESSAGE_BYTES).to_owned();
        let cut = !self.cuts.get().fits(record, body.len());
        let body = if cut { self.cuts.get().cut(record) } else { body.to_owned() };
        let earlier = self.panic.replace(Some(PanicReport { message, location, body, cut }));
        if let Some(earlier) = earlier {
            self.store_panic(&earlier);
        }
    }

    /// Stores the report of a panic that no trap followed.
    #[cold]
    fn store_panic(&self, report: &PanicReport) {
        if self.recorder.is_on(Signal::Error) {
            self.store(Arrival::AtOnce, Signal::Error, wire::KIND_ERROR, &report.body, report.cut, Worth::Urgent);
        }
    }

    /// Stores an error that the guest gave for an answer; the field `returned` tells that it did not report it so. What the caller is
    /// to blame for counts as handled. One that it has reported in this call is told to be the same.
    #[cold]
    pub(crate) fn take_answered(&self, error: &HandlerError, input: Option<InputDigest>) {
        let (kind, message, handled) = match error {
            HandlerError::UnknownEvent(message) => ("unknown-event", message, true),
            HandlerError::InvalidPayload(message) => ("invalid-payload", message, true),
            HandlerError::Failed { kind, message } => (kind.as_str(), message, false),
        };
        if !self.recorder.is_on(Signal::Error) {
            return;
        }
        let mut body = Vec::new();
        let report = Error { kind, message, stack: "", source: None, handled };
        wire::write_error(&mut body, &report, &[Field { name: "returned", value: Value::Boolean(true) }]);
        let Ok(record) = wire::decode(wire::KIND_ERROR, &body) else { return };
        let cut = !self.cuts.get().fits(&record, body.len());
        let body = if cut { Cow::Owned(self.cuts.get().cut(&record)) } else { Cow::Borrowed(&*body) };
        let mut answered = Vec::with_capacity(body.len() + 32);
        AnsweredError::encode(&mut answered, input, self.reports.of(error), &body);
        self.store(Arrival::AtOnce, Signal::Error, KIND_ANSWERED, &answered, cut, Worth::Urgent);
    }

    /// The panic that came before a trap.
    pub(crate) fn take_panic(&self) -> Option<PanicReport> {
        self.panic.take()
    }

    fn refuse(&self, malformed: wire::Malformed) {
        self.count_malformed("a batch of records", malformed);
    }

    /// Counts what a guest said of a span and is malformed.
    pub(crate) fn refuse_span(&self, malformed: wire::Malformed) {
        self.count_malformed("what was sent of a span", malformed);
    }

    /// Counts what is malformed, and tells of the first in a call.
    #[cold]
    fn count_malformed(&self, what: &str, malformed: wire::Malformed) {
        self.recorder.dropped(Drop::Malformed);
        if self.malformed.replace(self.malformed.get() + 1) == 0 {
            self.host_log(Level::Warning, &format!("{what} is malformed: {malformed}"), &[]);
        }
    }

    /// Forgets what belongs to the invocation that ended.
    #[inline]
    pub(crate) fn end_invocation(&self) {
        if self.panic.borrow().is_some()
            && let Some(panic) = self.take_panic()
        {
            self.store_panic(&panic);
        }
        self.malformed.set(0);
    }

    /// Stores a log that the host makes of what the guest did, as long as the guest does not do too much.
    pub(crate) fn host_log(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        tell(&self.recorder, &*self.clock, &self.context_bytes, level, message, fields);
    }

    /// Stores a line that the guest wrote to its standard output or error.
    pub(crate) fn stdio_line(
        recorder: &Recorder,
        clock: &dyn Clock,
        context: &[u8],
        stream: &str,
        line: &str,
        is_cut: bool,
    ) {
        let level = if stream == "stderr" { Level::Warning } else { Level::Info };
        recorder.note_text(line.len());
        let message = cut(line, recorder.string_bytes());
        let is_cut = is_cut || message.len() < line.len();
        let log = Log { level, target: stream, message, source: None, time: None };
        let Some(signal) = recorder.admit(&Record::Log(log, Fields::EMPTY), context) else { return };
        let head = Head { time: clock.now(), origin: Origin::Stdio, cut: is_cut, batched: false, context };
        if recorder.affords(Worth::of_log(level), &head, message.len()) {
            let mut body = Vec::with_capacity(message.len() + 16);
            wire::write_log(&mut body, &log, format_args!("{message}"), &[]);
            recorder.append(signal, head, wire::KIND_LOG, &body);
        }
    }
}

/// A log's body, with another time if that is to be.
#[inline]
fn with_time(body: &[u8], time: Option<i64>) -> Cow<'_, [u8]> {
    let Some(time) = time else { return Cow::Borrowed(body) };
    let mut body = body.to_owned();
    wire::set_log_time(&mut body, time);
    Cow::Owned(body)
}

/// Text without the bytes that are not UTF-8.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Appends a context without what is secret in it.
#[inline]
fn encode_redacted(recorder: &Recorder, context: &Context, buffer: &mut Vec<u8>) {
    let redacted = recorder.redactor().redact_context(context);
    redacted.as_ref().unwrap_or(context).encode(buffer);
}

#[cfg(test)]
mod tests;
