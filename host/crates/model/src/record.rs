//! What the host puts around a record: its place, its time, where it came from and whose work it is.

use crate::{Context, UnixNanos};

/// The `event` of a host's log which tells that a call had too many spans: how many of them are not stored.
pub const SPANS_LEFT_OUT: &str = "telemetry.spans";

/// The kind byte of a span, which only the host writes.
pub const KIND_SPAN: u8 = 64;
/// The kind byte of an invocation, which only the host writes.
pub const KIND_INVOCATION: u8 = 65;
/// The kind byte of a failed call's error, which only the host writes.
pub const KIND_FAILURE: u8 = 66;
/// The kind byte of an error that a call was answered with, which only the host writes.
pub const KIND_ANSWERED: u8 = 68;
/// The kind byte of what metric samples came to, which only the host writes, and in rings of its own.
pub const KIND_ROLLUP: u8 = 67;

/// The kind byte of a group of errors as it stands, in an extension's state.
pub const KIND_STATE_GROUP: u8 = 96;
/// The kind byte of a group of errors that is kept no longer, in an extension's state.
pub const KIND_STATE_GROUP_GONE: u8 = 97;
/// The kind byte of the number of the last record, of an error or an alert, that all before it counts, in an extension's state.
pub const KIND_STATE_COUNTED: u8 = 98;
/// The kind byte of the component whose errors come next, in an extension's state.
pub const KIND_STATE_COMPONENT: u8 = 99;
/// The kind byte of the end of a state that was written anew as a whole, in an extension's state.
pub const KIND_STATE_WHOLE: u8 = 100;
/// The kind byte of an alert as it stands, in an extension's state.
pub const KIND_STATE_ALERT: u8 = 101;
/// The kind byte of an alert that is kept no longer, in an extension's state.
pub const KIND_STATE_ALERT_GONE: u8 = 102;

glasshouse_wire::byte_enum! {
    /// Who made a record. A guest cannot choose it.
    Origin {
        /// The extension, through `debugging`.
        Guest = 0 "guest",
        /// The host.
        Host = 1 "host",
        /// The extension, by writing to its standard output or error.
        Stdio = 2 "stdio",
    }
}

/// What the host puts around a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The record's place in its store: counts from 1, without holes and without repeats.
    pub sequence: u64,
    /// When the host received or made it.
    pub time: UnixNanos,
    /// Who made it.
    pub origin: Origin,
    /// Whether the host cut text or left out fields that were over the limits.
    pub cut: bool,
    /// Whether the guest gathered it and sent it later, with others.
    pub batched: bool,
    /// Whose work it is; `None` outside of any invocation.
    pub context: Option<Context>,
}
