//! Cuts the text of a query into words, operators and values, and knows the column of each.

use super::ast::Operator;
use super::error::{QueryError, shown};

/// What ends a word where a term may start.
const ENDS_WORD: &[char] = &['(', ')', ',', '"', '=', '!', '<', '>', '~', ':'];
/// What ends a value, which may hold operators: `handle:render`, `2026-11-22T10:00:00Z`.
const ENDS_VALUE: &[char] = &['(', ')', ',', '"'];

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw<'q> {
    Bare(&'q str),
    Quoted(String),
}

/// A place in the text of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'q> {
    text: &'q str,
    at: usize,
}

impl<'q> Lexer<'q> {
    pub(super) fn new(text: &'q str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'q str {
        &self.text[self.at..]
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes past this character, if it is the next one after white space.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn run(&mut self, ends: &[char]) -> &'q str {
        self.skip_space();
        let rest = self.rest();
        let length = rest.find(|c: char| c.is_whitespace() || ends.contains(&c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// The next word, a keyword or field among them; empty where something else stands.
    pub(super) fn word(&mut self) -> &'q str {
        self.run(ENDS_WORD)
    }

    /// Goes past a keyword, if it is the next word, in either case.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.word().eq_ignore_ascii_case(keyword);
        if found {
            *self = ahead;
        }
        found
    }

    /// Goes past an operator, if one is next.
    pub(super) fn operator(&mut self) -> Option<Operator> {
        let mut ahead = *self;
        ahead.skip_space();
        let operator = Operator::ALL.iter().find(|operator| ahead.rest().starts_with(operator.as_str()))?;
        ahead.at += operator.as_str().len();
        *self = ahead;
        Some(*operator)
    }

    /// The next value, bare or in quotes.
    pub(super) fn value(&mut self, expected: &str) -> Result<Raw<'q>, QueryError> {
        self.skip_space();
        if self.peek() == Some('"') {
            return self.quoted().map(Raw::Quoted);
        }
        let start = *self;
        match self.run(ENDS_VALUE) {
            "" => Err(start.error(expected)),
            bare => Ok(Raw::Bare(bare)),
        }
    }

    /// A text in quotes, which must be next.
    pub(super) fn quoted(&mut self) -> Result<String, QueryError> {
        let start = *self;
        let mut text = String::new();
        let mut characters = self.rest().char_indices();
        characters.next();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    // Regular expressions are full of other escapes: they stand for themselves.
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(start.error("a closing quote"))
    }

    /// An error about what stands here.
    pub(super) fn error(&self, expected: impl Into<String>) -> QueryError {
        let mut here = *self;
        here.skip_space();
        let mut ahead = here;
        let found = match here.peek() {
            None => "the end".to_owned(),
            Some('"') => shown(here.rest()),
            Some(first) => match ahead.word() {
                "" => shown(first.encode_utf8(&mut [0; 4])),
                word => shown(word),
            },
        };
        here.error_about(found, expected)
    }

    /// An error at this place about something that the caller describes.
    pub(super) fn error_about(&self, found: String, expected: impl Into<String>) -> QueryError {
        let mut here = *self;
        here.skip_space();
        let column = here.text[..here.at].chars().count() + 1;
        QueryError { column, found, expected: expected.into(), hint: None }
    }
}

/// A text in quotes, as [`Lexer::quoted`] reads it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
