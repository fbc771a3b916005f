//! Text for people: foreign text made safe to show, and numbers with their units.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// The longest prefix of `text` with at most `bytes` bytes that ends between characters.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Whether a character is none that is seen: it controls a terminal, ends a line, turns the reading direction around, or takes no room.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// Foreign text for a terminal or a message: control characters escaped, and cut to so many characters.
pub fn visible(text: &str, characters: usize) -> Cow<'_, str> {
    if text.len() <= characters && !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == characters {
            shown.push('…');
            break;
        }
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Text whose escapes, a percent sign and two hexadecimal digits each, are undone; those that are none stay, and what is no UTF-8 then becomes the replacement
/// character.
pub fn percent_decoded(text: &[u8]) -> String {
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let escaped = digit(0).zip(digit(1)).filter(|_| *first == b'%');
        decoded.push(escaped.map_or(*first, |(high, low)| (high << 4 | low) as u8));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&decoded).into_owned()
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

/// How many there are of something: `1 call`, `1,200 calls`.
pub fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A duration in three digits and a unit: `1.23 ms`.
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    if nanos < 1e9 { scaled(nanos, 1000.0, &[" ns", " µs", " ms"]) } else { format!("{:.2} s", nanos / 1e9) }
}

/// A number in four digits, with its unit in words if it is one that people know (a UCUM code): `1.23 ms`, `4.5 MiB`, `12 %`.
pub fn quantity(value: f64, unit: &str) -> String {
    let nanos = |per_unit: f64| {
        // Longer than half a millennium is no time that was measured.
        if value.abs() * per_unit < u64::MAX as f64 {
            signed(value, |value| duration(Duration::from_nanos((value * per_unit) as u64)))
        } else {
            format!("{} {unit}", number(value))
        }
    };
    let decimal =
        |factor: f64| signed(value, |value| scaled(value * factor, 1000.0, &[" B", " kB", " MB", " GB", " TB", " PB"]));
    match unit {
        "" | "1" => number(value),
        "By" => signed(value, |value| scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])),
        "kBy" => decimal(1e3),
        "MBy" => decimal(1e6),
        "GBy" => decimal(1e9),
        "ns" => nanos(1.0),
        "us" => nanos(1e3),
        "ms" => nanos(1e6),
        "s" => nanos(1e9),
        // What stands in braces is a remark.
        _ if unit.starts_with('{') && unit.ends_with('}') => number(value),
        _ => format!("{} {}", number(value), visible(unit, 20)),
    }
}

fn signed(value: f64, shown: impl FnOnce(f64) -> String) -> String {
    let text = shown(value.abs());
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A number in four digits; a whole one below a million in all of its digits.
fn number(value: f64) -> String {
    signed(value, |value| {
        if value == 0.0 || (value.fract() == 0.0 && value < 1e6) {
            format!("{value:.0}")
        } else if !(1e-3..1e15).contains(&value) {
            format!("{value:.3e}")
        } else if value >= 1e4 {
            scaled(value, 1000.0, &["", " k", " M", " G", " T"])
        } else {
            let digits = (3 - value.log10().floor() as i32).clamp(0, 6) as usize;
            let text = format!("{value:.digits$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
    })
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
    fn escapes_are_undone_and_what_is_none_stays() {
        for (text, expect) in [
            ("a%20b", "a b"),
            ("%C3%a4", "ä"),
            ("a%", "a%"),
            ("%+1", "%+1"),
            ("%zz%2", "%zz%2"),
            ("%25%32", "%2"),
            ("%ff", "\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(percent_decoded(text.as_bytes()), expect, "{text}");
        }
    }

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

    #[test]
    fn quantities_are_written_as_people_write_them() {
        for (value, unit, expect) in [
            (0.0, "", "0"),
            (-12.0, "1", "-12"),
            (12_345.0, "{request}", "12345"),
            (2_500_000.0, "", "2.50 M"),
            (12.345_678, "", "12.35"),
            (0.5, "%", "0.5 %"),
            (-2212.0, "m", "-2212 m"),
            (1536.0, "By", "1.50 KiB"),
            (12.0, "MBy", "12.0 MB"),
            (0.0123, "s", "12.3 ms"),
            (-2.5, "s", "-2.50 s"),
            (-1e300, "s", "-1.000e300 s"),
            (1e300, "\u{7}", "1.000e300 \\u{7}"),
            (1e-9, "", "1.000e-9"),
        ] {
            assert_eq!(quantity(value, unit), expect, "{value} {unit}");
        }
    }
}
