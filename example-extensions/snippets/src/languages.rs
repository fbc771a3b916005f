//! The languages that can be highlighted, and how one is found.

use glasshouse_sdk::Error;
use syntect::parsing::{SyntaxReference, SyntaxSet};

/// A name this similar, on a scale from 0 to 1, may be what was meant.
const NEAR: f64 = 0.75;

/// How many near names an error gives.
const MAX_NEAR: usize = 3;

/// All languages.
#[derive(Debug)]
pub(crate) struct Languages(SyntaxSet);

impl Languages {
    /// Unpacks the languages that `syntect` brings.
    pub(crate) fn load() -> Self {
        Self(SyntaxSet::load_defaults_newlines())
    }

    pub(crate) fn set(&self) -> &SyntaxSet {
        &self.0
    }

    pub(crate) fn count(&self) -> usize {
        self.names().count()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.syntaxes().iter().filter(|syntax| !syntax.hidden).map(|syntax| syntax.name.as_str())
    }

    /// The language of a name or file extension.
    pub(crate) fn find(&self, language: &str) -> Result<&SyntaxReference, Error> {
        self.0.find_syntax_by_token(language).ok_or_else(|| {
            let near = self.near(language);
            let hint = if near.is_empty() {
                "the event `languages` names them all".to_owned()
            } else {
                format!("did you mean {}?", near.join(" or "))
            };
            Error::failed("unknown-language", format!("no language \"{language}\"; {hint}"))
        })
    }

    /// The language that the first line gives away, or plain text.
    pub(crate) fn detect(&self, code: &str) -> &SyntaxReference {
        let first = code.lines().next().unwrap_or_default();
        self.0.find_syntax_by_first_line(first).unwrap_or_else(|| self.0.find_syntax_plain_text())
    }

    fn near(&self, language: &str) -> Vec<&str> {
        let language = language.to_lowercase();
        let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &language);
        let mut near: Vec<_> = self.names().map(|name| (likeness(name), name)).filter(|near| near.0 >= NEAR).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(MAX_NEAR).map(|near| near.1).collect()
    }
}
