//! Alerts: what a person should know now.

use glasshouse_wire::{self as wire, Severity};

use crate::{Kind, batch, is_stored, log};

/// Begins an alert; [`raise`](Alert::raise) sends it. `kind`, with the metric that it is about, is what makes two alerts of an
/// extension the same: one that is raised again while it fires is counted, and one that is not raised for long is over.
///
/// ```
/// use glasshouse_sdk::{Severity, alert};
///
/// alert("error-burst", Severity::High, "Every tenth request fails")
///     .message("12 of 120 requests of the last minute were answered with 5xx; look at the upstream.")
///     .metric("http.error_ratio")
///     .value(0.1)
///     .threshold(0.05)
///     .raise();
/// ```
pub fn alert<'a>(kind: &'a str, severity: Severity, title: &'a str) -> Alert<'a> {
    Alert(wire::Alert { severity, kind, title, message: "", metric: None, value: None, threshold: None })
}

/// An alert that is being written; see [`alert`].
#[derive(Clone, Copy, Debug)]
#[must_use = "an alert is sent by `raise`"]
pub struct Alert<'a>(wire::Alert<'a>);

impl<'a> Alert<'a> {
    /// The whole story: what was found and what to do about it.
    pub fn message(mut self, message: &'a str) -> Self {
        self.0.message = message;
        self
    }

    /// Names the metric that it is about.
    pub fn metric(mut self, name: &'a str) -> Self {
        self.0.metric = Some(name);
        self
    }

    /// The metric's value.
    pub fn value(mut self, value: f64) -> Self {
        self.0.value = Some(value);
        self
    }

    /// The threshold that the value passed.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.0.threshold = Some(threshold);
        self
    }

    /// Sends it.
    pub fn raise(self) {
        if !is_stored(Kind::Alerts) {
            return;
        }
        batch::flush();
        log::send(wire::KIND_ALERT, |body| wire::write_alert(body, &self.0));
    }
}
