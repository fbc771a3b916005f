//! A span while it is open, and how it is stored once it has ended.

use std::ops::Range;
use std::sync::Arc;

use glasshouse_model::invocation::{HostUse, HostUses};
use glasshouse_model::text::cut;
use glasshouse_model::wire::{self, Field, Fields, Link, Links, Malformed, Reader, SpanSummary, Value};
use glasshouse_model::{
    EncodedSpan, Origin, Span, SpanCost, SpanId, SpanKind, SpanStatus, TraceState, UnixNanos, limits,
};
use glasshouse_telemetry::{Head, Verdict, Worth, kept_for_its_end};

use super::spans::{OwnTrace, Reading};
use crate::cuts::Cuts;
use crate::host_calls::HostCall;
use crate::intake::Intake;

/// Bytes of events that a span keeps.
pub(super) const EVENT_BYTES: usize = limits::RECORD_BYTES / 4;
/// Bytes of fields that a span keeps.
pub(super) const FIELD_BYTES: usize = limits::RECORD_BYTES / 4;
/// Bytes of links that a span keeps: as many as there may be of links to ids alone.
pub(super) const LINK_BYTES: usize = limits::RECORD_BYTES / 8;

/// Bytes of a field beyond its texts, at most.
const FIELD_OVERHEAD: usize = 16;
/// Bytes of an event beyond its name and fields, at most.
const EVENT_OVERHEAD: usize = 16;
/// Bytes of a link beyond its state and fields, at most: two ids, the state's length, and the number of fields.
const LINK_OVERHEAD: usize = 28;
/// Bytes of a buffer that is kept for the next span: most spans need no more.
pub(super) const KEPT_BYTES: usize = 1024;

/// A span that is open.
#[derive(Default)]
pub(super) struct OpenSpan {
    pub(super) serial: u32,
    pub(super) id: SpanId,
    /// The span in which it was started; of one that begins a trace, in another trace.
    pub(super) parent: SpanId,
    /// The trace that it is of, where that is not the invocation's.
    pub(super) trace: Option<Arc<OwnTrace>>,
    /// Spans that it lies in, itself included.
    pub(super) depth: usize,
    pub(super) kind: SpanKind,
    pub(super) failure: Option<String>,
    pub(super) start: Reading,
    /// What inner spans that have ended took.
    pub(super) children: SpanCost,
    pub(super) texts: Texts,
    pub(super) events: Vec<u8>,
    pub(super) event_count: u32,
    pub(super) links: Vec<u8>,
    pub(super) link_count: u32,
    /// What it may hold, by the extension's budget.
    pub(super) cuts: Cuts,
    pub(super) cut: bool,
    /// Bytes of the longest text that was looked at, before it was cut.
    pub(super) longest_text: usize,
    /// Whether its texts are known to hold nothing to redact.
    pub(super) is_clean: bool,
}

/// Name and fields of a span, encoded as they are stored.
#[derive(Default)]
pub(super) struct Texts {
    /// The name lies somewhere in it, the fields at its end.
    bytes: Vec<u8>,
    /// The name, with its length before it.
    name: Range<usize>,
    fields_at: usize,
    field_count: u32,
    /// Bytes that the fields count.
    field_bytes: usize,
}

impl Texts {
    /// Takes what opened a span over as it came, and gives the buffer from before for it.
    #[inline]
    pub(super) fn take(&mut self, start: &mut Vec<u8>, summary: &SpanSummary) {
        std::mem::swap(&mut self.bytes, start);
        self.name = summary.name_at..summary.fields_at;
        self.fields_at = summary.first_field_at;
        self.field_count = summary.fields;
        // No field takes more than its bytes and the allowance of each.
        self.field_bytes = self.bytes.len() - self.fields_at + FIELD_OVERHEAD * summary.fields as usize;
    }

    /// Begins with a name alone.
    pub(super) fn begin(&mut self, name: &str) {
        self.bytes.clear();
        wire::put_str(&mut self.bytes, name);
        self.name = 0..self.bytes.len();
        self.fields_at = self.bytes.len();
        (self.field_count, self.field_bytes) = (0, 0);
    }

