//! What programs say of a trace beside its ids, each to its own kind: the header `tracestate` of
//! <https://www.w3.org/TR/trace-context-2/#tracestate-header>, and OpenTelemetry's part of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::trace_sampling::{Randomness, SamplingThreshold, TraceSampling};

/// Members of a `tracestate`, by the standard.
const MEMBERS: usize = 32;
/// Bytes of one that are read: sixteen times what the standard asks everyone to pass on.
const BYTES: usize = 8 * 1024;
/// Bytes of a member's key, and of its value, by the standard.
const PART_BYTES: usize = 256;
/// The key of OpenTelemetry's member.
const OPEN_TELEMETRY: &str = "ot";

/// A `tracestate` that came with a trace. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceState {
    /// The members of others, in their order.
    others: Option<Arc<str>>,
    /// What OpenTelemetry's member says beside threshold and randomness.
    more: Option<Arc<str>>,
    threshold: Option<SamplingThreshold>,
    randomness: Option<Randomness>,
}

/// Text that is no `tracestate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} (W3C Trace Context: up to {MEMBERS} of key=value with commas between them, {BYTES} bytes in all)")]
pub struct InvalidTraceState(&'static str);

impl InvalidTraceState {
    /// It came without a `traceparent`.
    pub const ALONE: Self = Self("it came without a traceparent");
}

impl TraceState {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        [&self.others, &self.more].into_iter().flatten().map(|text| text.len()).sum()
    }

    /// At which threshold its trace was kept, if it says so.
    pub fn threshold(&self) -> Option<SamplingThreshold> {
        self.threshold
    }

    /// What its trace is chosen by, if it says so.
    pub fn randomness(&self) -> Option<Randomness> {
        self.randomness
    }

    /// The header as it is passed on with a trace on which that was decided: OpenTelemetry's member first, then those of others as they came; empty if
    /// there is nothing to say.
    pub fn passed_on(&self, sampling: &TraceSampling) -> String {
        // That none is kept has no form that others would read.
        let told = |threshold: &SamplingThreshold| sampling.is_sampled && *threshold < SamplingThreshold::KEEP_NONE;
        let threshold = sampling.threshold.filter(told).map(|threshold| format!("th:{threshold}"));
        let random = sampling.randomness.map(|random| format!("rv:{random}"));
        let own: Vec<_> = threshold.into_iter().chain(random).collect();
        let own = own.join(";");
        let more = self.more.as_deref().filter(|more| own.len() + 1 + more.len() <= PART_BYTES);
        let own = [&*own, more.unwrap_or_default()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let own = if own.is_empty() { None } else { Some(format!("{OPEN_TELEMETRY}={}", own.join(";"))) };
        let room = MEMBERS - usize::from(own.is_some());
        let others = self.others.iter().flat_map(|others| others.split(',')).take(room).map(str::to_owned);
        own.into_iter().chain(others).collect::<Vec<_>>().join(",")
    }
}

impl FromStr for TraceState {
    type Err = InvalidTraceState;

    fn from_str(text: &str) -> Result<Self, InvalidTraceState> {
        if text.len() > BYTES {
            return Err(InvalidTraceState("it is too long"));
        }
        let members =
            text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
        let (mut keys, mut others) = (Vec::new(), Vec::new());
        let mut state = Self::default();
        for member in members {
            let (key, value) = member.split_once('=').ok_or(InvalidTraceState("a member has no ="))?;
            if keys.contains(&key) {
                return Err(InvalidTraceState("a key stands in it twice"));
            }
            if keys.len() == MEMBERS {
                return Err(InvalidTraceState("it has too many members"));
            }
            if !is_key(key) {
                return Err(InvalidTraceState("a member's key is none"));
            }
            if !is_value(value) {
                return Err(InvalidTraceState("a member's value is none"));
            }
            keys.push(key);
            if key == OPEN_TELEMETRY { state.read_own(value)? } else { others.push(member) }
        }
        state.others = Some(others.join(",")).filter(|others| !others.is_empty()).map(Arc::from);
        Ok(state)
    }
}

impl TraceState {
    fn read_own(&mut self, value: &str) -> Result<(), InvalidTraceState> {
        let (mut keys, mut more) = (Vec::new(), Vec::new());
        for part in value.split(';') {
            let (key, value) = part.split_once(':').ok_or(InvalidTraceState("the member ot is no list"))?;
            if !is_own_key(key) || !value.bytes().all(is_own_value) || keys.contains(&key) {
                return Err(InvalidTraceState("the member ot is no list of different keys"));
            }
            keys.push(key);
            let invalid = |_| InvalidTraceState("the member ot has no such threshold or random value");
            match key {
                "th" => self.threshold = Some(value.parse().map_err(invalid)?),
                "rv" => self.randomness = Some(value.parse().map_err(invalid)?),
                _ => more.push(part),
            }
        }
        self.more = Some(more.join(";")).filter(|more| !more.is_empty()).map(Arc::from);
        Ok(())
    }
}

impl fmt::Display for TraceState {
    /// As it came, but for OpenTelemetry's member, which stands first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sampling = TraceSampling { is_sampled: true, threshold: self.threshold, randomness: self.randomness };
        f.write_str(&self.passed_on(&sampling))
    }
}

