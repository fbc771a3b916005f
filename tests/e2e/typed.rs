//! The typed calls of `debugging`, each with each case of what it takes: what is stored is what was passed, to the last part of it.

use glasshouse_model::wire::{Fields, Record};
use glasshouse_model::{Level, Signal};
use glasshouse_runtime::Extension;
use glasshouse_telemetry::{Body, Drop};

use crate::harness::{House, ask, dropped, each};

const FIELDS: &str =
    "text=Text(\"zwei, três\") integer=Integer(-9223372036854775808) float=Float(-0.5) boolean=Boolean(true)";

/// Fields with their types.
fn shown(fields: Fields<'_>) -> String {
    fields.iter().map(|field| format!("{}={:?}", field.name, field.value)).collect::<Vec<_>>().join(" ")
}

/// What the guest said by a signal, in the order in which it did.
fn said(extension: &Extension, signal: Signal) -> Vec<String> {
    each(extension, signal, |envelope, body| {
        let said = match body {
            Body::Record(Record::Log(log, fields)) if log.message.starts_with("log ") => {
                assert_eq!((log.target, log.source, log.time), ("", None, None));
                format!("{} {} [{}]", log.level, log.message, shown(fields))
            }
            Body::Record(Record::Metric(metric, labels)) => {
                let (instrument, name, unit, value) = (metric.instrument, metric.name, metric.unit, metric.value);
                format!("{instrument} {name} {value} \"{unit}\" [{}]", shown(labels))
            }
            Body::Record(Record::Error(error, fields)) => {
                assert_eq!(error.source, None);
                let (kind, message, stack, handled) = (error.kind, error.message, error.stack, error.handled);
                format!("{kind}: {message} {stack:?} [{}] handled={handled}", shown(fields))
            }
            Body::Record(Record::Alert(alert)) => {
                let (severity, kind, title, message) = (alert.severity, alert.kind, alert.title, alert.message);
                format!(
                    "{severity} {kind}: {title}: {message} {:?} {:?} {:?}",
                    alert.metric, alert.value, alert.threshold
                )
            }
            Body::Span(span) => {
                let events: Vec<_> =
                    span.events.iter().map(|event| format!("{}({})", event.name, shown(event.fields))).collect();
                let (kind, name, status, failure) = (span.kind, span.name, span.status, span.failure);
                format!("{kind} {name} [{}] {} {status} {failure:?}", shown(span.fields), events.join(" "))
            }
            _ => return None,
        };
        assert!(envelope.context.is_some(), "{said}: it is told in whose call it was made");
        Some(said)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_typed_call_passes_is_stored_in_full() {
    let house = House::new();
    let extension = house.ready_with("typed", |spec| spec.settings.debugging.log_level = Level::Trace).await;
    let enabled = ask(&extension, "each", "").await;
    for kind in ["LOG_TRACE", "LOG_CRITICAL", "METRICS", "ERRORS", "SPANS", "ALERTS", "FUNCTION", "SECURITY"] {
        assert!(enabled.contains(kind), "{kind}: {enabled}");
    }
    assert_eq!(
        said(&extension, Signal::Log),
        [
            format!("trace log 0 [{FIELDS}]"),
            "debug log 1 []".to_owned(),
            format!("info log 2 [{FIELDS}]"),
            "warning log 3 []".to_owned(),
            format!("error log 4 [{FIELDS}]"),
            "critical log 5 []".to_owned(),
        ]
    );
    assert_eq!(
        said(&extension, Signal::Metric),
        [
            "counter added 2 \"By\" [of=Text(\"pages\") by=Text(\"ada\")]",
            "gauge present -1.5 \"Cel\" []",
            "histogram observed 0.25 \"\" [of=Text(\"pages\")]",
            "counter bound.added 3 \"1\" [of=Text(\"pages\")]",
            "gauge bound.present 4 \"s\" []",
            "histogram bound.observed 5 \"ms\" [of=Text(\"calls\")]",
        ]
    );
    assert_eq!(
        said(&extension, Signal::Error),
        [
            format!("survived: it went on \"inner\\nouter\" [{FIELDS}] handled=true"),
            "given-up: it did not \"\" [] handled=false".to_owned(),
        ]
    );
    assert_eq!(
        said(&extension, Signal::Alert),
        [
            "low lowest: Too deep: Pump it out. None None None",
            "medium second: Too deep: Pump it out. Some(\"depth\") None None",
            "high third: Too deep: Pump it out. Some(\"depth\") Some(7.5) None",
            "critical highest: Too deep: Pump it out. Some(\"depth\") Some(9.0) Some(8.0)",
        ]
    );
    assert_eq!(
        said(&extension, Signal::Span),
        [
            format!("internal started [{FIELDS}]  ok \"\""),
            "server started []  ok \"\"".to_owned(),
            format!("client started [{FIELDS}]  ok \"\""),
            "producer started []  ok \"\"".to_owned(),
            format!("consumer started [{FIELDS}]  ok \"\""),
            format!("internal changed [{FIELDS}] reached({FIELDS}) passed() ok \"\""),
            "internal failed []  failed \"too deep\"".to_owned(),
        ]
    );
    assert!(Drop::ALL.iter().all(|cause| dropped(&extension, *cause) == 0), "{:?}", extension.drops());
}
