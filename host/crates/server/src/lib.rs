//! Serves the control of a running host over HTTP: on the socket in its data directory, and on an address. Who may ask for what is
//! decided here; what is asked for is one call of a [`Control`].

mod access;
mod asked;
mod connections;
mod export;
mod feeds;
mod jaeger;
mod lanes;
mod openapi;
mod readings;
mod routes;
mod socket;
mod stream;
mod tcp;
mod tls;

use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

pub use access::tally::Tally;
pub use access::{Tokens, TokensError};
pub use export::{ExportWanted, Exporting, WriteExport};
pub use glasshouse_client::api;
pub use jaeger::{Dependency, FoundTraces, Operation, TraceForm, Traced, TracesWanted};
pub use readings::{Follower, News, Readings, SummaryWanted, TraceHeaders, What};
pub use socket::ControlSocket;
pub use tcp::{ApiServer, ApiSettings, ServeError};
pub use tls::TlsFiles;

use api::{
    Alert, Assignments, Budgets, Changes, ErrorGroup, MadeToken, MakeToken, Manager, Problem, Released, Resolve,
    ResolveAlert, Scope, Session, Settings, StartSession, Token,
};

/// What comes of a command that waits for the extension.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// Which keys a request may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Those of `budget`.
    Budget,
    /// Those of `debugging`.
    Debugging,
}

impl Keys {
    /// What the keys start with.
    pub fn section(self) -> &'static str {
        match self {
            Self::Budget => "budget.",
            Self::Debugging => "debugging.",
        }
    }
}

/// The status by which an order is recorded whose sender did not wait for the answer.
pub(crate) const GIVEN_UP: u16 = 499;

/// An order that was given, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// Who gave it.
    pub by: &'a str,
    /// What a token must allow for it.
    pub scope: Scope,
    /// The request's method.
    pub method: &'a str,
    /// The request's path, cut where it is long.
    pub path: &'a str,
    /// The answer's status; 499 where the sender did not wait for one.
    pub status: u16,
    /// The request's id.
    pub request: &'a str,
    /// How many others of the same token were refused, if this one was, since the last one that was told of.
    pub untold: u64,
}

impl Audit<'_> {
    /// What became of it, in words.
    pub fn became(&self) -> Cow<'static, str> {
        became(self.status)
    }
}

/// What became of an order that was answered by such a status.
pub(crate) fn became(status: u16) -> Cow<'static, str> {
    match status {
        ..400 => "done".into(),
        GIVEN_UP => "given up by its sender before it was answered".into(),
        400..500 => "refused".into(),
        _ => format!("failed with {status}").into(),
    }
}

/// Orders that were done, or may have been, and have no record of their own, since there were so many.
#[derive(Clone, Copy, Debug)]
pub struct OtherOrders<'a> {
    /// Who gave them.
    pub by: &'a str,
    /// How many.
    pub count: u64,
    /// What they were, how many of each, and what became of those that are not just done.
    pub what: &'a str,
}

/// A request of somebody who may not ask.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// From where.
    pub address: IpAddr,
    /// What was wrong.
    pub why: &'a str,
    /// The request's path, cut where it is long.
    pub path: &'a str,
    /// How many others were refused since the last one that was told of.
    pub untold: u64,
}

/// A host as it is served: what can be ordered and what can be read of it.
pub trait Served: Control + Readings + Traced {}

impl<T: Control + Readings + Traced> Served for T {}

/// What can be ordered of a running host, and what it is set to. `by` says who asks, for the record of what is changed.
pub trait Control: Send + Sync + 'static {
    /// How all extensions are doing, by id.
    fn managers(&self) -> Vec<Manager>;
    /// How one is doing.
    fn manager(&self, extension: &str) -> Result<Manager, Problem>;
    /// The budgets of all extensions, by id.
    fn all_budgets(&self) -> Vec<Budgets>;
    /// The budgets of one.
    fn budgets(&self, extension: &str) -> Result<Budgets, Problem>;
    /// How one is watched.
    fn settings(&self, extension: &str) -> Result<Settings, Problem>;
    /// Sets values while it runs.
    fn set(&self, extension: &str, keys: Keys, values: &Assignments, by: &str) -> Result<Changes, Problem>;
    /// Switches its debugging on or off.
    fn switch(&self, extension: &str, on: bool, by: &str) -> Result<Changes, Problem>;
    /// The groups of its errors, those with the latest errors first.
    fn error_groups(&self, extension: &str) -> Result<Vec<ErrorGroup>, Problem>;
    /// Notes that the error of a group is mended.
    fn resolve(&self, extension: &str, group: &str, said: &Resolve, by: &str) -> Result<ErrorGroup, Problem>;
    /// The debug sessions of all extensions, also of earlier hosts, those that were started last first. May read files.
    fn all_sessions(&self) -> Vec<Session>;
    /// The debug sessions of one. May read files.
    fn sessions(&self, extension: &str) -> Result<Vec<Session>, Problem>;
    /// Starts a debug session.
    fn start_session(&self, extension: &str, wanted: &StartSession, by: &str) -> Result<Session, Problem>;
    /// Ends a debug session.
    fn stop_session(&self, extension: &str, session: &str, by: &str) -> Result<Session, Problem>;
    /// Its alerts, those that fire first.
    fn alerts(&self, extension: &str) -> Result<Vec<Alert>, Problem>;
    /// Notes that an alert is over.
    fn resolve_alert(&self, extension: &str, alert: &str, said: &ResolveAlert, by: &str) -> Result<Alert, Problem>;
    /// The tokens by which clients prove that they may ask.
    fn tokens(&self) -> Result<&Tokens, Problem>;
    /// Makes a token, and leaves a record of it. Writes a file.
    fn make_token(&self, wanted: &MakeToken, by: &str) -> Result<MadeToken, Problem>;
    /// Ends a token at once, and leaves a record of it. Writes a file.
    fn revoke_token(&self, id: &str, by: &str) -> Result<Token, Problem>;
    /// Whether the host is ready: all its extensions are loaded, or have failed.
    fn is_ready(&self) -> bool;
    /// Leaves a record of an order.
    fn audit(&self, audit: &Audit<'_>);
    /// Leaves a record of orders that were done, or may have been, and have none of their own.
    fn audit_others(&self, others: &OtherOrders<'_>);
    /// Leaves a record of somebody who may not ask.
    fn refused(&self, refusal: &Refusal<'_>);
    /// Ends its quarantine, throttling or warning.
    fn release<'a>(&'a self, extension: &'a str, by: &'a str) -> Pending<'a, Released>;
}
