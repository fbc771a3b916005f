//! The API on an address: where it may listen, TLS, and who is let in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_http::compression::CompressionLayer;

use crate::access::guard::{Address, Guard, admit, identify};
use crate::connections::{Closing, HEAD_TIME, Prompt, WRITE_TIME, converse, take};
use crate::jaeger::in_its_shape;
use crate::{Served, TokensError, routes};

/// Connections that are served at once, those of followers among them.
const CONNECTIONS: usize = 1024;

/// How long the answers to requests under way may take to be read when the host ends: what they wait for has ended by then.
const CLOSE_TIME: Duration = Duration::from_secs(1);

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

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificates, the host's own first.
    pub certificate: PathBuf,
    /// The private key of the first of them.
    pub key: PathBuf,
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
        if !address.ip().is_loopback() {
            if tls.is_none() {
                return Err(ServeError::Exposed(*address, "without TLS"));
            }
            if *open_on_loopback {
                return Err(ServeError::Exposed(*address, "without a token for everybody"));
            }
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

    /// Takes no more requests, and waits until those under way are answered, for a second at most; streams end then. May be cancelled, which ends
    /// all at once.
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
    let stream = Prompt::new(stream, WRITE_TIME);
    let router = router.layer(axum::Extension(Address(address)));
    match tls {
        None => converse(stream, router, closing).await,
        Some(tls) => match tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, router, closing).await,
            Ok(Err(error)) => tracing::debug!(%address, "a client speaks no TLS that the API does: {error}"),
            Err(_) => tracing::debug!(%address, "a client was too slow to begin with TLS: {:?}", HEAD_TIME),
        },
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let failed = |path: &Path, why: String| ServeError::Tls { path: path.to_owned(), why };
    let TlsFiles { certificate, key } = files;
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| failed(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(certificate, "it has no certificate in PEM".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| failed(certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
