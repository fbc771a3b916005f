//! Sends the host batches of records that are none.

use glasshouse_sdk::{Payload, extension, info};

/// The extension.
#[derive(Default)]
pub struct MalformedEmit;

#[extension]
impl MalformedEmit {
    /// Passes its payload to `emit` as it is, then logs in good form.
    #[event]
    fn emit(&mut self, batch: Payload) {
        emit(&batch.bytes);
        info!("still here");
    }

    /// The same, three times in a call.
    #[event]
    fn thrice(&mut self, batch: Payload) {
        for _ in 0..3 {
            emit(&batch.bytes);
        }
    }
}

#[cfg(target_family = "wasm")]
fn emit(batch: &[u8]) {
    glasshouse_sdk::bindings::glasshouse::extension::debugging::emit(batch);
}

#[cfg(not(target_family = "wasm"))]
fn emit(_batch: &[u8]) {}
