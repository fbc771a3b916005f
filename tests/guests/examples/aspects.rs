//! Tells of what it does by the SDK's helpers, and sends what it was told is not stored.

use std::time::Duration;

use glasshouse_sdk::{
    ApiRequest, CacheAccess, DatabaseQuery, Kind, PluginExecution, Recovery, SecurityEvent, SecurityKind, extension,
    info, is_stored, span,
};

/// The extension.
#[derive(Default)]
pub struct Aspects;

#[extension]
impl Aspects {
    /// Leaves a record of each helper behind, well and badly ended ones.
    #[event]
    fn tell(&mut self) {
        let (quick, slow) = (Duration::from_micros(1_500), Duration::from_secs(2));
        let request = ApiRequest::new("GET", "https://example.com/users?page=2").elapsed(quick).slow_after(slow);
        request.status(200).log();
        request.status(404).log();
        request.status(503).log();
        request.elapsed(slow * 2).status(204).log();
        request.failed("timeout").log();
        let query = DatabaseQuery::new("SELECT", "orders").system("postgresql").rows(3).elapsed(quick);
        query.log();
        query.failed("deadlock").log();
        PluginExecution::new("markdown", "render").elapsed(quick).log();
        PluginExecution::new("markdown", "render").failed("too-deep").log();
        CacheAccess::new("pages", "get").hit(true).elapsed(quick).log();
        CacheAccess::new("pages", "get").hit(false).log();
        for kind in SecurityKind::ALL {
            SecurityEvent::new(*kind).user("ada").permission("orders").operation("read").target("order 7").log();
        }
        Recovery::retry("rates", 2).because("timeout").log();
        Recovery::fallback("rates", "yesterday's").because("timeout").log();
        Recovery::degradation("search", "highlighting").log();
    }

    /// Logs under the names of aspects, whatever the host said.
    #[event]
    fn insist(&mut self) {
        info!(target: "glasshouse.request", "a request");
        info!(target: "glasshouse.request.upstream", "a request");
        info!(target: "glasshouse.requests", "none of them");
    }

    /// Passes one of each signal by the typed calls, whatever the host said.
    #[event]
    fn typed(&mut self) {
        send();
    }

    /// What the host says of kinds that can be switched off.
    #[event]
    fn stored(&mut self) -> [bool; 4] {
        [Kind::Metrics, Kind::Errors, Kind::Spans, Kind::Alerts].map(is_stored)
    }

    /// A span that ends well and one that fails.
    #[event]
    fn spans(&mut self) {
        drop(span!("done"));
        span!("failed").fail("it did not work");
    }

    /// Panics.
    #[event]
    fn panic(&mut self) {
        panic!("whatever is switched off");
    }
}

#[cfg(target_family = "wasm")]
fn send() {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{
        AlertReport, Instrument, Level, Report, Severity, Span, SpanKind, alert, error, log, metric,
    };
    log(Level::Critical, "typed", &[]);
    metric("typed", Instrument::Counter, 1.0, "", &[]);
    error(Report { kind: "typed", message: "typed", stack: "", fields: &[], handled: true });
    alert(AlertReport {
        type_: "typed",
        severity: Severity::Low,
        title: "typed",
        message: "",
        metric: None,
        value: None,
        threshold: None,
    });
    Span::start("typed", SpanKind::Internal, &[]).fail("typed");
}

#[cfg(not(target_family = "wasm"))]
fn send() {}
