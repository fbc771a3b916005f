//! Records of what is refused or taken away, of which there are so many at once and then one at a time: whoever tries without end drives no
//! other record out of the host's log. Each says how many others there were since the one before.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::pace::{CLIENTS, Pace};

/// Records at once, and how long one of them counts: 1,440 a day, so that what the host's log holds lasts a week of that.
const RECORDS: (u32, Duration) = (20, Duration::from_mins(1));

/// What was done by whom, as far as records are kept of it: 20 at once, and then one a minute.
pub struct Tally<K> {
    pace: Pace<K>,
    /// How many have left no record since the last one that has. Those beyond as many as are told apart share what one has.
    untold: Mutex<HashMap<Option<K>, u64>>,
}

impl<K: Hash + Eq + Clone> Tally<K> {
    /// Nothing was noted yet.
    pub fn new() -> Self {
        Self { pace: Pace::new(RECORDS.0, RECORDS.1), untold: Mutex::default() }
    }

    /// Notes that something was done by somebody, or refused to them. If there is to be a record of it, how many others it stands for.
    pub fn note(&self, whom: K, now: Instant) -> Option<u64> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if self.pace.take(whom.clone(), now).is_ok() {
            return Some(untold.remove(&Some(whom)).unwrap_or_default() + untold.remove(&None).unwrap_or_default());
        }
        let is_told_apart = untold.len() < CLIENTS || untold.contains_key(&Some(whom.clone()));
        *untold.entry(is_told_apart.then_some(whom)).or_default() += 1;
        None
    }
}

impl<K: Hash + Eq + Clone> Default for Tally<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_few_and_count_what_has_none() {
        let (tally, start) = (Tally::new(), Instant::now());
        let told: Vec<_> = (0..1000).filter_map(|_| tally.note("one", start)).collect();
        assert_eq!(told, [0; 20]);
        assert_eq!(tally.note("other", start), Some(0), "others are not counted with it");
        assert_eq!(tally.note("one", start + RECORDS.1), Some(980));
        assert_eq!(tally.note("one", start + RECORDS.1), None);
        assert_eq!(tally.note("one", start + 3 * RECORDS.1), Some(1));
    }

    #[test]
    fn however_many_are_refused_all_are_counted_and_take_bounded_room() {
        let (tally, start) = (Tally::new(), Instant::now());
        let mut told = 0;
        for client in 0..CLIENTS + 50 {
            for _ in 0..22 {
                told += u64::from(tally.note(client, start).is_some());
            }
        }
        assert!(tally.untold.lock().expect("nobody panics").len() <= CLIENTS + 1);
        let untold: u64 = tally.untold.lock().expect("nobody panics").values().sum();
        assert_eq!(told + untold, 22 * (CLIENTS as u64 + 50));
    }
}
