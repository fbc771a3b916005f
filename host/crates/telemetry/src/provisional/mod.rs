//! Undecided spans and logs: what is stored only if its trace fails or is slow waits here, in the room of its extension, until that is known.
//!
//! What the call under way has made is undecided until it ends; if the call is all of its trace in this host, it is decided then. Else it is a
//! part of a trace, and waits for the [`Fate`] that it shares with the other calls.

mod fate;
mod files;
mod room;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glasshouse_model::record::{KIND_SPAN, SPANS_LEFT_OUT};
use glasshouse_model::wire::{self, Field, LogSummary, Value};
use glasshouse_model::{Clock, Context, Level, Origin, Signal, TraceId, UnixNanos, limits};

pub use fate::{CallFate, DECIDED_AFTER, Fate};
pub(crate) use files::{FILE_BYTES, Files};

use crate::frame::FrameParts;
use crate::gates::Verdict;
use crate::governor::Load;
use crate::rate::Worth;
use crate::redact::{CleanStarts, SeenLog};
use crate::sampling::kept_for_its_end;
use crate::store::{Drop, Head, Recorder, Store, frame_parts};
use room::Room;

/// Bytes of half of the spans that wait in an extension: so many of the newest are there in any case, some five hundred, and for a thousand
/// extensions both halves are no more than their stores have. Those that were open when a call failed end last.
const HALF_OF_SPANS: usize = 128 * 1024;
/// The same for logs: some hundreds, and the longest record has room.
const HALF_OF_LOGS: usize = 2 * limits::RECORD_BYTES;
/// The numbers of the files of spans, and of those of logs.
const FIRST_OF_SPANS: u64 = 1;
const FIRST_OF_LOGS: u64 = 3;

/// What waits in one extension, which serves one call at a time.
pub(crate) struct Provisional {
    spans: Mutex<Waiting>,
    logs: Mutex<Waiting>,
}

/// What waits of one signal.
struct Waiting {
    room: Room,
    /// The sequence number of the first record of the call under way that is there.
    call_from: u64,
    /// Records of that call that had to go.
    gone: u64,
    /// What calls that are over have left, by age. Those of which nothing is there any more are one for each trace.
    parts: Vec<Part>,
}

/// What a call has left of a trace that is not decided.
struct Part {
    fate: Arc<Fate>,
    trace_id: TraceId,
    sequences: Range<u64>,
    gone: u64,
    /// The call's own context, encoded.
    context: Box<[u8]>,
}

/// What became of what a call left undecided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Bytes of records that were to be stored.
    pub bytes: usize,
    /// Spans that were left out.
    pub left_out: u64,
    /// Spans that were to be stored and for which there was no room.
    pub gone: u64,
}

impl Decided {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.left_out += other.left_out;
        self.gone += other.gone;
    }
}

impl Provisional {
    /// An empty one, in files if there are to be any.
    pub(crate) fn new(files: Option<Arc<Files>>) -> Self {
        let waiting = |room| Mutex::new(Waiting { room, call_from: 1, gone: 0, parts: Vec::new() });
        Self {
            spans: waiting(Room::new(HALF_OF_SPANS, files.clone(), FIRST_OF_SPANS)),
            logs: waiting(Room::new(HALF_OF_LOGS, files, FIRST_OF_LOGS)),
        }
    }

