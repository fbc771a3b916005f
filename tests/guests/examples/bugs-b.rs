//! The second build of a guest with bugs: it notes what it does, and more came before what it did.

use std::cell::Cell;
use std::hint::black_box;

use glasshouse_sdk::{debug, extension};

thread_local! {
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// Counts what is done, in place.
macro_rules! changed {
    () => {
        crate::NOTED.set(std::hint::black_box(crate::NOTED.get()).wrapping_mul(31).wrapping_add(u64::from(line!())));
    };
}

/// The extension.
#[derive(Default)]
pub struct Bugs {
    calls: Vec<String>,
}

#[extension]
impl Bugs {
    /// Tells what it was asked for.
    #[event]
    fn asked(&mut self) -> Vec<String> {
        self.calls.clone()
    }

    /// Does what has the bug of that name.
    #[event]
    fn run(&mut self, work: (String, usize)) -> usize {
        let (bug, number) = work;
        debug!("asked", bug = bug, number = number);
        self.calls.push(bug.clone());
        self.calls.sort();
        checked(shop::run(&bug, black_box(number)))
    }
}

fn checked(number: usize) -> usize {
    number.min(1 << 20)
}

#[path = "../bugs/mod.rs"]
mod shop;
