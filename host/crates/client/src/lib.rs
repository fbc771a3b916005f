//! Typed client of a running host. It speaks HTTP over the socket in the host's data directory; each request takes a
//! connection of its own.

pub mod api;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use api::{
    Alert, Assignments, Budgets, Changes, ErrorGroup, Health, MadeToken, MakeToken, Manager, Problem, ROOT, Released,
    Resolve, ResolveAlert, SOCKET, Session, Settings, StartSession, Token,
};

/// How long a host may take to answer: longer than it takes itself before it says that it takes too long.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer; a thousand extensions with all that is told of them take a few million.
const ANSWER_BYTES: usize = 32 << 20;
/// The longest path that a socket's address holds.
const ADDRESS_BYTES: usize = 107;

/// Why a host could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no host runs on the data directory {data_dir}: start one with `glasshouse run PLUGINS --data-dir {data_dir}`", data_dir = .0.display())]
    NoHost(PathBuf),
    /// The socket cannot be used.
    #[error("cannot use {path}: {cause}{advice}", path = .path.display(), advice = advice(.cause))]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The host said why not.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// No answer in time.
    #[error("the host gave no answer within {} seconds: it is busy or hangs; try again, and look at its log", PATIENCE.as_secs())]
    Timeout,
    /// Not an answer of a host.
    #[error("the host's answer cannot be used: {0}")]
    Answer(String),
}

/// What to do where a socket cannot be used.
fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; run this as the user that the host runs as",
        _ => "",
    }
}

/// Asks the host that runs on a data directory.
#[derive(Clone, Debug)]
pub struct Client {
    data_dir: PathBuf,
}

