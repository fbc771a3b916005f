//! Typed client of a running host. It speaks HTTP over the socket in the host's data directory, or to the address where the host serves
//! its API.

mod address;
pub mod api;
mod connection;
mod error;
mod events;
pub mod proof;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use address::{Access, FoundToken, is_loopback};
pub use error::ClientError;
pub use events::{Events, StreamEvent};

use address::Address;
use api::{
    Alert, Assignments, Budgets, Call, Called, Changes, ErrorGroup, Health, MadeToken, MakeToken, Manager,
    MetricSummary, Operations, Overview, ROOT, Records, Released, Resolve, ResolveAlert, Session, Settings,
    StartSession, Token, TraceList, Traces, Wanted,
};
use connection::{Answering, Asked, Target};

/// How long a host may take to answer: longer than it takes itself before it says that it takes too long.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a call may take: longer than any deadline that an operator is likely to give, and shorter than for ever.
const CALL_PATIENCE: Duration = Duration::from_hours(1);

/// Bytes of an answer; a thousand extensions with all that is told of them take a few million, and a page, or a trace, that would take more ends
/// before.
const ANSWER_BYTES: usize = 32 << 20;
/// The same of what a call replied: a payload of 16 MiB, each byte of which can take six as JSON.
const CALL_BYTES: usize = 100 << 20;

/// How long the next bytes of an export may take: the host may have to read through all that it has for them.
const CHUNK_PATIENCE: Duration = Duration::from_mins(10);

/// Asks a host.
#[derive(Clone, Debug)]
pub struct Client(Arc<Target>);

/// An export as it comes.
pub struct Download(Answering);

impl Download {
    /// The next bytes of it; `None` where it is whole.
    ///
    /// # Errors
    ///
    /// The connection broke off: what came is no whole export.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let Ok(chunk) = tokio::time::timeout(CHUNK_PATIENCE, self.0.chunk()).await else {
            let seconds = CHUNK_PATIENCE.as_secs();
            return Err(ClientError::Broken(format!("it has sent nothing for {seconds} seconds")));
        };
        chunk
    }
}

