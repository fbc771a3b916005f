//! The task that owns an extension's instance: loads it, serves its mailbox, rebuilds it after a failure, spaces its calls
//! when it is over a rate, and keeps it in quarantine when it goes on failing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use glasshouse_model::settings::Debugging;
use glasshouse_model::standing::{End, Spent, Standing, State, Transition};
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Blame, Clock, Digest, Failure, Level};
use glasshouse_telemetry::{Component, Drop, HostAlert, Recorder};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::extension::{CallError, ComponentInfo, Extension, Order, Reply, Status};
use crate::health::CHECKS;
use crate::job::{Answer, Job};
use crate::mailbox::{Message, Receiver, Work};
use crate::meter::Phase;
use crate::refused::{NotStarted, record};
use crate::sandbox::{Blueprint, BuildError, Sandbox};
use crate::standing::{self, Step};
use crate::told::host_log;
use crate::trigger::Trigger;
use crate::usage::UsageMetrics;

/// How often a throttled extension is looked at: by so much its next call may be late.
const LOOK_AT_THROTTLED: Duration = Duration::from_millis(50);
/// Deeds in a row after which the neighbours have a turn, whatever else there is to do.
const DEEDS: u32 = 32;
/// How often a warned extension is looked at, to see whether it is healthy again.
const LOOK_AT_WARNED: Duration = Duration::from_secs(1);

/// Owns one extension's instance.
pub(crate) struct Supervisor {
    pub(crate) extension: Extension,
    pub(crate) recorder: Recorder,
    pub(crate) inbox: Inbox,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// What comes to a supervisor, and how its extension stands.
pub(crate) struct Inbox {
    pub(crate) mailbox: Receiver,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) standing: Standing,
}

/// An extension that was loaded.
struct Serving {
    blueprint: Arc<Blueprint>,
    sandbox: Option<Sandbox>,
    usage: UsageMetrics,
    /// Whether its memory was most of what it may have after its last call.
    has_much_memory: bool,
}

/// What a supervisor does next.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and a box would cost each call an allocation")]
enum Deed {
    Deliver(Message),
    MakeRound(Round),
    Obey(Order),
    Look,
}

/// What an extension is asked for from time to time.
#[derive(Clone, Copy)]
enum Round {
    Collect,
    Health,
    /// Its use is told; the extension is not asked for that.
    Usage,
}

/// When it is asked next; `None` for what it does not export.
#[derive(Default)]
struct Rounds {
    collect: Option<Interval>,
    health: Option<Interval>,
    usage: Option<Interval>,
}

impl Rounds {
    /// Begins those anew that have another interval than before.
    fn settle(&mut self, blueprint: &Blueprint, debugging: &Debugging) {
        let exports = &blueprint.exports;
        for (interval, period, exported) in [
            (&mut self.collect, debugging.metrics_interval, exports.collector.is_some()),
            (&mut self.health, debugging.health_check_interval, exports.health.is_some()),
            (&mut self.usage, debugging.metrics_interval, true),
        ] {
            if exported && interval.as_ref().is_none_or(|interval| interval.period() != period) {
                *interval = Some(every(period));
            }
        }
    }

