//! A log file that is written to: lines are added to it, taken back from it, and it is set aside.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use glasshouse_model::{LogTier, UnixNanos};
use rustix::fs::Stat;

use crate::folder::{Folder, Identity};
use crate::names::{Rotated, live};
use crate::position::FilePosition;

/// Bytes of a file's end that are looked through for the end of its last whole line: more than the longest line has.
const TAIL_BYTES: u64 = 4 << 20;

/// A log file that is written to.
pub(crate) struct LiveFile {
    pub(crate) tier: LogTier,
    name: String,
    file: File,
    identity: Identity,
    /// Its length, but for what [`LiveFile::restore`] could not take back, and what somebody cut off since it was looked at.
    pub(crate) bytes: u64,
    is_torn: bool,
    /// When its first line was written.
    begun: UnixNanos,
    /// The number that it gets when it is set aside.
    number: u64,
}

impl LiveFile {
    /// Opens the file of a tier, or makes it. What is in it beyond its last position, written by a host that was killed, is taken back,
    /// and so is a line that has no end. `least` is a number that no file of the tier has that was set aside.
    pub(crate) fn open(
        folder: &Folder,
        tier: LogTier,
        position: Option<&FilePosition>,
        least: u64,
        now: UnixNanos,
    ) -> io::Result<Self> {
        let name = live(tier);
        let file = folder.append(&name)?;
        let stat = rustix::fs::fstat(&file)?;
        let identity = Identity::from(&stat);
        let number = position.map_or(least, |position| position.number.max(least));
        let mut opened =
            Self { tier, name, file, identity, bytes: stat.st_size as u64, is_torn: false, begun: now, number };
        if let Some(position) = position.filter(|position| position.identity() == identity) {
            opened.begun = UnixNanos(position.begun);
            if opened.bytes > position.bytes {
                opened.take_back(position.bytes)?;
            }
        }
        opened.mend()?;
        Ok(opened)
    }

