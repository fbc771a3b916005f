//! Debug sessions, for people.

use std::io;
use std::time::Duration;

use glasshouse::text::{count, visible};
use glasshouse::{SessionState, Signal};
use glasshouse_client::api::Session;

use super::super::store::StoreOf;
use crate::output::{self, Align, Paint, Table};

/// Characters of who did something.
const WHO_CHARACTERS: usize = 100;
/// Characters of a value.
const VALUE_CHARACTERS: usize = 200;
/// Characters of an RFC 3339 time to the second.
const TO_THE_SECOND: usize = 19;

pub(super) fn started(session: &Session) -> io::Result<()> {
    let (extension, id) = (visible(&session.extension, 64), &session.session);
    output::line(format_args!(
        "debug session {id} of {extension} was started; it ends by itself in {}",
        left(session)
    ))?;
    overrides(session)?;
    output::line(format_args!("What is stored meanwhile: glasshouse debug show {id}"))?;
    output::line(format_args!("To end it sooner:         glasshouse debug stop {id}"))
}

pub(super) fn stopped(session: &Session) -> io::Result<()> {
    let extension = visible(&session.extension, 64);
    output::line(format_args!("debug session {} of {extension} has ended", session.session))?;
    output::line(format_args!("stored meanwhile: {}", in_all(session)))?;
    output::line(format_args!("to see it: glasshouse debug show {}", session.session))
}

pub(super) fn sessions(sessions: &[Session]) -> io::Result<()> {
    if sessions.is_empty() {
        output::note("there is no debug session; `glasshouse debug start EXTENSION log_level=trace` starts one");
        return Ok(());
    }
    let paint = Paint::stdout();
    let mut table = Table::new(&[
        ("session", Align::Left),
        ("extension", Align::Left),
        ("state", Align::Left),
        ("started", Align::Left),
        ("by", Align::Left),
        ("records", Align::Right),
        ("overrides", Align::Left),
    ]);
    for session in sessions {
        let overrides = session.overrides.iter().map(|over| format!("{}={}", over.key, over.value));
        let known = session.collected.iter().map(|part| part.records).sum::<Option<u64>>();
        table.row([
            session.session.clone(),
            session.extension.clone(),
            state(session),
            to_the_second(&session.started),
            session.by.clone(),
            known.map_or_else(|| "-".to_owned(), count),
            overrides.collect::<Vec<_>>().join(", "),
        ]);
    }
    output::line(
        table.render(paint, |column, cell| (column == 2 && cell.starts_with("active")).then(|| paint.green(cell))),
    )
}

pub(super) async fn session(session: &Session, extension: &StoreOf) -> anyhow::Result<()> {
    let paint = Paint::stdout();
    let title = format!("debug session {} of {}", session.session, visible(&session.extension, 64));
    output::line(format_args!("{}: {}", paint.bold(&title), state(session)))?;
    let (by, at) = (visible(&session.by, WHO_CHARACTERS), to_the_second(&session.started));
    output::line(format_args!("started {at} by {by}, until {} at the latest", to_the_second(&session.until)))?;
    if let Some(end) = &session.ended {
        let by = end.by.as_ref().map(|by| format!(" by {}", visible(by, WHO_CHARACTERS))).unwrap_or_default();
        output::line(format_args!("ended   {}: {}{by}", to_the_second(&end.at), visible(&end.why, 40)))?;
    }
    overrides(session)?;
    let mut table = Table::new(&[("signal", Align::Left), ("stored", Align::Right), ("evicted since", Align::Right)]);
    for part in &session.collected {
        let evicted = match part.signal.parse::<Signal>() {
            Ok(signal) => Some(extension.evicted(signal).await?),
            Err(_) => None,
        };
        let gone = evicted.map(|evicted| evicted.saturating_add(1).saturating_sub(part.from));
        table.row([
            visible(&part.signal, 40).into_owned(),
            part.records.map_or_else(|| "-".to_owned(), count),
            part.records.zip(gone).map_or_else(String::new, |(records, gone)| count(gone.min(records))),
        ]);
    }
    output::line(table.plain(paint))?;
    if !session.left_out.is_empty() {
        output::line(format_args!("not stored: {}", visible(&session.left_out, 400)))?;
    }
    Ok(())
}

fn overrides(session: &Session) -> io::Result<()> {
    for over in &session.overrides {
        let note = over.note.as_ref().map(|note| format!("   ({})", visible(note, VALUE_CHARACTERS)));
        let (key, value) = (visible(&over.key, 64), visible(&over.value, VALUE_CHARACTERS));
        output::line(format_args!("  {key} = {value}{}", note.unwrap_or_default()))?;
    }
    Ok(())
}

fn state(session: &Session) -> String {
    match super::state(session) {
        Some(SessionState::Active) => format!("active, another {}", left(session)),
        Some(SessionState::CutOff) => "cut off: its host is gone".to_owned(),
        Some(SessionState::Ended) | None => {
            let why = session.ended.as_ref().map(|end| format!(": {}", visible(&end.why, 40))).unwrap_or_default();
            format!("{}{why}", visible(&session.state, 40))
        }
    }
}

/// How long a session goes on, to the second.
fn left(session: &Session) -> String {
    let seconds = Duration::from_millis(session.left_ms.unwrap_or(0)).as_secs_f64().ceil() as u64;
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<_> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// What was stored, by signal.
fn in_all(session: &Session) -> String {
    let parts = session.collected.iter().filter_map(|part| match part.records {
        Some(records) if records > 0 => Some(format!("{} {}", count(records), part.signal)),
        _ => None,
    });
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn to_the_second(time: &str) -> String {
    time.get(..TO_THE_SECOND).map_or_else(|| visible(time, 40).into_owned(), |time| format!("{time}Z"))
}
