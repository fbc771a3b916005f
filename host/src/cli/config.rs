//! `glasshouse config`: the values in effect and where they come from, and the reference of all keys.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::config::{Key, Scope, Setting, reference, reference_markdown};
use serde::Serialize;

use super::{Exit, Format, Operator};
use crate::output::{self, Align, Paint, Table};

const EXAMPLE: &str = "\
Examples:
  glasshouse config show --config glasshouse.toml plugins
  glasshouse config reference";
const SHOW_EXAMPLE: &str = "\
Example:
  glasshouse config show --config glasshouse.toml --set defaults.budget.deadline=2s plugins

Without a plugin directory, it shows the host's values, those of each extension that the configuration names, and
those of all others.";
const REFERENCE_EXAMPLE: &str = "\
Example:
  glasshouse config reference --markdown";

/// Show the configuration in effect, or the reference of its keys
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(Show),
    Reference(Reference),
}

/// Show the values in effect, and where each comes from
#[derive(Args, Debug)]
#[command(after_help = SHOW_EXAMPLE)]
struct Show {
    /// The folder with the extensions
    plugin_dir: Option<PathBuf>,
    #[command(flatten)]
    operator: Operator,
}

/// List all keys: type, default, bounds, where they may stand, and what they mean
#[derive(Args, Debug)]
#[command(after_help = REFERENCE_EXAMPLE)]
struct Reference {
    /// Write it as a table in Markdown
    #[arg(long)]
    markdown: bool,
}

/// A value in effect.
#[derive(Serialize)]
pub(super) struct ShownSetting<'a> {
    key: &'a str,
    value: &'a str,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

/// The values of the host, of an extension, or of all that are not named.
#[derive(Serialize)]
struct Section<'a> {
    #[serde(rename = "of")]
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<&'a str>,
    settings: Vec<ShownSetting<'a>>,
}

#[derive(Serialize)]
struct ShownKey {
    key: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    default: &'static str,
    least: Option<String>,
    most: Option<String>,
    places: Vec<&'static str>,
    meaning: Cow<'static, str>,
}

impl<'a> From<&'a Setting> for ShownSetting<'a> {
    fn from(setting: &'a Setting) -> Self {
        Self {
            key: &setting.key,
            value: &setting.value,
            origin: setting.origin.to_string(),
            note: setting.note.as_deref(),
        }
    }
}

impl Config {
    pub(crate) fn run(self, format: Format) -> Result<Exit> {
        match self.verb {
            Verb::Show(show) => show.run(format),
            Verb::Reference(reference) => reference.run(format),
        }
    }
}

impl Show {
    fn run(self, format: Format) -> Result<Exit> {
        let mut builder = self.operator.builder();
        if let Some(path) = &self.plugin_dir {
            builder = builder.plugin_dir(path);
        }
        let plan = builder.plan()?;
        let named: Vec<_> = plan.unknown.iter().map(|id| (id.clone(), plan.bare(id.clone()).origins)).collect();
        let extensions = plan.extensions.iter().map(|planned| (&planned.id, &planned.resolved.origins));
        let extensions = extensions.chain(named.iter().map(|(id, origins)| (id, origins)));
        // No configuration can speak of it, since it is in none of the lists.
        let others = (1..).find_map(|number| {
            let id = format!("other-{number}").parse().ok()?;
            let known = plan.unknown.contains(&id) || plan.extensions.iter().any(|planned| planned.id == id);
            (!known).then(|| plan.bare(id).origins)
        });
        let mut sections = vec![Section {
            subject: "host",
            extension: None,
            settings: plan.host.origins.iter().map(Into::into).collect(),
        }];
        sections.extend(extensions.map(|(id, origins)| Section {
            subject: "extension",
            extension: Some(id.as_str()),
            settings: origins.iter().map(Into::into).collect(),
        }));
        if self.plugin_dir.is_none() {
            sections.extend(others.iter().map(|origins| Section {
                subject: "all other extensions",
                extension: None,
                settings: origins.iter().map(Into::into).collect(),
            }));
        }
        match format {
            Format::Json => sections.iter().try_for_each(output::json)?,
            Format::Table => {
                let paint = Paint::stdout();
                for (index, section) in sections.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "\n" };
                    output::line(format_args!("{gap}{}", paint.bold(section.extension.unwrap_or(section.subject))))?;
                    output::line(table(&section.settings).plain(paint))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// Values in effect as a table.
pub(super) fn table(settings: &[ShownSetting<'_>]) -> Table {
    let mut table =
        Table::new(&[("  key", Align::Left), ("value", Align::Left), ("from", Align::Left), ("note", Align::Left)]);
    for setting in settings {
        table.row([
            format!("  {}", setting.key),
            if setting.value.is_empty() { "-".to_owned() } else { setting.value.to_owned() },
            setting.origin.clone(),
            setting.note.unwrap_or_default().to_owned(),
        ]);
    }
    table
}

impl Reference {
    fn run(self, format: Format) -> Result<Exit> {
        if self.markdown {
            output::line(reference_markdown().trim_end())?;
            return Ok(Exit::Ok);
        }
        match format {
            Format::Json => reference().try_for_each(|key| output::json(&ShownKey::from(key)))?,
            Format::Table => {
                let paint = Paint::stdout();
                for key in reference() {
                    let key = ShownKey::from(key);
                    let default =
                        if key.default.is_empty() { String::new() } else { format!(", default {}", key.default) };
                    let bounds = match (&key.least, &key.most) {
                        (Some(least), Some(most)) => format!(", {least} to {most}"),
                        _ => String::new(),
                    };
                    let (name, kind, places) = (paint.bold(key.key), key.kind, key.places.join(", "));
                    output::line(format_args!("{name}  {kind}{default}{bounds}; in {places}"))?;
                    output::line(format_args!("    {}", key.meaning))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

impl From<&'static Key> for ShownKey {
    fn from(key: &'static Key) -> Self {
        let (least, most) = key.bounds().unzip();
        let place = |scope: &Scope| match scope {
            Scope::Manifest => "manifest",
            Scope::Extension => "extensions.<id>",
            Scope::Defaults => "defaults",
            Scope::Host => "host",
        };
        Self {
            key: key.path(),
            kind: key.kind(),
            default: key.default_text(),
            least,
            most,
            places: key.scopes().iter().map(place).collect(),
            meaning: key.meaning(),
        }
    }
}
