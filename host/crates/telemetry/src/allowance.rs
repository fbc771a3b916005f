//! How many bytes on the disk a ring may have: within its own bound, its extension's and the host's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes of which parts are taken and given back.
#[derive(Debug)]
pub(crate) struct Allowance {
    most: u64,
    taken: AtomicU64,
}

impl Allowance {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, taken: AtomicU64::new(0) }
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes what is there already, though it may be more than is allowed.
    fn take_anyway(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn is_exceeded(&self) -> bool {
        self.is_exceeded_without(0)
    }

    /// Whether more is taken than is allowed, and will be when so many bytes are given back.
    pub(crate) fn is_exceeded_without(&self, bytes: u64) -> bool {
        self.taken().saturating_sub(bytes) > self.most
    }
}

/// The three bounds that a ring's files stay within.
#[derive(Debug)]
pub(crate) struct RingAllowance {
    pub(crate) ring: Allowance,
    pub(crate) extension: Arc<Allowance>,
    pub(crate) host: Arc<Allowance>,
}

impl RingAllowance {
    fn all(&self) -> [&Allowance; 3] {
        [&self.ring, &self.extension, &self.host]
    }

    /// Takes so many bytes of all three, or of none.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        for (index, allowance) in self.all().into_iter().enumerate() {
            if !allowance.take(bytes) {
                self.all()[..index].iter().for_each(|taken| taken.give_back(bytes));
                return false;
            }
        }
        true
    }

    pub(crate) fn take_anyway(&self, bytes: u64) {
        self.all().iter().for_each(|allowance| allowance.take_anyway(bytes));
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.all().iter().for_each(|allowance| allowance.give_back(bytes));
    }

    /// Whether more is taken than is allowed: a bound was lowered since the last start.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.all().iter().any(|allowance| allowance.is_exceeded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_bound_refuses_is_taken_of_none() {
        let host = Arc::new(Allowance::new(100));
        let extension = Arc::new(Allowance::new(60));
        let ring = |most| RingAllowance {
            ring: Allowance::new(most),
            extension: Arc::clone(&extension),
            host: Arc::clone(&host),
        };
        let (small, large) = (ring(30), ring(1000));
        assert!(small.take(30) && !small.take(1));
        assert!(large.take(30) && !large.take(1), "the extension's bound is reached");
        assert_eq!((host.taken(), extension.taken(), large.ring.taken()), (60, 60, 30));
        small.give_back(30);
        assert!(large.take(30));
        large.take_anyway(1);
        assert!(large.is_exceeded());
    }
}
