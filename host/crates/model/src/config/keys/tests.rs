//! The table of keys is sound: defaults, fields and sentences.

use super::*;
use crate::Level;
use crate::config::HostSettings;
use crate::config::value::Value;
use crate::config::value::from_text;
use crate::settings::Settings;

#[test]
fn the_defaults_in_the_table_are_those_in_effect() {
    let (mut settings, mut host) = (Settings::default(), HostSettings::default());
    for key in KEYS {
        let default = match key.slot {
            Slot::Settings(slot) => slot(&mut settings).get(),
            Slot::Host(slot) => slot(&mut host).get(),
            Slot::Elsewhere => continue,
        };
        assert_eq!(default.to_string(), key.default, "{}", key.path);
        if !key.default.is_empty() && !matches!(default, Value::Texts(_) | Value::Secrets(_)) {
            assert_eq!(from_text(&key.kind, key.default), Ok(default), "{}", key.path);
        }
    }
}

#[test]
fn every_key_has_a_field_of_its_own() {
    for key in KEYS {
        let (mut settings, mut host) = (Settings::default(), HostSettings::default());
        let other = match (key.kind, key.default) {
            (Kind::Switch, default) => Value::Switch(default == "false"),
            (Kind::Level, _) => Value::Level(Level::Critical),
            (Kind::Path, _) => Value::Path("elsewhere".into()),
            (Kind::Texts(_) | Kind::Patterns | Kind::Thresholds, _) => Value::Texts(vec!["other".into()]),
            (kind, _) => match kind.bounds() {
                Some((_, most)) if most.to_string() != key.default => most,
                Some((least, _)) => least,
                None => continue,
            },
        };
        match key.slot {
            Slot::Settings(slot) => slot(&mut settings).set(&other),
            Slot::Host(slot) => slot(&mut host).set(&other),
            Slot::Elsewhere => continue,
        }
        for probe in KEYS {
            let found = match probe.slot {
                Slot::Settings(slot) => slot(&mut settings).get(),
                Slot::Host(slot) => slot(&mut host).get(),
                Slot::Elsewhere => continue,
            };
            let expect = if probe.path == key.path { other.to_string() } else { probe.default.to_owned() };
            assert_eq!(found.to_string(), expect, "{} set, {} read", key.path, probe.path);
        }
    }
}

#[test]
fn paths_are_unique_and_meanings_are_sentences() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{}", key.path);
        assert!(key.meaning.ends_with('.'), "{}", key.path);
    }
}
