//! One live instance of an extension: its store, its exports, and calls of them under their budget.

use std::any::Any;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::invocation::{Cost, HostUses};
use glasshouse_model::settings::{Settings, SlowCall};
use glasshouse_model::standing::Spent;
use glasshouse_model::{
    Clock, Digest, ExtensionId, Failure, FailureKind, InputDigest, Invocation, Origin, Outcome, SpanCost, UnixNanos,
};
use glasshouse_telemetry::{Head, InvocationName, Recorder};
use tokio::sync::watch;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::exports::glasshouse::extension::{collector, handler, health, lifecycle};
use crate::denials::Denials;
use crate::determinism::{Determinism, GuestClock, Ids};
use crate::engine::{Machine, YIELD_FUEL};
use crate::epochs::{Pace, Ticker};
use crate::exports::Exports;
use crate::extension::{Event, HandlerError, Reply};
use crate::failure::{
    Circumstances, classify, deadline as deadline_failure, ends_like_a_panic, host_calls as host_calls_failure,
    is_overdue, or_host_fault, store as store_failure,
};
use crate::grants::{GrantError, Reachable, wasi};
use crate::health::Check;
use crate::held::Held;
use crate::host::http::Door;
use crate::imports::Pulse;
use crate::input::digest_input;
use crate::intake::Intake;
use crate::limiter::{Bounds, Limiter};
use crate::meter::{Conditions, Ended, Phase, run};
use crate::neighbours::Neighbours;
use crate::present::Settled;
use crate::slowness::Slowness;
use crate::state::{State, StateParts};
use crate::stdio::Stdio;
use crate::trigger::Trigger;
use crate::turn::Rouser;
use crate::weight::Weight;

/// The most that `shutdown` may take, so that the host's own end is not delayed.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(1);

/// An embedder's call of exports of its own: runs on the extension's task, as an invocation with the extension's budget.
pub type EmbedderCall = Box<
    dyn for<'a> FnOnce(
            &'a mut Store<State>,
            &'a Instance,
        ) -> Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>
        + Send,
>;

/// Makes an embedder's data for an instance.
pub type EmbedderData = Arc<dyn Fn(&ExtensionId) -> Box<dyn Any + Send> + Send + Sync>;

/// All that is needed to make instances of an extension.
pub(crate) struct Blueprint {
    pub(crate) id: ExtensionId,
    pub(crate) machine: Arc<Machine>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) component: Digest,
    pub(crate) settings: Settled,
    pub(crate) reachable: Arc<Reachable>,
    pub(crate) door: Arc<Door>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) neighbours: Neighbours,
    pub(crate) embedder_data: EmbedderData,
    pub(crate) held: Arc<Held>,
    pub(crate) weight: Arc<Weight>,
    pub(crate) determinism: Option<Determinism>,
    pub(crate) slowness: Slowness,
}

/// What to call.
pub(crate) enum Job {
    Init,
    Shutdown,
    /// Made by [`Job::handle`].
    Handle(handler::Event),
    Collect,
    CheckHealth,
    /// Its name, and what to call until that is called.
    Embedder(String, Option<EmbedderCall>),
}

impl Job {
    /// Passes an event to the handler.
    #[inline]
    pub(crate) fn handle(event: Event) -> Self {
        let Event { name, content_type, payload } = event;
        Self::Handle(handler::Event { name, content_type, payload })
    }
}

/// How a call ended for its caller.
pub(crate) enum Answer {
    /// `init`, `shutdown` and an embedder's call have nothing to say.
    Done,
    Reply(Reply),
    Health(Vec<Check>),
    Error(HandlerError),
    NoHandler,
    Failed(Box<Failure>),
    Cancelled,
}

impl Answer {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done | Self::Reply(_) | Self::Health(_) => Outcome::Ok,
            Self::Error(_) | Self::NoHandler => Outcome::Answered,
            Self::Cancelled => Outcome::Cancelled,
            Self::Failed(failure) => match failure.kind {
                FailureKind::FuelBreach
                | FailureKind::DeadlineBreach
                | FailureKind::MemoryBreach
                | FailureKind::HostDataBreach
                | FailureKind::ResourceBreach
                | FailureKind::HostCallBreach => Outcome::Breached,
                _ => Outcome::Trapped,
            },
        }
    }
}

