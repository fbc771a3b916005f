//! Text that is looked for without regard to case, anywhere or as a whole word.

use super::tokens::{is_word, lower};

/// A text to look for. Texts are equal if they are so in lower case, character by character.
#[derive(Clone, Debug)]
pub(super) struct Needle {
    lower: String,
    is_ascii: bool,
    /// Whether a character outside of ASCII has one of the needle's as its lower case: the sign for kelvin.
    has_foreign_twin: bool,
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        let lower: String = text.chars().flat_map(lower).collect();
        Self { is_ascii: lower.is_ascii(), has_foreign_twin: lower.contains('k'), lower }
    }

    /// Whether the text holds the needle.
    #[inline]
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.any(text, |_, _| true)
    }

    /// Whether the text holds the needle, which is a word, as a whole word.
    #[inline]
    pub(super) fn is_word_of(&self, text: &str) -> bool {
        self.any(text, |start, end| {
            !text[..start].chars().next_back().is_some_and(is_word) && !text[end..].chars().next().is_some_and(is_word)
        })
    }

    /// Whether the needle is at a place that is accepted.
    #[inline]
    fn any(&self, text: &str, accept: impl Fn(usize, usize) -> bool) -> bool {
        let needle = self.lower.as_bytes();
        let Some(&first) = needle.first() else { return true };
        if !self.is_ascii || (self.has_foreign_twin && !text.is_ascii()) {
            let places = text.char_indices().map(|(start, _)| start);
            return places.into_iter().any(|start| self.end_at(text, start).is_some_and(|end| accept(start, end)));
        }
        let Some(last_start) = text.len().checked_sub(needle.len()) else { return false };
        let bytes = text.as_bytes();
        memchr::memchr2_iter(first, first.to_ascii_uppercase(), &bytes[..=last_start.min(bytes.len() - 1)]).any(
            |start| {
                let end = start + needle.len();
                bytes[start..end].eq_ignore_ascii_case(needle) && accept(start, end)
            },
        )
    }

    /// Where the needle ends that starts here, if it does.
    fn end_at(&self, text: &str, start: usize) -> Option<usize> {
        let mut wanted = self.lower.chars();
        for (offset, character) in text[start..].char_indices() {
            if wanted.as_str().is_empty() {
                return Some(start + offset);
            }
            if !lower(character).all(|lower| wanted.next() == Some(lower)) {
                return None;
            }
        }
        wanted.as_str().is_empty().then_some(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_found_in_any_case() {
        let check = |needle: &str, text: &str, inside: bool, word: bool| {
            let found = (Needle::new(needle).is_in(text), Needle::new(needle).is_word_of(text));
            assert_eq!(found, (inside, word), "{needle} in {text}");
        };
        check("timeout", "a TimeOut here", true, true);
        check("time", "a TimeOut here, in time", true, true);
        check("time", "a TimeOut here", true, false);
        check("out", "timeout", true, false);
        check("timeout", "time", false, false);
        check("größe", "Die GRÖßE ist", true, true);
        check("ße", "Die GRÖßE ist", true, false);
        check("kelvin", "5 \u{212a}elvin", true, true);
        check("x", "", false, false);
        check("é", "caf\u{c9}", true, false);
    }
}
