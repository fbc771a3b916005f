//! How many records, and bytes of them, an extension may store a second: buckets of tokens, without a lock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use glasshouse_model::settings::TelemetryBudget;
use glasshouse_model::{UnixNanos, limits};

const SECOND: u64 = 1_000_000_000;
/// What is kept besides for what matters most is a budget divided by this: enough for what led to a flood, and little beside it.
const RESERVE_DIVISOR: u64 = 4;
/// The least bytes a second of a reserve: two records of the largest size.
const RESERVE_BYTES: u64 = 2 * limits::RECORD_BYTES as u64;

/// What a record is worth when records are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Logs below error, samples, spans.
    Usual,
    /// Errors, alerts, failed spans, security events, logs at error and above: once the budget is used up, they have a reserve for themselves.
    Urgent,
    /// What the host tells of a guest's doings, such as denied uses, which has a reserve of its own.
    Told,
}

/// What there is to take. A bucket holds a second's worth; time is looked at only when it is empty, so that after a quiet
/// while two seconds' worth may pass at once. Writers of one extension take turns; should two be at it at once, a record
/// may pass without being counted, and none is lost.
struct Bucket {
    left: AtomicU64,
    per_second: AtomicU64,
    filled_at: AtomicI64,
    /// What was ever put in, so that it is known what was taken out.
    granted: AtomicU64,
}

impl Bucket {
    fn new(per_second: u64) -> Self {
        Self {
            left: AtomicU64::new(per_second),
            per_second: AtomicU64::new(per_second),
            filled_at: AtomicI64::new(i64::MIN),
            granted: AtomicU64::new(per_second),
        }
    }

    /// Sets the rate; what was saved up is cut to it.
    fn set(&self, per_second: u64) {
        self.per_second.store(per_second, Ordering::Relaxed);
        let left = self.left.fetch_min(per_second, Ordering::Relaxed);
        self.granted.fetch_sub(left.saturating_sub(per_second), Ordering::Relaxed);
    }

    /// Adds what the time since it was last filled is worth.
    fn fill(&self, now: i64) {
        let per_second = self.per_second.load(Ordering::Relaxed);
        let filled_at = self.filled_at.load(Ordering::Relaxed);
        if now < filled_at {
            // A clock that was set back gives nothing, and counts from there.
            self.filled_at.store(now, Ordering::Relaxed);
            return;
        }
        let elapsed = u64::try_from(now.saturating_sub(filled_at)).unwrap_or(0).min(SECOND);
        let gained = (u128::from(elapsed) * u128::from(per_second) / u128::from(SECOND)) as u64;
        if gained == 0 {
            return;
        }
        let before = self.left.load(Ordering::Relaxed);
        let left = before.saturating_add(gained).min(per_second).max(before);
        self.left.store(left, Ordering::Relaxed);
        self.granted.fetch_add(left - before, Ordering::Relaxed);
        // The part of a token that the time is worth besides is not lost.
        let spent = (u128::from(gained) * u128::from(SECOND)).div_ceil(u128::from(per_second)) as i64;
        let filled_to = if elapsed == SECOND { now } else { filled_at.saturating_add(spent) };
        self.filled_at.store(filled_to, Ordering::Relaxed);
    }
}

impl Bucket {
    /// What was ever taken, about where writers are at it meanwhile.
    fn taken(&self) -> u64 {
        self.granted.load(Ordering::Relaxed).saturating_sub(self.left.load(Ordering::Relaxed))
    }
}

/// Records and bytes that may be stored.
struct Allowance {
    records: Bucket,
    bytes: Bucket,
}

impl Allowance {
    fn new(records: u64, bytes: u64) -> Self {
        Self { records: Bucket::new(records), bytes: Bucket::new(bytes) }
    }

    fn set(&self, records: u64, bytes: u64) {
        self.records.set(records);
        self.bytes.set(bytes);
    }

    /// Takes a record of so many bytes, if there is enough of both.
    #[inline]
    fn take(&self, now: UnixNanos, bytes: u64) -> bool {
        self.take_what_is_left(bytes) || self.fill_and_take(now, bytes)
    }

    #[inline]
    fn take_what_is_left(&self, bytes: u64) -> bool {
        let (records, left) = (self.records.left.load(Ordering::Relaxed), self.bytes.left.load(Ordering::Relaxed));
        let enough = records > 0 && left >= bytes;
        if enough {
            self.records.left.store(records - 1, Ordering::Relaxed);
            self.bytes.left.store(left - bytes, Ordering::Relaxed);
        }
        enough
    }

    #[cold]
    fn fill_and_take(&self, now: UnixNanos, bytes: u64) -> bool {
        self.records.fill(now.0);
        self.bytes.fill(now.0);
        self.take_what_is_left(bytes)
    }
}

/// The rates of an extension.
pub(crate) struct Rates {
    usual: Allowance,
    urgent: Allowance,
    told: Allowance,
}

impl Rates {
    pub(crate) fn new(budget: &TelemetryBudget) -> Self {
        let (records, bytes) = reserve(budget);
        Self {
            usual: Allowance::new(budget.records_per_second, budget.bytes_per_second),
            urgent: Allowance::new(records, bytes),
            told: Allowance::new(records, bytes),
        }
    }

