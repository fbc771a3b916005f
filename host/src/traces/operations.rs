//! What calls and spans took, by name.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Work;

/// Calls of one export and event, or spans of one name, of one extension.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    /// Whose they are.
    pub extension: String,
    /// The export and event, or the span's name.
    pub name: String,
    /// Whether they are spans.
    pub is_span: bool,
    /// How many.
    pub count: u64,
    /// How many of them failed, or answered an error.
    pub failed: u64,
    /// Their wall time in all, without the mailbox, in nanoseconds.
    pub total_ns: u64,
    /// The time that half of them took at most.
    pub p50_ns: u64,
    /// The time that all but a twentieth took at most.
    pub p95_ns: u64,
    /// The longest time.
    pub max_ns: u64,
    /// Fuel in all; absent where none is counted.
    pub fuel: Option<u64>,
}

/// Operations that are being counted.
#[derive(Default)]
pub(super) struct Operations(BTreeMap<(String, String, bool), Taken>);

#[derive(Default)]
struct Taken {
    nanos: Vec<u64>,
    failed: u64,
    fuel: Option<u64>,
}

impl Operations {
    pub(super) fn add(&mut self, extension: &str, work: &Work) {
        let key = (extension.to_owned(), work.name().to_owned(), matches!(work, Work::Span(_)));
        let taken = self.0.entry(key).or_default();
        taken.nanos.push(work.served_ns());
        taken.failed += u64::from(work.failed());
        taken.fuel = taken.fuel.into_iter().chain(work.fuel()).reduce(u64::saturating_add);
    }

    /// All of them, those that took the longest in all first.
    pub(super) fn finish(self) -> Vec<Operation> {
        let operation = |((extension, name, is_span), mut taken): ((String, String, bool), Taken)| {
            taken.nanos.sort_unstable();
            let at = |percent: usize| taken.nanos[(taken.nanos.len() * percent).div_ceil(100).max(1) - 1];
            Operation {
                extension,
                name,
                is_span,
                count: taken.nanos.len() as u64,
                failed: taken.failed,
                total_ns: taken.nanos.iter().fold(0, |sum, nanos| sum.saturating_add(*nanos)),
                p50_ns: at(50),
                p95_ns: at(95),
                max_ns: at(100),
                fuel: taken.fuel,
            }
        };
        let mut all: Vec<_> = self.0.into_iter().map(operation).collect();
        all.sort_by_key(|operation| std::cmp::Reverse(operation.total_ns));
        all
    }
}
