//! Connections to a host: over the socket in its data directory, where each request takes one of its own, or to its address, where the
//! next request takes the one that is free.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::ClientError;
use crate::address::{Access, Address};
use crate::api::{Problem, Proof, SOCKET, code};
use crate::proof;

/// How long it may take to reach a host, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Bytes of a refusal: a problem has a few hundred.
const REFUSAL_BYTES: usize = 64 << 10;
/// The longest path that a socket's address holds.
const ADDRESS_BYTES: usize = 107;
/// Characters of what somebody else has answered.
const SHOWN_CHARACTERS: usize = 200;

/// Where a host is.
#[derive(Debug)]
pub(crate) enum Target {
    /// On the socket in its data directory.
    Folder(PathBuf),
    /// On an address, with a connection that nobody uses now, if there is one.
    Address(Box<Address>, Mutex<Option<Connection>>),
}

/// What goes over a connection, whatever is below it.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An answer whose body is still to come. Its connection goes with it.
pub(crate) struct Answering {
    pub(crate) response: Response<Incoming>,
    connection: Connection,
}

/// A connection, and the task that moves its bytes.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
    /// The token that was found and that the other end has shown to know.
    proven: Option<Proven>,
}

/// A token that may be shown on a connection.
struct Proven(String);

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    /// With what all paths start with.
    pub(crate) path: String,
    pub(crate) body: Option<Bytes>,
    /// Where a stream is to go on.
    pub(crate) last_event: Option<&'a str>,
}

impl Target {
    /// Sends a request, and waits for the head of the answer, which is no refusal.
    pub(crate) async fn open(&self, asked: Asked<'_>) -> Result<Answering, ClientError> {
        let Asked { method, path, body, last_event } = asked;
        let unusable = |error: hyper::http::Error| ClientError::Answer(error.to_string());
        let mut connection = match self.free().await {
            Some(connection) => connection,
            None => self.begin().await?,
        };
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        match self {
            Self::Folder(_) => request = request.header(HOST, "localhost"),
            Self::Address(address, _) => {
                request = request.header(HOST, &address.authority);
                let proven = connection.proven.as_ref().map(|Proven(token)| token);
                if let Some(token) = address.access.token.as_ref().or(proven) {
                    let mut bearer =
                        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
                    bearer.set_sensitive(true);
                    request = request.header(AUTHORIZATION, bearer);
                }
            }
        }
        if let Some(last) = last_event {
            request = request.header("last-event-id", last).header(ACCEPT, "text/event-stream");
        }
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(unusable)?;
        let response = connection.sender.send_request(request).await.map_err(|error| self.no_http(&error))?;
        let answering = Answering { response, connection };
        if answering.response.status().is_success() { Ok(answering) } else { Err(self.refusal(answering).await) }
    }

