//! Batches: logs below warning, and samples, are gathered in the guest and cross together, each for a fraction of a crossing.
//!
//! Without [`start`] each log crosses by itself, and the host has it when the macro returns. With it, logs of the levels
//! trace, debug and info wait in 16 KiB of the extension's memory, and cross
//!
//! - when the memory is full;
//! - before a log of warning or above, an error or an alert, which cross alone, so that the order stays true;
//! - before a span starts or ends and a [`context`](crate::context) is entered or left, so that each log belongs to the span
//!   and the user that it was made for;
//! - before the extension waits in [`events::call`](crate::events::call), and before
//!   [`events::publish`](crate::events::publish);
//! - at the end of each call of the extension.
//!
//! With [`start_samples`] so do samples of bound counters and histograms. What is added to a counter between two crossings is one
//! sample, of the sum; a histogram keeps each value. Gauges, of which the last sample counts, and metrics that are not bound pass
//! a batch by: they have a sequence of their own.
//!
//! What waits elsewhere (a sleep, reading a file or a socket by `std`) is not seen here: log a warning, or end a span, before a
//! long wait whose logs should be seen during it.
//!
//! The host marks what came in a batch as `batched`; its time is that of receipt. Nothing is lost when a call ends badly: the
//! host then takes from the extension's memory all logs whose macro had returned, and all samples that were recorded, whether
//! the call trapped, panicked, used up its fuel, reached its deadline or was cancelled.
//!
//! Each host call may carry `budget.host_data_per_call`, which must not be less than a batch.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use std::time::{SystemTime, UNIX_EPOCH};

use glasshouse_wire::{self as wire, Level};

use crate::backend;

/// Some hundred logs: more would hardly make one of them cheaper, and would take the host longer in one go.
const BATCH_BYTES: usize = 16 * 1024;

/// What is known of when a batched log was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTime {
    /// That it was made between the flush before it and the host's receipt.
    OfReceipt,
    /// The time by the extension's own clock. Reading it is a call of the host for each log, about as dear as a crossing.
    OfGuest,
}

thread_local! {
    static BATCH: Cell<Option<&'static Batch>> = const { Cell::new(None) };
}

/// Gathers logs below warning from now on, for as long as the instance lives. It is meant for `init`.
///
/// ```
/// use glasshouse_sdk::batch::{self, LogTime};
/// use glasshouse_sdk::{extension, info};
///
/// struct Counter;
///
/// #[extension]
/// impl Counter {
///     fn init() -> Self {
///         batch::start(LogTime::OfReceipt);
///         Self
///     }
///
///     #[event]
///     fn count(&mut self, to: u64) {
///         for number in 1..=to {
///             info!("counted", number = number);
///         }
///     }
/// }
/// ```
pub fn start(time: LogTime) {
    shared().logs.set(Some(time));
}

/// Gathers samples of bound counters and histograms from now on, for as long as the instance lives. It is meant for `init` of an
/// extension that records many of them in a call.
///
/// ```
/// use glasshouse_sdk::{Meter, batch, counter, extension};
///
/// struct Words {
///     seen: Meter,
/// }
///
/// #[extension]
/// impl Words {
///     fn init() -> Self {
///         batch::start_samples();
///         Self { seen: counter("words").bind() }
///     }
///
///     #[event]
///     fn count(&mut self, text: String) {
///         for _ in text.split_whitespace() {
///             self.seen.increment();
///         }
///     }
/// }
/// ```
pub fn start_samples() {
    shared().samples.set(true);
}

/// The batch, which is made and shown to the host the first time.
fn shared() -> &'static Batch {
    BATCH.get().unwrap_or_else(|| {
        // Never given back: the host may look at it for as long as the instance lives.
        let batch: &'static Batch = Box::leak(Box::new(Batch::new()));
        BATCH.set(Some(batch));
        batch
    })
}

/// The batch, if logs are gathered.
#[inline]
pub(crate) fn of_logs() -> Option<&'static Batch> {
    BATCH.get().filter(|batch| batch.logs.get().is_some())
}

/// The batch, if samples are gathered.
#[inline]
pub(crate) fn of_samples() -> Option<&'static Batch> {
    BATCH.get().filter(|batch| batch.samples.get())
}

