//! What an extension does with the SDK, so many times in a row that the way into and out of it does not count.

#[path = "../visit.rs"]
mod visit;

use std::hint::black_box;

use glasshouse_sdk::batch::{self, LogTime};
use glasshouse_sdk::{Meter, counter, extension, info, span};
use visit::{Visit, visit};

/// The extension.
pub struct Bench {
    meter: Meter,
}

impl Default for Bench {
    fn default() -> Self {
        Self { meter: counter("bench.samples").unit("1").label("route", "/index").bind() }
    }
}

#[extension]
impl Bench {
    /// Logs 64 bytes with four fields. The target is that of the bare guest, so that both send the same bytes.
    #[event]
    fn log(&mut self, times: u32) {
        for number in 0..times {
            let Visit { path, status, seconds, cached } = visit(number);
            info!(
                target: "bench",
                "a message of sixty-four bytes, which is about what a log line is",
                path = path,
                status = status,
                seconds = seconds,
                cached = cached,
            );
        }
    }

    /// Gathers the logs of the later calls.
    #[event]
    fn batch(&mut self) {
        batch::start(LogTime::OfReceipt);
    }

    /// Starts and ends spans with two fields.
    #[event]
    fn span(&mut self, times: u32) {
        for index in 0..times {
            let _span = span!("work", path = black_box("/index.html"), index = black_box(index));
        }
    }

    /// Records samples through a bound meter.
    #[event]
    fn meter(&mut self, times: u32) {
        for index in 0..times {
            self.meter.record(black_box(index));
        }
    }

    /// Does nothing.
    #[event]
    fn empty(&mut self) {}
}
