//! Changing a running host: budgets, how extensions are watched, release. An embedder calls the functions of
//! [`Extension`]; the socket in the data directory calls the same ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use glasshouse_files::LogFiles;
use glasshouse_model::ExtensionId;
use glasshouse_model::config::{AssignError, Change, Origin, Overlay, Setting, assign, changes, nearest};
use glasshouse_model::settings::{Debugging, Settings};
use glasshouse_model::standing;
use glasshouse_model::wire::{Field, Value};
use glasshouse_otlp::Pusher;
use glasshouse_runtime::{ApplyError, CallError, Runtime, Status};
use glasshouse_server::api::{
    self, Assignments, MadeToken, MakeToken, Problem, Released, Resolve, ResolveAlert, StartSession, Token, code,
};
use glasshouse_server::{Audit, Control, Keys, OtherOrders, Pending, Refusal, Tokens};
use glasshouse_telemetry::{AlertError, ResolveError};
use tokio::sync::Notify;

use crate::alerts::alert_answer;
use crate::budgets::BudgetUse;
use crate::extension::Extension;
use crate::groups::group_answer;
use crate::journal::{Journal, TokenChange};
use crate::serve::Access;
use crate::sessions::{DebugSession, Kept, recorded_sessions, refusal, session_answer};

/// Why settings were not changed; none was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such key, it takes no such value, or it is read only at the start.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The settings cannot take the place of those in effect.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// What setting values has done.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What is different now.
    pub changes: Vec<Change>,
    /// What holds of each key that was named; a manifest may be stricter.
    pub set: Vec<Setting>,
    /// It holds until the host ends. These lines of `glasshouse.toml` keep it.
    pub lines: Vec<String>,
}

/// What was changed since an extension was planned.
#[derive(Debug)]
pub(crate) struct Steering {
    steered: Mutex<Steered>,
    /// Notified when a debug session was started.
    pub(crate) wake: Arc<Notify>,
}

#[derive(Debug)]
pub(crate) struct Steered {
    /// The settings, and what debug sessions lay over them.
    pub(crate) overlay: Overlay,
    /// The debug sessions, in the order in which they were started.
    pub(crate) sessions: Vec<Kept>,
    /// Whether the host has ended, so that nobody would end a session.
    pub(crate) is_over: bool,
    /// Who set a key beneath the sessions, and what else is to be said of it.
    changed: BTreeMap<&'static str, (String, Option<String>)>,
    /// How the extension was watched when its debugging was switched off.
    stopped: Option<Debugging>,
}

impl Steering {
    pub(crate) fn new(settings: Settings, wake: Arc<Notify>) -> Self {
        let steered = Steered {
            overlay: Overlay::new(settings),
            sessions: Vec::new(),
            is_over: false,
            changed: BTreeMap::new(),
            stopped: None,
        };
        Self { steered: Mutex::new(steered), wake }
    }
}

/// Extensions that are named to somebody who asks for one that is not there: what a person reads.
const LISTED: usize = 20;

/// A switch of an extension's debugging.
type Switch = fn(&mut Debugging) -> &mut bool;

/// The switches that make up an extension's debugging, by their keys.
const SWITCHES: [(&str, Switch); 6] = [
    ("logging_enabled", |debugging| &mut debugging.logging_enabled),
    ("metrics_enabled", |debugging| &mut debugging.metrics_enabled),
    ("error_tracking_enabled", |debugging| &mut debugging.error_tracking_enabled),
    ("alerting_enabled", |debugging| &mut debugging.alerting_enabled),
    ("profiling_enabled", |debugging| &mut debugging.profiling_enabled),
    ("tracing_enabled", |debugging| &mut debugging.tracing_enabled),
];

/// Whether a key is one of the switches.
fn is_switch(key: &str) -> bool {
    key.strip_prefix(Keys::Debugging.section()).is_some_and(|key| SWITCHES.iter().any(|(switch, _)| *switch == key))
}

