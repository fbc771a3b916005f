//! Allocates for ever.

use glasshouse_sdk::{extension, info};

/// The extension.
#[derive(Default)]
pub struct MemoryBomb {
    calls: u64,
    kept: Vec<Vec<u8>>,
}

#[extension]
impl MemoryBomb {
    /// Keeps one more mebibyte until there is none.
    #[event]
    fn hoard(&mut self) {
        info!("hoarding from now on");
        loop {
            self.kept.push(vec![1; 1 << 20]);
        }
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}
