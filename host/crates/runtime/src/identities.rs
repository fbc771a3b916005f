//! Which component a file is, remembered from when its digest was taken, so that a file which was not changed since is not read
//! again at each start.
//!
//! As in git's index, a file is known by where it lies and by when it was last changed: device and inode, size, and the times of its last
//! modification and change. The last of these is set by the kernel at each change, also of the other times, and by nobody else. What is left to go
//! wrong: the contents were changed by a mapping that had been written to before, whose later changes the kernel tells once they are on the
//! disk; or by writing to the device; or the system's clock was set back, to the very nanosecond. Then what was compiled from the earlier contents
//! of that very file runs, under their digest: code that was let in before, and nothing that whoever changed the file could choose.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use glasshouse_model::Digest;
use rustix::fs::{OFlags, fstatfs};
use twox_hash::{xxhash3_64, xxhash3_128};

use crate::reach::Reach;

/// The file's name in the cache's folder.
pub(crate) const NAME: &str = "identities";
/// Changes with the layout of the file: what is of another one has no sum that fits.
const LAYOUT: u64 = 1;
/// A file may have one of so many entries, by where it lies, so that a few files never drive each other out.
const BUCKET_ENTRIES: usize = 8;
/// With these, two thousand files are remembered, in 208 KiB: several times those of a large host and of its former releases.
const BUCKETS: u64 = 256;
const PLACE_BYTES: usize = 16;
const MARK_BYTES: usize = 56;
const DIGEST_BYTES: usize = 32;
const SUM_BYTES: usize = 16;
const ENTRY_BYTES: usize = MARK_BYTES + DIGEST_BYTES + SUM_BYTES;
const BUCKET_BYTES: usize = BUCKET_ENTRIES * ENTRY_BYTES;
/// A file is remembered once its last change is over for so long: of two changes within one tick of a file system's clock, which is two
/// seconds at the worst, the second leaves no trace.
const SETTLED: Duration = Duration::from_secs(2);
/// File systems whose times of change are set by this machine's kernel, and by nothing else: ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs and
/// overlayfs. Another machine's clock, or FAT's, which has no such time, tells nothing.
const FILE_SYSTEMS: [u32; 7] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630];

/// The digests of files, in a file of fixed size that all hosts of a user share.
#[derive(Debug)]
pub(crate) struct Identities {
    file: File,
}

/// Where a file lies, and how it was when it was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark([u8; MARK_BYTES]);

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        let mut bytes = [0; MARK_BYTES];
        let values = [
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.mtime() as u64,
            metadata.mtime_nsec() as u64,
            metadata.ctime() as u64,
            metadata.ctime_nsec() as u64,
        ];
        for (place, value) in bytes.chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        Self(bytes)
    }

    /// Device and inode.
    fn place(&self) -> &[u8] {
        &self.0[..PLACE_BYTES]
    }

    /// Where in the file its bucket begins.
    fn offset(&self) -> u64 {
        xxhash3_64::Hasher::oneshot(self.place()) % BUCKETS * BUCKET_BYTES as u64
    }
}

