//! Bounded per-extension stores, in memory or in a data directory: [`Recorder`] writes, [`Reader`] reads, and neither ever
//! waits for the other.
//!
//! Each extension has a [`Store`] with a ring of segments for each signal. Records are appended to the newest segment
//! and become visible to readers with one atomic store; sealed segments never change. The oldest records go when a
//! ring is over its bounds, and are counted. A [`Depot`] keeps stores, and does in the background what takes time.

mod alerts;
mod allowance;
mod boot;
mod cursor;
mod depot;
mod ended;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod gates;
mod governor;
mod groups;
mod header;
mod home;
mod input;
mod keeper;
mod ledger;
mod loggers;
mod metrics;
mod overhead;
mod pack;
mod provisional;
pub mod query;
mod rate;
mod reader;
mod redact;
mod ring;
mod rounds;
mod sampling;
mod sealed;
mod segment;
mod series;
mod shares;
mod state;
mod store;
mod stored;
mod thresholds;
mod uses;
mod view;
mod wanted;

#[cfg(test)]
mod tests;

pub use alerts::{ALERTS, Alarm, Alert, AlertCause, AlertError, AlertState, AlertTransition, HostAlert};
pub use cursor::{Cursor, InvalidCursor};
pub use depot::{DataDirError, Depot, DepotSettings, DiskUse, StoreError};
pub use gates::Verdict;
pub use governor::{Detail, Load};
pub use groups::{
    Basis, Component, ErrorGroup, FINGERPRINT_VERSION, GROUPS, GroupState, HOURS, OVERFLOW, Resolution, ResolveError,
    Trend, group_of,
};
pub use input::InputDigester;
pub use ledger::{Ledger, Usage};
#[doc(hidden)]
pub use metrics::Follower;
pub use metrics::{Aggregate, Distribution, Labels, SeriesSummary, Summary, Tier};
pub use overhead::{Overhead, TIMED_IN};
pub use provisional::{CallFate, DECIDED_AFTER, Decided, Fate};
pub use query::{Needs, Order, Query, QueryError};
pub use rate::Worth;
pub use reader::{Body, Entry, Gap, GapCause, Page, Reader};
pub use redact::{CleanStarts, InvocationName, KeyLines, LogSearch, MARKER, RedactionError, Redactor, SeenLog};
pub use ring::Bounds;
pub use sampling::kept_for_its_end;
pub use series::Place;
pub use store::{Drop, Drops, Head, Recorder, Store, StoreSettings};
pub use stored::DataDir;
pub use thresholds::Thresholds;
pub use uses::TelemetryUse;
pub use wanted::Wanted;
