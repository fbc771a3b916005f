//! The paths, and what each of them asks of the host.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Extension, Router};
use bytes::Bytes;
use glasshouse_client::api::{Assignments, MakeToken, Problem, ROOT, Resolve, ResolveAlert, Scope, StartSession, code};
use serde::de::DeserializeOwned;

use crate::access::guard::{Needs, Peer, order};
use crate::{Keys, Served, Tokens, readings};

/// Bytes of a request's body: all keys at their longest take a few thousand.
const BODY_BYTES: usize = 64 << 10;
/// How long a request may take, its body included. What waits for an extension waits for its call, which may be longer.
const REQUEST_TIME: Duration = Duration::from_secs(10);

pub(crate) type Host = State<Arc<dyn Served>>;

/// The id in the path, whatever it is.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Path::from_request_parts(parts, state).await.map(|Path(id)| Self(id)).map_err(|_| Refusal::of_path())
    }
}

/// The ids of an extension and of something of it in the path, whatever they are.
pub(crate) struct Member(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Path::from_request_parts(parts, state).await.map(|Path((id, of))| Self(id, of)).map_err(|_| Refusal::of_path())
    }
}

/// A request that is not passed on.
pub(crate) struct Refusal(pub(crate) Problem);

impl Refusal {
    fn of_path() -> Self {
        let detail = format!("the id in the path is not UTF-8; GET {ROOT}/managers lists the ids that there are");
        Self(Problem::new(400, code::INVALID_PATH, "The path cannot be used", detail))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refused(self.0)
    }
}

/// All paths.
pub(crate) fn router(control: Arc<dyn Served>) -> Router {
    let reads = Router::new()
        .route("/managers", get(managers))
        .route("/managers/{id}/status", get(manager))
        .route("/managers/{id}/settings", get(settings))
        .route("/budgets", get(all_budgets))
        .route("/budgets/{id}", get(budgets))
        .route("/errors/{id}/groups", get(error_groups))
        .route("/sessions", get(all_sessions))
        .route("/sessions/{id}", get(sessions))
        .route("/alerts/{id}", get(alerts))
        .merge(readings::router());
    let orders = Router::new()
        .route("/managers/{id}/start", post(start))
        .route("/managers/{id}/stop", post(stop))
        .route("/managers/{id}/settings", patch(set))
        .route("/budgets/{id}", patch(set_budgets))
        .route("/budgets/{id}/release", post(release))
        .route("/errors/{id}/{group}/resolve", post(resolve))
        .route("/sessions/{id}/start", post(start_session))
        .route("/sessions/{id}/{session}/stop", post(stop_session))
        .route("/alerts/{id}/{alert}/resolve", post(resolve_alert))
        .merge(readings::orders());
    let administration =
        Router::new().route("/tokens", get(tokens).post(make_token)).route("/tokens/{id}", delete(revoke_token));
    let needs = |scope| Needs { control: Arc::clone(&control), scope };
    let paths = reads
        .merge(orders.route_layer(middleware::from_fn_with_state(needs(Scope::Operate), order)))
        .merge(administration.route_layer(middleware::from_fn_with_state(needs(Scope::Admin), order)));
    Router::new()
        .nest(ROOT, paths)
        .route("/livez", get(async || "the host runs\n"))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(readings::tag))
        .layer(middleware::from_fn(in_time))
        .with_state(control)
}

async fn ready(State(control): Host) -> Response {
    if control.is_ready() {
        return "the host is ready\n".into_response();
    }
    let detail = "extensions are loading; GET /api/extensions/debugging/health tells which";
    refused(Problem::new(503, code::UNAVAILABLE, "Not ready yet", detail))
}

async fn tokens(State(control): Host) -> Response {
    answer(control.tokens().and_then(Tokens::list))
}

async fn make_token(State(control): Host, Extension(peer): Extension<Peer>, body: Body) -> Response {
    match parse::<MakeToken>(body, "{\"name\": \"grafana\", \"scope\": \"read\"}").await {
        Ok(wanted) => answer(control.tokens().and_then(|tokens| tokens.make(&wanted, &peer.name))),
        Err(problem) => refused(problem),
    }
}

async fn revoke_token(State(control): Host, Id(id): Id) -> Response {
    answer(control.tokens().and_then(|tokens| tokens.revoke(&id)))
}

async fn managers(State(control): Host) -> Response {
    json(&control.managers())
}

async fn manager(State(control): Host, Id(id): Id) -> Response {
    answer(control.manager(&id))
}

async fn start(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>) -> Response {
    answer(control.switch(&id, true, &peer.name))
}

async fn stop(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>) -> Response {
    answer(control.switch(&id, false, &peer.name))
}

async fn settings(State(control): Host, Id(id): Id) -> Response {
    answer(control.settings(&id))
}

async fn set(control: Host, id: Id, peer: Extension<Peer>, body: Body) -> Response {
    assign(control, id, peer, Keys::Debugging, body).await
}