/// A live instance.
pub(crate) struct Sandbox {
    blueprint: Arc<Blueprint>,
    settings: Settled,
    /// The settings that the store goes by.
    in_force: Option<Arc<Settings>>,
    store: Store<State>,
    /// `None` until it is made, and after a call that did not come to its end: such an instance cannot be entered.
    instance: Option<Box<Live>>,
    phase: watch::Receiver<Phase>,
    /// What slices its calls, where epochs do.
    pace: Option<Arc<Pace>>,
    /// What its calls and whoever polls them tell each other.
    pulse: Arc<Pulse>,
    /// What wakes them once they have run for more than a slice.
    rouser: Rouser,
    /// The present invocation's name; kept for its memory, as is the scratch space.
    name: InvocationName,
    scratch: Vec<u8>,
    host_uses: Vec<u8>,
    /// What the last invocation used.
    spent: Spent,
}

/// How a call went, beside its answer and its cost.
struct Course {
    /// Whether what is known of its failure was cut.
    cut: bool,
    input_bytes: u64,
    /// What tells whether other calls had the same input, of one that failed or was answered with an error.
    input: Option<InputDigest>,
    /// Whether it is a call, or part of the extension's life cycle.
    counts: bool,
    /// When the guest was last polled, and when all was done, in `Clock::monotonic_nanos`.
    run_until: u64,
    ended_at: u64,
    is_slow: bool,
}

struct Live {
    instance: Instance,
    handler: Option<handler::Guest>,
    lifecycle: Option<lifecycle::Guest>,
    collector: Option<collector::Guest>,
    health: Option<health::Guest>,
}

impl Blueprint {
    /// Makes an instance and runs its `init`.
    pub(crate) async fn build(self: &Arc<Self>, phase: watch::Receiver<Phase>) -> Result<Sandbox, BuildError> {
        let mut settled = self.settings.clone();
        let settings = Arc::clone(settled.load());
        let permissions = &settings.permissions;
        let denials = Denials::new(self.recorder.clone());
        let pulse = Arc::new(Pulse::default());
        let stdio = Stdio::new(self.recorder.clone(), Arc::clone(&self.clock), Arc::clone(&pulse));
        let guest_clock = self.determinism.map(|_| GuestClock::default());
        let fixed = self.determinism.zip(guest_clock.as_ref());
        let wasi = wasi(permissions, &self.reachable, &stdio, &denials, &self.component, fixed)?;
        let state = State::new(StateParts {
            id: self.id.clone(),
            recorder: self.recorder.clone(),
            clock: Arc::clone(&self.clock),
            counts_fuel: self.machine.flavour.counts_fuel(),
            limiter: Limiter::new(Bounds::from(&settings.budget)),
            pulse: Arc::clone(&pulse),
            stdio,
            neighbours: self.neighbours.clone(),
            reachable: Arc::clone(&self.reachable),
            door: Arc::clone(&self.door),
            wasi,
            denials,
            guest_clock,
            ids: self.determinism.map_or_else(Ids::default, Determinism::ids),
            embedder: (self.embedder_data)(&self.id),
        });
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        let pace = self.machine.flavour.has_epochs().then(Arc::<Pace>::default);
        match &pace {
            Some(pace) => pace.set(&mut store),
            None => store.fuel_async_yield_interval(Some(YIELD_FUEL)).map_err(BuildError::Engine)?,
        }
        let mut sandbox = Sandbox {
            blueprint: Arc::clone(self),
            settings: settled,
            in_force: None,
            store,
            instance: None,
            phase,
            pace,
            pulse,
            rouser: Rouser::default(),
            name: InvocationName::default(),
            scratch: Vec::new(),
            host_uses: Vec::new(),
            spent: Spent::default(),
        };
        let mut answer = Answer::Done;
        sandbox.invoke(&mut Job::Init, &mut Trigger::default(), 0, &mut answer).await;
        match answer {
            Answer::Failed(failure) => Err(BuildError::Failed(failure)),
            Answer::Cancelled => Err(BuildError::Cancelled),
            _ => Ok(sandbox),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.blueprint.held.clear();
    }
}

/// Why there is no instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("{0}")]
    Failed(Box<Failure>),
    #[error("the engine: {0:#}")]
    Engine(wasmtime::Error),
    #[error("the host is stopping")]
    Cancelled,
}

impl Sandbox {
    /// The difference of two readings that are taken one after the other.
    pub(crate) fn read_cost(&self) -> SpanCost {
        let read = || self.store.data().reading(self.store.get_fuel().ok());
        let start = read();
        read().since(&start)
    }

