//! Behaves well, so that tests can see whether the others disturb it.

use glasshouse_sdk::{Error, Payload, counter, extension, info};

/// The extension.
#[derive(Default)]
pub struct Neighbour {
    calls: u64,
}

#[extension]
impl Neighbour {
    /// Gives back what it gets, and leaves a log and a metric behind.
    #[event]
    fn echo(&mut self, payload: Payload) -> Payload {
        self.calls += 1;
        info!("echoed", number = self.calls, size = payload.bytes.len());
        counter("echoes").record(1);
        payload
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls
    }

    /// Answers with an error.
    #[event]
    fn refuse(&mut self) -> Result<(), Error> {
        Err(Error::failed("refusal", "as it was asked to"))
    }

    fn shutdown(&mut self) {
        info!("goodbye", calls = self.calls);
    }
}
