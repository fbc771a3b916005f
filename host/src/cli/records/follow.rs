//! Following: the newest records, and then each new one, none lost or doubled, until Ctrl-C.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use glasshouse::records::{Records, record};
use glasshouse::{Cursor, Stored, StoredExtension};

use super::listen;
use super::printer::Printer;
use super::select::Chosen;
use super::show::{find, is_of};
use super::store::{Found, Kind, Store, StoreOf};
use crate::cli::RecordFormat;

/// How long a record waits to be looked for, at most.
const POLL: Duration = Duration::from_millis(20);
/// How often new extensions are looked for.
const LOOK_FOR_NEW: Duration = Duration::from_secs(1);
/// Records that are read at once.
const PAGE: usize = 10_000;

/// Why records are missing whose number nobody knows.
pub(super) const MEMORY_LOST: &str = "an earlier host's memory was lost, with what was not yet on the disk";

/// One extension that is followed.
struct Followed<T> {
    extension: StoredExtension,
    records: Records<T>,
    next: u64,
}

/// Shows what was chosen and goes on, from a cursor if there is one.
pub(super) async fn follow<T: Kind>(chosen: &Chosen, after: Option<&Cursor>, format: RecordFormat) -> Result<()> {
    if let Some(cursor) = after {
        is_of::<T>(cursor)?;
    }
    let extensions = chosen.extensions().await?;
    let printer = Printer::new(format, &extensions, &[T::SIGNAL])?;
    match &chosen.store {
        Store::Folder(stored) => follow_stored::<T>(chosen, stored, &extensions, after, &printer).await,
        Store::Host(client) => listen::follow::<T>(chosen, client, &extensions, after, &printer).await,
    }
}

async fn follow_stored<T: Kind>(
    chosen: &Chosen,
    stored: &Stored,
    extensions: &[StoreOf],
    after: Option<&Cursor>,
    printer: &Printer,
) -> Result<()> {
    let mut followed = BTreeMap::new();
    match after {
        Some(cursor) => {
            let mut from = Followed::<T>::new(stored.extension(&cursor.extension));
            let (next, lost) = from.records.reader().resume(cursor);
            if lost {
                printer.print_gap(&cursor.extension, 0, MEMORY_LOST)?;
            }
            from.next = next;
            followed.insert(cursor.extension.clone(), from);
        }
        None => start(chosen, extensions, printer, &mut followed).await?,
    }
    let mut looked = Instant::now();
    loop {
        let mut idle = true;
        for one in followed.values_mut() {
            idle &= !one.go_on(chosen, printer)?;
        }
        if after.is_none() && looked.elapsed() >= LOOK_FOR_NEW {
            looked = Instant::now();
            for extension in chosen.extensions().await? {
                if let Some(stored) = extension.stored() {
                    followed.entry(extension.id().to_owned()).or_insert_with(|| Followed::new(stored.clone()));
                }
            }
        }
        if idle {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Shows the newest records, and notes where to go on.
async fn start<T: Kind>(
    chosen: &Chosen,
    extensions: &[StoreOf],
    printer: &Printer,
    followed: &mut BTreeMap<String, Followed<T>>,
) -> Result<()> {
    for extension in extensions {
        let Some(stored) = extension.stored() else { continue };
        let mut one = Followed::<T>::new(stored.clone());
        one.next = one.records.reader().next_sequence();
        followed.insert(extension.id().to_owned(), one);
    }
    let (mut all, _) = find::<T>(chosen, extensions).await?;
    all.sort_by_key(|(_, found)| found.record.time());
    for (index, found) in &all {
        let id = extensions[*index].id();
        // What came since is shown when it is gone on from there.
        if let Some(one) = followed.get(id).filter(|one| found.record.head().sequence < one.next) {
            printer.print(id, Some(&one.records), found)?;
        }
    }
    Ok(())
}

impl<T: Kind> Followed<T> {
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
            let asks_for = chosen.question.query.asks_for(reader.signal(), self.extension.id(), entry);
            if asks_for && let Some(record) = record::<T>(entry) {
                printer.print(self.extension.id(), Some(&self.records), &Found::stored(record))?;
            }
        }
        self.next = page.next_sequence;
        Ok(!page.entries.is_empty())
    }
}
