//! `debugging`: the typed calls, and the SDK's `emit`.

use std::pin::Pin;
use std::task::{Context, Poll};

use glasshouse_model::wire::{self, Error, Field, Instrument, Level, Log, Metric, Severity, Value};
use glasshouse_model::{Aspect, HostFunction, limits};
use glasshouse_telemetry::{Drop, Load, Wanted};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmList};

use crate::bindings::glasshouse::extension::debugging as wit;
use crate::intake::{BoundSample, Intake};
use crate::probe::{load_of, load_of_batch};
use crate::state::State;

/// The interface's name in a component.
pub(crate) const INTERFACE: &str = "glasshouse:extension/debugging@0.1.0";

/// A bound instrument: its sample, encoded, cut to the limits, searched for secrets and put into its series once.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Meter {
    instrument: Instrument,
    /// `None` if there are too many metrics.
    sample: Option<BoundSample>,
}

impl Meter {
    fn new(intake: &Intake, instrument: Instrument, name: &str, unit: &str, labels: &[Field<'_>]) -> Self {
        let mut body = Vec::with_capacity(128);
        wire::write_metric(&mut body, &Metric { instrument, name, unit, value: 0.0 }, labels);
        Self { instrument, sample: intake.bind_sample(body) }
    }

    fn record(&mut self, intake: &Intake, value: f64) {
        match &mut self.sample {
            Some(sample) => intake.take_sample(self.instrument, value, sample),
            None => intake.recorder().dropped(Drop::Metrics),
        }
    }
}

/// Adds `emit`, which reads the guest's bytes where they lie.
pub(crate) fn add_emit(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(INTERFACE)?.func_wrap_async(
        "emit",
        |mut store: StoreContextMut<'_, State>, (records,): (WasmList<u8>,)| {
            let entered = match store.data_mut().imports.enter_light(HostFunction::Emit) {
                Ok(entered) => entered,
                Err(error) => return Box::new(std::future::ready(Err(error.into()))),
            };
            let intake = &store.data().intake;
            let (timed, batch) = (intake.cross(), records.as_le_slice(&store));
            intake.emit(batch);
            intake.crossed(timed, || load_of_batch(batch));
            let is_yield_due = intake.is_yield_due();
            store.data_mut().imports.leave(entered);
            if is_yield_due { Box::new(yield_if(true)) } else { Box::new(Done) }
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A binding was called that another one stands before: what it carried would be lost without a word.
fn shadowed(function: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the host's own binding of `{function}` is missing"))
}

/// Adds a meter's `record`, of which the binding that wasmtime makes allocates a future each time.
pub(crate) fn add_record(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(INTERFACE)?.func_wrap_async(
        "[method]meter.record",
        |mut store: StoreContextMut<'_, State>, (meter, value): (Resource<Meter>, f64)| match store
            .data_mut()
            .record_sample(&meter, value)
        {
            Ok(false) => Box::new(Done),
            Ok(true) => Box::new(yield_if(true)),
            Err(error) => Box::new(std::future::ready(Err(error))),
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

impl State {
    /// Records a sample. Returns whether the neighbours are to run then.
    #[inline]
    fn record_sample(&mut self, meter: &Resource<Meter>, value: f64) -> wasmtime::Result<bool> {
        let entered = self.imports.enter_light(HostFunction::MeterRecord)?;
        let timed = self.intake.cross();
        self.table.get_mut(meter)?.record(&self.intake, value);
        self.intake.crossed(timed, || Load::Rest);
        self.imports.leave(entered);
        Ok(self.intake.is_yield_due())
    }
}

/// What lifting a field takes beside its texts, as so many bytes: a list of very many empty ones is work all the same.
const FIELD_COST: usize = 64;

/// What so many fields count beside their texts; nothing while there are no more than are kept.
pub(crate) fn crowd_cost(fields: usize) -> usize {
    fields.saturating_sub(limits::FIELDS).saturating_mul(FIELD_COST)
}

/// Bytes of fields, as a guest passed them.
pub(crate) fn passed_bytes(fields: &[wit::Field]) -> usize {
    let value = |field: &wit::Field| if let wit::Value::Text(text) = &field.value { text.len() } else { 8 };
    fields.iter().map(|field| field.name.len() + value(field)).sum::<usize>() + crowd_cost(fields.len())
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

/// What is wanted, as a guest is told.
fn enabled_set(wanted: &Wanted) -> wit::EnabledSet {
    use wit::EnabledSet as Set;
    let levels = [Set::LOG_TRACE, Set::LOG_DEBUG, Set::LOG_INFO, Set::LOG_WARNING, Set::LOG_ERROR, Set::LOG_CRITICAL];
    let logs = levels.into_iter().skip(wanted.logs.map_or(Level::ALL.len(), |least| least as usize));
    let signals = [
        (wanted.metrics, Set::METRICS),
        (wanted.errors, Set::ERRORS),
        (wanted.spans, Set::SPANS),
        (wanted.alerts, Set::ALERTS),
    ];
    let aspects = [
        (Aspect::Function, Set::FUNCTION),
        (Aspect::Request, Set::REQUEST),
        (Aspect::Database, Set::DATABASE),
        (Aspect::Cache, Set::CACHE),
        (Aspect::Security, Set::SECURITY),
    ];
    let aspects = aspects.map(|(aspect, flag)| (wanted.aspects[aspect as usize], flag));
    let on = signals.into_iter().chain(aspects).filter_map(|(wanted, flag)| wanted.then_some(flag));
    logs.chain(on).fold(Set::empty(), |set, flag| set | flag)
}

/// Is ready at once. A box of it takes no memory, so that a record costs no allocation.
struct Done;

impl Future for Done {
    type Output = wasmtime::Result<()>;

    fn poll(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// Lets the neighbours run, if the guest has made much work for the host since it last did.
pub(crate) async fn yield_if(due: bool) -> wasmtime::Result<()> {
    if due {
        tokio::task::yield_now().await;
    }
    Ok(())
}

impl wit::Host for State {
    async fn log(&mut self, level: wit::Level, message: String, log_fields: Vec<wit::Field>) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Log)?;
        let timed = self.intake.cross();
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
        self.intake.crossed(timed, || load_of(level));
        self.imports.leave(entered);
        yield_if(self.intake.is_yield_due()).await
    }

    fn enabled(&mut self) -> wasmtime::Result<wit::EnabledSet> {
        let entered = self.imports.enter_light(HostFunction::Enabled)?;
        let enabled = enabled_set(&self.intake.recorder().wanted(self.intake.context_bytes()));
        self.imports.leave(entered);
        Ok(enabled)
    }

    async fn metric(
        &mut self,
        name: String,
        kind: wit::Instrument,
        value: f64,
        unit: String,
        metric_labels: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Metric)?;
        let timed = self.intake.cross();
        let metric = Metric { instrument: instrument(kind), name: &name, unit: &unit, value };
        let mut body = Vec::with_capacity(128);
        wire::write_metric(&mut body, &metric, &labels(&metric_labels));
        self.intake.take_encoded(wire::KIND_METRIC, &body);
        self.intake.crossed(timed, || Load::Rest);
        self.imports.leave(entered);
        yield_if(self.intake.is_yield_due()).await
    }

    async fn error(&mut self, report: wit::Report) -> wasmtime::Result<()> {
        let entered = self.imports.enter(HostFunction::Error)?;
        let timed = self.intake.cross();
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
        self.intake.crossed(timed, || Load::Rest);
        self.imports.leave(entered);
        yield_if(self.intake.is_yield_due()).await
    }

    async fn alert(&mut self, report: wit::AlertReport) -> wasmtime::Result<()> {
        let entered = self.imports.enter(HostFunction::Alert)?;
        let timed = self.intake.cross();
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
        self.intake.crossed(timed, || Load::Rest);
        self.imports.leave(entered);
        yield_if(self.intake.is_yield_due()).await
    }

    /// Shadowed by [`add_emit`]; wasmtime's bindings ask for it all the same.
    async fn emit(&mut self, _records: Vec<u8>) -> wasmtime::Result<()> {
        Err(shadowed("emit"))
    }

    /// Shadowed by [`span_calls::add`](super::span_calls::add), as are the next two.
    fn open_span(&mut self, _start: Vec<u8>) -> wasmtime::Result<u32> {
        Err(shadowed("open-span"))
    }

    fn change_span(&mut self, _span: u32, _change: Vec<u8>) -> wasmtime::Result<()> {
        Err(shadowed("change-span"))
    }

    fn close_span(&mut self, _span: u32) -> wasmtime::Result<()> {
        Err(shadowed("close-span"))
    }

    /// Shadowed by [`batch::add`](super::batch::add), since what matters is where the lists lie.
    fn share_batch(&mut self, _committed: Vec<u64>, _batch: Vec<u8>) -> wasmtime::Result<()> {
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
        let entered = self.imports.enter_light(HostFunction::Meter)?;
        let label_bytes: usize = meter_labels.iter().map(|(label, value)| label.len() + value.len()).sum();
        self.charge(name.len() + unit.len() + label_bytes + crowd_cost(meter_labels.len()))?;
        let meter = Meter::new(&self.intake, instrument(kind), &name, &unit, &labels(&meter_labels));
        let meter = self.table.push(meter)?;
        self.imports.leave(entered);
        Ok(meter)
    }

    /// Shadowed by [`add_record`]; wasmtime's bindings ask for it all the same.
    async fn record(&mut self, _meter: Resource<Meter>, _value: f64) -> wasmtime::Result<()> {
        Err(shadowed("record"))
    }

    fn drop(&mut self, meter: Resource<Meter>) -> wasmtime::Result<()> {
        let entered = self.imports.enter_light(HostFunction::Meter)?;
        self.table.delete(meter)?;
        self.imports.leave(entered);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glasshouse_model::settings::Settings;
    use glasshouse_model::{Signal, limits};
    use glasshouse_telemetry::{Body, Store, StoreSettings};

    use super::*;
    use crate::clock::SystemClock;

    /// The sample that a meter leaves behind: name and number of labels, and whether it was cut.
    fn check(name: &str, labels: &[Field<'_>], expect: (&str, usize, bool)) {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
        let mut meter = Meter::new(&intake, Instrument::Counter, name, "", labels);
        let kept = meter.sample.as_ref().map_or(0, BoundSample::bytes);
        assert!(kept <= limits::RECORD_BYTES, "a meter keeps {kept} bytes");
        meter.record(&intake, 1.5);
        let entry = store.reader(Signal::Metric).all().pop().expect("the sample is stored");
        let Ok(Body::Record(wire::Record::Metric(sample, stored))) = entry.body() else { panic!("no sample") };
        assert_eq!((sample.name, stored.len(), entry.envelope().cut), expect);
        assert!((sample.value - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_meter_keeps_what_fits_into_a_record_and_says_if_something_was_cut() {
        let label = Field { name: "sea", value: Value::Text("black") };
        check("depth", &[label], ("depth", 1, false));
        let long = "x".repeat(8 << 20);
        check(&long, &[label], (&long[..limits::NAME_BYTES], 1, true));
        check("depth", &vec![label; 10_000], ("depth", limits::FIELDS, true));
        check("depth", &[Field { name: "sea", value: Value::Text(&long) }], ("depth", 1, true));
    }
}
