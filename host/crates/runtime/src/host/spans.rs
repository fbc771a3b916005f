//! The open spans of a call: timed pieces of work, stored when they end. Guests open and end them by the ways of `span_calls.rs`.

mod own_trace;

use glasshouse_model::invocation::{HostUse, Transfer};
use glasshouse_model::wire::{self, Field, Malformed, SpanStart};
use glasshouse_model::{Context, Origin, SpanCost, SpanId, SpanKind};
use glasshouse_telemetry::{CleanStarts, Drop, Load, Verdict, Worth};

use self::own_trace::Home;
pub(super) use self::own_trace::OwnTrace;
pub(crate) use self::own_trace::new_trace_id;
use super::open_span::{Ended, KEPT_BYTES, OpenSpan, end_host_call};
use crate::determinism::Ids;
use crate::host_calls::HostCalls;
use crate::imports::Imports;
use crate::intake::Intake;
use crate::limiter::Limiter;

/// Spans that have ended and are kept to be used again, so that a span costs no allocation: more are seldom open at once.
const SPARE: usize = 8;

/// The open spans of an invocation, outermost first.
#[derive(Default)]
pub(crate) struct Spans {
    /// The invocation's own span, while there are others.
    root: SpanId,
    /// In boxes, since a span is some hundred bytes that would be moved each time.
    #[expect(clippy::vec_box, reason = "what has ended is taken out whole and used again")]
    open: Vec<Box<OpenSpan>>,
    #[expect(clippy::vec_box, reason = "as above")]
    spare: Vec<Box<OpenSpan>>,
    /// The invocation's own trace, while one of those that are open is of another.
    home: Option<Home>,
    /// The number of the last span of the instance.
    last_serial: u32,
    /// The same at the start of the present invocation.
    last_before: u32,
    /// What need not be searched for secrets again.
    clean_starts: CleanStarts,
    /// The span that was encoded last.
    body: Vec<u8>,
    pub(crate) ids: Ids,
}

/// No open span has that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOpen;

/// What an invocation has used by some moment. None of it ever becomes less, so that the difference of two readings is what
/// was used between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// When, in `Clock::monotonic_nanos`.
    pub(crate) at: u64,
    pub(crate) fuel_left: Option<u64>,
    pub(crate) host_nanos: u64,
    pub(crate) host_calls: u64,
    pub(crate) idle_nanos: u64,
    pub(crate) yielded_nanos: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) transfer: Transfer,
}

impl Reading {
    pub(crate) fn take(intake: &Intake, imports: &Imports, limiter: &Limiter, fuel_left: Option<u64>) -> Self {
        let pulse = imports.pulse();
        Self {
            at: intake.clock().monotonic_nanos(),
            fuel_left,
            host_nanos: imports.nanos(),
            host_calls: imports.calls(),
            idle_nanos: pulse.idle_nanos(),
            yielded_nanos: pulse.yielded_nanos(),
            memory_bytes: limiter.bytes(),
            transfer: pulse.transferred(),
        }
    }

    /// What was used since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> SpanCost {
        SpanCost {
            fuel: earlier.fuel_left.zip(self.fuel_left).map(|(before, left)| before.saturating_sub(left)),
            elapsed_nanos: self.at.saturating_sub(earlier.at),
            host_nanos: self.host_nanos.saturating_sub(earlier.host_nanos),
            host_calls: self.host_calls.saturating_sub(earlier.host_calls),
            idle_nanos: self.idle_nanos.saturating_sub(earlier.idle_nanos),
            yielded_nanos: self.yielded_nanos.saturating_sub(earlier.yielded_nanos),
            memory_delta_bytes: self.memory_bytes.saturating_sub(earlier.memory_bytes),
            transfer: self.transfer.since(earlier.transfer),
        }
    }
}

impl Spans {
    /// No spans; their ids, and those of the instance's traces, come from `ids`.
    pub(crate) fn new(ids: Ids) -> Self {
        Self { ids, ..Self::default() }
    }

