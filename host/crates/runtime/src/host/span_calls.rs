//! `debugging.span`, the typed resource, and the SDK's `open-span`, `change-span` and `close-span`, by which spans cross as bytes and
//! numbers.

use glasshouse_model::wire::{self, Link, Malformed, SpanChange};
use glasshouse_model::{HostFunction, SpanId, SpanKind, TraceId};
use glasshouse_telemetry::Load;
use wasmtime::component::{Access, HasData, Linker, Resource, WasmList};
use wasmtime::{AsContext, StoreContextMut};

use super::debugging::{INTERFACE, crowd_cost, field as borrow_field, fields, passed_bytes};
use super::open_span::KEPT_BYTES;
use super::spans::Reading;
use crate::bindings::glasshouse::extension::debugging as wit;
use crate::state::State;

/// A guest's handle of a span: its number among the instance's spans.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct SpanHandle;

/// The fuel that is left, where it is counted.
#[inline]
fn fuel_left(store: &impl AsContext<Data = State>) -> Option<u64> {
    let store = store.as_context();
    if store.data().counts_fuel { store.get_fuel().ok() } else { None }
}

/// Adds the SDK's functions, over those that wasmtime makes.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(INTERFACE)?;
    interface.func_wrap("open-span", |mut store: StoreContextMut<'_, State>, (start,): (WasmList<u8>,)| {
        let fuel_left = fuel_left(&store);
        let entered = store.data_mut().imports.enter_light(HostFunction::SpanStart)?;
        let mut encoded = take_bytes(&mut store, &start)?;
        let state = store.data_mut();
        let reading = state.reading(fuel_left);
        let timed = state.intake.cross();
        let serial = state.open_span(&mut encoded, reading)?;
        state.give_back(encoded);
        state.intake.crossed(timed, || Load::Span);
        state.imports.leave(entered);
        Ok((serial,))
    })?;
    interface.func_wrap(
        "change-span",
        |mut store: StoreContextMut<'_, State>, (serial, change): (u32, WasmList<u8>)| {
            let entered = store.data_mut().imports.enter_light(HostFunction::Span)?;
            let encoded = take_bytes(&mut store, &change)?;
            let state = store.data_mut();
            let timed = state.intake.cross();
            state.change_span(serial, &encoded)?;
            state.give_back(encoded);
            state.intake.crossed(timed, || Load::Span);
            state.imports.leave(entered);
            Ok(())
        },
    )?;
    interface.func_wrap("close-span", |mut store: StoreContextMut<'_, State>, (serial,): (u32,)| {
        let fuel_left = fuel_left(&store);
        store.data_mut().end_span(serial, fuel_left, true)
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Copies what a guest passed, which is charged to it first, into the buffer for that.
#[inline]
fn take_bytes(store: &mut StoreContextMut<'_, State>, passed: &WasmList<u8>) -> wasmtime::Result<Vec<u8>> {
    store.data_mut().charge(passed.len())?;
    let mut buffer = std::mem::take(&mut store.data_mut().span_bytes);
    buffer.clear();
    buffer.extend_from_slice(passed.as_le_slice(&*store));
    Ok(buffer)
}

impl State {
    /// Keeps a buffer for the next span, unless it has become large.
    #[inline]
    fn give_back(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES {
            self.span_bytes = buffer;
        }
    }

    /// Opens a span as a guest encoded it. Gives its number, or 0.
    #[inline]
    fn open_span(&mut self, encoded: &mut Vec<u8>, start: Reading) -> wasmtime::Result<u32> {
        let opened = if encoded.len() <= self.intake.cuts().uncut {
            self.spans.start_encoded(&mut self.intake, &mut self.imports, encoded, start)
        } else {
            self.open_long_span(encoded, start)?
        };
        Ok(opened.unwrap_or_else(|malformed| {
            self.intake.refuse_span(malformed);
            0
        }))
    }

    /// The same, of what has to be cut or may have to be.
    #[cold]
    fn open_long_span(&mut self, encoded: &[u8], start: Reading) -> wasmtime::Result<Result<u32, Malformed>> {
        let whole = match wire::span_start(encoded) {
            Ok(whole) => whole,
            Err(malformed) => return Ok(Err(malformed)),
        };
        // A link is a work of its own, as a field is.
        let linked: usize = whole.links.iter().map(|(_, fields)| 1 + fields.len()).sum();
        self.charge(crowd_cost(whole.fields.len() + linked))?;
        Ok(Ok(self.spans.start_whole(&mut self.intake, &mut self.imports, &whole, start)))
    }

    /// Opens a span of the typed resource, which may begin a trace of its own.
    #[inline]
    fn start_typed(
        &mut self,
        name: &str,
        kind: wit::SpanKind,
        start_fields: &[wit::Field],
        fuel_left: Option<u64>,
        is_root: bool,
    ) -> wasmtime::Result<Resource<SpanHandle>> {
        let kind = match kind {
            wit::SpanKind::Internal => SpanKind::Internal,
            wit::SpanKind::Server => SpanKind::Server,
            wit::SpanKind::Client => SpanKind::Client,
            wit::SpanKind::Producer => SpanKind::Producer,
            wit::SpanKind::Consumer => SpanKind::Consumer,
        };
        let entered = self.imports.enter_light(HostFunction::SpanStart)?;
        self.charge(name.len() + passed_bytes(start_fields))?;
        let start = self.reading(fuel_left);
        let timed = self.intake.cross();
        let start_fields = fields(start_fields).into_iter();
        let (intake, imports) = (&mut self.intake, &mut self.imports);
        let serial = if is_root {
            self.spans.start_root(intake, imports, name, kind, start_fields, start)
        } else {
            self.spans.start(intake, imports, name, kind, start_fields, start)
        };
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(Resource::new_own(serial))
    }

    /// Changes an open span as a guest encoded it.
    fn change_span(&mut self, serial: u32, change: &[u8]) -> wasmtime::Result<()> {
        let change = match wire::span_change(change) {
            Ok(change) => change,
            Err(malformed) => {
                self.intake.refuse_span(malformed);
                return Ok(());
            }
        };
        if let SpanChange::Event { fields, .. } | SpanChange::Link(_, fields) = &change {
            self.charge(crowd_cost(fields.len()))?;
        }
        let Some(span) = self.spans.find(serial) else {
            self.note_not_open(serial);
            return Ok(());
        };
        match change {
            SpanChange::Field(field) => span.set_field(&field),
            SpanChange::Event { name, fields } => span.add_event(self.intake.clock().now(), name, fields.iter()),
            SpanChange::Failure(reason) => span.fail(reason),
            SpanChange::Link(link, fields) => span.add_link(&link, fields.iter()),
        }
        Ok(())
    }

    /// Ends a span; `is_number`: by a number, which a guest can make up.
    #[inline]
    fn end_span(&mut self, serial: u32, fuel_left: Option<u64>, is_number: bool) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::SpanEnd)?;
        let timed = self.intake.cross();
        let reading = self.reading(fuel_left);
        let ended = self.spans.end(&mut self.intake, &mut self.imports, serial, &reading);
        if is_number && ended.is_err() {
            self.note_not_open(serial);
        }
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(())
    }

    #[cold]
    fn note_not_open(&self, serial: u32) {
        if self.spans.is_forged(serial) {
            self.intake.refuse_span(Malformed("a span has a number that no open one has"));
        }
    }
}

