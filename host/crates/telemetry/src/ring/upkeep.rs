//! What the keeper and the maker of files do for a ring, on their own threads: files made ahead, sealing, cleanup, and the return to the disk.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use std::{fs, io};

use super::{DiskRing, Ring, Shelf, no_room};
use crate::ended::Stand;
use crate::header::{FLAG_CONTINUED_IN_MEMORY, Header};
use crate::home::Part;
use crate::pack::pack;
use crate::sealed::{Packer, SealedFile};
use crate::segment::{Segment, SegmentFile};
use crate::shares::TRIES;

/// A sealed file of fewer bytes is continued by the next segment, so that many starts do not leave many small files.
const CONTINUED_BELOW_BYTES: u64 = 64 * 1024;

impl Ring {
    /// Makes the file of the next segment, so that the writer need not. The writer is held up for as long as it takes to
    /// look at the shelf.
    pub(crate) fn prepare(&self) {
        let Some(disk) = self.disk.as_ref().filter(|disk| !disk.disk.is_failing()) else { return };
        let bytes = {
            let writer = self.lock();
            if writer.spare.is_some() {
                return;
            }
            writer.next_bytes
        };
        if let Err(error) = self.make_room(disk, bytes as u64) {
            return self.note_failure(disk, &error);
        }
        let number = self.next_number(&mut self.lock());
        match disk.home.make_file(number, bytes) {
            Ok(file) => {
                file.populate();
                self.put_aside(disk, file, number);
            }
            Err(error) => {
                disk.allowance.give_back(bytes as u64);
                self.note_failure(disk, &error);
            }
        }
    }

    /// Lays a file ready for the writer. One that could not wait has made others meanwhile, and since files are used in the
    /// order of their numbers, this one gets a later number.
    fn put_aside(&self, disk: &DiskRing, mut file: SegmentFile, mut number: u64) {
        loop {
            let mut writer = self.lock();
            if writer.next_number == number + 1 {
                writer.spare = Some(file);
                return;
            }
            number = self.next_number(&mut writer);
            drop(writer);
            if disk.home.renumber(&mut file, number).is_err() {
                return disk.discard(&file);
            }
        }
    }

    /// Takes so many bytes of what is allowed, after the oldest files have gone as far as that asks for it.
    fn make_room(&self, disk: &DiskRing, bytes: u64) -> io::Result<()> {
        while let Err(refusal) = disk.allowance.take(bytes) {
            if disk.has_others_give(refusal, bytes, TRIES)? {
                continue;
            }
            let has_retired = {
                let writer = self.lock();
                let mut shelf = Shelf::clone(&self.shelf.load());
                self.retire_oldest(&mut shelf, writer.current_segment().as_ref())
            };
            if !disk.remove_what_left() && !has_retired {
                return Err(no_room());
            }
        }
        Ok(())
    }

    /// Gives up its oldest file, for an extension that has less. Tells whether it had one to give; `None` if it is being written to at this
    /// moment: who asks holds the lock of another ring, and must not wait for this one's.
    pub(crate) fn give_up_oldest(&self) -> Option<bool> {
        let Some(disk) = &self.disk else { return Some(false) };
        let has_retired = {
            let writer = self.writer.try_lock().ok()?;
            let mut shelf = Shelf::clone(&self.shelf.load());
            // What is in memory only gives no room on the disk.
            if shelf.sealed.is_empty() && shelf.segments.first().is_none_or(|oldest| oldest.is_in_memory_only()) {
                return Some(false);
            }
            self.retire_oldest(&mut shelf, writer.current_segment().as_ref())
        };
        Some(disk.remove_what_left() || has_retired)
    }

