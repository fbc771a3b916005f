//! What an extension's calls cost when nothing else has a say: each in an instance and a store of its own, with clocks,
//! random bytes and ids that are the same each time.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::invocation::Cost;
use glasshouse_model::settings::{Metering, Settings};
use glasshouse_model::{Clock, Digest, Signal, TraceId, UnixNanos};
use glasshouse_telemetry::Body;
use tokio::sync::watch;

use crate::engine::GROWTH_FUEL;
use crate::extension::{CallError, Event, Extension, Reply, check};
use crate::job::{Answer, Job};
use crate::meter::Phase;
use crate::sandbox::{BuildError, Sandbox};
use crate::supervisor::told;
use crate::trigger::Trigger;
use crate::{ExtensionSpec, Runtime, RuntimeError, RuntimeSettings};

/// The wall time that a call may take. It is to end what would never end, and by nothing else than its fuel should a call be
/// ended, since a deadline comes sooner on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// Records of each signal that are kept, so that their bytes can be counted: the most that the configuration allows.
const RECORDS: usize = 1_000_000;

/// Records, and bytes of them, that a call may leave: the most that the configuration allows for a second, which is all of a trial.
const RECORDS_PER_SECOND: u64 = 100_000_000;
const BYTES_PER_SECOND: u64 = 16 << 30;

/// An extension that is tried. It is alone: calls of other extensions find none, and what it publishes reaches nobody.
pub struct Trial {
    runtime: Runtime,
    spec: ExtensionSpec,
    trace: TraceId,
}

/// What came of a call, and what it cost.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The component that was called.
    pub component: Digest,
    /// The reply, or why there is none.
    pub outcome: Result<Reply, CallError>,
    /// What it cost. Its times are all 0, since the host's clock stands still.
    pub cost: Cost,
    /// Records that it left, of all signals but the one about the call itself.
    pub records: u64,
    /// Their bytes, as they are stored; `None` if there were more than a store keeps.
    pub record_bytes: Option<u64>,
}

/// The host's clock of a trial, so that records have the same bytes each time.
struct StillClock(UnixNanos);

impl Clock for StillClock {
    fn now(&self) -> UnixNanos {
        self.0
    }

    fn monotonic_nanos(&self) -> u64 {
        0
    }
}

impl Trial {
    /// Sets up a trial. Of `settings` the clock and the depot are not used; without its determinism the default one is. What
    /// would make calls differ is taken from the extension's settings, see [`Trial::settings`].
    pub fn new(settings: RuntimeSettings, spec: ExtensionSpec) -> Result<Self, RuntimeError> {
        let determinism = settings.determinism.unwrap_or_default();
        let clock = Arc::new(StillClock(determinism.start));
        let settings = RuntimeSettings { determinism: Some(determinism), clock, depot: None, ..settings };
        let spec = ExtensionSpec { settings: fixed(spec.settings), ..spec };
        let trace = TraceId(fastrand::Rng::with_seed(determinism.seed).u128(1..).to_be_bytes());
        Ok(Self { runtime: Runtime::new(settings)?, spec, trace })
    }

    /// The settings in effect: the extension's own, but metered by fuel, with nothing sampled out or shed, all that is stored kept, and a
    /// deadline that only what never ends reaches.
    pub fn settings(&self) -> &Settings {
        &self.spec.settings
    }

    /// How work is metered, in words: fuel is comparable only where this and the version of wasmtime are the same.
    pub fn metering(&self) -> String {
        format!("{}, growth {GROWTH_FUEL}", self.spec.settings.budget.metering.as_str())
    }

    /// Calls the handler of a new instance. A trigger without a trace gets the same one each time. It is an error if no
    /// instance can be made and the extension is not to blame. Cancelling it gives the call up.
    pub async fn call(&self, event: Event, trigger: Trigger) -> Result<Tried, String> {
        let trigger = Trigger { trace_id: trigger.trace_id.or(Some(self.trace)), ..trigger };
        let refused = check(&event, &trigger).err();
        match self.instance().await? {
            Ok(instance) if let Some(error) = refused => Ok(Tried { outcome: Err(error), ..instance.began }),
            Ok(mut instance) => Ok(instance.invoke(Job::handle(event), trigger).await),
            Err(failed) => Ok(failed),
        }
    }

