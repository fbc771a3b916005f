//! The paths by which a host is read, and what each of them asks of it.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use glasshouse_client::api::{
    AlertStatistics, Call, Called, Dashboard, Errors, Gap, Health, MetricNames, MetricSummary, Operations, Overview,
    Problem, Records, TraceList, Traces, Wanted, code,
};
use serde::Deserialize;
use twox_hash::XxHash3_64;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::guard::Peer;
use crate::asked::{Named, Params, Sent};
use crate::connections::Closing;
use crate::export::{__path_export, export};
use crate::openapi::{PagedWord, Refused, SignalWord};
use crate::routes::{Host, Id, Member, answer, refused};
use crate::stream::{__path_stream, Lifecycle, stream};
use crate::{ExportWanted, Exporting, Pending, Served, lanes};

/// Bytes of an answer that is told apart from others by its digest; larger ones are sent each time.
const TAGGED_BYTES: u64 = 1 << 20;

/// Which samples are summed up.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SummaryWanted {
    /// What they must be, in the language of docs/query.md: `name=requests since 2h`.
    #[serde(default)]
    pub query: String,
    /// At most so many series: 1 to 1,000, and 1,000 if it is left out.
    pub limit: Option<usize>,
    /// Whether series of several extensions that differ in nothing else are put together.
    #[serde(default)]
    pub together: bool,
    /// Leave out so many series first: those that were told before.
    #[serde(default)]
    pub skip: usize,
}

impl Named for SummaryWanted {
    const NAMES: &str = "query, limit, together and skip";
}

/// By which a request says of which trace it is part, as it stands in its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceHeaders {
    /// W3C Trace Context: the trace, and the span in it.
    pub traceparent: Option<String>,
    /// W3C Trace Context: what programs say of that trace.
    pub tracestate: Option<String>,
    /// W3C Baggage: what is passed along.
    pub baggage: Option<String>,
}

impl TraceHeaders {
    fn of(headers: &HeaderMap) -> Self {
        // A list may come in parts. What is no text, and a trace that is told twice, is no such header to whoever parses it.
        let header = |name: &str| {
            let mut parts = headers.get_all(name).iter().map(|part| String::from_utf8_lossy(part.as_bytes()));
            let first = parts.next()?.into_owned();
            Some(parts.fold(first, |all, part| all + "," + &part))
        };
        Self { traceparent: header("traceparent"), tracestate: header("tracestate"), baggage: header("baggage") }
    }
}

/// What can be read of a running host. The host's own records are those of the extension `host`. Those that may take a while are called where that holds nobody up.
pub trait Readings: Send + Sync + 'static {
    /// Each extension at a glance, by their ids; without the checks of its health, and without what it asked of the host by function.
    fn overviews(&self) -> Vec<Overview>;
    /// An extension at a glance.
    fn overview(&self, extension: &str) -> Result<Overview, Problem>;
    /// All that a first page about an extension shows.
    fn dashboard(&self, extension: &str) -> Result<Dashboard, Problem>;
    /// Records of a signal, such as `logs`.
    fn records(&self, extension: &str, signal: &str, wanted: &Wanted) -> Result<Records, Problem>;
    /// Its errors.
    fn errors(&self, extension: &str, wanted: &Wanted) -> Result<Errors, Problem>;
    /// What the samples of a window come to; those of all extensions with `*`.
    fn metrics(&self, extension: &str, wanted: &SummaryWanted) -> Result<MetricSummary, Problem>;
    /// What series of these names came to in the last minute; those of all names, if there are none.
    fn current_metrics(&self, extension: &str, names: &MetricNames) -> Result<MetricSummary, Problem>;
    /// How often and for how long its alerts fired.
    fn alert_statistics(&self, extension: &str) -> Result<AlertStatistics, Problem>;
    /// The newest requests that it had a part in, whole; those of all extensions with `*`.
    fn traces(&self, extension: &str, wanted: &Wanted) -> Result<Traces, Problem>;
    /// The same, each in a few figures.
    fn trace_list(&self, extension: &str, wanted: &Wanted) -> Result<TraceList, Problem>;
    /// What its calls and spans took, by name; those of all extensions with `*`.
    fn operations(&self, extension: &str, wanted: &Wanted) -> Result<Operations, Problem>;
    /// Requests by their trace id or correlation id.
    fn trace(&self, id: &str) -> Result<Traces, Problem>;
    /// What an extension said of its health last, and what the host knows of it.
    fn health(&self, extension: &str) -> Result<Health, Problem>;
    /// The host's own health, and that of all extensions. Asks the file system.
    fn host_health(&self) -> Health;
    /// Asks an extension how it is.
    fn check_health<'a>(&'a self, extension: &'a str) -> Pending<'a, Health>;
    /// Calls an extension's handler. The headers came with the request, which need not know that they mean something here.
    fn call<'a>(&'a self, extension: &'a str, call: Call, headers: TraceHeaders) -> Pending<'a, Called>;
    /// Begins an export of an extension, or of all with `*`; who takes it leaves a record where one is named.
    fn export(
        &self,
        extension: &str,
        what: &str,
        wanted: &ExportWanted,
        by: Option<&str>,
    ) -> Result<Exporting, Problem>;
    /// Follows a signal, from a cursor or else from now on.
    fn follow(
        &self,
        extension: &str,
        signal: &str,
        query: &str,
        after: Option<&str>,
    ) -> Result<Box<dyn Follower>, Problem>;
}

