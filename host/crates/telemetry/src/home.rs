//! The folder that a ring's files lie in: their names, how they are made, and what is found in them at a start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use glasshouse_model::Signal;
use rustix::fs::FallocateFlags;

use crate::boot;
use crate::depot::EXTENSIONS;
use crate::ended::Stand;
use crate::frame::{Scan, guess_key};
use crate::header::{BadHeader, FLAG_CONTINUED_IN_MEMORY, HEADER_BYTES, Header, Incarnation};
use crate::metrics::Tier;
use crate::sealed::{SEALED, SealedFile, read_whole};
use crate::segment::{OnDisk, Segment, SegmentFile};

/// The folder of an extension's rollups.
const ROLLUPS: &str = "rollups";
/// The folder of the state of its alerts.
const ALERT_STATE: &str = "alert-state";
/// The folder of what waits for what becomes of its trace.
const PROVISIONAL: &str = "provisional";
/// The ending of a file that a segment is mapped to.
const OPEN: &str = "open";
/// The folder of an extension's state, beside those of its signals.
const STATE: &str = "state";
/// The ending of a file that is being made or written.
const PART: &str = "part";

/// A ring's folder.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) folder: Arc<Path>,
    pub(crate) extension: String,
    pub(crate) signal: Signal,
}

/// The files of a ring by their names, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) sealed: Vec<SealedFile>,
    /// Number and path of each file that was mapped.
    pub(crate) open: Vec<(u64, PathBuf)>,
    /// What is left of writing a sealed file, and what another one has taken in.
    pub(crate) leftovers: Vec<PathBuf>,
}

/// What a ring starts with.
pub(crate) struct Found {
    pub(crate) sealed: Vec<SealedFile>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) next_sequence: u64,
    pub(crate) incarnation: Incarnation,
    /// The number that the next file gets.
    pub(crate) next_number: u64,
    /// Runs of records that cannot be read.
    pub(crate) damaged: u64,
}

/// What a file that was mapped holds.
pub(crate) struct OpenFile {
    pub(crate) header: Result<Header, BadHeader>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) key: u32,
}

impl OpenFile {
    /// Reads a file by its present length. If its header is lost, so may be its key; that of the files before it is likely.
    pub(crate) fn read(path: &Path, hint: Option<u32>) -> io::Result<Self> {
        let bytes = read_whole(&File::open(path)?)?;
        let header = Header::decode(&bytes);
        let key = header.as_ref().map_or_else(
            |_| bytes.get(HEADER_BYTES..).and_then(guess_key).or(hint).unwrap_or_default(),
            |header| header.incarnation.key(),
        );
        Ok(Self { header, bytes, key })
    }

    /// Its records.
    pub(crate) fn scan(&self) -> Scan<'_> {
        let first = self.header.as_ref().map_or(0, |header| header.first_sequence);
        Scan::new(&self.bytes, HEADER_BYTES.min(self.bytes.len()), first, self.key)
    }
}

/// A sealed file that has no name yet by which it would be read.
pub(crate) struct Part {
    /// Where it is; `None` once it is finished.
    path: Option<PathBuf>,
    file: SealedFile,
}

