//! What is refused on Jaeger's paths is told as Jaeger tells it: its clients read nothing else.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use glasshouse_client::api::Problem;
use serde_json::json;

/// The paths of the second generation; what is below them is theirs too.
const SECOND: [&str; 4] = ["/api/services", "/api/operations", "/api/traces", "/api/dependencies"];
/// The paths of the third.
const THIRD: &str = "/api/v3";
/// Bytes of a refusal: a problem has a few hundred.
const REFUSAL_BYTES: usize = 64 << 10;

#[derive(Clone, Copy)]
enum Generation {
    Second,
    Third,
}

/// Which generation's path it is.
fn generation(path: &str) -> Option<Generation> {
    let is_below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_below(THIRD) {
        return Some(Generation::Third);
    }
    SECOND.into_iter().any(is_below).then_some(Generation::Second)
}

/// Gives refusals on Jaeger's paths the shape of Jaeger's, whoever has refused.
pub(crate) async fn in_its_shape(request: Request, next: Next) -> Response {
    let generation = generation(request.uri().path());
    let response = next.run(request).await;
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == Problem::MEDIA_TYPE);
    match generation {
        Some(generation) if is_problem => told(generation, response).await,
        _ => response,
    }
}

async fn told(generation: Generation, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = to_bytes(body, REFUSAL_BYTES).await.ok();
    let problem = problem.and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    let Some(Problem { status, detail, .. }) = problem else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let text = match generation {
        Generation::Second => {
            let errors = [json!({"code": status, "msg": detail})];
            json!({"data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors})
        }
        Generation::Third => json!({"error": {"httpCode": status, "message": detail}}),
    };
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jaegers_paths_are_of_its_generations() {
        for path in ["/api/services", "/api/services/a/operations", "/api/traces/0", "/api/dependencies"] {
            assert!(matches!(generation(path), Some(Generation::Second)), "{path}");
        }
        for path in ["/api/v3/services", "/api/v3", "/api/v3/nothing"] {
            assert!(matches!(generation(path), Some(Generation::Third)), "{path}");
        }
        for path in
            ["/", "/api/", "/api/openapi.json", "/api/tracesome", "/api/extensions/debugging/traces/a", "/metrics"]
        {
            assert!(generation(path).is_none(), "{path}");
        }
    }
}
