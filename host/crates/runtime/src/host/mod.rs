//! What an extension can call of its host: one file for each interface of `wit/`.

pub(crate) mod batch;
pub(crate) mod clocks;
pub(crate) mod context;
pub(crate) mod counted;
pub(crate) mod debugging;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod light;
pub(crate) mod names;
mod open_span;
pub(crate) mod random;
pub(crate) mod sockets;
pub(crate) mod span_calls;
pub(crate) mod spans;
pub(crate) mod streams;
