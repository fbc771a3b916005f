//! Where stores are kept: in memory, or in a data directory that this host alone writes to.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use glasshouse_model::settings::{Redaction, Settings};
use glasshouse_model::{Clock, Signal};
use rustix::fs::FlockOperation;

use crate::allowance::{Allowance, RingAllowance};
use crate::ended::{self, Stand, Stands};
use crate::header::{FORMAT_VERSION, OLDEST_FORMAT_VERSION};
use crate::home::{Found, Home};
use crate::input::InputKey;
use crate::keeper::Keeper;
use crate::metrics::{Tier, rolled_up_to, roller};
use crate::provisional;
use crate::reader::Reader;
use crate::redact::{RedactionError, Redactor};
use crate::ring::{Bounds, DiskRing, Ring};
use crate::rounds::Rounds;
use crate::shares::Shares;
use crate::store::{Kept, Store, StoreSettings};
use crate::thresholds::watcher;

/// The folder of all extensions' folders.
pub(crate) const EXTENSIONS: &str = "extensions";
/// The file that says what a data directory is.
const FORMAT: &str = "format";
const FORMAT_NAME: &str = "glasshouse telemetry";
/// The file that the host which writes to the directory holds locked.
const LOCK: &str = "lock";
/// What an extension's state may take: four times what it is written anew after.
const STATE_BOUNDS: Bounds = Bounds { records: usize::MAX, bytes: 2 << 20, disk_bytes: 4 << 20, age: Duration::MAX };
/// Of the bytes of an extension that may have few, one part of so many is set aside for its state.
const STATE_SHARE: u64 = 4;
/// Folders that are looked through at once: as many requests as a disk is glad of.
const OPENED_AT_ONCE: usize = 16;

/// How a [`Depot`] is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotSettings {
    /// The folder that telemetry is kept in; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Bytes on the disk that all extensions may have together.
    pub data_limit: u64,
    /// How often what is over its age is removed.
    pub cleanup_interval: Duration,
    /// How often what was recorded is made safe against the loss of power.
    pub sync_interval: Duration,
}

impl Default for DepotSettings {
    fn default() -> Self {
        Self {
            data_dir: None,
            data_limit: 16 << 30,
            cleanup_interval: Duration::from_mins(1),
            sync_interval: Duration::from_secs(5),
        }
    }
}

