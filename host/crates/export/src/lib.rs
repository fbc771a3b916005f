//! What is stored, taken elsewhere: records as values that serialise, and writers of the formats that people's tools read.
//!
//! An [`Export`] says what is written, and in which [`Format`]; [`Export::write`] goes through its [`Source`]s a page of records at a time and
//! writes to anything that bytes can be written to. How much memory that takes is bounded, however much is stored. Nothing in here opens files
//! or sockets, or reads a clock.

pub mod csv;
mod export;
mod format;
mod jaeger;
mod json;
mod otlp;
mod prometheus;
pub mod records;
mod source;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod walk;

pub use export::{Export, ExportError, Exported};
pub use format::{Format, What};
pub use glasshouse_model::{SpanFilter, SpanSearch, TraceFigures};
pub use jaeger::{Dependency, JaegerQueries, Operation};
pub use json::LogLines;
pub use otlp::request::{Encoding, Portion, Request};
pub use source::Source;
