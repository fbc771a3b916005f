//! Finds the value that belongs to a name inside a text: `name=value`, JSON, escaped JSON, headers, SQL, XML.

use std::ops::Range;

use super::MARKER;
use super::cues::starts_like;

/// Where a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// What is to be replaced.
    pub(super) range: Range<usize>,
    /// The quote, with its backslashes, that is put around the marker so that JSON stays JSON; mostly empty.
    pub(super) quote: Range<usize>,
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Self {
        Self { range, quote: 0..0 }
    }
}

/// How values of a name go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// To the next separator.
    Word,
    /// To the end of the line, after a colon: headers.
    Line,
}

/// Schemes of an `Authorization` header that credentials follow.
const SCHEMES: [&[u8]; 6] = [b"bearer", b"basic", b"digest", b"token", b"negotiate", b"apikey"];
/// Values that say that there is none.
const NOTHING: [&str; 13] =
    ["true", "false", "null", "nil", "none", "undefined", "some", "?", "%s", "{}", "{:?}", "", MARKER];

/// The value after the name at `name`.
pub(super) fn after(bytes: &[u8], name: Range<usize>, extent: Extent) -> Option<Place> {
    let quote = quote_at(bytes, name.end);
    let quoted = quote.clone().filter(|_| name.start > 0 && is_quote(bytes[name.start - 1]));
    let mut at = quoted.clone().map_or(name.end, |quote| quote.end);
    if bytes.get(at) == Some(&b']') {
        at += 1;
    } else if starts_like(&bytes[at..], b"%5d") {
        at += 3;
    }
    let lines = quoted.is_some();
    let after_space = skip_space(bytes, at, lines);
    if let Some((separator, length)) = separator(&bytes[after_space..]) {
        let start = skip_space(bytes, after_space + length, lines);
        let to_line_end = extent == Extent::Line && (separator == b':' || starts_with_scheme(&bytes[start..]));
        let bare = if to_line_end { line_end } else { word_end };
        return value_at(bytes, start, bare, quoted.unwrap_or(0..0));
    }
    if let Some(quote) = quoted {
        return after_quoted(bytes, &name, &quote, after_space);
    }
    if bytes.get(at) == Some(&b'(') && quote_at(bytes, at + 1).is_some() {
        return value_at(bytes, at + 1, word_end, 0..0);
    }
    if bytes.get(at) == Some(&b'>') && bytes[..name.start].last() == Some(&b'<') {
        let end = at + 1 + memchr::memchr(b'<', &bytes[at + 1..]).unwrap_or(bytes.len() - at - 1);
        return secret(bytes, at + 1..end, 0..0);
    }
    if after_space > at && quote_at(bytes, after_space).is_some() {
        return value_at(bytes, after_space, word_end, 0..0);
    }
    let is_flag = bytes[name.start..].starts_with(b"--") && after_space > at;
    if is_flag && bytes.get(after_space) != Some(&b'-') {
        return value_at(bytes, after_space, word_end, 0..0);
    }
    None
}

/// Bytes of a value in a pair that are looked at.
const PAIR_BYTES: usize = 2048;

/// `("name", "value")`, and `"name": "name", "value": "value"`.
fn after_quoted(bytes: &[u8], name: &Range<usize>, quote: &Range<usize>, at: usize) -> Option<Place> {
    let next = bytes.get(at).filter(|byte| **byte == b',').map(|_| skip_space(bytes, at + 1, true))?;
    let opening = quote_at(bytes, next)?;
    let (range, after) = quoted_end(&bytes[..bytes.len().min(next + PAIR_BYTES)], &opening);
    let opened_by = name.start.checked_sub(1 + quote.len()).map(|at| bytes[at]);
    if opened_by == Some(b'(') && bytes.get(after) == Some(&b')') {
        return secret(bytes, range, 0..0);
    }
    if !bytes[range].eq_ignore_ascii_case(b"value") {
        return None;
    }
    let colon = skip_space(bytes, after, true);
    (bytes.get(colon) == Some(&b':'))
        .then(|| value_at(bytes, skip_space(bytes, colon + 1, true), word_end, opening))
        .flatten()
}

