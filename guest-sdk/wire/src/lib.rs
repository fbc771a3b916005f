//! The records that cross from an extension to its host in `debugging.emit`: one encoder, one validating decoder.
//!
//! # Format, versions 1 and 2
//!
//! All integers are little-endian. A batch is what one `emit` call carries:
//!
//! ```text
//! batch   = 1:u8 record*                   records that were made just now
//!         | 2:u8 serial:u32 record*        records that were gathered, and are marked as batched
//! record  = kind:u8 length:u32 body[length]
//! kind    = 1 log | 2 metric | 3 error | 4 alert | 5 samples   (64 and above are the host's own, refused from guests)
//! log     = level:u8 flags:u8 [time:i64 if flags&1] target:str [file:str line:varint if flags&2] message:str fields
//! metric  = instrument:u8 value:f64 name:str unit:str fields (labels: text values only)
//! samples = count:u16 metric value:f64*      at most 32 samples of one series: the metric's own value, and the first count - 1 of those
//!                                            that follow; what is left over is room
//! error   = flags:u8(1 = handled) kind:str message:str stack:str [file:str line:varint if flags&2] fields
//! alert   = severity:u8 flags:u8 type:str title:str message:str [metric:str if flags&1] [value:f64 if flags&2]
//!           [threshold:f64 if flags&4]
//! fields  = count:varint (name:str value)*
//! value   = 0 text:str | 1 integer:i64 | 2 float:f64 | 3 (false) | 4 (true)
//! str     = length:varint bytes[length], UTF-8
//! varint  = unsigned LEB128 of at most five bytes; longer forms of small numbers are allowed
//! ```
//!
//! `level` counts from trace = 0 to critical = 5, `instrument` is counter = 0, gauge = 1, histogram = 2, `severity`
//! is low = 0 to critical = 3, and `time` is Unix nanoseconds by the guest's clock. Bytes left over in a body, unknown
//! kinds, unset enum values and unknown flag bits are malformed. A new version of the format gets a new version byte.
//!
//! `serial` tells the batches of an instance apart: each has another than the one before it. A guest that shares its batch
//! with the host (`debugging.share-batch`) is read after a trap, and by the serial number the host knows whether `emit` took
//! the batch before. The time of a log in a batch of version 2 is clamped by the host between the flush before and receipt.
//!
//! A span is no record of a batch, since the host has to know of it from its start: what opens one is what `debugging.open-span`
//! carries, and what changes one what `debugging.change-span` does.
//!
//! ```text
//! start   = 1:u8 kind:u8 [links if kind&128] name:str fields
//!                                          64 is added to the kind of a span that begins a trace of its own, 128 to that of one with links;
//!                                          kind is internal = 0, server = 1, client = 2, producer = 3, consumer = 4
//! change  = 1:u8 1 name:str value          a field
//!         | 1:u8 2 name:str fields         an event
//!         | 1:u8 3 reason:str              a failure
//!         | 1:u8 4 link                    a link
//! links   = count:varint link*
//! link    = trace:u8[16] span:u8[8] state:str fields   to a span of a trace, neither id all zero; with its `tracestate`, or none
//! ```

mod check;
mod decode;
mod encode;
pub mod fuzzing;
mod link;
mod samples;
mod site;
mod span;

pub use check::{LogSummary, LogWatch, check_log, check_log_with, set_log_time};
pub use decode::{FieldIter, Fields, Malformed, Reader, Records, decode, records};
pub use encode::{
    batched_head, begin_batch, put_field, put_fields, put_str, put_varint, record, write_alert, write_error, write_log,
    write_metric,
};
pub use link::{Link, LinkIter, Links, put_link};
pub use samples::{SAMPLES, SAMPLES_COUNT_AT, SAMPLES_FIRST_AT, Samples, samples, write_samples};
pub use site::{LogSite, prefix_level, write_formatted_log_at, write_log_at, write_log_record};
pub use span::{
    SpanChange, SpanKind, SpanStart, SpanSummary, check_span_start, check_span_start_with, span_change, span_start,
    write_linked_span_start, write_span_event, write_span_failure, write_span_field, write_span_link, write_span_start,
};

/// The version byte that a batch of records starts with that were made just now.
pub const VERSION: u8 = 1;
/// The version byte that a batch of gathered records starts with.
pub const VERSION_BATCHED: u8 = 2;
/// The bytes of a batch of gathered records before its first record: version and serial number.
pub const BATCHED_HEAD_BYTES: usize = 5;
/// The bytes of a record before its body: kind and length.
pub const RECORD_HEADER_BYTES: usize = 5;

