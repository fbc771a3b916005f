//! What handlers take and give: payloads, errors, and how serde types become them.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::kind_of;

/// The media type of JSON.
const JSON: &str = "application/json";

/// Bytes and their media type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The media type.
    pub content_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// Bytes of a media type.
    pub fn new(content_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { content_type: content_type.into(), bytes: bytes.into() }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", text.into())
    }

    /// A value as JSON. An error says why the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|error| {
            Error::failed("invalid-reply", format!("a {} cannot be written as JSON: {error}", kind_of::<T>()))
        })?;
        Ok(Self::new(JSON, bytes))
    }

    /// The bytes as text, or `invalid-payload`.
    pub fn as_str(&self) -> Result<&str, Error> {
        str::from_utf8(&self.bytes)
            .map_err(|error| Error::invalid_payload(format!("the payload is not UTF-8: {error}")))
    }

    /// The value that the bytes are the JSON of, or `invalid-payload`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes).map_err(|error| Error::invalid_payload(self.describe(&error)))
    }

    /// Whether the media type is JSON; an empty one counts as JSON.
    pub fn is_json(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default().trim();
        essence.is_empty() || essence.eq_ignore_ascii_case(JSON) || essence.ends_with("+json")
    }

    fn describe(&self, error: &serde_json::Error) -> String {
        if self.is_json() { error.to_string() } else { format!("{error} (it came as {})", self.content_type) }
    }
}

/// Why there is no reply. It is the extension's answer, not a failure of the extension.
///
/// `?` makes one of every [`std::error::Error`]: kind is the type's name, the message ends with the causes. It is
/// therefore no `std::error::Error` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The extension does not know this event name.
    UnknownEvent(String),
    /// The payload is not what this event takes; the text says what is wrong.
    InvalidPayload(String),
    /// The work failed.
    Failed {
        /// What callers tell failures apart by.
        kind: String,
        /// What happened, for a person.
        message: String,
    },
}

impl Error {
    /// The event name is unknown.
    pub fn unknown_event(message: impl Into<String>) -> Self {
        Self::UnknownEvent(message.into())
    }

    /// The payload is not what this event takes.
    pub fn invalid_payload(message: impl Into<String>) -> Self {
        Self::InvalidPayload(message.into())
    }

    /// The work failed.
    pub fn failed(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed { kind: kind.into(), message: message.into() }
    }

    /// No handler has the name; those that there are get named.
    #[doc(hidden)]
    pub fn no_such_event(name: &str, known: &[&str]) -> Self {
        Self::UnknownEvent(if known.is_empty() {
            format!("no event \"{name}\": this extension handles none")
        } else {
            format!("no event \"{name}\": this extension handles {}", known.join(", "))
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEvent(message) => f.write_str(message),
            Self::InvalidPayload(message) => write!(f, "invalid payload: {message}"),
            Self::Failed { kind, message } => write!(f, "{kind}: {message}"),
        }
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::failed(kind_of::<E>(), message)
    }
}

/// What a handler can take: every type that serde reads from JSON, and [`Payload`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    note = "derive `serde::Deserialize` for it, or take `glasshouse_sdk::Payload`"
)]
pub trait FromPayload: Sized {
    /// Reads it; the error says what is wrong with the payload.
    fn from_payload(payload: Payload) -> Result<Self, String>;
}

impl<T: DeserializeOwned> FromPayload for T {
    fn from_payload(payload: Payload) -> Result<Self, String> {
        serde_json::from_slice(&payload.bytes).map_err(|error| payload.describe(&error))
    }
}

impl FromPayload for Payload {
    fn from_payload(payload: Payload) -> Result<Self, String> {
        Ok(payload)
    }
}

/// What a handler can give: every type that serde writes as JSON, and [`Payload`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a payload",
    note = "derive `serde::Serialize` for it, or use `glasshouse_sdk::Payload`"
)]
pub trait IntoPayload {
    /// Writes it; the error says why it has no JSON form.
    fn into_payload(self) -> Result<Payload, Error>;
}

impl<T: Serialize> IntoPayload for T {
    fn into_payload(self) -> Result<Payload, Error> {
        Payload::json(&self)
    }
}

impl IntoPayload for Payload {
    fn into_payload(self) -> Result<Payload, Error> {
        Ok(self)
    }
}

/// Reads a handler's argument.
#[doc(hidden)]
pub fn argument<T: FromPayload>(payload: Payload) -> Result<T, Error> {
    T::from_payload(payload).map_err(Error::InvalidPayload)
}

/// Makes the reply of what a handler returned.
#[doc(hidden)]
pub fn reply<T: IntoPayload>(value: T) -> Result<Payload, Error> {
    value.into_payload()
}

/// Makes the reply of the result that a handler returned.
#[doc(hidden)]
pub fn outcome<T: IntoPayload, E: Into<Error>>(result: Result<T, E>) -> Result<Payload, Error> {
    result.map_err(Into::into)?.into_payload()
}
