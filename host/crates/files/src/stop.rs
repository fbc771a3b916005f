//! How the threads that write and keep log files are called, and told to stop.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a thread is told, and waits for.
#[derive(Default)]
pub(crate) struct Stop {
    told: Mutex<Told>,
    news: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Told {
    /// To look at once.
    look: bool,
    /// To do what is left, and end.
    finish: bool,
    /// To end at once.
    end: bool,
}

impl Stop {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told());
        self.news.notify_all();
    }

    /// Calls who waits.
    pub(crate) fn call(&self) {
        self.tell(|told| told.look = true);
    }

    /// Tells to do what is left, and to end then.
    pub(crate) fn finish(&self) {
        self.tell(|told| told.finish = true);
    }

    /// Tells to end at once.
    pub(crate) fn end(&self) {
        self.tell(|told| told.end = true);
    }

    /// Whether it is told to end at once.
    pub(crate) fn is_over(&self) -> bool {
        self.told().end
    }

    /// Whether it is told to end, at once or when all is done.
    pub(crate) fn is_finishing(&self) -> bool {
        let told = self.told();
        told.finish || told.end
    }

    /// Waits for so long, or until somebody calls or tells.
    pub(crate) fn wait(&self, limit: Duration) {
        let waited = self.news.wait_timeout_while(self.told(), limit, |told| !(told.look || told.finish || told.end));
        let (mut told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        told.look = false;
    }

    /// Waits until then, unless it is told to end at once; whether it is.
    pub(crate) fn wait_until(&self, then: Instant) -> bool {
        let limit = then.saturating_duration_since(Instant::now());
        let waited = self.news.wait_timeout_while(self.told(), limit, |told| !told.end);
        waited.unwrap_or_else(PoisonError::into_inner).0.end
    }
}
