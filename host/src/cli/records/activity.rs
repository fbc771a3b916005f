//! `glasshouse activity`: all that extensions did for one user or tenant, in the order in which it happened.

use anyhow::Result;
use clap::Args;
use glasshouse::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, SpanRecord};
use glasshouse::{Order, Query, Signal, UnixNanos};

use super::printer::Printer;
use super::select::{Conditions, Selection};
use super::store::{Kind, Question, StoreOf};
use crate::cli::{Exit, RecordFormat, UsageError};
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
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        let mut whose = Query::all();
        for (what, name) in [("user", &self.user), ("tenant", &self.tenant)] {
            if let Some(name) = name {
                let query = Query::equal(what, name).map_err(|error| UsageError(error.to_string()))?;
                whose = whose.and(&query);
            }
        }
        let chosen = self.selection.chosen(&Conditions::new(&self.query)).await?;
        let question = chosen.question.and(&whose);
        let extensions = chosen.extensions().await?;
        let mut all = Vec::new();
        for (index, extension) in extensions.iter().enumerate() {
            let mut looking = Looking { question: &question, limit: chosen.limit, extension, index, all: &mut all };
            looking.look::<InvocationRecord>().await?;
            looking.look::<SpanRecord>().await?;
            looking.look::<LogRecord>().await?;
            looking.look::<ErrorRecord>().await?;
            looking.look::<AlertRecord>().await?;
        }
        all.sort_by_key(|one| one.time);
        let surplus = all.len().saturating_sub(chosen.limit);
        match question.query.order() {
            Order::NewestFirst => drop(all.drain(..surplus)),
            Order::OldestFirst => all.truncate(chosen.limit),
        }
        let printer = Printer::new(format, &extensions, &SIGNALS)?;
        for one in &all {
            (one.print)(&printer, extensions[one.extension].id())?;
        }
        if all.is_empty() {
            output::note("nothing is stored that fits");
        } else if surplus > 0 {
            output::note(format_args!("these are {} of more; --limit shows more", chosen.limit));
        }
        Ok(Exit::Ok)
    }
}

/// The signals whose records are somebody's doing.
const SIGNALS: [Signal; 5] = [Signal::Invocation, Signal::Span, Signal::Log, Signal::Error, Signal::Alert];

/// Prints a record of an extension's.
type Print = dyn Fn(&Printer, &str) -> std::io::Result<()>;

/// A record of any signal.
struct Happened {
    time: UnixNanos,
    extension: usize,
    print: Box<Print>,
}

struct Looking<'a> {
    question: &'a Question,
    limit: usize,
    extension: &'a StoreOf,
    index: usize,
    all: &'a mut Vec<Happened>,
}

impl Looking<'_> {
    /// Finds what there is of one signal.
    async fn look<T: Kind + 'static>(&mut self) -> Result<()> {
        let records = self.extension.records::<T>();
        for found in self.extension.search::<T>(self.question, self.limit).await? {
            let records = records.clone();
            self.all.push(Happened {
                time: found.record.time(),
                extension: self.index,
                print: Box::new(move |printer, id| printer.print(id, records.as_ref(), &found)),
            });
        }
        Ok(())
    }
}