    /// Calls what else a new instance exports, one after the other: `init`, `collect`, `check-health` and `shutdown`, as far as
    /// they are there; up to the first that fails. `init` is always there, and stands for making the instance.
    pub async fn life_cycle(&self) -> Result<Vec<(&'static str, Tried)>, String> {
        let mut instance = match self.instance().await? {
            Ok(instance) => instance,
            Err(failed) => return Ok(vec![("init", failed)]),
        };
        let mut tried = vec![("init", instance.began.clone())];
        let exports = instance.sandbox.exports();
        let jobs = [
            ("collect", exports.collector.is_some(), Job::Collect),
            ("check-health", exports.health.is_some(), Job::CheckHealth),
            ("shutdown", exports.lifecycle.is_some(), Job::Shutdown),
        ];
        for (name, _, job) in jobs.into_iter().filter(|(_, exported, _)| *exported) {
            if !instance.sandbox.is_alive() {
                break;
            }
            tried.push((name, instance.invoke(job, self.trigger()).await));
        }
        Ok(tried)
    }

    fn trigger(&self) -> Trigger {
        Trigger { trace_id: Some(self.trace), ..Trigger::default() }
    }

    /// A new instance in a store of its own, or what its `init` ended in.
    async fn instance(&self) -> Result<Result<Instance, Tried>, String> {
        let assembler = self.runtime.assembler(&self.spec);
        let (extension, _) = self.runtime.handle(self.spec.clone());
        let (blueprint, component) = assembler.load(extension.clone()).await.map_err(|refused| refused.cause)?;
        let phase = watch::Sender::new(Phase::Running);
        let component = component.digest;
        let before = Stored::of(&extension);
        match blueprint.build(phase.subscribe()).await {
            Ok(sandbox) => {
                let began = before.tried(&extension, component, Ok(Reply::default()));
                Ok(Ok(Instance { extension, sandbox, component, began, _phase: phase }))
            }
            Err(BuildError::Failed(failure)) => {
                let outcome = told(Answer::Failed(failure)).0;
                Ok(Err(before.tried(&extension, component, outcome)))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// An instance, and what its `init` cost.
struct Instance {
    extension: Extension,
    sandbox: Sandbox,
    component: Digest,
    began: Tried,
    _phase: watch::Sender<Phase>,
}

impl Instance {
    async fn invoke(&mut self, mut job: Job, mut trigger: Trigger) -> Tried {
        let before = Stored::of(&self.extension);
        let mut answer = Answer::Done;
        self.sandbox.invoke(&mut job, &mut trigger, 0, &mut answer).await;
        before.tried(&self.extension, self.component, told(answer).0)
    }
}

/// How far each signal had come before a call.
struct Stored([u64; Signal::COUNT]);

impl Stored {
    fn of(extension: &Extension) -> Self {
        Self(std::array::from_fn(|index| extension.reader(Signal::ALL[index]).next_sequence()))
    }

    /// What the records since then say of a call.
    fn tried(self, extension: &Extension, component: Digest, outcome: Result<Reply, CallError>) -> Tried {
        let (mut records, mut record_bytes) = (0, Some(0));
        for (signal, from) in Signal::ALL.iter().zip(self.0).filter(|(signal, _)| **signal != Signal::Invocation) {
            let page = extension.reader(*signal).page(from, usize::MAX);
            records += page.next_sequence - from;
            let bytes = page.entries.iter().map(|entry| entry.bytes() as u64).sum::<u64>();
            record_bytes = record_bytes.filter(|_| page.missed == 0).map(|total| total + bytes);
        }
        let cost = extension.reader(Signal::Invocation).latest(1).pop().and_then(|entry| match entry.body() {
            Ok(Body::Invocation(invocation)) => Some(invocation.cost),
            _ => None,
        });
        Tried { component, outcome, cost: cost.unwrap_or_default(), records, record_bytes }
    }
}

/// Settings under which a call costs the same each time.
fn fixed(mut settings: Settings) -> Settings {
    settings.budget.metering = Metering::Fuel;
    settings.budget.deadline = DEADLINE;
    settings.budget.telemetry.records_per_second = RECORDS_PER_SECOND;
    settings.budget.telemetry.bytes_per_second = BYTES_PER_SECOND;
    let debugging = &mut settings.debugging;
    debugging.sampling_rate = 1.0;
    // All of its time: nothing is shed, whatever the machine is busy with.
    debugging.profiling_overhead_limit = 100.0;
    debugging.max_log_entries = RECORDS;
    debugging.max_metrics = RECORDS;
    debugging.max_errors = RECORDS;
    debugging.max_traces = RECORDS;
    settings
}
