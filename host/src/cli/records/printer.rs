//! Prints records one by one: as lines for a person, as JSON, or as comma-separated values.

use std::io;

use glasshouse::export::csv::Rows;
use glasshouse::records::{Record, Records};
use glasshouse::{Clock as _, Signal, SystemClock};
use serde::Serialize;

use super::lines::Shown;
use super::store::{Found, StoreOf};
use crate::cli::RecordFormat;
use crate::output::{self, Paint};

pub(super) struct Printer {
    format: RecordFormat,
    rows: Rows,
    /// Whether a line of comma-separated values says what it is of.
    names_signals: bool,
    /// The width of the extensions' ids, if lines say whose they are.
    ids: Option<usize>,
    /// Lines of other days have their date.
    today: String,
    paint: Paint,
}

impl Printer {
    /// For records of these signals of these extensions.
    pub(super) fn new(format: RecordFormat, extensions: &[StoreOf], signals: &[Signal]) -> io::Result<Self> {
        let widest = extensions.iter().map(|extension| extension.id().len()).max();
        let ids = widest.filter(|_| extensions.len() > 1);
        let rows = Rows::of(signals);
        if format == RecordFormat::Csv {
            let mut head = Vec::new();
            rows.head(&mut head);
            output::bytes(&head)?;
        }
        let (today, paint) = (SystemClock::new().now().date(), Paint::stdout());
        Ok(Self { format, rows, names_signals: signals.len() > 1, ids, today, paint })
    }

    /// Prints a record; `records` gives the cursor of one that no host has told.
    pub(super) fn print<T: Record + Shown>(
        &self,
        extension: &str,
        records: Option<&Records<T>>,
        found: &Found<T>,
    ) -> io::Result<()> {
        let Found { record, json } = found;
        match self.format {
            RecordFormat::Json => match json {
                Some(json) => output::raw_json(json),
                None => output::json(&Line::new(extension, records, record)),
            },
            RecordFormat::Csv => {
                let told = match json {
                    Some(json) => serde_json::from_str(json.get()),
                    None => serde_json::to_value(Line::new(extension, records, record)),
                };
                let serde_json::Value::Object(mut object) = told? else { return Ok(()) };
                if self.names_signals {
                    object.insert("signal".to_owned(), T::SIGNAL.as_str().into());
                }
                let mut row = Vec::new();
                self.rows.row(object, &mut row);
                output::bytes(&row)
            }
            RecordFormat::Table => {
                let id = self.ids.map(|width| self.paint.bold(&format!("{extension:<width$} "))).unwrap_or_default();
                let date = Some(record.time().date()).filter(|date| *date != self.today);
                let date = date.map(|date| self.paint.dim(&format!("{date} "))).unwrap_or_default();
                output::line(format_args!("{id}{date}{}", record.line(self.paint)))
            }
        }
    }

    /// Says that records are missing.
    pub(super) fn print_gap(&self, extension: &str, missed: u64, why: &str) -> io::Result<()> {
        let text = format!("{extension}: {missed} records are missing here: {why}");
        match self.format {
            RecordFormat::Json => output::json(&serde_json::json!({
                "extension": extension, "gap": {"missed": missed, "cause": why},
            })),
            RecordFormat::Csv => {
                output::warn(text);
                Ok(())
            }
            RecordFormat::Table => output::line(self.paint.yellow(&text)),
        }
    }
}

/// A record as a host tells it.
#[derive(Serialize)]
struct Line<'a, T> {
    extension: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(flatten)]
    record: &'a T,
}

impl<'a, T: Record + Shown> Line<'a, T> {
    fn new(extension: &'a str, records: Option<&Records<T>>, record: &'a T) -> Self {
        let cursor = records.map(|records| records.cursor(record.head().sequence).to_string());
        Self { extension, cursor, record }
    }
}