    /// What the last invocation used.
    pub(crate) fn spent(&self) -> &Spent {
        &self.spent
    }

    /// What its component exports.
    pub(crate) fn exports(&self) -> &Exports {
        &self.blueprint.exports
    }

    /// Whether it can be called.
    pub(crate) fn is_alive(&self) -> bool {
        self.instance.is_some()
    }

    /// Makes a call, as an invocation with a context, a budget and a record of its own. What it needs of the job and of the
    /// trigger it takes out of them, and what comes of it, it puts where that is to be: to move them along costs a short call
    /// more than most else.
    pub(crate) async fn invoke(
        &mut self,
        job: &mut Job,
        trigger: &mut Trigger,
        queued_nanos: u64,
        answer: &mut Answer,
    ) {
        let blueprint = &*self.blueprint;
        let settings = self.settings.load();
        let budget = &settings.budget;
        if !self.in_force.as_ref().is_some_and(|in_force| Arc::ptr_eq(in_force, settings)) {
            self.store.set_max_component_handles(budget.handles);
            self.store.set_hostcall_fuel(budget.host_data_per_call as usize);
            self.store.data_mut().settle(budget);
            self.in_force = Some(Arc::clone(settings));
        }
        let (counts, input_bytes, deadline) = match job {
            Job::Init | Job::Collect | Job::CheckHealth => (false, 0, budget.deadline),
            Job::Shutdown => (false, 0, budget.deadline.min(SHUTDOWN_DEADLINE)),
            Job::Handle(event) => (true, event.payload.len() as u64, budget.deadline),
            Job::Embedder(..) => (true, 0, budget.deadline),
        };
        let (export, event) = name_of(job);
        self.name.set(export, event);
        let began_at = blueprint.clock.monotonic_nanos();
        self.store.data_mut().begin_invocation(trigger, budget, began_at, deadline);
        let state = self.store.data();
        let (memory_before, transferred_before) = (state.limiter.bytes(), self.pulse.transferred());
        let counts_fuel = blueprint.machine.flavour.counts_fuel();
        let fuel = Some(budget.fuel_per_call).filter(|fuel| counts_fuel && self.store.set_fuel(*fuel).is_ok());
        if let Some(pace) = &self.pace {
            pace.begin(&mut self.store);
        }
        let ticking = blueprint.machine.ticker.as_ref().map(Ticker::tick);
        let live = self.instance.take();
        let (mut ended, measured) = {
            let call = pin!(perform(blueprint, settings, &mut self.store, live, job, answer));
            let conditions = Conditions {
                start: began_at,
                deadline,
                clock: &*blueprint.clock,
                phase: &mut self.phase,
                pace: self.pace.as_deref(),
                pulse: &self.pulse,
                rouser: &self.rouser,
                weight: &blueprint.weight,
            };
            run(call, conditions).await
        };
        if self.pulse.is_exceeded() && matches!(ended, Ended::Finished(Ok(_))) {
            ended = Ended::TooManyHostCalls;
        }
        drop(ticking);

        let fuel_left = fuel.and_then(|_| self.store.get_fuel().ok());
        // One whose `init` refused is never called.
        let goes_on = matches!(ended, Ended::Finished(Ok(_))) && !matches!(*answer, Answer::Failed(_));
        if !goes_on && recover_batch(&self.store) {
            tokio::task::yield_now().await;
        }
        let state = self.store.data_mut();
        let panic = match &ended {
            Ended::Finished(Err(error)) if ends_like_a_panic(error) => state.intake.take_panic(),
            _ => None,
        };
        let cut = panic.as_ref().is_some_and(|panic| panic.cut);
        state.end_invocation(fuel_left, measured.ended_at);
        blueprint.held.note(&mut self.store, budget.handles, !goes_on);
        let state = self.store.data();
        let (component, limiter, imports) = (blueprint.component, &state.limiter, &state.imports);
        let name = self.name.as_str();
        let circumstances = || Circumstances { call: name.to_owned(), component, budget, limiter, imports, panic };
        match ended {
            Ended::Finished(Ok(live)) => self.instance = goes_on.then_some(live),
            Ended::Finished(Err(error)) if is_overdue(&error) => {
                *answer = failed(deadline_failure(circumstances(), measured.cpu_nanos, Some(&error)));
            }
            Ended::Finished(Err(error)) => *answer = failed(classify(&error, circumstances())),
            Ended::DeadlinePassed => *answer = failed(deadline_failure(circumstances(), measured.cpu_nanos, None)),
            Ended::TooManyHostCalls => *answer = failed(host_calls_failure(circumstances(), None)),
            Ended::Cancelled => *answer = Answer::Cancelled,
        }
        let mut input = None;
        if matches!(answer, Answer::Failed(_) | Answer::Error(_)) {
            // On the heap, so that a good call has no room to keep for it.
            input = Box::pin(digest_input(&blueprint.recorder, self.name.as_str(), &settings.config, job)).await;
        }
        match answer {
            Answer::Failed(failure) => {
                failure.input = input;
                blueprint.recorder.redactor().redact_failure(failure);
            }
            Answer::Health(checks) => checks.iter_mut().for_each(|check| check.redact(blueprint.recorder.redactor())),
            _ => {}
        }
        // What comes after the guest's own part is worth another look at the clock where that is much.
        let ended_at = if goes_on { measured.ended_at } else { blueprint.clock.monotonic_nanos() };
        let elapsed_nanos = ended_at.saturating_sub(began_at);
        let (idle_nanos, yielded_nanos) = (self.pulse.idle_nanos(), self.pulse.yielded_nanos());
        let cost = Cost {
            fuel: fuel.zip(fuel_left).map(|(fuel, left)| fuel - left.min(fuel)),
            cpu_nanos: measured.cpu_nanos,
            cpu_estimated: measured.cpu_estimated,
            elapsed_nanos,
            queued_nanos,
            host_nanos: imports.nanos().min(measured.polled_nanos),
            host_calls: imports.calls(),
            idle_nanos,
            yielded_nanos,
            unattributed_nanos: elapsed_nanos
                .saturating_sub(measured.polled_nanos.saturating_add(idle_nanos).saturating_add(yielded_nanos)),
            memory_bytes: if self.instance.is_some() { limiter.bytes() } else { 0 },
            memory_delta_bytes: limiter.bytes().saturating_sub(memory_before),
            memory_peak_bytes: limiter.peak(),
            transfer: self.pulse.transferred().since(transferred_before),
        }
        .balanced();
        self.spent = Spent {
            began_at,
            elapsed_nanos: cost.elapsed_nanos,
            fuel: cost.fuel.unwrap_or_default(),
            cpu_nanos: cost.cpu_nanos,
            memory_bytes: cost.memory_bytes,
        };
        let is_slow = match settings.debugging.slow_call {
            SlowCall::After(limit) => Duration::from_nanos(elapsed_nanos) >= limit,
            SlowCall::P95 => self.blueprint.slowness.judge(self.name.as_str(), elapsed_nanos),
        };
        let course = Course { cut, input_bytes, input, counts, run_until: measured.ended_at, ended_at, is_slow };
        self.record(answer, &cost, &course);
        if self.store.data().intake.is_yield_due() {
            tokio::task::yield_now().await;
        }
        self.blueprint.recorder.govern(&*self.blueprint.clock, ended_at, 0);
    }

