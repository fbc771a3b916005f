//! Cursors: the place after a record, as text that a reader keeps and comes back with.

use std::fmt;
use std::str::FromStr;

use glasshouse_model::Signal;

/// The place after one record of one signal of one extension. Its text is URL-safe, and not for reading anything out of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which of the ring's incarnations: a new one starts where records were lost with a host's memory.
    pub(crate) incarnation: u32,
    /// The extension's id.
    pub extension: String,
    /// The signal.
    pub signal: Signal,
    /// The sequence number of the record before it.
    pub sequence: u64,
}

/// Text that is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no cursor; take one as it was given, or leave it out to start at the oldest record")]
pub struct InvalidCursor(String);

impl Cursor {
    /// What stands before and after its sequence number in its text, for whoever writes many that differ in that only. The number
    /// has hexadecimal digits.
    pub fn around_sequence(&self) -> (String, String) {
        (format!("{:08x}.", self.incarnation), format!(".{}.{}", self.signal, self.extension))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{:x}.{}.{}", self.incarnation, self.sequence, self.signal, self.extension)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let parsed = || {
            let mut parts = text.splitn(4, '.');
            let incarnation = parts.next().filter(|part| part.len() == 8)?;
            let incarnation = u32::from_str_radix(incarnation, 16).ok()?;
            let sequence = u64::from_str_radix(parts.next()?, 16).ok()?;
            let signal = parts.next()?.parse().ok()?;
            let extension = parts.next().filter(|id| id.parse::<glasshouse_model::ExtensionId>().is_ok())?.to_owned();
            Some(Self { incarnation, extension, signal, sequence })
        };
        parsed().ok_or_else(|| InvalidCursor(text.chars().take(100).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor { incarnation: 7, extension: "a-b".into(), signal: Signal::Span, sequence: u64::MAX };
        let (before, after) = cursor.around_sequence();
        assert_eq!(format!("{before}{:x}{after}", cursor.sequence), cursor.to_string());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "00000007.1.spans", "00000007.1.spans.", "00000007.1.moods.a", "0000007.1.spans.a", "…"]
        {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
