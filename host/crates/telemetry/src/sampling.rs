//! Which traces' spans and logs below warning are stored: what was decided where a trace began holds for all that have a part in it,
//! and the governor leaves some of those out where debugging costs too much, the same ones everywhere.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use glasshouse_model::context::{is_left_out, randomness};
use glasshouse_model::{Context, Level, Randomness, SamplingThreshold, TraceId, TraceSampling};

use crate::governor::{Detail, Load};
use crate::store::Recorder;

/// The least level whose logs are kept in every trace.
const ALWAYS: Level = Level::Warning;

/// A threshold for each kind of detail: of the traces that are kept, those below it are left out.
pub(crate) struct Sampling {
    /// Of logs, by level.
    logs: [AtomicU64; Level::ALL.len()],
    spans: AtomicU64,
    /// Whether the governor leaves spans out.
    sheds_spans: AtomicBool,
    /// That of traces which begin here.
    roots: AtomicU64,
}

impl Sampling {
    pub(crate) fn new(rate: f64) -> Self {
        let sampling = Self {
            logs: Default::default(),
            spans: AtomicU64::new(0),
            sheds_spans: AtomicBool::new(false),
            roots: AtomicU64::new(0),
        };
        sampling.apply(rate, Detail::Full);
        sampling
    }

    /// Sets the part of traces that is kept of those which begin here, and of all of them at some detail.
    pub(crate) fn apply(&self, rate: f64, detail: Detail) {
        let bits = |part| SamplingThreshold::of_probability(part).to_bits();
        self.roots.store(bits(rate), Ordering::Relaxed);
        for level in [Level::Trace, Level::Debug] {
            self.logs[level as usize].store(bits(detail.kept(Load::Debug)), Ordering::Relaxed);
        }
        self.logs[Level::Info as usize].store(bits(detail.kept(Load::Info)), Ordering::Relaxed);
        self.spans.store(bits(detail.kept(Load::Span)), Ordering::Relaxed);
        self.sheds_spans.store(detail.kept(Load::Span) < 1.0, Ordering::Relaxed);
    }

    /// Whether a log of that level is kept in that context.
    #[inline]
    pub(crate) fn keeps_log(&self, level: Level, context: &[u8]) -> bool {
        level >= ALWAYS || (!is_left_out(context) && self.affords_log(level, context))
    }

    /// Whether the governor leaves a log of that level in that context.
    #[inline]
    pub(crate) fn affords_log(&self, level: Level, context: &[u8]) -> bool {
        is_above(self.logs[level as usize].load(Ordering::Relaxed), context)
    }

    /// Whether a log that is not kept may be for how its call ends.
    #[inline]
    pub(crate) fn may_keep_log(&self, level: Level, context: &[u8]) -> bool {
        self.affords_log(level, context) && level >= self.least_level(context)
    }

    /// Whether a span that did not fail is kept in that context.
    #[inline]
    pub(crate) fn keeps_span(&self, context: &[u8]) -> bool {
        !is_left_out(context) && is_above(self.spans.load(Ordering::Relaxed), context)
    }

    /// Whether the governor leaves out spans.
    #[inline]
    pub(crate) fn sheds_spans(&self) -> bool {
        self.sheds_spans.load(Ordering::Relaxed)
    }

    /// The least level of which any log is kept in a trace like that of the context, or may be for how its call ends. Where no trace is to
    /// be kept, what waits for that is not worth making.
    pub(crate) fn least_level(&self, context: &[u8]) -> Level {
        let keeps_none =
            |threshold: &AtomicU64| threshold.load(Ordering::Relaxed) >= SamplingThreshold::KEEP_NONE.to_bits();
        if is_left_out(context) && keeps_none(&self.roots) {
            return ALWAYS;
        }
        let any = |level: &&Level| !keeps_none(&self.logs[**level as usize]);
        Level::ALL.iter().find(any).copied().unwrap_or(ALWAYS)
    }
}

/// What belongs to no trace is kept.
#[inline]
fn is_above(threshold: u64, context: &[u8]) -> bool {
    threshold == 0 || randomness(context).is_none_or(|random| SamplingThreshold::from_bits(threshold).keeps(random))
}

impl Recorder {
    /// Decides on a trace that begins here; a random value, if it came with one, stands for that in its id.
    #[inline]
    pub fn sample_root(&self, trace_id: TraceId, random: Option<Randomness>) -> TraceSampling {
        let threshold = SamplingThreshold::from_bits(self.gates().sampling.roots.load(Ordering::Relaxed));
        TraceSampling::of_root(trace_id, threshold, random)
    }

    /// An encoded context as it is for a span that is kept now: where the governor leaves some out, those that are kept stand for them.
    #[inline]
    pub fn weighed<'c>(&self, context: &'c [u8]) -> Cow<'c, [u8]> {
        let threshold = self.gates().sampling.spans.load(Ordering::Relaxed);
        if threshold == 0 { Cow::Borrowed(context) } else { raised(context, SamplingThreshold::from_bits(threshold)) }
    }
}

