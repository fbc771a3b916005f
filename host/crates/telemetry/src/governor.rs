//! The overhead governor: decides how much detail an extension's telemetry may have, so that debugging stays under its limit.
//! A pure controller: once an interval it is told what was measured, and says whether to leave detail out or to bring it back.

/// What debugging costs is measured for, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Logs at trace and debug.
    Debug = 0,
    /// Logs at info.
    Info = 1,
    /// Spans.
    Span = 2,
    /// All that is never left out: logs at warning and above, samples, errors, alerts.
    Rest = 3,
}

impl Load {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Span, Self::Rest];
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();
}

glasshouse_model::wire::byte_enum! {
    /// How much detail an extension's telemetry has; each step keeps less than the one before it. Logs at warning and above,
    /// samples, errors, alerts, failed spans and what the host tells are kept at all of them.
    Detail {
        /// Everything that its settings ask for.
        Full = 0 "full",
        /// Trace and debug logs of one trace in ten only.
        SomeDebug = 1 "debug logs of one trace in ten",
        /// No trace and debug logs.
        NoDebug = 2 "no debug logs",
        /// And spans of one trace in ten only.
        SomeSpans = 3 "no debug logs, spans of one trace in ten",
        /// And info logs of one trace in ten only.
        SomeInfo = 4 "no debug logs, spans and info logs of one trace in ten",
        /// And no info logs, and only failed spans.
        Least = 5 "no logs below warning, failed spans only",
    }
}

/// The part of traces that is kept where some are.
pub(crate) const SOME: f64 = 0.1;

impl Detail {
    /// The part of traces that a load is kept for.
    pub(crate) fn kept(self, load: Load) -> f64 {
        match (load, self) {
            (Load::Rest, _) | (_, Self::Full) => 1.0,
            (Load::Debug, Self::SomeDebug)
            | (Load::Span, Self::SomeSpans | Self::SomeInfo)
            | (Load::Info, Self::SomeInfo) => SOME,
            (Load::Debug, _) | (_, Self::Least) => 0.0,
            (Load::Span | Load::Info, _) => 1.0,
        }
    }

    /// The part of a load's cost at full detail that is left, about. A log that is left out by its trace still crosses; one
    /// below the threshold is not even made. A span has to be kept until it is known whether it failed.
    fn cost_left(self, load: Load) -> f64 {
        let kept = self.kept(load);
        match load {
            Load::Span => 0.5 + 0.5 * kept,
            _ if kept == 0.0 => 0.0,
            _ => 0.3 + 0.7 * kept,
        }
    }
}

/// How often the governor decides, in nanoseconds.
pub(crate) const INTERVAL_NANOS: u64 = 1_000_000_000;
/// The part of a processor that debugging must cost before anything is left out: an extension that is called now and then
/// may spend much of its little time on a log, and nobody gains by leaving it out.
const LEAST_PART: f64 = 0.01;
/// The part of the cost that a step must save, unless it brings it under the limit: detail is not given away for less.
const WORTH_SAVING: f64 = 0.05;
/// The part of the limit under which there is room for more detail.
const ROOM: f64 = 0.8;
/// Intervals with room before detail comes back, first and at most: each return that was too much doubles them.
const PATIENCE: u64 = 2;
const MOST_PATIENCE: u64 = 32;

/// What was measured since the last decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    /// What debugging cost, by load, in nanoseconds.
    pub(crate) costs: [u64; Load::COUNT],
    /// CPU time of the extension, what debugging cost included, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// How long it was, in nanoseconds.
    pub(crate) elapsed_nanos: u64,
}

impl Measured {
    /// What debugging cost, in nanoseconds.
    pub(crate) fn cost_nanos(&self) -> u64 {
        self.costs.iter().sum()
    }

    /// The part of the extension's CPU time that debugging took, in percent.
    pub(crate) fn percent(&self) -> f64 {
        percent(self.cost_nanos(), self.cpu_nanos)
    }

    fn is_worth_acting(&self) -> bool {
        self.cost_nanos() as f64 > LEAST_PART * self.elapsed_nanos as f64
    }
}

/// A cost as a part of CPU time. It is estimated from samples, so that it could come out over all of the time.
pub(crate) fn percent(cost_nanos: u64, cpu_nanos: u64) -> f64 {
    if cost_nanos == 0 { 0.0 } else { (100.0 * cost_nanos as f64 / cpu_nanos.max(1) as f64).min(100.0) }
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    /// All stays as it is.
    Stay,
    /// Less detail, or more.
    Step { from: Detail, to: Detail },
    /// It costs too much, and nothing that may be left out would help.
    Stuck,
}

