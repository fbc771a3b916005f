//! What logs of one place in a guest's source have in common, and was found clean before: it is searched once.

use glasshouse_model::wire::{LogSummary, LogWatch, Malformed, Reader};

use super::Redactor;
use super::plain::is_plain;

/// Places in the source that are remembered; a power of two. Few extensions log from more places in turn; for each, an extension
/// may hold the host's memory of a whole log.
const SLOTS: usize = 64;

/// Parts of logs that hold nothing to redact by the rules of one [`Redactor`]: those that are the same for each log of one place
/// in the source. It takes memory with the first one: at most 64 times the length of a log.
#[derive(Debug, Default)]
pub struct CleanStarts(Vec<Place>);

/// Names that hold nothing to redact by the rules of one [`Redactor`]. They were never read as a log, so that no log is taken
/// for known by them. It takes memory with the first one: at most 64 times the length of a name.
#[derive(Debug, Default)]
pub struct CleanNames(CleanStarts);

/// What was found in the logs of one place.
#[derive(Debug, Default)]
struct Place {
    has_source: bool,
    /// From target to message.
    start: Vec<u8>,
    /// The names of the fields, each after its length.
    names: Vec<u8>,
}

/// Looks at a log while it is validated: whether its parts are known, or so plain that they need not be searched.
#[derive(Debug)]
pub struct LogSearch<'k> {
    known: &'k CleanStarts,
    place: Option<&'k Place>,
    /// Bytes of the place's names that were seen.
    names_seen: usize,
    seen: SeenLog,
    /// Whether plain texts are told from others.
    tells_plain: bool,
}

/// What a [`LogSearch`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenLog {
    has_source: bool,
    knows_start: bool,
    knows_names: bool,
    is_plain: bool,
}

impl LogSearch<'_> {
    /// What it has seen.
    #[inline]
    pub fn seen(&self) -> SeenLog {
        self.seen
    }
}

impl LogWatch for LogSearch<'_> {
    #[inline]
    fn knows_start(&mut self, has_source: bool, start: &[u8]) -> bool {
        self.place = self.known.find(has_source, start);
        self.seen.has_source = has_source;
        self.seen.knows_start = self.place.is_some();
        self.seen.knows_start
    }

    #[inline]
    fn knows_name(&mut self, name: &[u8]) -> bool {
        let known = self.place.and_then(|place| place.names.get(self.names_seen..self.names_seen + name.len()));
        let knows = known.is_some_and(|known| same(known, name));
        self.names_seen += if knows { name.len() } else { 0 };
        self.seen.knows_names &= knows;
        knows
    }

    #[inline]
    fn see_text(&mut self, text: &[u8]) {
        self.seen.is_plain = self.seen.is_plain && (self.tells_plain && is_plain(text));
    }
}

impl Redactor {
    /// Looks at a log that is to be validated, by [`check_log_with`](glasshouse_model::wire::check_log_with).
    #[inline]
    pub fn watch<'k>(&self, known: &'k CleanStarts) -> LogSearch<'k> {
        let seen = SeenLog { has_source: false, knows_start: false, knows_names: true, is_plain: true };
        LogSearch { known, place: None, names_seen: 0, seen, tells_plain: self.plain_is_clean }
    }

    /// As [`Redactor::is_suspect`], of a log's body that was found valid while [`Redactor::watch`] looked at it. Nothing that
    /// could be redacted lies across two parts of a log: texts are gone over one by one.
    #[inline]
    pub fn is_suspect_log(&self, body: &[u8], log: &LogSummary, seen: SeenLog, known: &mut CleanStarts) -> bool {
        if seen.knows_start && seen.knows_names {
            !seen.is_plain && self.is_suspect(&body[log.fields_at..])
        } else {
            self.is_suspect_anew(body, log, seen, known)
        }
    }

    #[cold]
    fn is_suspect_anew(&self, body: &[u8], log: &LogSummary, seen: SeenLog, known: &mut CleanStarts) -> bool {
        let (start, fields) = (&body[log.texts_at..log.fields_at], &body[log.fields_at..]);
        let is_suspect = self.is_suspect(if seen.knows_start { fields } else { body });
        if !is_suspect {
            known.remember(seen.has_source, start, fields);
        }
        is_suspect
    }

    /// As [`Redactor::is_suspect`], of a text that comes again and again, such as the name of an invocation.
    #[inline]
    pub fn is_suspect_again(&self, text: &[u8], known: &mut CleanNames) -> bool {
        if known.0.find(false, text).is_some() {
            return false;
        }
        let is_suspect = self.is_suspect(text);
        if !is_suspect {
            known.0.remember(false, text, &[]);
        }
        is_suspect
    }
}

