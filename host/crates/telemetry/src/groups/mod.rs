//! Groups of errors that are the same bug: counted as errors are stored, resolved by people, kept over restarts.
//!
//! The groups of an extension lie in memory. What they are is also stored in the extension's state, a ring of records: a new
//! group, a resolution and a regression at once, counts after [`UNSAVED`] errors. What was counted since is counted again from
//! the errors themselves, so that nothing has to be written when the host ends, however it ends.

mod book;
mod burst;
mod codec;
mod distinct;
mod fingerprint;
mod group;
mod hours;
mod names;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glasshouse_model::record::KIND_STATE_GROUP_GONE;
use glasshouse_model::wire::Record;
use glasshouse_model::{GroupId, Severity, Signal, UnixNanos, limits};

pub use book::{GROUPS, OVERFLOW, ResolveError};
pub use fingerprint::{Basis, FINGERPRINT_VERSION};
pub use group::{Component, ErrorGroup, GroupState, Resolution};
pub use hours::{HOURS, Trend};

use crate::frame::FrameParts;
use crate::reader::{Body, Reader};
use crate::ring::Ring;
use crate::state::{self, StateLog, StoredState, UNSAVED, put_gone};
use book::{Book, Entered, StoredError};
pub(crate) use burst::{BURST_ERRORS, BURST_WINDOW};
use burst::{Burst, part_of};
use codec::{StateRecord, put_group, put_running};
use fingerprint::Fingerprint;
use group::{Group, Noted};

/// The groups of an extension's errors. Its lock is taken by whoever stores an error, so that errors are counted in the order
/// of their sequence numbers, and by whoever asks.
pub(crate) struct Groups {
    errors: Arc<Ring>,
    inner: Mutex<Inner>,
}

struct Inner {
    book: Book,
    /// The component that runs, which the book learns when it is next used.
    running: Option<Component>,
    /// The last error that was counted.
    counted: u64,
    unsaved: HashSet<GroupId>,
    unsaved_errors: u32,
    burst: Burst,
    /// When it was last told of groups that they escalate, in parts.
    told: HashMap<GroupId, i64>,
    state: StateLog,
}

/// What an error has shown that a person should know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) group: GroupId,
    pub(crate) title: String,
    /// That its group was resolved.
    pub(crate) regressed: bool,
    /// Nanoseconds until its group does not escalate any more if no other error comes; told once in a while.
    pub(crate) escalates_for: Option<u64>,
    /// How many errors there were of late, if they are a burst; told once in a while.
    pub(crate) burst: Option<u32>,
}

impl Groups {
    pub(crate) fn new(errors: Arc<Ring>, state: Option<Arc<Ring>>) -> Self {
        let inner = Inner {
            book: Book::default(),
            running: None,
            counted: errors.next_sequence() - 1,
            unsaved: HashSet::new(),
            unsaved_errors: 0,
            burst: Burst::default(),
            told: HashMap::new(),
            state: StateLog::new(state),
        };
        Self { errors, inner: Mutex::new(inner) }
    }

    /// The groups, with what an earlier host left of them.
    fn open(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.read(&self.errors);
        inner
    }

    /// Names the component whose errors come from now on.
    pub(crate) fn run(&self, mut component: Component) {
        let is_short = |version: &glasshouse_model::Version| version.to_string().len() <= limits::VERSION_BYTES;
        component.version = component.version.filter(is_short);
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).running = Some(component);
    }

    /// Stores an error and counts it. Returns its sequence number, 0 if there is no memory for it, and the group that counts it. `tell`
    /// is told what a person should know, before anybody can say anything of the group.
    pub(crate) fn append(&self, parts: FrameParts<'_>, tell: impl FnOnce(&News)) -> (u64, Option<GroupId>) {
        let mut inner = self.open();
        inner.meet_component();
        let sequence = self.errors.append(parts);
        let counted = if sequence == 0 { None } else { inner.count(sequence, &parts) };
        let Some((group, news)) = counted else { return (sequence, None) };
        if let Some(news) = news {
            tell(&news);
        }
        (sequence, Some(group))
    }

    /// All groups, those with the latest errors first.
    pub(crate) fn all(&self, now: UnixNanos) -> Vec<ErrorGroup> {
        in_order(self.open().book.all(), now)
    }

    /// Notes that somebody says that a group's error is mended. Once that is stored `tell` is told, before an error can show that it is
    /// not.
    pub(crate) fn resolve(
        &self,
        id: GroupId,
        resolution: Resolution,
        tell: impl FnOnce(),
    ) -> Result<ErrorGroup, ResolveError> {
        let now = resolution.at;
        let mut inner = self.open();
        inner.meet_component();
        let resolved = inner.book.resolve(id, resolution)?.shown(now);
        inner.unsaved.insert(id);
        if !inner.save(now) {
            return Err(ResolveError::NotStored);
        }
        tell();
        Ok(resolved)
    }
}

/// The group that an error is of by its fingerprint, whether there is room for such a group or not; `None` if it is no error.
pub fn group_of(error: &Body<'_>) -> Option<GroupId> {
    let mut fingerprint = Fingerprint::default();
    match error {
        Body::Failure(failure) => Some(fingerprint.of_failure(failure)),
        Body::Record(Record::Error(report, _)) => Some(fingerprint.of_report(report)),
        // Where the same was reported, that is what counts.
        Body::Answered(answered) => match answered.reported {
            Some(reported) => Some(reported.group),
            None => Some(fingerprint.of_report(&answered.error)),
        },
        _ => None,
    }
}

