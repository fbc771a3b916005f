//! A group of errors: what was counted of it, and its states.

use std::collections::VecDeque;

use glasshouse_model::{Blame, Digest, GroupId, InputDigest, Severity, UnixNanos, Version};

use super::distinct::Distinct;
use super::hours::{HOURS, Hours, Trend};

/// Errors of a group whose sequence numbers are kept: the latest ones.
pub(crate) const SAMPLES: usize = 8;
/// Components that a group names: the latest that had the error.
pub(crate) const COMPONENTS: usize = 8;
/// How long a group is new.
const NEW_NANOS: i64 = 24 * 3_600_000_000_000;

glasshouse_model::wire::byte_enum! {
    /// How a group of errors stands.
    GroupState {
        /// First seen in the last day.
        New = 0 "new",
        /// Known, and still there.
        Ongoing = 1 "ongoing",
        /// It comes far more often than before.
        Escalating = 2 "escalating",
        /// It was resolved, and came back.
        Regressed = 3 "regressed",
        /// Somebody said that it is mended.
        Resolved = 4 "resolved",
    }
}

/// A component of which errors came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its digest.
    pub digest: Digest,
    /// The version that its manifest names, if it does.
    pub version: Option<Version>,
}

/// That somebody says that an error is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// When it was said.
    pub at: UnixNanos,
    /// By whom.
    pub by: String,
    /// What else they said.
    pub notes: String,
    /// The version in which it is mended; errors of earlier ones are no news.
    pub version: Option<Version>,
    /// The components that were known to have it: where versions do not tell, errors of these are no news.
    pub known: Vec<Digest>,
}

impl Resolution {
    /// Whether an error of a component shows that it is not mended: one of the version in which it should be, or of a later
    /// one; where either has no version, one of a component that was not known to have it.
    pub fn is_refuted_by(&self, component: &Component) -> bool {
        match (&self.version, &component.version) {
            (Some(mended), Some(found)) => found >= mended,
            _ => !self.known.contains(&component.digest),
        }
    }
}

/// What people said of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    #[default]
    None,
    Resolved(Resolution),
    /// It came back, at a time, though it was said to be mended.
    Regressed(UnixNanos, Resolution),
}

/// A group of errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    /// The fingerprint's parts, one a line.
    pub(crate) fingerprint: String,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) blame: Blame,
    pub(crate) severity: Severity,
    pub(crate) count: u64,
    pub(crate) first_seen: UnixNanos,
    pub(crate) last_seen: UnixNanos,
    pub(crate) hours: Hours,
    pub(crate) users: Distinct,
    pub(crate) tenants: Distinct,
    /// The inputs of the calls in which they came, of how many errors they are known, and the last record that told of one.
    pub(crate) inputs: Distinct,
    pub(crate) with_input: u64,
    pub(crate) last_input: u64,
    /// The latest last.
    pub(crate) components: Vec<Component>,
    /// Sequence numbers, the latest last.
    pub(crate) samples: VecDeque<u64>,
    pub(crate) verdict: Verdict,
}

/// What happened with an error's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It is the first of its group.
    First,
    /// It is one more of its group.
    Again,
    /// Its group had been resolved.
    Regressed,
}

/// What a group counts of an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence<'a> {
    pub(crate) sequence: u64,
    pub(crate) time: UnixNanos,
    pub(crate) severity: Severity,
    pub(crate) user: Option<&'a str>,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) component: Option<&'a Component>,
    pub(crate) input: Option<InputDigest>,
}

