//! Logs of one shape each, for what most extensions do: requests, queries, plugins, caches, security, recovery.
//!
//! Names of fields are OpenTelemetry's where it has one. Each kind has a logger of its own, which the operator can switch off as
//! an aspect; then nothing is formatted, and nothing crosses.

mod cache;
mod database;
mod plugin;
mod recovery;
mod request;
mod security;

use std::fmt;
use std::time::Duration;

use glasshouse_wire::{self as wire, Field, Level, Source, Value};

pub use cache::CacheAccess;
pub use database::DatabaseQuery;
pub use plugin::PluginExecution;
pub use recovery::Recovery;
pub use request::ApiRequest;
pub use security::{SecurityEvent, SecurityKind};

use crate::log::send_log;

/// Fields that a helper's log has at most.
const MOST_FIELDS: usize = 8;

/// The fields of one log, those that are known.
struct Known<'a> {
    fields: [Field<'a>; MOST_FIELDS],
    count: usize,
}

impl<'a> Known<'a> {
    fn new() -> Self {
        Self { fields: [Field { name: "", value: Value::Boolean(false) }; MOST_FIELDS], count: 0 }
    }

    fn add(mut self, name: &'static str, value: Option<Value<'a>>) -> Self {
        if let Some(value) = value
            && let Some(place) = self.fields.get_mut(self.count)
        {
            *place = Field { name, value };
            self.count += 1;
        }
        self
    }

    fn text(self, name: &'static str, text: Option<&'a str>) -> Self {
        self.add(name, text.map(Value::Text))
    }

    fn outcome(self, outcome: &Outcome<'a>) -> Self {
        self.add("elapsed_ms", outcome.elapsed.map(|elapsed| Value::Float(elapsed.as_secs_f64() * 1e3)))
            .add("slow", outcome.is_slow().then_some(Value::Boolean(true)))
            .text("error.type", outcome.failure)
    }

    /// Sends them as a log.
    fn send(&self, logger: &'static str, level: Level, source: Source<'static>, message: fmt::Arguments<'_>) {
        send_log(level, |body, time| {
            let log = wire::Log { level, target: logger, message: "", source: Some(source), time };
            wire::write_log(body, &log, message, &self.fields[..self.count]);
        });
    }
}

/// How something ended, and after how long.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome<'a> {
    elapsed: Option<Duration>,
    slow_after: Option<Duration>,
    failure: Option<&'a str>,
}

impl Outcome<'_> {
    fn is_slow(&self) -> bool {
        self.elapsed.zip(self.slow_after).is_some_and(|(elapsed, limit)| elapsed > limit)
    }

    /// Error if it failed, warning if it was slow, otherwise that of one that went well.
    fn level(&self, well: Level) -> Level {
        match self.failure {
            Some(_) => Level::Error,
            None if self.is_slow() => well.max(Level::Warning),
            None => well,
        }
    }
}

/// How what a helper tells of ended, as its caller says it; the helper has an [`Outcome`].
macro_rules! outcome_methods {
    () => {
        /// How long it took.
        pub fn elapsed(mut self, elapsed: std::time::Duration) -> Self {
            self.outcome.elapsed = Some(elapsed);
            self
        }

        /// What takes longer than that is slow, and told as a warning.
        pub fn slow_after(mut self, limit: std::time::Duration) -> Self {
            self.outcome.slow_after = Some(limit);
            self
        }

        /// That it failed, by a short word for the cause, such as `timeout`.
        pub fn failed(mut self, cause: &'a str) -> Self {
            self.outcome.failure = Some(cause);
            self
        }
    };
}
use outcome_methods;

/// Where the caller of a `#[track_caller]` function stands.
#[track_caller]
fn caller() -> Source<'static> {
    let place = std::panic::Location::caller();
    Source { file: place.file(), line: place.line() }
}
