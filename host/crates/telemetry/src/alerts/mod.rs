//! Alerts that have a life: raised by guests and by the host, counted while they fire, over by recovery, by quiet or by hand, and kept
//! over restarts.
//!
//! The alerts of an extension lie in memory. What they are is also stored in a state of their own, as groups of errors are: each
//! transition at once, and so is each time that the host raises one; what the guest raised is counted after [`UNSAVED`] records, and
//! what came since is counted again from these.
//! What was quiet for long is over as of a time, so that nobody has to look at it then: whoever reads sees it so.
//!
//! Rules that raise alerts, and channels that tell of them, have their place on [`Alerts::raise`] and on what it gives back.

mod alert;
mod book;
mod codec;
mod host;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glasshouse_model::record::KIND_STATE_ALERT_GONE;
use glasshouse_model::settings::Debugging;
use glasshouse_model::wire::{self, Record};
use glasshouse_model::{AlertId, Origin, Signal, UnixNanos};

pub use alert::{Alert, AlertCause, AlertState, AlertTransition};
pub use book::{ALERTS, AlertError};
pub(crate) use host::BURST_IS_OVER_AFTER;
pub use host::{Alarm, HostAlert};

use crate::frame::FrameParts;
use crate::reader::Reader;
use crate::ring::Ring;
use crate::state::{self, StateLog, StoredState, UNSAVED, put_gone};
use crate::store::origin_of;
use alert::{Raise, Raised};
use book::{Book, Entered};
use codec::{StateRecord, put_alert};

/// The label of an alert that names the metric it is about.
pub(crate) const METRIC: &str = "metric";

/// The alerts of an extension. Its lock is taken by whoever raises one, so that they are counted in the order of their sequence
/// numbers, and by whoever asks.
pub(crate) struct Alerts {
    records: Arc<Ring>,
    /// How long after it was last raised a guest's alert is over.
    resolve_after: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    book: Book,
    /// The last record that was counted.
    counted: u64,
    unsaved: HashSet<AlertId>,
    unsaved_raises: u32,
    state: StateLog,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Alerts {
    pub(crate) fn new(extension: &str, records: Arc<Ring>, state: Option<Arc<Ring>>, resolve_after: Duration) -> Self {
        let inner = Inner {
            book: Book::new(extension),
            counted: records.next_sequence() - 1,
            unsaved: HashSet::new(),
            unsaved_raises: 0,
            state: StateLog::new(state),
        };
        Self { records, resolve_after: AtomicU64::new(nanos(resolve_after)), inner: Mutex::new(inner) }
    }

    /// Ends guests' alerts after another time, from the next time that they are raised.
    pub(crate) fn apply(&self, resolve_after: Duration) {
        self.resolve_after.store(nanos(resolve_after), Ordering::Relaxed);
    }

    /// The alerts, with what an earlier host left of them.
    fn open(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.read(&self.records);
        inner
    }

    /// Stores a record of an alert, and raises it if it is the guest's. Returns its sequence number; 0 if there is no memory for
    /// it.
    pub(crate) fn append(&self, parts: FrameParts<'_>) -> u64 {
        let mut inner = self.open();
        let sequence = self.records.append(parts);
        if sequence != 0 {
            inner.counted = sequence;
            let time = UnixNanos(parts.time);
            let quiet = self.resolve_after.load(Ordering::Relaxed);
            let is_guests = origin_of(parts.flags) != Origin::Host;
            if is_guests
                && let Some(entered) = enter(&mut inner.book, time, sequence, parts.kind, parts.body, Some(quiet))
            {
                inner.note(entered, time, false);
            }
        }
        sequence
    }

    /// Raises an alert of the host's. If it fires since then, that is a record, too, which is there before the alert can be seen: gives its
    /// sequence number, 0 if there is no memory for it.
    pub(crate) fn raise(&self, at: UnixNanos, alarm: &Alarm<'_>, quiet_nanos: Option<u64>) -> Option<u64> {
        let mut inner = self.open();
        let raise = Raise {
            origin: Origin::Host,
            is_one_of_few: !alarm.what.is_about_group(),
            name: alarm.what.as_str(),
            labels: alarm.labels,
            severity: alarm.what.severity(),
            title: alarm.what.title(),
            message: alarm.message,
            value: alarm.value,
            threshold: alarm.threshold,
            at,
            quiet_nanos,
            record: 0,
        };
        let entered = inner.book.raise(&raise)?;
        // There is no record from which it could be counted again.
        inner.note(entered, at, true);
        (entered.raised == Raised::Fires).then(|| {
            let mut body = Vec::new();
            wire::write_alert(&mut body, &alarm.record());
            let flags = Origin::Host as u8;
            let kind = wire::KIND_ALERT;
            self.records.append(FrameParts {
                sequence: 0,
                time: at.0,
                kind,
                flags,
                context: alarm.context,
                body: &body,
            })
        })
    }

    /// Ends those of the host's alerts that `is_over` says so of; gives how many there were.
    pub(crate) fn recover(&self, at: UnixNanos, note: &str, is_over: impl Fn(&Alert) -> bool) -> usize {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.book.all().next().is_none() && inner.state.is_empty() {
            // Nothing was ever raised, and nothing has to be read.
            return 0;
        }
        inner.read(&self.records);
        let over = inner.book.recover(at, note, is_over);
        if over.is_empty() {
            return 0;
        }
        inner.unsaved.extend(&over);
        inner.save(at);
        over.len()
    }

    /// All alerts as of a time: those that fire first, of them the latest first.
    pub(crate) fn all(&self, now: UnixNanos) -> Vec<Alert> {
        in_order(self.open().book.all(), now)
    }

    /// Notes that somebody says that an alert is over.
    pub(crate) fn resolve(&self, id: AlertId, at: UnixNanos, by: &str, note: &str) -> Result<Alert, AlertError> {
        let mut inner = self.open();
        let resolved = match inner.book.resolve(id, at, by, note).cloned() {
            Ok(resolved) => resolved,
            // It was resolved before, and could not be stored.
            Err(AlertError::NotFiring) if inner.unsaved.contains(&id) && !inner.save(at) => {
                return Err(AlertError::NotStored);
            }
            Err(error) => return Err(error),
        };
        inner.unsaved.insert(id);
        if inner.save(at) { Ok(resolved) } else { Err(AlertError::NotStored) }
    }
}

/// The alerts of an extension as its state and its records tell, without its host.
pub(crate) fn read(extension: &str, state: &Reader, records: &Reader, now: UnixNanos) -> Vec<Alert> {
    let mut book = Book::new(extension);
    read_book(&mut book, &state::read(state), records);
    in_order(book.all(), now)
}

fn in_order<'a>(alerts: impl Iterator<Item = &'a Alert>, now: UnixNanos) -> Vec<Alert> {
    let as_of_now = |alert: &Alert| {
        let mut alert = alert.clone();
        alert.settle(now);
        alert
    };
    let mut alerts: Vec<_> = alerts.map(as_of_now).collect();
    alerts.sort_by_key(|alert| (alert.state(), Reverse(alert.since()), alert.id));
    alerts
}