    /// All of an answer's body, which has so many bytes at most; its connection is free then.
    pub(crate) async fn whole(&self, answering: Answering, most_bytes: usize) -> Result<Bytes, ClientError> {
        let Answering { response, connection } = answering;
        let body = Limited::new(response.into_body(), most_bytes).collect().await;
        match body {
            Ok(body) => {
                if let Self::Address(_, free) = self {
                    *free.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
                }
                Ok(body.to_bytes())
            }
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(ClientError::Answer(format!("it is longer than {} MiB", most_bytes >> 20)))
            }
            Err(error) => Err(ClientError::Broken(visible(&error.to_string()))),
        }
    }

    /// The connection that nobody uses, if it is still good.
    async fn free(&self) -> Option<Connection> {
        let Self::Address(_, free) = self else { return None };
        let mut connection = free.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        connection.sender.ready().await.ok().map(|()| connection)
    }

    /// A new connection. Where a token was found and none named, the other end has shown that it knows it, or gets none.
    async fn begin(&self) -> Result<Connection, ClientError> {
        let (mut connection, peer) = self.shake_hands().await?;
        let Self::Address(address, _) = self else { return Ok(connection) };
        let Access { token, found, .. } = &address.access;
        if token.is_some() || found.is_empty() || !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
            return Ok(connection);
        }
        // A certificate says who answers, and not which of the tokens is its own.
        for found in found {
            if knows(&mut connection, address, peer, &found.token).await && connection.sender.ready().await.is_ok() {
                connection.proven = Some(Proven(found.token.clone()));
                return Ok(connection);
            }
        }
        // The other end may have ended that one, for what it was asked.
        self.shake_hands().await.map(|(connection, _)| connection)
    }

    async fn shake_hands(&self) -> Result<(Connection, Option<SocketAddr>), ClientError> {
        let (stream, peer) = self.connect().await?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| self.no_http(&error))?;
        let task = tokio::spawn(async move {
            // What went wrong is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok((Connection { sender, task, proven: None }, peer))
    }

    /// That an answer is none of HTTP.
    fn no_http(&self, error: &hyper::Error) -> ClientError {
        let why = cause(error);
        match self {
            Self::Address(address, _) if error.is_parse() => {
                let why = format!("it speaks no HTTP ({why})");
                ClientError::NotAHost { url: address.url.clone(), why }
            }
            Self::Address(..) => ClientError::Broken(why),
            Self::Folder(_) => ClientError::Answer(why),
        }
    }

    /// Why a request was refused, by whoever has answered it.
    async fn refusal(&self, answering: Answering) -> ClientError {
        let status = answering.response.status();
        let has_proven = answering.connection.proven.is_some();
        let told = answering.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_problem = told.is_some_and(|told| told.starts_with(Problem::MEDIA_TYPE));
        let body = self.whole(answering, REFUSAL_BYTES).await;
        let problem = body.ok().filter(|_| is_problem).and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
        let Some(problem) = problem else { return self.not_a_host(status) };
        match (self, status) {
            (Self::Address(address, _), StatusCode::UNAUTHORIZED) => {
                let url = address.url.clone();
                let Access { token, found, .. } = &address.access;
                let detail = match &**found {
                    _ if token.is_some() || has_proven => {
                        "the token is none of its own, or was revoked, or is over".to_owned()
                    }
                    [] => "it takes a token, and there is none".to_owned(),
                    [first, ..] => format!(
                        "it takes a token, and was not sent the one in {}, since it has not shown that it knows it",
                        first.path.display()
                    ),
                };
                ClientError::Unauthorized { url, detail }
            }
            (Self::Address(..), StatusCode::FORBIDDEN) if problem.code == code::FORBIDDEN => {
                let scope = if problem.detail.ends_with("admin") { "admin" } else { "operate" };
                ClientError::Forbidden { problem, scope }
            }
            _ => ClientError::Refused(problem),
        }
    }

    /// That an answer is none of a host.
    fn not_a_host(&self, status: StatusCode) -> ClientError {
        if let (Self::Address(address, _), 502..=504) = (self, status.as_u16()) {
            let why = format!("something on the way answers with HTTP status {}", status.as_u16());
            return ClientError::Unreachable { url: address.url.clone(), why };
        }
        let why = if status.is_redirection() {
            format!("it leads elsewhere (HTTP status {}), where no token is taken", status.as_u16())
        } else {
            format!("HTTP status {}, without a word of a host's", status.as_u16())
        };
        match self {
            Self::Folder(_) => ClientError::Answer(format!("HTTP status {status}")),
            Self::Address(address, _) => ClientError::NotAHost { url: address.url.clone(), why },
        }
    }

    /// Whether an answer that is passed on as it comes is one of a host: its head says so.
    pub(crate) fn expect(&self, answering: &Answering, header: HeaderName, begin: &str) -> Result<(), ClientError> {
        let told = answering.response.headers().get(header).and_then(|value| value.to_str().ok());
        if told.is_some_and(|told| told.starts_with(begin)) {
            return Ok(());
        }
        Err(self.not_a_host(answering.response.status()))
    }

    /// That the body of an answer is none of a host.
    pub(crate) fn unreadable(&self, error: &serde_json::Error) -> ClientError {
        match self {
            Self::Folder(_) => ClientError::Answer(error.to_string()),
            Self::Address(address, _) => {
                let why = format!("its answer is none that this version knows ({})", visible(&error.to_string()));
                ClientError::NotAHost { url: address.url.clone(), why }
            }
        }
    }

    async fn connect(&self) -> Result<(Box<dyn Io>, Option<SocketAddr>), ClientError> {
        match self {
            Self::Folder(folder) => {
                connect_to_socket(folder).await.map(|stream| (Box::new(stream) as Box<dyn Io>, None))
            }
            Self::Address(address, _) => {
                let unreachable = |why: String| ClientError::Unreachable { url: address.url.clone(), why };
                match tokio::time::timeout(CONNECT_TIME, connect_to_address(address)).await {
                    Ok(connected) => connected,
                    Err(_) => Err(unreachable(format!("nobody has answered for {} seconds", CONNECT_TIME.as_secs()))),
                }
            }
        }
    }
}

