//! The task that owns an extension's instance: loads it, serves its mailbox, rebuilds it after a failure, and keeps one
//! that goes on failing in quarantine.

use std::sync::{Arc, PoisonError};

use glasshouse_model::settings::Debugging;
use glasshouse_model::text;
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Blame, Failure, Level};
use glasshouse_telemetry::{Drop, Recorder};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::extension::{CallError, ComponentInfo, Extension, Reply, Status, Trigger};
use crate::health::CHECKS;
use crate::intake::host_log;
use crate::mailbox::{Message, Work};
use crate::meter::Phase;
use crate::sandbox::{Answer, Blueprint, BuildError, Job, Sandbox};

/// A quarantine that a probe did not end lasts twice as long as the one before, up to so many times the first.
const LONGEST_QUARANTINE: u32 = 16;

/// Owns one extension's instance.
pub(crate) struct Supervisor {
    pub(crate) extension: Extension,
    pub(crate) recorder: Recorder,
    pub(crate) mailbox: mpsc::Receiver<Message>,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// An extension that was loaded.
struct Serving {
    blueprint: Arc<Blueprint>,
    sandbox: Option<Sandbox>,
    failures_in_a_row: u32,
    quarantines_in_a_row: u32,
}

/// What an extension is asked for from time to time.
#[derive(Clone, Copy)]
enum Round {
    Collect,
    Health,
}

/// When it is asked next; `None` for what it does not export.
#[derive(Default)]
struct Rounds {
    collect: Option<Interval>,
    health: Option<Interval>,
}

impl Rounds {
    /// Begins those anew that have another interval than before.
    fn settle(&mut self, blueprint: &Blueprint, debugging: &Debugging) {
        let exports = &blueprint.exports;
        for (interval, period, exported) in [
            (&mut self.collect, debugging.metrics_interval, exports.collector.is_some()),
            (&mut self.health, debugging.health_check_interval, exports.health.is_some()),
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
    pub(crate) async fn run(mut self, load: impl Future<Output = Result<(Arc<Blueprint>, ComponentInfo), String>>) {
        let mut phase = self.phase.clone();
        let loaded = tokio::select! {
            loaded = load => Some(loaded),
            _ = phase.wait_for(|phase| *phase != Phase::Running) => None,
        };
        match loaded {
            Some(Ok((blueprint, component))) => self.serve(blueprint, component).await,
            Some(Err(cause)) => self.refuse(cause).await,
            None => self.turn_away().await,
        }
        self.extension.shared().status.send_replace(Status::Stopped);
    }

    async fn serve(&mut self, blueprint: Arc<Blueprint>, component: ComponentInfo) {
        // Set once, here.
        let _ = self.extension.shared().component.set(component);
        let sandbox = match blueprint.build(self.phase.clone()).await {
            Ok(sandbox) => sandbox,
            Err(BuildError::Cancelled) => return self.turn_away().await,
            Err(error) => return self.refuse(advised(&error)).await,
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
        let mut serving = Serving { blueprint, sandbox: Some(sandbox), failures_in_a_row: 0, quarantines_in_a_row: 0 };
        let extension = self.extension.clone();
        loop {
            let message = tokio::select! {
                message = self.next() => message,
                round = rounds.next() => {
                    self.make_round(&mut serving, round).await;
                    continue;
                }
                () = extension.shared().present.changed() => {
                    rounds.settle(&serving.blueprint, &extension.settings().debugging);
                    continue;
                }
            };
            let Some(message) = message else { break };
            self.deliver(&mut serving, message).await;
        }
        if let Some(mut sandbox) = serving.sandbox.take()
            && sandbox.is_alive()
        {
            sandbox.invoke(Job::Shutdown, Trigger::default(), 0).await;
        }
        self.recorder.ledger().set_memory(0);
    }

    /// The next message; `None` once the host stops and the mailbox is empty.
    async fn next(&mut self) -> Option<Message> {
        if *self.phase.borrow() < Phase::Ending {
            tokio::select! {
                biased;
                message = self.mailbox.recv() => return message,
                _ = self.phase.wait_for(|phase| *phase >= Phase::Ending) => {}
            }
        }
        self.mailbox.close();
        self.mailbox.recv().await
    }

    /// Asks an extension that takes calls for its metrics or its health.
    async fn make_round(&mut self, serving: &mut Serving, round: Round) {
        if self.extension.status() != Status::Ready {
            return;
        }
        if let Err(error) = self.revive(serving).await {
            return self.note_build_error(serving, &error);
        }
        let Some(sandbox) = serving.sandbox.as_mut() else { return };
        let job = match round {
            Round::Collect => Job::Collect,
            Round::Health => Job::CheckHealth,
        };
        match sandbox.invoke(job, Trigger::default(), 0).await {
            Answer::Health(mut checks) => {
                checks.truncate(CHECKS);
                *self.extension.shared().health.lock().unwrap_or_else(PoisonError::into_inner) = checks;
            }
            Answer::Failed(failure) => self.note_failure(serving, &failure),
            _ => {}
        }
    }

    /// Answers that the extension cannot be used, until the host stops.
    async fn refuse(&mut self, cause: String) {
        let cause = self.recorder.redactor().redact_text(&cause).into_owned();
        self.log(Level::Error, &format!("failed to start: {cause}"), &[]);
        self.set_status(Status::Failed { cause: cause.clone() });
        while let Some(message) = self.next().await {
            self.answer_error(message, CallError::Unavailable(cause.clone()));
        }
    }

    /// Answers what is in the mailbox of an extension whose host stopped before it could start.
    async fn turn_away(&mut self) {
        while let Some(message) = self.next().await {
            self.answer_error(message, CallError::Cancelled);
        }
    }

    async fn deliver(&mut self, serving: &mut Serving, message: Message) {
        if *self.phase.borrow() == Phase::Cancelling {
            return self.answer_error(message, CallError::Cancelled);
        }
        if let Some(left) = self.extension.quarantine_left() {
            if !left.is_zero() {
                let evidence = self.extension.status().reason().unwrap_or_default().to_owned();
                let message_text = format!("quarantined for another {}: {evidence}", text::duration(left));
                return self.answer_error(message, CallError::Unavailable(message_text));
            }
            self.log(Level::Info, "quarantine is over: this call probes whether it works again", &[]);
            self.set_status(Status::Probing);
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
        let (work, queued_at, _under_way) = message.open();
        let queued_nanos = self.extension.shared().clock.monotonic_nanos().saturating_sub(queued_at);
        let answer = match work {
            // Its caller has given up waiting.
            Work::Event { reply: Some(reply), .. } if reply.is_closed() => return,
            Work::Event { event, trigger, reply } => {
                let answer = sandbox.invoke(Job::Handle(event), trigger, queued_nanos).await;
                let (reply_to_send, ended) = told(answer);
                if let Some(reply) = reply {
                    // A caller that went away has no use for it.
                    let _ = reply.send(reply_to_send);
                }
                ended
            }
            Work::Embedder { name, call, done } => {
                let answer = sandbox.invoke(Job::Embedder(name, call), Trigger::default(), queued_nanos).await;
                let (reply_to_send, ended) = told(answer);
                let _ = done.send(reply_to_send.map(drop));
                ended
            }
        };
        match answer {
            Ending::Failed(failure) => {
                self.note_failure(serving, &failure);
                if matches!(self.extension.status(), Status::Ready)
                    && let Err(error) = self.revive(serving).await
                {
                    self.note_build_error(serving, &error);
                }
            }
            Ending::Answered => self.note_success(serving),
            Ending::Cancelled => {}
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
        Ok(())
    }

    fn note_success(&self, serving: &mut Serving) {
        serving.failures_in_a_row = 0;
        serving.quarantines_in_a_row = 0;
        if self.extension.status() == Status::Probing {
            self.log(Level::Info, "the probe succeeded: calls are taken again", &[]);
            self.set_status(Status::Ready);
        }
    }

    /// An instance that cannot be made is a failure of the extension only if its own code failed.
    fn note_build_error(&self, serving: &mut Serving, error: &BuildError) {
        match error {
            BuildError::Failed(failure) => self.note_failure(serving, failure),
            BuildError::Cancelled => {}
            BuildError::Grant(_) | BuildError::Engine(_) => {
                self.log(Level::Error, &format!("cannot be started anew: {error}"), &[]);
            }
        }
    }

    fn note_failure(&self, serving: &mut Serving, failure: &Failure) {
        if failure.kind.blame() == Blame::Host {
            return;
        }
        let settings = self.extension.settings();
        let budget = &settings.budget;
        let failures = serving.failures_in_a_row + 1;
        let probing = self.extension.status() == Status::Probing;
        if failures < budget.failures_in_a_row && !probing {
            serving.failures_in_a_row = failures;
            return;
        }
        let times = 1_u32.checked_shl(serving.quarantines_in_a_row).unwrap_or(u32::MAX).min(LONGEST_QUARANTINE);
        let length = budget.quarantine.saturating_mul(times);
        serving.quarantines_in_a_row += 1;
        serving.failures_in_a_row = 0;
        serving.sandbox = None;
        self.recorder.ledger().set_memory(0);
        let until = self.extension.shared().clock.monotonic_nanos().saturating_add(length.as_nanos() as u64);
        let evidence = if probing {
            format!("the probe failed: {failure}")
        } else {
            format!("{failures} failures in a row, the last one: {failure}")
        };
        let fields = [
            Field { name: "failures_in_a_row", value: Value::Integer(i64::from(failures)) },
            Field { name: "quarantine_ns", value: Value::Integer(length.as_nanos() as i64) },
        ];
        self.log(Level::Error, &format!("quarantined for {}: {evidence}", text::duration(length)), &fields);
        self.set_status(Status::Quarantined { until, evidence });
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
    /// The host gave the call up.
    Cancelled,
    Failed(Arc<Failure>),
}

/// A sandbox's answer as the caller gets it, and what it means.
pub(crate) fn told(answer: Answer) -> (Result<Reply, CallError>, Ending) {
    match answer {
        Answer::Reply(reply) => (Ok(reply), Ending::Answered),
        Answer::Done | Answer::Health(_) => (Ok(Reply::default()), Ending::Answered),
        Answer::Error(error) => (Err(CallError::Answered(error)), Ending::Answered),
        Answer::NoHandler => (Err(CallError::NoHandler), Ending::Answered),
        Answer::Cancelled => (Err(CallError::Cancelled), Ending::Cancelled),
        Answer::Failed(failure) => {
            let failure = Arc::new(*failure);
            (Err(CallError::Failed(Arc::clone(&failure))), Ending::Failed(failure))
        }
    }
}
