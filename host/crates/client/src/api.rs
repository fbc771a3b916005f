//! What goes over the wire, as JSON. Names and meanings are kept; new fields may be added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What all paths start with.
pub const ROOT: &str = "/api/extensions/debugging";

/// The name of the socket in a data directory.
pub const SOCKET: &str = "control.sock";

/// How an extension is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budgets {
    /// Its id.
    pub extension: String,
    /// How it stands.
    pub standing: Standing,
    /// Each budget, in the order of the reference.
    pub budgets: Vec<Budget>,
}

/// A budget and what is used of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Its id.
    pub extension: String,
    /// Each with its value and where that comes from.
    pub settings: Vec<Setting>,
}

/// A value in effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value before.
    pub from: String,
    /// The value after.
    pub to: String,
}

/// What a release has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Released {
    /// The extension's id.
    pub extension: String,
    /// The state that was ended; `None` if there was nothing to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The words that tell problems apart.
pub mod code {
    /// The host runs no extension of that id.
    pub const UNKNOWN_EXTENSION: &str = "unknown-extension";
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
    /// The one who asks is another user.
    pub const FORBIDDEN: &str = "forbidden";
    /// The extension takes no orders now.
    pub const UNAVAILABLE: &str = "unavailable";
    /// It was not done in time.
    pub const TIMEOUT: &str = "timeout";
}

/// Why a request was not done, as RFC 9457 has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
