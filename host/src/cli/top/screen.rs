//! `glasshouse top` on a terminal.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use glasshouse::records::LogRecord;
use glasshouse::text::visible;
use glasshouse_client::Client;
use glasshouse_client::api::Wanted;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame as Canvas};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::figures::{COLUMNS, Frame};
use super::{Look, SortBy};
use crate::cli::signals::Signals;
use crate::output::{Align, Paint};

/// Logs of the chosen extension that are shown, if there is room.
const LOGS: usize = 8;
/// Lines of the pane that shows them, with its head.
const PANE: u16 = LOGS as u16 + 1;
/// Characters of foreign text on a line.
const TEXT: usize = 400;
/// How often it is looked whether a key was pressed for nobody any more.
const KEYS: Duration = Duration::from_millis(100);

const HELP: &str = " q end  ↑↓ choose  sort by: c calls  t CPU  f fuel  m memory  e errors  l logs  n name";

/// What was found at one look.
struct Found {
    look: Look,
    /// Whose logs these are, the newest first.
    logs: Option<(String, Vec<LogRecord>)>,
}

/// What is on the screen.
struct Screen {
    frame: Option<Frame>,
    before: Option<Look>,
    logs: Option<(String, Vec<LogRecord>)>,
    /// Why the last look found nothing.
    trouble: Option<String>,
    sort: SortBy,
    /// The chosen extension.
    chosen: Option<String>,
    has_colours: bool,
}

/// Shows a host's extensions until somebody has seen enough.
pub(super) async fn show(client: Client, only: Option<String>, every: Duration, sort: SortBy) -> Result<()> {
    let (choose, chosen) = watch::channel(None);
    let (found, mut looks) = mpsc::channel(1);
    let looking = tokio::spawn(look(client, only, every, chosen, found));
    // A host that cannot be asked is told as by any other verb.
    let Some(first) = looks.recv().await else { return Ok(()) };
    let first = first?;
    let mut terminal = ratatui::try_init()?;
    let mut screen = Screen {
        frame: None,
        before: None,
        logs: None,
        trouble: None,
        sort,
        chosen: None,
        has_colours: Paint::stdout().is_on(),
    };
    screen.take(first);
    let shown = run(&mut terminal, &mut screen, &mut looks, &choose).await;
    ratatui::restore();
    looking.abort();
    shown
}

/// Looks again and again, and at the logs of the extension that is chosen, until nobody wants to know.
async fn look(
    client: Client,
    only: Option<String>,
    every: Duration,
    mut chosen: watch::Receiver<Option<String>>,
    found: mpsc::Sender<Result<Found>>,
) {
    let mut looks = interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            // The logs of another one are wanted at once.
            changed = chosen.changed() => if changed.is_err() { return },
        }
        let whose = chosen.borrow_and_update().clone();
        if found.send(find(&client, only.as_deref(), whose).await).await.is_err() {
            return;
        }
    }
}

async fn find(client: &Client, only: Option<&str>, whose: Option<String>) -> Result<Found> {
    let look = Look::take(client, only).await?;
    let mut logs = None;
    if let Some(id) = whose {
        let wanted = Wanted { limit: Some(LOGS), ..Wanted::default() };
        // Figures are worth more than logs, which may take longer.
        if let Ok(page) = client.records(&id, "logs", &wanted).await {
            let records = page.records.iter().filter_map(|record| serde_json::from_str(record.get()).ok()).collect();
            logs = Some((id, records));
        }
    }
    Ok(Found { look, logs })
}

