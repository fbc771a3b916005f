//! Runs an extension in a unit test, without a host, and tells what it recorded. On native targets only.
//!
//! ```
//! use glasshouse_sdk::testing::{Host, Instance};
//! use glasshouse_sdk::{Error, Payload, extension, info};
//!
//! #[derive(Default)]
//! struct Hello;
//!
//! #[extension]
//! impl Hello {
//!     #[event]
//!     fn greet(&mut self, who: String) -> Result<String, Error> {
//!         info!("greeting {who}", name = who);
//!         Ok(format!("Hello, {who}!"))
//!     }
//! }
//!
//! let (reply, recorded) = Host::new().run(|| {
//!     let mut hello = Instance::<Hello>::start("{}").unwrap();
//!     hello.handle("greet", Payload::json("Ada").unwrap())
//! });
//! assert_eq!(reply.unwrap().parse::<String>().unwrap(), "Hello, Ada!");
//! assert_eq!(recorded.logs[0].message, "greeting Ada");
//! assert_eq!(recorded.logs[0].fields["name"], "Ada");
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use glasshouse_wire::{Instrument, Level, Severity};

use crate::batch::{self, FlushAtEnd};
use crate::events::{CallError, PublishError};
use crate::gate::{self, Stored};
use crate::{Check, Error, Extension, Kind, Payload, SpanKind, bridge};

pub(crate) mod collector;

/// Fields or labels by name. A field's value is the JSON value of the same type.
pub type Fields = BTreeMap<String, serde_json::Value>;

/// A log that was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// How serious it is.
    pub level: Level,
    /// The logger's name.
    pub target: String,
    /// What happened.
    pub message: String,
    /// File and line.
    pub source: Option<(String, u32)>,
    /// Its fields.
    pub fields: Fields,
}

/// A sample that was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// What the value means.
    pub instrument: Instrument,
    /// A UCUM code, or empty.
    pub unit: String,
    /// The sample.
    pub value: f64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// An error that was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The error's type.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// The extension's account of the stack.
    pub stack: String,
    /// File and line.
    pub source: Option<(String, u32)>,
    /// Whether the extension went on as intended.
    pub handled: bool,
    /// Its fields.
    pub fields: Fields,
}

/// A span that was started.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What it is called.
    pub name: String,
    /// What it stands for.
    pub kind: SpanKind,
    /// Its fields; the last value of a name.
    pub fields: Fields,
    /// Its events, by name.
    pub events: Vec<(String, Fields)>,
    /// What it is linked to.
    pub links: Vec<Link>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The name of the innermost span that was open when it started, unless it began a trace.
    pub parent: Option<String>,
    /// Whether it began a trace of its own.
    pub is_root: bool,
    /// Whether it was dropped.
    pub ended: bool,
}

/// A link of a span to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// 16 lower-case hexadecimal digits.
    pub span_id: String,
    /// The header `tracestate`, or empty.
    pub tracestate: String,
    /// Its fields.
    pub fields: Fields,
}

/// An alert that was raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The alert's type.
    pub kind: String,
    /// How serious it is.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// The whole story.
    pub message: String,
    /// The metric that it is about.
    pub metric: Option<String>,
    /// The metric's value.
    pub value: Option<f64>,
    /// The threshold that it passed.
    pub threshold: Option<f64>,
}

/// All that was recorded, by signal, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Logs.
    pub logs: Vec<Log>,
    /// Samples of metrics.
    pub samples: Vec<Sample>,
    /// Errors.
    pub errors: Vec<Report>,
    /// Spans.
    pub spans: Vec<Span>,
    /// Alerts.
    pub alerts: Vec<Alert>,
    /// Topics and payloads of published events.
    pub published: Vec<(String, Payload)>,
}

impl Recorded {
    /// The sum of all samples of a metric.
    pub fn sum(&self, metric: &str) -> f64 {
        self.samples.iter().filter(|sample| sample.name == metric).map(|sample| sample.value).sum()
    }
}

type Answer = Rc<RefCell<dyn FnMut(&str, &str, &Payload) -> Result<Payload, CallError>>>;

/// Stands in for the host of one thread.
pub struct Host {
    stored: Stored,
    answer: Option<Answer>,
    refusal: Option<PublishError>,
    baggage: String,
}

impl Default for Host {
    fn default() -> Self {
        Self { stored: Stored::ALL, answer: None, refusal: None, baggage: String::new() }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("stored", &self.stored).finish_non_exhaustive()
    }
}

impl Host {
    /// A host that stores everything, queues all events, and has no other extension.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores only logs of this level and above.
    pub fn threshold(mut self, level: Level) -> Self {
        self.stored = self.stored.at_least(level);
        self
    }

    /// Stores no records of this kind.
    pub fn without(mut self, kind: Kind) -> Self {
        self.stored = self.stored.without(kind);
        self
    }

    /// Answers calls of other extensions: it gets the extension's id, the event's name and the payload.
    pub fn answering(
        mut self,
        answer: impl FnMut(&str, &str, &Payload) -> Result<Payload, CallError> + 'static,
    ) -> Self {
        self.answer = Some(Rc::new(RefCell::new(answer)));
        self
    }

    /// Refuses to publish.
    pub fn refusing(mut self, refusal: PublishError) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// Passes a baggage along with what runs: `name=value` with commas between them, values percent-encoded.
    pub fn baggage(mut self, baggage: &str) -> Self {
        baggage.clone_into(&mut self.baggage);
        self
    }

    /// Runs `work` and gives what it gave and what was recorded meanwhile on this thread.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> (T, Recorded) {
        bridge::install();
        gate::forget();
        batch::stop();
        let before = collector::begin(self.stored, self.answer, self.refusal, self.baggage);
        let result = work();
        batch::stop();
        let recorded = collector::end(before);
        gate::forget();
        (result, recorded)
    }
}

/// An extension, called as its host calls it.
#[derive(Debug)]
pub struct Instance<E>(E);

impl<E: Extension> Instance<E> {
    /// Starts it with its configuration, a JSON object.
    pub fn start(config: &str) -> Result<Self, String> {
        let _flush = FlushAtEnd;
        gate::forget();
        E::init(config).map(Self)
    }

    /// Lets it handle an event.
    pub fn handle(&mut self, event: &str, payload: Payload) -> Result<Payload, Error> {
        let _flush = FlushAtEnd;
        gate::forget();
        self.0.handle(event, payload)
    }

    /// Lets it record its metrics.
    pub fn collect(&mut self) {
        let _flush = FlushAtEnd;
        crate::metrics::collect();
        self.0.collect();
    }

    /// Lets it check its health.
    pub fn health(&mut self) -> Vec<Check> {
        let _flush = FlushAtEnd;
        self.0.health()
    }

    /// Takes its state.
    pub fn save(&mut self) -> Option<Vec<u8>> {
        let _flush = FlushAtEnd;
        self.0.save()
    }

    /// Gives it the state of a predecessor.
    pub fn restore(&mut self, state: Vec<u8>) -> Result<(), String> {
        let _flush = FlushAtEnd;
        self.0.restore(state)
    }

    /// Shuts it down.
    pub fn shutdown(mut self) {
        let _flush = FlushAtEnd;
        self.0.shutdown();
    }

    /// The extension itself.
    pub fn get(&self) -> &E {
        &self.0
    }
}
