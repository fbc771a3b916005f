//! Checks of texts in manifests and operator configuration.

use std::path::{Component, Path};

use super::LogFileSettings;
use crate::settings::Redaction;
use crate::text::visible;

/// Characters of a topic.
const TOPIC_CHARACTERS: usize = 128;
/// Characters of a text that is shown in one line: a name, an author.
const LINE_CHARACTERS: usize = 256;

/// Any text.
#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// A logger and a level.
pub(super) fn logger_level(text: &str) -> Result<(), String> {
    crate::settings::Debugging::logger_level(text).map(drop)
}

/// A threshold of a metric.
pub(super) fn threshold(text: &str) -> Result<(), String> {
    text.parse::<crate::Threshold>().map(drop)
}

/// Text of one line.
pub(super) fn line(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) || text.chars().nth(LINE_CHARACTERS).is_some() {
        return Err(format!("use one line of at most {LINE_CHARACTERS} characters"));
    }
    Ok(())
}

/// An address to listen on, or none.
pub(super) fn listen(text: &str) -> Result<(), String> {
    if text == super::LISTEN_OFF || text.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(());
    }
    let shown = visible(text, 80);
    Err(format!(
        "\"{shown}\" is no address with a port: write one such as 127.0.0.1:7077 or [::1]:7077, or {}",
        super::LISTEN_OFF
    ))
}

/// A log file, by what is in it.
pub(super) fn log_tier(text: &str) -> Result<(), String> {
    visible(text, 80).parse::<crate::LogTier>().map(drop)
}

/// How lines of log files are written.
pub(super) fn log_format(text: &str) -> Result<(), String> {
    let known = [LogFileSettings::TEXT, LogFileSettings::JSON];
    if known.contains(&text) {
        return Ok(());
    }
    Err(format!("found \"{}\", use one of {}", visible(text, 80), known.join(", ")))
}

/// A host's name, without a port.
pub(super) fn host_name(text: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (1..=63).contains(&label.len()) && letters
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!("\"{}\" is no host name, such as glasshouse.example.com", visible(text, 80)))
}

/// An extension id.
pub(super) fn id(text: &str) -> Result<(), String> {
    text.parse::<crate::ExtensionId>().map(|_| ()).map_err(|error| error.to_string())
}

/// An extension id, or the start of one and `*`.
pub(super) fn id_pattern(text: &str) -> Result<(), String> {
    match text.strip_suffix('*') {
        Some("") => Ok(()),
        Some(start) => id(start),
        None => id(text),
    }
}

/// A version.
pub(super) fn version(text: &str) -> Result<(), String> {
    let refused =
        |error| format!("\"{}\" is not a version: {error}; write it like 1.2.3 (semver.org)", visible(text, 80));
    semver::Version::parse(text).map(|_| ()).map_err(refused)
}

/// A relative path that stays inside its folder.
pub(super) fn inside(text: &str) -> Result<(), String> {
    let parts_are_plain = Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
    if !text.is_empty() && parts_are_plain && !text.contains(['\\', '\0']) && !text.ends_with('/') {
        return Ok(());
    }
    let shown = visible(text, 80);
    Err(format!("\"{shown}\" is not inside the extension's folder: use a relative path with / and without .."))
}

/// A topic, or the start of one and `*`.
pub(super) fn topic(text: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let start = text.strip_suffix('*').unwrap_or(text);
    if (1..=TOPIC_CHARACTERS).contains(&text.len()) && start.bytes().all(legal) {
        return Ok(());
    }
    let shown = visible(text, 80);
    Err(format!(
        "\"{shown}\" is not a topic: use 1 to {TOPIC_CHARACTERS} characters of a-z, 0-9, ., _ and -, and * at the end only"
    ))
}

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Result<(), String> {
    if (1..=LINE_CHARACTERS).contains(&text.len()) && !text.chars().any(|c| c == '=' || c.is_control()) {
        return Ok(());
    }
    Err(format!("\"{}\" is not the name of an environment variable", visible(text, 80)))
}

/// The name of a field.
pub(super) fn field_name(text: &str) -> Result<(), String> {
    let has_word = text.chars().any(char::is_alphanumeric);
    if has_word && text.len() <= crate::limits::NAME_BYTES && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let most = crate::limits::NAME_BYTES;
    Err(format!("\"{}\" is not the name of a field: use letters or digits, {most} bytes at most", visible(text, 80)))
}

/// A regular expression.
pub(super) fn pattern(text: &str) -> Result<(), String> {
    let refused = |cause| format!("the pattern \"{}\" is refused: {cause}", visible(text, 80));
    Redaction::compile(text).map(|_| ()).map_err(refused)
}

/// The path under which a guest sees a folder.
pub(super) fn guest_path(text: &str) -> Result<(), String> {
    let plain = text.strip_prefix('/').is_some_and(|rest| {
        rest.is_empty()
            || rest.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(char::is_control))
    });
    if plain && text.len() <= LINE_CHARACTERS {
        return Ok(());
    }
    let shown = visible(text, 80);
    Err(format!(
        "\"{shown}\" is not a guest's folder: write an absolute path such as \"/docs\", without .. and without a / at the end"
    ))
}
