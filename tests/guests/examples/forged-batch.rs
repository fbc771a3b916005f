//! Shares nonsense with the host as its batch, and ends.
#![allow(unsafe_code, reason = "the host must bear lists that no safe code would pass")]

use glasshouse_sdk::{Payload, extension};

/// The extension.
#[derive(Default)]
pub struct ForgedBatch;

#[extension]
impl ForgedBatch {
    /// Shares its payload as the batch: first the committed length in eight bytes, little-endian.
    #[event]
    fn share(&mut self, payload: Payload) {
        let (committed, batch) = parts(&payload);
        share(&[committed], batch);
        trap();
    }

    /// The same, and sends what it shared before it ends.
    #[event("share-and-emit")]
    fn share_and_emit(&mut self, payload: Payload) {
        let (committed, batch) = parts(&payload);
        share(&[committed], batch);
        emit(batch);
        trap();
    }

    /// Shares, and takes it back.
    #[event("take-back")]
    fn take_back(&mut self, payload: Payload) {
        let (committed, batch) = parts(&payload);
        share(&[committed], batch);
        share(&[committed], &[]);
        trap();
    }

    /// Shares another number of lengths than one.
    #[event]
    fn lengths(&mut self, lengths: usize) {
        share(&vec![1; lengths], &[0; 64]);
        trap();
    }

    /// Shares a list that begins in its memory and ends outside.
    #[event("past-the-end")]
    fn past_the_end(&mut self) {
        // SAFETY: none; it is the sandbox that must stop it.
        share(&[1], unsafe { std::slice::from_raw_parts(std::ptr::dangling::<u8>(), 0x7fff_ffff) });
    }

    /// Shares lists that are one and the same memory, whole of what it has, and writes over it.
    #[event]
    fn overlap(&mut self) {
        let mut both = vec![u64::MAX; 1000];
        // SAFETY: the bytes are those of the vector.
        let bytes = unsafe { std::slice::from_raw_parts(both.as_ptr().cast::<u8>(), 8000) };
        share(&both[..1], bytes);
        both[0] = 8000;
        std::hint::black_box(&mut both);
        trap();
    }
}

fn parts(payload: &Payload) -> (u64, &[u8]) {
    let (committed, batch) = payload.bytes.split_first_chunk().expect("eight bytes at least");
    (u64::from_le_bytes(*committed), batch)
}

#[cfg(target_family = "wasm")]
fn share(committed: &[u64], batch: &[u8]) {
    glasshouse_sdk::bindings::glasshouse::extension::debugging::share_batch(committed, batch);
}

#[cfg(target_family = "wasm")]
fn emit(batch: &[u8]) {
    glasshouse_sdk::bindings::glasshouse::extension::debugging::emit(batch);
}

#[cfg(target_family = "wasm")]
fn trap() {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn share(_committed: &[u64], _batch: &[u8]) {}

#[cfg(not(target_family = "wasm"))]
fn emit(_batch: &[u8]) {}

#[cfg(not(target_family = "wasm"))]
fn trap() {}