    pub(crate) fn apply(&self, budget: &TelemetryBudget) {
        let (records, bytes) = reserve(budget);
        self.usual.set(budget.records_per_second, budget.bytes_per_second);
        self.urgent.set(records, bytes);
        self.told.set(records, bytes);
    }

    /// Records, and bytes of them, that may be stored a second, the reserves aside.
    pub(crate) fn budget(&self) -> (u64, u64) {
        let Allowance { records, bytes } = &self.usual;
        (records.per_second.load(Ordering::Relaxed), bytes.per_second.load(Ordering::Relaxed))
    }

    /// Records, and bytes of them, that were ever stored, what the host told aside.
    pub(crate) fn taken(&self) -> [u64; 2] {
        let of = |bucket: fn(&Allowance) -> &Bucket| bucket(&self.usual).taken() + bucket(&self.urgent).taken();
        [of(|allowance| &allowance.records), of(|allowance| &allowance.bytes)]
    }

    /// Whether a record of so many bytes may be stored at that time; if so, it is counted.
    #[inline]
    pub(crate) fn take(&self, worth: Worth, now: UnixNanos, bytes: usize) -> bool {
        let bytes = bytes as u64;
        match worth {
            Worth::Usual => self.usual.take(now, bytes),
            Worth::Urgent => self.usual.take(now, bytes) || self.urgent.take(now, bytes),
            Worth::Told => self.told.take(now, bytes),
        }
    }
}

fn reserve(budget: &TelemetryBudget) -> (u64, u64) {
    let records = (budget.records_per_second / RESERVE_DIVISOR).max(1);
    (records, (budget.bytes_per_second / RESERVE_DIVISOR).max(RESERVE_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(records: u64, bytes: u64) -> Rates {
        let budget =
            TelemetryBudget { records_per_second: records, bytes_per_second: bytes, ..TelemetryBudget::default() };
        Rates::new(&budget)
    }

    /// How many of so many records, each a time after the one before it, are stored.
    fn stored(rates: &Rates, worth: Worth, from: i64, step: i64, records: i64) -> usize {
        (0..records).filter(|number| rates.take(worth, UnixNanos(from + number * step), 100)).count()
    }

    #[test]
    fn a_flood_of_usual_records_leaves_room_for_urgent_ones_and_these_are_bounded_too() {
        let rates = rates(1000, 1 << 20);
        assert_eq!(stored(&rates, Worth::Usual, 0, 0, 5000), 1000 + 1000, "what a quiet while saved up");
        assert_eq!(stored(&rates, Worth::Usual, 0, 0, 1), 0);
        assert_eq!(stored(&rates, Worth::Urgent, 0, 0, 5000), 250 + 250);
        assert_eq!(stored(&rates, Worth::Told, 0, 0, 5000), 250 + 250);
    }

    #[test]
    fn bytes_are_bounded_as_well_as_records() {
        let rates = rates(1_000_000, 64 << 10);
        let large = 32 << 10;
        let count = (0..100).filter(|_| rates.take(Worth::Usual, UnixNanos(0), large)).count();
        assert_eq!(count, 4, "two seconds' worth");
        assert!(rates.take(Worth::Usual, UnixNanos(SECOND as i64 / 2), large));
        assert!(!rates.take(Worth::Usual, UnixNanos(SECOND as i64 / 2), large));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing() {
        let rates = rates(10, 1 << 20);
        assert_eq!(stored(&rates, Worth::Usual, 0, 0, 100), 20);
        assert_eq!(stored(&rates, Worth::Usual, -(SECOND as i64), 0, 100), 0);
        assert_eq!(stored(&rates, Worth::Usual, SECOND as i64, 0, 100), 10);
    }

    #[test]
    fn a_clock_that_is_set_back_mutes_nobody_until_it_catches_up() {
        let rates = rates(10, 1 << 20);
        let day = 86_400 * SECOND as i64;
        assert_eq!(stored(&rates, Worth::Usual, day, 0, 100), 20);
        assert_eq!(stored(&rates, Worth::Usual, 0, 0, 100), 0);
        assert_eq!(stored(&rates, Worth::Usual, SECOND as i64 / 2, 0, 100), 5);
        assert_eq!(stored(&rates, Worth::Usual, SECOND as i64, 0, 100), 5);
    }

    #[test]
    fn a_lower_rate_holds_at_once() {
        let rates = rates(1000, 1 << 20);
        rates.apply(&TelemetryBudget { records_per_second: 1, ..TelemetryBudget::default() });
        assert!(stored(&rates, Worth::Usual, 0, 0, 1000) <= 2);
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_passes_and_all_that_is_within_it(
            per_second in 1_u64..2_000_000,
            offered in 1_u64..4_000_000,
            start in 0_i64..1 << 60,
        ) {
            let rates = rates(per_second, 1 << 34);
            let step = (SECOND / offered.min(SECOND)).max(1);
            let times = (0..20_000_i64).map(|number| start + number * step as i64);
            let passed = times.filter(|time| rates.take(Worth::Usual, UnixNanos(*time), 1)).count() as u64;
            let seconds = 20_000.0 * step as f64 / SECOND as f64;
            prop_assert!(passed as f64 <= per_second as f64 * (seconds + 2.0) + 1.0);
            let within = (20_000.0_f64).min(per_second as f64 * seconds - 1.0);
            prop_assert!(passed as f64 >= within, "{} of {}", passed, within);
        }
    }
}
