//! How far each signal of an extension was pushed, in a small file for each extension of a data directory.
//!
//! A file is replaced as a whole, so that it is the one before or the one after whenever the host is killed. Its first line has a checksum of the
//! others, each of which is a cursor and, of metrics, the time at which what was pushed ends.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use glasshouse_model::{Signal, UnixNanos};
use glasshouse_telemetry::Cursor;
use twox_hash::XxHash3_64;

/// What a file's first line begins with.
const FORMAT: &str = "glasshouse-otlp-cursors-1";
/// Bytes of a file: six lines take some hundreds.
const FILE_BYTES: u64 = 16 * 1024;

/// How far a signal was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cursor: Cursor,
    pub(crate) until: Option<UnixNanos>,
}

/// The folder of a data directory that the files are in.
#[derive(Clone, Debug)]
pub(crate) struct Cursors {
    folder: PathBuf,
}

impl Cursors {
    /// Those of a data directory. Makes their folder.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("otlp");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{extension}.cursors"))
    }

    /// How far an extension's signals were pushed. `None` if none of them was; an error if that cannot be known any more.
    pub(crate) fn read(&self, extension: &str) -> io::Result<Option<BTreeMap<Signal, Place>>> {
        let file = match File::open(self.path(extension)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(FILE_BYTES).read_to_string(&mut text)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
        parsed(&text, extension).map(Some).ok_or_else(damaged)
    }

    /// Notes how far an extension's signals were pushed; once it returns, that outlives the host and the machine.
    pub(crate) fn write(&self, extension: &str, places: &[Place]) -> io::Result<()> {
        let (path, part) = (self.path(extension), self.folder.join(format!("{extension}.part")));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(written(places).as_bytes())?;
        file.sync_data()?;
        fs::rename(&part, &path)?;
        // Which of both has the name is the folder's to know.
        File::open(&self.folder)?.sync_all()
    }
}

fn written(places: &[Place]) -> String {
    let line = |Place { cursor, until }: &Place| match until {
        Some(until) => format!("{cursor} {}\n", until.0),
        None => format!("{cursor} -\n"),
    };
    let lines: String = places.iter().map(line).collect();
    format!("{FORMAT} {:016x}\n{lines}", XxHash3_64::oneshot(lines.as_bytes()))
}

fn parsed(text: &str, extension: &str) -> Option<BTreeMap<Signal, Place>> {
    let (head, lines) = text.split_once('\n')?;
    let sum = u64::from_str_radix(head.strip_prefix(FORMAT)?.strip_prefix(' ')?, 16).ok()?;
    if sum != XxHash3_64::oneshot(lines.as_bytes()) {
        return None;
    }
    let place = |line: &str| {
        let (cursor, until) = line.split_once(' ')?;
        let cursor: Cursor = cursor.parse().ok()?;
        let until = if until == "-" { None } else { Some(UnixNanos(until.parse().ok()?)) };
        (cursor.extension == extension).then_some((cursor.signal, Place { cursor, until }))
    };
    lines.lines().map(place).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn places() -> Vec<Place> {
        [("00000007.2a.logs.markdown", None), ("00000007.1.metrics.markdown", Some(UnixNanos(5)))]
            .map(|(cursor, until)| Place { cursor: cursor.parse().expect("a cursor"), until })
            .to_vec()
    }

    #[test]
    fn what_was_noted_is_found_again_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let cursors = Cursors::open(folder.path()).expect("it opens");
        assert_eq!(cursors.read("markdown").expect("it is not there"), None);
        cursors.write("markdown", &[]).expect("it is written");
        cursors.write("markdown", &places()).expect("it is written");
        let found =
            Cursors::open(folder.path()).expect("it opens").read("markdown").expect("it is read").expect("some");
        assert_eq!(found.into_values().collect::<Vec<_>>(), places());
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&cursors.path("markdown")), mode(&cursors.folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&cursors.folder).expect("a folder").count(), 1);
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_damaged_wherever_it_is_changed() {
        let text = written(&places());
        assert!(parsed(&text, "markdown").is_some());
        assert!(parsed(&text, "relay").is_none(), "it is another extension's");
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let is_hex_case = changed[at].eq_ignore_ascii_case(&text.as_bytes()[at]);
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(is_hex_case || parsed(&changed, "markdown").is_none(), "{changed}");
            assert!(parsed(&text[..at], "markdown").is_none(), "cut at {at}");
        }
    }
}
