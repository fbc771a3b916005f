//! What a request says, read by what its path takes: what cannot be used is refused with what can.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use glasshouse_client::api::{
    Assignments, Call, MakeToken, MetricNames, Problem, Resolve, ResolveAlert, StartSession, Wanted, code,
};
use serde::de::DeserializeOwned;

use crate::routes::Refusal;

/// Bytes of a request's body: all keys at their longest take a few thousand.
const BODY_BYTES: usize = 64 << 10;
/// Bytes of an event that is passed to an extension, and what is around them: among that, two trace headers of 8 KiB.
const CALL_BYTES: usize = (16 << 20) + (20 << 10);

/// What a body can say.
pub(crate) trait Said: DeserializeOwned {
    /// One that can be used.
    const EXAMPLE: &str;
    /// Bytes of it at most.
    const BYTES: usize = BODY_BYTES;
}

impl Said for Assignments {
    const EXAMPLE: &str = "{\"budget.deadline\": \"2s\"}";
}

impl Said for Resolve {
    const EXAMPLE: &str = "{\"notes\": \"mended\", \"version\": \"1.3.0\"}";
}

impl Said for ResolveAlert {
    const EXAMPLE: &str = "{\"note\": \"the disk was full\"}";
}

impl Said for StartSession {
    const EXAMPLE: &str = "{\"set\": {\"log_level\": \"trace\"}, \"for_ms\": 600000}";
}

impl Said for MakeToken {
    const EXAMPLE: &str = "{\"name\": \"grafana\", \"scope\": \"read\"}";
}

impl Said for MetricNames {
    const EXAMPLE: &str = "{\"metrics\": [\"requests\"]}";
}

impl Said for Wanted {
    const EXAMPLE: &str = "{\"query\": \"level>=warning since 15m\", \"limit\": 100}";
}

impl Said for Call {
    const EXAMPLE: &str = "{\"event\": \"greet\", \"payload\": {\"name\": \"Ada\"}}";
    const BYTES: usize = CALL_BYTES;
}

/// The body, a JSON object.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: Said, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let unusable = |why: &str| {
            let detail = format!("the body is no JSON object of what is asked for: {why}; send {}", T::EXAMPLE);
            Refusal(Problem::new(400, code::INVALID_BODY, "The body cannot be used", detail))
        };
        let bytes = read(T::BYTES, request.into_body()).await?;
        // A list of values without names would be taken for an object too.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(unusable("it is no object"));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| unusable(&error.to_string()))
    }
}

async fn read(most: usize, body: Body) -> Result<Bytes, Refusal> {
    to_bytes(body, most).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        Refusal(if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            let detail = format!("the body has more than {most} bytes; send less");
            Problem::new(413, code::BODY_TOO_LARGE, "The body is too large", detail)
        } else {
            Problem::new(400, code::INVALID_BODY, "The body cannot be used", "the body broke off")
        })
    })
}

/// What a path's query string can say.
pub(crate) trait Named: DeserializeOwned {
    /// The names that there are.
    const NAMES: &str;
}

impl Named for Wanted {
    const NAMES: &str = "query, limit, before and after";
}

/// What stands behind the path.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: Named, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Query::from_request_parts(parts, state).await;
        read.map(|Query(params)| Self(params)).map_err(|rejection| {
            let detail = format!("{}; there are {}", rejection.body_text(), T::NAMES);
            Refusal(Problem::new(400, code::INVALID_QUERY, "The query cannot be used", detail))
        })
    }
}
