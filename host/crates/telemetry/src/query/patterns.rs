//! What messages have in common: numbers, ids and other changing parts become placeholders, and what is left is counted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use glasshouse_model::{Level, UnixNanos, text};

/// Bytes of a message that make its pattern, and of a sample: what tells messages apart stands at their start.
const PATTERN_BYTES: usize = 512;
/// Characters from which a run of hexadecimal digits with a decimal one among them is an id and no word or number.
const HEX_ID: usize = 8;
/// Characters from which a run of letters and digits in turn is an id, such as a ULID or base 62.
const MIXED_ID: usize = 16;
const DURATIONS: [&str; 8] = ["ns", "us", "µs", "ms", "s", "m", "h", "d"];
const SIZES: [&str; 9] = ["B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB", "TiB"];

/// The pattern of a message: `<num>`, `<duration>`, `<size>`, `<id>`, `<ip>`, `<time>` and `<text>` (for what is in
/// double quotes) stand for what changes. Of long messages only the first 512 bytes count.
pub fn pattern(message: &str) -> Cow<'_, str> {
    let mut collapsed = String::new();
    collapse(text::cut(message, PATTERN_BYTES), Quotes::Double, &mut collapsed);
    if collapsed == message { Cow::Borrowed(message) } else { Cow::Owned(collapsed) }
}

/// Appends the pattern of an error's message, in which all that an input could have put there is left out: beside what
/// [`pattern`] leaves out, what is in single or back quotes, and `<path>` for paths of files and addresses of the web.
pub(crate) fn parameterise(message: &str, out: &mut String) {
    collapse(text::cut(message, PATTERN_BYTES), Quotes::AllAndPaths, out);
}

/// What is left out of a message beside numbers, ids, times and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// What is in double quotes.
    Double,
    /// What is in any quotes, and paths.
    AllAndPaths,
}

/// Counts messages by level and pattern, up to a number of patterns; the rest is counted as one.
#[derive(Clone, Debug)]
pub struct Collapser {
    groups: [HashMap<String, Group>; Level::ALL.len() + 1],
    patterns: usize,
    max_patterns: usize,
    other: u64,
    buffer: String,
}

#[derive(Clone, Debug)]
struct Group {
    count: u64,
    first: Place,
    last: Place,
    sample: String,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its sequence number.
    pub sequence: u64,
    /// Its time.
    pub time: UnixNanos,
}

/// Messages of one level that have a pattern in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternRow {
    /// Their level; `None` for records without one.
    pub level: Option<Level>,
    /// What they have in common.
    pub pattern: String,
    /// How many there are.
    pub count: u64,
    /// The earliest one.
    pub first: Place,
    /// The latest one.
    pub last: Place,
    /// The start of one of the messages, as it is.
    pub sample: String,
}

/// What a [`Collapser`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    /// The most frequent ones first; of equally frequent ones the latest.
    pub rows: Vec<PatternRow>,
    /// Messages of further patterns, for which there was no room.
    pub other: u64,
}

impl Collapser {
    /// Counts up to so many patterns, each of which takes about a kilobyte.
    pub fn new(max_patterns: usize) -> Self {
        Self { groups: Default::default(), patterns: 0, max_patterns, other: 0, buffer: String::new() }
    }

    /// Counts a message.
    pub fn add(&mut self, level: Option<Level>, message: &str, place: Place) {
        self.buffer.clear();
        collapse(text::cut(message, PATTERN_BYTES), Quotes::Double, &mut self.buffer);
        let groups = &mut self.groups[level.map_or(0, |level| 1 + level as usize)];
        if let Some(group) = groups.get_mut(self.buffer.as_str()) {
            group.count += 1;
            if (place.time, place.sequence) < (group.first.time, group.first.sequence) {
                group.first = place;
            }
            if (place.time, place.sequence) > (group.last.time, group.last.sequence) {
                group.last = place;
            }
        } else if self.patterns < self.max_patterns {
            self.patterns += 1;
            let sample = text::cut(message, PATTERN_BYTES).to_owned();
            groups.insert(self.buffer.clone(), Group { count: 1, first: place, last: place, sample });
        } else {
            self.other += 1;
        }
    }

    /// What was counted.
    pub fn finish(self) -> Patterns {
        let mut rows = Vec::with_capacity(self.patterns);
        for (index, groups) in self.groups.into_iter().enumerate() {
            let level = index.checked_sub(1).and_then(|level| Level::from_byte(level as u8));
            rows.extend(groups.into_iter().map(|(pattern, group)| {
                let Group { count, first, last, sample } = group;
                PatternRow { level, pattern, count, first, last, sample }
            }));
        }
        rows.sort_by(|a, b| {
            let key = |row: &PatternRow| (row.count, row.last.time, row.last.sequence);
            key(b).cmp(&key(a)).then_with(|| a.pattern.cmp(&b.pattern))
        });
        Patterns { rows, other: self.other }
    }
}