    /// Stores the invocation, its failure if it is one, and those of its spans that waited for how it would end.
    #[inline]
    fn record(&mut self, answer: &Answer, cost: &Cost, course: &Course) {
        let Course { cut, input_bytes, input, counts, run_until, ended_at, is_slow } = *course;
        let Self { store, name, scratch, host_uses, .. } = self;
        let State { imports, chain, parent, .. } = store.data();
        let outcome = answer.outcome();
        let output_bytes = if let Answer::Reply(reply) = answer { reply.payload.len() as u64 } else { 0 };
        let (parent, cause) = (*parent, chain.cause());
        let host = HostUses::encode(host_uses, imports.uses());
        let intake = &store.data().intake;
        intake.recorder().ledger().add(outcome, cost, counts, imports.uses());
        if let Answer::Failed(failure) = answer {
            let head = head(intake, intake.clock().now(), cut);
            store_failure(intake.recorder(), head, failure, scratch);
        } else if let Answer::Error(error) = answer {
            intake.take_answered(error, input);
        }
        store.data_mut().leave_scopes();
        let matters = is_slow || !matches!(outcome, Outcome::Ok | Outcome::Cancelled);
        store.data_mut().decide(matters, run_until);
        let intake = &store.data().intake;
        scratch.clear();
        Invocation { outcome, name: name.as_str(), parent, cause, cost, host, input_bytes, input, output_bytes }
            .encode(scratch);
        let head = head(intake, intake.clock().at(ended_at), false);
        intake.recorder().append_invocation(head, scratch, name);
    }
}

