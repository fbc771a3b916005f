//! Tells texts that are too plain to hold a secret, in less time than any search takes: most values of fields are such.

use super::card;
use super::gate::has_run;

/// Characters of the shortest card number, and thus of any secret that no sign and no long run gives away.
const SHORT: usize = 13;

/// What one look at a text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether the text by itself holds nothing that the built-in rules replace. A value that belongs to a name inside of the text
    /// is set apart from it by a sign (see `value.rs`: `=`, `:`, `%3d`, quotes, brackets, or a space before a quote or after
    /// `--name`); so is what follows `Bearer`, `://` or `IDENTIFIED BY`, and the words of a PEM header. Tokens are long runs.
    pub(super) is_plain: bool,
    pub(super) is_ascii: bool,
}

/// Looks at a text.
#[inline]
pub(super) fn look(text: &[u8]) -> Look {
    let Seen { any, signs } = see(text);
    let is_plain = signs == 0 && (text.len() < SHORT || !has_run(text) && !card::could_hold(text));
    Look { is_plain, is_ascii: any & HIGH_BITS == 0 }
}

/// What was seen in the words of a text: all their bits, and the highest bit of each byte that is a sign, which is one below
/// `,` (spaces, quotes, `%`, `(` and others), or one from `:` to `>`.
#[derive(Clone, Copy)]
struct Seen {
    any: u64,
    signs: u64,
}

impl Seen {
    #[inline]
    fn of(word: u64) -> Self {
        Self { any: word, signs: signs(word) }
    }

    #[inline]
    fn and(self, word: u64) -> Self {
        Self { any: self.any | word, signs: self.signs | signs(word) }
    }
}

/// Sees all bytes of a text, some of them twice: words overlap where that needs no loop.
#[inline]
fn see(text: &[u8]) -> Seen {
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let ends = Seen::of(u64::from_le_bytes(*first)).and(u64::from_le_bytes(*last));
        if text.len() <= 16 {
            return ends;
        }
        let (words, _) = text[8..text.len() - 8].as_chunks::<8>();
        let ends = ends.and(text[..text.len() - 8].last_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        words.iter().fold(ends, |seen, word| seen.and(u64::from_le_bytes(*word)))
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        Seen::of(u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32))
    } else if let [first, .., last] = text {
        // Two bytes or three.
        let middle = text[text.len() / 2];
        Seen::of(u64::from_le_bytes([*first, middle, *last, *last, *first, middle, *last, *last]))
    } else {
        Seen::of(text.first().map_or(PLAIN_WORD, |byte| ONES * u64::from(*byte)))
    }
}

/// Stands for no bytes at all.
const PLAIN_WORD: u64 = ONES * b'x' as u64;
/// The highest bit of each byte.
const HIGH_BITS: u64 = ONES * 0x80;

/// A one in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// The highest bit of each byte that is a sign. No sum of two bytes below 0x80 carries over to the next byte.
#[inline]
fn signs(word: u64) -> u64 {
    let low = word & (ONES * 0x7f);
    let at_least = |byte: u8| low + ONES * u64::from(0x80 - byte);
    (!at_least(b',') | (at_least(b':') & !at_least(b'?'))) & !word & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redact::tests::{redactor, text};

    #[test]
    fn every_sign_is_seen_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'x'; length];
                    text[at] = byte;
                    assert_eq!(
                        see(&text).signs != 0,
                        byte < b',' || (b':'..=b'>').contains(&byte),
                        "{byte:#x} at {at}"
                    );
                    assert_eq!(look(&text).is_ascii, byte.is_ascii(), "{byte:#x} at {at}");
                }
            }
        }
    }

    #[test]
    fn usual_values_are_plain() {
        for text in ["", "a", "GET", "ada", "/index.html", "/static/css/main-2.css", "10.0.0.1", "2024-05-01", "größe"]
        {
            assert!(look(text.as_bytes()).is_plain, "{text}");
        }
        for text in ["pin=1", "a b", "4111111111111111", "ghp_R4nd0mCh4r4ctersR4nd0m", "http://", "\"x\""] {
            assert!(!look(text.as_bytes()).is_plain, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_plain_is_never_changed(text in text()) {
            if look(text.as_bytes()).is_plain {
                prop_assert_eq!(redactor().redact_text(&text), text.as_str());
            }
        }

        #[test]
        fn what_is_plain_is_never_changed_without_signs(
            text in "[-_./,;?@\\[\\]A-Za-z0-9]{0,12}(pass|token|KEY|sid|eyJ|AKIA|ghp_|sk-|4111)?[-_./,;@|`\\\\~^{}A-Za-z0-9]{0,24}",
        ) {
            if look(text.as_bytes()).is_plain {
                prop_assert_eq!(redactor().redact_text(&text), text.as_str());
            }
        }
    }
}
