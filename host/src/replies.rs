//! Replies as they are told to people and programs: payloads as JSON where they are that, else as text, else in base64.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use glasshouse_runtime::{CallError, HandlerError, Reply};
use glasshouse_server::api::{self, Called, Payload};
use serde_json::value::RawValue;

/// The media type that nobody needs to name.
pub const JSON: &str = "application/json";

/// A reply's payload as the API and the command tell it.
pub fn payload_answer(reply: Reply) -> Payload {
    let content_type = (reply.content_type != JSON).then_some(reply.content_type);
    let is_json = content_type.as_ref().is_none_or(|kind| kind.starts_with(JSON) || kind.contains("+json"));
    let text = match String::from_utf8(reply.payload) {
        Ok(text) => text,
        Err(error) => {
            let payload_base64 = Some(BASE64_STANDARD.encode(error.as_bytes()));
            return Payload { payload_base64, content_type, payload: None };
        }
    };
    let as_text = |text: &str| serde_json::value::to_raw_value(text).ok();
    let payload = if is_json { one_line(text).or_else(|text| as_text(&text).ok_or(())).ok() } else { as_text(&text) };
    Payload { payload, payload_base64: None, content_type }
}

/// JSON in one line, with its numbers as they were written; the text if it is no JSON.
fn one_line(text: String) -> Result<Box<RawValue>, String> {
    if !text.contains(['\n', '\r']) {
        return RawValue::from_string(text.clone()).map_err(|_| text);
    }
    // Line ends cannot stand inside of JSON's strings, so all of them are between its parts.
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => RawValue::from_string(text.replace(['\n', '\r'], " ")).map_err(|_| text),
        Err(_) => Err(text),
    }
}

/// Why a call gave no reply, as the API and the command tell it.
pub fn call_error_answer(error: &CallError) -> api::CallError {
    let (kind, message) = match error {
        CallError::Answered(HandlerError::UnknownEvent(message)) => ("unknown-event", message.clone()),
        CallError::Answered(HandlerError::InvalidPayload(message)) => ("invalid-payload", message.clone()),
        CallError::Answered(HandlerError::Failed { kind, message }) => (kind.as_str(), message.clone()),
        CallError::Failed(failure) => (failure.kind.as_str(), failure.message.clone()),
        CallError::Busy { .. } => ("busy", error.to_string()),
        CallError::Quarantined { .. } => ("quarantined", error.to_string()),
        CallError::Unavailable(cause) => ("unavailable", cause.clone()),
        CallError::NoHandler => ("no-handler", error.to_string()),
        CallError::InvalidEvent(message) => ("invalid-event", message.clone()),
        CallError::Cancelled => ("cancelled", error.to_string()),
    };
    api::CallError { kind: kind.to_owned(), message }
}

/// What came of a call, as the API tells it.
pub(crate) fn called_answer(outcome: Result<Reply, CallError>) -> Called {
    match outcome {
        Ok(reply) => {
            let Payload { payload, payload_base64, content_type } = payload_answer(reply);
            Called { ok: true, payload, payload_base64, content_type, error: None }
        }
        Err(error) => Called { error: Some(call_error_answer(&error)), ..Called::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, payload: &[u8], expect: &str) {
        let reply = Reply { content_type: content_type.into(), payload: payload.into() };
        assert_eq!(serde_json::to_string(&payload_answer(reply)).expect("JSON"), expect, "{content_type} {payload:?}");
    }

    #[test]
    fn a_payload_is_shown_in_one_line_as_what_it_is() {
        check(JSON, b"{\"a\": 12345678901234567890123}", r#"{"payload":{"a": 12345678901234567890123}}"#);
        check(JSON, b"{\r\n\"a\":\n1}\n", r#"{"payload":{  "a": 1}}"#);
        check(JSON, b"not json", r#"{"payload":"not json"}"#);
        check("text/plain", b"a\nb", r#"{"payload":"a\nb","content_type":"text/plain"}"#);
        check("application/problem+json", b"[]", r#"{"payload":[],"content_type":"application/problem+json"}"#);
        check(
            "application/octet-stream",
            b"\xff\x00",
            r#"{"payload_base64":"/wA=","content_type":"application/octet-stream"}"#,
        );
    }
}
