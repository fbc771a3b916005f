//! Puts the texts that it is given into every place from which text gets into telemetry.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what is printed is telemetry, too")]

use std::io::Write as _;

use glasshouse_sdk::batch::{self, LogTime};
use glasshouse_sdk::{
    Check, Error, ErrorReport, Field, Payload, ReportProgress, Severity, Span, SpanKind, Tracked, Value, alert,
    context, counter, events, extension, gauge, histogram, info, instrument, record_error, record_exception, span,
    warning, watch,
};
use serde::Deserialize;

/// The names of fields whose values are secret for their names alone.
const SECRET_NAMES: [&str; 4] = ["password", "api_key", "x-auth-token", "Set-Cookie"];

/// The extension.
#[derive(Default)]
pub struct Canary {
    /// What `collect` records.
    collected: Vec<String>,
    checks: Vec<Check>,
}

/// The configuration.
#[derive(Deserialize)]
pub struct Config {
    /// Whether logs are gathered.
    #[serde(default)]
    gathers: bool,
    /// What `init` answers.
    #[serde(default)]
    refuse: Option<String>,
    /// What `init` panics with.
    #[serde(default)]
    panic: Option<String>,
}

/// Texts, and where to put them.
#[derive(Deserialize)]
pub struct Seed {
    place: String,
    texts: Vec<String>,
}

#[extension]
impl Canary {
    fn init(config: Config) -> Result<Self, Error> {
        if config.gathers {
            batch::start(LogTime::OfReceipt);
        }
        if let Some(text) = config.panic {
            panic!("{text}");
        }
        config.refuse.map_or_else(|| Ok(Self::default()), |text| Err(Error::failed("config", text)))
    }

    /// Puts each text into a place; an error names a place that it does not know.
    #[event]
    fn plant(&mut self, seed: Seed) -> Result<(), Error> {
        for text in &seed.texts {
            let known = match seed.place.split_once('-') {
                Some(("log", _)) => in_logs(&seed.place, text),
                Some(("metric", _)) => in_metrics(&seed.place, text),
                Some(("error" | "alert", _)) => in_reports(&seed.place, text),
                Some(("span", _)) => in_spans(&seed.place, text),
                Some(("code", _)) => in_code(&seed.place, text),
                Some(("scope", _)) => in_scopes(&seed.place, text),
                Some(("wire", _)) => on_the_wire(&seed.place, text),
                _ => self.elsewhere(&seed.place, text),
            };
            if !known {
                return Err(Error::failed("unknown-place", seed.place));
            }
        }
        Ok(())
    }

    /// Puts a text where the end of the call brings it out.
    #[event]
    fn bury(&mut self, seed: Seed) {
        for text in seed.texts {
            match seed.place.as_str() {
                "end-panic" => panic!("{text}"),
                "end-panic-user" => {
                    let _scope = context::scope().user(&text).enter();
                    panic!("on behalf of another");
                }
                "end-panic-file" => {
                    wire_error("panic", &text);
                    trap();
                }
                "end-gathered" => {
                    info!("gathered {text}", text = text);
                    trap();
                }
                "end-open-span" => {
                    std::mem::forget(span!(&text));
                    trap();
                }
                _ => {}
            }
        }
    }

    /// Answers with an error, which is data like a reply.
    #[event]
    fn answer(&mut self, text: String) -> Result<(), Error> {
        Err(Error::failed("answer", text))
    }

    /// Takes events of any name, and fails if their payload asks for it.
    #[fallback]
    fn other(&mut self, _name: &str, payload: Payload) {
        assert!(payload.bytes != b"\"fail\"", "the event asks for it");
    }

    fn collect(&mut self) {
        for text in self.collected.drain(..) {
            gauge("collected").label("of", &text).record(1);
            info!("collected", of = text);
        }
    }

    fn health(&mut self) -> Vec<Check> {
        self.checks.clone()
    }
}