impl Group {
    /// Counts an error.
    pub(crate) fn add(&mut self, error: &Occurrence<'_>) -> Noted {
        let noted = match &mut self.verdict {
            Verdict::Resolved(resolution)
                if error.component.is_some_and(|component| resolution.is_refuted_by(component)) =>
            {
                self.verdict = Verdict::Regressed(error.time, resolution.clone());
                Noted::Regressed
            }
            _ if self.count == 0 => Noted::First,
            _ => Noted::Again,
        };
        if self.count == 0 || error.time < self.first_seen {
            self.first_seen = error.time;
        }
        self.count += 1;
        let is_set_back = self.hours.add(error.time);
        self.last_seen = if is_set_back { error.time } else { self.last_seen.max(error.time) };
        self.severity = self.severity.max(error.severity);
        if let Some(user) = error.user {
            self.users.add(user);
        }
        if let Some(tenant) = error.tenant {
            self.tenants.add(tenant);
        }
        if let Some(input) = error.input {
            self.note_input(error.sequence, input);
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(error.sequence);
        if let Some(component) = error.component {
            self.note(component);
        }
        noted
    }

    /// Notes what a record tells of the input with which an error came; what was told already is left out, as may be where records are
    /// read again.
    pub(crate) fn note_input(&mut self, sequence: u64, input: InputDigest) {
        if sequence > self.last_input {
            self.last_input = sequence;
            self.with_input += 1;
            self.inputs.add(&input.to_string());
        }
    }

    fn note(&mut self, component: &Component) {
        if self.components.last() == Some(component) {
            return;
        }
        let known = self.components.iter().position(|known| known.digest == component.digest);
        let known = known.map(|at| self.components.remove(at));
        if self.components.len() == COMPONENTS {
            self.components.remove(0);
        }
        let version = component.version.clone().or_else(|| known?.version);
        self.components.push(Component { digest: component.digest, version });
    }

    pub(crate) fn state(&self, now: UnixNanos) -> GroupState {
        match self.verdict {
            Verdict::Resolved(_) => GroupState::Resolved,
            Verdict::Regressed(..) => GroupState::Regressed,
            Verdict::None if self.hours.is_burst(self.first_seen, now) => GroupState::Escalating,
            Verdict::None if now.0.saturating_sub(self.first_seen.0) < NEW_NANOS => GroupState::New,
            Verdict::None => GroupState::Ongoing,
        }
    }

    /// Nanoseconds after an error that is the last one until it does not escalate any more; `None` if it does not escalate.
    pub(crate) fn escalates_for(&self, now: UnixNanos) -> Option<u64> {
        let escalates = self.verdict == Verdict::None && self.hours.is_burst(self.first_seen, now);
        escalates.then(|| Hours::burst_ends_after(now))
    }

    /// What there is to tell of it.
    pub(crate) fn shown(&self, now: UnixNanos) -> ErrorGroup {
        let (regressed_at, resolution) = match &self.verdict {
            Verdict::None => (None, None),
            Verdict::Resolved(resolution) => (None, Some(resolution.clone())),
            Verdict::Regressed(at, resolution) => (Some(*at), Some(resolution.clone())),
        };
        ErrorGroup {
            id: self.id,
            title: self.title.clone(),
            kind: self.kind.clone(),
            blame: self.blame,
            severity: self.severity,
            state: self.state(now),
            count: self.count,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            rate_per_hour: self.hours.rate(self.first_seen, now),
            trend: self.hours.trend(self.first_seen, now),
            hours: self.hours.as_of(now),
            users: self.users.count(),
            tenants: self.tenants.count(),
            inputs: self.inputs.count(),
            with_input: self.with_input,
            components: self.components.clone(),
            samples: self.samples.iter().copied().collect(),
            regressed_at,
            resolution,
            fingerprint: self.fingerprint.lines().map(str::to_owned).collect(),
        }
    }
}

/// A group of errors as it stands at a time. What it quotes is the guest's, and is escaped where it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorGroup {
    /// Its name: from what its errors have in common, so that it is the same after a restart and in each host.
    pub id: GroupId,
    /// What happened, from its first error.
    pub title: String,
    /// The kind of its errors.
    pub kind: String,
    /// Whose fault they are.
    pub blame: Blame,
    /// That of the worst.
    pub severity: Severity,
    /// How it stands.
    pub state: GroupState,
    /// Its errors, those included that are not stored any more.
    pub count: u64,
    /// When the first one came.
    pub first_seen: UnixNanos,
    /// When the last one came.
    pub last_seen: UnixNanos,
    /// Errors an hour in the last day, or since the first.
    pub rate_per_hour: f64,
    /// Whether they come more often.
    pub trend: Trend,
    /// Errors in each of the last hours, the present one first.
    pub hours: [u32; HOURS],
    /// Users on whose behalf the extension was at work: exact up to 31, then about.
    pub users: u64,
    /// Tenants, likewise.
    pub tenants: u64,
    /// Different inputs of the calls in which its errors came, likewise; 1 is the same input each time.
    pub inputs: u64,
    /// Errors of which the input is known: of calls that failed or were answered with an error.
    pub with_input: u64,
    /// The components that had it, the latest last.
    pub components: Vec<Component>,
    /// The sequence numbers of its latest errors, the latest last; they may be stored no longer.
    pub samples: Vec<u64>,
    /// When it came back, if it was resolved before.
    pub regressed_at: Option<UnixNanos>,
    /// Who resolved it last, when and with which notes.
    pub resolution: Option<Resolution>,
    /// Why these errors are a group: the version of the rules, what they go by, the kind, and what the errors have in common.
    pub fingerprint: Vec<String>,
}