    /// The name as it is stored.
    pub(super) fn name(&self) -> &[u8] {
        self.bytes.get(self.name.clone()).unwrap_or_default()
    }

    /// How many fields there are, and all of them as they are stored.
    pub(super) fn fields(&self) -> (u32, &[u8]) {
        (self.field_count, self.bytes.get(self.fields_at..).unwrap_or_default())
    }

    /// Where the field of a name stands, and what it counts.
    fn find(&self, name: &str) -> Option<(Range<usize>, usize)> {
        let mut reader = Reader::new(self.fields().1);
        let at = |reader: &Reader<'_>| self.bytes.len() - reader.rest().len();
        (0..self.field_count).find_map(|_| {
            let start = at(&reader);
            // They were validated, so that nothing but the names is looked at.
            let (known, bytes) = pass_over(&mut reader).ok()?;
            (known == name.as_bytes()).then(|| (start..at(&reader), bytes))
        })
    }

    /// Whether a name is there twice.
    fn has_doubles(&self) -> bool {
        let mut reader = Reader::new(self.fields().1);
        let names: Vec<_> = (0..self.field_count).map_while(|_| reader.field().ok()).map(|field| field.name).collect();
        names.iter().enumerate().any(|(at, name)| names[..at].contains(name))
    }

    #[cfg(test)]
    pub(super) fn field_bytes(&self) -> usize {
        self.field_bytes
    }

    /// Gives back what is more than the next span is likely to need.
    fn trim(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

impl OpenSpan {
    /// Begins with what opened the span, none of whose texts is over the limits, as it came if the number of fields is not either, and no name
    /// is there twice, which may be known (`is_distinct`); its buffer is exchanged then.
    #[inline]
    pub(super) fn begin(&mut self, start: &mut Vec<u8>, summary: &SpanSummary, is_distinct: bool) {
        if summary.fields as usize <= self.cuts.fields {
            self.texts.take(start, summary);
            if is_distinct || summary.fields < 2 || !self.texts.has_doubles() {
                return;
            }
            std::mem::swap(&mut self.texts.bytes, start);
        }
        self.begin_anew(start);
    }

    #[cold]
    fn begin_anew(&mut self, start: &[u8]) {
        // It was validated.
        if let Ok(start) = wire::span_start(start) {
            self.begin_with(start.name, start.fields.iter());
        }
    }

    /// Begins with a name and fields, each cut to the limits.
    pub(super) fn begin_with<'f>(&mut self, name: &str, fields: impl Iterator<Item = Field<'f>>) {
        let kept = cut(name, self.cuts.name);
        self.note_text(name);
        self.cut |= kept.len() < name.len();
        self.texts.begin(kept);
        for field in fields {
            self.set_field(&field);
        }
    }

    /// Makes it like new, but for buffers that are not too large to be used again.
    pub(super) fn clear(&mut self) {
        self.texts.trim();
        self.events.clear();
        if self.events.capacity() > KEPT_BYTES {
            self.events = Vec::new();
        }
        self.links.clear();
        if self.links.capacity() > KEPT_BYTES {
            self.links = Vec::new();
        }
        (self.failure, self.trace) = (None, None);
        (self.event_count, self.link_count) = (0, 0);
        self.children = SpanCost::default();
        (self.cut, self.is_clean, self.longest_text) = (false, false, 0);
    }

    /// Sets a field, cut to the limits; one that has no room leaves the span as it was, and marked.
    pub(super) fn set_field(&mut self, whole: &Field<'_>) {
        self.is_clean = false;
        let field = self.cut_field(whole);
        let texts = &mut self.texts;
        let known = texts.find(field.name);
        let replaced = known.as_ref().map_or(0, |(_, bytes)| *bytes);
        let bytes = texts.field_bytes.saturating_sub(replaced) + field_bytes(&field);
        if bytes > FIELD_BYTES || (known.is_none() && texts.field_count as usize >= self.cuts.fields) {
            self.cut = true;
            return;
        }
        texts.field_bytes = bytes;
        if let Some((place, _)) = known {
            let mut encoded = Vec::with_capacity(field_bytes(&field));
            wire::put_field(&mut encoded, &field);
            texts.bytes.splice(place, encoded);
        } else {
            wire::put_field(&mut texts.bytes, &field);
            texts.field_count += 1;
        }
    }

    /// Adds an event, cut to the limits; one that has no room leaves the span as it was, and marked.
    pub(super) fn add_event<'f>(&mut self, time: UnixNanos, name: &str, fields: impl Iterator<Item = Field<'f>>) {
        self.is_clean = false;
        let kept_name = cut(name, self.cuts.name);
        self.cut |= kept_name.len() < name.len();
        let (kept, bytes) = self.cut_fields(fields);
        if self.events.len() + kept_name.len() + EVENT_OVERHEAD + bytes > EVENT_BYTES {
            self.cut = true;
            return;
        }
        Span::encode_event(&mut self.events, time, kept_name, &kept);
        self.event_count += 1;
    }

