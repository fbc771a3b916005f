//! Logs without measure.

use glasshouse_sdk::{extension, info};

/// The extension.
#[derive(Default)]
pub struct LogFlood;

#[extension]
impl LogFlood {
    /// Writes so many logs in one call.
    #[event]
    fn flood(&mut self, logs: u64) -> u64 {
        for number in 0..logs {
            info!("another drop", number = number);
        }
        logs
    }
}
