//! What the host stores, asked once a call: what it does not store is neither made nor sent.

use std::cell::Cell;

use glasshouse_wire::Level;

use crate::backend;

/// Kinds of records, beside the levels of logs, that a host stores or not.
///
/// The SDK asks by itself before it sends one. Ask where what a record says is dear to find out:
///
/// ```
/// use glasshouse_sdk::{Kind, gauge, is_stored};
///
/// # fn walk_the_whole_cache() -> u32 { 0 }
/// if is_stored(Kind::Metrics) {
///     gauge("cache.entries").record(walk_the_whole_cache());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Samples of metrics.
    Metrics = 6,
    /// Errors.
    Errors = 7,
    /// Spans, or at least those that fail.
    Spans = 8,
    /// Alerts.
    Alerts = 9,
    /// Logs of [`PluginExecution`](crate::PluginExecution).
    Function = 10,
    /// Logs of [`ApiRequest`](crate::ApiRequest).
    Request = 11,
    /// Logs of [`DatabaseQuery`](crate::DatabaseQuery).
    Database = 12,
    /// Logs of [`CacheAccess`](crate::CacheAccess).
    Cache = 13,
    /// Logs of [`SecurityEvent`](crate::SecurityEvent).
    Security = 14,
}

/// A set of kinds and levels, a bit for each: those of levels are their bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored(u32);

/// Set in a set that was asked for.
const ASKED: u32 = 1 << 31;
const LEVELS: u32 = Level::ALL.len() as u32;

impl Stored {
    /// Everything.
    pub(crate) const ALL: Self = Self((1 << (Kind::Security as u32 + 1)) - 1);
    /// Nothing, since the host was not asked in this call.
    const UNKNOWN: Self = Self(0);

    #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "the host tells it to guests only"))]
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Without the levels below one.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn at_least(self, level: Level) -> Self {
        Self(self.0 & !((1 << level as u32) - 1))
    }

    /// Without a kind.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u32))
    }
}

thread_local! {
    static STORED: Cell<Stored> = const { Cell::new(Stored::UNKNOWN) };
    /// Open spans of traces that the extension has begun.
    static IN_OWN_TRACES: Cell<u32> = const { Cell::new(0) };
}

/// Whether the host stores logs of this level now. The macros ask this themselves, before they evaluate anything; ask
/// it where what a log says is dear to find out.
#[inline]
pub fn enabled(level: Level) -> bool {
    has(level as u32)
}

/// Whether the host stores records of this kind now; see [`Kind`].
#[inline]
pub fn is_stored(kind: Kind) -> bool {
    has(kind as u32)
}

/// Whether the host stores records of this kind, and, if a level is given, logs of that level.
#[inline]
pub(crate) fn are_stored(kind: Kind, level: Option<Level>) -> bool {
    has_all(1 << kind as u32 | level.map_or(0, |level| 1 << level as u32))
}

#[inline]
fn has(bit: u32) -> bool {
    has_all(1 << bit)
}

#[inline]
fn has_all(bits: u32) -> bool {
    let stored = STORED.get();
    let stored = if stored == Stored::UNKNOWN { ask() } else { stored };
    stored.0 & bits == bits
}

#[cold]
fn ask() -> Stored {
    let stored = Stored(backend::stored().0 | ASKED);
    STORED.set(stored);
    stored
}

/// What is stored may change between calls, and within one only where a trace of the extension's own begins or ends.
pub(crate) fn forget() {
    STORED.set(Stored::UNKNOWN);
    IN_OWN_TRACES.set(0);
}

/// Whether spans are open that are of a trace of the extension's own.
pub(crate) fn is_in_own_trace() -> bool {
    IN_OWN_TRACES.get() > 0
}

/// A span has begun that is of a trace of the extension's own; `begins`: it began that, of which the host may store something else.
pub(crate) fn enter_own_trace(begins: bool) {
    IN_OWN_TRACES.set(IN_OWN_TRACES.get().saturating_add(1));
    if begins {
        STORED.set(Stored::UNKNOWN);
    }
}

/// Such a span has ended, after which another trace may be in force.
pub(crate) fn leave_own_trace() {
    IN_OWN_TRACES.set(IN_OWN_TRACES.get().saturating_sub(1));
    STORED.set(Stored::UNKNOWN);
}

const _: () = assert!(LEVELS == Kind::Metrics as u32, "kinds follow levels, as in the contract");
