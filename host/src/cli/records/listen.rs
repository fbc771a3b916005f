//! Following a host at an address: a stream for each extension, which goes on where it broke off, with nothing lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use glasshouse::{Cursor, Signal};
use glasshouse_client::api::Gap;
use glasshouse_client::{Client, ClientError, Events, StreamEvent};
use tokio::sync::mpsc;

use super::follow::MEMORY_LOST;
use super::printer::Printer;
use super::select::Chosen;
use super::show::find;
use super::store::{Found, Kind, StoreOf};
use crate::cli::control::told;
use crate::output;

/// How long is waited before a host is tried again, the first time and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Events that wait to be printed: what comes after them waits at the host.
const WAITING: usize = 256;

/// What a stream has told, and of which extension.
type News = (String, Result<StreamEvent, ClientError>);

/// Shows what was chosen and goes on, from a cursor if there is one.
pub(super) async fn follow<T: Kind>(
    chosen: &Chosen,
    client: &Client,
    extensions: &[StoreOf],
    after: Option<&Cursor>,
    printer: &Printer,
) -> Result<()> {
    let (sender, mut news) = mpsc::channel(WAITING);
    let is_broken = Arc::<AtomicBool>::default();
    let listener = |id: &str| Listener {
        client: client.clone(),
        extension: id.to_owned(),
        signal: T::SIGNAL,
        query: chosen.question.text.clone(),
        last: None,
        is_broken: Arc::clone(&is_broken),
        sender: sender.clone(),
    };
    if let Some(cursor) = after {
        let mut one = listener(&cursor.extension);
        one.last = Some(cursor.to_string());
        let events = told(one.open().await)?;
        tokio::spawn(one.listen(events));
    } else {
        // From before the newest are looked for, so that nothing comes between.
        let mut open = Vec::new();
        for extension in extensions {
            let mut one = listener(extension.id());
            let mut events = told(one.open().await)?;
            let place = told(events.next().await)?.and_then(|event| event.id);
            let next = place.as_ref().and_then(|place| place.parse::<Cursor>().ok());
            one.last = place;
            open.push((one, events, next.map_or(0, |cursor| cursor.sequence)));
        }
        let (mut all, _) = find::<T>(chosen, extensions).await?;
        all.sort_by_key(|(_, found)| found.record.time());
        for (index, found) in &all {
            // What came since is shown when the stream tells it.
            if found.record.head().sequence <= open[*index].2 {
                printer.print(extensions[*index].id(), None, found)?;
            }
        }
        for (one, events, _) in open {
            tokio::spawn(one.listen(events));
        }
    }
    drop(sender);
    while let Some((extension, event)) = news.recv().await {
        let event = told(event)?;
        match event.name.as_str() {
            "record" => printer.print(&extension, None, &Found::<T>::read(told(json(event.data))?)?)?,
            "gap" => {
                let Gap { missed, cause } = told(serde_json::from_str(&event.data).map_err(unusable))?;
                let cause = if missed == 0 { MEMORY_LOST } else { &cause };
                printer.print_gap(&extension, missed, &glasshouse::text::visible(cause, 200))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn json(text: String) -> Result<Box<serde_json::value::RawValue>, ClientError> {
    serde_json::value::RawValue::from_string(text).map_err(unusable)
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn unusable(error: serde_json::Error) -> ClientError {
    ClientError::Answer(error.to_string())
}

/// Listens to what is new of an extension.
struct Listener {
    client: Client,
    extension: String,
    signal: Signal,
    query: String,
    /// The last event that was taken.
    last: Option<String>,
    /// Whether it was said that the connection broke: once for all extensions.
    is_broken: Arc<AtomicBool>,
    sender: mpsc::Sender<News>,
}

impl Listener {
    async fn open(&self) -> Result<Events, ClientError> {
        self.client.follow(&self.extension, self.signal.as_str(), &self.query, self.last.as_deref()).await
    }

    /// Goes on until nobody wants to hear it, or it is of no use to try again.
    async fn listen(mut self, mut events: Events) {
        let (least, most) = WAIT;
        let mut wait = least;
        loop {
            let began = Instant::now();
            let why = loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        let place = event.id.clone();
                        if !event.name.is_empty()
                            && self.sender.send((self.extension.clone(), Ok(event))).await.is_err()
                        {
                            return;
                        }
                        self.last = place.or(self.last);
                    }
                    Ok(None) => break "the host has ended it".to_owned(),
                    Err(error) if error.is_passing() => break error.to_string(),
                    Err(error) => return drop(self.sender.send((self.extension, Err(error))).await),
                }
            };
            if !self.is_broken.swap(true, Ordering::Relaxed) {
                output::note(format_args!("{why}; trying again, and going on where it broke off"));
            }
            // Who lets everybody in and tells nothing is asked more and more seldom.
            wait = if began.elapsed() > most { least } else { (wait * 2).min(most) };
            events = match self.open_again(wait).await {
                Ok(events) => events,
                Err(error) => return drop(self.sender.send((self.extension, Err(error))).await),
            };
            if self.is_broken.swap(false, Ordering::Relaxed) {
                output::note("connected again");
            }
        }
    }

    /// Tries until it works, or is of no use.
    async fn open_again(&self, mut wait: Duration) -> Result<Events, ClientError> {
        let (_, most) = WAIT;
        loop {
            tokio::time::sleep(wait).await;
            match self.open().await {
                Err(error) if error.is_passing() => wait = (wait * 2).min(most),
                opened => return opened,
            }
        }
    }
}