/// Somebody who follows a signal.
pub trait Follower: Send + Sync + 'static {
    /// How many records it is still to look at, or what else it is to tell. Takes some nanoseconds.
    fn waiting(&self) -> u64;
    /// What is new: as many records as have so many bytes as JSON, about, and one in any case; the last of it tells how far it was looked. May read files.
    fn read(&mut self, most: usize) -> Vec<News>;
    /// Where it is: what was told by now comes before this.
    fn place(&self) -> String;
    /// By what those are known that are told the same from the same place on.
    fn feed(&self) -> String;
    /// The sequence number that it reads next; `None` where it has something of its own to be told before.
    fn next(&self) -> Option<u64>;
    /// Goes on from a sequence number, since what comes before was told already.
    fn skip_to(&mut self, next: u64);
}

/// Something that a follower is told.
#[derive(Clone, Debug)]
pub struct News {
    /// The sequence number of the last record that it tells of.
    pub last: u64,
    /// To go on from, after it.
    pub cursor: String,
    /// What it is.
    pub what: What,
}

/// What a follower is told.
#[derive(Clone, Debug)]
pub enum What {
    /// A record, as JSON in one line.
    Record(String),
    /// That records are missing here.
    Gap(Gap),
    /// That there is nothing for the follower up to here.
    Place,
}

/// Paths that only read.
pub(crate) fn router() -> OpenApiRouter<Arc<dyn Served>> {
    OpenApiRouter::new()
        .routes(routes!(dashboard))
        .routes(routes!(overviews))
        .routes(routes!(overview))
        .routes(routes!(metrics))
        .routes(routes!(realtime))
        .routes(routes!(errors))
        .routes(routes!(records))
        .routes(routes!(search))
        .routes(routes!(stream))
        .routes(routes!(statistics))
        .routes(routes!(traces))
        .routes(routes!(trace_list))
        .routes(routes!(operations))
        .routes(routes!(trace))
        .routes(routes!(host_health))
        .routes(routes!(health))
        .routes(routes!(lifecycle))
        .routes(routes!(export))
}

/// Paths that make an extension work.
pub(crate) fn orders() -> OpenApiRouter<Arc<dyn Served>> {
    OpenApiRouter::new().routes(routes!(check_health)).routes(routes!(call))
}

/// Answers from a thread that may read files.
pub(crate) async fn read<T: serde::Serialize + 'static>(
    control: Arc<dyn Served>,
    read: impl FnOnce(&dyn Served) -> Result<T, Problem> + Send + 'static,
) -> Response {
    let lane = lanes::to_read().await;
    let reading = tokio::task::spawn_blocking(move || {
        let response = answer(read(&*control));
        drop(lane);
        response
    });
    reading.await.unwrap_or_else(|error| {
        tracing::error!("a request could not be answered: {error}");
        refused(Problem::new(500, code::INTERNAL, "The host failed", "it could not read that; its log says more"))
    })
}