/// The value that starts at `start`; `quote` is what it gets if it has none.
pub(super) fn value_at(
    bytes: &[u8],
    start: usize,
    bare: fn(&[u8], usize) -> usize,
    quote: Range<usize>,
) -> Option<Place> {
    // `b"bytes"`, `N'text'`, `r"raw"`
    let prefixed = bytes.get(start).is_some_and(u8::is_ascii_alphabetic) && quote_at(bytes, start + 1).is_some();
    if let Some(opening) = quote_at(bytes, start + usize::from(prefixed)) {
        let (range, _) = quoted_end(bytes, &opening);
        return secret(bytes, range, 0..0);
    }
    let end = bare(bytes, start);
    secret(bytes, start..end, quote)
}

/// The place, if there is anything in it to hide.
fn secret(bytes: &[u8], range: Range<usize>, quote: Range<usize>) -> Option<Place> {
    let value = str::from_utf8(&bytes[range.clone()]).ok()?.trim();
    let placeholder = value.strip_prefix('$').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    let hidden = placeholder
        || value.bytes().all(|byte| matches!(byte, b'*' | b'{' | b'}' | b'[' | b']' | b' '))
        || NOTHING.iter().any(|nothing| value.eq_ignore_ascii_case(nothing));
    (!hidden).then_some(Place { range, quote })
}

/// What stands between a name and its value, and its length.
fn separator(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes {
        [b'=', b'=' | b'>', ..] | [b':', b'=', ..] => Some((b'=', 2)),
        [b':', b':', ..] => None,
        [byte @ (b'=' | b':'), ..] => Some((*byte, 1)),
        _ if starts_like(bytes, b"%3d") => Some((b'=', 3)),
        _ => None,
    }
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// A quote and the backslashes before it.
fn quote_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let backslashes = rest.iter().take(MOST_BACKSLASHES).take_while(|byte| **byte == b'\\').count();
    rest.get(backslashes).is_some_and(|byte| is_quote(*byte)).then(|| at..at + backslashes + 1)
}

/// Backslashes before a quote that are told apart: five levels of JSON in JSON.
const MOST_BACKSLASHES: usize = 31;

/// The text inside a quote, and where it goes on after its end. Without an end it goes to that of the bytes.
fn quoted_end(bytes: &[u8], opening: &Range<usize>) -> (Range<usize>, usize) {
    let (level, quote) = (opening.len() - 1, bytes[opening.end - 1]);
    let mut from = opening.end;
    while let Some(found) = memchr::memchr(quote, &bytes[from..]) {
        let at = from + found;
        let backslashes = bytes[from..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        let closes = if level == 0 { backslashes.is_multiple_of(2) } else { backslashes <= level };
        let doubled = level == 0 && quote == b'\'' && bytes.get(at + 1) == Some(&quote);
        if closes && !doubled {
            return (opening.end..at - backslashes.min(level), at + 1);
        }
        from = at + 1 + usize::from(doubled);
    }
    (opening.end..bytes.len(), bytes.len())
}

fn skip_space(bytes: &[u8], at: usize, lines: bool) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t') || lines && matches!(byte, b'\r' | b'\n');
    at + bytes[at..].iter().take_while(|byte| is_space(byte)).count()
}

fn starts_with_scheme(bytes: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| starts_like(bytes, scheme) && bytes.get(scheme.len()) == Some(&b' '))
}

/// The end of a value that no quote encloses.
pub(super) fn word_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut only_letters = true;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'[' | b'{' if at == start => at = nested_end(bytes, at),
            b'(' if only_letters => at = nested_end(bytes, at),
            b'\\' => {
                let run = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
                if bytes.get(at + run).is_some_and(|byte| is_quote(*byte)) {
                    return at;
                }
                at += run;
            }
            b',' | b';' | b'&' | b')' | b']' | b'}' | b'<' | b'>' | b'|' => return at,
            byte if is_quote(*byte) || byte.is_ascii_whitespace() => return at,
            _ => at += 1,
        }
        only_letters &= bytes[at - 1].is_ascii_alphabetic();
    }
    at
}

/// The end of a header's value: of the line, written out or escaped, or of the quote around it.
fn line_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' | b'\r' | b'"' | b'\'' | b'`' => break,
            b'\\' => {
                let run = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
                if bytes.get(at + run).is_some_and(|byte| is_quote(*byte) || matches!(byte, b'n' | b'r')) {
                    break;
                }
                at += run;
            }
            _ => at += 1,
        }
    }
    at - bytes[start..at].iter().rev().take_while(|byte| **byte == b' ').count()
}

/// The end of what a bracket opens, or of the bytes.
fn nested_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth -= 1,
            b'\\' | b'"' | b'\'' | b'`' => {
                if let Some(opening) = quote_at(bytes, at - 1) {
                    at = quoted_end(bytes, &opening).1;
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}
