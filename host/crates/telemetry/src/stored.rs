//! Reading a data directory without its host: one that has stopped or crashed, or one that runs and is not disturbed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glasshouse_model::{ExtensionId, HOST, Signal, UnixNanos};

use crate::alerts::{self, Alert};
use crate::depot::{DataDirError, EXTENSIONS, check_format};
use crate::frame::{Frame, Scan};
use crate::groups::{self, ErrorGroup};
use crate::header::{BadHeader, HEADER_BYTES, Header, Incarnation};
use crate::home::{Home, Listing, OpenFile};
use crate::metrics::Tier;
use crate::reader::Reader;
use crate::segment::{Segment, SegmentWriter};
use crate::view::View;

/// A data directory that is only read.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens it; its host may run, and is not held up.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        check_format(root, false)?;
        Ok(Self { root: root.to_owned() })
    }

    /// The ids of all extensions that something is stored of, in order; the host's own name is among them.
    pub fn extensions(&self) -> Result<Vec<String>, DataDirError> {
        let path = self.root.join(EXTENSIONS);
        let io = |cause| DataDirError::Io { path: path.clone(), doing: "list the extensions", cause };
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>, _>>().map_err(io)?;
        names.retain(|name| has_telemetry(name));
        names.sort();
        Ok(names)
    }

    /// The groups of an extension's errors as of a time, those with the latest errors first. Errors that the host has stored
    /// meanwhile are in them.
    pub fn error_groups(&self, extension: &str, now: UnixNanos) -> Vec<ErrorGroup> {
        let home = has_telemetry(extension).then(|| Home::of_state(&self.root, extension));
        groups::read(&reader_of(home, Signal::Error), &self.reader(extension, Signal::Error), now)
    }

    /// The alerts of an extension as of a time, those that fire first. What the host has stored meanwhile is in them.
    pub fn alerts(&self, extension: &str, now: UnixNanos) -> Vec<Alert> {
        let home = has_telemetry(extension).then(|| Home::of_alert_state(&self.root, extension));
        alerts::read(extension, &reader_of(home, Signal::Error), &self.reader(extension, Signal::Alert), now)
    }

    /// Reads a signal of an extension; nothing is there of one that is unknown.
    pub fn reader(&self, extension: &str, signal: Signal) -> Reader {
        // What is no id is nobody's, and leads nowhere.
        let is_known = has_telemetry(extension);
        let reader = reader_of(is_known.then(|| Home::new(&self.root, extension, signal)), signal);
        if signal != Signal::Metric {
            return reader;
        }
        let home = |tier: Tier| is_known.then(|| Home::of_rollups(&self.root, extension, tier));
        reader.with_rollups(Tier::ALL.iter().map(|tier| reader_of(home(*tier), signal)))
    }
}

fn reader_of(home: Option<Home>, signal: Signal) -> Reader {
    Reader::of_stored(Arc::new(StoredRing { home, copies: Mutex::default(), incarnation: Mutex::default() }), signal)
}

/// Whether a name is one that telemetry is kept under: an extension's, or the host's own.
fn has_telemetry(name: &str) -> bool {
    name == HOST || name.parse::<ExtensionId>().is_ok()
}

/// The files of a ring, read by system calls only: a file that shrinks under its reader is an answer then, and no fault.
pub(crate) struct StoredRing {
    /// `None` if nothing can be stored of the extension.
    home: Option<Home>,
    /// What was read of the files that may still grow, by number.
    copies: Mutex<BTreeMap<u64, Copy>>,
    /// The incarnation that was found last.
    incarnation: Mutex<Option<Incarnation>>,
}

/// A copy of the records of a file that may still grow.
struct Copy {
    writer: SegmentWriter,
    header: Result<Header, BadHeader>,
    key: u32,
    /// Where in the file it goes on.
    at: usize,
    next_sequence: u64,
}

impl StoredRing {
    /// What is there now. A folder that cannot be read is empty.
    pub(crate) fn view(&self) -> View {
        /// Files that are sealed while they are looked at are looked for again; a hole that stays is one.
        const TRIES: usize = 5;
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listing = Listing::default();
        for _ in 0..TRIES {
            listing = self.home.as_ref().and_then(|home| home.list().ok()).unwrap_or_default();
            copies.retain(|number, _| listing.open.iter().any(|(open, _)| open == number));
            let refreshed = listing.open.iter().try_for_each(|(number, path)| refresh(&mut copies, *number, path));
            if refreshed.is_ok() && is_in_a_row(&listing, &copies) {
                break;
            }
        }
        let view = view_of(listing, &copies);
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner) = Some(view.incarnation);
        view
    }

    /// The incarnation, as of the last view.
    pub(crate) fn incarnation(&self) -> Incarnation {
        let known = *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner);
        known.unwrap_or_else(|| self.view().incarnation)
    }
}

