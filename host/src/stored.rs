//! What extensions did under a host that has stopped, or crashed, or runs elsewhere: read from its data directory.

use std::path::Path;

use glasshouse_export::Source;
use glasshouse_model::{Clock as _, Signal};
use glasshouse_runtime::SystemClock;
use glasshouse_telemetry::{Alert, DataDir, DataDirError, ErrorGroup, Reader};

use crate::records::{Record, Records};
use crate::traces::Traces;

/// The telemetry in a data directory. Reading it does not disturb a host that writes to it.
#[derive(Clone, Debug)]
pub struct Stored(DataDir);

/// The telemetry of one extension in a data directory.
#[derive(Clone, Debug)]
pub struct StoredExtension {
    id: String,
    dir: DataDir,
}

impl Stored {
    /// Opens a data directory.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        DataDir::open(path).map(Self)
    }

    /// The extensions that something is stored of, by id.
    pub fn extensions(&self) -> Result<Vec<StoredExtension>, DataDirError> {
        Ok(self.0.extensions()?.into_iter().map(|id| self.extension(&id)).collect())
    }

    /// Finds requests that several extensions may have had a part in.
    pub fn traces(&self) -> Result<Traces, DataDirError> {
        Ok(Traces::of(&self.extensions()?))
    }

    /// One extension; nothing is stored of one that is unknown.
    pub fn extension(&self, id: &str) -> StoredExtension {
        StoredExtension { id: id.to_owned(), dir: self.0.clone() }
    }
}

impl StoredExtension {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its records of a kind, such as `records::<LogRecord>()`. The stacks of failures are told by function, without source
    /// lines.
    pub fn records<T: Record>(&self) -> Records<T> {
        Records::new(|signal| self.reader(signal), &self.id)
    }

    /// All that is stored of it, to be exported.
    pub fn source(&self) -> Source {
        Source::new(&self.id, |signal| self.reader(signal))
    }

    /// The groups of its errors that are the same bug, as of now; those with the latest errors first.
    pub fn error_groups(&self) -> Vec<ErrorGroup> {
        self.dir.error_groups(&self.id, SystemClock::new().now())
    }

    /// Its alerts as of now, its own and the host's about it: those that fire first, of them the latest first.
    pub fn alert_states(&self) -> Vec<Alert> {
        self.dir.alerts(&self.id, SystemClock::new().now())
    }

    /// Reads one of its signals as it is stored.
    pub fn reader(&self, signal: Signal) -> Reader {
        self.dir.reader(&self.id, signal)
    }
}
