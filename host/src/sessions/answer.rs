//! Debug sessions as the API and the command tell them.

use glasshouse_model::Signal;
use glasshouse_model::config::{AssignError, OverrideError};
use glasshouse_model::text::visible;
use glasshouse_runtime::ApplyError;
use glasshouse_server::api::{self, Problem, code};

use super::{DebugSession, SessionError, SessionState};
use crate::extension::Extension;

/// A session as it is told. Of one that was cut off it is not known how much was stored until its host was killed.
pub fn session_answer(extension: &str, session: &DebugSession) -> api::Session {
    let state = session.state();
    let collected = Signal::ALL.iter().zip(&session.collected).map(|(signal, range)| api::Collected {
        signal: signal.to_string(),
        from: range.start,
        records: (state != SessionState::CutOff).then(|| range.end.saturating_sub(range.start)),
    });
    let overrides = session.overrides.iter().map(|over| api::Override {
        key: over.key.clone(),
        value: over.value.clone(),
        note: over.note.clone(),
    });
    api::Session {
        extension: extension.to_owned(),
        session: session.id.to_string(),
        state: state.to_string(),
        by: session.by.clone(),
        started: session.started.to_string(),
        until: session.until.to_string(),
        left_ms: session.left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        overrides: overrides.collect(),
        ended: session.ended.as_ref().map(|end| api::SessionEnd {
            at: end.at.to_string(),
            why: end.why.to_string(),
            by: end.by.clone(),
        }),
        collected: collected.collect(),
        left_out: session.left_out.clone(),
    }
}

/// Why a session was not started or stopped, for who asked over the socket.
pub(crate) fn refusal(extension: &Extension, error: &SessionError) -> Problem {
    let id = extension.id();
    match error {
        SessionError::Override(OverrideError::Assign(AssignError::AtStart(_)))
        | SessionError::Apply(ApplyError::AtStart(_)) => {
            Problem::new(409, code::NOT_LIVE, "Not while the extension runs", error.to_string())
        }
        SessionError::Override(_) | SessionError::Apply(_) | SessionError::Duration(_) => {
            Problem::new(422, code::INVALID_SETTING, "The session cannot be started", error.to_string())
        }
        SessionError::TooMany(_) => {
            Problem::new(409, code::TOO_MANY_SESSIONS, "Too many sessions", format!("{id}: {error}"))
        }
        SessionError::Unavailable(_) => {
            let detail = format!("no debug session of {id} is started: {}", visible(&error.to_string(), 400));
            Problem::new(409, code::UNAVAILABLE, "The extension takes no calls", detail)
        }
        SessionError::Unknown(_) => {
            Problem::new(404, code::UNKNOWN_SESSION, "No such session", format!("{id}: {error}"))
        }
        SessionError::Ended { .. } => Problem::new(409, code::SESSION_ENDED, "It has ended", format!("{id}: {error}")),
    }
}
