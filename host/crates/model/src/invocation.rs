//! One call of an export: what it cost and how it ended.

use std::borrow::Borrow;

use glasshouse_wire::{Malformed, Reader, put_varint};

use crate::numbers::{numbers, put_numbers};
use crate::{HostFunction, InputDigest, SpanId};

glasshouse_wire::byte_enum! {
    /// How an invocation ended.
    Outcome {
        /// With a reply.
        Ok = 0 "ok",
        /// With an error that the extension answered.
        Answered = 1 "error",
        /// In a trap, or otherwise without an answer.
        Trapped = 2 "trap",
        /// Stopped for using more than its budget.
        Breached = 3 "breach",
        /// Given up by the host, which is stopping.
        Cancelled = 4 "cancelled",
    }
}

impl Outcome {
    /// Whether it counts against the extension's health.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Trapped | Self::Breached)
    }
}

/// A finished invocation; whose work it was stands in its envelope. Whoever makes one may lend it the cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation<'a, C = Cost> {
    /// How it ended.
    pub outcome: Outcome,
    /// The export, and for `handle` the event: `handle:render`.
    pub name: &'a str,
    /// The span that caused it: of another extension's call, or from outside of the host.
    pub parent: Option<SpanId>,
    /// The call of another extension that caused it, by its own span. It is stored in any case, which `parent` need not be.
    pub cause: Option<SpanId>,
    /// What it cost.
    pub cost: C,
    /// What it asked of the host.
    pub host: HostUses<'a>,
    /// Bytes of the event's payload.
    pub input_bytes: u64,
    /// What tells whether other calls had the same input, of one that failed or was answered with an error.
    pub input: Option<InputDigest>,
    /// Bytes of the reply's payload.
    pub output_bytes: u64,
}

/// Fuel as it stands in a record: one more than was used, so that none counted takes no room.
#[inline]
pub(crate) fn encode_fuel(fuel: Option<u64>) -> u64 {
    fuel.map_or(0, |fuel| fuel.saturating_add(1))
}

/// Reads what [`encode_fuel`] gave.
pub(crate) fn decode_fuel(stored: u64) -> Option<u64> {
    stored.checked_sub(1)
}

/// What an invocation cost.
///
/// Its wall time has five parts, which always add up:
/// [`wall_nanos`](Self::wall_nanos) = [`guest_nanos`](Self::guest_nanos) + `host_nanos` + `queued_nanos` +
/// [`waiting_nanos`](Self::waiting_nanos) + `unattributed_nanos`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Wasm fuel: the same for the same input, on every run; `None` where `budget.metering` counts none.
    pub fuel: Option<u64>,
    /// CPU time while the extension was being run, host functions on its behalf included.
    pub cpu_nanos: u64,
    /// Whether the CPU time is wall time of a call too short for the thread's CPU clock to be read.
    pub cpu_estimated: bool,
    /// From the start of the call to its end.
    pub elapsed_nanos: u64,
    /// In the mailbox before the call started.
    pub queued_nanos: u64,
    /// In host functions that the guest called, without what it waited in them.
    pub host_nanos: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Waiting for something: time, a file, a socket, another extension.
    pub idle_nanos: u64,
    /// Waiting for its next turn, having yielded to its neighbours.
    pub yielded_nanos: u64,
    /// The sandbox's own work at the end of a call whose instance is given up; any other call ends with its last poll.
    pub unattributed_nanos: u64,
    /// The instance's linear memory at the end of the call; 0 if the instance was given up.
    pub memory_bytes: u64,
    /// What linear memory has grown by during the call. It never shrinks.
    pub memory_delta_bytes: u64,
    /// The most that it has been since the instance was made.
    pub memory_peak_bytes: u64,
    /// What went through files and sockets.
    pub transfer: Transfer,
}

/// What is left of a whole without its parts; 0 if they come to more.
pub fn without(whole: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(whole, |left, part| left.saturating_sub(*part))
}

impl Cost {
    /// From when the call was put into the mailbox to its end.
    #[inline]
    pub fn wall_nanos(&self) -> u64 {
        self.queued_nanos.saturating_add(self.elapsed_nanos)
    }

    /// Running the guest's code and passing its values: what is left of the time in which the call was run.
    pub fn guest_nanos(&self) -> u64 {
        without(self.elapsed_nanos, &[self.host_nanos, self.idle_nanos, self.yielded_nanos, self.unattributed_nanos])
    }

    /// Neither running nor in the mailbox.
    #[inline]
    pub fn waiting_nanos(&self) -> u64 {
        self.idle_nanos.saturating_add(self.yielded_nanos)
    }

    /// CPU time without that of host functions, whose wall time stands for it.
    pub fn guest_cpu_nanos(&self) -> u64 {
        self.cpu_nanos.saturating_sub(self.host_nanos)
    }

    /// CPU time of host functions, as far as they ran on the guest's thread.
    #[inline]
    pub fn host_cpu_nanos(&self) -> u64 {
        self.cpu_nanos.min(self.host_nanos)
    }

