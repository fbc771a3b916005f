//! Reaches for what it was not granted: variables, files, addresses.

use std::fs;
use std::io::Write;

use glasshouse_sdk::extension;
use serde::Deserialize;

/// A file to write.
#[derive(Deserialize)]
struct Request {
    path: String,
    text: String,
}

/// The extension.
#[derive(Default)]
pub struct Trespasser;

#[extension]
impl Trespasser {
    /// The value of a variable.
    #[event]
    fn env(&mut self, name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    /// The names of all variables.
    #[event]
    fn variables(&mut self) -> Vec<String> {
        std::env::vars().map(|(name, _)| name).collect()
    }

    /// The text of a file, or why there is none.
    #[event]
    fn read(&mut self, path: String) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| format!("refused: {error}"))
    }

    /// Writes a file, or tells why it cannot.
    #[event]
    fn write(&mut self, what: Request) -> String {
        let written = fs::File::create(&what.path).and_then(|mut file| file.write_all(what.text.as_bytes()));
        written.map_or_else(|error| format!("refused: {error}"), |()| "written".to_owned())
    }
}
