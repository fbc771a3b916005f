//! Bugs of what is ordered.

use std::hint::black_box;

#[inline(never)]
pub(crate) fn parse(number: usize) -> usize {
    let texts = black_box(vec!["1", "two"]);
    changed!();
    texts.iter().map(|text| text.parse::<usize>().unwrap()).sum::<usize>() + number
}

#[inline(never)]
fn pick<T: Copy>(of: &[T], number: usize) -> T {
    changed!();
    black_box(of)[number]
}

#[inline(never)]
pub(crate) fn pick_bytes(number: usize) -> usize {
    usize::from(pick(&[1_u8], number))
}

#[inline(never)]
pub(crate) fn pick_pairs(number: usize) -> usize {
    changed!();
    pick(&[(1_usize, 2_usize)], number).0
}

#[inline(never)]
fn stroll(number: usize) -> usize {
    if black_box(number) == 0 { 0 } else { walk(black_box(number + 1)).wrapping_add(black_box(number)) }
}

#[inline(never)]
pub(crate) fn walk(number: usize) -> usize {
    if black_box(number) == 0 { 0 } else { stroll(black_box(number + 1)).wrapping_add(black_box(number)) }
}

#[inline(never)]
pub(crate) fn forget(number: usize) -> usize {
    changed!();
    #[cfg(target_family = "wasm")]
    if black_box(number) > 0 {
        core::arch::wasm32::unreachable();
    }
    number
}

#[inline(never)]
pub(crate) fn cut(number: usize) -> usize {
    let text = black_box("grüße");
    changed!();
    text[..3].len() + number
}
