//! Has a closure that its host polls, and tells of requests and errors under their usual names.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use glasshouse_sdk::{counter, extension, gauge, metrics};

/// The extension.
pub struct Collectors {
    length: Rc<Cell<u64>>,
    polled: Rc<Cell<u64>>,
}

#[extension]
impl Collectors {
    fn init() -> Self {
        let (length, polled) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (of_queue, of_polls) = (Rc::clone(&length), Rc::clone(&polled));
        metrics::register_collector("queue", move || {
            of_polls.set(of_polls.get() + 1);
            gauge("queue.length").record(of_queue.get());
        });
        Self { length, polled }
    }

    /// Makes the queue longer.
    #[event]
    fn push(&mut self) {
        self.length.set(self.length.get() + 1);
    }

    /// How often the closure ran.
    #[event]
    fn polled(&mut self) -> u64 {
        self.polled.get()
    }

    /// Serves a request and fails at another.
    #[event]
    fn serve(&mut self) {
        metrics::time_request("search", || ());
        metrics::record_request_time("index", Duration::from_millis(12));
        metrics::record_error("timeout");
    }

    /// Panics.
    #[event]
    fn panic(&mut self) {
        panic!("and what was registered is gone");
    }

    fn collect(&mut self) {
        counter("collected").record(1);
    }
}