    /// Cuts off what follows the last line that has an end.
    fn mend(&mut self) -> io::Result<()> {
        let start = self.bytes.saturating_sub(TAIL_BYTES);
        self.file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        (&self.file).take(TAIL_BYTES).read_to_end(&mut tail)?;
        if tail.last().is_none_or(|last| *last == b'\n') {
            return Ok(());
        }
        match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => self.take_back(start + at as u64 + 1),
            None if start == 0 => self.take_back(0),
            // What is in it is none of ours, and ends here.
            None => self.append(b"\n"),
        }
    }

    /// Adds lines; after an error [`LiveFile::restore`] has to take back what was written of them.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Goes back to an earlier length, as soon as that can be done: before anything is added.
    pub(crate) fn restore(&mut self, bytes: u64) {
        self.is_torn = self.take_back(bytes).is_err();
        self.bytes = bytes;
    }

    /// Makes sure that what is added comes after what is whole.
    pub(crate) fn make_whole(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.take_back(self.bytes)?;
            self.is_torn = false;
        }
        Ok(())
    }

    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        // One that somebody has made shorter is not filled up; that it is shorter is seen when it is looked at.
        if rustix::fs::fstat(&self.file)?.st_size as u64 > bytes {
            self.file.set_len(bytes)?;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Whether its name still is this file's, and all that was written is in it: somebody may have moved, removed or emptied it.
    pub(crate) fn is_in_place(&self, folder: &Folder) -> io::Result<bool> {
        let is_whole = |stat: &Stat| Identity::from(stat) == self.identity && stat.st_size as u64 >= self.bytes;
        Ok(folder.look(&self.name)?.is_some_and(|stat| is_whole(&stat)))
    }

    /// Opens what has its name by now.
    pub(crate) fn open_again(&mut self, folder: &Folder, now: UnixNanos) -> io::Result<()> {
        *self = Self::open(folder, self.tier, None, self.number, now)?;
        Ok(())
    }

    /// Notes that lines are about to be written, by when a file that has none begins.
    pub(crate) fn begin(&mut self, now: UnixNanos) {
        if self.bytes == 0 {
            self.begun = now;
        }
    }

    /// Whether it is to be set aside before so many bytes are added: over its size, or its age.
    pub(crate) fn is_due(&mut self, more: u64, size: u64, age: std::time::Duration, now: UnixNanos) -> bool {
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        // After a clock was set back, the age counts from then on.
        self.begun = self.begun.min(now);
        let is_old = now.0.saturating_sub(self.begun.0) >= age;
        self.bytes > 0 && (is_old || self.bytes.saturating_add(more) > size)
    }

    /// Sets it aside, and begins a new one.
    pub(crate) fn rotate(&mut self, folder: &Folder, now: UnixNanos) -> io::Result<()> {
        /// Names that somebody else may have taken.
        const TRIES: u64 = 100;
        let last = self.number + TRIES;
        loop {
            match folder.rename_to_new(&self.name, &Rotated::new(self.tier, self.number, now).name()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.number < last => self.number += 1,
                renamed => break renamed?,
            }
        }
        self.number += 1;
        self.open_again(folder, now)
    }

    pub(crate) fn position(&self) -> FilePosition {
        FilePosition::new(self.identity, self.bytes, self.begun.0, self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixNanos = UnixNanos(1_795_358_417_000_000_000);

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&place.path().join("logs")).expect("it is made");
        (place, folder)
    }

    fn read(folder: &Folder, name: &str) -> String {
        std::fs::read_to_string(folder.path.join(name)).expect("it is there")
    }

    #[test]
    fn what_was_written_after_the_last_position_is_taken_back_and_only_of_the_same_file() {
        let (_place, folder) = folder();
        let mut file = LiveFile::open(&folder, LogTier::All, None, 1, NOW).expect("it is made");
        file.append(b"one\n").expect("there is room");
        let position = file.position();
        file.append(b"two\nthr").expect("there is room");
        let file = LiveFile::open(&folder, LogTier::All, Some(&position), 1, NOW).expect("it is there");
        assert_eq!((read(&folder, "all.log").as_str(), file.bytes), ("one\n", 4));
        // Another file of that name has nothing that the position speaks of.
        std::fs::write(folder.path.join("other"), "ours\nor not\n").expect("a file");
        std::fs::rename(folder.path.join("other"), folder.path.join("all.log")).expect("it takes its place");
        assert!(!file.is_in_place(&folder).expect("it is looked for"));
        let file = LiveFile::open(&folder, LogTier::All, Some(&position), 1, NOW).expect("it is there");
        assert_eq!((read(&folder, "all.log").as_str(), file.bytes), ("ours\nor not\n", 12));
    }

    #[test]
    fn a_line_without_an_end_is_cut_off() {
        let (_place, folder) = folder();
        for (found, expect) in
            [("", ""), ("a\n", "a\n"), ("a\nb", "a\n"), ("a", ""), ("a\nb\0\0\0", "a\n"), ("\0\0", "")]
        {
            std::fs::write(folder.path.join("all.log"), found).expect("a file");
            let file = LiveFile::open(&folder, LogTier::All, None, 1, NOW).expect("it is there");
            assert_eq!((read(&folder, "all.log").as_str(), file.bytes), (expect, expect.len() as u64), "{found:?}");
        }
    }

    #[test]
    fn a_file_is_set_aside_at_its_size_and_at_its_age_and_never_over_another() {
        let (_place, folder) = folder();
        let mut file = LiveFile::open(&folder, LogTier::All, None, 1, NOW).expect("it is made");
        let (age, old) = (Duration::from_mins(1), UnixNanos(NOW.0 + 60_000_000_000));
        assert!(!file.is_due(1000, 10, age, old), "an empty file stays");
        file.begin(NOW);
        file.append(b"one\n").expect("there is room");
        assert!(!file.is_due(6, 10, age, NOW) && file.is_due(7, 10, age, NOW) && file.is_due(0, 10, age, old));
        std::fs::write(folder.path.join("all.00000001.20261122T144017Z.log"), "taken").expect("a file");
        file.rotate(&folder, NOW).expect("it is set aside");
        file.append(b"two\n").expect("there is room");
        assert_eq!(read(&folder, "all.00000001.20261122T144017Z.log"), "taken");
        assert_eq!(read(&folder, "all.00000002.20261122T144017Z.log"), "one\n");
        assert_eq!((read(&folder, "all.log").as_str(), file.position().number), ("two\n", 3));
    }

    #[test]
    fn a_file_that_was_emptied_goes_on_at_its_start() {
        let (_place, folder) = folder();
        let mut file = LiveFile::open(&folder, LogTier::All, None, 7, NOW).expect("it is made");
        file.append(b"one\ntwo\n").expect("there is room");
        assert!(file.is_in_place(&folder).expect("it is looked for"));
        std::fs::write(folder.path.join("all.log"), "").expect("it is emptied");
        assert!(!file.is_in_place(&folder).expect("it is looked for"));
        file.open_again(&folder, NOW).expect("it is there");
        assert!(file.is_in_place(&folder).expect("it is looked for"));
        file.append(b"three\n").expect("there is room");
        let position = file.position();
        assert_eq!((read(&folder, "all.log").as_str(), position.bytes, position.number), ("three\n", 6, 7));
        // One that was cut within a line ends with the last whole one.
        file.append(b"four\n").expect("there is room");
        std::fs::write(folder.path.join("all.log"), "three\nfo").expect("it is cut");
        assert!(!file.is_in_place(&folder).expect("it is looked for"));
        file.open_again(&folder, NOW).expect("it is there");
        assert_eq!((read(&folder, "all.log").as_str(), file.bytes), ("three\n", 6));
    }

    #[test]
    fn what_is_taken_back_makes_no_file_longer() {
        let (_place, folder) = folder();
        let mut file = LiveFile::open(&folder, LogTier::All, None, 1, NOW).expect("it is made");
        file.append(b"one\ntwo\n").expect("there is room");
        let before = file.bytes;
        file.append(b"thr").expect("there is room");
        std::fs::write(folder.path.join("all.log"), "").expect("it is emptied");
        file.restore(before);
        file.is_torn = true;
        file.make_whole().expect("nothing is to be taken back");
        assert_eq!(read(&folder, "all.log"), "");
        assert!(!file.is_in_place(&folder).expect("it is looked for"), "it is opened again before it is added to");
    }

    #[test]
    fn the_age_of_a_file_counts_on_after_the_clock_was_set_back() {
        let (_place, folder) = folder();
        let mut file = LiveFile::open(&folder, LogTier::All, None, 1, NOW).expect("it is made");
        file.begin(NOW);
        file.append(b"one\n").expect("there is room");
        let (age, back) = (Duration::from_mins(1), NOW.0 - 3_600_000_000_000);
        assert!(!file.is_due(0, 10, age, UnixNanos(back)));
        assert!(!file.is_due(0, 10, age, UnixNanos(back + 59_000_000_000)));
        assert!(file.is_due(0, 10, age, UnixNanos(back + 60_000_000_000)));
    }
}
