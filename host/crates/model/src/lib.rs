//! The words that every floor of Glasshouse shares: ids, units, records, settings and the clock. No I/O, no async.

mod answered;
mod aspect;
pub mod clock;
pub mod config;
pub mod context;
pub mod failure;
mod host_function;
pub mod id;
pub mod invocation;
pub mod limits;
mod numbers;
pub mod record;
mod retention;
pub mod settings;
pub mod signal;
pub mod span;
pub mod standing;
mod telemetry_budget;
pub mod text;
mod trace_parent;

pub use answered::{AnsweredError, Reported};
pub use aspect::Aspect;
pub use clock::{Clock, UnixNanos};
pub use context::Context;
pub use failure::{Blame, Failure, FailureKind, Frame};
pub use glasshouse_wire as wire;
pub use glasshouse_wire::{Instrument, Level, Severity};
pub use host_function::HostFunction;
pub use id::{AlertId, Digest, ExtensionId, GroupId, HOST, InputDigest, SessionId, SpanId, TraceId};
pub use invocation::{Invocation, Outcome};
pub use record::{Envelope, Origin};
pub use semver::Version;
pub use signal::Signal;
pub use span::{Span, SpanCost, SpanKind, SpanStatus};
pub use trace_parent::{InvalidTraceParent, TraceParent};
