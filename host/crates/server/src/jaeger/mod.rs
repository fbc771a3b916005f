//! Jaeger's query API, in both generations, so that Jaeger's interface and Grafana read what is stored. Paths, parameters and answers
//! are those of the Jaeger project (`cmd/query/app`, `model/json`, `api_v3/query_service.proto`), and so not described as our own.

mod asked;
mod filter;
mod shape;

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use glasshouse_client::api::{Problem, code};
use glasshouse_model::{SpanSearch, TraceFigures, TraceId, UnixNanos};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use shape::in_its_shape;

use crate::access::guard::Peer;
use crate::export::{WriteExport, stream_out, too_many};
use crate::routes::{Host, Id, answer, refused};
use crate::{Served, lanes, readings};
use asked::Asked;

/// Traces that are asked for by their ids at once: as many as Jaeger's interface compares, and more.
const IDS: usize = 100;

/// Something that a service does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The name of its spans.
    pub name: String,
    /// Their kind, such as `server`.
    pub span_kind: &'static str,
}

/// That a service calls another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Who calls.
    pub parent: String,
    /// Who is called.
    pub child: String,
    /// How often.
    pub call_count: u64,
}

/// Which traces are wanted.
#[derive(Clone, Debug)]
pub enum TracesWanted {
    /// These.
    These(Vec<TraceId>),
    /// Those that have such a span.
    With(SpanSearch),
}

/// How traces are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceForm {
    /// As Jaeger's interface reads them.
    Jaeger,
    /// As OpenTelemetry's JSON.
    Otlp,
}

/// Traces that are about to be written.
pub struct FoundTraces {
    /// How many of those that are wanted are stored.
    pub stored: usize,
    /// Writes them.
    pub write: WriteExport,
}

/// What Jaeger's query API reads of a running host. All but the names of services is called where reading files holds nobody up.
pub trait Traced: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> UnixNanos;
    /// All services: extensions, by id.
    fn services(&self) -> Vec<String>;
    /// What a service did lately; nothing, if there is no such service.
    fn operations_of(&self, service: &str) -> Result<Vec<Operation>, Problem>;
    /// Which services called which others, by calls that ended in a time.
    fn dependencies(&self, since: UnixNanos, until: UnixNanos) -> Result<Vec<Dependency>, Problem>;
    /// Looks for traces of which one span is such a one, and tells of each in a few figures.
    fn find_figures(&self, wanted: &SpanSearch) -> Result<Vec<TraceFigures>, Problem>;
    /// Looks for traces, which somebody takes away, as a record tells.
    fn find_traces(&self, wanted: &TracesWanted, form: TraceForm, by: &str) -> Result<FoundTraces, Problem>;
}

/// The paths of Jaeger's API.
pub(crate) fn router() -> Router<Arc<dyn Served>> {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operations_of))
        .route("/api/operations", get(operations))
        .route("/api/traces", get(traces))
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", get(dependencies))
        .route("/api/v3/services", get(services_v3))
        .route("/api/v3/operations", get(operations_v3))
        .route("/api/v3/traces", get(traces_v3))
        .route("/api/v3/traces/{id}", get(trace_v3))
        .route("/api/v3/trace-summaries", get(summaries_v3))
}

/// What is around the answers of the second generation.
fn around(data: impl Serialize, total: usize) -> Value {
    json!({"data": data, "total": total, "limit": 0, "offset": 0, "errors": null})
}

fn asked(query: Option<&str>) -> Result<Asked, Problem> {
    Asked::parse(query.unwrap_or_default())
}

fn not_found() -> Problem {
    let detail = "trace not found: it has another id, was not sampled, or was evicted";
    Problem::new(404, code::UNKNOWN_TRACE, "No such trace", detail)
}

async fn services(State(control): Host) -> Response {
    let services = control.services();
    let total = services.len();
    answer(Ok(around(services, total)))
}

async fn services_v3(State(control): Host) -> Response {
    answer(Ok(json!({"services": control.services()})))
}

async fn operations_of(State(control): Host, Id(service): Id) -> Response {
    readings::read(control, move |host| {
        let mut names: Vec<_> = host.operations_of(&service)?.into_iter().map(|operation| operation.name).collect();
        names.dedup();
        let total = names.len();
        Ok(around(names, total))
    })
    .await
}

async fn operations(State(control): Host, RawQuery(query): RawQuery) -> Response {
    readings::read(control, move |host| {
        let asked = asked(query.as_deref())?;
        let operations = of_kind(host.operations_of(asked.needed("service")?)?, asked.given("spanKind"));
        let total = operations.len();
        Ok(around(operations, total))
    })
    .await
}

async fn operations_v3(State(control): Host, RawQuery(query): RawQuery) -> Response {
    readings::read(control, move |host| {
        let asked = asked(query.as_deref())?;
        let operations = host.operations_of(asked.needed("service")?)?;
        Ok(json!({"operations": of_kind(operations, asked.given("span_kind"))}))
    })
    .await
}

