//! What arrives from elsewhere: `tracing`, `log`, and panics.

mod log;
mod tracing;

/// The field of the module that a log or span stands in, where its target was given another name: the conventions have none, and it is called so by
/// `tracing-opentelemetry`.
const CODE_MODULE: &str = "code.module.name";

/// Installs the bridges, once. Where somebody else has set a logger or a subscriber, theirs stays.
pub(crate) fn install() {
    // Both fail only if one is set already, which is then the extension's own choice, or ours from before.
    let _ = ::log::set_logger(&log::Bridge).map(|()| ::log::set_max_level(::log::LevelFilter::Trace));
    let _ = tracing_core::dispatcher::set_global_default(tracing_core::Dispatch::new(tracing::Bridge));
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(report_panic));
}

/// Sends a panic before the abort, though errors be switched off: the host pairs it with the trap, and tells the caller.
#[cfg(target_family = "wasm")]
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let source = panic.location().map(|place| glasshouse_wire::Source { file: place.file(), line: place.line() });
    let message = panic.payload_as_str().unwrap_or("the panic's payload is not text");
    crate::ErrorReport::new("panic", message).unhandled().source(source).send_anyway();
}
