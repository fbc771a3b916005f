//! What can go wrong while a toolchain is found or used, in words for the person who has to mend it.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use crate::TARGET;

/// A failure to find, prepare or use a guest toolchain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the ways worked.
    #[error("{}", no_toolchain(.tried))]
    NoToolchain {
        /// Each way, in order, and why it did not work.
        tried: Vec<Attempt>,
    },
    /// The variable that picks a way has a value that is not one.
    #[error("{}: unknown way \"{value}\" (use \"installed\", \"rustup\" or \"debian\")", crate::WAY_VARIABLE)]
    UnknownWay {
        /// What was found.
        value: String,
    },
    /// The folder to build has no `Cargo.toml`.
    #[error("{}: there is no Cargo.toml here; name the folder of an extension's sources", .folder.display())]
    NoManifest {
        /// The folder.
        folder: PathBuf,
    },
    /// Cargo could not be started, or its output could not be read.
    #[error("running {program} to build {what}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What was to be built.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The compiler or the linker refused the sources; its own messages went to stderr.
    #[error("building {what} for {TARGET} failed; the compiler's messages above say why")]
    Build {
        /// What was being built.
        what: String,
    },
    /// The build went through and made no WebAssembly module.
    #[error(
        "building {what} made no .wasm file; an extension's Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`"
    )]
    NoArtifact {
        /// What was built.
        what: String,
    },
}

/// One way that was tried, and why it did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The way, for a person.
    pub way: &'static str,
    /// Why it did not work, or what to type so that it will.
    pub reason: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.way, self.reason)
    }
}

fn no_toolchain(tried: &[Attempt]) -> String {
    let mut text = format!("there is no toolchain that builds for {TARGET}; one of these ways has to work:");
    for (index, attempt) in tried.iter().enumerate() {
        let reason = attempt.to_string().trim().replace('\n', "\n     ");
        let _ = write!(text, "\n  {}. {reason}", index + 1);
    }
    text
}