impl Client {
    /// A client of the host on this data directory. Nothing is opened yet.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Target::Folder(data_dir.into())))
    }

    /// A client of the host that serves its API at a URL: `http://127.0.0.1:7077`, or `https://plugins.example:7077`. Nothing is asked yet. It
    /// follows to no other place, so that nobody else gets the token.
    ///
    /// # Errors
    ///
    /// It is no such URL, the token cannot be one, or the file of certificates cannot be read.
    pub fn at(url: &str, access: Access) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(Target::Address(Box::new(Address::new(url, access)?), Mutex::default()))))
    }

    /// The URL, if it is a client of an address.
    pub fn url(&self) -> Option<&str> {
        match &*self.0 {
            Target::Folder(_) => None,
            Target::Address(address, _) => Some(&address.url),
        }
    }

    /// How all extensions are doing.
    pub async fn managers(&self) -> Result<Vec<Manager>, ClientError> {
        self.ask(Method::GET, "managers", None).await
    }

    /// Each extension at a glance, by their ids.
    pub async fn overviews(&self) -> Result<Vec<Overview>, ClientError> {
        self.ask(Method::GET, "dashboard", None).await
    }

    /// An extension at a glance.
    pub async fn overview(&self, extension: &str) -> Result<Overview, ClientError> {
        self.ask(Method::GET, &format!("dashboard/{}/overview", escape(extension)), None).await
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

    /// Records of a signal, such as `logs`, of an extension.
    pub async fn records(&self, extension: &str, signal: &str, wanted: &Wanted) -> Result<Records, ClientError> {
        let path = format!("dashboard/{}/{}/search", escape(extension), escape(signal));
        self.ask(Method::POST, &path, Some(json(wanted)?)).await
    }

    /// What the samples of a window come to, of an extension or of all with `*`; `together` puts the series of all extensions together.
    /// Where they do not fit into one answer, it is asked on.
    pub async fn metrics(
        &self,
        extension: &str,
        query: &str,
        limit: usize,
        together: bool,
    ) -> Result<MetricSummary, ClientError> {
        let path = format!(
            "dashboard/{}/metrics?query={}&limit={limit}&together={together}",
            escape(extension),
            escape(query)
        );
        let mut whole: MetricSummary = self.ask(Method::GET, &path, None).await?;
        let mut told = whole.series.len();
        while told > 0 && whole.series.len() < limit && (whole.series.len() as u64) < whole.total {
            let path = format!("{path}&skip={}", whole.series.len());
            let more: MetricSummary = self.ask(Method::GET, &path, None).await?;
            told = more.series.len();
            whole.series.extend(more.series);
        }
        whole.series.truncate(limit);
        Ok(whole)
    }

    /// The newest requests that an extension had a part in, or any with `*`, whole; the newest first. Of those that had no room in the answer,
    /// their ids.
    pub async fn traces(&self, extension: &str, query: &str, limit: usize) -> Result<Traces, ClientError> {
        let path = format!("traces/{}?query={}&limit={limit}", escape(extension), escape(query));
        self.ask(Method::GET, &path, None).await
    }

    /// The same, each in a few figures.
    pub async fn trace_list(&self, extension: &str, query: &str, limit: usize) -> Result<TraceList, ClientError> {
        let path = format!("traces/{}/list?query={}&limit={limit}", escape(extension), escape(query));
        self.ask(Method::GET, &path, None).await
    }

    /// Requests by their trace id or correlation id; of those that had no room in the answer, their ids.
    pub async fn trace(&self, id: &str) -> Result<Traces, ClientError> {
        self.ask(Method::GET, &format!("trace/{}", escape(id)), None).await
    }

    /// What calls and spans of an extension, or of all with `*`, took by name; those that took the longest in all first.
    pub async fn operations(&self, extension: &str, query: &str, limit: usize) -> Result<Operations, ClientError> {
        let path = format!("traces/{}/operations?query={}&limit={limit}", escape(extension), escape(query));
        self.ask(Method::GET, &path, None).await
    }

    /// Calls an extension's handler. A call that gives no reply is no error here.
    pub async fn call(&self, extension: &str, call: &Call) -> Result<Called, ClientError> {
        let path = format!("call/{}", escape(extension));
        self.ask_patiently(Method::POST, &path, Some(json(call)?), CALL_PATIENCE, CALL_BYTES).await
    }

    /// Follows a signal of an extension: after the event that was seen last, or else from now on.
    pub async fn follow(
        &self,
        extension: &str,
        signal: &str,
        query: &str,
        last_event: Option<&str>,
    ) -> Result<Events, ClientError> {
        let path = format!("{ROOT}/dashboard/{}/{}/stream?query={}", escape(extension), escape(signal), escape(query));
        let asked = Asked { method: Method::GET, path, body: None, last_event };
        let answering = in_time(PATIENCE, self.0.open(asked)).await?;
        self.0.expect(&answering, CONTENT_TYPE, "text/event-stream")?;
        Ok(Events::new(answering))
    }

    /// Begins an export of an extension, or of all with `*`.
    pub async fn export(
        &self,
        extension: &str,
        what: &str,
        format: &str,
        query: &str,
        limit: Option<usize>,
    ) -> Result<Download, ClientError> {
        let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let path = format!(
            "{ROOT}/export/{}/{}?format={}&query={}{limit}",
            escape(extension),
            escape(what),
            escape(format),
            escape(query)
        );
        let asked = Asked { method: Method::GET, path, body: None, last_event: None };
        let answering = in_time(PATIENCE, self.0.open(asked)).await?;
        self.0.expect(&answering, CONTENT_DISPOSITION, "attachment")?;
        Ok(Download(answering))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        self.ask_patiently(method, path, body, PATIENCE, ANSWER_BYTES).await
    }

    async fn ask_patiently<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        patience: Duration,
        most_bytes: usize,
    ) -> Result<T, ClientError> {
        let asked = Asked { method, path: format!("{ROOT}/{path}"), body, last_event: None };
        let body = in_time(patience, async { self.0.whole(self.0.open(asked).await?, most_bytes).await }).await?;
        serde_json::from_slice(&body).map_err(|error| self.0.unreadable(&error))
    }
}

async fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(ClientError::Timeout))
}

/// A request's body.
fn json(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| ClientError::Answer(error.to_string()))
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
    use std::io;

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
