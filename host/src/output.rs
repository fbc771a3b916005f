//! What the command writes: lines, tables and colours. All of its output goes through here.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use glasshouse::export::csv;
use glasshouse::text::{is_hidden, visible};
use serde::Serialize;
use serde_json::value::RawValue;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

use crate::cli::RecordFormat;

/// Characters of the longest cell of a table.
const CELL_CHARACTERS: usize = 400;
/// Columns of the terminal that a column of text keeps, however narrow the terminal is: as many as ids and times take, which are of no use
/// in parts; and the last one, which is what somebody wrote.
const NARROWEST: usize = 32;
const NARROWEST_LAST: usize = 16;

/// Writes a line to standard output.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", Calm(text))
}

/// Text without control characters but for line ends, tabs and colours: whatever a host at an address has told, it moves no cursor and
/// sets no title.
struct Calm<T>(T);

impl<T: Display> Display for Calm<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(|character: char| character.is_control() && !matches!(character, '\n' | '\t')) {
            let (before, control) = rest.split_at(at);
            let colour = control.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m'));
            let length = match colour {
                Some((number, _)) if number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let length = "\u{1b}[m".len() + number.len();
                    write!(f, "{before}{}", &control[..length])?;
                    length
                }
                _ => {
                    let character = control.chars().next().unwrap_or_default();
                    write!(f, "{before}{}", character.escape_unicode())?;
                    character.len_utf8()
                }
            };
            rest = &control[length..];
        }
        f.write_str(rest)
    }
}

/// Writes a value as a line of JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", unhidden(serde_json::to_string(value)?))
}

