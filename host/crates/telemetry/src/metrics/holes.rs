//! Which samples of a window nothing has told of yet.

use std::ops::Range;

/// Samples in a row that are not told of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) sequences: Range<u64>,
    /// What holds the times of all that are asked for: the window, or the run that they are of. Their neighbours' times say
    /// nothing of theirs, since the clock may have been set back.
    pub(super) times: Range<i64>,
}

/// What is left of a hole when runs have told of parts of it, one after the other.
pub(super) struct Left {
    holes: Vec<Hole>,
    /// What comes after the last run.
    rest: Hole,
}

impl Left {
    pub(super) fn of(hole: Hole) -> Self {
        Self { holes: Vec::new(), rest: hole }
    }

    /// Takes samples as told of, unless some of them are already, or are not of the hole.
    pub(super) fn tell(&mut self, sequences: Range<u64>) -> bool {
        if sequences.start < self.rest.sequences.start || sequences.end > self.rest.sequences.end {
            return false;
        }
        self.leave(self.rest.sequences.start..sequences.start, self.rest.times.clone());
        self.rest.sequences.start = sequences.end;
        true
    }

    /// Leaves samples to others, of which it is known when they were recorded.
    pub(super) fn pass_over(&mut self, sequences: Range<u64>, times: Range<i64>) {
        if self.tell(sequences.clone()) {
            self.leave(sequences, times);
        }
    }

    fn leave(&mut self, sequences: Range<u64>, times: Range<i64>) {
        match self.holes.last_mut() {
            _ if sequences.is_empty() => {}
            Some(last) if last.sequences.end == sequences.start && last.times == times => {
                last.sequences.end = sequences.end;
            }
            _ => self.holes.push(Hole { sequences, times }),
        }
    }

    pub(super) fn finish(mut self) -> Vec<Hole> {
        self.leave(self.rest.sequences.clone(), self.rest.times.clone());
        self.holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_sample_is_told_of_once_or_in_a_hole_that_has_its_time(
            runs in prop::collection::vec((1..200_u64, 1..30_u64, any::<bool>()), 0..40), sample in 10..200_u64,
        ) {
            let mut left = Left::of(Hole { sequences: 10..200, times: 0..9 });
            let mut told = 0;
            let mut known = false;
            let mut to = 10;
            for (from, length, is_told) in runs {
                let run = from..from + length;
                let is_after = run.start >= to && run.end <= 200;
                if is_after {
                    to = run.end;
                }
                if is_told {
                    prop_assert_eq!(left.tell(run.clone()), is_after);
                    told += usize::from(is_after && run.contains(&sample));
                } else {
                    left.pass_over(run.clone(), 3..4);
                    known |= is_after && run.contains(&sample);
                }
            }
            let holes = left.finish();
            prop_assert!(holes.windows(2).all(|pair| pair[0].sequences.end <= pair[1].sequences.start), "{:?}", holes);
            let holes: Vec<_> = holes.into_iter().filter(|hole| hole.sequences.contains(&sample)).collect();
            prop_assert_eq!(told + holes.len(), 1);
            prop_assert!(holes.iter().all(|hole| hole.times == if known { 3..4 } else { 0..9 }), "{:?}", holes);
        }
    }

    #[test]
    fn what_is_passed_over_in_a_row_is_one_hole() {
        let mut left = Left::of(Hole { sequences: 1..u64::MAX, times: 0..9 });
        left.pass_over(1..5, 3..4);
        left.pass_over(5..7, 3..4);
        assert!(left.tell(7..9));
        let hole = |sequences, times| Hole { sequences, times };
        assert_eq!(left.finish(), [hole(1..7, 3..4), hole(9..u64::MAX, 0..9)]);
    }
}