impl wit::HostSpan for State {
    fn set_field(&mut self, span: Resource<SpanHandle>, field: wit::Field) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        self.charge(passed_bytes(std::slice::from_ref(&field)))?;
        let timed = self.intake.cross();
        if let Some(span) = self.spans.find(span.rep()) {
            span.set_field(&borrow_field(&field));
        }
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(())
    }

    fn add_event(
        &mut self,
        span: Resource<SpanHandle>,
        name: String,
        event_fields: Vec<wit::Field>,
    ) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        self.charge(name.len() + passed_bytes(&event_fields))?;
        let timed = self.intake.cross();
        let time = self.intake.clock().now();
        if let Some(span) = self.spans.find(span.rep()) {
            span.add_event(time, &name, event_fields.iter().map(borrow_field));
        }
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(())
    }

    fn add_link(&mut self, span: Resource<SpanHandle>, link: wit::Link) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        let texts = link.trace_id.len() + link.span_id.len() + link.tracestate.len();
        self.charge(texts + passed_bytes(&link.fields))?;
        let timed = self.intake.cross();
        match ids_of(&link) {
            Some((trace_id, span_id)) => {
                let to = Link { trace_id: trace_id.0, span_id: span_id.0, state: &link.tracestate };
                if let Some(span) = self.spans.find(span.rep()) {
                    span.add_link(&to, link.fields.iter().map(borrow_field));
                }
            }
            None => self.intake.refuse_span(Malformed("a link names no trace or no span")),
        }
        self.intake.crossed(timed, || Load::Span);
        self.imports.leave(entered);
        Ok(())
    }

    fn fail(&mut self, span: Resource<SpanHandle>, message: String) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Span)?;
        self.charge(message.len())?;
        if let Some(span) = self.spans.find(span.rep()) {
            span.fail(&message);
        }
        self.imports.leave(entered);
        Ok(())
    }
}

/// The trace and the span that a link names, unless one of them is none.
fn ids_of(link: &wit::Link) -> Option<(TraceId, SpanId)> {
    let trace = link.trace_id.parse().ok().filter(|id| *id != TraceId::default());
    trace.zip(link.span_id.parse().ok().filter(|id| *id != SpanId::default()))
}

/// Gives the bindings the whole state, so that they can read fuel from the store beside it.
impl HasData for State {
    type Data<'a> = &'a mut State;
}

impl wit::HostSpanWithStore<State> for State {
    fn start(
        mut host: Access<'_, State, Self>,
        name: String,
        kind: wit::SpanKind,
        start_fields: Vec<wit::Field>,
    ) -> wasmtime::Result<Resource<SpanHandle>> {
        let fuel_left = fuel_left(&host);
        host.get().start_typed(&name, kind, &start_fields, fuel_left, false)
    }

    fn start_root(
        mut host: Access<'_, State, Self>,
        name: String,
        kind: wit::SpanKind,
        start_fields: Vec<wit::Field>,
    ) -> wasmtime::Result<Resource<SpanHandle>> {
        let fuel_left = fuel_left(&host);
        host.get().start_typed(&name, kind, &start_fields, fuel_left, true)
    }

    fn drop(mut host: Access<'_, State, Self>, span: Resource<SpanHandle>) -> wasmtime::Result<()> {
        let fuel_left = fuel_left(&host);
        host.get().end_span(span.rep(), fuel_left, false)
    }
}
