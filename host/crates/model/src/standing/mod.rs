//! How an extension stands with its budget: healthy, warned, throttled, quarantined or probing. A state machine without a clock
//! and without I/O: finished calls and the time go in, transitions with their evidence come out.
//!
//! ```
//! use glasshouse_model::settings::Budget;
//! use glasshouse_model::standing::{End, Spent, Standing, State};
//!
//! let mut standing = Standing::new(&Budget::default());
//! let spent = Spent { fuel: 1_900_000_000, ..Spent::default() };
//! let transition = standing.ended(&spent, End::Answered).expect("it used nearly all of its fuel");
//! assert!(matches!(transition.to, State::Warned { .. }));
//! assert_eq!(
//!     transition.evidence.to_string(),
//!     "a call used 1.90 G of fuel, 95 % of budget.fuel_per_call (2.00 G)"
//! );
//! ```

mod evidence;
mod uses;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::settings::Budget;
pub use evidence::{Cause, Evidence};
pub use uses::{CallBudget, Rate, Uses};

use uses::CALL_BUDGETS;

/// A quarantine that a probe did not end lasts twice as long as the one before, up to so many times the first.
const LONGEST_QUARANTINE: u32 = 16;
/// What a throttled extension may use of its rate, in percent: calls are spaced for that, so that its use falls below the rate.
const PACE: u128 = 90;
/// The use of all rates, in percent, at which throttling ends. It lies below [`PACE`], so that an extension that goes on asking for more than
/// its rate stays throttled, and does not come and go.
const RELIEF: u64 = 75;

/// How an extension stands. Times are in `Clock::monotonic_nanos`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is well within its budgets.
    Healthy,
    /// It used more of a budget than [`Budget::warn_at`]. Its calls go on as ever.
    Warned {
        /// Since when.
        since: u64,
        /// What it used.
        evidence: Evidence,
    },
    /// It is over a rate: its calls are spaced until its use is well under the rate.
    Throttled {
        /// Since when.
        since: u64,
        /// What it used.
        evidence: Evidence,
    },
    /// It takes no calls.
    Quarantined {
        /// Since when.
        since: u64,
        /// When a call may probe it.
        until: u64,
        /// What it did.
        evidence: Evidence,
    },
    /// One call is tried.
    Probing {
        /// Since when.
        since: u64,
        /// What it was quarantined for.
        evidence: Evidence,
    },
}

impl State {
    /// One word for lists and records.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warned { .. } => "warned",
            Self::Throttled { .. } => "throttled",
            Self::Quarantined { .. } => "quarantined",
            Self::Probing { .. } => "probing",
        }
    }

    /// Why it is not healthy.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Healthy => None,
            Self::Warned { evidence, .. }
            | Self::Throttled { evidence, .. }
            | Self::Quarantined { evidence, .. }
            | Self::Probing { evidence, .. } => Some(evidence),
        }
    }

    /// Since when it is not healthy.
    pub fn since(&self) -> Option<u64> {
        match *self {
            Self::Healthy => None,
            Self::Warned { since, .. }
            | Self::Throttled { since, .. }
            | Self::Quarantined { since, .. }
            | Self::Probing { since, .. } => Some(since),
        }
    }
}

/// A step from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The word of the state before.
    pub from: &'static str,
    /// The state after.
    pub to: State,
    /// What led to it; for a step towards health, what it had been for.
    pub evidence: Evidence,
}

/// What a finished invocation used. Times are in `Clock::monotonic_nanos`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// When it began.
    pub began_at: u64,
    /// From its start to its end.
    pub elapsed_nanos: u64,
    /// Wasm fuel.
    pub fuel: u64,
    /// CPU time.
    pub cpu_nanos: u64,
    /// The instance's linear memory at its end.
    pub memory_bytes: u64,
}

/// How an invocation ended, as far as the extension is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// It answered, if only with an error.
    Answered,
    /// It failed; the text says how.
    Failed(&'a str),
    /// It was given up, or failed by the host's fault: it says nothing about the extension.
    Void,
}

/// The budgets in the form in which they are compared.
#[derive(Debug, PartialEq)]
struct Limits {
    call: [u64; CALL_BUDGETS],
    /// What each rate allows in a window.
    rate: [u64; Rate::ALL.len()],
    window: Duration,
    warn_percent: u64,
    /// Bytes of memory that are most of what there may be.
    much_memory: u64,
    failures_in_a_row: u32,
    quarantine: Duration,
    throttle_limit: Duration,
}

