//! What is wrong with the text of a query: where, what was found, and what would be right.

use std::fmt;

use glasshouse_model::text::visible;

/// Characters of foreign text that a message repeats.
const SHOWN: usize = 40;

/// A text that is no query. Its message is for the person who wrote the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query, column {column}: found {found}, expected {expected}{}", Hint(.hint.as_deref()))]
pub struct QueryError {
    /// Where it went wrong: characters from the start of the text, counted from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What would be right there.
    pub expected: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl QueryError {
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Foreign text as a message shows it: in quotes, safe and short.
pub(super) fn shown(text: &str) -> String {
    format!("\"{}\"", visible(text, SHOWN))
}
