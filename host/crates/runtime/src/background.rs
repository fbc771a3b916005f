//! Threads for extensions that compute much, beside those that serve all others: where a thread is always busy, timers and
//! callers wait for it.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Builder;

use glasshouse_model::Clock;
use tokio::runtime::Handle;

use crate::weight::Weight;

/// What serves an extension.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads of a host, which are started for the first extension that is heavy, and end with the host and its tasks.
pub(crate) struct Background {
    threads: usize,
    lane: OnceLock<Option<Arc<Lane>>>,
}

impl Background {
    /// So many threads; without any, all extensions are served where they were started.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, lane: OnceLock::new() }
    }

    fn lane(&self) -> Option<&Arc<Lane>> {
        self.lane.get_or_init(|| (self.threads > 0).then(|| Lane::start(self.threads)).flatten()).as_ref()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(Some(lane)) = self.lane.get() {
            lane.close();
        }
    }
}

/// The tasks that wait for a thread, each at most once, so that there are no more than extensions.
#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    comes: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Away>>,
    is_closed: bool,
}

impl Lane {
    /// `None` if there is no thread to be had.
    fn start(threads: usize) -> Option<Arc<Self>> {
        let lane = Arc::<Self>::default();
        for started in 0..threads {
            let own = Arc::clone(&lane);
            let thread = Builder::new().name("background".into()).spawn(move || {
                while let Some(away) = own.next() {
                    away.run();
                }
            });
            if let Err(error) = thread {
                tracing::warn!(
                    "{started} of {threads} threads for extensions that compute much could be started: {error}"
                );
                return (started > 0).then_some(lane);
            }
        }
        Some(lane)
    }

    /// The next task; `None` once the host has ended.
    fn next(&self) -> Option<Arc<Away>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(away) = queue.waiting.pop_front() {
                return Some(away);
            }
            queue = self.comes.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn push(&self, away: Arc<Away>) {
        let mut queue = lock(&self.queue);
        if !queue.is_closed {
            queue.waiting.push_back(away);
            drop(queue);
            self.comes.notify_one();
        }
    }

    fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.comes.notify_all();
        drop(waiting);
    }
}

/// A task that waits for something, and is in no queue.
const WAITING: u8 = 0;
/// In the queue.
const QUEUED: u8 = 1;
/// Being polled, or not to be polled any more.
const POLLED: u8 = 2;
/// Woken while it was being polled.
const WOKEN: u8 = 3;

/// A task while it is served in the background.
struct Away {
    lane: Arc<Lane>,
    state: AtomicU8,
    /// Locked while it is polled; `None` once it has ended or was taken back.
    task: Mutex<Option<Task>>,
    stay: Mutex<Stay>,
    weight: Arc<Weight>,
    clock: Arc<dyn Clock>,
    /// Where the task is at home: its timers, its sockets and what it spawns are there, wherever it is polled.
    home: Handle,
}

/// How a stay in the background stands, and whom its end wakes.
#[derive(Default)]
struct Stay {
    end: Option<End>,
    home: Option<Waker>,
}

enum End {
    /// The extension is light again.
    Light,
    Done,
    Panicked(Box<dyn Any + Send>),
}

impl Away {
    fn run(self: Arc<Self>) {
        // One atomic step, which also shows the poll that follows what a waker has done before it found this queued.
        self.state.swap(POLLED, Ordering::AcqRel);
        let _home = self.home.enter();
        let mut task = lock(&self.task);
        let Some(present) = task.as_mut() else { return };
        let waker = Waker::from(Arc::clone(&self));
        let polled = catch_unwind(AssertUnwindSafe(|| present.as_mut().poll(&mut Context::from_waker(&waker))));
        let end = match polled {
            Ok(Poll::Pending) if self.weight.stays_heavy(self.clock.monotonic_nanos()) => {
                drop(task);
                if self.state.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    self.state.swap(QUEUED, Ordering::AcqRel);
                    let lane = Arc::clone(&self.lane);
                    lane.push(Arc::clone(&self));
                }
                return;
            }
            Ok(Poll::Pending) => End::Light,
            Ok(Poll::Ready(())) => End::Done,
            Err(panic) => End::Panicked(panic),
        };
        drop(task);
        let mut stay = lock(&self.stay);
        stay.end = Some(end);
        let home = stay.home.take();
        drop(stay);
        if let Some(home) = home {
            home.wake();
        }
    }

    /// Waits for the end of the stay.
    fn poll_end(&self, home: &Context<'_>) -> Poll<End> {
        let mut stay = lock(&self.stay);
        if let Some(end) = stay.end.take() {
            return Poll::Ready(end);
        }
        stay.home = Some(home.waker().clone());
        Poll::Pending
    }

    /// Takes the task back; waits while it is being polled, that is for the end of a turn.
    fn take(&self) -> Option<Task> {
        lock(&self.task).take()
    }
}

impl Wake for Away {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
            WAITING => Some(QUEUED),
            POLLED => Some(WOKEN),
            // Written in any case, so that the poll that comes sees what this was woken for.
            as_it_is => Some(as_it_is),
        });
        if woken == Ok(WAITING) {
            self.lane.push(Arc::clone(self));
        }
    }
}

/// A task that is served where it was spawned, and in the background while its extension is heavy.
pub(crate) struct Roaming {
    task: Option<Task>,
    away: Option<Arc<Away>>,
    background: Arc<Background>,
    weight: Arc<Weight>,
    clock: Arc<dyn Clock>,
}

impl Roaming {
    pub(crate) fn new(
        task: impl Future<Output = ()> + Send + 'static,
        background: Arc<Background>,
        weight: Arc<Weight>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { task: Some(Box::pin(task)), away: None, background, weight, clock }
    }
}

impl Future for Roaming {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let own = &mut *self;
        loop {
            if let Some(away) = &own.away {
                let end = std::task::ready!(away.poll_end(context));
                let task = away.take();
                own.away = None;
                match end {
                    End::Light => own.task = task,
                    End::Done => return Poll::Ready(()),
                    End::Panicked(panic) => {
                        drop(task);
                        resume_unwind(panic);
                    }
                }
            }
            let Some(task) = &mut own.task else { return Poll::Ready(()) };
            if task.as_mut().poll(context).is_ready() {
                own.task = None;
                return Poll::Ready(());
            }
            if !own.weight.is_heavy() {
                return Poll::Pending;
            }
            let Some(lane) = own.background.lane() else { return Poll::Pending };
            let away = Arc::new(Away {
                lane: Arc::clone(lane),
                state: AtomicU8::new(QUEUED),
                task: Mutex::new(own.task.take()),
                stay: Mutex::default(),
                weight: Arc::clone(&own.weight),
                clock: Arc::clone(&own.clock),
                home: Handle::current(),
            });
            // It is polled there at once, so that what wakes it from now on wakes it there.
            lane.push(Arc::clone(&away));
            own.away = Some(away);
        }
    }
}

impl Drop for Roaming {
    /// What is in the background does not outlive its task, as when the runtime that it is at home in ends.
    fn drop(&mut self) {
        if let Some(away) = self.away.take() {
            drop(away.take());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
