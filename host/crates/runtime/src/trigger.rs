//! What caused a call, on whose behalf, and what of the trace that it is part of is passed on to whom it causes in turn.

use std::sync::Arc;

use glasshouse_model::{
    Baggage, Context, ExtensionId, InvalidBaggage, InvalidTraceParent, InvalidTraceState, Randomness, SpanId, TraceId,
    TraceParent, TraceSampling, TraceState, limits,
};
use glasshouse_telemetry::Fate;

use crate::extension::CallError;

/// What caused a call, and on whose behalf.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// 1 to 128 visible ASCII characters; the trace id stands in where there is none.
    pub correlation_id: Option<String>,
    /// On whose behalf.
    pub user: Option<String>,
    /// For which customer.
    pub tenant: Option<String>,
    /// The trace to continue.
    pub trace_id: Option<TraceId>,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// What was decided on the trace, which the call goes by; `None` if that is to be decided here.
    pub sampling: Option<TraceSampling>,
    /// What else programs pass on with the trace: see [`Trigger::tracestate`] and [`Trigger::baggage`].
    pub carried: Carried,
    /// The extensions that wait for it; the host fills it in, and it is empty for a trigger from outside.
    pub chain: Chain,
}

/// How a call came about inside of the host. Nothing for a call from outside, so that most calls carry none of it along.
#[derive(Clone, Debug, Default)]
pub struct Chain(Option<Box<Links>>);

#[derive(Clone, Debug, Default)]
struct Links {
    /// The extensions that wait for it, outermost first.
    waiting: Vec<ExtensionId>,
    /// Calls and events that led to it.
    hops: u8,
    /// The own span of the call that made it.
    cause: Option<SpanId>,
    /// What becomes of what its trace leaves undecided in this host, if others have a part in it.
    fate: Option<Arc<Fate>>,
}

/// What programs pass on with a trace beside its ids. Cheap to clone, and nothing where they pass on nothing.
#[derive(Clone, Debug, Default)]
pub struct Carried(Option<Arc<Parts>>);

#[derive(Clone, Debug, Default)]
struct Parts {
    state: TraceState,
    baggage: Baggage,
    /// What is wrong with the headers that are left out of account.
    wrong_parent: Option<InvalidTraceParent>,
    wrong_state: Option<InvalidTraceState>,
    wrong_baggage: Option<InvalidBaggage>,
}

impl Carried {
    /// Whether there is nothing.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The header `tracestate` for a trace on which that was decided; empty if there is nothing to say.
    pub fn tracestate(&self, sampling: &TraceSampling) -> String {
        match &self.0 {
            Some(parts) => parts.state.passed_on(sampling),
            None => TraceState::default().passed_on(sampling),
        }
    }

    /// The header `baggage`; empty if there is none.
    pub fn baggage(&self) -> &str {
        self.0.as_ref().map_or("", |parts| parts.baggage.as_str())
    }

    /// The same for another trace: a `tracestate` belongs to the one that it came with.
    pub(crate) fn without_state(&self) -> Self {
        let mut others = self.clone();
        if !others.is_empty() {
            others.change(|parts| parts.state = TraceState::default());
        }
        others
    }

    /// Bytes of its texts.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.state.bytes() + parts.baggage.as_str().len())
    }

    /// What is wrong with what came, for a person: a sentence for each header.
    pub(crate) fn wrongs(&self) -> impl Iterator<Item = (&'static str, String)> {
        let parts = self.0.as_deref();
        let parent = parts.and_then(|parts| parts.wrong_parent).map(|error| ("traceparent", error.to_string()));
        let state = parts.and_then(|parts| parts.wrong_state).map(|error| ("tracestate", error.to_string()));
        let baggage = parts.and_then(|parts| parts.wrong_baggage).map(|error| ("baggage", error.to_string()));
        parent.into_iter().chain(state).chain(baggage)
    }

    fn change(&mut self, change: impl FnOnce(&mut Parts)) {
        change(Arc::make_mut(self.0.get_or_insert_default()));
    }
}

impl From<TraceParent> for Trigger {
    fn from(parent: TraceParent) -> Self {
        let TraceParent { trace_id, span_id, is_sampled } = parent;
        let sampling = TraceSampling::of_parent(trace_id, is_sampled, None, None);
        Self { trace_id: Some(trace_id), parent: Some(span_id), sampling: Some(sampling), ..Self::default() }
    }
}

