//! The language in which records are asked for, the same for the command line, the API and `follow`.
//!
//! ```text
//! level>=warning and message~"time ?out" and user="u1" and field.status>=500 since 15m limit 100
//! ```
//!
//! # Grammar
//!
//! ```text
//! query      = [ condition ] clause*
//! condition  = all-of ( "or" all-of )*
//! all-of     = one ( [ "and" ] one )*                  side by side means "and", which binds tighter than "or"
//! one        = "not" one | "(" condition ")" | term
//! term       = "has" field | field operator value | field "in" "(" value ( "," value )* ")" | text
//! field      = NAME | "field." ( NAME | quoted )
//! operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~" | ":"
//! value      = quoted | VALUE [ "ago" ]
//! text       = quoted | NAME
//! clause     = "since" time | "until" time | "limit" NUMBER | "newest" "first" | "oldest" "first"
//! time       = DURATION [ "ago" ] | RFC-3339 | DATE | "now"
//! quoted     = '"' ( character | '\"' | '\\' | '\n' | '\t' | '\r' )* '"'
//! NAME       = characters other than white space and ( ) , " = ! < > ~ :
//! VALUE      = characters other than white space and ( ) , "
//! ```
//!
//! Keywords are recognised in either case. `docs/query.md` tells users what the words mean; in short:
//!
//! - A comparison is false of a record that has not the field, `!=` and `!~` included; `not user=u1` is true of it.
//! - `=`, `~` and `in` mind the case, `:` (contains) and text on its own do not. Text on its own matches if each of its
//!   words is, as a whole word, in one of the record's texts.
//! - A number compares with a text that is written as a number, since labels are always text.
//! - A query is bounded ([`QUERY_BYTES`], [`TERMS`], [`DEPTH`], [`REGEXES`], [`REGEX_BYTES`]), and no text makes it panic.

mod ast;
pub mod counts;
mod error;
mod eval;
mod fields;
mod filter;
mod lexer;
mod needle;
mod needs;
mod parse;
pub mod patterns;
mod record;
mod required;
#[cfg(test)]
mod tests;
pub mod tokens;
mod values;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::{Envelope, Signal, UnixNanos};
use regex::{Regex, RegexBuilder};

pub use ast::Order;
pub use error::QueryError;
pub use filter::{FilterError, TokenFilter, TokenFilterBuilder};
pub use needs::{Clauses, LevelSet, Needs, SignalSet};

use crate::{Body, Entry};
use ast::{Ast, Condition};
use eval::Matcher;
use fields::Field;
use record::View;

/// Bytes of a query's text: ten screens of it, and too little to be a burden.
pub const QUERY_BYTES: usize = 4096;
/// Terms of a query, each value of a list counted: enough to list a hundred ids.
pub const TERMS: usize = 256;
/// Brackets and `not` within each other: reading and running a query recurse that deeply.
pub const DEPTH: usize = 32;
/// Regular expressions of a query.
pub const REGEXES: usize = 16;
/// Bytes of memory of one compiled regular expression, and again of the states that it keeps while it runs.
pub const REGEX_BYTES: usize = 1024 * 1024;
/// The largest limit that a query can set.
pub const LIMIT: usize = 100_000;

/// A condition on records, with the order in which they are wanted, and how many. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Query(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    ast: Ast,
    matcher: Matcher,
    needs: Needs,
}

impl Query {
    /// Reads a query. What it says to be so long ago is counted from `now`, once: following goes on from there.
    ///
    /// ```
    /// # use glasshouse_model::UnixNanos;
    /// # use glasshouse_telemetry::query::Query;
    /// let query = Query::parse("level>=warning since 15m limit 100", UnixNanos(1_000_000_000_000)).expect("a query");
    /// assert_eq!(query.limit(), Some(100));
    /// let error = Query::parse("messge:timeout", UnixNanos(0)).expect_err("no such field");
    /// assert!(error.to_string().ends_with("(did you mean \"message\"?)"));
    /// ```
    pub fn parse(text: &str, now: UnixNanos) -> Result<Self, QueryError> {
        parse::parse(text, now).map(Self::new)
    }

