//! Log files in tiers: everything, fine detail, what went wrong, JSON lines, and a file for each of what people look for. They are
//! written by a thread of their own from what is stored, so that no extension waits for them; files that are full are set aside,
//! compressed and in the end removed by another one.

mod cleanup;
mod folder;
mod host_log;
mod keeper;
mod line;
mod live;
mod names;
mod position;
mod status;
mod stop;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tiers;
mod told;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use glasshouse_export::Source;
use glasshouse_model::config::LogFileSettings;
use glasshouse_model::{Clock, LogTier, UnixNanos};
use glasshouse_telemetry::Cursor;

use folder::Folder;
use keeper::Keeper;
use live::LiveFile;
use names::Rotated;
use position::Position;
use status::Shared;
use stop::Stop;
use stream::Stream;
use writer::Writer;

pub use folder::LogFilesError;
pub use host_log::{HostLog, HostLogLayer};
pub use status::LogFilesStatus;

/// How much lower than the guests' the priority of the threads is that write and keep files.
const NICENESS: i32 = 5;
/// Cursors of extensions that do not run that are kept, so that a folder which is used for years does not collect them.
const OTHERS: usize = 10_000;

/// The log files of a host. Dropping it gives up what is not written yet; [`LogFiles::finish`] writes it.
pub struct LogFiles {
    folder: Arc<Folder>,
    settings: LogFileSettings,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    writer: Arc<Stop>,
    keeper: Arc<Stop>,
    /// What the writer begins with, until it is started.
    ready: Mutex<Option<Ready>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Ready {
    files: Vec<LiveFile>,
    cursors: Vec<Cursor>,
    host_log: Option<HostLog>,
    since: UnixNanos,
}

impl LogFiles {
    /// Takes the folder of the settings for this host, and opens the files in it; `None` if there is to be none. Called before
    /// extensions are started: of those that the folder knows nothing of, what is recorded from now on is written. Blocks.
    pub fn open(
        settings: &LogFileSettings,
        host_log: &HostLog,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, LogFilesError> {
        let Some(path) = &settings.folder else { return Ok(None) };
        let folder = Folder::open(path)?;
        let now = clock.now();
        let io = |doing| move |cause| LogFilesError::Io { path: path.clone(), doing, cause };
        let position = Position::load(&folder).map_err(io("read how far they have got"))?.unwrap_or_default();
        let aside: Vec<_> =
            folder.names().map_err(io("look"))?.iter().filter_map(|name| Rotated::parse(name)).collect();
        let open = |tier: LogTier| {
            let least = aside.iter().filter(|file| file.tier == tier).map(|file| file.number + 1).max().unwrap_or(1);
            LiveFile::open(&folder, tier, position.files.get(tier.as_str()), least, now)
        };
        let files = settings.written_tiers().into_iter().map(open).collect::<io::Result<Vec<_>>>();
        let files = files.map_err(io("open a log file"))?;
        let cursors = position.cursors.iter().filter_map(|cursor| cursor.parse().ok()).collect();
        let host_log = host_log.open(Arc::clone(&clock)).then(|| host_log.clone());
        Ok(Some(Self {
            folder: Arc::new(folder),
            settings: settings.clone(),
            clock,
            shared: Arc::default(),
            writer: Arc::default(),
            keeper: Arc::default(),
            ready: Mutex::new(Some(Ready { files, cursors, host_log, since: now })),
            threads: Mutex::default(),
        }))
    }

    /// Begins to write what these have recorded. Does nothing if it was called before.
    pub fn start(&self, sources: &[Source]) -> Result<(), LogFilesError> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Ready { files, mut cursors, host_log, since }) = ready else { return Ok(()) };
        let mut streams = Vec::new();
        for source in sources {
            for signal in told::SIGNALS {
                let known = cursors.iter().position(|cursor| Stream::is_of(source, signal, cursor));
                let known = known.map(|index| cursors.swap_remove(index));
                streams.push(Stream::new(source, signal, known.as_ref(), since));
            }
        }
        let writer = Writer {
            folder: Arc::clone(&self.folder),
            settings: self.settings.clone(),
            clock: Arc::clone(&self.clock),
            files,
            streams,
            others: cursors.iter().take(OTHERS).map(Cursor::to_string).collect(),
            host_log,
            shared: Arc::clone(&self.shared),
            stop: Arc::clone(&self.writer),
            keeper: Arc::clone(&self.keeper),
            said: VecDeque::new(),
            first: 0,
            is_placed: false,
        };
        let keeper = Keeper {
            folder: Arc::clone(&self.folder),
            settings: self.settings.clone(),
            clock: Arc::clone(&self.clock),
            stop: Arc::clone(&self.keeper),
        };
        self.spawn("log-files", move || writer.run())?;
        self.spawn("log-keeper", move || keeper.run())
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), LogFilesError> {
        let lowered = move || {
            // Refused where the system does not let a thread lower itself.
            let _ = rustix::process::nice(NICENESS);
            run();
        };
        let io = |cause| LogFilesError::Io { path: self.folder.path.clone(), doing: "start a thread", cause };
        let thread = Builder::new().name(name.to_owned()).spawn(lowered).map_err(io)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// How it goes.
    pub fn status(&self) -> LogFilesStatus {
        self.shared.status(self.folder.path.clone())
    }

    /// Writes what is left, for some seconds at most, and ends. Blocks.
    pub fn finish(&self) {
        self.writer.finish();
        self.keeper.end();
        self.join();
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        self.writer.end();
        self.keeper.end();
        self.join();
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(host_log) = ready.and_then(|ready| ready.host_log) {
            host_log.close();
        }
    }
}