impl Limits {
    fn new(budget: &Budget) -> Self {
        let much_memory = u128::from(CallBudget::Memory.limit(budget)) * u128::from(budget.warn_at);
        Self {
            call: std::array::from_fn(|index| CallBudget::ALL[index].limit(budget)),
            much_memory: u64::try_from(much_memory.div_ceil(100)).unwrap_or(u64::MAX),
            rate: std::array::from_fn(|index| Rate::ALL[index].limit(budget)),
            window: budget.rate_window,
            warn_percent: u64::from(budget.warn_at),
            failures_in_a_row: budget.failures_in_a_row,
            quarantine: budget.quarantine,
            throttle_limit: budget.throttle_limit,
        }
    }

    fn evidence(&self, rate: Rate, used: u64) -> Evidence {
        Evidence {
            cause: Cause::Rate { window: self.window },
            budget: rate.key(),
            used,
            limit: self.rate[rate as usize],
            detail: String::new(),
        }
    }
}

/// Whether a part of a whole reaches so many percent of it.
fn reaches(used: u64, limit: u64, percent: u64) -> bool {
    u128::from(used) * 100 >= u128::from(limit) * u128::from(percent)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The state machine of one extension. Its owner tells it of each finished invocation.
#[derive(Debug)]
pub struct Standing {
    state: State,
    limits: Limits,
    uses: Arc<Uses>,
    quarantines_in_a_row: u32,
    /// When it last used enough to be warned of.
    warned_at: u64,
    /// While it is throttled: when its next call may begin.
    next_call_at: u64,
}

impl Standing {
    /// A healthy extension.
    pub fn new(budget: &Budget) -> Self {
        let limits = Limits::new(budget);
        let uses = Arc::new(Uses::new(limits.window));
        Self { state: State::Healthy, limits, uses, quarantines_in_a_row: 0, warned_at: 0, next_call_at: 0 }
    }

    /// Goes by another budget from now on. With another window, what was used before is forgotten.
    pub fn configure(&mut self, budget: &Budget) {
        let limits = Limits::new(budget);
        if limits != self.limits {
            self.uses.set_window(limits.window);
            self.limits = limits;
            self.next_call_at = 0;
        }
    }

    /// How it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it uses, for others to read.
    pub fn uses(&self) -> &Arc<Uses> {
        &self.uses
    }

    /// How long its next call has to wait, so that its use falls below its rates. Never for an extension that is not throttled.
    pub fn wait(&self, now: u64) -> Duration {
        Duration::from_nanos(self.next_call_at().saturating_sub(now))
    }

    /// When its next call may begin; 0 if it is not throttled.
    pub fn next_call_at(&self) -> u64 {
        if matches!(self.state, State::Throttled { .. }) { self.next_call_at } else { 0 }
    }

    /// Whether so many bytes of memory are so large a part of what it may have that it is warned of.
    #[inline]
    pub fn is_much_memory(&self, bytes: u64) -> bool {
        bytes >= self.limits.much_memory
    }

    /// What so many bytes of memory are of what it may have.
    pub fn evidence_of_memory(&self, bytes: u64) -> Evidence {
        let limit = self.limits.call[CallBudget::Memory as usize];
        let budget = CallBudget::Memory.key();
        Evidence { cause: Cause::Call, budget, used: bytes, limit, detail: String::new() }
    }

    /// An invocation has ended. Costs some nanoseconds where nothing is to be said.
    #[inline]
    pub fn ended(&mut self, spent: &Spent, end: End<'_>) -> Option<Transition> {
        let now = spent.began_at.saturating_add(spent.elapsed_nanos);
        let call = [spent.fuel, spent.elapsed_nanos, spent.memory_bytes];
        self.uses.note(spent.began_at, now, [spent.fuel, spent.cpu_nanos], call);
        let warns = |used: u64, limit: u64| reaches(used, limit, self.limits.warn_percent);
        let is_much = (0..CALL_BUDGETS).any(|index| warns(call[index], self.limits.call[index]))
            || Rate::ALL.iter().any(|rate| warns(self.uses.sum(*rate), self.limits.rate[*rate as usize]));
        if !is_much && end == End::Answered && self.state == State::Healthy {
            self.forgive();
            return None;
        }
        self.judge(spent, now, call, end)
    }

    #[cold]
    fn judge(&mut self, spent: &Spent, now: u64, call: [u64; CALL_BUDGETS], end: End<'_>) -> Option<Transition> {
        match end {
            End::Failed(failure) => {
                if let Some(transition) = self.failed(now, failure) {
                    return Some(transition);
                }
            }
            End::Answered => {
                self.forgive();
                if let State::Probing { evidence, .. } = &self.state {
                    let evidence = evidence.clone();
                    return Some(self.go(State::Healthy, evidence));
                }
            }
            End::Void => {}
        }
        if matches!(self.state, State::Quarantined { .. } | State::Probing { .. }) {
            return None;
        }
        let over = self.most_used_rate().filter(|evidence| evidence.used > evidence.limit);
        if let Some(evidence) = over {
            return self.over(spent, now, evidence);
        }
        if let State::Throttled { since, .. } = self.state {
            self.space(spent);
            return self.relieve(now).or_else(|| self.give_up(now, since));
        }
        let Some(evidence) = self.most_used(call) else { return self.passed(now) };
        if is_of_memory(&evidence) && self.is_warned_of_work(now) {
            return None;
        }
        self.warned_at = now;
        match &mut self.state {
            // Memory is large for long, and hides nothing else.
            State::Warned { since, evidence: known } if is_of_memory(known) != is_of_memory(&evidence) => {
                let since = *since;
                Some(self.go(State::Warned { since, evidence: evidence.clone() }, evidence))
            }
            State::Warned { evidence: known, .. } => {
                *known = evidence;
                None
            }
            _ => Some(self.go(State::Warned { since: now, evidence: evidence.clone() }, evidence)),
        }
    }

    /// Whether it is warned of what it does, and not of what it holds, and did so within the window.
    fn is_warned_of_work(&self, now: u64) -> bool {
        let is_recent = now.saturating_sub(self.warned_at) < nanos(self.limits.window);
        is_recent && matches!(&self.state, State::Warned { evidence, .. } if !is_of_memory(evidence))
    }

    /// Time has passed without a call.
    pub fn passed(&mut self, now: u64) -> Option<Transition> {
        self.uses.advance(now);
        match self.state {
            State::Throttled { .. } => self.relieve(now),
            State::Warned { ref evidence, .. } => {
                let is_recent = now.saturating_sub(self.warned_at) < nanos(self.limits.window);
                let (used, limit) = (self.uses.last(CallBudget::Memory), self.limits.call[CallBudget::Memory as usize]);
                let is_large = reaches(used, limit, self.limits.warn_percent);
                let rate = self.most_used_rate()?;
                if is_recent || reaches(rate.used, rate.limit, self.limits.warn_percent) {
                    return None;
                }
                if !is_large {
                    let evidence = evidence.clone();
                    return Some(self.go(State::Healthy, evidence));
                }
                if is_of_memory(evidence) {
                    return None;
                }
                // What it does is over, and what it holds is left.
                let evidence = of_call(CallBudget::Memory, used, limit);
                Some(self.go(State::Warned { since: now, evidence: evidence.clone() }, evidence))
            }
            _ => None,
        }
    }

    /// A call is about to begin: a quarantine that is over becomes a probe. The error tells for how long there is none.
    pub fn begin(&mut self, now: u64) -> Result<Option<Transition>, Duration> {
        match &self.state {
            State::Quarantined { until, .. } if *until > now => Err(Duration::from_nanos(until - now)),
            State::Quarantined { evidence, .. } => {
                let evidence = evidence.clone();
                Ok(Some(self.go(State::Probing { since: now, evidence: evidence.clone() }, evidence)))
            }
            _ => Ok(None),
        }
    }

    /// The operator says that all is well again: rates begin anew, failures are forgotten.
    pub fn release(&mut self) -> Option<Transition> {
        self.forgive();
        self.uses.forget_rates();
        let evidence = self.state.evidence()?.clone();
        Some(self.go(State::Healthy, evidence))
    }

    /// The instance is gone, and its memory with it.
    pub fn instance_gone(&mut self) {
        self.uses.set_memory(0);
    }

    /// A call went well, or the operator says so.
    #[inline]
    fn forgive(&mut self) {
        self.quarantines_in_a_row = 0;
        self.uses.set_failures(0);
    }

    fn go(&mut self, to: State, evidence: Evidence) -> Transition {
        let from = std::mem::replace(&mut self.state, to.clone()).word();
        Transition { from, to, evidence }
    }

    fn failed(&mut self, now: u64, failure: &str) -> Option<Transition> {
        let failures = self.uses.failures_in_a_row() + 1;
        self.uses.set_failures(failures);
        let cause = match self.state {
            State::Quarantined { .. } => return None,
            State::Probing { .. } => Cause::ProbeFailed,
            _ if failures >= u64::from(self.limits.failures_in_a_row) => Cause::Failures,
            _ => return None,
        };
        let evidence = Evidence {
            cause,
            budget: "budget.failures_in_a_row",
            used: failures,
            limit: u64::from(self.limits.failures_in_a_row),
            detail: failure.to_owned(),
        };
        Some(self.quarantine(now, evidence))
    }

    fn quarantine(&mut self, now: u64, evidence: Evidence) -> Transition {
        let times = 1_u32.checked_shl(self.quarantines_in_a_row).unwrap_or(u32::MAX).min(LONGEST_QUARANTINE);
        let until = now.saturating_add(nanos(self.limits.quarantine.saturating_mul(times)));
        self.quarantines_in_a_row = self.quarantines_in_a_row.saturating_add(1);
        self.uses.set_failures(0);
        self.go(State::Quarantined { since: now, until, evidence: evidence.clone() }, evidence)
    }

    /// It is over a rate.
    fn over(&mut self, spent: &Spent, now: u64, evidence: Evidence) -> Option<Transition> {
        if let State::Throttled { since, evidence: known } = &mut self.state {
            let since = *since;
            *known = evidence;
            self.space(spent);
            return self.give_up(now, since);
        }
        self.next_call_at = 0;
        self.space(spent);
        Some(self.go(State::Throttled { since: now, evidence: evidence.clone() }, evidence))
    }

    /// Puts the next call so far off that this one stays within [`PACE`] of each rate.
    fn space(&mut self, spent: &Spent) {
        let window = self.limits.window.as_nanos();
        for &rate in Rate::ALL {
            let used = u128::from(rate.of(spent));
            let apart = used.saturating_mul(window) / u128::from(self.limits.rate[rate as usize]) * 100 / PACE;
            let next = spent.began_at.saturating_add(u64::try_from(apart).unwrap_or(u64::MAX));
            self.next_call_at = self.next_call_at.max(next);
        }
    }

    /// Ends throttling where the use has fallen enough and the last call is paid for.
    fn relieve(&mut self, now: u64) -> Option<Transition> {
        let rate = self.most_used_rate()?;
        if reaches(rate.used, rate.limit, RELIEF) || self.next_call_at > now {
            return None;
        }
        self.warned_at = now;
        if reaches(rate.used, rate.limit, self.limits.warn_percent) {
            return Some(self.go(State::Warned { since: now, evidence: rate.clone() }, rate));
        }
        let evidence = self.state.evidence()?.clone();
        Some(self.go(State::Healthy, evidence))
    }

    /// Quarantines what asks for more than its rate for too long.
    fn give_up(&mut self, now: u64, since: u64) -> Option<Transition> {
        let length = Duration::from_nanos(now.saturating_sub(since));
        if length < self.limits.throttle_limit {
            return None;
        }
        let evidence = self.state.evidence()?.clone();
        let evidence = Evidence { cause: Cause::Throttled { length, window: self.limits.window }, ..evidence };
        Some(self.quarantine(now, evidence))
    }

    /// The rate of which most is used.
    fn most_used_rate(&self) -> Option<Evidence> {
        let all = Rate::ALL.iter().map(|rate| self.limits.evidence(*rate, self.uses.sum(*rate)));
        all.max_by_key(Evidence::share_permille)
    }

    /// The budget of which most was used, if that is enough to warn; memory only if no other is.
    fn most_used(&self, call: [u64; CALL_BUDGETS]) -> Option<Evidence> {
        let of_calls = CallBudget::ALL
            .iter()
            .map(|budget| of_call(*budget, call[*budget as usize], self.limits.call[*budget as usize]));
        let warns = |one: &Evidence| reaches(one.used, one.limit, self.limits.warn_percent);
        let much = of_calls.chain(self.most_used_rate()).filter(warns);
        much.max_by_key(|one| (!is_of_memory(one), one.share_permille()))
    }
}

/// What a call used of a budget.
fn of_call(budget: CallBudget, used: u64, limit: u64) -> Evidence {
    Evidence { cause: Cause::Call, budget: budget.key(), used, limit, detail: String::new() }
}

fn is_of_memory(evidence: &Evidence) -> bool {
    evidence.budget == CallBudget::Memory.key()
}