/// Whether no records are missing between the files.
fn is_in_a_row(listing: &Listing, copies: &BTreeMap<u64, Copy>) -> bool {
    let sealed = listing.sealed.iter().map(|file| (file.first, file.last + 1));
    let open = copies.values().map(|copy| (copy.writer.segment().first_sequence(), copy.next_sequence));
    let mut expected = None;
    sealed.chain(open).all(|(first, next)| expected.replace(next).is_none_or(|expected| first <= expected))
}

fn view_of(listing: Listing, copies: &BTreeMap<u64, Copy>) -> View {
    let sealed_next = listing.sealed.last().map_or(1, |file| file.last + 1);
    let newest = copies.values().next_back().map(|copy| copy.header.clone());
    let header = newest.or_else(|| {
        let mut bytes = [0; HEADER_BYTES];
        let file = File::open(listing.sealed.last()?.path()).ok()?;
        file.read_exact_at(&mut bytes, 0).ok()?;
        Some(Header::decode(&bytes))
    });
    let incarnation = match header {
        Some(Ok(header)) => header.incarnation,
        _ => Incarnation { id: 0, start: 1 },
    };
    let segments: Vec<_> = copies.values().map(|copy| Arc::clone(copy.writer.segment())).collect();
    let next_sequence = copies.values().map(|copy| copy.next_sequence).fold(sealed_next, u64::max);
    View { sealed: Arc::new(listing.sealed), segments, oldest_by_count: 1, next_sequence, incarnation }
}

/// Reads what is new in a file.
fn refresh(copies: &mut BTreeMap<u64, Copy>, number: u64, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    if let Some(copy) = copies.get_mut(&number) {
        let mut header = [0; HEADER_BYTES];
        // A later host may have made another file of the same name.
        let place = |header: &Header| (header.incarnation, header.first_sequence);
        let read = file.read_exact_at(&mut header, 0).is_ok();
        if read && Header::decode(&header).as_ref().map(place) == copy.header.as_ref().map(place) {
            return copy.extend(&file);
        }
        copies.remove(&number);
    }
    let mut header = [0; HEADER_BYTES];
    let read = file.read_exact_at(&mut header, 0).map_err(|_| BadHeader::Damaged);
    let (header, first, key, length) = match read.and_then(|()| Header::decode(&header)) {
        // Made ahead, and not used yet.
        Err(BadHeader::Empty) => return Ok(()),
        Ok(header) => {
            let (first, key) = (header.first_sequence, header.incarnation.key());
            (Ok(header), first, key, file.metadata()?.len() as usize)
        }
        Err(_) => {
            let hint = copies.range(..number).next_back().map(|(_, before)| before.key);
            let whole = OpenFile::read(path, hint)?;
            let Some(frame) = whole.scan().next() else { return Ok(()) };
            (whole.header.clone(), frame.sequence, whole.key, whole.bytes.len())
        }
    };
    let (_, writer) = Segment::anonymous(first, length.max(HEADER_BYTES), Some(key))?;
    let mut copy = Copy { writer, header, key, at: HEADER_BYTES, next_sequence: first };
    copy.extend(&file)?;
    copies.insert(number, copy);
    Ok(())
}

impl Copy {
    fn extend(&mut self, file: &File) -> io::Result<()> {
        let mut tries_left = 2;
        loop {
            let bytes = read_from(file, self.at)?;
            let scan = Scan::new(&bytes, 0, self.next_sequence, self.key);
            let mut end = 0;
            let mut found: Vec<Frame> = Vec::new();
            // Records in a row are there for good. What comes after a hole may be there since the hole was read: it is
            // read once more before it is believed to be damage.
            for frame in scan {
                if frame.at as usize != end && tries_left > 0 {
                    break;
                }
                end = frame.next_at();
                found.push(frame);
            }
            let holds_more = end < bytes.len() && bytes[end..].iter().any(|byte| *byte != 0);
            for frame in &found {
                self.writer.append(&frame.parts(&bytes));
                self.next_sequence = frame.sequence + 1;
            }
            self.at += end;
            if !holds_more || tries_left == 0 {
                return Ok(());
            }
            tries_left -= 1;
        }
    }
}

/// Reads a file from an offset to its end.
fn read_from(file: &File, at: usize) -> io::Result<Vec<u8>> {
    let length = (file.metadata()?.len() as usize).saturating_sub(at);
    let mut bytes = vec![0; length];
    let mut read = 0;
    while read < length {
        match file.read_at(&mut bytes[read..], (at + read) as u64) {
            Ok(0) => break,
            Ok(some) => read += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}