impl Part {
    /// Gives it its name.
    pub(crate) fn finish(mut self) -> io::Result<SealedFile> {
        if let Some(path) = &self.path {
            fs::rename(path, self.file.path())?;
        }
        self.path = None;
        Ok(self.file.clone())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed is at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

impl Listing {
    fn put_in_order(&mut self) {
        // Of two that start alike, one continues the other: the longer one comes first, and the other is covered by it.
        self.sealed.sort_by_key(|file| (file.first, u64::MAX - file.last));
        let mut last = 0;
        let leftovers = &mut self.leftovers;
        self.sealed.retain(|file| {
            let adds = file.last > last;
            last = last.max(file.last);
            if !adds {
                leftovers.push(file.path());
            }
            adds
        });
        // Its name tells where sequence numbers go on, so that it must be one of ours.
        while self.sealed.last().is_some_and(|file| !file.holds_its_last()) {
            self.sealed.pop();
        }
        self.open.sort();
    }
}

impl Home {
    /// The folder of a signal of an extension in a data directory.
    pub(crate) fn new(root: &Path, extension: &str, signal: Signal) -> Self {
        let folder = root.join(EXTENSIONS).join(extension).join(signal.as_str()).into();
        Self { folder, extension: extension.to_owned(), signal }
    }

    /// The folder of an extension's rollups of a length.
    pub(crate) fn of_rollups(root: &Path, extension: &str, tier: Tier) -> Self {
        let folder = root.join(EXTENSIONS).join(extension).join(ROLLUPS).join(tier.as_str()).into();
        Self { folder, extension: extension.to_owned(), signal: Signal::Metric }
    }

    /// The folder of what else is known of an extension: its state, such as the groups of its errors. Its files are like those
    /// of errors.
    pub(crate) fn of_state(root: &Path, extension: &str) -> Self {
        let folder = root.join(EXTENSIONS).join(extension).join(STATE).into();
        Self { folder, extension: extension.to_owned(), signal: Signal::Error }
    }

    /// The folder of how an extension's alerts stand. Its files are like those of errors, too.
    pub(crate) fn of_alert_state(root: &Path, extension: &str) -> Self {
        let folder = root.join(EXTENSIONS).join(extension).join(ALERT_STATE).into();
        Self { folder, extension: extension.to_owned(), signal: Signal::Error }
    }

    /// The folder of an extension's undecided spans and logs.
    pub(crate) fn of_provisional(root: &Path, extension: &str) -> Self {
        let folder = root.join(EXTENSIONS).join(extension).join(PROVISIONAL).into();
        Self { folder, extension: extension.to_owned(), signal: Signal::Span }
    }

    /// Names of all files. A folder that is not there is empty.
    pub(crate) fn list(&self) -> io::Result<Listing> {
        /// A file that goes while it is looked at was continued by another one, which may not have been seen.
        const TRIES: usize = 10;
        let mut tries = 1;
        loop {
            match self.list_once() {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                listed => return listed,
            }
        }
    }

    fn list_once(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some((stem, ending)) = name.split_once('.') else { continue };
            let path = entry.path();
            match ending {
                OPEN => listing.open.extend(stem.parse().ok().map(|number| (number, path.clone()))),
                SEALED => {
                    let Some((first, last)) = SealedFile::parse(name) else { continue };
                    // Looked for in the open folder: its path need not be gone through again.
                    let metadata = entry.metadata()?;
                    let newest = metadata.modified().unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH);
                    let newest = newest.map_or(0, |age| age.as_nanos() as i64);
                    let folder = Arc::clone(&self.folder);
                    listing.sealed.push(SealedFile { folder, first, last, bytes: metadata.len(), newest });
                }
                PART => listing.leftovers.push(path),
                _ => {}
            }
        }
        listing.put_in_order();
        Ok(listing)
    }

    /// Finds what an earlier host left, and how it said that the ring stood if it ended in order. Files without records are removed.
    pub(crate) fn open(&self, ended: Option<Stand>) -> io::Result<Found> {
        let listing = self.list()?;
        for path in &listing.leftovers {
            fs::remove_file(path)?;
        }
        let mut found = Found {
            next_sequence: listing.sealed.last().map_or(1, |file| file.last + 1),
            incarnation: Incarnation::new(1),
            next_number: listing.open.last().map_or(1, |(number, _)| number + 1),
            sealed: listing.sealed,
            segments: Vec::new(),
            damaged: 0,
        };
        let mut newest_header = match found.sealed.last() {
            Some(file) => read_header(&file.path()),
            None => Err(BadHeader::Empty),
        };
        // Whether records may have been lost after the newest that is found.
        let mut tail_lost = false;
        for (_, path) in listing.open {
            let hint = newest_header.as_ref().ok().map(|header| header.incarnation.key());
            let file = OpenFile::read(&path, hint)?;
            if file.bytes.is_empty() {
                // It was cut off: no file is named before its bytes are allocated.
                found.damaged += 1;
                tail_lost = true;
                fs::remove_file(&path)?;
                continue;
            }
            if file.bytes.iter().all(|byte| *byte == 0) {
                // Made ahead, and never used.
                fs::remove_file(&path)?;
                continue;
            }
            if let Err(BadHeader::Version(version)) = file.header {
                return Err(io::Error::other(format!("{}: a segment of format {version}", path.display())));
            }
            let mut scan = file.scan();
            let frames: Vec<_> = scan.by_ref().filter(|frame| frame.sequence >= found.next_sequence).collect();
            let truncated = file.header.as_ref().is_ok_and(|header| (file.bytes.len() as u64) < header.bytes);
            let damaged = scan.damaged() || truncated || matches!(file.header, Err(BadHeader::Damaged));
            found.damaged += u64::from(damaged);
            let mut rest = file.bytes[scan.at().min(file.bytes.len())..].iter();
            tail_lost = truncated || (rest.any(|byte| *byte != 0) && !scan.ends_unfinished());
            let records = frames.iter().map(|frame| frame.parts(&file.bytes));
            let on_disk = OnDisk { bytes: file.bytes.len() as u64, path: path.clone() };
            newest_header.clone_from(&file.header);
            let Some(segment) = Segment::recovered(on_disk, file.key, records)? else {
                fs::remove_file(&path)?;
                continue;
            };
            found.next_sequence = frames.last().map_or(found.next_sequence, |frame| frame.sequence + 1);
            found.segments.push(segment);
        }
        let next_sequence = found.next_sequence;
        // Under another boot, what was not synced may be lost: its bytes are zeros then, or its file was never there. What stands as it did at an end
        // in order is whole.
        let is_whole = |header: &Header| {
            let stand = Stand { incarnation: header.incarnation.id, next_sequence };
            header.boot == boot::id() || ended == Some(stand)
        };
        found.incarnation = match newest_header {
            Ok(header) if header.flags & FLAG_CONTINUED_IN_MEMORY == 0 && !tail_lost && is_whole(&header) => {
                header.incarnation
            }
            _ => Incarnation::new(next_sequence),
        };
        Ok(found)
    }

