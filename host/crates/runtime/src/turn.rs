//! A turn: a call that its meter stops for a look is polled again at once, so that it asks for another turn at its end only.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The call is being polled.
const POLLING: u8 = 1;
/// It was woken; during a poll, nobody else was told.
const WOKEN: u8 = 2;

/// The most polls in a turn, for what takes no time at all, as by a clock that stands still.
const POLLS: u32 = 16;

/// What wakes a call: notes it while the call is polled, and wakes the call's task at all other times.
pub(crate) struct Rouser {
    shared: Arc<Shared>,
    /// Made of `shared`, once: a call is to cost no allocation.
    waker: Waker,
}

#[derive(Default)]
struct Shared {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Default for Rouser {
    fn default() -> Self {
        let shared = Arc::<Shared>::default();
        Self { waker: Waker::from(Arc::clone(&shared)), shared }
    }
}

impl Rouser {
    /// Polls a call, and again whenever it was woken meanwhile and `goes_on` still says yes. Otherwise its task is woken, so
    /// that no wake-up is lost.
    pub(crate) fn poll_while<F: Future>(
        &self,
        mut call: Pin<&mut F>,
        task: &Context<'_>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Poll<F::Output> {
        self.shared.hand_on_to(task.waker());
        let mut context = Context::from_waker(&self.waker);
        for polls in 1.. {
            self.shared.state.swap(POLLING, Ordering::AcqRel);
            let polled = call.as_mut().poll(&mut context);
            let woken = self.shared.state.swap(0, Ordering::AcqRel) & WOKEN != 0;
            if polled.is_ready() || !woken {
                return polled;
            }
            if polls >= POLLS || !goes_on() {
                break;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Shared {
    fn hand_on_to(&self, task: &Waker) {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(task),
            None => *known = Some(task.clone()),
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // One atomic step, which also shows the poll that follows what this wake-up is about.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & POLLING == 0
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// Waits until the first poll is over, or for what another thread does during that.
    fn ready_from_the_second_poll(mut first: impl FnMut(&Waker)) -> impl FnMut(&mut Context<'_>) -> Poll<()> {
        let mut polls = 0;
        move |context| {
            polls += 1;
            if polls == 1 {
                first(context.waker());
                return Poll::Pending;
            }
            Poll::Ready(())
        }
    }

    #[test]
    fn a_wake_up_during_a_poll_polls_again_at_once_and_another_threads_is_not_lost() {
        let (rouser, task) = (Rouser::default(), Arc::<Task>::default());
        let waker = Waker::from(Arc::clone(&task));
        let from_another_thread = |waker: &Waker| {
            let waker = waker.clone();
            thread::spawn(move || waker.wake()).join().expect("it wakes");
        };
        for goes_on in [true, false] {
            let call = std::pin::pin!(std::future::poll_fn(ready_from_the_second_poll(from_another_thread)));
            let polled = rouser.poll_while(call, &Context::from_waker(&waker), || goes_on);
            assert_eq!(polled.is_ready(), goes_on);
            assert_eq!(task.woken(), usize::from(!goes_on), "who does not poll again wakes the task");
        }
    }

    #[test]
    fn a_wake_up_between_polls_wakes_the_task_that_polled_last() {
        let rouser = Rouser::default();
        let tasks = [Arc::<Task>::default(), Arc::<Task>::default()];
        let known = Mutex::new(None);
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            let call = std::pin::pin!(std::future::poll_fn(|context: &mut Context<'_>| {
                known.lock().expect("it is free").get_or_insert_with(|| context.waker().clone());
                Poll::<()>::Pending
            }));
            assert!(rouser.poll_while(call, &Context::from_waker(&waker), || true).is_pending());
        }
        let waker = known.into_inner().expect("it is free").expect("it was polled");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(tasks.map(|task| task.woken()), [0, 2], "a task that is woken twice is polled once more at least");
    }

    #[test]
    fn a_call_that_wakes_itself_for_ever_ends_its_turn_though_no_time_passes() {
        let (rouser, task) = (Rouser::default(), Arc::<Task>::default());
        let mut polls = 0;
        let call = std::pin::pin!(std::future::poll_fn(|context: &mut Context<'_>| {
            polls += 1;
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let waker = Waker::from(Arc::clone(&task));
        assert!(rouser.poll_while(call, &Context::from_waker(&waker), || true).is_pending());
        assert_eq!((polls, task.woken()), (POLLS, 1));
    }

    #[test]
    fn no_wake_up_is_lost_however_it_falls_together_with_the_end_of_a_poll() {
        const ROUNDS: usize = 20_000;
        let rouser = Rouser::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (rounds, to_wake) = mpsc::channel::<(Waker, Arc<AtomicBool>)>();
        let waking = thread::spawn(move || {
            for (waker, done) in to_wake {
                done.store(true, Ordering::Relaxed);
                waker.wake();
            }
        });
        for _ in 0..ROUNDS {
            let done = Arc::<AtomicBool>::default();
            let mut asked = false;
            let mut call = std::pin::pin!(std::future::poll_fn(|context: &mut Context<'_>| {
                if !std::mem::replace(&mut asked, true) {
                    rounds.send((context.waker().clone(), Arc::clone(&done))).expect("it is there");
                }
                if done.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            }));
            // It would wait for ever.
            runtime.block_on(std::future::poll_fn(|task| rouser.poll_while(call.as_mut(), task, || true)));
        }
        drop(rounds);
        waking.join().expect("it ends");
    }
}