/// What a data directory takes of its disk, and what that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes that all stores take.
    pub taken: u64,
    /// Bytes that they may take.
    pub limit: u64,
    /// Bytes that the file system has left for this user; `None` where it does not say.
    pub free: Option<u64>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another host writes to it.
    #[error("the data directory {path} is in use by another host{by}; stop that one, or use another directory", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other host's process, in words.
        by: String,
    },
    /// It is of a version that this host does not know, or no data directory.
    #[error("the data directory {path} is {found}; this glasshouse reads formats {OLDEST_FORMAT_VERSION} to {FORMAT_VERSION}: use another directory, or another version of glasshouse", path = path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// What it says that it is.
        found: String,
    },
    /// The system refused.
    #[error("cannot {doing} in the data directory {path}: {cause}", path = path.display())]
    Io {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What is in the data directory cannot be read.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A rule of redaction is none.
    #[error(transparent)]
    Redaction(#[from] RedactionError),
}

/// Keeps stores, and what has to be done for them in the background.
pub struct Depot {
    disk: Option<Arc<Disk>>,
    /// These end before the keeper, which has to look after what they store.
    watcher: Rounds,
    roller: Rounds,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
    /// Shared by the extensions that have the same rules.
    redactors: Mutex<HashMap<Redaction, Arc<Redactor>>>,
    /// What was found of rings, by folder, before their stores are asked for.
    ahead: Mutex<HashMap<Arc<Path>, io::Result<Found>>>,
    input_key: Arc<InputKey>,
}

/// A data directory that this host writes to.
pub(crate) struct Disk {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    allowance: Arc<Allowance>,
    failing: AtomicBool,
    failure: Mutex<String>,
    shares: Shares,
    /// How rings stood when an earlier host ended in order.
    ended: Stands,
}

impl Disk {
    /// Whether the last try to write failed, so that records go to memory.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// What extensions have of the bytes that the host may keep.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// How a ring stood when an earlier host ended in order, if that said so.
    fn stood(&self, home: &Home) -> Option<Stand> {
        self.ended.get(home.folder.strip_prefix(&self.root).ok()?).copied()
    }

    /// Notes how rings stand, for the next host: this one has ended in order.
    pub(crate) fn note_end<'r>(&self, rings: impl Iterator<Item = &'r Ring>) {
        let of = |(folder, stand): (Arc<Path>, Stand)| Some((folder.strip_prefix(&self.root).ok()?.to_owned(), stand));
        // Those of extensions that this host did not run stand as they stood.
        let mut stands = self.ended.clone();
        for ring in rings {
            if let Some(folder) = ring.folder().and_then(|folder| folder.strip_prefix(&self.root).ok()) {
                stands.remove(folder);
            }
            stands.extend(ring.stand().and_then(of));
        }
        if let Err(error) = ended::write(&self.root, &stands) {
            tracing::warn!(
                data_dir = %self.root.display(),
                "who followed what was stored may be told of a gap that is none, after the system was started anew: {error}"
            );
        }
    }

    /// Notes that a file could not be made; said once until the disk works again.
    #[cold]
    pub(crate) fn note_failure(&self, error: &io::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
            tracing::warn!(
                data_dir = %self.root.display(),
                "telemetry cannot be written to the disk, and goes on in memory until it can: {error}"
            );
        }
    }

    /// Tries whether the disk takes as much as a ring asks for at once.
    pub(crate) fn try_again(&self) -> bool {
        const TRIED_BYTES: u64 = 4 << 20;
        let path = self.root.join("probe");
        let tried =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).and_then(|file| {
                Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, TRIED_BYTES)?)
            });
        let _ = fs::remove_file(&path);
        if tried.is_ok() && self.failing.swap(false, Ordering::Relaxed) {
            // As loud as the failure: whoever was told of that waits for this.
            tracing::warn!(data_dir = %self.root.display(), "telemetry is written to the disk again");
        }
        tried.is_ok()
    }
}

