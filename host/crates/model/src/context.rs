//! Whose work a record belongs to.

use glasshouse_wire::{Malformed, Reader, put_str};

use crate::trace_sampling::{Randomness, SamplingThreshold, TraceSampling};
use crate::{SpanId, TraceId, limits};

const FLAG_CORRELATION: u8 = 1;
const FLAG_USER: u8 = 2;
const FLAG_TENANT: u8 = 4;
/// The trace is not kept.
const FLAG_LEFT_OUT: u8 = 8;
/// It is kept, and nobody said at which threshold.
const FLAG_UNKNOWN: u8 = 16;
/// The threshold stands at the end, before the randomness. Without any of these three, every trace is kept.
const FLAG_THRESHOLD: u8 = 32;
/// The randomness stands at the end.
const FLAG_RANDOMNESS: u8 = 64;
/// Where the flags stand in an encoded context, after both ids.
const FLAGS_AT: usize = 24;
/// Bytes of an encoded context that is nothing but its ids and no flag.
const PLAIN_BYTES: usize = FLAGS_AT + 1;

/// The context of an invocation or of a scope in it; the host puts it on every record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The trace that it is part of.
    pub trace_id: TraceId,
    /// The innermost open span, or the invocation's own.
    pub span_id: SpanId,
    /// What the trigger gave; `None` stands for the trace id.
    pub correlation_id: Option<String>,
    /// On whose behalf.
    pub user: Option<String>,
    /// For which customer.
    pub tenant: Option<String>,
    /// What was decided on the trace.
    pub sampling: TraceSampling,
}

/// Whether the trace of an encoded context is not kept.
#[inline]
pub fn is_left_out(context: &[u8]) -> bool {
    context.get(FLAGS_AT).is_some_and(|flags| flags & FLAG_LEFT_OUT != 0)
}

/// What the trace of an encoded context is chosen by; `None` if it is of no trace.
#[inline]
pub fn randomness(context: &[u8]) -> Option<Randomness> {
    let flags = context.get(FLAGS_AT)?;
    if flags & FLAG_RANDOMNESS != 0
        && let Some(bytes) = context.last_chunk()
    {
        return Some(Randomness::from_bytes(*bytes));
    }
    context.first_chunk().map(|id| Randomness::of(TraceId(*id)))
}

/// Text that may not stand in a context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} must be 1 to {} visible ASCII characters", limits::CONTEXT_BYTES)]
pub struct InvalidContext {
    /// Which part of the context.
    pub what: &'static str,
}

impl Context {
    /// The correlation id: the one given, or else the trace id.
    pub fn correlation(&self) -> String {
        self.correlation_id.clone().unwrap_or_else(|| self.trace_id.to_string())
    }

    /// Checks text for one part of a context: 1 to 128 visible ASCII characters, and for names any other
    /// character that is not a control character.
    pub fn check(what: &'static str, text: &str) -> Result<(), InvalidContext> {
        let legal = match what {
            "correlation id" => text.bytes().all(|byte| byte.is_ascii_graphic()),
            _ => !text.chars().any(char::is_control),
        };
        if legal && (1..=limits::CONTEXT_BYTES).contains(&text.len()) { Ok(()) } else { Err(InvalidContext { what }) }
    }

    /// Whether it has more than its ids.
    #[inline]
    pub fn has_texts(&self) -> bool {
        self.correlation_id.is_some() || self.user.is_some() || self.tenant.is_some()
    }

