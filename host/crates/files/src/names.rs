//! Names of log files: of those that are written to, and of those that were set aside. The latter sort as they were.

use glasshouse_model::{LogTier, UnixNanos};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What the names of all log files end with.
const ENDING: &str = ".log";
/// What is added when one was compressed.
const COMPRESSED: &str = ".gz";
/// What is added while that goes on.
const PART: &str = ".part";
/// Digits of the number of a file that was set aside, so that names sort: at one a second they last three years.
const DIGITS: usize = 8;
/// When a file was set aside, in UTC.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The file of a tier that is written to.
pub(crate) fn live(tier: LogTier) -> String {
    format!("{}{ENDING}", tier.stem())
}

/// A file that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) tier: LogTier,
    /// Counts from 1 in each tier.
    pub(crate) number: u64,
    /// When it was set aside, in whole seconds.
    pub(crate) time: UnixNanos,
    pub(crate) state: State,
}

/// How far a file that was set aside has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it was written.
    Plain,
    /// Compressed.
    Compressed,
    /// It is being compressed, or somebody was interrupted at it.
    Part,
}

impl Rotated {
    pub(crate) fn new(tier: LogTier, number: u64, time: UnixNanos) -> Self {
        const SECOND: i64 = 1_000_000_000;
        let time = UnixNanos(time.0.div_euclid(SECOND).saturating_mul(SECOND));
        Self { tier, number, time, state: State::Plain }
    }

    pub(crate) fn with_state(self, state: State) -> Self {
        Self { state, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let time = Timestamp::from_nanosecond(i128::from(self.time.0)).unwrap_or_default().strftime(TIME);
        let state = match self.state {
            State::Plain => String::new(),
            State::Compressed => COMPRESSED.to_owned(),
            State::Part => format!("{COMPRESSED}{PART}"),
        };
        format!("{}.{:0DIGITS$}.{time}{ENDING}{state}", self.tier.stem(), self.number)
    }

    /// The file that a name is of; `None` if it is none of these.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (state, rest) = match name.strip_suffix(PART) {
            Some(rest) => (State::Part, rest.strip_suffix(COMPRESSED)?),
            None => match name.strip_suffix(COMPRESSED) {
                Some(rest) => (State::Compressed, rest),
                None => (State::Plain, name),
            },
        };
        let (rest, time) = rest.strip_suffix(ENDING)?.rsplit_once('.')?;
        let (stem, digits) = rest.rsplit_once('.')?;
        let tier = LogTier::ALL.iter().copied().find(|tier| tier.stem() == stem)?;
        let time = DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let time = UnixNanos(i64::try_from(time.as_nanosecond()).ok()?);
        let found = Self { tier, number: digits.parse().ok()?, time, state };
        // Numbers and times have other forms too, which nobody here wrote.
        (found.name() == name).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_say_what_was_set_aside_when_and_sort_as_it_was() {
        let time = UnixNanos(1_795_358_417_123_456_789);
        let rotated = Rotated::new(LogTier::Structured, 7, time);
        assert_eq!(rotated.name(), "structured.json.00000007.20261122T144017Z.log");
        assert_eq!(rotated.with_state(State::Compressed).name(), "structured.json.00000007.20261122T144017Z.log.gz");
        assert!(Rotated::new(LogTier::All, 9, time).name() < Rotated::new(LogTier::All, 10, UnixNanos(0)).name());
        assert_eq!(live(LogTier::Structured), "structured.json.log");
        for name in [
            "all.log",
            "all.7.20261122T144017Z.log",
            "all.00000007.20261322T142017Z.log",
            "other.00000007.20261122T144017Z.log",
            "all.00000007.20261122T144017Z.log.part",
            "all.+0000007.20261122T144017Z.log",
            "../all.00000007.20261122T144017Z.log",
        ] {
            assert_eq!(Rotated::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_as_it_was_written(
            tier in prop::sample::select(LogTier::ALL.to_vec()), number in 1..10_000_000_000_u64, time in 0..253_402_300_000_i64,
            state in prop::sample::select(vec![State::Plain, State::Compressed, State::Part]),
        ) {
            let time = UnixNanos(time.saturating_mul(1_000_000_000));
            let rotated = Rotated::new(tier, number, time).with_state(state);
            prop_assert_eq!(Rotated::parse(&rotated.name()), Some(rotated));
        }

        #[test]
        fn any_text_is_a_name_or_none(text in "[a-z.0-9TZ]{0,40}(\\.log)?(\\.gz)?") {
            if let Some(rotated) = Rotated::parse(&text) {
                prop_assert_eq!(rotated.name(), text);
            }
        }
    }
}