async fn run(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    looks: &mut mpsc::Receiver<Result<Found>>,
    choose: &watch::Sender<Option<String>>,
) -> Result<()> {
    let (pressed, mut keys) = mpsc::channel(16);
    // Reading keys blocks; the thread ends when nobody wants them.
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while !pressed.is_closed() {
            let Ok(is_there) = event::poll(KEYS) else { return };
            if is_there && event::read().is_ok_and(|event| pressed.blocking_send(event).is_err()) {
                return;
            }
        }
    })?;
    let mut signals = Signals::listen()?;
    loop {
        choose.send_if_modified(|chosen| {
            let is_other = *chosen != screen.chosen;
            chosen.clone_from(&screen.chosen);
            is_other
        });
        terminal.draw(|canvas| screen.draw(canvas))?;
        tokio::select! {
            () = signals.next() => return Ok(()),
            found = looks.recv() => match found {
                Some(Ok(found)) => screen.take(found),
                // A host in trouble, or one that is started anew, is what somebody watches for.
                Some(Err(error)) => screen.trouble = Some(visible(&format!("{error:#}"), TEXT).into_owned()),
                None => return Ok(()),
            },
            event = keys.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    let is_ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if is_ctrl_c || screen.press(key.code) {
                        return Ok(());
                    }
                }
                // The terminal has another size: it is drawn anew.
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

impl Screen {
    fn take(&mut self, found: Found) {
        let Found { look, logs } = found;
        self.trouble = None;
        let before = self.before.as_ref().unwrap_or(&look);
        let is_whole_interval = look.at.saturating_duration_since(before.at) >= super::LEAST_INTERVAL;
        // Looks that a key asked for come too soon to tell what is done in a second.
        if is_whole_interval || self.frame.is_none() {
            self.frame = Some(Frame::between(before, &look, self.sort));
            self.before = Some(look);
        }
        self.logs = logs;
        let frame = self.frame.as_ref().map(|frame| &frame.extensions[..]).unwrap_or_default();
        if self.chosen.as_ref().is_none_or(|chosen| !frame.iter().any(|row| row.extension == *chosen)) {
            self.chosen = frame.first().map(|row| row.extension.clone());
        }
    }

    /// Does what a key says; tells whether it ends all.
    fn press(&mut self, key: KeyCode) -> bool {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::Char(letter) => {
                self.sort = match letter {
                    'c' => SortBy::Calls,
                    't' => SortBy::Cpu,
                    'f' => SortBy::Fuel,
                    'm' => SortBy::Memory,
                    'e' => SortBy::Errors,
                    'l' => SortBy::Logs,
                    'n' => SortBy::Name,
                    _ => return false,
                };
                if let Some(frame) = &mut self.frame {
                    frame.sort(self.sort);
                }
            }
            _ => {}
        }
        false
    }

    fn at(&self) -> Option<usize> {
        let (frame, chosen) = (self.frame.as_ref()?, self.chosen.as_ref()?);
        frame.extensions.iter().position(|row| row.extension == *chosen)
    }

    fn choose(&mut self, by: isize) {
        let Some(frame) = &self.frame else { return };
        let last = frame.extensions.len().saturating_sub(1);
        let at = self.at().unwrap_or(0).saturating_add_signed(by).min(last);
        self.chosen = frame.extensions.get(at).map(|row| row.extension.clone());
    }

    fn style(&self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn draw(&self, canvas: &mut Canvas<'_>) {
        let Some(frame) = &self.frame else { return };
        let parts = [Constraint::Length(2), Constraint::Min(3), Constraint::Max(PANE), Constraint::Length(1)];
        let [head, list, pane, foot] = Layout::vertical(parts).areas(canvas.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut lines = vec![Line::styled(format!(" {}", frame.title()), bold)];
        lines.extend(
            self.trouble.as_ref().map(|why| Line::styled(format!(" as it was: {why}"), self.style(Color::Red))),
        );
        canvas.render_widget(Paragraph::new(lines), head);
        self.draw_list(canvas, frame, list);
        let title = match &self.chosen {
            Some(id) => format!(" logs of {} ", visible(id, TEXT)),
            None => " no extension ".to_owned(),
        };
        let logs: Vec<_> = match &self.logs {
            // The newest at the bottom, as they are read.
            Some((whose, logs)) if Some(whose) == self.chosen.as_ref() => {
                logs.iter().map(|log| self.line(log)).rev().collect()
            }
            _ => Vec::new(),
        };
        let block = Block::new().borders(Borders::TOP).title(title);
        canvas.render_widget(Paragraph::new(Text::from_iter(logs)).block(block), pane);
        canvas.render_widget(Paragraph::new(Line::styled(HELP, Style::new().add_modifier(Modifier::DIM))), foot);
    }

    fn draw_list(&self, canvas: &mut Canvas<'_>, frame: &Frame, area: ratatui::layout::Rect) {
        let cell = |text: String, align: Align| {
            let alignment = if align == Align::Right { Alignment::Right } else { Alignment::Left };
            Cell::new(Text::from(visible(&text, TEXT).into_owned()).alignment(alignment))
        };
        let texts: Vec<_> =
            frame.extensions.iter().map(|row| COLUMNS.map(|(_, align, shown)| (shown(row), align))).collect();
        let width = |column: usize| {
            let widest = texts.iter().map(|row| row[column].0.chars().count()).max().unwrap_or_default();
            Constraint::Length(widest.max(COLUMNS[column].0.len()).min(usize::from(u16::MAX)) as u16)
        };
        let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
        let rows = frame.extensions.iter().zip(texts).map(|(row, texts)| {
            let style = match &*row.status {
                "ready" => Style::new(),
                "failed" | "quarantined" => self.style(Color::Red),
                _ => self.style(Color::Yellow),
            };
            Row::new(texts.map(|(text, align)| cell(text, align))).style(style)
        });
        let head = Row::new(COLUMNS.map(|(name, align, _)| cell(name.to_owned(), align)));
        let table = Table::new(rows, widths)
            .header(head.style(Style::new().add_modifier(Modifier::BOLD)))
            .column_spacing(2)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut state = TableState::new().with_selected(self.at());
        canvas.render_stateful_widget(table, area, &mut state);
    }

    fn line(&self, log: &LogRecord) -> Line<'static> {
        let time = log.head.time.time_of_day();
        let level = log.level.as_str();
        let style = match level {
            "error" | "critical" => self.style(Color::Red),
            "warning" => self.style(Color::Yellow),
            _ => Style::new(),
        };
        Line::styled(format!(" {time} {level:<8} {}", visible(&log.message, TEXT)), style)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use glasshouse_client::api::{Manager, Overview, Summary};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn found(ids: &[&str], at: Instant) -> Found {
        let overview = |id: &&str| Overview {
            summary: Summary { extension: (*id).to_owned(), ..Summary::default() },
            manager: Manager { status: "ready".to_owned(), ..Manager::default() },
            ..Overview::default()
        };
        Found { look: Look { at, overviews: ids.iter().map(overview).collect() }, logs: None }
    }

    fn screen() -> Screen {
        Screen {
            frame: None,
            before: None,
            logs: None,
            trouble: None,
            sort: SortBy::Name,
            chosen: None,
            has_colours: false,
        }
    }

    #[test]
    fn the_chosen_extension_stays_chosen_while_it_is_there() {
        let mut screen = screen();
        let at = Instant::now();
        screen.take(found(&["a", "b", "c"], at));
        assert_eq!(screen.chosen.as_deref(), Some("a"));
        for (key, expect) in [(KeyCode::Up, "a"), (KeyCode::Down, "b"), (KeyCode::Down, "c"), (KeyCode::Down, "c")] {
            assert!(!screen.press(key));
            assert_eq!(screen.chosen.as_deref(), Some(expect));
        }
        screen.take(found(&["0", "a", "c"], at + Duration::from_secs(1)));
        assert_eq!((screen.chosen.as_deref(), screen.at()), (Some("c"), Some(2)));
        screen.take(found(&["0"], at + Duration::from_secs(2)));
        assert_eq!(screen.chosen.as_deref(), Some("0"));
        screen.take(found(&[], at + Duration::from_secs(3)));
        assert_eq!(screen.chosen, None);
        assert!(screen.press(KeyCode::Char('q')));
    }

    #[test]
    fn it_can_be_drawn_at_any_size_and_shows_foreign_text_as_it_is_meant() {
        for (columns, lines) in [(1, 1), (20, 3), (80, 24), (200, 60)] {
            let mut terminal = Terminal::new(TestBackend::new(columns, lines)).expect("a terminal");
            let mut screen = screen();
            terminal.draw(|canvas| screen.draw(canvas)).expect("drawing nothing");
            screen.take(found(&["shop", "\u{1b}[2Jevil"], Instant::now()));
            terminal.draw(|canvas| screen.draw(canvas)).expect("drawing");
            let shown = terminal.backend().to_string();
            assert!(!shown.contains('\u{1b}'), "{shown}");
            screen.trouble = Some("no host runs".to_owned());
            terminal.draw(|canvas| screen.draw(canvas)).expect("drawing");
            let shown = shown + &terminal.backend().to_string();
            if columns >= 80 {
                assert!(shown.contains("as it was: no host runs"), "{shown}");
                assert!(shown.contains("shop") && shown.contains("2 extensions") && shown.contains("q end"), "{shown}");
            }
        }
    }
}
