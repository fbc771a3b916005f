//! Write a [Glasshouse](https://github.com/glasshouse-host/glasshouse) extension in about ten lines.
//!
//! ```
//! use glasshouse_sdk::{Error, extension, info};
//!
//! #[derive(Default)]
//! struct Hello;
//!
//! #[extension]
//! impl Hello {
//!     #[event]
//!     fn greet(&mut self, who: String) -> Result<String, Error> {
//!         info!("greeting {who}", name = who);
//!         Ok(format!("Hello, {who}!"))
//!     }
//! }
//! ```
//!
//! Built for `wasm32-wasip2` as a `cdylib`, that is a component that answers the event `greet`. Its logs, its panics and
//! what the crates it uses say through `tracing` or `log` arrive at the host with file and line.
//!
//! # What is here
//!
//! - [`extension`]: the attribute that makes an `impl` block into an extension, and [`Payload`] and [`Error`], what its
//!   handlers take and give.
//! - Logs: [`trace!`], [`debug!`], [`info!`], [`warning!`], [`error!`], [`critical!`].
//! - Logs of one shape each: [`ApiRequest`], [`DatabaseQuery`], [`PluginExecution`], [`CacheAccess`], [`SecurityEvent`],
//!   [`Recovery`].
//! - Metrics: [`counter`], [`gauge`], [`histogram`]; [`metrics`]: usual ones, and collectors. Spans: [`span!`], [`in_span`], [`Span`]. Alerts: [`alert`].
//!   Errors: [`record_error`], [`record_exception`], [`ErrorReport`].
//! - [`enabled`], [`is_stored`]: whether the host stores what is dear to find out.
//! - [`batch`]: logs gathered, for an extension that writes very many. [`context`]: whose work this is. [`events`]: work passed on to other extensions.
//! - `testing`, on native targets: run an extension in a unit test and look at what it recorded.
//!
//! On native targets everything compiles and runs without a host; what is recorded outside `testing` is discarded.

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;

mod alert;
mod backend;
pub mod batch;
mod bridge;
pub mod context;
mod error;
pub mod events;
mod gate;
mod handler;
mod health;
mod helpers;
mod lifecycle;
mod log;
mod metric;
pub mod metrics;
mod span;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod value;

pub use alert::{Alert, alert};
pub use error::{ErrorReport, record_error, record_exception};
pub use gate::{Kind, enabled, is_stored};
/// Makes an inherent `impl` block into the extension of its crate.
///
/// It stands before `impl Type { … }`, once in a crate. In the block,
///
/// - `#[event]` marks a handler of the event of the method's name, `#[event("other.name")]` of that name. It takes
///   `&mut self` or `&self` and at most one more argument: any [`serde::Deserialize`] type, read from the JSON payload (one that does
///   not parse is answered with `invalid-payload`), or [`Payload`], as it came. It returns `T` or `Result<T, E>`: `T`
///   is any [`serde::Serialize`] type, sent as JSON, or [`Payload`]; `E` is [`Error`] or anything that converts into
///   it, as every [`std::error::Error`] does.
/// - `#[fallback]` marks the method `(&mut self, name: &str, payload: Payload)` that takes every other event, such as
///   those of subscribed topics. Without it they are answered with `unknown-event`.
/// - `init` without `self`, with at most one argument, gives `Self` or `Result<Self, E>`; the argument is any
///   [`serde::Deserialize`] type, read from the configuration's JSON. Without `init` the type must be [`Default`].
/// - `shutdown(&mut self)` is called before the instance goes; `collect(&mut self)` every metrics interval;
///   `health(&mut self) -> Vec<Check>` when the host asks (see [`Check`]).
/// - `save(&self) -> T` gives the state to hand to a successor, which takes it over in `restore(&mut self, T)`, that
///   may return a `Result<(), E>`. `T` is as for handlers: a serde type (JSON) or [`Payload`] (bytes).
///
/// All other items of the block are left alone.
///
/// ```
/// use glasshouse_sdk::{Check, Payload, extension};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Config {
///     greeting: String,
/// }
///
/// struct Hello {
///     greeting: String,
///     others: u64,
/// }
///
/// #[extension]
/// impl Hello {
///     fn init(config: Config) -> Self {
///         Self { greeting: config.greeting, others: 0 }
///     }
///
///     #[event("people.greet")]
///     fn greet(&mut self, name: String) -> String {
///         format!("{}, {name}!", self.greeting)
///     }
///
///     #[fallback]
///     fn other(&mut self, _name: &str, _payload: Payload) {
///         self.others += 1;
///     }
///
///     fn health(&mut self) -> Vec<Check> {
///         vec![Check::healthy("greeting")]
///     }
/// }
/// ```
pub use glasshouse_sdk_macros::extension;
pub use glasshouse_wire::{Field, Instrument, Level, Severity, Value};
pub use handler::{Error, FromPayload, IntoPayload, Payload};
pub use health::{Check, Status};
pub use helpers::{ApiRequest, CacheAccess, DatabaseQuery, PluginExecution, Recovery, SecurityEvent, SecurityKind};
pub use lifecycle::Extension;
pub use metric::{Meter, Metric, Number, counter, gauge, histogram};
pub use span::{Span, SpanKind, in_span};
pub use value::ToValue;

/// What the macros expand to. Not part of the API: it changes without notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::bindings;
    #[cfg(target_family = "wasm")]
    pub use crate::bindings::export_extension;
    pub use crate::handler::{argument, outcome, reply};
    #[cfg(target_family = "wasm")]
    pub use crate::lifecycle::Exports;
    pub use crate::lifecycle::{config, reason, restored, saved};
    pub use crate::log::{write_formatted, write_literal};
    pub use crate::span::no_span;
    pub use glasshouse_wire::LogSite;
}
