//! A thread that goes round all stores of a host, again and again, beside those who write to them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use glasshouse_model::Clock;

use crate::keeper::NICENESS;
use crate::store::Store;

/// What is done for one store in each round.
pub(crate) trait Round: Send {
    /// Does it.
    fn go(&mut self, store: &Arc<Store>, clock: &dyn Clock);
}

/// Makes what is done for a store.
pub(crate) type MakeRound = fn(&Arc<Store>) -> Box<dyn Round>;

enum Order {
    /// To go to a store as well, until it is dropped.
    Follow(Weak<Store>),
    /// To say when all stores were gone to.
    Settle(Sender<()>),
    Stop,
}

/// The thread, which ends with this.
pub(crate) struct Rounds {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Rounds {
    /// Starts a thread of that name, which goes round as often.
    pub(crate) fn start(name: &str, every: Duration, clock: Arc<dyn Clock>, make: MakeRound) -> Self {
        let (orders, taken) = channel();
        // Without the thread what it does is not done, and nobody waits for it.
        let thread = Builder::new().name(name.into()).spawn(move || run(&taken, every, &*clock, make)).ok();
        Self { orders, thread }
    }

    /// Goes to a store as well.
    pub(crate) fn follow(&self, store: &Arc<Store>) {
        let _ = self.orders.send(Order::Follow(Arc::downgrade(store)));
    }

    /// Waits until all stores were gone to.
    pub(crate) fn settle(&self) {
        let (done, settled) = channel();
        let _ = self.orders.send(Order::Settle(done));
        // An answer, or the end of whoever would give it.
        let _ = settled.recv();
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // What it had to say, it has said in the log.
            let _ = thread.join();
        }
    }
}

fn run(orders: &Receiver<Order>, every: Duration, clock: &dyn Clock, make: MakeRound) {
    // Refused where the system does not let a thread lower itself.
    let _ = rustix::process::nice(NICENESS);
    let mut stores: Vec<(Weak<Store>, Box<dyn Round>)> = Vec::new();
    let go_round = |stores: &mut Vec<(Weak<Store>, Box<dyn Round>)>| {
        stores.retain_mut(|(store, round)| {
            let Some(store) = store.upgrade() else { return false };
            round.go(&store, clock);
            true
        });
    };
    loop {
        match orders.recv_timeout(every) {
            Ok(Order::Follow(store)) => {
                let round = store.upgrade().as_ref().map(make);
                stores.extend(round.map(|round| (store, round)));
            }
            Ok(Order::Settle(done)) => {
                go_round(&mut stores);
                // Whoever waited may have gone.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => go_round(&mut stores),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    go_round(&mut stores);
}
