//! One call of an export: what it cost and how it ended.

use glasshouse_wire::{Malformed, Reader, put_str};

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

/// A finished invocation; whose work it was stands in its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// How it ended.
    pub outcome: Outcome,
    /// The export, and for `handle` the event: `handle:render`.
    pub name: &'a str,
    /// What it cost.
    pub cost: Cost,
    /// Bytes of the event's payload.
    pub input_bytes: u64,
    /// Bytes of the reply's payload.
    pub output_bytes: u64,
}

/// What stands in a record for fuel that was not counted: more than any budget allows.
const NO_FUEL: u64 = u64::MAX;

/// Fuel as it stands in a record.
pub(crate) fn encode_fuel(fuel: Option<u64>) -> u64 {
    fuel.unwrap_or(NO_FUEL)
}

/// Reads what [`encode_fuel`] gave.
pub(crate) fn decode_fuel(stored: u64) -> Option<u64> {
    Some(stored).filter(|fuel| *fuel != NO_FUEL)
}

/// What an invocation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Wasm fuel: the same for the same input, on every run; `None` where `budget.metering` counts none.
    pub fuel: Option<u64>,
    /// CPU time while the extension was being run, host functions on its behalf included.
    pub cpu_nanos: u64,
    /// From the start of the call to its end.
    pub elapsed_nanos: u64,
    /// In the mailbox before the call started.
    pub queued_nanos: u64,
    /// The instance's linear memory at the end of the call.
    pub memory_bytes: u64,
    /// The most that it has been since the instance was made.
    pub memory_peak_bytes: u64,
}

impl Invocation<'_> {
    /// Appends the invocation as it stands in a stored record.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let cost = &self.cost;
        buffer.push(self.outcome as u8);
        for number in [
            encode_fuel(cost.fuel),
            cost.cpu_nanos,
            cost.elapsed_nanos,
            cost.queued_nanos,
            cost.memory_bytes,
            cost.memory_peak_bytes,
            self.input_bytes,
            self.output_bytes,
        ] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        put_str(buffer, self.name);
    }

    /// Reads what [`Invocation::encode`] wrote.
    pub fn decode(body: &[u8]) -> Result<Invocation<'_>, Malformed> {
        let mut reader = Reader::new(body);
        let outcome = Outcome::from_byte(reader.byte()?).ok_or(Malformed("unknown outcome"))?;
        let mut number = || reader.array().map(u64::from_le_bytes);
        let cost = Cost {
            fuel: decode_fuel(number()?),
            cpu_nanos: number()?,
            elapsed_nanos: number()?,
            queued_nanos: number()?,
            memory_bytes: number()?,
            memory_peak_bytes: number()?,
        };
        let (input_bytes, output_bytes) = (number()?, number()?);
        Ok(Invocation { outcome, name: reader.str()?, cost, input_bytes, output_bytes })
    }
}
