//! Which samples of a window rollups have told of, and where the others are.

use std::ops::Range;

/// Samples in a row that are told of, or are known to be outside of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    from: u64,
    to: u64,
    /// The time that they are of.
    start: i64,
    end: i64,
}

/// The samples that are told of, by sequence number.
#[derive(Debug, Default)]
pub(super) struct Cover(Vec<Told>);

/// Samples that are not told of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) sequences: Range<u64>,
    /// When they were recorded, if the clock was not set meanwhile.
    pub(super) times: Range<i64>,
}

impl Cover {
    /// Takes samples as told of, unless some of them are already.
    pub(super) fn add(&mut self, sequences: Range<u64>, times: Range<i64>) -> bool {
        let Range { start: from, end: to } = sequences;
        let at = self.0.partition_point(|told| told.from < from);
        let is_free = self.0.get(at).is_none_or(|next| to <= next.from) && (at == 0 || self.0[at - 1].to <= from);
        if is_free {
            self.0.insert(at, Told { from, to, start: times.start, end: times.end });
        }
        is_free
    }

    /// What is between, before and after them.
    pub(super) fn holes(&self) -> Vec<Hole> {
        let mut holes = Vec::new();
        let (mut from, mut since) = (1, i64::MIN);
        for told in &self.0 {
            if from < told.from {
                holes.push(Hole { sequences: from..told.from, times: since.min(told.start)..told.end.max(since) });
            }
            (from, since) = (told.to, told.start);
        }
        holes.push(Hole { sequences: from..u64::MAX, times: since..i64::MAX });
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_sample_is_told_of_once_or_in_a_hole(
            runs in prop::collection::vec((1..200_u64, 1..30_u64), 0..40), sample in 1..300_u64,
        ) {
            let mut cover = Cover::default();
            let mut taken: Vec<Range<u64>> = Vec::new();
            for (from, length) in runs {
                let run = from..from + length;
                let overlaps = taken.iter().any(|taken| taken.start < run.end && run.start < taken.end);
                prop_assert_eq!(cover.add(run.clone(), from as i64..(from + length) as i64), !overlaps);
                if !overlaps {
                    taken.push(run);
                }
            }
            let told = taken.iter().filter(|run| run.contains(&sample)).count();
            let holes: Vec<_> = cover.holes().into_iter().filter(|hole| hole.sequences.contains(&sample)).collect();
            prop_assert_eq!(told + holes.len(), 1);
            prop_assert!(holes.iter().all(|hole| hole.times.contains(&(sample as i64))), "{:?}", holes);
        }
    }
}
