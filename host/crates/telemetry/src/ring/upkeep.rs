//! What the keeper does for a ring, on its own thread: files made ahead, sealing, cleanup, and the return to the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fs, io};

use super::{DiskRing, Ring, Shelf, discard, no_room, remove};
use crate::header::Header;
use crate::keeper::Errand;
use crate::pack::pack;
use crate::sealed::{Packer, SealedFile};
use crate::segment::Segment;

/// A sealed file of fewer bytes is continued by the next segment, so that many starts do not leave many small files.
const CONTINUED_BELOW_BYTES: u64 = 64 * 1024;

impl Ring {
    /// Makes the file of the next segment, so that the writer need not.
    pub(crate) fn prepare(&self) {
        let Some(disk) = self.disk.as_ref().filter(|disk| !disk.disk.is_failing()) else { return };
        let mut writer = self.lock();
        if writer.spare.is_some() {
            return;
        }
        let mut shelf = Shelf::clone(&self.shelf.load());
        let keep = writer.current_segment();
        let made = self.make_file(disk, &mut writer, &mut shelf, keep.as_ref(), 0);
        let next_number = writer.next_number;
        drop(writer);
        match made {
            Ok(file) => {
                file.populate();
                let mut writer = self.lock();
                if writer.next_number == next_number {
                    writer.spare = Some(file);
                } else {
                    // The writer could not wait, and files are used in the order of their numbers.
                    discard(disk, &file);
                }
            }
            Err(error) => self.note_failure(disk, &error),
        }
    }

    /// Writes the oldest full segment to a sealed file. Returns how many bytes it had; `None` if there is none.
    pub(crate) fn seal_oldest(&self) -> Option<usize> {
        let disk = self.disk.as_ref().filter(|disk| !disk.disk.is_failing())?;
        let segment = {
            let writer = self.lock();
            let oldest = self.shelf.load().segments.first().cloned()?;
            (!writer.is_current(&oldest)).then_some(oldest)?
        };
        match self.seal(disk, &segment) {
            Ok(()) => Some(segment.bytes().len().max(1)),
            Err(error) => {
                self.note_failure(disk, &error);
                None
            }
        }
    }

    fn seal(&self, disk: &DiskRing, segment: &Arc<Segment>) -> io::Result<()> {
        let shelf = self.shelf.load_full();
        let first = segment.first_sequence();
        let Some(last) = segment.frames().last().map(|frame| frame.sequence) else {
            return self.replace(disk, segment, None, None);
        };
        // It continues the file before it, if that is small and undamaged.
        let continued = shelf.sealed.last().filter(|file| file.bytes < CONTINUED_BELOW_BYTES).and_then(|file| {
            let bytes = file.read().ok().filter(|bytes| bytes.len() as u64 == file.bytes)?;
            Header::decode(&bytes).is_ok().then_some((file, bytes))
        });
        let header = || disk.header(first, shelf.incarnation, 0).encode().to_vec();
        let (continued, begin) = continued.map_or_else(|| (None, header()), |(file, bytes)| (Some(file), bytes));
        let mut packer = Packer::new(begin)?;
        let newest = pack(&mut packer, disk.home.signal, segment)?.max(continued.map_or(i64::MIN, |file| file.newest));
        let bytes = packer.finish();
        let written = bytes.len() as u64;
        while !disk.allowance.take(written) {
            let writer = self.lock();
            let mut shelf = Shelf::clone(&self.shelf.load());
            if !self.retire_oldest(disk, &mut shelf, writer.current_segment().as_ref()) {
                return Err(no_room());
            }
        }
        let first = continued.map_or(first, |file| file.first);
        match disk.home.write_sealed(first, last, newest, &bytes) {
            Ok(file) => self.replace(disk, segment, continued, Some(file)),
            Err(error) => {
                disk.allowance.give_back(written);
                Err(error)
            }
        }
    }

    /// Puts a sealed file into the place of its segment, and of the file that it continues. If those have gone meanwhile, it
    /// goes too.
    fn replace(
        &self,
        disk: &DiskRing,
        segment: &Arc<Segment>,
        continued: Option<&SealedFile>,
        file: Option<SealedFile>,
    ) -> io::Result<()> {
        let writer = self.lock();
        let mut shelf = Shelf::clone(&self.shelf.load());
        let is_there = shelf.segments.first().is_some_and(|first| Arc::ptr_eq(first, segment))
            && continued.is_none_or(|continued| shelf.sealed.last() == Some(continued));
        if !is_there {
            drop(writer);
            if let Some(file) = &file {
                fs::remove_file(&file.path)?;
                disk.allowance.give_back(file.bytes);
            }
            return Ok(());
        }
        shelf.segments.remove(0);
        let mut sealed = shelf.sealed.to_vec();
        if continued.is_some() {
            sealed.pop();
        }
        sealed.extend(file);
        shelf.sealed = Arc::new(sealed);
        self.shelf.store(Arc::new(shelf));
        drop(writer);
        if let Some(continued) = continued {
            remove(disk, &continued.path, continued.bytes);
        }
        if let Some(file) = segment.file() {
            remove(disk, &file.path, file.bytes);
        }
        Ok(())
    }