impl Extension {
    /// Sets values while it runs, such as `("budget.deadline", "2s")`, and says what is different. Budgets hold from the next call on,
    /// what is stored changes at once. They hold until the host ends, also where a debug session has overridden them. Each change is
    /// a record of the extension that says by whom. Either all values are set or none.
    pub fn set<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
        by: &str,
    ) -> Result<Changed, ControlError> {
        let mut steered = self.steer();
        let mut assigned = assign(&self.about().manifest, steered.overlay.beneath(), values, by)?;
        let overridden: Vec<_> = assigned.set.iter().map(|setting| steered.overlay.holder(&setting.key)).collect();
        let named = |key: &str| assigned.set.iter().any(|setting| setting.key == key);
        let changes = self.change(&mut steered, assigned.settings, named, by)?;
        for (setting, session) in assigned.set.iter_mut().zip(overridden) {
            if let Some((_, note)) = steered.changed.get_mut(setting.key.as_str()) {
                note.clone_from(&setting.note);
            }
            if let Some(session) = session {
                let told = format!("debug session {session} no longer overrides it");
                setting.note =
                    Some(setting.note.as_ref().map_or_else(|| told.clone(), |note| format!("{note}; {told}")));
            }
        }
        Ok(Changed { changes, set: assigned.set, lines: assigned.lines })
    }

    /// Replaces its settings while it runs, and says what is different; otherwise as [`Extension::set`]. Keys that differ from
    /// [`Extension::settings`] are those that this sets.
    pub fn apply(&self, settings: Settings, by: &str) -> Result<Vec<Change>, ControlError> {
        let mut steered = self.steer();
        let (beneath, named) = steered.overlay.asked_for(settings);
        Ok(self.change(&mut steered, beneath, |key| named.contains(&key), by)?)
    }

    /// What was changed so far. Debug sessions whose time is over have ended.
    pub(crate) fn steer(&self) -> MutexGuard<'_, Steered> {
        let mut steered = self.steering.steered.lock().unwrap_or_else(PoisonError::into_inner);
        self.end_overdue(&mut steered);
        steered
    }

    /// Puts other settings beneath the debug sessions; the keys that were named are overridden no longer.
    fn change(
        &self,
        steered: &mut Steered,
        beneath: Settings,
        is_named: impl Fn(&str) -> bool,
        by: &str,
    ) -> Result<Vec<Change>, ApplyError> {
        let mut overlay = steered.overlay.clone();
        overlay.settle(beneath, is_named);
        let told = self.handle().apply(overlay.in_force(), by)?;
        for change in changes(steered.overlay.beneath(), overlay.beneath()) {
            if told.iter().all(|told| told.key != change.key) {
                self.note_beneath(&change, by);
            }
            steered.changed.insert(change.key, (by.to_owned(), None));
        }
        steered.overlay = overlay;
        Ok(told)
    }

    /// Stores that a key was set to the value that a session has given it already, so that it will be kept.
    fn note_beneath(&self, change: &Change, by: &str) {
        let fields = [
            ("event", "settings.changed"),
            ("by", by),
            ("key", change.key),
            ("from", &change.from),
            ("to", &change.to),
        ];
        let fields = fields.map(|(name, value)| Field { name, value: Value::Text(value) });
        let message =
            format!("{} changed from {} to {} by {by}, as a debug session has it", change.key, change.from, change.to);
        self.handle().note(&message, &fields);
    }

    /// Switches its debugging off: nothing of it is stored but invocations and what the host says of it. It runs on. Debug sessions
    /// override no switch any more.
    pub fn stop_debugging(&self, by: &str) -> Result<Vec<Change>, ControlError> {
        let mut steered = self.steer();
        let mut settings = steered.overlay.beneath().clone();
        let mut before = settings.debugging.clone();
        for (_, switch) in SWITCHES {
            *switch(&mut settings.debugging) = false;
            // What an earlier stop switched off comes back as well.
            if let Some(earlier) = &mut steered.stopped {
                *switch(&mut before) |= *switch(earlier);
            }
        }
        let differs = settings != *steered.overlay.beneath();
        let changes = self.change(&mut steered, settings, is_switch, by)?;
        if differs {
            steered.stopped = Some(before);
        }
        Ok(changes)
    }

    /// Switches on again what [`Extension::stop_debugging`] switched off since debugging was started last.
    pub fn start_debugging(&self, by: &str) -> Result<Vec<Change>, ControlError> {
        let mut steered = self.steer();
        let Some(mut before) = steered.stopped.clone() else { return Ok(Vec::new()) };
        let mut settings = steered.overlay.beneath().clone();
        let mut named = Vec::new();
        for (key, switch) in SWITCHES {
            // What was switched on in between stays on.
            if *switch(&mut before) {
                *switch(&mut settings.debugging) = true;
                named.push(key);
            }
        }
        let is_named = |key: &str| key.strip_prefix(Keys::Debugging.section()).is_some_and(|key| named.contains(&key));
        let changes = self.change(&mut steered, settings, is_named, by)?;
        steered.stopped = None;
        Ok(changes)
    }

    /// The switches of its debugging that are on, by their keys.
    pub fn enabled_components(&self) -> Vec<&'static str> {
        let mut debugging = self.settings().debugging.clone();
        SWITCHES.iter().filter(|(_, switch)| *switch(&mut debugging)).map(|(key, _)| *key).collect()
    }

    /// Ends its quarantine, probing, throttling or warning: its failures and what it used of its rates are forgotten. Gives the
    /// word of the state that it ended, or `None` if there was nothing to end. The record of it says by whom. Waits for the
    /// call that is under way.
    pub async fn release(&self, by: &str) -> Result<Option<&'static str>, CallError> {
        self.handle().release(by).await
    }

    /// The values in effect now, each with where it comes from.
    pub fn present_config(&self) -> Vec<Setting> {
        let steered = self.steer();
        let mut settings = self.about().resolved.origins.clone();
        let values = glasshouse_model::config::values(&self.settings());
        for (key, value) in values {
            let Some(setting) = settings.iter_mut().find(|setting| setting.key == key) else { continue };
            if let Some(session) = steered.overlay.holder(key) {
                let (origin, key) = (Origin::Running { by: format!("debug session {session}") }, key.to_owned());
                *setting = Setting { key, value, origin, note: None };
            } else if setting.value != value {
                let (by, note) = steered.changed.get(key).cloned().unwrap_or_default();
                *setting = Setting { key: key.to_owned(), value, origin: Origin::Running { by }, note };
            }
        }
        settings
    }
}

