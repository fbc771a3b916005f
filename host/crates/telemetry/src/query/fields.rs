//! The fields that a query can name: what they are called, which signals have them, and what their values are.

use std::fmt;

use glasshouse_model::wire::Instrument;
use glasshouse_model::{Blame, Origin, Outcome, Signal, SpanStatus};

use super::lexer::quote;
use super::needs::SignalSet;

/// What precedes the name of a field that an extension gave.
const PREFIX: &str = "field.";
/// Likeness (Jaro-Winkler, 0 to 1) below which no field is proposed.
const LIKE: f64 = 0.75;

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// One that the host knows.
    Known(Known),
    /// A field of a log, an error or a span, or a label of a metric, by the name that the extension gave it.
    Named(String),
}

/// What the values of a field are, and so how they are compared and written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    Number,
    /// Bytes; written with or without a unit.
    Size,
    Duration,
    Time,
    Level,
    Severity,
    Boolean,
    /// What the extension gave.
    Any,
}

macro_rules! names {
    ($($name:ident $text:literal $(or $($alias:literal)|+)?: $kind:expr, $signals:expr;)+) => {
        /// A field that the host knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Known { $($name),+ }

        impl Known {
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Other names for it: those under which records are printed.
            pub(super) fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($($alias),+)?]),+ }
            }

            pub(super) fn kind(self) -> Kind {
                match self { $(Self::$name => $kind),+ }
            }

            /// The signals whose records can have it.
            pub(super) fn signals(self) -> SignalSet {
                match self { $(Self::$name => SignalSet::of($signals)),+ }
            }
        }
    };
}

/// The words of an enum, as a constant.
macro_rules! enum_words {
    ($($constant:ident $type:ident $count:literal;)+) => {
        $(const $constant: &[&str] = &{
            let mut words = [""; $count];
            let mut index = 0;
            while index < $count {
                words[index] = $type::ALL[index].as_str();
                index += 1;
            }
            assert!($type::ALL.len() == $count);
            words
        };)+
    };
}

enum_words! {
    SIGNAL_WORDS Signal 6;
    ORIGIN_WORDS Origin 3;
    BLAME_WORDS Blame 2;
    INSTRUMENT_WORDS Instrument 3;
    STATUS_WORDS SpanStatus 3;
    OUTCOME_WORDS Outcome 5;
}

const ANY: &[Signal] = Signal::ALL;
const LOG: &[Signal] = &[Signal::Log];
const METRIC: &[Signal] = &[Signal::Metric];
const ERROR: &[Signal] = &[Signal::Error];
const SPAN: &[Signal] = &[Signal::Span];
const ALERT: &[Signal] = &[Signal::Alert];
const INVOCATION: &[Signal] = &[Signal::Invocation];
const TIMED: &[Signal] = &[Signal::Span, Signal::Invocation];

names! {
    Signal "signal": Kind::Word(SIGNAL_WORDS), ANY;
    Extension "extension": Kind::Text, ANY;
    Time "time": Kind::Time, ANY;
    Sequence "sequence": Kind::Number, ANY;
    Origin "origin": Kind::Word(ORIGIN_WORDS), ANY;
    Cut "cut": Kind::Boolean, ANY;
    Correlation "correlation" or "correlation_id": Kind::Text, ANY;
    User "user": Kind::Text, ANY;
    Tenant "tenant": Kind::Text, ANY;
    Trace "trace" or "trace_id": Kind::Text, ANY;
    Span "span" or "span_id": Kind::Text, ANY;
    Level "level": Kind::Level, LOG;
    Target "target" or "logger": Kind::Text, LOG;
    Message "message": Kind::Text, &[Signal::Log, Signal::Error, Signal::Alert];
    File "file": Kind::Text, &[Signal::Log, Signal::Error];
    Line "line": Kind::Number, &[Signal::Log, Signal::Error];
    Kind "kind": Kind::Text, &[Signal::Error, Signal::Span];
    Blame "blame": Kind::Word(BLAME_WORDS), ERROR;
    Handled "handled": Kind::Boolean, ERROR;
    Call "call": Kind::Text, ERROR;
    InputDigest "input_digest": Kind::Text, &[Signal::Error, Signal::Invocation];
    Stack "stack" or "guest_stack": Kind::Text, ERROR;
    Instrument "instrument": Kind::Word(INSTRUMENT_WORDS), METRIC;
    Unit "unit": Kind::Text, METRIC;
    Value "value": Kind::Number, &[Signal::Metric, Signal::Alert];
    Name "name": Kind::Text, &[Signal::Metric, Signal::Span, Signal::Invocation];
    Status "status": Kind::Word(STATUS_WORDS), SPAN;
    Failure "failure": Kind::Text, SPAN;
    Parent "parent": Kind::Text, TIMED;
    Link "link" or "links": Kind::Text, SPAN;
    Start "start": Kind::Time, SPAN;
    Duration "duration" or "elapsed" | "elapsed_ns": Kind::Duration, TIMED;
    Fuel "fuel": Kind::Number, TIMED;
    Outcome "outcome": Kind::Word(OUTCOME_WORDS), INVOCATION;
    Wall "wall" or "wall_ns": Kind::Duration, INVOCATION;
    InGuest "in_guest" or "in_guest_ns": Kind::Duration, TIMED;
    InHost "in_host" or "in_host_ns": Kind::Duration, TIMED;
    Queued "queued" or "queued_ns": Kind::Duration, INVOCATION;
    Waiting "waiting" or "waiting_ns": Kind::Duration, TIMED;
    Idle "idle" or "idle_ns": Kind::Duration, TIMED;
    Unattributed "unattributed" or "unattributed_ns": Kind::Duration, INVOCATION;
    Cpu "cpu" or "cpu_ns": Kind::Duration, INVOCATION;
    GuestCpu "guest_cpu" or "guest_cpu_ns": Kind::Duration, TIMED;
    HostCpu "host_cpu" or "host_cpu_ns": Kind::Duration, TIMED;
    HostCalls "host_calls": Kind::Number, TIMED;
    Memory "memory" or "memory_bytes": Kind::Size, INVOCATION;
    MemoryDelta "memory_delta" or "memory_delta_bytes": Kind::Size, TIMED;
    MemoryPeak "memory_peak" or "memory_peak_bytes": Kind::Size, TIMED;
    Read "read" or "read_bytes": Kind::Size, TIMED;
    Written "written" or "written_bytes": Kind::Size, TIMED;
    Sent "sent" or "sent_bytes": Kind::Size, TIMED;
    Received "received" or "received_bytes": Kind::Size, TIMED;
    Input "input" or "input_bytes": Kind::Size, INVOCATION;
    Output "output" or "output_bytes": Kind::Size, INVOCATION;
    Severity "severity": Kind::Severity, ALERT;
    Title "title": Kind::Text, ALERT;
    Type "type": Kind::Text, ALERT;
    Metric "metric": Kind::Text, ALERT;
    Threshold "threshold": Kind::Number, ALERT;
}