impl CleanStarts {
    #[inline]
    fn find(&self, has_source: bool, start: &[u8]) -> Option<&Place> {
        self.0.get(slot(start)).filter(|place| place.has_source == has_source && place.start == start)
    }

    fn remember(&mut self, has_source: bool, start: &[u8], fields: &[u8]) {
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, Place::default);
        }
        let place = &mut self.0[slot(start)];
        place.has_source = has_source;
        place.start.clear();
        place.start.extend_from_slice(start);
        place.names.clear();
        // They were validated.
        let _ = add_names(&mut place.names, fields);
    }
}

/// Adds the names of a log's fields, each after its length.
fn add_names(names: &mut Vec<u8>, fields: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(fields);
    if fields.is_empty() {
        return Ok(());
    }
    for _ in 0..reader.varint()? {
        let from = reader.rest();
        let length = reader.varint()?;
        reader.take(length as usize)?;
        names.extend_from_slice(&from[..from.len() - reader.rest().len()]);
        let bytes = match reader.byte()? {
            0 => reader.varint()?,
            1 | 2 => 8,
            _ => 0,
        };
        reader.take(bytes as usize)?;
    }
    Ok(())
}

/// Where a start is remembered: its last bytes are the message's.
#[inline]
fn slot(start: &[u8]) -> usize {
    let last = start.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    let mixed = (last ^ start.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - SLOTS.ilog2())) as usize
}

