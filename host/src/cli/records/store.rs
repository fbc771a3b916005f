//! Where records come from: a data directory, or a host that serves its API at an address. What is read is the same from either.

use std::ops::{ControlFlow, Range};

use anyhow::Result;
use glasshouse::records::{Record, Records, record};
use glasshouse::{Clock as _, Cursor, HOST, Order, Query, Signal, Stored, StoredExtension, SystemClock};
use glasshouse_client::api::Wanted;
use glasshouse_client::{Client, ClientError};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::lines::Shown;
use crate::cli::UsageError;
use crate::cli::control::told;

/// Records that a host is asked for at a time: as many as it gives at most.
const PAGE: usize = 1000;
/// Records that are taken from a host in all, and bytes of their JSON: more is an export, which needs no room in memory.
const MOST: usize = 1_000_000;
const MOST_BYTES: usize = 1 << 30;

/// A kind of record that is read and shown.
pub(super) trait Kind: Record + Shown + DeserializeOwned + Send {}

impl<T: Record + Shown + DeserializeOwned + Send> Kind for T {}

/// Where records come from.
#[derive(Debug)]
pub(super) enum Store {
    Folder(Stored),
    Host(Client),
}

/// What is stored of one extension.
#[derive(Clone, Debug)]
pub(super) struct StoreOf {
    id: String,
    from: Keeper,
}

#[derive(Clone, Debug)]
enum Keeper {
    Folder(StoredExtension),
    Host(Client),
}

/// A record, and the JSON that a host has told it as.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) record: T,
    pub(super) json: Option<Box<RawValue>>,
}

/// What records must be, as it is looked for here and as a host is asked for it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) query: Query,
    /// The same for a host, by whose clock it counts what is said to be so long ago.
    pub(super) text: String,
}

impl Question {
    pub(super) fn parse(text: &str) -> Result<Self, UsageError> {
        let query = Query::parse(text, SystemClock::new().now()).map_err(|error| UsageError(error.to_string()))?;
        Ok(Self { query, text: text.to_owned() })
    }

    /// The question for what both ask for.
    pub(super) fn and(&self, query: &Query) -> Self {
        Self::from(self.query.and(query))
    }
}

impl From<Query> for Question {
    fn from(query: Query) -> Self {
        Self { text: query.to_string(), query }
    }
}

impl Store {
    /// The extensions that there are, by id; the host's own process is one of them.
    pub(super) async fn extensions(&self) -> Result<Vec<StoreOf>> {
        match self {
            Self::Folder(stored) => {
                let known = stored.extensions()?.into_iter();
                Ok(known.map(|one| StoreOf { id: one.id().to_owned(), from: Keeper::Folder(one) }).collect())
            }
            Self::Host(client) => {
                let mut ids: Vec<_> = told(client.managers().await)?.into_iter().map(|one| one.extension).collect();
                ids.push(HOST.to_owned());
                ids.sort_unstable();
                Ok(ids.iter().map(|id| self.extension(id)).collect())
            }
        }
    }

    /// One extension; nothing is stored of one that is unknown.
    pub(super) fn extension(&self, id: &str) -> StoreOf {
        let from = match self {
            Self::Folder(stored) => Keeper::Folder(stored.extension(id)),
            Self::Host(client) => Keeper::Host(client.clone()),
        };
        StoreOf { id: id.to_owned(), from }
    }
}

impl StoreOf {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// As it is stored in a data directory, if it is.
    pub(super) fn stored(&self) -> Option<&StoredExtension> {
        match &self.from {
            Keeper::Folder(stored) => Some(stored),
            Keeper::Host(_) => None,
        }
    }

    /// What gives cursors of records in a data directory; a host tells them with each record.
    pub(super) fn records<T: Record>(&self) -> Option<Records<T>> {
        self.stored().map(StoredExtension::records)
    }

    /// The first records in the question's order, at most so many.
    pub(super) async fn search<T: Kind>(&self, question: &Question, limit: usize) -> Result<Vec<Found<T>>> {
        match &self.from {
            Keeper::Folder(stored) => {
                Ok(stored.records::<T>().search(&question.query, limit).into_iter().map(Found::stored).collect())
            }
            Keeper::Host(client) => {
                let limit = question.query.limit().map_or(limit, |own| own.min(limit));
                let wanted = Wanted { query: question.text.clone(), ..Wanted::default() };
                self.gathered(client, wanted, question.query.order(), limit).await
            }
        }
    }

