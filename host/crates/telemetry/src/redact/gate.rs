//! The first look at bytes: whether the search for cues is worth its time. Clean telemetry gets no further.
//!
//! Searching for all cues at once is slow because they are many. A few short anchors, one of which stands in every cue
//! that is a word, are so few that the SIMD search hardly ever stops; tokens without such a word are all long runs.

use std::sync::LazyLock;

use super::prefilter::{Finder, LONGEST};

/// Bytes that are looked at a time: nearly all logs fit, and clearing so many costs a few nanoseconds.
const CHUNK: usize = 256;
/// Bytes that two chunks share, so that no anchor is cut.
const OVERLAP: usize = LONGEST - 1;
/// Bytes below which the SIMD search falls back to a slow one; shorter text is padded.
const LEAST: usize = 64;
/// Letters, digits, `_` and `-` in a row that every token without an anchor has: `eyJhbGciOiJub25lIn0`, the shortest
/// first part of a JSON web token, has one more.
pub(super) const RUN: usize = 18;

/// Anchors by length: with those of three letters apart, the search for the others compares four at once.
pub(super) const ANCHORS: [&[&str]; 2] = [
    &[
        "pass",
        "secret",
        "token",
        "authorization",
        "cookie",
        "cred",
        "sess",
        "card",
        "bearer ",
        "basic ",
        "identified",
        "signature",
    ],
    &["pwd", "key", "sid", "cvv", "cvc", "ssn", "pin", "otp", "srf", "://"],
];

static FINDERS: LazyLock<[Finder; 2]> = LazyLock::new(|| {
    ANCHORS.map(|anchors| Finder::new(&anchors.iter().map(|anchor| lowered(anchor.as_bytes())).collect::<Vec<_>>()))
});

/// The first look.
#[derive(Debug)]
pub(super) struct Gate {
    finders: &'static [Finder; 2],
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { finders: &FINDERS }
    }

    /// Whether the bytes could hold a cue that is confirmed. `further` are more strings to search for.
    #[inline]
    pub(super) fn opens(&self, bytes: &[u8], further: Option<&Finder>) -> bool {
        let mut buffer = [0; CHUNK];
        let mut at = 0;
        loop {
            let piece = &bytes[at..bytes.len().min(at + CHUNK)];
            for (to, from) in buffer.iter_mut().zip(piece) {
                *to = from | 0x20;
            }
            if at > 0 {
                buffer[piece.len()..].fill(0);
            }
            let searched = &buffer[..piece.len().max(LEAST)];
            if self.finders.iter().chain(further).any(|finder| finder.find(searched, 0).is_some()) {
                return true;
            }
            if at + piece.len() == bytes.len() {
                break;
            }
            at += CHUNK - OVERLAP;
        }
        has_run(bytes)
    }
}

/// Bytes as they are searched: letters in lower case, and a few others moved.
pub(super) fn lowered(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte | 0x20).collect()
}

/// The bytes of a run.
static IN_RUN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_' || byte as u8 == b'-';
        byte += 1;
    }
    table
};

/// Whether there is a run of [`RUN`] bytes. It looks where the next run would end, and back from there: most bytes are
/// never looked at, and none is twice.
#[inline]
pub(super) fn has_run(bytes: &[u8]) -> bool {
    // Bytes before `known` are in the run that ends there, as far back as `end - RUN`.
    let (mut known, mut end) = (0, RUN);
    while end <= bytes.len() {
        match bytes[known..end].iter().rposition(|byte| !IN_RUN[usize::from(*byte)]) {
            None => return true,
            Some(found) => (known, end) = (end, known + found + 1 + RUN),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::cues::{CUES, CueKind};
    use super::*;

    #[test]
    fn every_cue_that_is_a_word_has_an_anchor() {
        for cue in CUES {
            let is_word = matches!(cue.kind, CueKind::Name | CueKind::Scheme | CueKind::Url | CueKind::Identified);
            let has_anchor = ANCHORS.into_iter().flatten().any(|anchor| cue.text.contains(anchor));
            assert!(has_anchor || !is_word, "{}", cue.text);
        }
    }

    #[test]
    fn a_run_is_found_wherever_it_lies() {
        for before in 0..40 {
            for length in RUN - 2..RUN + 3 {
                for stride in 1..9 {
                    let words = format!("{} ", "w".repeat(stride)).repeat(5);
                    let text = format!("{}{words}{} {words}", " ".repeat(before), "r".repeat(length));
                    assert_eq!(has_run(text.as_bytes()), length >= RUN, "{text}");
                }
            }
        }
    }
}
