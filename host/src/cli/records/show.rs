//! The newest records of all extensions that were chosen, by time.

use std::ops::Range;

use anyhow::{Result, bail};
use glasshouse::records::{Record, record};
use glasshouse::{Clock as _, Cursor, Entry, Order, Query, Stored, StoredExtension, SystemClock};

use super::lines::Shown;
use super::select::Chosen;
use crate::cli::Format;
use crate::output::{self, Paint};

/// A record of some extension.
pub(super) struct Found {
    pub(super) extension: usize,
    pub(super) entry: Entry,
}

/// Shows what was chosen, in the order of the query, or else with the newest last, as a terminal is read.
pub(super) fn show<T: Record + Shown>(chosen: &Chosen, format: Format) -> Result<()> {
    show_those::<T>(chosen, format, |_, _| true)
}

/// The same, but only those of an extension that pass.
pub(super) fn show_those<T: Record + Shown>(
    chosen: &Chosen,
    format: Format,
    passes: impl Fn(&str, &T) -> bool,
) -> Result<()> {
    let extensions = chosen.extensions()?;
    let (mut found, missing) = find::<T>(chosen, &chosen.query)?;
    if chosen.query.given_order().is_none() {
        found.reverse();
    }
    let printer = Printer::new(format, &extensions);
    // One reader for all records of an extension: a new one looks through all files for its first cursor.
    let records: Vec<_> = extensions.iter().map(StoredExtension::records::<T>).collect();
    for Found { extension, entry } in &found {
        let (extension, records) = (&extensions[*extension], &records[*extension]);
        if let Some(record) = record::<T>(entry).filter(|record| passes(extension.id(), record)) {
            printer.print(extension.id(), || records.cursor(entry.sequence()), &record)?;
        }
    }
    if missing > 0 {
        output::note(format_args!("{missing} records between these are missing: what was stored of them is damaged"));
    }
    if found.is_empty() {
        output::note("nothing is stored that fits");
    } else if found.len() == chosen.limit && chosen.query.limit().is_none() {
        output::note(format_args!("these are {}; --limit shows more", chosen.limit));
    }
    Ok(())
}

/// The first records in the query's order, of all extensions by time; and how many between them are missing, which only a
/// query for all records can tell.
pub(super) fn find<T: Record>(chosen: &Chosen, query: &Query) -> Result<(Vec<Found>, u64)> {
    let (mut found, mut missing) = (Vec::new(), 0);
    for (index, extension) in chosen.extensions()?.iter().enumerate() {
        let entries = extension.records::<T>().reader().search(extension.id(), query, chosen.limit);
        if let (true, [first, .., last]) = (query.wants_all(), &entries[..]) {
            missing += first.sequence().abs_diff(last.sequence()) + 1 - entries.len() as u64;
        }
        found.extend(entries.into_iter().map(|entry| Found { extension: index, entry }));
    }
    // Records of one extension stay in the order of their sequence numbers where the clock stood still or went back.
    match query.order() {
        Order::OldestFirst => found.sort_by_key(|found| found.entry.time()),
        Order::NewestFirst => found.sort_by_key(|found| std::cmp::Reverse(found.entry.time())),
    }
    found.truncate(chosen.limit);
    Ok((found, missing))
}

/// Records of an extension with certain sequence numbers.
pub(super) struct Among<'a> {
    pub(super) extension: &'a StoredExtension,
    pub(super) sequences: Range<u64>,
    pub(super) query: &'a Query,
    pub(super) limit: usize,
}

/// Shows the newest of them that the query asks for, in its order, or else with the newest last, below a head that gets their number;
/// nothing at all if there are none.
pub(super) fn show_among<T: Record + Shown>(
    among: &Among<'_>,
    head: impl FnOnce(usize) -> std::io::Result<()>,
    format: Format,
) -> Result<()> {
    let Among { extension, sequences, query, limit } = among;
    let records = extension.records::<T>();
    let mut found = records.reader().search_among(sequences.clone(), extension.id(), query, *limit);
    if query.given_order().is_none() {
        found.reverse();
    }
    if found.is_empty() {
        return Ok(());
    }
    head(found.len())?;
    let printer = Printer::new(format, &[]);
    for entry in &found {
        if let Some(record) = record::<T>(entry) {
            printer.print(extension.id(), || records.cursor(entry.sequence()), &record)?;
        }
    }
    Ok(())
}

/// Shows a record with those before and after it.
pub(super) fn around<T: Record + Shown>(
    stored: &Stored,
    cursor: &Cursor,
    before: usize,
    after: usize,
    format: Format,
) -> Result<()> {
    let extension = stored.extension(&cursor.extension);
    let records = extension.records::<T>();
    let signal = records.reader().signal();
    if cursor.signal != signal {
        bail!("the cursor is one of {}, and not of {signal}", cursor.signal);
    }
    let entries = records.reader().around(cursor.sequence, before, after);
    if entries.is_empty() {
        bail!("the record is not there any more: it was over the bounds of [retention], or was damaged");
    }
    let printer = Printer::new(format, &[]);
    for entry in &entries {
        if let Some(record) = record::<T>(entry) {
            printer.print(extension.id(), || records.cursor(entry.sequence()), &record)?;
        }
    }
    Ok(())
}

/// Prints records one by one.
pub(super) struct Printer {
    format: Format,
    /// The width of the extensions' ids, if lines say whose they are.
    ids: Option<usize>,
    /// Lines of other days have their date.
    today: String,
    paint: Paint,
}

impl Printer {
    pub(super) fn new(format: Format, extensions: &[StoredExtension]) -> Self {
        let widest = extensions.iter().map(|extension| extension.id().len()).max();
        let ids = widest.filter(|_| extensions.len() > 1);
        Self { format, ids, today: SystemClock::new().now().date(), paint: Paint::stdout() }
    }

    pub(super) fn print<T: Shown>(
        &self,
        extension: &str,
        cursor: impl FnOnce() -> Cursor,
        record: &T,
    ) -> std::io::Result<()> {
        #[derive(serde::Serialize)]
        struct Line<'a, T> {
            extension: &'a str,
            cursor: String,
            #[serde(flatten)]
            record: &'a T,
        }
        match self.format {
            Format::Json => output::json(&Line { extension, cursor: cursor().to_string(), record }),
            Format::Table => {
                let id = self.ids.map(|width| self.paint.bold(&format!("{extension:<width$} "))).unwrap_or_default();
                let date = Some(record.time().date()).filter(|date| *date != self.today);
                let date = date.map(|date| self.paint.dim(&format!("{date} "))).unwrap_or_default();
                output::line(format_args!("{id}{date}{}", record.line(self.paint)))
            }
        }
    }

    /// Says that records are missing.
    pub(super) fn print_gap(&self, extension: &str, missed: u64, why: &str) -> std::io::Result<()> {
        match self.format {
            Format::Json => output::json(&serde_json::json!({
                "extension": extension, "gap": {"missed": missed, "cause": why},
            })),
            Format::Table => {
                let text = format!("{extension}: {missed} records are missing here: {why}");
                output::line(self.paint.yellow(&text))
            }
        }
    }
}
