//! A request on its way: name, connection, TLS, request and the response's head. What is made for it ends with it, and at the latest
//! with the call of the guest that sent it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use glasshouse_model::Clock;
use glasshouse_model::settings::{HttpAccess, HttpHost, HttpScheme};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::door::Door;
use super::errors::{of_connecting, of_hyper, of_tls};
use super::wire::{Carried, Wire};
use crate::imports::Pulse;

/// How long a server's name is looked up, it is connected to and TLS is agreed on: more than that is a server that is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// What a guest's own limits come to at most, since longer ones never end.
const LONGEST: Duration = Duration::from_hours(24);
/// Addresses of a name that are tried.
const ADDRESSES: usize = 8;
/// Bytes of a response's head, and of what is read of its body ahead of the guest.
const HEAD_BYTES: usize = 64 * 1024;

/// A request that was let through.
pub(super) struct Exchange {
    pub(super) server: HttpAccess,
    pub(super) door: Arc<Door>,
    pub(super) carried: Arc<Carried>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) clock: Arc<dyn Clock>,
    /// Closed once the guest's call is over.
    pub(super) over: watch::Receiver<()>,
    pub(super) outcome: Arc<OnceLock<Outcome>>,
    pub(super) strays: Arc<Strays>,
}

/// Names that led where they may not lead, with the address, in a call of the guest: the first ones, however many requests there were.
#[derive(Default)]
pub(super) struct Strays(Mutex<Vec<String>>);

impl Strays {
    /// More would tell nothing new.
    const MOST: usize = 64;

