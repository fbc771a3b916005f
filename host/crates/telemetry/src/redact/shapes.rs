//! Secrets that are known by their shape: tokens, credentials, private keys, passwords in URLs, e-mail addresses.

use std::ops::Range;

use super::cues::{CREDENTIALS, Class, URL_BYTES, starts_like};
use super::gate::{RUN, has_run};

/// Characters before `@` and after it (RFC 5321, 4.5.3.1; host names of mail are far shorter than allowed).
const EMAIL_REACH: usize = 64;
/// Bytes between the start of a line `-----BEGIN` and its words `PRIVATE KEY`.
const PEM_REACH: usize = 40;
/// Characters of the second part of a JSON web token, at least.
const JWT_PART: usize = 8;

fn word_before(bytes: &[u8], start: usize) -> bool {
    start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_') && !after_escape(bytes, start)
}

/// Whether an escaped line end or tab stands before, as in JSON: its letter is no part of what follows.
pub(super) fn after_escape(bytes: &[u8], start: usize) -> bool {
    matches!(bytes[..start], [.., b'\\', b'n' | b'r' | b't'])
}

fn run(bytes: &[u8], start: usize, class: Class) -> usize {
    start + bytes[start..].iter().take_while(|byte| class.has(**byte)).count()
}

/// Whether characters look drawn by lot, as no words do: there is a digit, or a capital after the first letter.
fn looks_random(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_digit) || bytes.iter().skip(1).any(u8::is_ascii_uppercase)
}

/// How far runs of characters were followed, so that none is followed twice: what starts within a run that was refused
/// would be refused too.
#[derive(Debug, Default)]
pub(super) struct Runs {
    word: usize,
    wide: usize,
    jwt: usize,
}

/// A token that starts with a prefix, which was found.
pub(super) fn token(
    bytes: &[u8],
    start: usize,
    prefix_end: usize,
    class: Class,
    runs: &mut Runs,
) -> Option<Range<usize>> {
    /// Characters of an AWS access key id after its prefix.
    const CAPITALS: usize = 16;
    if word_before(bytes, start) {
        return None;
    }
    let followed = match class {
        Class::Capitals => {
            let end = prefix_end + CAPITALS;
            let goes_on = bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            return (!goes_on).then_some(start..end);
        }
        Class::Word => &mut runs.word,
        Class::Wide => &mut runs.wide,
    };
    if start < *followed {
        return None;
    }
    *followed = run(bytes, prefix_end, class);
    let found = start..*followed;
    (looks_random(&bytes[prefix_end..found.end]) && has_run(&bytes[found.clone()])).then_some(found)
}

/// A JSON web token (RFC 7519), signed or not; its last part may be cut off.
pub(super) fn jwt(bytes: &[u8], start: usize, runs: &mut Runs) -> Option<Range<usize>> {
    if start < runs.jwt || word_before(bytes, start) {
        return None;
    }
    let header = run(bytes, start, Class::Word);
    runs.jwt = header;
    if header - start < RUN || bytes.get(header) != Some(&b'.') {
        return None;
    }
    let mut end = run(bytes, header + 1, Class::Word);
    if end - header <= JWT_PART {
        return None;
    }
    // An encrypted one has five parts.
    for _ in 0..3 {
        if bytes.get(end) == Some(&b'.') {
            end = run(bytes, end + 1, Class::Word);
        }
    }
    Some(start..end)
}

/// What follows `Bearer` or `Basic`.
pub(super) fn credentials(bytes: &[u8], start: usize, scheme_end: usize) -> Option<Range<usize>> {
    /// Letters of one case are a token, and not a word, from here on.
    const LONGER_THAN_WORDS: usize = 24;
    let end = run(bytes, scheme_end, Class::Wide);
    let found = &bytes[scheme_end..end];
    let right = !word_before(bytes, start)
        && found.len() >= CREDENTIALS
        && (looks_random(found) || found.ends_with(b"=") || found.len() >= LONGER_THAN_WORDS);
    right.then_some(scheme_end..end)
}

/// A private key in PEM, of which `key` is the place of the word KEY. One that is cut off goes to the end.
pub(super) fn private_key(bytes: &[u8], key: Range<usize>) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    let before = &bytes[key.start.saturating_sub(PEM_REACH)..key.start];
    let start = key.start - before.len() + memchr::memmem::rfind(before, BEGIN)?;
    if !before.ends_with(b"PRIVATE ") {
        return None;
    }
    let end = match memchr::memmem::find(&bytes[key.end..], END) {
        Some(found) => {
            let label = key.end + found + END.len();
            memchr::memmem::find(&bytes[label..bytes.len().min(label + PEM_REACH)], b"-----")
                .map_or(bytes.len(), |dashes| label + dashes + 5)
        }
        None => bytes.len(),
    };
    Some(start..end)
}

/// The password in `scheme://user:password@host`, where `at` is the end of `://`.
pub(super) fn url_password(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\');
    let rest = &bytes[at..bytes.len().min(at + URL_BYTES)];
    let path = rest.iter().position(|byte| ends(byte) || matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let colon = memchr::memchr(b':', &rest[..path])? + 1;
    let end = if let Some(end) = memchr::memrchr(b'@', &rest[colon..path]) {
        colon + end
    } else if rest[colon..path].iter().all(u8::is_ascii_digit) {
        // A port, or nothing.
        return None;
    } else {
        // A password that should have been escaped may hold what ends a host's name.
        let end = colon + memchr::memchr(b'@', &rest[colon..])?;
        if rest[path..end].iter().any(ends) {
            return None;
        }
        end
    };
    (end > colon).then_some(at + colon..at + end)
}

/// Whether bytes could hold an e-mail address; that `@` is also a byte of many numbers makes it look twice.
pub(super) fn could_hold_email(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'@', bytes).any(|at| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        before.is_some_and(is_email) && bytes.get(at + 1).is_some_and(|byte| is_email(*byte))
    })
}

fn is_email(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-') || byte >= 0x80
}

/// An e-mail address around an `@`.
pub(super) fn email(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || *byte >= 0x80;
    let mut start = at - bytes[..at].iter().rev().take(EMAIL_REACH).take_while(|byte| is_email(**byte)).count();
    while start < at && bytes[start] & 0xc0 == 0x80 {
        start += 1;
    }
    let mut end = at + 1 + bytes[at + 1..].iter().take(EMAIL_REACH).take_while(|byte| domain(byte)).count();
    while end < bytes.len() && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    while matches!(bytes[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let host = &bytes[at + 1..end.max(at + 1)];
    let top = memchr::memrchr(b'.', host).map(|dot| &host[dot + 1..])?;
    let right = start < at && host.len() > top.len() + 1 && top.len() >= 2 && !top.iter().any(u8::is_ascii_digit);
    right.then_some(start..end)
}

/// The password of SQL's `IDENTIFIED [WITH plugin] BY 'password'`, after the first word.
pub(super) fn identified_by(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    /// Bytes of a plugin's name and what is around it.
    const REACH: usize = 80;
    let rest = &bytes[at..bytes.len().min(at + REACH)];
    let by = (0..rest.len()).find(|from| starts_like(&rest[*from..], b" by "))?;
    if by > 0 && !starts_like(rest, b" with") {
        return None;
    }
    let mut start = at + by + 4;
    let password = b"password ";
    if starts_like(&bytes[start..], password) {
        start += password.len();
    }
    start += bytes[start..].iter().take_while(|byte| **byte == b' ').count();
    Some((start, &rest[by..by + 4] == b" BY "))
}