    /// Retires what is over its age, or over bounds that were lowered.
    pub(crate) fn clean_up(&self, now: i64) {
        let oldest_wanted = now.saturating_sub(i64::try_from(self.bounds.age.as_nanos()).unwrap_or(i64::MAX));
        let mut writer = self.lock();
        let mut shelf = Shelf::clone(&self.shelf.load());
        let is_old = |segment: &Segment| segment.frames().last().is_some_and(|frame| frame.time < oldest_wanted);
        if let Some(disk) = &self.disk {
            let is_old = |file: &SealedFile| file.newest < oldest_wanted;
            let is_over = |shelf: &Shelf| disk.allowance.ring.is_exceeded() || shelf.sealed.first().is_some_and(is_old);
            // What others have too much of costs this ring one file at a time.
            let mut again = disk.allowance.is_exceeded();
            while (again || is_over(&shelf)) && self.retire_oldest(disk, &mut shelf, writer.current_segment().as_ref())
            {
                again = false;
            }
        }
        let is_empty = |shelf: &Shelf| shelf.sealed.iter().all(SealedFile::is_marker);
        while is_empty(&shelf) && shelf.segments.first().is_some_and(|oldest| is_old(oldest)) {
            let oldest = Arc::clone(&shelf.segments[0]);
            if writer.is_current(&oldest) {
                writer.current = None;
            }
            shelf.segments.remove(0);
            self.shelf.store(Arc::new(shelf.clone()));
            if let (Some(disk), Some(file)) = (&self.disk, oldest.file()) {
                remove(disk, &file.path, file.bytes);
            }
        }
        if let Some(disk) = &self.disk {
            self.mark_end(disk, &mut shelf, now);
        }
        self.shelf.store(Arc::new(shelf));
        drop(writer);
        if let Some(disk) = &self.disk
            && self.has_no_room.swap(false, Ordering::Relaxed)
        {
            self.return_to_disk();
            disk.errands.send(Errand::Seal(self.me.clone()));
        }
    }

    /// Keeps the place of a ring that has become empty, so that its sequence numbers go on after a restart.
    fn mark_end(&self, disk: &DiskRing, shelf: &mut Shelf, now: i64) {
        let next = self.next_sequence();
        if next == 1 || !shelf.segments.is_empty() || !shelf.sealed.is_empty() {
            return;
        }
        match disk.home.write_marker(&disk.header(next, shelf.incarnation, 0), now) {
            Ok(marker) => {
                disk.allowance.take_anyway(marker.bytes);
                shelf.sealed = Arc::new(vec![marker]);
            }
            // A restart then starts a new incarnation.
            Err(error) => self.note_failure(disk, &error),
        }
    }

    /// Lets the next record start a segment in a file, if the present one is in memory only.
    pub(crate) fn return_to_disk(&self) {
        let mut writer = self.lock();
        if self.disk.is_some() && writer.current_segment().is_some_and(|segment| segment.is_in_memory_only()) {
            writer.current = None;
        }
    }

    /// Waits until what is recorded so far is on the disk.
    pub(crate) fn sync(&self) {
        let next = self.next_sequence();
        if self.disk.is_none() || self.synced.swap(next, Ordering::Relaxed) == next {
            return;
        }
        for segment in &self.shelf().segments {
            // A disk that fails is noticed when the next file is made.
            let _ = segment.sync();
        }
    }

    /// Seals all up to the last segment that is in memory only.
    pub(crate) fn seal_what_is_in_memory(&self) {
        self.return_to_disk();
        while self.shelf().segments.iter().any(|segment| segment.is_in_memory_only()) && self.seal_oldest().is_some() {}
    }

    /// Removes the file that was made for the next segment.
    pub(crate) fn discard_spare(&self) {
        if let (Some(disk), Some(spare)) = (&self.disk, self.lock().spare.take()) {
            discard(disk, &spare);
        }
    }
}
