//! Answers `init` with an error unless its configuration has a key.

use glasshouse_sdk::{Error, extension};
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    key: Option<String>,
}

/// The extension.
pub struct InitRefuses {
    key: String,
}

#[extension]
impl InitRefuses {
    fn init(config: Config) -> Result<Self, Error> {
        let key = config.key.ok_or_else(|| Error::failed("config", "a key is needed: set config.key"))?;
        Ok(Self { key })
    }

    /// Tells the key.
    #[event]
    fn key(&mut self) -> String {
        self.key.clone()
    }
}