/// A host as other programs see it.
pub(crate) struct Controlled {
    pub(crate) extensions: BTreeMap<ExtensionId, Extension>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) access: Access,
    /// What pushes telemetry to a collector, if anything does.
    pub(crate) push: Option<Pusher>,
    pub(crate) runtime: Weak<Runtime>,
    /// The log files, if there are any.
    pub(crate) log_files: Option<Weak<LogFiles>>,
}

impl Controlled {
    pub(crate) fn find(&self, id: &str) -> Result<&Extension, Problem> {
        self.extensions.get(id).ok_or_else(|| {
            let known: Vec<_> = self.extensions.keys().map(ExtensionId::as_str).collect();
            Problem::new(404, code::UNKNOWN_EXTENSION, "No such extension", unknown(id, &known))
        })
    }
}

/// That there is no extension of that id, and which there are.
fn unknown(id: &str, known: &[&str]) -> String {
    let meant = nearest(id, known.iter().copied());
    let meant = meant.map_or_else(String::new, |meant| format!(" (did you mean \"{meant}\"?)"));
    let listed = known[..known.len().min(LISTED)].join(", ");
    let runs = match known.len().saturating_sub(LISTED) {
        _ if known.is_empty() => "it runs none at all".to_owned(),
        0 => format!("it runs {listed}"),
        more => format!("it runs {listed} and {more} more"),
    };
    format!("this host runs no extension \"{}\"{meant}; {runs}", glasshouse_model::text::visible(id, 80))
}

