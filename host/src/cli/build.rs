//! `glasshouse build`: builds an extension from its sources, and puts the component where its manifest says.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use glasshouse::{Manifest, text};
use glasshouse_toolchain::{Artifact, BuildRequest, Error, Profile, Toolchain};
use serde::Serialize;

use super::{Exit, Format};
use crate::output;

const EXAMPLE: &str = "\
Example:
  glasshouse build greeter

Needs cargo and a Rust compiler with the target wasm32-wasip2; says how to get it where it is missing.

Exits with 4 where the sources make no component.";

/// Build an extension from its sources
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Build {
    /// The folder with the extension's Cargo.toml and extension.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Built<'a> {
    extension: &'a str,
    component: &'a Path,
    file_bytes: u64,
    toolchain: String,
}

impl Build {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        let path = self.dir.join("extension.toml");
        let manifest = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}; `glasshouse new` makes one", path.display()))?;
        let manifest = Manifest::parse(&manifest, &path.display().to_string())?;
        let toolchain = Toolchain::find()?;
        if format == Format::Table {
            output::note(format_args!("building with {}", toolchain.describe()));
        }
        let request = BuildRequest::new(&self.dir, Profile::Release, self.dir.join("target").join("guests"));
        let artifacts = match toolchain.build(&request) {
            Ok(artifacts) => artifacts,
            Err(error @ (Error::Build { .. } | Error::NoArtifact { .. })) => {
                output::error(error);
                return Ok(Exit::Guest);
            }
            Err(error) => return Err(error.into()),
        };
        let artifact = pick(&artifacts, manifest.id.as_str())?;
        let component = self.dir.join(&manifest.component);
        let file_bytes = copy(&artifact.path, &component)
            .with_context(|| format!("copying {} to {}", artifact.path.display(), component.display()))?;
        match format {
            Format::Json => output::json(&Built {
                extension: manifest.id.as_str(),
                component: &component,
                file_bytes,
                toolchain: toolchain.describe(),
            })?,
            Format::Table => {
                output::line(format_args!("built {} ({})", component.display(), text::bytes(file_bytes)))?;
                output::line("what to type next:")?;
                let dir = self.dir.display();
                output::line(format_args!("  glasshouse inspect {dir}"))?;
                output::line(format_args!("  glasshouse call {dir} --event NAME --payload JSON"))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// The extension among what was built: the only one, or the one of its name.
fn pick<'a>(artifacts: &'a [Artifact], id: &str) -> Result<&'a Artifact> {
    if let [only] = artifacts {
        return Ok(only);
    }
    let named = artifacts.iter().find(|artifact| artifact.name == id || artifact.name == format!("extension-{id}"));
    named.map_or_else(
        || {
            let names: Vec<_> = artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
            bail!("the build made {}, and none of them is called {id}, as the manifest is", names.join(", "))
        },
        Ok,
    )
}

/// Copies through a file beside the target, so that a host that reads meanwhile sees the old one or the new one.
fn copy(from: &Path, to: &Path) -> std::io::Result<u64> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut partial = to.to_owned().into_os_string();
    partial.push(".partial");
    let bytes = std::fs::copy(from, &partial)?;
    std::fs::rename(&partial, to)?;
    Ok(bytes)
}
