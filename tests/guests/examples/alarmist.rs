//! Raises the alerts that it is told to, under whatever names: the host's own, one name with ever other texts, names without end.

use glasshouse_sdk::{Severity, alert, extension};
use serde::Deserialize;

/// The extension.
#[derive(Default)]
pub struct Alarmist {
    held: Vec<Vec<u8>>,
}

/// An alert to raise.
#[derive(Deserialize)]
pub struct Raise {
    /// Its type.
    name: String,
    /// Its title.
    #[serde(default)]
    title: String,
    /// The metric that it is about.
    metric: Option<String>,
}

#[extension]
impl Alarmist {
    /// Raises an alert.
    #[event]
    fn raise(&mut self, raise: Raise) {
        let alert = alert(&raise.name, Severity::High, &raise.title);
        match &raise.metric {
            Some(metric) => alert.metric(metric).raise(),
            None => alert.raise(),
        }
    }

    /// Raises so many alerts, each of another name.
    #[event]
    fn flood(&mut self, count: u32) {
        for number in 0..count {
            alert(&format!("flood-{number}"), Severity::Critical, "the end is near").raise();
        }
    }

    /// Holds so many bytes of memory, and what it held before.
    #[event]
    fn hold(&mut self, bytes: usize) {
        self.held.push(vec![1; bytes]);
    }

    /// Fails.
    #[event]
    fn fail(&mut self) {
        panic!("the sky falls");
    }
}
