//! An extension's instance without its task and its mailbox, for the benches: not part of the API.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::SpanCost;
use glasshouse_model::settings::{Metering, Settings};
use glasshouse_telemetry::{Load, Store, StoreSettings};
use tokio::sync::watch;
use wasmtime::component::Component;

use crate::engine::{self, engine_with};
use crate::epochs;
use crate::extension::{CallError, Event, Extension, Reply};
use crate::intake::Intake;
use crate::job::{Answer, Job};
use crate::meter::Phase;
use crate::sandbox::Sandbox;
use crate::supervisor::told;
use crate::trigger::Trigger;
use crate::{ExtensionSpec, Runtime, SystemClock};

/// Fuel between two looks at a guest's deadline, for peers that are to stop as often.
pub const YIELD_FUEL: u64 = engine::YIELD_FUEL;
/// How long a slice is where epochs end it, likewise.
pub const TICK: Duration = epochs::TICK;

/// An instance that is called where it stands.
pub struct Instance {
    extension: Extension,
    sandbox: Sandbox,
    component: Component,
    _phase: watch::Sender<Phase>,
}

impl Instance {
    /// Loads an extension and makes its instance.
    pub async fn start(runtime: &Runtime, spec: ExtensionSpec) -> Result<Self, String> {
        let assembler = runtime.assembler(&spec);
        let (extension, _) = runtime.handle(spec);
        let (blueprint, _) = assembler.load(extension.clone()).await.map_err(|refused| refused.cause)?;
        let phase = watch::Sender::new(Phase::Running);
        let sandbox = blueprint.build(phase.subscribe()).await.map_err(|error| error.to_string())?;
        Ok(Self { extension, sandbox, component: blueprint.pre.component().clone(), _phase: phase })
    }

    /// The code it runs.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The extension, to read what it recorded.
    pub fn extension(&self) -> &Extension {
        &self.extension
    }

    /// Reads what the instance has used twice, as a span does at its two ends, and gives the difference.
    pub fn read_cost(&self) -> SpanCost {
        self.sandbox.read_cost()
    }

    /// Calls its handler so many times. As for a supervisor, all that a call goes through is compiled in this crate; a future that another crate polls
    /// would be compiled there, where little of it can be in one piece.
    pub fn handle_each(
        &mut self,
        tokio: &tokio::runtime::Runtime,
        times: u32,
        event: fn() -> Event,
    ) -> Result<(), CallError> {
        tokio.block_on(async {
            for _ in 0..times {
                self.handle(event()).await?;
            }
            Ok(())
        })
    }

    /// Calls its handler.
    pub async fn handle(&mut self, event: Event) -> Result<Reply, CallError> {
        let mut answer = Answer::Done;
        self.sandbox.invoke(&mut Job::handle(event), &mut Trigger::default(), 0, &mut answer).await;
        told(answer).0
    }
}

/// Makes an engine as the runtime does, with what a mode of metering needs, or with no meter.
pub fn engine(metering: Option<Metering>) -> wasmtime::Result<wasmtime::Engine> {
    engine_with(metering == Some(Metering::Fuel), metering == Some(Metering::Cpu))
}

/// Makes so many crossings that carry nothing, to see what measuring costs.
pub fn cross(times: u32) {
    let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
    let intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
    for _ in 0..times {
        intake.crossed(std::hint::black_box(&intake).cross(), || Load::Rest);
    }
}
