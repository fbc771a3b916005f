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

    /// Bytes that may be taken.
    pub(crate) fn most(&self) -> u64 {
        self.most
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

/// Which bound leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The ring's or its extension's.
    Own,
    /// The host's.
    Host,
}

/// The three bounds that a ring's files stay within.
#[derive(Debug)]
pub(crate) struct RingAllowance {
    pub(crate) ring: Allowance,
    pub(crate) extension: Arc<Allowance>,
    pub(crate) host: Arc<Allowance>,
}

impl RingAllowance {
    /// The least of the three.
    pub(crate) fn most(&self) -> u64 {
        self.all().iter().map(|allowance| allowance.most).min().unwrap_or_default()
    }

    fn all(&self) -> [&Allowance; 3] {
        [&self.ring, &self.extension, &self.host]
    }

    /// Takes so many bytes of all three, or of none; then it tells which bound refuses.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Refusal> {
        for (index, allowance) in self.all().into_iter().enumerate() {
            if !allowance.take(bytes) {
                self.all()[..index].iter().for_each(|taken| taken.give_back(bytes));
                return Err(if index < 2 { Refusal::Own } else { Refusal::Host });
            }
        }
        Ok(())
    }

    pub(crate) fn take_anyway(&self, bytes: u64) {
        self.all().iter().for_each(|allowance| allowance.take_anyway(bytes));
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.all().iter().for_each(|allowance| allowance.give_back(bytes));
    }

    /// Whether more is taken than is allowed, by the ring or its extension, or by all of the host: a bound was lowered since the last start.
    pub(crate) fn is_exceeded(&self) -> Option<Refusal> {
        if self.ring.is_exceeded() || self.extension.is_exceeded() {
            Some(Refusal::Own)
        } else {
            self.host.is_exceeded().then_some(Refusal::Host)
        }
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
        assert_eq!((small.take(30), small.take(1)), (Ok(()), Err(Refusal::Own)));
        assert_eq!((large.take(30), large.take(1)), (Ok(()), Err(Refusal::Own)), "the extension's bound is reached");
        assert_eq!((host.taken(), extension.taken(), large.ring.taken()), (60, 60, 30));
        small.give_back(30);
        assert_eq!((large.take(30), large.is_exceeded()), (Ok(()), None));
        large.take_anyway(1);
        assert_eq!(large.is_exceeded(), Some(Refusal::Own));
        let other = RingAllowance {
            ring: Allowance::new(1000),
            extension: Arc::new(Allowance::new(1000)),
            host: Arc::clone(&host),
        };
        assert_eq!((other.take(39), other.take(1)), (Ok(()), Err(Refusal::Host)));
        other.take_anyway(1);
        assert_eq!(other.is_exceeded(), Some(Refusal::Host));
    }
}
