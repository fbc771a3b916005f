//! `debugging`: the typed calls, and the SDK's `emit`.

use glasshouse_model::wire::{
    self, Error, Field, Instrument, Level, Log, Metric, Severity, Value, put_fields, put_str,
};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmList};

use crate::bindings::glasshouse::extension::debugging as wit;
use crate::state::State;

/// The interface's name in a component.
pub(crate) const INTERFACE: &str = "glasshouse:extension/debugging@0.1.0";

/// A bound instrument: its record but for the value, encoded once.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Meter {
    instrument: Instrument,
    tail: Vec<u8>,
}

/// Adds `emit`, which reads the guest's bytes where they lie.
pub(crate) fn add_emit(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(INTERFACE)?.func_wrap(
        "emit",
        |store: StoreContextMut<'_, State>, (records,): (WasmList<u8>,)| {
            store.data().intake.emit(records.as_le_slice(&store));
            Ok(())
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Borrows the host's form of a guest's fields.
pub(crate) fn fields(fields: &[wit::Field]) -> Vec<Field<'_>> {
    fields.iter().map(field).collect()
}

pub(crate) fn field(field: &wit::Field) -> Field<'_> {
    let value = match &field.value {
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Integer(number) => Value::Integer(*number),
        wit::Value::Float(number) => Value::Float(*number),
        wit::Value::Boolean(truth) => Value::Boolean(*truth),
    };
    Field { name: &field.name, value }
}

fn labels(labels: &[(String, String)]) -> Vec<Field<'_>> {
    labels.iter().map(|(name, value)| Field { name, value: Value::Text(value) }).collect()
}

fn instrument(instrument: wit::Instrument) -> Instrument {
    match instrument {
        wit::Instrument::Counter => Instrument::Counter,
        wit::Instrument::Gauge => Instrument::Gauge,
        wit::Instrument::Histogram => Instrument::Histogram,
    }
}

impl wit::Host for State {
    fn log(&mut self, level: wit::Level, message: String, log_fields: Vec<wit::Field>) -> wasmtime::Result<()> {
        let level = match level {
            wit::Level::Trace => Level::Trace,
            wit::Level::Debug => Level::Debug,
            wit::Level::Info => Level::Info,
            wit::Level::Warning => Level::Warning,
            wit::Level::Error => Level::Error,
            wit::Level::Critical => Level::Critical,
        };
        let log = Log { level, target: "", message: "", source: None, time: None };
        let mut body = Vec::with_capacity(message.len() + 64);
        wire::write_log(&mut body, &log, format_args!("{message}"), &fields(&log_fields));
        self.intake.take_encoded(wire::KIND_LOG, &body);
        Ok(())
    }

    fn log_threshold(&mut self) -> wasmtime::Result<wit::Level> {
        Ok(match self.intake.recorder().log_threshold() {
            Level::Trace => wit::Level::Trace,
            Level::Debug => wit::Level::Debug,
            Level::Info => wit::Level::Info,
            Level::Warning => wit::Level::Warning,
            Level::Error => wit::Level::Error,
            Level::Critical => wit::Level::Critical,
        })
    }

    fn metric(
        &mut self,
        name: String,
        kind: wit::Instrument,
        value: f64,
        unit: String,
        metric_labels: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let metric = Metric { instrument: instrument(kind), name: &name, unit: &unit, value };
        let mut body = Vec::with_capacity(128);
        wire::write_metric(&mut body, &metric, &labels(&metric_labels));
        self.intake.take_encoded(wire::KIND_METRIC, &body);
        Ok(())
    }

    fn error(&mut self, report: wit::Report) -> wasmtime::Result<()> {
        let error = Error {
            kind: &report.kind,
            message: &report.message,
            stack: &report.stack,
            source: None,
            handled: report.handled,
        };
        let mut body = Vec::with_capacity(report.message.len() + report.stack.len() + 64);
        wire::write_error(&mut body, &error, &fields(&report.fields));
        self.intake.take_encoded(wire::KIND_ERROR, &body);
        Ok(())
    }

    fn alert(&mut self, report: wit::AlertReport) -> wasmtime::Result<()> {
        let alert = wire::Alert {
            severity: match report.severity {
                wit::Severity::Low => Severity::Low,
                wit::Severity::Medium => Severity::Medium,
                wit::Severity::High => Severity::High,
                wit::Severity::Critical => Severity::Critical,
            },
            kind: &report.type_,
            title: &report.title,
            message: &report.message,
            metric: report.metric.as_deref(),
            value: report.value,
            threshold: report.threshold,
        };
        let mut body = Vec::with_capacity(report.message.len() + 128);
        wire::write_alert(&mut body, &alert);
        self.intake.take_encoded(wire::KIND_ALERT, &body);
        Ok(())
    }

    /// Shadowed by [`add_emit`]; wasmtime's bindings ask for it all the same.
    fn emit(&mut self, records: Vec<u8>) -> wasmtime::Result<()> {
        self.intake.emit(&records);
        Ok(())
    }
}

impl wit::HostMeter for State {
    fn new(
        &mut self,
        name: String,
        kind: wit::Instrument,
        unit: String,
        meter_labels: Vec<(String, String)>,
    ) -> wasmtime::Result<Resource<Meter>> {
        let mut tail = Vec::with_capacity(64);
        put_str(&mut tail, &name);
        put_str(&mut tail, &unit);
        put_fields(&mut tail, &labels(&meter_labels));
        Ok(self.table.push(Meter { instrument: instrument(kind), tail })?)
    }

    fn record(&mut self, meter: Resource<Meter>, value: f64) -> wasmtime::Result<()> {
        let meter = self.table.get(&meter)?;
        let mut body = Vec::with_capacity(meter.tail.len() + 9);
        body.push(meter.instrument as u8);
        body.extend_from_slice(&value.to_le_bytes());
        body.extend_from_slice(&meter.tail);
        self.intake.take_encoded(wire::KIND_METRIC, &body);
        Ok(())
    }

    fn drop(&mut self, meter: Resource<Meter>) -> wasmtime::Result<()> {
        self.table.delete(meter)?;
        Ok(())
    }
}
