//! What tests of this crate share: a store in memory, short ways to fill it, and exports of it as text.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_model::invocation::{Cost, HostUses};
use glasshouse_model::record::{KIND_INVOCATION, KIND_SPAN};
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Field, Log, Metric, Value};
use glasshouse_model::{
    Clock, Context, Instrument, Invocation, Level, Origin, Outcome, Signal, Span, SpanCost, SpanId, SpanKind,
    SpanStatus, TraceId, UnixNanos,
};
use glasshouse_telemetry::{Depot, DepotSettings, Head, Query, Store};

use crate::{Export, ExportError, Exported, Format, Source, What};

/// The time that tests start at; each record comes a millisecond after the one before.
pub(crate) const START: i64 = 1_800_000_000_000_000_000;

struct Still;

impl Clock for Still {
    fn now(&self) -> UnixNanos {
        UnixNanos(START)
    }

    fn monotonic_nanos(&self) -> u64 {
        START as u64
    }
}

/// What is stored of one extension.
pub(crate) struct Shelf {
    _depot: Depot,
    store: Arc<Store>,
    time: Cell<i64>,
    extension: &'static str,
}

impl Shelf {
    pub(crate) fn new(extension: &'static str) -> Self {
        let depot = Depot::open(&DepotSettings::default(), Arc::new(Still)).expect("a depot");
        let mut settings = Settings::default();
        settings.debugging.max_log_entries = 100_000;
        settings.debugging.max_traces = 10_000;
        let store = depot.store_in_memory(&settings);
        Self { _depot: depot, store, time: Cell::new(START), extension }
    }

    pub(crate) fn source(&self) -> Source {
        Source::new(self.extension, |signal| self.store.reader(signal))
    }

    /// Sets the clock of what comes next.
    pub(crate) fn step(&self, nanos: i64) {
        self.time.set(self.time.get() + nanos);
    }

    fn append(&self, signal: Signal, origin: Origin, context: Option<(u128, u64)>, kind: u8, body: &[u8]) {
        let mut encoded = Vec::new();
        if let Some((trace, span)) = context {
            let context = Context {
                trace_id: TraceId(trace.to_be_bytes()),
                span_id: SpanId(span.to_be_bytes()),
                ..Context::default()
            };
            context.encode(&mut encoded);
        }
        let time = UnixNanos(self.time.replace(self.time.get() + 1_000_000));
        let head = Head { time, origin, cut: false, batched: false, context: &encoded };
        assert!(self.store.recorder().append(signal, head, kind, body) > 0, "it was not stored");
    }