impl Identities {
    /// Opens the file in a folder that only its owner can change, or makes it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits() as i32)
            .open(folder.join(NAME))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        Ok(Self { file })
    }

    /// What was remembered of a file as it is.
    pub(crate) fn recall(&self, metadata: &Metadata, reach: Reach) -> Option<Digest> {
        self.find(&Mark::of(metadata), reach)
    }

    fn find(&self, mark: &Mark, reach: Reach) -> Option<Digest> {
        let bucket = self.bucket(mark, reach);
        bucket.chunks_exact(ENTRY_BYTES).find_map(|entry| digest_in(entry).filter(|_| entry.starts_with(&mark.0)))
    }

    /// The digest of an open file, and its size: what was remembered of it as it is, or else what `take` makes of it, which is remembered if the file has been as it
    /// is for a while at `now`.
    pub(crate) fn identify(
        &self,
        file: &File,
        metadata: &Metadata,
        now: SystemTime,
        take: impl FnOnce(&File) -> io::Result<(Digest, u64)>,
    ) -> io::Result<(Digest, u64)> {
        let mark = Mark::of(metadata);
        if let Some(digest) = self.find(&mark, Reach::Disk) {
            return Ok((digest, metadata.len()));
        }
        let taken = take(file)?;
        if is_settled(metadata, now) && mark == Mark::of(&file.metadata()?) && keeps_times(file) {
            self.remember(&mark, &taken.0);
        }
        Ok(taken)
    }

    /// Writes an entry: over the one of the file's earlier state, or else one that is none, or else any of its bucket. Two hosts that do so at
    /// once leave one of theirs, or one whose sum does not fit.
    fn remember(&self, mark: &Mark, digest: &Digest) {
        let bucket = self.bucket(mark, Reach::Disk);
        let mut entries = bucket.chunks_exact(ENTRY_BYTES);
        let own = entries.clone().position(|entry| entry.starts_with(mark.place()));
        let place = own.or_else(|| entries.position(|entry| digest_in(entry).is_none()));
        let place = place.unwrap_or_else(|| fastrand::usize(..BUCKET_ENTRIES));
        let mut entry = [0; ENTRY_BYTES];
        entry[..MARK_BYTES].copy_from_slice(&mark.0);
        entry[MARK_BYTES..][..DIGEST_BYTES].copy_from_slice(&digest.0);
        let sum = sum_of(&entry);
        entry[MARK_BYTES + DIGEST_BYTES..].copy_from_slice(&sum);
        if let Err(error) = self.file.write_all_at(&entry, mark.offset() + (place * ENTRY_BYTES) as u64) {
            tracing::debug!("a component's digest is taken again at the next start: {error}");
        }
    }

    /// The bucket in which a file has its entry, if it has one. What cannot be read is empty.
    fn bucket(&self, mark: &Mark, reach: Reach) -> [u8; BUCKET_BYTES] {
        let mut bucket = [0; BUCKET_BYTES];
        let mut read = 0;
        while let Ok(more @ 1..) = reach.read_at(&self.file, &mut bucket[read..], mark.offset() + read as u64) {
            read += more;
        }
        bucket
    }
}

/// The digest in an entry, if that is one.
fn digest_in(entry: &[u8]) -> Option<Digest> {
    let (content, sum) = entry.split_at_checked(MARK_BYTES + DIGEST_BYTES)?;
    let digest = Digest(content[MARK_BYTES..].try_into().ok()?);
    (sum == sum_of(entry)).then_some(digest)
}

/// The sum that an entry is to end with.
fn sum_of(entry: &[u8]) -> [u8; SUM_BYTES] {
    xxhash3_128::Hasher::oneshot_with_seed(LAYOUT, &entry[..MARK_BYTES + DIGEST_BYTES]).to_le_bytes()
}

/// Whether a file's last change is so long ago at `now` that a later one has another time.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let Ok(now) = now.duration_since(UNIX_EPOCH) else { return false };
    let times = [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
    times.iter().all(|(seconds, nanos)| match u64::try_from(*seconds) {
        Ok(seconds) => now.saturating_sub(Duration::new(seconds, *nanos as u32)) > SETTLED,
        // Before 1970.
        Err(_) => true,
    })
}