impl Depot {
    /// Keeps stores in memory only.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        let keeper = Keeper::start(None, &DepotSettings::default(), Arc::clone(&clock));
        let roller = roller(Arc::clone(&clock));
        let watcher = watcher(Arc::clone(&clock));
        let input_key = Arc::new(InputKey::random());
        Self {
            disk: None,
            watcher,
            roller,
            keeper,
            clock,
            redactors: Mutex::default(),
            ahead: Mutex::default(),
            input_key,
        }
    }

    /// Opens the data directory, or makes it, if there is to be one.
    pub fn open(settings: &DepotSettings, clock: Arc<dyn Clock>) -> Result<Self, DataDirError> {
        let disk =
            settings.data_dir.as_deref().map(|root| Disk::open(root, settings.data_limit)).transpose()?.map(Arc::new);
        let input_key = Arc::new(disk.as_ref().map_or_else(InputKey::random, |disk| InputKey::of(&disk.root)));
        let keeper = Keeper::start(disk.clone(), settings, Arc::clone(&clock));
        let roller = roller(Arc::clone(&clock));
        let watcher = watcher(Arc::clone(&clock));
        Ok(Self {
            disk,
            watcher,
            roller,
            keeper,
            clock,
            redactors: Mutex::default(),
            ahead: Mutex::default(),
            input_key,
        })
    }

    /// The data directory, if there is one.
    pub fn data_dir(&self) -> Option<&Path> {
        self.disk.as_ref().map(|disk| disk.root.as_path())
    }

    /// Opens what is stored of these extensions, several at once; each [`Depot::store`] then finds its own. Opening one waits
    /// for the disk more often than for a processor, so that a host of many starts sooner. Blocks.
    pub fn open_ahead<'e>(&self, extensions: impl IntoIterator<Item = &'e str>) {
        let Some(disk) = &self.disk else { return };
        let homes_of = |extension: &'e str| {
            let signals = Signal::ALL.iter().map(|signal| Home::new(&disk.root, extension, *signal));
            let rollups = Tier::ALL.iter().map(|tier| Home::of_rollups(&disk.root, extension, *tier));
            let states = [Home::of_state(&disk.root, extension), Home::of_alert_state(&disk.root, extension)];
            signals.chain(rollups).chain(states)
        };
        let homes: Vec<_> = extensions.into_iter().flat_map(homes_of).collect();
        let next = AtomicUsize::new(0);
        let open = || {
            while let Some(home) = homes.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = home.open(disk.stood(home));
                self.ahead.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&home.folder), found);
            }
        };
        thread::scope(|scope| {
            for _ in 1..OPENED_AT_ONCE.min(homes.len()) {
                // With fewer threads than that, those that there are take longer.
                let _ = thread::Builder::new().spawn_scoped(scope, open);
            }
            open();
        });
    }

    /// The store of an extension: with what is in the data directory, or empty. Where that cannot be read, or the rules of
    /// redaction are no rules, the extension has no store.
    pub fn store(&self, extension: &str, settings: &Settings) -> Result<Arc<Store>, StoreError> {
        let redactor = self.redactor(&settings.redaction)?;
        Ok(self.store_of(extension, &StoreSettings::new(settings), redactor)?)
    }

    /// A store in memory, whatever there is on the disk.
    pub fn store_in_memory(&self, settings: &Settings) -> Arc<Store> {
        let settings = StoreSettings::new(settings);
        let store = Store::new(&settings, Arc::default());
        self.keeper.watch(store.rings());
        self.roller.follow(&store);
        self.watcher.follow(&store);
        store
    }

    pub(crate) fn store_of(
        &self,
        extension: &str,
        settings: &StoreSettings,
        redactor: Arc<Redactor>,
    ) -> Result<Arc<Store>, DataDirError> {
        // Its telemetry leaves the extension's state room, which that has in any case.
        let state_bytes = 2 * STATE_BOUNDS.disk_bytes + provisional::FILE_BYTES;
        let allowed =
            Arc::new(Allowance::new(settings.disk_bytes - state_bytes.min(settings.disk_bytes / STATE_SHARE)));
        let allowed_for_state = Arc::new(Allowance::new(state_bytes));
        let mut rollups = Vec::with_capacity(Tier::COUNT);
        for (tier, bounds) in Tier::ALL.iter().zip(&settings.rollups) {
            let home = |disk: &Disk| Home::of_rollups(&disk.root, extension, *tier);
            let ring = self.ring(home, *bounds, &allowed, 1)?;
            rollups.push(ring.unwrap_or_else(|| Ring::in_memory(*bounds)));
        }
        let rolled_up_to =
            rollups.iter().map(|ring| rolled_up_to(&Reader::of_ring(Arc::clone(ring), Signal::Metric))).max();
        let mut rings = Vec::with_capacity(Signal::COUNT);
        for (signal, bounds) in Signal::ALL.iter().zip(&settings.bounds) {
            let home = |disk: &Disk| Home::new(&disk.root, extension, *signal);
            // Rollups of samples that were lost have taken their numbers.
            let least_next = rolled_up_to.filter(|_| *signal == Signal::Metric).unwrap_or(1);
            let ring = self.ring(home, *bounds, &allowed, least_next)?;
            rings.push(ring.unwrap_or_else(|| Ring::in_memory(*bounds)));
        }
        let state = |home: fn(&Path, &str) -> Home| {
            let home = |disk: &Disk| home(&disk.root, extension);
            self.ring(home, STATE_BOUNDS, &allowed_for_state, 1)
        };
        let (groups, alerts) = (state(Home::of_state)?, state(Home::of_alert_state)?);
        self.keeper.watch(groups.iter().chain(&alerts));
        let provisional = self.disk.as_ref().map(|disk| {
            let allowance = RingAllowance {
                ring: Allowance::new(provisional::FILE_BYTES),
                extension: Arc::clone(&allowed_for_state),
                host: Arc::clone(&disk.allowance),
            };
            let home = Home::of_provisional(&disk.root, extension);
            provisional::Files::new(home, Arc::clone(disk), allowance, Arc::clone(&self.clock))
        });
        if let Some(disk) = &self.disk {
            disk.shares.add(allowed, allowed_for_state, rings.iter().chain(&rollups));
        }
        let kept = Kept { groups, alerts, input_key: Arc::clone(&self.input_key), provisional: provisional.clone() };
        let Ok(rings) = <[Arc<Ring>; Signal::COUNT]>::try_from(rings) else { unreachable!("a ring for each signal") };
        let Ok(rollups) = <[Arc<Ring>; Tier::COUNT]>::try_from(rollups) else { unreachable!("a ring for each tier") };
        let store = Store::with_rings(extension, rings, rollups, kept, settings, redactor);
        if let Some(files) = provisional {
            files.recover(&store).map_err(|cause| files.unreadable(cause))?;
        }
        self.keeper.watch(store.rings());
        self.roller.follow(&store);
        self.watcher.follow(&store);
        Ok(store)
    }

    fn redactor(&self, rules: &Redaction) -> Result<Arc<Redactor>, RedactionError> {
        let mut redactors = self.redactors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(redactor) = redactors.get(rules) {
            return Ok(Arc::clone(redactor));
        }
        let redactor = Arc::new(Redactor::new(rules)?);
        redactors.insert(rules.clone(), Arc::clone(&redactor));
        Ok(redactor)
    }

    /// A ring in files, with what is in them; `None` without a data directory. Its sequence numbers go on at `least_next`, at least.
    fn ring(
        &self,
        home: impl FnOnce(&Disk) -> Home,
        bounds: Bounds,
        allowed: &Arc<Allowance>,
        least_next: u64,
    ) -> Result<Option<Arc<Ring>>, DataDirError> {
        let Some(disk) = &self.disk else { return Ok(None) };
        let home = home(disk);
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).remove(&home.folder);
        let mut found = ahead.unwrap_or_else(|| home.open(disk.stood(&home))).map_err(|cause| DataDirError::Io {
            path: home.folder.to_path_buf(),
            doing: "read what is stored",
            cause,
        })?;
        if found.damaged > 0 {
            tracing::warn!(
                folder = %home.folder.display(),
                "stored telemetry is damaged in {} places; what is whole is kept",
                found.damaged
            );
        }
        found.next_sequence = found.next_sequence.max(least_next);
        let allowance = RingAllowance {
            ring: Allowance::new(bounds.disk_bytes),
            extension: Arc::clone(allowed),
            host: Arc::clone(&disk.allowance),
        };
        let (disk, errands) = (Arc::clone(disk), self.keeper.errands());
        let disk = DiskRing::new(home, disk, allowance, errands, Arc::clone(&self.clock));
        Ok(Some(Ring::on_disk(bounds, disk, found)))
    }

    /// The disk fails from now on, until it is tried again.
    #[cfg(test)]
    pub(crate) fn fail(&self, error: &io::Error) {
        self.disk.iter().for_each(|disk| disk.note_failure(error));
    }

    /// Bytes on the disk that all stores take.
    pub fn disk_bytes(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.allowance.taken())
    }

    /// What the data directory takes of its disk, and what that has left; `None` without one. Asks the file system.
    pub fn disk_use(&self) -> Option<DiskUse> {
        let disk = self.disk.as_ref()?;
        let free = rustix::fs::statvfs(&disk.root).ok().map(|system| system.f_bavail.saturating_mul(system.f_frsize));
        Some(DiskUse { taken: disk.allowance.taken(), limit: disk.allowance.most(), free })
    }

    /// Why records go to memory although there is a data directory; `None` if they do not.
    pub fn disk_failure(&self) -> Option<String> {
        let disk = self.disk.as_ref().filter(|disk| disk.is_failing())?;
        Some(disk.failure.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Waits until all that is full is sealed and what is to go has gone, and all is safe against the loss of power.
    pub fn settle(&self) {
        self.roller.settle();
        self.watcher.settle();
        self.keeper.settle();
    }

    /// Ends in order: seals all that there is, what is being written to as well, and makes it safe against the loss of power. What that takes longer
    /// than `limit` for stays in its files, and is found by the next host; so does whatever there is if this one is killed meanwhile. What comes
    /// later is sealed when this is dropped. Blocks, and returns after `limit` in any case.
    pub fn finish(&self, limit: Duration) {
        self.keeper.finish(limit);
    }
}

impl Disk {
    fn open(root: &Path, limit: u64) -> Result<Self, DataDirError> {
        let io = |doing| move |cause| DataDirError::Io { path: root.to_owned(), doing, cause };
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(io("make a folder"))?;
        let format = check_format(root, true)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(root.join(LOCK)).map_err(io("open the lock"))?;
        if let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io("lock")(error.into()));
            }
            let mut pid = String::new();
            // Who it is, is only for the message.
            let _ = lock.read_to_string(&mut pid);
            let by = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
            return Err(DataDirError::InUse { path: root.to_owned(), by });
        }
        // What there is stays as it is, and is read; what comes is of the present format.
        if format < FORMAT_VERSION {
            write_format(root).map_err(io("write"))?;
        }
        // Who holds it, is only for the message of one that is refused.
        let _ = lock.set_len(0).and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
            allowance: Arc::new(Allowance::new(limit)),
            failing: AtomicBool::new(false),
            failure: Mutex::default(),
            shares: Shares::default(),
            ended: ended::take(root).map_err(io("read how an earlier host ended"))?,
        })
    }
}

