//! What tells whether calls had the same input, without telling what it was.
//!
//! A bare digest of a small input tells it to whoever tries all inputs that there could be: a number, a name, a command. So it is keyed, by
//! a secret that is drawn by lot for each data directory and lies in it, readable by the host's user only. Digests of one data directory
//! can be compared, also across restarts and extensions; those of two, or of two hosts that keep nothing, cannot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use glasshouse_model::InputDigest;

/// The file of the secret in a data directory.
const FILE: &str = "input-key";
const KEY_BYTES: usize = 32;

/// The secret by which inputs are digested; `None` if the system has no random bytes, and then there are no digests.
#[derive(Default)]
pub(crate) struct InputKey(Option<[u8; KEY_BYTES]>);

impl InputKey {
    /// A secret that nothing else has.
    pub(crate) fn random() -> Self {
        Self(random().ok())
    }

    /// That of a data directory, which is made if there is none. Where it cannot be read or kept, digests of this host's time can be
    /// compared among themselves only.
    pub(crate) fn of(root: &Path) -> Self {
        let key = read(root).and_then(|read| read.map_or_else(|| make(root), Ok));
        match key {
            Ok(key) => Self(Some(key)),
            Err(error) => {
                tracing::warn!(
                    file = %root.join(FILE).display(),
                    "digests of inputs cannot be compared with those of other runs, since their key cannot be kept: {error}"
                );
                Self::random()
            }
        }
    }
}

/// The key that is stored; `None` if there is none, or what is there is none.
fn read(root: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    match File::open(root.join(FILE)) {
        Ok(file) => file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let key = <[u8; KEY_BYTES]>::try_from(bytes).ok();
    if key.is_none() {
        tracing::warn!(
            file = %root.join(FILE).display(),
            "the key of digests is damaged and is made anew: later digests of inputs cannot be compared with earlier ones"
        );
    }
    Ok(key)
}

/// Makes a key and keeps it: it has its name only once it is whole and safe.
fn make(root: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let key = random()?;
    let part = root.join("input-key.part");
    let _ = fs::remove_file(&part);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&part, root.join(FILE))?;
    Ok(key)
}

fn random() -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

/// The digest of an input that is being made: of all its parts, each with its length.
pub struct InputDigester(Option<blake3::Hasher>);

impl InputDigester {
    pub(crate) fn new(key: &InputKey) -> Self {
        Self(key.0.as_ref().map(blake3::Hasher::new_keyed))
    }

    /// Begins a part of so many bytes.
    pub fn begin(&mut self, bytes: usize) {
        self.add(&(bytes as u64).to_le_bytes());
    }

    /// Adds bytes of the part that was begun.
    pub fn add(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.0 {
            hasher.update(bytes);
        }
    }

    /// Adds a part as a whole.
    pub fn part(&mut self, bytes: &[u8]) {
        self.begin(bytes.len());
        self.add(bytes);
    }

    /// The digest; `None` if the system gave no secret to make it by.
    pub fn finish(self) -> Option<InputDigest> {
        let hash = self.0?.finalize();
        hash.as_bytes().first_chunk().copied().map(InputDigest)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn digest(key: &InputKey, parts: &[&str]) -> InputDigest {
        let mut digester = InputDigester::new(key);
        for part in parts {
            digester.part(part.as_bytes());
        }
        digester.finish().expect("the system has random bytes")
    }

    #[test]
    fn one_data_directory_gives_the_same_input_the_same_digest_and_another_one_does_not() {
        let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let first = digest(&InputKey::of(one.path()), &["handle:pay", "7"]);
        assert_eq!(digest(&InputKey::of(one.path()), &["handle:pay", "7"]), first);
        assert_ne!(digest(&InputKey::of(one.path()), &["handle:pay7", ""]), first, "parts have their lengths");
        assert_ne!(digest(&InputKey::of(other.path()), &["handle:pay", "7"]), first);
        assert_ne!(digest(&InputKey::random(), &["handle:pay", "7"]), first);
        let mode = fs::metadata(one.path().join(FILE)).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_damaged_is_made_anew_and_one_that_cannot_be_kept_does_for_a_run() {
        let folder = tempfile::tempdir().expect("a folder");
        for damage in [&b"short"[..], &[7; KEY_BYTES + 1]] {
            fs::write(folder.path().join(FILE), damage).expect("it is written");
            let made = digest(&InputKey::of(folder.path()), &["7"]);
            assert_eq!(digest(&InputKey::of(folder.path()), &["7"]), made);
        }
        // What a host that was killed left of one does not matter.
        fs::remove_file(folder.path().join(FILE)).expect("it is there");
        fs::write(folder.path().join("input-key.part"), "half").expect("it is written");
        let made = digest(&InputKey::of(folder.path()), &["7"]);
        assert_eq!(digest(&InputKey::of(folder.path()), &["7"]), made);
        let nowhere = InputKey::of(&folder.path().join("not-there"));
        assert_eq!(digest(&nowhere, &["7"]), digest(&nowhere, &["7"]));
    }
}
