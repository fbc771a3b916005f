//! How far log files have got: which records are in them, and how long they are with these. It is replaced as a whole after each
//! write, so that what a killed host wrote after it can be told, and taken back.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};

use serde::{Deserialize, Serialize};

use crate::folder::{Folder, Identity};

/// The file that it stands in, and the one that it is written to first.
const NAME: &str = ".glasshouse.position";
const PART: &str = ".glasshouse.position.part";
/// What the file is, so that a later one is not misread.
const FORMAT: u32 = 1;
/// Bytes of the file that are read: those of a host of 100,000 extensions.
const BYTES: u64 = 32 << 20;

/// How far log files have got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    format: u32,
    /// The files that are written to, by their tier's name.
    pub(crate) files: BTreeMap<String, FilePosition>,
    /// The place after the last record of each signal that is in the files.
    pub(crate) cursors: Vec<String>,
}

/// How far a file that is written to has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilePosition {
    device: u64,
    inode: u64,
    /// Its length, with all lines whose records are below the cursors.
    pub(crate) bytes: u64,
    /// When its first line was written, in Unix nanoseconds.
    pub(crate) begun: i64,
    /// The number that it gets when it is set aside.
    pub(crate) number: u64,
}

impl FilePosition {
    pub(crate) fn new(identity: Identity, bytes: u64, begun: i64, number: u64) -> Self {
        Self { device: identity.device, inode: identity.inode, bytes, begun, number }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity { device: self.device, inode: self.inode }
    }
}

impl Position {
    pub(crate) fn new(files: BTreeMap<String, FilePosition>, cursors: Vec<String>) -> Self {
        Self { format: FORMAT, files, cursors }
    }

    /// What an earlier host left; `None` if there is nothing, or nothing that can be read.
    pub(crate) fn load(folder: &Folder) -> io::Result<Option<Self>> {
        if folder.look(NAME)?.is_none() {
            return Ok(None);
        }
        let mut text = String::new();
        let read = folder.read(NAME)?.take(BYTES).read_to_string(&mut text);
        let position = read.and_then(|_| serde_json::from_str(&text).map_err(io::Error::from));
        match position {
            Ok(Self { format: FORMAT, files, cursors }) => Ok(Some(Self { format: FORMAT, files, cursors })),
            Ok(Self { format, .. }) => Err(io::Error::other(format!(
                "{NAME} is of format {format}, and this glasshouse reads format {FORMAT}"
            ))),
            Err(error) => {
                tracing::warn!(
                    folder = %folder.path.display(),
                    "how far the log files have got cannot be read, so that they go on from now: {error}"
                );
                Ok(None)
            }
        }
    }

    /// Takes the place of what there was.
    pub(crate) fn store(&self, folder: &Folder) -> io::Result<()> {
        let written = folder.create(PART).and_then(|mut file| file.write_all(&serde_json::to_vec(self)?));
        written.and_then(|()| folder.rename(PART, NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_stored_and_what_is_none_is_passed_over() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&place.path().join("logs")).expect("it is made");
        assert_eq!(Position::load(&folder).expect("it is looked for"), None);
        let file = FilePosition::new(Identity { device: 1, inode: 2 }, 3, 4, 5);
        let position = Position::new([("all".to_owned(), file)].into(), vec!["a".into()]);
        position.store(&folder).expect("it is stored");
        position.store(&folder).expect("it is stored again");
        assert_eq!(Position::load(&folder).expect("it is read"), Some(position));
        let put = |text: &str| std::fs::write(place.path().join("logs").join(NAME), text).expect("it is written");
        put("{\"format\":1,\"files\":");
        assert_eq!(Position::load(&folder).expect("it is passed over"), None);
        put("{\"format\":2,\"files\":{},\"cursors\":[]}");
        assert!(Position::load(&folder).is_err_and(|error| error.to_string().contains("of format 2")));
    }
}
