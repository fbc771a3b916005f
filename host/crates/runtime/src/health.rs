//! How an extension judges itself.

use std::borrow::Cow;

use glasshouse_model::text;
use glasshouse_telemetry::Redactor;

use crate::bindings::exports::glasshouse::extension::health as wit;

/// Checks of one report that are kept.
pub(crate) const CHECKS: usize = 32;

glasshouse_model::wire::byte_enum! {
    /// How well something works, best first.
    Health {
        /// As intended.
        Healthy = 0 "healthy",
        /// With restrictions.
        Degraded = 1 "degraded",
        /// Not.
        Unhealthy = 2 "unhealthy",
    }
}

/// One thing that an extension checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// How well it works.
    pub status: Health,
    /// What was found, and what to do about it.
    pub detail: String,
}

impl Check {
    /// Replaces what is secret in its texts.
    pub(crate) fn redact(&mut self, redactor: &Redactor) {
        for text in [&mut self.name, &mut self.detail] {
            if let Cow::Owned(clean) = redactor.redact_text(text) {
                *text = clean;
            }
        }
    }
}

impl From<wit::Check> for Check {
    fn from(check: wit::Check) -> Self {
        use glasshouse_model::limits::{NAME_BYTES, TEXT_BYTES};
        Self {
            name: text::cut(&check.name, NAME_BYTES).to_owned(),
            status: match check.status {
                wit::Status::Healthy => Health::Healthy,
                wit::Status::Degraded => Health::Degraded,
                wit::Status::Unhealthy => Health::Unhealthy,
            },
            detail: text::cut(&check.detail, TEXT_BYTES).to_owned(),
        }
    }
}
