//! The folder of log files: it belongs to one host at a time, and nothing but plain files of its own user is opened in it.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// What the names of files begin with that say that a folder is one of log files.
const OWN: &str = ".glasshouse.";
/// The one of them that the host which writes to it holds locked.
const LOCK: &str = ".glasshouse.lock";

/// Why log files cannot be written. All of it is the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum LogFilesError {
    /// Another host writes to the folder.
    #[error("the folder of log files {path} is in use by another host{by}; stop that one, or set files.folder to another", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other host's process, in words.
        by: String,
    },
    /// It is not the host's own.
    #[error("the folder of log files {path} {found}; set files.folder to one that is empty, or still to be made", path = path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// The system refused.
    #[error("cannot {doing} in the folder of log files {path}: {cause}", path = path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

/// A folder that this host alone writes to, until this is dropped.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    directory: OwnedFd,
    _lock: File,
}

/// What tells a file from all others that there are at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Folder {
    /// Makes the folder, if it is not there, and takes it for this host.
    pub(crate) fn open(path: &Path) -> Result<Self, LogFilesError> {
        let io = |doing| move |cause| LogFilesError::Io { path: path.to_owned(), doing, cause };
        let not_ours = |found: String| LogFilesError::NotOurs { path: path.to_owned(), found };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make a folder"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| io("look")(error.into()))?;
        let stat = rustix::fs::fstat(&folder).map_err(|error| io("look")(error.into()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(not_ours(format!("belongs to another user, with the id {}", stat.st_uid)));
        }
        let names = names(&folder).map_err(io("look"))?;
        if !names.is_empty() && !names.iter().any(|name| name.starts_with(OWN)) {
            let first = names.iter().min().map(|name| glasshouse_model::text::visible(name, 80)).unwrap_or_default();
            return Err(not_ours(format!("has other files in it, such as {first}")));
        }
        // What is logged is for this user only, whoever made the folder.
        if stat.st_mode & 0o077 != 0 {
            rustix::fs::fchmod(&folder, Mode::RWXU).map_err(|error| io("close it to others")(error.into()))?;
        }
        let mut lock = open_plain(&folder, LOCK, OFlags::RDWR | OFlags::CREATE).map_err(io("open the lock"))?;
        if let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(io("lock")(error.into()));
            }
            let mut process = String::new();
            // Who it is, is only for the message.
            let _ = lock.read_to_string(&mut process);
            let process = glasshouse_model::text::visible(process.trim(), 20);
            let by = if process.is_empty() { String::new() } else { format!(" (process {process})") };
            return Err(LogFilesError::InUse { path: path.to_owned(), by });
        }
        let _ = lock.set_len(0).and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Self { path: path.to_owned(), directory: folder, _lock: lock })
    }

    /// Names of all that is in it.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        names(&self.directory)
    }

    /// Opens a file to be read; a link, or anything but a plain file of this user's with one name, is an error.
    pub(crate) fn read(&self, name: &str) -> io::Result<File> {
        open_plain(&self.directory, name, OFlags::RDONLY)
    }

    /// Opens a file to be read and added to, and makes it if it is not there; the same are errors.
    pub(crate) fn append(&self, name: &str) -> io::Result<File> {
        open_plain(&self.directory, name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)
    }

    /// Makes a file in place of what has that name.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        open_plain(&self.directory, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// What has a name, without following a link; `None` if nothing has.
    pub(crate) fn look(&self, name: &str) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a name; that it is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives what has one name another one; what had that is gone.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    /// The same, but an error if the other name is taken.
    pub(crate) fn rename_to_new(&self, from: &str, to: &str) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.directory, from, &self.directory, to, RenameFlags::NOREPLACE) {
            // Not all file systems can do it, such as those of a network.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.rename_if_free(from, to),
            renamed => Ok(renamed?),
        }
    }

    /// The same in two steps: the folder is this host's alone, so that nobody comes between them.
    fn rename_if_free(&self, from: &str, to: &str) -> io::Result<()> {
        match self.look(to)? {
            Some(_) => Err(Errno::EXIST.into()),
            None => self.rename(from, to),
        }
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        // A name that is no text is none of ours, but it is there.
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a plain file of this user's that has no other name; anything else is an error, and nothing is done to it.
fn open_plain(folder: &OwnedFd, name: &str, flags: OFlags) -> io::Result<File> {
    let refused = |what: &str| io::Error::other(format!("{name} is {what}; remove it"));
    // A pipe that nobody reads would be waited for.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(refused("a link")),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused("no plain file"));
    }
    if stat.st_nlink != 1 || stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refused("another's file: it has a second name, or another owner"));
    }
    if stat.st_mode & 0o077 != 0 {
        rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_is_the_hosts_own_and_of_one_host_at_a_time() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("a/logs");
        let first = Folder::open(&path).expect("it is made");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let refused = Folder::open(&path).err().expect("it is in use").to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(first);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        Folder::open(&path).expect("it is free again");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "it is closed again");
        let other = place.path().join("other");
        std::fs::create_dir(&other).expect("a folder");
        std::fs::write(other.join("thesis.txt"), "words").expect("a file");
        let refused = Folder::open(&other).err().expect("it is another's").to_string();
        assert!(refused.contains("other files in it, such as thesis.txt"), "{refused}");
        let file = Folder::open(&other.join("thesis.txt")).err().expect("it is no folder").to_string();
        assert!(file.contains("make a folder"), "{file}");
    }

    #[test]
    fn no_name_that_is_taken_is_given_to_another_file() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&place.path().join("logs")).expect("it is made");
        let put = |name: &str| std::fs::write(folder.path.join(name), name).expect("a file");
        let read = |name: &str| std::fs::read_to_string(folder.path.join(name)).ok();
        for rename in [Folder::rename_to_new, Folder::rename_if_free] {
            put("from");
            put("to");
            let refused = rename(&folder, "from", "to").expect_err("it is taken");
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(read("to").as_deref(), Some("to"));
            folder.remove("to").expect("it goes");
            rename(&folder, "from", "to").expect("it is free");
            assert_eq!((read("from"), read("to").as_deref()), (None, Some("from")));
        }
    }

    #[test]
    fn nothing_but_plain_files_is_opened_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("a folder");
        let outside = place.path().join("outside");
        std::fs::write(&outside, "words").expect("a file");
        let path = place.path().join("logs");
        let folder = Folder::open(&path).expect("it is made");
        symlink(&outside, path.join("link")).expect("a link");
        symlink(place.path().join("nowhere"), path.join("dangling")).expect("a link");
        std::fs::hard_link(&outside, path.join("hard")).expect("a second name");
        std::fs::create_dir(path.join("folder")).expect("a folder");
        rustix::fs::mkfifoat(rustix::fs::CWD, path.join("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
        for name in ["link", "dangling", "hard", "folder", "pipe"] {
            assert!(folder.append(name).is_err() && folder.read(name).is_err(), "{name}");
        }
        drop(folder.create("link").expect("the link itself goes"));
        drop(folder.create("hard").expect("its second name goes"));
        assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "words");
        assert!(!place.path().join("nowhere").exists());
        let mode = std::fs::metadata(path.join("link")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