/// JSON in which no character is hidden from who reads it at a terminal, nor obeyed by that: those that it may have as they are stand in texts,
/// and mean the same escaped.
fn unhidden(json: String) -> String {
    if !io::stdout().is_terminal() || !json.chars().any(is_hidden) {
        return json;
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_hidden(character) {
            // All of them are in the first plane.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Writes what a host has told as a line of JSON to standard output: in JSON, a line's end between values means nothing.
pub(crate) fn raw_json(value: &RawValue) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", unhidden(value.get().replace(['\n', '\r', '\t'], " ")))
}

/// Writes values as records are: as lines of JSON, or as a table of comma-separated values. For people there is a table of its own.
pub(crate) fn values<T: Serialize>(values: &[T], format: RecordFormat) -> io::Result<()> {
    if format != RecordFormat::Csv {
        return values.iter().try_for_each(json);
    }
    let mut objects = Vec::new();
    for value in values {
        if let serde_json::Value::Object(object) = serde_json::to_value(value)? {
            objects.push(object);
        }
    }
    bytes(&csv::table(&objects))
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes bytes to standard output; where that is a terminal, with control characters escaped, and with a line's end.
pub(crate) fn payload(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        return writeln!(stdout, "{}", lines_visible(&String::from_utf8_lossy(bytes)));
    }
    stdout.write_all(bytes)?;
    if std::str::from_utf8(bytes).is_ok() && !bytes.ends_with(b"\n") {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Whether standard error is for programs as well.
static FOR_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// Makes each line of standard error one of JSON from now on.
pub(crate) fn speak_to_programs() {
    FOR_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Writes a line to standard error. Where that is closed, nobody is there to be told.
pub(crate) fn note(text: impl Display) {
    tell("INFO", &text, || text.to_string());
}

/// Writes a warning to standard error.
pub(crate) fn warn(text: impl Display) {
    tell("WARN", &text, || format!("{} {text}", Paint::stderr().yellow("warning:")));
}

/// Writes an error to standard error.
pub(crate) fn error(text: impl Display) {
    tell("ERROR", &text, || format!("{} {text}", Paint::stderr().red("error:")));
}

/// Writes a value as a line of JSON to standard error.
pub(crate) fn json_note(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    let _ = writeln!(io::stderr().lock(), "{text}");
    Ok(())
}

fn tell(level: &str, message: &dyn Display, for_people: impl FnOnce() -> String) {
    let text = if FOR_PROGRAMS.load(Ordering::Relaxed) {
        serde_json::json!({ "level": level, "message": message.to_string() }).to_string()
    } else {
        Calm(for_people()).to_string()
    };
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Replaces the last line of standard error, which is a terminal; without text, removes it.
pub(crate) fn progress(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\u{1b}[K{text}");
    let _ = stderr.flush();
}

/// Whether standard error is a terminal for people, and standard output is not the same one.
pub(crate) fn has_room_for_progress() -> bool {
    is_for_people() && !io::stdout().is_terminal()
}

/// Whether standard error is a terminal for people.
pub(crate) fn is_for_people() -> bool {
    io::stderr().is_terminal() && !FOR_PROGRAMS.load(Ordering::Relaxed)
}

/// Whether an error means that nobody reads on.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref()).any(|io: &io::Error| io.kind() == io::ErrorKind::BrokenPipe)
}

/// Foreign text of several lines, with control characters escaped.
fn lines_visible(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| visible(line, usize::MAX)).collect();
    lines.join("\n")
}

/// Colours, where there is a terminal and nobody objects (<https://no-color.org>).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn stdout() -> Self {
        Self(io::stdout().is_terminal() && wanted())
    }

    pub(crate) fn stderr() -> Self {
        Self(io::stderr().is_terminal() && wanted())
    }

    /// No colours.
    pub(crate) fn none() -> Self {
        Self(false)
    }

    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How a cell is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// How wide the terminal is that standard output is, if it is one.
fn room() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(columns))
}

/// A cell that is no wider than this; what is cut off is told by an ellipsis.
fn cut(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.width() <= width {
        return Cow::Borrowed(cell);
    }
    let mut shown = String::new();
    for character in cell.chars() {
        if shown.width() + character.width().unwrap_or(0) >= width {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    Cow::Owned(shown)
}

/// A table with aligned columns. Its cells may hold foreign text.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| visible(&cell, CELL_CHARACTERS).into_owned()).collect());
    }

    /// The table, with its head and without a line's end. `paint` colours a cell that is already padded; it gets the
    /// column's index.
    pub(crate) fn render(&self, paint: Paint, colour: impl Fn(usize, &str) -> Option<String>) -> String {
        self.render_in(room(), paint, colour)
    }

    fn render_in(&self, room: Option<usize>, paint: Paint, colour: impl Fn(usize, &str) -> Option<String>) -> String {
        let head = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut widths = vec![0; self.columns.len()];
        for row in std::iter::once(&head).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(room) = room {
            self.fit(&mut widths, room);
        }
        let mut text = String::new();
        for (number, row) in std::iter::once(&head).chain(&self.rows).enumerate() {
            let mut line = String::new();
            let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
            for (index, cell) in row.iter().enumerate().take(last + 1) {
                let cell = &*cut(cell, widths[index]);
                let padding = " ".repeat(widths[index] - cell.width());
                let shown =
                    if number == 0 { paint.bold(cell) } else { colour(index, cell).unwrap_or_else(|| cell.to_owned()) };
                let _ = match self.columns[index].1 {
                    Align::Left if index == last => write!(line, "{shown}"),
                    Align::Left => write!(line, "{shown}{padding}  "),
                    Align::Right => write!(line, "{padding}{shown}{}", if index == last { "" } else { "  " }),
                };
            }
            text.push_str(&line);
            text.push('\n');
        }
        text.pop();
        text
    }

    /// Makes columns of text narrower until all have room, as far as that goes; the widest first.
    fn fit(&self, widths: &mut [usize], room: usize) {
        let between = 2 * widths.len().saturating_sub(1);
        let last = widths.len().saturating_sub(1);
        let floor = |index: usize| if index == last { NARROWEST_LAST } else { NARROWEST };
        loop {
            let surplus = (widths.iter().sum::<usize>() + between).saturating_sub(room);
            let is_wide = |index: &usize| self.columns[*index].1 == Align::Left && widths[*index] > floor(*index);
            let widest = (0..widths.len()).filter(is_wide).max_by_key(|index| widths[*index]);
            let Some(widest) = widest.filter(|_| surplus > 0) else { return };
            // No further than the next one, which is then as wide.
            let other =
                (0..widths.len()).filter(is_wide).filter(|index| *index != widest).map(|index| widths[index]).max();
            let step = other.map_or(surplus, |other| (widths[widest] - other).max(1)).min(surplus);
            widths[widest] = widths[widest].saturating_sub(step).max(floor(widest));
        }
    }

    /// The table without colours but for its head.
    pub(crate) fn plain(&self, paint: Paint) -> String {
        self.render(paint, |_, _| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_room_in_the_terminal_and_ids_are_whole() {
        let mut table = Table::new(&[("id", Align::Left), ("count", Align::Right), ("message", Align::Left)]);
        table.row(["0123456789abcdef0123456789abcdef".into(), "1".into(), "日本語 ".repeat(40)]);
        table.row(["a".into(), "1000".into(), "short".into()]);
        let render = |room: Option<usize>| table.render_in(room, Paint(false), |_, _| None);
        let widest = |text: &str| text.lines().map(UnicodeWidthStr::width).max();
        assert!(widest(&render(None)) > Some(200));
        for room in [60, 61, 80, 120] {
            let text = render(Some(room));
            assert!(widest(&text) <= Some(room) && widest(&text) > Some(room - 3), "{room}: {text}");
            assert!(text.contains("0123456789abcdef0123456789abcdef") && text.contains('…'), "{text}");
        }
        assert_eq!(render(Some(10)), render(Some(57)), "narrower it does not get");
        assert_eq!(render(Some(1000)), render(None));
    }

    #[test]
    fn only_colours_line_ends_and_tabs_are_passed_on() {
        for (text, expect) in [
            ("a\tb\nc", "a\tb\nc"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\u{1b}[31;1m \u{9b}2J\r\u{1b}", "\\u{1b}[31;1m \\u{9b}2J\\u{d}\\u{1b}"),
        ] {
            assert_eq!(Calm(text).to_string(), expect);
        }
    }

    #[test]
    fn columns_are_aligned_and_foreign_text_is_made_visible() {
        let mut table = Table::new(&[("name", Align::Left), ("size", Align::Right), ("note", Align::Left)]);
        table.row(["a".into(), "1".into(), "\u{1b}[2J".into()]);
        table.row(["日本".into(), "1000".into(), String::new()]);
        assert_eq!(table.plain(Paint(false)), "name  size  note\na        1  \\u{1b}[2J\n日本  1000");
    }
}