    /// Brings parts that were measured apart into the time that they are parts of, so that they add up.
    #[inline]
    #[must_use]
    pub fn balanced(mut self) -> Self {
        if self.waiting_nanos() | self.unattributed_nanos | self.host_nanos == 0 {
            return self;
        }
        let mut left = self.elapsed_nanos;
        for part in [&mut self.idle_nanos, &mut self.yielded_nanos, &mut self.unattributed_nanos, &mut self.host_nanos]
        {
            *part = (*part).min(left);
            left -= *part;
        }
        self
    }
}

/// Bytes that went through files and sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Read from files.
    pub read_bytes: u64,
    /// Written to files: handed over to the system.
    pub written_bytes: u64,
    /// Sent by sockets: handed over to the system.
    pub sent_bytes: u64,
    /// Received by sockets.
    pub received_bytes: u64,
}

impl Transfer {
    /// What was transferred since an earlier reading.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            sent_bytes: self.sent_bytes.saturating_sub(earlier.sent_bytes),
            received_bytes: self.received_bytes.saturating_sub(earlier.received_bytes),
        }
    }
}

/// What one function of the host was used for in a call, or in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostUse {
    /// The function.
    pub function: HostFunction,
    /// How often it was called.
    pub calls: u64,
    /// Time in it, without what was waited in it.
    pub nanos: u64,
    /// What was waited in it.
    pub waited_nanos: u64,
}

/// The functions of the host that a call or a span used, as they are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostUses<'a>(&'a [u8]);

impl<'a> HostUses<'a> {
    /// Encodes them into a buffer of their own.
    #[inline]
    pub fn encode(buffer: &'a mut Vec<u8>, uses: impl IntoIterator<Item = HostUse>) -> Self {
        buffer.clear();
        Self::append(buffer, uses);
        Self(buffer)
    }

    /// Appends them to a record, which ends with them.
    #[inline]
    pub(crate) fn append(buffer: &mut Vec<u8>, uses: impl IntoIterator<Item = HostUse>) {
        for one in uses {
            buffer.push(one.function as u8);
            put_numbers(buffer, [&one.calls, &one.nanos, &one.waited_nanos]);
        }
    }

    /// One by one, in the order in which they were encoded.
    pub fn iter(self) -> impl Iterator<Item = HostUse> + 'a {
        let mut reader = Reader::new(self.0);
        // They were looked through when they were decoded.
        std::iter::from_fn(move || if reader.rest().is_empty() { None } else { host_use(&mut reader).ok() })
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        while !reader.rest().is_empty() {
            host_use(&mut reader)?;
        }
        Ok(Self(bytes))
    }
}

fn host_use(reader: &mut Reader<'_>) -> Result<HostUse, Malformed> {
    let function = HostFunction::from_byte(reader.byte()?).ok_or(Malformed("unknown function of the host"))?;
    let [calls, nanos, waited_nanos] = numbers(reader)?;
    Ok(HostUse { function, calls, nanos, waited_nanos })
}

/// That the CPU time is an estimate.
const FLAG_CPU_ESTIMATED: u8 = 1;
/// That the id of a parent follows the numbers.
const FLAG_PARENT: u8 = 2;
/// That the id of a cause follows, after the parent's.
const FLAG_CAUSE: u8 = 4;
/// That a digest of the input follows, after the ids.
const FLAG_INPUT: u8 = 8;

impl<C: Borrow<Cost>> Invocation<'_, C> {
    /// Appends the invocation as it stands in a stored record.
    #[inline]
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let cost: &Cost = self.cost.borrow();
        let transfer = &cost.transfer;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(cost.cpu_estimated, FLAG_CPU_ESTIMATED)
            | flag(self.parent.is_some(), FLAG_PARENT)
            | flag(self.cause.is_some(), FLAG_CAUSE)
            | flag(self.input.is_some(), FLAG_INPUT);
        buffer.extend_from_slice(&[self.outcome as u8, flags]);
        put_numbers(
            buffer,
            [
                &encode_fuel(cost.fuel),
                &cost.cpu_nanos,
                &cost.elapsed_nanos,
                &cost.queued_nanos,
                &cost.host_nanos,
                &cost.host_calls,
                &cost.idle_nanos,
                &cost.yielded_nanos,
                &cost.unattributed_nanos,
                &cost.memory_bytes,
                &cost.memory_delta_bytes,
                &cost.memory_peak_bytes,
                &transfer.read_bytes,
                &transfer.written_bytes,
                &transfer.sent_bytes,
                &transfer.received_bytes,
                &self.input_bytes,
                &self.output_bytes,
            ],
        );
        if let Some(parent) = self.parent {
            buffer.extend_from_slice(&parent.0);
        }
        if let Some(cause) = self.cause {
            buffer.extend_from_slice(&cause.0);
        }
        if let Some(input) = self.input {
            buffer.extend_from_slice(&input.0);
        }
        // As `put_str` has it, which copies in words for guests' sake, and here costs 3 ns more.
        put_varint(buffer, self.name.len() as u32);
        buffer.extend_from_slice(self.name.as_bytes());
        buffer.extend_from_slice(self.host.0);
    }
}

