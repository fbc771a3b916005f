//! What the host's process says by `tracing`, on its way into log files: a bounded queue that nobody waits for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use glasshouse_export::records::{FieldList, FieldValue};
use glasshouse_model::{Clock, Level, UnixNanos, limits, text};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::tiers::PERFORMANCE;

/// Messages that wait to be written: a host says some in a minute, and thousands where something is much amiss.
const MESSAGES: usize = 4096;
/// Bytes of them, as they are held.
const BYTES: usize = 1 << 20;

/// Passes on what the process says by `tracing` to the log files of a host. Cheap to clone; it does nothing until a host writes log
/// files, and what is said before that is not kept.
///
/// A program that wants its messages there adds [`HostLog::layer`] to its subscriber, and gives the host the same value.
#[derive(Clone, Default)]
pub struct HostLog(Arc<Queue>);

#[derive(Default)]
struct Queue {
    is_open: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    clock: Option<Arc<dyn Clock>>,
    messages: VecDeque<Message>,
    bytes: usize,
    /// The number of the last message.
    number: u64,
    dropped: u64,
}

/// Something that the host said.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) time: UnixNanos,
    pub(crate) number: u64,
    pub(crate) level: Level,
    pub(crate) logger: String,
    pub(crate) text: String,
    pub(crate) module: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) thread: Option<String>,
    pub(crate) fields: FieldList,
}

impl Message {
    fn bytes(&self) -> usize {
        let value = |value: &FieldValue| if let FieldValue::Text(text) = value { text.len() } else { 0 };
        let fields: usize = self.fields.0.iter().map(|(name, field)| name.len() + value(field)).sum();
        size_of::<Self>() + self.logger.len() + self.text.len() + fields
    }
}

impl HostLog {
    /// What passes on events of `tracing`. Which of them, is for a filter to say that it is given.
    pub fn layer(&self) -> HostLogLayer {
        HostLogLayer(self.clone())
    }

    /// Says what the host's process uses, as one line of the performance log. Does nothing where no log files are written.
    pub fn performance(&self, message: &str, figures: impl IntoIterator<Item = (&'static str, FieldValue)>) {
        if !self.is_open() {
            return;
        }
        let fields = figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.push(Message {
            time: UnixNanos(0),
            number: 0,
            level: Level::Info,
            logger: PERFORMANCE.to_owned(),
            text: message.to_owned(),
            module: None,
            line: None,
            thread: None,
            fields: FieldList(fields),
        });
    }

    fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in messages from now on; `false` if another host's files have them already.
    pub(crate) fn open(&self, clock: Arc<dyn Clock>) -> bool {
        let mut waiting = self.waiting();
        if waiting.clock.is_some() {
            return false;
        }
        waiting.clock = Some(clock);
        self.0.is_open.store(true, Ordering::Relaxed);
        true
    }

    /// Takes in no more.
    pub(crate) fn close(&self) {
        self.0.is_open.store(false, Ordering::Relaxed);
        let mut waiting = self.waiting();
        let number = waiting.number;
        *waiting = Waiting { number, ..Waiting::default() };
    }

    /// What has come, and how many had no room.
    pub(crate) fn take(&self) -> (VecDeque<Message>, u64) {
        let mut waiting = self.waiting();
        waiting.bytes = 0;
        (std::mem::take(&mut waiting.messages), std::mem::take(&mut waiting.dropped))
    }

    fn push(&self, mut message: Message) {
        let bytes = message.bytes();
        let mut waiting = self.waiting();
        let Some(now) = waiting.clock.as_ref().map(|clock| clock.now()) else { return };
        waiting.number += 1;
        if waiting.messages.len() == MESSAGES || waiting.bytes + bytes > BYTES {
            waiting.dropped += 1;
            return;
        }
        (message.time, message.number) = (now, waiting.number);
        waiting.bytes += bytes;
        waiting.messages.push_back(message);
    }
}

/// Passes on events of `tracing` to the log files of a host; see [`HostLog::layer`].
pub struct HostLogLayer(HostLog);

impl<S: Subscriber> Layer<S> for HostLogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        // What the process uses is told by the host, whether somebody listens to `tracing` or not.
        if !self.0.is_open() || metadata.target() == PERFORMANCE {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let thread = std::thread::current();
        self.0.push(Message {
            time: UnixNanos(0),
            number: 0,
            level: level(*metadata.level()),
            logger: metadata.target().to_owned(),
            text: said.message,
            module: metadata.module_path().map(str::to_owned),
            line: metadata.line(),
            thread: Some(thread.name().unwrap_or("unnamed").to_owned()),
            fields: FieldList(said.fields),
        });
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::ERROR => Level::Error,
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(String, FieldValue)>,
}

impl Said {
    fn put(&mut self, field: &Field, value: FieldValue) {
        if self.fields.len() < limits::FIELDS {
            self.fields.push((field.name().to_owned(), value));
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            text::cut(value, limits::MESSAGE_BYTES).clone_into(&mut self.message);
        } else {
            self.put(field, FieldValue::Text(text::cut(value, limits::TEXT_BYTES).to_owned()));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, FieldValue::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, i64::try_from(value).map_or_else(|_| FieldValue::Text(value.to_string()), FieldValue::Integer));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, FieldValue::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, FieldValue::Boolean(value));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::testing::SetClock;

    #[test]
    fn what_the_host_says_waits_in_bounds_once_there_are_files() {
        let log = HostLog::default();
        let subscriber = tracing_subscriber::registry().with(log.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("nobody listens");
            assert!(log.open(Arc::new(SetClock::at(5))));
            assert!(!log.open(Arc::new(SetClock::at(5))), "it is of one host");
            tracing::warn!(target: "here", count = 3, share = 0.5, on = true, name = %"a", "said");
            tracing::info!(target: PERFORMANCE, "told otherwise");
            let (said, dropped) = log.take();
            assert_eq!((said.len(), dropped), (1, 0));
            let one = &said[0];
            assert_eq!((one.time, one.level, &*one.logger, &*one.text), (UnixNanos(5), Level::Warning, "here", "said"));
            let names: Vec<_> = one.fields.0.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["count", "share", "on", "name"]);
            assert!(one.line.is_some() && one.thread.is_some());
            for _ in 0..MESSAGES + 10 {
                tracing::warn!("again");
            }
            tracing::error!("{}", "long".repeat(100_000));
            let (said, dropped) = log.take();
            assert!(said.len() <= MESSAGES && dropped >= 11, "{} {dropped}", said.len());
            assert!(said.iter().map(Message::bytes).sum::<usize>() <= BYTES);
            log.close();
            tracing::warn!("nobody listens any more");
            assert!(log.take().0.is_empty());
        });
    }
}