/// All that a first page about an extension shows
#[utoipa::path(
    get,
    path = "/dashboard/{id}",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Dashboard), Refused),
)]
async fn dashboard(State(control): Host, Id(id): Id) -> Response {
    read(control, move |host| host.dashboard(&id)).await
}

/// Each extension at a glance, by their ids; without single checks of health and without `host_functions`
#[utoipa::path(
    get,
    path = "/dashboard",
    tag = "dashboard",
    responses((status = 200, body = Vec<Overview>), Refused),
)]
async fn overviews(State(control): Host) -> Response {
    read(control, |host| Ok(host.overviews())).await
}

/// An extension at a glance
#[utoipa::path(
    get,
    path = "/dashboard/{id}/overview",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Overview), Refused),
)]
async fn overview(State(control): Host, Id(id): Id) -> Response {
    answer(control.overview(&id))
}

/// What the samples of a window come to, by series
#[utoipa::path(
    get,
    path = "/dashboard/{id}/metrics",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension, or `*` for all."), SummaryWanted),
    responses((status = 200, body = MetricSummary), Refused),
)]
async fn metrics(State(control): Host, Id(id): Id, Params(wanted): Params<SummaryWanted>) -> Response {
    read(control, move |host| host.metrics(&id, &wanted)).await
}

/// What series came to in the last minute
#[utoipa::path(
    post,
    path = "/dashboard/{id}/metrics/realtime",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension.")),
    request_body = MetricNames,
    responses((status = 200, body = MetricSummary), Refused),
)]
async fn realtime(State(control): Host, Id(id): Id, Sent(names): Sent<MetricNames>) -> Response {
    read(control, move |host| host.current_metrics(&id, &names)).await
}

/// An extension's errors, in groups and one by one
#[utoipa::path(
    get,
    path = "/dashboard/{id}/errors",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension."), Wanted),
    responses((status = 200, body = Errors), Refused),
)]
async fn errors(State(control): Host, Id(id): Id, Params(wanted): Params<Wanted>) -> Response {
    read(control, move |host| host.errors(&id, &wanted)).await
}

/// Records of a signal of an extension
#[utoipa::path(
    get,
    path = "/dashboard/{id}/{signal}",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension."), ("signal" = inline(PagedWord), Path, description = "`logs`, `spans`, `alerts` or `invocations`; errors and metrics have paths of their own."), Wanted),
    responses((status = 200, body = Records), Refused),
)]
async fn records(State(control): Host, Member(id, signal): Member, Params(wanted): Params<Wanted>) -> Response {
    read(control, move |host| host.records(&id, &signal, &wanted)).await
}

/// Records of a signal that a query asks for
#[utoipa::path(
    post,
    path = "/dashboard/{id}/{signal}/search",
    tag = "dashboard",
    params(("id" = String, Path, description = "The id of an extension."), ("signal" = inline(SignalWord), Path, description = "`logs`, `metrics`, `errors`, `spans`, `alerts` or `invocations`.")),
    request_body = Wanted,
    responses((status = 200, body = Records), Refused),
)]
async fn search(State(control): Host, Member(id, signal): Member, Sent(wanted): Sent<Wanted>) -> Response {
    read(control, move |host| host.records(&id, &signal, &wanted)).await
}

/// How often and for how long alerts fired
#[utoipa::path(
    get,
    path = "/alerts/{id}/statistics",
    tag = "alerts",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = AlertStatistics), Refused),
)]
async fn statistics(State(control): Host, Id(id): Id) -> Response {
    answer(control.alert_statistics(&id))
}

/// The newest requests that an extension had a part in, whole
#[utoipa::path(
    get,
    path = "/traces/{id}",
    tag = "traces",
    params(("id" = String, Path, description = "The id of an extension, or `*` for all."), Wanted),
    responses((status = 200, body = Traces), Refused),
)]
async fn traces(State(control): Host, Id(id): Id, Params(wanted): Params<Wanted>) -> Response {
    read(control, move |host| host.traces(&id, &wanted)).await
}

