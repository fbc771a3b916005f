//! How an extension's steps between healthy, warned, throttled, quarantined and probing are made known.

use std::time::Duration;

use glasshouse_model::standing::{Cause, State, Transition};
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Level, text};
use glasshouse_telemetry::Recorder;

use crate::extension::{Extension, Status};
use crate::intake::host_log;

/// The status that callers see.
pub(crate) fn status(state: &State) -> Status {
    match state {
        State::Healthy | State::Warned { .. } => Status::Ready,
        State::Throttled { evidence, .. } => Status::Throttled { evidence: evidence.to_string() },
        State::Quarantined { until, evidence, .. } => {
            Status::Quarantined { until: *until, evidence: evidence.to_string() }
        }
        State::Probing { .. } => Status::Probing,
    }
}

/// Stores a step as a log of the extension, with its evidence as fields; whether logs are stored has no say in it.
pub(crate) fn record(extension: &Extension, recorder: &Recorder, transition: &Transition, by: Option<&str>) {
    let Transition { from, to, evidence } = transition;
    let length = match to {
        State::Quarantined { since, until, .. } => Some(until - since),
        _ => None,
    };
    let level = match to {
        State::Quarantined { .. } => Level::Error,
        State::Warned { .. } | State::Throttled { .. } => Level::Warning,
        State::Probing { .. } | State::Healthy => Level::Info,
    };
    let message = match (to, by) {
        (_, Some(by)) => format!("no longer {from}, by {by}; it was: {evidence}"),
        (State::Warned { .. }, _) => format!("warned: {evidence}"),
        (State::Throttled { .. }, _) => format!("throttled, so that its calls are spaced: {evidence}"),
        (State::Quarantined { .. }, _) => {
            format!("quarantined for {}: {evidence}", text::duration(Duration::from_nanos(length.unwrap_or_default())))
        }
        (State::Probing { .. }, _) => "quarantine is over: this call probes whether it works again".to_owned(),
        (State::Healthy, _) if *from == "probing" => "the probe succeeded: calls are taken again".to_owned(),
        (State::Healthy, _) => format!("no longer {from}: {evidence}"),
    };
    let event = format!("budget.{}", to.word());
    let mut fields = vec![
        Field { name: "event", value: Value::Text(&event) },
        Field { name: "from", value: Value::Text(from) },
        Field { name: "budget", value: Value::Text(evidence.budget) },
        Field { name: "used", value: Value::Integer(integer(evidence.used)) },
        Field { name: "limit", value: Value::Integer(integer(evidence.limit)) },
        Field { name: "share_percent", value: Value::Integer(integer(evidence.share_percent())) },
    ];
    if let Some(window) = evidence.window() {
        fields.push(Field { name: "window_ns", value: Value::Integer(window.as_nanos() as i64) });
    }
    if matches!(evidence.cause, Cause::Failures | Cause::ProbeFailed) {
        fields.push(Field { name: "failures_in_a_row", value: Value::Integer(integer(evidence.used)) });
    }
    if let Some(length) = length {
        fields.push(Field { name: "quarantine_ns", value: Value::Integer(integer(length)) });
    }
    if let Some(by) = by {
        fields.push(Field { name: "by", value: Value::Text(by) });
    }
    host_log(recorder, &*extension.shared().clock, &[], level, &message, &fields);
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