/// The controller's state.
#[derive(Clone, Debug)]
pub(crate) struct Governor {
    detail: Detail,
    /// Intervals with room, one after the other.
    calm: u64,
    /// Intervals over the limit, one after the other.
    over: usize,
    patience: u64,
    /// Intervals since detail came back, if it did since it was last left out.
    since_return: Option<u64>,
    /// What debugging cost at each detail when it was first calm there since detail was last left out, in percent.
    calm_percents: [Option<f64>; Detail::ALL.len()],
    is_stuck: bool,
}

impl Default for Governor {
    fn default() -> Self {
        Self {
            detail: Detail::Full,
            calm: 0,
            over: 0,
            patience: PATIENCE,
            since_return: None,
            calm_percents: Default::default(),
            is_stuck: false,
        }
    }
}

impl Governor {
    pub(crate) fn detail(&self) -> Detail {
        self.detail
    }

    /// Decides after an interval, under a limit in percent.
    pub(crate) fn decide(&mut self, measured: &Measured, limit: f64) -> Decision {
        let intervals = (measured.elapsed_nanos / INTERVAL_NANOS).max(1);
        if let Some(since) = &mut self.since_return {
            *since = since.saturating_add(intervals);
        }
        let percent = measured.percent();
        if percent > limit && measured.is_worth_acting() {
            return self.leave_out(measured, limit);
        }
        self.over = 0;
        self.is_stuck = false;
        if self.detail == Detail::Full {
            self.forgive();
            return Decision::Stay;
        }
        if percent > ROOM * limit && measured.is_worth_acting() {
            self.calm = 0;
            return Decision::Stay;
        }
        // Compared with the same detail only: with less of it, all loads cost less.
        if percent < *self.calm_percents[self.detail as usize].get_or_insert(percent) / 2.0 {
            // What it has to do has changed.
            self.patience = PATIENCE;
        }
        self.calm = self.calm.saturating_add(intervals);
        if self.calm < self.patience {
            return Decision::Stay;
        }
        self.bring_back()
    }

    /// Takes the first step by which the cost should come under the limit; at least as many as there were intervals over it.
    fn leave_out(&mut self, measured: &Measured, limit: f64) -> Decision {
        self.calm = 0;
        self.over += 1;
        if self.since_return.take().is_some_and(|since| since <= PATIENCE) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
        self.calm_percents = Default::default();
        let allowed = limit / 100.0 * measured.cpu_nanos as f64;
        let mut best = (self.detail, measured.cost_nanos() as f64);
        let mut helpful = 0;
        for next in Detail::ALL.iter().filter(|next| **next > self.detail) {
            let expected = self.expected(*next, measured);
            // What is not spent on debugging is not spent at all.
            let saved = measured.cost_nanos() as f64 - expected;
            let suffices = expected <= allowed - limit / 100.0 * saved;
            if expected < (1.0 - WORTH_SAVING) * best.1 || (suffices && expected < best.1) {
                best = (*next, expected);
                helpful += 1;
                if suffices && helpful >= self.over {
                    break;
                }
            }
        }
        if best.0 == self.detail {
            let told = std::mem::replace(&mut self.is_stuck, true);
            return if told { Decision::Stay } else { Decision::Stuck };
        }
        let from = std::mem::replace(&mut self.detail, best.0);
        Decision::Step { from, to: best.0 }
    }

    /// What debugging would have cost with less detail, in nanoseconds.
    fn expected(&self, next: Detail, measured: &Measured) -> f64 {
        let loads = [Load::Debug, Load::Info, Load::Span, Load::Rest];
        let left = |load: Load| {
            let now = self.detail.cost_left(load);
            if now == 0.0 { 1.0 } else { next.cost_left(load) / now }
        };
        loads.iter().map(|load| measured.costs[*load as usize] as f64 * left(*load)).sum()
    }

    fn bring_back(&mut self) -> Decision {
        let from = self.detail;
        let to = Detail::ALL[from as usize - 1];
        self.detail = to;
        self.calm = 0;
        self.since_return = Some(0);
        Decision::Step { from, to }
    }

