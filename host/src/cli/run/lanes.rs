//! From the feed to the extensions and back: a lane for each extension, so that its replies come in the feed's order
//! while the extensions work side by side.
//!
//! Bounds: a lane holds [`AHEAD`] events, all lanes together [`BYTES_IN_FLIGHT`] of payload, and
//! [`REPLIES`] replies wait to be written. When one of them is full, the feed waits.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use glasshouse::{Event, Extension, Host, TraceId, Trigger, call_error_answer, payload_answer};
use glasshouse_client::api::{self, Payload};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::cli::feed::{Feed, Work};
use crate::cli::signals::Stop;
use crate::output;

/// Events that are read ahead for an extension, beside those in its mailbox: while one is slow, the others are still fed.
const AHEAD: usize = 256;
/// Bytes of payload that wait for extensions or are with them.
const BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;
/// Replies that wait to be written.
const REPLIES: usize = 32;
/// Lines that cannot be used, as far as each is reported.
const REPORTED_LINES: u64 = 20;

/// The way from the feed to the extensions and back.
pub(super) struct Lanes {
    ways: HashMap<String, mpsc::Sender<Item>>,
    tasks: Vec<JoinHandle<()>>,
    replies: Option<mpsc::Sender<String>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    events: AtomicU64,
    errors: AtomicU64,
    bad_lines: AtomicU64,
}

/// What came of the feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) errors: u64,
    pub(super) bad_lines: u64,
}

/// An event on its way.
struct Item {
    line: u64,
    event: Event,
    trigger: Trigger,
    correlation_id: String,
    _room: OwnedSemaphorePermit,
}

/// A reply as it is written.
#[derive(Serialize)]
struct Answer<'a> {
    extension: &'a str,
    event: &'a str,
    correlation_id: &'a str,
    line: u64,
    ok: bool,
    #[serde(flatten)]
    reply: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<api::CallError>,
}

impl Lanes {
    /// A lane for each extension. Where replies cannot be written any more, the end is asked for.
    pub(super) fn new(host: &Host, stop: &Stop) -> Self {
        let (replies, to_write) = mpsc::channel(REPLIES);
        let stop = stop.clone();
        let writer = tokio::task::spawn_blocking(move || write(to_write).inspect_err(|_| stop.request()));
        let counts = Arc::<Counts>::default();
        let (mut ways, mut tasks) = (HashMap::new(), Vec::new());
        for extension in host.extensions() {
            let (sender, items) = mpsc::channel(AHEAD);
            ways.insert(extension.id().to_string(), sender);
            tasks.push(tokio::spawn(serve(extension.clone(), items, replies.clone(), Arc::clone(&counts))));
        }
        let room = Arc::new(Semaphore::new(BYTES_IN_FLIGHT));
        Self { ways, tasks, replies: Some(replies), writer: Some(writer), room, counts }
    }

    /// Passes on a feed to its end. If it is cancelled, the rest of the feed is left unread.
    pub(super) async fn feed(&self, mut feed: Feed) -> io::Result<()> {
        while let Some(line) = feed.next().await? {
            match line.work {
                Ok(work) => self.pass_on(line.number, work).await,
                Err(problem) => {
                    let before = self.counts.bad_lines.fetch_add(1, Ordering::Relaxed);
                    if before < REPORTED_LINES {
                        output::note(format_args!("feed line {}: {problem}", line.number));
                    }
                }
            }
        }
        Ok(())
    }

    async fn pass_on(&self, line: u64, work: Work) {
        self.counts.events.fetch_add(1, Ordering::Relaxed);
        let Work { extension, event, mut trigger } = work;
        let trace_id = *trigger.trace_id.get_or_insert_with(|| TraceId(fastrand::u128(1..).to_be_bytes()));
        let correlation_id = trigger.correlation_id.clone().unwrap_or_else(|| trace_id.to_string());
        if let Some(lane) = self.ways.get(&extension) {
            let bytes = u32::try_from(event.payload.len().min(BYTES_IN_FLIGHT)).unwrap_or(u32::MAX);
            // The semaphore is never closed.
            let Ok(room) = Arc::clone(&self.room).acquire_many_owned(bytes).await else { return };
            // A lane ends only when its sender is gone.
            let _ = lane.send(Item { line, event, trigger, correlation_id, _room: room }).await;
            return;
        }
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        let error = api::CallError {
            kind: "unknown-extension".to_owned(),
            message: "there is no extension of this id in the plugin directory".to_owned(),
        };
        let answer = Answer {
            extension: &extension,
            event: &event.name,
            correlation_id: &correlation_id,
            line,
            ok: false,
            reply: None,
            error: Some(error),
        };
        if let Some(replies) = &self.replies {
            send(replies, &answer).await;
        }
    }

    /// Waits until all events that were passed on are answered. May be cancelled.
    pub(super) async fn drain(&mut self) {
        self.ways.clear();
        while let Some(task) = self.tasks.last_mut() {
            // A task that panicked has ended, too; tokio has printed why.
            let _ = task.await;
            self.tasks.pop();
        }
    }

    /// Waits until all events are answered and all answers written.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.drain().await;
        self.replies = None;
        match self.writer.take() {
            Some(writer) => writer.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }

    /// What came of the feed so far.
    pub(super) fn totals(&self) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            events: read(&self.counts.events),
            errors: read(&self.counts.errors),
            bad_lines: read(&self.counts.bad_lines),
        }
    }
}

/// Calls one extension with its events, one after the other.
async fn serve(
    extension: Extension,
    mut items: mpsc::Receiver<Item>,
    replies: mpsc::Sender<String>,
    counts: Arc<Counts>,
) {
    while let Some(item) = items.recv().await {
        let name = item.event.name.clone();
        let (reply, error) = match extension.call(item.event, item.trigger).await {
            Ok(reply) => (Some(payload_answer(reply)), None),
            Err(error) => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
                (None, Some(call_error_answer(&error)))
            }
        };
        let answer = Answer {
            extension: extension.id().as_str(),
            event: &name,
            correlation_id: &item.correlation_id,
            line: item.line,
            ok: error.is_none(),
            reply,
            error,
        };
        send(&replies, &answer).await;
    }
}

async fn send(replies: &mpsc::Sender<String>, answer: &Answer<'_>) {
    match serde_json::to_string(answer) {
        // Where the writer has ended, the end has been asked for.
        Ok(line) => drop(replies.send(line).await),
        Err(error) => tracing::error!(line = answer.line, "a reply cannot be written as JSON: {error}"),
    }
}

/// Writes replies until there are no more, and lets each be seen as soon as no other waits.
fn write(mut replies: mpsc::Receiver<String>) -> io::Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    while let Some(reply) = replies.blocking_recv() {
        stdout.write_all(reply.as_bytes())?;
        stdout.write_all(b"\n")?;
        if replies.is_empty() {
            stdout.flush()?;
        }
    }
    stdout.flush()
}
