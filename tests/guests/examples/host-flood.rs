//! Makes work for the host without an end, at little fuel of its own.

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct HostFlood;

#[extension]
impl HostFlood {
    /// Emits batches of so many of the smallest records, for ever.
    #[event]
    fn batches(&mut self, records: usize) {
        let mut batch = vec![1];
        for _ in 0..records {
            batch.extend_from_slice(&[1, 5, 0, 0, 0, 2, 0, 0, 0, 0]);
        }
        loop {
            emit(&batch);
        }
    }

    /// Logs a message of so many bytes, for ever.
    #[event]
    fn messages(&mut self, bytes: usize) {
        let message = "x".repeat(bytes);
        loop {
            log(&message);
        }
    }

    /// Writes empty lines to its standard output, for ever.
    #[event]
    fn lines(&mut self) {
        use std::io::Write as _;
        let lines = [b'\n', b'x'].repeat(2000);
        loop {
            // What the host does not take now, it takes later.
            let _ = std::io::stdout().write_all(&lines);
        }
    }

    /// Starts and ends spans with a name of so many bytes, for ever.
    #[event]
    fn spans(&mut self, bytes: usize) {
        let name = "x".repeat(bytes);
        loop {
            drop(glasshouse_sdk::Span::start(&name, glasshouse_sdk::SpanKind::Internal, &[]));
        }
    }
}

#[cfg(target_family = "wasm")]
fn emit(batch: &[u8]) {
    glasshouse_sdk::bindings::glasshouse::extension::debugging::emit(batch);
}

#[cfg(target_family = "wasm")]
fn log(message: &str) {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{Level, log};
    log(Level::Info, message, &[]);
}

#[cfg(not(target_family = "wasm"))]
fn emit(_batch: &[u8]) {}

#[cfg(not(target_family = "wasm"))]
fn log(_message: &str) {}
