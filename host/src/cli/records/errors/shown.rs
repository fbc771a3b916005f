//! Groups of errors for people, and what led to the latest error of one.

use std::io;

use glasshouse::records::{ErrorRecord, InvocationRecord, LogRecord, SpanRecord};
use glasshouse::text::{count, visible};
use glasshouse::{Clock as _, Query, StoredExtension, SystemClock};
use glasshouse_client::api::ErrorGroup;
use serde::Serialize;

use super::super::lines::Shown as _;
use crate::output::{self, Align, Paint, Table};

/// Logs and spans that are shown of the call in which an error came.
const LOGS: usize = 10;
const SPANS: usize = 20;
/// Characters of a text of the extension's.
const TEXT: usize = 300;
/// Bars of hours, the least first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is stored of a group's latest error, as far as it still is.
#[derive(Debug, Default, Serialize)]
pub(super) struct Context {
    latest: Option<ErrorRecord>,
    /// The last logs of its call, the latest last.
    logs: Vec<LogRecord>,
    /// The spans of its call.
    spans: Vec<SpanRecord>,
    /// The call itself, with what it cost.
    invocation: Option<InvocationRecord>,
}

/// A group with what led to its latest error.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    #[serde(flatten)]
    group: &'a ErrorGroup,
    context: &'a Context,
}

impl Context {
    pub(super) fn of(extension: &StoredExtension, group: &ErrorGroup) -> Self {
        let errors = extension.records::<ErrorRecord>();
        let stored = |sequence: &u64| errors.around(*sequence, 0, 0).pop();
        // A number that another error has by now is passed by.
        let latest = group.samples.iter().rev().filter_map(stored).find(|error| group.is_overflow_or(&error.group));
        let Some(error) = latest else { return Self::default() };
        let trace = error.head.context.as_ref().map(|context| context.trace_id);
        let of_trace = trace.and_then(|trace| Query::parse(&format!("trace={trace}"), SystemClock::new().now()).ok());
        let Some(query) = of_trace else { return Self { latest: Some(error), ..Self::default() } };
        let time = error.head.time;
        let mut logs = extension.records::<LogRecord>().search(&query, usize::MAX);
        logs.retain(|log| log.head.time <= time);
        logs.sort_by_key(|log| (log.head.time, log.head.sequence));
        logs.drain(..logs.len().saturating_sub(LOGS));
        let mut spans = extension.records::<SpanRecord>().search(&query, SPANS);
        spans.reverse();
        // A call that fails ends a moment before its failure is stored, one that reports an error after that.
        let calls = extension.records::<InvocationRecord>().search(&query, usize::MAX);
        let invocation = calls.into_iter().min_by_key(|call| call.head.time.0.abs_diff(time.0));
        Self { latest: Some(error), logs, spans, invocation }
    }

    pub(super) fn with<'a>(&'a self, group: &'a ErrorGroup) -> Explained<'a> {
        Explained { group, context: self }
    }
}

trait Overflow {
    fn is_overflow_or(&self, group: &str) -> bool;
}

impl Overflow for ErrorGroup {
    /// Whether a group is this one; the overflow has errors of all.
    fn is_overflow_or(&self, group: &str) -> bool {
        self.fingerprint.basis == "overflow" || self.group == group
    }
}

fn coloured(paint: Paint, state: &str) -> String {
    match state {
        "resolved" => paint.green(state),
        "regressed" | "escalating" => paint.red(state),
        "new" => paint.yellow(state),
        other => visible(other, 20).into_owned(),
    }
}

/// A bar for each hour of the last day, the present one last.
fn bars(hours: &[u32]) -> String {
    let most = hours.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u32| match (*count as usize * BARS.len()).div_ceil(most as usize) {
        0 => ' ',
        height => BARS[height.min(BARS.len()) - 1],
    };
    hours.iter().rev().map(bar).collect()
}