impl Canary {
    fn elsewhere(&mut self, place: &str, text: &str) -> bool {
        match place {
            "stdout" => println!("printed {text}"),
            "stdout-bare" => println!("{text}"),
            "stdout-pieces" => {
                let (one, other) = text.split_at(text.len() / 2);
                for piece in [one, other, "\n"] {
                    print!("{piece}");
                    // That it cannot be flushed would be seen by its absence.
                    let _ = std::io::stdout().flush();
                }
            }
            "stderr" => eprintln!("printed {text}"),
            "denied-call" => drop(events::call::<Payload>(text, "any", "")),
            "denied-publish" | "published" => drop(events::publish(text, "news")),
            "denied-file" => drop(std::fs::read(format!("/data/../{text}"))),
            "collected" => self.collected.push(text.to_owned()),
            "health-name" => self.checks.push(Check::healthy(text)),
            "health-detail" => self.checks.push(Check::degraded("store", text)),
            _ => return false,
        }
        true
    }
}

fn in_logs(place: &str, text: &str) -> bool {
    match place {
        "log-typed-message" => typed::log(text, "field", "value"),
        "log-typed-field" => typed::log("typed", "note", text),
        "log-typed-field-name" => typed::log("typed", text, "value"),
        "log-typed-secret-name" => SECRET_NAMES.into_iter().for_each(|name| typed::log("typed", name, text)),
        "log-field" => info!("literal", note = text),
        "log-message" => info!("formatted {text}", text = text),
        "log-warning" => warning!("formatted {text}", text = text),
        "log-secret-name" => info!("literal", password = text, session_id = text),
        "log-secret-number" => info!("literal", pin = text.parse().unwrap_or(0_i64)),
        "log-crate" => log::warn!("bridged {text}"),
        "log-crate-target" => log::info!(target: text, "bridged"),
        "log-tracing-message" => tracing::info!("bridged {text}"),
        "log-tracing-field" => tracing::warn!(note = text, "bridged"),
        "log-tracing-span" => drop(tracing::info_span!("bridged", note = text).entered()),
        _ => return false,
    }
    true
}

fn in_metrics(place: &str, text: &str) -> bool {
    match place {
        "metric-name" => counter(text).record(1),
        "metric-unit" => gauge("depth").unit(text).record(1),
        "metric-label" => histogram("size").label("of", text).record(1),
        "metric-label-name" => counter("calls").label(text, "value").record(1),
        "metric-secret-label" => counter("calls").label("token", text).record(1),
        "metric-meter-name" => counter(text).bind().increment(),
        "metric-meter-label" => gauge("depth").label("of", text).bind().record(2),
        "metric-typed" => typed::metric(text),
        _ => return false,
    }
    true
}

fn in_reports(place: &str, text: &str) -> bool {
    match place {
        "error-kind" => record_error(text, "an error"),
        "error-message" => record_error("kind", text),
        "error-stack" => ErrorReport::new("kind", "an error").stack(text).send(),
        "error-field" => ErrorReport::new("kind", "an error").field("note", text).unhandled().send(),
        "error-secret-name" => ErrorReport::new("kind", "an error").field("clientSecret", text).send(),
        "error-exception" => record_exception(&std::io::Error::other(text.to_owned())),
        "error-typed" => typed::error(text),
        "alert-kind" => alert(text, Severity::Low, "title").raise(),
        "alert-title" => alert("kind", Severity::Low, text).raise(),
        "alert-message" => alert("kind", Severity::Low, "title").message(text).raise(),
        "alert-metric" => alert("kind", Severity::Low, "title").metric(text).raise(),
        _ => return false,
    }
    true
}

fn in_spans(place: &str, text: &str) -> bool {
    let fields = [Field { name: "note", value: Value::Text(text) }];
    let secret = [Field { name: "authorization", value: Value::Text(text) }];
    match place {
        "span-name" => drop(Span::start(text, SpanKind::Internal, &[])),
        "span-field" => drop(Span::start("work", SpanKind::Internal, &fields)),
        "span-set-field" => span!("work").set_field("note", text),
        "span-secret-name" => span!("work").set_field("access_token", text),
        "span-event" => span!("work").add_event(text, &[]),
        "span-event-field" => span!("work").add_event("event", &fields),
        "span-event-secret-name" => span!("work").add_event("event", &secret),
        "span-failure" => span!("work").fail(text),
        _ => return false,
    }
    true
}