    /// The invocation's own span, by its present context.
    pub(crate) fn root(&self, context: &Context) -> SpanId {
        if self.open.is_empty() { context.span_id } else { self.root }
    }

    /// Starts an invocation.
    #[inline]
    pub(crate) fn begin_invocation(&mut self) {
        self.last_before = self.last_serial;
    }

    /// An open span by its number.
    pub(super) fn find(&mut self, serial: u32) -> Option<&mut OpenSpan> {
        self.open.iter_mut().rev().find(|span| span.serial == serial).map(|span| &mut **span)
    }

    /// Whether a number that is not that of an open span was made up, or is that of one that the guest ended itself in this call. What it has
    /// kept from an earlier call, the host has ended.
    #[cold]
    pub(super) fn is_forged(&self, serial: u32) -> bool {
        serial == 0 || serial > self.last_before
    }

    /// The number of the next span.
    fn next_serial(&mut self) -> u32 {
        self.last_serial = self.last_serial.checked_add(1).unwrap_or(1);
        self.last_serial
    }

    /// Takes a span for a work that starts, if it does not nest too deeply, which is counted.
    #[inline]
    fn take_span(&mut self, intake: &Intake, kind: SpanKind, start: Reading) -> Option<Box<OpenSpan>> {
        let cuts = intake.cuts();
        let depth = self.open.last().map_or(0, |span| span.depth) + 1;
        intake.recorder().note_spans(self.open.len() + 1, depth);
        if self.open.len() >= cuts.open_spans || depth > cuts.span_depth {
            intake.recorder().dropped(Drop::Nesting);
            return None;
        }
        let mut span = self.spare.pop().unwrap_or_default();
        span.serial = self.next_serial();
        span.id = SpanId(self.ids.draw().to_be_bytes());
        span.parent = intake.context().span_id;
        span.depth = depth;
        span.kind = kind;
        span.start = start;
        span.cuts = cuts;
        if self.home.is_some() {
            span.trace = self.open.last().and_then(|outer| outer.trace.clone());
        }
        Some(span)
    }

    /// Opens a span and goes on in it. Returns its number.
    #[inline]
    fn open(&mut self, intake: &mut Intake, imports: &mut Imports, span: Box<OpenSpan>) -> u32 {
        self.root = self.root(intake.context());
        self.stand_in(intake, imports, span.id, span.trace.as_deref());
        imports.open_span();
        let serial = span.serial;
        self.open.push(span);
        serial
    }

