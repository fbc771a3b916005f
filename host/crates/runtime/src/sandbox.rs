//! One live instance of an extension: its store, its exports, and calls of them under their budget.

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;

use glasshouse_model::invocation::{Cost, HostUses};
use glasshouse_model::settings::Settings;
use glasshouse_model::standing::Spent;
use glasshouse_model::{
    Clock, Digest, ExtensionId, Failure, InputDigest, Invocation, Origin, Outcome, SpanCost, UnixNanos,
};
use glasshouse_telemetry::{Head, InvocationName, Recorder};
use tokio::sync::watch;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::denials::Denials;
use crate::determinism::{Determinism, GuestClock, Ids};
use crate::engine::{Machine, YIELD_FUEL};
use crate::epochs::{Pace, Ticker};
use crate::exports::Exports;
use crate::failure::{
    Circumstances, classify, deadline as deadline_failure, ends_like_a_panic, host_calls as host_calls_failure,
    is_overdue, store as store_failure,
};
use crate::grants::{GrantError, Reachable, wasi};
use crate::held::Held;
use crate::host::http::Door;
use crate::imports::Pulse;
use crate::input::digest_input;
use crate::intake::Intake;
use crate::job::{Answer, HANDLE, Job, Live, failed, perform};
use crate::limiter::{Bounds, Limiter};
use crate::meter::{Conditions, Ended, Measured, Phase, run};
use crate::neighbours::Neighbours;
use crate::present::Settled;
use crate::slowness::Slowness;
use crate::state::{State, StateParts};
use crate::stdio::Stdio;
use crate::trigger::Trigger;
use crate::turn::Rouser;
use crate::weight::Weight;

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
    how: How,
    input_bytes: u64,
    /// Whether it is a call, or part of the extension's life cycle.
    counts: bool,
    /// When the guest was last polled, in `Clock::monotonic_nanos`.
    run_until: u64,
}

/// How a call ended, beside its answer.
struct How {
    /// When all was done, in `Clock::monotonic_nanos`.
    ended_at: u64,
    /// Whether what is known of its failure was cut.
    cut: bool,
    /// What tells whether other calls had the same input, of one that failed or was answered with an error.
    input: Option<InputDigest>,
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

    /// The encoded context of the last invocation.
    pub(crate) fn context(&self) -> &[u8] {
        self.store.data().intake.context_bytes()
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
            go_by(&mut self.store, settings);
            self.in_force = Some(Arc::clone(settings));
        }
        let (counts, input_bytes, deadline) = if let Job::Handle(event) = job {
            self.name.set(HANDLE, &event.name);
            (true, event.payload.len() as u64, budget.deadline)
        } else {
            self.name.set(job.export(), "");
            (matches!(job, Job::Embedder(..)), 0, job.deadline(budget))
        };
        let began_at = blueprint.clock.monotonic_nanos();
        self.store.data_mut().begin_invocation(trigger, settings, began_at, deadline);
        let state = self.store.data();
        let (memory_before, transferred_before) = (state.limiter.bytes(), self.pulse.transferred());
        let counts_fuel = blueprint.machine.flavour.counts_fuel();
        let fuel = Some(budget.fuel_per_call).filter(|fuel| counts_fuel && self.store.set_fuel(*fuel).is_ok());
        if let Some(pace) = &self.pace {
            pace.begin(&mut self.store);
        }
        let ticking = blueprint.machine.ticker.as_ref().map(Ticker::tick);
        let live = self.instance.take();
        let (ended, measured) = {
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
        drop(ticking);

        let fuel_left = fuel.and_then(|_| self.store.get_fuel().ok());
        let how = match ended {
            Ended::Finished(Ok(live))
                if !self.pulse.is_exceeded()
                    && matches!(answer, Answer::Done | Answer::Reply(_) | Answer::NoHandler) =>
            {
                self.store.data_mut().end_invocation(fuel_left, measured.ended_at);
                self.blueprint.held.note(&mut self.store, settings.budget.handles, false);
                self.instance = Some(live);
                How { ended_at: measured.ended_at, cut: false, input: None }
            }
            ended => {
                let settings = Arc::clone(settings);
                Box::pin(self.conclude(ended, &settings, job, answer, fuel_left, &measured)).await
            }
        };
        let State { limiter, imports, .. } = self.store.data();
        let elapsed_nanos = how.ended_at.saturating_sub(began_at);
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
        let course = Course { how, input_bytes, counts, run_until: measured.ended_at };
        self.record(answer, &cost, &course);
        if self.store.data().intake.is_yield_due() {
            tokio::task::yield_now().await;
        }
        self.blueprint.recorder.govern(&*self.blueprint.clock, course.how.ended_at, 0);
    }

    /// Finds out how an invocation ended that did not just give a reply: what became of it, and of the instance.
    async fn conclude(
        &mut self,
        mut ended: Ended<wasmtime::Result<Box<Live>>>,
        settings: &Settings,
        job: &mut Job,
        answer: &mut Answer,
        fuel_left: Option<u64>,
        measured: &Measured,
    ) -> How {
        let blueprint = &*self.blueprint;
        let budget = &settings.budget;
        if self.pulse.is_exceeded() && matches!(ended, Ended::Finished(Ok(_))) {
            ended = Ended::TooManyHostCalls;
        }
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
            input = digest_input(&blueprint.recorder, self.name.as_str(), &settings.config, job).await;
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
        How { ended_at, cut, input }
    }

    /// Stores the invocation, its failure if it is one, and those of its spans that waited for how it would end.
    #[inline]
    fn record(&mut self, answer: &Answer, cost: &Cost, course: &Course) {
        let Course { how: How { ended_at, input, .. }, input_bytes, counts, run_until } = *course;
        let Self { blueprint, store, name, scratch, host_uses, .. } = self;
        let State { imports, chain, parent, .. } = store.data();
        let outcome = answer.outcome();
        let output_bytes = if let Answer::Reply(reply) = answer { reply.payload.len() as u64 } else { 0 };
        let (parent, cause) = (*parent, chain.cause());
        let host = HostUses::encode(host_uses, imports.uses());
        let intake = &store.data().intake;
        intake.recorder().ledger().add(outcome, cost, counts, imports.uses());
        if outcome != Outcome::Ok {
            store_error(intake, answer, &course.how, scratch);
        }
        store.data_mut().leave_scopes();
        let is_slow = match store.data().slow_after {
            Some(limit) => cost.elapsed_nanos >= limit,
            None => blueprint.slowness.judge(name.as_str(), cost.elapsed_nanos),
        };
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

/// Stores what an invocation failed with, or was answered with.
#[cold]
fn store_error(intake: &Intake, answer: &Answer, how: &How, scratch: &mut Vec<u8>) {
    match answer {
        Answer::Failed(failure) => {
            let head = head(intake, intake.clock().now(), how.cut);
            store_failure(intake.recorder(), head, failure, scratch);
        }
        Answer::Error(error) => intake.take_answered(error, how.input),
        _ => {}
    }
}

/// Lets a store go by settings, as far as they are not for one call.
#[cold]
fn go_by(store: &mut Store<State>, settings: &Settings) {
    store.set_max_component_handles(settings.budget.handles);
    store.set_hostcall_fuel(settings.budget.host_data_per_call as usize);
    store.data_mut().settle(settings);
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