    /// Visits all records that a question asks for, in its order. Memory does not grow with how many there are.
    pub(super) async fn each<T: Kind>(&self, question: &Question, visit: &mut (dyn FnMut(T) + Send)) -> Result<()> {
        let Question { query, text } = question;
        let mut left = query.limit().unwrap_or(usize::MAX);
        match &self.from {
            Keeper::Folder(stored) => {
                stored.reader(T::SIGNAL).candidates(1..u64::MAX, query.order(), query, &mut |entry| {
                    if query.asks_for(T::SIGNAL, &self.id, &entry) && left > 0 {
                        left -= 1;
                        record::<T>(&entry).into_iter().for_each(&mut *visit);
                    }
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                Ok(())
            }
            Keeper::Host(client) => {
                let wanted = Wanted { query: text.clone(), ..Wanted::default() };
                let mut take = |found: Found<T>| {
                    visit(found.record);
                    Ok(())
                };
                self.pages(client, wanted, query.order(), left, &mut take).await
            }
        }
    }

    /// The same among those with certain sequence numbers.
    pub(super) async fn search_among<T: Kind>(
        &self,
        among: Range<u64>,
        question: &Question,
        limit: usize,
    ) -> Result<Vec<Found<T>>> {
        let Some(stored) = self.stored() else {
            let within = Question::parse(&format!("sequence>={} and sequence<{}", among.start, among.end))?;
            return self.search(&question.and(&within.query), limit).await;
        };
        let entries = stored.reader(T::SIGNAL).search_among(among, &self.id, &question.query, limit);
        Ok(entries.iter().filter_map(record::<T>).map(Found::stored).collect())
    }

    /// A record with those before and after it, oldest first; none if it is not there any more.
    pub(super) async fn around<T: Kind>(&self, cursor: &Cursor, before: usize, after: usize) -> Result<Vec<Found<T>>> {
        let client = match &self.from {
            Keeper::Folder(stored) => {
                return Ok(stored
                    .records::<T>()
                    .around(cursor.sequence, before, after)
                    .into_iter()
                    .map(Found::stored)
                    .collect());
            }
            Keeper::Host(client) => client,
        };
        let at = Some(cursor.to_string());
        let Some(record) = self.one(cursor.sequence).await? else { return Ok(Vec::new()) };
        let earlier = Wanted { before: at.clone(), ..Wanted::default() };
        let mut found = self.gathered(client, earlier, Order::NewestFirst, before).await?;
        found.reverse();
        found.push(record);
        let later = Wanted { after: at, ..Wanted::default() };
        found.extend(self.gathered(client, later, Order::OldestFirst, after).await?);
        Ok(found)
    }

    /// The record with a sequence number.
    pub(super) async fn one<T: Kind>(&self, sequence: u64) -> Result<Option<Found<T>>> {
        if let Some(stored) = self.stored() {
            return Ok(stored.records::<T>().around(sequence, 0, 0).pop().map(Found::stored));
        }
        Ok(self.search(&Question::parse(&format!("sequence={sequence}"))?, 1).await?.pop())
    }

    /// How many records of a signal are gone.
    pub(super) async fn evicted(&self, signal: Signal) -> Result<u64> {
        let client = match &self.from {
            Keeper::Folder(stored) => return Ok(stored.reader(signal).evicted()),
            Keeper::Host(client) => client,
        };
        let oldest = Wanted { query: "oldest first".to_owned(), limit: Some(1), ..Wanted::default() };
        let page = told(client.records(&self.id, signal.as_str(), &oldest).await)?;
        let at = page.newer.and_then(|cursor| cursor.parse::<Cursor>().ok()).map_or(0, |cursor| cursor.sequence);
        Ok(if page.records.is_empty() { at } else { at.saturating_sub(1) })
    }

    /// Gathers what is asked for page by page.
    async fn gathered<T: Kind>(
        &self,
        client: &Client,
        wanted: Wanted,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Found<T>>> {
        let (mut all, mut bytes) = (Vec::new(), 0);
        let mut take = |found: Found<T>| {
            bytes += found.json.as_ref().map_or(0, |json| json.get().len());
            all.push(found);
            if all.len() <= MOST && bytes <= MOST_BYTES {
                return Ok(());
            }
            let gib = MOST_BYTES >> 30;
            Err(UsageError(format!(
                "there are more than {MOST} records, or {gib} GiB of them; ask for fewer by a query such as 'since 1h', or use \
                 `glasshouse export`"
            ))
            .into())
        };
        self.pages(client, wanted, order, limit, &mut take).await?;
        Ok(all)
    }

    /// Asks page by page.
    async fn pages<T: Kind>(
        &self,
        client: &Client,
        mut wanted: Wanted,
        order: Order,
        limit: usize,
        take: &mut (dyn FnMut(Found<T>) -> Result<()> + Send),
    ) -> Result<()> {
        let mut left = limit;
        while left > 0 {
            let here = left.min(PAGE);
            wanted.limit = Some(here);
            let page = told(client.records(&self.id, T::SIGNAL.as_str(), &wanted).await)?;
            let count = page.records.len().min(here);
            for json in page.records.into_iter().take(here) {
                take(Found::read(json)?)?;
            }
            left -= count;
            let next = match order {
                Order::NewestFirst => page.older,
                Order::OldestFirst => page.newer,
            };
            // A page may end before as many are told as were asked for. Without a record on it, it does not lead on.
            let Some(next) = next.filter(|_| page.more && count > 0) else { break };
            match order {
                Order::NewestFirst => wanted.before = Some(next),
                Order::OldestFirst => wanted.after = Some(next),
            }
        }
        Ok(())
    }
}

impl<T> Found<T> {
    /// A record of a data directory.
    pub(super) fn stored(record: T) -> Self {
        Self { record, json: None }
    }
}

impl<T: DeserializeOwned> Found<T> {
    /// A record as a host has told it.
    pub(super) fn read(json: Box<RawValue>) -> Result<Self, ClientError> {
        let record = serde_json::from_str(json.get()).map_err(|error| ClientError::Answer(error.to_string()))?;
        Ok(Self { record, json: Some(json) })
    }
}
