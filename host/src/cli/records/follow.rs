//! Following: the newest records, and then each new one, none lost or doubled, until Ctrl-C.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use glasshouse::records::{Record, Records, record};
use glasshouse::{Cursor, StoredExtension};

use super::lines::Shown;
use super::select::Chosen;
use super::show::{Printer, find};
use crate::cli::Format;

/// How long a record waits to be looked for, at most.
const POLL: Duration = Duration::from_millis(20);
/// How often new extensions are looked for.
const LOOK_FOR_NEW: Duration = Duration::from_secs(1);
/// Records that are read at once.
const PAGE: usize = 10_000;

/// One extension that is followed.
struct Followed<T> {
    extension: StoredExtension,
    records: Records<T>,
    next: u64,
}

/// Shows what was chosen and goes on, from a cursor if there is one.
pub(super) fn follow<T: Record + Shown>(chosen: &Chosen, after: Option<&Cursor>, format: Format) -> Result<()> {
    let mut followed = BTreeMap::new();
    let printer = Printer::new(format, &chosen.extensions()?);
    match after {
        Some(cursor) => {
            let mut from = Followed::<T>::new(chosen.stored.extension(&cursor.extension));
            let signal = from.records.reader().signal();
            if cursor.signal != signal {
                bail!("the cursor is one of {}, and not of {signal}", cursor.signal);
            }
            let (next, lost) = from.records.reader().resume(cursor);
            if lost {
                printer.print_gap(
                    &cursor.extension,
                    0,
                    "an earlier host's memory was lost, with what was not yet on the disk",
                )?;
            }
            from.next = next;
            followed.insert(cursor.extension.clone(), from);
        }
        None => start(chosen, &printer, &mut followed)?,
    }
    let mut looked = Instant::now();
    loop {
        let mut idle = true;
        for one in followed.values_mut() {
            idle &= !one.go_on(chosen, &printer)?;
        }
        if after.is_none() && looked.elapsed() >= LOOK_FOR_NEW {
            looked = Instant::now();
            for extension in chosen.extensions()? {
                let id = extension.id().to_owned();
                followed.entry(id).or_insert_with(|| Followed::new(extension));
            }
        }
        if idle {
            std::thread::sleep(POLL);
        }
    }
}

/// Shows the newest records, and notes where to go on.
fn start<T: Record + Shown>(
    chosen: &Chosen,
    printer: &Printer,
    followed: &mut BTreeMap<String, Followed<T>>,
) -> Result<()> {
    let extensions = chosen.extensions()?;
    for extension in &extensions {
        let mut one = Followed::<T>::new(extension.clone());
        one.next = one.records.reader().next_sequence();
        followed.insert(extension.id().to_owned(), one);
    }
    let (mut found, _) = find::<T>(chosen, &chosen.query)?;
    found.sort_by_key(|found| found.entry.time());
    for found in &found {
        let extension = &extensions[found.extension];
        let Some(one) = followed.get(extension.id()) else { continue };
        // What came since is shown when it is gone on from there.
        if found.entry.sequence() < one.next
            && let Some(record) = record::<T>(&found.entry)
        {
            printer.print(extension.id(), || one.records.cursor(found.entry.sequence()), &record)?;
        }
    }
    Ok(())
}

impl<T: Record + Shown> Followed<T> {
    fn new(extension: StoredExtension) -> Self {
        let records = extension.records();
        Self { extension, records, next: 1 }
    }

    /// Shows what is new; returns whether anything was.
    fn go_on(&mut self, chosen: &Chosen, printer: &Printer) -> Result<bool> {
        let reader = self.records.reader();
        let page = reader.page(self.next, PAGE);
        for gap in &page.gaps {
            printer.print_gap(self.extension.id(), gap.last - gap.first + 1, gap.cause.as_str())?;
        }
        for entry in &page.entries {
            let matches = entry
                .body()
                .is_ok_and(|body| chosen.query.matches(reader.signal(), self.extension.id(), &entry.envelope(), &body));
            if matches && let Some(record) = record::<T>(entry) {
                printer.print(self.extension.id(), || self.records.cursor(entry.sequence()), &record)?;
            }
        }
        self.next = page.next_sequence;
        Ok(!page.entries.is_empty())
    }
}
