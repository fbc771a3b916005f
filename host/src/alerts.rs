//! Alerts as they are told to people and programs.

use glasshouse_model::UnixNanos;
use glasshouse_server::api;
use glasshouse_telemetry::{Alert, AlertState, AlertTransition};

/// An alert as the API and the command tell it, as of a time.
pub fn alert_answer(extension: &str, alert: &Alert, now: UnixNanos) -> api::Alert {
    let transition = |step: &AlertTransition| api::AlertTransition {
        at: step.at.to_string(),
        state: step.cause.state().to_string(),
        cause: step.cause.to_string(),
        by: step.by.clone(),
        note: step.note.clone(),
    };
    let firing_ns = alert.firing_nanos(now);
    let present_ns = if alert.state() == AlertState::Firing { firing_ns - alert.fired_nanos } else { 0 };
    api::Alert {
        extension: extension.to_owned(),
        alert: alert.id.to_string(),
        state: alert.state().to_string(),
        origin: alert.origin.to_string(),
        name: alert.name.clone(),
        labels: alert.labels.iter().cloned().collect(),
        severity: alert.severity.to_string(),
        title: alert.title.clone(),
        message: alert.message.clone(),
        value: alert.value,
        threshold: alert.threshold,
        since: alert.since().to_string(),
        first_raised: alert.first_raised.to_string(),
        last_raised: alert.last_raised.to_string(),
        resolves_at: alert.resolves_at().map(|at| at.to_string()),
        raised: alert.raised,
        fired: alert.fired,
        firing_ns,
        longest_ns: alert.longest_nanos.max(present_ns),
        history: alert.history.iter().map(transition).collect(),
    }
}