impl Invocation<'_> {
    /// Reads what [`Invocation::encode`] wrote.
    pub fn decode(body: &[u8]) -> Result<Invocation<'_>, Malformed> {
        let mut reader = Reader::new(body);
        let outcome = Outcome::from_byte(reader.byte()?).ok_or(Malformed("unknown outcome"))?;
        let flags = reader.byte()?;
        if flags & !(FLAG_CPU_ESTIMATED | FLAG_PARENT | FLAG_CAUSE | FLAG_INPUT) != 0 {
            return Err(Malformed("unknown flag of an invocation"));
        }
        let [
            fuel,
            cpu_nanos,
            elapsed_nanos,
            queued_nanos,
            host_nanos,
            host_calls,
            idle_nanos,
            yielded_nanos,
            unattributed_nanos,
            memory_bytes,
            memory_delta_bytes,
            memory_peak_bytes,
            read_bytes,
            written_bytes,
            sent_bytes,
            received_bytes,
            input_bytes,
            output_bytes,
        ] = numbers(&mut reader)?;
        let cost = Cost {
            fuel: decode_fuel(fuel),
            cpu_nanos,
            cpu_estimated: flags & FLAG_CPU_ESTIMATED != 0,
            elapsed_nanos,
            queued_nanos,
            host_nanos,
            host_calls,
            idle_nanos,
            yielded_nanos,
            unattributed_nanos,
            memory_bytes,
            memory_delta_bytes,
            memory_peak_bytes,
            transfer: Transfer { read_bytes, written_bytes, sent_bytes, received_bytes },
        };
        let mut id = |flag| if flags & flag == 0 { Ok(None) } else { reader.array().map(|id| Some(SpanId(id))) };
        let (parent, cause) = (id(FLAG_PARENT)?, id(FLAG_CAUSE)?);
        let input = if flags & FLAG_INPUT == 0 { None } else { Some(InputDigest(reader.array()?)) };
        let name = reader.str()?;
        let host = HostUses::decode(reader.rest())?;
        Ok(Invocation { outcome, name, parent, cause, cost, host, input_bytes, input, output_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cost() -> impl Strategy<Value = Cost> {
        // Small and large ones, so that parts are now within the whole and now over it.
        let number = || prop_oneof![Just(0), 0..1000_u64, any::<u64>()];
        (prop::array::uniform16(number()), any::<bool>()).prop_map(|(numbers, cpu_estimated)| {
            let mut numbers = numbers.into_iter();
            let mut next = || numbers.next().unwrap_or_default();
            Cost {
                fuel: Some(next()).filter(|fuel| *fuel != u64::MAX),
                cpu_nanos: next(),
                cpu_estimated,
                elapsed_nanos: next(),
                queued_nanos: next(),
                host_nanos: next(),
                host_calls: next(),
                idle_nanos: next(),
                yielded_nanos: next(),
                unattributed_nanos: next(),
                memory_bytes: next(),
                memory_delta_bytes: next(),
                memory_peak_bytes: next(),
                transfer: Transfer {
                    read_bytes: next(),
                    written_bytes: next(),
                    sent_bytes: next(),
                    received_bytes: next(),
                },
            }
        })
    }

    proptest! {
        #[test]
        fn the_parts_of_a_call_add_up_to_its_wall_time(cost in cost()) {
            let cost = cost.balanced();
            let parts = [
                cost.guest_nanos(), cost.host_nanos, cost.queued_nanos, cost.waiting_nanos(), cost.unattributed_nanos,
            ];
            let sum: u128 = parts.into_iter().map(u128::from).sum();
            prop_assert_eq!(sum, u128::from(cost.queued_nanos) + u128::from(cost.elapsed_nanos));
        }

        #[test]
        fn an_invocation_comes_back_as_it_was(
            cost in cost(), calls in prop::collection::vec(any::<u64>(), 0..4), ids in any::<[Option<[u8; 8]>; 2]>(),
            input in any::<Option<[u8; 16]>>(),
        ) {
            let uses = calls.iter().zip(HostFunction::ALL).map(|(calls, function)| HostUse {
                function: *function, calls: *calls, nanos: calls / 2, waited_nanos: calls / 3,
            });
            let (mut encoded, mut body) = (Vec::new(), Vec::new());
            let host = HostUses::encode(&mut encoded, uses.clone());
            let call = Invocation {
                outcome: Outcome::Answered, name: "handle:x", parent: ids[0].map(SpanId), cause: ids[1].map(SpanId),
                cost, host, input_bytes: 3, input: input.map(InputDigest), output_bytes: 0,
            };
            call.encode(&mut body);
            let decoded = Invocation::decode(&body).expect("it was just encoded");
            prop_assert_eq!(&decoded, &call);
            prop_assert!(decoded.host.iter().eq(uses));
            for cut in 0..body.len() {
                // What is cut may be an invocation of fewer host functions, and is no fault.
                let _ = Invocation::decode(&body[..cut]);
            }
        }

        #[test]
        fn arbitrary_bytes_are_an_invocation_or_malformed(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(call) = Invocation::decode(&body) {
                prop_assert!(call.host.iter().count() <= body.len());
            }
        }
    }
}
