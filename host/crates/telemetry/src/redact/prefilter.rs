//! Finds where a secret could stand, at a cost that clean telemetry can bear.
//!
//! Bytes are copied with the bit 0x20 set, which makes letters lower-case, and searched for all cues at once with SIMD.
//! Each find is then confirmed by the bytes around it. What runs on a whole encoded record and what runs on each of its
//! texts is the same code, so that a record is suspect wherever one of its texts is. For that, a cue is never refused for
//! what stands before it, which in a record may be the length of the text: it is only ever refused for bytes that
//! belong to the same text if the cue means anything.

use std::sync::LazyLock;

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, Span};

use super::cues::{CUES, Cue, CueKind};
use super::gate::{Gate, lowered};
use super::{card, shapes};

/// Bytes that are searched at a time: nearly all logs fit, and clearing so many costs a few nanoseconds.
const CHUNK: usize = 320;
/// Bytes that two chunks share, so that no cue is cut: one less than the longest cue.
const OVERLAP: usize = LONGEST - 1;
/// The longest cue, and the most that is used of a name or literal from the settings.
pub(super) const LONGEST: usize = 32;
/// Bytes below which the SIMD search falls back to a slow one; shorter text is padded.
const LEAST: usize = 64;

/// The search for the built-in cues, made once.
static BUILT_IN: LazyLock<Finder> = LazyLock::new(|| {
    let cues: Vec<_> = CUES.iter().map(|cue| lowered(cue.text.as_bytes())).collect();
    Finder::new(&cues)
});

/// Searches for cues: the built-in ones and those from settings.
#[derive(Debug)]
pub(super) struct Prefilter {
    gate: Gate,
    built_in: &'static Finder,
    /// For the words of names, and the starts of patterns, from the settings.
    further: Option<Finder>,
    /// Whether a pattern has no start to search for.
    always: bool,
    email: bool,
}

/// A place where a secret could stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// What was found; `None` stands for something from the settings.
    pub(super) cue: Option<&'static Cue>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Hit {
    /// Whether it could be part of a name.
    pub(super) fn is_name(&self) -> bool {
        self.cue.is_none_or(|cue| cue.kind == CueKind::Name)
    }
}

impl Prefilter {
    /// `further` are words and literals of the settings, none of them empty.
    pub(super) fn new(further: &[Vec<u8>], always: bool, email: bool) -> Self {
        let mut shortest: Vec<_> = further.iter().map(|cue| lowered(&cue[..cue.len().min(LONGEST)])).collect();
        shortest.sort();
        // Of cues that start alike only one would be found.
        shortest.dedup_by(|cue, shorter| cue.starts_with(shorter));
        let further = (!shortest.is_empty()).then(|| Finder::new(&shortest));
        Self { gate: Gate::new(), built_in: &BUILT_IN, further, always, email }
    }

    /// Whether the bytes could hold a secret.
    #[inline]
    pub(super) fn is_suspect(&self, bytes: &[u8]) -> bool {
        self.always
            || self.gate.opens(bytes, self.further.as_ref()) && self.scan(bytes, |_| true)
            || card::could_hold(bytes)
            || self.email && shapes::could_hold_email(bytes)
    }

    /// Gives the hits of each search in the order of their starts, until `stop` says so; tells whether it did.
    pub(super) fn scan(&self, bytes: &[u8], mut stop: impl FnMut(Hit) -> bool) -> bool {
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
            let is_last = at + piece.len() == bytes.len();
            let searched = &buffer[..piece.len().max(LEAST)];
            // What starts in the part that the next piece has too is left to it.
            let limit = if is_last { CHUNK } else { CHUNK - OVERLAP };
            let mut from = 0;
            while let Some((index, start, end)) = self.built_in.find(searched, from) {
                if start >= limit {
                    break;
                }
                let (cue, hit_start, hit_end) = (&CUES[index], at + start, at + end);
                if (cue.confirm)(cue, bytes, hit_start, hit_end)
                    && stop(Hit { cue: Some(cue), start: hit_start, end: hit_end })
                {
                    return true;
                }
                from = start + 1;
            }
            if let Some(further) = &self.further {
                from = 0;
                while let Some((_, start, end)) = further.find(searched, from) {
                    if start >= limit {
                        break;
                    }
                    if stop(Hit { cue: None, start: at + start, end: at + end }) {
                        return true;
                    }
                    from = start + 1;
                }
            }
            if is_last {
                return false;
            }
            at += CHUNK - OVERLAP;
        }
    }
}

/// A search for several byte strings at once, none of which starts with another.
#[derive(Debug)]
pub(super) enum Finder {
    Simd(Searcher),
    /// Where the processor lacks what the SIMD search needs, or the strings are too many for it.
    Automaton(AhoCorasick),
    /// Where even that could not be built: finds every byte, so that nothing is missed.
    Everything,
}

impl Finder {
    pub(super) fn new(cues: &[Vec<u8>]) -> Self {
        if let Some(searcher) = packed::Config::new().builder().extend(cues).build() {
            return Self::Simd(searcher);
        }
        AhoCorasick::new(cues).map_or(Self::Everything, Self::Automaton)
    }

    /// The index, start and end of the first string that starts at `from` or later.
    #[inline]
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize, usize)> {
        let span = Span { start: from, end: bytes.len() };
        match self {
            Self::Simd(searcher) => searcher.find_in(bytes, span).map(|m| (m.pattern().as_usize(), m.start(), m.end())),
            Self::Automaton(automaton) => automaton
                .find(aho_corasick::Input::new(bytes).span(span))
                .map(|m| (m.pattern().as_usize(), m.start(), m.end())),
            Self::Everything => (from < bytes.len()).then_some((0, from, from + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str) -> Vec<usize> {
        let mut starts = Vec::new();
        Prefilter::new(&[], false, false).scan(text.as_bytes(), |hit| {
            starts.push(hit.start);
            false
        });
        starts
    }

    #[test]
    fn a_cue_is_found_once_wherever_chunks_end() {
        for before in 0..2 * CHUNK {
            let text = format!("{}Password=x{}", ".".repeat(before), ".".repeat(CHUNK));
            assert_eq!(starts(&text), [before], "after {before} bytes");
        }
    }

    #[test]
    fn cues_that_overlap_are_all_found() {
        assert_eq!(starts("PIN-pin.pwd token"), [0, 4, 8, 12]);
        assert_eq!(starts("keyJhbGciOiJIUzI1NiJ9.eyJzdWIi"), [1, 21 + 1]);
    }

    #[test]
    fn no_cue_starts_with_another_and_none_is_longer_than_the_overlap() {
        for (index, cue) in CUES.iter().enumerate() {
            assert!((3..=LONGEST).contains(&cue.text.len()), "{}", cue.text);
            for (other_index, other) in CUES.iter().enumerate() {
                assert!(index == other_index || !cue.text.starts_with(other.text), "{} {}", cue.text, other.text);
            }
        }
        assert!(CUES.len() <= 64, "more make the SIMD search impossible");
    }
}
