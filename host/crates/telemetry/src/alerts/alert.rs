//! The life of an alert: it fires, is raised again, is over by itself or by hand, and fires anew. A state machine without a clock
//! and without I/O.

use std::collections::VecDeque;

use glasshouse_model::{AlertId, Origin, Severity, UnixNanos, text};

/// Transitions of an alert that are kept: the latest ones. With one a day they tell of two weeks.
pub(crate) const HISTORY: usize = 16;
/// Bytes of a note on a transition, and of who wrote it: all transitions of all alerts are to fit into an extension's state.
const NOTE_BYTES: usize = 512;
const BY_BYTES: usize = 64;

glasshouse_model::wire::byte_enum! {
    /// Whether an alert is there.
    AlertState {
        /// It is.
        Firing = 0 "firing",
        /// It is over.
        Resolved = 1 "resolved",
    }
}

glasshouse_model::wire::byte_enum! {
    /// What made an alert fire, or ended it.
    AlertCause {
        /// It was raised.
        Raised = 0 "raised",
        /// Its cause is over, as the host knows.
        Recovered = 1 "recovered",
        /// It was not raised again for long.
        Quiet = 2 "quiet",
        /// Somebody said that it is over.
        ByHand = 3 "by hand",
    }
}

impl AlertCause {
    /// The state that it leads to.
    pub fn state(self) -> AlertState {
        if self == Self::Raised { AlertState::Firing } else { AlertState::Resolved }
    }
}

/// A step of an alert from one state to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertTransition {
    /// When.
    pub at: UnixNanos,
    /// Why.
    pub cause: AlertCause,
    /// Who did it, if it was done by hand.
    pub by: String,
    /// What else there is to know.
    pub note: String,
}

/// An alert of an extension as it stands. Its texts are the guest's unless its origin is the host, and are escaped where they are
/// shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its name: from the extension, the origin, the name and the labels, so that it is the same after a restart.
    pub id: AlertId,
    /// Who raises it: the host, or the guest. A guest's is never the host's, whatever it says.
    pub origin: Origin,
    /// What it is: the host's word, or the guest's type.
    pub name: String,
    /// What it is about, such as the metric, in order.
    pub labels: Vec<(String, String)>,
    /// The worst since it fires.
    pub severity: Severity,
    /// One line for a person, as of when it began to fire.
    pub title: String,
    /// The whole story, as of when it began to fire.
    pub message: String,
    /// The value that it is about, as of when it began to fire.
    pub value: Option<f64>,
    /// The threshold that the value passed.
    pub threshold: Option<f64>,
    /// When it was first raised.
    pub first_raised: UnixNanos,
    /// When it was last raised.
    pub last_raised: UnixNanos,
    /// How often it was raised.
    pub raised: u64,
    /// How often it began to fire.
    pub fired: u64,
    /// For how long it has fired, the present time not included.
    pub fired_nanos: u64,
    /// The longest time that it fired, likewise.
    pub longest_nanos: u64,
    /// How long after it was last raised it is over by itself; `None` if only its cause or somebody ends it.
    pub quiet_nanos: Option<u64>,
    /// The number of the last record that raised it, if one of the guest's did; it may be stored no longer.
    pub last_record: u64,
    /// Its latest transitions, the latest last; there is always one.
    pub history: VecDeque<AlertTransition>,
}

/// That an alert is raised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raise<'a> {
    pub(crate) origin: Origin,
    /// Whether it is one of few, whatever the guest does, so that there is always room for it.
    pub(crate) is_one_of_few: bool,
    pub(crate) name: &'a str,
    pub(crate) labels: &'a [(&'a str, &'a str)],
    pub(crate) severity: Severity,
    pub(crate) title: &'a str,
    pub(crate) message: &'a str,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) at: UnixNanos,
    /// As [`Alert::quiet_nanos`].
    pub(crate) quiet_nanos: Option<u64>,
    /// The record that says so; 0 if it is the host's.
    pub(crate) record: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// It fires now, and did not before.
    Fires,
    /// It is counted.
    Again,
}

fn nanos_between(from: UnixNanos, to: UnixNanos) -> u64 {
    u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)
}

impl Alert {
    /// How it stands, as of the last time that it was looked at.
    pub fn state(&self) -> AlertState {
        self.history.back().map_or(AlertState::Resolved, |latest| latest.cause.state())
    }

    /// Since when it stands so.
    pub fn since(&self) -> UnixNanos {
        self.history.back().map_or(self.first_raised, |latest| latest.at)
    }

    /// Whether these make it what it is.
    pub(crate) fn is_of(&self, origin: Origin, name: &str, labels: &[(&str, &str)]) -> bool {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.origin == origin && self.name == name && own.eq(labels.iter().copied())
    }

    /// When it is over by itself if it is not raised again.
    pub fn resolves_at(&self) -> Option<UnixNanos> {
        let after = i64::try_from(self.quiet_nanos?).unwrap_or(i64::MAX);
        (self.state() == AlertState::Firing).then(|| UnixNanos(self.last_raised.0.saturating_add(after)))
    }

    /// For how long it has fired in all, up to a time.
    pub fn firing_nanos(&self, now: UnixNanos) -> u64 {
        let present = if self.state() == AlertState::Firing { nanos_between(self.since(), now) } else { 0 };
        self.fired_nanos.saturating_add(present)
    }

    /// Ends it if it was quiet for long enough.
    pub(crate) fn settle(&mut self, now: UnixNanos) -> bool {
        let over = self.resolves_at().filter(|at| *at <= now);
        if let Some(at) = over {
            self.step(at, AlertCause::Quiet, "", "");
        }
        over.is_some()
    }

    /// Notes that it is raised.
    pub(crate) fn raise(&mut self, raise: &Raise<'_>) -> Raised {
        self.settle(raise.at);
        self.last_raised = self.last_raised.max(raise.at);
        self.raised += 1;
        self.quiet_nanos = raise.quiet_nanos;
        self.last_record = self.last_record.max(raise.record);
        if self.state() == AlertState::Firing {
            self.severity = self.severity.max(raise.severity);
            return Raised::Again;
        }
        self.severity = raise.severity;
        raise.title.clone_into(&mut self.title);
        raise.message.clone_into(&mut self.message);
        (self.value, self.threshold) = (raise.value, raise.threshold);
        self.fired += 1;
        self.step(raise.at, AlertCause::Raised, "", "");
        Raised::Fires
    }

    /// Ends it; tells whether it fired.
    pub(crate) fn resolve(&mut self, at: UnixNanos, cause: AlertCause, by: &str, note: &str) -> bool {
        self.settle(at);
        let fires = self.state() == AlertState::Firing;
        if fires {
            self.step(at, cause, by, note);
        }
        fires
    }

    /// Goes on in another state. Where the clock was set back, the step is as of the one before it.
    fn step(&mut self, at: UnixNanos, cause: AlertCause, by: &str, note: &str) {
        let at = at.max(self.since());
        if cause.state() == AlertState::Resolved {
            let fired = nanos_between(self.since(), at);
            self.fired_nanos = self.fired_nanos.saturating_add(fired);
            self.longest_nanos = self.longest_nanos.max(fired);
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let (by, note) = (text::cut(by, BY_BYTES).to_owned(), text::cut(note, NOTE_BYTES).to_owned());
        self.history.push_back(AlertTransition { at, cause, by, note });
    }
}
