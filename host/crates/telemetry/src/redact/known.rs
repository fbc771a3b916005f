//! What logs of one place in a guest's source have in common, and was found clean before: it is searched once.

use std::cell::Cell;

use glasshouse_model::wire::{LogSummary, LogWatch, Malformed, Reader, SpanSummary};

use super::Redactor;
use super::plain::look;

/// Places in the source that are remembered; a power of two. Few extensions log from more places in turn; for each, an extension
/// may hold the host's memory of a whole log.
const SLOTS: usize = 64;

/// Parts of logs that hold nothing to redact by the rules of one [`Redactor`]: those that are the same for each log of one place
/// in the source. It takes memory with the first one: at most 64 times the length of a log.
#[derive(Debug, Default)]
pub struct CleanStarts {
    places: Vec<Place>,
    /// The place of the log before.
    latest: Cell<usize>,
}

/// The name of one invocation after the other, and which of them hold nothing to redact by the rules of one [`Redactor`]. It takes
/// memory with the first one: at most 64 times the length of a name.
#[derive(Debug, Default)]
pub struct InvocationName {
    text: String,
    /// Whether it was found clean.
    is_clean: bool,
    /// Names were never read as a log, so that no log is taken for known by them.
    known: CleanStarts,
}

impl InvocationName {
    /// Names the next invocation: its export, and for an event that, too.
    #[inline]
    pub fn set(&mut self, export: &str, event: &str) {
        if !self.is(export, event) {
            self.change(export, event);
        }
    }

    #[inline]
    fn is(&self, export: &str, event: &str) -> bool {
        // Byte by byte: to call what compares costs more than most names have. An export's is known where this is compiled, mostly.
        let same = |one: &[u8], other: &[u8]| one.iter().zip(other).all(|(one, other)| one == other);
        let text = self.text.as_bytes();
        match (text.split_at_checked(export.len()), event) {
            (Some((start, [])), "") => start == export.as_bytes(),
            (Some((start, [b':', rest @ ..])), _) => {
                !event.is_empty()
                    && rest.len() == event.len()
                    && same(rest, event.as_bytes())
                    && start == export.as_bytes()
            }
            _ => false,
        }
    }

    #[inline(never)]
    fn change(&mut self, export: &str, event: &str) {
        self.is_clean = false;
        self.text.clear();
        self.text.push_str(export);
        if !event.is_empty() {
            self.text.push(':');
            self.text.push_str(event);
        }
    }

    /// The present one.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What was found in the logs of one place.
#[derive(Debug, Default)]
struct Place {
    has_source: bool,
    /// From target to message.
    start: Vec<u8>,
    /// The names of the fields, each after its length.
    names: Vec<u8>,
    /// The bytes of each name, its length included.
    name_bytes: Vec<u32>,
    /// Whether no name is there twice.
    is_distinct: bool,
    /// The place of the log that came after one of this place: another such log is likely to come after the next, too.
    next: Cell<usize>,
}

/// Looks at a log while it is validated: whether its parts are known, or so plain that they need not be searched.
#[derive(Debug)]
pub struct LogSearch<'k> {
    known: &'k CleanStarts,
    /// The names, and the bytes of each, that the place's logs go on with.
    names: &'k [u8],
    name_bytes: &'k [u32],
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
    is_distinct: bool,
    is_plain: bool,
}

impl SeenLog {
    /// Whether the names of its fields are known to be all different.
    #[inline]
    pub fn has_distinct_names(&self) -> bool {
        self.knows_start && self.knows_names && self.is_distinct
    }
}

impl LogSearch<'_> {
    /// What it has seen.
    #[inline]
    pub fn seen(&self) -> SeenLog {
        self.seen
    }
}

impl<'k> LogSearch<'k> {
    #[inline]
    fn note_start(&mut self, has_source: bool, place: Option<&'k Place>) {
        self.seen.has_source = has_source;
        self.seen.knows_start = place.is_some();
        self.seen.is_distinct = place.is_some_and(|place| place.is_distinct);
        self.names = place.map_or(&[], |place| &place.names);
        self.name_bytes = place.map_or(&[], |place| &place.name_bytes);
    }
}

