//! Values of configuration keys: their kinds, bounds, and their form as text.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::otlp::Secrets;
use crate::Level;
use crate::settings::{FileAccess, HttpAccess, Metering, NetworkAccess, SlowCall};
use crate::text::visible;

/// Characters of a text; longer descriptions belong in a README.
const TEXT_CHARACTERS: usize = 4096;

/// What a key takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Switch,
    Integer {
        least: u64,
        most: u64,
    },
    Number {
        least: f64,
        most: f64,
    },
    Duration {
        least: Duration,
        most: Duration,
    },
    SlowCall {
        least: Duration,
        most: Duration,
    },
    Size {
        least: u64,
        most: u64,
    },
    Level,
    Metering,
    Path,
    Text(Check),
    Texts(Check),
    /// Texts that are never shown.
    Secrets(Check),
    Patterns,
    Thresholds,
    Files,
    Network,
    Origins,
    Free,
}

/// Whether a text is legal; if not, what would be.
pub(super) type Check = fn(&str) -> Result<(), String>;

impl Kind {
    /// What the kind is called in messages and in the reference.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Switch => "true or false",
            Self::Integer { .. } => "an integer",
            Self::Number { .. } => "a number",
            Self::Duration { .. } => "a duration",
            Self::SlowCall { .. } => "a duration, or p95",
            Self::Size { .. } => "a size",
            Self::Level => "a level",
            Self::Metering => "fuel or cpu",
            Self::Path => "a path",
            Self::Text(_) => "a text",
            Self::Texts(_) => "a list of texts",
            Self::Secrets(_) => "a list of names and secrets",
            Self::Patterns => "a list of regular expressions",
            Self::Thresholds => "a list of thresholds",
            Self::Files => "a list of folders",
            Self::Network => "a list of addresses and names",
            Self::Origins => "a list of origins",
            Self::Free => "a table",
        }
    }

    /// An example in TOML, where the default is none.
    pub(super) fn example(&self) -> Option<&'static str> {
        match self {
            Self::Files => Some(r#"[{ host = "docs", guest = "/docs", access = "read" }]"#),
            Self::Network => Some(r#"["10.0.0.0/8:443", "example.com:443"]"#),
            Self::Origins => Some(r#"["https://api.example.com", "http://127.0.0.1:8080"]"#),
            Self::Texts(_) => Some(r#"["one", "two"]"#),
            Self::Secrets(_) => Some(r#"["authorization=Bearer ..."]"#),
            Self::Patterns => Some("['acct-[0-9]{8}']"),
            Self::Thresholds => Some(r#"["p95(response_time) > 250 over 5m"]"#),
            Self::Text(_) | Self::Path => Some("\"some text\""),
            _ => None,
        }
    }

    /// The bounds for people, where the kind has some.
    pub(super) fn bounds(&self) -> Option<(Value, Value)> {
        match *self {
            Self::Integer { least, most } => Some((Value::Integer(least), Value::Integer(most))),
            Self::Number { least, most } => Some((Value::Number(least), Value::Number(most))),
            Self::Duration { least, most } => Some((Value::Duration(least), Value::Duration(most))),
            Self::SlowCall { least, most } => {
                Some((Value::SlowCall(SlowCall::After(least)), Value::SlowCall(SlowCall::After(most))))
            }
            Self::Size { least, most } => Some((Value::Size(least), Value::Size(most))),
            _ => None,
        }
    }
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Switch(bool),
    Integer(u64),
    Number(f64),
    Duration(Duration),
    SlowCall(SlowCall),
    Size(u64),
    Level(Level),
    Metering(Metering),
    Path(PathBuf),
    Text(String),
    Texts(Vec<String>),
    Secrets(Secrets),
    Files(Vec<FileAccess>),
    Network(Vec<NetworkAccess>),
    Origins(Vec<HttpAccess>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(switch) => write!(f, "{switch}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Number(number) => write!(f, "{number:?}"),
            Self::Duration(duration) | Self::SlowCall(SlowCall::After(duration)) => write_duration(f, *duration),
            Self::SlowCall(SlowCall::P95) => f.write_str(SlowCall::P95_WORD),
            Self::Size(bytes) => write_size(f, *bytes),
            Self::Level(level) => write!(f, "{level}"),
            Self::Metering(metering) => write!(f, "{metering}"),
            Self::Path(path) => f.write_str(&visible(&path.to_string_lossy(), TEXT_CHARACTERS)),
            Self::Text(text) => f.write_str(&visible(text, TEXT_CHARACTERS)),
            Self::Texts(texts) => write_list(f, texts.iter().map(|text| visible(text, 200))),
            Self::Secrets(secrets) => secrets.fmt(f),
            Self::Files(files) => write_list(f, files),
            Self::Network(network) => write_list(f, network),
            Self::Origins(origins) => write_list(f, origins),
        }
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl IntoIterator<Item = T>) -> fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.into_iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    f.write_str("]")
}

fn write_duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    const SECOND: u128 = 1_000_000_000;
    const UNITS: [(u128, &str); 6] =
        [(86_400 * SECOND, "d"), (3600 * SECOND, "h"), (SECOND, "s"), (1_000_000, "ms"), (1000, "us"), (1, "ns")];
    let nanos = duration.as_nanos();
    let (size, unit) =
        UNITS.into_iter().find(|(size, _)| nanos >= *size && nanos.is_multiple_of(*size)).unwrap_or(UNITS[2]);
    write!(f, "{}{unit}", nanos / size)
}

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];

fn write_size(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    let fits = |(_, size): &(&str, u64)| size.is_power_of_two() && bytes >= *size && bytes.is_multiple_of(*size);
    let (unit, size) = SIZE_UNITS.into_iter().find(fits).unwrap_or(("B", 1));
    write!(f, "{}{unit}", bytes / size)
}

impl Value {
    /// The value as it is written in TOML; only for kinds that can be set while an extension runs.
    pub(super) fn to_toml(&self) -> String {
        match self {
            Self::Switch(_) | Self::Integer(_) | Self::Number(_) => self.to_string(),
            Self::Texts(texts) => quoted(texts.clone()),
            _ => quoted(self.to_string()),
        }
    }
}

/// A text or a list of them in TOML. JSON's escapes are TOML's as well, but TOML wants one more character escaped.
fn quoted(value: impl Into<serde_json::Value>) -> String {
    value.into().to_string().replace('\u{7f}', "\\u007f")
}

/// Why a text is no value of a kind.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It is of another kind.
    Kind,
    /// It is out of bounds.
    Bounds(Value),
    /// Something else, which the message tells.
    Other(String),
}

/// Reads a value that is written without TOML's quotes. Lists and tables have no such form.
pub(super) fn from_text(kind: &Kind, text: &str) -> Result<Value, Refusal> {
    let value = match kind {
        Kind::Switch => Value::Switch(text.parse().map_err(|_| Refusal::Kind)?),
        Kind::Integer { .. } => Value::Integer(integer(text)?),
        Kind::Number { .. } => Value::Number(number(text)?),
        Kind::Duration { .. } => Value::Duration(duration(text)?),
        Kind::SlowCall { .. } if text == SlowCall::P95_WORD => Value::SlowCall(SlowCall::P95),
        Kind::SlowCall { .. } => Value::SlowCall(SlowCall::After(duration(text)?)),
        Kind::Size { .. } => Value::Size(size(text)?),
        Kind::Level => Value::Level(one_of(text, Level::ALL)?),
        Kind::Metering => Value::Metering(one_of(text, Metering::ALL)?),
        Kind::Path if text.is_empty() || text.contains('\0') => {
            return Err(Refusal::Other("an empty path names no folder".into()));
        }
        Kind::Path => Value::Path(text.into()),
        Kind::Text(check) => {
            check_text(text, *check).map_err(Refusal::Other)?;
            Value::Text(text.into())
        }
        Kind::Texts(_)
        | Kind::Secrets(_)
        | Kind::Patterns
        | Kind::Thresholds
        | Kind::Files
        | Kind::Network
        | Kind::Origins
        | Kind::Free => {
            return Err(Refusal::Kind);
        }
    };
    check_bounds(kind, value)
}

/// The value of that name.
fn one_of<T: Copy + fmt::Display>(text: &str, all: &[T]) -> Result<T, Refusal> {
    all.iter().copied().find(|value| value.to_string() == text).ok_or_else(|| {
        let all: Vec<_> = all.iter().map(T::to_string).collect();
        Refusal::Other(format!("found \"{}\", use one of {}", visible(text, 80), all.join(", ")))
    })
}

/// Applies a check and the bound that all texts have.
pub(super) fn check_text(text: &str, check: Check) -> Result<(), String> {
    if text.chars().nth(TEXT_CHARACTERS).is_some() {
        return Err(format!("the text is longer than {TEXT_CHARACTERS} characters; shorten it"));
    }
    check(text)
}

fn check_bounds(kind: &Kind, value: Value) -> Result<Value, Refusal> {
    if within_bounds(kind, &value) { Ok(value) } else { Err(Refusal::Bounds(value)) }
}

/// Whether a value is within its kind's bounds.
pub(super) fn within_bounds(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Integer { least, most }, Value::Integer(found)) | (Kind::Size { least, most }, Value::Size(found)) => {
            (least..=most).contains(&found)
        }
        (Kind::Number { least, most }, Value::Number(found)) => (least..=most).contains(&found),
        (Kind::Duration { least, most }, Value::Duration(found))
        | (Kind::SlowCall { least, most }, Value::SlowCall(SlowCall::After(found))) => (least..=most).contains(&found),
        _ => true,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// A whole number; one out of range is out of bounds, not of another kind.
fn integer(text: &str) -> Result<u64, Refusal> {
    if !is_integer(text) {
        return Err(Refusal::Kind);
    }
    let outside = || Refusal::Other(format!("found {}, allowed are whole numbers from 0 up", visible(text, 40)));
    text.replace('_', "").parse().map_err(|_| outside())
}

fn number(text: &str) -> Result<f64, Refusal> {
    match text.replace('_', "").parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(Refusal::Kind),
    }
}

