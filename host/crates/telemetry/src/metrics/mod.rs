//! Answers from metrics: what the samples of each series come to over any window of time.
//!
//! [`roller`] follows the samples of all stores and keeps what each second, ten seconds and minute came to, in rings of their own;
//! [`Reader::summary`](crate::Reader::summary) puts together what a window asks for.

mod aggregate;
mod distribution;
mod follower;
mod gather;
mod holes;
mod roller;
mod rollup;
mod summary;
#[cfg(test)]
mod tests;
mod varint;

pub use aggregate::Aggregate;
pub use distribution::Distribution;
#[doc(hidden)]
pub use follower::Follower;
pub(crate) use follower::rolled_up_to;
pub(crate) use roller::roller;
pub use rollup::Tier;
pub use summary::{Labels, SeriesSummary, Summary};
