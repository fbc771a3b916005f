//! A connection to a collector, kept from request to request, and one request at a time over it.
//!
//! There is one place to go to, so there is no pool, no redirect and no proxy: a request that does not come back within its time takes the
//! connection with it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glasshouse_export::Encoding;
use glasshouse_model::config::{Endpoint, OtlpCompression, OtlpProtocol, OtlpService, OtlpSettings};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::answer::Verdict;
use crate::{connect, grpc, http, tls};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

/// Bytes of an answer: it says how many records were not taken, and why.
const ANSWER_BYTES: usize = 64 << 10;
/// Bytes that are read of a longer one over gRPC, for the outcome that comes after it.
const READ_BYTES: usize = 4 << 20;
/// Bytes of an answer's head.
const HEAD_BYTES: usize = 32 << 10;
/// What we call ourselves, as the protocol asks of exporters.
const AGENT: &str = concat!("OTel-OTLP-Exporter-Glasshouse/", env!("CARGO_PKG_VERSION"));

/// Speaks to what takes one kind of telemetry.
pub(crate) struct Client {
    settings: Arc<OtlpSettings>,
    endpoint: Endpoint,
    headers: HeaderMap,
    uri: String,
    channel: Option<Channel>,
}

struct Channel {
    sender: Sender,
    /// Moves the bytes of both directions.
    task: JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What comes after an answer's head.
#[derive(Default)]
struct Rest {
    /// `None` if it is longer than an answer may be, or has no end.
    body: Option<Vec<u8>>,
    trailers: Option<HeaderMap>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a protocol's requests are written.
pub(crate) fn encoding(protocol: OtlpProtocol) -> Encoding {
    match protocol {
        OtlpProtocol::HttpJson => Encoding::Json,
        OtlpProtocol::HttpProtobuf | OtlpProtocol::Grpc => Encoding::Protobuf,
    }
}

impl Client {
    /// A client of a service. Nothing is opened yet.
    pub(crate) fn new(settings: &Arc<OtlpSettings>, service: OtlpService, endpoint: Endpoint) -> Self {
        let is_grpc = settings.protocol() == OtlpProtocol::Grpc;
        let path = if is_grpc { grpc::path(service) } else { &endpoint.path };
        // Over HTTP/2 a request says all of where it goes to, over HTTP/1.1 its path.
        let uri = if is_grpc {
            format!("http{}://{}{path}", if endpoint.is_tls { "s" } else { "" }, endpoint.authority())
        } else {
            path.to_owned()
        };
        let headers = headers(settings, &endpoint);
        Self { settings: Arc::clone(settings), endpoint, headers, uri, channel: None }
    }

    /// Where it sends to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request, whose body is compressed already if it is to be. If this is cancelled, the request may have been taken.
    pub(crate) async fn send(&mut self, body: Bytes) -> Verdict {
        let verdict = self.exchange(body).await;
        // Who was told a secret may repeat it. What a collector says is without any before it is cut; this is for all else.
        let scrub = |text: String| self.settings.headers.scrub(&text);
        match verdict {
            Verdict::Accepted { rejected, message, is_odd } => {
                Verdict::Accepted { rejected, message: scrub(message), is_odd }
            }
            Verdict::Later { after, why } => Verdict::Later { after, why: scrub(why) },
            Verdict::TooLarge { why } => Verdict::TooLarge { why: scrub(why) },
            Verdict::Refused { why } => Verdict::Refused { why: scrub(why) },
        }
    }

    async fn exchange(&mut self, body: Bytes) -> Verdict {
        let until = Instant::now() + self.settings.timeout;
        let response = match timeout_at(until, self.head_of_answer(body, until)).await {
            Ok(Ok(response)) => response,
            Ok(Err(why)) => {
                self.channel = None;
                return Verdict::Later { after: None, why };
            }
            Err(_) => {
                self.channel = None;
                let limit = shown(self.settings.timeout);
                return Verdict::Later { after: None, why: format!("it gave no answer within {limit}") };
            }
        };
        let (head, body) = response.into_parts();
        let protocol = self.settings.protocol();
        let most = if protocol == OtlpProtocol::Grpc { READ_BYTES } else { ANSWER_BYTES };
        let rest = timeout_at(until, rest(body, most)).await.ok().flatten();
        if rest.is_none() {
            // It ended too early, or not soon enough, or is too long: the rest of the connection is of no use.
            self.channel = None;
        }
        let Rest { body, trailers } = rest.unwrap_or_default();
        let secrets = &self.settings.headers;
        if protocol == OtlpProtocol::Grpc {
            grpc::verdict(head.status, &head.headers, body.as_deref(), trailers.as_ref(), secrets)
        } else {
            http::verdict(head.status, &head.headers, body.as_deref(), encoding(protocol), secrets)
        }
    }

