//! Stores as a whole: in memory, on disk, damaged, full, and read by others.

mod alerts;
mod corpus;
mod damage;
mod disk;
mod ending;
mod groups;
mod model;
pub(crate) mod support;
mod thresholds;