fn is_key(key: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let starts = key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    starts && key.len() <= PART_BYTES && key.bytes().all(inner)
}

/// Printable ASCII characters without commas and equal signs. Blanks at its end were taken off.
fn is_value(value: &str) -> bool {
    let legal = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=PART_BYTES).contains(&value.len()) && value.bytes().all(legal)
}

fn is_own_key(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.starts_with(|first: char| first.is_ascii_lowercase()) && key.bytes().all(legal)
}

fn is_own_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> TraceState {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn members_of_others_are_passed_on_in_their_order_and_ours_says_what_was_decided() {
        let state = read("rojo=00f067aa0ba902b7 ,\tcongo=t61 rc,, ot=p:8;th:c;rv:6e6d1a75832a2f;x:a_b,fw529a3039@dt=1");
        assert_eq!(state.threshold().map(|threshold| threshold.to_string()).as_deref(), Some("c"));
        assert_eq!(state.randomness().map(|random| random.to_string()).as_deref(), Some("6e6d1a75832a2f"));
        let sampling = TraceSampling { is_sampled: true, threshold: "e".parse().ok(), randomness: state.randomness() };
        let others = "rojo=00f067aa0ba902b7,congo=t61 rc,fw529a3039@dt=1";
        assert_eq!(state.passed_on(&sampling), format!("ot=th:e;rv:6e6d1a75832a2f;p:8;x:a_b,{others}"));
        let left_out = TraceSampling { is_sampled: false, ..sampling };
        assert_eq!(state.passed_on(&left_out), format!("ot=rv:6e6d1a75832a2f;p:8;x:a_b,{others}"));
        assert_eq!(TraceState::default().passed_on(&TraceSampling::default()), "ot=th:0");
        let unknown = TraceSampling { threshold: None, ..TraceSampling::default() };
        assert_eq!(read("rojo=1").passed_on(&unknown), "rojo=1");
        assert!(read("").is_empty() && TraceState::default().passed_on(&unknown).is_empty());
    }

    #[test]
    fn what_has_no_room_beside_ours_is_left_out_from_the_end() {
        let full: Vec<_> = (0..MEMBERS).map(|number| format!("k{number}=v")).collect();
        let passed_on = read(&full.join(",")).passed_on(&TraceSampling::default());
        assert_eq!(passed_on, format!("ot=th:0,{}", full[..MEMBERS - 1].join(",")));
        assert_eq!(read(&passed_on).to_string(), passed_on, "it can be read again");
        let long = format!("ot=k:{}", "v".repeat(PART_BYTES - 2));
        assert_eq!(read(&long).passed_on(&TraceSampling::default()), "ot=th:0", "the member would be too long");
    }

    #[test]
    fn what_the_standards_forbid_is_refused() {
        let too_many = (0..=MEMBERS).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
        let too_long = format!("{}k=v", ",".repeat(BYTES));
        let long_key = format!("{}=v", "k".repeat(PART_BYTES + 1));
        let long_value = format!("k={}", "v".repeat(PART_BYTES + 1));
        for text in [
            "nothing",
            "=v",
            "k=",
            "K=v",
            "@k=v",
            "k=v=w",
            "k=a\u{7f}",
            "k=ä",
            "k=a\nb",
            "k=1,k=2",
            "ot=th",
            "ot=th:",
            "ot=th:C",
            "ot=th:c;th:c",
            "ot=rv:123",
            "ot=;",
            "ot=TH:c",
            "ot=k:a b",
            &too_many,
            &too_long,
            &long_key,
            &long_value,
        ] {
            assert!(text.parse::<TraceState>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_comes_back(text in "([a-z0-9=,;:@ \tot]|th:|rv:|ot=|\\PC){0,60}") {
            if let Ok(state) = text.parse::<TraceState>() {
                prop_assert_eq!(state.to_string().parse(), Ok(state));
            }
        }

        #[test]
        fn what_is_passed_on_can_be_read_whatever_is_decided(
            members in prop::collection::btree_map("[a-z][a-z0-9_*/@-]{0,9}", "[!-+.-<>-~]{1,20}", 0..MEMBERS),
            rate in 0.0..=1.0, random in any::<u64>(), is_sampled in any::<bool>(),
        ) {
            let members: Vec<_> = members.iter().filter(|(key, _)| *key != OPEN_TELEMETRY).collect();
            let text = members.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            let randomness = format!("{:014x}", random >> 8).parse().ok();
            let decided = SamplingThreshold::of_probability(rate);
            let threshold = (is_sampled && decided < SamplingThreshold::KEEP_NONE).then_some(decided);
            let sampling = TraceSampling { is_sampled, threshold: Some(decided), randomness };
            let again = read(&read(&text).passed_on(&sampling));
            prop_assert_eq!((again.threshold(), again.randomness()), (threshold, randomness));
            prop_assert!(again.to_string().ends_with(&text));
        }
    }
}