/// Says in a data directory that it is of the present format.
fn write_format(root: &Path) -> io::Result<()> {
    let part = root.join("format.part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    writeln!(file, "{FORMAT_NAME} {FORMAT_VERSION}")?;
    // Without it no host would read anything in here: the loss of power must leave one or the other.
    file.sync_all()?;
    fs::rename(&part, root.join(FORMAT))?;
    File::open(root)?.sync_all()
}

/// Checks that a folder is a data directory of a known version, and tells which; an empty one may be made one.
pub(crate) fn check_format(root: &Path, make: bool) -> Result<u16, DataDirError> {
    let path = root.join(FORMAT);
    let io = |doing| move |cause| DataDirError::Io { path: root.to_owned(), doing, cause };
    let wrong = |found: String| Err(DataDirError::Format { path: root.to_owned(), found });
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let other = fs::read_dir(root).map_err(io("look"))?.flatten().any(|entry| entry.file_name() != LOCK);
            if other || !make {
                return wrong(format!("no data directory: it has no file \"{FORMAT}\""));
            }
            return write_format(root).map(|()| FORMAT_VERSION).map_err(io("write"));
        }
        read => read.map_err(io("read"))?,
    };
    match text.trim().strip_prefix(FORMAT_NAME).map(|version| version.trim().parse::<u16>()) {
        Some(Ok(version @ OLDEST_FORMAT_VERSION..=FORMAT_VERSION)) => Ok(version),
        Some(Ok(version)) => wrong(format!("of format {version}")),
        _ => wrong("no data directory of glasshouse, or one whose file \"format\" is damaged".into()),
    }
}
