//! The newest records of all extensions that were chosen, by time.

use std::ops::Range;

use anyhow::{Result, bail};
use glasshouse::{Cursor, Order};

use super::printer::Printer;
use super::select::Chosen;
use super::store::{Found, Kind, Question, Store, StoreOf};
use crate::cli::RecordFormat;
use crate::output;

/// Shows what was chosen, in the order of the query, or else with the newest last, as a terminal is read.
pub(super) async fn show<T: Kind>(chosen: &Chosen, format: RecordFormat) -> Result<()> {
    show_those::<T>(chosen, format, |_, _| true).await
}

/// The same, but only those of an extension that pass.
pub(super) async fn show_those<T: Kind>(
    chosen: &Chosen,
    format: RecordFormat,
    passes: impl Fn(&str, &T) -> bool,
) -> Result<()> {
    let extensions = chosen.extensions().await?;
    let (mut found, missing) = find::<T>(chosen, &extensions).await?;
    if chosen.question.query.given_order().is_none() {
        found.reverse();
    }
    let printer = Printer::new(format, &extensions, &[T::SIGNAL])?;
    // One reader for all records of an extension: a new one looks through all files for its first cursor.
    let records: Vec<_> = extensions.iter().map(StoreOf::records::<T>).collect();
    for (index, found) in &found {
        let id = extensions[*index].id();
        if passes(id, &found.record) {
            printer.print(id, records[*index].as_ref(), found)?;
        }
    }
    if missing > 0 {
        output::note(format_args!("{missing} records between these are missing: what was stored of them is damaged"));
    }
    if found.is_empty() {
        output::note("nothing is stored that fits");
    } else if found.len() == chosen.limit && chosen.question.query.limit().is_none() {
        output::note(format_args!("these are {}; --limit shows more", chosen.limit));
    }
    Ok(())
}

/// Records, and by their places among extensions whose they are.
type Placed<T> = Vec<(usize, Found<T>)>;

/// The first records in the query's order, of all extensions by time; and how many between them are missing, which only a
/// query for all records can tell.
pub(super) async fn find<T: Kind>(chosen: &Chosen, extensions: &[StoreOf]) -> Result<(Placed<T>, u64)> {
    let Question { query, .. } = &chosen.question;
    let (mut all, mut missing) = (Vec::new(), 0);
    for (index, extension) in extensions.iter().enumerate() {
        let found = extension.search::<T>(&chosen.question, chosen.limit).await?;
        if let (true, [first, .., last]) = (query.wants_all(), &found[..]) {
            let sequence = |found: &Found<T>| found.record.head().sequence;
            missing += (sequence(first).abs_diff(sequence(last)) + 1).saturating_sub(found.len() as u64);
        }
        all.extend(found.into_iter().map(|found| (index, found)));
    }
    // Records of one extension stay in the order of their sequence numbers where the clock stood still or went back.
    match query.order() {
        Order::OldestFirst => all.sort_by_key(|(_, found)| found.record.time()),
        Order::NewestFirst => all.sort_by_key(|(_, found)| std::cmp::Reverse(found.record.time())),
    }
    all.truncate(chosen.limit);
    Ok((all, missing))
}

/// Records of an extension with certain sequence numbers.
pub(super) struct Among<'a> {
    pub(super) extension: &'a StoreOf,
    pub(super) sequences: Range<u64>,
    pub(super) question: &'a Question,
    pub(super) limit: usize,
}

/// Shows the newest of them that the query asks for, in its order, or else with the newest last, below a head that gets their number;
/// nothing at all if there are none.
pub(super) async fn show_among<T: Kind>(
    among: &Among<'_>,
    head: impl FnOnce(usize) -> std::io::Result<()>,
    printer: &Printer,
) -> Result<()> {
    let Among { extension, sequences, question, limit } = among;
    let mut found = extension.search_among::<T>(sequences.clone(), question, *limit).await?;
    if question.query.given_order().is_none() {
        found.reverse();
    }
    if found.is_empty() {
        return Ok(());
    }
    head(found.len())?;
    print(printer, extension, &found)
}

/// Shows a record with those before and after it.
pub(super) async fn around<T: Kind>(
    store: &Store,
    cursor: &Cursor,
    before: usize,
    after: usize,
    format: RecordFormat,
) -> Result<()> {
    is_of::<T>(cursor)?;
    let extension = store.extension(&cursor.extension);
    let found = extension.around::<T>(cursor, before, after).await?;
    if found.is_empty() {
        bail!("the record is not there any more: it was over the bounds of [retention], or was damaged");
    }
    print(&Printer::new(format, &[], &[T::SIGNAL])?, &extension, &found)
}

/// Refuses a cursor of another signal.
pub(super) fn is_of<T: Kind>(cursor: &Cursor) -> Result<()> {
    if cursor.signal != T::SIGNAL {
        bail!("the cursor is one of {}, and not of {}", cursor.signal, T::SIGNAL);
    }
    Ok(())
}

fn print<T: Kind>(printer: &Printer, extension: &StoreOf, found: &[Found<T>]) -> Result<()> {
    let records = extension.records::<T>();
    for found in found {
        printer.print(extension.id(), records.as_ref(), found)?;
    }
    Ok(())
}
