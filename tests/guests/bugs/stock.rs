//! Bugs of what is on the shelves.

use std::cell::RefCell;
use std::hint::black_box;

#[inline(never)]
pub(crate) fn first_shelf(number: usize) -> usize {
    let shelves = black_box(vec![7_usize]);
    changed!();
    shelves[number]
}

#[inline(never)]
pub(crate) fn last_shelf(number: usize) -> usize {
    let shelves = black_box(vec![9_usize]);
    changed!();
    let shelf = shelves[number];
    changed!();
    shelf
}

#[inline(never)]
pub(crate) fn reserve(number: usize) -> usize {
    let found: Option<usize> = black_box(None);
    changed!();
    found.unwrap() + number
}

#[inline(never)]
pub(crate) fn release(number: usize) -> usize {
    let found: Option<usize> = black_box(None);
    number + found.unwrap()
}

#[inline(never)]
pub(crate) fn count(number: usize) -> usize {
    changed!();
    let found: Option<usize> = black_box(None);
    found.expect("it is in stock") + number
}

#[inline(never)]
pub(crate) fn share(number: usize) -> usize {
    let shelves = black_box(0_usize);
    changed!();
    number / shelves
}

#[inline(never)]
pub(crate) fn borrow(number: usize) -> usize {
    let shelf = black_box(RefCell::new(number));
    let kept = shelf.borrow_mut();
    changed!();
    *shelf.borrow_mut() + *kept
}

/// Where two bugs of others come to light.
#[inline(never)]
fn oldest(shelves: &[usize]) -> usize {
    changed!();
    *black_box(shelves).iter().min().unwrap()
}

#[inline(never)]
pub(crate) fn discard(number: usize) -> usize {
    changed!();
    oldest(&black_box(vec![])) + number
}

#[inline(never)]
pub(crate) fn recall(number: usize) -> usize {
    number + oldest(&black_box(Vec::new()))
}