pub(super) fn groups(groups: &[ErrorGroup]) -> io::Result<()> {
    if groups.is_empty() {
        output::note("no errors were counted that fit");
        return Ok(());
    }
    let paint = Paint::stdout();
    let mut table = Table::new(&[
        ("group", Align::Left),
        ("extension", Align::Left),
        ("state", Align::Left),
        ("severity", Align::Left),
        ("count", Align::Right),
        ("an hour", Align::Right),
        ("trend", Align::Left),
        ("last", Align::Left),
        ("kind", Align::Left),
        ("message", Align::Left),
    ]);
    for group in groups {
        table.row([
            group.group.clone(),
            group.extension.clone(),
            group.state.clone(),
            group.severity.clone(),
            count(group.count),
            format!("{:.1}", group.rate_per_hour),
            group.trend.clone(),
            group.last_seen.clone(),
            visible(&group.kind, 60).into_owned(),
            visible(&group.title, 160).into_owned(),
        ]);
    }
    output::line(table.render(paint, |column, cell| {
        (column == 2).then(|| format!("{}{}", coloured(paint, cell.trim_end()), &cell[cell.trim_end().len()..]))
    }))
}

pub(super) fn resolved(group: &ErrorGroup) -> io::Result<()> {
    let version = group.resolution.as_ref().and_then(|resolution| resolution.version.as_deref());
    let returns = match version {
        Some(version) => format!("an error of version {} or a later one", visible(version, 80)),
        None => "an error of a component that did not have it before".to_owned(),
    };
    let (id, extension) = (&group.group, visible(&group.extension, 64));
    output::line(format_args!("{extension}: {id} is resolved; {returns} brings it back as regressed"))
}

pub(super) fn explain(group: &ErrorGroup, context: &Context) -> io::Result<()> {
    let paint = Paint::stdout();
    let text = |text: &str| visible(text, TEXT).into_owned();
    output::line(format_args!("{} {}", paint.bold(&text(&group.kind)), text(&group.title)))?;
    let mut rows = vec![
        ("group", format!("{} of {}", group.group, text(&group.extension))),
        ("state", coloured(paint, &group.state)),
        ("severity", format!("{}, {} to blame", group.severity, group.blame)),
        ("errors", format!("{}, {:.1} an hour, {}", count(group.count), group.rate_per_hour, group.trend)),
        ("seen", format!("{} to {}", group.first_seen, group.last_seen)),
        ("last day", format!("{} (most in an hour: {})", bars(&group.hours), group.hours.iter().max().unwrap_or(&0))),
        ("for", format!("{} users, {} tenants", count(group.users), count(group.tenants))),
    ];
    for component in &group.components {
        let version =
            component.version.as_deref().map_or_else(String::new, |version| format!(" version {}", text(version)));
        rows.push(("component", format!("{:.12}{version}", component.digest)));
    }
    if let Some(resolution) = &group.resolution {
        let version =
            resolution.version.as_deref().map_or_else(String::new, |version| format!(" in {}", text(version)));
        rows.push((
            "resolved",
            format!("{version} at {} by {}: {}", resolution.at, text(&resolution.by), text(&resolution.notes))
                .trim_start()
                .to_owned(),
        ));
    }
    if let Some(at) = &group.regressed_at {
        rows.push(("came back", at.clone()));
    }
    for (name, value) in rows {
        output::line(format_args!("  {name:<10} {value}"))?;
    }
    let fingerprint = &group.fingerprint;
    output::line(format_args!(
        "\nWhy these errors are a group: by {}, of kind {} (rules of version {})",
        text(&fingerprint.basis),
        text(&group.kind),
        text(&fingerprint.version)
    ))?;
    for part in &fingerprint.parts {
        output::line(format_args!("  {}", text(part)))?;
    }
    if let Some(suggestion) = &group.suggestion {
        output::line(format_args!("\nWhat to do: {}", text(&suggestion.text)))?;
        if let (Some(setting), Some(value)) = (&suggestion.setting, &suggestion.value) {
            output::line(format_args!("  {} is {} now", text(setting), text(value)))?;
        }
    }
    latest(context, paint)
}

fn latest(context: &Context, paint: Paint) -> io::Result<()> {
    let Some(error) = &context.latest else {
        return output::line("\nNone of its errors is stored any more");
    };
    output::line(format_args!(
        "\nThe latest one that is stored, number {}:\n{}",
        error.head.sequence,
        error.line(paint)
    ))?;
    let sections: [(&str, Vec<String>); 3] = [
        ("Last logs before it:", context.logs.iter().map(|log| log.line(paint)).collect()),
        ("Spans of its trace:", context.spans.iter().map(|span| span.line(paint)).collect()),
        ("Its call:", context.invocation.iter().map(|call| call.line(paint)).collect()),
    ];
    for (head, lines) in sections {
        if !lines.is_empty() {
            output::line(format_args!("{head}\n{}", lines.join("\n")))?;
        }
    }
    Ok(())
}
