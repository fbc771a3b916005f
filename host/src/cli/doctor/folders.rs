//! The folders that a host writes to: whose they are, who else can read them, and whether there is room.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use glasshouse::text;

use super::Check;

/// Free bytes below which a cache is of little use: the code of one large extension.
const CACHE_BYTES: u64 = 64 << 20;

/// The folder of compiled components. A host does without one that it cannot use.
pub(super) fn cache(folder: Option<PathBuf>) -> Check {
    const NAME: &str = "cache folder";
    let slow = "components are compiled at every start";
    let Some(folder) = folder else {
        return Check::warning(NAME, "there is none, since HOME is not set", format!("{slow}: set host.cache_dir"));
    };
    match examine(&folder) {
        Ok(found) if found.free < CACHE_BYTES => {
            Check::warning(NAME, found.text, format!("{slow} where there is no room: make some"))
        }
        // The host closes the folder to others by itself; who was in it before is another matter.
        Ok(found) if found.open_to_others => {
            let advice = "others could change the code in it: the host closes it at its start; empty it before if others have \
                          access to this machine";
            Check::warning(NAME, found.text, advice)
        }
        Ok(found) => Check::ok(NAME, found.text),
        Err(error) => {
            let advice = format!("{slow}: make it a folder of this user, or set host.cache_dir");
            Check::warning(NAME, format!("{}: {error}", folder.display()), advice)
        }
    }
}

/// The folder of telemetry, which must hold what the configuration lets it grow to.
pub(super) fn data(folder: &Path, limit: u64) -> Check {
    const NAME: &str = "data directory";
    match examine(folder) {
        Ok(found) if found.open_to_others => {
            Check::warning(NAME, found.text, format!("others can read telemetry in it: chmod 700 {}", folder.display()))
        }
        Ok(found) if found.free < limit => {
            let advice = format!(
                "host.data_limit is {}: make room, or lower it; where the disk is full, telemetry is kept in memory",
                text::bytes(limit)
            );
            Check::warning(NAME, found.text, advice)
        }
        Ok(found) => Check::ok(NAME, found.text),
        Err(error) => {
            let advice = "the host does not start with it: make it a folder of the host's user, or name another";
            Check::failure(NAME, format!("{}: {error}", folder.display()), advice)
        }
    }
}

/// The folder of log files, which must hold what the configuration lets them grow to.
pub(super) fn log_files(folder: &Path, limit: u64) -> Check {
    const NAME: &str = "log files";
    match examine(folder) {
        Ok(found) if found.free < limit => {
            let limit = text::bytes(limit);
            let advice = format!(
                "files.keep_bytes is {limit}: make room, or lower it; where the disk is full, lines wait until they are evicted"
            );
            Check::warning(NAME, found.text, advice)
        }
        // The host closes the folder to others by itself.
        Ok(found) => Check::ok(NAME, found.text),
        Err(error) => {
            let advice =
                "the host does not start with it: make it a folder of the host's user, or set files.folder to another";
            Check::failure(NAME, format!("{}: {error}", folder.display()), advice)
        }
    }
}

struct Found {
    text: String,
    open_to_others: bool,
    free: u64,
}

/// Looks at a folder, or, if it is still to be made, at the one that it will be made in.
fn examine(folder: &Path) -> io::Result<Found> {
    let is_there = folder.exists();
    let nearest = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let metadata = fs::metadata(nearest)?;
    if !metadata.is_dir() {
        return Err(io::Error::other(format!("{} is not a folder", nearest.display())));
    }
    if is_there && metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to another user, with the id {}", metadata.uid())));
    }
    let probe = nearest.join(format!(".glasshouse-doctor-{:016x}", fastrand::u64(..)));
    fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(&probe)?;
    let system = rustix::fs::statvfs(nearest)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let open_to_others = is_there && metadata.mode() & 0o077 != 0;
    let state = if is_there { format!("mode {:04o}", metadata.mode() & 0o7777) } else { "still to be made".to_owned() };
    Ok(Found { text: format!("{}, {state}, {} free", folder.display(), text::bytes(free)), open_to_others, free })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_folder_is_judged_by_its_mode_its_room_and_whether_it_can_be_written_to() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("data");
        assert_eq!(data(&folder, 1).verdict, Verdict::Ok, "it is still to be made");
        fs::create_dir(&folder).expect("making it");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("closing it");
        assert_eq!(data(&folder, 1).verdict, Verdict::Ok);
        assert_eq!(cache(Some(folder.clone())).verdict, Verdict::Ok);
        assert_eq!(data(&folder, u64::MAX).verdict, Verdict::Warning, "no disk has so much room");
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0, "nothing is left in it");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("opening it");
        let open = data(&folder, 1);
        assert_eq!(open.verdict, Verdict::Warning);
        assert!(open.advice.expect("there is something to do").contains("chmod 700"));
        let file = place.path().join("file");
        fs::write(&file, "").expect("writing a file");
        assert_eq!(data(&file, 1).verdict, Verdict::Failure);
        assert_eq!(data(&file.join("below"), 1).verdict, Verdict::Failure);
        assert_eq!(log_files(&file, 1).verdict, Verdict::Failure);
        assert_eq!(log_files(&folder, 1).verdict, Verdict::Ok, "the host closes it");
        assert_eq!(log_files(&folder, u64::MAX).verdict, Verdict::Warning, "no disk has so much room");
        let useless = cache(Some(file));
        assert_eq!(useless.verdict, Verdict::Warning, "a host runs without a cache");
        assert!(useless.advice.expect("there is something to do").contains("host.cache_dir"));
    }
}