    /// Each signal's, with the signal, to be locked one at a time: who records of the other is not to wait.
    fn each(&self) -> [(Signal, &Mutex<Waiting>); 2] {
        [(Signal::Span, &self.spans), (Signal::Log, &self.logs)]
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    #[inline]
    fn add(&mut self, parts: FrameParts<'_>) {
        let Self { room, call_from, gone, parts: left } = self;
        let fits = room.append(parts, |range| {
            *gone += range.end.saturating_sub(range.start.max(*call_from));
            *call_from = range.end.max(*call_from);
            evict(left, range.end);
        });
        *gone += u64::from(!fits);
    }

    /// The sequence numbers of the call under way.
    fn of_call(&self) -> Range<u64> {
        self.call_from..self.room.next()
    }

    /// Whether records of calls that are over are there: of a part, all may have had to go.
    fn has_left(&self) -> bool {
        self.parts.iter().any(|part| !part.sequences.is_empty())
    }

    /// Ends the call under way, of which nothing more is needed.
    fn end_call(&mut self) {
        if self.has_left() {
            self.room.truncate(self.call_from);
        } else {
            self.room.clear();
        }
        self.begin_call();
    }

    fn begin_call(&mut self) {
        self.call_from = self.room.begin();
        self.gone = 0;
    }

    /// Leaves what the call under way has made to the fate of its trace, with what else of it there was no room for. Tells whether there is
    /// anything.
    fn leave(&mut self, fate: &Arc<Fate>, context: &[u8], more_gone: u64) -> bool {
        let (sequences, gone) = (self.of_call(), self.gone + more_gone);
        if sequences.is_empty() && gone == 0 {
            return false;
        }
        let trace_id = Context::decode(context).map(|context| context.trace_id).unwrap_or_default();
        self.parts.push(Part { fate: Arc::clone(fate), trace_id, sequences, gone, context: context.into() });
        if !self.has_left() {
            self.room.clear();
        }
        self.begin_call();
        true
    }

    /// Takes what is left to a fate out.
    fn take(&mut self, fate: &Fate) -> Vec<Part> {
        self.parts.extract_if(.., |part| std::ptr::eq(Arc::as_ptr(&part.fate), fate)).collect()
    }
}

/// Parts of which nothing is there that are told apart, some 10 KiB of them: an extension may begin any number of traces.
const EMPTY_PARTS: usize = 64;

/// Takes what had to go, up to a sequence number, off the parts. Of each fate and trace, one part at most stays of which nothing is there.
fn evict(parts: &mut Vec<Part>, end: u64) {
    let mut empty: Vec<Part> = Vec::new();
    let mut kept = Vec::with_capacity(parts.len());
    for mut part in parts.drain(..) {
        let first = part.sequences.start.max(end).min(part.sequences.end);
        part.gone += first - part.sequences.start;
        part.sequences.start = first;
        let is_full = empty.len() >= EMPTY_PARTS;
        let is_known =
            |known: &&mut Part| Arc::ptr_eq(&known.fate, &part.fate) && (is_full || known.trace_id == part.trace_id);
        match empty.iter_mut().find(|known| part.sequences.is_empty() && is_known(known)) {
            Some(known) => known.gone += part.gone,
            None if part.sequences.is_empty() => empty.push(part),
            None => kept.push(part),
        }
    }
    *parts = empty;
    parts.append(&mut kept);
}

impl Recorder {
    /// Keeps a span for how its call, and its trace, will end: in the form in which it is stored then, without what is secret in it, for which
    /// it need not be searched if it is known to be clean.
    #[inline]
    pub fn wait_span(&self, head: Head<'_>, body: &[u8], is_clean: bool) {
        let is_suspect = !is_clean && self.redactor().is_suspect(body);
        self.wait(&self.provisional().spans, frame_parts(head, KIND_SPAN, body), is_suspect);
    }

    /// The same for a log.
    pub fn wait_log(&self, head: Head<'_>, body: &[u8]) {
        let is_suspect = self.redactor().is_suspect(body);
        self.wait(&self.provisional().logs, frame_parts(head, wire::KIND_LOG, body), is_suspect);
    }

    /// The same for a log that was checked as [`Recorder::append_log`] has it.
    pub fn wait_checked_log(
        &self,
        head: Head<'_>,
        body: &[u8],
        log: &LogSummary,
        seen: SeenLog,
        known: &mut CleanStarts,
    ) {
        let is_suspect = self.redactor().is_suspect_log(body, log, seen, known);
        self.wait(&self.provisional().logs, frame_parts(head, wire::KIND_LOG, body), is_suspect);
    }

    #[inline]
    fn wait(&self, waiting: &Mutex<Waiting>, parts: FrameParts<'_>, is_suspect: bool) {
        if is_suspect {
            self.without_secrets(parts, |parts| lock(waiting).add(parts));
        } else {
            lock(waiting).add(parts);
        }
    }

    /// Stores what the call under way left undecided, or leaves it out. The context is the call's own.
    #[cold]
    pub fn decide_call(&self, is_kept: bool, context: &[u8], clock: &dyn Clock) -> Decided {
        let mut decided = Decided::default();
        let kept_at = is_kept.then(|| clock.now());
        for (signal, waiting) in self.provisional().each() {
            let mut waiting = lock(waiting);
            if waiting.of_call().is_empty() && waiting.gone == 0 {
                continue;
            }
            let began_at = clock.monotonic_nanos();
            let sequences = [waiting.of_call()];
            let part = self.settle(&waiting, signal, &sequences, waiting.gone, kept_at, context);
            decided.add(part);
            waiting.end_call();
            self.note_settled(signal, began_at, clock);
        }
        decided
    }

    /// Counts what it took to settle records of a signal since a time, in `Clock::monotonic_nanos`: all of it, since there may be hundreds of them.
    fn note_settled(&self, signal: Signal, began_at: u64, clock: &dyn Clock) {
        // Of the logs below warning most are at debug.
        let load = if signal == Signal::Span { Load::Span } else { Load::Debug };
        self.note_whole(load, clock.monotonic_nanos().saturating_sub(began_at));
    }

    /// Leaves what the call under way left undecided to the fate of its trace, with so many spans for which there was no room. The context is
    /// the call's own.
    #[cold]
    pub fn leave_call(&self, fate: &Arc<Fate>, context: &[u8], gone: u64, clock: &dyn Clock) {
        let mut is_any_left = false;
        for (signal, waiting) in self.provisional().each() {
            let mut waiting = lock(waiting);
            let more_gone = if signal == Signal::Span { gone } else { 0 };
            is_any_left |= waiting.leave(fate, context, more_gone);
        }
        if is_any_left {
            // It may have been decided meanwhile.
            fate.wait_in(self.store(), clock);
        }
    }

