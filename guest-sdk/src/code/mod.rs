//! Tracing of code: functions and blocks as spans, changes of structs and the progress of loops as logs.

mod progress;
mod spans;
mod tracked;

pub use progress::{Progress, ReportProgress};
pub use spans::{CodeSpan, call, depth, is_traced};
pub use tracked::{Tracked, TrackedField, TrackedPlan, Tracking, tell_change};
