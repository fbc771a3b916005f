//! The paths, and what each of them asks of the host.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use glasshouse_client::api::{
    Alert, Assignments, Budgets, Changes, ErrorGroup, MadeToken, MakeToken, Manager, Problem, ROOT, Released, Resolve,
    ResolveAlert, Scope, Session, Settings, StartSession, Token, code,
};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::guard::{Needs, Peer, order};
use crate::access::orders::Orders;
use crate::access::prove::{__path_prove, prove};
use crate::access::tally::Tally;
use crate::asked::Sent;
use crate::feeds::Feeds;
use crate::openapi::{self, Refused};
use crate::{Keys, Served, Tokens, export, jaeger, readings};

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

/// All paths, and their description.
pub(crate) fn described(control: &Arc<dyn Served>) -> (Router<Arc<dyn Served>>, OpenApi) {
    let reads = OpenApiRouter::new()
        .routes(routes!(managers))
        .routes(routes!(manager))
        .routes(routes!(settings))
        .routes(routes!(all_budgets))
        .routes(routes!(budgets))
        .routes(routes!(error_groups))
        .routes(routes!(all_sessions))
        .routes(routes!(sessions))
        .routes(routes!(alerts))
        .merge(readings::router());
    let orders = OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(set))
        .routes(routes!(set_budgets))
        .routes(routes!(release))
        .routes(routes!(resolve))
        .routes(routes!(start_session))
        .routes(routes!(stop_session))
        .routes(routes!(resolve_alert))
        .merge(readings::orders());
    let administration = OpenApiRouter::new().routes(routes!(tokens, make_token)).routes(routes!(revoke_token));
    let refused = Arc::new(Tally::new());
    let done = Orders::new(Arc::clone(control));
    let needs = |scope| {
        let (control, refused, done) = (Arc::clone(control), Arc::clone(&refused), Arc::clone(&done));
        Needs { control, scope, refused, done }
    };
    let paths = reads
        .merge(orders.route_layer(middleware::from_fn_with_state(needs(Scope::Operate), order)))
        .merge(administration.route_layer(middleware::from_fn_with_state(needs(Scope::Admin), order)));
    OpenApiRouter::with_openapi(openapi::head()).routes(routes!(prove)).nest(ROOT, paths).split_for_parts()
}

/// All paths.
pub(crate) fn router(control: Arc<dyn Served>) -> Router {
    let (paths, description) = described(&control);
    paths
        .merge(openapi::router(&description))
        .route("/livez", get(async || "the host runs\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(export::metrics))
        .merge(jaeger::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(Arc::<Feeds>::default()))
        .layer(middleware::from_fn(readings::tag))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(jaeger::in_its_shape))
        .with_state(control)
}

async fn ready(State(control): Host) -> Response {
    if control.is_ready() {
        return "the host is ready\n".into_response();
    }
    let detail = "extensions are loading; GET /api/extensions/debugging/health tells which";
    refused(Problem::new(503, code::UNAVAILABLE, "Not ready yet", detail))
}

/// All tokens, without what is secret of them
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    responses((status = 200, body = Vec<Token>), Refused),
)]
async fn tokens(State(control): Host) -> Response {
    answer(control.tokens().and_then(Tokens::list))
}

/// Make a token; it is told this once
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    request_body = MakeToken,
    responses((status = 200, body = MadeToken), Refused),
)]
async fn make_token(State(control): Host, Extension(peer): Extension<Peer>, Sent(wanted): Sent<MakeToken>) -> Response {
    readings::read(control, move |host| host.make_token(&wanted, &peer.name)).await
}

/// End a token at once
#[utoipa::path(
    delete,
    path = "/tokens/{id}",
    tag = "tokens",
    params(("id" = String, Path, description = "The id of a token.")),
    responses((status = 200, body = Token), Refused),
)]
async fn revoke_token(State(control): Host, Extension(peer): Extension<Peer>, Id(id): Id) -> Response {
    readings::read(control, move |host| host.revoke_token(&id, &peer.name)).await
}

/// How all extensions are doing
#[utoipa::path(
    get,
    path = "/managers",
    tag = "managers",
    responses((status = 200, body = Vec<Manager>), Refused),
)]
async fn managers(State(control): Host) -> Response {
    json(&control.managers())
}

/// How an extension is doing
#[utoipa::path(
    get,
    path = "/managers/{id}/status",
    tag = "managers",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Manager), Refused),
)]
async fn manager(State(control): Host, Id(id): Id) -> Response {
    answer(control.manager(&id))
}

/// Switch an extension's debugging on
#[utoipa::path(
    post,
    path = "/managers/{id}/start",
    tag = "managers",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Changes), Refused),
)]
async fn start(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>) -> Response {
    answer(control.switch(&id, true, &peer.name))
}

/// Switch an extension's debugging off; it runs on
#[utoipa::path(
    post,
    path = "/managers/{id}/stop",
    tag = "managers",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Changes), Refused),
)]
async fn stop(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>) -> Response {
    answer(control.switch(&id, false, &peer.name))
}

/// How an extension is watched
#[utoipa::path(
    get,
    path = "/managers/{id}/settings",
    tag = "managers",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Settings), Refused),
)]
async fn settings(State(control): Host, Id(id): Id) -> Response {
    answer(control.settings(&id))
}

