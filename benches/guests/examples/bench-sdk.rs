//! What an extension does with the SDK, so many times in a row that the way into and out of it does not count.

#[path = "../visit.rs"]
mod visit;

use std::hint::black_box;
use std::time::Duration;

use glasshouse_sdk::batch::{self, LogTime};
use glasshouse_sdk::{
    ApiRequest, Meter, Severity, alert, counter, debug, extension, info, instrument, record_error, span,
};
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

    /// Calls a function that is traced at debug.
    #[event]
    fn instrument(&mut self, times: u32) {
        for index in 0..times {
            black_box(serve(black_box("/index.html"), black_box(index)));
        }
    }

    /// Records samples through a bound meter.
    #[event]
    fn meter(&mut self, times: u32) {
        for index in 0..times {
            self.meter.record(black_box(index));
        }
    }

    /// Records samples without a meter.
    #[event]
    fn sample(&mut self, times: u32) {
        for index in 0..times {
            counter(black_box("bench.samples")).label("route", black_box("/index")).record(black_box(index));
        }
    }

    /// Tells of requests by the helper.
    #[event]
    fn request(&mut self, times: u32) {
        for _ in 0..times {
            ApiRequest::new(black_box("GET"), black_box("https://example.com/index.html"))
                .status(black_box(200))
                .elapsed(black_box(Duration::from_micros(900)))
                .log();
        }
    }

    /// Logs the same below the level that is stored by default.
    #[event]
    fn debug(&mut self, times: u32) {
        for status in 0..times {
            debug!(
                target: "bench",
                "a message of sixty-four bytes, which is about what a log line is",
                path = black_box("/index.html"),
                status = black_box(status),
                seconds = black_box(0.25),
                cached = black_box(true),
            );
        }
    }

    /// Reports errors.
    #[event]
    fn error(&mut self, times: u32) {
        for _ in 0..times {
            record_error(black_box("bench-error"), black_box("the page is not in the cache, nor in the one behind it"));
        }
    }

    /// Raises alerts.
    #[event]
    fn alert(&mut self, times: u32) {
        for _ in 0..times {
            alert("bench.alert", Severity::Low, black_box("the queue is long"))
                .metric("bench.queue")
                .value(black_box(12.0))
                .threshold(10.0)
                .raise();
        }
    }

    /// Computes a little each time.
    #[event]
    fn work(&mut self, times: u32) -> u64 {
        (0..times).fold(0, |sum, index| sum ^ mix(index))
    }

    /// The same, with a log for each that is below the level.
    #[event]
    fn told(&mut self, times: u32) -> u64 {
        let mut all = 0;
        for index in 0..times {
            let sum = mix(index);
            debug!(target: "bench", "mixed", index = index, sum = sum);
            all ^= sum;
        }
        all
    }

    /// The same, each time in a span.
    #[event]
    fn spanned(&mut self, times: u32) -> u64 {
        let mut all = 0;
        for index in 0..times {
            let _span = span!("mixing", index = index);
            all ^= mix(index);
        }
        all
    }

    /// Does nothing.
    #[event]
    fn empty(&mut self) {}
}

/// Does next to nothing, so that it is the tracing that counts.
#[inline(never)]
#[instrument(level = Debug)]
fn serve(path: &str, index: u32) -> usize {
    path.len() + index as usize
}

/// Work that no compiler sees through.
fn mix(seed: u32) -> u64 {
    let mut state = u64::from(seed);
    for _ in 0..200 {
        state = black_box(state.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (state >> 29));
    }
    state
}