fn collapse(message: &str, quotes: Quotes, out: &mut String) {
    let mut rest = message;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let is_start = !before.is_alphanumeric();
        let found = if first == '"' && is_start {
            quoted(rest).map(|length| ("<text>", length))
        } else if let (Quotes::AllAndPaths, true, Some(found)) = (quotes, is_start, quote_or_path(rest)) {
            Some(found)
        } else if is_start && (first.is_ascii_hexdigit() || first == ':') {
            time(rest).or_else(|| address(rest)).or_else(|| uuid(rest))
        } else {
            None
        };
        let length = if let Some((placeholder, length)) = found {
            out.push_str(placeholder);
            length
        } else if is_start && first.is_ascii_alphanumeric() {
            word(rest, out)
        } else {
            out.push(first);
            first.len_utf8()
        };
        before = rest[..length].chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
}

fn run(text: &str, is_part: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len())
}

fn digits(text: &str) -> usize {
    run(text, |byte| byte.is_ascii_digit())
}

fn quoted(text: &str) -> Option<usize> {
    text[1..].find('"').map(|end| end + 2)
}

/// A text in single or back quotes, or a path.
fn quote_or_path(text: &str) -> Option<(&'static str, usize)> {
    let first = text.chars().next()?;
    if first == '\'' || first == '`' {
        let ends = text[1..].match_indices(first).map(|(at, _)| at + 2);
        // The quote in `it's` ends nothing.
        return ends.into_iter().find(|end| ends_word(&text[*end..])).map(|end| ("<text>", end));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@~%/\\".contains(&byte) || !byte.is_ascii();
    let drive = usize::from(first.is_ascii_alphabetic() && text[1..].starts_with(":\\")) * 2;
    let length = drive + run(&text[drive..], is_part);
    let path = text[..length].trim_end_matches('.');
    let separators = path.bytes().filter(|byte| matches!(byte, b'/' | b'\\')).count();
    let (_, name) = path.rsplit_once(['/', '\\'])?;
    // `and/or` is none.
    let starts_as_path = drive > 0 || path.starts_with(['/', '~']) || path.starts_with("./") || path.starts_with("../");
    let is_path = path.len() > 1 && (starts_as_path || separators > 1 || name.trim_start_matches('.').contains('.'));
    is_path.then_some(("<path>", path.len()))
}

/// Whether the text has this form, where `9` is a decimal and `f` a hexadecimal digit.
fn has_form(text: &str, form: &str) -> bool {
    text.len() >= form.len()
        && form.bytes().zip(text.bytes()).all(|(wanted, found)| match wanted {
            b'9' => found.is_ascii_digit(),
            b'f' => found.is_ascii_hexdigit(),
            other => found == other,
        })
}

fn ends_word(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn uuid(text: &str) -> Option<(&'static str, usize)> {
    const FORM: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    (has_form(text, FORM) && ends_word(&text[FORM.len()..])).then_some(("<id>", FORM.len()))
}

/// A date, a time of day, or both with an offset.
fn time(text: &str) -> Option<(&'static str, usize)> {
    let mut length = if has_form(text, "9999-99-99") { 10 } else { 0 };
    let gap = usize::from(length > 0 && text[length..].starts_with(['T', ' ']));
    if has_form(&text[length + gap..], "99:99:99") {
        length += gap + 8;
        if text[length..].starts_with(['.', ',']) {
            let fraction = digits(&text[length + 1..]);
            length += if fraction > 0 { 1 + fraction } else { 0 };
        }
        let offset = &text[length..];
        if offset.starts_with('Z') {
            length += 1;
        } else if offset.starts_with(['+', '-']) && has_form(&offset[1..], "99:99") {
            length += 6;
        }
    }
    (length > 0 && ends_word(&text[length..])).then_some(("<time>", length))
}

/// An address, with the port after it.
fn address(text: &str) -> Option<(&'static str, usize)> {
    let four = run(text, |byte| byte.is_ascii_digit() || byte == b'.');
    if text[..four].trim_end_matches('.').parse::<Ipv4Addr>().is_ok() {
        let length = text[..four].trim_end_matches('.').len();
        let port = if text[length..].starts_with(':') { digits(&text[length + 1..]) } else { 0 };
        return Some(("<ip>", if port > 0 { length + 1 + port } else { length }));
    }
    let six = run(text, |byte| byte.is_ascii_hexdigit() || byte == b':');
    let candidate = text[..six].strip_suffix(':').filter(|text| !text.ends_with(':')).unwrap_or(&text[..six]);
    let is_address = candidate.bytes().any(|byte| byte.is_ascii_digit())
        && candidate.parse::<Ipv6Addr>().is_ok()
        && ends_word(&text[candidate.len()..]);
    is_address.then_some(("<ip>", candidate.len()))
}

/// Appends the pattern of a word or number and gives its length.
fn word(text: &str, out: &mut String) -> usize {
    let length = run(text, |byte| byte.is_ascii_alphanumeric());
    let (word, tail) = text.split_at(length);
    let number = digits(word);
    if number == length {
        return number_with_unit(text, number, out);
    }
    let unit = &word[number..];
    if number > 0 && (DURATIONS.contains(&unit) || SIZES.contains(&unit)) && ends_word(tail) {
        return number_with_unit(text, number, out);
    }
    let hex = word.strip_prefix("0x").unwrap_or(word);
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit()) && !hex.is_empty();
    let many_digits = word.bytes().filter(u8::is_ascii_digit).count() >= 3;
    let is_id = is_hex && (hex.len() >= HEX_ID || hex.len() < length) || (many_digits && length >= MIXED_ID);
    if has_digit && is_id {
        out.push_str("<id>");
        return length;
    }
    let mut rest = word;
    while !rest.is_empty() {
        let letters = run(rest, |byte| !byte.is_ascii_digit());
        out.push_str(&rest[..letters]);
        rest = &rest[letters..];
        let number = digits(rest);
        out.push_str(if number > 0 { "<num>" } else { "" });
        rest = &rest[number..];
    }
    length
}

/// Appends the pattern of a number with its fraction and its unit, and gives its length.
fn number_with_unit(text: &str, whole: usize, out: &mut String) -> usize {
    let mut length = whole;
    if text[length..].starts_with('.') {
        let fraction = digits(&text[length + 1..]);
        length += if fraction > 0 { 1 + fraction } else { 0 };
    }
    let tail = &text[length..];
    let unit = &tail[..tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len())];
    let is_whole_unit = ends_word(&tail[unit.len()..]);
    let placeholder = match unit {
        unit if DURATIONS.contains(&unit) && is_whole_unit => "<duration>",
        unit if SIZES.contains(&unit) && is_whole_unit => "<size>",
        _ => {
            out.push_str("<num>");
            return length;
        }
    };
    out.push_str(placeholder);
    length + unit.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, expect: &str) {
        assert_eq!(pattern(message), expect, "{message}");
    }

    #[test]
    fn changing_parts_become_placeholders() {
        check("started", "started");
        check("GET /users/17 took 12.5ms, 2 rows", "GET /users/<num> took <duration>, <num> rows");
        check("GET /users/17 took 250 ms", "GET /users/<num> took <num> ms");
        check("user u17 at 10.0.0.1:8080.", "user u<num> at <ip>.");
        check("peer fe80::1 and ::1", "peer <ip> and <ip>");
        check("order 2aa860d88a17 of 6f9619ff-8b86-d011-b42d-00c04fc964ff", "order <id> of <id>");
        check("id=01ARZ3NDEKTSV4RRFFQ69G5FAV done", "id=<id> done");
        check("at 2026-11-22T10:00:00.123Z, 10:00:00, 2026-11-22", "at <time>, <time>, <time>");
        check("at 0xdeadbeef", "at <id>");
        check("unknown key \"fs.write\" in 5MiB", "unknown key <text> in <size>");
        check("it is 5\" wide", "it is <num>\" wide");
        check("deadbeef facade", "deadbeef facade");
        check("v1.2.3", "v<num>.<num>");
        check("Größe 5µs", "Größe <duration>");
        check("", "");
        check("a: b::c", "a: b::c");
    }

    #[test]
    fn what_an_input_put_into_an_errors_message_becomes_a_placeholder() {
        for (message, expect) in [
            ("unknown field `colour`, expected `color`", "unknown field <text>, expected <text>"),
            ("no user 'ada': it's gone", "no user <text>: it's gone"),
            ("cannot open /var/data/7/in.csv: not found", "cannot open <path>: not found"),
            ("cannot open C:\\data\\in.csv.", "cannot open <path>."),
            ("at src/main.rs:17:4", "at <path>:<num>:<num>"),
            ("GET https://example.com/a/b?x=1", "GET https:<path>?x=<num>"),
            ("read and/or write", "read and/or write"),
            ("a / b is 1/2", "a / b is <num>/<num>"),
            ("of \"x\" at 0x1f after 3ms", "of <text> at <id> after <duration>"),
            ("'", "'"),
            ("/", "/"),
        ] {
            let mut found = String::new();
            parameterise(message, &mut found);
            assert_eq!(found, expect, "{message}");
        }
    }

    #[test]
    fn patterns_are_counted_by_level_and_their_number_is_bounded() {
        let place = |number: u64| Place { sequence: number, time: UnixNanos(number as i64) };
        let mut collapser = Collapser::new(2);
        for number in 1..=10 {
            collapser.add(Some(Level::Info), &format!("took {number}ms"), place(number));
        }
        collapser.add(Some(Level::Error), "took 3ms", place(11));
        collapser.add(Some(Level::Info), "one pattern too many", place(12));
        collapser.add(Some(Level::Info), "and another", place(13));
        let found = collapser.finish();
        let row = |level, count, first, last, sample: &str| PatternRow {
            level: Some(level),
            pattern: "took <duration>".to_owned(),
            count,
            first: place(first),
            last: place(last),
            sample: sample.to_owned(),
        };
        let rows = vec![row(Level::Info, 10, 1, 10, "took 1ms"), row(Level::Error, 1, 11, 11, "took 3ms")];
        assert_eq!(found, Patterns { rows, other: 2 });
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_pattern(message in "\\PC*", like in "[0-9a-f:.\"'`/~é\\\\T \\-]{0,60}") {
            pattern(&message);
            pattern(&like);
            parameterise(&message, &mut String::new());
            parameterise(&like, &mut String::new());
        }
    }
}
