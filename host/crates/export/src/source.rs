//! Where records come from: what is stored of one extension.

use glasshouse_model::Signal;
use glasshouse_telemetry::Reader;

/// What is stored of one extension. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    extension: String,
    readers: [Reader; Signal::COUNT],
}

impl Source {
    /// What is stored of an extension, by what makes a reader of each of its signals.
    pub fn new(extension: &str, reader: impl Fn(Signal) -> Reader) -> Self {
        Self { extension: extension.to_owned(), readers: std::array::from_fn(|index| reader(Signal::ALL[index])) }
    }

    /// The extension's id; [`glasshouse_model::HOST`] of the host's own process.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// Reads one of its signals.
    pub fn reader(&self, signal: Signal) -> &Reader {
        &self.readers[signal as usize]
    }
}
