//! What an extension uses of its budgets: its owner writes, anybody reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Spent, nanos};
use crate::settings::Budget;

/// Parts of a window. What is used is known by part, so a window reaches back between eleven twelfths of its length and all of it.
const SLOTS: usize = 12;

glasshouse_wire::byte_enum! {
    /// A budget of one call, or of the instance.
    CallBudget {
        /// Wasm fuel.
        Fuel = 0 "budget.fuel_per_call",
        /// Wall time, in nanoseconds.
        Deadline = 1 "budget.deadline",
        /// Linear memory, in bytes.
        Memory = 2 "budget.memory",
    }
}

/// How many budgets of a call there are.
pub(super) const CALL_BUDGETS: usize = CallBudget::ALL.len();

glasshouse_wire::byte_enum! {
    /// A budget of use over time.
    Rate {
        /// Wasm fuel.
        Fuel = 0 "budget.fuel_per_second",
        /// CPU time, in nanoseconds.
        Cpu = 1 "budget.cpu_share",
    }
}

impl CallBudget {
    /// The key of the budget.
    pub fn key(self) -> &'static str {
        self.as_str()
    }

    /// What a call may use, or an instance have.
    pub fn limit(self, budget: &Budget) -> u64 {
        match self {
            Self::Fuel => budget.fuel_per_call,
            Self::Deadline => nanos(budget.deadline),
            Self::Memory => budget.memory_bytes,
        }
    }
}

impl Rate {
    /// The key of the budget.
    pub fn key(self) -> &'static str {
        self.as_str()
    }

    /// What may be used in a window.
    pub fn limit(self, budget: &Budget) -> u64 {
        let window = budget.rate_window.as_nanos();
        let limit = match self {
            Self::Fuel => u128::from(budget.fuel_per_second) * window / 1_000_000_000,
            Self::Cpu => window * u128::from(budget.cpu_share) / 100,
        };
        u64::try_from(limit).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn of(self, spent: &Spent) -> u64 {
        match self {
            Self::Fuel => spent.fuel,
            Self::Cpu => spent.cpu_nanos,
        }
    }
}

/// What is used of each budget. One task writes it; what others read is as of some moment in the last call or so.
#[derive(Debug)]
pub struct Uses {
    last: [AtomicU64; CALL_BUDGETS],
    peak: [AtomicU64; CALL_BUDGETS],
    /// Nanoseconds of a slot.
    slot: AtomicU64,
    /// The number of the newest slot, and when it ends.
    newest: AtomicU64,
    newest_ends_at: AtomicU64,
    cells: [[AtomicU64; SLOTS]; Rate::ALL.len()],
    sums: [AtomicU64; Rate::ALL.len()],
    highest: [AtomicU64; Rate::ALL.len()],
    failures_in_a_row: AtomicU64,
}

impl Uses {
    pub(super) fn new(window: Duration) -> Self {
        let uses = Self {
            last: Default::default(),
            peak: Default::default(),
            slot: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            newest_ends_at: AtomicU64::new(0),
            cells: Default::default(),
            sums: Default::default(),
            highest: Default::default(),
            failures_in_a_row: AtomicU64::new(0),
        };
        uses.set_window(window);
        uses
    }

    /// What the last call used; for memory, what the instance has.
    pub fn last(&self, budget: CallBudget) -> u64 {
        self.last[budget as usize].load(Relaxed)
    }

    /// The most that a call used; for memory, that an instance had at the end of one.
    pub fn peak(&self, budget: CallBudget) -> u64 {
        self.peak[budget as usize].load(Relaxed)
    }

    /// What was used in the window that ends now.
    pub fn in_window(&self, rate: Rate, now: u64) -> u64 {
        let newest = self.newest.load(Relaxed);
        let gone = (now / self.slot.load(Relaxed)).saturating_sub(newest).min(SLOTS as u64) as usize;
        (gone..SLOTS)
            .map(|age| newest.wrapping_add(1 + age as u64))
            .map(|slot| self.cells[rate as usize][(slot % SLOTS as u64) as usize].load(Relaxed))
            .fold(0, u64::saturating_add)
    }

    /// The most that was used in any window.
    pub fn highest(&self, rate: Rate) -> u64 {
        self.highest[rate as usize].load(Relaxed)
    }