/// Where a sample's value stands in its body: after its instrument.
pub const METRIC_VALUE_AT: std::ops::Range<usize> = 1..METRIC_NAME_AT;
/// Where a sample's name starts in its body: after instrument and value.
pub const METRIC_NAME_AT: usize = 9;

/// The kind byte of a log.
pub const KIND_LOG: u8 = 1;
/// The kind byte of a metric sample.
pub const KIND_METRIC: u8 = 2;
/// The kind byte of an error.
pub const KIND_ERROR: u8 = 3;
/// The kind byte of an alert.
pub const KIND_ALERT: u8 = 4;
/// The kind byte of several samples of one series, which are stored as so many metric samples.
pub const KIND_SAMPLES: u8 = 5;

const FLAG_TIME: u8 = 1;
const FLAG_HANDLED: u8 = 1;
const FLAG_SOURCE: u8 = 2;
const FLAG_METRIC: u8 = 1;
const FLAG_VALUE: u8 = 2;
const FLAG_THRESHOLD: u8 = 4;

/// Declares an enum whose values are bytes on the wire and lower-case words for people.
#[doc(hidden)]
#[macro_export]
macro_rules! byte_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $value),+ }

        impl $name {
            /// All values, least first.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of a byte on the wire, if it is one.
            #[inline]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($value => Some(Self::$variant),)+ _ => None }
            }

            /// Its lower-case name, as people write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    format!("\"{text}\" is not one of {}", all.join(", "))
                })
            }
        }
    };
}

byte_enum! {
    /// How serious a log is.
    Level {
        /// Fine detail of a computation.
        Trace = 0 "trace",
        /// What a developer wants to know.
        Debug = 1 "debug",
        /// What normally happens.
        Info = 2 "info",
        /// Something unexpected that was coped with.
        Warning = 3 "warning",
        /// Something failed.
        Error = 4 "error",
        /// The extension cannot go on as intended.
        Critical = 5 "critical",
    }
}

byte_enum! {
    /// What a metric's value means.
    Instrument {
        /// An amount added to a total.
        Counter = 0 "counter",
        /// The present value of something.
        Gauge = 1 "gauge",
        /// One observation of a distribution.
        Histogram = 2 "histogram",
    }
}

byte_enum! {
    /// How serious an alert is.
    Severity {
        /// Worth knowing.
        Low = 0 "low",
        /// Worth a look today.
        Medium = 1 "medium",
        /// Worth a look now.
        High = 2 "high",
        /// Worth waking somebody.
        Critical = 3 "critical",
    }
}

/// A typed value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Boolean(bool),
}

/// A named value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// The field's name.
    pub name: &'a str,
    /// Its value.
    pub value: Value<'a>,
}

/// Where in the source a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The source file as the compiler names it.
    pub file: &'a str,
    /// Counted from 1.
    pub line: u32,
}

/// A log, without its fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Log<'a> {
    /// How serious it is.
    pub level: Level,
    /// The logger's name: a module path, or a name of the guest's choice.
    pub target: &'a str,
    /// What happened.
    pub message: &'a str,
    /// Where it was made, if known.
    pub source: Option<Source<'a>>,
    /// Unix nanoseconds by the guest's clock, if it gave one.
    pub time: Option<i64>,
}

/// A metric sample, without its labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric<'a> {
    /// What the value means.
    pub instrument: Instrument,
    /// The metric's name.
    pub name: &'a str,
    /// A UCUM code, or empty.
    pub unit: &'a str,
    /// The sample.
    pub value: f64,
}

/// An error, without its fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Error<'a> {
    /// The error's type.
    pub kind: &'a str,
    /// What happened.
    pub message: &'a str,
    /// The guest's account of the stack, one frame a line; may be empty.
    pub stack: &'a str,
    /// Where it was made, if known.
    pub source: Option<Source<'a>>,
    /// Whether the extension went on as intended.
    pub handled: bool,
}

/// An alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alert<'a> {
    /// How serious it is.
    pub severity: Severity,
    /// What makes two alerts of an extension the same.
    pub kind: &'a str,
    /// One line for a person.
    pub title: &'a str,
    /// The whole story.
    pub message: &'a str,
    /// The metric that it is about.
    pub metric: Option<&'a str>,
    /// The metric's value.
    pub value: Option<f64>,
    /// The threshold that it passed.
    pub threshold: Option<f64>,
}

/// One decoded record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// A log and its fields.
    Log(Log<'a>, Fields<'a>),
    /// A metric sample and its labels.
    Metric(Metric<'a>, Fields<'a>),
    /// An error and its fields.
    Error(Error<'a>, Fields<'a>),
    /// An alert.
    Alert(Alert<'a>),
}
