//! What tests of this crate share.

use std::sync::atomic::{AtomicI64, Ordering};

use glasshouse_model::{Clock, UnixNanos};

/// A clock that shows what it is set to.
#[derive(Default)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn at(nanos: i64) -> Self {
        Self(AtomicI64::new(nanos))
    }

    pub(crate) fn set(&self, nanos: i64) {
        self.0.store(nanos, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed) as u64
    }
}
