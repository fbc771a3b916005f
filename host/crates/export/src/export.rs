//! An export as a whole: what it takes, what it tells while it runs, and how it ends.

use std::io::{self, Write};
use std::ops::ControlFlow;

use glasshouse_telemetry::Query;

use crate::walk::Walk;
use crate::{Format, Source, What, csv, jaeger, json, otlp, prometheus};

/// What is to be written.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// Where records come from; they are written source by source.
    pub sources: &'a [Source],
    /// Which of them.
    pub what: What,
    /// In which format.
    pub format: Format,
    /// The records that are wanted. Its limit counts anew for each signal of each source; of traces it counts traces. Without an order the oldest
    /// record comes first, and where there is a limit it is the newest that are taken.
    pub query: &'a Query,
    /// A limit beside that of the query, for more than a query can ask for.
    pub limit: Option<usize>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records that were looked at.
    pub seen: u64,
    /// Records that were written; of Prometheus' formats, series.
    pub written: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Records between those written that are damaged or went meanwhile, as far as that is known: only an export of everything can tell.
    pub missing: u64,
    /// What the format has no room for: spans of traces beyond its bounds, series beyond theirs.
    pub left_out: u64,
}

/// Why an export is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The format has no place for what was asked for. Nothing was written.
    #[error("{format} cannot hold {what}: {why}")]
    NoPlace {
        /// The format.
        format: Format,
        /// What was asked for.
        what: What,
        /// What to do instead.
        why: &'static str,
    },
    /// The output takes no more.
    #[error("the output ended after {} records: {cause}", .exported.written)]
    Output {
        /// What was written until then.
        exported: Exported,
        /// Why.
        cause: io::Error,
    },
    /// Whoever watched it has stopped it.
    #[error("stopped after {} records", .0.written)]
    Stopped(Exported),
}

/// Why going through records ended before their end.
#[derive(Debug)]
pub(crate) enum Broken {
    Output(io::Error),
    Stopped,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<serde_json::Error> for Broken {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

impl Export<'_> {
    /// Whether the format has a place for what is asked for; if it has none, why.
    pub fn check(&self) -> Result<(), ExportError> {
        let (what, format) = (self.what, self.format);
        format.takes(what).map_err(|why| ExportError::NoPlace { format, what, why })
    }

    /// Writes it, and flushes the output. `watch` is told from time to time how far it is, at least each few thousand records that are looked at, and can
    /// stop it. This blocks for as long as reading the store and the output take.
    ///
    /// # Errors
    ///
    /// The format has no place for what is asked for, the output fails, or `watch` stops it. What was written by then is no whole file.
    pub fn write(
        &self,
        output: &mut dyn Write,
        watch: &mut dyn FnMut(&Exported) -> ControlFlow<()>,
    ) -> Result<Exported, ExportError> {
        self.check()?;
        let mut walk = Walk::new(self.query, self.limit, output, watch);
        let ended = match self.format {
            Format::Json => json::write_document(self, &mut walk),
            Format::JsonLines => json::write_lines(self, &mut walk),
            Format::Csv => csv::write(self, &mut walk),
            Format::Otlp | Format::OtlpJson => otlp::write(self, &mut walk),
            Format::Jaeger => jaeger::write(self, &mut walk),
            Format::Prometheus | Format::OpenMetrics => prometheus::write(self, &mut walk),
        };
        let ended = ended.and_then(|()| walk.flush());
        let exported = walk.exported;
        match ended {
            Ok(()) => Ok(exported),
            Err(Broken::Output(cause)) => Err(ExportError::Output { exported, cause }),
            Err(Broken::Stopped) => Err(ExportError::Stopped(exported)),
        }
    }
}
