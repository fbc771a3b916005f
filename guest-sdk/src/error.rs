//! Errors: what went wrong, reported apart from the logs, grouped by the host.

use std::any::type_name;
use std::error::Error;
use std::panic::Location;

use glasshouse_wire::{self as wire, Field, Source};

use crate::{Kind, ToValue, batch, is_stored, log};

/// Causes past this depth are left out: a chain that goes on this long runs in a circle.
const MAX_CAUSES: usize = 32;

/// Reports an error that was handled. Its kind is what the host groups by; file and line are the caller's.
///
/// ```
/// glasshouse_sdk::record_error("cache-miss", "the page is not in the cache");
/// ```
#[track_caller]
pub fn record_error(kind: &str, message: &str) {
    ErrorReport::new(kind, message).send();
}

/// Reports a Rust error that was handled: its type is the kind, its causes are the stack.
#[track_caller]
pub fn record_exception<E: Error + ?Sized>(error: &E) {
    if !is_stored(Kind::Errors) {
        return;
    }
    let message = error.to_string();
    let causes = causes(error);
    ErrorReport::new(kind_of::<E>(), &message).stack(&causes).send();
}

/// The kind of an error of this type: its name, or `error` for one whose type was erased.
pub(crate) fn kind_of<E: ?Sized>() -> &'static str {
    let name = type_name::<E>();
    if name.starts_with("dyn ") { "error" } else { name }
}

/// The causes of an error, one a line.
fn causes<E: Error + ?Sized>(error: &E) -> String {
    let mut lines = String::new();
    let mut source = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(cause) = source else { break };
        lines.push_str(if lines.is_empty() { "caused by: " } else { "\ncaused by: " });
        lines.push_str(&cause.to_string());
        source = cause.source();
    }
    lines
}

/// An error report that is being written; [`send`](ErrorReport::send) sends it.
///
/// ```
/// use glasshouse_sdk::ErrorReport;
///
/// ErrorReport::new("upstream", "the upstream did not answer").field("url", &"/search").unhandled().send();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a report is sent by `send`"]
pub struct ErrorReport<'a> {
    error: wire::Error<'a>,
    fields: Vec<Field<'a>>,
}

impl<'a> ErrorReport<'a> {
    /// A report of an error that was handled, made where this is called.
    #[track_caller]
    pub fn new(kind: &'a str, message: &'a str) -> Self {
        let place = Location::caller();
        let source = Some(Source { file: place.file(), line: place.line() });
        Self { error: wire::Error { kind, message, stack: "", source, handled: true }, fields: Vec::new() }
    }

    /// The extension's own account of the stack, one frame a line.
    pub fn stack(mut self, stack: &'a str) -> Self {
        self.error.stack = stack;
        self
    }

    /// Adds a field.
    pub fn field(mut self, name: &'a str, value: &'a (impl ToValue + ?Sized)) -> Self {
        self.fields.push(Field { name, value: value.to_value() });
        self
    }

    /// Marks that the extension did not go on as intended.
    pub fn unhandled(mut self) -> Self {
        self.error.handled = false;
        self
    }

    /// Names another place in the source than that of [`new`](ErrorReport::new).
    #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "the panic hook is installed in guests only"))]
    pub(crate) fn source(mut self, source: Option<Source<'a>>) -> Self {
        self.error.source = source;
        self
    }

    /// Sends it.
    pub fn send(&self) {
        if is_stored(Kind::Errors) {
            self.send_anyway();
        }
    }

    /// Sends it, whether errors are stored or not.
    pub(crate) fn send_anyway(&self) {
        batch::flush();
        log::send(wire::KIND_ERROR, |body| wire::write_error(body, &self.error, &self.fields));
    }
}