impl Control for Controlled {
    fn managers(&self) -> Vec<api::Manager> {
        self.extensions.values().map(manager).collect()
    }

    fn manager(&self, extension: &str) -> Result<api::Manager, Problem> {
        self.find(extension).map(manager)
    }

    fn all_budgets(&self) -> Vec<api::Budgets> {
        self.extensions.values().map(budgets).collect()
    }

    fn budgets(&self, extension: &str) -> Result<api::Budgets, Problem> {
        self.find(extension).map(budgets)
    }

    fn settings(&self, extension: &str) -> Result<api::Settings, Problem> {
        let extension = self.find(extension)?;
        let watched = extension.present_config().into_iter().filter(|setting| setting.key.starts_with("debugging."));
        Ok(api::Settings { extension: extension.id().to_string(), settings: watched.map(setting).collect() })
    }

    fn set(&self, extension: &str, keys: Keys, values: &Assignments, by: &str) -> Result<api::Changes, Problem> {
        let extension = self.find(extension)?;
        if let Some(other) = values.keys().find(|key| !key.starts_with(keys.section())) {
            let (other, section) = (glasshouse_model::text::visible(other, 80), keys.section());
            let detail =
                format!("\"{other}\" is no key of {section}: here only those that start with {section} are set");
            return Err(Problem::new(422, code::INVALID_SETTING, "The setting cannot be used", detail));
        }
        let values = values.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let changed = extension.set(values, by).map_err(|error| problem(&error))?;
        Ok(api::Changes {
            extension: extension.id().to_string(),
            changes: changed.changes.into_iter().map(change).collect(),
            set: changed.set.into_iter().map(setting).collect(),
            keep: changed.lines,
        })
    }

    fn switch(&self, extension: &str, on: bool, by: &str) -> Result<api::Changes, Problem> {
        let extension = self.find(extension)?;
        let changes = if on { extension.start_debugging(by) } else { extension.stop_debugging(by) };
        Ok(api::Changes {
            extension: extension.id().to_string(),
            changes: changes.map_err(|error| problem(&error))?.into_iter().map(change).collect(),
            ..api::Changes::default()
        })
    }

    fn error_groups(&self, extension: &str) -> Result<Vec<api::ErrorGroup>, Problem> {
        Ok(self.subject(extension)?.error_groups())
    }

    fn resolve(&self, extension: &str, group: &str, said: &Resolve, by: &str) -> Result<api::ErrorGroup, Problem> {
        let extension = self.find(extension)?;
        let id = extension.id().as_str();
        let refused = |status, code, title, why: &str| {
            let group = glasshouse_model::text::visible(group, 40);
            Problem::new(status, code, title, format!("group {group} of {id} is not resolved: {why}"))
        };
        let unknown = |why: &str| refused(404, code::UNKNOWN_GROUP, "No such group", why);
        let unusable = |why: &str| refused(422, code::INVALID_BODY, "The body cannot be used", why);
        let parsed = group.parse().map_err(|_| unknown("a group is 12 lower-case hexadecimal digits"))?;
        if said.version.as_ref().is_some_and(|version| version.len() > glasshouse_model::limits::VERSION_BYTES) {
            return Err(unusable("the version is longer than any; write one such as 1.3.0"));
        }
        let version = said.version.as_deref().map(str::parse).transpose();
        let version =
            version.map_err(|error| unusable(&format!("the version is none: {error}; write one such as 1.3.0")))?;
        let resolved = extension.resolve_error(parsed, version, &said.notes, by).map_err(|error| match error {
            ResolveError::Unknown => unknown("there is none; `glasshouse errors groups` lists them"),
            ResolveError::Overflow => unusable(&error.to_string()),
            ResolveError::NotStored => refused(503, code::UNAVAILABLE, "Not stored", &error.to_string()),
        })?;
        Ok(group_answer(id, &resolved, Some(&extension.present_config())))
    }

