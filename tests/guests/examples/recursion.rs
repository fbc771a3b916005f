//! Calls itself until the stack is used up.

use std::hint::black_box;

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct Recursion {
    calls: u64,
}

#[extension]
impl Recursion {
    /// Goes down for ever.
    #[event]
    fn descend(&mut self) -> u64 {
        deeper(black_box(1))
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

#[inline(never)]
fn deeper(level: u64) -> u64 {
    if black_box(level) == 0 { 0 } else { deeper(black_box(level + 1)).wrapping_add(black_box(level)) }
}
