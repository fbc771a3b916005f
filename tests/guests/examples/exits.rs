//! Ends its own process.

use glasshouse_sdk::{extension, info};

/// The extension.
#[derive(Default)]
pub struct Exits {
    calls: u64,
}

#[extension]
impl Exits {
    /// Exits with a status.
    #[event]
    fn exit(&mut self, status: i32) {
        info!("leaving");
        std::process::exit(status);
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}
