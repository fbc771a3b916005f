//! Records as lines for a person.

use std::fmt::Write as _;
use std::time::Duration;

use glasshouse::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, SpanRecord};
use glasshouse::text::{bytes, duration, fuel, visible};
use glasshouse::{Severity, UnixNanos};
use serde::Serialize;

use crate::cli::call::{field_text, log_line};
use crate::output::Paint;

/// What can be shown as a line.
pub(super) trait Shown: Serialize {
    /// The line, which may have further ones that are indented.
    fn line(&self, paint: Paint) -> String;

    /// When it was recorded.
    fn time(&self) -> UnixNanos;
}

impl Shown for LogRecord {
    fn line(&self, paint: Paint) -> String {
        log_line(self, paint)
    }

    fn time(&self) -> UnixNanos {
        self.head.time
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
        for frame in self.stack.iter().take(12) {
            let place = frame.source.as_ref().map(|source| format!(" {}:{}", visible(&source.file, 120), source.line));
            let _ = write!(line, "\n    at {}{}", visible(&frame.function, 160), place.unwrap_or_default());
        }
        if let Some(advice) = self.advice {
            let _ = write!(line, "\n    {}", paint.dim(advice));
        }
        line
    }

    fn time(&self) -> UnixNanos {
        self.head.time
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

    fn time(&self) -> UnixNanos {
        self.head.time
    }
}

impl Shown for SpanRecord {
    fn line(&self, paint: Paint) -> String {
        let took = duration(Duration::from_nanos(self.elapsed_ns));
        let mut line = format!(
            "{} {took:>9} {:<8} {} {} fuel",
            time(self.head.time, paint),
            self.kind,
            visible(&self.name, 80),
            fuel(self.fuel)
        );
        if !self.failure.is_empty() {
            let _ = write!(line, " {}", paint.red(&visible(&self.failure, 200)));
        }
        for (name, value) in &self.fields.0 {
            let _ = write!(line, " {}", field_text(name, value));
        }
        if let Some(context) = &self.head.context {
            let _ = write!(line, " {}", paint.dim(&format!("trace {}", context.trace_id)));
        }
        line
    }

    fn time(&self) -> UnixNanos {
        self.head.time
    }
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
            "{} {severity} {}: {}",
            time(self.head.time, paint),
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

    fn time(&self) -> UnixNanos {
        self.head.time
    }
}

impl Shown for InvocationRecord {
    fn line(&self, paint: Paint) -> String {
        let outcome = format!("{:<9}", self.outcome.as_str());
        let outcome = if self.outcome.is_failure() { paint.red(&outcome) } else { outcome };
        format!(
            "{} {outcome} {:>9} {:>7} fuel {:>9} peak  {}",
            time(self.head.time, paint),
            duration(Duration::from_nanos(self.elapsed_ns)),
            fuel(self.fuel),
            bytes(self.memory_peak_bytes),
            visible(&self.name, 80)
        )
    }

    fn time(&self) -> UnixNanos {
        self.head.time
    }
}

fn time(time: UnixNanos, paint: Paint) -> String {
    paint.dim(&time.time_of_day())
}
