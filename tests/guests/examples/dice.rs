//! Works as long as the time and random bytes have it.
#![allow(unsafe_code, reason = "the standard library has no function for random bytes")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glasshouse_sdk::{context, counter, extension, info, span};

/// The extension.
#[derive(Default)]
pub struct Dice;

#[extension]
impl Dice {
    /// Turns as often as the time, random bytes, the order of a hash table and the trace's id say; tells how often.
    #[event]
    fn roll(&mut self) -> u64 {
        let _span = span!("roll");
        let began = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let table: HashMap<u64, u64> = (0..100).map(|number| (number, number)).collect();
        let first = table.keys().next().copied().unwrap_or_default();
        let trace = context::current().trace_id.bytes().map(u64::from).sum::<u64>();
        let turns = u64::from(since_epoch.subsec_micros() % 1000) + random() % 1000 + first + trace;
        for turn in 0..turns {
            black_box(turn);
        }
        std::thread::sleep(Duration::from_hours(1));
        while began.elapsed() < Duration::from_secs(3601) {
            std::thread::sleep(Duration::from_millis(100));
        }
        info!("rolled", turns = turns, took = format!("{:?}", began.elapsed()));
        counter("turns").record(turns as f64);
        turns
    }
}

/// A number of `wasi:random/random`'s.
fn random() -> u64 {
    #[cfg(target_family = "wasm")]
    {
        unsafe extern "C" {
            fn getentropy(bytes: *mut u8, length: usize) -> i32;
        }
        let mut bytes = [0; 8];
        // SAFETY: there is room for as many bytes as are asked for.
        let failed = unsafe { getentropy(bytes.as_mut_ptr(), bytes.len()) };
        assert_eq!(failed, 0, "there are random bytes");
        u64::from_le_bytes(bytes)
    }
    #[cfg(not(target_family = "wasm"))]
    0
}