    pub(super) fn note(&self, server: &HttpAccess, address: IpAddr) {
        let mut strays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if strays.len() < Self::MOST {
            strays.push(format!("{server} at {address}"));
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a request ended: its response's head came, or nothing will.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When, in `Clock::monotonic_nanos`.
    pub(super) at: u64,
    /// The response's status, or why there is none.
    pub(super) result: Result<u16, Ending>,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The guest let go of it, or its call was over.
    GivenUp,
    /// The name leads only to addresses that it may not lead to, such as this one.
    Prohibited(IpAddr),
    /// Something else: by the word that WASI has for it, and for a person.
    Failed(&'static str, String),
}

/// The response, and what moves its body.
pub(super) type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

type Sender = http1::SendRequest<WasiBody>;
type Stream = Box<dyn ReadWrite>;

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// Says so if a request is let go of before it has ended.
struct Watch {
    clock: Arc<dyn Clock>,
    outcome: Arc<OnceLock<Outcome>>,
}

impl Watch {
    /// Notes how the request ended; the first word counts.
    fn note(&self, result: Result<u16, Ending>) {
        self.outcome.get_or_init(|| Outcome { at: self.clock.monotonic_nanos(), result });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.note(Err(Ending::GivenUp));
    }
}

impl Exchange {
    /// Sends the request and waits for the head of the response. Dropping it gives the request up.
    pub(super) async fn run(self, request: Request<WasiBody>, options: RequestOptions) -> Result<Answer, Error> {
        let watch = Watch { clock: Arc::clone(&self.clock), outcome: Arc::clone(&self.outcome) };
        let mut over = self.over.clone();
        let answer = tokio::select! {
            biased;
            _ = over.changed() => return Err(Error::ConnectionTerminated),
            answer = self.answer(request, options, &watch) => answer,
        };
        match &answer {
            Ok((response, _)) => watch.note(Ok(response.status().as_u16())),
            Err(error) => watch.note(Err(Ending::Failed(super::errors::word(error), error.to_string()))),
        }
        answer
    }

    async fn answer(
        &self,
        mut request: Request<WasiBody>,
        options: RequestOptions,
        watch: &Watch,
    ) -> Result<Answer, Error> {
        let limit = |asked: Option<Duration>, usual: Duration| asked.unwrap_or(usual).min(LONGEST);
        let connections = Arc::clone(&self.door.connections);
        // It is never closed.
        let permit = connections.acquire_owned().await.map_err(|_| Error::ConnectionLimitReached)?;
        let connect_by = Instant::now() + limit(options.connect_timeout, CONNECT).min(CONNECT);
        let connecting = timeout_at(connect_by, self.connect(permit, connect_by, watch));
        let (permit, stream) = connecting.await.map_err(|_| Error::ConnectionTimeout)??;
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream));
        let (mut sender, mut connection): (Sender, _) = handshake.await.map_err(|error| of_hyper(&error))?;
        // The server is known by the connection; what is sent says the path alone.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
        let response = {
            let first = limit(options.first_byte_timeout, LONGEST);
            let mut response = std::pin::pin!(timeout(first, sender.send_request(request)));
            let response = tokio::select! {
                biased;
                response = &mut response => response,
                // A connection that ends with the response has still told the sender.
                _ = &mut connection => {
                    let answer = response.await.map_err(|_| Error::ConnectionReadTimeout)?;
                    let response = answer.map_err(|error| of_hyper(&error))?;
                    let body = ResponseBody::of(response, options.between_bytes_timeout);
                    return Ok((body, Box::new(std::future::ready(Ok(())))));
                }
            };
            response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(|error| of_hyper(&error))?
        };
        let response = ResponseBody::of(response, options.between_bytes_timeout);
        let mut over = self.over.clone();
        let rest = async move {
            let _permit = permit;
            tokio::select! {
                biased;
                _ = over.changed() => {}
                // What goes wrong from here on, the guest learns from the body.
                _ = connection => {}
            }
            Ok(())
        };
        Ok((response, Box::new(rest)))
    }

    /// Connects to the first of the server's addresses that answers, by a time at which it is given up. One that does not answer at all leaves
    /// each of those after it as much time as it had itself.
    async fn connect(
        &self,
        permit: OwnedSemaphorePermit,
        by: Instant,
        watch: &Watch,
    ) -> Result<(OwnedSemaphorePermit, Stream), Error> {
        let (permit, addresses) = self.addresses(permit).await?;
        let may = |address: &&IpAddr| self.door.leads_to(&self.server, **address);
        let mut last = match addresses.first() {
            Some(address) if !addresses.iter().any(|address| may(&address)) => {
                self.strays.note(&self.server, *address);
                watch.note(Err(Ending::Prohibited(*address)));
                return Err(Error::DestinationIpProhibited);
            }
            Some(_) => Error::DestinationUnavailable,
            None => Error::DnsError { rcode: None, info_code: None },
        };
        let addresses: Vec<_> = addresses.iter().filter(may).take(ADDRESSES).collect();
        for (tried, address) in addresses.iter().enumerate() {
            let part = by.saturating_duration_since(Instant::now()) / (addresses.len() - tried) as u32;
            match timeout(part, TcpStream::connect(SocketAddr::new(**address, self.server.port))).await {
                Ok(Ok(stream)) => return Ok((permit, self.secured(stream).await?)),
                Ok(Err(error)) => last = of_connecting(&error),
                Err(_) => last = Error::ConnectionTimeout,
            }
        }
        Err(last)
    }

    /// The server's addresses. A lookup goes on though the request is given up, and keeps its place among the connections: it takes
    /// a thread.
    async fn addresses(&self, permit: OwnedSemaphorePermit) -> Result<(OwnedSemaphorePermit, Vec<IpAddr>), Error> {
        let name = match &self.server.host {
            HttpHost::Block(block) => return Ok((permit, vec![block.addr()])),
            HttpHost::Name(name) | HttpHost::Below(name) => name.clone(),
        };
        let lookup = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            (permit, found.map(|found| found.map(|address| address.ip()).collect()))
        });
        let (permit, found) = lookup.await.map_err(|error| Error::InternalError(Some(error.to_string())))?;
        let failed = |error: io::Error| Error::DnsError { rcode: Some(error.to_string()), info_code: None };
        Ok((permit, found.map_err(failed)?))
    }

    async fn secured(&self, stream: TcpStream) -> Result<Stream, Error> {
        // What a guest sends is not to wait for more; a system that cannot do that sends it all the same.
        let _ = stream.set_nodelay(true);
        let wire = Wire::new(stream, Arc::clone(&self.carried), Arc::clone(&self.pulse));
        if self.server.scheme == HttpScheme::Http {
            return Ok(Box::new(wire));
        }
        let trust = Arc::clone(&self.door.trust);
        let config = tokio::task::spawn_blocking(move || trust.config()).await.ok().flatten();
        let config = config.ok_or(Error::ConfigurationError)?;
        let name = match &self.server.host {
            HttpHost::Block(block) => ServerName::IpAddress(block.addr().into()),
            HttpHost::Name(name) | HttpHost::Below(name) => {
                ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
            }
        };
        let secured = TlsConnector::from(config).connect(name, wire).await;
        Ok(Box::new(secured.map_err(|error| of_tls(&error))?))
    }
}

