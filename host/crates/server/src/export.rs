//! Exports: what is stored, in the formats of other programs, as a stream. A thread writes as fast as the client reads, so that an
//! export of any size takes the same memory.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{StreamExt as _, unfold};
use glasshouse_client::api::{Problem, code};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use crate::Served;
use crate::access::guard::Peer;
use crate::asked::{Named, Params};
use crate::lanes::{self, Lane};
use crate::openapi::{ExportWord, Refused};
use crate::routes::{Host, Member, refused};

/// Bytes that are sent at a time.
const CHUNK: usize = 64 << 10;
/// Chunks that wait for a client.
const CHUNKS: usize = 4;
/// How long a chunk waits for one that does not read, and whose place others could have.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be exported.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportWanted {
    /// `json`, `jsonl`, `csv`, `otlp`, `otlp-json`, `jaeger`, `prometheus` or `openmetrics`; `json` if it is left out.
    pub format: Option<String>,
    /// What records must be, in the language of docs/query.md; all if it is left out.
    #[serde(default)]
    pub query: String,
    /// At most so many of each signal, the newest; all if it is left out.
    pub limit: Option<usize>,
}

impl Named for ExportWanted {
    const NAMES: &str = "format, query and limit";
}

/// An export that is about to be written.
pub struct Exporting {
    /// Its media type.
    pub media_type: &'static str,
    /// What a file of it is called.
    pub file_name: String,
    /// Writes it.
    pub write: WriteExport,
}

/// Writes an export, as long as somebody wants it. May take long, and blocks.
pub type WriteExport = Box<dyn FnOnce(&mut dyn Write, &dyn Fn() -> bool) -> io::Result<()> + Send>;

/// Export what is stored of an extension, or of all of them with `*`: `logs`, `metrics`, `errors`, `alerts`, `traces`, `invocations` or `all`
#[utoipa::path(
    get,
    path = "/export/{id}/{what}",
    tag = "export",
    params(
        ("id" = String, Path, description = "The id of an extension, or `*` for all."),
        ("what" = inline(ExportWord), Path, description = "`logs`, `metrics`, `errors`, `alerts`, `traces`, `invocations` or `all`."),
        ExportWanted,
    ),
    responses((status = 200, content_type = "*/*", body = serde_json::Value), Refused),
)]
pub(crate) async fn export(
    State(control): Host,
    Member(id, what): Member,
    Extension(peer): Extension<Peer>,
    Params(wanted): Params<ExportWanted>,
) -> Response {
    begin(&control, &id, &what, &wanted, Some(&peer.name))
}

/// The metrics of the host and all its extensions, as they stand now, for Prometheus.
pub(crate) async fn metrics(State(control): Host, headers: HeaderMap) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let format = if accepted.contains("application/openmetrics-text") { "openmetrics" } else { "prometheus" };
    let wanted = ExportWanted { format: Some(format.to_owned()), ..ExportWanted::default() };
    // Who reads them each few seconds, as Prometheus does, takes no data away that a record is to tell of.
    begin(&control, "*", "metrics", &wanted, None)
}

fn begin(control: &Arc<dyn Served>, id: &str, what: &str, wanted: &ExportWanted, by: Option<&str>) -> Response {
    let Some(lane) = lanes::to_export() else { return too_many() };
    let Exporting { media_type, file_name, write } = match control.export(id, what, wanted, by) {
        Ok(exporting) => exporting,
        Err(problem) => return refused(problem),
    };
    let mut response = stream_out(lane, media_type, write);
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{file_name}\""));
    response.headers_mut().extend(name.ok().map(|name| (CONTENT_DISPOSITION, name)));
    response
}

/// That no more is written at once.
pub(crate) fn too_many() -> Response {
    let detail = "as many exports are being written as may be at once; try again when one of them has ended";
    refused(Problem::new(503, code::UNAVAILABLE, "Too many exports", detail))
}

/// An answer that a thread writes as fast as the client reads; the lane is given back when it is written.
pub(crate) fn stream_out(lane: Lane, media_type: &'static str, write: WriteExport) -> Response {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(CHUNKS);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks { sender: sender.clone(), waiting: BytesMut::with_capacity(CHUNK), runtime };
        let written = write(&mut chunks, &|| !sender.is_closed()).and_then(|()| chunks.flush());
        drop(lane);
        if let Err(error) = written {
            // The client sees that it is not whole by a body that breaks off; one that is gone, or does not read, needs no telling.
            let _ = sender.try_send(Err(error));
        }
    });
    // What packs it asks once more after its end.
    let chunks = unfold(receiver, async |mut receiver| receiver.recv().await.map(|chunk| (chunk, receiver))).fuse();
    ([(CONTENT_TYPE, media_type)], Body::from_stream(chunks)).into_response()
}

/// What is written, as chunks for a client; blocks while as many wait as may.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    waiting: BytesMut,
    runtime: Handle,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let chunk = self.waiting.split().freeze();
        self.waiting.reserve(CHUNK);
        let sent = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.sender.send(Ok(chunk))).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
