//! Replaces secrets by `[redacted]` before anything is stored: by the names of fields, and by what secrets look like.
//!
//! A [`Redactor`] looks at whole encoded records first: [`Redactor::is_suspect`] costs a clean log some tens of
//! nanoseconds. Only what is suspect is decoded and gone over, text by text, along the finds of the same search:
//!
//! - *By name*: the value of a field, label or attribute whose name has a word such as `password`, `token`,
//!   `api_key` or `cookie`; inside of texts also that of `name=value`, `name: value`, JSON, JSON in JSON, headers, URL
//!   parameters, SQL and XML. Booleans stay, and so do names that speak about a secret, such as `token_count`.
//! - *By shape*: JSON web tokens, credentials after `Bearer` and `Basic`, keys of well-known services, private keys in
//!   PEM, card numbers with a right check digit, passwords in URLs, SQL's `IDENTIFIED BY`; e-mail addresses if asked.
//! - *By settings*: further names and patterns; see [`Redaction`].
//!
//! All work is bounded and linear in the text, which the guest chooses. The marker is the same for all kinds of secrets:
//! what kind it was may be a secret too.

mod card;
mod cues;
mod gate;
mod known;
mod lines;
mod names;
mod plain;
mod prefilter;
mod record;
mod shapes;
mod sql;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use glasshouse_model::settings::Redaction;
use glasshouse_model::{Context, Failure, limits};
use regex::Regex;
use regex_syntax::hir::literal::Extractor;

pub use self::known::{CleanStarts, InvocationName, LogSearch, SeenLog};
pub use self::lines::KeyLines;
use self::names::Names;
use self::prefilter::Prefilter;

/// What stands in place of a secret.
pub const MARKER: &str = "[redacted]";

/// Bytes of a pattern's start that make it worth searching for; shorter ones are nearly everywhere.
const LEAST_LITERAL: usize = 3;

/// Replaces secrets in what is to be stored, by the rules of one extension.
///
/// ```
/// use glasshouse_model::settings::Redaction;
/// use glasshouse_telemetry::Redactor;
///
/// let redactor = Redactor::new(&Redaction::default())?;
/// let clean = redactor.redact_text("login of ada with password=hunter2 took 3 ms");
/// assert_eq!(clean, "login of ada with password=[redacted] took 3 ms");
/// # Ok::<(), glasshouse_telemetry::RedactionError>(())
/// ```
#[derive(Debug)]
pub struct Redactor {
    enabled: bool,
    email: bool,
    names: Names,
    patterns: Vec<Regex>,
    /// Whether some pattern has to be tried on every text.
    always_patterns: bool,
    /// Whether what looks plain cannot be anything that these rules replace.
    plain_is_clean: bool,
    prefilter: Prefilter,
}

/// Settings that make no redactor. Configuration refuses them before, with their place; the blame is the host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redaction.patterns: the pattern \"{}\" is refused: {cause}", glasshouse_model::text::visible(.pattern, 80))]
pub struct RedactionError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub cause: String,
}

impl Default for Redactor {
    /// The rules that hold where nothing is configured.
    fn default() -> Self {
        Self::new(&Redaction::default()).unwrap_or_else(|_| unreachable!("the defaults have no patterns of their own"))
    }
}

impl Redactor {
    /// A redactor with the built-in rules and those of the settings.
    pub fn new(settings: &Redaction) -> Result<Self, RedactionError> {
        let compile = |pattern: &String| {
            Redaction::compile(pattern).map_err(|cause| RedactionError { pattern: pattern.clone(), cause })
        };
        let patterns = settings.patterns.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        let starts: Vec<_> = settings.patterns.iter().map(|pattern| literal_starts(pattern)).collect();
        let always_patterns = starts.iter().any(Option::is_none);
        let words = settings.fields.iter().map(|name| names::longest_word(name).as_bytes().to_vec());
        let further: Vec<_> =
            words.chain(starts.into_iter().flatten().flatten()).filter(|cue| !cue.is_empty()).collect();
        Ok(Self {
            enabled: settings.enabled,
            email: settings.email,
            names: Names::new(&settings.fields, &settings.keep_fields),
            patterns,
            always_patterns,
            plain_is_clean: settings.patterns.is_empty() && !settings.email,
            prefilter: Prefilter::new(&further, always_patterns, settings.email),
        })
    }

    /// Whether these bytes, an encoded body or context or a text, could hold anything to replace. It never says no for
    /// what one of the other functions would change; a pattern that starts with no fixed text makes it say yes always.
    #[inline]
    pub fn is_suspect(&self, bytes: &[u8]) -> bool {
        self.enabled && self.prefilter.is_suspect(bytes)
    }

    /// The body of a stored record with what is secret replaced; `None` if nothing was, or if it is no record. The
    /// record has as many fields as before, and stays within its limits or, if it was over them, about its length.
    pub fn redact_record(&self, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
        if self.enabled { record::redact(self, kind, body) } else { None }
    }

    /// The same for text by itself: the host's logs, lines of standard output. The text may get up to
    /// four times as long, where it consists of short secrets.
    pub fn redact_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.text_within(text, usize::MAX).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// The same for text that has a name, whose value may be secret for that name.
    pub fn redact_value<'t>(&self, name: &str, text: &'t str) -> Cow<'t, str> {
        let is_secret = self.enabled && !text.is_empty() && self.is_secret_name(name);
        if is_secret { Cow::Borrowed(MARKER) } else { self.redact_text(text) }
    }

    /// The same for a context's correlation id, user and tenant; `None` if nothing was replaced.
    #[inline]
    pub fn redact_context(&self, context: &Context) -> Option<Context> {
        if context.has_texts() { self.redact_texts(context) } else { None }
    }

    fn redact_texts(&self, context: &Context) -> Option<Context> {
        let redacted = |part: &Option<String>| self.text_within(part.as_deref()?, limits::CONTEXT_BYTES);
        let parts = [&context.correlation_id, &context.user, &context.tenant].map(redacted);
        if parts.iter().all(Option::is_none) {
            return None;
        }
        let mut clean = context.clone();
        let places = [&mut clean.correlation_id, &mut clean.user, &mut clean.tenant];
        for (place, part) in places.into_iter().zip(parts) {
            if part.is_some() {
                *place = part;
            }
        }
        Some(clean)
    }

    /// Replaces what is secret in the texts of a failure, which are told in replies, listings and the host's own log, too.
    pub fn redact_failure(&self, failure: &mut Failure) {
        let (file, functions) = (&mut failure.location, &mut failure.frames);
        let texts = [&mut failure.message, &mut failure.call].into_iter();
        let texts = texts.chain(file.iter_mut().map(|(file, _)| file));
        for text in texts.chain(functions.iter_mut().map(|frame| &mut frame.function)) {
            if let Some(clean) = self.text_within(text, usize::MAX) {
                *text = clean;
            }
        }
    }

    fn text_within(&self, text: &str, limit: usize) -> Option<String> {
        if self.is_suspect(text.as_bytes()) { text::redact(self, text, limit) } else { None }
    }

    /// Whether a field's value is secret for its name. The search goes first, so that a record with the name is suspect.
    fn is_secret_name(&self, name: &str) -> bool {
        self.prefilter.scan(name.as_bytes(), |hit| hit.is_name()) && self.names.is_secret(name)
    }
}

/// The texts that every match of a pattern starts with one of, if there are such.
fn literal_starts(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let starts = Extractor::new().extract(&hir);
    let starts: Vec<_> = starts.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect();
    let usable = !starts.is_empty() && starts.iter().all(|start| start.len() >= LEAST_LITERAL);
    usable.then_some(starts)
}
