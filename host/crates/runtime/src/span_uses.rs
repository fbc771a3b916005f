//! What each function of the host was used for in an open span, without a copy of what all of them were used for before it: of a function it is noted
//! what it had been used for when it is first called in the innermost span.

use glasshouse_model::HostFunction;
use glasshouse_model::invocation::HostUse;

/// Functions that are not told apart: to trace is not what a span is for, and each would have them.
const TRACING: u64 = bit(HostFunction::SpanStart) | bit(HostFunction::SpanEnd);

/// A function's place in a set of them.
pub(crate) const fn bit(function: HostFunction) -> u64 {
    1 << function as u64
}

/// The open spans of a call, outermost first.
#[derive(Debug)]
pub(crate) struct SpanUses {
    /// Functions of which nothing is to be noted: those that were called in the innermost span, or all if none is open.
    known: u64,
    levels: Vec<Level>,
    /// What functions had been used for, level by level: of each function at most once a level.
    before: Vec<HostUse>,
}

/// An open span.
#[derive(Debug)]
struct Level {
    /// What was known in the span around it when it began.
    outer_known: u64,
    /// Where its part of what was before begins.
    from: usize,
}

impl Default for SpanUses {
    fn default() -> Self {
        Self { known: u64::MAX, levels: Vec::new(), before: Vec::new() }
    }
}

impl SpanUses {
    /// Forgets all.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.known = u64::MAX;
        self.levels.clear();
        self.before.clear();
    }

    /// Whether a function, by its bit, is called for the first time in the innermost span.
    #[inline]
    pub(crate) fn is_new(&self, function: u64) -> bool {
        self.known & function == 0
    }

    /// Notes what a function that is new had been used for.
    #[cold]
    pub(crate) fn note(&mut self, before: HostUse) {
        self.known |= bit(before.function);
        self.before.push(before);
    }

    /// Begins a span in the innermost one.
    #[inline]
    pub(crate) fn open(&mut self) {
        self.levels.push(Level { outer_known: self.known, from: self.before.len() });
        self.known = TRACING;
    }

    /// What functions were used for in the span at a place, inner ones included, by what they are used for now.
    #[inline]
    pub(crate) fn within(&self, place: usize, now: impl Fn(HostFunction) -> HostUse) -> impl Iterator<Item = HostUse> {
        let from = self.levels.get(place).map_or(usize::MAX, |level| level.from);
        let mut seen = 0;
        self.before.get(from..).unwrap_or_default().iter().filter_map(move |before| {
            // What an inner span notes of a function, it notes later.
            if seen & bit(before.function) != 0 {
                return None;
            }
            seen |= bit(before.function);
            let now = now(before.function);
            let calls = now.calls.saturating_sub(before.calls);
            (calls > 0).then(|| HostUse {
                function: before.function,
                calls,
                nanos: now.nanos.saturating_sub(before.nanos),
                waited_nanos: now.waited_nanos.saturating_sub(before.waited_nanos),
            })
        })
    }

    /// Ends the span at a place: what was noted in it is noted in the one around it.
    #[inline]
    pub(crate) fn close(&mut self, place: usize) {
        if place >= self.levels.len() {
            return;
        }
        let Level { outer_known, from } = self.levels.remove(place);
        let (own, until) = match self.levels.get_mut(place) {
            Some(inner) => (&mut inner.outer_known, inner.from),
            None => (&mut self.known, self.before.len()),
        };
        *own |= outer_known;
        if until > from {
            self.hand_over(place, outer_known, from..until);
        }
    }

    /// Leaves out of a part of what was before the functions of a set.
    #[cold]
    fn hand_over(&mut self, place: usize, known: u64, part: std::ops::Range<usize>) {
        let end = part.end;
        let mut at = part.start;
        for from in part {
            let before = self.before[from];
            if known & bit(before.function) == 0 {
                self.before[at] = before;
                at += 1;
            }
        }
        self.before.drain(at..end);
        for inner in &mut self.levels[place..] {
            inner.from -= end - at;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Open,
        /// Closes the open span at such a place, where there are so many.
        Close(usize),
        Call(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Open),
            2 => (0..8_usize).prop_map(Step::Close),
            5 => (0..HostFunction::COUNT).prop_map(Step::Call),
            // Some are called often.
            5 => (0..4_usize).prop_map(Step::Call),
        ]
    }

    /// What all functions were used for.
    type All = [[u64; 3]; HostFunction::COUNT];

    fn used(all: &All, function: HostFunction) -> HostUse {
        let [calls, nanos, waited_nanos] = all[function as usize];
        HostUse { function, calls, nanos, waited_nanos }
    }

    fn check(uses: &SpanUses, place: usize, before: &All, now: &All) {
        let mut found: Vec<_> = uses.within(place, |function| used(now, function)).collect();
        found.sort_by_key(|one| one.function as u8);
        let all = HostFunction::ALL.iter().filter(|function| bit(**function) & TRACING == 0);
        let since = |function: &HostFunction| {
            let [calls, nanos, waited_nanos] =
                std::array::from_fn(|part| now[*function as usize][part] - before[*function as usize][part]);
            HostUse { function: *function, calls, nanos, waited_nanos }
        };
        let expected: Vec<_> = all.map(since).filter(|one| one.calls > 0).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn what_is_told_of_a_span_is_the_difference_of_what_all_functions_were_used_for_at_its_ends(
            steps in prop::collection::vec(step(), 0..120),
        ) {
            let (mut uses, mut now, mut open) = (SpanUses::default(), [[0; 3]; HostFunction::COUNT], Vec::<All>::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Open => {
                        uses.open();
                        open.push(now);
                    }
                    Step::Close(place) if place < open.len() => {
                        check(&uses, place, &open.remove(place), &now);
                        uses.close(place);
                    }
                    Step::Close(_) => {}
                    Step::Call(function) => {
                        let function = HostFunction::ALL[function];
                        if uses.is_new(bit(function)) {
                            uses.note(used(&now, function));
                        }
                        let [calls, nanos, waited_nanos] = &mut now[function as usize];
                        *calls += 1;
                        *nanos += number as u64;
                        *waited_nanos += 2;
                    }
                }
                prop_assert!(uses.before.len() <= open.len() * HostFunction::COUNT);
                prop_assert_eq!(uses.levels.len(), open.len());
            }
            for (place, before) in open.iter().enumerate() {
                check(&uses, place, before, &now);
            }
        }
    }
}
