//! The written forms of values: numbers, sizes, durations and times.

use std::fmt;

use glasshouse_model::UnixNanos;

use super::ast::Literal;

const DURATION_UNITS: [(&str, u64); 10] = [
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("µs", 1000),
    ("μs", 1000),
    ("ns", 1),
];

const SIZE_UNITS: [(&str, i64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A number as it is written: whole if it has the form and the size of one. `inf` and `nan` are none.
pub(super) fn number(text: &str) -> Option<Literal> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Ok(integer) = text.parse() {
        return Some(Literal::Integer(integer));
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(Literal::Float)
}

/// A number of bytes, with or without a unit.
pub(super) fn size(text: &str) -> Option<Literal> {
    let Some((digits, factor)) =
        SIZE_UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))
    else {
        return number(text);
    };
    match number(digits)? {
        Literal::Integer(count) => count.checked_mul(factor).map(Literal::Integer),
        Literal::Float(count) => {
            Some(Literal::Float(count * factor as f64)).filter(|_| (count * factor as f64).is_finite())
        }
        _ => None,
    }
}

/// Nanoseconds of a duration such as `250ms`, `1.5s` or `1h30m`; every number has its unit.
pub(super) fn duration(text: &str) -> Option<u64> {
    let mut nanos: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(scaled(number, *factor)?)?;
        rest = tail;
    }
    if text.is_empty() { None } else { Some(nanos) }
}

fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 || (number.contains('.') && fraction.is_empty())
    {
        return None;
    }
    let parts = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let of_fraction = u128::from(factor) * parts / 10_u128.pow(fraction.len() as u32);
    let total = whole.parse::<u128>().ok()?.checked_mul(u128::from(factor))?.checked_add(of_fraction)?;
    u64::try_from(total).ok()
}

/// The shortest exact form of a duration in one unit.
pub(super) fn write_duration(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    let fits = |(_, size): &&(&str, u64)| nanos >= *size && nanos.is_multiple_of(*size);
    let (unit, size) = DURATION_UNITS.iter().find(fits).unwrap_or(&("s", 1_000_000_000));
    write!(f, "{}{unit}", nanos / size)
}

/// A moment in RFC 3339, or a date or a date and a time in UTC.
pub(super) fn time(text: &str) -> Option<UnixNanos> {
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
    })?;
    i64::try_from(moment.as_nanosecond()).ok().map(UnixNanos)
}

/// The moment that is so many nanoseconds before another.
pub(super) fn before(now: UnixNanos, nanos: u64) -> UnixNanos {
    UnixNanos(now.0.saturating_sub_unsigned(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_for_every_number() {
        let check = |text, expect| assert_eq!(duration(text), expect, "{text}");
        check("250ms", Some(250_000_000));
        check("1h30m", Some(5_400_000_000_000));
        check("1.5s", Some(1_500_000_000));
        check("7d", Some(7 * 86_400_000_000_000));
        check("3µs", Some(3000));
        check("0s", Some(0));
        check("", None);
        check("15", None);
        check("m", None);
        check("1.s", None);
        check(".5s", None);
        check("1..5s", None);
        check("15 m", None);
        check("99999999999999999999w", None);
        check("1y", None);
    }

    #[test]
    fn numbers_are_whole_or_finite() {
        let check = |text, expect| assert_eq!(number(text), expect, "{text}");
        check("500", Some(Literal::Integer(500)));
        check("-5", Some(Literal::Integer(-5)));
        check("1.5", Some(Literal::Float(1.5)));
        check("1e3", Some(Literal::Float(1000.0)));
        check("9223372036854775808", Some(Literal::Float(9_223_372_036_854_775_808.0)));
        check("inf", None);
        check("-nan", None);
        check("1e999", None);
        check("u1", None);
        assert_eq!(size("2KiB"), Some(Literal::Integer(2048)));
        assert_eq!(size("1.5MB"), Some(Literal::Float(1_500_000.0)));
    }

    #[test]
    fn times_without_an_offset_are_in_utc() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(time(text).map(|time| time.to_string()).as_deref(), expect, "{text}");
        };
        check("2026-11-22T10:00:00Z", Some("2026-11-22T10:00:00.000000000Z"));
        check("2026-11-22T10:00:00.5+01:00", Some("2026-11-22T09:00:00.500000000Z"));
        check("2026-11-22T10:00", Some("2026-11-22T10:00:00.000000000Z"));
        check("2026-11-22", Some("2026-11-22T00:00:00.000000000Z"));
        check("9999-11-22", None);
        check("yesterday", None);
    }
}
