//! Makes each typed call of the contract's `debugging`, with each case of what it takes.

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct Typed;

#[extension]
impl Typed {
    /// Makes them all, and says what the host says that it stores.
    #[event]
    fn each(&mut self) -> String {
        calls::logs();
        calls::samples();
        calls::errors();
        calls::alerts();
        calls::spans();
        calls::enabled()
    }
}

/// The contract's own calls, which the SDK goes past.
#[cfg(target_family = "wasm")]
mod calls {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{
        self, AlertReport, Field, Instrument, Level, Meter, Report, Severity, Span, SpanKind, Value,
    };

    /// One of each kind.
    const FIELDS: [Field<'static>; 4] = [
        Field { name: "text", value: Value::Text("zwei, três") },
        Field { name: "integer", value: Value::Integer(i64::MIN) },
        Field { name: "float", value: Value::Float(-0.5) },
        Field { name: "boolean", value: Value::Boolean(true) },
    ];

    pub(crate) fn logs() {
        let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
        for (number, level) in levels.into_iter().enumerate() {
            debugging::log(level, &format!("log {number}"), if number % 2 == 0 { &FIELDS } else { &[] });
        }
    }

    pub(crate) fn samples() {
        debugging::metric("added", Instrument::Counter, 2.0, "By", &[("of", "pages"), ("by", "ada")]);
        debugging::metric("present", Instrument::Gauge, -1.5, "Cel", &[]);
        debugging::metric("observed", Instrument::Histogram, 0.25, "", &[("of", "pages")]);
        Meter::new("bound.added", Instrument::Counter, "1", &[("of", "pages")]).record(3.0);
        Meter::new("bound.present", Instrument::Gauge, "s", &[]).record(4.0);
        Meter::new("bound.observed", Instrument::Histogram, "ms", &[("of", "calls")]).record(5.0);
    }

    pub(crate) fn errors() {
        debugging::error(Report {
            kind: "survived",
            message: "it went on",
            stack: "inner\nouter",
            fields: &FIELDS,
            handled: true,
        });
        debugging::error(Report { kind: "given-up", message: "it did not", stack: "", fields: &[], handled: false });
    }

    pub(crate) fn alerts() {
        let kinds = [
            ("lowest", Severity::Low, None, None, None),
            ("second", Severity::Medium, Some("depth"), None, None),
            ("third", Severity::High, Some("depth"), Some(7.5), None),
            ("highest", Severity::Critical, Some("depth"), Some(9.0), Some(8.0)),
        ];
        for (type_, severity, metric, value, threshold) in kinds {
            let (title, message) = ("Too deep", "Pump it out.");
            debugging::alert(AlertReport { type_, severity, title, message, metric, value, threshold });
        }
    }

    pub(crate) fn spans() {
        let kinds = [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
        for (number, kind) in kinds.into_iter().enumerate() {
            drop(Span::start("started", kind, if number % 2 == 0 { &FIELDS } else { &[] }));
        }
        let changed = Span::start("changed", SpanKind::Internal, &[Field { name: "text", value: Value::Integer(1) }]);
        for field in FIELDS {
            changed.set_field(field);
        }
        changed.add_event("reached", &FIELDS);
        changed.add_event("passed", &[]);
        drop(changed);
        let failed = Span::start("failed", SpanKind::Internal, &[]);
        failed.fail("too deep");
        drop(failed);
    }

    pub(crate) fn enabled() -> String {
        format!("{:?}", debugging::enabled())
    }
}

#[cfg(not(target_family = "wasm"))]
mod calls {
    pub(crate) fn logs() {}

    pub(crate) fn samples() {}

    pub(crate) fn errors() {}

    pub(crate) fn alerts() {}

    pub(crate) fn spans() {}

    pub(crate) fn enabled() -> String {
        String::new()
    }
}
