//! Which of the host's functions a guest called, one by one, so that each that matters gets a span of its own: made by the host, for any
//! component, whatever it was built with.

use glasshouse_model::{HostFunction, SpanCost, SpanId, SpanKind};

/// Calls that get spans in one call of the guest: a guest that reads a file a million times is told of by the ledger.
const MOST: usize = 256;

/// A call of a function of the host that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostCall {
    pub(crate) function: HostFunction,
    /// When it began and ended, in `Clock::monotonic_nanos`.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What of that was waited, in nanoseconds.
    pub(crate) waited_nanos: u64,
    /// The guest's span in which it was made, once that has ended; `None` for the invocation itself.
    pub(crate) parent: Option<SpanId>,
}

impl HostCall {
    /// What it cost. That it burns fuel is not known, and what it transferred stands in the spans around it.
    pub(crate) fn cost(&self) -> SpanCost {
        let elapsed_nanos = self.end.saturating_sub(self.start);
        let idle_nanos = self.waited_nanos.min(elapsed_nanos);
        let host_nanos = elapsed_nanos - idle_nanos;
        SpanCost { elapsed_nanos, host_nanos, idle_nanos, host_calls: 1, ..SpanCost::default() }
    }

    /// What its span stands for.
    pub(crate) fn kind(&self) -> SpanKind {
        match self.function {
            HostFunction::Tcp | HostFunction::Udp | HostFunction::Network => SpanKind::Client,
            _ => SpanKind::Internal,
        }
    }

    /// Whether it is worth a span: what is done with files, sockets and names is, and so is what was waited for. Telemetry, clocks and random bytes are
    /// not; and what a call of another extension took is told of by that extension's own invocation.
    fn matters(&self) -> bool {
        match self.function {
            HostFunction::FileRead
            | HostFunction::FileWrite
            | HostFunction::FileOpen
            | HostFunction::FileStat
            | HostFunction::FileList
            | HostFunction::FileSync
            | HostFunction::File
            | HostFunction::Tcp
            | HostFunction::Udp
            | HostFunction::Network => true,
            HostFunction::Poll | HostFunction::StreamRead | HostFunction::StreamWrite | HostFunction::Stream => {
                self.waited_nanos > 0
            }
            _ => false,
        }
    }
}

/// The calls of an invocation, in the order in which they ended; one is over before the next one begins.
#[derive(Debug, Default)]
pub(crate) struct HostCalls {
    is_watching: bool,
    calls: Vec<HostCall>,
    left_out: u64,
}

impl HostCalls {
    /// Starts an invocation, whose spans may be stored or not.
    #[inline]
    pub(crate) fn begin(&mut self, is_watching: bool) {
        self.is_watching = is_watching;
        if !self.calls.is_empty() {
            self.calls.clear();
        }
        self.left_out = 0;
    }

    /// Notes a call.
    pub(crate) fn note(&mut self, call: HostCall) {
        if !self.is_watching || !call.matters() {
            return;
        }
        if self.calls.len() < MOST {
            self.calls.push(call);
        } else {
            self.left_out += 1;
        }
    }

    /// Gives a span that has ended the calls that were made in it, and in no span in it: those from its start on, up to the start of an inner span
    /// that is still open. Tells what they cost.
    pub(crate) fn claim(&mut self, span: SpanId, since: u64, until: Option<u64>) -> SpanCost {
        let mut cost = SpanCost::default();
        for call in self.calls.iter_mut().rev().take_while(|call| call.start >= since) {
            if call.parent.is_none() && until.is_none_or(|until| call.start < until) {
                call.parent = Some(span);
                cost = cost.with(call.cost());
            }
        }
        cost
    }

    /// Whether there is anything to tell.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes the calls, and how many more there were.
    pub(crate) fn take(&mut self) -> (Vec<HostCall>, u64) {
        (std::mem::take(&mut self.calls), std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn call(function: HostFunction, start: u64, end: u64, waited_nanos: u64) -> HostCall {
        HostCall { function, start, end, waited_nanos, parent: None }
    }

    fn watched(calls: &[HostCall]) -> HostCalls {
        let mut all = HostCalls::default();
        all.begin(true);
        for call in calls {
            all.note(*call);
        }
        all
    }

    #[test]
    fn files_sockets_and_waits_matter_and_nothing_does_while_nobody_watches() {
        let calls = [
            call(HostFunction::FileOpen, 0, 1, 0),
            call(HostFunction::Poll, 1, 2, 0),
            call(HostFunction::Poll, 2, 9, 6),
            call(HostFunction::Random, 9, 10, 1),
            call(HostFunction::Call, 10, 20, 9),
            call(HostFunction::Tcp, 20, 21, 0),
        ];
        let (kept, left_out) = watched(&calls).take();
        assert_eq!(kept, [calls[0], calls[2], calls[5]]);
        assert_eq!(left_out, 0);
        let mut unwatched = HostCalls::default();
        unwatched.begin(false);
        unwatched.note(calls[0]);
        assert!(unwatched.is_empty());
    }

    #[test]
    fn a_call_belongs_to_the_innermost_span_around_it_whichever_ends_first() {
        let [outer, inner] = [SpanId([1; 8]), SpanId([2; 8])];
        // The outer span is open from 10 on, the inner one from 20 to 30.
        let calls = [5, 12, 22, 32].map(|start| call(HostFunction::FileStat, start, start + 2, 0));
        let parents = |calls: &mut HostCalls| calls.take().0.iter().map(|call| call.parent).collect::<Vec<_>>();
        let mut all = watched(&calls);
        assert_eq!(all.claim(inner, 20, None).host_calls, 2, "the last one was not made yet");
        assert_eq!(all.claim(outer, 10, None).elapsed_nanos, 2);
        assert_eq!(parents(&mut all), [None, Some(outer), Some(inner), Some(inner)]);
        let mut all = watched(&calls[..3]);
        assert_eq!(all.claim(outer, 10, Some(20)).host_calls, 1);
        assert_eq!(all.claim(inner, 20, None).host_calls, 1);
        assert_eq!(parents(&mut all), [None, Some(outer), Some(inner)]);
    }

    #[test]
    fn calls_beyond_the_limit_are_counted_and_take_no_memory() {
        let mut all = watched(&[]);
        (0..MOST as u64 + 7).for_each(|start| all.note(call(HostFunction::FileRead, start, start + 1, 0)));
        let (kept, left_out) = all.take();
        assert_eq!((kept.len(), left_out), (MOST, 7));
        assert!(all.is_empty());
    }

    #[test]
    fn what_a_call_cost_adds_up_even_if_more_was_waited_than_it_took() {
        let cost = call(HostFunction::Poll, 10, 15, 9).cost();
        assert_eq!((cost.elapsed_nanos, cost.host_nanos, cost.idle_nanos), (5, 0, 5));
        assert_eq!(cost.guest_nanos(), 0);
    }
}
