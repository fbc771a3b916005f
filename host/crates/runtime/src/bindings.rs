//! What wasmtime makes of `wit/`: types and traits, which the other modules implement and call.
#![allow(clippy::pedantic, reason = "generated from wit/, as wasmtime writes it")]

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "extension",
    imports: {
        "glasshouse:extension/debugging.[static]span.start": store | trappable,
        "glasshouse:extension/debugging.[static]span.start-root": store | trappable,
        "glasshouse:extension/debugging.[drop]span": store | trappable,
        "glasshouse:extension/debugging.log": async | trappable,
        "glasshouse:extension/debugging.metric": async | trappable,
        "glasshouse:extension/debugging.[method]meter.record": async | trappable,
        "glasshouse:extension/debugging.error": async | trappable,
        "glasshouse:extension/debugging.alert": async | trappable,
        "glasshouse:extension/debugging.emit": async | trappable,
        "glasshouse:extension/events.call": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "glasshouse:extension/debugging.meter": crate::host::debugging::Meter,
        "glasshouse:extension/debugging.span": crate::host::span_calls::SpanHandle,
        "glasshouse:extension/context.scope": crate::host::context::ScopeHandle,
    },
});