/// Has code that traces itself deal with a text.
fn in_code(place: &str, text: &str) -> bool {
    let mut traced = Traced { note: String::new(), token: String::new() };
    match place {
        "code-argument" => drop(tell(text, Some(text), "")),
        "code-secret-argument" => drop(tell("", None, text)),
        "code-result" => drop(give(text)),
        "code-error" => drop(refuse(text)),
        "code-state" => watch!("block", [text, debug = ?text], {}),
        "code-secret-state" => watch!("block", [password = text], {}),
        "code-change" => {
            traced.set_note(text.to_owned());
            traced.track().note.clear();
        }
        "code-secret-change" => {
            traced.set_token(text.to_owned());
            traced.track().token.clear();
        }
        "code-progress" => std::iter::once(()).progress(text).for_each(drop),
        _ => return false,
    }
    true
}

#[derive(Tracked)]
struct Traced {
    note: String,
    token: String,
}

#[instrument(fields(display = %note))]
fn tell(note: &str, debug: Option<&str>, password: &str) -> usize {
    note.len() + debug.map_or(0, str::len) + password.len()
}

#[instrument(skip_all, ret)]
fn give(text: &str) -> String {
    text.to_owned()
}

#[instrument(skip_all, err)]
fn refuse(text: &str) -> Result<(), String> {
    Err(text.to_owned())
}

fn in_scopes(place: &str, text: &str) -> bool {
    let scope = context::scope();
    let _scope = match place {
        "scope-correlation" => scope.correlation_id(text),
        "scope-tenant" => scope.tenant(text),
        _ => scope.user(text),
    }
    .enter();
    match place {
        "scope-correlation" | "scope-tenant" | "scope-user" => info!("in a scope"),
        "scope-span" => drop(span!("in a scope")),
        "scope-printed" => println!("in a scope"),
        "scope-metric" => counter("calls").record(1),
        "scope-denied" => drop(events::call::<Payload>("stranger", "any", "")),
        _ => return false,
    }
    true
}

/// Puts texts where the SDK puts none of its user's.
fn on_the_wire(place: &str, text: &str) -> bool {
    match place {
        "wire-log-file" => typed::emit(|buffer| {
            let source = Some(glasshouse_wire::Source { file: text, line: 1 });
            let log = glasshouse_wire::Log {
                level: glasshouse_wire::Level::Info,
                target: "target",
                message: "",
                source,
                time: None,
            };
            let write = |body: &mut Vec<u8>| glasshouse_wire::write_log(body, &log, format_args!("forged"), &[]);
            glasshouse_wire::record(buffer, glasshouse_wire::KIND_LOG, write);
        }),
        "wire-error-file" => wire_error("kind", text),
        _ => return false,
    }
    true
}

/// Reports an error that names a file.
fn wire_error(kind: &str, file: &str) {
    typed::emit(|buffer| {
        let source = Some(glasshouse_wire::Source { file, line: 1 });
        let error = glasshouse_wire::Error { kind, message: "forged", stack: "", source, handled: false };
        glasshouse_wire::record(buffer, glasshouse_wire::KIND_ERROR, |body| {
            glasshouse_wire::write_error(body, &error, &[]);
        });
    });
}

fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort()
}

/// The contract's own calls, which the SDK goes past.
#[cfg(target_family = "wasm")]
mod typed {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{self, Field, Instrument, Level, Report, Value};

    pub(crate) fn log(message: &str, name: &str, value: &str) {
        debugging::log(Level::Info, message, &[Field { name, value: Value::Text(value) }]);
    }

    pub(crate) fn metric(text: &str) {
        debugging::metric("typed", Instrument::Gauge, 1.0, "1", &[("of", text)]);
    }

    pub(crate) fn error(text: &str) {
        let fields = [Field { name: "note", value: Value::Text(text) }];
        debugging::error(Report { kind: "kind", message: text, stack: text, fields: &fields, handled: true });
    }

    pub(crate) fn emit(write: impl FnOnce(&mut Vec<u8>)) {
        let mut batch = Vec::new();
        glasshouse_wire::begin_batch(&mut batch);
        write(&mut batch);
        debugging::emit(&batch);
    }
}

#[cfg(not(target_family = "wasm"))]
mod typed {
    pub(crate) fn log(_message: &str, _name: &str, _value: &str) {}

    pub(crate) fn metric(_text: &str) {}

    pub(crate) fn error(_text: &str) {}

    pub(crate) fn emit(_write: impl FnOnce(&mut Vec<u8>)) {}
}
