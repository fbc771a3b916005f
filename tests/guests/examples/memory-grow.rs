//! Asks for more memory again and again, whatever the answer.

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct MemoryGrow {
    calls: u64,
}

#[extension]
impl MemoryGrow {
    /// Never takes no for an answer.
    #[event]
    fn insist(&mut self) {
        loop {
            grow(1);
        }
    }

    /// Asks for more than there can be, so many times, and tells how often the answer was no.
    #[event]
    fn ask(&mut self, times: u32) -> u32 {
        (0..times).map(|_| u32::from(!grow(1 << 15))).sum()
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

/// Grows the memory by so many pages of 64 KiB; tells whether it could.
#[cfg(target_family = "wasm")]
fn grow(pages: usize) -> bool {
    core::arch::wasm32::memory_grow::<0>(pages) != usize::MAX
}

#[cfg(not(target_family = "wasm"))]
fn grow(_pages: usize) -> bool {
    true
}