    /// Failures since the last call that did not fail.
    pub fn failures_in_a_row(&self) -> u64 {
        self.failures_in_a_row.load(Relaxed)
    }

    pub(super) fn set_failures(&self, failures: u64) {
        self.failures_in_a_row.store(failures, Relaxed);
    }

    /// What was used in the window that ends with the newest slot.
    #[inline]
    pub(super) fn sum(&self, rate: Rate) -> u64 {
        self.sums[rate as usize].load(Relaxed)
    }

    /// Notes an invocation that went on from `from` to `to`.
    #[inline]
    pub(super) fn note(&self, from: u64, to: u64, rates: [u64; Rate::ALL.len()], call: [u64; CALL_BUDGETS]) {
        for (index, used) in call.into_iter().enumerate() {
            self.last[index].store(used, Relaxed);
            if used > self.peak[index].load(Relaxed) {
                self.peak[index].store(used, Relaxed);
            }
        }
        self.advance(to);
        let slot = self.slot.load(Relaxed);
        let newest = self.newest.load(Relaxed);
        if from >= newest.saturating_mul(slot) {
            self.add(newest, rates);
        } else {
            self.spread(from, to, rates);
        }
        for &rate in Rate::ALL {
            let sum = self.sum(rate);
            if sum > self.highest(rate) {
                self.highest[rate as usize].store(sum, Relaxed);
            }
        }
    }

    /// Goes on to the slot of a time; what is older than the window is forgotten.
    #[inline]
    pub(super) fn advance(&self, now: u64) {
        if now >= self.newest_ends_at.load(Relaxed) {
            self.advance_to(now / self.slot.load(Relaxed));
        }
    }

    #[cold]
    fn advance_to(&self, slot: u64) {
        let newest = self.newest.load(Relaxed);
        let steps = slot.saturating_sub(newest).min(SLOTS as u64);
        for number in (slot + 1 - steps)..=slot {
            for (cells, sum) in self.cells.iter().zip(&self.sums) {
                let cell = &cells[(number % SLOTS as u64) as usize];
                sum.store(sum.load(Relaxed).saturating_sub(cell.load(Relaxed)), Relaxed);
                cell.store(0, Relaxed);
            }
        }
        self.newest.store(slot, Relaxed);
        self.newest_ends_at.store((slot + 1).saturating_mul(self.slot.load(Relaxed)), Relaxed);
    }

    /// Spreads what an invocation used over the slots in which it ran; what lies before the window is left out.
    #[cold]
    fn spread(&self, from: u64, to: u64, rates: [u64; Rate::ALL.len()]) {
        let slot = self.slot.load(Relaxed);
        let newest = self.newest.load(Relaxed);
        let length = u128::from((to - from).max(1));
        for number in (from / slot).max((newest + 1).saturating_sub(SLOTS as u64))..=newest {
            let begins = (number * slot).max(from);
            let ends = (number + 1).saturating_mul(slot).min(to);
            let part = u128::from(ends.saturating_sub(begins));
            self.add(number, rates.map(|used| (u128::from(used) * part / length) as u64));
        }
    }

    #[inline]
    fn add(&self, number: u64, rates: [u64; Rate::ALL.len()]) {
        for ((cells, sum), used) in self.cells.iter().zip(&self.sums).zip(rates) {
            let cell = &cells[(number % SLOTS as u64) as usize];
            cell.store(cell.load(Relaxed).saturating_add(used), Relaxed);
            sum.store(sum.load(Relaxed).saturating_add(used), Relaxed);
        }
    }

    pub(super) fn set_window(&self, window: Duration) {
        let slot = (nanos(window) / SLOTS as u64).max(1);
        if self.slot.swap(slot, Relaxed) != slot {
            self.forget_rates();
            self.newest.store(0, Relaxed);
            self.newest_ends_at.store(0, Relaxed);
        }
    }

    pub(super) fn forget_rates(&self) {
        for cell in self.cells.iter().flatten().chain(&self.sums) {
            cell.store(0, Relaxed);
        }
    }

    pub(super) fn set_memory(&self, bytes: u64) {
        self.last[CallBudget::Memory as usize].store(bytes, Relaxed);
    }
}
