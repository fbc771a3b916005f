//! How long is waited until a request is sent again.

use std::time::Duration;

/// Before the second try: a collector that is started anew is back in seconds.
const FIRST: Duration = Duration::from_millis(500);
/// Between tries of a collector that stays away: what is stored waits, and a try each minute is nothing to either side.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest that a collector may ask for: one that says "in a year" is wrong, or hostile.
const ASKED_MOST: Duration = Duration::from_mins(10);

/// How long to wait after so many failures in a row, the last of which asked for some time. Doubles with each, and has a random part, so that
/// hosts that lost their collector together do not come back together.
pub(crate) fn delay(failures: u32, asked: Option<Duration>) -> Duration {
    let most = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let own = most.mul_f64(0.5 + 0.5 * fastrand::f64());
    asked.map_or(own, |asked| asked.min(ASKED_MOST).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_what_is_asked_for_is_honoured_within_another() {
        for (failures, most) in [(1, 500), (2, 1000), (4, 4000), (8, 60_000), (u32::MAX, 60_000)] {
            let delay = delay(failures, None);
            let most = Duration::from_millis(most);
            assert!(delay >= most / 2 && delay <= most, "{failures}: {delay:?}");
        }
        assert_eq!(delay(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert!(delay(1, Some(Duration::ZERO)) >= FIRST / 2);
        assert_eq!(delay(1, Some(Duration::MAX)), ASKED_MOST);
    }
}
