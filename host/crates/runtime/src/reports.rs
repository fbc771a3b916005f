//! What a guest has reported in a call, so that an answer with the same error is known to be the same.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use glasshouse_model::text::cut;
use glasshouse_model::wire::Error;
use glasshouse_model::{Reported, limits};

use crate::extension::HandlerError;

/// Reports of a call that are remembered: the latest. What is reported and then answered with is mostly the last one.
const REMEMBERED: usize = 8;
/// Parts before the report's words that an answer may have, each with a colon.
const CONTEXTS: usize = 8;
/// How the SDK writes a cause into a stack.
const CAUSE: &str = "caused by: ";

/// The latest reports of a call.
#[derive(Default)]
pub(crate) struct Reports {
    hasher: RandomState,
    latest: RefCell<VecDeque<Report>>,
}

struct Report {
    /// Hashes of what an answer with the same error would say: the message, and the message with its causes.
    says: [u64; 2],
    reported: Reported,
}

impl Reports {
    /// Notes a report that was stored.
    pub(crate) fn note(&self, error: &Error<'_>, reported: Reported) {
        let message = cut(error.message, limits::MESSAGE_BYTES);
        let mut whole = message.to_owned();
        for cause in cut(error.stack, limits::TEXT_BYTES).lines().filter_map(|line| line.strip_prefix(CAUSE)) {
            whole.push_str(": ");
            whole.push_str(cause);
        }
        let says = [self.hasher.hash_one(message), self.hasher.hash_one(&*whole)];
        let mut latest = self.latest.borrow_mut();
        if latest.len() == REMEMBERED {
            latest.pop_front();
        }
        latest.push_back(Report { says, reported });
    }

    /// The latest report that says what an answer does: its message, also where something was put before it with a colon, or its kind and
    /// its message as the SDK writes them as one text.
    pub(crate) fn of(&self, answer: &HandlerError) -> Option<Reported> {
        let latest = self.latest.borrow();
        if latest.is_empty() {
            return None;
        }
        let (kind, message) = match answer {
            HandlerError::UnknownEvent(message) => ("unknown event", message),
            HandlerError::InvalidPayload(message) => ("invalid payload", message),
            HandlerError::Failed { kind, message } => (cut(kind, limits::NAME_BYTES), message),
        };
        // What is longer is not looked at: a guest may answer with megabytes.
        let message = cut(message, limits::MESSAGE_BYTES);
        let whole = format!("{kind}: {message}");
        let ends = message.match_indices(": ").take(CONTEXTS).map(|(at, colon)| &message[at + colon.len()..]);
        let texts = [whole.as_str(), message].into_iter().chain(ends);
        let says: Vec<_> = texts.map(|text| self.hasher.hash_one(text)).collect();
        latest
            .iter()
            .rev()
            .find(|report| report.says.iter().any(|one| says.contains(one)))
            .map(|report| report.reported)
    }

    /// Forgets what belongs to the call before.
    #[inline]
    pub(crate) fn clear(&self) {
        let mut latest = self.latest.borrow_mut();
        if !latest.is_empty() {
            latest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::GroupId;

    use super::*;

    fn note(reports: &Reports, sequence: u64, message: &str, stack: &str) {
        let error = Error { kind: "e::Parse", message, stack, source: None, handled: true };
        reports.note(&error, Reported { sequence, group: GroupId([1; 6]), handled: true });
    }

    #[test]
    fn an_answer_is_the_latest_report_that_says_the_same() {
        let reports = Reports::default();
        let failed = |message: &str| HandlerError::Failed { kind: "parse".into(), message: message.into() };
        let check = |answer: &HandlerError, expect: Option<u64>| {
            assert_eq!(reports.of(answer).map(|reported| reported.sequence), expect, "{answer:?}");
        };
        check(&failed("line 3"), None);
        note(&reports, 1, "line 3", "");
        note(&reports, 2, "no config", "caused by: no file\ncaused by: os error 2");
        note(&reports, 3, "line 3", "at parse");
        note(&reports, 4, "invalid payload: too long", "");
        check(&failed("line 3"), Some(3));
        check(&failed("line 4"), None);
        check(&failed("no config"), Some(2));
        check(&failed("no config: no file: os error 2"), Some(2));
        check(&failed("cannot start: no config"), Some(2));
        check(&failed("no config at all"), None);
        check(&HandlerError::InvalidPayload("too long".into()), Some(4));
        for number in 0..REMEMBERED as u64 {
            note(&reports, 10 + number, "other", "");
        }
        check(&failed("line 3"), None);
        reports.clear();
        check(&failed("other"), None);
    }
}
