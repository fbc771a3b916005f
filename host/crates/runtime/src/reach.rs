//! Files, and as much of them as is in memory.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{ReadWriteFlags, preadv2};

/// How far it goes for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the disk, for which it waits.
    Disk,
    /// To what the system has in memory. What it has not there is an error, and so is all where it cannot tell (Linux before 5.12, and
    /// some file systems, such as tmpfs).
    Memory,
}

impl Reach {
    /// What a path leads to. It is not opened.
    pub(crate) fn metadata(self, path: &Path) -> io::Result<Metadata> {
        match self {
            Self::Disk => fs::metadata(path),
            Self::Memory => open_cached(path, OFlags::PATH)?.metadata(),
        }
    }

    /// Opens a file to read it, and waits for no other end if it is a pipe.
    pub(crate) fn open(self, path: &Path) -> io::Result<File> {
        const FLAGS: OFlags = OFlags::NONBLOCK;
        match self {
            Self::Disk => OpenOptions::new().read(true).custom_flags(FLAGS.bits() as i32).open(path),
            Self::Memory => open_cached(path, FLAGS),
        }
    }

    /// Reads from a place in a file, as `pread` does.
    pub(crate) fn read_at(self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::Disk => file.read_at(buffer, at),
            Self::Memory => Ok(preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT)?),
        }
    }
}

fn open_cached(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(File::from(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use rustix::fs::{Advice, fadvise};
    use tempfile::{NamedTempFile, TempDir};

    use super::*;

    /// A folder, and whether the system can tell what of its files is in memory. It is beside the tests' program, since there is less that
    /// it can tell of folders for temporary files.
    pub(crate) fn folder() -> (TempDir, bool) {
        let program = std::env::current_exe().expect("the tests' program");
        let folder = tempfile::tempdir_in(program.parent().expect("its folder")).expect("a folder");
        let file = NamedTempFile::new_in(&folder).expect("a file");
        let can_tell = match Reach::Memory.read_at(file.as_file(), &mut [0; 1], 0) {
            Ok(_) => Reach::Memory.open(file.path()).is_ok(),
            Err(error) => error.kind() != io::ErrorKind::Unsupported,
        };
        (folder, can_tell)
    }

    #[test]
    fn what_was_just_used_is_in_memory() {
        let (folder, can_tell) = folder();
        let path = folder.path().join("file");
        fs::write(&path, "contents").expect("writing a file");
        for reach in [Reach::Disk, Reach::Memory].into_iter().filter(|reach| can_tell || *reach == Reach::Disk) {
            assert!(reach.metadata(&path).expect("its metadata").is_file());
            assert!(reach.metadata(folder.path()).expect("its metadata").is_dir());
            assert!(reach.metadata(&folder.path().join("none")).is_err());
            let file = reach.open(&path).expect("opening it");
            let mut buffer = [0; 16];
            let read = reach.read_at(&file, &mut buffer, 3).expect("reading it");
            assert_eq!(&buffer[..read], b"tents");
        }
    }

    #[test]
    fn what_is_on_the_disk_alone_is_not_waited_for() {
        let (folder, can_tell) = folder();
        let file = NamedTempFile::new_in(&folder).expect("a file");
        file.as_file().write_all(&[7; 4096]).expect("writing to it");
        file.as_file().sync_all().expect("writing it to the disk");
        fadvise(file.as_file(), 0, None, Advice::DontNeed).expect("forgetting what is in memory");
        let mut buffer = [0; 16];
        let from_memory = Reach::Memory.read_at(file.as_file(), &mut buffer, 0);
        let expected = if can_tell { io::ErrorKind::WouldBlock } else { io::ErrorKind::Unsupported };
        assert_eq!(from_memory.expect_err("it is not in memory").kind(), expected);
        assert_eq!(Reach::Disk.read_at(file.as_file(), &mut buffer, 0).expect("reading it"), 16);
        assert_eq!(Reach::Memory.read_at(file.as_file(), &mut buffer, 0).ok(), can_tell.then_some(16));
    }
}
