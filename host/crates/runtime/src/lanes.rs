//! Room for some pieces of work at once, in which small ones go first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Lanes that are given to who has least code, and among equals to who came first. As many may wait as there are extensions that load.
pub(crate) struct Lanes(Mutex<State>);

struct State {
    free: usize,
    /// By bytes of code, and by when they came.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Lane>>,
    came: u64,
}

/// A lane that one has; whoever drops it lets in the next.
pub(crate) struct Lane(Arc<Lanes>);

impl Lanes {
    pub(crate) fn new(lanes: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: lanes, waiting: BTreeMap::new(), came: 0 })))
    }

    /// Waits for a lane. May be cancelled.
    pub(crate) async fn enter(self: &Arc<Self>, code_bytes: u64) -> Lane {
        let let_in = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.free > 0 {
                state.free -= 1;
                return Lane(Arc::clone(self));
            }
            state.waiting.retain(|_, next| !next.is_closed());
            let (next, let_in) = oneshot::channel();
            let came = state.came;
            state.came += 1;
            state.waiting.insert((code_bytes, came), next);
            let_in
        };
        let_in.await.expect("who waits is forgotten by nobody")
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                match state.waiting.pop_first() {
                    Some((_, next)) if next.is_closed() => {}
                    Some((_, next)) => break next,
                    None => {
                        state.free += 1;
                        return;
                    }
                }
            }
        };
        // Who gave up at this very moment leaves the lane here, which lets in the one after it.
        let _ = next.send(Lane(Arc::clone(&self.0)));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Lane> + 'a>>;

    fn poll(waiting: &mut Waiting<'_>) -> Option<Lane> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(lane) => Some(lane),
            Poll::Pending => None,
        }
    }

    fn enter(lanes: &Arc<Lanes>, code_bytes: u64) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(lanes.enter(code_bytes));
        assert!(poll(&mut waiting).is_none(), "there was a free lane");
        waiting
    }

    #[test]
    fn who_has_least_code_goes_first_and_among_equals_who_came_first() {
        let lanes = Lanes::new(1);
        let first = poll(&mut (Box::pin(lanes.enter(9)) as Waiting<'_>)).expect("it is free");
        let mut waiting = [5, 2, 5, 1].map(|code_bytes| enter(&lanes, code_bytes));
        let mut lane = Some(first);
        for expected in [3, 1, 0, 2] {
            drop(lane.take());
            let let_in: Vec<_> = (0..4).filter_map(|number| Some((number, poll(&mut waiting[number])?))).collect();
            let [(number, next)] = let_in.try_into().unwrap_or_else(|_| panic!("one at a time"));
            assert_eq!(number, expected);
            // A future that is done is not polled again.
            waiting[number] = Box::pin(std::future::pending());
            lane = Some(next);
        }
    }

    #[test]
    fn a_lane_outlives_all_who_give_up() {
        let lanes = Lanes::new(2);
        let taken = [(); 2].map(|()| poll(&mut (Box::pin(lanes.enter(1)) as Waiting<'_>)).expect("it is free"));
        let gone = enter(&lanes, 1);
        let let_in_and_gone = enter(&lanes, 2);
        let mut stays = enter(&lanes, 3);
        drop(gone);
        drop(taken);
        // Both lanes were given away: one to who then gives up without having looked, one to the last.
        drop(let_in_and_gone);
        let lane = poll(&mut stays).expect("it was let in");
        let other = poll(&mut (Box::pin(lanes.enter(1)) as Waiting<'_>)).expect("the other lane is free again");
        drop(enter(&lanes, 1));
        drop((lane, other));
        assert_eq!(lanes.0.lock().expect("it is not poisoned").free, 2);
    }
}