impl Answering {
    /// The next bytes of the body; `None` at its end. May be cancelled.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(ClientError::Broken(cause(&error))),
            }
        }
    }
}

async fn connect_to_socket(data_dir: &Path) -> Result<UnixStream, ClientError> {
    let path = data_dir.join(SOCKET);
    let connected = match path.as_os_str().len() {
        ..=ADDRESS_BYTES => UnixStream::connect(&path).await,
        _ => connect_by_folder(data_dir).await,
    };
    connected.map_err(|cause| match cause.kind() {
        // What a host that was killed has left, or nothing at all.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoHost(data_dir.to_owned()),
        _ => ClientError::Socket { path, cause },
    })
}

/// Connects by the folder's descriptor, since its path is longer than a socket's address.
async fn connect_by_folder(folder: &Path) -> io::Result<UnixStream> {
    use std::os::fd::AsRawFd as _;
    let folder = std::fs::File::open(folder)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())).await
}

/// Whether the other end of a connection knows a token, which it is not told.
async fn knows(connection: &mut Connection, address: &Address, peer: Option<SocketAddr>, token: &str) -> bool {
    let (Some((id, secret)), Some(peer)) = (proof::parts(token), peer) else { return false };
    let mut challenge = [0; proof::CHALLENGE_BYTES];
    if getrandom::fill(&mut challenge).is_err() || connection.sender.ready().await.is_err() {
        return false;
    }
    let digits = challenge.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
    let request = Request::builder().uri(format!("{}?token={id}&challenge={digits}", proof::PATH));
    let Ok(request) = request.header(HOST, &address.authority).body(Full::default()) else { return false };
    let Ok(response) = connection.sender.send_request(request).await else { return false };
    let Ok(body) = Limited::new(response.into_body(), REFUSAL_BYTES).collect().await else { return false };
    let told = serde_json::from_slice::<Proof>(&body.to_bytes()).ok();
    let told = told.and_then(|told| blake3::Hash::from_hex(told.proof).ok());
    told == Some(proof::answer(&proof::kept(secret), &challenge, peer))
}

async fn connect_to_address(address: &Address) -> Result<(Box<dyn Io>, Option<SocketAddr>), ClientError> {
    let unreachable = |why: String| ClientError::Unreachable { url: address.url.clone(), why };
    let is_clear_text = address.tls.is_none() && address.access.token.is_some() && !address.access.allows_clear_text;
    if is_clear_text && address.host.parse::<IpAddr>().is_ok_and(|ip| !ip.to_canonical().is_loopback()) {
        return Err(ClientError::ClearText(address.url.clone()));
    }
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    // Requests are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok();
    let Some((config, name)) = &address.tls else {
        // Whom a name stands for is known only now.
        let is_here = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        if !is_here && is_clear_text {
            return Err(ClientError::ClearText(address.url.clone()));
        }
        return Ok((Box::new(stream), peer));
    };
    let connected = TlsConnector::from(std::sync::Arc::clone(config)).connect(name.clone(), stream).await;
    connected.map(|stream| (Box::new(stream) as Box<dyn Io>, peer)).map_err(|error| {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<tokio_rustls::rustls::Error>());
        let url = address.url.clone();
        match tls {
            Some(tokio_rustls::rustls::Error::InvalidCertificate(why)) => {
                ClientError::Untrusted { url, why: format!("its certificate does not hold: {why}") }
            }
            Some(tokio_rustls::rustls::Error::InvalidMessage(_)) => {
                ClientError::NotAHost { url, why: "it speaks no TLS; try http://".to_owned() }
            }
            Some(other) => ClientError::NotAHost { url, why: format!("TLS failed: {other}") },
            None => unreachable(error.to_string()),
        }
    })
}

/// What lies at the bottom of an error.
fn cause(error: &hyper::Error) -> String {
    use std::error::Error as _;
    let text = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    visible(&text)
}

/// Somebody else's text, cut and without control characters.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SHOWN_CHARACTERS).collect()
}
