//! Alerts for people.

use std::io;
use std::time::Duration;

use glasshouse::text::{count, duration, visible};
use glasshouse_client::api::{Alert, AlertStatistic, AlertTransition};
use serde::Serialize;

use crate::output::{self, Align, Paint, Table};

/// Characters of a text of the extension's.
const TEXT: usize = 300;
/// Characters of a name, and of labels, in a table.
const NAME: usize = 60;

/// A transition, and of which alert.
#[derive(Serialize)]
pub(super) struct Step<'a> {
    extension: &'a str,
    alert: &'a str,
    origin: &'a str,
    name: &'a str,
    #[serde(flatten)]
    transition: &'a AlertTransition,
}

fn coloured(paint: Paint, cell: &str) -> Option<String> {
    let word = cell.trim_end();
    let painted = match word {
        "firing" | "critical" | "high" => paint.red(word),
        "medium" => paint.yellow(word),
        "resolved" => paint.green(word),
        _ => return None,
    };
    Some(format!("{painted}{}", &cell[word.len()..]))
}

/// What an alert is: its name and its labels.
fn name(alert: &Alert) -> String {
    let labels = alert.labels.iter().map(|(name, value)| format!(" {}={}", visible(name, NAME), visible(value, NAME)));
    format!("{}{}", visible(&alert.name, NAME), labels.collect::<String>())
}

/// What is said where there is nothing to show.
const NONE: &str = "no alerts were raised that fit";

fn nanos(nanos: u64) -> String {
    duration(Duration::from_nanos(nanos))
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{} times", count(number)) }
}

pub(super) fn list(alerts: &[Alert]) -> io::Result<()> {
    if alerts.is_empty() {
        output::note(NONE);
        return Ok(());
    }
    let paint = Paint::stdout();
    let mut table = Table::new(&[
        ("alert", Align::Left),
        ("extension", Align::Left),
        ("state", Align::Left),
        ("severity", Align::Left),
        ("since", Align::Left),
        ("raised", Align::Right),
        ("from", Align::Left),
        ("name", Align::Left),
        ("title", Align::Left),
    ]);
    for alert in alerts {
        table.row([
            alert.alert.clone(),
            alert.extension.clone(),
            alert.state.clone(),
            alert.severity.clone(),
            alert.since.clone(),
            count(alert.raised),
            alert.origin.clone(),
            name(alert),
            visible(&alert.title, 160).into_owned(),
        ]);
    }
    output::line(table.render(
        paint,
        |column, cell| {
            if column == 2 || column == 3 { coloured(paint, cell) } else { None }
        },
    ))
}

/// The latest transitions of these alerts, the latest last.
pub(super) fn steps(alerts: &[Alert], limit: usize) -> Vec<Step<'_>> {
    let of = |alert| {
        let Alert { extension, alert, origin, name, history, .. }: &Alert = alert;
        history.iter().map(move |transition| Step { extension, alert, origin, name, transition })
    };
    let mut steps: Vec<_> = alerts.iter().flat_map(of).collect();
    // Times of one form and length are in the order of their texts.
    steps.sort_by(|a, b| a.transition.at.cmp(&b.transition.at));
    steps.drain(..steps.len().saturating_sub(limit));
    steps
}

