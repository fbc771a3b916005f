//! All groups of an extension's errors, in bounded number.

use std::collections::{HashMap, VecDeque};

use glasshouse_model::record::{KIND_ANSWERED, KIND_FAILURE};
use glasshouse_model::wire::{self, Record};
use glasshouse_model::{AnsweredError, Blame, Context, Failure, GroupId, Reported, Severity, UnixNanos, limits, text};

use super::distinct::Distinct;
use super::fingerprint::{Basis, FINGERPRINT_VERSION, Fingerprint};
use super::group::{Component, Group, Noted, Occurrence, Resolution, Verdict};
use super::hours::Hours;

/// Groups of an extension. Few programs have as many bugs at a time; each takes up to about three kilobytes, so that a guest
/// that makes a new group with each error takes less than half a megabyte.
pub const GROUPS: usize = 128;
/// How long a group of which nobody said anything is kept, after its last error, when there is no room for a new one.
const KEPT_NANOS: u64 = 24 * 3_600_000_000_000;
/// The same for one that was resolved, after that or its last error: by then most versions that could bring an error back have been in use, and if
/// such groups stayed for good, 128 resolved bugs would be the last ones that an extension has groups for.
const RESOLVED_KEPT_NANOS: u64 = 30 * KEPT_NANOS;
/// Characters of a title.
const TITLE_BYTES: usize = 160;
/// Bytes of the notes on a resolution, and of who wrote them.
const NOTES_BYTES: usize = 1024;
const BY_BYTES: usize = 128;

/// The group of all errors for whose own group there was no room.
pub const OVERFLOW: GroupId = GroupId([0; 6]);

/// An error as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredError<'a> {
    pub(crate) sequence: u64,
    pub(crate) time: UnixNanos,
    pub(crate) kind: u8,
    pub(crate) context: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// Why a group was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is none of that id.
    #[error("there is no such group")]
    Unknown,
    /// It is not the group of one bug.
    #[error("the errors of the overflow group are of many kinds, so that it cannot be resolved")]
    Overflow,
    /// The system has no memory or no room for the record of it.
    #[error("there is no room to store that it is resolved")]
    NotStored,
}

/// Groups by their ids.
#[derive(Debug, Default)]
pub(crate) struct Book {
    groups: HashMap<GroupId, Group>,
    /// The component that runs.
    pub(crate) component: Option<Component>,
    fingerprint: Fingerprint,
}

/// What an error did to its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) group: GroupId,
    pub(crate) noted: Noted,
    /// The group that went to make room for a new one.
    pub(crate) replaced: Option<GroupId>,
    /// How serious the error is.
    pub(crate) severity: Severity,
}

impl Book {
    /// Counts an error; `None` if it is none. One that its group counts already, as may be where what was counted is
    /// read again, is left out.
    pub(crate) fn enter(&mut self, error: &StoredError<'_>, again: bool) -> Option<Entered> {
        let failure;
        let report;
        let (id, severity, told, input) = match error.kind {
            KIND_FAILURE => {
                failure = Failure::decode(error.body).ok()?;
                (self.fingerprint.of_failure(&failure), failure.kind.severity(), Told::Failure(&failure), failure.input)
            }
            KIND_ANSWERED => {
                let answered = AnsweredError::decode(error.body).ok()?;
                if let Some(reported) = &answered.reported {
                    return self.add_to_reported(error.sequence, &answered, reported);
                }
                report = answered.error;
                (self.fingerprint.of_report(&report), severity_of(&report), Told::Report(&report), answered.input)
            }
            kind => {
                let Ok(Record::Error(reported, _)) = wire::decode(kind, error.body) else { return None };
                report = reported;
                (self.fingerprint.of_report(&report), severity_of(&report), Told::Report(&report), None)
            }
        };
        let mut replaced = None;
        let mut group = id;
        if !self.groups.contains_key(&id) {
            let has_room = self.own_groups() < GROUPS || {
                replaced = self.make_room(error.time);
                replaced.is_some()
            };
            if !has_room {
                group = OVERFLOW;
            }
        }
        let context = Context::decode(error.context).ok();
        let component = told.component(self.component.as_ref());
        let occurrence = Occurrence {
            sequence: error.sequence,
            time: error.time,
            severity,
            user: context.as_ref().and_then(|context| context.user.as_deref()),
            tenant: context.as_ref().and_then(|context| context.tenant.as_deref()),
            component: component.as_ref().or(self.component.as_ref()),
            input,
        };
        let fingerprint = &self.fingerprint;
        let entry = self
            .groups
            .entry(group)
            .or_insert_with(|| if group == OVERFLOW { overflow() } else { told.group(id, fingerprint, severity) });
        if again && entry.samples.back().is_some_and(|last| *last >= error.sequence) {
            return None;
        }
        let noted = entry.add(&occurrence);
        Some(Entered { group, noted, replaced, severity })
    }

    /// Adds to a report what its call was answered with, which is the same error: what more is known of it by now.
    fn add_to_reported(&mut self, sequence: u64, answered: &AnsweredError<'_>, reported: &Reported) -> Option<Entered> {
        let entry = self.groups.get_mut(&reported.group)?;
        if let Some(input) = answered.input {
            entry.note_input(sequence, input);
        }
        let mut severity = Severity::Low;
        if reported.handled {
            // It was not handled after all, and has not counted as such yet.
            severity = severity_of(&answered.error);
            entry.severity = entry.severity.max(severity);
        }
        Some(Entered { group: reported.group, noted: Noted::Again, replaced: None, severity })
    }

