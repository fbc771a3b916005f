//! Who gives way once all bytes that the host may keep are taken: whoever has most of them, down to an equal part. So no extension's flood
//! takes from another what that has a right to.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use crate::allowance::{Allowance, RingAllowance};
use crate::ring::Ring;

/// How often a ring that is being written to is asked again: an append takes less than a microsecond.
const TRIES: usize = 100;

/// The extensions of a host, and what they have on its disk.
#[derive(Default)]
pub(crate) struct Shares(Mutex<Vec<Share>>);

struct Share {
    /// For its telemetry, and for its state.
    taken: [Arc<Allowance>; 2],
    rings: Vec<Weak<Ring>>,
}

/// What came of asking others for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A file has gone.
    Given,
    /// Nobody has more than an equal part, or who asks would have: it has to do with what it has.
    Refused,
    /// Those who should give way were busy.
    Busy,
}

impl Share {
    fn bytes(&self) -> u64 {
        self.taken.iter().map(|allowance| allowance.taken()).sum()
    }

    fn is_of(&self, allowance: &Arc<Allowance>) -> bool {
        self.taken.iter().any(|taken| Arc::ptr_eq(taken, allowance))
    }

    fn is_gone(&self) -> bool {
        self.rings.iter().all(|ring| ring.strong_count() == 0)
    }
}

impl Shares {
    /// Adds an extension: its allowances, and its rings in files.
    pub(crate) fn add<'r>(&self, taken: [Arc<Allowance>; 2], rings: impl Iterator<Item = &'r Arc<Ring>>) {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|share| !share.is_gone());
        shares.push(Share { taken, rings: rings.map(Arc::downgrade).collect() });
    }

    /// Whether who has this allowance would have more than an equal part with so many more bytes.
    pub(crate) fn is_over(&self, allowance: &RingAllowance, bytes: u64) -> bool {
        let shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = allowance.host.most() / (shares.len().max(1) as u64);
        shares.iter().find(|share| share.is_of(&allowance.extension)).is_none_or(|share| share.bytes() + bytes > part)
    }

    /// Has the extension with the most bytes give up the oldest file of its largest ring, for one that needs so many bytes.
    pub(crate) fn ask_others(&self, allowance: &RingAllowance, bytes: u64) -> Asked {
        if self.is_over(allowance, bytes) {
            return Asked::Refused;
        }
        let mut rings = {
            let shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let part = allowance.host.most() / (shares.len().max(1) as u64);
            let others = shares.iter().filter(|share| !share.is_of(&allowance.extension) && share.bytes() > part);
            let Some(largest) = others.max_by_key(|share| share.bytes()) else { return Asked::Refused };
            largest.rings.iter().filter_map(Weak::upgrade).collect::<Vec<_>>()
        };
        rings.sort_by_key(|ring| std::cmp::Reverse(ring.disk_bytes()));
        for _ in 0..TRIES {
            let mut is_busy = false;
            for ring in &rings {
                match ring.give_up_oldest() {
                    Some(true) => return Asked::Given,
                    Some(false) => {}
                    None => is_busy = true,
                }
            }
            if !is_busy {
                return Asked::Refused;
            }
            thread::yield_now();
        }
        Asked::Busy
    }
}
