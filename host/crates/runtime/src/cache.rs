//! Compiled components on disk: keyed by the component's digest and the engine, trusted only if their own checksum fits.
#![expect(unsafe_code, reason = "loading precompiled code is unsafe by nature; see `Cache::load` for why it is sound")]

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use glasshouse_model::Digest;
use twox_hash::xxhash3_128;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::Machine;
use crate::identities::Identities;
use crate::reach::Reach;

/// Bytes of a file that are read at once: they stay in the processor's cache while they are hashed.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of an artefact that is loaded where it is asked for, if they are in memory: two tenths of a millisecond's work at the most. To hand it to another
/// thread and back takes a third of that, and on a busy machine longer.
const IN_PLACE_BYTES: u64 = 2 << 20;
/// The ending of an artefact's name: compiled code, and the checksum of that.
const ARTEFACT: &str = "artefact";
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 16;
/// The endings of what hosts before this one kept: code, and beside it its checksum or digest. Nobody reads them.
const OLD: [&str; 3] = ["cwasm", "sum", "digest"];
/// The end of the name of a file that is being written.
const PART: &str = ".part";
/// How long an artefact that nobody asks for is kept.
const KEPT_UNUSED: Duration = Duration::from_hours(30 * 24);
/// How old an artefact's mark of use may get before it is renewed.
const USE_MARK_AGE: Duration = Duration::from_hours(24);

/// A folder of compiled components that only its owner can change.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// `None` where they cannot be kept, so that each start reads every component.
    identities: Option<Identities>,
}

impl Cache {
    /// Opens the folder, or makes it, with access for its owner only.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let metadata = fs::metadata(folder)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user, who could change the code in it"));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        }
        let identities = Identities::open(folder).inspect_err(|error| {
            tracing::warn!(folder = %folder.display(), "each start reads all of every component, since their digests cannot be remembered: {error}");
        });
        let cache = Self { folder: folder.to_owned(), identities: identities.ok() };
        cache.remove_unused(SystemTime::now());
        Ok(cache)
    }

    /// The digest of an open component file, and its size: what was remembered of it if it is as it was then.
    pub(crate) fn identify(&self, file: &File, metadata: &Metadata) -> io::Result<(Digest, u64)> {
        match &self.identities {
            None => digest_file(file),
            Some(identities) => identities.identify(file, metadata, SystemTime::now(), digest_file),
        }
    }

    /// What is remembered of a component file: its digest.
    pub(crate) fn recall(&self, metadata: &Metadata, reach: Reach) -> Option<Digest> {
        self.identities.as_ref()?.recall(metadata, reach)
    }

    /// The compiled component, if there is an undamaged one for this engine; from memory, only a small one. A damaged one is removed by who reaches to the
    /// disk.
    pub(crate) fn load(&self, machine: &Machine, component: &Digest, reach: Reach) -> Option<Component> {
        let artefact = self.artefact(machine.compatibility, component);
        let file = reach.open(&artefact).ok()?;
        let metadata = file.metadata().ok()?;
        if reach == Reach::Memory && (metadata.len() > IN_PLACE_BYTES || is_mark_due(&metadata)) {
            return None;
        }
        let loaded = if is_undamaged(&file, metadata.len(), reach).ok()? {
            // SAFETY: the file is what `Engine::precompile_component` gave a host of this user, or the process in which it
            // compiles: its checksum fits, and nobody else can write to the folder. (Who could would write a checksum as well:
            // that tells damage, and so would a digest, at several times the price.)
            unsafe { Component::deserialize_file(&machine.engine, &artefact) }.map_err(|error| format!("{error:#}"))
        } else {
            Err("it is damaged".to_owned())
        };
        match loaded {
            Ok(component) => {
                if is_mark_due(&metadata) {
                    // Without the mark the artefact is removed early and compiled anew.
                    let _ = file.set_modified(SystemTime::now());
                }
                Some(component)
            }
            // Whoever may wait for the disk looks at it again.
            Err(_) if reach == Reach::Memory => None,
            Err(cause) => {
                tracing::warn!(artefact = %artefact.display(), "a compiled component is compiled anew: {cause}");
                remove(&artefact);
                None
            }
        }
    }

    /// Stores a compiled component. A failure costs only the next start's time, so it is logged.
    pub(crate) fn store(&self, machine: &Machine, component: &Digest, code: &[u8]) {
        let artefact = self.artefact(machine.compatibility, component);
        let checksum = xxhash3_128::Hasher::oneshot(code).to_le_bytes();
        if let Err(error) = write_whole(&artefact, [code, &checksum]) {
            tracing::warn!(artefact = %artefact.display(), "a compiled component cannot be kept for the next start: {error}");
        }
    }

    fn artefact(&self, compatibility: u64, component: &Digest) -> PathBuf {
        self.folder.join(format!("{component}-{compatibility:016x}.{ARTEFACT}"))
    }

    fn remove_unused(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_own)) {
            let used = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            if used.and_then(|used| now.duration_since(used).ok()).is_some_and(|age| age > KEPT_UNUSED) {
                remove(&entry.path());
            }
        }
    }
}

