//! `cargo xtask demo`: builds the host and the example extensions, and runs them on a real feed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use glasshouse_toolchain::Artifact;

use crate::feed;
use crate::guests::{self, EXAMPLES, copy};
use crate::steps::Steps;
use crate::workspace::{Workspace, run as run_command};

/// Everything that the demo reads and writes.
struct Stage {
    host: PathBuf,
    plugins: PathBuf,
    config: PathBuf,
    feed: PathBuf,
    replies: PathBuf,
    data: PathBuf,
}

pub(crate) fn run(serve: bool) -> Result<()> {
    let workspace = Workspace::load()?;
    let folder = workspace.target.join("demo");
    let stage = Stage {
        host: workspace.target.join("release").join(format!("glasshouse{}", std::env::consts::EXE_SUFFIX)),
        plugins: folder.join("plugins"),
        config: workspace.root.join(EXAMPLES).join("glasshouse.toml"),
        feed: folder.join("feed.jsonl"),
        replies: folder.join("replies.jsonl"),
        data: folder.join("data"),
    };
    let mut steps = Steps::new(5);
    let toolchain = guests::prepare(&mut steps)?;
    steps.loud("Building the host (release; minutes the first time)", || {
        run_command(workspace.cargo().args(["build", "--release", "--package", "glasshouse"]), "building the host")
    })?;
    steps.loud("Building the example extensions", || {
        let artifacts = guests::build_examples(&workspace, &toolchain)?;
        lay_out(&workspace, &artifacts, &stage.plugins)
    })?;
    steps.loud("Writing the feed: the project's own files and an access log", || {
        let text = feed::feed(&workspace.root)?;
        eprintln!("      {} events in {}", text.lines().count(), workspace.show(&stage.feed));
        eprintln!("      one of them asks for a language that is unknown, to show what an error looks like");
        fs::write(&stage.feed, text).with_context(|| format!("writing {}", stage.feed.display()))
    })?;
    if serve {
        return serve_on(&workspace, &stage, &mut steps);
    }
    steps.loud("Running the host on the feed", || {
        let mut command = host(&workspace, &stage)?;
        run_command(command.arg("--exit-when-done"), "running the host")
    })?;
    next(&workspace, &stage);
    Ok(())
}

/// Lays out a plugin directory: `<id>/extension.toml` and the component beside it.
pub(crate) fn lay_out(workspace: &Workspace, artifacts: &[Artifact], plugins: &Path) -> Result<()> {
    if plugins.exists() {
        fs::remove_dir_all(plugins).with_context(|| format!("emptying {}", plugins.display()))?;
    }
    fs::create_dir_all(plugins).with_context(|| format!("making {}", plugins.display()))?;
    for package in workspace.members_in(EXAMPLES) {
        let sources = workspace.root.join(&package.folder);
        let Some(artifact) = artifacts.iter().find(|artifact| artifact.name == package.name) else {
            bail!("{}: the build made no .wasm file of it", package.folder.display());
        };
        let id = package.folder.file_name().unwrap_or_default().to_string_lossy();
        let folder = plugins.join(id.as_ref());
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        copy(&sources.join("extension.toml"), &folder.join("extension.toml"))?;
        copy(&artifact.path, &folder.join(component(&sources.join("extension.toml"), &id)?))?;
    }
    Ok(())
}

/// The component's file name: what the manifest says, else the extension's id.
fn component(manifest: &Path, id: &str) -> Result<String> {
    let text = fs::read_to_string(manifest).with_context(|| format!("reading {}", manifest.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("reading {}", manifest.display()))?;
    let named = table.get("component").and_then(toml::Value::as_str);
    let name = named.and_then(|path| Path::new(path).file_name()).map(|name| name.to_string_lossy().into_owned());
    Ok(name.unwrap_or_else(|| format!("{id}.wasm")))
}

/// The host on the demo's plugins and feed, with the replies in a file.
fn host(workspace: &Workspace, stage: &Stage) -> Result<Command> {
    let replies = File::create(&stage.replies).with_context(|| format!("writing {}", stage.replies.display()))?;
    let mut command = Command::new(&stage.host);
    command.current_dir(&workspace.root).arg("run").arg(&stage.plugins).arg("--config").arg(&stage.config);
    command.arg("--data-dir").arg(&stage.data);
    command.arg("--feed").arg(&stage.feed).stdin(Stdio::null()).stdout(replies);
    Ok(command)
}

/// Becomes the host, so that Ctrl-C reaches it alone and its summary is waited for.
fn serve_on(workspace: &Workspace, stage: &Stage, steps: &mut Steps) -> Result<()> {
    steps.loud("Starting the host; Ctrl-C ends it", || Ok(()))?;
    eprintln!("      replies go to {}", workspace.show(&stage.replies));
    let mut command = host(workspace, stage)?;
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        Err(command.exec()).with_context(|| format!("starting {}", stage.host.display()))
    }
    #[cfg(not(unix))]
    run_command(&mut command, "running the host")
}

fn next(workspace: &Workspace, stage: &Stage) {
    let host = workspace.show(&stage.host);
    let plugins = workspace.show(&stage.plugins);
    let config = workspace.show(&stage.config);
    eprintln!("\nThe replies are in {}. What to type next:", workspace.show(&stage.replies));
    let data = workspace.show(&stage.data);
    eprintln!("  {host} logs search --data-dir {data} 'level>=warning'");
    eprintln!("  {host} invocations show --data-dir {data} --extension-id snippets --limit 5");
    eprintln!("  {host} traces slowest --data-dir {data}");
    eprintln!("  {host} metrics summary --data-dir {data} --extension-id access-log");
    eprintln!("  {host} list {plugins} --config {config}");
    eprintln!("  {host} inspect {plugins}/relay");
    eprintln!("  {host} call {plugins}/markdown --event render --payload '{{\"markdown\": \"# Hello\"}}'");
    eprintln!("  {host} new my-extension");
    eprintln!("  cargo xtask demo --serve");
}