async fn all_budgets(State(control): Host) -> Response {
    json(&control.all_budgets())
}

async fn budgets(State(control): Host, Id(id): Id) -> Response {
    answer(control.budgets(&id))
}

async fn set_budgets(control: Host, id: Id, peer: Extension<Peer>, body: Body) -> Response {
    assign(control, id, peer, Keys::Budget, body).await
}

async fn release(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>) -> Response {
    answer(control.release(&id, &peer.name).await)
}

async fn error_groups(State(control): Host, Id(id): Id) -> Response {
    answer(control.error_groups(&id))
}

async fn resolve(
    State(control): Host,
    Member(id, group): Member,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Response {
    let said = match parse::<Resolve>(body, "{\"notes\": \"mended\", \"version\": \"1.3.0\"}").await {
        Ok(said) => said,
        Err(problem) => return refused(problem),
    };
    answer(control.resolve(&id, &group, &said, &peer.name))
}

async fn all_sessions(State(control): Host) -> Response {
    json(&control.all_sessions())
}

async fn sessions(State(control): Host, Id(id): Id) -> Response {
    answer(control.sessions(&id))
}

async fn start_session(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>, body: Body) -> Response {
    let wanted = match parse::<StartSession>(body, "{\"set\": {\"log_level\": \"trace\"}, \"for_ms\": 600000}").await {
        Ok(wanted) => wanted,
        Err(problem) => return refused(problem),
    };
    answer(control.start_session(&id, &wanted, &peer.name))
}

async fn stop_session(State(control): Host, Member(id, session): Member, Extension(peer): Extension<Peer>) -> Response {
    answer(control.stop_session(&id, &session, &peer.name))
}

async fn alerts(State(control): Host, Id(id): Id) -> Response {
    answer(control.alerts(&id))
}

async fn resolve_alert(
    State(control): Host,
    Member(id, alert): Member,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Response {
    let said = match parse::<ResolveAlert>(body, "{\"note\": \"the disk was full\"}").await {
        Ok(said) => said,
        Err(problem) => return refused(problem),
    };
    answer(control.resolve_alert(&id, &alert, &said, &peer.name))
}

async fn assign(
    State(control): Host,
    Id(id): Id,
    Extension(peer): Extension<Peer>,
    keys: Keys,
    body: Body,
) -> Response {
    let values = match parse::<Assignments>(body, "{\"budget.deadline\": \"2s\"}").await {
        Ok(values) => values,
        Err(problem) => return refused(problem),
    };
    answer(control.set(&id, keys, &values, &peer.name))
}

/// A body that is a JSON object, such as the example.
pub(crate) async fn parse<T: DeserializeOwned>(body: Body, example: &str) -> Result<T, Problem> {
    parse_within(BODY_BYTES, body, example).await
}

/// The same of at most so many bytes.
pub(crate) async fn parse_within<T: DeserializeOwned>(most: usize, body: Body, example: &str) -> Result<T, Problem> {
    let unusable = |why: &str| {
        let detail = format!("the body is no JSON object of what is asked for: {why}; send {example}");
        Problem::new(400, code::INVALID_BODY, "The body cannot be used", detail)
    };
    let bytes = read(most, body).await?;
    // A list of values without names would be taken for an object too.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(unusable("it is no object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| unusable(&error.to_string()))
}

async fn read(most: usize, body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, most).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            let detail = format!("the body has more than {most} bytes; send less");
            Problem::new(413, code::BODY_TOO_LARGE, "The body is too large", detail)
        } else {
            Problem::new(400, code::INVALID_BODY, "The body cannot be used", "the body broke off")
        }
    })
}

async fn not_found(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(100).collect();
    let detail =
        format!("there is nothing at {path}; docs/api.md lists the paths, and GET {ROOT}/managers the extensions");
    refused(Problem::new(404, code::NOT_FOUND, "No such path", detail))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(100).collect();
    let detail = format!("{path} takes no {method}");
    refused(Problem::new(405, code::METHOD_NOT_ALLOWED, "No such method", detail))
}

/// Answers in any case before the client gives up.
async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIME, next.run(request)).await.unwrap_or_else(|_| {
        let detail = format!(
            "it was not done after {} seconds: the body did not come, or the extension is at work on a long call; try again",
            REQUEST_TIME.as_secs()
        );
        refused(Problem::new(504, code::TIMEOUT, "It took too long", detail))
    })
}

/// The answer that something is not done.
pub(crate) fn refused(problem: Problem) -> Response {
    answer::<()>(Err(problem))
}

pub(crate) fn answer<T: serde::Serialize>(result: Result<T, Problem>) -> Response {
    match result {
        Ok(value) => json(&value),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            written(status, Problem::MEDIA_TYPE, &problem)
        }
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Response {
    written(StatusCode::OK, "application/json", value)
}

fn written<T: serde::Serialize + ?Sized>(status: StatusCode, media_type: &'static str, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [(CONTENT_TYPE, HeaderValue::from_static(media_type))], bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