    fn open_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:010}.{OPEN}"))
    }

    /// Makes a file for a segment, with all of its bytes allocated.
    pub(crate) fn make_file(&self, number: u64, bytes: usize) -> io::Result<SegmentFile> {
        let path = self.open_path(number);
        // It has its name once it has its bytes, so that one which is shorter than that was cut off.
        let part = path.with_extension(PART);
        let file = self.create(&part)?;
        let made = allocate(&file, bytes)
            .and_then(|()| fs::rename(&part, &path))
            .and_then(|()| SegmentFile::new(&file, path.clone(), bytes));
        if made.is_err() {
            // What cannot be removed is at the next start.
            let _ = fs::remove_file(&part);
            let _ = fs::remove_file(&path);
        }
        made
    }

    /// Gives a file that is not used yet another number.
    pub(crate) fn renumber(&self, file: &mut SegmentFile, number: u64) -> io::Result<()> {
        let path = self.open_path(number);
        fs::rename(file.path(), &path)?;
        file.set_path(path);
        Ok(())
    }

    /// Writes a sealed file, which is there as a whole or not at all.
    pub(crate) fn write_sealed(&self, first: u64, last: u64, newest: i64, bytes: &[u8]) -> io::Result<SealedFile> {
        self.write_part(first, last, newest, bytes)?.finish()
    }

    /// Writes a sealed file whole, and safe against the loss of power, but for its name.
    pub(crate) fn write_part(&self, first: u64, last: u64, newest: i64, bytes: &[u8]) -> io::Result<Part> {
        let file = SealedFile { folder: Arc::clone(&self.folder), first, last, bytes: bytes.len() as u64, newest };
        // It goes if it is not finished.
        let part = Part { path: Some(file.path().with_extension(PART)), file };
        if let Some(path) = &part.path {
            let mut written = self.create(path)?;
            written.write_all(bytes)?;
            written.set_modified(UNIX_EPOCH + Duration::from_nanos(newest.max(0) as u64))?;
            written.sync_data()?;
        }
        Ok(part)
    }

    /// Writes a file that holds no records, but says where sequence numbers go on.
    pub(crate) fn write_marker(&self, header: &Header, now: i64) -> io::Result<SealedFile> {
        let next = header.first_sequence;
        self.write_sealed(next, next - 1, now, &header.encode())
    }

    /// Waits until the names of its files are on the disk.
    pub(crate) fn sync(&self) {
        // A folder that is not there has no files, and a disk that fails is noticed when one is made.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
    }

    /// Makes a file that only its owner can read, and its folder if that is not there.
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
                options.open(path)
            }
            opened => opened,
        }
    }
}

/// Allocates all bytes of a file, so that writing to its mapping never fails for want of room.
fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes as u64) {
            Err(rustix::io::Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

fn read_header(path: &Path) -> Result<Header, BadHeader> {
    let mut bytes = [0; HEADER_BYTES];
    let read = File::open(path).and_then(|file| std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0));
    read.map_err(|_| BadHeader::Damaged).and_then(|()| Header::decode(&bytes))
}
