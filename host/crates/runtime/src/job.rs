//! What an instance is asked to do, and doing it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use glasshouse_model::settings::{Budget, Settings};
use glasshouse_model::{Failure, FailureKind, Outcome};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::exports::glasshouse::extension::{collector, handler, health, lifecycle};
use crate::extension::{Event, HandlerError, Reply};
use crate::failure::or_host_fault;
use crate::health::Check;
use crate::sandbox::Blueprint;
use crate::state::State;

/// The export that events go to.
pub(crate) const HANDLE: &str = "handle";

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

    /// What it calls.
    pub(crate) fn export(&self) -> &str {
        match self {
            Self::Init => "init",
            Self::Collect => "collect",
            Self::CheckHealth => "check-health",
            Self::Shutdown => "shutdown",
            Self::Handle(_) => HANDLE,
            Self::Embedder(export, _) => export,
        }
    }

    /// How long it may take.
    #[cold]
    pub(crate) fn deadline(&self, budget: &Budget) -> Duration {
        if matches!(self, Self::Shutdown) { budget.deadline.min(SHUTDOWN_DEADLINE) } else { budget.deadline }
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
    /// What its invocation's record says of it; a reply is nearly all of them, and has nothing to go through.
    #[inline]
    pub(crate) fn outcome(&self) -> Outcome {
        if matches!(self, Self::Reply(_)) { Outcome::Ok } else { self.outcome_without_reply() }
    }

    #[cold]
    fn outcome_without_reply(&self) -> Outcome {
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

/// An instance and what of it is called.
pub(crate) struct Live {
    instance: Instance,
    handler: Option<handler::Guest>,
    lifecycle: Option<lifecycle::Guest>,
    collector: Option<collector::Guest>,
    health: Option<health::Guest>,
}

/// An answer for what went wrong.
pub(crate) fn failed(failure: Failure) -> Answer {
    Answer::Failed(Box::new(failure))
}

/// Does the job, says what came of it, and gives the instance back if it can be entered again. A call of the handler is all that is done in place: the rest
/// is on the heap, so that a short call has no room to keep for it.
pub(crate) async fn perform(
    blueprint: &Blueprint,
    settings: &Settings,
    store: &mut Store<State>,
    live: Option<Box<Live>>,
    job: &mut Job,
    answer: &mut Answer,
) -> wasmtime::Result<Box<Live>> {
    let live = match live {
        Some(live) => live,
        None => Box::pin(instantiate(blueprint, store)).await?,
    };
    *answer = match job {
        Job::Handle(event) => match &live.handler {
            Some(handler) => match handler.call_handle(&mut *store, event).await? {
                Ok(reply) => Answer::Reply(Reply { content_type: reply.content_type, payload: reply.payload }),
                Err(error) => Answer::Error(error.into()),
            },
            None => Answer::NoHandler,
        },
        _ => Box::pin(perform_other(blueprint, settings, store, &live, job)).await?,
    };
    Ok(live)
}

/// Makes an instance.
async fn instantiate(blueprint: &Blueprint, store: &mut Store<State>) -> wasmtime::Result<Box<Live>> {
    let instance = blueprint.pre.instantiate_async(&mut *store).await.map_err(or_host_fault)?;
    blueprint.held.note_parts(store, &blueprint.pre).await;
    let exports = &blueprint.exports;
    macro_rules! load {
        ($interface:ident) => {
            exports.$interface.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?
        };
    }
    Ok(Box::new(Live {
        handler: load!(handler),
        lifecycle: load!(lifecycle),
        collector: load!(collector),
        health: load!(health),
        instance,
    }))
}

/// Does a job that is no call of the handler.
async fn perform_other(
    blueprint: &Blueprint,
    settings: &Settings,
    store: &mut Store<State>,
    live: &Live,
    job: &mut Job,
) -> wasmtime::Result<Answer> {
    Ok(match job {
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
        Job::Embedder(_, call) => {
            if let Some(call) = call.take() {
                call(&mut *store, &live.instance).await?;
            }
            Answer::Done
        }
        // Not asked here: `perform` does it in place.
        Job::Handle(_) => Answer::NoHandler,
    })
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