/// The newest requests that an extension had a part in, each in a few figures
#[utoipa::path(
    get,
    path = "/traces/{id}/list",
    tag = "traces",
    params(("id" = String, Path, description = "The id of an extension, or `*` for all."), Wanted),
    responses((status = 200, body = TraceList), Refused),
)]
async fn trace_list(State(control): Host, Id(id): Id, Params(wanted): Params<Wanted>) -> Response {
    read(control, move |host| host.trace_list(&id, &wanted)).await
}

/// What calls and spans took, by name, those that took the longest in all first
#[utoipa::path(
    get,
    path = "/traces/{id}/operations",
    tag = "traces",
    params(("id" = String, Path, description = "The id of an extension, or `*` for all."), Wanted),
    responses((status = 200, body = Operations), Refused),
)]
async fn operations(State(control): Host, Id(id): Id, Params(wanted): Params<Wanted>) -> Response {
    read(control, move |host| host.operations(&id, &wanted)).await
}

/// A request by its trace id or correlation id
#[utoipa::path(
    get,
    path = "/trace/{id}",
    tag = "traces",
    params(("id" = String, Path, description = "A trace id or a correlation id.")),
    responses((status = 200, body = Traces), Refused),
)]
async fn trace(State(control): Host, Id(id): Id) -> Response {
    read(control, move |host| host.trace(&id)).await
}

/// What of the host and its extensions works, what does not, and what to do about it
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, body = Health), Refused),
)]
async fn host_health(State(control): Host) -> Response {
    read(control, |host| Ok(host.host_health())).await
}

/// The health of an extension, as it said last and as the host sees it
#[utoipa::path(
    get,
    path = "/health/{id}",
    tag = "health",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Health), Refused),
)]
async fn health(State(control): Host, Id(id): Id) -> Response {
    read(control, move |host| host.health(&id)).await
}

/// Ask an extension for its health
#[utoipa::path(
    post,
    path = "/health/{id}/check",
    tag = "health",
    params(("id" = String, Path, description = "The id of an extension.")),
    responses((status = 200, body = Health), Refused),
)]
async fn check_health(State(control): Host, Id(id): Id) -> Response {
    answer(control.check_health(&id).await)
}

/// Call an extension's handler
#[utoipa::path(
    post,
    path = "/call/{id}",
    tag = "calls",
    params(
        ("id" = String, Path, description = "The id of an extension."),
        ("traceparent" = Option<String>, Header, description = "The trace to continue, as W3C Trace Context has it, where the body names none."),
        ("tracestate" = Option<String>, Header, description = "What others say of that trace."),
        ("baggage" = Option<String>, Header, description = "What is passed along, as W3C Baggage has it, where the body has none."),
    ),
    request_body = Call,
    responses((status = 200, body = Called), Refused),
)]
async fn call(State(control): Host, Id(id): Id, headers: HeaderMap, Sent(call): Sent<Call>) -> Response {
    answer(control.call(&id, call, TraceHeaders::of(&headers)).await)
}

/// How extensions are doing, and each that is doing otherwise, as server-sent events
#[utoipa::path(
    get,
    path = "/managers/stream",
    tag = "managers",
    responses((status = 200, content_type = "text/event-stream", body = String), Refused),
)]
async fn lifecycle(
    State(control): Host,
    Extension(peer): Extension<Peer>,
    Extension(closing): Extension<Closing>,
) -> Response {
    Lifecycle::new(control, peer, closing).respond()
}

/// Gives answers to reads a tag, and answers who has that one already with nothing but the tag: who looks again and again is told
/// only what is new.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let size = response.body().size_hint().exact();
    if !is_read || response.status() != StatusCode::OK || size.is_none_or(|size| size > TAGGED_BYTES) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, TAGGED_BYTES as usize).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Ok(tag) = HeaderValue::from_str(&format!("W/\"{:016x}\"", XxHash3_64::oneshot(&bytes))) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let is_known = known.as_ref().and_then(|known| known.to_str().ok()).zip(tag.to_str().ok());
    let is_known = is_known.is_some_and(|(known, tag)| known.split(',').any(|one| one.trim() == tag));
    parts.headers.insert(ETAG, tag);
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
