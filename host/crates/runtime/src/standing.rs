//! How an extension's steps between healthy, warned, throttled, quarantined and probing are made known.

use std::time::Duration;

use glasshouse_model::standing::{Cause, Evidence, State, Transition};
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Level, text};
use glasshouse_telemetry::{Alarm, HostAlert, Recorder};

use crate::extension::{Extension, Status};
use crate::told::host_log;

/// The budget of memory.
const MEMORY: &str = "budget.memory";

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

/// A step, by whom it was taken if by a person, and the encoded context of the call that led to it, empty where none did.
pub(crate) struct Step<'a> {
    pub(crate) transition: &'a Transition,
    pub(crate) by: Option<&'a str>,
    pub(crate) context: &'a [u8],
}

/// Stores a step as a log of the extension, with its evidence as fields; whether logs are stored has no say in it.
pub(crate) fn record(extension: &Extension, recorder: &Recorder, step: &Step<'_>) {
    let Step { transition: Transition { from, to, evidence }, by, context } = *step;
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
    host_log(recorder, &*extension.shared().clock, context, level, &message, &fields);
}

/// The alert that a state is.
fn alert_of(state: &State) -> Option<HostAlert> {
    match state {
        State::Healthy => None,
        // Much memory has an alert of its own.
        State::Warned { evidence, .. } => (evidence.budget != MEMORY).then_some(HostAlert::Warned),
        State::Throttled { .. } => Some(HostAlert::Throttled),
        State::Quarantined { evidence, .. } | State::Probing { evidence, .. } => match evidence.cause {
            Cause::Failures | Cause::ProbeFailed => Some(HostAlert::TrapLoop),
            Cause::Call | Cause::Rate { .. } | Cause::Throttled { .. } => Some(HostAlert::Quarantined),
        },
    }
}

/// Raises the alert that a step leads to, and ends those that it leads away from.
pub(crate) fn alarm(extension: &Extension, recorder: &Recorder, step: &Step<'_>) {
    let Step { transition: Transition { from, to, evidence }, by, context } = *step;
    let now = extension.shared().clock.now();
    let alert = alert_of(to);
    // How much memory there is is no state, and has steps of its own.
    let is_over = |known: &HostAlert| *known != HostAlert::MemoryGrowth && Some(*known) != alert;
    let over: Vec<_> = HostAlert::OF_STANDING.iter().copied().filter(is_over).collect();
    let note = match by {
        Some(by) => format!("released by {by}"),
        None => format!("{from} before, {} now", to.word()),
    };
    recorder.recover(now, &over, &note);
    let Some(what) = alert.filter(|_| !matches!(to, State::Probing { .. })) else { return };
    let advice = match what {
        HostAlert::Warned | HostAlert::Throttled => format!("make it do less, or raise {}", evidence.budget),
        _ => format!("`glasshouse budgets release {}` ends it", extension.id()),
    };
    raise(extension, recorder, what, evidence, &advice, context);
}

/// Raises the alert that memory has grown to most of what there may be, or ends it.
pub(crate) fn alarm_of_memory(extension: &Extension, recorder: &Recorder, evidence: Option<&Evidence>, context: &[u8]) {
    let Some(evidence) = evidence else {
        let now = extension.shared().clock.now();
        return recorder.recover(now, &[HostAlert::MemoryGrowth], "it has less memory, or was made anew");
    };
    let advice = "make it hold less, or raise budget.memory; a call that needs more fails";
    raise(extension, recorder, HostAlert::MemoryGrowth, evidence, advice, context);
}

fn raise(
    extension: &Extension,
    recorder: &Recorder,
    what: HostAlert,
    evidence: &Evidence,
    advice: &str,
    context: &[u8],
) {
    let warns = matches!(what, HostAlert::Warned | HostAlert::MemoryGrowth);
    let part = if warns { f64::from(extension.settings().budget.warn_at) / 100.0 } else { 1.0 };
    let alarm = Alarm {
        what,
        labels: &[("budget", evidence.budget)],
        message: &format!("{evidence}; {advice}"),
        value: Some(evidence.used as f64),
        threshold: Some(evidence.limit as f64 * part),
        context,
    };
    recorder.alarm(extension.shared().clock.now(), &alarm, None);
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