/// Transitions, below what is known of the alert if they are those of one.
pub(super) fn history(alert: Option<&Alert>, steps: &[Step<'_>]) -> io::Result<()> {
    let paint = Paint::stdout();
    if let Some(alert) = alert {
        describe(alert, paint)?;
    } else if steps.is_empty() {
        output::note(NONE);
        return Ok(());
    }
    let mut table = Table::new(&[
        ("at", Align::Left),
        ("extension", Align::Left),
        ("alert", Align::Left),
        ("from", Align::Left),
        ("name", Align::Left),
        ("state", Align::Left),
        ("because", Align::Left),
        ("note", Align::Left),
    ]);
    for Step { extension, alert, origin, name, transition: step } in steps {
        let by = if step.by.is_empty() { String::new() } else { format!(", {}", visible(&step.by, NAME)) };
        table.row([
            step.at.clone(),
            (*extension).to_owned(),
            (*alert).to_owned(),
            (*origin).to_owned(),
            visible(name, NAME).into_owned(),
            step.state.clone(),
            format!("{}{by}", step.cause),
            visible(&step.note, TEXT).into_owned(),
        ]);
    }
    output::line(table.render(paint, |column, cell| if column == 5 { coloured(paint, cell) } else { None }))
}

fn describe(alert: &Alert, paint: Paint) -> io::Result<()> {
    let text = |text: &str| visible(text, TEXT).into_owned();
    output::line(format_args!("{} {}", paint.bold(&name(alert)), text(&alert.title)))?;
    if !alert.message.is_empty() {
        output::line(format_args!("  {}", text(&alert.message)))?;
    }
    let by_itself = alert.resolves_at.as_ref().map_or_else(String::new, |at| format!(", over by itself at {at}"));
    let mut rows = vec![
        ("alert", format!("{} of {}, raised by the {}", alert.alert, text(&alert.extension), alert.origin)),
        ("state", format!("{} since {}{by_itself}", alert.state, alert.since)),
        ("severity", alert.severity.clone()),
        ("raised", format!("{}, {} to {}", times(alert.raised), alert.first_raised, alert.last_raised)),
        (
            "fired",
            format!("{}, {} in all, {} at most", times(alert.fired), nanos(alert.firing_ns), nanos(alert.longest_ns)),
        ),
    ];
    if let Some(value) = alert.value {
        let threshold = alert.threshold.map_or_else(String::new, |threshold| format!(", threshold {threshold}"));
        rows.push(("value", format!("{value}{threshold}")));
    }
    for (name, value) in rows {
        output::line(format_args!("  {name:<9} {value}"))?;
    }
    output::line("")
}

pub(super) fn resolved(alert: &Alert) -> io::Result<()> {
    let again = if alert.origin == "host" { "when the host finds its cause again" } else { "when it is raised again" };
    let (extension, id, name) = (visible(&alert.extension, 64), &alert.alert, visible(&alert.name, NAME));
    output::line(format_args!("{extension}: {id} ({name}) is resolved; it fires {again}"))
}

pub(super) fn statistics(alerts: &[Alert]) -> io::Result<()> {
    if alerts.is_empty() {
        output::note(NONE);
        return Ok(());
    }
    let paint = Paint::stdout();
    let mut table = Table::new(&[
        ("alert", Align::Left),
        ("extension", Align::Left),
        ("from", Align::Left),
        ("name", Align::Left),
        ("state", Align::Left),
        ("fired", Align::Right),
        ("raised", Align::Right),
        ("firing", Align::Right),
        ("mean", Align::Right),
        ("longest", Align::Right),
    ]);
    for alert in alerts {
        let statistics = AlertStatistic::from(alert);
        table.row([
            alert.alert.clone(),
            alert.extension.clone(),
            alert.origin.clone(),
            name(alert),
            alert.state.clone(),
            count(statistics.fired),
            count(statistics.raised),
            nanos(statistics.firing_ns),
            nanos(statistics.mean_ns),
            nanos(statistics.longest_ns),
        ]);
    }
    output::line(table.render(paint, |column, cell| if column == 4 { coloured(paint, cell) } else { None }))?;
    let firing = alerts.iter().filter(|alert| alert.state == "firing");
    let urgent = firing.clone().filter(|alert| alert.severity == "critical").count();
    let fired: u64 = alerts.iter().map(|alert| alert.fired).sum();
    let total = alerts.len() as u64;
    output::line(format_args!(
        "{} of {} alerts fire now, {urgent} of them critical; together they fired {}",
        firing.count(),
        count(total),
        times(fired)
    ))
}
