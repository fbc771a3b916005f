//! Which traces' spans and logs below warning are stored: the same ones in all extensions that have the same rate.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use glasshouse_model::Level;

use crate::governor::{Detail, Load};

/// Where the random part of a trace id ends in an encoded context, which starts with it: as W3C trace contexts have it, the
/// last bytes are random, whoever made the id.
const TRACE_RANDOM_AT: std::ops::Range<usize> = 8..16;
/// The bound of the numbers of traces when all are kept.
const ALL: u64 = u64::MAX;

/// A bound for each kind of detail: a trace whose number is below it is kept.
pub(crate) struct Sampling {
    /// By level.
    logs: [AtomicU64; Level::ALL.len()],
    spans: AtomicU64,
    /// Whether the governor leaves spans out, beside what the settings do not ask for.
    sheds_spans: AtomicBool,
    /// What the settings ask for, without what the governor leaves out.
    asked: AtomicU64,
}

impl Sampling {
    pub(crate) fn new(rate: f64) -> Self {
        let sampling = Self {
            logs: std::array::from_fn(|_| AtomicU64::new(ALL)),
            spans: AtomicU64::new(ALL),
            sheds_spans: AtomicBool::new(false),
            asked: AtomicU64::new(ALL),
        };
        sampling.apply(rate, Detail::Full);
        sampling
    }

    /// Sets the part of traces that is kept, at some detail.
    pub(crate) fn apply(&self, rate: f64, detail: Detail) {
        let kept = |load: Load| bound(rate.min(detail.kept(load)));
        self.asked.store(bound(rate), Ordering::Relaxed);
        for level in [Level::Trace, Level::Debug] {
            self.logs[level as usize].store(kept(Load::Debug), Ordering::Relaxed);
        }
        self.logs[Level::Info as usize].store(kept(Load::Info), Ordering::Relaxed);
        self.spans.store(kept(Load::Span), Ordering::Relaxed);
        self.sheds_spans.store(detail.kept(Load::Span) < 1.0, Ordering::Relaxed);
    }

    /// Whether a log of that level is kept in that context.
    #[inline]
    pub(crate) fn keeps_log(&self, level: Level, context: &[u8]) -> bool {
        is_kept(self.logs[level as usize].load(Ordering::Relaxed), context)
    }

    /// Whether a span that did not fail is kept in that context.
    #[inline]
    pub(crate) fn keeps_span(&self, context: &[u8]) -> bool {
        is_kept(self.spans.load(Ordering::Relaxed), context)
    }

    /// Whether the governor leaves out spans.
    #[inline]
    pub(crate) fn sheds_spans(&self) -> bool {
        self.sheds_spans.load(Ordering::Relaxed)
    }

    /// Whether the settings ask for a trace.
    pub(crate) fn is_asked_for(&self, context: &[u8]) -> bool {
        is_kept(self.asked.load(Ordering::Relaxed), context)
    }

    /// The least level of which any log is kept.
    pub(crate) fn least_level(&self) -> Level {
        let any = |level: &&Level| self.logs[**level as usize].load(Ordering::Relaxed) > 0;
        Level::ALL.iter().find(any).copied().unwrap_or(Level::Warning)
    }
}

/// The number that a part of all numbers is below.
fn bound(part: f64) -> u64 {
    if part >= 1.0 { ALL } else { (part.max(0.0) * ALL as f64) as u64 }
}

/// What belongs to no trace is kept.
#[inline]
fn is_kept(bound: u64, context: &[u8]) -> bool {
    bound == ALL || number(context).is_none_or(|number| number < bound)
}

fn number(context: &[u8]) -> Option<u64> {
    let random = context.get(TRACE_RANDOM_AT)?;
    random.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use glasshouse_model::{Context, TraceId};

    use super::*;

    fn context(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let trace_id = TraceId((u128::from(u64::MAX) << 64 | u128::from(number)).to_be_bytes());
        Context { trace_id, ..Context::default() }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_trace_is_kept_whole_or_not_at_all_and_warnings_always_are() {
        let sampling = Sampling::new(0.25);
        for trace in 0..1000 {
            let context = context(trace * (u64::MAX / 1000));
            let kept = trace <= 250;
            for level in [Level::Trace, Level::Debug, Level::Info] {
                assert_eq!(sampling.keeps_log(level, &context), kept, "{trace}");
            }
            assert_eq!((sampling.keeps_span(&context), sampling.is_asked_for(&context)), (kept, kept), "{trace}");
            for level in [Level::Warning, Level::Error, Level::Critical] {
                assert!(sampling.keeps_log(level, &context));
            }
        }
        assert!(sampling.keeps_log(Level::Trace, b""), "what belongs to no trace is kept");
    }

    #[test]
    fn the_ends_of_the_scale_are_all_and_none() {
        for (rate, kept) in [(1.0, true), (0.0, false)] {
            let sampling = Sampling::new(rate);
            for number in [0, 1, u64::MAX - 1, u64::MAX] {
                assert_eq!(sampling.keeps_span(&context(number)), kept, "{number} at {rate}");
            }
        }
        assert_eq!(Sampling::new(0.0).least_level(), Level::Warning);
    }

    #[test]
    fn the_governors_word_on_spans_holds_however_few_traces_are_asked_for() {
        for rate in [1.0, 0.05, 0.0] {
            let sampling = Sampling::new(rate);
            for (detail, sheds) in
                [(Detail::Full, false), (Detail::NoDebug, false), (Detail::SomeSpans, true), (Detail::Least, true)]
            {
                sampling.apply(rate, detail);
                assert_eq!(sampling.sheds_spans(), sheds, "{detail} at {rate}");
            }
        }
    }

    #[test]
    fn each_step_keeps_no_trace_that_the_one_before_it_left_out() {
        let sampling = Sampling::new(0.5);
        for number in (0..100).map(|part| part * (u64::MAX / 100)) {
            let context = context(number);
            let mut before = [true; 4];
            for detail in Detail::ALL {
                sampling.apply(0.5, *detail);
                let now = [
                    sampling.keeps_log(Level::Debug, &context),
                    sampling.keeps_log(Level::Info, &context),
                    sampling.keeps_span(&context),
                    sampling.is_asked_for(&context),
                ];
                assert!(now.iter().zip(before).all(|(now, before)| before || !now), "{detail}");
                before = now;
            }
            assert_eq!(sampling.least_level(), Level::Warning);
        }
    }
}
