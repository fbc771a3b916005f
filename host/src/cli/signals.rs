//! Ctrl-C and SIGTERM: the first one asks for an end in order, the second one ends at once.

use std::io;

use tokio::sync::watch;

use super::INTERRUPTED;
use crate::output;

/// Tells whether the end was asked for.
#[derive(Clone)]
pub(crate) struct Stop(watch::Sender<bool>);

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        Self::listen_and_say("stopping: calls in flight are finished first; again to stop at once")
    }

    /// The same, with what is said when the end is asked for.
    pub(crate) fn listen_and_say(note: &'static str) -> io::Result<Self> {
        let stop = Self(watch::Sender::new(false));
        let mut signals = Signals::listen()?;
        let asked = stop.clone();
        tokio::spawn(async move {
            signals.next().await;
            asked.request();
            output::note(note);
            signals.next().await;
            std::process::exit(INTERRUPTED);
        });
        Ok(stop)
    }

    /// Asks for the end.
    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether the end was asked for.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the end is asked for.
    pub(crate) async fn requested(&self) {
        // The sender is in `self`, so this does not fail.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}

/// Both signals, as they come.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
