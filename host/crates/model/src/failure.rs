//! An invocation that did not end as it should: what happened, whose fault it is, and where in the guest.

use std::fmt;

use glasshouse_wire::{Field, Fields, Malformed, Reader, Severity, put_fields, put_str, put_varint};

use crate::{Digest, InputDigest};

glasshouse_wire::byte_enum! {
    /// Whose fault an error is.
    Blame {
        /// The extension's, or whoever gave it its input.
        Guest = 0 "guest",
        /// The host's, or its operator's.
        Host = 1 "host",
    }
}

glasshouse_wire::byte_enum! {
    /// How a call failed. A `breach` is use past the budget, a `trap` is the sandbox stopping the guest.
    FailureKind {
        /// The guest panicked.
        Panic = 0 "panic",
        /// The guest executed `unreachable`.
        Unreachable = 1 "trap.unreachable",
        /// The guest reached outside of its memory, or a pointer that it passed did.
        MemoryOutOfBounds = 2 "trap.memory-out-of-bounds",
        /// The guest's stack is used up.
        StackOverflow = 3 "trap.stack-overflow",
        /// A division by zero, or an overflow that traps.
        Arithmetic = 4 "trap.arithmetic",
        /// An indirect call of nothing, or of another type; a table index out of bounds.
        BadCall = 5 "trap.bad-call",
        /// The guest broke the rules of the component model: invalid text, a bad discriminant, a dead handle.
        InvalidInterfaceUse = 6 "trap.invalid-interface-use",
        /// Any other trap.
        OtherTrap = 7 "trap.other",
        /// More fuel than a call may use.
        FuelBreach = 8 "breach.fuel",
        /// More time than a call may take.
        DeadlineBreach = 9 "breach.deadline",
        /// More memory than the extension may have.
        MemoryBreach = 10 "breach.memory",
        /// More data than a host call may carry.
        HostDataBreach = 11 "breach.host-data",
        /// `init` answered with an error.
        InitRefused = 12 "init.refused",
        /// The guest called `exit`.
        Exit = 13 "exit",
        /// The host failed.
        Internal = 14 "internal",
        /// More core instances, memories, tables, handles or resources than an instance may have, or larger tables.
        ResourceBreach = 15 "breach.resources",
        /// More calls of host functions than a call may make.
        HostCallBreach = 16 "breach.host-calls",
        /// The component takes more to compile than it may, or consists of more than is accepted.
        LoadBreach = 17 "breach.load",
        /// The component is none, is damaged, or does not fit the host.
        LoadRefused = 18 "load.refused",
    }
}

impl FailureKind {
    /// Whose fault it is.
    pub fn blame(self) -> Blame {
        if self == Self::Internal { Blame::Host } else { Blame::Guest }
    }

    /// How serious it is: critical is what keeps the host, or the whole extension, from working.
    pub fn severity(self) -> Severity {
        match self {
            Self::Internal | Self::LoadBreach | Self::LoadRefused | Self::InitRefused => Severity::Critical,
            _ => Severity::High,
        }
    }

    /// What to do about it, with the setting to change where there is one.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Panic | Self::Unreachable => "mend the extension: the stack says where it gave up",
            Self::MemoryOutOfBounds | Self::BadCall | Self::InvalidInterfaceUse | Self::OtherTrap => {
                "mend the extension: its code or its compiler breaks the sandbox's rules"
            }
            Self::StackOverflow => {
                "mend the extension: recursion without an end, or with too much on the stack; the limits are 512 KiB of the \
                 host's stack for a call, which no setting changes, and the stack in its own memory, which is chosen when it \
                 is linked (`-C link-arg=-zstack-size=BYTES`; in Rust 1 MiB)"
            }
            Self::Arithmetic => "mend the extension: check the divisor before dividing",
            Self::FuelBreach => "raise budget.fuel_per_call, or make the call do less",
            Self::DeadlineBreach => "raise budget.deadline, or make the call do less or wait less",
            Self::MemoryBreach => "raise budget.memory, or make the extension hold less",
            Self::HostDataBreach => "pass less data in one host call, or raise budget.host_data_per_call",
            Self::ResourceBreach => {
                "make the extension give back what it does not use, or build it smaller, or raise what its message says it is \
                 over: budget.instances, budget.memories, budget.table_elements, budget.handles or budget.resources"
            }
            Self::HostCallBreach => "raise budget.host_calls_per_call, or make the call ask less of the host",
            Self::LoadBreach => {
                "build the extension smaller; if its message says that compiling it took too much, host.compile_time or \
                 host.compile_memory can be raised, and other limits are fixed"
            }
            Self::LoadRefused => "build the extension anew for this host; `glasshouse inspect` shows what it asks for",
            Self::InitRefused => "check the extension's [config], and what its message says",
            Self::Exit => "return from the export instead of calling exit",
            Self::Internal => "report it to the host's maintainers, with the host's own log",
        }
    }
}

