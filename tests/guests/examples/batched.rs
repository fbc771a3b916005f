//! Gathers logs, and samples if asked for, and ends in every way there is.
#![allow(unsafe_code, reason = "one of the ways out breaks the sandbox's rules")]

use std::hint::black_box;

use glasshouse_sdk::batch::{self, LogTime};
use glasshouse_sdk::{Meter, counter, error, extension, gauge, histogram, info, span, warning};
use serde::Deserialize;

/// The extension.
pub struct Batched {
    /// Counts in the host, by a crossing of its own, the logs whose macro returned.
    made: Meter,
    /// Record what a log records, where samples are gathered.
    samples: Option<[Meter; 2]>,
}

/// The configuration.
#[derive(Deserialize)]
pub struct Config {
    /// Whether logs have the time of the guest's clock.
    #[serde(default)]
    timed: bool,
    /// Whether samples are recorded, and gathered.
    #[serde(default)]
    samples: bool,
    /// Whether `init` fails, after so many logs.
    #[serde(default)]
    fail_init_after: Option<u64>,
    /// Whether that is a panic, or an error.
    #[serde(default)]
    panic: bool,
}

/// Logs, and a way out.
#[derive(Deserialize)]
pub struct Logs {
    logs: u64,
    then: String,
}

fn log(number: u64) {
    // Messages that are literal and those that are formatted are written in two ways.
    if number.is_multiple_of(3) {
        info!("formatted {number}", number = number, text = "some text that makes it longer than a word or two");
    } else {
        info!("literal", number = number, truth = true);
    }
}

#[extension]
impl Batched {
    fn init(config: Config) -> Result<Self, std::fmt::Error> {
        batch::start(if config.timed { LogTime::OfGuest } else { LogTime::OfReceipt });
        if let Some(logs) = config.fail_init_after {
            (1..=logs).for_each(log);
            assert!(!config.panic, "init gives up");
            return Err(std::fmt::Error);
        }
        let samples = config.samples.then(|| {
            batch::start_samples();
            [counter("sum").label("of", "ones").bind(), histogram("each").unit("1").bind()]
        });
        Ok(Self { made: counter("made").bind(), samples })
    }

    /// Writes numbered logs, then ends in the way that was asked for.
    #[event]
    fn log(&mut self, logs: Logs) {
        for number in 1..=logs.logs {
            log(number);
            self.sample(number);
        }
        match logs.then.as_str() {
            "unreachable" => {
                #[cfg(target_family = "wasm")]
                core::arch::wasm32::unreachable();
            }
            "out-of-bounds" => {
                let far = black_box(0xffff_0000_usize) as *const u8;
                // SAFETY: none; it is the sandbox that must stop it.
                black_box(unsafe { far.read_volatile() });
            }
            "recursion" => drop(black_box(deeper(black_box(1)))),
            "panic" => panic!("that was it"),
            "spin" => loop {
                black_box(());
            },
            "sleep" => std::thread::sleep(std::time::Duration::from_hours(1)),
            "exit" => std::process::exit(7),
            "warning" => {
                warning!("alone");
                log(logs.logs + 1);
            }
            _ => {}
        }
    }

    /// Writes logs for ever. The host is told of each one once its macro has returned, past the batch.
    #[event("count-for-ever")]
    fn count_for_ever(&mut self, text_bytes: usize) {
        let text = "x".repeat(text_bytes);
        for number in 1_u64.. {
            if number.is_multiple_of(2) {
                info!("formatted {number}", number = number, text = text);
            } else {
                info!("literal", number = number, text = text);
            }
            self.made.increment();
        }
    }

    /// Records samples for ever. The host is told of each number once all of its samples were recorded, past the batch.
    #[event("sample-for-ever")]
    fn sample_for_ever(&mut self) {
        let told = gauge("told").bind();
        for number in 1_u64.. {
            self.sample(number);
            told.record(number);
        }
    }

    /// Writes logs in spans, of which the last one stays open.
    #[event]
    fn spans(&mut self) {
        log(1);
        let outer = span!("outer");
        log(2);
        {
            let _inner = span!("inner");
            log(3);
        }
        log(4);
        error!("alone");
        log(5);
        // The span is open when the call fails.
        std::mem::forget(outer);
        panic!("in a span");
    }
}

impl Batched {
    fn sample(&self, number: u64) {
        if let Some([sum, each]) = &self.samples {
            sum.increment();
            each.record(number);
        }
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if depth == 0 { 0 } else { deeper(black_box(depth + 1)) + black_box(here)[0] }
}
