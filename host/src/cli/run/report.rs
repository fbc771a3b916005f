//! What is said at the end of a run: a summary for programs, and a report for people.

use std::fmt::Write as _;
use std::time::Duration;

use glasshouse::text::{self, visible};
use glasshouse::{Detail, Extension, HOST, Host, HostMemory, Resources, Status, summary_answer};
use glasshouse_client::api::Summary;

use super::lanes::Totals;
use crate::cli::call::log_line;
use crate::cli::records::lines::host_functions;
use crate::output::{Align, Paint, Table};

/// Logs of each extension that are shown.
const LOGS: usize = 5;
/// Characters of a cause.
const CAUSE_CHARACTERS: usize = 1000;

/// A run that has come to its end: its extensions, and what the host used.
pub(super) struct Ended {
    extensions: Vec<EndedExtension>,
    resources: Option<Resources>,
}

struct EndedExtension {
    extension: Extension,
    status: Status,
    memory_bytes: u64,
    held: HostMemory,
}

impl Ended {
    /// Notes states and memory, which the end of the host changes; all else is counted to the end.
    pub(super) async fn before_shutdown(host: &Host) -> Self {
        let ended = |extension: &Extension| EndedExtension {
            extension: extension.clone(),
            status: extension.status(),
            memory_bytes: extension.usage().memory_bytes,
            held: extension.host_memory(),
        };
        Self { extensions: host.extensions().map(ended).collect(), resources: host.measure_resources().await }
    }

    /// Whether one of them failed to load, or is quarantined.
    pub(super) fn has_failures(&self) -> bool {
        let failed =
            |status: &Status| matches!(status, Status::Failed { .. } | Status::Quarantined { .. } | Status::Probing);
        self.extensions.iter().any(|ended| failed(&ended.status))
    }

    pub(super) fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.extensions.iter().map(EndedExtension::summary)
    }

    /// The report for people, without a line's end.
    pub(super) fn report(&self, totals: Totals) -> String {
        let paint = Paint::stderr();
        let mut table = Table::new(&[
            ("extension", Align::Left),
            ("state", Align::Left),
            ("calls", Align::Right),
            ("errors", Align::Right),
            ("fuel", Align::Right),
            ("guest CPU", Align::Right),
            ("host CPU", Align::Right),
            ("waited", Align::Right),
            ("memory", Align::Right),
            ("peak", Align::Right),
            ("dropped", Align::Right),
            ("evicted", Align::Right),
        ]);
        for ended in &self.extensions {
            let (summary, evicted) = (ended.summary(), ended.extension.usage().evicted.iter().sum());
            table.row([
                summary.extension,
                summary.state,
                text::count(summary.calls),
                text::count(summary.errors),
                text::fuel(summary.fuel),
                text::duration(Duration::from_nanos(summary.guest_cpu_ns)),
                text::duration(Duration::from_nanos(summary.host_cpu_ns)),
                text::duration(Duration::from_nanos(summary.waiting_ns)),
                text::bytes(summary.memory_bytes),
                text::bytes(summary.memory_peak_bytes),
                text::count(summary.dropped),
                text::count(evicted),
            ]);
        }
        let mut report = if self.extensions.is_empty() {
            "the plugin directory has no extensions".to_owned()
        } else {
            table.render(paint, |column, cell| (column == 1).then(|| coloured_state(paint, cell)))
        };
        for ended in &self.extensions {
            ended.write_last_words(&mut report, paint);
            let asked = ended.extension.host_functions();
            if !asked.is_empty() {
                let id = ended.extension.id().as_str();
                let _ = write!(report, "\n\n{} in the host: {}", paint.bold(id), host_functions(&asked));
            }
        }
        if let Some(resources) = &self.resources {
            let _ = write!(report, "\n\n{}: {}", paint.bold(HOST), used(resources));
        }
        let Totals { events, errors, bad_lines } = totals;
        if events + bad_lines > 0 {
            let _ = write!(
                report,
                "\n\nfeed: {} events, {} of them answered with an error",
                text::count(events),
                text::count(errors)
            );
            if bad_lines > 0 {
                let _ = write!(report, "; lines that could not be used: {}", text::count(bad_lines));
            }
        }
        report
    }
}

/// What the host's process used, as far as it is known.
fn used(resources: &Resources) -> String {
    let percent = |percent: Option<f64>| percent.map_or_else(String::new, |percent| format!(" ({percent:.1} %)"));
    let number = |number: Option<u64>, what: &str| number.map(|number| format!("{} {what}", text::count(number)));
    let parts = [
        resources
            .memory_bytes
            .map(|bytes| format!("{} memory{}", text::bytes(bytes), percent(resources.memory_percent))),
        resources.cpu_nanos.map(|nanos| {
            format!("{} CPU{}", text::duration(Duration::from_nanos(nanos)), percent(resources.cpu_percent))
        }),
        number(resources.threads, "threads"),
        number(resources.open_files, "open files"),
        number(resources.connections, "connections"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl EndedExtension {
    fn summary(&self) -> Summary {
        let HostMemory { resources, table_elements, waiting_calls, waiting_bytes, .. } = self.held;
        Summary {
            state: self.status.word().to_owned(),
            memory_bytes: self.memory_bytes,
            resources,
            table_elements,
            waiting_calls,
            waiting_bytes,
            ..summary_answer(&self.extension)
        }
    }

    /// Why it is not ready, and its last logs.
    fn write_last_words(&self, report: &mut String, paint: Paint) {
        let id = self.extension.id().as_str();
        if let Some(reason) = self.status.reason() {
            let state = paint.red(self.status.word());
            let _ = write!(report, "\n\n{} is {state}: {}", paint.bold(id), cause(reason));
        }
        let overhead = self.extension.overhead();
        if overhead.detail != Detail::Full {
            let percent = overhead.percent_of(self.extension.usage().cpu_nanos);
            let detail = paint.yellow(overhead.detail.as_str());
            let _ =
                write!(report, "\n\n{}: debugging took {percent:.1} % of its CPU; kept now: {detail}", paint.bold(id));
        }
        let logs = self.extension.logs();
        let latest = logs.latest(LOGS);
        // All that a host could say of an extension that it never started is the cause.
        if matches!(self.status, Status::Failed { .. }) && logs.stored() <= 1 {
            return;
        }
        if !latest.is_empty() {
            let _ = write!(
                report,
                "\n\n{}: the last {} of {} logs",
                paint.bold(id),
                latest.len(),
                text::count(logs.stored())
            );
        }
        for log in latest {
            let _ = write!(report, "\n  {}", log_line(&log, paint));
        }
        let alerts = self.extension.alerts();
        if let Some(alert) = alerts.latest(1).first() {
            let _ = write!(
                report,
                "\n  alerts: {}, the last one: {} {}: {}",
                text::count(alerts.stored()),
                paint.yellow(alert.severity.as_str()),
                visible(&alert.title, 120),
                visible(&alert.message, 200)
            );
        }
    }
}

/// A cause of several lines, with control characters escaped.
pub(crate) fn cause(reason: &str) -> String {
    let lines: Vec<_> = reason.lines().map(|line| visible(line, CAUSE_CHARACTERS)).collect();
    lines.join("\n  ")
}

/// A state in its colour.
pub(crate) fn coloured_state(paint: Paint, state: &str) -> String {
    match state {
        "ready" => paint.green(state),
        "failed" | "quarantined" => paint.red(state),
        _ => paint.yellow(state),
    }
}