/// Sends what was gathered so far.
#[inline]
pub(crate) fn flush() {
    if let Some(batch) = BATCH.get() {
        batch.flush();
    }
}

/// Sends what was gathered so far when it is dropped: at the end of a call.
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Gathers no more: the next test begins without.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn stop() {
    flush();
    BATCH.set(None);
}

/// Gathered records. The host looks at `committed` and `bytes` whenever a call ends badly, and a trap can come at any
/// instruction: `committed` is written by one store, after the bytes that it covers are whole, and those change by one store at a
/// time, from one whole record to another.
pub(crate) struct Batch {
    committed: &'static AtomicU64,
    bytes: RefCell<&'static mut [u8]>,
    serial: Cell<u32>,
    /// The number of what is gathered at present among all that ever was, on any thread.
    number: Cell<u64>,
    /// What is known of the times of logs, if they are gathered.
    logs: Cell<Option<LogTime>>,
    /// Whether samples are gathered.
    samples: Cell<bool>,
}

/// The next number.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Batch {
    fn new() -> Self {
        let committed = Box::leak(Box::new(AtomicU64::new(0)));
        let bytes = vec![0; BATCH_BYTES].leak();
        backend::share_batch(std::slice::from_ref(committed.get_mut()), bytes);
        let batch = Self {
            committed,
            bytes: RefCell::new(bytes),
            serial: Cell::new(0),
            number: Cell::new(0),
            logs: Cell::new(None),
            samples: Cell::new(false),
        };
        batch.begin();
        batch
    }

    /// Whether a log of this level is gathered.
    #[inline]
    pub(crate) fn takes(level: Level) -> bool {
        level < Level::Warning
    }

    /// The time to write into a log that is gathered now, in Unix nanoseconds.
    #[inline]
    pub(crate) fn time(&self) -> Option<i64> {
        match self.logs.get() {
            None | Some(LogTime::OfReceipt) => None,
            Some(LogTime::OfGuest) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Some(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
        }
    }

    /// Gathers the record that `write` writes into the room that is left, if it can; `write` gives the bytes that it wrote, or
    /// `None` if there is too little room. What was gathered before is sent if it is in the way. `false`: the record is
    /// longer than a batch, and nothing is gathered.
    #[inline]
    pub(crate) fn gather(&self, write: impl Fn(&mut [u8]) -> Option<usize>) -> bool {
        if self.try_gather(&write) {
            return true;
        }
        self.flush();
        self.try_gather(&write)
    }

    #[inline]
    fn try_gather(&self, write: impl Fn(&mut [u8]) -> Option<usize>) -> bool {
        let Ok(mut bytes) = self.bytes.try_borrow_mut() else { return false };
        let start = self.committed().max(wire::BATCHED_HEAD_BYTES);
        let written = bytes.get_mut(start..).and_then(write);
        if let Some(written) = written {
            self.commit(start + written);
        }
        written.is_some()
    }

    /// The number of what is gathered at present; 0 for nothing, ever.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number.get()
    }

    /// How many bytes are gathered.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.committed()
    }

    /// Changes bytes of what was gathered, by one store. `false`: they are not there, and nothing is changed.
    #[inline]
    pub(crate) fn put<const N: usize>(&self, at: usize, bytes: [u8; N]) -> bool {
        let Ok(mut gathered) = self.bytes.try_borrow_mut() else { return false };
        let Some(place) = gathered.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { return false };
        compiler_fence(Ordering::SeqCst);
        *place = bytes;
        compiler_fence(Ordering::SeqCst);
        true
    }

    /// Sends what was gathered. A trap after the host took it and before `committed` says so does no harm: the host knows by
    /// the serial number that it has it.
    pub(crate) fn flush(&self) {
        let committed = self.committed();
        // It is borrowed only if a panic is reported while a log is written, which no code of the author's takes part in.
        let Ok(bytes) = self.bytes.try_borrow() else { return };
        if let Some(gathered) = bytes.get(..committed).filter(|gathered| !gathered.is_empty()) {
            backend::emit(gathered);
            drop(bytes);
            self.begin();
        }
    }

    /// Begins the next batch.
    fn begin(&self) {
        self.commit(0);
        self.serial.set(self.serial.get().wrapping_add(1));
        self.number.set(NUMBERS.fetch_add(1, Ordering::Relaxed));
        if let Ok(mut bytes) = self.bytes.try_borrow_mut()
            && let Some(head) = bytes.first_chunk_mut()
        {
            *head = wire::batched_head(self.serial.get());
        }
    }

    #[inline]
    fn committed(&self) -> usize {
        self.committed.load(Ordering::Relaxed) as usize
    }

    /// Says that so many bytes are whole. There is one thread only, so it is the compiler alone that must move nothing past it.
    #[inline]
    fn commit(&self, bytes: usize) {
        compiler_fence(Ordering::SeqCst);
        self.committed.store(bytes as u64, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES, LogTime, start, start_samples};
    use crate::testing::{Host, collector};
    use crate::{Severity, counter, gauge, histogram};
    use crate::{alert, context, critical, debug, events, info, record_error, span, warning};

    /// How many logs the host has by now.
    fn sent() -> usize {
        collector::with(|collector| collector.logs()).expect("the test collects")
    }

    #[test]
    fn what_is_gathered_is_sent_before_anything_whose_place_matters() {
        let ((), recorded) = Host::new().run(|| {
            start(LogTime::OfReceipt);
            let check = |what: &str, act: &dyn Fn()| {
                let before = sent();
                info!("gathered");
                debug!("gathered for {what}");
                assert_eq!(sent(), before, "{what}: they wait");
                act();
                assert!(sent() >= before + 2, "{what}: they are sent");
            };
            check("warning", &|| warning!("alone"));
            check("critical", &|| critical!("alone, {}", 1));
            check("error", &|| record_error("kind", "message"));
            check("alert", &|| alert("kind", Severity::Low, "title").raise());
            check("publish", &|| drop(events::publish("topic", 1)));
            check("call", &|| drop(events::call::<()>("other", "event", 1)));
            check("the start of a span", &|| drop(span!("span")));
            let outer = std::cell::Cell::new(Some(span!("outer")));
            check("the end of a span", &|| drop(outer.take()));
            check("a scope", &|| drop(context::scope().user("ada").enter()));
            let scope = std::cell::Cell::new(Some(context::scope().user("ada").enter()));
            check("the end of a scope", &|| drop(scope.take()));

            let before = sent();
            info!("gathered");
            counter("metric").record(1);
            assert_eq!(sent(), before, "metrics pass by");
            counter("metric").bind().record(1);
            assert_eq!(sent(), before, "and so do bound ones, where samples are not gathered");
        });
        let messages: Vec<_> = recorded.logs.iter().map(|log| log.message.as_str()).collect();
        assert_eq!(messages[..3], ["gathered", "gathered for warning", "alone"]);
        assert_eq!(messages[3..6], ["gathered", "gathered for critical", "alone, 1"]);
        assert_eq!(messages.last(), Some(&"gathered"), "the end of the run sends the rest");
    }

    #[test]
    fn a_full_batch_is_sent_and_a_log_longer_than_a_batch_crosses_alone_in_its_place() {
        let long = "x".repeat(BATCH_BYTES);
        let ((), recorded) = Host::new().run(|| {
            start(LogTime::OfReceipt);
            for number in 0..1000 {
                info!("literal", number = number);
                info!("formatted {number}", number = number);
            }
            assert!((1500..2000).contains(&sent()), "{}", sent());
            info!("long", text = long, number = 1000);
            assert_eq!(sent(), 2001);
            info!("{long}", number = 1001);
            info!("short", number = 1002);
            assert_eq!(sent(), 2002);
        });
        let numbers: Vec<_> = recorded.logs.iter().map(|log| log.fields["number"].as_u64()).collect();
        let expected: Vec<_> = (0..1000).flat_map(|number| [number, number]).chain(1000..1003).map(Some).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_display_that_logs_is_before_the_log_that_it_is_part_of() {
        struct Talkative;
        impl std::fmt::Display for Talkative {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                info!("inner");
                f.write_str("talk")
            }
        }
        let ((), recorded) = Host::new().run(|| {
            start(LogTime::OfReceipt);
            info!("first");
            info!("outer {Talkative}");
            warning!("warned {Talkative}");
            log::info!("through log, {Talkative}");
            tracing::info!("through tracing, {Talkative}");
        });
        let messages: Vec<_> = recorded.logs.iter().map(|log| log.message.as_str()).collect();
        let expected = [
            "first",
            "inner",
            "outer talk",
            "inner",
            "warned talk",
            "inner",
            "through log, talk",
            "inner",
            "through tracing, talk",
        ];
        assert_eq!(messages, expected);
    }

    /// The samples that have arrived.
    fn samples() -> Vec<(String, f64)> {
        collector::with(|collector| collector.samples()).expect("the test collects")
    }

    #[test]
    fn a_counters_samples_are_summed_a_histograms_kept_and_the_others_pass_by() {
        let ((), recorded) = Host::new().run(|| {
            start_samples();
            let meters = [counter("sum").bind(), histogram("each").bind()];
            let last = gauge("last").bind();
            for number in 1..=100 {
                for meter in &meters {
                    meter.record(number);
                }
            }
            info!("not gathered");
            assert_eq!((sent(), samples()), (1, Vec::new()), "samples wait for no log, and no log for them");
            last.record(1);
            counter("sum").record(1);
            assert_eq!(samples(), [("last".to_owned(), 1.0), ("sum".to_owned(), 1.0)]);
            // What the host refuses spoils no sum.
            for invalid in [f64::NAN, f64::INFINITY, -1.0] {
                meters[0].record(invalid);
            }
            meters[1].record(f64::NAN);
            assert_eq!(samples().len(), 6);
            meters[0].record(f64::MAX);
            meters[0].record(f64::MAX);
            drop(meters);
            drop(span!("span"));
            assert_eq!(samples().len(), 6 + 2 + 100);
        });
        let of = |name: &str| -> Vec<_> {
            let valid = recorded.samples.iter().filter(|sample| sample.name == name && sample.value.is_finite());
            valid.map(|sample| sample.value).collect()
        };
        assert_eq!(of("sum"), [1.0, -1.0, 5050.0 + f64::MAX, f64::MAX], "a sum that would not be finite begins anew");
        assert_eq!(of("each"), (1..=100).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn samples_of_many_series_and_logs_fill_batches_and_none_is_lost_or_counted_twice() {
        const ROUNDS: u32 = 50;
        let names: Vec<_> = (0..40).map(|number| format!("metric.{number}")).collect();
        let ((), recorded) = Host::new().run(|| {
            start(LogTime::OfReceipt);
            start_samples();
            let counters: Vec<_> = names.iter().map(|name| counter(name).label("of", "many").bind()).collect();
            let histograms: Vec<_> = names.iter().map(|name| histogram(name).unit("s").bind()).collect();
            let long = histogram(&"x".repeat(BATCH_BYTES)).bind();
            for round in 1..=ROUNDS {
                for meter in counters.iter().chain(&histograms) {
                    meter.record(round);
                }
                info!("round", number = round, text = "x".repeat(300));
                long.record(round);
            }
        });
        let total = f64::from(ROUNDS * (ROUNDS + 1) / 2);
        for name in &names {
            let (mut sum, mut each) = (0.0, Vec::new());
            for sample in recorded.samples.iter().filter(|sample| sample.name == *name) {
                if sample.labels.is_empty() { each.push(sample.value) } else { sum += sample.value }
            }
            assert_eq!((sum, each.len()), (total, ROUNDS as usize), "{name}");
            assert!(each.is_sorted(), "{name}");
        }
        assert_eq!(recorded.logs.len(), ROUNDS as usize);
        assert_eq!(recorded.samples.iter().filter(|sample| sample.name.len() == BATCH_BYTES).count(), ROUNDS as usize);
    }

    #[test]
    fn without_a_start_each_log_crosses_at_once_and_a_later_run_begins_without() {
        Host::new().run(|| start(LogTime::OfGuest));
        Host::new().run(|| {
            info!("literal");
            assert_eq!(sent(), 1);
            info!("formatted {}", 1);
            assert_eq!(sent(), 2);
        });
    }
}