    /// Starts a span and returns its number; 0 for one that nests too deeply, which is counted.
    pub(super) fn start<'f>(
        &mut self,
        intake: &mut Intake,
        imports: &mut Imports,
        name: &str,
        kind: SpanKind,
        fields: impl Iterator<Item = Field<'f>>,
        start: Reading,
    ) -> u32 {
        let Some(mut span) = self.take_span(intake, kind, start) else { return 0 };
        span.begin_with(name, fields);
        self.open(intake, imports, span)
    }

    /// The same with a span that begins a trace of its own.
    #[cold]
    pub(super) fn start_root<'f>(
        &mut self,
        intake: &mut Intake,
        imports: &mut Imports,
        name: &str,
        kind: SpanKind,
        fields: impl Iterator<Item = Field<'f>>,
        start: Reading,
    ) -> u32 {
        let Some(mut span) = self.take_span(intake, kind, start) else { return 0 };
        span.begin_with(name, fields);
        self.begin_trace(intake, &mut span);
        self.open(intake, imports, span)
    }

    /// The same with all that opens it. What it says was validated.
    #[cold]
    pub(super) fn start_whole(
        &mut self,
        intake: &mut Intake,
        imports: &mut Imports,
        whole: &SpanStart<'_>,
        start: Reading,
    ) -> u32 {
        let SpanStart { kind, is_root, links, name, fields } = *whole;
        let serial = if is_root {
            self.start_root(intake, imports, name, kind, fields.iter(), start)
        } else {
            self.start(intake, imports, name, kind, fields.iter(), start)
        };
        if let Some(span) = self.find(serial) {
            for (link, fields) in links {
                span.add_link(&link, fields.iter());
            }
        }
        serial
    }

    /// The same with what opens it as the guest encoded it, within [`Cuts::uncut`](crate::cuts::Cuts::uncut): what is longer is not to be
    /// remembered. Its buffer is taken in exchange for another one.
    #[inline]
    pub(super) fn start_encoded(
        &mut self,
        intake: &mut Intake,
        imports: &mut Imports,
        encoded: &mut Vec<u8>,
        start: Reading,
    ) -> Result<u32, Malformed> {
        let redactor = intake.recorder().redactor();
        let mut search = redactor.watch(&self.clean_starts);
        let Some(summary) = wire::check_span_start_with(encoded, &mut search)? else {
            return wire::span_start(encoded).map(|whole| self.start_whole(intake, imports, &whole, start));
        };
        let seen = search.seen();
        let is_clean = redactor.is_clean_span(encoded, &summary, seen, &mut self.clean_starts);
        let Some(mut span) = self.take_span(intake, summary.kind, start) else { return Ok(0) };
        span.begin(encoded, &summary, seen.has_distinct_names());
        // What is cut may look like something else.
        span.is_clean = is_clean && !span.cut;
        Ok(self.open(intake, imports, span))
    }

    /// Whether any span is open.
    pub(crate) fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Ends an open span by its number.
    #[inline]
    pub(super) fn end(
        &mut self,
        intake: &mut Intake,
        imports: &mut Imports,
        serial: u32,
        reading: &Reading,
    ) -> Result<(), NotOpen> {
        let at = self.open.iter().rposition(|span| span.serial == serial).ok_or(NotOpen)?;
        let span = self.open.remove(at);
        self.close(intake, imports, span, at, reading, false);
        Ok(())
    }

    /// Stores a span that stood at a place, in its own context, and goes on in that of the innermost one that is open.
    fn close(
        &mut self,
        intake: &mut Intake,
        imports: &mut Imports,
        mut span: Box<OpenSpan>,
        at: usize,
        reading: &Reading,
        left_open: bool,
    ) {
        if !imports.host_calls.is_empty() {
            let inner = self.open.get(at).map(|inner| inner.start.at);
            span.children = span.children.with(imports.host_calls.claim(span.id, span.start.at, inner));
        }
        intake.recorder().note_text(span.longest_text);
        let cost = self.settle(&span, at, reading);
        self.stand_in(intake, imports, span.id, span.trace.as_deref());
        self.store_or_wait(intake, &span, reading, (cost, imports.uses_in_span(at)), left_open);
        imports.close_span(at);
        let innermost = self.open.last().map(|span| (span.id, span.trace.as_deref()));
        let (id, trace) = innermost.unwrap_or((self.root, None));
        self.stand_in(intake, imports, id, trace);
        if self.home.is_some() {
            self.come_home();
        }
        if self.spare.len() < SPARE {
            span.clear();
            self.spare.push(span);
        }
    }

    /// Goes on in an open span, or in the invocation's own.
    #[inline]
    fn stand_in(&self, intake: &mut Intake, imports: &mut Imports, span: SpanId, trace: Option<&OwnTrace>) {
        if self.home.is_none() {
            intake.set_span(span);
        } else {
            self.stand_in_trace(intake, &mut imports.host_calls, span, trace);
        }
    }

    /// Stores a span that has ended by a reading, if it failed or its trace is kept; or else it waits for what comes of the invocation.
    /// What it cost is in all, what of that inner spans did, and what it used the host's functions for. Its context is the intake's.
    fn store_or_wait(
        &mut self,
        intake: &Intake,
        span: &OpenSpan,
        reading: &Reading,
        cost: ((SpanCost, SpanCost), impl Iterator<Item = HostUse>),
        left_open: bool,
    ) {
        let at = reading.at;
        let (recorder, context) = (intake.recorder(), intake.context_bytes());
        let has_failed = span.has_failed();
        let verdict = if !has_failed {
            recorder.judge_span(context)
        } else if recorder.admit_failed_span() {
            Verdict::Keep
        } else {
            return;
        };
        if verdict == Verdict::LeaveOut {
            return recorder.leave_out_spans(context, 1);
        }
        self.body.clear();
        span.encode(&mut self.body, intake, reading.memory_bytes, cost, left_open);
        let worth = if has_failed { Worth::Urgent } else { Worth::Usual };
        let (cut, is_clean) = (span.cut, span.is_clean);
        let ended = Ended { body: &self.body, at, origin: Origin::Guest, worth, cut, is_clean };
        let now = intake.clock().at(at);
        if has_failed {
            // It stands for itself alone.
            ended.store(intake, context, now);
        } else {
            ended.settle(intake, context, verdict == Verdict::Keep, verdict, now);
        }
        if self.body.capacity() > 2 * KEPT_BYTES {
            self.body = Vec::new();
        }
    }

    /// What a span that stood at a place cost. The span around it is told, and what an inner span that is still open took
    /// until now is not counted as its own.
    fn settle(&mut self, span: &OpenSpan, at: usize, reading: &Reading) -> (SpanCost, SpanCost) {
        let total = reading.since(&span.start);
        if let Some(outer) = at.checked_sub(1).and_then(|at| self.open.get_mut(at))
            && outer.id == span.parent
        {
            outer.children = outer.children.with(total);
        }
        let inner = self.open.get(at).filter(|inner| inner.parent == span.id);
        let children = inner.map_or(span.children, |inner| span.children.with(reading.since(&inner.start)));
        (total, children)
    }

    /// Ends the innermost span that the guest left open; tells whether there was one.
    #[cold]
    pub(crate) fn end_innermost(&mut self, intake: &mut Intake, imports: &mut Imports, reading: &Reading) -> bool {
        let Some(span) = self.open.pop() else { return false };
        self.close(intake, imports, span, self.open.len(), reading, true);
        true
    }

    /// Stores the calls of the host's functions that an invocation made, each as a span in the guest's span or the invocation in which it was made, and
    /// was run until a time, or keeps them for what is decided on its trace, or leaves them out. Its context is the intake's. Tells how many there
    /// was no room for, and how many were left out.
    #[cold]
    pub(crate) fn tell_host_calls(
        &mut self,
        intake: &Intake,
        calls: &HostCalls,
        verdict: Verdict,
        run_until: u64,
    ) -> [u64; 2] {
        let now = intake.clock().now();
        let [_, without_room] = calls.counts();
        let own = intake.context_bytes();
        let is_own_kept = intake.recorder().judge_span(own) == Verdict::Keep;
        let mut left_out = 0;
        for (call, scope) in calls.each() {
            // What was made in a trace of the extension's own goes by that.
            let own_verdict = scope.map(|scope| intake.recorder().judge_span(scope));
            let is_kept = own_verdict.map_or(is_own_kept, |own| own == Verdict::Keep);
            if !is_kept && (verdict == Verdict::LeaveOut || own_verdict == Some(Verdict::LeaveOut)) {
                left_out += 1;
                continue;
            }
            let timed = intake.cross();
            let id = SpanId(self.ids.draw().to_be_bytes());
            let context = Intake::with_span(scope.unwrap_or(own), id);
            end_host_call(intake, call, run_until, |ended| ended.settle(intake, &context, is_kept, verdict, now));
            intake.crossed(timed, || Load::Span);
        }
        if left_out > 0 {
            intake.recorder().leave_out_spans(own, left_out);
        }
        [without_room, left_out]
    }
}

#[cfg(test)]
mod tests;