impl Client {
    /// A client of the host on this data directory. Nothing is opened yet.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into() }
    }

    /// How all extensions are doing.
    pub async fn managers(&self) -> Result<Vec<Manager>, ClientError> {
        self.ask(Method::GET, "managers", None).await
    }

    /// How one extension is doing.
    pub async fn manager(&self, extension: &str) -> Result<Manager, ClientError> {
        self.ask(Method::GET, &format!("managers/{}/status", escape(extension)), None).await
    }

    /// Switches the debugging of an extension on or off; the extension runs on.
    pub async fn switch(&self, extension: &str, on: bool) -> Result<Changes, ClientError> {
        let verb = if on { "start" } else { "stop" };
        self.ask(Method::POST, &format!("managers/{}/{verb}", escape(extension)), None).await
    }

    /// How an extension is watched.
    pub async fn settings(&self, extension: &str) -> Result<Settings, ClientError> {
        self.ask(Method::GET, &format!("managers/{}/settings", escape(extension)), None).await
    }

    /// Changes how an extension is watched, by keys of `debugging`.
    pub async fn set(&self, extension: &str, values: &Assignments) -> Result<Changes, ClientError> {
        self.ask(Method::PATCH, &format!("managers/{}/settings", escape(extension)), Some(json(values)?)).await
    }

    /// The budgets of all extensions.
    pub async fn all_budgets(&self) -> Result<Vec<Budgets>, ClientError> {
        self.ask(Method::GET, "budgets", None).await
    }

    /// The budgets of an extension.
    pub async fn budgets(&self, extension: &str) -> Result<Budgets, ClientError> {
        self.ask(Method::GET, &format!("budgets/{}", escape(extension)), None).await
    }

    /// Changes budgets of an extension, by keys of `budget`.
    pub async fn set_budgets(&self, extension: &str, values: &Assignments) -> Result<Changes, ClientError> {
        self.ask(Method::PATCH, &format!("budgets/{}", escape(extension)), Some(json(values)?)).await
    }

    /// Ends the quarantine, throttling or warning of an extension.
    pub async fn release(&self, extension: &str) -> Result<Released, ClientError> {
        self.ask(Method::POST, &format!("budgets/{}/release", escape(extension)), None).await
    }

    /// The groups of an extension's errors, those with the latest errors first.
    pub async fn error_groups(&self, extension: &str) -> Result<Vec<ErrorGroup>, ClientError> {
        self.ask(Method::GET, &format!("errors/{}/groups", escape(extension)), None).await
    }

    /// Notes that the error of a group is mended.
    pub async fn resolve(&self, extension: &str, group: &str, said: &Resolve) -> Result<ErrorGroup, ClientError> {
        let path = format!("errors/{}/{}/resolve", escape(extension), escape(group));
        self.ask(Method::POST, &path, Some(json(said)?)).await
    }

    /// The debug sessions of all extensions: those that are active, and the latest that ended under this host; those that were started
    /// last first.
    pub async fn all_sessions(&self) -> Result<Vec<Session>, ClientError> {
        self.ask(Method::GET, "sessions", None).await
    }

    /// The debug sessions of an extension.
    pub async fn sessions(&self, extension: &str) -> Result<Vec<Session>, ClientError> {
        self.ask(Method::GET, &format!("sessions/{}", escape(extension)), None).await
    }

    /// Starts a debug session.
    pub async fn start_session(&self, extension: &str, wanted: &StartSession) -> Result<Session, ClientError> {
        self.ask(Method::POST, &format!("sessions/{}/start", escape(extension)), Some(json(wanted)?)).await
    }

    /// Ends a debug session.
    pub async fn stop_session(&self, extension: &str, session: &str) -> Result<Session, ClientError> {
        self.ask(Method::POST, &format!("sessions/{}/{}/stop", escape(extension), escape(session)), None).await
    }

    /// The alerts of an extension, its own and the host's about it: those that fire first.
    pub async fn alerts(&self, extension: &str) -> Result<Vec<Alert>, ClientError> {
        self.ask(Method::GET, &format!("alerts/{}", escape(extension)), None).await
    }

    /// Notes that an alert is over.
    pub async fn resolve_alert(&self, extension: &str, alert: &str, said: &ResolveAlert) -> Result<Alert, ClientError> {
        let path = format!("alerts/{}/{}/resolve", escape(extension), escape(alert));
        self.ask(Method::POST, &path, Some(json(said)?)).await
    }

    /// The tokens by which the host knows clients of its API.
    pub async fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.ask(Method::GET, "tokens", None).await
    }

    /// Makes a token.
    pub async fn make_token(&self, wanted: &MakeToken) -> Result<MadeToken, ClientError> {
        self.ask(Method::POST, "tokens", Some(json(wanted)?)).await
    }

    /// Ends a token at once.
    pub async fn revoke_token(&self, id: &str) -> Result<Token, ClientError> {
        self.ask(Method::DELETE, &format!("tokens/{}", escape(id)), None).await
    }

    /// Asks an extension for its health.
    pub async fn check_health(&self, extension: &str) -> Result<Health, ClientError> {
        self.ask(Method::POST, &format!("health/{}/check", escape(extension)), None).await
    }

    /// What an extension said of its health last, and what its host sees.
    pub async fn health(&self, extension: &str) -> Result<Health, ClientError> {
        self.ask(Method::GET, &format!("health/{}", escape(extension)), None).await
    }

    /// The health of the host and all its extensions.
    pub async fn host_health(&self) -> Result<Health, ClientError> {
        self.ask(Method::GET, "health", None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        let stream = self.connect().await?;
        let not_http = |error: hyper::Error| ClientError::Answer(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(not_http)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{ROOT}/{path}"))
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(not_http)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| ClientError::Answer(error.to_string()))?.to_bytes();
            read(status, &body)
        };
        // The connection moves the bytes of both directions while the answer is waited for.
        tokio::pin!(answer, connection);
        tokio::select! {
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let path = self.data_dir.join(SOCKET);
        let connected = match path.as_os_str().len() {
            ..=ADDRESS_BYTES => UnixStream::connect(&path).await,
            _ => connect_by_folder(&self.data_dir).await,
        };
        connected.map_err(|cause| match cause.kind() {
            // What a host that was killed has left, or nothing at all.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoHost(self.data_dir.clone()),
            _ => ClientError::Socket { path, cause },
        })
    }
}

/// A request's body.
fn json(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| ClientError::Answer(error.to_string()))
}

/// Connects by the folder's descriptor, since its path is longer than a socket's address.
async fn connect_by_folder(folder: &Path) -> io::Result<UnixStream> {
    use std::os::fd::AsRawFd as _;
    let folder = std::fs::File::open(folder)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())).await
}

fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, ClientError> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|error| ClientError::Answer(error.to_string()));
    }
    match serde_json::from_slice(body) {
        Ok(problem) => Err(ClientError::Refused(problem)),
        Err(_) => Err(ClientError::Answer(format!("HTTP status {status}"))),
    }
}

/// An id as a part of a path; what is no legal id anyway is escaped, so that it stays one part.
fn escape(id: &str) -> String {
    id.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_given_as_an_id_is_one_part_of_a_path() {
        assert_eq!(escape("access-log"), "access-log");
        assert_eq!(escape("../x?y=z\r\nHost: a"), "..%2Fx%3Fy%3Dz%0D%0AHost%3A%20a");
    }

    #[tokio::test]
    async fn without_a_host_the_error_says_what_to_do() {
        let error = Client::new("/nonexistent/data").managers().await.expect_err("nobody is there");
        assert!(error.to_string().contains("glasshouse run PLUGINS --data-dir /nonexistent/data"), "{error}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = ClientError::Socket { path: "/data/control.sock".into(), cause: denied };
        assert!(error.to_string().ends_with("; run this as the user that the host runs as"), "{error}");
    }
}