    /// A return that went well for long enough is forgotten.
    fn forgive(&mut self) {
        if self.since_return.is_some_and(|since| since > self.patience) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An extension that would spend so many nanoseconds a second on each load at full detail, and on its own work.
    #[derive(Clone, Copy, Debug)]
    struct Extension {
        demand: [f64; Load::COUNT],
        work: f64,
        /// The part of the cost of a log or span that leaving it out does not save.
        stays: [f64; Load::COUNT],
    }

    impl Extension {
        /// What is measured in a second at that detail. A log below the threshold costs nothing.
        fn second(&self, detail: Detail) -> Measured {
            let costs = std::array::from_fn(|index| {
                let load = [Load::Debug, Load::Info, Load::Span, Load::Rest][index];
                let (kept, stays) = (detail.kept(load), self.stays[index]);
                let left = if kept == 0.0 && load != Load::Span { 0.0 } else { stays + (1.0 - stays) * kept };
                (self.demand[index] * left) as u64
            });
            let cpu_nanos = self.work as u64 + costs.iter().sum::<u64>();
            Measured { costs, cpu_nanos, elapsed_nanos: INTERVAL_NANOS }
        }

        fn times(self, factor: f64) -> Self {
            Self { demand: self.demand.map(|demand| demand * factor), ..self }
        }

        fn is_over(&self, detail: Detail, limit: f64) -> bool {
            let measured = self.second(detail);
            measured.percent() > limit && measured.is_worth_acting()
        }
    }

    fn run(governor: &mut Governor, extension: &Extension, limit: f64, seconds: usize) -> Vec<Decision> {
        (0..seconds).map(|_| governor.decide(&extension.second(governor.detail()), limit)).collect()
    }

    const LIMIT: f64 = 5.0;

    /// Spends the same on debug logs, info logs, spans and the rest; together the given percentage of all.
    fn even(percent: f64) -> Extension {
        let work = 0.4e9;
        let demand = work * percent / (100.0 - percent) / Load::COUNT as f64;
        Extension { demand: [demand; Load::COUNT], work, stays: [0.3, 0.3, 0.5, 1.0] }
    }

    #[test]
    fn under_the_limit_nothing_is_left_out() {
        let mut governor = Governor::default();
        assert!(run(&mut governor, &even(4.9), LIMIT, 100).iter().all(|decision| *decision == Decision::Stay));
    }

    #[test]
    fn detail_goes_in_the_order_of_the_steps_and_no_further_than_it_has_to() {
        let mut governor = Governor::default();
        assert_eq!(
            run(&mut governor, &even(6.0), LIMIT, 2),
            [Decision::Step { from: Detail::Full, to: Detail::NoDebug }, Decision::Stay]
        );
        let mut governor = Governor::default();
        run(&mut governor, &even(10.0), LIMIT, 5);
        assert_eq!(governor.detail(), Detail::Least);
    }

    #[test]
    fn what_costs_less_than_a_hundredth_of_a_processor_is_left_alone() {
        let tiny = Extension { demand: [9e6, 0.0, 0.0, 0.0], work: 1e6, stays: [0.3; 4] };
        assert!(tiny.second(Detail::Full).percent() > 80.0);
        let mut governor = Governor::default();
        assert!(run(&mut governor, &tiny, LIMIT, 100).iter().all(|decision| *decision == Decision::Stay));
    }

    #[test]
    fn a_limit_of_a_hundred_percent_is_none() {
        let mut governor = Governor::default();
        assert!(run(&mut governor, &even(99.0), 100.0, 10).iter().all(|decision| *decision == Decision::Stay));
    }

    #[test]
    fn what_cannot_be_helped_is_said_once_and_nothing_is_left_out_for_it() {
        let samples = Extension { demand: [0.0, 0.0, 0.0, 0.5e9], work: 0.4e9, stays: [0.3; 4] };
        let mut governor = Governor::default();
        let decisions = run(&mut governor, &samples, LIMIT, 10);
        assert_eq!(decisions[0], Decision::Stuck);
        assert!(decisions[1..].iter().all(|decision| *decision == Decision::Stay));
        assert_eq!(governor.detail(), Detail::Full);
    }

    #[test]
    fn detail_that_would_save_next_to_nothing_is_kept() {
        let mostly_samples = Extension { demand: [1e6, 1e6, 1e6, 0.2e9], work: 0.4e9, stays: [0.3; 4] };
        let mut governor = Governor::default();
        assert_eq!(run(&mut governor, &mostly_samples, LIMIT, 2), [Decision::Stuck, Decision::Stay]);
        // Unless it is enough to come under the limit.
        let just_over = Extension { demand: [0.5e6, 0.0, 0.0, 24.8e6], work: 475e6, stays: [0.3; 4] };
        assert!(just_over.second(Detail::Full).percent() > LIMIT);
        let step = Decision::Step { from: Detail::Full, to: Detail::SomeDebug };
        assert_eq!(run(&mut Governor::default(), &just_over, LIMIT, 1), [step]);
    }

    #[test]
    fn an_idle_extension_gets_its_detail_back_at_its_next_call() {
        let mut governor = Governor::default();
        run(&mut governor, &even(30.0), LIMIT, 5);
        let idle = Measured { elapsed_nanos: 60 * INTERVAL_NANOS, ..Measured::default() };
        let back: Vec<_> = (0..Detail::ALL.len()).map(|_| governor.decide(&idle, LIMIT)).collect();
        assert_eq!((governor.detail(), back.last()), (Detail::Full, Some(&Decision::Stay)));
    }

    #[test]
    fn under_a_steady_load_returns_become_rare() {
        let mut governor = Governor::default();
        let load = even(10.0);
        run(&mut governor, &load, LIMIT, 300);
        let steps = run(&mut governor, &load, LIMIT, 320).iter().filter(|one| **one != Decision::Stay).count();
        assert!(steps <= 22, "{steps} steps in 320 intervals: two for each 32");
    }

    #[test]
    fn returns_become_rare_also_where_less_detail_costs_far_less() {
        let info = Extension { demand: [0.0, 426e6, 0.0, 13e6], work: 374e6, stays: [0.0, 0.0, 0.0, 1.0] };
        let mut governor = Governor::default();
        run(&mut governor, &info, 31.0, 300);
        let steps = run(&mut governor, &info, 31.0, 320).iter().filter(|one| **one != Decision::Stay).count();
        assert!(steps <= 22, "{steps} steps in 320 intervals");
    }

    proptest! {
        #[test]
        fn a_ten_fold_step_of_the_load_converges_within_five_intervals_and_recovers_after(
            demand in prop::array::uniform4(0.0_f64..50e6),
            work in 1e6_f64..1e9,
            stays in prop::array::uniform3(0.0_f64..0.9),
            limit in 0.5_f64..50.0,
        ) {
            let [debug, info, span] = stays;
            let quiet = Extension { demand, work, stays: [debug, info, span, 1.0] };
            prop_assume!(!quiet.is_over(Detail::Full, limit * ROOM));
            let mut governor = Governor::default();
            prop_assert!(run(&mut governor, &quiet, limit, 20).iter().all(|one| *one == Decision::Stay));

            let loud = quiet.times(10.0);
            // Under the limit, or about at the least that leaving detail out can reach: five steps that save less than a
            // twentieth each are not taken, and what a span costs that is left out is not known.
            let least = loud.second(Detail::Least).cost_nanos() as f64 / (1.0 - 2.0 * WORTH_SAVING).powi(5);
            let holds = |detail| !loud.is_over(detail, limit) || loud.second(detail).cost_nanos() as f64 <= least;
            let mut reached = Vec::new();
            for _ in 0..300 {
                run(&mut governor, &loud, limit, 1);
                reached.push(governor.detail());
            }
            prop_assert!(reached[..5].iter().any(|detail| holds(*detail)), "{:?}", &reached[..5]);
            let over = reached[5..].iter().filter(|detail| !holds(**detail)).count();
            prop_assert!(over <= 30, "over the limit in {} of 295 intervals: {:?}", over, reached);

            let steps = Detail::ALL.len();
            run(&mut governor, &quiet, limit, steps * MOST_PATIENCE as usize);
            prop_assert_eq!(governor.detail(), Detail::Full);
        }

        #[test]
        fn whatever_is_measured_a_step_is_one_that_exists_and_goes_back_by_one(
            seconds in prop::collection::vec(
                (prop::array::uniform4(0_u64..1 << 62), 0_u64..u64::MAX, 0_u64..u64::MAX), 1..60),
            limit in 0.0_f64..100.0,
        ) {
            let mut governor = Governor::default();
            for (costs, cpu_nanos, elapsed_nanos) in seconds {
                let before = governor.detail();
                match governor.decide(&Measured { costs: costs.map(|cost| cost / 4), cpu_nanos, elapsed_nanos }, limit) {
                    Decision::Step { from, to } => {
                        prop_assert_eq!((from, governor.detail()), (before, to));
                        prop_assert!(to > from || to as u8 + 1 == from as u8);
                    }
                    Decision::Stay | Decision::Stuck => prop_assert_eq!(governor.detail(), before),
                }
            }
        }
    }
}
