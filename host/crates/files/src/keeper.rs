//! Looks after files that were set aside: compresses them, and removes what is over its bounds. Nobody waits for it.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use glasshouse_model::config::LogFileSettings;
use glasshouse_model::{Clock, LogTier};
use rustix::fs::FileType;

use crate::cleanup::{Kept, surplus};
use crate::folder::Folder;
use crate::names::{Rotated, State, live};
use crate::stop::Stop;

/// How often it looks without being called.
const LOOK: Duration = Duration::from_secs(30);
/// Bytes a second that it compresses at most, so that it leaves disk and processors to others: more than a busy host logs.
const COMPRESSED_PER_SECOND: f64 = 16.0 * 1024.0 * 1024.0;
/// Bytes that are compressed at a time.
const CHUNK: usize = 256 << 10;

/// Looks after files that were set aside.
pub(crate) struct Keeper {
    pub(crate) folder: Arc<Folder>,
    pub(crate) settings: LogFileSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: Arc<Stop>,
}

impl Keeper {
    /// Does its work until it is told to stop.
    pub(crate) fn run(&self) {
        let mut is_failing = false;
        while !self.stop.is_over() {
            match self.look() {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    let folder = self.folder.path.display();
                    tracing::warn!(%folder, "log files cannot be compressed or removed, which is tried again: {error}");
                }
                Err(_) => {}
            }
            self.stop.wait(LOOK);
        }
    }

    /// Removes what is over its bounds, and compresses what is left, the oldest first.
    pub(crate) fn look(&self) -> io::Result<()> {
        let (mut refused, mut failure) = (Vec::new(), None);
        loop {
            let files = self.tidy(&mut failure)?;
            let is_next = |file: &Rotated| file.state == State::Plain && !refused.contains(file);
            let plain = files.iter().map(|kept| kept.file).filter(is_next);
            let Some(oldest) = plain.min_by_key(|file| (file.time, file.tier, file.number)) else { break };
            if !self.settings.compress {
                break;
            }
            match self.compress(oldest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
                // One that cannot be read does not hold up the others.
                Err(error) => {
                    refused.push(oldest);
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Removes what an earlier host was interrupted at, and what is over its bounds. Returns what is left. What cannot be removed does
    /// not hold up the rest; the first `failure` is kept.
    fn tidy(&self, failure: &mut Option<io::Error>) -> io::Result<Vec<Kept>> {
        let mut found = Vec::new();
        for file in self.folder.names()?.iter().filter_map(|name| Rotated::parse(name)) {
            match self.folder.look(&file.name()) {
                // A folder of such a name is none of ours, and not removed as a file is.
                Ok(Some(stat)) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
                    found.push(Kept { file, bytes: stat.st_size as u64 });
                }
                Ok(_) => {}
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        let mut remove = |file: &Rotated| {
            if let Err(error) = self.folder.remove(&file.name()) {
                failure.get_or_insert(error);
            }
        };
        let mut files = Vec::new();
        for kept in &found {
            // A compressed file has its name only once it is whole, and what it was made of is not needed then.
            let compressed = kept.file.with_state(State::Compressed);
            let is_done = kept.file.state == State::Plain && found.iter().any(|other| other.file == compressed);
            if kept.file.state == State::Part || is_done {
                remove(&kept.file);
            } else {
                files.push(*kept);
            }
        }
        let mut bytes = [0; LogTier::COUNT];
        for tier in LogTier::ALL {
            bytes[*tier as usize] = self.folder.look(&live(*tier))?.map_or(0, |stat| stat.st_size as u64);
        }
        let gone = surplus(files.clone(), bytes, &self.settings, self.clock.now());
        gone.iter().for_each(remove);
        files.retain(|kept| !gone.contains(&kept.file));
        Ok(files)
    }

    /// Compresses a file. `false` if it was told to stop meanwhile.
    fn compress(&self, file: Rotated) -> io::Result<bool> {
        let (plain, part) = (file.name(), file.with_state(State::Part).name());
        let compressed = self.compressed(&plain, &part);
        match compressed {
            Ok(true) => {
                self.folder.rename(&part, &file.with_state(State::Compressed).name())?;
                self.folder.remove(&plain)?;
                Ok(true)
            }
            other => {
                // What cannot be removed is at the next look.
                let _ = self.folder.remove(&part);
                other
            }
        }
    }

    fn compressed(&self, plain: &str, part: &str) -> io::Result<bool> {
        let mut from = self.folder.read(plain)?;
        let mut to = GzEncoder::new(self.folder.create(part)?, Compression::default());
        let (mut chunk, mut done, start) = (vec![0; CHUNK], 0_u64, Instant::now());
        loop {
            let read = from.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            to.write_all(&chunk[..read])?;
            done += read as u64;
            let due = start + Duration::from_secs_f64(done as f64 / COMPRESSED_PER_SECOND);
            if self.stop.wait_until(due) {
                return Ok(false);
            }
        }
        // The file that it was made of goes next.
        to.finish()?.sync_all()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use flate2::read::GzDecoder;
    use glasshouse_model::UnixNanos;

    use super::*;
    use crate::testing::SetClock;

    const NOW: i64 = 1_795_358_417_000_000_000;

    fn keeper(settings: LogFileSettings) -> (tempfile::TempDir, Keeper) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&place.path().join("logs")).expect("it is made");
        let keeper =
            Keeper { folder: Arc::new(folder), settings, clock: Arc::new(SetClock::at(NOW)), stop: Arc::default() };
        (place, keeper)
    }

    fn names(keeper: &Keeper) -> Vec<String> {
        let mut names = keeper.folder.names().expect("it is there");
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    fn rotated(number: u64) -> Rotated {
        Rotated::new(LogTier::All, number, UnixNanos(NOW))
    }

    #[test]
    fn files_are_compressed_whole_and_what_was_interrupted_is_done_again() {
        let (_place, keeper) = keeper(LogFileSettings::default());
        let put = |file: Rotated, text: &str| {
            std::fs::write(keeper.folder.path.join(file.name()), text).expect("a file");
        };
        let text = |number: u64| format!("a line of {number}\n").repeat(100_000);
        put(rotated(1), &text(1));
        // One whose host was killed while it was compressed, and one whose host was killed right after.
        put(rotated(2), &text(2));
        put(rotated(2).with_state(State::Part), "half");
        keeper.look().expect("it is compressed");
        put(rotated(1), &text(1));
        keeper.look().expect("it is looked at");
        let compressed = |number| rotated(number).with_state(State::Compressed).name();
        assert_eq!(names(&keeper), [compressed(1), compressed(2)]);
        for number in [1, 2] {
            let mut read = String::new();
            let file = keeper.folder.read(&compressed(number)).expect("it is there");
            GzDecoder::new(file).read_to_string(&mut read).expect("it is whole");
            assert_eq!(read, text(number));
        }
    }

    #[test]
    fn what_is_over_its_bounds_goes_and_nothing_else() {
        let settings = LogFileSettings { compress: false, keep_count: 2, ..LogFileSettings::default() };
        let (place, keeper) = keeper(settings);
        let put = |name: &str| std::fs::write(keeper.folder.path.join(name), "text").expect("a file");
        let names_put: Vec<_> = (1..=4).map(|number| rotated(number).name()).collect();
        for name in &names_put {
            put(name);
        }
        put("all.log");
        put("notes.txt");
        keeper.look().expect("it is looked at");
        assert_eq!(names(&keeper), [&names_put[2], &names_put[3], "all.log", "notes.txt"]);
        // A link that was put there goes by itself, and what it leads to stays.
        let outside = place.path().join("outside");
        std::fs::write(&outside, "words").expect("a file");
        symlink(&outside, keeper.folder.path.join(rotated(2).name())).expect("a link");
        keeper.look().expect("it is looked at");
        assert_eq!(names(&keeper), [&names_put[2], &names_put[3], "all.log", "notes.txt"]);
        assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "words");
    }

    #[test]
    fn a_folder_that_is_named_like_a_file_stays_and_holds_up_nothing() {
        let settings = LogFileSettings { compress: false, keep_count: 2, ..LogFileSettings::default() };
        let (_place, keeper) = keeper(settings);
        let folders = [rotated(1), rotated(1).with_state(State::Part), rotated(4).with_state(State::Compressed)];
        let folders = folders.map(|file| file.name());
        for name in &folders {
            std::fs::create_dir(keeper.folder.path.join(name)).expect("a folder");
        }
        let files = [rotated(2), rotated(3), rotated(4), rotated(3).with_state(State::Part)].map(|file| file.name());
        for name in &files {
            std::fs::write(keeper.folder.path.join(name), "text").expect("a file");
        }
        keeper.look().expect("it is looked at");
        let mut expect = [&folders[0], &folders[1], &files[1], &files[2], &folders[2]];
        expect.sort();
        assert_eq!(names(&keeper).iter().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_link_is_not_compressed_and_a_stop_leaves_the_file_as_it_was() {
        let (place, keeper) = keeper(LogFileSettings::default());
        let outside = place.path().join("outside");
        std::fs::write(&outside, "words").expect("a file");
        symlink(&outside, keeper.folder.path.join(rotated(1).name())).expect("a link");
        std::fs::write(keeper.folder.path.join(rotated(2).name()), "text").expect("a file");
        assert!(keeper.look().is_err_and(|error| error.to_string().contains("is a link; remove it")));
        assert_eq!(names(&keeper), [rotated(1).name(), rotated(2).with_state(State::Compressed).name()]);
        keeper.folder.remove(&rotated(1).name()).expect("the link goes");
        std::fs::write(keeper.folder.path.join(rotated(3).name()), "text").expect("a file");
        keeper.stop.end();
        keeper.look().expect("it stops");
        assert_eq!(names(&keeper), [rotated(2).with_state(State::Compressed).name(), rotated(3).name()]);
        assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "words");
    }
}
