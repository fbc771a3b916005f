//! Who gives way once all bytes that the host may keep are taken: whoever has most of them, down to an equal part. So no extension's flood
//! takes from another what that has a right to.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crate::allowance::{Allowance, RingAllowance};
use crate::ring::Ring;

/// How often the keeper asks a ring that is being written to: an append takes less than a microsecond. A guest's thread asks once, and
/// goes on in memory.
pub(crate) const TRIES: usize = 100;

/// The extensions of a host, and what they have on its disk.
#[derive(Default)]
pub(crate) struct Shares(Mutex<Vec<Share>>);

struct Share {
    telemetry: Arc<Allowance>,
    state: Arc<Allowance>,
    /// Those of its telemetry: its state never gives way.
    rings: Vec<Weak<Ring>>,
}

/// What came of asking others for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A file has gone.
    Given,
    /// Nobody with more than an equal part has anything to give, or who asks would have more: it has to do with what it has.
    Refused,
    /// Those who should give way were busy.
    Busy,
}

impl Share {
    fn bytes(&self) -> u64 {
        self.telemetry.taken() + self.state.taken()
    }

    fn is_gone(&self) -> bool {
        self.rings.iter().all(|ring| ring.strong_count() == 0)
    }
}

impl Shares {
    /// Adds an extension: what its telemetry and its state have taken, and the rings of its telemetry.
    pub(crate) fn add<'r>(
        &self,
        telemetry: Arc<Allowance>,
        state: Arc<Allowance>,
        rings: impl Iterator<Item = &'r Arc<Ring>>,
    ) {
        let rings = rings.map(Arc::downgrade).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Share { telemetry, state, rings });
    }

    /// Whether the extension with this allowance for its telemetry would have more than an equal part with so many more bytes.
    pub(crate) fn is_over(&self, allowance: &RingAllowance, bytes: u64) -> bool {
        let (shares, part) = self.living(allowance);
        let mut asking = shares.iter().filter(|share| Arc::ptr_eq(&share.telemetry, &allowance.extension));
        asking.any(|share| share.bytes() + bytes > part)
    }

    /// Has the extension with the most bytes give up the oldest file of its largest ring, for one that needs so many bytes; while that is
    /// busy, it is asked so many times.
    pub(crate) fn ask_others(&self, allowance: &RingAllowance, bytes: u64, tries: usize) -> Asked {
        if self.is_over(allowance, bytes) {
            return Asked::Refused;
        }
        for _ in 1..tries {
            match self.ask_once(allowance) {
                Asked::Busy => thread::yield_now(),
                answer => return answer,
            }
        }
        self.ask_once(allowance)
    }

    fn ask_once(&self, allowance: &RingAllowance) -> Asked {
        let rings: Vec<Vec<_>> = {
            let (shares, part) = self.living(allowance);
            let is_other = |share: &&Share| !Arc::ptr_eq(&share.telemetry, &allowance.extension);
            let mut over: Vec<_> = shares.iter().filter(is_other).filter(|share| share.bytes() > part).collect();
            over.sort_by_key(|share| Reverse(share.bytes()));
            over.iter().map(|share| share.rings.iter().filter_map(Weak::upgrade).collect()).collect()
        };
        for mut rings in rings {
            rings.sort_by_key(|ring: &Arc<Ring>| Reverse(ring.disk_bytes()));
            for ring in rings {
                match ring.give_up_oldest() {
                    Some(true) => return Asked::Given,
                    Some(false) => {}
                    // It is the one to give way: a smaller one is not to suffer for it.
                    None => return Asked::Busy,
                }
            }
        }
        Asked::Refused
    }

    /// The shares of those that are there, and what an equal part is.
    fn living(&self, allowance: &RingAllowance) -> (MutexGuard<'_, Vec<Share>>, u64) {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|share| !share.is_gone());
        let part = allowance.host.most() / (shares.len().max(1) as u64);
        (shares, part)
    }
}
