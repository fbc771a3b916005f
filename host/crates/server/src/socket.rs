//! The socket in a data directory: who may use it, how many at once, and for how long.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use glasshouse_client::api::{Problem, SOCKET, code};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::Control;
use crate::routes::{self, Peer};

/// Connections that are served at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 32;
/// How long a client may take for the head of a request, and between two requests.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last, so that clients that read or write slowly give their places to others.
const CONNECTION_TIME: Duration = Duration::from_mins(1);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// How long to wait after a connection could not be taken, as for want of descriptors.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves a host's control on the socket in its data directory, until it is dropped; the socket then goes.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Listens in a data directory. The caller holds the directory's lock, so that a socket that is there is what a host
    /// that was killed has left; it is replaced. Only this user and root can connect.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(data_dir: &Path, control: Arc<dyn Control>) -> io::Result<Self> {
        // By the folder's descriptor, since its path may be longer than a socket's address.
        let folder = fs::File::open(data_dir)?;
        let begun = format!("{SOCKET}.new");
        let address = format!("/proc/self/fd/{}/{begun}", folder.as_raw_fd());
        match fs::remove_file(data_dir.join(&begun)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&address)?;
        // It has its name only when nobody else can use it any more.
        fs::set_permissions(data_dir.join(&begun), fs::Permissions::from_mode(0o600))?;
        let path = data_dir.join(SOCKET);
        fs::rename(data_dir.join(&begun), &path)?;
        let task = tokio::spawn(serve(listener, routes::router(control)));
        Ok(Self { path, task })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(socket = %self.path.display(), "the control socket cannot be removed: {error}");
        }
    }
}

async fn serve(listener: UnixListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Connections end with the socket.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    // A client that takes too long, or speaks no HTTP, is its own concern.
                    let _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, router)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection to the control socket cannot be taken: {error}");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, router: Router) -> Result<(), hyper::Error> {
    let peer = peer(&stream);
    let router = match peer {
        Ok(peer) => router.layer(axum::Extension(peer)),
        Err(problem) => Router::new().fallback(move || {
            let problem = problem.clone();
            async move { routes::refused(problem) }
        }),
    };
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}

/// Who is at the other end, as the system has it. The socket's mode keeps others out; that it may have been changed is no
/// reason to serve them.
fn peer(stream: &UnixStream) -> Result<Peer, Problem> {
    let forbidden = |detail: String| Problem::new(403, code::FORBIDDEN, "Not for this user", detail);
    let who = stream.peer_cred().map_err(|error| forbidden(format!("the system does not say who asks: {error}")))?;
    let own = rustix::process::geteuid().as_raw();
    if who.uid() != own && who.uid() != 0 {
        return Err(forbidden(format!("this host belongs to uid {own}, not to uid {}", who.uid())));
    }
    let process = who.pid().map_or_else(String::new, |pid| format!(" (process {pid})"));
    Ok(Peer(format!("uid {}{process}", who.uid()).into()))
}
