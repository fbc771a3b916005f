//! Which records are meant: the data directory, the extensions, the query.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use glasshouse::{Level, Severity, Stored};
use glasshouse_client::Client;

use super::super::address::Address;
use super::super::{Operator, UsageError};
use super::store::{Question, Store, StoreOf};

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
    #[command(flatten)]
    address: Address,
}

impl Place {
    pub(super) fn open(&self) -> Result<Store> {
        Ok(match self.host()? {
            Some(client) => Store::Host(client),
            None => Store::Folder(Stored::open(&self.folder()?)?),
        })
    }

    /// Asks the host that is meant: the one at an address, or the one that runs on the data directory.
    pub(in super::super) fn client(&self) -> Result<Client> {
        match self.host()? {
            Some(client) => Ok(client),
            None => Ok(Client::new(self.folder()?)),
        }
    }

    /// The host at an address, if that is what is meant.
    fn host(&self) -> Result<Option<Client>> {
        let is_named = self.data_dir.is_some() || self.operator.config.is_some();
        self.address.client(is_named, || self.named_folder())
    }

    /// The data directory that is named, by the command line or by the configuration.
    fn named_folder(&self) -> Result<Option<PathBuf>> {
        match &self.data_dir {
            Some(folder) => Ok(Some(folder.clone())),
            None => Ok(self.operator.host_settings()?.data_dir),
        }
    }

    /// The data directory, which is there.
    fn folder(&self) -> Result<PathBuf> {
        let folder = self.named_folder()?.ok_or_else(|| {
            UsageError(
                "name the data directory with --data-dir, or as host.data_dir in the --config; or a host with --host URL".into(),
            )
        })?;
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

    pub(super) fn question(&self) -> Result<Question> {
        let conditions = [
            self.level.map(|level| format!("level>={level}")),
            self.severity.map(|severity| format!("severity>={severity}")),
        ];
        let clauses = [
            self.hours.map(|hours| format!("since {hours}h")),
            self.since.as_ref().map(|since| format!("since {since}")),
            self.until.as_ref().map(|until| format!("until {until}")),
        ];
        let own = Question::parse(&self.query)?;
        let conditions: Vec<_> = conditions.into_iter().flatten().collect();
        let clauses: Vec<_> = clauses.into_iter().flatten().collect();
        let mut question = own.clone();
        for option in conditions.iter().chain(&clauses) {
            question = question.and(&Question::parse(option)?.query);
        }
        // A host counts what is said to be so long ago by its own clock, where the options can be written beside what was typed.
        let is_simple = conditions.is_empty() || self.query.trim().is_empty();
        let text =
            conditions.into_iter().chain([self.query.clone()]).chain(clauses).filter(|part| !part.trim().is_empty());
        let text = text.collect::<Vec<_>>().join(" ");
        if is_simple && Question::parse(&text).is_ok() {
            question.text = text;
        }
        Ok(question)
    }
}

/// What was chosen.
pub(super) struct Chosen {
    pub(super) store: Store,
    /// Those that were named; all if empty.
    named: Vec<String>,
    pub(super) question: Question,
    pub(super) limit: usize,
}

impl Selection {
    pub(super) async fn chosen(&self, conditions: &Conditions) -> Result<Chosen> {
        self.chosen_of(LIMIT, conditions).await
    }

    /// The same, where another number is shown if nobody says otherwise.
    pub(super) async fn chosen_of(&self, limit: usize, conditions: &Conditions) -> Result<Chosen> {
        let question = conditions.question()?;
        let store = self.open().await?;
        let limit = self.limit.into_iter().chain(question.query.limit()).min().unwrap_or(limit);
        Ok(Chosen { store, named: self.extensions.clone(), question, limit })
    }

    /// The extensions that are meant and there.
    pub(super) async fn extensions(&self) -> Result<Vec<StoreOf>> {
        named(&self.open().await?, &self.extensions).await
    }

    /// Where records are; all extensions that are named are there.
    async fn open(&self) -> Result<Store> {
        let store = self.place.open()?;
        if !self.extensions.is_empty() {
            let known = store.extensions().await?;
            if let Some(unknown) = self.extensions.iter().find(|id| known.iter().all(|known| known.id() != *id)) {
                let known: Vec<_> = known.iter().map(StoreOf::id).collect();
                let known =
                    if known.is_empty() { "nothing is".into() } else { format!("there are {}", known.join(", ")) };
                return Err(UsageError(format!("nothing is stored of an extension \"{unknown}\"; {known}")).into());
            }
        }
        Ok(store)
    }
}

/// The extensions with these ids; all that there are, if there are no ids.
async fn named(store: &Store, ids: &[String]) -> Result<Vec<StoreOf>> {
    if ids.is_empty() {
        return store.extensions().await;
    }
    Ok(ids.iter().map(|id| store.extension(id)).collect())
}

impl Chosen {
    /// The extensions that are meant and there.
    pub(super) async fn extensions(&self) -> Result<Vec<StoreOf>> {
        named(&self.store, &self.named).await
    }

    /// What is asked for, of the extensions that are meant.
    pub(super) fn of_named(&self, question: &Question) -> Result<Question> {
        if self.named.is_empty() {
            return Ok(question.clone());
        }
        let ids: Vec<_> = self.named.iter().map(|id| format!("\"{id}\"")).collect();
        Ok(question.and(&Question::parse(&format!("extension in ({})", ids.join(", ")))?.query))
    }

    /// Whom a host is asked about, and what: one extension, or all, with a condition if several are meant.
    pub(super) fn scope(&self, question: &Question) -> Result<(&str, Question)> {
        match &*self.named {
            [one] => Ok((one, question.clone())),
            _ => Ok(("*", self.of_named(question)?)),
        }
    }
}

/// A duration on the command line, as in a query: `90s`, `1h30m`.
pub(in super::super) fn duration(text: &str) -> Result<Duration, String> {
    glasshouse::query::duration(text).ok_or_else(|| format!("\"{text}\" is no duration, such as 90s, 15m or 1d"))
}
