//! A thread that goes round all stores of a host, again and again, beside those who write to them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
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

/// A store, and what is done for it until it is dropped.
type Followed = (Weak<Store>, Box<dyn Round>);

enum Order {
    /// To say when all stores were gone to.
    Settle(Sender<()>),
    Stop,
}

/// The thread, which ends with this.
pub(crate) struct Rounds {
    orders: Sender<Order>,
    /// Stores that the next round is to go to as well, as many as come within one. The thread is not woken for each: an extension that starts needs the processors.
    newcomers: Arc<Mutex<Vec<Followed>>>,
    make: MakeRound,
    thread: Option<JoinHandle<()>>,
}

impl Rounds {
    /// Starts a thread of that name, which goes round as often.
    pub(crate) fn start(name: &str, every: Duration, clock: Arc<dyn Clock>, make: MakeRound) -> Self {
        let (orders, taken) = channel();
        let newcomers = Arc::<Mutex<Vec<_>>>::default();
        let come = Arc::clone(&newcomers);
        // Without the thread what it does is not done, and nobody waits for it.
        let thread = Builder::new().name(name.into()).spawn(move || run(&taken, every, &*clock, &come)).ok();
        Self { orders, newcomers, make, thread }
    }

    /// Goes to a store as well, from the next round on.
    pub(crate) fn follow(&self, store: &Arc<Store>) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            let followed = (Arc::downgrade(store), (self.make)(store));
            self.newcomers.lock().unwrap_or_else(PoisonError::into_inner).push(followed);
        }
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

fn run(orders: &Receiver<Order>, every: Duration, clock: &dyn Clock, newcomers: &Mutex<Vec<Followed>>) {
    // Refused where the system does not let a thread lower itself.
    let _ = rustix::process::nice(NICENESS);
    let mut stores: Vec<Followed> = Vec::new();
    let go_round = |stores: &mut Vec<Followed>| {
        stores.append(&mut newcomers.lock().unwrap_or_else(PoisonError::into_inner));
        stores.retain_mut(|(store, round)| {
            let Some(store) = store.upgrade() else { return false };
            round.go(&store, clock);
            true
        });
    };
    loop {
        match orders.recv_timeout(every) {
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
