//! Payment card numbers: 13 to 19 digits of an issuer, with a right check digit.

use std::ops::Range;

use super::shapes::after_escape;

/// Digits of a card number, at least and at most (ISO/IEC 7812).
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// How the digits of a card number are grouped, where they are.
const GROUPS: &[&[usize]] = &[&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 1]];

/// Bytes of the longest number: 19 digits and 4 separators.
const REACH: usize = 23;

/// Whether bytes could hold a card number. It looks at every 13th byte: a card number has no way around all of them.
#[inline]
pub(super) fn could_hold(bytes: &[u8]) -> bool {
    let mut at = *DIGITS.start() - 1;
    while at < bytes.len() {
        // Inside of a card number, a separator follows a digit.
        let is_part = bytes[at].is_ascii_digit() || is_separator(bytes[at]) && bytes[at - 1].is_ascii_digit();
        if is_part {
            let around = digits_around(bytes, at);
            if around >= *DIGITS.start() && is_in_card(bytes, at, around) {
                return true;
            }
        }
        at += *DIGITS.start();
    }
    false
}

#[inline]
fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-')
}

/// Digits around a place, as many as are needed, set apart by at most one separator each.
fn digits_around(bytes: &[u8], at: usize) -> usize {
    let count = |bytes: &mut dyn Iterator<Item = &u8>| {
        let (mut digits, mut gap) = (0, false);
        for byte in bytes.take(REACH) {
            match byte {
                b'0'..=b'9' => (digits, gap) = (digits + 1, false),
                b' ' | b'-' if !gap => gap = true,
                _ => break,
            }
        }
        digits
    };
    count(&mut bytes[at..].iter()) + count(&mut bytes[..at].iter().rev())
}

/// Whether a card number could lie around a place with so many digits around: most of what has as many is a time in
/// nanoseconds, or an id. In an encoded record, lengths may look like digits, so that a number may start and end anywhere.
#[cold]
fn is_in_card(bytes: &[u8], at: usize, around: usize) -> bool {
    let before = bytes[..at].iter().rev().take(REACH).take_while(|byte| byte.is_ascii_digit()).count();
    let run = &bytes[at - before..at + digits(&bytes[..bytes.len().min(at + REACH)], at)];
    if run.len() != around {
        // There are groups.
        return true;
    }
    let numbers = |start: usize| DIGITS.filter_map(move |length| run.get(start..start + length));
    (0..run.len()).filter(|start| matches!(run[*start], b'2'..=b'6')).flat_map(numbers).any(is_card)
}

/// Adds the places of card numbers in a text, in order.
pub(super) fn find(bytes: &[u8], mut found: impl FnMut(Range<usize>)) {
    let mut at = 0;
    while at < bytes.len() {
        let length = digits(bytes, at);
        if length == 0 {
            at += 1;
            continue;
        }
        match card_at(bytes, at, length) {
            Some(end) => {
                found(at..end);
                at = end;
            }
            None => at += length,
        }
    }
}

fn digits(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The end of the card number that starts with the group of so many digits.
fn card_at(bytes: &[u8], start: usize, length: usize) -> Option<usize> {
    let before = start.checked_sub(1).map(|at| bytes[at]);
    let fraction = before == Some(b'.') && start > 1 && bytes[start - 2].is_ascii_digit();
    if before.is_some_and(|before| is_word(before) && !after_escape(bytes, start)) || fraction {
        return None;
    }
    if DIGITS.contains(&length) {
        let end = start + length;
        return (ends_at(bytes, end) && is_card(&bytes[start..end])).then_some(end);
    }
    let separator = bytes.get(start + length).copied().filter(|byte| is_separator(*byte))?;
    GROUPS.iter().find_map(|groups| {
        let mut at = start;
        for (index, group) in groups.iter().enumerate() {
            if index > 0 {
                if bytes.get(at) != Some(&separator) {
                    return None;
                }
                at += 1;
            }
            if digits(&bytes[..bytes.len().min(at + group + 1)], at.min(bytes.len())) != *group {
                return None;
            }
            at += group;
        }
        (ends_at(bytes, at) && is_card(&bytes[start..at])).then_some(at)
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn ends_at(bytes: &[u8], end: usize) -> bool {
    let fraction = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    !fraction && !bytes.get(end).is_some_and(|byte| is_word(*byte))
}

/// Whether an issuer has such numbers and the check digit is right.
fn is_card(bytes: &[u8]) -> bool {
    let mut digits = [0; *DIGITS.end()];
    let mut count = 0;
    for (to, byte) in digits.iter_mut().zip(bytes.iter().filter(|byte| byte.is_ascii_digit())) {
        *to = u32::from(byte - b'0');
        count += 1;
    }
    let digits = &digits[..count];
    let start = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + digit);
    let lengths: &[usize] = match (start(1), start(2), start(3), start(4)) {
        (4, ..) => &[13, 16, 19],
        (_, 51..=55, ..) | (_, _, _, 2221..=2720) => &[16],
        (_, 34 | 37, ..) => &[15],
        (_, 36, ..) => &[14, 15, 16, 17, 18, 19],
        (_, 38 | 39, ..) | (_, _, 300..=305, _) => &[14, 16, 17, 18, 19],
        (_, 62 | 65, ..) | (_, _, 644..=649, _) | (_, _, _, 6011 | 3528..=3589) => &[16, 17, 18, 19],
        (_, _, _, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => &[13, 14, 15, 16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len()) && passes_luhn(digits)
}

/// The check digit of ISO/IEC 7812-1, annex B.
fn passes_luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}
