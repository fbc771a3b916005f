//! Which of the host's functions a guest called, one by one, so that each that matters gets a span of its own: made by the host, for any
//! component, whatever it was built with.

use std::collections::VecDeque;
use std::sync::Arc;

use glasshouse_model::{HostFunction, SpanCost, SpanId, SpanKind, SpanStatus};

/// Calls that get spans in one call of the guest, the last ones, some 20 KiB of them: more than that nobody looks through one by one, and the
/// ledger has their sums.
const MOST: usize = 256;

/// A call of a function of the host that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostCall {
    pub(crate) function: HostFunction,
    /// When it began and ended, in `Clock::monotonic_nanos`.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What of that was waited for something, and for its next turn, in nanoseconds.
    idle_nanos: u64,
    yielded_nanos: u64,
    /// The guest's span in which it was made, once that has ended; `None` for the invocation itself.
    pub(crate) parent: Option<SpanId>,
}

impl HostCall {
    /// A call from its start to its end, with what was waited in it: for something, and for its turn.
    pub(crate) fn new(function: HostFunction, start: u64, end: u64, [idle_nanos, yielded_nanos]: [u64; 2]) -> Self {
        Self { function, start, end, idle_nanos, yielded_nanos, parent: None }
    }

    /// What it cost. That it burns fuel is not known, and what it transferred stands in the spans around it.
    pub(crate) fn cost(&self) -> SpanCost {
        let elapsed_nanos = self.end.saturating_sub(self.start);
        let idle_nanos = self.idle_nanos.min(elapsed_nanos);
        let yielded_nanos = self.yielded_nanos.min(elapsed_nanos - idle_nanos);
        let host_nanos = elapsed_nanos - idle_nanos - yielded_nanos;
        SpanCost { elapsed_nanos, host_nanos, idle_nanos, yielded_nanos, host_calls: 1, ..SpanCost::default() }
    }

    /// What its span stands for.
    pub(crate) fn kind(&self) -> SpanKind {
        match self.function {
            HostFunction::Tcp | HostFunction::Udp | HostFunction::Network => SpanKind::Client,
            _ => SpanKind::Internal,
        }
    }

    /// How it ended for a call that was run until some time: what ended later was given up with it.
    pub(crate) fn status(&self, run_until: u64) -> SpanStatus {
        if self.end > run_until { SpanStatus::Unfinished } else { SpanStatus::Ok }
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
                self.idle_nanos > 0
            }
            _ => false,
        }
    }
}

/// The calls of an invocation, in the order in which they ended; one is over before the next one begins.
#[derive(Debug, Default)]
pub(crate) struct HostCalls {
    is_watching: bool,
    /// The last ones, each with its scope.
    calls: VecDeque<(HostCall, Scope)>,
    left_out: u64,
    /// The one in force.
    scope: Scope,
}

/// The encoded context of the scope in which calls are made; `None` for the invocation itself.
type Scope = Option<Arc<[u8]>>;

impl HostCalls {
    /// Starts an invocation, whose spans may be stored or not.
    #[inline]
    pub(crate) fn begin(&mut self, is_watching: bool) {
        self.is_watching = is_watching;
        if !self.is_empty() || self.scope.is_some() {
            *self = Self { is_watching, ..Self::default() };
        }
    }

    /// Goes on in a scope with that encoded context, or in that of the invocation itself.
    pub(crate) fn set_scope(&mut self, context: Option<&[u8]>) {
        self.scope = context.filter(|_| self.is_watching).map(Arc::from);
    }

    /// Notes a call. The first ones go where there are too many: what a call waited for when it was given up is the last one.
    pub(crate) fn note(&mut self, call: HostCall) {
        if !self.is_watching || !call.matters() {
            return;
        }
        if self.calls.len() == MOST {
            self.calls.pop_front();
            self.left_out += 1;
        }
        self.calls.push_back((call, self.scope.clone()));
    }

