//! Replaces the secrets in one text.

use std::ops::Range;

use glasshouse_model::text::cut;

use super::cues::CueKind;
use super::prefilter::Hit;
use super::shapes::Runs;
use super::sql::Inserts;
use super::value::{Extent, Place, after, value_at, word_end};
use super::{MARKER, Redactor, card, shapes};

/// Times that a text is gone over: what is replaced first may uncover something. Hardly any text needs two.
const ROUNDS: usize = 4;
/// Characters of a second word of a name, as in `api key: ...`.
const WORD_REACH: usize = 32;
/// What stands before `token` where a parser speaks of its input.
const PARSERS_WORDS: [&str; 5] = ["unexpected", "expected", "unrecognized", "illegal", "next"];

/// The text without its secrets, cut to `limit` bytes or to its length, whichever is more; `None` if it had none.
pub(super) fn redact(redactor: &Redactor, text: &str, limit: usize) -> Option<String> {
    let mut clean: Option<String> = None;
    for _ in 0..ROUNDS {
        let current = clean.as_deref().unwrap_or(text);
        let Some(mut next) = replace(current, find(redactor, current)) else { break };
        let length = cut(&next, limit.max(text.len())).len();
        next.truncate(length);
        if next == current {
            break;
        }
        clean = Some(next);
    }
    clean
}

/// Replaces places by the marker; `None` if nothing changes.
fn replace(text: &str, mut places: Vec<Place>) -> Option<String> {
    places.sort_by_key(|place| (place.range.start, std::cmp::Reverse(place.range.end)));
    places.dedup_by(|next, last| {
        let overlaps = next.range.start < last.range.end;
        if overlaps {
            last.range.end = last.range.end.max(next.range.end);
        }
        overlaps
    });
    let mut clean = String::with_capacity(text.len() + MARKER.len());
    let mut done = 0;
    for Place { range, quote } in places {
        // Places lie between characters; one that did not would take its neighbours with it.
        let (start, end) = (text.floor_char_boundary(range.start).max(done), text.ceil_char_boundary(range.end));
        if &text[start..end] == MARKER {
            continue;
        }
        let quote = text.get(quote).unwrap_or_default();
        clean.push_str(&text[done..start]);
        clean.push_str(quote);
        clean.push_str(MARKER);
        clean.push_str(quote);
        done = end;
    }
    (done > 0).then(|| clean + &text[done..])
}

/// All places in a text that are to be replaced, in no order.
fn find(redactor: &Redactor, text: &str) -> Vec<Place> {
    let bytes = text.as_bytes();
    let mut hits = Vec::new();
    redactor.prefilter.scan(bytes, |hit| {
        hits.push(hit);
        false
    });
    hits.sort_by_key(|hit| hit.start);
    let mut search = Search {
        redactor,
        text,
        places: Vec::new(),
        named: 0,
        pem: 0,
        runs: Runs::default(),
        inserts: Inserts::default(),
    };
    let mut settings_hit = false;
    for hit in &hits {
        settings_hit |= hit.cue.is_none();
        search.visit(hit);
    }
    let mut places = search.places;
    card::find(bytes, |range| places.push(range.into()));
    if redactor.email {
        places.extend(memchr::memchr_iter(b'@', bytes).filter_map(|at| shapes::email(bytes, at)).map(Place::from));
    }
    if settings_hit || redactor.always_patterns {
        places.extend(redactor.patterns.iter().flat_map(|pattern| pattern.find_iter(text)).filter_map(|found| {
            let range = found.range();
            let is_marker = (range.start.saturating_sub(MARKER.len() - 1)..=range.start)
                .any(|at| text.get(at..at + MARKER.len()) == Some(MARKER) && range.end <= at + MARKER.len());
            (!range.is_empty() && !is_marker).then(|| range.into())
        }));
    }
    places
}

/// One going over a text, from its start to its end.
struct Search<'a> {
    redactor: &'a Redactor,
    text: &'a str,
    places: Vec<Place>,
    /// The end of the last name, or of its value.
    named: usize,
    /// The end of the last private key.
    pem: usize,
    runs: Runs,
    inserts: Inserts,
}

