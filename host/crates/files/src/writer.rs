//! Writes log files: reads what was recorded, and adds its lines to the files that they are for.
//!
//! Lines and the place up to which they go are written in this order: files that are full are set aside, and the position says so; lines
//! are added; the position says up to where. A host that is killed in between leaves lines that no position speaks of, which the next
//! one takes back and writes again. Where writing fails, what was written of the lines is taken back at once, and they are written later.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use glasshouse_model::config::LogFileSettings;
use glasshouse_model::{Clock, HOST, Level, LogTier};

use crate::folder::Folder;
use crate::host_log::HostLog;
use crate::line::Line;
use crate::live::LiveFile;
use crate::position::Position;
use crate::status::Shared;
use crate::stop::Stop;
use crate::stream::{Stream, Take};
use crate::tiers::Tiers;
use crate::told;

/// How often it is looked for what has come.
const ROUND: Duration = Duration::from_millis(200);
/// How often files that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long what is left is written at the end of a host; a host with a data directory goes on with the rest when it starts again.
const LAST_ROUNDS: Duration = Duration::from_secs(5);
/// Bytes of lines that are held at a time, about. A position is stored for so many, which should be few.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes that a line counts for which is not written.
const PASSED_BYTES: usize = 64;
/// Records of a stream that are read at a time: of the largest, what is held of them takes 8 MiB.
const PAGE: usize = 256;
/// The same where little is written at once: one record for so many bytes, which leaves room for those of some others.
const PAGE_BYTES: usize = 4 << 10;
const PAGE_LEAST: usize = 16;

/// Writes log files.
pub(crate) struct Writer {
    pub(crate) folder: Arc<Folder>,
    pub(crate) settings: LogFileSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Vec<LiveFile>,
    pub(crate) streams: Vec<Stream>,
    /// Cursors of extensions that do not run now, and may again.
    pub(crate) others: Vec<String>,
    pub(crate) host_log: Option<HostLog>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: Arc<Stop>,
    /// Looks after the files that are set aside.
    pub(crate) keeper: Arc<Stop>,
    /// What the host said, until it is in the files.
    pub(crate) said: VecDeque<Line>,
    /// The stream that comes first in the next round, so that each has its turn.
    pub(crate) first: usize,
    /// Whether the folder says which files are written to, and how far they have got, be it nowhere.
    pub(crate) is_placed: bool,
}

/// Lines that are written at once.
struct Batch {
    lines: Vec<Rendered>,
    bytes: usize,
    limit: usize,
    text: bool,
    json: bool,
    tiers: Vec<LogTier>,
}

struct Rendered {
    time: i64,
    tiers: Tiers,
    text: String,
    json: String,
}

impl Take for Batch {
    fn take(&mut self, time: i64, line: &Line) {
        if !self.tiers.iter().any(|tier| line.tiers.has(*tier)) {
            // What no file is for counts as well, so that a round ends however much of it there is.
            self.bytes += PASSED_BYTES;
            return;
        }
        let mut rendered = Rendered { time, tiers: line.tiers, text: String::new(), json: String::new() };
        if self.text {
            line.write_text(&mut rendered.text);
        }
        if self.json {
            line.write_json(&mut rendered.json);
        }
        self.bytes += rendered.text.len().max(rendered.json.len());
        self.lines.push(rendered);
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }
}

/// Bytes at which a file is set aside: fewer than is said where all files together may have few.
pub(crate) fn rotate_size(settings: &LogFileSettings) -> u64 {
    settings.rotate_size.min(settings.keep_bytes / 2 / LogTier::COUNT as u64)
}