fn of_kind(mut operations: Vec<Operation>, kind: Option<&str>) -> Vec<Operation> {
    operations.retain(|operation| kind.is_none_or(|kind| operation.span_kind.eq_ignore_ascii_case(kind)));
    operations
}

async fn dependencies(State(control): Host, RawQuery(query): RawQuery) -> Response {
    readings::read(control, move |host| {
        let asked = asked(query.as_deref())?;
        let (since, until) = asked.dependency_window()?;
        let mut links = host.dependencies(since, until)?;
        if let Some(service) = asked.given("service") {
            links.retain(|link| link.parent == service || link.child == service);
        }
        Ok(around(links, 0))
    })
    .await
}

async fn traces(State(control): Host, Extension(peer): Extension<Peer>, RawQuery(query): RawQuery) -> Response {
    let wanted = asked(query.as_deref()).and_then(|asked| {
        let mut ids: Vec<_> = asked.all("traceID").map(trace_id).collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(*id));
        if ids.len() > IDS {
            return Err(asked::unusable("traceID", &format!("there are {}; name {IDS} at most", ids.len())));
        }
        if ids.is_empty() { asked.spans(control.now()).map(TracesWanted::With) } else { Ok(TracesWanted::These(ids)) }
    });
    found(control, wanted, TraceForm::Jaeger, false, peer).await
}

async fn trace(State(control): Host, Extension(peer): Extension<Peer>, Id(id): Id) -> Response {
    let wanted = trace_id(&id).map(|id| TracesWanted::These(vec![id]));
    found(control, wanted, TraceForm::Jaeger, true, peer).await
}

async fn traces_v3(State(control): Host, Extension(peer): Extension<Peer>, RawQuery(query): RawQuery) -> Response {
    let wanted = asked(query.as_deref()).and_then(|asked| asked.spans_v3());
    found(control, wanted.map(TracesWanted::With), TraceForm::Otlp, true, peer).await
}

async fn trace_v3(
    State(control): Host,
    Extension(peer): Extension<Peer>,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = asked(query.as_deref()).and_then(|asked| {
        // Hints where to look for it, of which the host has no need.
        for name in ["start_time", "end_time"] {
            asked.rfc3339(name)?;
        }
        trace_id(&id).map(|id| TracesWanted::These(vec![id]))
    });
    found(control, wanted, TraceForm::Otlp, true, peer).await
}

async fn summaries_v3(State(control): Host, RawQuery(query): RawQuery) -> Response {
    readings::read(control, move |host| {
        let found = host.find_figures(&asked(query.as_deref())?.spans_v3()?)?;
        Ok(json!({"summaries": found.iter().map(summary).collect::<Vec<_>>()}))
    })
    .await
}

/// A trace as the list of Jaeger's interface has it.
fn summary(trace: &TraceFigures) -> Value {
    let TraceFigures { trace_id, root, start, end, spans, failed, orphans, services } = trace;
    let service = |(name, spans, failed): &(String, u64, u64)| json!({"name": name, "spanCount": spans, "errorSpanCount": failed});
    json!({
        "traceId": trace_id.to_string(), "rootServiceName": root.0, "rootOperationName": root.1,
        "minStartTimeUnixNano": start.0.to_string(), "maxEndTimeUnixNano": end.0.to_string(),
        "spanCount": spans, "errorSpanCount": failed, "orphanSpanCount": orphans,
        "services": services.iter().map(service).collect::<Vec<_>>(),
    })
}

/// Looks for traces, and writes them as fast as the client reads.
async fn found(
    control: Arc<dyn Served>,
    wanted: Result<TracesWanted, Problem>,
    form: TraceForm,
    is_one_needed: bool,
    peer: Peer,
) -> Response {
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(problem) => return refused(problem),
    };
    let Some(lane) = lanes::to_export() else { return too_many() };
    // The lane is kept for as long as the thread is, also where the client has gone.
    match tokio::task::spawn_blocking(move || (control.find_traces(&wanted, form, &peer.name), lane)).await {
        Ok((Ok(FoundTraces { stored: 0, .. }), _)) if is_one_needed => refused(not_found()),
        Ok((Ok(FoundTraces { write, .. }), lane)) => stream_out(lane, "application/json", write),
        Ok((Err(problem), _)) => refused(problem),
        Err(error) => {
            tracing::error!("traces could not be looked for: {error}");
            refused(Problem::new(500, code::INTERNAL, "The host failed", "it could not read that; its log says more"))
        }
    }
}

/// A trace's id, of which Jaeger leaves out the zeros that it starts with.
fn trace_id(text: &str) -> Result<TraceId, Problem> {
    let is_hex = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_hex.then(|| format!("{text:0>32}").to_ascii_lowercase()).and_then(|id| id.parse().ok());
    id.ok_or_else(|| asked::unusable("traceID", "a trace's id has 1 to 32 hexadecimal digits"))
}
