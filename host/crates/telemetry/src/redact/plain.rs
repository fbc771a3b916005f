//! Tells texts that are too plain to hold a secret, in less time than any search takes: most values of fields are such.

use super::card;
use super::gate::has_run;

/// Characters of the shortest card number, and thus of any secret that no sign and no long run gives away.
const SHORT: usize = 13;

/// Whether a text by itself holds nothing that the built-in rules replace. A value that belongs to a name inside of the text is
/// set apart from it by a sign (see `value.rs`: `=`, `:`, `%3d`, quotes, brackets, or a space before a quote or after `--name`);
/// so is what follows `Bearer`, `://` or `IDENTIFIED BY`, and the words of a PEM header. Tokens are long runs.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    !has_sign(text) && (text.len() < SHORT || !has_run(text) && !card::could_hold(text))
}

/// Whether there is a byte below `,` (spaces, quotes, `%`, `(` and others), or one from `:` to `>`.
#[inline]
fn has_sign(text: &[u8]) -> bool {
    let found = if let Some(last) = text.last_chunk::<8>() {
        let (words, _) = text.as_chunks::<8>();
        words.iter().fold(signs(u64::from_le_bytes(*last)), |found, word| found | signs(u64::from_le_bytes(*word)))
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        signs(u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32))
    } else {
        text.iter().fold(0, |found, byte| found | signs(ONES * u64::from(*byte)))
    };
    found != 0
}

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
                    assert_eq!(has_sign(&text), byte < b',' || (b':'..=b'>').contains(&byte), "{byte:#x} at {at}");
                }
            }
        }
    }

    #[test]
    fn usual_values_are_plain() {
        for text in ["", "a", "GET", "ada", "/index.html", "/static/css/main-2.css", "10.0.0.1", "2024-05-01", "größe"]
        {
            assert!(is_plain(text.as_bytes()), "{text}");
        }
        for text in ["pin=1", "a b", "4111111111111111", "ghp_R4nd0mCh4r4ctersR4nd0m", "http://", "\"x\""] {
            assert!(!is_plain(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_plain_is_never_changed(text in text()) {
            if is_plain(text.as_bytes()) {
                prop_assert_eq!(redactor().redact_text(&text), text.as_str());
            }
        }

        #[test]
        fn what_is_plain_is_never_changed_without_signs(
            text in "[-_./,;?@\\[\\]A-Za-z0-9]{0,12}(pass|token|KEY|sid|eyJ|AKIA|ghp_|sk-|4111)?[-_./,;@|`\\\\~^{}A-Za-z0-9]{0,24}",
        ) {
            if is_plain(text.as_bytes()) {
                prop_assert_eq!(redactor().redact_text(&text), text.as_str());
            }
        }
    }
}