impl LogWatch for LogSearch<'_> {
    #[inline]
    fn expects_start(&mut self, has_source: bool, rest: &[u8]) -> Option<usize> {
        let place = self.known.expected(has_source, rest)?;
        self.note_start(has_source, Some(place));
        Some(place.start.len())
    }

    fn knows_start(&mut self, has_source: bool, start: &[u8]) -> bool {
        let place = self.known.find(has_source, start);
        if place.is_some() {
            self.known.note(slot(start));
        }
        self.note_start(has_source, place);
        place.is_some()
    }

    #[inline]
    fn knows_name(&mut self, rest: &[u8]) -> Option<usize> {
        if let Some((bytes, others)) = self.name_bytes.split_first()
            && let Some((name, names)) = self.names.split_at_checked(*bytes as usize)
            && rest.get(..name.len()).is_some_and(|rest| same(rest, name))
        {
            (self.names, self.name_bytes) = (names, others);
            return Some(name.len());
        }
        // None after it is looked for: the log is searched whole.
        self.seen.knows_names = false;
        self.name_bytes = &[];
        None
    }

    #[inline]
    fn see_text(&mut self, text: &[u8]) -> bool {
        if !(self.seen.is_plain && self.tells_plain) {
            self.seen.is_plain = false;
            return false;
        }
        let look = look(text);
        self.seen.is_plain = look.is_plain;
        look.is_ascii
    }
}

impl Redactor {
    /// Looks at a log that is to be validated, by [`check_log_with`](glasshouse_model::wire::check_log_with).
    #[inline]
    pub fn watch<'k>(&self, known: &'k CleanStarts) -> LogSearch<'k> {
        let seen =
            SeenLog { has_source: false, knows_start: false, knows_names: true, is_distinct: false, is_plain: true };
        LogSearch { known, names: &[], name_bytes: &[], seen, tells_plain: self.plain_is_clean }
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

    /// Whether what opens a span, which was found valid while [`Redactor::watch`] looked at it as at a log, is known to hold nothing to
    /// redact. What is not known may be found out when the span is stored.
    #[inline]
    pub fn is_clean_span(&self, start: &[u8], span: &SpanSummary, seen: SeenLog, known: &mut CleanStarts) -> bool {
        if seen.knows_start && seen.knows_names { seen.is_plain } else { self.look_at_span(start, span, known) }
    }

    #[cold]
    fn look_at_span(&self, start: &[u8], span: &SpanSummary, known: &mut CleanStarts) -> bool {
        let is_clean = !self.is_suspect(start);
        if is_clean {
            known.remember(false, &start[span.name_at..span.fields_at], &start[span.fields_at..]);
        }
        is_clean
    }

    /// As [`Redactor::is_suspect`], of a name that comes again and again.
    #[inline]
    pub fn is_suspect_name(&self, name: &mut InvocationName) -> bool {
        if !name.is_clean {
            self.look_for(name);
        }
        !name.is_clean
    }

    /// Finds out whether a name is clean.
    fn look_for(&self, name: &mut InvocationName) {
        let text = name.text.as_bytes();
        if name.known.find(false, text).is_some() {
            name.is_clean = true;
        } else if !self.is_suspect(text) {
            name.known.remember(false, text, &[]);
            name.is_clean = true;
        }
    }
}

impl CleanStarts {
    #[inline]
    fn find(&self, has_source: bool, start: &[u8]) -> Option<&Place> {
        self.places.get(slot(start)).filter(|place| place.has_source == has_source && place.start == start)
    }

    /// The place that is most likely to come now, if a log goes on with its start. A start holds the lengths of its texts, so
    /// that bytes which begin with it are parted as it is.
    #[inline]
    fn expected(&self, has_source: bool, rest: &[u8]) -> Option<&Place> {
        let slot = self.places.get(self.latest.get())?.next.get();
        let place = self.places.get(slot)?;
        let comes = !place.start.is_empty() && place.has_source == has_source && rest.starts_with(&place.start);
        if comes {
            self.latest.set(slot);
        }
        comes.then_some(place)
    }

    /// Notes that a log of a place came.
    fn note(&self, slot: usize) {
        if let Some(latest) = self.places.get(self.latest.replace(slot)) {
            latest.next.set(slot);
        }
    }

