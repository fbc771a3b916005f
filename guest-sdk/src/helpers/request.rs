//! Requests to other services.

use glasshouse_wire::{Level, Source, Value};

use super::{Known, Outcome, caller, outcome_methods};
use crate::{Kind, enabled, is_stored};

const LOGGER: &str = "glasshouse.request";

/// A request to another service that was answered, or was not; [`log`](ApiRequest::log) tells of it.
///
/// It is an error if it [failed](ApiRequest::failed) or its status is 500 or above, a warning from 400 on or if it was slow, and
/// otherwise told at info.
///
/// ```
/// use std::time::Duration;
/// use glasshouse_sdk::ApiRequest;
///
/// ApiRequest::new("GET", "https://example.com/users/7")
///     .status(200)
///     .elapsed(Duration::from_millis(42))
///     .slow_after(Duration::from_millis(500))
///     .log();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a request is told by `log`"]
pub struct ApiRequest<'a> {
    method: &'a str,
    url: &'a str,
    status: Option<u16>,
    outcome: Outcome<'a>,
    source: Source<'static>,
}

impl<'a> ApiRequest<'a> {
    /// A request with a method, such as `GET`, to a URL.
    #[track_caller]
    pub fn new(method: &'a str, url: &'a str) -> Self {
        Self { method, url, status: None, outcome: Outcome::default(), source: caller() }
    }

    /// The status of the answer.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    outcome_methods!();

    fn level(&self) -> Level {
        let by_status = match self.status {
            Some(500..) => Level::Error,
            Some(400..) => Level::Warning,
            _ => Level::Info,
        };
        self.outcome.level(by_status)
    }

    /// Tells of it.
    pub fn log(&self) {
        let level = self.level();
        if !is_stored(Kind::Request) || !enabled(level) {
            return;
        }
        let Self { method, url, .. } = *self;
        let fields = Known::new()
            .text("http.request.method", Some(method))
            .text("url.full", Some(url))
            .add("http.response.status_code", self.status.map(|status| Value::Integer(status.into())))
            .outcome(&self.outcome);
        let send = |message: std::fmt::Arguments<'_>| fields.send(LOGGER, level, self.source, message);
        match (self.outcome.failure, self.status) {
            (Some(cause), _) => send(format_args!("{method} {url} failed: {cause}")),
            (None, Some(status)) => send(format_args!("{method} {url}: {status}")),
            (None, None) => send(format_args!("{method} {url}")),
        }
    }
}
