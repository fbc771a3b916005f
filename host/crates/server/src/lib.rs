//! Serves the control of a running host over HTTP. It decides nothing: each request is one call of a [`Control`].

mod routes;
mod socket;

use std::future::Future;
use std::pin::Pin;

pub use glasshouse_client::api;
pub use socket::ControlSocket;

use api::{
    Alert, Assignments, Budgets, Changes, ErrorGroup, Manager, Problem, Released, Resolve, ResolveAlert, Session,
    Settings, StartSession,
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

/// What can be asked of a running host. `by` says who asks, for the record of what is changed.
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
    /// The debug sessions of all extensions, those that were started last first.
    fn all_sessions(&self) -> Vec<Session>;
    /// The debug sessions of one.
    fn sessions(&self, extension: &str) -> Result<Vec<Session>, Problem>;
    /// Starts a debug session.
    fn start_session(&self, extension: &str, wanted: &StartSession, by: &str) -> Result<Session, Problem>;
    /// Ends a debug session.
    fn stop_session(&self, extension: &str, session: &str, by: &str) -> Result<Session, Problem>;
    /// Its alerts, those that fire first.
    fn alerts(&self, extension: &str) -> Result<Vec<Alert>, Problem>;
    /// Notes that an alert is over.
    fn resolve_alert(&self, extension: &str, alert: &str, said: &ResolveAlert, by: &str) -> Result<Alert, Problem>;
    /// Ends its quarantine, throttling or warning.
    fn release<'a>(&'a self, extension: &'a str, by: &'a str) -> Pending<'a, Released>;
}
