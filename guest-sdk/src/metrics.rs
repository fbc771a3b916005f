//! Metrics that most extensions have, by their usual names, and collectors: what the host asks for every metrics interval.
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//! use std::time::Duration;
//!
//! use glasshouse_sdk::{gauge, metrics};
//!
//! let waiting = Rc::new(Cell::new(3));
//! let queue = Rc::clone(&waiting);
//! metrics::register_collector("queue", move || gauge("queue.length").record(queue.get()));
//!
//! let answer = metrics::time_request("search", || "found");
//! metrics::record_request_time("index", Duration::from_millis(12));
//! metrics::record_error("timeout");
//! ```

use std::cell::RefCell;
use std::mem;
use std::time::{Duration, Instant};

use crate::{Kind, counter, histogram, is_stored};

/// How long requests took: a histogram in milliseconds, with the label `operation`.
pub const RESPONSE_TIME: &str = "response_time";
/// How many errors there were: a counter, with the label `kind`.
pub const ERRORS: &str = "errors";

thread_local! {
    static COLLECTORS: RefCell<Collectors> = const { RefCell::new(Collectors { all: Vec::new(), changed: Vec::new(), running: false }) };
}

type Collector = Box<dyn FnMut()>;

struct Collectors {
    all: Vec<(String, Collector)>,
    /// What was registered, or removed, while they ran.
    changed: Vec<(String, Option<Collector>)>,
    running: bool,
}

impl Collectors {
    fn set(&mut self, name: String, collector: Option<Collector>) {
        if self.running {
            return self.changed.push((name, collector));
        }
        self.all.retain(|(known, _)| *known != name);
        self.all.extend(collector.map(|collector| (name, collector)));
    }
}

/// Records how long a request took, under [`RESPONSE_TIME`]. Choose names of operations of which there are few.
///
/// The host measures an extension's calls by itself, also under this name; its samples are told apart by their origin.
pub fn record_request_time(operation: &str, elapsed: Duration) {
    if !is_stored(Kind::Metrics) {
        return;
    }
    let millis = elapsed.as_secs_f64() * 1000.0;
    histogram(RESPONSE_TIME).unit("ms").label("operation", operation).record(millis);
}

/// Does some work, and records how long it took as [`record_request_time`] does. With metrics off no clock is read.
pub fn time_request<T>(operation: &str, work: impl FnOnce() -> T) -> T {
    if !is_stored(Kind::Metrics) {
        return work();
    }
    let began = Instant::now();
    let done = work();
    record_request_time(operation, began.elapsed());
    done
}

/// Counts an error under [`ERRORS`]. What happened is told by [`record_error`](crate::record_error), which stores the error itself.
pub fn record_error(kind: &str) {
    if !is_stored(Kind::Metrics) {
        return;
    }
    counter(ERRORS).unit("{error}").label("kind", kind).record(1);
}

/// Has a closure run every metrics interval, before the extension's own `collect`: it records what it has to say. With metrics off
/// it is not run. One of the same name is replaced. It lives as long as the instance.
pub fn register_collector(name: impl Into<String>, collector: impl FnMut() + 'static) {
    COLLECTORS.with_borrow_mut(|collectors| collectors.set(name.into(), Some(Box::new(collector))));
}

/// Removes a collector; nothing happens if there is none of this name.
pub fn unregister_collector(name: &str) {
    COLLECTORS.with_borrow_mut(|collectors| collectors.set(name.to_owned(), None));
}

/// Runs all collectors, in the order in which they were registered, if metrics are stored.
pub(crate) fn collect() {
    if !is_stored(Kind::Metrics) {
        return;
    }
    let mut all = COLLECTORS.with_borrow_mut(|collectors| {
        collectors.running = true;
        mem::take(&mut collectors.all)
    });
    // A collector may register others.
    for (_, collector) in &mut all {
        collector();
    }
    COLLECTORS.with_borrow_mut(|collectors| {
        collectors.running = false;
        collectors.all = all;
        for (name, collector) in mem::take(&mut collectors.changed) {
            collectors.set(name, collector);
        }
    });
}
