//! Ends debug sessions when their time is over, and with their host: one task for all extensions of a host.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::extension::Extension;

/// The shortest wait, so that a clock that stands still or goes slowly does not keep the task busy.
const SHORTEST: Duration = Duration::from_millis(1);

/// Ends sessions in time. With it end all that are active.
pub(crate) struct Expiry {
    extensions: Vec<Extension>,
    task: JoinHandle<()>,
}

impl Expiry {
    /// Looks after the sessions of these extensions; `wake` is notified when one was started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(extensions: Vec<Extension>, wake: Arc<Notify>) -> Self {
        let watched = extensions.clone();
        let task = tokio::spawn(async move {
            loop {
                // Whoever looks at the sessions of an extension ends those that are over.
                let next = watched.iter().filter_map(Extension::next_session_end).min();
                match next {
                    Some(left) => drop(tokio::time::timeout(left.max(SHORTEST), wake.notified()).await),
                    None => wake.notified().await,
                }
            }
        });
        Self { extensions, task }
    }

    /// Ends all sessions, since the host does.
    pub(crate) fn finish(&self) {
        self.task.abort();
        self.extensions.iter().for_each(Extension::end_all);
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.finish();
    }
}