    fn all_sessions(&self) -> Vec<api::Session> {
        let mut sessions: Vec<_> = self.extensions.values().flat_map(sessions).collect();
        // Times of one form and length are in the order of their texts.
        sessions.sort_by(|a, b| b.started.cmp(&a.started));
        sessions
    }

    fn sessions(&self, extension: &str) -> Result<Vec<api::Session>, Problem> {
        self.find(extension).map(sessions)
    }

    fn start_session(&self, extension: &str, wanted: &StartSession, by: &str) -> Result<api::Session, Problem> {
        let extension = self.find(extension)?;
        let values = wanted.set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let started = extension.start_debug_session(values, wanted.for_ms.map(Duration::from_millis), by);
        started.map(|session| session_of(extension, &session)).map_err(|error| refusal(extension, &error))
    }

    fn stop_session(&self, extension: &str, session: &str, by: &str) -> Result<api::Session, Problem> {
        let extension = self.find(extension)?;
        let id = session.parse().map_err(|error| {
            let detail = format!("\"{}\" is no debug session: {error}", glasshouse_model::text::visible(session, 40));
            Problem::new(404, code::UNKNOWN_SESSION, "No such session", detail)
        })?;
        let stopped = extension.stop_debug_session(id, by);
        stopped.map(|session| session_of(extension, &session)).map_err(|error| refusal(extension, &error))
    }

    fn alerts(&self, extension: &str) -> Result<Vec<api::Alert>, Problem> {
        Ok(self.subject(extension)?.alerts())
    }

    fn resolve_alert(
        &self,
        extension: &str,
        alert: &str,
        said: &ResolveAlert,
        by: &str,
    ) -> Result<api::Alert, Problem> {
        let extension = self.find(extension)?;
        let id = extension.id().as_str();
        let refused = |status, code, title, why: &str| {
            let alert = glasshouse_model::text::visible(alert, 40);
            Problem::new(status, code, title, format!("alert {alert} of {id} is not resolved: {why}"))
        };
        let unknown = |why: &str| refused(404, code::UNKNOWN_ALERT, "No such alert", why);
        let parsed = alert.parse().map_err(|_| unknown("an alert is 12 lower-case hexadecimal digits"))?;
        let resolved = extension.resolve_alert(parsed, &said.note, by).map_err(|error| match error {
            AlertError::Unknown => unknown("there is none; `glasshouse alerts list` lists them"),
            AlertError::NotFiring => refused(409, code::NOT_FIRING, "Over already", &error.to_string()),
            AlertError::NotStored => refused(503, code::UNAVAILABLE, "Not stored", &error.to_string()),
        })?;
        Ok(alert_answer(id, &resolved, extension.now()))
    }

    fn tokens(&self) -> Result<&Tokens, Problem> {
        self.access.tokens_or_problem()
    }

    fn is_ready(&self) -> bool {
        self.extensions.values().all(|extension| extension.status() != Status::Loading)
    }

    fn audit(&self, audit: &Audit<'_>) {
        self.journal.audit(audit);
    }

    fn audit_others(&self, others: &OtherOrders<'_>) {
        self.journal.audit_others(others);
    }

    fn make_token(&self, wanted: &MakeToken, by: &str) -> Result<MadeToken, Problem> {
        let made = self.tokens()?.make(wanted, by)?;
        self.journal.token_changed(TokenChange::Made, &made.token, by);
        Ok(made)
    }

    fn revoke_token(&self, id: &str, by: &str) -> Result<Token, Problem> {
        let revoked = self.tokens()?.revoke(id)?;
        self.journal.token_changed(TokenChange::Revoked, &revoked, by);
        Ok(revoked)
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        self.journal.refused(refusal);
    }

    fn release<'a>(&'a self, extension: &'a str, by: &'a str) -> Pending<'a, Released> {
        Box::pin(async move {
            let extension = self.find(extension)?;
            let from = extension.release(by).await.map_err(|error| {
                let detail = format!("{} cannot be released: {error}", extension.id());
                Problem::new(409, code::UNAVAILABLE, "The extension takes no orders", detail)
            })?;
            Ok(Released { extension: extension.id().to_string(), from: from.map(str::to_owned) })
        })
    }
}

