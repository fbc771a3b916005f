//! Debug sessions: for a while an extension is watched otherwise, and what was stored of it meanwhile is found again.
//!
//! What a session overrides lies over the settings (`config::Overlay`), in memory only, so that nothing of it outlives the host. Its
//! start and its end are records of the extension, from which a data directory tells of sessions whose host is gone.

mod answer;
mod expiry;
mod recorded;

use std::ops::Range;
use std::time::Duration;

use glasshouse_model::config::{Holding, LAYERS, Override, OverrideError, read_overrides};
use glasshouse_model::{SessionId, Signal, UnixNanos, text};
use glasshouse_runtime::{ApplyError, Status};
use glasshouse_telemetry::Drops;

use crate::control::Steered;
use crate::extension::Extension;

pub(crate) use answer::refusal;
pub use answer::session_answer;
pub(crate) use expiry::Expiry;
pub(crate) use recorded::recorded_sessions;

/// Sessions that have ended and are still told of by their host, of each extension; older ones are told of by its records.
const ENDED: usize = 12;

/// A time in which an extension is watched otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct DebugSession {
    /// Its id.
    pub id: SessionId,
    /// Who started it.
    pub by: String,
    /// When.
    pub started: UnixNanos,
    /// When it ends by itself, or would have.
    pub until: UnixNanos,
    /// How long it goes on; `None` if it has ended, or if that is not known.
    pub left: Option<Duration>,
    /// What it overrides, in the order of the reference.
    pub overrides: Vec<SessionOverride>,
    /// What was stored of the extension meanwhile: sequence numbers, by signal. Of an active one up to now.
    pub collected: [Range<u64>; Signal::COUNT],
    /// What was not stored meanwhile, and why, in words; empty if there was nothing.
    pub left_out: String,
    /// When and why it ended; `None` while it is active, or if it is not known.
    pub ended: Option<SessionEnd>,
}

/// A value that a session puts in the place of a key's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOverride {
    /// The key, such as `debugging.log_level`.
    pub key: String,
    /// The value, as text.
    pub value: String,
    /// What else to know: a stricter manifest, a later session, that the key was set since.
    pub note: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// When.
    pub at: UnixNanos,
    /// Why.
    pub why: EndCause,
    /// Who stopped it.
    pub by: Option<String>,
}

glasshouse_model::wire::byte_enum! {
    /// How a session stands.
    SessionState {
        /// It holds.
        Active = 0 "active",
        /// It has ended.
        Ended = 1 "ended",
        /// Its host is gone, and has not said that it ended.
        CutOff = 2 "cut off",
    }
}

glasshouse_model::wire::byte_enum! {
    /// Why a session ended.
    EndCause {
        /// Somebody stopped it.
        Stopped = 0 "stopped",
        /// Its time was over.
        TimeOver = 1 "time over",
        /// Its host stopped.
        HostEnd = 2 "end of the host",
    }
}

/// Why a session was not started or stopped; nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// What it is to override cannot be overridden.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The settings cannot take the place of those in effect.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It is to last too long, or no time at all.
    #[error("a debug session lasts from {least} to {most}, not {found}; `--for 10m`, for example", least = text::duration(DebugSession::SHORTEST), most = hours(DebugSession::LONGEST), found = text::duration(*.0))]
    Duration(Duration),
    /// The extension has as many as it may.
    #[error("the extension has {LAYERS} debug sessions, as many as it may: {}; stop one of them first", listed(.0))]
    TooMany(Vec<SessionId>),
    /// The extension takes no calls any more, so that nothing would be collected.
    #[error("nothing would be collected: the extension {0}")]
    Unavailable(String),
    /// There is none of that id, as far as the host knows.
    #[error("the extension has no debug session {0}; `glasshouse debug list` shows which there are")]
    Unknown(SessionId),
    /// It has ended already.
    #[error("debug session {id} has ended already, at {}: {}", .end.at, .end.why)]
    Ended {
        /// Which.
        id: SessionId,
        /// How.
        end: SessionEnd,
    },
}

fn hours(duration: Duration) -> String {
    format!("{} hours", duration.as_secs() / 3600)
}

