//! Records of orders that were done, or may have been, since they failed or were given up: each by itself while they are few, and then counted, by what was ordered and by whom. Whoever may give orders, and gives them
//! without end, drives no older record out of the host's log, and none of what they did is left out of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use glasshouse_client::api::ROOT;

use super::guard::Peer;
use super::pace::{CLIENTS, Pace};
use crate::{OtherOrders, Served, became};

/// Records of orders of a token at once, and how long one of them counts: a busy hour of somebody at a dashboard, and 1,440 a day.
const RECORDS: (u32, Duration) = (100, Duration::from_mins(1));
/// How long orders without a record of their own wait for the one that counts them.
const WAIT: Duration = Duration::from_mins(1);
/// Different orders of a token that are told apart between two records: what is ordered of which extension.
const KINDS: usize = 32;

/// Orders that were not refused, by the token that they came with: all of a socket, or without a token, are one user's.
pub(crate) struct Orders {
    control: Arc<dyn Served>,
    pace: Pace<Option<Arc<str>>>,
    untold: Mutex<Untold>,
}

/// Orders that are still to be told of.
#[derive(Default)]
struct Untold {
    by: HashMap<Option<Arc<str>>, Several>,
    /// Whether somebody has them told soon.
    is_awaited: bool,
}

/// Orders of one token.
struct Several {
    /// Who gave the last of them.
    by: Arc<str>,
    kinds: BTreeMap<String, u64>,
    /// How many are of further kinds.
    others: u64,
}

impl Orders {
    pub(crate) fn new(control: Arc<dyn Served>) -> Arc<Self> {
        let pace = Pace::new(RECORDS.0, RECORDS.1);
        Arc::new(Self { control, pace, untold: Mutex::default() })
    }

    /// Notes an order. Returns whether it gets a record of its own; if not, one that counts it and others comes within a minute, or when the host ends.
    pub(crate) fn note(self: &Arc<Self>, peer: &Peer, what: &str, now: Instant) -> bool {
        if self.pace.take(peer.token.clone(), now).is_ok() {
            return true;
        }
        let mut untold = self.untold();
        // There are fewer tokens than this.
        if untold.by.len() >= CLIENTS && !untold.by.contains_key(&peer.token) {
            return true;
        }
        let several = untold.by.entry(peer.token.clone()).or_insert_with(|| Several {
            by: Arc::clone(&peer.name),
            kinds: BTreeMap::new(),
            others: 0,
        });
        several.by = Arc::clone(&peer.name);
        if let Some(count) = several.kinds.get_mut(what) {
            *count += 1;
        } else if several.kinds.len() < KINDS {
            several.kinds.insert(what.to_owned(), 1);
        } else {
            several.others += 1;
        }
        // Outside of a runtime the host ends, and has them told then.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !std::mem::replace(&mut untold.is_awaited, true)
        {
            let orders = Arc::downgrade(self);
            runtime.spawn(async move {
                tokio::time::sleep(WAIT).await;
                orders.upgrade().iter().for_each(|orders| orders.tell());
            });
        }
        false
    }

    /// Leaves a record for each token of those that have none.
    fn tell(&self) {
        let Untold { by, .. } = std::mem::take(&mut *self.untold());
        for several in by.into_values() {
            let count = several.kinds.values().sum::<u64>() + several.others;
            self.control.audit_others(&OtherOrders { by: &several.by, count, what: &several.told() });
        }
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Several {
    /// The orders, those that were given the most often first.
    fn told(&self) -> String {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut text = String::new();
        for (what, count) in kinds {
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{separator}{what} ({count} times)");
        }
        if self.others > 0 {
            let _ = write!(text, " and {} others", self.others);
        }
        text
    }
}

/// What was ordered, by a path such as `/api/.../sessions/{extension}/{session}/stop`: without the id of a part of an extension, since there is no end of these; and
/// what became of it, if it was not just done.
pub(crate) fn kind(method: &str, path: &str, status: u16) -> String {
    let below = path.strip_prefix(ROOT).unwrap_or(path);
    let mut kind = match below.splitn(6, '/').collect::<Vec<_>>()[..] {
        ["", area, extension, _, verb] => format!("{method} {ROOT}/{area}/{extension}/*/{verb}"),
        _ => format!("{method} {path}"),
    };
    if status >= 400 {
        let _ = write!(kind, " {}", became(status));
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ordered_is_told_apart_by_extension_and_not_by_what_there_is_no_end_of() {
        let check = |path: &str, expect: &str| {
            assert_eq!(kind("POST", &format!("{ROOT}{path}"), 200), format!("POST {ROOT}{expect}"));
        };
        check("/managers/a/stop", "/managers/a/stop");
        check("/call/a", "/call/a");
        check("/sessions/a/0123/stop", "/sessions/a/*/stop");
        check("/a/b/c/d/e", "/a/b/c/d/e");
    }

    #[test]
    fn what_failed_or_was_given_up_is_not_told_as_done() {
        let check = |status: u16, expect: &str| {
            assert_eq!(kind("POST", "/a", status), format!("POST /a{expect}"), "{status}");
        };
        check(202, "");
        check(499, " given up by its sender before it was answered");
        check(500, " failed with 500");
        check(503, " failed with 503");
        assert_eq!((&*became(204), &*became(409)), ("done", "refused"));
    }

    #[test]
    fn what_has_no_record_is_counted_by_kind_the_most_frequent_first() {
        let kinds = [("POST /a".to_owned(), 2), ("POST /b".to_owned(), 30)].into();
        let several = Several { by: "ada".into(), kinds, others: 4 };
        assert_eq!(several.told(), "POST /b (30 times), POST /a (2 times) and 4 others");
    }
}
