//! Loops for ever.

use std::hint::black_box;

use glasshouse_sdk::{extension, info, span};

/// The extension.
#[derive(Default)]
pub struct Spin {
    calls: u64,
}

#[extension]
impl Spin {
    /// Never returns, and never waits.
    #[event]
    fn spin(&mut self) {
        info!("spinning from now on");
        let _span = span!("spinning");
        whirl();
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Takes so many rounds of a short loop.
    #[event]
    fn work(&mut self, rounds: u64) -> u64 {
        let mut sum = 0_u64;
        for round in 0..rounds {
            sum = black_box(sum.wrapping_add(round));
        }
        sum
    }
}

#[inline(never)]
fn whirl() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}