impl Chain {
    /// The own span of the call of another extension that made it.
    #[inline]
    pub(crate) fn cause(&self) -> Option<SpanId> {
        self.0.as_ref().and_then(|links| links.cause)
    }

    /// Whether no other call of this host led to it.
    #[inline]
    pub(crate) fn is_first(&self) -> bool {
        self.hops() == 0
    }

    /// Calls and events that led to it.
    #[inline]
    fn hops(&self) -> u8 {
        self.0.as_ref().map_or(0, |links| links.hops)
    }

    /// The extensions that wait for it, outermost first.
    fn waiting(&self) -> &[ExtensionId] {
        self.0.as_ref().map_or(&[], |links| &links.waiting)
    }

    /// What becomes of what its trace leaves undecided, if others have a part in it.
    #[inline]
    pub(crate) fn fate(&self) -> Option<&Arc<Fate>> {
        self.0.as_ref().and_then(|links| links.fate.as_ref())
    }

    /// Lets those that it leads to share its fate, which is made if they are the first ones.
    pub(crate) fn share_fate(&mut self, make: impl FnOnce() -> Arc<Fate>) {
        self.0.get_or_insert_default().fate.get_or_insert_with(make);
    }
}

/// What a call passes on to whom it calls and to whom it publishes.
pub(crate) struct Passing<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) carried: Carried,
    pub(crate) context: &'a Context,
    /// The own span of the call.
    pub(crate) cause: SpanId,
}

impl Passing<'_> {
    /// The trigger of a call that `caller` makes, and waits for.
    pub(crate) fn called_by(&self, caller: &ExtensionId) -> Trigger {
        self.leads_to(self.chain.waiting().iter().chain([caller]).cloned().collect())
    }

    /// The trigger of an event that is published, and that nobody waits for.
    pub(crate) fn published(&self) -> Trigger {
        self.leads_to(Vec::new())
    }

    fn leads_to(&self, waiting: Vec<ExtensionId>) -> Trigger {
        let Self { chain, ref carried, context, cause } = *self;
        let hops = chain.hops().saturating_add(1);
        let links = Links { waiting, hops, cause: Some(cause), fate: chain.fate().cloned() };
        Trigger {
            correlation_id: context.correlation_id.clone(),
            user: context.user.clone(),
            tenant: context.tenant.clone(),
            trace_id: Some(context.trace_id),
            parent: Some(context.span_id),
            sampling: Some(context.sampling),
            carried: carried.clone(),
            chain: Chain(Some(Box::new(links))),
        }
    }
}

impl Trigger {
    /// With the header `traceparent` of whoever caused it, as programs send it along without being asked for it. One that is none is left out of
    /// account, counted and told; where it is said on purpose, [`Trigger::from`] a parsed one leaves its refusal to the caller.
    #[must_use]
    pub fn traceparent(mut self, text: &str) -> Self {
        match text.parse::<TraceParent>() {
            Ok(parent) => {
                let Self { trace_id, parent, sampling, .. } = Self::from(parent);
                Self { trace_id, parent, sampling, ..self }
            }
            Err(error) => {
                self.carried.change(|parts| parts.wrong_parent = Some(error));
                self
            }
        }
    }

    /// With the header `tracestate` of whoever caused it (W3C Trace Context), which is passed on. It belongs to the trace to continue: OpenTelemetry's
    /// member tells for how many traces that stands. One that is none is left out of account, counted and told.
    #[must_use]
    pub fn tracestate(mut self, text: &str) -> Self {
        self.carried.change(|parts| match text.parse() {
            Ok(state) => parts.state = state,
            Err(error) => parts.wrong_state = Some(error),
        });
        self
    }

    /// With the header `baggage` of whoever caused it (W3C Baggage), which is passed on and not stored. One that is none is left out of
    /// account, counted and told.
    #[must_use]
    pub fn baggage(mut self, text: &str) -> Self {
        self.carried.change(|parts| match text.parse() {
            Ok(baggage) => parts.baggage = baggage,
            Err(error) => parts.wrong_baggage = Some(error),
        });
        self
    }

    /// Takes what is decided on the trace, if whoever caused it has; else what it is chosen by, if that is not in its id. A `tracestate`
    /// without a trace to continue is wrong.
    #[inline]
    pub(crate) fn decided(&mut self) -> Result<TraceSampling, Option<Randomness>> {
        if self.is_from_outside() && !self.carried.is_empty() {
            return self.decided_by_headers();
        }
        self.sampling.ok_or(None)
    }

