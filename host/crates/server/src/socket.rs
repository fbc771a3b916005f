//! The socket in a data directory: who may use it, how many at once, and for how long.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;
use axum::{Router, middleware};
use glasshouse_client::api::{Problem, SOCKET, Scope, code};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::Served;
use crate::access::guard::{Peer, identify};
use crate::connections::{Closing, converse, take};
use crate::routes;

/// Connections that are served at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 32;
/// How long a connection may last, so that clients that read or write slowly give their places to others.
const CONNECTION_TIME: Duration = Duration::from_mins(1);

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
    pub fn open(data_dir: &Path, control: Arc<dyn Served>) -> io::Result<Self> {
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
        let router = routes::router(control).layer(middleware::from_fn(identify));
        // Nobody tells it: commands wait for what they ask for, and the socket ends with the host's readiness to take more.
        let (_, closing) = Closing::new();
        let task = tokio::spawn(async move {
            let serve = |stream| connection(stream, router.clone(), closing.clone());
            take(listener, CONNECTIONS, "the control socket", closing.clone(), serve).await;
        });
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

/// Serves one connection, for as long as one may last.
async fn connection(stream: UnixStream, router: Router, closing: Closing) {
    let mut known = Extensions::new();
    let router = match peer(&stream) {
        Ok(peer) => {
            known.insert(peer);
            router
        }
        Err(problem) => Router::new().fallback(move || {
            let problem = problem.clone();
            async move { routes::refused(problem) }
        }),
    };
    let _ = tokio::time::timeout(CONNECTION_TIME, converse(stream, router, known, closing)).await;
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
    Ok(Peer { name: format!("uid {}{process}", who.uid()).into(), scope: Scope::Admin, token: None })
}
