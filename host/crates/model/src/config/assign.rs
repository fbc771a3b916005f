//! Values that an operator sets while an extension runs: read, checked, and held to what the manifest asks for.

use super::error::{ConfigError, Place};
use super::keys::{KEYS, Slot};
use super::layer::{Entry, Origin};
use super::resolve::{Setting, effective};
use super::{Manifest, OperatorConfig};
use crate::settings::Settings;

/// Why values cannot be set while an extension runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// There is no such key, or it takes no such value.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// The key is read when the extension starts.
    #[error("{0} is read when the extension starts: change it in the configuration, and start the host anew")]
    AtStart(String),
}

/// Settings with some values set.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The settings that are to hold from now on.
    pub settings: Settings,
    /// What holds of each key that was named, in the order of the reference.
    pub set: Vec<Setting>,
    /// The lines of `glasshouse.toml` that say the same, for the next start.
    pub lines: Vec<String>,
}

/// Sets values such as `("budget.deadline", "2s")` in settings. What the manifest asks for in stricter terms stays in force, and
/// is noted.
pub fn assign<'a>(
    manifest: &Manifest,
    present: &Settings,
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
    by: &str,
) -> Result<Assigned, AssignError> {
    let id = &manifest.id;
    let flags: Vec<_> = values.into_iter().map(|(key, value)| format!("extensions.{id}.{key}={value}")).collect();
    let mut config = OperatorConfig::from_flags(&flags).map_err(|mut error| {
        for problem in &mut error.problems {
            if let Place::Flag(path) = &problem.place {
                problem.place = Place::Running(path.clone());
            }
        }
        error
    })?;
    let layer = config.extensions.remove(id).unwrap_or_default();
    if layer.config.iter().next().is_some() {
        return Err(AssignError::AtStart("config".to_owned()));
    }
    let mut assigned = Assigned { settings: present.clone(), set: Vec::new(), lines: Vec::new() };
    for key in KEYS {
        let Some(entry) = layer.values.get(key.path) else { continue };
        let (Slot::Settings(slot), true) = (key.slot, key.is_live()) else {
            return Err(AssignError::AtStart(key.path.to_owned()));
        };
        if assigned.lines.is_empty() {
            assigned.lines.push(format!("[extensions.{id}]"));
        }
        assigned.lines.push(format!("{} = {}", key.path, entry.value.to_toml()));
        let asked = Entry { value: entry.value.clone(), origin: Origin::Running { by: by.to_owned() } };
        let default = slot(&mut Settings::default()).get();
        let (entry, note) = effective(key, id, Some(&asked), manifest.layer.values.get(key.path), default);
        slot(&mut assigned.settings).set(&entry.value);
        let note = note.or_else(|| key.not_yet());
        assigned.set.push(Setting { note, ..Setting::new(key, &entry.value, entry.origin) });
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Layers;
    use super::*;

    fn set(values: &[(&str, &str)]) -> Result<Assigned, String> {
        let manifest = Manifest::parse("id = \"relay\"\n[budget]\ndeadline = \"3s\"", "manifest").expect("a manifest");
        let present = Layers::default().resolve(&manifest, Path::new("/")).settings;
        assign(&manifest, &present, values.iter().copied(), "uid 7").map_err(|error| error.to_string())
    }

    #[test]
    fn who_sets_a_key_that_has_no_effect_so_far_is_told() {
        let asked =
            set(&[("debugging.profiling_enabled", "true"), ("debugging.tracing_enabled", "true")]).expect("keys");
        let notes: Vec<_> = asked.set.iter().map(|setting| (setting.key.as_str(), setting.note.is_some())).collect();
        assert_eq!(notes, [("debugging.profiling_enabled", true), ("debugging.tracing_enabled", false)]);
        assert!(asked.set[0].note.as_deref().is_some_and(|note| note.starts_with("not yet in effect")));
    }

    #[test]
    fn values_are_set_with_the_lines_that_keep_them_and_a_stricter_manifest_stays_in_force() {
        let assigned = set(&[("budget.memory", "8MiB"), ("debugging.log_level", "error"), ("budget.deadline", "1s")]);
        let assigned = assigned.expect("it can be set");
        assert_eq!(assigned.settings.budget.memory_bytes, 8 << 20);
        assert_eq!(assigned.settings.debugging.log_level, crate::Level::Error);
        let lines = [
            "[extensions.relay]",
            "budget.deadline = \"1s\"",
            "budget.memory = \"8MiB\"",
            "debugging.log_level = \"error\"",
        ];
        assert_eq!(assigned.lines, lines);
        assert_eq!(assigned.set[0].origin.to_string(), "set while running, by uid 7");
        let capped = set(&[("budget.deadline", "9s")]).expect("it can be set");
        assert_eq!((capped.settings.budget.deadline.as_secs(), capped.set[0].value.as_str()), (3, "3s"));
        assert_eq!(capped.set[0].note.as_deref(), Some("stricter than 9s by what uid 7 set"));
        // The lines are what a file may say.
        let file = OperatorConfig::parse(&assigned.lines.join("\n"), "glasshouse.toml").expect("it is legal");
        let manifest = Manifest::bare("relay".parse().expect("an id"));
        let resolved = Layers { file, ..Layers::default() }.resolve(&manifest, Path::new("/"));
        assert_eq!(resolved.settings.budget.memory_bytes, 8 << 20);
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        let check = |key: &str, value: &str, expect: &str| {
            let error = set(&[("budget.memory", "8MiB"), (key, value)]).expect_err("it is refused");
            assert!(error.contains(expect), "{error}");
        };
        check("budget.deadlin", "1s", "did you mean \"extensions.relay.budget.deadline\"");
        check("budget.deadline", "soon", "extensions.relay.budget.deadline: ");
        check("budget.metering", "fuel", "budget.metering is read when the extension starts");
        check("config.mode", "x", "config is read when");
        check("permissions.env", "[\"HOME\"]", "permissions.env is read when");
        check("", "", "unknown key");
        check("a\nb=\u{1b}[2J", "", "unknown key");
    }
}