/// One frame of a guest's stack, innermost first, as the host stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function's name from the name section, demangled; empty if there is none.
    pub function: String,
    /// The instruction's offset in the component file, if known.
    pub offset: Option<u64>,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// How it failed.
    pub kind: FailureKind,
    /// What happened, for a person.
    pub message: String,
    /// Which export, and for `handle` which event.
    pub call: String,
    /// The component that failed.
    pub component: Digest,
    /// File and line that the guest itself named (a panic's location).
    pub location: Option<(String, u32)>,
    /// The guest's stack, innermost first; empty where none could be had.
    pub frames: Vec<Frame>,
    /// Figures that prove it, such as the limit and the use.
    pub evidence: Vec<(String, i64)>,
    /// What tells whether other calls had the same input; `None` where there was none.
    pub input: Option<InputDigest>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, crate::text::visible(&self.message, 400))?;
        if let Some((file, line)) = &self.location {
            write!(f, " at {}:{line}", crate::text::visible(file, 200))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Appends the failure as it stands in a stored record.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.push(self.kind as u8);
        put_str(buffer, &self.message);
        put_str(buffer, &self.call);
        buffer.extend_from_slice(&self.component.0);
        let (file, line) = self.location.as_ref().map_or(("", 0), |(file, line)| (file.as_str(), *line));
        put_str(buffer, file);
        put_varint(buffer, line);
        put_varint(buffer, self.frames.len() as u32);
        for frame in &self.frames {
            put_str(buffer, &frame.function);
            buffer.extend_from_slice(&frame.offset.unwrap_or(u64::MAX).to_le_bytes());
        }
        let evidence: Vec<_> = self
            .evidence
            .iter()
            .map(|(name, value)| Field { name, value: glasshouse_wire::Value::Integer(*value) })
            .collect();
        put_fields(buffer, &evidence);
        if let Some(input) = self.input {
            buffer.extend_from_slice(&input.0);
        }
    }

    /// Reads what [`Failure::encode`] wrote.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = FailureKind::from_byte(reader.byte()?).ok_or(Malformed("unknown kind of failure"))?;
        let (message, call) = (reader.str()?.to_owned(), reader.str()?.to_owned());
        let component = Digest(reader.array()?);
        let (file, line) = (reader.str()?.to_owned(), reader.varint()?);
        let mut frames = Vec::new();
        for _ in 0..reader.varint()? {
            let function = reader.str()?.to_owned();
            let offset = Some(reader.integer()? as u64).filter(|offset| *offset != u64::MAX);
            frames.push(Frame { function, offset });
        }
        let fields: Fields<'_> = reader.fields()?;
        let evidence = fields
            .iter()
            .filter_map(|field| match field.value {
                glasshouse_wire::Value::Integer(value) => Some((field.name.to_owned(), value)),
                _ => None,
            })
            .collect();
        let location = (!file.is_empty()).then_some((file, line));
        // Failures that were stored before there were digests end here, as do those without any.
        let input = if reader.rest().is_empty() { None } else { Some(InputDigest(reader.array()?)) };
        Ok(Self { kind, message, call, component, location, frames, evidence, input })
    }
}