    /// Gives a span that has ended the calls that were made in it, and in no span in it: those from its start on, up to the start of an inner span
    /// that is still open. Tells what they cost.
    pub(crate) fn claim(&mut self, span: SpanId, since: u64, until: Option<u64>) -> SpanCost {
        let mut cost = SpanCost::default();
        for (call, _) in self.calls.iter_mut().rev().take_while(|(call, _)| call.start >= since) {
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

    /// The calls, each with the encoded context of the scope in which it was made, if it was made in one.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&HostCall, Option<&[u8]>)> {
        self.calls.iter().map(|(call, scope)| (call, scope.as_deref()))
    }

    /// Calls that matter, and how many of them there was no room for.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [self.calls.len() as u64 + self.left_out, self.left_out]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(function: HostFunction, start: u64, end: u64, idle_nanos: u64) -> HostCall {
        HostCall::new(function, start, end, [idle_nanos, 0])
    }

    fn kept(all: &HostCalls) -> Vec<HostCall> {
        all.each().map(|(call, _)| *call).collect()
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
        let all = watched(&calls);
        assert_eq!(kept(&all), [calls[0], calls[2], calls[5]]);
        assert_eq!(all.counts(), [3, 0]);
        let only_yielded = HostCall::new(HostFunction::Poll, 1, 9, [0, 8]);
        assert!(watched(&[only_yielded]).is_empty(), "what waits for its turn only waits for nothing");
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
        let parents = |calls: &HostCalls| kept(calls).iter().map(|call| call.parent).collect::<Vec<_>>();
        let mut all = watched(&calls);
        assert_eq!(all.claim(inner, 20, None).host_calls, 2, "the last one was not made yet");
        assert_eq!(all.claim(outer, 10, None).elapsed_nanos, 2);
        assert_eq!(parents(&all), [None, Some(outer), Some(inner), Some(inner)]);
        let mut all = watched(&calls[..3]);
        assert_eq!(all.claim(outer, 10, Some(20)).host_calls, 1);
        assert_eq!(all.claim(inner, 20, None).host_calls, 1);
        assert_eq!(parents(&all), [None, Some(outer), Some(inner)]);
    }

    #[test]
    fn of_too_many_calls_the_last_ones_are_there_and_the_others_are_counted() {
        let mut all = watched(&[]);
        (0..MOST as u64 + 7).for_each(|start| all.note(call(HostFunction::FileRead, start, start + 1, 0)));
        assert_eq!((kept(&all).len(), all.counts()), (MOST, [MOST as u64 + 7, 7]));
        assert!(kept(&all).iter().map(|call| call.start).eq(7..MOST as u64 + 7));
        all.begin(true);
        assert!(all.is_empty() && all.counts() == [0, 0]);
    }

    #[test]
    fn a_call_belongs_to_the_scope_in_which_it_was_made() {
        let mut all = watched(&[call(HostFunction::FileStat, 0, 1, 0)]);
        for (context, calls) in
            [(Some(&b"ada"[..]), 2), (Some(b"nobody calls in this one"), 0), (None, 1), (Some(b"grace"), 1)]
        {
            all.set_scope(context);
            (0..calls).for_each(|_| all.note(call(HostFunction::FileStat, 2, 3, 0)));
        }
        let scopes: Vec<_> = all.each().map(|(_, scope)| scope).collect();
        assert_eq!(scopes, [None, Some(&b"ada"[..]), Some(b"ada"), None, Some(b"grace")]);
        all.begin(true);
        all.note(call(HostFunction::FileStat, 4, 5, 0));
        assert_eq!(all.each().map(|(_, scope)| scope).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_a_call_cost_adds_up_even_if_more_was_waited_than_it_took() {
        let cost = call(HostFunction::Poll, 10, 15, 9).cost();
        assert_eq!((cost.elapsed_nanos, cost.host_nanos, cost.idle_nanos), (5, 0, 5));
        assert_eq!(cost.guest_nanos(), 0);
        let both = HostCall::new(HostFunction::StreamRead, 10, 20, [3, 4]).cost();
        assert_eq!((both.host_nanos, both.idle_nanos, both.yielded_nanos, both.guest_nanos()), (3, 3, 4, 0));
        let given_up = call(HostFunction::Poll, 10, 15, 5);
        assert_eq!((given_up.status(15), given_up.status(14)), (SpanStatus::Ok, SpanStatus::Unfinished));
    }
}