    /// Appends the context as it stands in a stored record.
    #[inline]
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        // In the pieces in which a new id was just written: to read sixteen bytes of two eights has to wait for both.
        let (halves, _) = self.trace_id.0.as_chunks::<8>();
        for id in halves.iter().chain([&self.span_id.0]) {
            buffer.extend_from_slice(id);
        }
        if self.has_texts() || self.sampling != TraceSampling::default() {
            self.encode_rest(buffer);
        } else {
            buffer.push(0);
        }
    }

    /// The same over an earlier one, if this has nothing but its ids, as nearly all have, and that is as long: a fifth of the work. Tells whether it was done.
    #[inline]
    pub fn encode_over(&self, earlier: &mut [u8]) -> bool {
        let Ok(place) = <&mut [u8; PLAIN_BYTES]>::try_from(earlier) else { return false };
        if self.has_texts() || self.sampling != TraceSampling::default() {
            return false;
        }
        let (trace_id, rest) = place.split_at_mut(self.trace_id.0.len());
        let (span_id, flags) = rest.split_at_mut(self.span_id.0.len());
        trace_id.copy_from_slice(&self.trace_id.0);
        span_id.copy_from_slice(&self.span_id.0);
        flags.fill(0);
        true
    }

    fn encode_rest(&self, buffer: &mut Vec<u8>) {
        let parts = [(&self.correlation_id, FLAG_CORRELATION), (&self.user, FLAG_USER), (&self.tenant, FLAG_TENANT)];
        let flags: u8 = parts.iter().filter(|(part, _)| part.is_some()).map(|(_, flag)| flag).sum();
        let TraceSampling { is_sampled, threshold, randomness } = self.sampling;
        let threshold = threshold.filter(|_| is_sampled);
        let decided = match threshold {
            _ if !is_sampled => FLAG_LEFT_OUT,
            None => FLAG_UNKNOWN,
            Some(SamplingThreshold::KEEP_ALL) => 0,
            Some(_) => FLAG_THRESHOLD,
        };
        buffer.push(flags | decided | if randomness.is_some() { FLAG_RANDOMNESS } else { 0 });
        for text in parts.iter().filter_map(|(part, _)| part.as_ref()) {
            put_str(buffer, text);
        }
        if let Some(threshold) = threshold.filter(|_| decided == FLAG_THRESHOLD) {
            buffer.extend_from_slice(&threshold.to_bits().to_be_bytes());
        }
        if let Some(randomness) = randomness {
            buffer.extend_from_slice(&randomness.to_bytes());
        }
    }

    /// Reads what [`Context::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (trace_id, span_id) = (TraceId(reader.array()?), SpanId(reader.array()?));
        let flags = reader.byte()?;
        let mut part = |flag| if flags & flag == 0 { Ok(None) } else { reader.str().map(|text| Some(text.to_owned())) };
        let (correlation_id, user, tenant) = (part(FLAG_CORRELATION)?, part(FLAG_USER)?, part(FLAG_TENANT)?);
        let threshold = match flags & (FLAG_LEFT_OUT | FLAG_UNKNOWN | FLAG_THRESHOLD) {
            0 => Some(SamplingThreshold::KEEP_ALL),
            FLAG_THRESHOLD => Some(SamplingThreshold::from_bits(u64::from_be_bytes(reader.array()?))),
            _ => None,
        };
        let randomness = match flags & FLAG_RANDOMNESS {
            0 => None,
            _ => Some(Randomness::from_bytes(reader.array()?)),
        };
        let sampling = TraceSampling { is_sampled: flags & FLAG_LEFT_OUT == 0, threshold, randomness };
        Ok(Self { trace_id, span_id, correlation_id, user, tenant, sampling })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampling() -> impl Strategy<Value = TraceSampling> {
        let threshold = prop::option::of((0..=1_u64 << 56).prop_map(SamplingThreshold::from_bits));
        (any::<bool>(), threshold, prop::option::of(any::<[u8; 7]>())).prop_map(|(is_sampled, threshold, random)| {
            let threshold = threshold.filter(|_| is_sampled);
            TraceSampling { is_sampled, threshold, randomness: random.map(Randomness::from_bytes) }
        })
    }

    proptest! {
        #[test]
        fn a_context_comes_back_as_it_was(
            ids in any::<([u8; 16], [u8; 8])>(), texts in any::<[Option<String>; 3]>(), sampling in sampling(),
        ) {
            let [correlation_id, user, tenant] = texts;
            let (trace_id, span_id) = (TraceId(ids.0), SpanId(ids.1));
            let context = Context { trace_id, span_id, correlation_id, user, tenant, sampling };
            let mut bytes = Vec::new();
            context.encode(&mut bytes);
            prop_assert_eq!(Context::decode(&bytes).expect("it was just encoded"), context);
            prop_assert_eq!(is_left_out(&bytes), !sampling.is_sampled);
            let chosen_by = sampling.randomness.unwrap_or_else(|| Randomness::of(trace_id));
            prop_assert_eq!(randomness(&bytes), Some(chosen_by));
        }

        #[test]
        fn a_context_is_written_over_an_earlier_one_or_that_stays_as_it_is(
            earlier in prop::collection::vec(any::<u8>(), 20..30),
            ids in any::<([u8; 16], [u8; 8])>(), tenant in any::<Option<String>>(),
            sampling in prop_oneof![Just(TraceSampling::default()), sampling()],
        ) {
            let context = Context { trace_id: TraceId(ids.0), span_id: SpanId(ids.1), tenant, sampling, ..Context::default() };
            let mut bytes = earlier.clone();
            if context.encode_over(&mut bytes) {
                prop_assert_eq!(Context::decode(&bytes).expect("it was just encoded"), context);
            } else {
                prop_assert_eq!(&bytes, &earlier);
                let is_plain = context.tenant.is_none() && sampling == TraceSampling::default();
                prop_assert!(!is_plain || earlier.len() != PLAIN_BYTES);
            }
        }

        #[test]
        fn arbitrary_bytes_are_a_context_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Context::decode(&bytes);
            let _ = (is_left_out(&bytes), randomness(&bytes));
        }
    }

    #[test]
    fn a_trace_that_is_kept_as_all_are_takes_no_bytes_for_that() {
        let mut bytes = Vec::new();
        Context::default().encode(&mut bytes);
        assert_eq!((bytes.len(), bytes.last()), (PLAIN_BYTES, Some(&0)));
    }
}
