//! A timed piece of work, as the host stores it when it ends.

pub use glasshouse_wire::SpanKind;
use glasshouse_wire::{Field, Fields, Links, Malformed, Reader, put_fields, put_str, put_varint};

use crate::invocation::{HostUse, HostUses, Transfer, decode_fuel, encode_fuel, without};
use crate::numbers::{numbers, put_numbers};
use crate::{SpanId, UnixNanos};

glasshouse_wire::byte_enum! {
    /// How a span ended.
    SpanStatus {
        /// As intended, for all that the host knows.
        Ok = 0 "ok",
        /// The guest called it failed.
        Failed = 1 "failed",
        /// It was open when its invocation ended.
        Unfinished = 2 "unfinished",
    }
}

/// A finished span; its trace and own id are those of its envelope's context.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// The span around it.
    pub parent: SpanId,
    /// What it stands for.
    pub kind: SpanKind,
    /// How it ended.
    pub status: SpanStatus,
    /// The work's name.
    pub name: &'a str,
    /// Why it failed; empty if it did not.
    pub failure: &'a str,
    /// When it started.
    pub start: UnixNanos,
    /// What it cost from start to end, inner spans included.
    pub total: SpanCost,
    /// What of that inner spans cost.
    pub children: SpanCost,
    /// Its fields.
    pub fields: Fields<'a>,
    /// What happened meanwhile.
    pub events: Vec<SpanEvent<'a>>,
    /// Other spans that it has to do with.
    pub links: Links<'a>,
    /// The instance's linear memory when it ended, in bytes: the most that it was meanwhile, since it never shrinks. 0 for what the host did in a span.
    pub memory_bytes: u64,
    /// What each function of the host was used for in it, inner spans included, but for the starts and ends of spans.
    pub host: HostUses<'a>,
}

/// A finished span whose texts are encoded already, to be stored.
#[derive(Clone, Copy, Debug)]
pub struct EncodedSpan<'a> {
    /// The span around it.
    pub parent: SpanId,
    /// What it stands for.
    pub kind: SpanKind,
    /// How it ended.
    pub status: SpanStatus,
    /// The work's name, with its length before it.
    pub name: &'a [u8],
    /// Why it failed; empty if it did not.
    pub failure: &'a str,
    /// When it started.
    pub start: UnixNanos,
    /// What it cost from start to end, inner spans included.
    pub total: SpanCost,
    /// What of that inner spans cost.
    pub children: SpanCost,
    /// How many fields it has, and name and value of each.
    pub fields: (u32, &'a [u8]),
    /// How many events it has, each as [`Span::encode_event`] wrote it.
    pub events: (u32, &'a [u8]),
    /// How many links it has, each as [`put_link`](glasshouse_wire::put_link) wrote it.
    pub links: (u32, &'a [u8]),
    /// The instance's linear memory when it ended, in bytes.
    pub memory_bytes: u64,
}

impl EncodedSpan<'_> {
    /// Appends the span as it stands in a stored record, with what each function of the host was used for in it: what [`Span::decode`] reads.
    #[inline]
    pub fn encode(&self, buffer: &mut Vec<u8>, host: impl IntoIterator<Item = HostUse>) {
        buffer.extend_from_slice(&self.parent.0);
        buffer.extend_from_slice(&[self.kind as u8, self.status as u8]);
        buffer.extend_from_slice(self.name);
        put_str(buffer, self.failure);
        buffer.extend_from_slice(&self.start.0.to_le_bytes());
        self.total.encode(buffer);
        self.children.encode(buffer);
        for (count, bytes) in [self.fields, self.events, self.links] {
            put_varint(buffer, count);
            buffer.extend_from_slice(bytes);
        }
        put_numbers(buffer, [&self.memory_bytes]);
        HostUses::append(buffer, host);
    }
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent<'a> {
    /// When.
    pub time: UnixNanos,
    /// What.
    pub name: &'a str,
    /// Its fields.
    pub fields: Fields<'a>,
}

/// What a span cost. Its time has the parts that a call's has, but for the mailbox:
/// `elapsed_nanos` = [`guest_nanos`](Self::guest_nanos) + `host_nanos` + `idle_nanos` + `yielded_nanos`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCost {
    /// Wasm fuel; `None` where none is counted.
    pub fuel: Option<u64>,
    /// From start to end.
    pub elapsed_nanos: u64,
    /// In host functions, without what was waited in them.
    pub host_nanos: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Waiting for something.
    pub idle_nanos: u64,
    /// Waiting for the next turn, having yielded to the neighbours.
    pub yielded_nanos: u64,
    /// What linear memory has grown by.
    pub memory_delta_bytes: u64,
    /// What went through files and sockets.
    pub transfer: Transfer,
}