    #[cold]
    fn decided_by_headers(&mut self) -> Result<TraceSampling, Option<Randomness>> {
        let (Some(trace_id), Some(_)) = (self.trace_id, self.parent) else {
            self.carried.change(|parts| {
                if !std::mem::take(&mut parts.state).is_empty() {
                    parts.wrong_state = Some(InvalidTraceState::ALONE);
                }
            });
            return self.sampling.ok_or(None);
        };
        let (threshold, random) =
            self.carried.0.as_ref().map_or((None, None), |parts| (parts.state.threshold(), parts.state.randomness()));
        let decided = self.sampling.ok_or(random)?;
        let threshold = threshold.or(decided.threshold);
        Ok(TraceSampling::of_parent(trace_id, decided.is_sampled, threshold, random.or(decided.randomness)))
    }

    /// Whether a call of `target` would nest too deeply, or come back to an extension that waits for it.
    pub(crate) fn would_cycle(&self, target: &ExtensionId) -> bool {
        self.is_too_deep() || self.chain.waiting().contains(target)
    }

    /// Whether too many calls and events led to it: extensions that answer events with events would go on for ever.
    pub(crate) fn is_too_deep(&self) -> bool {
        usize::from(self.chain.hops()) >= limits::CALL_DEPTH
    }

    /// Whether it comes from outside of the host.
    #[inline]
    pub(crate) fn is_from_outside(&self) -> bool {
        self.chain.is_first()
    }

    /// Whether it says on whose behalf it is.
    #[inline]
    pub(crate) fn has_texts(&self) -> bool {
        self.correlation_id.is_some() || self.user.is_some() || self.tenant.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), CallError> {
        let parts = [("correlation id", &self.correlation_id), ("user", &self.user), ("tenant", &self.tenant)];
        for (what, text) in parts {
            if let Some(text) = text {
                Context::check(what, text).map_err(|error| CallError::InvalidEvent(error.to_string()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";

    fn from(flag: char) -> Trigger {
        Trigger::from(format!("{PARENT}{flag}").parse::<TraceParent>().expect("a traceparent"))
    }

    /// What is decided on a trace, in words, and what is wrong.
    fn check(mut trigger: Trigger, expect: (Option<bool>, Option<&str>), wrong: &[&str]) {
        let decided = trigger.decided().ok();
        let threshold = decided.and_then(|decided| decided.threshold).map(|threshold| threshold.to_string());
        assert_eq!((decided.map(|decided| decided.is_sampled), threshold.as_deref()), expect);
        assert_eq!(trigger.carried.wrongs().map(|(header, _)| header).collect::<Vec<_>>(), wrong);
    }

    #[test]
    fn whoever_caused_a_call_has_decided_on_its_trace() {
        check(Trigger::default(), (None, None), &[]);
        check(from('0'), (Some(false), None), &[]);
        check(from('1'), (Some(true), None), &[]);
        check(from('1').tracestate("rojo=1,ot=th:c"), (Some(true), Some("c")), &[]);
        check(from('0').tracestate("ot=th:c"), (Some(false), None), &[]);
        check(from('1').tracestate("ot=th:d"), (Some(true), None), &[]);
        check(from('1').tracestate("ot=th:d;rv:d0000000000000"), (Some(true), Some("d")), &[]);
        let by_hand = Trigger { trace_id: Some(TraceId([1; 16])), ..Trigger::default() };
        check(by_hand, (None, None), &[]);
    }

    #[test]
    fn headers_that_are_none_are_left_out_of_account() {
        check(from('1').tracestate("no list"), (Some(true), None), &["tracestate"]);
        check(from('1').tracestate("rojo=1").baggage("a b"), (Some(true), None), &["baggage"]);
        check(Trigger::default().tracestate("rojo=1").baggage("a=1"), (None, None), &["tracestate"]);
        check(Trigger::default().traceparent("00-4bf92f").baggage("a=1"), (None, None), &["traceparent"]);
        check(Trigger::default().traceparent(&format!("{PARENT}1")), (Some(true), None), &[]);
        let mut alone = Trigger::default().tracestate("rojo=1").baggage("a=1");
        assert_eq!(alone.decided(), Err(None));
        assert_eq!(alone.carried.baggage(), "a=1", "baggage needs no trace");
        assert_eq!(alone.carried.tracestate(&TraceSampling::default()), "ot=th:0");
    }
}