    /// Adds a link, cut to the limits; one that has no room leaves the span as it was, and marked. A state that is none, or too long to be
    /// kept whole, is left out, since a part of it would be another one.
    pub(super) fn add_link<'f>(&mut self, link: &Link<'_>, fields: impl Iterator<Item = Field<'f>>) {
        self.is_clean = false;
        self.note_text(link.state);
        let is_kept = link.state.len() <= self.cuts.link_state && link.state.parse::<TraceState>().is_ok();
        let link = Link { state: if is_kept { link.state } else { "" }, ..*link };
        self.cut |= !is_kept;
        let (kept, bytes) = self.cut_fields(fields);
        let is_room = self.links.len() + link.state.len() + LINK_OVERHEAD + bytes <= LINK_BYTES;
        if !is_room || self.link_count as usize >= limits::LINKS {
            self.cut = true;
            return;
        }
        wire::put_link(&mut self.links, &link, &kept);
        self.link_count += 1;
    }

    /// The first fields of an event or a link, cut to the limits, and the bytes that they take at most.
    fn cut_fields<'f>(&mut self, fields: impl Iterator<Item = Field<'f>>) -> (Vec<Field<'f>>, usize) {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for whole in fields {
            if kept.len() >= self.cuts.fields {
                self.cut = true;
                break;
            }
            let field = self.cut_field(&whole);
            bytes += field_bytes(&field);
            kept.push(field);
        }
        (kept, bytes)
    }

    /// Marks the span as failed.
    pub(super) fn fail(&mut self, reason: &str) {
        self.is_clean = false;
        self.note_text(reason);
        self.failure = Some(cut(reason, self.cuts.text).to_owned());
    }

    fn note_text(&mut self, text: &str) {
        self.longest_text = self.longest_text.max(text.len());
    }

    fn cut_field<'f>(&mut self, whole: &Field<'f>) -> Field<'f> {
        let name = cut(whole.name, self.cuts.name);
        self.note_text(whole.name);
        let value = match whole.value {
            Value::Text(text) => {
                self.note_text(text);
                Value::Text(cut(text, self.cuts.text))
            }
            other => other,
        };
        let field = Field { name, value };
        self.cut |= encoded_texts(&field) < encoded_texts(whole);
        field
    }

    /// Whether the guest called it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Encodes it as it is stored, with the instance's memory, what it cost in all, what of that inner spans did, and what it used the host's functions for.
    pub(super) fn encode(
        &self,
        body: &mut Vec<u8>,
        intake: &Intake,
        memory_bytes: u64,
        ((total, children), host): ((SpanCost, SpanCost), impl Iterator<Item = HostUse>),
        left_open: bool,
    ) {
        let status = match (&self.failure, left_open) {
            (Some(_), _) => SpanStatus::Failed,
            (None, true) => SpanStatus::Unfinished,
            (None, false) => SpanStatus::Ok,
        };
        let begins_trace = self.trace.as_ref().is_some_and(|trace| trace.root == self.id);
        let span = EncodedSpan {
            parent: if begins_trace { SpanId::default() } else { self.parent },
            kind: self.kind,
            status,
            name: self.texts.name(),
            failure: self.failure.as_deref().unwrap_or_default(),
            start: intake.clock().at(self.start.at),
            total,
            children,
            fields: self.texts.fields(),
            events: (self.event_count, &self.events),
            links: (self.link_count, &self.links),
            memory_bytes,
        };
        span.encode(body, host);
    }
}

