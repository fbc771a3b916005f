//! `context`: whose work an invocation is, and nested scopes.

use glasshouse_model::{Context, HostFunction, TraceParent, limits};
use glasshouse_telemetry::Drop;
use wasmtime::component::Resource;

use crate::bindings::glasshouse::extension::context as wit;
use crate::state::State;

/// Bytes of an encoded context that is seldom exceeded.
const CONTEXT_CAPACITY: usize = 128;

/// A guest's handle of a scope: its serial number among the instance's scopes.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ScopeHandle;

/// The scopes of an invocation, outermost first.
#[derive(Default)]
pub(crate) struct Scopes {
    outermost: Parts,
    open: Vec<(u32, Parts)>,
    next_serial: u32,
}

/// What a scope may change.
#[derive(Clone, Default)]
struct Parts {
    correlation_id: Option<String>,
    user: Option<String>,
    tenant: Option<String>,
}

impl Parts {
    fn of(context: &Context) -> Self {
        Self {
            correlation_id: context.correlation_id.clone(),
            user: context.user.clone(),
            tenant: context.tenant.clone(),
        }
    }
}

impl Scopes {
    /// Enters a scope; the context at the first one is what leaving all scopes comes back to.
    fn enter(&mut self, serial: u32, parts: Parts, context: &Context) {
        if self.open.is_empty() {
            self.outermost = Parts::of(context);
        }
        self.open.push((serial, parts));
    }

    /// Leaves all scopes; tells whether there were any.
    #[inline]
    pub(crate) fn end(&mut self) -> bool {
        let any = !self.open.is_empty();
        self.open.clear();
        any
    }

    fn innermost(&self) -> &Parts {
        self.open.last().map_or(&self.outermost, |(_, parts)| parts)
    }
}

impl State {
    pub(crate) fn enter_innermost_scope(&mut self) {
        let parts = self.scopes.innermost().clone();
        let mut context = Context {
            correlation_id: parts.correlation_id,
            user: parts.user,
            tenant: parts.tenant,
            ..self.intake.context().clone()
        };
        // What the guest prints belongs to the invocation's own span.
        let mut printed = Vec::with_capacity(CONTEXT_CAPACITY);
        self.intake.encode_context(&self.spans.of_invocation(&context), &mut printed);
        self.stdio.set_context(&printed);
        context.correlation_id = context.correlation_id.or_else(|| self.spans.correlation());
        self.intake.set_context(context);
        let is_in_scope = !self.scopes.open.is_empty() || self.spans.is_in_own_trace();
        self.imports.host_calls.set_scope(is_in_scope.then(|| self.intake.context_bytes()));
    }
}

impl wit::Host for State {
    fn current(&mut self) -> wasmtime::Result<wit::Info> {
        let entered = self.imports.enter_light(HostFunction::Context)?;
        let context = self.intake.context();
        let info = wit::Info {
            correlation_id: context.correlation(),
            user: context.user.clone(),
            tenant: context.tenant.clone(),
            trace_id: context.trace_id.to_string(),
            span_id: context.span_id.to_string(),
        };
        self.imports.leave(entered);
        Ok(info)
    }

    fn current_headers(&mut self) -> wasmtime::Result<wit::TraceHeaders> {
        let entered = self.imports.enter_light(HostFunction::Context)?;
        let Context { trace_id, span_id, ref sampling, .. } = *self.intake.context();
        let carried = self.carried();
        let headers = wit::TraceHeaders {
            traceparent: TraceParent { trace_id, span_id, is_sampled: sampling.is_sampled }.to_string(),
            tracestate: carried.tracestate(sampling),
            baggage: carried.baggage().to_owned(),
        };
        // A guest that asks for ever makes the host write for ever.
        self.charge(headers.tracestate.len() + headers.baggage.len())?;
        self.imports.leave(entered);
        Ok(headers)
    }
}

impl wit::HostScope for State {
    fn new(&mut self, overrides: wit::Overrides) -> wasmtime::Result<Resource<ScopeHandle>> {
        let entered = self.imports.enter_light(HostFunction::Context)?;
        let texts = [&overrides.correlation_id, &overrides.user, &overrides.tenant];
        self.charge(texts.into_iter().flatten().map(String::len).sum())?;
        self.scopes.next_serial = self.scopes.next_serial.wrapping_add(1);
        let serial = self.scopes.next_serial;
        if self.scopes.open.len() >= limits::NESTING {
            self.intake.recorder().dropped(Drop::Nesting);
            return Ok(Resource::new_own(serial));
        }
        let mut parts = Parts::of(self.intake.context());
        for (what, new, old) in [
            ("correlation id", overrides.correlation_id, &mut parts.correlation_id),
            ("user", overrides.user, &mut parts.user),
            ("tenant", overrides.tenant, &mut parts.tenant),
        ] {
            match new {
                Some(text) if Context::check(what, &text).is_ok() => *old = Some(text),
                Some(_) => self.intake.recorder().dropped(Drop::Nesting),
                None => {}
            }
        }
        self.scopes.enter(serial, parts, self.intake.context());
        self.enter_innermost_scope();
        self.imports.leave(entered);
        Ok(Resource::new_own(serial))
    }

    fn drop(&mut self, scope: Resource<ScopeHandle>) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Context)?;
        if let Some(at) = self.scopes.open.iter().rposition(|(serial, _)| *serial == scope.rep()) {
            self.scopes.open.remove(at);
            self.enter_innermost_scope();
        }
        self.imports.leave(entered);
        Ok(())
    }
}
