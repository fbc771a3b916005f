//! What logs of one place in a guest's source have in common, and was found clean before: it is searched once.

use super::Redactor;

/// Places in the source that are remembered; a power of two.
const SLOTS: usize = 64;

/// Starts of logs, from target to message, in which there is nothing to redact by the rules of one [`Redactor`]. It takes
/// memory with the first log: at most 64 times the length of a start.
#[derive(Debug, Default)]
pub struct CleanStarts(Vec<Vec<u8>>);

impl Redactor {
    /// As [`Redactor::is_suspect`], of a log's body in which a start that is the same for each log of one place in the source
    /// lies in `start`, and its fields after it. Nothing that could be redacted lies across the two: texts are gone over one by one.
    #[inline]
    pub fn is_suspect_log(&self, body: &[u8], start: std::ops::Range<usize>, known: &mut CleanStarts) -> bool {
        let fields = start.end;
        let Some(start) = body.get(start) else { return self.is_suspect(body) };
        if known.holds(start) {
            return self.is_suspect(&body[fields..]);
        }
        let is_suspect = self.is_suspect(body);
        if !is_suspect {
            known.remember(start);
        }
        is_suspect
    }
}

impl Redactor {
    /// As [`Redactor::is_suspect`], of a text that comes again and again, such as the name of an invocation.
    #[inline]
    pub fn is_suspect_again(&self, text: &[u8], known: &mut CleanStarts) -> bool {
        if known.holds(text) {
            return false;
        }
        let is_suspect = self.is_suspect(text);
        if !is_suspect {
            known.remember(text);
        }
        is_suspect
    }
}

impl CleanStarts {
    #[inline]
    fn holds(&self, start: &[u8]) -> bool {
        self.0.get(slot(start)).is_some_and(|known| known == start)
    }

    #[inline]
    fn remember(&mut self, start: &[u8]) {
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, Vec::new);
        }
        let known = &mut self.0[slot(start)];
        known.clear();
        known.extend_from_slice(start);
    }
}

/// Where a start is remembered: its last bytes are the message's.
#[inline]
fn slot(start: &[u8]) -> usize {
    let last = start.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    let mixed = (last ^ start.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use glasshouse_model::Level;
    use glasshouse_model::wire::{Field, Log, Value, check_log, write_log};
    use proptest::prelude::*;

    use super::*;

    fn body(message: &str, value: &str) -> Vec<u8> {
        let mut body = Vec::new();
        let log = Log { level: Level::Info, target: "shop", message, source: None, time: Some(7) };
        write_log(&mut body, &log, format_args!("{message}"), &[Field { name: "note", value: Value::Text(value) }]);
        body
    }

    fn is_suspect(redactor: &Redactor, body: &[u8], known: &mut CleanStarts) -> bool {
        let log = check_log(body).expect("a log");
        redactor.is_suspect_log(body, log.texts_at..log.fields_at, known)
    }

    #[test]
    fn a_start_is_searched_once_and_fields_each_time() {
        let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
        let clean = body("sold a book", "to ada");
        let log = check_log(&clean).expect("a log");
        assert!(!known.holds(&clean[log.texts_at..log.fields_at]));
        assert!(!is_suspect(&redactor, &clean, &mut known));
        assert!(known.holds(&clean[log.texts_at..log.fields_at]));
        assert!(is_suspect(&redactor, &body("sold a book", "password=hunter2"), &mut known));
        assert!(is_suspect(&redactor, &body("password=hunter2", "to ada"), &mut known));
        assert!(
            is_suspect(&redactor, &body("password=hunter2", "to ada"), &mut known),
            "what is suspect is not remembered"
        );
    }

    #[test]
    fn a_text_is_searched_once() {
        let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
        assert!(!redactor.is_suspect_again(b"handle:render", &mut known));
        assert!(known.holds(b"handle:render"));
        assert!(redactor.is_suspect_again(b"handle:token=abc", &mut known));
        assert!(redactor.is_suspect_again(b"handle:token=abc", &mut known));
    }

    proptest! {
        #[test]
        fn what_is_remembered_hides_nothing(
            logs in prop::collection::vec(
                (prop::sample::select(vec!["sold", "login", "pass", "password: x", "the token is"]),
                 prop::sample::select(vec!["", "ada", "hunter2", "token=abc", "4111 1111 1111 1111", "word=hunter2"])),
                1..40,
            ),
        ) {
            let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
            for (message, value) in logs {
                let body = body(message, value);
                let is_suspect = is_suspect(&redactor, &body, &mut known);
                if redactor.redact_record(glasshouse_model::wire::KIND_LOG, &body).is_some() {
                    prop_assert!(is_suspect, "{message} {value}");
                }
            }
        }
    }
}