    /// Bytes that its files have.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.allowance.ring.taken())
    }

    /// Writes the oldest full segment to a sealed file. Returns how many bytes it had; `None` if there is none.
    pub(crate) fn seal_oldest(&self) -> Option<usize> {
        self.seal_oldest_in(Self::make_room)
    }

    /// The same, in room that is got in some way.
    fn seal_oldest_in(&self, room: impl FnOnce(&Self, &DiskRing, u64) -> io::Result<()>) -> Option<usize> {
        let disk = self.disk.as_ref().filter(|disk| !disk.disk.is_failing())?;
        let segment = {
            let writer = self.lock();
            let oldest = self.shelf.load().segments.first().cloned()?;
            (!writer.is_current(&oldest)).then_some(oldest)?
        };
        match self.seal(disk, &segment, room) {
            Ok(()) => Some(segment.bytes().len().max(1)),
            Err(error) => {
                self.note_failure(disk, &error);
                None
            }
        }
    }

    fn seal(
        &self,
        disk: &DiskRing,
        segment: &Arc<Segment>,
        room: impl FnOnce(&Self, &DiskRing, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let shelf = self.shelf.load_full();
        let first = segment.first_sequence();
        let Some(last) = segment.frames().last().map(|frame| frame.sequence) else {
            return self.replace(disk, segment, None, None).map(drop);
        };
        // It continues the file before it, if that is small, undamaged and of the same incarnation, which its header tells.
        let continued = shelf.sealed.last().filter(|file| file.bytes < CONTINUED_BELOW_BYTES).and_then(|file| {
            let bytes = file.read().ok().filter(|bytes| bytes.len() as u64 == file.bytes)?;
            let header = Header::decode(&bytes).ok()?;
            (header.incarnation == shelf.incarnation).then_some((file, bytes))
        });
        let header = || disk.header(first, shelf.incarnation, 0).encode().to_vec();
        let (continued, mut begin) = continued.map_or_else(|| (None, header()), |(file, bytes)| (Some(file), bytes));
        let goes_on_in_memory = shelf.segments.get(1).is_some_and(|next| next.is_in_memory_only());
        begin[Header::FLAGS_AT] = if goes_on_in_memory { FLAG_CONTINUED_IN_MEMORY } else { 0 };
        let mut packer = Packer::new(begin)?;
        let newest = pack(&mut packer, disk.home.signal, segment)?.max(continued.map_or(i64::MIN, |file| file.newest));
        let bytes = packer.finish();
        let written = bytes.len() as u64;
        room(self, disk, written)?;
        let first = continued.map_or(first, |file| file.first);
        let replaced = disk.home.write_part(first, last, newest, &bytes);
        let replaced = replaced.and_then(|part| self.replace(disk, segment, continued, Some(part)));
        if !matches!(replaced, Ok(true)) {
            disk.allowance.give_back(written);
        }
        replaced.map(drop)
    }

    /// Puts a sealed file into the place of its segment, and of the file that it continues, and tells whether it did: if those have gone
    /// meanwhile, it goes too. It has its name only from then on, and under the writer's lock, so that nothing newer can go before it.
    fn replace(
        &self,
        disk: &DiskRing,
        segment: &Arc<Segment>,
        continued: Option<&SealedFile>,
        mut part: Option<Part>,
    ) -> io::Result<bool> {
        loop {
            // The list of sealed files may be long: it is copied before the writer is held up.
            let before = self.shelf.load_full();
            let kept = before.sealed.len().saturating_sub(usize::from(continued.is_some()));
            let mut sealed = Vec::with_capacity(kept + 1);
            sealed.extend_from_slice(&before.sealed[..kept]);
            let _writer = self.lock();
            let mut shelf = Shelf::clone(&self.shelf.load());
            if !Arc::ptr_eq(&shelf.sealed, &before.sealed) {
                continue;
            }
            let is_there = shelf.segments.first().is_some_and(|first| Arc::ptr_eq(first, segment))
                && continued.is_none_or(|continued| shelf.sealed.last() == Some(continued));
            if !is_there {
                return Ok(false);
            }
            if let Some(part) = part.take() {
                sealed.push(part.finish()?);
            }
            shelf.segments.remove(0);
            shelf.sealed = Arc::new(sealed);
            self.shelf.store(Arc::new(shelf));
            disk.let_leave(continued.map(SealedFile::on_disk).into_iter().chain(segment.file().cloned()));
            break;
        }
        disk.remove_what_left();
        Ok(true)
    }

    /// Retires what is over its age, or over bounds that were lowered.
    pub(crate) fn clean_up(&self, now: i64) {
        let oldest_wanted = now.saturating_sub(i64::try_from(self.bounds.age.as_nanos()).unwrap_or(i64::MAX));
        if self.has_to_retire(oldest_wanted) {
            self.retire(oldest_wanted);
            if let Some(disk) = &self.disk {
                self.mark_end(disk, now);
                disk.remove_what_left();
            }
        }
        if self.has_no_room.swap(false, Ordering::Relaxed) {
            self.return_to_disk();
        }
    }

    /// Whether there is anything to be cleaned up; the writer is not held up for an answer.
    fn has_to_retire(&self, oldest_wanted: i64) -> bool {
        let shelf = self.shelf.load();
        // One that is empty may have to be marked so.
        shelf.is_empty()
            || self.disk.as_ref().is_some_and(DiskRing::has_too_much)
            || shelf.sealed.first().is_some_and(|file| file.newest < oldest_wanted)
            || (shelf.sealed.iter().all(SealedFile::is_marker)
                && shelf.segments.first().is_some_and(|oldest| is_old(oldest, oldest_wanted)))
    }

    /// Takes what is to go off the shelf; its files are still to be removed.
    fn retire(&self, oldest_wanted: i64) {
        let mut writer = self.lock();
        let mut shelf = Shelf::clone(&self.shelf.load());
        if let Some(disk) = &self.disk {
            let too_much = |bytes: u64| disk.allowance.ring.is_exceeded_without(bytes);
            let is_old = |file: &SealedFile| file.newest < oldest_wanted;
            let going =
                || disk.leaving.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|file| file.bytes).sum();
            // What others have too much of costs this ring one file at a time.
            let mut again = disk.has_too_much();
            while (again || too_much(going()) || shelf.sealed.first().is_some_and(is_old))
                && self.retire_oldest(&mut shelf, writer.current_segment().as_ref())
            {
                again = false;
            }
        }
        let mut files = Vec::new();
        while shelf.sealed.iter().all(SealedFile::is_marker)
            && shelf.segments.first().is_some_and(|oldest| is_old(oldest, oldest_wanted))
        {
            let oldest = shelf.segments.remove(0);
            if writer.is_current(&oldest) {
                writer.current = None;
            }
            files.extend(oldest.file().cloned());
        }
        self.shelf.store(Arc::new(shelf));
        if let Some(disk) = &self.disk {
            disk.let_leave(files);
        }
    }

    /// Keeps the place of a ring that has become empty, so that its sequence numbers go on after a restart.
    fn mark_end(&self, disk: &DiskRing, now: i64) {
        let shelf = self.shelf.load_full();
        let next = self.next_sequence();
        if next == 1 || !shelf.is_empty() {
            return;
        }
        match disk.home.write_marker(&disk.header(next, shelf.incarnation, 0), now) {
            Ok(marker) => {
                let writer = self.lock();
                let shelf = Shelf::clone(&self.shelf.load());
                if shelf.is_empty() {
                    disk.allowance.take_anyway(marker.bytes);
                    self.shelf.store(Arc::new(Shelf { sealed: Arc::new(vec![marker]), ..shelf }));
                } else {
                    // A record has come meanwhile, and its file tells the same.
                    drop(writer);
                    let _ = fs::remove_file(marker.path());
                }
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
        drop(writer);
        self.ask_to_seal();
    }

    /// Notes that the keeper begins to seal.
    pub(crate) fn take_errand(&self) {
        self.seal_asked.store(false, Ordering::Relaxed);
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

    /// Seals all that there is, what is being written to as well, and makes it safe against the loss of power; what there is no time for stays
    /// in its files. A record that comes yet starts another segment.
    pub(crate) fn finish(&self, by: Instant) {
        self.lock().current = None;
        if self.shelf().segments.is_empty() {
            return;
        }
        // What is sealed takes less than the file that it stands for, which goes at once: no older one has to go for it.
        let room = |_: &Self, disk: &DiskRing, bytes| {
            disk.allowance.take_anyway(bytes);
            Ok(())
        };
        while Instant::now() < by && self.seal_oldest_in(room).is_some() {}
        self.discard_spare();
        if let Some(disk) = self.disk.as_ref().filter(|_| Instant::now() < by) {
            self.sync();
            disk.home.sync();
        }
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.disk.as_ref().map(|disk| &*disk.home.folder)
    }

    /// Where it stands, and its folder, if all that it was given is sealed.
    pub(crate) fn stand(&self) -> Option<(Arc<Path>, Stand)> {
        let disk = self.disk.as_ref()?;
        let _writer = self.lock();
        let shelf = self.shelf.load();
        let stand = Stand { incarnation: shelf.incarnation.id, next_sequence: self.next_sequence() };
        (shelf.segments.is_empty() && !shelf.sealed.is_empty()).then(|| (Arc::clone(&disk.home.folder), stand))
    }

    /// Seals all up to the last segment that is in memory only.
    pub(crate) fn seal_what_is_in_memory(&self) {
        self.return_to_disk();
        while self.shelf().segments.iter().any(|segment| segment.is_in_memory_only()) && self.seal_oldest().is_some() {}
    }

    /// Removes the file that was made for the next segment.
    pub(crate) fn discard_spare(&self) {
        if let (Some(disk), Some(spare)) = (&self.disk, self.lock().spare.take()) {
            disk.discard(&spare);
        }
    }
}

fn is_old(segment: &Segment, oldest_wanted: i64) -> bool {
    segment.frames().last().is_some_and(|frame| frame.time < oldest_wanted)
}
