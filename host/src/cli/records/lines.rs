//! Records as lines for a person.

use std::fmt::Write as _;
use std::time::Duration;

use glasshouse::records::{
    AlertRecord, ErrorRecord, Head, HostFunctionUse, InvocationRecord, LogRecord, MetricRecord, SpanCostRecord,
    SpanLinkRecord, SpanRecord, TransferRecord,
};
use glasshouse::text::{bytes, count, duration, fuel, visible};
use glasshouse::{Severity, SpanStatus, UnixNanos};
use serde::Serialize;

use crate::cli::call::{field_text, log_line};
use crate::output::Paint;

/// Host functions of a call that are named.
const HOST_FUNCTIONS: usize = 4;

/// What can be shown as a line.
pub(super) trait Shown: Serialize {
    /// The line, which may have further ones that are indented.
    fn line(&self, paint: Paint) -> String;

    /// Its place and time.
    fn head(&self) -> &Head;

    /// When it was recorded.
    fn time(&self) -> UnixNanos {
        self.head().time
    }
}

impl Shown for LogRecord {
    fn line(&self, paint: Paint) -> String {
        log_line(self, paint)
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

impl Shown for ErrorRecord {
    fn line(&self, paint: Paint) -> String {
        let mut line = format!(
            "{} {} {}",
            time(self.head.time, paint),
            paint.red(&visible(&self.kind, 80)),
            visible(&self.message, 400)
        );
        if let Some(call) = &self.call {
            let _ = write!(line, " {}", paint.dim(&format!("in {}", visible(call, 80))));
        }
        for (name, value) in &self.fields.0 {
            let _ = write!(line, " {}", field_text(name, value));
        }
        let _ = write!(line, " {}", paint.dim(&format!("group {}", self.group)));
        if let Some(input) = &self.input_digest {
            let _ = write!(line, " {}", paint.dim(&format!("input {}", input.short())));
        }
        if let Some(number) = self.reported_as {
            let _ = write!(line, " {}", paint.dim(&format!("reported as number {number}")));
        }
        for frame in self.stack.iter().take(12) {
            let place = frame.source.as_ref().map(|source| format!(" {}:{}", visible(&source.file, 120), source.line));
            let _ = write!(line, "\n    at {}{}", visible(&frame.function, 160), place.unwrap_or_default());
        }
        if let Some(advice) = &self.advice {
            let _ = write!(line, "\n    {}", paint.dim(advice));
        }
        line
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

impl Shown for MetricRecord {
    fn line(&self, paint: Paint) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", visible(&self.unit, 20)) };
        let mut line = format!(
            "{} {:<9} {} {}{unit}",
            time(self.head.time, paint),
            self.instrument,
            visible(&self.name, 80),
            self.value
        );
        for (name, value) in &self.labels.0 {
            let _ = write!(line, " {}", field_text(name, value));
        }
        line
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

impl Shown for SpanRecord {
    fn line(&self, paint: Paint) -> String {
        let took = duration(Duration::from_nanos(self.total.elapsed_ns));
        let mut line = format!(
            "{} {took:>9} {:<8} {} {} fuel",
            time(self.head.time, paint),
            self.kind,
            visible(&self.name, 80),
            fuel(self.total.fuel)
        );
        if self.own != self.total {
            let own = duration(Duration::from_nanos(self.own.elapsed_ns));
            let _ = write!(line, ", of its own {own} {} fuel", fuel(self.own.fuel));
        }
        let SpanCostRecord { in_guest_ns, in_host_ns, waiting_ns, memory_delta_bytes, transfer, .. } = self.total;
        let parts = [("guest", in_guest_ns), ("host", in_host_ns), ("waiting", waiting_ns)];
        let _ = write!(line, " {}", paint.dim(&parted(&parts, memory_delta_bytes, transfer)));
        if self.status == SpanStatus::Unfinished {
            let _ = write!(line, " {}", paint.yellow("unfinished"));
        }
        if !self.failure.is_empty() {
            let _ = write!(line, " {}", paint.red(&visible(&self.failure, 200)));
        }
        for (name, value) in &self.fields.0 {
            let _ = write!(line, " {}", field_text(name, value));
        }
        if let Some(context) = &self.head.context {
            let _ = write!(line, " {}", paint.dim(&format!("trace {}", context.trace_id)));
        }
        if !self.host_functions.is_empty() {
            let _ = write!(line, "\n    {}", paint.dim(&host_functions(&self.host_functions)));
        }
        for link in &self.links {
            let _ = write!(line, "\n    {}", paint.dim(&link_line(link)));
        }
        line
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

/// Which span of which trace a link is to, by ids that can be looked for, and its fields.
pub(super) fn link_line(link: &SpanLinkRecord) -> String {
    let mut line = format!("link to trace {} span {}", link.trace_id, link.span_id);
    for (name, value) in &link.fields.0 {
        let _ = write!(line, " {}", field_text(name, value));
    }
    line
}

impl Shown for AlertRecord {
    fn line(&self, paint: Paint) -> String {
        let severity = format!("{:<8}", self.severity.as_str());
        let severity = match self.severity {
            Severity::Critical | Severity::High => paint.red(&severity),
            Severity::Medium => paint.yellow(&severity),
            Severity::Low => severity,
        };
        let mut line = format!(
            "{} {severity} {:<5} {} {}: {}",
            time(self.head.time, paint),
            self.head.origin,
            visible(&self.kind, 80),
            paint.bold(&visible(&self.title, 120)),
            visible(&self.message, 400)
        );
        if let Some(metric) = &self.metric {
            let _ = write!(line, " {}", visible(metric, 80));
        }
        if let (Some(value), Some(threshold)) = (self.value, self.threshold) {
            let _ = write!(line, " {value}, threshold {threshold}");
        }
        line
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

impl Shown for InvocationRecord {
    fn line(&self, paint: Paint) -> String {
        let outcome = format!("{:<9}", self.outcome.as_str());
        let outcome = if self.outcome.is_failure() { paint.red(&outcome) } else { outcome };
        let mut line = format!(
            "{} {outcome} {:>9} {:>7} fuel {:>9} peak  {}",
            time(self.head.time, paint),
            duration(Duration::from_nanos(self.wall_ns)),
            fuel(self.fuel),
            bytes(self.memory_peak_bytes),
            visible(&self.name, 80)
        );
        let _ = write!(line, "\n    {}", paint.dim(&where_time_went(self)));
        if let Some(input) = &self.input_digest {
            let text = format!("input {}, {}", input.short(), bytes(self.input_bytes));
            let _ = write!(line, "\n    {}", paint.dim(&text));
        }
        if !self.host_functions.is_empty() {
            let _ = write!(line, "\n    {}", paint.dim(&host_functions(&self.host_functions)));
        }
        line
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

/// The parts of a call's wall time, the longest first, and what it moved.
pub(crate) fn where_time_went(call: &InvocationRecord) -> String {
    let mut parts = [
        ("guest", call.in_guest_ns),
        ("host", call.in_host_ns),
        ("queued", call.queued_ns),
        ("waiting", call.waiting_ns),
        ("unattributed", call.unattributed_ns),
    ];
    parts.sort_by_key(|(_, nanos)| std::cmp::Reverse(*nanos));
    let cpu = duration(Duration::from_nanos(call.guest_cpu_ns));
    let about = if call.cpu_estimated { "about " } else { "" };
    format!("{}, {about}{cpu} guest CPU", parted(&parts, call.memory_delta_bytes, call.transfer))
}

/// Times with their part of the whole, and bytes; what is zero is left out.
fn parted(parts: &[(&str, u64)], memory_delta_bytes: u64, transfer: TransferRecord) -> String {
    let whole: u64 = parts.iter().map(|(_, nanos)| *nanos).sum();
    let part = |(name, nanos): &(&str, u64)| {
        let percent = *nanos as f64 / whole as f64 * 100.0;
        format!("{name} {} ({percent:.0} %)", duration(Duration::from_nanos(*nanos)))
    };
    let amount = |(name, amount): (&str, u64)| format!("{name} {}", bytes(amount));
    let amounts = [
        ("grew by", memory_delta_bytes),
        ("read", transfer.read_bytes),
        ("wrote", transfer.written_bytes),
        ("sent", transfer.sent_bytes),
        ("received", transfer.received_bytes),
    ];
    let parts = parts.iter().filter(|(_, nanos)| *nanos > 0).map(part);
    let amounts = amounts.into_iter().filter(|(_, amount)| *amount > 0).map(amount);
    parts.chain(amounts).collect::<Vec<_>>().join(", ")
}

/// The host functions that took the longest.
pub(crate) fn host_functions(uses: &[HostFunctionUse]) -> String {
    let shown = uses.iter().take(HOST_FUNCTIONS).map(|one| {
        let mut text = format!("{} {}×", one.function, count(one.calls));
        for (nanos, what) in [(one.in_host_ns, ""), (one.waited_ns, " waited")] {
            if nanos > 0 {
                let _ = write!(text, " {}{what}", duration(Duration::from_nanos(nanos)));
            }
        }
        text
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if let Some(more) = uses.len().checked_sub(HOST_FUNCTIONS).filter(|more| *more > 0) {
        let _ = write!(text, ", {more} more");
    }
    text
}

fn time(time: UnixNanos, paint: Paint) -> String {
    paint.dim(&time.time_of_day())
}