fn listed(ids: &[SessionId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl DebugSession {
    /// How long one lasts if nobody says: long enough to see a bug again, short enough to be forgotten.
    pub const USUAL: Duration = Duration::from_mins(15);
    /// The least that one lasts.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// The longest that one lasts. What is to hold for longer is no session: `debugging set`, or the configuration.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// How it stands. Whether one without an end is active is known by its host alone, which says how long it goes on.
    pub fn state(&self) -> SessionState {
        match (&self.ended, self.left) {
            (Some(_), _) => SessionState::Ended,
            (None, Some(_)) => SessionState::Active,
            (None, None) => SessionState::CutOff,
        }
    }
}

/// A session as its host keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    session: DebugSession,
    drops_before: Drops,
}

impl Extension {
    /// Watches it otherwise for a while, [`DebugSession::USUAL`] if nobody says: `("log_level", "trace")` is a key of `[debugging]` that
    /// takes effect at once, and the value that is in force until the session ends. It ends when it is stopped, when its time is over,
    /// and with the host.
    ///
    /// Of several sessions with one key the latest counts, and whichever ends first, what is left is in force. A key that is set
    /// meanwhile ([`Extension::set`], [`Extension::apply`], `start_debugging`, `stop_debugging`) has the value that was set at
    /// once, and keeps it. Budgets of records and the overhead governor hold as ever. Start and end are records of the
    /// extension, made by the host.
    pub fn start_debug_session<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
        lasting: Option<Duration>,
        by: &str,
    ) -> Result<DebugSession, SessionError> {
        let lasting = lasting.unwrap_or(DebugSession::USUAL);
        if !(DebugSession::SHORTEST..=DebugSession::LONGEST).contains(&lasting) {
            return Err(SessionError::Duration(lasting));
        }
        let mut steered = self.steer();
        match self.status() {
            Status::Failed { cause } => return Err(SessionError::Unavailable(format!("has failed: {cause}"))),
            Status::Stopped => return Err(SessionError::Unavailable("was stopped with its host".to_owned())),
            _ if steered.is_over => {
                return Err(SessionError::Unavailable("is about to be stopped with its host".to_owned()));
            }
            _ => {}
        }
        let overrides = read_overrides(&self.about().manifest, steered.overlay.beneath(), values, by)?;
        let shown = overrides.iter().map(SessionOverride::of).collect();
        let id = SessionId(fastrand::u64(..).to_be_bytes()[..6].try_into().unwrap_or_default());
        let nanos = u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX);
        let mut overlay = steered.overlay.clone();
        if !overlay.lay(id, overrides, self.monotonic_nanos().saturating_add(nanos)) {
            let active = steered.sessions.iter().filter(|kept| kept.session.ended.is_none());
            return Err(SessionError::TooMany(active.map(|kept| kept.session.id).collect()));
        }
        let drops_before = self.drops();
        self.handle().apply(overlay.in_force(), &format!("debug session {id} of {by}"))?;
        steered.overlay = overlay;
        let started = self.handle().now();
        let mut session = DebugSession {
            id,
            by: by.to_owned(),
            started,
            until: UnixNanos(started.0.saturating_add_unsigned(nanos)),
            left: Some(lasting),
            overrides: shown,
            collected: self.next_sequences().map(|next| next..next),
            left_out: String::new(),
            ended: None,
        };
        recorded::tell_start(self, &session);
        // The record of the start is none of the session's.
        let logs = self.next_sequences()[Signal::Log as usize];
        session.collected[Signal::Log as usize] = logs..logs;
        let kept = Kept { session, drops_before };
        let told = self.up_to_now(&steered, &kept);
        steered.sessions.push(kept);
        drop(steered);
        self.steering.wake.notify_one();
        Ok(told)
    }

    /// Ends a debug session: what it has overridden is again as it would be without it.
    pub fn stop_debug_session(&self, id: SessionId, by: &str) -> Result<DebugSession, SessionError> {
        let mut steered = self.steer();
        let found = steered.sessions.iter().find(|kept| kept.session.id == id).ok_or(SessionError::Unknown(id))?;
        if let Some(end) = found.session.ended.clone() {
            return Err(SessionError::Ended { id, end });
        }
        self.end(&mut steered, id, EndCause::Stopped, Some(by)).ok_or(SessionError::Unknown(id))
    }

    /// Its debug sessions under this host: those that are active, and the latest that have ended; those that were started last first.
    pub fn debug_sessions(&self) -> Vec<DebugSession> {
        let steered = self.steer();
        steered.sessions.iter().rev().map(|kept| self.up_to_now(&steered, kept)).collect()
    }

    /// A session with what there is to say of it by now.
    fn up_to_now(&self, steered: &Steered, kept: &Kept) -> DebugSession {
        let mut session = kept.session.clone();
        if session.ended.is_none() {
            self.count(&mut session, &kept.drops_before);
            let ends_at = steered.overlay.ends_at(session.id).unwrap_or_default();
            session.left = Some(Duration::from_nanos(ends_at.saturating_sub(self.monotonic_nanos())));
            for over in &mut session.overrides {
                match steered.overlay.holding(session.id, &over.key) {
                    Holding::InForce => {}
                    Holding::Under(later) => over.note = Some(format!("overridden by debug session {later}")),
                    Holding::SetSince => over.note = Some("set since, and kept at that".to_owned()),
                }
            }
        }
        session
    }

    /// Notes what was stored since the start of a session, and what was not.
    fn count(&self, session: &mut DebugSession, drops_before: &Drops) {
        for (range, next) in session.collected.iter_mut().zip(self.next_sequences()) {
            range.end = next.max(range.start);
        }
        let drops = self.drops();
        let left_out = drops.iter().zip(drops_before).filter_map(|((cause, now), (_, before))| {
            let dropped = now.saturating_sub(*before);
            (dropped > 0).then(|| format!("{dropped} {cause}"))
        });
        session.left_out = left_out.collect::<Vec<_>>().join(", ");
    }

    fn next_sequences(&self) -> [u64; Signal::COUNT] {
        std::array::from_fn(|index| self.reader(Signal::ALL[index]).next_sequence())
    }

    /// Ends the sessions whose time is over.
    pub(crate) fn end_overdue(&self, steered: &mut Steered) {
        for id in steered.overlay.over(self.monotonic_nanos()) {
            self.end(steered, id, EndCause::TimeOver, None);
        }
    }

    /// How long it is until the time of the next session is over. Those whose time is over have ended.
    pub(crate) fn next_session_end(&self) -> Option<Duration> {
        let next = self.steer().overlay.next_end()?;
        Some(Duration::from_nanos(next.saturating_sub(self.monotonic_nanos())))
    }

    /// Ends all sessions with their host; none can be started any more.
    pub(crate) fn end_all(&self) {
        let mut steered = self.steer();
        steered.is_over = true;
        let active = steered.sessions.iter().filter(|kept| kept.session.ended.is_none());
        for id in active.map(|kept| kept.session.id).collect::<Vec<_>>() {
            self.end(&mut steered, id, EndCause::HostEnd, None);
        }
    }

    /// Ends a session that is active, and tells how it is then; `None` if there is no such session.
    fn end(&self, steered: &mut Steered, id: SessionId, why: EndCause, by: Option<&str>) -> Option<DebugSession> {
        let index = steered.sessions.iter().position(|kept| kept.session.id == id)?;
        // What the end itself makes of records is none of the session's.
        let mut session = self.up_to_now(steered, &steered.sessions[index]);
        session.left = None;
        session.ended = Some(SessionEnd { at: self.handle().now(), why, by: by.map(str::to_owned) });
        steered.overlay.lift(id);
        let by = format!("the end of debug session {id}");
        if let Err(error) = self.handle().apply(steered.overlay.in_force(), &by) {
            tracing::error!(extension = %self.id(), "the settings beneath debug session {id} cannot be put back: {error}");
        }
        recorded::tell_end(self, &session);
        steered.sessions[index].session = session.clone();
        let sessions = steered.sessions.iter().enumerate();
        let ended: Vec<_> =
            sessions.filter_map(|(index, kept)| Some((kept.session.ended.as_ref()?.at, index))).collect();
        if let Some((_, first)) = ended.iter().min().filter(|_| ended.len() > ENDED) {
            // The one that ended first, which may have been started last.
            steered.sessions.remove(*first);
        }
        Some(session)
    }
}

impl SessionOverride {
    fn of(over: &Override) -> Self {
        Self { key: over.key().to_owned(), value: over.value(), note: over.note().map(str::to_owned) }
    }
}
