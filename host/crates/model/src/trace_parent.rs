//! Where a trace comes from, in the form in which programs pass it on: <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::str::FromStr;

use crate::{SpanId, TraceId};

/// Bytes of a `traceparent` of version 0.
const BYTES: usize = 55;
/// The flag that the caller has recorded its part.
const SAMPLED: u8 = 1;

/// A W3C `traceparent`: `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace to continue.
    pub trace_id: TraceId,
    /// The caller's span.
    pub span_id: SpanId,
    /// Whether the caller has recorded its part.
    pub is_sampled: bool,
}

/// Text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a traceparent is 00-TRACE-SPAN-FLAGS with 32, 16 and 2 lower-case hexadecimal digits, and neither id all zero \
     (W3C Trace Context)"
)]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let byte = |digits: &str| {
            let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            u8::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(InvalidTraceParent)
        };
        let part = |range: std::ops::Range<usize>| text.get(range).ok_or(InvalidTraceParent);
        // Later versions may say more after what the first one has.
        let version = byte(part(0..2)?)?;
        let ends = match version {
            0 => text.len() == BYTES,
            u8::MAX => false,
            _ => matches!(text.as_bytes().get(BYTES), None | Some(b'-')),
        };
        let dashes = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        let trace_id: TraceId = part(3..35)?.parse().map_err(|_| InvalidTraceParent)?;
        let span_id: SpanId = part(36..52)?.parse().map_err(|_| InvalidTraceParent)?;
        let flags = byte(part(53..BYTES)?)?;
        if !ends || !dashes || trace_id == TraceId::default() || span_id == SpanId::default() {
            return Err(InvalidTraceParent);
        }
        Ok(Self { trace_id, span_id, is_sampled: flags & SAMPLED != 0 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_programs_send_is_read_and_written() {
        let parent: TraceParent = TEXT.parse().expect("it is the standard's own example");
        assert!(parent.is_sampled);
        assert_eq!(parent.to_string(), TEXT);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-will-be";
        assert_eq!(later.parse(), Ok(TraceParent { is_sampled: false, ..parent }));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0¥-more",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}", from in 0..56_usize) {
            let _ = text.parse::<TraceParent>();
            let mut spoiled = TEXT.to_owned();
            spoiled.replace_range(from.min(TEXT.len()).., &text);
            let _ = spoiled.parse::<TraceParent>();
        }
    }
}
