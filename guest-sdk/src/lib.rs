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
//! - Metrics: [`counter`], [`gauge`], [`histogram`]; [`metrics`]: usual ones, and collectors. Spans: [`span!`], [`in_span`], [`Span`], [`Link`]; a trace of its own: [`root_span!`]. Alerts: [`alert`].
//!   Errors: [`record_error`], [`record_exception`], [`ErrorReport`].
//! - Tracing of code: [`instrument`] for functions, [`watch!`] for blocks, [`Tracked`] for structs, [`ReportProgress`] for iterators.
//! - [`enabled`], [`is_stored`]: whether the host stores what is dear to find out.
//! - [`batch`]: logs gathered, for an extension that writes very many. [`context`]: whose work this is. [`events`]: work passed on to other extensions.
//! - `http`, with the feature of that name: requests to servers.
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
mod code;
pub mod context;
mod error;
pub mod events;
mod gate;
mod handler;
mod health;
mod helpers;
#[cfg(feature = "http")]
pub mod http;
mod lifecycle;
mod link;
mod log;
mod metric;
pub mod metrics;
mod span;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod value;

pub use alert::{Alert, alert};
pub use code::{Progress, ReportProgress, Tracked, Tracking};
pub use error::{ErrorReport, record_error, record_exception};
pub use gate::{Kind, enabled, is_stored};
#[doc(hidden)]
pub use glasshouse_sdk_macros::Tracked;
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
/// Makes each call of a function or a method a span of its name, with its arguments as fields.
///
/// Numbers, booleans, `str` and `String` are recorded as they are, other arguments by their `Debug` form; not recorded are `self`,
/// arguments whose name starts with an underscore, and patterns. Beside them the span has `call.depth` (1 for a function that
/// no other instrumented one has called), `code.file.path` and `code.line.number`, and, as every span, its time and cost. What may follow in parentheses, in
/// any order:
///
/// - `"name"` or `name = "name"`: the span's name.
/// - `skip(argument, …)`, `skip_all`: arguments that are not recorded.
/// - `fields(key = value, …)`: further fields, in the syntax of [`span!`], of the arguments and of what is in scope where the function stands.
/// - `ret`: what the function returns, as the field `return`: as it is, by its `Debug` form, or as `ret(?)` and `ret(%)` say.
/// - `err`: if the function returns an `Err`, the span is marked as failed, with the error's `Display` form (`err(?)`: its `Debug`
///   form) as the reason and its type as the field `error.type`; `ret` then records what is in an `Ok`.
/// - `kind = Client`: a [`SpanKind`].
/// - `level = Trace`: that there is a span only where logs of that [`Level`] are stored, too.
///
/// Where there is no span, a call costs a look at a flag: no argument is formatted, and nothing is sent. If the function traps
/// or panics, the host ends its span as unfinished, below the one in which it lies.
///
/// Secrets are replaced by the names of fields, as everywhere: an argument `password` does not come out. What a function returns has no such name:
/// do not ask for `ret` of one that gives secrets.
///
/// ```
/// use glasshouse_sdk::instrument;
///
/// #[instrument(skip(password), fields(len = password.len()), err)]
/// fn log_in(user: &str, password: &str) -> Result<u64, std::num::ParseIntError> {
///     user.parse()
/// }
/// # assert!(log_in("ada", "hunter2").is_err());
/// ```
///
/// Async functions are refused:
///
/// ```compile_fail
/// #[glasshouse_sdk::instrument]
/// async fn fetch() {}
/// ```
pub use glasshouse_sdk_macros::instrument;
pub use glasshouse_wire::{Field, Instrument, Level, Severity, SpanKind, Value};
pub use handler::{Error, FromPayload, IntoPayload, Payload};
pub use health::{Check, Status};
pub use helpers::{ApiRequest, CacheAccess, DatabaseQuery, PluginExecution, Recovery, SecurityEvent, SecurityKind};
pub use lifecycle::Extension;
pub use link::Link;
pub use metric::{Meter, Metric, Number, counter, gauge, histogram};
pub use span::{Span, in_span};
pub use value::ToValue;

/// What the macros expand to. Not part of the API: it changes without notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::bindings;
    #[cfg(target_family = "wasm")]
    pub use crate::bindings::export_extension;
    pub use crate::code::{CodeSpan, TrackedField, TrackedPlan, call, depth, is_traced, tell_change};
    pub use crate::handler::{argument, outcome, reply};
    #[cfg(target_family = "wasm")]
    pub use crate::lifecycle::Exports;
    pub use crate::lifecycle::{config, reason, restored, saved};
    pub use crate::log::{write_formatted, write_literal};
    pub use crate::span::no_span;
    pub use glasshouse_wire::LogSite;
}
