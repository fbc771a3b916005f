//! What goes over the wire, as JSON. Names and meanings are kept; new fields may be added.

mod access;
mod reading;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use access::{MadeToken, MakeToken, Proof, Scope, Token};
pub use reading::{
    AlertStatistic, AlertStatistics, Call, CallError, Called, Check, Dashboard, Errors, Gap, Health, HostFunctionTotal,
    MetricNames, MetricSummary, Operations, Overview, Payload, Records, Series, Sources, Summary, TraceList, Traces,
    Wanted,
};

/// What all paths start with.
pub const ROOT: &str = "/api/extensions/debugging";

/// The name of the socket in a data directory.
pub const SOCKET: &str = "control.sock";

/// How an extension is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Manager {
    /// Its id.
    pub extension: String,
    /// `loading`, `ready`, `throttled`, `quarantined`, `probing`, `failed` or `stopped`.
    pub status: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its debugging is switched on.
    pub debugging: bool,
    /// The components of debugging that are on, by their keys.
    pub enabled_components: Vec<String>,
    /// How it stands with its budget.
    pub standing: Standing,
}

/// How an extension stands with its budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// `healthy`, `warned`, `throttled`, `quarantined` or `probing`.
    pub state: String,
    /// For how long, in milliseconds; not for a healthy one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// How long until its next call may begin, in milliseconds, where it has to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// What led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What led to a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// In words.
    pub text: String,
    /// The key of the budget.
    pub budget: String,
    /// What was used: units of fuel, nanoseconds, bytes or failures.
    pub used: u64,
    /// What may be used, in the same unit.
    pub limit: u64,
    /// The part of the limit that was used, in percent.
    pub share_percent: u64,
}

/// An extension's budgets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Budgets {
    /// Its id.
    pub extension: String,
    /// How it stands.
    pub standing: Standing,
    /// Each budget, in the order of the reference.
    pub budgets: Vec<Budget>,
}

/// A budget and what is used of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// Its value and where that comes from.
    #[serde(flatten)]
    pub setting: Setting,
    /// What is used of it now, or was by the last call: units of fuel, nanoseconds, bytes or a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// What may be used, in the same unit; of a rate, in a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most that was used since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
}

impl Budget {
    /// The part that is used now, in percent.
    pub fn share_percent(&self) -> Option<u64> {
        percent(self.used?, self.limit?)
    }

    /// The largest part that was used, in percent.
    pub fn peak_share_percent(&self) -> Option<u64> {
        percent(self.peak?, self.limit?)
    }
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    (whole > 0).then(|| u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX))
}

/// Settings of an extension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Its id.
    pub extension: String,
    /// Each with its value and where that comes from.
    pub settings: Vec<Setting>,
}

/// A value in effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// The key, such as `budget.deadline`.
    pub key: String,
    /// The value, as text.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
    /// What else to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Values to set, by key: `{"budget.deadline": "2s"}`.
pub type Assignments = BTreeMap<String, String>;

/// What setting values has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// The extension's id.
    pub extension: String,
    /// What is different now.
    pub changes: Vec<Change>,
    /// What holds of each key that was named.
    pub set: Vec<Setting>,
    /// It holds until the host ends. These lines of `glasshouse.toml` keep it.
    pub keep: Vec<String>,
}

/// A value that is different now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value before.
    pub from: String,
    /// The value after.
    pub to: String,
}

