//! Spans of traces that are not kept, until their call is over: if it failed or was slow, they are stored all the same.

use std::ops::Range;

use super::open_span::Ended;
use crate::intake::Intake;

/// Bytes of spans that wait, in one call: some hundreds of them. What comes after them is left out.
const BYTES: usize = 256 * 1024;

/// The spans of one invocation that wait.
#[derive(Default)]
pub(super) struct Undecided {
    spans: Vec<(Range<usize>, Ended)>,
    /// Their encoded contexts, one after the other.
    contexts: Vec<u8>,
    bytes: usize,
}

impl Undecided {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds a span, in the intake's context, if there is room for it.
    pub(super) fn add(&mut self, intake: &Intake, ended: Ended) {
        let context = intake.context_bytes();
        let bytes = ended.bytes() + context.len();
        if self.bytes + bytes > BYTES {
            return intake.recorder().leave_out_spans(1);
        }
        self.bytes += bytes;
        let start = self.contexts.len();
        self.contexts.extend_from_slice(context);
        self.spans.push((start..self.contexts.len(), ended));
    }

    /// Stores all of them, or leaves them out.
    pub(super) fn decide(&mut self, intake: &Intake, stored: bool) {
        let Self { spans, contexts, .. } = std::mem::take(self);
        if !stored {
            return intake.recorder().leave_out_spans(spans.len() as u64);
        }
        for (context, ended) in spans {
            ended.store(intake, contexts.get(context).unwrap_or_default());
        }
    }
}