impl Writer {
    /// Writes until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut end = None;
        while !self.stop.is_over() {
            if self.stop.is_finishing() {
                end.get_or_insert_with(|| Instant::now() + LAST_ROUNDS);
            }
            let has_more = self.round();
            match end {
                Some(end) if !has_more || Instant::now() > end => break,
                None if !has_more => self.stop.wait(if self.shared.is_failing() { RETRY } else { ROUND }),
                _ => {}
            }
        }
        let left = self.streams.iter().map(Stream::behind).sum::<u64>();
        if left > 0 && !self.stop.is_over() {
            let folder = self.folder.path.display();
            tracing::warn!(%folder, "the host ends with {left} records that are not in the log files yet");
        }
        if let Some(host_log) = &self.host_log {
            host_log.close();
        }
    }

    /// Writes some of what has come. Whether there may be more.
    fn round(&mut self) -> bool {
        let written = self.try_round();
        if written.is_err() {
            self.streams.iter_mut().for_each(Stream::forget);
        }
        self.shared.behind.store(self.streams.iter().map(Stream::behind).sum(), Ordering::Relaxed);
        match written {
            Ok(more) => {
                if let Some(missed) = self.shared.works() {
                    let folder = self.folder.path.display();
                    tracing::warn!(%folder, "log files are written again; {missed} records were evicted meanwhile");
                }
                more
            }
            Err(error) => {
                if self.shared.fails(&error) {
                    let folder = self.folder.path.display();
                    tracing::warn!(%folder, "log files cannot be written, and go on where they ended once they can be: {error}");
                }
                false
            }
        }
    }

    fn try_round(&mut self) -> io::Result<bool> {
        self.hear();
        let mut batch = self.batch();
        let mut said = 0;
        for line in &self.said {
            if batch.is_full() {
                break;
            }
            batch.take(line.time.0, line);
            said += 1;
        }
        let (mut missed, mut is_taken, count) = (0, false, self.streams.len());
        // Again and again some of each, so that lines of all come near to each other, and much is written at once where much waits.
        let page = (batch.limit / PAGE_BYTES).clamp(PAGE_LEAST, PAGE);
        let mut has_more = true;
        while has_more {
            has_more = false;
            for turn in 0..count {
                let stream = &mut self.streams[(self.first + turn) % count];
                if !batch.is_full() && stream.has_more() {
                    (is_taken, has_more) = (true, true);
                    missed += stream.take(&mut batch, page);
                }
            }
        }
        self.first = (self.first + 1) % count.max(1);
        if said == 0 && !is_taken {
            self.set_aside(&batch)?;
            return Ok(false);
        }
        self.write(&mut batch)?;
        self.streams.iter_mut().for_each(Stream::settle);
        self.said.drain(..said);
        self.shared.missed.fetch_add(missed, Ordering::Relaxed);
        Ok(true)
    }

    /// Takes in what the host said, once what it said before is written.
    fn hear(&mut self) {
        let Some(host_log) = self.host_log.as_ref().filter(|_| self.said.is_empty()) else { return };
        let (messages, dropped) = host_log.take();
        self.said.extend(messages.into_iter().map(told::of_message));
        if dropped > 0 {
            self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
            let message =
                format!("{dropped} messages of the host itself had no room before they could be written here");
            let (now, id) = (self.clock.now(), "messages:dropped".to_owned());
            self.said.push_back(told::own(HOST, id, now, Level::Warning, message, Vec::new()));
        }
    }

    fn batch(&self) -> Batch {
        let is_json = |file: &LiveFile| self.settings.is_json(file.tier);
        // Half of a file: with a line that is over it, what is added still is no more than a whole one.
        let half = usize::try_from(rotate_size(&self.settings) / 2).unwrap_or(usize::MAX);
        Batch {
            lines: Vec::new(),
            bytes: 0,
            limit: BATCH_BYTES.min(half),
            text: self.files.iter().any(|file| !is_json(file)),
            json: self.files.iter().any(is_json),
            tiers: self.files.iter().map(|file| file.tier).collect(),
        }
    }

    /// The lines of a batch that are for a tier.
    fn of_tier<'b>(&self, batch: &'b Batch, tier: LogTier) -> impl Iterator<Item = &'b str> {
        let is_json = self.settings.is_json(tier);
        let lines = batch.lines.iter().filter(move |line| line.tiers.has(tier));
        lines.map(move |line| if is_json { line.json.as_str() } else { line.text.as_str() })
    }

    /// Sets aside what is full, or would be with these lines, and what is old; opens again what somebody else has moved or
    /// emptied.
    fn set_aside(&mut self, batch: &Batch) -> io::Result<()> {
        let (size, age, now) = (rotate_size(&self.settings), self.settings.rotate_age, self.clock.now());
        let more: Vec<u64> =
            self.files.iter().map(|file| self.of_tier(batch, file.tier).map(|line| line.len() as u64).sum()).collect();
        let mut is_aside = false;
        for (file, more) in self.files.iter_mut().zip(more) {
            file.make_whole()?;
            let is_touched = more > 0 || file.is_due(more, size, age, now);
            if is_touched && !file.is_in_place(&self.folder)? {
                self.is_placed = false;
                file.open_again(&self.folder, now)?;
            }
            if file.is_due(more, size, age, now) {
                (self.is_placed, is_aside) = (false, true);
                file.rotate(&self.folder, now)?;
            }
        }
        // Before anything is added to a file that the position does not know: it would not be taken back.
        if !self.is_placed {
            self.position(false).store(&self.folder)?;
            self.is_placed = true;
        }
        if is_aside {
            self.keeper.call();
        }
        Ok(())
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        // The sort keeps the order of what has the same time, and so that of each stream.
        batch.lines.sort_by_key(|line| line.time);
        self.set_aside(batch)?;
        let before: Vec<_> = self.files.iter().map(|file| file.bytes).collect();
        let written = self.append(batch).and_then(|()| self.position(true).store(&self.folder));
        if written.is_err() {
            self.files.iter_mut().zip(before).for_each(|(file, bytes)| file.restore(bytes));
        }
        written
    }

    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let (mut lines, now) = (String::new(), self.clock.now());
        for index in 0..self.files.len() {
            lines.clear();
            self.of_tier(batch, self.files[index].tier).for_each(|line| lines.push_str(line));
            if !lines.is_empty() {
                self.files[index].begin(now);
                self.files[index].append(lines.as_bytes())?;
            }
        }
        Ok(())
    }

    /// How far the files have got, with what was taken to be written or without it.
    fn position(&self, with_taken: bool) -> Position {
        let files: BTreeMap<_, _> =
            self.files.iter().map(|file| (file.tier.as_str().to_owned(), file.position())).collect();
        let cursors = self.streams.iter().map(|stream| stream.place(with_taken).to_owned());
        Position::new(files, cursors.chain(self.others.iter().cloned()).collect())
    }
}
