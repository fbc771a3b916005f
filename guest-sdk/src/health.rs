//! How an extension judges itself.

/// What a check found, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is well.
    Healthy,
    /// It works, but not as well as it should.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// One thing that was checked. The worst status of all checks is the extension's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// What was found.
    pub status: Status,
    /// What was found and what to do about it, for a person; may be empty.
    pub detail: String,
}

impl Check {
    /// All is well with it.
    pub fn healthy(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Healthy, detail: String::new() }
    }

    /// It works, but not as well as it should.
    pub fn degraded(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Degraded, detail: detail.into() }
    }

    /// It does not work.
    pub fn unhealthy(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Unhealthy, detail: detail.into() }
    }
}
