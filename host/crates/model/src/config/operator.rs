//! What the operator says, from one source: the file `glasshouse.toml`, the environment, or flags.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::grant::rooted;
use super::keys::Scope;
use super::layer::Layer;
use super::nearest::{hint, nearest};
use super::read::{Reader, Section, found};
use super::value::Value;
use crate::text::visible;
use crate::{Blame, ExtensionId};

/// The tables of the operator's configuration.
pub(super) const TABLES: [&str; 5] = ["host", "files", "otlp", "defaults", "extensions"];

/// Operator configuration from one source; [`super::Layers`] put several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorConfig {
    pub(super) host: Layer,
    pub(super) defaults: Layer,
    pub(super) extensions: BTreeMap<ExtensionId, Layer>,
}

impl OperatorConfig {
    /// Reads `glasshouse.toml`. The label is the file's name in problems and origins.
    pub fn parse(text: &str, label: &str) -> Result<Self, ConfigError> {
        let mut reader = Reader::file(text, label);
        let document = reader.parse(Blame::Host)?;
        let mut config = Self::default();
        for (name, given) in &*document {
            if !TABLES.contains(&name.get_ref().as_ref()) {
                reader.problem(name.span().start, || {
                    let proposal = hint("", nearest(name.get_ref(), TABLES));
                    format!("unknown key \"{}\"{proposal}", visible(name.get_ref(), 80))
                });
                continue;
            }
            let Some(table) = table(&mut reader, name.get_ref(), given) else { continue };
            match name.get_ref().as_ref() {
                section @ ("host" | "files" | "otlp") => {
                    let prefix = format!("{section}.");
                    reader.table(Section { scope: Scope::Host, shown: "" }, &prefix, table, &mut config.host);
                }
                "defaults" => {
                    let section = Section { scope: Scope::Defaults, shown: "defaults." };
                    reader.table(section, "", table, &mut config.defaults);
                }
                _ => config.extensions(&mut reader, table),
            }
        }
        reader.problems.or(Blame::Host, config)
    }

    fn extensions(&mut self, reader: &mut Reader<'_>, table_of_all: &DeTable<'_>) {
        for (name, given) in table_of_all {
            let id: ExtensionId = match name.get_ref().parse() {
                Ok(id) => id,
                Err(error) => {
                    reader.problem(name.span().start, || format!("extensions: {error}"));
                    continue;
                }
            };
            let shown = format!("extensions.{id}");
            let Some(table) = table(reader, &shown, given) else { continue };
            let section = Section { scope: Scope::Extension, shown: &format!("{shown}.") };
            let mut layer = Layer::default();
            reader.table(section, "", table, &mut layer);
            self.extensions.insert(id, layer);
        }
    }

    /// The extensions that it speaks of, so that the host can warn of those that it does not know.
    pub fn extension_ids(&self) -> impl Iterator<Item = &ExtensionId> {
        self.extensions.keys()
    }

    /// The same with relative paths (granted folders, the cache folder) resolved against a folder: that of the file, or
    /// the current one for variables and flags.
    pub fn based_at(mut self, folder: &Path) -> Self {
        let layers = self.extensions.values_mut().chain([&mut self.host, &mut self.defaults]);
        for entry in layers.flat_map(|layer| layer.values.values_mut()) {
            match &mut entry.value {
                Value::Path(path) => *path = rooted(path, folder),
                Value::Files(files) => files.iter_mut().for_each(|file| file.host = rooted(&file.host, folder)),
                _ => {}
            }
        }
        self
    }
}

fn table<'v, 't>(
    reader: &mut Reader<'_>,
    path: &str,
    given: &'v toml::Spanned<DeValue<'t>>,
) -> Option<&'v DeTable<'t>> {
    let table = given.get_ref().as_table();
    if table.is_none() {
        let found = found(given.get_ref());
        reader.problem(given.span().start, || format!("{path}: found {found}, expected a table: write [{path}]"));
    }
    table
}
