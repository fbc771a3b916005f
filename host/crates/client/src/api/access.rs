//! Who may use the API, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token allows; each scope allows what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To read what is stored, and how extensions are doing.
    #[default]
    Read,
    /// To change how extensions are watched and what they may use, and to call them.
    Operate,
    /// To make and revoke tokens.
    Admin,
}

impl Scope {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token, without what is secret of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id: 8 hexadecimal digits.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub made: String,
    /// Who made it.
    pub by: String,
    /// When it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What a token is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeToken {
    /// What it is for: one line of at most 80 characters.
    pub name: String,
    /// What it allows.
    #[serde(default)]
    pub scope: Scope,
    /// For how long, in milliseconds; for ever if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// A token that was just made. It is told this once: the host keeps a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// What is known of it.
    #[serde(flatten)]
    pub token: Token,
    /// What goes behind `Authorization: Bearer`.
    pub secret: String,
}

/// That a host knows a token: its answer to a challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// The answer to the challenge, in hexadecimal digits.
    pub proof: String,
}