/// Raises what a guest's record says.
fn enter(
    book: &mut Book,
    at: UnixNanos,
    sequence: u64,
    kind: u8,
    body: &[u8],
    quiet_nanos: Option<u64>,
) -> Option<Entered> {
    let Ok(Record::Alert(alert)) = wire::decode(kind, body) else { return None };
    let metric = alert.metric.map(|metric| [(METRIC, metric)]);
    let labels = metric.as_ref().map_or(&[][..], |label| label);
    // A record that is read again does not tell the setting of its time.
    let known = || book.quiet_nanos_of(Origin::Guest, alert.kind, labels);
    let default = || nanos(Debugging::default().alert_resolve_after);
    let quiet_nanos = Some(quiet_nanos.or_else(known).unwrap_or_else(default));
    book.raise(&Raise {
        origin: Origin::Guest,
        is_one_of_few: false,
        name: alert.kind,
        labels,
        severity: alert.severity,
        title: alert.title,
        message: alert.message,
        value: alert.value,
        threshold: alert.threshold,
        at,
        quiet_nanos,
        record: sequence,
    })
}

/// Reads what is stored into an empty book, and counts what came after it. Gives the alerts that differ from what is stored.
fn read_book(book: &mut Book, stored: &StoredState, records: &Reader) -> HashSet<AlertId> {
    for entry in &stored.records {
        let (kind, body) = entry.raw();
        match StateRecord::decode(kind, body) {
            Ok(Some(StateRecord::Alert(alert))) => book.put(*alert),
            Ok(Some(StateRecord::Gone(id))) => book.remove(id),
            // Of a version that is not known, or not whole: what it says is counted again as far as records are left.
            Ok(None) | Err(_) => {}
        }
    }
    let uncounted = state::uncounted(records, stored.counted);
    if let Some(next) = uncounted.lost_from {
        book.forget_from(next);
    }
    let mut changed = HashSet::new();
    for entry in uncounted.records.iter().filter(|entry| entry.origin() != Origin::Host) {
        let (kind, body) = entry.raw();
        if let Some(entered) = enter(book, entry.time(), entry.sequence(), kind, body, None) {
            changed.extend(entered.replaced);
            changed.insert(entered.alert);
        }
    }
    changed
}

impl Inner {
    fn read(&mut self, records: &Arc<Ring>) {
        let Some(stored) = self.state.take_stored() else { return };
        let records = Reader::of_ring(Arc::clone(records), Signal::Alert);
        self.unsaved = read_book(&mut self.book, &stored, &records);
        self.counted = records.next_sequence() - 1;
    }

    /// Notes that an alert was raised, and stores it if it fires since then, or at once.
    fn note(&mut self, entered: Entered, now: UnixNanos, at_once: bool) {
        if !self.state.is_kept() {
            return;
        }
        self.unsaved.extend(entered.replaced);
        self.unsaved.insert(entered.alert);
        self.unsaved_raises += 1;
        if at_once || entered.raised == Raised::Fires || self.unsaved_raises >= UNSAVED {
            // What cannot be stored now is stored with the next, or counted again from the guest's records.
            self.save(now);
        }
    }

    /// Stores what is not stored yet. Tells whether all of it is.
    fn save(&mut self, now: UnixNanos) -> bool {
        self.unsaved_raises = 0;
        let Self { book, state, counted, unsaved, .. } = self;
        let stored = state.save(now, unsaved, *counted, |buffer, id| match book.get(id) {
            Some(alert) => put_alert(buffer, alert),
            None => put_gone(buffer, KIND_STATE_ALERT_GONE, &id.0),
        });
        if state.is_whole_due() {
            state.store_whole(now, *counted, |state| {
                book.all().all(|alert| state.store(now, |buffer| put_alert(buffer, alert)))
            });
        }
        stored
    }
}
