//! Where an export is written to: standard output, or a file that has its name only when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// What an export is written to.
pub(super) enum Target {
    Stdout(Stdout),
    /// A pipe or a device: it is written to as it is.
    Device(File),
    Partial(Partial),
}

/// A file beside the one that is meant. It goes with the value, unless it got its name.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    name: PathBuf,
    is_done: bool,
}

impl Target {
    /// Opens the file, or standard output if there is none.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        let opened = match path.metadata() {
            Ok(known) if known.is_dir() => bail!("{} is a folder; name a file in it with --output", path.display()),
            Ok(known) if !known.is_file() => OpenOptions::new().write(true).open(path).map(Self::Device),
            // What a link leads to is replaced, and not the link.
            Ok(_) => path.canonicalize().and_then(|path| Partial::beside(&path)).map(Self::Partial),
            Err(_) => Partial::beside(path).map(Self::Partial),
        };
        opened.with_context(|| format!("opening {} to export to it", path.display()))
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        if let Self::Partial(mut partial) = self {
            let name = partial.name.display().to_string();
            // Else a crash of the system could leave the name without all of the bytes.
            partial
                .file
                .sync_all()
                .and_then(|()| std::fs::rename(&partial.path, &partial.name))
                .with_context(|| format!("giving what was exported its name {name}; nothing is left of it"))?;
            partial.is_done = true;
        }
        Ok(())
    }

    /// What is left where it was not finished.
    pub(super) fn given_up(&self) -> &'static str {
        match self {
            Self::Partial(_) => "nothing is left of it, and what had that name before is as it was",
            Self::Stdout(_) | Self::Device(_) => "what was written is no whole export",
        }
    }
}

impl Partial {
    fn beside(name: &Path) -> io::Result<Self> {
        let mut file_name = std::ffi::OsString::from(".");
        file_name.push(name.file_name().unwrap_or_default());
        file_name.push(format!(".{:016x}.partial", fastrand::u64(..)));
        let path = name.with_file_name(file_name);
        // As private as the data directory, unless there is a file already that says otherwise.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let partial = Self { file, path, name: name.to_owned(), is_done: false };
        if let Ok(known) = name.metadata() {
            partial.file.set_permissions(known.permissions())?;
        }
        Ok(partial)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_done {
            // Where that fails, the name tells what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Device(file) => file.write(bytes),
            Self::Partial(partial) => partial.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Device(file) => file.flush(),
            Self::Partial(partial) => partial.file.flush(),
        }
    }
}
