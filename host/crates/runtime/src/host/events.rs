//! `events`: work that an extension passes on to others.

use std::time::Duration;

use glasshouse_model::{HostFunction, Level};
use glasshouse_telemetry::Drop;

use crate::bindings::glasshouse::extension::events as wit;
use crate::bindings::glasshouse::extension::types;
use crate::extension::{CallError, Event, HandlerError};
use crate::host::debugging::yield_if;
use crate::state::State;

impl types::Host for State {}

impl wit::Host for State {
    fn publish(
        &mut self,
        topic: String,
        content_type: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<String, wit::PublishError>> {
        let entered = self.imports.enter(HostFunction::Publish)?;
        let published = self.publish_event(topic, content_type, payload);
        self.imports.leave(entered);
        published
    }

    async fn call(
        &mut self,
        extension: String,
        event: wit::Event,
    ) -> wasmtime::Result<Result<wit::Reply, wit::CallError>> {
        // Letting the neighbours run is no waiting for the one that is called.
        self.intake.note_work(extension.len() + event.name.len() + event.content_type.len() + event.payload.len());
        yield_if(self.intake.is_yield_due()).await?;
        let entered = self.imports.enter(HostFunction::Call)?;
        let answer = self.call_neighbour(&extension, event).await;
        self.imports.leave(entered);
        Ok(answer)
    }
}

impl State {
    fn publish_event(
        &mut self,
        topic: String,
        content_type: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<String, wit::PublishError>> {
        self.charge(topic.len() + content_type.len() + payload.len())?;
        if !legal_topic(&topic) {
            return Ok(Err(wit::PublishError::InvalidTopic));
        }
        if !self.neighbours.may_publish(&topic) {
            self.denied("publish", "publish", &topic);
            return Ok(Err(wit::PublishError::Denied));
        }
        self.share_fate();
        let trigger = self.passing().published();
        if trigger.is_too_deep() {
            self.intake.recorder().dropped(Drop::Undelivered);
            let message = "an event was not published: events have answered events too often";
            self.intake.host_log(Level::Warning, message, &[]);
        } else {
            let event = Event { name: topic, content_type, payload };
            let full = self.neighbours.publish(&event, &trigger);
            if !full.is_empty() {
                return Ok(Err(wit::PublishError::Full(full.into_iter().map(|id| id.to_string()).collect())));
            }
        }
        Ok(Ok(ulid::Ulid::generate().to_string()))
    }

    async fn call_neighbour(&mut self, extension: &str, event: wit::Event) -> Result<wit::Reply, wit::CallError> {
        if !self.neighbours.may_call(extension) {
            self.denied("call", "call", extension);
            return Err(wit::CallError::Denied);
        }
        let Some(target) = self.neighbours.find(extension) else {
            return Err(wit::CallError::UnknownExtension);
        };
        self.share_fate();
        let trigger = self.passing().called_by(&self.id);
        if trigger.would_cycle(target.id()) {
            return Err(wit::CallError::Cycle);
        }
        let event = Event { name: event.name, content_type: event.content_type, payload: event.payload };
        let Ok(answer) = tokio::time::timeout(self.patience(), target.try_call(event, trigger)).await else {
            let message = "it gave no reply within nine tenths of what is left of the caller's own deadline";
            return Err(wit::CallError::Failed(message.into()));
        };
        match answer {
            Ok(reply) => Ok(wit::Reply { content_type: reply.content_type, payload: reply.payload }),
            Err(CallError::Busy { retry_after }) => {
                Err(wit::CallError::Busy(u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX).max(1)))
            }
            Err(CallError::Answered(error)) => Err(wit::CallError::Answered(error.into())),
            Err(CallError::Failed(failure)) => Err(wit::CallError::Failed(failure.to_string())),
            Err(other) => Err(wit::CallError::Unavailable(other.to_string())),
        }
    }

    /// How long a call of another extension is waited for, so that the caller has time left to cope.
    fn patience(&self) -> Duration {
        let left = self.deadline_at.saturating_sub(self.intake.clock().monotonic_nanos());
        Duration::from_nanos(left / 10 * 9)
    }
}

/// Whether text is a topic: 1 to 128 characters of `[a-z0-9._-]`.
fn legal_topic(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(legal)
}

impl From<HandlerError> for wit::HandlerError {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::UnknownEvent(name) => Self::UnknownEvent(name),
            HandlerError::InvalidPayload(reason) => Self::InvalidPayload(reason),
            HandlerError::Failed { kind, message } => Self::Failed((kind, message)),
        }
    }
}