    /// The query for records of which a field is this text.
    ///
    /// # Errors
    ///
    /// There is no such field, it holds no text, or the text is too long for a query.
    pub fn equal(field: &str, text: &str) -> Result<Self, QueryError> {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        Self::parse(&format!("{field}=\"{text}\""), UnixNanos(0))
    }

    /// The query that matches every record.
    pub fn all() -> Self {
        Self::new(Ast { condition: Condition::All, since: None, until: None, limit: None, order: None })
    }

    fn new(ast: Ast) -> Self {
        let (matcher, needs) = (Matcher::new(&ast.condition), Needs::of(&ast));
        Self(Arc::new(Parts { ast, matcher, needs }))
    }

    /// Whether the record matches. Takes some tens of nanoseconds for comparisons, more for text and patterns.
    #[inline]
    pub fn matches(&self, signal: Signal, extension: &str, envelope: &Envelope, body: &Body<'_>) -> bool {
        let Parts { ast, matcher, needs } = &*self.0;
        needs.signals.contains(signal)
            && ast.since.is_none_or(|since| envelope.time >= since)
            && ast.until.is_none_or(|until| envelope.time < until)
            && matcher.matches(View { signal, extension, envelope, body })
    }

    /// Whether a stored record of an extension matches; one that cannot be read any more does not. Decodes it.
    pub fn asks_for(&self, signal: Signal, extension: &str, entry: &Entry) -> bool {
        entry.body().is_ok_and(|body| self.matches(signal, extension, &entry.envelope(), &body))
    }

    /// Whether the record meets the condition, whatever its time.
    pub(crate) fn holds(&self, signal: Signal, extension: &str, envelope: &Envelope, body: &Body<'_>) -> bool {
        let Parts { ast: _, matcher, needs } = &*self.0;
        needs.signals.contains(signal) && matcher.matches(View { signal, extension, envelope, body })
    }

    /// Whether one sample of a series tells of all that they meet the condition: it asks for nothing but what they have in common.
    pub(crate) fn is_of_series(&self) -> bool {
        self.0.ast.condition.fields().all(Field::is_of_series)
    }

    /// The earliest time that records are wanted of.
    pub fn since(&self) -> Option<UnixNanos> {
        self.0.ast.since
    }

    /// The time from which on none are wanted.
    pub fn until(&self) -> Option<UnixNanos> {
        self.0.ast.until
    }

    /// What a run of records must have for any of them to match.
    pub fn needs(&self) -> &Needs {
        &self.0.needs
    }

    /// How many records are wanted at most, from 1 to [`LIMIT`], if the query says so.
    pub fn limit(&self) -> Option<usize> {
        self.0.ast.limit
    }

    /// Whether it matches every record.
    pub fn wants_all(&self) -> bool {
        let Ast { condition, since, until, limit: _, order: _ } = &self.0.ast;
        *condition == Condition::All && since.is_none() && until.is_none()
    }

    /// In which order the records are wanted; the limit counts from its start.
    pub fn order(&self) -> Order {
        self.0.ast.order.unwrap_or_default()
    }

    /// The query for what both match, with the limit and the order of this one, or else of the other.
    pub fn and(&self, other: &Self) -> Self {
        let (ast, with) = (&self.0.ast, &other.0.ast);
        Self::new(Ast {
            condition: ast::both(&ast.condition, &with.condition),
            since: ast.since.max(with.since),
            until: ast.until.into_iter().chain(with.until).min(),
            limit: ast.limit.or(with.limit),
            order: ast.order.or(with.order),
        })
    }

    /// The order that the query's text gives, if it does.
    pub fn given_order(&self) -> Option<Order> {
        self.0.ast.order
    }
}

impl fmt::Display for Query {
    /// Text that says the same, with absolute times.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.ast.fmt(f)
    }
}

/// A duration as queries have it: `90s`, `1h30m`.
pub fn duration(text: &str) -> Option<Duration> {
    values::duration(text).map(Duration::from_nanos)
}

/// Compiles a regular expression within bounds. The error is in a few words for a person.
fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "it takes too much memory: use smaller repetitions".to_owned(),
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        },
    )
}
