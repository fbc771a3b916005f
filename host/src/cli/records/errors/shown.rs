//! Groups of errors for people, and what led to an error of one.

use std::io;
use std::time::Duration;

use glasshouse::SpanStatus;
use glasshouse::text::{bytes, count, duration, fuel, visible};
use glasshouse_client::api::ErrorGroup;

use super::super::lines::Shown as _;
use super::context::Context;
use crate::output::{self, Align, Paint, Table};

/// Characters of a text of the extension's.
const TEXT: usize = 300;
/// Bars of hours, the least first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

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
        ("input", inputs(group)),
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
    stored(context, paint)
}

/// Whether the extension was given the same each time.
fn inputs(group: &ErrorGroup) -> String {
    let of = match group.with_input {
        0 => return "not known: its calls went on, or were given none".to_owned(),
        1 => return "known of one error only".to_owned(),
        some if some == group.count => format!("all {}", count(some)),
        some => format!("the {} errors of which it is known", count(some)),
    };
    match group.inputs {
        1 => format!("the same in {of}"),
        different => format!("{} different ones in {of}", count(different)),
    }
}

fn samples(context: &Context) -> io::Result<()> {
    let mut table = Table::new(&[
        ("  number", Align::Right),
        ("time", Align::Left),
        ("input", Align::Left),
        ("size", Align::Right),
        ("ended", Align::Left),
        ("wall", Align::Right),
        ("fuel", Align::Right),
        ("user", Align::Left),
        ("correlation", Align::Left),
    ]);
    for sample in &context.samples {
        let call = sample.invocation.as_ref();
        let head = sample.error.head.context.as_ref();
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |text| visible(text, 40).into_owned());
        let of_call = |shown: Option<String>| shown.unwrap_or_else(|| "-".to_owned());
        table.row([
            format!("  {}", sample.error.head.sequence),
            sample.error.head.time.to_string(),
            of_call(sample.input_digest().map(|input| input.short())),
            of_call(call.map(|call| bytes(call.input_bytes))),
            text(call.map(|call| call.outcome.as_str())),
            of_call(call.map(|call| duration(Duration::from_nanos(call.wall_ns)))),
            of_call(call.map(|call| fuel(call.fuel))),
            text(head.and_then(|head| head.user.as_deref())),
            text(head.map(|head| head.correlation_id.as_str())),
        ]);
    }
    output::line(table.plain(Paint::stdout()))
}

fn stored(context: &Context, paint: Paint) -> io::Result<()> {
    let Some(shown) = context.shown() else {
        return output::line("\nNone of its errors is stored any more");
    };
    output::line("\nThe latest ones that are stored; --number shows all of one:")?;
    samples(context)?;
    output::line(format_args!("\nNumber {}:\n{}", shown.error.head.sequence, shown.error.line(paint)))?;
    let (open, ended): (Vec<_>, Vec<_>) = context.spans.iter().partition(|span| span.status == SpanStatus::Unfinished);
    let sections: [(&str, Vec<String>); 4] = [
        ("Last logs before it:", context.logs.iter().map(|log| log.line(paint)).collect()),
        ("Spans that were open when its call ended:", open.iter().map(|span| span.line(paint)).collect()),
        ("Other spans of its trace:", ended.iter().map(|span| span.line(paint)).collect()),
        ("Its call:", shown.invocation.iter().map(|call| call.line(paint)).collect()),
    ];
    for (head, lines) in sections {
        if !lines.is_empty() {
            output::line(format_args!("{head}\n{}", lines.join("\n")))?;
        }
    }
    Ok(())
}