/// Whether this cache, or that of a host before this one, gave a file its name: the component's digest, the engine's compatibility
/// hash, and an ending. The folder is the operator's: what else is in it stays.
fn is_own(name: &str) -> bool {
    let hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = name.split_once('.').and_then(|(stem, ending)| Some((stem.split_once('-')?, ending)));
    parts.is_some_and(|((component, compatibility), ending)| {
        let is_known =
            ending == ARTEFACT || OLD.contains(&ending) || ending.strip_suffix(PART).is_some_and(|part| hex(part, 16));
        hex(component, 64) && hex(compatibility, 16) && is_known
    })
}

fn remove(path: &Path) {
    // What another host removed at the same time is gone all the same.
    let _ = fs::remove_file(path);
}

/// Makes a component of code that was compiled now, for this host.
pub(crate) fn just_compiled(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come straight from `Engine::precompile_component`, called here or in a process of this host's own
    // program, which nobody else can write to.
    unsafe { Component::deserialize(engine, code) }
}

/// An open file's digest and size.
pub(crate) fn digest_file(file: &File) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    read_through(file, file.metadata()?.len(), Reach::Disk, |bytes| {
        hasher.update(bytes);
    })?;
    Ok((Digest(*hasher.finalize().as_bytes()), hasher.count()))
}

/// Whether an artefact of so many bytes ends with the checksum of what is before that.
fn is_undamaged(artefact: &File, bytes: u64, reach: Reach) -> io::Result<bool> {
    let Some(mut code) = (bytes as usize).checked_sub(CHECKSUM_BYTES) else { return Ok(false) };
    let mut hasher = xxhash3_128::Hasher::new();
    let mut checksum = Vec::with_capacity(CHECKSUM_BYTES);
    read_through(artefact, bytes, reach, |piece| {
        let (of_code, of_checksum) = piece.split_at(code.min(piece.len()));
        code -= of_code.len();
        hasher.write(of_code);
        checksum.extend_from_slice(of_checksum);
    })?;
    Ok(checksum == hasher.finish_128().to_le_bytes())
}

