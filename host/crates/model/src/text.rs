//! Text for people: foreign text made safe to show, and numbers with their units.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// The longest prefix of `text` with at most `bytes` bytes that ends between characters.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Foreign text for a terminal or a message: control characters escaped, and cut to so many characters.
pub fn visible(text: &str, characters: usize) -> Cow<'_, str> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if text.len() <= characters && !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == characters {
            shown.push('…');
            break;
        }
        if hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// A count with thousands set apart: `1 234 567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// A large count in three digits and a unit: `1.23 M`.
pub fn short_count(number: u64) -> String {
    scaled(number as f64, 1000.0, &["", " k", " M", " G", " T", " P"])
}

/// Fuel as [`short_count`] writes it; a dash where none was counted, which is not the same as none used.
pub fn fuel(fuel: Option<u64>) -> String {
    fuel.map_or_else(|| "-".to_owned(), short_count)
}

/// Bytes in three digits and a binary unit: `1.5 MiB`.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// A duration in three digits and a unit: `1.23 ms`.
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    if nanos < 1e9 { scaled(nanos, 1000.0, &[" ns", " µs", " ms"]) } else { format!("{:.2} s", nanos / 1e9) }
}

fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    let mut value = number;
    let mut unit = 0;
    while value >= base - 0.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let mut shown = String::new();
    let _ = if unit == 0 || value >= 100.0 {
        write!(shown, "{value:.0}")
    } else if value >= 10.0 {
        write!(shown, "{value:.1}")
    } else {
        write!(shown, "{value:.2}")
    };
    shown + units[unit]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut() {
        assert_eq!(visible("plain", 10), "plain");
        assert_eq!(visible("a\u{1b}[31mb", 20), "a\\u{1b}[31mb");
        assert_eq!(visible("abcdef", 3), "abc…");
    }

    #[test]
    fn numbers_carry_their_unit() {
        assert_eq!(short_count(999), "999");
        assert_eq!(short_count(1_234_567), "1.23 M");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(duration(Duration::from_nanos(12_300)), "12.3 µs");
        assert_eq!(duration(Duration::from_millis(2500)), "2.50 s");
        assert_eq!(cut("aé", 2), "a");
    }
}
