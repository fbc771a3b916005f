//! The thread that makes rollups, beside the keeper: whoever records pays nothing for them. It also sees to it that no trace stays undecided.

use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::Clock;

use super::follower::Follower;
use crate::rounds::{Round, Rounds};
use crate::store::Store;
use crate::uses::RateMeter;

/// How often samples are looked at: often enough that a second's rollup is there soon after it, and that a ring in memory holds what came
/// meanwhile.
const EVERY: Duration = Duration::from_millis(200);

/// What it does for one store: rolls up its samples, measures how fast it records, and decides on traces that wait there for too long.
struct Rolling {
    follower: Follower,
    meter: RateMeter,
}

impl Round for Rolling {
    fn go(&mut self, store: &Arc<Store>, clock: &dyn Clock) {
        self.follower.follow(clock.now());
        self.meter.measure(store, clock.monotonic_nanos());
        store.decide_overdue(clock);
    }
}

/// Starts the thread.
pub(crate) fn roller(clock: Arc<dyn Clock>) -> Rounds {
    Rounds::start("roller", EVERY, clock, |store| {
        Box::new(Rolling { follower: Follower::new(store), meter: RateMeter::default() })
    })
}
