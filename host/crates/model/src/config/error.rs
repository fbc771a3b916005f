//! What is wrong with a configuration, where, and whose fault it is.

use std::fmt;
use std::sync::Arc;

use crate::Blame;

/// Problems that one error lists; a file with more is hardly read to the end.
const PROBLEMS: usize = 20;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file; line and column count from 1, columns in characters.
    File {
        /// The file's label, as it was given to the parser.
        file: Arc<str>,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In the file as a whole.
    Whole(Arc<str>),
    /// In an environment variable.
    Variable(String),
    /// In a `--set` flag for this path.
    Flag(String),
    /// In what is set while an extension runs, for this path.
    Running(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file} line {line}, column {column}"),
            Self::Whole(file) => f.write_str(file),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(path) => write!(f, "--set {path}"),
            Self::Running(path) => f.write_str(path),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What was found, what is allowed and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value that was given by its path is not named twice.
        let path = match &self.place {
            Place::Flag(path) | Place::Running(path) => path.as_str(),
            _ => "",
        };
        let rest = self.message.strip_prefix(path).and_then(|rest| rest.strip_prefix(": "));
        write!(f, "{}: {}", self.place, rest.filter(|_| !path.is_empty()).unwrap_or(&self.message))
    }
}

/// A configuration that is refused as a whole; its text has one line for each problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The guest's for a manifest, the host's for what the operator wrote.
    pub blame: Blame,
    /// What is wrong, in the order of the file; at least one.
    pub problems: Vec<Problem>,
    /// Problems found beyond those listed.
    pub more: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects problems up to a bound.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// Adds one; its message is not even made when the list is full.
    pub(super) fn add(&mut self, place: impl FnOnce() -> Place, message: impl FnOnce() -> String) {
        if self.list.len() < PROBLEMS {
            self.list.push(Problem { place: place(), message: message() });
        } else {
            self.more += 1;
        }
    }

    /// Takes over the problems of another reader.
    pub(super) fn extend(&mut self, other: Self) {
        self.more += other.more;
        for problem in other.list {
            self.add(|| problem.place, || problem.message);
        }
    }

    /// The value if there was no problem.
    pub(super) fn or<T>(self, blame: Blame, value: T) -> Result<T, ConfigError> {
        if self.list.is_empty() { Ok(value) } else { Err(self.into_error(blame)) }
    }

    /// The error that they are.
    pub(super) fn into_error(mut self, blame: Blame) -> ConfigError {
        self.list.sort_by(|a, b| a.place.cmp(&b.place));
        ConfigError { blame, problems: self.list, more: self.more }
    }
}