impl SpanCost {
    /// Running the guest's code and passing its values. It is the guest's CPU time by a clock that does not see what the
    /// system gave to others meanwhile, and so an estimate.
    pub fn guest_nanos(&self) -> u64 {
        without(self.elapsed_nanos, &[self.host_nanos, self.idle_nanos, self.yielded_nanos])
    }

    /// Not running.
    pub fn waiting_nanos(&self) -> u64 {
        self.idle_nanos.saturating_add(self.yielded_nanos)
    }

    /// What there is beyond a part of it.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        let fuel = self.fuel.map(|fuel| fuel.saturating_sub(part.fuel.unwrap_or_default()));
        Self { fuel, ..Self::from_numbers(combine(self, part, u64::saturating_sub)) }
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let fuel = match (self.fuel, other.fuel) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Self { fuel, ..Self::from_numbers(combine(self, other, u64::saturating_add)) }
    }

    /// All but the fuel, which need not be counted.
    fn numbers(self) -> [u64; Self::NUMBERS] {
        let Transfer { read_bytes, written_bytes, sent_bytes, received_bytes } = self.transfer;
        [
            self.elapsed_nanos,
            self.host_nanos,
            self.host_calls,
            self.idle_nanos,
            self.yielded_nanos,
            self.memory_delta_bytes,
            read_bytes,
            written_bytes,
            sent_bytes,
            received_bytes,
        ]
    }

    fn from_numbers(numbers: [u64; Self::NUMBERS]) -> Self {
        let [
            elapsed_nanos,
            host_nanos,
            host_calls,
            idle_nanos,
            yielded_nanos,
            memory_delta_bytes,
            read_bytes,
            written_bytes,
            sent_bytes,
            received_bytes,
        ] = numbers;
        let transfer = Transfer { read_bytes, written_bytes, sent_bytes, received_bytes };
        let fuel = None;
        Self { fuel, elapsed_nanos, host_nanos, host_calls, idle_nanos, yielded_nanos, memory_delta_bytes, transfer }
    }

    fn encode(self, buffer: &mut Vec<u8>) {
        put_numbers(buffer, [&encode_fuel(self.fuel)]);
        put_numbers(buffer, self.numbers().each_ref());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let [fuel] = numbers(reader)?;
        Ok(Self { fuel: decode_fuel(fuel), ..Self::from_numbers(numbers(reader)?) })
    }

    const NUMBERS: usize = 10;
}

#[inline]
fn combine(one: SpanCost, other: SpanCost, how: impl Fn(u64, u64) -> u64) -> [u64; SpanCost::NUMBERS] {
    let (one, other) = (one.numbers(), other.numbers());
    std::array::from_fn(|index| how(one[index], other[index]))
}

