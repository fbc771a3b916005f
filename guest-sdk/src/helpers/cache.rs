//! Uses of caches.

use glasshouse_wire::{Level, Source, Value};

use super::{Known, Outcome, caller, outcome_methods};
use crate::{Kind, enabled, is_stored};

const LOGGER: &str = "glasshouse.cache";

/// A use of a cache; [`log`](CacheAccess::log) tells of it: as an error if it [failed](CacheAccess::failed), as a warning if it
/// was slow, otherwise at debug.
///
/// ```
/// use glasshouse_sdk::CacheAccess;
///
/// CacheAccess::new("pages", "get").hit(true).log();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a use is told by `log`"]
pub struct CacheAccess<'a> {
    cache: &'a str,
    operation: &'a str,
    hit: Option<bool>,
    outcome: Outcome<'a>,
    source: Source<'static>,
}

impl<'a> CacheAccess<'a> {
    /// An operation, such as `get`, on a cache.
    #[track_caller]
    pub fn new(cache: &'a str, operation: &'a str) -> Self {
        Self { cache, operation, hit: None, outcome: Outcome::default(), source: caller() }
    }

    /// Whether it was there.
    pub fn hit(mut self, hit: bool) -> Self {
        self.hit = Some(hit);
        self
    }

    outcome_methods!();

    /// Tells of it.
    pub fn log(&self) {
        let level = self.outcome.level(Level::Debug);
        if !is_stored(Kind::Cache) || !enabled(level) {
            return;
        }
        let Self { cache, operation, hit, outcome, source } = *self;
        let fields = Known::new()
            .text("cache.name", Some(cache))
            .text("cache.operation", Some(operation))
            .add("cache.hit", hit.map(Value::Boolean))
            .outcome(&outcome);
        let send = |message: std::fmt::Arguments<'_>| fields.send(LOGGER, level, source, message);
        match (outcome.failure, hit) {
            (Some(cause), _) => send(format_args!("{operation} {cache} failed: {cause}")),
            (None, Some(true)) => send(format_args!("{operation} {cache}: hit")),
            (None, Some(false)) => send(format_args!("{operation} {cache}: miss")),
            (None, None) => send(format_args!("{operation} {cache}")),
        }
    }
}