/// The groups of an extension as its state and its errors tell, without its host.
pub(crate) fn read(state: &Reader, errors: &Reader, now: UnixNanos) -> Vec<ErrorGroup> {
    let mut book = Book::default();
    read_book(&mut book, &state::read(state), errors);
    in_order(book.all(), now)
}

fn in_order<'g>(groups: impl Iterator<Item = &'g Group>, now: UnixNanos) -> Vec<ErrorGroup> {
    let mut shown: Vec<_> = groups.map(|group| group.shown(now)).collect();
    shown.sort_by_key(|group| (Reverse(group.last_seen), group.id));
    shown
}

/// Reads what is stored into an empty book, and counts what came after it. Gives the groups that differ from what is stored.
fn read_book(book: &mut Book, stored: &StoredState, errors: &Reader) -> HashSet<GroupId> {
    for entry in &stored.records {
        let (kind, body) = entry.raw();
        match StateRecord::decode(kind, body) {
            Ok(Some(StateRecord::Group(group))) => book.put(*group),
            Ok(Some(StateRecord::Gone(id))) => book.remove(id),
            Ok(Some(StateRecord::Component(component))) => book.component = Some(component),
            // Of a version that is not known, or not whole: what it says is counted again as far as errors are left.
            Ok(None) | Err(_) => {}
        }
    }
    let uncounted = state::uncounted(errors, stored.counted);
    if let Some(next) = uncounted.lost_from {
        book.forget_from(next);
    }
    let mut changed = HashSet::new();
    for entry in uncounted.records {
        let (kind, body) = entry.raw();
        let (sequence, time) = (entry.sequence(), entry.time());
        let error = StoredError { sequence, time, kind, context: entry.context(), body };
        if let Some(entered) = book.enter(&error, true) {
            changed.extend(entered.replaced);
            changed.insert(entered.group);
        }
    }
    changed
}

impl Inner {
    fn read(&mut self, errors: &Arc<Ring>) {
        let Some(stored) = self.state.take_stored() else { return };
        let errors = Reader::of_ring(Arc::clone(errors), Signal::Error);
        self.unsaved = read_book(&mut self.book, &stored, &errors);
        self.counted = errors.next_sequence() - 1;
    }

    /// Goes over to the component that runs. What is stored without its component is counted for the one before it, so that
    /// it has to be saved first.
    fn meet_component(&mut self) {
        if self.running.is_none() || self.running == self.book.component {
            return;
        }
        let now = UnixNanos(self.book.all().map(|group| group.last_seen.0).max().unwrap_or_default());
        self.save(now);
        self.book.component.clone_from(&self.running);
        store_component(&mut self.state, &self.book, now);
    }

    fn count(&mut self, sequence: u64, parts: &FrameParts<'_>) -> Option<(GroupId, Option<News>)> {
        self.counted = sequence;
        let time = UnixNanos(parts.time);
        let error = StoredError { sequence, time, kind: parts.kind, context: parts.context, body: parts.body };
        let Entered { group, noted, replaced, severity } = self.book.enter(&error, false)?;
        if self.state.is_kept() {
            self.unsaved.extend(replaced);
            self.unsaved.insert(group);
            self.unsaved_errors += 1;
            if noted != Noted::Again || self.unsaved_errors >= UNSAVED {
                // What cannot be stored now is stored with the next, or counted again from the errors.
                self.save(time);
            }
        }
        // What a guest coped with is no burst, however often.
        let burst = if severity == Severity::Low { None } else { self.burst.add(time) };
        let regressed = noted == Noted::Regressed;
        let entered = self.book.get(group)?;
        let mut escalates_for = entered.escalates_for(time);
        if escalates_for.is_some() {
            if self.told.len() > GROUPS {
                // Groups come and go.
                self.told.clear();
            }
            let part = part_of(time);
            escalates_for = escalates_for.filter(|_| self.told.insert(group, part) != Some(part));
        }
        let is_news = regressed || escalates_for.is_some() || burst.is_some();
        let news = is_news.then(|| News { group, title: entered.title.clone(), regressed, escalates_for, burst });
        Some((group, news))
    }

    /// Stores what is not stored yet. Tells whether all of it is.
    fn save(&mut self, now: UnixNanos) -> bool {
        self.unsaved_errors = 0;
        let Self { book, state, counted, unsaved, .. } = self;
        let stored = state.save(now, unsaved, *counted, |buffer, id| match book.get(id) {
            Some(group) => put_group(buffer, group),
            None => put_gone(buffer, KIND_STATE_GROUP_GONE, &id.0),
        });
        if state.is_whole_due() {
            state.store_whole(now, *counted, |state| {
                store_component(state, book, now)
                    && book.all().all(|group| state.store(now, |buffer| put_group(buffer, group)))
            });
        }
        stored
    }
}

fn store_component(state: &mut StateLog, book: &Book, now: UnixNanos) -> bool {
    match &book.component {
        Some(component) => state.store(now, |buffer| put_running(buffer, component)),
        None => true,
    }
}
