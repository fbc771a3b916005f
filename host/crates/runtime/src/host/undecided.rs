//! Spans of traces that are not kept, until their call is over: if it failed or was slow, they are stored all the same.

use glasshouse_telemetry::{Drop, Load};

use glasshouse_model::UnixNanos;

use super::open_span::Ended;
use crate::intake::Intake;

/// Bytes of spans that wait, in one call: some thousand spans, and for a thousand calls under way no more than their stores have.
const BYTES: usize = 256 * 1024;
/// Bytes that are kept for the next call.
const KEPT_BYTES: usize = 16 * 1024;

/// The spans of one invocation that wait.
#[derive(Default)]
pub(super) struct Undecided {
    spans: Vec<Waiting>,
    /// The encoded context and the body of each, one after the other.
    bytes: Vec<u8>,
    /// Spans for which there was no room.
    left_out: u64,
}

/// A span that waits.
struct Waiting {
    context_bytes: usize,
    body_bytes: usize,
    /// What it is but for its body.
    ended: Ended<'static>,
}

impl Undecided {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds a span in an encoded context, if there is room for it.
    pub(super) fn add(&mut self, context: &[u8], ended: Ended<'_>) {
        let Ended { body, at, origin, worth, cut, is_clean } = ended;
        let bytes = self.bytes.len() + context.len() + body.len() + (self.spans.len() + 1) * size_of::<Waiting>();
        if bytes > BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes.extend_from_slice(context);
        self.bytes.extend_from_slice(body);
        let ended = Ended { body: &[], at, origin, worth, cut, is_clean };
        self.spans.push(Waiting { context_bytes: context.len(), body_bytes: body.len(), ended });
    }

    /// Stores all of them, or leaves them out, at a time.
    pub(super) fn decide(&mut self, intake: &Intake, stored: bool, now: UnixNanos) {
        let left_out = std::mem::take(&mut self.left_out);
        if stored {
            self.store(intake, now);
            if left_out > 0 {
                intake.recorder().dropped_all(Drop::Crowded, left_out);
            }
        } else {
            intake.recorder().leave_out_spans(intake.context_bytes(), self.spans.len() as u64 + left_out);
        }
        self.spans.clear();
        self.bytes.clear();
        if self.bytes.capacity() + self.spans.capacity() * size_of::<Waiting>() > KEPT_BYTES {
            *self = Self::default();
        }
    }

    fn store(&self, intake: &Intake, now: UnixNanos) {
        let mut rest = self.bytes.as_slice();
        for Waiting { context_bytes, body_bytes, ended } in &self.spans {
            let timed = intake.cross();
            let (context, others) = rest.split_at(*context_bytes);
            let (body, others) = others.split_at(*body_bytes);
            rest = others;
            Ended { body, ..*ended }.store(intake, context, now);
            intake.crossed(timed, || Load::Span);
        }
    }
}
