//! `glasshouse activity`: all that extensions did for one user or tenant, in the order in which it happened.

use anyhow::Result;
use clap::Args;
use glasshouse::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, Record, Records, SpanRecord};
use glasshouse::{Order, Query, StoredExtension, UnixNanos};

use super::lines::Shown;
use super::select::{Chosen, Conditions, Selection};
use super::show::Printer;
use crate::cli::{Exit, Format, UsageError};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  glasshouse activity --user u1 --data-dir data
  glasshouse activity --tenant acme --data-dir data 'since 1h' --format json";

/// Show all that extensions did for one user or tenant
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Activity {
    #[command(flatten)]
    selection: Selection,
    /// On whose behalf
    #[arg(long, value_name = "USER", required_unless_present = "tenant")]
    user: Option<String>,
    /// For which customer
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

impl Activity {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        let mut whose = Query::all();
        for (what, name) in [("user", &self.user), ("tenant", &self.tenant)] {
            if let Some(name) = name {
                let query = Query::equal(what, name).map_err(|error| UsageError(error.to_string()))?;
                whose = whose.and(&query);
            }
        }
        let chosen = self.selection.chosen(&Conditions::new(&self.query))?;
        let query = chosen.query.and(&whose);
        let extensions = chosen.extensions()?;
        let mut found = Vec::new();
        for (index, extension) in extensions.iter().enumerate() {
            let mut looking = Looking { query: &query, chosen: &chosen, extension, index, found: &mut found };
            looking.look::<InvocationRecord>();
            looking.look::<SpanRecord>();
            looking.look::<LogRecord>();
            looking.look::<ErrorRecord>();
            looking.look::<AlertRecord>();
        }
        found.sort_by_key(|found| found.time);
        let surplus = found.len().saturating_sub(chosen.limit);
        match query.order() {
            Order::NewestFirst => drop(found.drain(..surplus)),
            Order::OldestFirst => found.truncate(chosen.limit),
        }
        let printer = Printer::new(format, &extensions);
        for one in &found {
            (one.print)(&printer, extensions[one.extension].id())?;
        }
        if found.is_empty() {
            output::note("nothing is stored that fits");
        } else if surplus > 0 {
            output::note(format_args!("these are {} of more; --limit shows more", chosen.limit));
        }
        Ok(Exit::Ok)
    }
}

/// Prints a record of an extension's.
type Print = dyn Fn(&Printer, &str) -> std::io::Result<()>;

/// A record of any signal.
struct Found {
    time: UnixNanos,
    extension: usize,
    print: Box<Print>,
}

struct Looking<'a> {
    query: &'a Query,
    chosen: &'a Chosen,
    extension: &'a StoredExtension,
    index: usize,
    found: &'a mut Vec<Found>,
}

impl Looking<'_> {
    /// Finds what there is of one signal.
    fn look<T: Record + Shown + 'static>(&mut self) {
        let records: Records<T> = self.extension.records();
        for record in records.search(self.query, self.chosen.limit) {
            let records = records.clone();
            self.found.push(Found {
                time: record.time(),
                extension: self.index,
                print: Box::new(move |printer, id| {
                    printer.print(id, || records.cursor(record.head().sequence), &record)
                }),
            });
        }
    }
}