/// Change how an extension is watched, until the host ends
#[utoipa::path(
    patch,
    path = "/managers/{id}/settings",
    tag = "managers",
    params(("id" = String, Path, description = "The id of an extension.")),
    request_body = Assignments,
    responses((status = 200, body = Changes), Refused),
)]
async fn set(
    State(control): Host,
    Id(id): Id,
    Extension(peer): Extension<Peer>,
    Sent(values): Sent<Assignments>,
) -> Response {
    answer(control.set(&id, Keys::Debugging, &values, &peer.name))
}

/// The budgets of all extensions, and what is used of them
#[utoipa::path(
    get,
    path = "/budgets",
    tag = "budgets",
    responses((status = 200, body = Vec<Budgets>), Refused),
)]
async fn all_budgets(State(control): Host) -> Response {
    json(&control.all_budgets())
}

/// The budgets of an extension, and what is used of them
#[utoipa::path(
    get,
    path = "/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Budgets), Refused),
)]
async fn budgets(State(control): Host, Id(id): Id) -> Response {
    answer(control.budgets(&id))
}

/// Change budgets of an extension, until the host ends
#[utoipa::path(
    patch,
    path = "/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The id of an extension.")),
    request_body = Assignments,
    responses((status = 200, body = Changes), Refused),
)]
async fn set_budgets(
    State(control): Host,
    Id(id): Id,
    Extension(peer): Extension<Peer>,
    Sent(values): Sent<Assignments>,
) -> Response {
    answer(control.set(&id, Keys::Budget, &values, &peer.name))
}

/// End an extension's warning, throttling or quarantine
#[utoipa::path(
    post,
    path = "/budgets/{id}/release",
    tag = "budgets",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Released), Refused),
)]
async fn release(State(control): Host, Id(id): Id, Extension(peer): Extension<Peer>) -> Response {
    answer(control.release(&id, &peer.name).await)
}

/// The errors of an extension that are the same bug, in groups
#[utoipa::path(
    get,
    path = "/errors/{id}/groups",
    tag = "errors",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Vec<ErrorGroup>), Refused),
)]
async fn error_groups(State(control): Host, Id(id): Id) -> Response {
    answer(control.error_groups(&id))
}

/// Note that the error of a group is mended
#[utoipa::path(
    post,
    path = "/errors/{id}/{group}/resolve",
    tag = "errors",
    params(("id" = String, Path, description = "The id of an extension."), ("group" = String, Path, description = "The id of a group.")),
    request_body = Resolve,
    responses((status = 200, body = ErrorGroup), Refused),
)]
async fn resolve(
    State(control): Host,
    Member(id, group): Member,
    Extension(peer): Extension<Peer>,
    Sent(said): Sent<Resolve>,
) -> Response {
    answer(control.resolve(&id, &group, &said, &peer.name))
}

/// The debug sessions of all extensions, also of earlier hosts
#[utoipa::path(
    get,
    path = "/sessions",
    tag = "sessions",
    responses((status = 200, body = Vec<Session>), Refused),
)]
async fn all_sessions(State(control): Host) -> Response {
    readings::read(control, |host| Ok(host.all_sessions())).await
}

/// The debug sessions of an extension, also of earlier hosts
#[utoipa::path(
    get,
    path = "/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Vec<Session>), Refused),
)]
async fn sessions(State(control): Host, Id(id): Id) -> Response {
    readings::read(control, move |host| host.sessions(&id)).await
}

/// Start a debug session
#[utoipa::path(
    post,
    path = "/sessions/{id}/start",
    tag = "sessions",
    params(("id" = String, Path, description = "The id of an extension.")),
    request_body = StartSession,
    responses((status = 200, body = Session), Refused),
)]
async fn start_session(
    State(control): Host,
    Id(id): Id,
    Extension(peer): Extension<Peer>,
    Sent(wanted): Sent<StartSession>,
) -> Response {
    answer(control.start_session(&id, &wanted, &peer.name))
}

/// End a debug session
#[utoipa::path(
    post,
    path = "/sessions/{id}/{session}/stop",
    tag = "sessions",
    params(("id" = String, Path, description = "The id of an extension."), ("session" = String, Path, description = "The id of a debug session.")),
    responses((status = 200, body = Session), Refused),
)]
async fn stop_session(State(control): Host, Member(id, session): Member, Extension(peer): Extension<Peer>) -> Response {
    answer(control.stop_session(&id, &session, &peer.name))
}

/// The alerts of an extension, those that fire first
#[utoipa::path(
    get,
    path = "/alerts/{id}",
    tag = "alerts",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Vec<Alert>), Refused),
)]
async fn alerts(State(control): Host, Id(id): Id) -> Response {
    answer(control.alerts(&id))
}

/// Note that an alert is over
#[utoipa::path(
    post,
    path = "/alerts/{id}/{alert}/resolve",
    tag = "alerts",
    params(("id" = String, Path, description = "The id of an extension."), ("alert" = String, Path, description = "The id of an alert.")),
    request_body = ResolveAlert,
    responses((status = 200, body = Alert), Refused),
)]
async fn resolve_alert(
    State(control): Host,
    Member(id, alert): Member,
    Extension(peer): Extension<Peer>,
    Sent(said): Sent<ResolveAlert>,
) -> Response {
    answer(control.resolve_alert(&id, &alert, &said, &peer.name))
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
            "it was not done after {} seconds: the body did not come, the extension is at work on a long call, which goes on, or the \
             query reads too much; try again, or narrow it with since",
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
