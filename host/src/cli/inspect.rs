//! `glasshouse inspect`: what an extension imports, exports and asks for, and what it would get.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use glasshouse::config::Setting;
use glasshouse::text::{self, visible};
use glasshouse::{Inspection, Permissions, Planned, Redactor};
use serde::Serialize;

use super::config::ShownSetting;
use super::run::cause;
use super::{Exit, Format, Operator};
use crate::output::{self, Paint};

const EXAMPLE: &str = "\
Examples:
  glasshouse inspect plugins/relay --config glasshouse.toml
  glasshouse inspect target/greeter.wasm --format json

Reads and compiles the component, and does not run it. Exits with 4 if it could not be loaded.";

/// Show what an extension imports, exports and asks for, and what it would be granted
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Inspect {
    /// A component file, or a folder with an extension.toml
    #[arg(value_name = "EXTENSION")]
    path: PathBuf,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Serialize)]
struct Shown<'a> {
    extension: &'a str,
    version: String,
    name: &'a str,
    description: &'a str,
    authors: &'a [String],
    subscriptions: &'a [String],
    digest: Option<String>,
    file_bytes: Option<u64>,
    code_bytes: Option<u64>,
    imports: &'a [String],
    exports: &'a [String],
    requests: Vec<String>,
    granted: Vec<String>,
    denied: &'a [String],
    granted_unasked: &'a [String],
    settings: Vec<ShownSetting<'a>>,
    problem: Option<&'a str>,
}

impl Inspect {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        let builder = self.operator.builder().extension(&self.path);
        let plan = builder.plan()?;
        let Some(planned) = plan.extensions.first() else { anyhow::bail!("no extension was found") };
        let (inspection, problem) = match glasshouse::inspect(&planned.component, &builder.compile_settings(&plan)) {
            Ok(inspection) => (Some(inspection), planned.problem.clone()),
            Err(error) => (None, Some(planned.problem.clone().unwrap_or_else(|| error.to_string()))),
        };
        let shown = Shown::new(planned, inspection.as_ref(), problem.as_deref());
        match format {
            Format::Json => output::json(&shown)?,
            Format::Table => shown.write()?,
        }
        Ok(if problem.is_some() { Exit::Guest } else { Exit::Ok })
    }
}

impl<'a> Shown<'a> {
    fn new(planned: &'a Planned, inspection: Option<&'a Inspection>, problem: Option<&'a str>) -> Self {
        let (manifest, resolved) = (&planned.manifest, &planned.resolved);
        let redactor = Redactor::new(&resolved.settings.redaction).unwrap_or_default();
        let shown = |permissions: &Permissions| {
            lines(permissions).iter().map(|line| redactor.redact_text(line).into_owned()).collect()
        };
        let is_permission = |setting: &&Setting| setting.key.starts_with("permissions.");
        Self {
            extension: planned.id.as_str(),
            version: manifest.version.to_string(),
            name: &manifest.name,
            description: &manifest.description,
            authors: &manifest.authors,
            subscriptions: &manifest.subscribe,
            digest: inspection.map(|inspection| inspection.digest.to_string()),
            file_bytes: inspection.map(|inspection| inspection.file_bytes),
            code_bytes: inspection.map(|inspection| inspection.code_bytes),
            imports: inspection.map_or(&[], |inspection| &inspection.imports),
            exports: inspection.map_or(&[], |inspection| &inspection.exports),
            requests: shown(&manifest.permissions.rooted(&planned.folder)),
            granted: shown(&resolved.grant.effective),
            denied: &resolved.grant.denied,
            granted_unasked: &resolved.grant.unused,
            settings: resolved.origins.iter().filter(|setting| !is_permission(setting)).map(Into::into).collect(),
            problem,
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let paint = Paint::stdout();
        let name = if self.name == self.extension { String::new() } else { format!(" ({})", visible(self.name, 100)) };
        output::line(format_args!("{}{name} {}", paint.bold(self.extension), self.version))?;
        for text in [self.description, &self.authors.join(", ")] {
            if !text.is_empty() {
                output::line(visible(text, 400))?;
            }
        }
        if let (Some(file), Some(code), Some(digest)) = (self.file_bytes, self.code_bytes, &self.digest) {
            let (file, code) = (text::bytes(file), text::bytes(code));
            output::line(format_args!("component {file}, compiled {code}, digest {}", &digest[..12]))?;
        }
        if let Some(problem) = self.problem {
            output::line(format_args!("{} {}", paint.red("cannot be loaded:"), cause(problem)))?;
        }
        section(paint, "imports", self.imports)?;
        section(paint, "exports", self.exports)?;
        section(paint, "subscribes to", self.subscriptions)?;
        section(paint, "asks for", &self.requests)?;
        section(paint, "would be granted", &self.granted)?;
        section(paint, "would be denied", self.denied)?;
        section(paint, "granted, but not asked for", self.granted_unasked)?;
        output::line(format_args!("\n{}", paint.bold("settings")))?;
        output::line(super::config::table(&self.settings).plain(paint))
    }
}

fn section(paint: Paint, title: &str, lines: &[String]) -> std::io::Result<()> {
    if lines.is_empty() {
        return output::line(format_args!("\n{}: nothing", paint.bold(title)));
    }
    output::line(format_args!("\n{}", paint.bold(title)))?;
    lines.iter().try_for_each(|line| output::line(format_args!("  {}", visible(line, 1000))))
}

/// Permissions, one a line.
fn lines(permissions: &Permissions) -> Vec<String> {
    let named = |what: &'static str| move |name: &String| format!("{what}: {name}");
    let mut lines: Vec<_> = permissions.files.iter().map(|file| format!("files: {file}")).collect();
    lines.extend(permissions.env.iter().map(named("env")));
    lines.extend(permissions.network.iter().map(|access| format!("network: {access}")));
    lines.extend(permissions.http.iter().map(|access| format!("http: {access}")));
    lines.extend(permissions.http_addresses.iter().map(|access| format!("http, where names lead: {access}")));
    lines.extend(permissions.call.iter().map(named("call")));
    lines.extend(permissions.publish.iter().map(named("publish")));
    lines
}
