//! Spans of traces that are not kept, until their call is over: if it failed or was slow, they are stored all the same.

use std::ops::Range;

use glasshouse_model::UnixNanos;
use glasshouse_telemetry::{Drop, Load};

use super::open_span::Ended;
use crate::intake::Intake;

/// Bytes of spans that wait, in one call: some hundreds of spans, and for a thousand calls under way no more than their stores have.
const BYTES: usize = 256 * 1024;

/// The spans of one invocation that wait.
#[derive(Default)]
pub(super) struct Undecided {
    spans: Vec<(Range<usize>, Ended)>,
    /// Their encoded contexts, one after the other.
    contexts: Vec<u8>,
    bytes: usize,
    /// Spans for which there was no room.
    left_out: u64,
}

impl Undecided {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds a span in an encoded context, if there is room for it.
    pub(super) fn add(&mut self, context: &[u8], ended: Ended) {
        let bytes = ended.bytes() + context.len();
        if self.bytes + bytes > BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        let start = self.contexts.len();
        self.contexts.extend_from_slice(context);
        self.spans.push((start..self.contexts.len(), ended));
    }

    /// Stores all of them, or leaves them out, at a time.
    pub(super) fn decide(&mut self, intake: &Intake, stored: bool, now: UnixNanos) {
        let Self { spans, contexts, left_out, .. } = std::mem::take(self);
        if !stored {
            return intake.recorder().leave_out_spans(intake.context_bytes(), spans.len() as u64 + left_out);
        }
        for (context, ended) in spans {
            let timed = intake.cross();
            ended.store(intake, contexts.get(context).unwrap_or_default(), now);
            intake.crossed(timed, || Load::Span);
        }
        if left_out > 0 {
            intake.recorder().dropped_all(Drop::Crowded, left_out);
        }
    }
}
