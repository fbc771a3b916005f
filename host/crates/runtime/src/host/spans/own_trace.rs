//! Traces that an extension begins: they are in force while the span that began one is the innermost, or one in it.

use std::sync::Arc;

use glasshouse_model::wire::Link;
use glasshouse_model::{Context, SpanId, TraceId, TraceSampling};

use super::Spans;
use crate::determinism::Ids;
use crate::host::open_span::OpenSpan;
use crate::host_calls::HostCalls;
use crate::intake::Intake;

/// A trace that an extension has begun.
pub(in crate::host) struct OwnTrace {
    id: TraceId,
    /// The span that began it.
    pub(in crate::host) root: SpanId,
    sampling: TraceSampling,
}

/// The trace of the invocation, while a span of another one is open.
pub(super) struct Home {
    trace_id: TraceId,
    sampling: TraceSampling,
}

impl Spans {
    /// Begins a trace with a span that is about to be opened, and is linked to the one that it would lie in. Whether the trace is kept is decided
    /// as for an invocation that nobody has decided for.
    pub(super) fn begin_trace(&mut self, intake: &Intake, span: &mut OpenSpan) {
        let Context { trace_id, span_id, sampling, .. } = *intake.context();
        self.home.get_or_insert(Home { trace_id, sampling });
        let id = new_trace_id(&mut self.ids);
        let sampling = intake.recorder().sample_root(id, None);
        span.trace = Some(Arc::new(OwnTrace { id, root: span.id, sampling }));
        // An embedder can give a call a trace that is none; no link may name it.
        if trace_id != TraceId::default() {
            let around = Link { trace_id: trace_id.0, span_id: span_id.0, state: "" };
            span.add_link(&around, std::iter::empty());
        }
    }

    /// Goes on in an open span, or in the invocation's own, and in its trace.
    #[cold]
    pub(super) fn stand_in_trace(
        &self,
        intake: &mut Intake,
        calls: &mut HostCalls,
        span: SpanId,
        trace: Option<&OwnTrace>,
    ) {
        intake.set_span(span);
        let Some(home) = &self.home else { return };
        let (id, sampling) = trace.map_or((home.trace_id, home.sampling), |own| (own.id, own.sampling));
        if intake.context().trace_id == id {
            return;
        }
        intake.change_context(|context| {
            (context.trace_id, context.sampling) = (id, sampling);
            // What stands for it at home does not elsewhere.
            let of_home = home.trace_id.to_string();
            if trace.is_some() {
                context.correlation_id.get_or_insert(of_home);
            } else if context.correlation_id.as_ref() == Some(&of_home) {
                context.correlation_id = None;
            }
        });
        calls.set_scope(Some(intake.context_bytes()));
    }

    /// Forgets the invocation's trace, since no span of another one is open.
    #[cold]
    pub(super) fn come_home(&mut self) {
        if self.open.iter().all(|span| span.trace.is_none()) {
            self.home = None;
        }
    }

    /// Whether the trace in force is one that the extension has begun.
    pub(crate) fn is_in_own_trace(&self) -> bool {
        self.open.last().is_some_and(|span| span.trace.is_some())
    }

    /// A context whose trace is that in force, as it is for the invocation itself.
    pub(crate) fn of_invocation(&self, context: &Context) -> Context {
        let mut own = Context { span_id: self.root(context), ..context.clone() };
        if let Some(home) = &self.home {
            (own.trace_id, own.sampling) = (home.trace_id, home.sampling);
        }
        own
    }

    /// The correlation id of a context in which none was given, where that is not the id of the trace in force.
    pub(crate) fn correlation(&self) -> Option<String> {
        let home = self.home.as_ref().filter(|_| self.is_in_own_trace())?;
        Some(home.trace_id.to_string())
    }
}

/// Sixteen bytes that are not all zero. (Drawing from a range of 128 bits would cost a long division.)
#[inline]
pub(crate) fn new_trace_id(ids: &mut Ids) -> TraceId {
    TraceId((u128::from(ids.draw()) << 64 | u128::from(ids.draw())).to_be_bytes())
}
