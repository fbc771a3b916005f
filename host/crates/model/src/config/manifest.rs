//! What an extension says about itself: `extension.toml`.

use std::path::PathBuf;

use semver::Version;

use super::error::ConfigError;
use super::keys::Scope;
use super::layer::Layer;
use super::read::{Reader, Section};
use super::value::Value;
use crate::settings::Permissions;
use crate::{Blame, ExtensionId};

/// The version of an extension that names none.
pub const DEFAULT_VERSION: Version = Version::new(0, 0, 0);

/// A checked manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The extension's id.
    pub id: ExtensionId,
    /// Its version; [`DEFAULT_VERSION`] if it names none.
    pub version: Version,
    /// Its name for people; the id if it has none. Foreign text: show it through [`crate::text::visible`].
    pub name: String,
    /// What it does; may be empty. Foreign text.
    pub description: String,
    /// Who wrote it. Foreign text.
    pub authors: Vec<String>,
    /// The component file: a relative path that stays inside the extension's folder, symbolic links aside.
    pub component: PathBuf,
    /// Topics whose events it gets; a trailing `*` stands for any ending.
    pub subscribe: Vec<String>,
    /// What it asks for; relative folders are relative to the extension's.
    pub permissions: Permissions,
    /// What it sets under `budget`, `debugging` and `config`.
    pub(super) layer: Layer,
}

impl Manifest {
    /// Reads a manifest. The label stands before each problem, such as `relay: extension.toml`.
    pub fn parse(text: &str, label: &str) -> Result<Self, ConfigError> {
        let mut reader = Reader::file(text, label);
        let document = reader.parse(Blame::Guest)?;
        let mut layer = Layer::default();
        reader.table(Section { scope: Scope::Manifest, shown: "" }, "", &document, &mut layer);
        let Some(id) = take_text(&mut layer, "id").and_then(|id| id.parse().ok()) else {
            if !document.contains_key("id") {
                reader
                    .whole(|| "the key \"id\" is missing: add id = \"...\", the name of the extension's folder".into());
            }
            return Err(reader.problems.into_error(Blame::Guest));
        };
        let mut manifest = Self::bare(id);
        if let Some(version) = take_text(&mut layer, "version").and_then(|version| version.parse().ok()) {
            manifest.version = version;
        }
        if let Some(name) = take_text(&mut layer, "name").filter(|name| !name.is_empty()) {
            manifest.name = name;
        }
        if let Some(component) = take_text(&mut layer, "component") {
            manifest.component = component.into();
        }
        manifest.description = take_text(&mut layer, "description").unwrap_or_default();
        manifest.authors = take_texts(&mut layer, "authors");
        manifest.subscribe = take_texts(&mut layer, "subscribe");
        manifest.permissions = take_permissions(&mut layer);
        manifest.layer = layer;
        reader.problems.or(Blame::Guest, manifest)
    }

    /// The manifest of a component that has none: it asks for nothing.
    pub fn bare(id: ExtensionId) -> Self {
        Self {
            version: DEFAULT_VERSION,
            name: id.to_string(),
            description: String::new(),
            authors: Vec::new(),
            component: format!("{id}.wasm").into(),
            subscribe: Vec::new(),
            permissions: Permissions::default(),
            layer: Layer::default(),
            id,
        }
    }
}

fn take_text(layer: &mut Layer, key: &str) -> Option<String> {
    match layer.values.remove(key)?.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn take_texts(layer: &mut Layer, key: &str) -> Vec<String> {
    match layer.values.remove(key).map(|entry| entry.value) {
        Some(Value::Texts(texts)) => texts,
        _ => Vec::new(),
    }
}

/// Takes the permissions out of a layer.
pub(super) fn take_permissions(layer: &mut Layer) -> Permissions {
    let mut permissions = Permissions {
        env: take_texts(layer, "permissions.env"),
        call: take_texts(layer, "permissions.call"),
        publish: take_texts(layer, "permissions.publish"),
        ..Permissions::default()
    };
    if let Some(Value::Files(files)) = layer.values.remove("permissions.files").map(|entry| entry.value) {
        permissions.files = files;
    }
    if let Some(Value::Network(network)) = layer.values.remove("permissions.network").map(|entry| entry.value) {
        permissions.network = network;
    }
    if let Some(Value::Origins(http)) = layer.values.remove("permissions.http").map(|entry| entry.value) {
        permissions.http = http;
    }
    permissions
}
