//! Promises of redaction as a whole.

mod clean;
mod properties;
mod records;
mod secrets;

use glasshouse_model::settings::Redaction;

pub(super) use self::properties::text;

use super::Redactor;

pub(super) fn redactor() -> Redactor {
    Redactor::new(&Redaction::default()).expect("settings without patterns")
}

/// Checks a text; `~` stands for the marker.
fn check(redactor: &Redactor, input: &str, expect: &str) {
    let expect = expect.replace('~', super::MARKER);
    let found = redactor.redact_text(input);
    assert_eq!(found, expect, "{input}");
    assert_eq!(redactor.redact_text(&found), expect, "again: {input}");
    assert!(redactor.is_suspect(input.as_bytes()) || input == expect, "not suspect: {input}");
}
