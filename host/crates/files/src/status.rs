//! How the writing of log files goes.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the writing of log files goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilesStatus {
    /// The folder that they are in.
    pub folder: PathBuf,
    /// Why nothing can be written at present; `None` if all is well.
    pub failure: Option<String>,
    /// Records that are still to be written.
    pub behind: u64,
    /// Records that were evicted, or damaged, before they could be written, since the host was started.
    pub missed: u64,
    /// Messages of the host itself that had no room, since it was started.
    pub dropped: u64,
}

/// What the writer's thread tells others.
#[derive(Default)]
pub(crate) struct Shared {
    failure: Mutex<Option<Failure>>,
    pub(crate) behind: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

struct Failure {
    why: String,
    /// What had been missed before.
    missed: u64,
}

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failure().is_some()
    }

    /// Notes that writing failed; whether it is the first time since it went well.
    pub(crate) fn fails(&self, why: &io::Error) -> bool {
        let mut failure = self.failure();
        let is_first = failure.is_none();
        let missed = failure.take().map_or_else(|| self.missed.load(Ordering::Relaxed), |failure| failure.missed);
        *failure = Some(Failure { why: why.to_string(), missed });
        is_first
    }

    /// Notes that writing went well; if it had failed before, how many records were missed meanwhile.
    pub(crate) fn works(&self) -> Option<u64> {
        let before = self.failure().take()?;
        Some(self.missed.load(Ordering::Relaxed).saturating_sub(before.missed))
    }

    pub(crate) fn status(&self, folder: PathBuf) -> LogFilesStatus {
        LogFilesStatus {
            folder,
            failure: self.failure().as_ref().map(|failure| failure.why.clone()),
            behind: self.behind.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
