//! How the settings of an extension differ from others, and whether they may take their place while it runs.

use super::check;
use super::keys::{KEYS, Slot};
use super::value::{Check, Kind, Value, check_text, within_bounds};
use crate::settings::Settings;
use crate::text::visible;

/// A key that has another value in other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key's path, such as `budget.deadline`; `permissions` and `config` stand for all that is in them.
    pub key: &'static str,
    /// The value before, as text.
    pub from: String,
    /// The value after, as text.
    pub to: String,
    /// Whether it can take effect while the extension runs.
    pub live: bool,
}

/// Settings that no configuration could have led to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// A value is less or more than it may be.
    #[error("{key}: {value} is out of bounds; it may be from {least} to {most}")]
    Value {
        /// The key's path.
        key: &'static str,
        /// The value, as text.
        value: String,
        /// The least that it may be.
        least: String,
        /// The most that it may be.
        most: String,
    },
    /// A list has a text that it may not have.
    #[error("{key}: \"{text}\": {cause}")]
    Text {
        /// The key's path.
        key: &'static str,
        /// The text, cut and without control characters.
        text: String,
        /// A sentence about what is wrong with it.
        cause: String,
    },
}

/// What is different in `to`, in the order of the reference. Values under `config` may be secret, so they are not shown.
pub fn changes(from: &Settings, to: &Settings) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut from, mut to) = (from.clone(), to.clone());
    for key in KEYS {
        let Slot::Settings(slot) = key.slot else { continue };
        let (before, after) = (slot(&mut from).get(), slot(&mut to).get());
        if before != after {
            let live = key.is_live();
            changes.push(Change { key: key.path, from: before.to_string(), to: after.to_string(), live });
        }
    }
    for (key, differs) in [("permissions", from.permissions != to.permissions), ("config", from.config != to.config)] {
        if differs {
            changes.push(Change { key, from: "as it was".into(), to: "another".into(), live: false });
        }
    }
    changes
}

/// The values of all keys of an extension's settings, as text.
pub fn values(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut settings = settings.clone();
    let value = |key: &super::Key| match key.slot {
        Slot::Settings(slot) => Some((key.path, slot(&mut settings).get().to_string())),
        _ => None,
    };
    KEYS.iter().filter_map(value).collect()
}

/// Looks whether all values are within the bounds that the table of keys has for them, and whether texts are as their keys ask
/// for. Regular expressions are not compiled.
pub fn check_bounds(settings: &Settings) -> Result<(), OutOfBounds> {
    let mut settings = settings.clone();
    for key in KEYS {
        let Slot::Settings(slot) = key.slot else { continue };
        let value = slot(&mut settings).get();
        if let Some((least, most)) = key.bounds().filter(|_| !within_bounds(&key.kind, &value)) {
            return Err(OutOfBounds::Value { key: key.path, value: value.to_string(), least, most });
        }
        let check = match key.kind {
            Kind::Texts(check) => Some(check),
            Kind::Thresholds => Some(check::threshold as Check),
            _ => None,
        };
        if let (Some(check), Value::Texts(texts)) = (check, &value) {
            for text in texts {
                check_text(text, check).map_err(|cause| {
                    let text = visible(text, 80).into_owned();
                    OutOfBounds::Text { key: key.path, text, cause }
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Metering;

    #[test]
    fn changes_say_what_takes_effect_while_an_extension_runs() {
        let check = |change: fn(&mut Settings), expect: &[(&str, &str, &str, bool)]| {
            let mut to = Settings::default();
            change(&mut to);
            let found = changes(&Settings::default(), &to);
            let found: Vec<_> =
                found.iter().map(|change| (change.key, &*change.from, &*change.to, change.live)).collect();
            assert_eq!(found, expect);
        };
        check(|_| {}, &[]);
        check(|to| to.budget.deadline = Duration::from_millis(1500), &[("budget.deadline", "5s", "1500ms", true)]);
        check(
            |to| {
                to.debugging.tracing_enabled = true;
                to.debugging.max_errors = 7;
            },
            &[("debugging.tracing_enabled", "false", "true", true), ("debugging.max_errors", "1000", "7", false)],
        );
        check(|to| to.budget.mailbox = 1, &[("budget.mailbox", "256", "1", true)]);
        check(|to| to.budget.metering = Metering::Cpu, &[("budget.metering", "fuel", "cpu", false)]);
        check(|to| to.redaction.enabled = false, &[("redaction.enabled", "true", "false", false)]);
        check(
            |to| drop(to.config.insert("token".into(), "secret".into())),
            &[("config", "as it was", "another", false)],
        );
        check(|to| to.permissions.env.push("HOME".into()), &[("permissions", "as it was", "another", false)]);
    }

    #[test]
    fn values_that_no_configuration_could_have_are_refused() {
        assert_eq!(check_bounds(&Settings::default()), Ok(()));
        let mut settings = Settings::default();
        settings.budget.memory_bytes = 1;
        let error = check_bounds(&settings).expect_err("that is no memory");
        assert_eq!(error.to_string(), "budget.memory: 1B is out of bounds; it may be from 64KiB to 4GiB");
    }

    #[test]
    fn texts_that_no_configuration_could_have_are_refused_with_their_sentence() {
        let check = |text: &str, expect: &str| {
            let mut settings = Settings::default();
            settings.debugging.log_levels = vec!["http=debug".into(), text.into()];
            let found = check_bounds(&settings).map_err(|error| error.to_string());
            assert_eq!(found, if expect.is_empty() { Ok(()) } else { Err(expect.to_owned()) });
        };
        check("db.pool=warning", "");
        check("db", "debugging.log_levels: \"db\": write a logger and a level, such as http=debug");
        check("=info", "debugging.log_levels: \"=info\": a logger has 1 to 128 characters, and no control characters");
        check(
            "a\u{7f}=info",
            "debugging.log_levels: \"a\\u{7f}=info\": a logger has 1 to 128 characters, and no control characters",
        );
    }
}
