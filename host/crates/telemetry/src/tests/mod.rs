//! Stores as a whole: in memory, on disk, damaged, full, and read by others.

mod damage;
mod disk;
mod model;
pub(crate) mod support;