    fn own_groups(&self) -> usize {
        self.groups.len() - usize::from(self.groups.contains_key(&OVERFLOW))
    }

    /// Drops the group that has been quiet for the longest, if that is a day; one that somebody resolved goes if it was quiet for thirty days,
    /// and there is no other.
    fn make_room(&mut self, now: UnixNanos) -> Option<GroupId> {
        let order = |group: &Group| {
            let (is_resolved, quiet_since, kept) = match &group.verdict {
                Verdict::None => (false, group.last_seen, KEPT_NANOS),
                Verdict::Resolved(resolution) | Verdict::Regressed(_, resolution) => {
                    (true, group.last_seen.max(resolution.at), RESOLVED_KEPT_NANOS)
                }
            };
            // What is so far ahead is of a clock that was set back since.
            let may_go = group.id != OVERFLOW && now.0.abs_diff(quiet_since.0) > kept;
            may_go.then_some((is_resolved, quiet_since, group.id))
        };
        let (_, _, quietest) = self.groups.values().filter_map(order).min()?;
        self.groups.remove(&quietest);
        Some(quietest)
    }

    /// Notes that somebody says that a group's error is mended, in a version or else in the one that runs.
    pub(crate) fn resolve(&mut self, id: GroupId, resolution: Resolution) -> Result<&Group, ResolveError> {
        if id == OVERFLOW {
            return Err(ResolveError::Overflow);
        }
        let group = self.groups.get_mut(&id).ok_or(ResolveError::Unknown)?;
        let by = text::cut(&resolution.by, BY_BYTES).to_owned();
        let notes = text::cut(&resolution.notes, NOTES_BYTES).to_owned();
        let version = resolution.version.or_else(|| self.component.as_ref()?.version.clone());
        let known = group.components.iter().map(|component| component.digest).collect();
        group.verdict = Verdict::Resolved(Resolution { by, notes, version, known, ..resolution });
        Ok(group)
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Takes a group as it was stored; a damaged store has no more of them either.
    pub(crate) fn put(&mut self, group: Group) {
        if self.groups.contains_key(&group.id) || group.id == OVERFLOW || self.own_groups() < GROUPS {
            self.groups.insert(group.id, group);
        }
    }

    pub(crate) fn remove(&mut self, id: GroupId) {
        self.groups.remove(&id);
    }

    /// Forgets which errors from a sequence number on were counted: other errors have those numbers now.
    pub(crate) fn forget_from(&mut self, sequence: u64) {
        for group in self.groups.values_mut() {
            group.samples.retain(|sample| *sample < sequence);
            group.last_input = group.last_input.min(sequence - 1);
        }
    }
}

fn severity_of(report: &wire::Error<'_>) -> Severity {
    if report.handled { Severity::Low } else { Severity::Medium }
}

/// What an error says of itself.
enum Told<'a> {
    Failure(&'a Failure),
    Report(&'a wire::Error<'a>),
}

impl Told<'_> {
    /// The component that failed, where it says so; its version is known if it is the one that runs.
    fn component(&self, running: Option<&Component>) -> Option<Component> {
        match self {
            Self::Failure(failure) if running.is_none_or(|running| running.digest != failure.component) => {
                Some(Component { digest: failure.component, version: None })
            }
            _ => None,
        }
    }

    /// A group of errors like it, with none counted yet.
    fn group(&self, id: GroupId, fingerprint: &Fingerprint, severity: Severity) -> Group {
        let (kind, message, blame) = match self {
            Self::Failure(failure) => (failure.kind.as_str(), &*failure.message, failure.kind.blame()),
            Self::Report(report) => (report.kind, report.message, Blame::Guest),
        };
        let title = match message.lines().next().unwrap_or_default() {
            "" => kind.to_owned(),
            line => text::cut(line, TITLE_BYTES).to_owned(),
        };
        let kind = text::cut(kind, limits::NAME_BYTES).to_owned();
        empty(id, fingerprint.text().to_owned(), kind, title, blame, severity)
    }
}

fn overflow() -> Group {
    let text = format!("{FINGERPRINT_VERSION}\n{}\noverflow", Basis::Overflow);
    let title = "errors of further kinds, for which there were no groups left".to_owned();
    empty(OVERFLOW, text, "overflow".to_owned(), title, Blame::Guest, Severity::Low)
}

fn empty(id: GroupId, fingerprint: String, kind: String, title: String, blame: Blame, severity: Severity) -> Group {
    Group {
        id,
        fingerprint,
        kind,
        title,
        blame,
        severity,
        count: 0,
        first_seen: UnixNanos::default(),
        last_seen: UnixNanos::default(),
        hours: Hours::default(),
        users: Distinct::default(),
        tenants: Distinct::default(),
        inputs: Distinct::default(),
        with_input: 0,
        last_input: 0,
        components: Vec::new(),
        samples: VecDeque::new(),
        verdict: Verdict::None,
    }
}
