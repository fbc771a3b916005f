//! The threads that do for all rings what no guest is to wait for: one makes files ahead, another one seals, compresses, cleans
//! up, syncs, and goes back to a disk that was full. A busy guest needs files while others are sealed, and sooner.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use glasshouse_model::Clock;

use crate::depot::{DepotSettings, Disk};
use crate::ring::Ring;

/// Bytes of records that are sealed in a second, at most: compressing them takes about a fifth of a processor.
const SEALED_PER_SECOND: f64 = 64.0 * 1024.0 * 1024.0;
/// How often a disk that failed is tried again.
const TRY_DISK_AGAIN: Duration = Duration::from_secs(1);
/// Rings that are sealed at once at the end: each waits for the disk more often than for a processor.
const SEALED_AT_ONCE: usize = 16;
/// How long that may take once more for the little that came after it.
const LAST_SEALS: Duration = Duration::from_secs(1);
/// How much lower than the guests' the priority of what is done in the background is.
pub(crate) const NICENESS: i32 = 5;

/// What the keeper is asked for.
enum Errand {
    /// To seal what is full of a ring.
    Seal(Weak<Ring>),
    /// To say when everything that was asked for before is done.
    Settle(Sender<()>),
    /// To seal and sync all that there is by then, and to say when that is done: the host ends.
    Finish {
        by: Instant,
        done: Sender<()>,
    },
    Stop,
}

/// What the maker of files is asked for.
enum Order {
    /// The file of a ring's next segment.
    Prepare(Weak<Ring>),
    /// To say when everything that was asked for before is done.
    Settle(Sender<()>),
    Stop,
}

/// Takes errands. A ring asks for a file once in a segment's life, and to seal only if it has not asked already.
#[derive(Clone)]
pub(crate) struct Errands {
    keeper: Sender<Errand>,
    maker: Sender<Order>,
}

// What nobody takes is not done: without a maker the writer makes its files itself, and nothing is sealed when the host is
// ending.
impl Errands {
    /// Asks for the file of a ring's next segment.
    pub(crate) fn prepare(&self, ring: Weak<Ring>) {
        let _ = self.maker.send(Order::Prepare(ring));
    }

    /// Asks to seal what is full of a ring.
    pub(crate) fn seal(&self, ring: Weak<Ring>) {
        let _ = self.keeper.send(Errand::Seal(ring));
    }
}

type Watched = Arc<Mutex<Vec<Weak<Ring>>>>;

/// The threads, and what they watch over.
pub(crate) struct Keeper {
    errands: Errands,
    rings: Watched,
    sealing: Option<JoinHandle<()>>,
    making: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(disk: Option<Arc<Disk>>, settings: &DepotSettings, clock: Arc<dyn Clock>) -> Self {
        let (keeper, errands) = channel();
        let (maker, orders) = channel();
        let errands_of_all = Errands { keeper, maker };
        let rings = Watched::default();
        let has_files = disk.is_some();
        let work = Work {
            errands,
            rings: Arc::clone(&rings),
            disk,
            clock,
            cleanup: Timer::new(settings.cleanup_interval),
            sync: Timer::new(settings.sync_interval),
            retry: Timer::new(TRY_DISK_AGAIN),
            to_seal: VecDeque::new(),
            is_finished: false,
        };
        // Without the threads, writers do all but sealing themselves.
        let sealing = Builder::new().name("keeper".into()).spawn(move || work.run()).ok();
        let making = has_files.then(|| Builder::new().name("maker".into()).spawn(move || make_files(&orders)).ok());
        Self { errands: errands_of_all, rings, sealing, making: making.flatten() }
    }

    pub(crate) fn errands(&self) -> Errands {
        self.errands.clone()
    }

    /// Looks after these rings until they are dropped.
    pub(crate) fn watch<'r>(&self, rings: impl Iterator<Item = &'r Arc<Ring>>) {
        let mut watched = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        watched.extend(rings.map(Arc::downgrade));
    }

    /// Waits until all that was asked for is done.
    pub(crate) fn settle(&self) {
        let (done, settled) = channel();
        let _ = self.errands.keeper.send(Errand::Settle(done.clone()));
        let _ = self.errands.maker.send(Order::Settle(done));
        // Each thread that there is answers once; the end of all senders is the end of waiting.
        while settled.recv().is_ok() {}
    }

    /// Seals and syncs all that there is, what is being written to as well, within a limit. Returns then in any case.
    pub(crate) fn finish(&self, limit: Duration) {
        let (done, finished) = channel();
        let _ = self.errands.keeper.send(Errand::Finish { by: Instant::now() + limit, done });
        // A disk that takes longer is not waited for: what is in files is safe where it is.
        let _ = finished.recv_timeout(limit);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.errands.maker.send(Order::Stop);
        let _ = self.errands.keeper.send(Errand::Stop);
        // The keeper removes what the maker has made and nobody used, so that one ends first.
        for thread in [self.making.take(), self.sealing.take()].into_iter().flatten() {
            // What it had to say, it has said in the log.
            let _ = thread.join();
        }
    }
}

