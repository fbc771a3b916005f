//! Work passed on to other extensions. Both ways need a grant of the operator.

use std::fmt;

use crate::{Error, FromPayload, IntoPayload, backend, batch};

/// Queues an event for every extension that subscribes to `topic`, and gives its id at once. The payload is a serde
/// type, sent as JSON, or a [`Payload`](crate::Payload).
pub fn publish(topic: &str, payload: impl IntoPayload) -> Result<String, PublishError> {
    let payload = payload.into_payload().map_err(|error| PublishError::Payload(error.to_string()))?;
    batch::flush();
    backend::publish(topic, &payload)
}

/// Calls the handler of another extension and waits for its reply. Payload and reply are serde types, sent as JSON, or
/// a [`Payload`](crate::Payload).
///
/// ```no_run
/// # fn example() -> Result<(), glasshouse_sdk::events::CallError> {
/// let reply: String = glasshouse_sdk::events::call("hello", "greet", "Ada")?;
/// # Ok(())
/// # }
/// ```
pub fn call<R: FromPayload>(extension: &str, event: &str, payload: impl IntoPayload) -> Result<R, CallError> {
    let payload = payload.into_payload().map_err(|error| CallError::Payload(error.to_string()))?;
    batch::flush();
    R::from_payload(backend::call(extension, event, &payload)?).map_err(CallError::InvalidReply)
}

/// Why an event was not queued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The operator did not grant this topic.
    Denied,
    /// The topic is not 1 to 128 characters of `[a-z0-9._-]`.
    InvalidTopic,
    /// The mailboxes of these subscribers are full; they got nothing. The others did.
    Full(Vec<String>),
    /// The payload could not be written as JSON.
    Payload(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("the topic is not granted: ask the operator for `publish`"),
            Self::InvalidTopic => f.write_str("the topic is not 1 to 128 characters of [a-z0-9._-]"),
            Self::Full(subscribers) => write!(f, "the mailbox is full of {}", subscribers.join(", ")),
            Self::Payload(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for PublishError {}

/// Why a call of another extension gave no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The operator did not grant calls of this extension.
    Denied,
    /// No extension has this id.
    UnknownExtension,
    /// Its mailbox is full; try again after so many milliseconds.
    Busy(u32),
    /// It is failed, quarantined or stopped; the text says which and why.
    Unavailable(String),
    /// The call would nest too deeply, or come back to an extension that waits in the same chain.
    Cycle,
    /// It answered with an error.
    Answered(Error),
    /// Its call ended in a trap or a breach; the text says which.
    Failed(String),
    /// The payload could not be written as JSON.
    Payload(String),
    /// Its reply is not what was expected; the text says what is wrong.
    InvalidReply(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("calls of the extension are not granted: ask the operator for `call`"),
            Self::UnknownExtension => f.write_str("no extension has this id"),
            Self::Busy(retry) => write!(f, "the extension is busy; try again in {retry} ms"),
            Self::Unavailable(reason) => write!(f, "the extension is unavailable: {reason}"),
            Self::Cycle => f.write_str("the call nests too deeply or comes back to a waiting extension"),
            Self::Answered(error) => write!(f, "the extension answered: {error}"),
            Self::Failed(reason) => write!(f, "the call failed: {reason}"),
            Self::Payload(reason) => f.write_str(reason),
            Self::InvalidReply(reason) => write!(f, "the reply is not what was expected: {reason}"),
        }
    }
}

impl std::error::Error for CallError {}
