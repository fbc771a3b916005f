//! Compares what calls cost with a baseline: by what they are, not by the line that they stand in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::Serialize;

use super::baseline::{Baseline, Figures, Row};

/// The figure whose count is exact, whatever the machine.
pub(super) const FUEL: &str = "fuel";

/// A part by which a figure may grow, such as 0.02.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerance(pub(super) f64);

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It costs more, or ended otherwise.
    Worse,
    /// The baseline has no such call.
    New,
    /// There is no such call any more.
    Gone,
    /// It costs less.
    Better,
}

/// A difference between a call and its baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    /// The export, or the event.
    pub(super) name: String,
    /// The line of the feed; the baseline's for a call that is gone. None for an export, and for the sum of an event's calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// Calls that it is the sum of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls: Option<usize>,
    /// Which figure, or `outcome`.
    pub(super) what: &'static str,
    pub(super) before: Option<Value>,
    pub(super) now: Option<Value>,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

/// All that differs.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Why figures cannot be compared at all; nothing else is told then.
    pub(super) incomparable: Vec<String>,
    /// Worst first in each call; sums before calls.
    pub(super) differences: Vec<Difference>,
    /// Calls of the same component that burnt other fuel: something outside has a say.
    pub(super) unsteady: bool,
}

impl Comparison {
    /// Whether the baseline holds.
    pub(super) fn passed(&self) -> bool {
        let better = |difference: &Difference| difference.verdict == Verdict::Better;
        self.incomparable.is_empty() && !self.unsteady && self.differences.iter().all(better)
    }
}

