//! `glasshouse list`: what is in a plugin directory, and whether it loads.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use glasshouse::text;
use serde::Serialize;

use super::address::Address;
use super::control::status;
use super::run::{cause, coloured_state};
use super::{Exit, Format, Operator, UsageError, progress};
use crate::output::{self, Align, Paint, Table};

/// How long `shutdown` of the extensions may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

const EXAMPLE: &str = "\
Example:
  glasshouse list plugins --config glasshouse.toml

Loads and starts each extension, as `run` does, and ends it again. With --host URL it asks a host that runs, as `status` does.
Exits with 0 if the directory could be read, even where extensions in it are failed.";

/// List the extensions of a plugin directory, and why those that fail do
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct List {
    /// The folder with the extensions
    #[arg(required_unless_present = "host", conflicts_with = "host")]
    plugin_dir: Option<PathBuf>,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    address: Address,
}

/// An extension in the list.
#[derive(Serialize)]
struct Listed {
    extension: String,
    version: String,
    state: &'static str,
    file_bytes: Option<u64>,
    component: Option<String>,
    subscriptions: Vec<String>,
    description: String,
    denied: Vec<String>,
    cause: Option<String>,
}

impl List {
    pub(crate) async fn run(self, format: Format) -> Result<Exit> {
        let data_dir = || Ok(self.operator.host_settings()?.data_dir);
        if let Some(client) = self.address.client(self.plugin_dir.is_some(), data_dir)? {
            return status(&client, None, format.into()).await;
        }
        let Some(plugin_dir) = &self.plugin_dir else {
            return Err(UsageError("name the folder with the extensions, or a host with --host URL".to_owned()).into());
        };
        let host = self.operator.builder().plugin_dir(plugin_dir).start().await?;
        progress::loaded(&host).await;
        let mut listed: Vec<_> = host
            .extensions()
            .map(|extension| {
                let (about, status, component) = (extension.about(), extension.status(), extension.component());
                Listed {
                    extension: extension.id().to_string(),
                    version: about.manifest.version.to_string(),
                    state: status.word(),
                    file_bytes: component.map(|component| component.file_bytes),
                    component: component.map(|component| component.digest.short()),
                    subscriptions: about.manifest.subscribe.clone(),
                    description: about.manifest.description.clone(),
                    denied: about.resolved.grant.denied.clone(),
                    cause: status.reason().map(str::to_owned),
                }
            })
            .collect();
        listed.extend(host.disabled().map(|planned| Listed {
            extension: planned.id.to_string(),
            version: planned.manifest.version.to_string(),
            state: "disabled",
            file_bytes: None,
            component: None,
            subscriptions: planned.manifest.subscribe.clone(),
            description: planned.manifest.description.clone(),
            denied: Vec::new(),
            cause: None,
        }));
        listed.sort_by(|a, b| a.extension.cmp(&b.extension));
        host.shutdown(SHUTDOWN_LIMIT).await;
        match format {
            Format::Json => listed.iter().try_for_each(output::json)?,
            Format::Table => write(&listed)?,
        }
        Ok(Exit::Ok)
    }
}

fn write(listed: &[Listed]) -> std::io::Result<()> {
    let paint = Paint::stdout();
    if listed.is_empty() {
        return output::line("the plugin directory has no extensions");
    }
    let mut table = Table::new(&[
        ("extension", Align::Left),
        ("version", Align::Left),
        ("state", Align::Left),
        ("size", Align::Right),
        ("component", Align::Left),
        ("subscribes to", Align::Left),
    ]);
    for extension in listed {
        table.row([
            extension.extension.clone(),
            extension.version.clone(),
            extension.state.to_owned(),
            extension.file_bytes.map(text::bytes).unwrap_or_default(),
            extension.component.clone().unwrap_or_default(),
            extension.subscriptions.join(", "),
        ]);
    }
    output::line(table.render(paint, |column, cell| (column == 2).then(|| coloured_state(paint, cell))))?;
    for extension in listed {
        if let Some(reason) = &extension.cause {
            output::line(format_args!("\n{}: {}", paint.bold(&extension.extension), cause(reason)))?;
        }
        for denied in &extension.denied {
            output::line(format_args!("\n{}: not granted: {denied}", paint.bold(&extension.extension)))?;
        }
    }
    Ok(())
}
