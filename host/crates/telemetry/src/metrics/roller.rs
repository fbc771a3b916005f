//! The thread that makes rollups, beside the keeper: whoever records pays nothing for them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use glasshouse_model::Clock;

use super::follower::Follower;
use crate::keeper::NICENESS;
use crate::store::Store;
use crate::thresholds::Watch;

/// How often samples are looked at: often enough that a second's rollup is there soon after it, and that a ring in memory holds what came
/// meanwhile.
const EVERY: Duration = Duration::from_millis(200);

enum Order {
    /// To follow the samples of a store until it is dropped.
    Follow(Weak<Store>),
    /// To say when all that is stored was looked at.
    Settle(Sender<()>),
    Stop,
}

/// The thread, which ends with this.
pub(crate) struct Roller {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Roller {
    pub(crate) fn start(clock: Arc<dyn Clock>) -> Self {
        let (orders, taken) = channel();
        // Without the thread there are no rollups, and samples answer for themselves.
        let thread = Builder::new().name("roller".into()).spawn(move || run(&taken, &*clock)).ok();
        Self { orders, thread }
    }

    /// Makes the rollups of a store.
    pub(crate) fn follow(&self, store: &Arc<Store>) {
        let _ = self.orders.send(Order::Follow(Arc::downgrade(store)));
    }

    /// Waits until all that is stored was looked at.
    pub(crate) fn settle(&self) {
        let (done, settled) = channel();
        let _ = self.orders.send(Order::Settle(done));
        // An answer, or the end of whoever would give it.
        let _ = settled.recv();
    }
}

impl Drop for Roller {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // What it had to say, it has said in the log.
            let _ = thread.join();
        }
    }
}

fn run(orders: &Receiver<Order>, clock: &dyn Clock) {
    // Refused where the system does not let a thread lower itself.
    let _ = rustix::process::nice(NICENESS);
    let mut followers: Vec<(Follower, Watch)> = Vec::new();
    let follow = |followers: &mut Vec<(Follower, Watch)>| {
        followers.retain_mut(|(follower, watch)| {
            let now = clock.now();
            let goes_on = follower.follow(now);
            if let Some(store) = follower.store() {
                watch.look(&store, now);
            }
            goes_on
        });
    };
    loop {
        match orders.recv_timeout(EVERY) {
            Ok(Order::Follow(store)) => {
                followers.extend(store.upgrade().as_ref().map(|store| (Follower::new(store), Watch::default())))
            }
            Ok(Order::Settle(done)) => {
                follow(&mut followers);
                // Whoever waited may have gone.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => follow(&mut followers),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    follow(&mut followers);
}
