//! What an extension did to go on after something failed.

use glasshouse_wire::{Level, Source, Value};

use super::{Known, caller};
use crate::enabled;

const LOGGER: &str = "glasshouse.recovery";

#[derive(Clone, Copy, Debug)]
enum Action<'a> {
    Retry { attempt: u32 },
    Fallback { to: &'a str },
    Degradation { without: &'a str },
}

/// What was done to go on after something failed; [`log`](Recovery::log) tells of it: a retry at info, what makes a difference
/// to somebody as a warning.
///
/// ```
/// use glasshouse_sdk::Recovery;
///
/// Recovery::retry("rates", 2).because("timeout").log();
/// Recovery::fallback("rates", "yesterday's rates").because("timeout").log();
/// Recovery::degradation("search", "highlighting").log();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a recovery is told by `log`"]
pub struct Recovery<'a> {
    subject: &'a str,
    action: Action<'a>,
    cause: Option<&'a str>,
    source: Source<'static>,
}

impl<'a> Recovery<'a> {
    #[track_caller]
    fn new(subject: &'a str, action: Action<'a>) -> Self {
        Self { subject, action, cause: None, source: caller() }
    }

    /// It is tried again; the second try is attempt 2.
    #[track_caller]
    pub fn retry(subject: &'a str, attempt: u32) -> Self {
        Self::new(subject, Action::Retry { attempt })
    }

    /// Something else takes its place.
    #[track_caller]
    pub fn fallback(subject: &'a str, to: &'a str) -> Self {
        Self::new(subject, Action::Fallback { to })
    }

    /// It goes on without something.
    #[track_caller]
    pub fn degradation(subject: &'a str, without: &'a str) -> Self {
        Self::new(subject, Action::Degradation { without })
    }

    /// What had failed, by a short word.
    pub fn because(mut self, cause: &'a str) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Tells of it.
    pub fn log(&self) {
        let Self { subject, action, cause, source } = *self;
        let level = if matches!(action, Action::Retry { .. }) { Level::Info } else { Level::Warning };
        if !enabled(level) {
            return;
        }
        let fields = |action: &'static str| {
            Known::new().text("recovery.action", Some(action)).text("recovery.subject", Some(subject))
        };
        let send = |fields: Known<'_>, message: std::fmt::Arguments<'_>| {
            fields.text("error.type", cause).send(LOGGER, level, source, message);
        };
        match action {
            Action::Retry { attempt } => send(
                fields("retry").add("recovery.attempt", Some(Value::Integer(attempt.into()))),
                format_args!("{subject}: attempt {attempt}"),
            ),
            Action::Fallback { to } => {
                send(fields("fallback").text("recovery.to", Some(to)), format_args!("{subject}: {to} instead"));
            }
            Action::Degradation { without } => send(
                fields("degradation").text("recovery.without", Some(without)),
                format_args!("{subject}: without {without}"),
            ),
        }
    }
}