    async fn head_of_answer(&mut self, body: Bytes, until: Instant) -> Result<Response<Incoming>, String> {
        // One that ended while nobody used it is nobody's fault.
        let is_ready = match &mut self.channel {
            Some(Channel { sender: Sender::Http1(sender), .. }) => sender.ready().await.is_ok(),
            Some(Channel { sender: Sender::Http2(sender), .. }) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_ready {
            self.channel = None;
        }
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.connect(until).await?,
        };
        let channel = self.channel.insert(channel);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.uri)
            .body(Full::new(body))
            .map_err(|error| format!("the request cannot be made: {error}"))?;
        request.headers_mut().extend(self.headers.clone());
        let sent = match &mut channel.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        sent.map_err(|error| format!("it gave no answer: {}", chain(&error)))
    }

    async fn connect(&self, until: Instant) -> Result<Channel, String> {
        let Endpoint { is_tls, host, port, .. } = &self.endpoint;
        let stream = connect::to(host, *port, until).await;
        let stream = stream.map_err(|error| format!("it cannot be connected to: {error}"))?;
        // A request is written as a whole, and its answer is waited for.
        let _ = stream.set_nodelay(true);
        if !is_tls {
            return self.shake_hands(stream).await;
        }
        let settings = Arc::clone(&self.settings);
        let within: &[u8] = if settings.protocol() == OtlpProtocol::Grpc { b"h2" } else { b"http/1.1" };
        // Read anew for each connection, so that a file that was changed is as good as a restart.
        let config = tokio::task::spawn_blocking(move || tls::config(&settings, within));
        let config = config.await.map_err(|error| error.to_string())??;
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host} is no name for TLS: {error}"))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        self.shake_hands(stream.map_err(|error| format!("it cannot be spoken to by TLS: {error}"))?).await
    }

    async fn shake_hands(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Channel, String> {
        let failed = |error: hyper::Error| format!("it cannot be spoken to: {}", chain(&error));
        let stream = TokioIo::new(stream);
        if self.settings.protocol() == OtlpProtocol::Grpc {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES as u32);
            let (sender, connection) = builder.handshake(stream).await.map_err(failed)?;
            let task = tokio::spawn(async move { ended(connection.await) });
            return Ok(Channel { sender: Sender::Http2(sender), task });
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES);
        let (sender, connection) = builder.handshake(stream).await.map_err(failed)?;
        let task = tokio::spawn(async move { ended(connection.await) });
        Ok(Channel { sender: Sender::Http1(sender), task })
    }
}

/// Reads an answer to its end; `None` if that does not come, or not within so many bytes.
async fn rest(mut body: Incoming, most: usize) -> Option<Rest> {
    let (mut kept, mut length, mut trailers) = (Vec::new(), 0_usize, None);
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => {
                length = length.saturating_add(data.len());
                if length > most {
                    return None;
                }
                if length <= ANSWER_BYTES {
                    kept.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Some(Rest { body: (length <= ANSWER_BYTES).then_some(kept), trailers })
}

/// What every request carries.
fn headers(settings: &OtlpSettings, endpoint: &Endpoint) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in settings.headers.pairs() {
        // The configuration takes none that cannot be one.
        let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) else { continue };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let is_compressed = settings.compression() == OtlpCompression::Gzip;
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(USER_AGENT, AGENT);
    match settings.protocol() {
        OtlpProtocol::Grpc => {
            set(CONTENT_TYPE, "application/grpc");
            set(TE, "trailers");
            if is_compressed {
                set(HeaderName::from_static("grpc-encoding"), "gzip");
            }
            return headers;
        }
        OtlpProtocol::HttpProtobuf => set(CONTENT_TYPE, "application/x-protobuf"),
        OtlpProtocol::HttpJson => set(CONTENT_TYPE, "application/json"),
    };
    if is_compressed {
        set(CONTENT_ENCODING, "gzip");
    }
    if let Ok(host) = HeaderValue::from_str(&endpoint.authority()) {
        headers.insert(HOST, host);
    }
    headers
}

/// Who waits for an answer is told; nobody else needs to be.
fn ended(result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        tracing::trace!("a connection to a collector ended: {}", chain(&error));
    }
}

/// An error with what it comes from.
fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

fn shown(duration: Duration) -> String {
    glasshouse_model::text::duration(duration)
}