    pub(crate) fn log(&self, message: &str, fields: &[Field<'_>]) {
        let mut body = Vec::new();
        let log = Log { level: Level::Info, target: "test", message, source: None, time: None };
        wire::write_log(&mut body, &log, format_args!("{message}"), fields);
        self.append(Signal::Log, Origin::Guest, Some((7, 8)), wire::KIND_LOG, &body);
    }

    #[expect(clippy::too_many_arguments, reason = "each is something that a log can have")]
    pub(crate) fn log_as(
        &self,
        log: &Log<'_>,
        message: &str,
        fields: &[Field<'_>],
        time: i64,
        origin: Origin,
        context: Option<&Context>,
        is_marked: bool,
    ) {
        let (mut body, mut encoded) = (Vec::new(), Vec::new());
        wire::write_log(&mut body, log, format_args!("{message}"), fields);
        if let Some(context) = context {
            context.encode(&mut encoded);
        }
        let head = Head { time: UnixNanos(time), origin, cut: is_marked, batched: is_marked, context: &encoded };
        assert!(self.store.recorder().append(Signal::Log, head, wire::KIND_LOG, &body) > 0, "it was not stored");
    }

    pub(crate) fn metric(&self, origin: Origin, metric: &Metric<'_>, labels: &[(&str, &str)]) {
        let mut body = Vec::new();
        let labels: Vec<_> = labels.iter().map(|(name, value)| Field { name, value: Value::Text(value) }).collect();
        wire::write_metric(&mut body, metric, &labels);
        self.append(Signal::Metric, origin, Some((7, 8)), wire::KIND_METRIC, &body);
    }

    pub(crate) fn sample(&self, instrument: Instrument, name: &str, unit: &str, value: f64) {
        self.metric(Origin::Guest, &Metric { instrument, name, unit, value }, &[]);
    }

    pub(crate) fn span(&self, trace: u128, id: u64, parent: u64) {
        self.span_that_failed(trace, id, parent, "");
    }

    /// A span, with what it says of why it failed, if it did.
    pub(crate) fn span_that_failed(&self, trace: u128, id: u64, parent: u64, failure: &str) {
        self.span_with(trace, id, parent, failure, &[]);
    }

    /// A span with links to spans, by trace, id, state and fields.
    pub(crate) fn span_linked(&self, trace: u128, id: u64, parent: u64, links: &[(u128, u64, &str, &[Field<'_>])]) {
        let mut encoded = vec![links.len() as u8];
        for (trace, id, state, fields) in links {
            let link = wire::Link { trace_id: trace.to_be_bytes(), span_id: id.to_be_bytes(), state };
            wire::put_link(&mut encoded, &link, fields);
        }
        self.span_with(trace, id, parent, "", &encoded);
    }

    fn span_with(&self, trace: u128, id: u64, parent: u64, failure: &str, links: &[u8]) {
        let mut body = Vec::new();
        let start = UnixNanos(self.time.get() - 500_000);
        let total = SpanCost { elapsed_nanos: 500_000, ..SpanCost::default() };
        let span = Span {
            parent: SpanId(parent.to_be_bytes()),
            kind: SpanKind::Internal,
            status: if failure.is_empty() { SpanStatus::Ok } else { SpanStatus::Failed },
            name: "work",
            failure,
            start,
            total,
            children: SpanCost::default(),
            fields: wire::Fields::EMPTY,
            events: Vec::new(),
            links: if links.is_empty() { Ok(wire::Links::EMPTY) } else { wire::Reader::new(links).links() }
                .expect("they are whole"),
            memory_bytes: 0,
            host: HostUses::default(),
        };
        span.encode(&mut body, &[], 0, &[]);
        self.append(Signal::Span, Origin::Guest, Some((trace, id)), KIND_SPAN, &body);
    }

    pub(crate) fn call(&self, trace: u128, id: u64, parent: Option<u64>, cause: Option<u64>) {
        let mut body = Vec::new();
        let id_of = |id: u64| SpanId(id.to_be_bytes());
        let invocation = Invocation {
            outcome: Outcome::Ok,
            name: "handle:test",
            parent: parent.map(id_of),
            cause: cause.map(id_of),
            cost: Cost { elapsed_nanos: 700_000, ..Cost::default() },
            host: HostUses::default(),
            input_bytes: 0,
            output_bytes: 0,
            input: None,
        };
        invocation.encode(&mut body);
        self.append(Signal::Invocation, Origin::Host, Some((trace, id)), KIND_INVOCATION, &body);
    }
}

/// What is exported of some extensions.
pub(crate) fn export(shelves: &[&Shelf], what: What, format: Format, query: &str) -> (Vec<u8>, Exported) {
    let mut bytes = Vec::new();
    let exported = try_export(shelves, what, format, query, &mut bytes).expect("it can be exported");
    assert_eq!(exported.bytes, bytes.len() as u64);
    (bytes, exported)
}

pub(crate) fn try_export(
    shelves: &[&Shelf],
    what: What,
    format: Format,
    query: &str,
    output: &mut dyn std::io::Write,
) -> Result<Exported, ExportError> {
    let sources: Vec<_> = shelves.iter().map(|shelf| shelf.source()).collect();
    let query = Query::parse(query, UnixNanos(START)).expect("a query");
    let export = Export { sources: &sources, what, format, query: &query, limit: None };
    export.write(output, &mut |_| ControlFlow::Continue(()))
}

pub(crate) fn text(shelves: &[&Shelf], what: What, format: Format, query: &str) -> String {
    String::from_utf8(export(shelves, what, format, query).0).expect("text")
}
