//! Compiled components on disk: keyed by the component's digest and the engine, trusted only if their own checksum fits.
#![expect(unsafe_code, reason = "loading precompiled code is unsafe by nature; see `Cache::load` for why it is sound")]

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use glasshouse_model::Digest;
use twox_hash::xxhash3_128;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::Machine;
use crate::identities::Identities;

/// Bytes of a file that are read at once: they stay in the processor's cache while they are hashed.
const READ_BYTES: usize = 64 * 1024;
/// The ending of an artefact's name.
const ARTEFACT: &str = "cwasm";
/// The ending of its checksum's name.
const CHECKSUM: &str = "sum";
/// The ending of what hosts before this one kept beside an artefact in place of its checksum. Nobody reads it.
const OLD_DIGEST: &str = "digest";
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

    /// The compiled component, if there is an undamaged one for this engine. A damaged one is removed.
    pub(crate) fn load(&self, machine: &Machine, component: &Digest) -> Option<Component> {
        let artefact = self.artefact(machine.compatibility, component);
        let expected = fs::read(checksum_of(&artefact)).ok()?;
        let file = File::open(&artefact).ok()?;
        let found = checksum_file(&file).ok()?;
        if expected != found.to_le_bytes() {
            tracing::warn!(artefact = %artefact.display(), "a compiled component is damaged; it is compiled anew");
            remove(&artefact);
            return None;
        }
        // SAFETY: the file is what `Engine::precompile_component` gave a host of this user, or the process in which it
        // compiles: its checksum, which was written after it, fits, and nobody else can write to the folder.
        // (Who could would write both: a checksum tells damage, and so would a digest, at several times the price.)
        match unsafe { Component::deserialize_file(&machine.engine, &artefact) } {
            Ok(component) => {
                mark_as_used(&file);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(artefact = %artefact.display(), "a compiled component does not load; it is compiled anew: {error:#}");
                remove(&artefact);
                None
            }
        }
    }

    /// Stores a compiled component. A failure costs only the next start's time, so it is logged.
    pub(crate) fn store(&self, machine: &Machine, component: &Digest, code: &[u8]) {
        let artefact = self.artefact(machine.compatibility, component);
        let checksum = xxhash3_128::Hasher::oneshot(code).to_le_bytes();
        let stored = write_whole(&artefact, code).and_then(|()| write_whole(&checksum_of(&artefact), &checksum));
        if let Err(error) = stored {
            tracing::warn!(artefact = %artefact.display(), "a compiled component cannot be kept for the next start: {error}");
            remove(&artefact);
        }
    }

    fn artefact(&self, compatibility: u64, component: &Digest) -> PathBuf {
        self.folder.join(format!("{component}-{compatibility:016x}.{ARTEFACT}"))
    }

    fn remove_unused(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let Some(ending) = entry.file_name().to_str().and_then(own_ending).map(str::to_owned) else { continue };
            let used = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            if used.and_then(|used| now.duration_since(used).ok()).is_none_or(|age| age <= KEPT_UNUSED) {
                continue;
            }
            let path = entry.path();
            if ending == ARTEFACT {
                remove(&path);
            } else if ending != CHECKSUM || !path.with_extension(ARTEFACT).exists() {
                // What another host removed at the same time is gone all the same.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// The ending of a file's name that this cache gave: the component's digest, the engine's compatibility hash, and an
/// artefact's ending, its checksum's, an old digest's, or that of a part. The folder is the operator's: what else is in it stays.
fn own_ending(name: &str) -> Option<&str> {
    let hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (stem, ending) = name.split_once('.')?;
    let (component, compatibility) = stem.split_once('-')?;
    let known = matches!(ending, ARTEFACT | CHECKSUM | OLD_DIGEST)
        || ending.strip_suffix(PART).is_some_and(|part| hex(part, 16));
    (hex(component, 64) && hex(compatibility, 16) && known).then_some(ending)
}

/// The file that holds an artefact's own checksum.
fn checksum_of(artefact: &Path) -> PathBuf {
    artefact.with_extension(CHECKSUM)
}

/// Removes an artefact and its checksum.
fn remove(artefact: &Path) {
    // A file that is gone already is as good as removed.
    let _ = fs::remove_file(checksum_of(artefact));
    let _ = fs::remove_file(artefact);
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
    read_through(file, |bytes| {
        hasher.update(bytes);
    })?;
    Ok((Digest(*hasher.finalize().as_bytes()), hasher.count()))
}

fn checksum_file(file: &File) -> io::Result<u128> {
    let mut hasher = xxhash3_128::Hasher::new();
    read_through(file, |bytes| hasher.write(bytes))?;
    Ok(hasher.finish_128())
}

/// Reads a file piece by piece, from its start to where it ended when this began: memory for all of it costs as much as its digest.
fn read_through(file: &File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    while at < end {
        let piece = (end - at).min(READ_BYTES as u64) as usize;
        match file.read_at(&mut buffer[..piece], at) {
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

fn mark_as_used(artefact: &File) {
    let used = artefact.metadata().and_then(|metadata| metadata.modified());
    if used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age > USE_MARK_AGE)) {
        // Without the mark the artefact is removed early and compiled anew.
        let _ = artefact.set_modified(SystemTime::now());
    }
}

/// Writes a file that is whole or not there, also if two hosts write it at once.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension(format!("{:016x}{PART}", fastrand::u64(..)));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(bytes))
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
        assert!(cache.load(&machine, &component).is_none());
        cache.store(&machine, &component, &compiled(&machine));
        assert!(cache.load(&machine, &component).is_some());
        let other = Machine { compatibility: 2, ..machine };
        assert!(cache.load(&other, &component).is_none());
    }

    #[test]
    fn a_damaged_artefact_is_never_trusted_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = machine(1);
        let component = Digest([7; 32]);
        let cache = Cache::open(folder.path()).expect("a cache");
        for damage in [
            |bytes: &mut Vec<u8>| bytes[100] ^= 1,
            |bytes: &mut Vec<u8>| bytes.truncate(50),
            |bytes: &mut Vec<u8>| bytes.clear(),
        ] {
            cache.store(&machine, &component, &compiled(&machine));
            let artefact = cache.artefact(1, &component);
            let mut bytes = fs::read(&artefact).expect("the artefact");
            damage(&mut bytes);
            fs::write(&artefact, bytes).expect("damaging it");
            assert!(cache.load(&machine, &component).is_none());
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
        assert!(artefact.exists() && checksum_of(&artefact).exists());
        assert!(cache.load(&machine, &component).is_none());
        assert!(!artefact.exists() && !checksum_of(&artefact).exists());
        // It was the engine that refused it: for its own it is as good as any.
        cache.store(&other, &component, &compiled(&other));
        assert!(cache.load(&other, &component).is_some());
    }

    #[test]
    fn what_is_unused_goes_and_what_the_cache_did_not_make_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let (used, unused, orphan) = (Digest([1; 32]), Digest([2; 32]), Digest([3; 32]));
        let old = SystemTime::now() - 2 * KEPT_UNUSED;
        let age = |path: &Path| {
            let file = OpenOptions::new().append(true).open(path).expect("opening a file");
            file.set_modified(old).expect("making a file old");
        };
        for component in [used, unused, orphan] {
            cache.store(&machine(1), &component, b"code");
            age(&checksum_of(&cache.artefact(1, &component)));
        }
        age(&cache.artefact(1, &unused));
        fs::remove_file(cache.artefact(1, &orphan)).expect("removing an artefact");
        let part = cache.artefact(1, &used).with_extension("0123456789abcdef.part");
        let old_digest = cache.artefact(1, &used).with_extension(OLD_DIGEST);
        let foreign = ["backup.cwasm", "backup.digest", "notes.part", "mine.sum", "0123-4567.cwasm", "cwasm", ".part"];
        let foreign = foreign.map(|name| folder.path().join(name));
        for path in foreign.iter().chain([&part, &old_digest]) {
            fs::write(path, "x").expect("writing a file");
            age(path);
        }
        cache.remove_unused(SystemTime::now());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
        let mut expected = foreign.to_vec();
        let identities = folder.path().join(crate::identities::NAME);
        expected.extend([cache.artefact(1, &used), checksum_of(&cache.artefact(1, &used)), identities]);
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