/// Whether two slices of the same length are equal, without a call for the few bytes that most names have: their last
/// word may overlap the first.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
        Some((*bytes.first_chunk()?, *bytes.last_chunk()?))
    }
    match one.len() {
        8..=16 => ends::<8>(one) == ends::<8>(other),
        4..8 => ends::<4>(one) == ends::<4>(other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::Level;
    use glasshouse_model::wire::{Field, Log, Value, check_log_with, write_log};
    use proptest::prelude::*;

    use super::*;
    use crate::redact::tests::text;

    fn body(message: &str, value: &str) -> Vec<u8> {
        named_body(message, "note", value)
    }

    fn named_body(message: &str, name: &str, value: &str) -> Vec<u8> {
        let mut body = Vec::new();
        let log = Log { level: Level::Info, target: "shop", message, source: None, time: Some(7) };
        write_log(&mut body, &log, format_args!("{message}"), &[Field { name, value: Value::Text(value) }]);
        body
    }

    fn is_suspect(redactor: &Redactor, body: &[u8], known: &mut CleanStarts) -> bool {
        let mut search = redactor.watch(known);
        let log = check_log_with(body, &mut search).expect("a log");
        let seen = search.seen();
        redactor.is_suspect_log(body, &log, seen, known)
    }

    fn seen(redactor: &Redactor, body: &[u8], known: &CleanStarts) -> (bool, bool, bool) {
        let mut search = redactor.watch(known);
        check_log_with(body, &mut search).expect("a log");
        let SeenLog { knows_start, knows_names, is_plain, .. } = search.seen();
        (knows_start, knows_names, is_plain)
    }

    #[test]
    fn a_start_and_names_are_searched_once_and_texts_each_time() {
        let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
        let clean = body("sold a book", "to ada");
        assert_eq!(seen(&redactor, &clean, &known), (false, false, false));
        assert!(!is_suspect(&redactor, &clean, &mut known));
        assert_eq!(seen(&redactor, &clean, &known), (true, true, false));
        assert_eq!(seen(&redactor, &body("sold a book", "ada"), &known), (true, true, true));
        assert!(is_suspect(&redactor, &body("sold a book", "password=hunter2"), &mut known));
        assert!(is_suspect(&redactor, &body("password=hunter2", "to ada"), &mut known));
        assert!(
            is_suspect(&redactor, &body("password=hunter2", "to ada"), &mut known),
            "what is suspect is not remembered"
        );
    }

    #[test]
    fn a_name_that_is_new_in_its_place_is_searched() {
        let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
        let log = |names: &[&str]| {
            let log = Log { level: Level::Info, target: "shop", message: "", source: None, time: None };
            let fields: Vec<_> = names.iter().map(|name| Field { name, value: Value::Integer(1234) }).collect();
            let mut body = Vec::new();
            write_log(&mut body, &log, format_args!("sold"), &fields);
            body
        };
        let mut check = |names: &[&str], expect: bool| {
            assert_eq!(is_suspect(&redactor, &log(names), &mut known), expect, "{names:?}");
        };
        check(&["count", "price"], false);
        check(&["count", "price"], false);
        check(&["pin", "price"], true);
        check(&["count", "price", "pin"], true);
        check(&["count", "user_pin"], true);
        check(&["price", "count"], false);
        check(&["count", "price", "a_rather_long_name_of_a_field"], false);
        check(&["count", "price", "a_rather_long_name_of_a_token"], true);
        check(&[], false);
        check(&["otp"], true);
    }

    #[test]
    fn the_same_bytes_with_and_without_a_source_are_not_taken_for_one_another() {
        let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
        // With a source: target "", file "", line 0xc3 | 1 << 7, and an empty message, without fields. Without one: target "",
        // message "", and what is left over.
        let with_source = [Level::Info as u8, 2, 0, 1, b'x', 0xc3, 0x01, 2, b'y', b'z', 0];
        assert!(!is_suspect(&redactor, &with_source, &mut known));
        assert!(seen(&redactor, &with_source, &known).0);
        let place = &with_source[2..10];
        assert!(known.find(true, place).is_some());
        assert!(known.find(false, place).is_none());
    }

    #[test]
    fn a_text_is_searched_once() {
        let (redactor, mut known) = (Redactor::default(), CleanNames::default());
        assert!(!redactor.is_suspect_again(b"handle:render", &mut known));
        assert!(known.0.find(false, b"handle:render").is_some());
        assert!(redactor.is_suspect_again(b"handle:token=abc", &mut known));
        assert!(redactor.is_suspect_again(b"handle:token=abc", &mut known));
    }

    proptest! {
        #[test]
        fn what_is_remembered_or_plain_hides_nothing(
            logs in prop::collection::vec(
                (prop::sample::select(vec!["sold", "login", "pass", "password: x", "the token is"]),
                 prop::sample::select(vec!["note", "pin", "user", "x-api-key", "key", "a_name_of_more_than_sixteen_bytes"]),
                 prop_oneof![
                     prop::sample::select(vec!["", "ada", "hunter2", "token=abc", "4111 1111 1111 1111", "word=hunter2"])
                         .prop_map(str::to_owned),
                     text(),
                 ]),
                1..40,
            ),
        ) {
            let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
            for (message, name, value) in logs {
                let body = named_body(message, name, &value);
                let is_suspect = is_suspect(&redactor, &body, &mut known);
                if redactor.redact_record(glasshouse_model::wire::KIND_LOG, &body).is_some() {
                    prop_assert!(is_suspect, "{message} {name} {value}");
                }
            }
        }
    }
}