/// What a release has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// The extension's id.
    pub extension: String,
    /// The state that was ended; `None` if there was nothing to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Errors of an extension that are the same bug. What it quotes is the extension's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorGroup {
    /// The extension's id.
    pub extension: String,
    /// The group's: 12 hexadecimal digits.
    pub group: String,
    /// `new`, `ongoing`, `escalating`, `regressed` or `resolved`.
    pub state: String,
    /// What happened, from its first error.
    pub title: String,
    /// The kind of its errors.
    pub kind: String,
    /// `guest` or `host`.
    pub blame: String,
    /// `low`, `medium`, `high` or `critical`: that of the worst.
    pub severity: String,
    /// Its errors, those included that are not stored any more.
    pub count: u64,
    /// When the first one came.
    pub first_seen: String,
    /// When the last one came.
    pub last_seen: String,
    /// Errors an hour in the last day, or since the first.
    pub rate_per_hour: f64,
    /// `rising`, `steady` or `falling`.
    pub trend: String,
    /// Errors in each of the last 24 hours, the present one first.
    pub hours: Vec<u32>,
    /// Users on whose behalf the extension was at work: exact up to 31, then about.
    pub users: u64,
    /// Tenants, likewise.
    pub tenants: u64,
    /// Different inputs of the calls in which its errors came, likewise; 1 is the same input each time.
    #[serde(default)]
    pub inputs: u64,
    /// Errors of which the input is known: of calls that failed or were answered with an error.
    #[serde(default)]
    pub with_input: u64,
    /// The components that had it, the latest last.
    pub components: Vec<Component>,
    /// The sequence numbers of its latest errors, the latest last; they may be stored no longer.
    pub samples: Vec<u64>,
    /// When it came back, if it was resolved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regressed_at: Option<String>,
    /// Who resolved it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Why its errors are a group.
    pub fingerprint: Fingerprint,
    /// What to do about it, where the kind of error tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
}

/// A component of which errors came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Component {
    /// Its digest.
    pub digest: String,
    /// The version that its manifest names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// That somebody says that an error is mended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resolution {
    /// When it was said.
    pub at: String,
    /// By whom.
    pub by: String,
    /// What else they said.
    pub notes: String,
    /// The version in which it is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Why errors are a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fingerprint {
    /// The version of the rules.
    pub version: String,
    /// What they go by: `functions`, `call`, `guest stack`, `message` or `overflow`.
    pub basis: String,
    /// What the errors have in common.
    pub parts: Vec<String>,
}

/// What to do about an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    /// In words.
    pub text: String,
    /// The setting to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// Its present value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What is said of a group of errors that is mended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// What there is to know.
    #[serde(default)]
    pub notes: String,
    /// The version in which it is mended; the one that runs, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A time in which an extension is watched otherwise, and what was stored of it meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The extension's id.
    pub extension: String,
    /// The session's: 12 hexadecimal digits.
    pub session: String,
    /// `active`, `ended`, or `cut off` if its host is gone and has not said that it ended.
    pub state: String,
    /// Who started it.
    pub by: String,
    /// When.
    pub started: String,
    /// When it ends by itself, or would have.
    pub until: String,
    /// How long it goes on, in milliseconds; of an active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// What it overrides.
    pub overrides: Vec<Override>,
    /// When and why it ended, if it is known to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SessionEnd>,
    /// What was stored of the extension meanwhile, by signal.
    pub collected: Vec<Collected>,
    /// What was not stored of it meanwhile, and why: `3 sampled out, 12 shed`. Empty if there was nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub left_out: String,
}

/// A value that a session puts in the place of a key's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// The key, such as `debugging.log_level`.
    pub key: String,
    /// The value, as text.
    pub value: String,
    /// What else to know, such as that the key was set since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionEnd {
    /// When.
    pub at: String,
    /// `stopped`, `time over` or `end of the host`.
    pub why: String,
    /// Who stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Records of a signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Collected {
    /// The signal, such as `logs`.
    pub signal: String,
    /// The sequence number of the first one.
    pub from: u64,
    /// How many were stored; unknown of a session that was cut off. Some may be evicted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
}

