//! Sleeps.

use std::hint::black_box;
use std::time::Duration;

use glasshouse_sdk::{extension, info};

/// The extension.
#[derive(Default)]
pub struct Sleeper {
    calls: u64,
}

#[extension]
impl Sleeper {
    /// Never wakes up.
    #[event]
    fn sleep(&mut self) {
        info!("falling asleep");
        loop {
            std::thread::sleep(Duration::from_millis(1 << 40));
        }
    }

    /// Sleeps for so many milliseconds.
    #[event]
    fn nap(&mut self, milliseconds: u64) -> u64 {
        info!("a short nap");
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }

    /// Works for more than a slice and sleeps for a millisecond, so many times.
    #[event]
    fn doze(&mut self, times: u64) -> u64 {
        for _ in 0..times {
            for round in 0..100_000_u64 {
                black_box(round);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        times
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    fn shutdown(&mut self) {
        info!("good night");
    }
}