    /// Waits for the next round. May be cancelled.
    async fn next(&mut self) -> Round {
        async fn tick(interval: &mut Option<Interval>) {
            match interval {
                Some(interval) => drop(interval.tick().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = tick(&mut self.collect) => Round::Collect,
            () = tick(&mut self.health) => Round::Health,
            () = tick(&mut self.usage) => Round::Usage,
        }
    }
}

/// An interval whose first tick is one period away, and that makes up for no missed one.
fn every(period: std::time::Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Supervisor {
    /// Loads the extension and serves it until the host stops.
    pub(crate) async fn run(mut self, load: impl Future<Output = Result<(Arc<Blueprint>, ComponentInfo), NotStarted>>) {
        let mut phase = self.phase.clone();
        // What an earlier host found of its instance is over with that.
        self.recorder.recover(self.clock().now(), HostAlert::OF_STANDING, "the extension was started anew");
        let loaded = tokio::select! {
            loaded = load => Some(loaded),
            _ = phase.wait_for(|phase| *phase != Phase::Running) => None,
        };
        match loaded {
            Some(Ok((blueprint, component))) => self.serve(blueprint, component).await,
            Some(Err(refused)) => self.refuse(refused).await,
            None => self.turn_away().await,
        }
        self.extension.shared().status.send_replace(Status::Stopped);
    }

    async fn serve(&mut self, blueprint: Arc<Blueprint>, component: ComponentInfo) {
        // Set once, here.
        let _ = self.extension.shared().component.set(component);
        self.note_component(component.digest);
        let sandbox = match blueprint.build(self.phase.clone()).await {
            Ok(sandbox) => sandbox,
            Err(BuildError::Cancelled) => return self.turn_away().await,
            Err(error) => {
                // It is never called, so that its code need not stay in memory for as long as it is listed.
                drop(blueprint);
                return self.refuse(advised(&error).into()).await;
            }
        };
        let digest = component.digest.short();
        let fields = [
            Field { name: "component", value: Value::Text(&digest) },
            Field { name: "compiled", value: Value::Boolean(component.compiled) },
        ];
        self.log(Level::Info, "started", &fields);
        self.set_status(Status::Ready);
        let mut rounds = Rounds::default();
        rounds.settle(&blueprint, &self.extension.settings().debugging);
        let usage = UsageMetrics::new(self.clock());
        let mut serving = Serving { blueprint, sandbox: Some(sandbox), usage, has_much_memory: false };
        self.note(&mut serving, &Ending::Void);
        let mut deeds: u32 = 0;
        while let Some(deed) = self.wait(&mut rounds).await {
            deeds = deeds.wrapping_add(1);
            if deeds.is_multiple_of(DEEDS) {
                // Where a message is always there, and each is short, nothing else would wait: a thread of the background has no other turns.
                tokio::task::yield_now().await;
            }
            match deed {
                Deed::Deliver(message) => self.deliver(&mut serving, message).await,
                Deed::MakeRound(round) => self.make_round(&mut serving, round).await,
                Deed::Obey(order) => self.obey(&mut serving, &mut rounds, order).await,
                Deed::Look => self.look(&mut serving),
            }
        }
        if let Some(mut sandbox) = serving.sandbox.take()
            && sandbox.is_alive()
        {
            sandbox.invoke(&mut Job::Shutdown, &mut Trigger::default(), 0, &mut Answer::Done).await;
        }
        self.tell_usage(&mut serving);
        self.recorder.ledger().set_memory(0);
    }

    /// Waits for what is to be done next; `None` once the host stops and the mailbox is empty.
    async fn wait(&mut self, rounds: &mut Rounds) -> Option<Deed> {
        let is_held = self.is_held();
        let look = match self.inbox.standing.state() {
            State::Throttled { .. } => Some(LOOK_AT_THROTTLED),
            State::Warned { .. } => Some(LOOK_AT_WARNED),
            _ => None,
        };
        let Inbox { mailbox, orders, .. } = &mut self.inbox;
        let phase = &mut self.phase;
        let work = async {
            tokio::select! {
                message = next(mailbox, phase), if !is_held => message.map(Deed::Deliver),
                round = rounds.next(), if !is_held => Some(Deed::MakeRound(round)),
                () = async { tokio::time::sleep(look.unwrap_or_default()).await }, if look.is_some() => Some(Deed::Look),
            }
        };
        // Orders go first, so that what was changed before a call was made holds for it.
        tokio::select! {
            biased;
            Some(order) = orders.recv() => Some(Deed::Obey(order)),
            deed = work => deed,
        }
    }

    /// Whether calls are held back, since the extension is over a rate. A host that stops does not wait for that.
    fn is_held(&self) -> bool {
        let next_call_at = self.inbox.standing.next_call_at();
        next_call_at > 0 && next_call_at > self.extension.monotonic_nanos() && *self.phase.borrow() == Phase::Running
    }

    async fn obey(&mut self, serving: &mut Serving, rounds: &mut Rounds, order: Order) {
        // The order to settle may have found no room among others.
        let settings = self.extension.settings();
        rounds.settle(&serving.blueprint, &settings.debugging);
        self.inbox.standing.configure(&settings.budget);
        match order {
            Order::Settle => self.look(serving),
            Order::Release { by, done } => {
                let transition = self.inbox.standing.release();
                let ended = transition.as_ref().map(|transition| transition.from);
                if let Some(transition) = transition {
                    self.tell(serving, transition, Some(&by), &[]);
                }
                // Last, so that a call made after the answer finds the new state. Whoever asked may be gone.
                let _ = done.send(ended);
            }
            Order::CheckHealth { done } => {
                if serving.blueprint.exports.health.is_some() {
                    self.make_round(serving, Round::Health).await;
                }
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        }
    }

    /// Looks whether time has changed how the extension stands.
    fn look(&mut self, serving: &mut Serving) {
        if let Some(transition) = self.inbox.standing.passed(self.extension.monotonic_nanos()) {
            self.tell(serving, transition, None, &[]);
        }
        self.hold();
    }

    fn clock(&self) -> &dyn Clock {
        &*self.extension.shared().clock
    }

    /// Stores what the extension has used since the last time.
    fn tell_usage(&self, serving: &mut Serving) {
        serving.usage.tell(&self.recorder, &self.extension.usage(), self.clock());
    }

    /// Asks an extension that takes calls for its metrics or its health, or tells of its use.
    async fn make_round(&mut self, serving: &mut Serving, round: Round) {
        let mut job = match round {
            Round::Collect => Job::Collect,
            Round::Health => Job::CheckHealth,
            Round::Usage => return self.tell_usage(serving),
        };
        if matches!(self.inbox.standing.state(), State::Quarantined { .. } | State::Probing { .. }) {
            return;
        }
        if let Err(error) = self.revive(serving).await {
            return self.note_build_error(serving, &error);
        }
        let Some(sandbox) = serving.sandbox.as_mut() else { return };
        let mut answer = Answer::Done;
        sandbox.invoke(&mut job, &mut Trigger::default(), 0, &mut answer).await;
        let ending = match answer {
            Answer::Health(mut checks) => {
                checks.truncate(CHECKS);
                *self.extension.shared().health.lock().unwrap_or_else(PoisonError::into_inner) = checks;
                Ending::Void
            }
            Answer::Failed(failure) => Ending::Failed(Arc::new(*failure)),
            // That it could be asked does not show that its calls go well.
            _ => Ending::Void,
        };
        self.note(serving, &ending);
    }

    /// Names the component whose errors come from now on.
    fn note_component(&self, digest: Digest) {
        let shared = self.extension.shared();
        shared.store.run(Component { digest, version: shared.version.clone() });
    }

    /// Answers that the extension cannot be used, until the host stops.
    async fn refuse(&mut self, refused: NotStarted) {
        let NotStarted { cause, failure } = refused;
        if let Some(failure) = failure {
            self.note_component(failure.component);
            record(&self.recorder, self.extension.shared().clock.now(), *failure);
        }
        let cause = self.recorder.redactor().redact_text(&cause).into_owned();
        self.log(Level::Error, &format!("failed to start: {cause}"), &[]);
        self.set_status(Status::Failed { cause: cause.clone() });
        loop {
            let Inbox { mailbox, orders, .. } = &mut self.inbox;
            tokio::select! {
                message = next(mailbox, &mut self.phase) => match message {
                    Some(message) => self.answer_error(message, CallError::Unavailable(cause.clone())),
                    None => return,
                },
                // Whoever asked may be gone.
                Some(order) = orders.recv() => match order {
                    Order::Settle => {}
                    Order::Release { done, .. } => drop(done.send(None)),
                    Order::CheckHealth { done } => drop(done.send(())),
                },
            }
        }
    }

    /// Answers what is in the mailbox of an extension whose host stopped before it could start.
    async fn turn_away(&mut self) {
        while let Some(message) = next(&mut self.inbox.mailbox, &mut self.phase).await {
            self.answer_error(message, CallError::Cancelled);
        }
    }

    async fn deliver(&mut self, serving: &mut Serving, message: Message) {
        if *self.phase.borrow() == Phase::Cancelling {
            return self.answer_error(message, CallError::Cancelled);
        }
        if message.is_given_up() {
            return;
        }
        if let State::Quarantined { evidence, .. } = self.inbox.standing.state() {
            let evidence = evidence.to_string();
            match self.inbox.standing.begin(self.extension.monotonic_nanos()) {
                Err(left) => return self.answer_error(message, CallError::Quarantined { left, evidence }),
                Ok(probe) => probe.into_iter().for_each(|transition| self.tell(serving, transition, None, &[])),
            }
        }
        if let Err(error) = self.revive(serving).await {
            let refusal = match &error {
                BuildError::Failed(failure) => CallError::Failed(Arc::new((**failure).clone())),
                BuildError::Cancelled => CallError::Cancelled,
                BuildError::Grant(_) | BuildError::Engine(_) => {
                    CallError::Unavailable(self.recorder.redactor().redact_text(&error.to_string()).into_owned())
                }
            };
            self.answer_error(message, refusal);
            return self.note_build_error(serving, &error);
        }
        let Some(sandbox) = serving.sandbox.as_mut() else { return };
        let shared = self.extension.shared();
        shared.held.note_waiting(shared.mailbox.waiting() + 1);
        let (work, queued_at, _under_way) = message.open();
        let queued_nanos = self.extension.shared().clock.monotonic_nanos().saturating_sub(queued_at);
        let mut answer = Answer::Done;
        let ending = match work {
            // Its caller has given up waiting for the instance.
            Work::Event { reply: Some(reply), .. } if reply.is_closed() => return,
            Work::Event { event, mut trigger, reply } => {
                sandbox.invoke(&mut Job::handle(event), &mut trigger, queued_nanos, &mut answer).await;
                let (reply_to_send, ended) = told(answer);
                if let Some(reply) = reply {
                    // A caller that went away has no use for it.
                    let _ = reply.send(reply_to_send);
                }
                ended
            }
            Work::Embedder { name, call, done } => {
                let mut job = Job::Embedder(name, Some(call));
                sandbox.invoke(&mut job, &mut Trigger::default(), queued_nanos, &mut answer).await;
                let (reply_to_send, ended) = told(answer);
                let _ = done.send(reply_to_send.map(drop));
                ended
            }
        };
        self.note(serving, &ending);
        if matches!(ending, Ending::Failed(_))
            && !matches!(self.inbox.standing.state(), State::Quarantined { .. })
            && let Err(error) = self.revive(serving).await
        {
            self.note_build_error(serving, &error);
        }
    }

    /// Makes an instance if there is none that can be called.
    async fn revive(&mut self, serving: &mut Serving) -> Result<(), BuildError> {
        if serving.sandbox.as_ref().is_some_and(Sandbox::is_alive) {
            return Ok(());
        }
        serving.sandbox = None;
        serving.sandbox = Some(serving.blueprint.build(self.phase.clone()).await?);
        self.log(Level::Info, "started anew after a failure; what the old instance held in memory is gone", &[]);
        self.note(serving, &Ending::Void);
        Ok(())
    }

    /// Notes what the last invocation used, and what its end means for how the extension stands.
    #[inline]
    fn note(&mut self, serving: &mut Serving, ending: &Ending) {
        let Some(sandbox) = &serving.sandbox else { return };
        let (spent, is_alive) = (*sandbox.spent(), sandbox.is_alive());
        // What a failed instance holds is given back now, and not when the next call has another one made.
        let failed = if is_alive { None } else { serving.sandbox.take().map(|failed| failed.context().to_vec()) };
        self.judge(serving, &spent, ending, failed.as_deref());
    }

    /// Judges what an invocation used and how it ended. An instance that has failed left only the encoded context of its last invocation.
    fn judge(&mut self, serving: &mut Serving, spent: &Spent, ending: &Ending, failed: Option<&[u8]>) {
        let context = |serving: &Serving| {
            let alive = || serving.sandbox.as_ref().map(Sandbox::context);
            failed.or_else(alive).unwrap_or_default().to_vec()
        };
        if self.inbox.standing.is_much_memory(spent.memory_bytes) != serving.has_much_memory {
            self.tell_memory(serving, spent.memory_bytes, &context(serving));
        }
        let standing = &mut self.inbox.standing;
        let transition = match ending {
            Ending::Answered => standing.ended(spent, End::Answered),
            Ending::Failed(failure) if failure.kind.blame() == Blame::Guest => {
                standing.ended(spent, End::Failed(&failure.to_string()))
            }
            Ending::Failed(_) | Ending::Void => standing.ended(spent, End::Void),
        };
        if let Some(transition) = transition {
            let context = context(serving);
            self.tell(serving, transition, None, &context);
        }
        self.hold();
    }

    /// Makes known that its memory has come to be most of what it may have, or is so no longer, in the context of a call.
    #[cold]
    fn tell_memory(&self, serving: &mut Serving, bytes: u64, context: &[u8]) {
        serving.has_much_memory = !serving.has_much_memory;
        let evidence = serving.has_much_memory.then(|| self.inbox.standing.evidence_of_memory(bytes));
        standing::alarm_of_memory(&self.extension, &self.recorder, evidence.as_ref(), context);
    }

    /// An instance that cannot be made is a failure of the extension only if its own code failed.
    fn note_build_error(&mut self, serving: &mut Serving, error: &BuildError) {
        match error {
            BuildError::Failed(failure) => {
                let spent = Spent { began_at: self.extension.monotonic_nanos(), ..Spent::default() };
                self.judge(serving, &spent, &Ending::Failed(Arc::new((**failure).clone())), None);
            }
            BuildError::Cancelled => {}
            BuildError::Grant(_) | BuildError::Engine(_) => {
                self.log(Level::Error, &format!("cannot be started anew: {error}"), &[]);
            }
        }
    }

    /// Makes a step known: as a record and an alert in the context of the call that led to it, if one did, as the status that others see, and
    /// to callers.
    fn tell(&mut self, serving: &mut Serving, transition: Transition, by: Option<&str>, context: &[u8]) {
        let step = Step { transition: &transition, by, context };
        standing::record(&self.extension, &self.recorder, &step);
        standing::alarm(&self.extension, &self.recorder, &step);
        if let State::Quarantined { .. } = transition.to {
            if serving.has_much_memory {
                self.tell_memory(serving, 0, context);
            }
            serving.sandbox = None;
            self.recorder.ledger().set_memory(0);
            self.inbox.standing.instance_gone();
        }
        // First, so that whoever sees that it is throttled is told to wait.
        self.hold();
        let shared = self.extension.shared();
        let status = standing::status(&transition.to);
        *shared.stand.lock().unwrap_or_else(PoisonError::into_inner) = transition.to;
        if status != self.extension.status() {
            self.set_status(status);
        }
    }

    /// Lets callers know for how long calls are held back.
    fn hold(&self) {
        let (next, shown) = (self.inbox.standing.next_call_at(), &self.extension.shared().next_call_at);
        if shown.load(Ordering::Relaxed) != next {
            shown.store(next, Ordering::Relaxed);
        }
    }

    /// Answers without having called the extension. An event that nobody waits for is counted.
    fn answer_error(&self, message: Message, error: CallError) {
        // A caller that went away has no use for it.
        match message.open().0 {
            Work::Event { reply: Some(reply), .. } => drop(reply.send(Err(error))),
            Work::Event { reply: None, .. } => self.recorder.dropped(Drop::Undelivered),
            Work::Embedder { done, .. } => drop(done.send(Err(error))),
        }
    }

    fn set_status(&self, status: Status) {
        tracing::debug!(extension = %self.extension.id(), status = status.word(), "status");
        self.extension.shared().status.send_replace(status);
    }

    fn log(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        host_log(&self.recorder, &*self.extension.shared().clock, &[], level, message, fields);
    }
}

/// The next message; `None` once the host stops and the mailbox is empty. May be cancelled.
async fn next(mailbox: &mut Receiver, phase: &mut watch::Receiver<Phase>) -> Option<Message> {
    if *phase.borrow() < Phase::Ending {
        tokio::select! {
            biased;
            message = mailbox.recv() => return message,
            _ = phase.wait_for(|phase| *phase >= Phase::Ending) => {}
        }
    }
    mailbox.close();
    mailbox.recv().await
}

/// What a failure to start means, with what to do about it.
fn advised(error: &BuildError) -> String {
    match error {
        BuildError::Failed(failure) => format!("{failure} ({})", failure.kind.advice()),
        other => other.to_string(),
    }
}

/// What a call's end means for the extension's health.
pub(crate) enum Ending {
    /// It answered, if only with an error.
    Answered,
    /// Says nothing of how the extension does.
    Void,
    Failed(Arc<Failure>),
}

/// A sandbox's answer as the caller gets it, and what it means.
#[inline]
pub(crate) fn told(answer: Answer) -> (Result<Reply, CallError>, Ending) {
    if let Answer::Reply(reply) = answer { (Ok(reply), Ending::Answered) } else { told_of_no_reply(answer) }
}

/// The same of what is hardly ever said, out of the way of replies.
#[cold]
fn told_of_no_reply(answer: Answer) -> (Result<Reply, CallError>, Ending) {
    match answer {
        Answer::Reply(reply) => (Ok(reply), Ending::Answered),
        Answer::Done | Answer::Health(_) => (Ok(Reply::default()), Ending::Answered),
        Answer::Error(error) => (Err(CallError::Answered(error)), Ending::Answered),
        Answer::NoHandler => (Err(CallError::NoHandler), Ending::Answered),
        Answer::Cancelled => (Err(CallError::Cancelled), Ending::Void),
        Answer::Failed(failure) => {
            let failure = Arc::new(*failure);
            (Err(CallError::Failed(Arc::clone(&failure))), Ending::Failed(failure))
        }
    }
}
