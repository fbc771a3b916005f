//! All alerts of an extension, in bounded number.

use std::collections::{HashMap, VecDeque};

use glasshouse_model::{AlertId, Origin, UnixNanos, limits, text};

use crate::thresholds::THRESHOLDS;

use super::alert::{Alert, AlertCause, AlertState, Raise, Raised};

/// Alerts of an extension that are told apart, of its own and of the host's about it each. A person can look after a handful; a
/// guest that makes a new one each time takes some 100 KiB.
pub const ALERTS: usize = 64;
/// Beyond these: the host's alerts that there are few of, so that groups of errors without end do not hide that an extension is
/// quarantined. There is one for each budget that it can break, for a burst, and for each threshold of a metric.
const RESERVED: usize = 16 + THRESHOLDS;
/// The name of the alert that counts all for which there was no room.
const OVERFLOW: &str = "overflow";
const OVERFLOW_TITLE: &str = "alerts of further names, for which there was no room";
/// How long an alert is kept after it is over, when there is no room for a new one.
const KEPT_NANOS: u64 = 24 * 3_600_000_000_000;
/// Bytes of a title, and of a message: what is shown in lists. The record has the whole of it.
const TITLE_BYTES: usize = 160;
const MESSAGE_BYTES: usize = 512;
/// Labels of an alert; those that are raised now have two at most.
pub(crate) const LABELS: usize = 8;

/// Why an alert was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// There is none of that id.
    #[error("there is no such alert")]
    Unknown,
    /// It is over already.
    #[error("it does not fire: it was over already")]
    NotFiring,
    /// The system has no memory or no room for the record of it.
    #[error("there is no room to store that it is resolved")]
    NotStored,
}

/// Alerts by their ids.
#[derive(Debug)]
pub(crate) struct Book {
    /// The extension, as a part of the ids.
    extension: String,
    /// The ids of what counts the guest's and the host's surplus.
    overflow: [AlertId; 2],
    alerts: HashMap<AlertId, Alert>,
    /// The one that was raised last, and so is likely to be the next one as well: to find it again takes no digest.
    latest: Option<AlertId>,
}

/// What raising an alert did to its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) alert: AlertId,
    pub(crate) raised: Raised,
    /// The alert that went to make room for a new one.
    pub(crate) replaced: Option<AlertId>,
}

/// The id of an alert: of all that makes it the same, each part with its length, so that no two lists of parts are alike.
fn id(extension: &str, origin: Origin, name: &str, labels: &[(&str, &str)]) -> AlertId {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(extension);
    part(origin.as_str());
    part(name);
    for (name, value) in labels {
        part(name);
        part(value);
    }
    AlertId(hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default())
}

impl Book {
    pub(crate) fn new(extension: &str) -> Self {
        // No alert that is raised has a label without a name.
        let overflow = [Origin::Guest, Origin::Host].map(|origin| id(extension, origin, OVERFLOW, &[("", "")]));
        Self { extension: extension.to_owned(), overflow, alerts: HashMap::new(), latest: None }
    }

    /// Notes that an alert is raised; `None` if its record is counted already, as may be where records are read again.
    pub(crate) fn raise(&mut self, raise: &Raise<'_>) -> Option<Entered> {
        let cut: Vec<_> = raise.labels.iter().take(LABELS).map(|(name, value)| (short(name), short(value))).collect();
        let raise = Raise {
            name: short(raise.name),
            labels: &cut,
            title: text::cut(raise.title, TITLE_BYTES),
            message: text::cut(raise.message, MESSAGE_BYTES),
            ..*raise
        };
        let own = self.id_of(raise.origin, raise.name, raise.labels);
        let mut replaced = None;
        let room = if raise.is_one_of_few { ALERTS + RESERVED } else { ALERTS };
        let has_room = self.alerts.contains_key(&own) || self.count(raise.origin) < room || {
            replaced = self.make_room(raise.origin, raise.at);
            replaced.is_some()
        };
        if has_room {
            self.latest = Some(own);
            return self.enter(own, &raise, replaced);
        }
        let overflow = self.overflow[usize::from(raise.origin == Origin::Host)];
        let surplus = Raise {
            name: OVERFLOW,
            labels: &[],
            title: OVERFLOW_TITLE,
            message: "",
            // Figures of one of many say nothing, and there is no cause whose end would be its end.
            value: None,
            threshold: None,
            quiet_nanos: raise.quiet_nanos.or(Some(KEPT_NANOS)),
            ..raise
        };
        self.enter(overflow, &surplus, None)
    }

