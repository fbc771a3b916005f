//! Writes to its standard output and error what a terminal should not get.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what the program is for")]

use std::io::Write;

use glasshouse_sdk::{Error, Payload, extension};

/// The extension.
#[derive(Default)]
pub struct Stdio;

#[extension]
impl Stdio {
    /// Lines on both streams, an escape sequence, and a last line without an end.
    #[event]
    fn speak(&mut self) -> Result<(), Error> {
        println!("first line");
        println!("second line\r");
        println!();
        eprintln!("\u{1b}[31mred\u{1b}[0m and a bell \u{7}");
        print!("no end of line");
        std::io::stdout().flush()?;
        Ok(())
    }

    /// Writes its payload to standard output as it is.
    #[event]
    fn write(&mut self, payload: Payload) -> Result<(), Error> {
        std::io::stdout().write_all(&payload.bytes)?;
        std::io::stdout().flush()?;
        Ok(())
    }
}