impl Field {
    /// The field of this name. What follows `field.` is any name, but not an empty one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix(PREFIX) {
            return (!name.is_empty()).then(|| Self::Named(name.to_owned()));
        }
        let is_called = |name: &&Known| name.as_str() == text || name.aliases().contains(&text);
        Known::ALL.iter().find(is_called).map(|name| Self::Known(*name))
    }

    /// Whether the name of a field in quotes must follow.
    pub(super) fn is_prefix(text: &str) -> bool {
        text == PREFIX
    }

    /// Whether all samples of a series have the same value of it.
    pub(super) fn is_of_series(&self) -> bool {
        use Known::{Extension, Instrument, Name, Origin, Signal, Unit};
        match self {
            Self::Known(name) => matches!(name, Extension | Instrument | Name | Origin | Signal | Unit),
            Self::Named(_) => true,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Known(name) => name.kind(),
            Self::Named(_) => Kind::Any,
        }
    }

    pub(super) fn signals(&self) -> SignalSet {
        match self {
            Self::Known(name) => name.signals(),
            Self::Named(_) => SignalSet::of(&[Signal::Log, Signal::Metric, Signal::Error, Signal::Span]),
        }
    }

    /// What somebody who wrote this probably meant.
    pub(super) fn nearest(text: &str) -> String {
        let lower = text.to_lowercase();
        let names =
            Known::ALL.iter().flat_map(|name| std::iter::once(name.as_str()).chain(name.aliases().iter().copied()));
        let best = names.map(|name| (strsim::jaro_winkler(&lower, name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((like, name)) if like >= LIKE => format!("did you mean \"{name}\"?"),
            _ => "a field that an extension gave is written field.NAME; text to look for stands in quotes".to_owned(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name.as_str()),
            Self::Named(name) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                if name.chars().all(plain) { write!(f, "{PREFIX}{name}") } else { write!(f, "{PREFIX}{}", quote(name)) }
            }
        }
    }
}

impl Kind {
    /// What a message says is expected as a value.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text => "a text, in quotes if it has spaces or brackets".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Number => "a number".to_owned(),
            Self::Size => "a number of bytes, such as 4096 or 64MiB".to_owned(),
            Self::Duration => "a duration with its unit, such as 250ms or 1h30m".to_owned(),
            Self::Time => "a time, such as 2026-11-22T10:00:00Z or 15m ago".to_owned(),
            Self::Level => "a level: trace, debug, info, warning, error or critical".to_owned(),
            Self::Severity => "a severity: low, medium, high or critical".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Any => "a number, true, false or a text".to_owned(),
        }
    }

    /// Whether its values are texts, for a regular expression to look at.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Word(_) | Self::Any)
    }

    /// Whether one of its values can be less than another.
    pub(super) fn is_ordered(self) -> bool {
        !matches!(self, Self::Text | Self::Word(_) | Self::Boolean)
    }
}
