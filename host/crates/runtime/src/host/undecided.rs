//! Spans of traces that are not kept, until their call is over: if it failed or was slow, they are stored all the same.

use glasshouse_model::UnixNanos;
use glasshouse_telemetry::{Load, kept_for_its_end};

use super::open_span::Ended;
use crate::intake::Intake;
use crate::newest::Newest;

/// Bytes of half of the spans that wait in one call: so many of the newest are there in any case, some five hundred, and for a thousand calls
/// under way both halves are no more than their stores have. Those that were open when the call failed end last.
const HALF_BYTES: usize = 128 * 1024;
/// Bytes that are kept for the next call.
const KEPT_BYTES: usize = 16 * 1024;

/// The spans of one invocation that wait.
#[derive(Default)]
pub(super) struct Undecided(Newest<Ended<'static>, HALF_BYTES>);

impl Undecided {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a span in an encoded context. If there is no room for it, the oldest ones go.
    pub(super) fn add(&mut self, context: &[u8], ended: Ended<'_>) {
        let Ended { body, at, origin, worth, cut, is_clean } = ended;
        self.0.add(Ended { body: &[], at, origin, worth, cut, is_clean }, [context, body]);
    }

    /// Stores all of them, or leaves them out, at a time. Returns how many were to be stored and had to go.
    pub(super) fn decide(&mut self, intake: &Intake, stored: bool, now: UnixNanos) -> u64 {
        let [waited, gone] = self.0.counts();
        if stored {
            self.store(intake, now);
        } else {
            intake.recorder().leave_out_spans(intake.context_bytes(), waited + gone);
        }
        self.0.clear(KEPT_BYTES);
        if stored { gone } else { 0 }
    }

    fn store(&self, intake: &Intake, now: UnixNanos) {
        for (ended, [context, body]) in self.0.each() {
            let timed = intake.cross();
            Ended { body, ..*ended }.store(intake, &kept_for_its_end(context), now);
            intake.crossed(timed, || Load::Span);
        }
    }
}