/// Reads so many bytes of a file piece by piece, or as many as there are: memory for all of it costs as much as its digest.
fn read_through(file: &File, end: u64, reach: Reach, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    while at < end {
        let piece = (end - at).min(READ_BYTES as u64) as usize;
        match reach.read_at(file, &mut buffer[..piece], at) {
            Ok(0) => break,
            Ok(bytes) => {
                take(&buffer[..bytes]);
                at += bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an artefact that is used is to be marked as used.
fn is_mark_due(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|used| used.elapsed().is_ok_and(|age| age > USE_MARK_AGE))
}

/// Writes a file that is whole or not there, also if two hosts write it at once.
fn write_whole(path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
    let part = path.with_extension(format!("{:016x}{PART}", fastrand::u64(..)));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Linker;

    use super::*;
    use crate::flavour::Flavour;
    use crate::reach::tests::folder;

    /// An engine, under a number that stands for its settings.
    fn machine(compatibility: u64) -> Machine {
        machine_of(Flavour::Fuel, compatibility)
    }

    fn machine_of(flavour: Flavour, compatibility: u64) -> Machine {
        let engine = crate::engine::engine(flavour).expect("an engine");
        Machine { flavour, linker: Linker::new(&engine), compatibility, ticker: None, engine }
    }

    fn compiled(machine: &Machine) -> Vec<u8> {
        machine.engine.precompile_component(b"\0asm\x0d\0\x01\0").expect("an empty component compiles")
    }

    #[test]
    fn what_was_stored_is_loaded_by_the_same_engine_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = machine(1);
        let component = Digest([7; 32]);
        let cache = Cache::open(&folder.path().join("deep/cache")).expect("a cache");
        assert!(cache.load(&machine, &component, Reach::Disk).is_none());
        cache.store(&machine, &component, &compiled(&machine));
        assert!(cache.load(&machine, &component, Reach::Disk).is_some());
        let other = Machine { compatibility: 2, ..machine };
        assert!(cache.load(&other, &component, Reach::Disk).is_none());
    }

    #[test]
    fn what_is_small_and_in_memory_is_loaded_in_place() {
        let (folder, can_tell) = folder();
        let machine = machine(1);
        let [component, large] = [7, 8].map(|byte| Digest([byte; 32]));
        let cache = Cache::open(folder.path()).expect("a cache");
        assert!(cache.load(&machine, &component, Reach::Memory).is_none());
        cache.store(&machine, &component, &compiled(&machine));
        assert_eq!(cache.load(&machine, &component, Reach::Memory).is_some(), can_tell);
        cache.store(&machine, &large, &vec![0; IN_PLACE_BYTES as usize]);
        assert!(cache.load(&machine, &large, Reach::Memory).is_none());
        let file = File::open(cache.artefact(1, &component)).expect("a file");
        let metadata = file.metadata().expect("its metadata");
        assert_eq!(cache.recall(&metadata, Reach::Memory), None);
        let later = SystemTime::now() + KEPT_UNUSED;
        let identities = cache.identities.as_ref().expect("digests are remembered");
        let (digest, _) = identities.identify(&file, &metadata, later, digest_file).expect("its digest");
        assert_eq!(cache.recall(&metadata, Reach::Memory), Some(digest).filter(|_| can_tell));
    }

    type Damage = fn(&mut Vec<u8>);

    const DAMAGES: [Damage; 7] = [
        |bytes| bytes[100] ^= 1,
        |bytes| *bytes.last_mut().expect("a checksum") ^= 1,
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(bytes.len() - CHECKSUM_BYTES),
        |bytes| bytes.truncate(50),
        |bytes| bytes.truncate(5),
        Vec::clear,
    ];

    #[test]
    fn a_damaged_artefact_is_never_trusted_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = machine(1);
        let component = Digest([7; 32]);
        let cache = Cache::open(folder.path()).expect("a cache");
        for damage in DAMAGES {
            cache.store(&machine, &component, &compiled(&machine));
            let artefact = cache.artefact(1, &component);
            let mut bytes = fs::read(&artefact).expect("the artefact");
            damage(&mut bytes);
            fs::write(&artefact, bytes).expect("damaging it");
            assert!(cache.load(&machine, &component, Reach::Memory).is_none());
            assert!(artefact.exists(), "whoever may wait looks at it again");
            assert!(cache.load(&machine, &component, Reach::Disk).is_none());
            assert!(!artefact.exists());
        }
    }

    #[test]
    fn code_for_another_engine_is_refused_though_its_name_and_checksum_fit_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (machine, other) = (machine(1), machine_of(Flavour::Epochs, 1));
        let component = Digest([7; 32]);
        let cache = Cache::open(folder.path()).expect("a cache");
        cache.store(&machine, &component, &compiled(&other));
        let artefact = cache.artefact(1, &component);
        assert!(artefact.exists());
        assert!(cache.load(&machine, &component, Reach::Disk).is_none());
        assert!(!artefact.exists());
        // It was the engine that refused it: for its own it is as good as any.
        cache.store(&other, &component, &compiled(&other));
        assert!(cache.load(&other, &component, Reach::Disk).is_some());
    }

    #[test]
    fn what_is_unused_goes_and_what_the_cache_did_not_make_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let (used, unused) = (Digest([1; 32]), Digest([2; 32]));
        let long_ago = SystemTime::now() - 2 * KEPT_UNUSED;
        let age = |path: &Path| {
            let file = OpenOptions::new().append(true).open(path).expect("opening a file");
            file.set_modified(long_ago).expect("making a file old");
        };
        for component in [used, unused] {
            cache.store(&machine(1), &component, b"code");
        }
        age(&cache.artefact(1, &unused));
        let part = cache.artefact(1, &used).with_extension("0123456789abcdef.part");
        let old = OLD.map(|ending| cache.artefact(1, &used).with_extension(ending));
        let foreign =
            ["backup.artefact", "backup.cwasm", "notes.part", "mine.sum", "0123-4567.artefact", "cwasm", ".part"];
        let foreign = foreign.map(|name| folder.path().join(name));
        for path in foreign.iter().chain([&part]).chain(&old) {
            fs::write(path, "x").expect("writing a file");
            age(path);
        }
        cache.remove_unused(SystemTime::now());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
        let mut expected = foreign.to_vec();
        let identities = folder.path().join(crate::identities::NAME);
        expected.extend([cache.artefact(1, &used), identities]);
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn an_open_folder_is_closed_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("opening it");
        Cache::open(folder.path()).expect("a cache");
        assert_eq!(fs::metadata(folder.path()).expect("the folder").mode() & 0o777, 0o700);
    }
}
