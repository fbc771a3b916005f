//! Never comes back from `init`.

use std::hint::black_box;

use glasshouse_sdk::extension;

/// The extension.
pub struct InitSpin;

#[extension]
impl InitSpin {
    fn init() -> Self {
        let mut turns = 0_u64;
        while black_box(turns) < u64::MAX {
            turns = black_box(turns + 1);
        }
        Self
    }
}
