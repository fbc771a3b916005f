//! Words of a text, and the hashes of them that a [`TokenFilter`](super::TokenFilter) holds.
//!
//! A word is a longest run of word characters: what `\w` means in a regular expression (letters with their marks,
//! decimal digits, `_` and other connecting punctuation). Words are equal if they are so in lower case, character by
//! character.
//!
//! A hash is FNV-1a of 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>) of the lower-case word in UTF-8, and then
//! the finaliser of MurmurHash3 (`fmix64`), since the filter uses the high bits too. Filters are stored, so none of this
//! may change without a new version of the filter.

/// The version of what a word and its hash are; a filter of another version is not used.
pub(super) const VERSION: u8 = 1;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Of each ASCII character the lower-case word character, or 0.
const LOWER: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_' {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Whether the character is part of a word.
pub(super) fn is_word(character: char) -> bool {
    if character.is_ascii() { LOWER[character as usize] != 0 } else { regex_syntax::is_word_character(character) }
}

/// The character in lower case, of its own kind: the tables of letters and of cases can be of different ages.
pub(super) fn lower(character: char) -> impl Iterator<Item = char> {
    let lower = character.to_lowercase();
    let is_like = character.is_ascii() || lower.clone().all(|lower| is_word(lower) == is_word(character));
    let (same, lower) = if is_like { (None, Some(lower)) } else { (Some(character), None) };
    same.into_iter().chain(lower.into_iter().flatten())
}

/// The words of a text as they stand there.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

/// The hashes of the words of a text, in their order and as often as they occur.
pub fn of(text: &str) -> impl Iterator<Item = u64> {
    Tokens { text, at: 0 }
}

/// The hash of one word, in any case.
pub(super) fn hash(word: &str) -> u64 {
    let mut hash = FNV_OFFSET;
    for character in word.chars() {
        hash = feed(hash, character);
    }
    finish(hash)
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let bytes = self.text.as_bytes();
        let mut hash = FNV_OFFSET;
        let mut in_word = false;
        let mut at = self.at;
        while let Some(&byte) = bytes.get(at) {
            if byte < 128 {
                at += 1;
                let lower = LOWER[byte as usize];
                if lower != 0 {
                    hash = step(hash, lower);
                    in_word = true;
                    continue;
                }
            } else {
                let character = self.text[at..].chars().next().unwrap_or_default();
                at += character.len_utf8();
                if is_word(character) {
                    hash = feed(hash, character);
                    in_word = true;
                    continue;
                }
            }
            if in_word {
                break;
            }
        }
        self.at = at;
        in_word.then(|| finish(hash))
    }
}

#[inline]
fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

fn feed(mut hash: u64, character: char) -> u64 {
    for lower in lower(character) {
        for byte in lower.encode_utf8(&mut [0; 4]).bytes() {
            hash = step(hash, byte);
        }
    }
    hash
}

#[inline]
fn finish(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_word_characters() {
        let check = |text: &str, expect: &[&str]| {
            assert_eq!(words(text).collect::<Vec<_>>(), expect, "{text}");
            assert_eq!(
                of(text).collect::<Vec<_>>(),
                expect.iter().map(|word| hash(word)).collect::<Vec<_>>(),
                "{text}"
            );
        };
        check("GET /api/v1/users_all?id=17", &["GET", "api", "v1", "users_all", "id", "17"]);
        check("Größe: 5µm", &["Größe", "5µm"]);
        check("नमस्ते दुनिया", &["नमस्ते", "दुनिया"]);
        check("", &[]);
        check(" --- ", &[]);
        assert_eq!(hash("Größe"), hash("GRÖSSE".replace("SS", "ß").as_str()));
    }

    #[test]
    fn stored_hashes_stay_what_they_are() {
        assert_eq!(hash("timeout"), hash("TimeOut"));
        assert_eq!((hash("a"), hash("timeout")), (9_413_272_369_427_828_315, 13_979_200_697_551_863_626));
        let mut all = FNV_OFFSET;
        for character in (0..=0x0010_ffff).filter_map(char::from_u32) {
            all = step(feed(all, character), u8::from(is_word(character)));
        }
        assert_eq!(
            all, 377_814_677_500_852_613,
            "words have changed, most likely with a version of Unicode: raise VERSION, then this figure"
        );
    }
}
