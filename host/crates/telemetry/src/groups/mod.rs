//! Groups of errors that are the same bug: counted as errors are stored, resolved by people, kept over restarts.
//!
//! The groups of an extension lie in memory. What they are is also stored in the extension's state, a ring of records: a new
//! group, a resolution and a regression at once, counts after [`UNSAVED`] errors. What was counted since is counted again from
//! the errors themselves, so that nothing has to be written when the host ends, however it ends.

mod book;
mod codec;
mod distinct;
mod fingerprint;
mod group;
mod hours;
mod names;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glasshouse_model::wire::Record;
use glasshouse_model::{GroupId, Origin, Signal, UnixNanos, limits};

pub use book::{GROUPS, OVERFLOW, ResolveError};
pub use fingerprint::{Basis, FINGERPRINT_VERSION};
pub use group::{Component, ErrorGroup, GroupState, Resolution};
pub use hours::{HOURS, Trend};

use crate::frame::FrameParts;
use crate::reader::{Body, Entry, Reader};
use crate::ring::Ring;
use book::{Book, Entered, StoredError};
use codec::{StateRecord, put_counted, put_gone, put_group, put_running, put_whole};
use fingerprint::Fingerprint;
use group::{Group, Noted};

/// Errors after which counts are stored: so many are read again when a host starts anew, in a millisecond or so.
pub(crate) const UNSAVED: u32 = 256;
/// Errors that are read again at most, where no state is left: the newest.
const READ_AGAIN: u64 = 1024;
/// Bytes of state after which all of it is written anew, so that what is old may go.
const WHOLE_EVERY: usize = 1 << 20;

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
    state: Option<State>,
    buffer: Vec<u8>,
}

/// Where groups are stored.
struct State {
    ring: Arc<Ring>,
    /// Whether it was read; it is when it is first asked for, so that a host of many extensions starts soon.
    is_read: bool,
    /// The sequence number of its first record that is needed.
    whole_from: u64,
    /// Bytes that were written since.
    written: usize,
}

impl Groups {
    pub(crate) fn new(errors: Arc<Ring>, state: Option<Arc<Ring>>) -> Self {
        let state = state.map(|ring| State { ring, is_read: false, whole_from: 1, written: 0 });
        let inner = Inner {
            book: Book::default(),
            running: None,
            counted: errors.next_sequence() - 1,
            unsaved: HashSet::new(),
            unsaved_errors: 0,
            state,
            buffer: Vec::new(),
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

    /// Stores an error and counts it. Returns its sequence number; 0 if there is no memory for it.
    pub(crate) fn append(&self, parts: FrameParts<'_>) -> u64 {
        let mut inner = self.open();
        inner.meet_component();
        let sequence = self.errors.append(parts);
        if sequence != 0 {
            inner.count(sequence, &parts);
        }
        sequence
    }

    /// All groups, those with the latest errors first.
    pub(crate) fn all(&self, now: UnixNanos) -> Vec<ErrorGroup> {
        in_order(self.open().book.all(), now)
    }

    /// Notes that somebody says that a group's error is mended.
    pub(crate) fn resolve(&self, id: GroupId, resolution: Resolution) -> Result<ErrorGroup, ResolveError> {
        let now = resolution.at;
        let mut inner = self.open();
        inner.meet_component();
        let resolved = inner.book.resolve(id, resolution)?.shown(now);
        inner.unsaved.insert(id);
        if inner.save(now) { Ok(resolved) } else { Err(ResolveError::NotStored) }
    }
}

/// The group that an error is of by its fingerprint, whether there is room for such a group or not; `None` if it is no error.
pub fn group_of(error: &Body<'_>) -> Option<GroupId> {
    let mut fingerprint = Fingerprint::default();
    match error {
        Body::Failure(failure) => Some(fingerprint.of_failure(failure)),
        Body::Record(Record::Error(report, _)) => Some(fingerprint.of_report(report)),
        _ => None,
    }
}

/// The groups of an extension as its state and its errors tell, without its host.
pub(crate) fn read(state: &Reader, errors: &Reader, now: UnixNanos) -> Vec<ErrorGroup> {
    let mut book = Book::default();
    read_book(&mut book, state, errors);
    in_order(book.all(), now)
}

fn in_order<'g>(groups: impl Iterator<Item = &'g Group>, now: UnixNanos) -> Vec<ErrorGroup> {
    let mut shown: Vec<_> = groups.map(|group| group.shown(now)).collect();
    shown.sort_by_key(|group| (Reverse(group.last_seen), group.id));
    shown
}

/// What was found of an earlier host.
struct FoundState {
    /// The groups that differ from what is stored, since errors came after it.
    changed: HashSet<GroupId>,
    /// The sequence number of the first record that was needed, and the bytes from there on.
    from: u64,
    bytes: usize,
}

/// Reads what is stored into an empty book, and counts what came after it.
fn read_book(book: &mut Book, state: &Reader, errors: &Reader) -> FoundState {
    let mut counted = 0;
    let mut needed = 1;
    let records = state.back_to(|entry| {
        let (kind, body) = entry.raw();
        if let Ok(Some(StateRecord::Whole(from))) = StateRecord::decode(kind, body) {
            needed = needed.max(from);
        }
        entry.sequence() <= needed
    });
    for entry in &records {
        let (kind, body) = entry.raw();
        match StateRecord::decode(kind, body) {
            Ok(Some(StateRecord::Group(group))) => book.put(*group),
            Ok(Some(StateRecord::Gone(id))) => book.remove(id),
            Ok(Some(StateRecord::Counted(sequence))) => counted = sequence,
            Ok(Some(StateRecord::Component(component))) => book.component = Some(component),
            // Of a version that is not known, or not whole: what it says is counted again as far as errors are left.
            Ok(Some(StateRecord::Whole(_)) | None) | Err(_) => {}
        }
    }
    let next = errors.next_sequence();
    if counted >= next {
        // Errors were lost with the memory of an earlier host, and others have their numbers.
        book.forget_from(next);
        counted = next - 1;
    }
    let mut changed = HashSet::new();
    let from = (counted + 1).max(next.saturating_sub(READ_AGAIN));
    for entry in errors.page(from, READ_AGAIN as usize).entries {
        let (kind, body) = entry.raw();
        let (sequence, time) = (entry.sequence(), entry.time());
        let error = StoredError { sequence, time, kind, context: entry.context(), body };
        if let Some(entered) = book.enter(&error, true) {
            changed.extend(entered.replaced);
            changed.insert(entered.group);
        }
    }
    let from = records.first().map_or_else(|| state.next_sequence(), Entry::sequence);
    FoundState { changed, from, bytes: records.iter().map(Entry::bytes).sum() }
}

impl Inner {
    fn read(&mut self, errors: &Arc<Ring>) {
        let Some(state) = self.state.as_mut().filter(|state| !state.is_read) else { return };
        state.is_read = true;
        let stored = Reader::of_ring(Arc::clone(&state.ring), Signal::Error);
        let errors = Reader::of_ring(Arc::clone(errors), Signal::Error);
        let found = read_book(&mut self.book, &stored, &errors);
        (state.whole_from, state.written) = (found.from, found.bytes);
        self.unsaved = found.changed;
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
        self.store_component(now);
    }

