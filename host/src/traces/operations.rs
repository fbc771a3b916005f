//! What calls and spans took, by name; counted as if every trace had been kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Work;

/// Calls of one export and event, or spans of one name, of one extension. Where a part of traces is kept, figures are for all of them: each span counts as
/// often as it stands for others ([`SpanRecord::adjusted_count`](crate::records::SpanRecord::adjusted_count)). Calls are always stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Whose they are.
    pub extension: String,
    /// The export and event, or the span's name.
    pub name: String,
    /// Whether they are spans.
    pub is_span: bool,
    /// How many.
    pub count: u64,
    /// How many of them are stored.
    pub stored: u64,
    /// Whether the figures are estimated from a part of them; where none of the stored ones stands for others, they are those of what is stored,
    /// and there were more.
    pub is_estimate: bool,
    /// How many of them failed, or answered an error. These are always stored.
    pub failed: u64,
    /// Their wall time in all, without the mailbox, in nanoseconds.
    pub total_ns: u64,
    /// The time that half of them took at most.
    pub p50_ns: u64,
    /// The time that all but a twentieth took at most.
    pub p95_ns: u64,
    /// The longest time of those that are stored.
    pub max_ns: u64,
    /// Fuel in all; absent where none is counted.
    pub fuel: Option<u64>,
}

/// Operations that are being counted.
#[derive(Default)]
pub(super) struct Operations(BTreeMap<(String, String, bool), Vec<Taken>>);

/// What one call or span took.
struct Taken {
    nanos: u64,
    fuel: Option<u64>,
    failed: bool,
    /// How many it stands for.
    count: f64,
}

impl Operations {
    pub(super) fn add(&mut self, extension: &str, work: &Work) {
        let count = if let Work::Span(span) = work { span.adjusted_count } else { 1.0 };
        let key = (extension.to_owned(), work.name().to_owned(), matches!(work, Work::Span(_)));
        let taken = Taken { nanos: work.served_ns(), fuel: work.fuel(), failed: work.failed(), count };
        self.0.entry(key).or_default().push(taken);
    }

    /// All of them, those that took the longest in all first.
    pub(super) fn finish(self) -> Vec<Operation> {
        let operation = |((extension, name, is_span), taken)| operation(extension, name, is_span, taken);
        let mut all: Vec<_> = self.0.into_iter().map(operation).collect();
        all.sort_by_key(|operation| std::cmp::Reverse(operation.total_ns));
        all
    }
}

fn operation(extension: String, name: String, is_span: bool, mut taken: Vec<Taken>) -> Operation {
    // Where none stands for any but those that failed, which are there in any case, nobody knows how many there were: what is stored is told.
    let is_unknown = taken.iter().any(|one| one.count <= 0.0) && taken.iter().all(|one| one.failed || one.count <= 0.0);
    if is_unknown {
        for one in &mut taken {
            one.count = 1.0;
        }
    }
    taken.sort_unstable_by_key(|one| one.nanos);
    let sum = |part: &dyn Fn(&Taken) -> f64| taken.iter().map(|one| one.count * part(one)).sum::<f64>();
    let count = sum(&|_| 1.0);
    let fuel = sum(&|one| one.fuel.unwrap_or_default() as f64);
    let is_estimate = is_unknown || taken.iter().any(|one| (one.count - 1.0).abs() > f64::EPSILON);
    Operation {
        extension,
        name,
        is_span,
        count: count.round() as u64,
        stored: taken.len() as u64,
        is_estimate,
        failed: sum(&|one| f64::from(u8::from(one.failed))).round() as u64,
        total_ns: sum(&|one| one.nanos as f64).round() as u64,
        p50_ns: quantile(&taken, 0.50 * count),
        p95_ns: quantile(&taken, 0.95 * count),
        max_ns: taken.last().map_or(0, |longest| longest.nanos),
        fuel: taken.iter().any(|one| one.fuel.is_some()).then_some(fuel.round() as u64),
    }
}

/// The time that so many took at most.
fn quantile(taken: &[Taken], rank: f64) -> u64 {
    let mut reached = 0.0;
    let found = taken.iter().find(|one| {
        reached += one.count;
        // Sums of parts may be a little less than the whole.
        reached >= rank * (1.0 - 1e-9) && one.count > 0.0
    });
    found.or(taken.last()).map_or(0, |one| one.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(taken: &[(u64, f64)], expect: (u64, bool, u64, u64, u64, u64)) {
        let one = |&(nanos, count)| Taken { nanos, fuel: Some(10), failed: nanos > 100, count };
        let found = operation("a".into(), "b".into(), true, taken.iter().map(one).collect());
        assert_eq!(found.stored, taken.len() as u64);
        let Operation { count, is_estimate, failed, total_ns, p50_ns, max_ns, .. } = found;
        assert_eq!((count, is_estimate, failed, total_ns, p50_ns, max_ns), expect, "{taken:?}");
        assert_eq!(found.fuel, Some(10 * count));
    }

    #[test]
    fn each_counts_as_often_as_it_stands_for_others() {
        check(&[(3, 1.0), (1, 1.0), (2, 1.0)], (3, false, 0, 6, 2, 3));
        check(&[(1, 8.0), (2, 8.0), (200, 1.0)], (17, true, 1, 224, 2, 200));
        check(&[(1, 8.0), (50, 0.0), (90, 0.0)], (8, true, 0, 8, 1, 90));
        check(&[(50, 0.0), (90, 0.0)], (2, true, 0, 140, 50, 90));
        check(&[(50, 0.0), (90, 0.0), (200, 1.0)], (3, true, 1, 340, 90, 200));
        check(&[(200, 1.0), (300, 1.0)], (2, false, 2, 500, 200, 300));
        check(&[(5, 1.5), (9, 1.5)], (3, true, 0, 21, 5, 9));
    }
}