/// A span that has ended, encoded.
#[derive(Clone, Copy)]
pub(super) struct Ended<'b> {
    pub(super) body: &'b [u8],
    /// When, in `Clock::monotonic_nanos`.
    pub(super) at: u64,
    pub(super) origin: Origin,
    pub(super) worth: Worth,
    pub(super) cut: bool,
    pub(super) is_clean: bool,
}

impl Ended<'_> {
    /// Keeps it for how its call will end, in an encoded context.
    #[inline]
    pub(super) fn wait(&self, intake: &Intake, context: &[u8]) {
        let Self { body, at, origin, cut, is_clean, .. } = *self;
        intake.wait_span(Head { time: intake.clock().at(at), origin, cut, batched: false, context }, body, is_clean);
    }

    /// Stores it for its trace if that is kept, or keeps it for how its call will end, or stores it for how that has ended.
    pub(super) fn settle(&self, intake: &Intake, context: &[u8], is_kept: bool, verdict: Verdict, now: UnixNanos) {
        match verdict {
            _ if is_kept => self.store(intake, &intake.recorder().weighed(context), now),
            Verdict::Undecided => self.wait(intake, context),
            _ => self.store(intake, &kept_for_its_end(context), now),
        }
    }

    /// Stores it in an encoded context. What it takes of the rate it takes now: a rate goes by times that go on.
    pub(super) fn store(&self, intake: &Intake, context: &[u8], now: UnixNanos) {
        let Self { body, at, origin, worth, cut, is_clean } = *self;
        intake.note_work(body.len());
        let head = Head { time: intake.clock().at(at), origin, cut, batched: false, context };
        if intake.recorder().affords(worth, &Head { time: now, ..head }, body.len()) {
            intake.recorder().append_span(head, body, is_clean);
        }
    }
}

/// Encodes a call of a function of the host as a span, which is given to `put`. The guest's call was run until a time.
pub(super) fn end_host_call(intake: &Intake, call: &HostCall, run_until: u64, put: impl FnOnce(Ended<'_>)) {
    let span = Span {
        parent: call.parent.unwrap_or(intake.context().span_id),
        kind: call.kind(),
        status: call.status(run_until),
        name: call.function.as_str(),
        failure: "",
        start: intake.clock().at(call.start),
        total: call.cost(),
        children: SpanCost::default(),
        fields: Fields::EMPTY,
        events: Vec::new(),
        links: Links::EMPTY,
        memory_bytes: 0,
        host: HostUses::default(),
    };
    let mut body = Vec::with_capacity(128);
    span.encode(&mut body, &[], 0, &[]);
    let (origin, worth) = (Origin::Host, Worth::Usual);
    put(Ended { body: &body, at: call.end, origin, worth, cut: false, is_clean: false });
}

/// Bytes that a field takes in a record, at most.
fn field_bytes(field: &Field<'_>) -> usize {
    encoded_texts(field) + FIELD_OVERHEAD
}

/// Passes a validated field over: its name, and what it counts.
fn pass_over<'b>(reader: &mut Reader<'b>) -> Result<(&'b [u8], usize), Malformed> {
    let length = reader.varint()?;
    let name = reader.take(length as usize)?;
    let (value, text) = match reader.byte()? {
        0 => {
            let length = reader.varint()? as usize;
            (length, length)
        }
        1 | 2 => (8, 0),
        _ => (0, 0),
    };
    reader.take(value)?;
    Ok((name, name.len() + text + FIELD_OVERHEAD))
}

/// Bytes of a field's texts.
fn encoded_texts(field: &Field<'_>) -> usize {
    field.name.len() + if let Value::Text(text) = field.value { text.len() } else { 0 }
}