impl Search<'_> {
    fn visit(&mut self, hit: &Hit) {
        let bytes = self.text.as_bytes();
        let Hit { start, end, .. } = *hit;
        let range = match hit.cue.map(|cue| cue.kind) {
            None | Some(CueKind::Name) => return self.name(start, end),
            Some(CueKind::Token { class, .. }) => shapes::token(bytes, start, end, class, &mut self.runs),
            Some(CueKind::Jwt) => shapes::jwt(bytes, start, &mut self.runs),
            Some(CueKind::Scheme) => shapes::credentials(bytes, start, end),
            Some(CueKind::Url) => shapes::url_password(bytes, end),
            Some(CueKind::Identified) => {
                let found = shapes::identified_by(bytes, end);
                self.places.extend(found.and_then(|(start, is_loud)| {
                    let is_quoted = matches!(bytes.get(start), Some(b'\'' | b'"'));
                    (is_loud || is_quoted).then(|| value_at(bytes, start, word_end, 0..0)).flatten()
                }));
                return;
            }
        };
        self.places.extend(range.map(Place::from));
    }

    /// A place that could be part of a name.
    fn name(&mut self, start: usize, end: usize) {
        let bytes = self.text.as_bytes();
        if &bytes[start..end] == b"KEY"
            && start >= self.pem
            && let Some(key) = shapes::private_key(bytes, start..end)
        {
            self.pem = key.end;
            self.named = self.named.max(key.end);
            self.places.push(key.into());
            return;
        }
        if start < self.named {
            return;
        }
        let name = self.whole_name(start, end);
        self.named = name.end;
        let Some(name) = self.secret_name(name) else { return };
        self.named = name.end;
        let text = &self.text[name.clone()];
        if text.eq_ignore_ascii_case("token") && self.is_parsers_word(name.start) {
            return;
        }
        let is_header = ["authorization", "cookie"].iter().any(|header| {
            text.len() >= header.len()
                && text.as_bytes()[text.len() - header.len()..].eq_ignore_ascii_case(header.as_bytes())
        });
        let extent = if is_header { Extent::Line } else { Extent::Word };
        if let Some(place) = after(bytes, name.clone(), extent).or_else(|| self.set_password(name.end)) {
            self.named = place.range.end.max(name.end);
            self.places.push(place);
        } else if is_listed(bytes, name.end) {
            let redactor = self.redactor;
            let is_secret = |column: &str| redactor.names.is_secret(column);
            self.inserts.find(self.text, name, is_secret, &mut self.places);
        }
    }

    /// The characters of a name around a part of it.
    fn whole_name(&self, start: usize, end: usize) -> Range<usize> {
        let bytes = self.text.as_bytes();
        let mut first = start - bytes[self.named..start].iter().rev().take_while(|byte| is_name(**byte)).count();
        let last = end + bytes[end..].iter().take_while(|byte| is_name(**byte)).count();
        // What ends an escape, as in `\npassword` and `%26password`, is no part of the name.
        let escape = match first.checked_sub(1).map(|at| bytes[at]) {
            Some(b'\\') if matches!(bytes[first], b'n' | b'r' | b't') => 1,
            Some(b'%') => 2,
            _ => 0,
        };
        if first + escape <= start && bytes[first..first + escape].iter().all(u8::is_ascii_alphanumeric) {
            first += escape;
        }
        self.text.ceil_char_boundary(first)..self.text.floor_char_boundary(last)
    }

    /// The name, alone or with the word before or after it, if its value is secret.
    fn secret_name(&self, name: Range<usize>) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let is_secret =
            |range: &Range<usize>| self.text.get(range.clone()).is_some_and(|name| self.redactor.names.is_secret(name));
        if is_secret(&name) {
            return Some(name);
        }
        let letters = |byte: &&u8| byte.is_ascii_alphabetic();
        let before = self.named.min(name.start)..name.start;
        if let Some((b' ', before)) = bytes[..before.end].split_last() {
            let letters = before.iter().rev().take(WORD_REACH).take_while(letters).count();
            let both = before.len() - letters..name.end;
            if letters > 0 && is_secret(&both) {
                return Some(both);
            }
        }
        if let Some((b' ', after)) = bytes[name.end..].split_first() {
            let letters = after.iter().take(WORD_REACH).take_while(letters).count();
            let both = name.start..name.end + 1 + letters;
            if letters > 0 && is_secret(&both) {
                return Some(both);
            }
        }
        None
    }

    fn is_parsers_word(&self, name_start: usize) -> bool {
        let before = self.text.as_bytes()[..name_start].trim_ascii_end();
        PARSERS_WORDS.iter().any(|word| {
            before.len().checked_sub(word.len()).is_some_and(|at| before[at..].eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    /// `SET PASSWORD FOR 'user'@'host' = 'secret'`.
    fn set_password(&self, at: usize) -> Option<Place> {
        /// Bytes of an account's name and what is around it.
        const REACH: usize = 160;
        let bytes = self.text.as_bytes();
        let rest = &bytes[at..bytes.len().min(at + REACH)];
        if !super::cues::starts_like(rest, b" for ") {
            return None;
        }
        let line = &rest[..memchr::memchr2(b'\n', b';', rest).unwrap_or(rest.len())];
        let equals = memchr::memchr(b'=', line)?;
        value_at(bytes, at + equals + 1 + usize::from(line.get(equals + 1) == Some(&b' ')), word_end, 0..0)
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$') || byte >= 0x80
}

/// Whether a name is followed by what follows one in a list.
fn is_listed(bytes: &[u8], end: usize) -> bool {
    let mut rest = bytes[end..].iter().skip_while(|byte| matches!(byte, b'"' | b'`' | b']' | b' '));
    matches!(rest.next(), Some(b',' | b')'))
}