/// A response's body, with the guest's limit of how long it waits for each part.
struct ResponseBody {
    incoming: Incoming,
    limit: Option<Duration>,
    /// While there is nothing to read.
    wait: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    fn of(response: Response<Incoming>, limit: Option<Duration>) -> Response<WasiBody> {
        let limit = limit.map(|limit| limit.min(LONGEST));
        response.map(|incoming| Self { incoming, limit, wait: None }.boxed_unsync())
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_ready() {
            self.wait = None;
        } else if let Some(limit) = self.limit {
            let wait = self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if wait.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            }
        }
        frame.map_err(|error| of_hyper(&error))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::settings::Permissions;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::SystemClock;

    /// Asks a name that leads to this machine, beside which addresses were granted: the status, or why there is none.
    async fn check(addresses: &[String], port: u16) -> (Result<u16, Error>, Option<Ending>) {
        // Requests and configurations have names in lower case, so that this one is not known as this machine's own.
        let server = HttpAccess { scheme: HttpScheme::Http, host: HttpHost::Name("LOCALHOST".to_owned()), port };
        let http_addresses = addresses.iter().map(|address| address.parse().expect("an origin")).collect();
        let permissions = Permissions { http: vec![server.clone()], http_addresses, ..Permissions::default() };
        let (_over, over) = watch::channel(());
        let outcome = Arc::new(OnceLock::new());
        let exchange = Exchange {
            server,
            door: Arc::new(Door::new(&permissions, Arc::default(), false)),
            carried: Arc::default(),
            pulse: Arc::default(),
            clock: Arc::new(SystemClock::new()),
            over,
            outcome: Arc::clone(&outcome),
            strays: Arc::default(),
        };
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::builder().uri("http://localhost/").body(body).expect("a request");
        let answer = exchange.run(request, RequestOptions::default()).await;
        let ending = Arc::into_inner(outcome).and_then(OnceLock::into_inner).and_then(|outcome| outcome.result.err());
        (answer.map(|(response, _)| response.status().as_u16()), ending)
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_connected_to_only_if_its_address_was_granted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it has an address").port();
        let (refused, ending) = check(&[], port).await;
        assert!(matches!(refused, Err(Error::DestinationIpProhibited)), "{refused:?}");
        assert!(matches!(ending, Some(Ending::Prohibited(address)) if address.is_loopback()), "{ending:?}");
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            assert!(stream.read(&mut [0; 1024]).await.expect("a request") > 0);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("an answer");
        };
        let granted = [format!("http://127.0.0.1:{port}")];
        let ((answered, ending), ()) = tokio::join!(check(&granted, port), server);
        assert!(matches!((&answered, &ending), (Ok(204), None)), "{answered:?} {ending:?}");
    }
}
