//! The first build of a guest with bugs.

use glasshouse_sdk::extension;

/// Nothing was changed yet.
macro_rules! changed {
    () => {};
}

#[path = "../bugs/mod.rs"]
mod shop;

/// The extension.
#[derive(Default)]
pub struct Bugs;

#[extension]
impl Bugs {
    /// Does what has the bug of that name.
    #[event]
    fn run(&mut self, work: (String, usize)) -> usize {
        shop::run(&work.0, work.1)
    }
}
