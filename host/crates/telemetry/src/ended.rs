//! How rings stood when a host ended in order: by it the next host knows that nothing of them was lost, whatever boot of the system that is
//! under.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file in a data directory. It goes when a host begins, since what that records is not in it.
const ENDED: &str = "ended";

/// Where a ring stood, all of whose records were sealed and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    /// The incarnation's id.
    pub(crate) incarnation: u64,
    pub(crate) next_sequence: u64,
}

/// How rings stood, by their folders in the data directory.
pub(crate) type Stands = HashMap<PathBuf, Stand>;

/// Reads how rings stood, and takes that away before anything is recorded. What cannot be read tells nothing; what cannot be taken away is an
/// error, since it would say what holds no longer.
pub(crate) fn take(root: &Path) -> io::Result<Stands> {
    let path = root.join(ENDED);
    let bytes = fs::read(&path).unwrap_or_default();
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stands::new()),
        removed => removed?,
    }
    // Else it could be there again after a loss of power, and say what holds no longer.
    File::open(root)?.sync_all()?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(parsed).collect())
}

/// A line: incarnation, next sequence number, folder.
fn parsed(line: &str) -> Option<(PathBuf, Stand)> {
    let mut words = line.splitn(3, ' ');
    let incarnation = u64::from_str_radix(words.next()?, 16).ok()?;
    let next_sequence = words.next()?.parse().ok()?;
    Some((PathBuf::from(words.next()?), Stand { incarnation, next_sequence }))
}

/// Writes how rings stand, whole or not at all.
pub(crate) fn write(root: &Path, stands: &Stands) -> io::Result<()> {
    let line = |(folder, stand): (&PathBuf, &Stand)| {
        format!("{:016x} {} {}\n", stand.incarnation, stand.next_sequence, folder.display())
    };
    let lines: Vec<_> = stands.iter().map(line).collect();
    let part = root.join("ended.part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(lines.concat().as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, root.join(ENDED))?;
    File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_once_and_what_is_no_line_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(take(folder.path()).expect("nothing"), Stands::new());
        let stand = |incarnation, next_sequence| Stand { incarnation, next_sequence };
        let stands: Stands =
            [("extensions/a/logs", stand(u64::MAX, 7)), ("extensions/b/rollups/1s", stand(0, u64::MAX))]
                .map(|(folder, stand)| (folder.into(), stand))
                .into();
        write(folder.path(), &stands).expect("it is written");
        assert_eq!(take(folder.path()).expect("it is read"), stands);
        assert_eq!(take(folder.path()).expect("it is gone"), Stands::new());
        fs::write(folder.path().join(ENDED), b"1 2 a\n\xff\n1 x b\nx 1 c\n5\n\n").expect("writing it");
        let first: Stands = [("a".into(), stand(1, 2))].into();
        assert_eq!(take(folder.path()).expect("it is read"), first);
    }
}
