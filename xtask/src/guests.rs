//! Builds the guests: the example extensions and the programs that fail on purpose.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use glasshouse_toolchain::{Artifact, BuildRequest, Profile, Targets, Toolchain};

use crate::steps::Steps;
use crate::workspace::Workspace;

/// The folder of the example extensions: a member each.
pub(crate) const EXAMPLES: &str = "example-extensions";
/// The folder of the failing guests: one member, an example target each.
const FAILING: &str = "tests/guests";
/// The folder of the benches' guests, as above.
const BENCHES: &str = "benches/guests";

/// The variable that tells tests and benches where the guests' `.wasm` files are.
pub(crate) const GUESTS_VARIABLE: &str = "GLASSHOUSE_GUESTS";

/// `cargo xtask guests`.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::new(3);
    let folder = build_all(&workspace, &mut steps)?;
    eprintln!("\nThe guests are in {}", workspace.show(&folder));
    Ok(())
}

/// Finds or prepares the toolchain, saying which way.
pub(crate) fn prepare(steps: &mut Steps) -> Result<Toolchain> {
    steps.quiet("Preparing the guest toolchain", |note| {
        let toolchain = Toolchain::prepare(note)?;
        note(&format!("using {}", toolchain.describe()));
        Ok(toolchain)
    })
}

/// Builds the example extensions.
pub(crate) fn build_examples(workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<Artifact>> {
    let packages = workspace.members_in(EXAMPLES).map(|package| package.name.clone());
    build(workspace, toolchain, packages.collect(), Targets::Default)
}

/// Three steps: builds all guests and returns the one folder that has their `.wasm` files.
pub(crate) fn build_all(workspace: &Workspace, steps: &mut Steps) -> Result<PathBuf> {
    let toolchain = prepare(steps)?;
    let mut artifacts = steps.loud("Building the example extensions", || build_examples(workspace, &toolchain))?;
    artifacts.extend(
        steps.loud("Building the guests that fail on purpose", || build_programs(workspace, &toolchain, FAILING))?,
    );
    let folder = gather(workspace, "wasm", &artifacts)?;
    copy_texts(&workspace.root.join(FAILING).join("examples"), &folder)?;
    Ok(folder)
}

/// Three steps: builds the benches' guests, and those that fail on purpose, beside which others are measured; returns what built
/// them, and the one folder that has their `.wasm` files.
pub(crate) fn build_benches(workspace: &Workspace, steps: &mut Steps) -> Result<(Toolchain, PathBuf)> {
    let toolchain = prepare(steps)?;
    let mut artifacts =
        steps.loud("Building the benches' guests", || build_programs(workspace, &toolchain, BENCHES))?;
    artifacts.extend(
        steps.loud("Building the guests that fail on purpose", || build_programs(workspace, &toolchain, FAILING))?,
    );
    let folder = gather(workspace, "bench-wasm", &artifacts)?;
    Ok((toolchain, folder))
}

/// Builds the example targets of the members in a folder.
fn build_programs(workspace: &Workspace, toolchain: &Toolchain, folder: &str) -> Result<Vec<Artifact>> {
    let packages = workspace.members_in(folder).filter(|package| package.has_examples);
    build(workspace, toolchain, packages.map(|package| package.name.clone()).collect(), Targets::Examples)
}

fn build(
    workspace: &Workspace,
    toolchain: &Toolchain,
    packages: Vec<String>,
    targets: Targets,
) -> Result<Vec<Artifact>> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let request = BuildRequest {
        packages,
        targets,
        ..BuildRequest::new(&workspace.root, Profile::Guest, workspace.guest_target())
    };
    Ok(toolchain.build(&request)?)
}

/// Puts the guests into one folder, and removes from it what is no guest any more.
fn gather(workspace: &Workspace, folder: &str, artifacts: &[Artifact]) -> Result<PathBuf> {
    let folder = workspace.guest_target().join(folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for artifact in artifacts {
        copy(&artifact.path, &folder.join(format!("{}.wasm", artifact.name)))?;
    }
    Ok(folder)
}

/// Copies the guests that are WebAssembly text files.
fn copy_texts(from: &Path, folder: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wat") {
                copy(&path, &folder.join(path.file_name().unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

/// Copies a file, with both paths in the error.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
