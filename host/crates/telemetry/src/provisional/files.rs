//! The files in which undecided records wait, and what a host that was killed has left in them: that is kept, since what went on in the host that
//! died is what is asked for then.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;

use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Clock, Context, Level, Signal, TraceId};
use twox_hash::XxHash3_64;

use super::room::undecided;
use super::{HALF_OF_LOGS, HALF_OF_SPANS};
use crate::allowance::RingAllowance;
use crate::boot;
use crate::depot::{DataDirError, Disk};
use crate::frame::FrameParts;
use crate::header::{HEADER_BYTES, Header, Incarnation};
use crate::home::{Home, OpenFile};
use crate::reader::Entry;
use crate::sampling::kept_for_its_end;
use crate::segment::SegmentFile;
use crate::store::Store;

/// Files are a multiple of it.
const PAGE: usize = 4096;
/// Bytes of all files of an extension.
pub(crate) const FILE_BYTES: u64 = 2 * (file_bytes(HALF_OF_SPANS) + file_bytes(HALF_OF_LOGS)) as u64;

/// Bytes of the file of a half.
const fn file_bytes(half_bytes: usize) -> usize {
    (half_bytes + HEADER_BYTES).next_multiple_of(PAGE)
}

/// Makes the files of an extension.
pub(crate) struct Files {
    home: Home,
    disk: Arc<Disk>,
    allowance: RingAllowance,
    clock: Arc<dyn Clock>,
}

impl Files {
    pub(crate) fn new(home: Home, disk: Arc<Disk>, allowance: RingAllowance, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { home, disk, allowance, clock })
    }

    /// Makes the file of a half, with the key of its records' checksums; `None` where the disk fails or has no room for it.
    #[cold]
    pub(super) fn make(&self, number: u64, half_bytes: usize) -> Option<(SegmentFile, u32)> {
        let bytes = file_bytes(half_bytes);
        if self.disk.is_failing() || self.allowance.take(bytes as u64).is_err() {
            return None;
        }
        let made = self.home.make_file(number, bytes);
        let made = made.inspect_err(|error| {
            self.allowance.give_back(bytes as u64);
            self.disk.note_failure(error);
        });
        let mut file = made.ok()?;
        let incarnation = Incarnation::new(1);
        let header = Header {
            signal: signal_of(number),
            flags: 0,
            first_sequence: 1,
            incarnation,
            made: self.clock.now().0,
            bytes: bytes as u64,
            extension: self.home.extension.clone(),
            boot: boot::id(),
        };
        file.populate();
        file.bytes_mut()[..HEADER_BYTES].copy_from_slice(&header.encode());
        Some((file, incarnation.key()))
    }

    /// Gives up a file; one that is empty is removed.
    pub(super) fn leave(&self, file: &SegmentFile, is_empty: bool) {
        if is_empty {
            // What cannot be removed is at the next start.
            let _ = fs::remove_file(file.path());
        }
        self.allowance.give_back((file.capacity() + HEADER_BYTES) as u64);
    }

    /// Stores what a host that was killed has left, with a log in each trace that tells of it, and removes the files.
    pub(crate) fn recover(&self, store: &Arc<Store>) -> io::Result<()> {
        let listing = self.home.list()?;
        let mut left: [Vec<(u64, Vec<u8>, u32)>; 2] = Default::default();
        for (number, path) in &listing.open {
            let file = OpenFile::read(path, None)?;
            if file.header.is_ok() {
                let bytes = file.bytes.get(HEADER_BYTES..).unwrap_or_default().to_vec();
                left[usize::from(signal_of(*number) == Signal::Log)].push((*number, bytes, file.key));
            }
        }
        let mut traces = HashSet::new();
        for (files, signal) in left.iter().zip([Signal::Span, Signal::Log]) {
            let mut records: Vec<_> = files.iter().flat_map(|(_, bytes, key)| undecided(bytes, *key)).collect();
            records.sort_by_key(|record| record.sequence);
            store_left(store, signal, &records, &mut traces);
        }
        for trace_id in traces {
            self.tell(store, trace_id);
        }
        for path in listing.open.into_iter().map(|(_, path)| path).chain(listing.leftovers) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// That what a host has left cannot be read.
    pub(crate) fn unreadable(&self, cause: io::Error) -> DataDirError {
        DataDirError::Io { path: self.home.folder.to_path_buf(), doing: "read what is undecided", cause }
    }

    fn tell(&self, store: &Arc<Store>, trace_id: TraceId) {
        let mut context = Vec::new();
        Context { trace_id, ..Context::default() }.encode(&mut context);
        let message = "the host was killed before it was decided whether this trace is kept: what was there of it is";
        let fields = [Field { name: "event", value: Value::Text("telemetry.killed") }];
        store.recorder().host_log(self.clock.now(), &context, Level::Warning, message, &fields);
    }
}

/// Stores records that are not there yet: the host may have been killed after it had stored them, and before it had noted that.
fn store_left(store: &Arc<Store>, signal: Signal, records: &[FrameParts<'_>], traces: &mut HashSet<TraceId>) {
    if records.is_empty() {
        return;
    }
    let there: HashSet<_> = store.reader(signal).latest(2 * records.len()).iter().map(digest_of_entry).collect();
    for record in records {
        let context = if signal == Signal::Span { kept_for_its_end(record.context) } else { record.context.into() };
        let record = FrameParts { context: &context, ..*record };
        if !there.contains(&digest(record.time, record.context, record.body)) {
            store.recorder().append_clean(signal, record);
        }
        traces.extend(Context::decode(&context).map(|context| context.trace_id));
    }
}

fn digest_of_entry(entry: &Entry) -> u64 {
    digest(entry.time().0, entry.context(), entry.raw().1)
}

fn digest(time: i64, context: &[u8], body: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot_with_seed(time as u64, context), body)
}

/// What the file with that number holds.
fn signal_of(number: u64) -> Signal {
    if number < super::FIRST_OF_LOGS { Signal::Span } else { Signal::Log }
}