/// `2s`, `500ms`, `1m 30s`, `7d`, or whole seconds.
fn duration(text: &str) -> Result<Duration, Refusal> {
    if is_integer(text) {
        return integer(text).map(Duration::from_secs);
    }
    if let Some(days) = text.strip_suffix('d').filter(|days| is_integer(days)) {
        return integer(days).map(|days| Duration::from_secs(days.saturating_mul(86_400)));
    }
    let signed: jiff::SignedDuration = text.parse().map_err(|_| Refusal::Kind)?;
    let negative = |_| Refusal::Other(format!("found {}, but a duration cannot be negative", visible(text, 40)));
    Duration::try_from(signed).map_err(negative)
}

/// A duration as configurations have it; `None` if the text is none.
pub(crate) fn duration_of(text: &str) -> Option<Duration> {
    duration(text).ok()
}

/// A duration as configurations show it.
pub(crate) fn shown_duration(duration: Duration) -> String {
    Value::Duration(duration).to_string()
}

/// `64MiB`, `10 MB`, or whole bytes.
fn size(text: &str) -> Result<u64, Refusal> {
    if is_integer(text) {
        return integer(text);
    }
    let (number, factor) = SIZE_UNITS
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), factor)))
        .ok_or(Refusal::Kind)?;
    let number = integer(number)?;
    number.checked_mul(*factor).ok_or(Refusal::Bounds(Value::Size(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Kind = Kind::Duration { least: Duration::from_millis(1), most: Duration::from_hours(1) };
    const SIZE: Kind = Kind::Size { least: 1, most: 1 << 32 };

    fn check(kind: &Kind, text: &str, expect: Result<&str, &str>) {
        let found = from_text(kind, text).map(|value| value.to_string()).map_err(|refusal| match refusal {
            Refusal::Kind => "kind".to_owned(),
            Refusal::Bounds(value) => format!("bounds {value}"),
            Refusal::Other(message) => message,
        });
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{text}");
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        check(&DURATION, "2s", Ok("2s"));
        check(&DURATION, "1m30s", Ok("90s"));
        check(&DURATION, "1.5s", Ok("1500ms"));
        check(&DURATION, "250 ms", Ok("250ms"));
        check(&DURATION, "30", Ok("30s"));
        check(&DURATION, "1h1s", Err("bounds 3601s"));
        check(&DURATION, "0s", Err("bounds 0s"));
        check(&DURATION, "-2s", Err("found -2s, but a duration cannot be negative"));
        check(&DURATION, "soon", Err("kind"));
        let slow = Kind::SlowCall { least: Duration::ZERO, most: Duration::from_hours(1) };
        check(&slow, "250ms", Ok("250ms"));
        check(&slow, "p95", Ok("p95"));
        check(&slow, "p99", Err("kind"));
        check(&slow, "2h", Err("bounds 2h"));
    }

    #[test]
    fn sizes_have_a_unit_or_are_bytes() {
        check(&SIZE, "64MiB", Ok("64MiB"));
        check(&SIZE, "64 KiB", Ok("64KiB"));
        check(&SIZE, "65536", Ok("64KiB"));
        check(&SIZE, "10MB", Ok("10000000B"));
        check(&SIZE, "1536KiB", Ok("1536KiB"));
        check(&SIZE, "5GiB", Err("bounds 5GiB"));
        check(&SIZE, "99999999999GiB", Err("bounds 18446744073709551615B"));
        check(&SIZE, "lots", Err("kind"));
        check(&SIZE, "1.5MiB", Err("kind"));
    }

    #[test]
    fn numbers_are_finite_and_within_their_bounds() {
        let rate = Kind::Number { least: 0.0, most: 1.0 };
        check(&rate, "0.25", Ok("0.25"));
        check(&rate, "1", Ok("1.0"));
        check(&rate, "1.5", Err("bounds 1.5"));
        check(&rate, "nan", Err("kind"));
        let count = Kind::Integer { least: 1, most: 65_536 };
        check(&count, "1_000", Ok("1000"));
        check(&count, "0", Err("bounds 0"));
        check(&count, "-1", Err("found -1, allowed are whole numbers from 0 up"));
        check(&count, "1.0", Err("kind"));
    }

    #[test]
    fn every_text_comes_back_from_toml_as_it_was() {
        let texts: Vec<_> = (0..=0x200).chain([0x2028, 0xfeff, 0x1_f600]).filter_map(char::from_u32).collect();
        let texts: Vec<_> = texts.iter().map(|c| format!("a{c}b")).chain([r#"'''"""\u007f\"#.into()]).collect();
        let line = format!("texts = {}", Value::Texts(texts.clone()).to_toml());
        let table: toml::Table = line.parse().expect("TOML");
        assert_eq!(table["texts"], toml::Value::from(texts));
    }

    #[test]
    fn other_kinds_are_what_they_say() {
        check(&Kind::Switch, "true", Ok("true"));
        check(&Kind::Switch, "yes", Err("kind"));
        check(&Kind::Level, "warning", Ok("warning"));
        check(&Kind::Level, "loud", Err("found \"loud\", use one of trace, debug, info, warning, error, critical"));
        check(&Kind::Metering, "cpu", Ok("cpu"));
        check(&Kind::Metering, "both", Err("found \"both\", use one of cpu, fuel"));
        check(&Kind::Path, "", Err("an empty path names no folder"));
    }
}