impl Span<'_> {
    /// What it cost without inner spans.
    pub fn own(&self) -> SpanCost {
        self.total.without(self.children)
    }

    /// Appends the span as it stands in a stored record. Fields and the encoded events are given beside it, since a
    /// span under construction has them in other forms.
    pub fn encode(&self, buffer: &mut Vec<u8>, fields: &[Field<'_>], events: u32, encoded_events: &[u8]) {
        buffer.extend_from_slice(&self.parent.0);
        buffer.extend_from_slice(&[self.kind as u8, self.status as u8]);
        put_str(buffer, self.name);
        put_str(buffer, self.failure);
        buffer.extend_from_slice(&self.start.0.to_le_bytes());
        self.total.encode(buffer);
        self.children.encode(buffer);
        put_fields(buffer, fields);
        put_varint(buffer, events);
        buffer.extend_from_slice(encoded_events);
        put_varint(buffer, self.links.len() as u32);
        buffer.extend_from_slice(self.links.bytes());
        put_numbers(buffer, [&self.memory_bytes]);
        HostUses::append(buffer, self.host.iter());
    }

    /// Appends one event in the form that [`Span::encode`] takes.
    pub fn encode_event(buffer: &mut Vec<u8>, time: UnixNanos, name: &str, fields: &[Field<'_>]) {
        buffer.extend_from_slice(&time.0.to_le_bytes());
        put_str(buffer, name);
        put_fields(buffer, fields);
    }

    /// Reads what [`Span::encode`] wrote.
    pub fn decode(body: &[u8]) -> Result<Span<'_>, Malformed> {
        let mut reader = Reader::new(body);
        let mut span = Span {
            parent: SpanId(reader.array()?),
            kind: SpanKind::from_byte(reader.byte()?).ok_or(Malformed("unknown kind of span"))?,
            status: SpanStatus::from_byte(reader.byte()?).ok_or(Malformed("unknown status of a span"))?,
            name: reader.str()?,
            failure: reader.str()?,
            start: UnixNanos(reader.integer()?),
            total: SpanCost::decode(&mut reader)?,
            children: SpanCost::decode(&mut reader)?,
            fields: reader.fields()?,
            events: Vec::new(),
            links: Links::EMPTY,
            memory_bytes: 0,
            host: HostUses::default(),
        };
        for _ in 0..reader.varint()? {
            let time = UnixNanos(reader.integer()?);
            span.events.push(SpanEvent { time, name: reader.str()?, fields: reader.fields()? });
        }
        // Spans ended here before there were links, and with their links before there was more.
        if !reader.rest().is_empty() {
            span.links = reader.links()?;
        }
        if !reader.rest().is_empty() {
            [span.memory_bytes] = numbers(&mut reader)?;
            span.host = HostUses::decode(reader.rest())?;
        }
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_wire::{Link, Value, put_link};
    use proptest::prelude::*;

    use super::*;
    use crate::HostFunction;

    proptest! {
        #[test]
        fn what_a_span_cost_comes_back_and_its_own_part_and_its_childrens_are_the_whole(
            own in any::<[u32; SpanCost::NUMBERS]>(), children in any::<[u32; SpanCost::NUMBERS]>(), links in 0..4_u32,
        ) {
            let cost = |numbers: [u32; SpanCost::NUMBERS]| SpanCost {
                fuel: Some(numbers[0].into()),
                ..SpanCost::from_numbers(numbers.map(u64::from))
            };
            let (own, children) = (cost(own), cost(children));
            let (mut encoded, mut uses) = (Vec::new(), Vec::new());
            let host_use = |number: u32| HostUse {
                function: HostFunction::ALL[number as usize], calls: number.into(), nanos: own.elapsed_nanos, waited_nanos: 1,
            };
            put_varint(&mut encoded, links);
            for link in 1..=links {
                let link = Link { trace_id: [link as u8; 16], span_id: [link as u8; 8], state: "a=1" };
                put_link(&mut encoded, &link, &[Field { name: "n", value: Value::Boolean(true) }]);
            }
            let span = Span {
                parent: SpanId([1; 8]), kind: SpanKind::Client, status: SpanStatus::Ok, name: "work", failure: "",
                start: UnixNanos(3), total: own.with(children), children, fields: Fields::EMPTY, events: Vec::new(),
                links: Reader::new(&encoded).links().expect("it was just encoded"), memory_bytes: own.elapsed_nanos,
                host: HostUses::encode(&mut uses, (0..links).map(host_use)),
            };
            let mut body = Vec::new();
            span.encode(&mut body, &[], 0, &[]);
            let decoded = Span::decode(&body).expect("it was just encoded");
            prop_assert_eq!(&decoded, &span);
            prop_assert_eq!(decoded.own(), own);
            let mut again = Vec::new();
            let mut name = Vec::new();
            put_str(&mut name, span.name);
            let Span { parent, kind, status, failure, start, total, children, .. } = span;
            let (fields, events, memory_bytes) = ((0, &[][..]), (0, &[][..]), span.memory_bytes);
            let encoded = EncodedSpan {
                parent, kind, status, name: &name, failure, start, total, children, fields, events,
                links: (links, span.links.bytes()), memory_bytes,
            };
            encoded.encode(&mut again, span.host.iter());
            prop_assert_eq!(again, body);
        }

        #[test]
        fn a_span_that_was_stored_before_there_were_links_or_more_has_none(start in any::<i64>()) {
            let mut body = Vec::new();
            let (total, children) = (SpanCost::default(), SpanCost::default());
            let (parent, kind, status) = (SpanId([1; 8]), SpanKind::Server, SpanStatus::Ok);
            let (name, fields, events, links) = (&b"\x04work"[..], (0, &[][..]), (0, &[][..]), (0, &[][..]));
            let (start, memory_bytes) = (UnixNanos(start), 0);
            EncodedSpan { parent, kind, status, name, failure: "", start, total, children, fields, events, links, memory_bytes }
                .encode(&mut body, []);
            // It ended with its events, and later with its links.
            let [links @ .., no_events, no_links, no_memory] = &body[..] else { unreachable!("it has more") };
            prop_assert_eq!((*no_events, *no_links, *no_memory), (0, 0, 0));
            let before = links.len() + 1;
            for cut in [before, before + 1, before + 2] {
                let span = Span::decode(&body[..cut]).expect("it was just encoded");
                prop_assert_eq!((span.links, span.memory_bytes, span.host), (Links::EMPTY, 0, HostUses::default()));
            }
            body.push(u8::MAX);
            prop_assert!(Span::decode(&body).is_err(), "of what comes after that nothing is guessed");
        }

        #[test]
        fn arbitrary_bytes_are_a_span_or_malformed(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Span::decode(&body);
        }
    }
}
