//! Queries of databases.

use glasshouse_wire::{Level, Source};

use super::{Known, Outcome, caller, outcome_methods};
use crate::{Kind, ToValue, enabled, is_stored};

const LOGGER: &str = "glasshouse.database";

/// A query of a database; [`log`](DatabaseQuery::log) tells of it: as an error if it [failed](DatabaseQuery::failed), as a warning
/// if it was slow, otherwise at debug.
///
/// ```
/// use std::time::Duration;
/// use glasshouse_sdk::DatabaseQuery;
///
/// DatabaseQuery::new("SELECT", "orders").system("postgresql").rows(3).elapsed(Duration::from_micros(900)).log();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a query is told by `log`"]
pub struct DatabaseQuery<'a> {
    operation: &'a str,
    table: &'a str,
    system: Option<&'a str>,
    rows: Option<u64>,
    outcome: Outcome<'a>,
    source: Source<'static>,
}

impl<'a> DatabaseQuery<'a> {
    /// An operation, such as `SELECT`, on a table.
    #[track_caller]
    pub fn new(operation: &'a str, table: &'a str) -> Self {
        Self { operation, table, system: None, rows: None, outcome: Outcome::default(), source: caller() }
    }

    /// What kind of database it is: `postgresql`, `sqlite`.
    pub fn system(mut self, system: &'a str) -> Self {
        self.system = Some(system);
        self
    }

    /// Rows that it returned.
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    outcome_methods!();

    /// Tells of it.
    pub fn log(&self) {
        let level = self.outcome.level(Level::Debug);
        if !is_stored(Kind::Database) || !enabled(level) {
            return;
        }
        let Self { operation, table, .. } = *self;
        let fields = Known::new()
            .text("db.operation.name", Some(operation))
            .text("db.collection.name", Some(table))
            .text("db.system.name", self.system)
            .add("db.response.returned_rows", self.rows.as_ref().map(u64::to_value))
            .outcome(&self.outcome);
        let send = |message: std::fmt::Arguments<'_>| fields.send(LOGGER, level, self.source, message);
        match self.outcome.failure {
            Some(cause) => send(format_args!("{operation} {table} failed: {cause}")),
            None => send(format_args!("{operation} {table}")),
        }
    }
}
