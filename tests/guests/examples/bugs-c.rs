//! The third build of a guest with bugs: what it does is told in a span, and by a function that others call, too.

use std::collections::BTreeMap;
use std::hint::black_box;

use glasshouse_sdk::{counter, extension, span};

/// Keeps a tally in a function of its own.
macro_rules! changed {
    () => {{
        let places = [line!(), column!()].map(std::hint::black_box);
        if places[0] == 0 {
            crate::tally(&places);
        }
    }};
}

/// Counts how often a number is among others.
fn tally(places: &[u32]) {
    let mut counts = BTreeMap::new();
    for place in places {
        *counts.entry(place).or_insert(0_u32) += 1;
    }
    counter("places").record(black_box(counts.len() as f64));
}

#[path = "../bugs/mod.rs"]
mod shop;

/// The extension.
#[derive(Default)]
pub struct Bugs;

impl Bugs {
    fn work(bug: &str, number: usize) -> usize {
        let _span = span!("work", number = number);
        tally(&[number as u32]);
        shop::run(bug, number)
    }
}

#[extension]
impl Bugs {
    /// Does what has the bug of that name.
    #[event]
    fn run(&mut self, work: (String, usize)) -> usize {
        let (bug, number) = work;
        if bug.is_empty() { number } else { Self::work(&bug, number) }
    }
}