    fn remember(&mut self, has_source: bool, start: &[u8], fields: &[u8]) {
        if self.places.is_empty() {
            self.places.resize_with(SLOTS, Place::default);
        }
        let slot = slot(start);
        let place = &mut self.places[slot];
        place.has_source = has_source;
        place.start.clear();
        place.start.extend_from_slice(start);
        place.names.clear();
        place.name_bytes.clear();
        // They were validated.
        let _ = place.add_names(fields);
        place.is_distinct = place.has_distinct_names();
        self.note(slot);
    }
}

impl Place {
    fn has_distinct_names(&self) -> bool {
        let mut names = std::collections::HashSet::new();
        let mut rest = self.names.as_slice();
        self.name_bytes.iter().all(|bytes| {
            let (name, others) = rest.split_at(*bytes as usize);
            rest = others;
            // Not by how its length is written: that can be done in several ways.
            let mut reader = Reader::new(name);
            reader.varint().is_ok() && names.insert(reader.rest())
        })
    }

    /// Adds the names of a log's fields.
    fn add_names(&mut self, fields: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(fields);
        if fields.is_empty() {
            return Ok(());
        }
        for _ in 0..reader.varint()? {
            let from = reader.rest();
            let length = reader.varint()?;
            reader.take(length as usize)?;
            let name = &from[..from.len() - reader.rest().len()];
            self.names.extend_from_slice(name);
            self.name_bytes.push(name.len() as u32);
            let bytes = match reader.byte()? {
                0 => reader.varint()?,
                1 | 2 => 8,
                _ => 0,
            };
            reader.take(bytes as usize)?;
        }
        Ok(())
    }
}

/// Where a start is remembered: its last bytes are the message's.
#[inline]
fn slot(start: &[u8]) -> usize {
    let last = match start.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => start.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
    };
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
    fn a_name_is_searched_once_and_another_one_anew() {
        let (redactor, mut name) = (Redactor::default(), InvocationName::default());
        let mut check = |export: &str, event: &str, expect: &str, suspect: bool| {
            name.set(export, event);
            assert_eq!(name.as_str(), expect);
            for _ in 0..2 {
                assert_eq!(redactor.is_suspect_name(&mut name), suspect, "{expect}");
            }
            assert_eq!(name.known.find(false, expect.as_bytes()).is_some(), !suspect);
        };
        check("init", "", "init", false);
        check("handle", "render", "handle:render", false);
        check("handle", "render", "handle:render", false);
        check("handle", "token=abc", "handle:token=abc", true);
        check("handle", "token=abc", "handle:token=abc", true);
        check("handle", "token=ab", "handle:token=ab", true);
        check("handle", "", "handle", false);
        check("handle", "render", "handle:render", false);
        check("handle:render", "", "handle:render", false);
        check("handle:render", "again", "handle:render:again", false);
    }

    #[test]
    fn logs_of_places_that_take_turns_are_expected_and_others_are_not() {
        let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
        let bodies = ["sold a book", "lent a book", "lost a pen"].map(|message| body(message, "to ada"));
        let is_expected = |known: &CleanStarts, body: &[u8]| known.expected(false, &body[10..]).is_some();
        for body in bodies.iter().chain(&bodies) {
            is_suspect(&redactor, body, &mut known);
        }
        for body in bodies.iter().chain(&bodies) {
            assert!(is_expected(&known, body));
        }
        assert!(!is_expected(&known, &bodies[2]), "it was the one before");
        assert!(!is_expected(&known, &bodies[0][..20]), "it ends too early");
        assert!(known.expected(true, &bodies[0][10..]).is_none());
        assert!(CleanStarts::default().expected(false, &bodies[0][10..]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_known_changes_nothing_in_what_is_valid(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            length in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let (redactor, mut known) = (Redactor::default(), CleanStarts::default());
            let mut log = body("sold a book", "to-grace-and-to-ada");
            for _ in 0..2 {
                is_suspect(&redactor, &log, &mut known);
            }
            let at = at.index(log.len());
            log[at] = byte;
            log.truncate(if is_cut { length.index(log.len()) } else { log.len() });
            let unwatched = glasshouse_model::wire::check_log(&log);
            prop_assert_eq!(check_log_with(&log, &mut redactor.watch(&known)), unwatched);
        }

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