    fn enter(&mut self, id: AlertId, raise: &Raise<'_>, replaced: Option<AlertId>) -> Option<Entered> {
        let alert = self.alerts.entry(id).or_insert_with(|| empty(id, raise));
        if raise.record != 0 && alert.last_record >= raise.record {
            return None;
        }
        Some(Entered { alert: id, raised: alert.raise(raise), replaced })
    }

    fn id_of(&self, origin: Origin, name: &str, labels: &[(&str, &str)]) -> AlertId {
        let latest = self.latest.and_then(|id| self.alerts.get(&id));
        match latest.filter(|alert| alert.is_of(origin, name, labels)) {
            Some(alert) => alert.id,
            None => id(&self.extension, origin, name, labels),
        }
    }

    /// The alerts of an origin, the overflow not included.
    fn count(&self, origin: Origin) -> usize {
        self.alerts.values().filter(|alert| alert.origin == origin && !self.is_overflow(alert)).count()
    }

    fn is_overflow(&self, alert: &Alert) -> bool {
        self.overflow.contains(&alert.id)
    }

    /// Drops the alert of an origin that is over for longest, if that is a day; never the overflow, which takes no room.
    fn make_room(&mut self, origin: Origin, now: UnixNanos) -> Option<AlertId> {
        let overflow = self.overflow;
        let oldest = self
            .alerts
            .values_mut()
            .filter(|alert| alert.origin == origin && !overflow.contains(&alert.id))
            .map(|alert| {
                alert.settle(now);
                &*alert
            })
            .filter(|alert| alert.state() == AlertState::Resolved)
            .filter(|alert| now.0.saturating_sub(alert.since().0) > KEPT_NANOS as i64)
            .min_by_key(|alert| (alert.since(), alert.id))?
            .id;
        self.alerts.remove(&oldest);
        Some(oldest)
    }

    /// Ends those of the host's alerts that `is_over` says so of; gives their ids.
    pub(crate) fn recover(&mut self, at: UnixNanos, note: &str, is_over: impl Fn(&Alert) -> bool) -> Vec<AlertId> {
        let over = self.alerts.values_mut().filter(|alert| alert.origin == Origin::Host && is_over(alert));
        over.filter_map(|alert| alert.resolve(at, AlertCause::Recovered, "", note).then_some(alert.id)).collect()
    }

    /// Ends an alert by hand.
    pub(crate) fn resolve(&mut self, id: AlertId, at: UnixNanos, by: &str, note: &str) -> Result<&Alert, AlertError> {
        let alert = self.alerts.get_mut(&id).ok_or(AlertError::Unknown)?;
        if alert.resolve(at, AlertCause::ByHand, by, note) { Ok(alert) } else { Err(AlertError::NotFiring) }
    }

    pub(crate) fn get(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// How long the guest's alert that a record raises fires if it is quiet, where that is known.
    pub(crate) fn quiet_nanos_of(&self, origin: Origin, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        self.get(self.id_of(origin, name, labels))?.quiet_nanos
    }

    /// Takes an alert as it was stored; a damaged store has no more of them either.
    pub(crate) fn put(&mut self, alert: Alert) {
        let known = self.alerts.contains_key(&alert.id) || self.is_overflow(&alert);
        if known || self.count(alert.origin) < ALERTS + RESERVED {
            self.alerts.insert(alert.id, alert);
        }
    }

    pub(crate) fn remove(&mut self, id: AlertId) {
        self.alerts.remove(&id);
    }

    /// Forgets which records from a sequence number on were counted: other records have those numbers now.
    pub(crate) fn forget_from(&mut self, sequence: u64) {
        for alert in self.alerts.values_mut() {
            alert.last_record = alert.last_record.min(sequence - 1);
        }
    }
}

fn short(name: &str) -> &str {
    text::cut(name, limits::NAME_BYTES)
}

/// An alert that was never raised.
fn empty(id: AlertId, raise: &Raise<'_>) -> Alert {
    Alert {
        id,
        origin: raise.origin,
        name: raise.name.to_owned(),
        labels: raise.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        severity: raise.severity,
        title: String::new(),
        message: String::new(),
        value: None,
        threshold: None,
        first_raised: raise.at,
        last_raised: raise.at,
        raised: 0,
        fired: 0,
        fired_nanos: 0,
        longest_nanos: 0,
        quiet_nanos: None,
        last_record: 0,
        history: VecDeque::new(),
    }
}