/// Those that the host knows, and those that only records tell of.
fn sessions(extension: &Extension) -> Vec<api::Session> {
    // Read first: the host knows each one that is active by then, so that none is taken for one that was cut off.
    let recorded = recorded_sessions(extension.id().as_str(), |signal| extension.reader(signal));
    let mut sessions = extension.debug_sessions();
    for session in recorded {
        if sessions.iter().all(|known| known.id != session.id) {
            sessions.push(session);
        }
    }
    sessions.sort_by_key(|session| std::cmp::Reverse(session.started));
    sessions.iter().map(|session| session_of(extension, session)).collect()
}

fn session_of(extension: &Extension, session: &DebugSession) -> api::Session {
    session_answer(extension.id().as_str(), session)
}

fn problem(error: &ControlError) -> Problem {
    let detail = error.to_string();
    match error {
        ControlError::Assign(AssignError::AtStart(_)) | ControlError::Apply(ApplyError::AtStart(_)) => {
            Problem::new(409, code::NOT_LIVE, "Not while the extension runs", detail)
        }
        _ => Problem::new(422, code::INVALID_SETTING, "The setting cannot be used", detail),
    }
}

pub(crate) fn manager(extension: &Extension) -> api::Manager {
    let status = extension.status();
    let enabled = extension.enabled_components();
    api::Manager {
        extension: extension.id().to_string(),
        status: status.word().to_owned(),
        reason: status.reason().map(str::to_owned),
        debugging: !enabled.is_empty(),
        enabled_components: enabled.into_iter().map(str::to_owned).collect(),
        standing: standing(extension),
    }
}

fn budgets(extension: &Extension) -> api::Budgets {
    let budget = |budget: BudgetUse| api::Budget {
        setting: setting(budget.setting),
        used: budget.used,
        limit: budget.limit,
        peak: budget.peak,
    };
    api::Budgets {
        extension: extension.id().to_string(),
        standing: standing(extension),
        budgets: extension.budgets().into_iter().map(budget).collect(),
    }
}

fn standing(extension: &Extension) -> api::Standing {
    let (state, now) = (extension.standing(), extension.monotonic_nanos());
    let wait = match state {
        standing::State::Quarantined { until, .. } => Some(Duration::from_nanos(until.saturating_sub(now))),
        _ => extension.throttled_for(),
    };
    api::Standing {
        state: state.word().to_owned(),
        for_ms: state.since().map(|since| now.saturating_sub(since) / 1_000_000),
        wait_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        evidence: state.evidence().map(|evidence| api::Evidence {
            text: evidence.to_string(),
            budget: evidence.budget.to_owned(),
            used: evidence.used,
            limit: evidence.limit,
            share_percent: evidence.share_percent(),
        }),
    }
}

fn setting(setting: Setting) -> api::Setting {
    api::Setting { key: setting.key, value: setting.value, origin: setting.origin.to_string(), note: setting.note }
}

fn change(change: Change) -> api::Change {
    api::Change { key: change.key.to_owned(), from: change.from, to: change.to }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_an_unknown_extension_is_told_which_there_are() {
        let numbered: Vec<_> = (0..LISTED + 3).map(|number| format!("numbered-{number}")).collect();
        let many: Vec<_> = numbered.iter().map(String::as_str).collect();
        for (id, known, expect) in [
            ("nobody", &[][..], "\"nobody\"; it runs none at all"),
            ("nobody", &["relay", "tally"], "\"nobody\"; it runs relay, tally"),
            ("realy", &["relay", "tally"], "\"realy\" (did you mean \"relay\"?); it runs relay, tally"),
            ("xyzzy", &many, "numbered-19 and 3 more"),
        ] {
            let told = unknown(id, known);
            assert!(told.ends_with(expect), "{told}");
        }
    }
}
