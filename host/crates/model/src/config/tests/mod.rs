//! Promises of configuration as a whole.

mod ambient;
mod grants;
mod layers;
mod overlay;
mod overrides;
mod parsing;

use super::{ConfigError, Layers, Manifest, OperatorConfig};
use crate::ExtensionId;

fn id(text: &str) -> ExtensionId {
    text.parse().expect("an id")
}

fn manifest(text: &str) -> Result<Manifest, ConfigError> {
    Manifest::parse(text, "relay: extension.toml")
}

fn file(text: &str) -> OperatorConfig {
    OperatorConfig::parse(text, "glasshouse.toml").expect("a configuration")
}

fn layers(file_text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Layers {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Layers {
        file: file(file_text),
        environment: OperatorConfig::from_environment(variables, &[id("relay")]).expect("variables"),
        flags: OperatorConfig::from_flags(flags).expect("flags"),
        ..Layers::default()
    }
}