/// The figures with their names, in the order in which they are told.
pub(super) fn figures(of: &Figures) -> [(&'static str, Option<u64>); 5] {
    [
        (FUEL, Some(of.fuel)),
        ("memory peak", Some(of.memory_peak_bytes)),
        ("host calls", Some(of.host_calls)),
        ("records", Some(of.records)),
        ("record bytes", of.record_bytes),
    ]
}

/// Compares costs with a baseline of the same extension.
pub(super) fn compare(before: &Baseline, now: &Baseline, tolerance: Tolerance) -> Comparison {
    let mut comparison = Comparison { incomparable: incomparable(before, now), ..Comparison::default() };
    if !comparison.incomparable.is_empty() {
        return comparison;
    }
    let same_component = before.component == now.component;
    let judge = |what: &str, before: u64, now: u64| {
        let exact = same_component && what == FUEL;
        judge(before, now, if exact { Tolerance(0.0) } else { tolerance })
    };
    for (before, now) in [(&before.exports, &now.exports), (&before.events, &now.events)] {
        let pairs = pair(before, now);
        comparison.unsteady |= same_component
            && pairs.iter().any(|(before, now)| {
                before.zip(*now).is_some_and(|(before, now)| before.figures.fuel != now.figures.fuel)
            });
        comparison.add_sums(&pairs, &judge);
        for (before, now) in pairs {
            comparison.add(before, now, &judge);
        }
    }
    comparison
}

impl Comparison {
    fn add(&mut self, before: Option<&Row>, now: Option<&Row>, judge: &impl Fn(&str, u64, u64) -> Option<Verdict>) {
        let Some(row) = now.or(before) else { return };
        let mut differ = |what, before: Option<Value>, now: Option<Value>, verdict| {
            let (name, line) = (row.name.clone(), row.line);
            self.differences.push(Difference { name, line, calls: None, what, before, now, verdict });
        };
        let outcome = |row: &Row| Some(Value::Text(row.outcome.clone()));
        let (before, now) = match (before, now) {
            (Some(before), Some(now)) => (before, now),
            (Some(before), None) => return differ("outcome", outcome(before), None, Verdict::Gone),
            (None, now) => return differ("outcome", None, now.and_then(outcome), Verdict::New),
        };
        if before.outcome != now.outcome {
            differ("outcome", outcome(before), outcome(now), Verdict::Worse);
        }
        for ((what, before), (_, now)) in figures(&before.figures).into_iter().zip(figures(&now.figures)) {
            let verdict = match (before, now) {
                (Some(before), Some(now)) => judge(what, before, now),
                (None, None) => None,
                _ => Some(Verdict::Worse),
            };
            if let Some(verdict) = verdict {
                differ(what, before.map(Value::Number), now.map(Value::Number), verdict);
            }
        }
    }

    /// The sums of events that were called more than once, of all calls that can be compared.
    fn add_sums(&mut self, pairs: &[Pair<'_>], judge: &impl Fn(&str, u64, u64) -> Option<Verdict>) {
        let mut events: BTreeMap<&str, Vec<(Figures, Figures)>> = BTreeMap::new();
        for (before, now) in pairs.iter().filter_map(|(before, now)| before.zip(*now)) {
            events.entry(&now.name).or_default().push((before.figures, now.figures));
        }
        for (name, calls) in events.into_iter().filter(|(_, calls)| calls.len() > 1) {
            let count = calls.len();
            let sums = calls.into_iter().reduce(|sums, call| (sums.0.plus(call.0), sums.1.plus(call.1)));
            let Some((before, now)) = sums else { continue };
            for ((what, before), (_, now)) in figures(&before).into_iter().zip(figures(&now)) {
                let (Some(before), Some(now)) = (before, now) else { continue };
                if let Some(verdict) = judge(what, before, now) {
                    let (before, now) = (Some(Value::Number(before)), Some(Value::Number(now)));
                    let calls = Some(count);
                    self.differences.push(Difference {
                        name: name.to_owned(),
                        line: None,
                        calls,
                        what,
                        before,
                        now,
                        verdict,
                    });
                }
            }
        }
    }
}

/// A call in the baseline and the same one now, as far as they are there.
type Pair<'a> = (Option<&'a Row>, Option<&'a Row>);

/// Puts together what is the same call: the n-th of a name with the n-th of the same name and input.
fn pair<'a>(before: &'a [Row], now: &'a [Row]) -> Vec<Pair<'a>> {
    let mut left: HashMap<(&str, Option<&str>), VecDeque<&Row>> = HashMap::new();
    for row in before {
        left.entry(key(row)).or_default().push_back(row);
    }
    let mut pairs: Vec<Pair<'_>> =
        now.iter().map(|row| (left.get_mut(&key(row)).and_then(VecDeque::pop_front), Some(row))).collect();
    let mut gone: Vec<_> = left.into_values().flatten().collect();
    gone.sort_by_key(|row| (row.line, &row.name));
    pairs.extend(gone.into_iter().map(|row| (Some(row), None)));
    pairs
}

fn key(row: &Row) -> (&str, Option<&str>) {
    (&row.name, row.input.as_deref())
}

fn judge(before: u64, now: u64, Tolerance(part): Tolerance) -> Option<Verdict> {
    let allowed = before as f64 * part;
    if now > before && (now - before) as f64 > allowed {
        Some(Verdict::Worse)
    } else if now < before && (before - now) as f64 > allowed {
        Some(Verdict::Better)
    } else {
        None
    }
}

/// Why the figures of two measurements mean different things.
fn incomparable(before: &Baseline, now: &Baseline) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut differs = |what: &str, before: &str, now: &str| {
        if before != now {
            reasons.push(format!("{what}: {before} then, {now} now"));
        }
    };
    differs("wasmtime", &before.wasmtime, &now.wasmtime);
    let names: BTreeSet<_> = before.settings.keys().chain(now.settings.keys()).collect();
    for name in names {
        let of = |baseline: &Baseline| baseline.settings.get(name).map_or_else(|| "not said".to_owned(), Clone::clone);
        differs(name, &of(before), &of(now));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64, name: &str, input: &str, fuel: u64) -> Row {
        let figures = Figures { fuel, memory_peak_bytes: 100, host_calls: 1, records: 1, record_bytes: Some(50) };
        Row { line: Some(line), name: name.into(), input: Some(input.into()), outcome: "ok".into(), figures }
    }

    fn of(component: &str, events: Vec<Row>) -> Baseline {
        let settings = [("metering".to_owned(), "fuel".to_owned())];
        Baseline::new("hello", component.into(), settings.into(), Vec::new(), events)
    }

    fn check(before: Vec<Row>, now: Vec<Row>, expect: &[(&str, Option<u64>, &str, Verdict)]) -> Comparison {
        let comparison = compare(&of("a", before), &of("b", now), Tolerance(0.02));
        let found: Vec<_> = comparison
            .differences
            .iter()
            .map(|difference| (difference.name.as_str(), difference.line, difference.what, difference.verdict))
            .collect();
        assert_eq!(found, expect);
        comparison
    }

    #[test]
    fn what_stays_within_the_tolerance_passes_and_what_does_not_is_named() {
        assert!(check(vec![row(1, "e", "x", 1000)], vec![row(1, "e", "x", 1020)], &[]).passed());
        let worse = [("e", Some(1), "fuel", Verdict::Worse)];
        assert!(!check(vec![row(1, "e", "x", 1000)], vec![row(1, "e", "x", 1021)], &worse).passed());
        let better = [("e", Some(1), "fuel", Verdict::Better)];
        assert!(check(vec![row(1, "e", "x", 1000)], vec![row(1, "e", "x", 979)], &better).passed());
        let mut none = row(1, "e", "x", 0);
        none.figures.record_bytes = None;
        let both = [("e", Some(1), "fuel", Verdict::Worse), ("e", Some(1), "record bytes", Verdict::Worse)];
        check(vec![none], vec![row(1, "e", "x", 1)], &both);
    }

    #[test]
    fn calls_are_known_by_their_input_and_not_by_their_line() {
        let before = vec![row(1, "e", "x", 10), row(2, "e", "y", 1000)];
        assert!(check(before.clone(), vec![row(5, "e", "y", 1000), row(9, "e", "x", 10)], &[]).passed());
        let changed = vec![row(1, "e", "x", 10), row(2, "e", "z", 1000)];
        let expect = [("e", Some(2), "outcome", Verdict::New), ("e", Some(2), "outcome", Verdict::Gone)];
        assert!(!check(before, changed, &expect).passed());
    }

    #[test]
    fn calls_of_one_event_are_summed_up_and_listed() {
        let rows = |fuel| vec![row(1, "e", "x", 1000), row(2, "e", "x", fuel)];
        let expect = [("e", None, "fuel", Verdict::Worse), ("e", Some(2), "fuel", Verdict::Worse)];
        let comparison = check(rows(1000), rows(2000), &expect);
        assert_eq!(comparison.differences[0].calls, Some(2));
        assert_eq!(comparison.differences[0].now, Some(Value::Number(3000)));
    }

    #[test]
    fn a_baseline_with_numbers_that_nothing_costs_is_compared_like_any_other() {
        let rows = |fuel| vec![row(1, "e", "x", fuel), row(2, "e", "x", fuel)];
        let expect = [None, Some(1), Some(2)].map(|line| ("e", line, "fuel", Verdict::Better));
        let comparison = check(rows(u64::MAX), rows(1000), &expect);
        assert_eq!(comparison.differences[0].before, Some(Value::Number(u64::MAX)));
    }

    #[test]
    fn a_call_that_ends_otherwise_does_not_pass_however_cheap_it_is() {
        let mut now = row(1, "e", "x", 1);
        now.outcome = "breach.fuel".into();
        let expect = [("e", Some(1), "outcome", Verdict::Worse), ("e", Some(1), "fuel", Verdict::Better)];
        assert!(!check(vec![row(1, "e", "x", 1000)], vec![now], &expect).passed());
    }

    #[test]
    fn the_same_component_burns_the_same_fuel_or_is_unsteady() {
        let (before, now) = (of("a", vec![row(1, "e", "x", 100_000)]), of("a", vec![row(1, "e", "x", 100_001)]));
        let comparison = compare(&before, &now, Tolerance(0.02));
        assert!(comparison.unsteady && !comparison.passed());
        assert!(!compare(&before, &before, Tolerance(0.0)).unsteady);
    }

    #[test]
    fn figures_of_other_versions_and_settings_are_not_compared() {
        let before = of("a", vec![row(1, "e", "x", 1)]);
        let mut now = of("a", vec![row(1, "e", "x", 2)]);
        now.wasmtime = "99.0.0".into();
        now.settings.insert("log_level".into(), "info".into());
        let comparison = compare(&before, &now, Tolerance(0.02));
        assert_eq!(comparison.incomparable[1], "log_level: not said then, info now");
        assert!(comparison.incomparable[0].contains("99.0.0 now"), "{:?}", comparison.incomparable);
        assert!(comparison.differences.is_empty() && !comparison.passed());
    }
}
