//! What a running host says, for people.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use glasshouse::text::{self, visible};
use glasshouse_client::api::{Budget, Budgets, Changes, Manager, Settings, Standing};

use super::super::run::coloured_state;
use crate::output::{self, Align, Paint, Table};

/// Characters of a reason, which may quote a guest.
const REASON_CHARACTERS: usize = 400;

/// How an extension stands, in a line.
fn standing(standing: &Standing, paint: Paint) -> String {
    let state = match standing.state.as_str() {
        "healthy" => paint.green("healthy"),
        "quarantined" => paint.red("quarantined"),
        other => paint.yellow(&visible(other, 40)),
    };
    let length = |millis: u64| text::duration(Duration::from_millis(millis));
    let mut line = state;
    if let Some(millis) = standing.for_ms {
        let _ = write!(line, " for {}", length(millis));
    }
    match standing.wait_ms {
        Some(millis) if standing.state == "quarantined" => drop(write!(line, ", another {} to go", length(millis))),
        Some(millis) => drop(write!(line, ", next call in {}", length(millis))),
        None => {}
    }
    if let Some(evidence) = &standing.evidence {
        let _ = write!(line, ": {}", visible(&evidence.text, REASON_CHARACTERS));
    }
    line
}

/// An amount of a budget, in its unit.
fn amount(key: &str, amount: u64) -> String {
    match key {
        "budget.fuel_per_call" | "budget.fuel_per_second" => text::short_count(amount),
        "budget.deadline" | "budget.cpu_share" => text::duration(Duration::from_nanos(amount)),
        "budget.memory" | "budget.record_bytes_per_second" | "budget.string_bytes" => text::bytes(amount),
        _ => text::count(amount),
    }
}

/// The most that was used, and what part that is of what may be.
fn peak(budget: &Budget) -> String {
    let share = budget.peak_share_percent().map(|share| format!(" ({share} %)")).unwrap_or_default();
    budget.peak.map(|peak| format!("{}{share}", amount(&budget.setting.key, peak))).unwrap_or_default()
}

pub(super) fn budgets(all: &[Budgets]) -> io::Result<()> {
    let paint = Paint::stdout();
    for (index, one) in all.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let line = standing(&one.standing, paint);
        output::line(format_args!("{gap}{}  {line}", paint.bold(&visible(&one.extension, 64))))?;
        let mut table = Table::new(&[
            ("  budget", Align::Left),
            ("value", Align::Left),
            ("used", Align::Right),
            ("share", Align::Right),
            ("peak", Align::Right),
            ("from", Align::Left),
            ("note", Align::Left),
        ]);
        for budget in &one.budgets {
            let setting = &budget.setting;
            let percent = |share: Option<u64>| share.map(|share| format!("{share} %")).unwrap_or_default();
            table.row([
                format!("  {}", setting.key),
                setting.value.clone(),
                budget.used.map(|used| amount(&setting.key, used)).unwrap_or_default(),
                percent(budget.share_percent()),
                peak(budget),
                setting.origin.clone(),
                setting.note.clone().unwrap_or_default(),
            ]);
        }
        output::line(table.plain(paint))?;
    }
    Ok(())
}

pub(super) fn settings(settings: &Settings, is_first: bool) -> io::Result<()> {
    let paint = Paint::stdout();
    let gap = if is_first { "" } else { "\n" };
    output::line(format_args!("{gap}{}", paint.bold(&visible(&settings.extension, 64))))?;
    let mut table =
        Table::new(&[("  key", Align::Left), ("value", Align::Left), ("from", Align::Left), ("note", Align::Left)]);
    for setting in &settings.settings {
        table.row([
            format!("  {}", setting.key),
            setting.value.clone(),
            setting.origin.clone(),
            setting.note.clone().unwrap_or_default(),
        ]);
    }
    output::line(table.plain(paint))
}

pub(super) fn managers(all: &[Manager]) -> io::Result<()> {
    let paint = Paint::stdout();
    let mut table = Table::new(&[
        ("extension", Align::Left),
        ("state", Align::Left),
        ("debugging", Align::Left),
        ("standing", Align::Left),
    ]);
    for manager in all {
        let debugging = if manager.debugging { "on" } else { "off" };
        let line = standing(&manager.standing, Paint::none());
        table.row([manager.extension.clone(), manager.status.clone(), debugging.to_owned(), line]);
    }
    output::line(table.render(paint, |column, cell| (column == 1).then(|| coloured_state(paint, cell))))?;
    for manager in all.iter().filter(|manager| manager.status == "failed") {
        if let Some(reason) = &manager.reason {
            output::line(format_args!("\n{}: {}", manager.extension, visible(reason, REASON_CHARACTERS)))?;
        }
    }
    Ok(())
}

pub(super) fn changes(changes: &Changes) -> io::Result<()> {
    let id = visible(&changes.extension, 64);
    for change in &changes.changes {
        let (from, to) = (visible(&change.from, 200), visible(&change.to, 200));
        output::line(format_args!("{id}: {} {from} -> {to}", change.key))?;
    }
    for setting in &changes.set {
        let changed = changes.changes.iter().any(|change| change.key == setting.key);
        match &setting.note {
            Some(note) => {
                output::line(format_args!("{id}: {} is {}: {}", setting.key, setting.value, visible(note, 200)))?;
            }
            None if !changed => output::line(format_args!("{id}: {} is {} already", setting.key, setting.value))?,
            None => {}
        }
    }
    if changes.changes.is_empty() && changes.set.is_empty() {
        output::line(format_args!("{id}: nothing to change"))?;
    }
    if !changes.changes.is_empty() && !changes.keep.is_empty() {
        output::line("This holds until the host ends. To keep it, write into glasshouse.toml:")?;
        for line in &changes.keep {
            output::line(format_args!("  {}", visible(line, 400)))?;
        }
    }
    Ok(())
}