/// Takes what the guest had gathered and not sent from its memory, in the context in which the call ended; the instance is
/// never entered again. Tells whether that was so much work that the neighbours are to run.
fn recover_batch(store: &Store<State>) -> bool {
    let state = store.data();
    if let Some(shared) = &state.shared_batch {
        state.intake.recover(shared.tail(store));
    }
    state.intake.is_yield_due()
}

/// What stands around a record that the host makes of an invocation.
fn head(intake: &Intake, time: UnixNanos, cut: bool) -> Head<'_> {
    Head { time, origin: Origin::Host, cut, batched: false, context: intake.context_bytes() }
}

fn failed(failure: Failure) -> Answer {
    Answer::Failed(Box::new(failure))
}

/// An invocation's name: the export, and for `handle` the event.
fn name_of(job: &Job) -> (&str, &str) {
    match job {
        Job::Init => ("init", ""),
        Job::Collect => ("collect", ""),
        Job::CheckHealth => ("check-health", ""),
        Job::Shutdown => ("shutdown", ""),
        Job::Handle(event) => ("handle", event.name.as_str()),
        Job::Embedder(export, _) => (export.as_str(), ""),
    }
}

/// Does the job, says what came of it, and gives the instance back if it can be entered again.
async fn perform(
    blueprint: &Blueprint,
    settings: &Settings,
    store: &mut Store<State>,
    live: Option<Box<Live>>,
    job: &mut Job,
    answer: &mut Answer,
) -> wasmtime::Result<Box<Live>> {
    let live = if let Some(live) = live {
        live
    } else {
        let instance = blueprint.pre.instantiate_async(&mut *store).await.map_err(or_host_fault)?;
        blueprint.held.note_parts(store, &blueprint.machine.empty, blueprint.pre.component()).await;
        let exports = &blueprint.exports;
        macro_rules! load {
            ($interface:ident) => {
                exports.$interface.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?
            };
        }
        Box::new(Live {
            handler: load!(handler),
            lifecycle: load!(lifecycle),
            collector: load!(collector),
            health: load!(health),
            instance,
        })
    };
    *answer = match job {
        Job::Init => match &live.lifecycle {
            Some(lifecycle) => {
                let config = serde_json::Value::Object(settings.config.clone()).to_string();
                match lifecycle.call_init(&mut *store, &config).await? {
                    Ok(()) => Answer::Done,
                    Err(reason) => failed(Failure {
                        kind: FailureKind::InitRefused,
                        message: glasshouse_model::text::cut(&reason, glasshouse_model::limits::TEXT_BYTES).to_owned(),
                        call: "init".into(),
                        component: blueprint.component,
                        location: None,
                        frames: Vec::new(),
                        evidence: Vec::new(),
                        input: None,
                    }),
                }
            }
            None => Answer::Done,
        },
        Job::Shutdown => {
            if let Some(lifecycle) = &live.lifecycle {
                lifecycle.call_shutdown(&mut *store).await?;
            }
            Answer::Done
        }
        Job::Collect => {
            if let Some(collector) = &live.collector {
                collector.call_collect(&mut *store).await?;
            }
            Answer::Done
        }
        Job::CheckHealth => match &live.health {
            Some(health) => {
                Answer::Health(health.call_check_health(&mut *store).await?.into_iter().map(Check::from).collect())
            }
            None => Answer::Health(Vec::new()),
        },
        Job::Handle(event) => match &live.handler {
            Some(handler) => match handler.call_handle(&mut *store, event).await? {
                Ok(reply) => Answer::Reply(Reply { content_type: reply.content_type, payload: reply.payload }),
                Err(error) => Answer::Error(error.into()),
            },
            None => Answer::NoHandler,
        },
        Job::Embedder(_, call) => {
            if let Some(call) = call.take() {
                call(&mut *store, &live.instance).await?;
            }
            Answer::Done
        }
    };
    Ok(live)
}

impl From<handler::HandlerError> for HandlerError {
    fn from(error: handler::HandlerError) -> Self {
        match error {
            handler::HandlerError::UnknownEvent(name) => Self::UnknownEvent(name),
            handler::HandlerError::InvalidPayload(reason) => Self::InvalidPayload(reason),
            handler::HandlerError::Failed((kind, message)) => Self::Failed { kind, message },
        }
    }
}