fn keeps_times(file: &File) -> bool {
    fstatfs(file).is_ok_and(|system| FILE_SYSTEMS.contains(&(system.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// When all that these tests change was changed long ago.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_hours(1)
    }

    fn open(folder: &Path) -> Identities {
        Identities::open(folder).expect("a file of identities")
    }

    fn digest_of(contents: &[u8]) -> Digest {
        Digest(*blake3::hash(contents).as_bytes())
    }

    fn taken(contents: &[u8]) -> (Digest, u64) {
        (digest_of(contents), contents.len() as u64)
    }

    /// What a host makes of a file at a time, and whether it had to read it.
    fn identify(identities: &Identities, path: &Path, now: SystemTime) -> (Digest, bool) {
        let file = File::open(path).expect("the file");
        let metadata = file.metadata().expect("its metadata");
        let mut has_read = false;
        let identified = identities.identify(&file, &metadata, now, |_| {
            has_read = true;
            Ok(taken(&fs::read(path).expect("its contents")))
        });
        (identified.expect("its digest").0, has_read)
    }

    /// A file of the user's.
    fn written(folder: &Path, name: &str, contents: &[u8]) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, contents).expect("writing a file");
        path
    }

    /// A mark that no file has, and the digest that goes with it.
    fn made_up(number: u64) -> (Mark, Digest) {
        let digest = digest_of(&number.to_le_bytes());
        let mut mark = Mark([7; MARK_BYTES]);
        mark.0[8..PLACE_BYTES].copy_from_slice(&number.to_le_bytes());
        (mark, digest)
    }

    fn set_modified(path: &Path, time: SystemTime) {
        let file = OpenOptions::new().append(true).open(path).expect("opening a file");
        file.set_modified(time).expect("setting its time");
    }

    #[test]
    fn a_file_that_was_not_changed_is_not_read_again_by_this_host_or_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "component", b"first");
        let first = digest_of(b"first");
        let identities = open(folder.path());
        assert_eq!(identify(&identities, &path, later()), (first, true));
        assert_eq!(identify(&identities, &path, later()), (first, false));
        let next = open(folder.path());
        assert_eq!(identify(&next, &path, later()), (first, false));
        // A link is another name of the same file, and a copy is another file.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert_eq!(identify(&next, &link, later()), (first, false));
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).expect("a copy");
        assert_eq!(identify(&next, &copy, later()), (first, true));
    }

    #[test]
    fn a_change_in_place_that_leaves_size_and_time_of_modification_as_they_were_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "component", b"first");
        let identities = open(folder.path());
        assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), true));
        let before = fs::metadata(&path).expect("the file");
        // At once it may be within the same tick of the clock, which the next test is about.
        let after = loop {
            fs::write(&path, b"other").expect("changing the file");
            set_modified(&path, before.modified().expect("a time"));
            let after = fs::metadata(&path).expect("the file");
            if (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
                break after;
            }
        };
        assert_eq!((before.ino(), before.size()), (after.ino(), after.size()));
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        assert_eq!(identify(&identities, &path, later()), (digest_of(b"other"), true));
        assert_eq!(identify(&identities, &path, later()), (digest_of(b"other"), false));
    }

    #[test]
    fn a_file_that_was_changed_a_moment_ago_or_in_times_to_come_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "component", b"first");
        let identities = open(folder.path());
        let metadata = fs::metadata(&path).expect("the file");
        let changed = UNIX_EPOCH + Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
        // The clock was set back, no time has passed, and as much as a tick may take.
        for now in [changed - Duration::from_hours(1), changed, SystemTime::now(), changed + SETTLED] {
            assert_eq!(identify(&identities, &path, now), (digest_of(b"first"), true));
            assert_eq!(identities.recall(&metadata, Reach::Disk), None);
        }
        assert!(identify(&identities, &path, changed + SETTLED + Duration::from_nanos(1)).1);
        assert_eq!(identities.recall(&metadata, Reach::Disk), Some(digest_of(b"first")));
        set_modified(&path, later() + Duration::from_hours(1));
        for _ in 0..2 {
            assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), true));
        }
    }

    #[test]
    fn a_file_that_is_changed_while_it_is_read_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "component", b"first");
        let identities = open(folder.path());
        let file = File::open(&path).expect("the file");
        let metadata = file.metadata().expect("its metadata");
        let learned = identities.identify(&file, &metadata, later(), |_| {
            fs::write(&path, b"first and more").expect("changing the file");
            Ok(taken(b"first"))
        });
        assert_eq!(learned.expect("a digest").0, digest_of(b"first"));
        assert_eq!(fs::metadata(folder.path().join(NAME)).expect("the identities").len(), 0);
    }

    #[test]
    fn a_file_that_took_the_place_of_another_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "component", b"first");
        let identities = open(folder.path());
        assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), true));
        let other = written(folder.path(), "other", b"other");
        set_modified(&other, fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time"));
        fs::rename(&other, &path).expect("replacing the file");
        assert_eq!(identify(&identities, &path, later()), (digest_of(b"other"), true));
    }

    #[test]
    fn a_damaged_entry_is_none_wherever_it_is_damaged_and_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "component", b"first");
        let identities = open(folder.path());
        identify(&identities, &path, later());
        let table = folder.path().join(NAME);
        let whole = fs::read(&table).expect("the identities");
        let place = Mark::of(&fs::metadata(&path).expect("the file"));
        let entry = whole.windows(PLACE_BYTES).position(|bytes| bytes == place.place()).expect("its entry");
        for byte in entry..entry + ENTRY_BYTES {
            let mut damaged = whole.clone();
            damaged[byte] ^= 0x10;
            fs::write(&table, damaged).expect("damaging the identities");
            assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), true), "byte {byte}");
            assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), false), "byte {byte}");
        }
        for damaged in [whole[..entry + ENTRY_BYTES - 1].to_vec(), vec![0xff; whole.len()], Vec::new()] {
            fs::write(&table, damaged).expect("damaging the identities");
            assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), true));
            assert_eq!(identify(&identities, &path, later()), (digest_of(b"first"), false));
        }
    }

    #[test]
    fn two_hosts_that_write_at_once_never_find_the_digest_of_another_file() {
        let folder = tempfile::tempdir().expect("a folder");
        // Twice as many as there is room for, all in one place.
        let offset = made_up(0).0.offset();
        let all: Vec<_> = (0..).map(made_up).filter(|(mark, _)| mark.offset() == offset).take(16).collect();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let identities = open(folder.path());
                    for round in 0..2_000 {
                        let (mark, digest) = &all[(round * 7) % all.len()];
                        identities.remember(mark, digest);
                        for (mark, digest) in &all {
                            assert!(identities.find(mark, Reach::Disk).is_none_or(|found| found == *digest));
                        }
                    }
                });
            }
        });
        let identities = open(folder.path());
        assert!(all.iter().any(|(mark, _)| identities.find(mark, Reach::Disk).is_some()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest_file_is_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let identities = open(folder.path());
        for number in 0..5_000 {
            let (mark, digest) = made_up(number);
            identities.remember(&mark, &digest);
            assert_eq!(identities.find(&mark, Reach::Disk), Some(digest));
        }
        let bytes = fs::metadata(folder.path().join(NAME)).expect("the identities").len();
        assert!(bytes <= BUCKETS * BUCKET_BYTES as u64, "{bytes} bytes");
        let left = (0..5_000)
            .map(made_up)
            .filter(|(mark, digest)| identities.find(mark, Reach::Disk) == Some(*digest))
            .count();
        assert!(left > 1_500 && left <= BUCKETS as usize * BUCKET_ENTRIES, "{left} files");
    }

    #[test]
    fn what_has_the_name_and_is_none_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = written(folder.path(), "target", b"notes");
        std::os::unix::fs::symlink(&target, folder.path().join(NAME)).expect("a link");
        assert!(Identities::open(folder.path()).is_err());
        assert_eq!(fs::read(&target).expect("the target"), b"notes");
        fs::remove_file(folder.path().join(NAME)).expect("removing the link");
        fs::create_dir(folder.path().join(NAME)).expect("a folder of that name");
        assert!(Identities::open(folder.path()).is_err());
    }

    #[test]
    fn times_are_trusted_only_where_this_kernel_sets_them() {
        let file = tempfile::tempfile().expect("a file");
        assert!(keeps_times(&file));
        assert!(!keeps_times(&File::open("/proc/version").expect("a file of the kernel's")));
    }
}
