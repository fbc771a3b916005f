//! Bounded per-extension stores: [`Recorder`] writes, [`Reader`] reads, and neither ever waits for the other.
//!
//! Each extension has a [`Store`] with a ring of segments for each signal. Records are appended to the newest segment
//! and become visible to readers with one atomic store; sealed segments never change. The oldest records go when a
//! ring is over its bounds, and are counted.

mod ledger;
mod reader;
mod redact;
mod ring;
mod segment;
mod store;

pub use ledger::{Ledger, Usage};
pub use reader::{Body, Entry, Page, Reader};
pub use redact::{MARKER, RedactionError, Redactor};
pub use ring::Bounds;
pub use store::{Drop, Drops, Head, Recorder, Store, StoreSettings};