    fn store_component(&mut self, now: UnixNanos) -> bool {
        match &self.book.component {
            Some(component) => store(&mut self.state, &mut self.buffer, now, |buffer| put_running(buffer, component)),
            None => true,
        }
    }

    fn count(&mut self, sequence: u64, parts: &FrameParts<'_>) {
        self.counted = sequence;
        let time = UnixNanos(parts.time);
        let error = StoredError { sequence, time, kind: parts.kind, context: parts.context, body: parts.body };
        let Some(Entered { group, noted, replaced }) = self.book.enter(&error, false) else { return };
        if self.state.is_none() {
            return;
        }
        self.unsaved.extend(replaced);
        self.unsaved.insert(group);
        self.unsaved_errors += 1;
        if noted != Noted::Again || self.unsaved_errors >= UNSAVED {
            // What cannot be stored now is counted again from the errors.
            self.save(time);
        }
    }

    /// Stores what is not stored yet. Tells whether all of it was.
    fn save(&mut self, now: UnixNanos) -> bool {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        self.unsaved_errors = 0;
        let mut stored = true;
        for id in unsaved.drain() {
            stored &= store(&mut self.state, &mut self.buffer, now, |buffer| match self.book.get(id) {
                Some(group) => put_group(buffer, group),
                None => put_gone(buffer, id),
            });
        }
        self.unsaved = unsaved;
        let counted = self.counted;
        stored &= store(&mut self.state, &mut self.buffer, now, |buffer| put_counted(buffer, counted));
        let is_short = |state: &State| state.written > WHOLE_EVERY || state.ring.oldest_sequence() > state.whole_from;
        if self.state.as_ref().is_some_and(is_short) {
            self.save_whole(now);
        }
        stored
    }

    /// Writes all that is needed anew, so that nothing older is.
    fn save_whole(&mut self, now: UnixNanos) {
        let Some(state) = &mut self.state else { return };
        let whole_from = state.ring.next_sequence();
        let mut stored = self.store_component(now);
        for group in self.book.all() {
            stored &= store(&mut self.state, &mut self.buffer, now, |buffer| put_group(buffer, group));
        }
        let counted = self.counted;
        stored &= store(&mut self.state, &mut self.buffer, now, |buffer| put_counted(buffer, counted));
        stored &= store(&mut self.state, &mut self.buffer, now, |buffer| put_whole(buffer, whole_from));
        if let (true, Some(state)) = (stored, &mut self.state) {
            (state.whole_from, state.written) = (whole_from, 0);
        }
    }
}

/// Appends a record to the state, if there is one; tells whether it was stored.
fn store(
    state: &mut Option<State>,
    buffer: &mut Vec<u8>,
    now: UnixNanos,
    write: impl FnOnce(&mut Vec<u8>) -> u8,
) -> bool {
    let Some(state) = state else { return true };
    buffer.clear();
    let kind = write(buffer);
    let flags = Origin::Host as u8;
    let parts = FrameParts { sequence: 0, time: now.0, kind, flags, context: &[], body: buffer };
    state.written += parts.len();
    state.ring.append(parts) != 0
}