/// An encoded context as it is for a span that is kept only for how its call ended: it stands for no other.
#[cold]
pub fn kept_for_its_end(context: &[u8]) -> Cow<'_, [u8]> {
    if is_left_out(context) {
        return Cow::Borrowed(context);
    }
    let Ok(decoded) = Context::decode(context) else { return Cow::Borrowed(context) };
    let sampling = TraceSampling { is_sampled: false, threshold: None, ..decoded.sampling };
    let mut bytes = Vec::with_capacity(context.len());
    Context { sampling, ..decoded }.encode(&mut bytes);
    Cow::Owned(bytes)
}

#[cold]
fn raised(context: &[u8], least: SamplingThreshold) -> Cow<'_, [u8]> {
    let Ok(decoded) = Context::decode(context) else { return Cow::Borrowed(context) };
    let mut bytes = Vec::with_capacity(context.len() + size_of::<u64>());
    Context { sampling: decoded.sampling.raised(least), ..decoded }.encode(&mut bytes);
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace that is chosen by the part of the scale that it lies at, as it was decided on at a rate.
    fn context(rate: f64, part: f64) -> Vec<u8> {
        let mut bytes = Vec::new();
        // As many bits as the part has, below those that do not matter.
        let random = ((part * ((1_u64 << 53) - 1) as f64) as u128) << 3;
        let trace_id = TraceId((u128::MAX << 56 | random).to_be_bytes());
        let sampling = TraceSampling::of_root(trace_id, SamplingThreshold::of_probability(rate), None);
        Context { trace_id, sampling, ..Context::default() }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_trace_is_kept_whole_or_not_at_all_and_warnings_always_are() {
        // What this host would decide of traces of its own is of no account for others'.
        for rate_here in [0.0, 0.5, 1.0] {
            let sampling = Sampling::new(rate_here);
            for trace in 0..1000 {
                let context = context(0.25, (f64::from(trace) + 0.5) / 1000.0);
                let kept = trace >= 750;
                for level in [Level::Trace, Level::Debug, Level::Info] {
                    assert_eq!(sampling.keeps_log(level, &context), kept, "{trace}");
                }
                assert_eq!(sampling.keeps_span(&context), kept, "{trace}");
                for level in [Level::Warning, Level::Error, Level::Critical] {
                    assert!(sampling.keeps_log(level, &context));
                }
            }
            assert!(sampling.keeps_log(Level::Trace, b""), "what belongs to no trace is kept");
        }
    }

    #[test]
    fn the_ends_of_the_scale_are_all_and_none() {
        for (rate, kept) in [(1.0, true), (0.0, false)] {
            for part in [0.0, 0.5, 1.0] {
                assert_eq!(Sampling::new(1.0).keeps_span(&context(rate, part)), kept, "{part} at {rate}");
            }
        }
        let least = |rate_here, rate| Sampling::new(rate_here).least_level(&context(rate, 0.5));
        assert_eq!(least(0.0, 0.0), Level::Warning, "nothing would be kept but for how it ends");
        assert_eq!(least(0.5, 0.0), Level::Trace, "what is made waits for how the call ends");
        assert_eq!(least(0.0, 1.0), Level::Trace, "who caused the call keeps its trace");
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
        for part in 0..100 {
            let context = context(0.5, f64::from(part) / 100.0);
            let mut before = [true; 3];
            for detail in Detail::ALL {
                sampling.apply(0.5, *detail);
                let now = [
                    sampling.keeps_log(Level::Debug, &context),
                    sampling.keeps_log(Level::Info, &context),
                    sampling.keeps_span(&context),
                ];
                assert!(now.iter().zip(before).all(|(now, before)| before || !now), "{detail}");
                before = now;
            }
            assert_eq!(sampling.least_level(&context), Level::Warning);
        }
    }

    #[test]
    fn what_is_kept_for_its_end_stands_for_no_trace_and_is_the_same_but_for_that() {
        for (rate, part) in [(1.0, 0.5), (0.25, 0.9), (0.25, 0.1), (0.0, 0.5)] {
            let context = context(rate, part);
            let before = Context::decode(&context).expect("it is whole");
            let kept = kept_for_its_end(&context);
            let after = Context::decode(&kept).expect("it is whole");
            assert!(!after.sampling.is_sampled && after.sampling.adjusted_count().is_none(), "{part} at {rate}");
            assert_eq!(Context { sampling: before.sampling, ..after }, before);
        }
        assert_eq!(kept_for_its_end(b""), &b""[..]);
    }

    #[test]
    fn a_trace_that_the_governor_leaves_stands_for_those_that_it_leaves_out() {
        let count = |context: &[u8], least: f64| {
            let raised = raised(context, SamplingThreshold::of_probability(least));
            Context::decode(&raised).expect("it is whole").sampling.adjusted_count()
        };
        assert_eq!(count(&context(0.5, 1.0), 0.25), Some(4.0));
        assert_eq!(count(&context(0.125, 1.0), 0.25), Some(8.0), "it is chosen by the same number");
        assert_eq!(count(&context(0.5, 0.0), 0.25), None, "it was left out before");
    }
}
