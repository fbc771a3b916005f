//! Which records are meant: the data directory, the extensions, the query.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use glasshouse::traces::Traces;
use glasshouse::{Level, Query, Severity, Stored, StoredExtension, SystemClock};

use super::super::{Operator, UsageError};

/// Records that are shown where nobody says otherwise.
const LIMIT: usize = 100;

/// Where records are.
#[derive(Args, Debug)]
pub(in super::super) struct Place {
    /// The folder that a host keeps telemetry in; host.data_dir of the configuration if left out
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    operator: Operator,
}

impl Place {
    pub(super) fn open(&self) -> Result<Stored> {
        Ok(Stored::open(&self.folder()?)?)
    }

    /// The data directory, which is there.
    pub(in super::super) fn folder(&self) -> Result<PathBuf> {
        let folder = match &self.data_dir {
            Some(folder) => folder.clone(),
            None => self.operator.host_settings()?.data_dir.ok_or_else(|| {
                UsageError("name the data directory with --data-dir, or as host.data_dir in the --config".into())
            })?,
        };
        if !folder.exists() {
            let folder = folder.display();
            bail!("there is no data directory {folder}; name the one that `glasshouse run --data-dir` was given");
        }
        Ok(folder)
    }
}

/// Which records are meant.
#[derive(Args, Debug)]
pub(super) struct Selection {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only those of this extension; may be given several times
    #[arg(long = "extension-id", value_name = "ID")]
    extensions: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
}

/// What records must be, as options and as a query.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) query: String,
    pub(super) level: Option<Level>,
    pub(super) severity: Option<Severity>,
    pub(super) hours: Option<u32>,
    /// Times as a query has them.
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
}

impl Conditions {
    pub(super) fn new(query: &[String]) -> Self {
        Self { query: query.join(" "), ..Self::default() }
    }

    pub(super) fn query(&self) -> Result<Query> {
        use glasshouse::Clock as _;
        let now = SystemClock::new().now();
        let parse = |text: &str| Query::parse(text, now).map_err(|error| UsageError(error.to_string()));
        let mut query = parse(&self.query)?;
        let options = [
            self.level.map(|level| format!("level>={level}")),
            self.severity.map(|severity| format!("severity>={severity}")),
            self.hours.map(|hours| format!("since {hours}h")),
            self.since.as_ref().map(|since| format!("since {since}")),
            self.until.as_ref().map(|until| format!("until {until}")),
        ];
        for option in options.into_iter().flatten() {
            query = query.and(&parse(&option)?);
        }
        Ok(query)
    }
}

/// What was chosen.
pub(super) struct Chosen {
    pub(super) stored: Stored,
    /// Those that were named; all if empty.
    named: Vec<String>,
    pub(super) query: Query,
    pub(super) limit: usize,
}

impl Selection {
    pub(super) fn chosen(self, conditions: &Conditions) -> Result<Chosen> {
        self.chosen_of(LIMIT, conditions)
    }

    /// The same, where another number is shown if nobody says otherwise.
    pub(super) fn chosen_of(self, limit: usize, conditions: &Conditions) -> Result<Chosen> {
        let query = conditions.query()?;
        let stored = self.open()?;
        let limit = self.limit.into_iter().chain(query.limit()).min().unwrap_or(limit);
        Ok(Chosen { stored, named: self.extensions, query, limit })
    }

    /// The extensions that are meant and there.
    pub(super) fn extensions(&self) -> Result<Vec<StoredExtension>> {
        named(&self.open()?, &self.extensions)
    }

    /// The data directory, in which all extensions that are named are.
    fn open(&self) -> Result<Stored> {
        let stored = self.place.open()?;
        if !self.extensions.is_empty() {
            let known = stored.extensions()?;
            if let Some(unknown) = self.extensions.iter().find(|id| known.iter().all(|known| known.id() != *id)) {
                let known: Vec<_> = known.iter().map(StoredExtension::id).collect();
                let known =
                    if known.is_empty() { "nothing is".into() } else { format!("there are {}", known.join(", ")) };
                return Err(UsageError(format!("nothing is stored of an extension \"{unknown}\"; {known}")).into());
            }
        }
        Ok(stored)
    }
}

/// The extensions with these ids; all that there are, if there are no ids.
fn named(stored: &Stored, ids: &[String]) -> Result<Vec<StoredExtension>> {
    if ids.is_empty() {
        return Ok(stored.extensions()?);
    }
    Ok(ids.iter().map(|id| stored.extension(id)).collect())
}

impl Chosen {
    /// Finds requests in what is stored of the extensions that are meant.
    pub(super) fn traces(&self) -> Result<Traces> {
        Ok(Traces::of(&self.extensions()?))
    }

    /// The extensions that are meant and there.
    pub(super) fn extensions(&self) -> Result<Vec<StoredExtension>> {
        named(&self.stored, &self.named)
    }
}

/// A duration on the command line, as in a query: `90s`, `1h30m`.
pub(in super::super) fn duration(text: &str) -> Result<Duration, String> {
    glasshouse::query::duration(text).ok_or_else(|| format!("\"{text}\" is no duration, such as 90s, 15m or 1d"))
}
