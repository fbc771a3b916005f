//! Finds extensions on disk: their folders, manifests and components. What is wrong with one is kept with it, and stops
//! no other.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use glasshouse_model::config::Manifest;
use glasshouse_model::{ExtensionId, text};

/// The manifest's name in an extension's folder.
const MANIFEST: &str = "extension.toml";
/// Bytes of the longest manifest that is read; real ones have less than four thousand.
const MANIFEST_BYTES: u64 = 256 * 1024;
/// Characters of an id, as far as a name that is none is made into one.
const ID_CHARACTERS: usize = 60;

/// An extension that was found.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Its own id, or what comes closest to its file name where it has none that can be used.
    pub(crate) id: ExtensionId,
    /// The folder that it is in, as an absolute path.
    pub(crate) folder: PathBuf,
    /// Where its component is, or should be.
    pub(crate) component: PathBuf,
    /// What it says of itself; a bare one where it says nothing that can be used.
    pub(crate) manifest: Manifest,
    /// Why it cannot be started.
    pub(crate) problem: Option<String>,
}

/// All extensions in a plugin directory, by file name. Hidden files, and files that are no components, are passed over.
pub(crate) fn plugin_dir(path: &Path) -> io::Result<Vec<Candidate>> {
    let mut entries: BTreeMap<_, PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        entries.insert(entry.file_name(), entry.path());
    }
    let mut found = Vec::new();
    for (name, path) in entries {
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.push(in_folder(&path, Some(&name)));
        } else if let Some(stem) = name.strip_suffix(".wasm") {
            found.push(bare(&path, stem, true));
        }
    }
    Ok(found)
}

/// The extension in a folder, whatever the folder's name, or in a component file.
pub(crate) fn single(path: &Path) -> io::Result<Candidate> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Ok(in_folder(path, None));
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(bare(path, &name, false))
}

/// Makes the ids differ: one that is taken already gets a number, and cannot be started.
pub(crate) fn settle_ids(candidates: &mut [Candidate]) {
    let mut taken: BTreeMap<ExtensionId, PathBuf> = BTreeMap::new();
    for candidate in candidates {
        if let Some(other) = taken.get(&candidate.id) {
            let problem = format!("the id \"{}\" is taken by {}; rename one of them", candidate.id, other.display());
            candidate.problem.get_or_insert(problem);
            let numbered = (2..).map(|number| near_id(&format!("{}-{number}", candidate.id)));
            if let Some(free) = numbered.into_iter().find(|id| !taken.contains_key(id)) {
                candidate.id = free;
            }
        }
        taken.insert(candidate.id.clone(), candidate.component.clone());
    }
}

/// An extension with a manifest. Where its folder's name is given, that must be its id.
fn in_folder(path: &Path, name: Option<&str>) -> Candidate {
    let folder = absolute(path);
    let own_name = || folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fallback = near_id(&name.map_or_else(own_name, str::to_owned));
    let parsed = read_manifest(&folder.join(MANIFEST));
    let (id, manifest, problem) = match (parsed, name) {
        (Err(problem), _) => (fallback.clone(), Manifest::bare(fallback), Some(problem)),
        (Ok(manifest), Some(name)) if manifest.id.as_str() != name => {
            let problem = format!(
                "its manifest says id = \"{}\", but its folder is called \"{}\"; make them the same",
                manifest.id,
                text::visible(name, 80)
            );
            (fallback, manifest, Some(problem))
        }
        (Ok(manifest), _) => (manifest.id.clone(), manifest, None),
    };
    let component = folder.join(&manifest.component);
    let missing = || {
        (!component.is_file()).then(|| {
            let shown = manifest.component.to_string_lossy();
            format!("its component {} is missing; build it with `glasshouse build`", text::visible(&shown, 200))
        })
    };
    let problem = problem.or_else(missing);
    Candidate { id, folder, component, manifest, problem }
}

/// A component without a manifest: it asks for nothing, and is called what its file is called.
fn bare(path: &Path, name: &str, strict: bool) -> Candidate {
    let component = absolute(path);
    let folder = component.parent().map(Path::to_owned).unwrap_or_default();
    let id = near_id(name);
    let problem = (strict && id.as_str() != name).then(|| {
        format!(
            "its file name \"{}\" gives no id: use 1 to 64 characters of a-z, 0-9 and -, such as {id}.wasm",
            text::visible(name, 80)
        )
    });
    Candidate { manifest: Manifest::bare(id.clone()), id, folder, component, problem }
}

fn read_manifest(path: &Path) -> Result<Manifest, String> {
    let text = read_text(path, MANIFEST_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("it has no {MANIFEST}; add one, or put the component into the plugin directory as <id>.wasm")
        }
        _ => format!("its {MANIFEST} cannot be read: {error}"),
    })?;
    Manifest::parse(&text, MANIFEST).map_err(|error| error.to_string())
}

/// Reads a text file of at most so many bytes.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// An absolute path, so that it stays the same wherever it is used.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The id that comes closest to a name.
fn near_id(name: &str) -> ExtensionId {
    if let Ok(id) = name.parse() {
        return id;
    }
    let legal = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let near: String = name.chars().take(ID_CHARACTERS).map(legal).collect();
    let near = near.trim_matches('-');
    near.parse().or_else(|_| "extension".parse()).unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        std::fs::write(path, text).expect("it is written");
    }

    #[test]
    fn each_broken_extension_is_found_with_its_cause() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "good/extension.toml", "id = \"good\"");
        write(folder.path(), "good/good.wasm", "");
        write(folder.path(), "other/extension.toml", "id = \"another\"");
        write(folder.path(), "typo/extension.toml", "id = \"typo\"\nversoin = \"1.0.0\"");
        write(folder.path(), "Empty Folder/.keep", "");
        write(folder.path(), "unbuilt/extension.toml", "id = \"unbuilt\"");
        write(folder.path(), "single.wasm", "");
        write(folder.path(), "under_score.wasm", "");
        write(folder.path(), "good.wasm", "");
        write(folder.path(), ".hidden/extension.toml", "nonsense");
        write(folder.path(), "README.md", "");
        let mut found = plugin_dir(folder.path()).expect("it is read");
        settle_ids(&mut found);
        let shown: Vec<_> =
            found.iter().map(|found| (found.id.as_str(), found.problem.as_deref().unwrap_or_default())).collect();
        let expect = [
            ("empty-folder", "has no extension.toml"),
            ("good", ""),
            ("good-2", "the id \"good\" is taken by"),
            ("other", "its manifest says id = \"another\", but its folder is called \"other\""),
            ("single", ""),
            ("typo", "unknown key \"versoin\""),
            ("unbuilt", "its component unbuilt.wasm is missing"),
            ("under-score", "its file name \"under_score\" gives no id"),
        ];
        assert_eq!(shown.len(), expect.len(), "{shown:?}");
        for (shown, expect) in shown.iter().zip(expect) {
            assert_eq!(shown.0, expect.0, "{shown:?}");
            assert!(shown.1.contains(expect.1) && shown.1.is_empty() == expect.1.is_empty(), "{shown:?}");
        }
    }

    #[test]
    fn a_single_extension_may_be_in_a_folder_of_any_name() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "extension.toml", "id = \"good\"");
        write(folder.path(), "good.wasm", "");
        let found = single(folder.path()).expect("it is found");
        assert_eq!((found.id.as_str(), found.problem), ("good", None));
        let found = single(&folder.path().join("good.wasm")).expect("it is found");
        assert_eq!((found.id.as_str(), found.problem), ("good", None));
        assert!(single(&folder.path().join("missing")).is_err());
    }
}
