//! Traps before it can be called at all.

use glasshouse_sdk::{extension, info};

/// The extension.
pub struct InitTrap;

#[extension]
impl InitTrap {
    fn init() -> Self {
        info!("about to fail");
        panic!("there is nothing to start from")
    }

    /// Is never reached.
    #[event]
    fn echo(&mut self, text: String) -> String {
        text
    }
}
