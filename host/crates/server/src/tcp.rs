//! The API on an address: where it may listen, TLS, and who is let in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;
use axum::{Router, middleware};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tower_http::compression::CompressionLayer;

use crate::access::guard::{Address, Guard, admit, identify};
use crate::access::prove::TakenAt;
use crate::connections::{Closing, HEAD_TIME, Prompt, WRITE_TIME, converse, take};
use crate::jaeger::in_its_shape;
use crate::tls::{TlsFiles, acceptor};
use crate::{Served, TokensError, routes};

/// Connections that are served at once, those of followers among them.
const CONNECTIONS: usize = 1024;

/// How long the answers to requests under way, and what streams have still to tell, may take to be read when the host ends: what they wait for has ended by then.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Where and how the API is served.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where it listens; port 0 stands for any that is free.
    pub address: SocketAddr,
    /// Names that clients may call it by, beside `localhost` and addresses.
    pub names: Vec<String>,
    /// What proves who it is; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Whether clients on this machine need no token.
    pub open_on_loopback: bool,
}

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there, or nobody may.
    #[error("the API cannot listen on {address}: {cause}; choose another with --listen, or off")]
    Address {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// Others could read and send what only some may.
    #[error(
        "the API does not listen on {0}, which other machines can reach, {1}; set host.tls_certificate and host.tls_key, leave \
         host.open_on_loopback out, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr, &'static str),
    /// The certificate or its key cannot be used.
    #[error("the API's TLS cannot be set up with {}: {why}", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There are no tokens to know clients by.
    #[error(transparent)]
    Tokens(#[from] TokensError),
}

impl ServeError {
    /// That others could read and send what only some may, if the API listened there so.
    pub fn exposed(address: SocketAddr, is_tls: bool, open_on_loopback: bool) -> Option<Self> {
        if address.ip().is_loopback() {
            return None;
        }
        let how = match (is_tls, open_on_loopback) {
            (true, false) => return None,
            (false, _) => "without TLS",
            (true, true) => "without a token for everybody",
        };
        Some(Self::Exposed(address, how))
    }
}

/// Serves a host's control on an address, until it is dropped.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    is_tls: bool,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Listens.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn open(settings: &ApiSettings, control: Arc<dyn Served>) -> Result<Self, ServeError> {
        let ApiSettings { address, names, tls, open_on_loopback } = settings;
        if let Some(error) = ServeError::exposed(*address, tls.is_some(), *open_on_loopback) {
            return Err(error);
        }
        let tls = tls.as_ref().map(acceptor).transpose()?;
        let is_tls = tls.is_some();
        let failed = |cause| ServeError::Address { address: *address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let guard = Arc::new(Guard::new(Arc::clone(&control), names, *open_on_loopback));
        let router = routes::router(control)
            .layer(CompressionLayer::new().gzip(true))
            .layer(middleware::from_fn_with_state(guard, admit))
            .layer(middleware::from_fn(in_its_shape))
            .layer(middleware::from_fn(identify));
        let (close, closing) = Closing::new();
        let task = tokio::spawn(async move {
            let serve = |(stream, peer): (TcpStream, SocketAddr)| {
                connection(stream, peer.ip(), tls.clone(), router.clone(), closing.clone())
            };
            take(listener, CONNECTIONS, "the API", closing.clone(), serve).await;
        });
        Ok(Self { address, is_tls, close, task })
    }

    /// Takes no more requests, and waits until those under way are answered, and streams have told what was stored by now, for three seconds at most. May be
    /// cancelled, which ends all at once.
    pub async fn close(mut self) {
        // Nobody is told if it has ended already.
        let _ = self.close.send(true);
        let _ = tokio::time::timeout(CLOSE_TIME, &mut self.task).await;
    }

    /// Where it is, such as `http://127.0.0.1:7077`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: TcpStream, address: IpAddr, tls: Option<TlsAcceptor>, router: Router, closing: Closing) {
    // Answers are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let taken_at = stream.local_addr();
    let stream = Prompt::new(stream, WRITE_TIME);
    let mut known = Extensions::new();
    known.insert(Address(address));
    if let Ok(taken_at) = taken_at {
        known.insert(TakenAt(taken_at));
    }
    match tls {
        None => converse(stream, router, known, closing).await,
        Some(tls) => match tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, router, known, closing).await,
            Ok(Err(error)) => tracing::debug!(%address, "a client speaks no TLS that the API does: {error}"),
            Err(_) => tracing::debug!(%address, "a client was too slow to begin with TLS: {:?}", HEAD_TIME),
        },
    }
}