/// Makes files as they are asked for. Its priority is the guests' own: one that finds no file must make it itself.
fn make_files(orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Prepare(ring) => {
                if let Some(ring) = ring.upgrade() {
                    ring.prepare();
                }
            }
            // Whoever waited may have gone.
            Order::Settle(done) => drop(done.send(())),
            Order::Stop => break,
        }
    }
}

struct Work {
    errands: Receiver<Errand>,
    rings: Watched,
    disk: Option<Arc<Disk>>,
    clock: Arc<dyn Clock>,
    cleanup: Timer,
    sync: Timer,
    retry: Timer,
    to_seal: VecDeque<Weak<Ring>>,
    /// Whether the host ends in order, so that what comes yet is sealed as well.
    is_finished: bool,
}

impl Work {
    fn run(mut self) {
        // Refused where the system does not let a thread lower itself.
        let _ = rustix::process::nice(NICENESS);
        let mut sealed_until = Instant::now();
        loop {
            let mut wake =
                [self.cleanup.due, self.sync.due, self.retry.due].into_iter().min().unwrap_or(self.cleanup.due);
            if !self.to_seal.is_empty() {
                wake = wake.min(sealed_until);
            }
            match self.errands.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Errand::Seal(ring)) => self.to_seal.push_back(ring),
                Ok(Errand::Settle(done)) => {
                    self.settle();
                    // Whoever waited may have gone.
                    let _ = done.send(());
                }
                Ok(Errand::Finish { by, done }) => {
                    self.finish(by);
                    let _ = done.send(());
                }
                Ok(Errand::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= sealed_until
                && let Some(bytes) = self.seal_next()
            {
                sealed_until = Instant::now() + Duration::from_secs_f64(bytes as f64 / SEALED_PER_SECOND);
            }
            self.look_around();
        }
        self.end();
    }

    /// Seals one segment of the ring whose turn it is; returns how many bytes it had.
    fn seal_next(&mut self) -> Option<usize> {
        let ring = self.to_seal.pop_front()?.upgrade()?;
        ring.take_errand();
        let sealed = ring.seal_oldest();
        if sealed.is_some() {
            ring.ask_to_seal();
        }
        sealed
    }

    fn look_around(&mut self) {
        if self.cleanup.is_due() {
            let now = self.clock.now().0;
            self.for_each(|ring| ring.clean_up(now));
        }
        if self.sync.is_due() {
            self.for_each(Ring::sync);
        }
        if self.retry.is_due()
            && let Some(disk) = &self.disk
            && disk.is_failing()
            && disk.try_again()
        {
            self.for_each(Ring::return_to_disk);
        }
    }

    fn for_each(&self, act: impl Fn(&Ring)) {
        self.rings().iter().for_each(|ring| act(ring));
    }

    fn rings(&self) -> Vec<Arc<Ring>> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.retain(|ring| ring.strong_count() > 0);
        rings.iter().filter_map(Weak::upgrade).collect()
    }

    /// Seals and syncs all that there is, as far as there is time; what is left stays in its files.
    fn finish(&mut self, by: Instant) {
        self.is_finished = true;
        let Some(disk) = &self.disk else { return };
        if disk.is_failing() && !disk.try_again() {
            return;
        }
        let rings = self.rings();
        let next = AtomicUsize::new(0);
        let finish = || {
            while let Some(ring) = rings.get(next.fetch_add(1, Ordering::Relaxed)) {
                ring.finish(by);
            }
        };
        thread::scope(|scope| {
            for _ in 1..SEALED_AT_ONCE.min(rings.len()) {
                // With fewer threads than that, those that there are take longer.
                let _ = Builder::new().spawn_scoped(scope, finish);
            }
            finish();
        });
    }

    fn settle(&mut self) {
        self.for_each(|ring| while ring.seal_oldest().is_some() {});
        let now = self.clock.now().0;
        self.for_each(|ring| ring.clean_up(now));
        self.for_each(Ring::sync);
    }

    /// What is in memory only goes to the disk, if that works; what is in files is safe where it is.
    fn end(mut self) {
        if self.is_finished {
            self.finish(Instant::now() + LAST_SEALS);
        }
        if let Some(disk) = &self.disk
            && (!disk.is_failing() || disk.try_again())
        {
            self.for_each(Ring::return_to_disk);
            self.for_each(Ring::seal_what_is_in_memory);
        }
        self.for_each(Ring::discard_spare);
        self.to_seal.clear();
        if let Some(disk) = self.disk.as_ref().filter(|disk| self.is_finished && !disk.is_failing()) {
            disk.note_end(self.rings().iter().map(|ring| &**ring));
        }
    }
}

/// Something that is done from time to time.
struct Timer {
    period: Duration,
    due: Instant,
}

impl Timer {
    fn new(period: Duration) -> Self {
        Self { period, due: Instant::now() + period }
    }

    /// Whether its time has come; the next one is a period away.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.due;
        if due {
            self.due = now + self.period;
        }
        due
    }
}