    /// Stores what waits for a fate that is decided, or leaves it out.
    #[cold]
    pub(super) fn resolve(&self, fate: &Fate, clock: &dyn Clock) {
        let (verdict, now) = (fate.verdict(), clock.now());
        if verdict == Verdict::Undecided {
            return;
        }
        let kept_at = (verdict == Verdict::Keep).then_some(now);
        let mut left_out = 0;
        for (signal, waiting) in self.provisional().each() {
            let mut waiting = lock(waiting);
            let began_at = clock.monotonic_nanos();
            let parts = waiting.take(fate);
            let Some(Part { context, .. }) = parts.first() else { continue };
            let sequences: Vec<_> = parts.iter().map(|part| part.sequences.clone()).collect();
            let gone = parts.iter().map(|part| part.gone).sum();
            let decided = self.settle(&waiting, signal, &sequences, gone, kept_at, context);
            // Its parts may be of several traces, each of which would look whole.
            for part in parts.iter().filter(|_| decided.gone > 0) {
                self.tell_missing(now, &part.context, part.gone);
            }
            left_out += decided.left_out;
            waiting.room.mark_decided(&sequences);
            if !waiting.has_left() && waiting.of_call().is_empty() && waiting.gone == 0 {
                waiting.end_call();
            }
            self.note_settled(signal, began_at, clock);
        }
        fate.note_left_out(left_out);
    }

    /// Stores records that waited, if they are kept from some time on, or leaves them out; so many others had to go. Their sequence numbers rise.
    fn settle(
        &self,
        waiting: &Waiting,
        signal: Signal,
        sequences: &[Range<u64>],
        gone: u64,
        kept_at: Option<UnixNanos>,
        context: &[u8],
    ) -> Decided {
        let is_span = signal == Signal::Span;
        let (bytes, left_out) = match kept_at {
            Some(now) => {
                let stored = waiting.room.each(sequences).map(|parts| self.store_decided(signal, parts, now));
                // What is missing of spans is told by whoever asked.
                (stored.sum(), if is_span { 0 } else { gone })
            }
            None => (0, gone + sequences.iter().map(|range| range.end - range.start).sum::<u64>()),
        };
        if !is_span {
            if left_out > 0 {
                self.dropped_all(Drop::Sampled, left_out);
            }
            return Decided { bytes, ..Decided::default() };
        }
        if left_out > 0 {
            self.leave_out_spans(context, left_out);
        }
        Decided { bytes, left_out, gone: if kept_at.is_some() { gone } else { 0 } }
    }

    /// Stores a record that waited. What it takes of the rate it takes now: a rate goes by times that go on.
    fn store_decided(&self, signal: Signal, parts: FrameParts<'_>, now: UnixNanos) -> usize {
        let context = if signal == Signal::Span { kept_for_its_end(parts.context) } else { parts.context.into() };
        let head = Head { time: now, origin: Origin::Guest, cut: false, batched: false, context: &context };
        if self.affords(Worth::Usual, &head, parts.body.len()) {
            self.append_clean(signal, FrameParts { context: &context, ..parts });
        }
        parts.body.len()
    }

    /// Counts spans for which there was no room while their trace was undecided, and says so in the trace, which would look whole without them.
    #[cold]
    pub fn tell_missing(&self, now: UnixNanos, context: &[u8], spans: u64) {
        if spans > 0 {
            self.dropped_all(Drop::Crowded, spans);
            let message = "too many spans at once: the first ones are not stored";
            self.log_left_out(now, context, message, spans);
        }
    }

    /// Says in a trace that is kept after all that spans of it were left out before.
    #[cold]
    pub fn tell_late(&self, now: UnixNanos, context: &[u8], spans: u64) {
        if spans > 0 {
            let message =
                "a call failed or was slow after its trace was left out: what others made before is not stored";
            self.log_left_out(now, context, message, spans);
        }
    }

    fn log_left_out(&self, now: UnixNanos, context: &[u8], message: &str, spans: u64) {
        let fields = [
            Field { name: "event", value: Value::Text(SPANS_LEFT_OUT) },
            Field { name: "spans", value: Value::Integer(spans as i64) },
        ];
        let head = Head { time: now, origin: Origin::Host, cut: false, batched: false, context };
        if self.affords(Worth::Told, &head, message.len()) {
            self.host_log(now, context, Level::Info, message, &fields);
        }
    }
}

impl Store {
    /// Decides on traces that are to be decided by now, of which parts wait here.
    pub(crate) fn decide_overdue(&self, clock: &dyn Clock) {
        let overdue = |waiting: &Waiting| {
            let late = waiting.parts.iter().filter(|part| part.fate.is_overdue(clock));
            late.map(|part| Arc::clone(&part.fate)).collect::<Vec<_>>()
        };
        let fates: Vec<_> = self.provisional().each().iter().flat_map(|(_, waiting)| overdue(&lock(waiting))).collect();
        for fate in fates {
            fate.pass(clock);
        }
    }
}

#[cfg(test)]
mod tests;
