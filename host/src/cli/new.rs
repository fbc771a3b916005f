//! `glasshouse new`: makes the sources of an extension.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use glasshouse::ExtensionId;
use serde::Serialize;

use super::{Exit, Format, UsageError};
use crate::output;

/// The files of a project, each with its template.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../templates/Cargo.toml.template")),
    ("src/lib.rs", include_str!("../../templates/lib.rs.template")),
    ("extension.toml", include_str!("../../templates/extension.toml.template")),
    (".gitignore", include_str!("../../templates/gitignore.template")),
];

/// The SDK in the source tree that this program was built from. It is published nowhere: whoever took its name in a registry would decide what
/// authors build, so that no other place is named for them.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk");

/// Names that cargo or rustc do not take for a package.
const RESERVED: [&str; 62] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "glasshouse-sdk",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "wasm",
    "where",
    "while",
    "yield",
    "build",
    "deps",
    "examples",
];

const EXAMPLE: &str = "\
Example:
  glasshouse new greeter
  glasshouse build greeter
  glasshouse call greeter --event greet --payload '\"Ada\"'";

/// Make the sources of a new extension
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct New {
    /// The extension's id: 1 to 64 characters of a-z, 0-9 and -
    name: String,
    /// The folder to make it in [default: a folder of its name]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The folder `guest-sdk` in sources of Glasshouse [default: those that this program was built from, if they are still there]
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

#[derive(Serialize)]
struct Made<'a> {
    extension: &'a str,
    folder: &'a Path,
    files: Vec<&'static str>,
}

impl New {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        self.make(Path::new(SDK), format)
    }

    fn make(self, default_sdk: &Path, format: Format) -> Result<Exit> {
        let id: ExtensionId = self.name.parse().map_err(|error| UsageError(format!("{error}")))?;
        let folder = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let sdk = self.sdk_dependency(default_sdk)?;
        if has_entries(&folder).with_context(|| format!("looking into {}", folder.display()))? {
            bail!("{} exists and is not empty; name another folder with --dir", folder.display());
        }
        for (name, template) in FILES {
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(&folder);
            std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            std::fs::write(&path, filled(template, &id, &sdk))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        let files = FILES.map(|(name, _)| name).to_vec();
        match format {
            Format::Json => output::json(&Made { extension: id.as_str(), folder: &folder, files })?,
            Format::Table => {
                let shown = folder.display();
                output::line(format_args!("made the extension {id} in {shown}: {}", files.join(", ")))?;
                output::line("what to type next:")?;
                output::line(format_args!("  glasshouse build {shown}"))?;
                output::line(format_args!("  glasshouse call {shown} --event greet --payload '\"Ada\"'"))?;
                output::line("and to run its test:")?;
                output::line(format_args!("  cargo test --manifest-path {}", folder.join("Cargo.toml").display()))?;
            }
        }
        Ok(Exit::Ok)
    }

    /// The SDK as a dependency in `Cargo.toml`.
    fn sdk_dependency(&self, default: &Path) -> Result<String> {
        let path = self.sdk.as_deref().unwrap_or(default);
        match path.canonicalize() {
            Ok(path) if path.join("Cargo.toml").is_file() => {
                Ok(format!("{{ path = {} }}", serde_json::to_string(&path.display().to_string())?))
            }
            _ if self.sdk.is_some() => {
                Err(UsageError(format!("--sdk {}: there is no Cargo.toml", path.display())).into())
            }
            _ => Err(UsageError(format!(
                "the SDK is no longer at {}, from where this program was built; get Glasshouse's sources, and name the folder guest-sdk in \
                 them: --sdk PATH",
                path.display()
            ))
            .into()),
        }
    }
}

fn has_entries(folder: &Path) -> io::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn filled(template: &str, id: &ExtensionId, sdk: &str) -> String {
    template
        .replace("{{package}}", &package_name(id))
        .replace("{{id}}", id.as_str())
        .replace("{{type}}", &type_name(id))
        .replace("{{sdk}}", sdk)
}

/// The id as a package's name: that has to start with a letter, and some words are taken.
fn package_name(id: &ExtensionId) -> String {
    let id = id.as_str();
    if id.starts_with(|first: char| first.is_ascii_lowercase()) && !RESERVED.contains(&id) {
        id.to_owned()
    } else {
        format!("extension-{id}")
    }
}

/// The id as a type's name.
fn type_name(id: &ExtensionId) -> String {
    let capital =
        |word: &str| word.get(..1).map(str::to_ascii_uppercase).unwrap_or_default() + word.get(1..).unwrap_or_default();
    let name: String = id.as_str().split('-').map(capital).collect();
    let taken = ["Host", "Instance", "Payload", "Self", "String", ""].contains(&name.as_str());
    if taken || !name.starts_with(|first: char| first.is_ascii_uppercase()) { format!("Extension{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, package: &str, name: &str) {
        let id = id.parse().expect("an id");
        assert_eq!((package_name(&id).as_str(), type_name(&id).as_str()), (package, name), "{id}");
    }

    #[test]
    fn every_id_gives_names_that_compile() {
        check("access-log", "access-log", "AccessLog");
        check("3d-view", "extension-3d-view", "Extension3dView");
        check("-", "extension--", "Extension");
        check("test", "extension-test", "Test");
        check("self", "extension-self", "ExtensionSelf");
        check("payload", "payload", "ExtensionPayload");
    }

    #[test]
    fn templates_are_filled_to_the_end() {
        let id = "greeter".parse().expect("an id");
        let sdk = "{ path = \"/sdk\" }";
        for (name, template) in FILES {
            let text = filled(template, &id, sdk);
            assert!(!text.contains("{{"), "{name}: {text}");
        }
        let (_, manifest) = FILES[2];
        let manifest = glasshouse::Manifest::parse(&filled(manifest, &id, sdk), "extension.toml");
        assert_eq!(manifest.expect("a manifest").component, Path::new("greeter.wasm"));
    }
    #[test]
    fn without_the_sdk_nothing_is_written_and_what_to_say_is_told() {
        let place = tempfile::tempdir().expect("a folder");
        let new =
            |sdk: Option<PathBuf>| New { name: "greeter".to_owned(), dir: Some(place.path().join("greeter")), sdk };
        let absent = place.path().join("absent");
        for (new, said) in [(new(None), "--sdk PATH"), (new(Some(absent.clone())), "there is no Cargo.toml")] {
            let error = new.make(&absent, Format::Table).expect_err("there is no SDK");
            assert!(error.is::<UsageError>(), "{error:#}");
            let shown = error.to_string();
            assert!(shown.contains(said) && shown.contains(&absent.display().to_string()), "{shown}");
        }
        assert_eq!(std::fs::read_dir(place.path()).expect("the folder").count(), 0);
    }
}