/// What a session is to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartSession {
    /// What it overrides: `{"log_level": "trace"}`, keys of `debugging`, with or without that before them.
    pub set: Assignments,
    /// For how long, in milliseconds; 15 minutes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// An alert of an extension as it stands. What it quotes is the extension's, unless its origin is the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// The extension's id.
    pub extension: String,
    /// The alert's: 12 hexadecimal digits.
    pub alert: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// `guest` or `host`: who raises it.
    pub origin: String,
    /// The host's word for what it is, or the guest's type.
    pub name: String,
    /// What it is about.
    pub labels: BTreeMap<String, String>,
    /// `low`, `medium`, `high` or `critical`: the worst since it fires.
    pub severity: String,
    /// One line for a person.
    pub title: String,
    /// The whole story, as of when it began to fire.
    pub message: String,
    /// The value that it is about, as of then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The threshold that the value passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Since when it stands so.
    pub since: String,
    /// When it was first raised.
    pub first_raised: String,
    /// When it was last raised.
    pub last_raised: String,
    /// When it is over by itself if it is not raised again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolves_at: Option<String>,
    /// How often it was raised.
    pub raised: u64,
    /// How often it began to fire.
    pub fired: u64,
    /// For how long it has fired in all, in nanoseconds.
    pub firing_ns: u64,
    /// The longest time that it fired, up to now, in nanoseconds.
    pub longest_ns: u64,
    /// Its latest transitions, the latest last.
    pub history: Vec<AlertTransition>,
}

/// A step of an alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertTransition {
    /// When.
    pub at: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// `raised`, `recovered`, `quiet` or `by hand`.
    pub cause: String,
    /// Who did it, if it was done by hand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What is said of an alert that is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveAlert {
    /// What there is to know.
    #[serde(default)]
    pub note: String,
}

/// The words that tell problems apart.
pub mod code {
    /// The host runs no extension of that id.
    pub const UNKNOWN_EXTENSION: &str = "unknown-extension";
    /// The extension has no group of errors of that id.
    pub const UNKNOWN_GROUP: &str = "unknown-group";
    /// The extension has no debug session of that id, as far as its host knows.
    pub const UNKNOWN_SESSION: &str = "unknown-session";
    /// The debug session has ended already.
    pub const SESSION_ENDED: &str = "session-ended";
    /// The extension has as many debug sessions as it may.
    pub const TOO_MANY_SESSIONS: &str = "too-many-sessions";
    /// The extension has no alert of that id.
    pub const UNKNOWN_ALERT: &str = "unknown-alert";
    /// The alert is over already.
    pub const NOT_FIRING: &str = "not-firing";
    /// There is no such key, or it takes no such value.
    pub const INVALID_SETTING: &str = "invalid-setting";
    /// The key is read when the extension starts, and not later.
    pub const NOT_LIVE: &str = "not-live";
    /// The body is not what the path takes.
    pub const INVALID_BODY: &str = "invalid-body";
    /// The body has more bytes than are read.
    pub const BODY_TOO_LARGE: &str = "body-too-large";
    /// The path has a part that is not text.
    pub const INVALID_PATH: &str = "invalid-path";
    /// There is no such path.
    pub const NOT_FOUND: &str = "not-found";
    /// The path takes no such method.
    pub const METHOD_NOT_ALLOWED: &str = "method-not-allowed";
    /// The one who asks is another user, or the token does not allow it.
    pub const FORBIDDEN: &str = "forbidden";
    /// The request has no token that the host knows.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// The request calls the host by a name that it does not go by.
    pub const WRONG_HOST: &str = "wrong-host";
    /// There were too many requests, or too many without a token that the host knows.
    pub const TOO_MANY_REQUESTS: &str = "too-many-requests";
    /// There is no token of that id.
    pub const UNKNOWN_TOKEN: &str = "unknown-token";
    /// The extension takes no orders now.
    pub const UNAVAILABLE: &str = "unavailable";
    /// What records are asked for by cannot be used.
    pub const INVALID_QUERY: &str = "invalid-query";
    /// The host has no such signal.
    pub const UNKNOWN_SIGNAL: &str = "unknown-signal";
    /// The host knows no request of that id.
    pub const UNKNOWN_TRACE: &str = "unknown-trace";
    /// The host failed.
    pub const INTERNAL: &str = "internal";
    /// It was not done in time.
    pub const TIMEOUT: &str = "timeout";
}

/// Why a request was not done, as RFC 9457 has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A word that stays the same, one of those in [`code`].
    pub code: String,
    /// What kind of problem it is, in a few words.
    pub title: String,
    /// What was being done, what was found, and what to do.
    pub detail: String,
}

impl Problem {
    /// The media type.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// A problem.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), title: title.to_owned(), detail: detail.into() }
    }
}
