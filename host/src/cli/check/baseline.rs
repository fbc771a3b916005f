//! The file of a baseline: what an extension's calls cost when somebody last said that this is right. It is JSON, with a line
//! for each call, so that a change of cost is a change of a line. docs/check.md describes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the file says that it is.
const FORMAT: &str = "glasshouse check";
/// The version of the format that is read and written.
const VERSION: u64 = 1;
/// Bytes of the longest baseline that is read: some hundred thousand calls.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What an extension's calls cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    format: String,
    version: u64,
    /// The extension's id.
    pub(super) extension: String,
    /// The digest of its component file.
    pub(super) component: String,
    /// The version of the host.
    pub(super) glasshouse: String,
    /// The version of wasmtime, whose count fuel is.
    pub(super) wasmtime: String,
    /// The settings that have a say in the costs, the metering among them.
    pub(super) settings: BTreeMap<String, String>,
    /// What else than events costs something.
    pub(super) exports: Vec<Row>,
    /// The events of the feed, in its order.
    pub(super) events: Vec<Row>,
}

/// What one call cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// The line of the feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// The export, or the event.
    pub(super) name: String,
    /// What tells the input from others: the start of its digest. Lines may move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<String>,
    /// How it ended: `ok`, or the kind of the error or failure.
    pub(super) outcome: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What is compared of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Wasm fuel.
    pub(super) fuel: u64,
    /// The most linear memory that the instance had.
    pub(super) memory_peak_bytes: u64,
    /// Calls of host functions.
    pub(super) host_calls: u64,
    /// Records of all signals that it left, without the one of the call itself.
    pub(super) records: u64,
    /// Their bytes; none if there were too many to be kept.
    pub(super) record_bytes: Option<u64>,
}

impl Figures {
    /// The sums of both, and of the bytes only if both have them. A file may have any numbers: no sum is more than the largest.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            fuel: self.fuel.saturating_add(other.fuel),
            memory_peak_bytes: self.memory_peak_bytes.saturating_add(other.memory_peak_bytes),
            host_calls: self.host_calls.saturating_add(other.host_calls),
            records: self.records.saturating_add(other.records),
            record_bytes: self.record_bytes.zip(other.record_bytes).map(|(one, more)| one.saturating_add(more)),
        }
    }
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BaselineError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is damaged: {0}; take it from your version control, or remove it and write it anew with --update")]
    Damaged(String),
    #[error("it is no baseline of `glasshouse check`; name another file")]
    Foreign,
    #[error(
        "it has version {0} of the format, and this glasshouse knows version {VERSION}: use the glasshouse that wrote it, or remove it and write it anew with --update"
    )]
    Version(u64),
}

impl Baseline {
    pub(super) fn new(
        extension: &str,
        component: String,
        settings: BTreeMap<String, String>,
        exports: Vec<Row>,
        events: Vec<Row>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            extension: extension.to_owned(),
            component,
            glasshouse: env!("CARGO_PKG_VERSION").to_owned(),
            wasmtime: glasshouse::WASMTIME_VERSION.to_owned(),
            settings,
            exports,
            events,
        }
    }

    /// Reads a file; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, BaselineError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(BaselineError::Foreign);
        }
        Self::parse(&text).map(Some)
    }

    fn parse(text: &[u8]) -> Result<Self, BaselineError> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Start {
            format: String,
            version: u64,
        }
        let damaged = |error: serde_json::Error| BaselineError::Damaged(error.to_string());
        let start: Start = serde_json::from_slice(text).map_err(|error| {
            // Half a baseline begins like a whole one.
            let ours = text.windows(FORMAT.len()).take(100).any(|window| window == FORMAT.as_bytes());
            if ours { damaged(error) } else { BaselineError::Foreign }
        })?;
        if start.format != FORMAT {
            return Err(BaselineError::Foreign);
        }
        if start.version != VERSION {
            return Err(BaselineError::Version(start.version));
        }
        serde_json::from_slice(text).map_err(damaged)
    }

    /// Writes the file: a new one beside it, which then takes its name. Tells whether that changed anything.
    pub(super) fn write(&self, path: &Path) -> io::Result<bool> {
        let text = self.text().map_err(io::Error::other)?;
        // A link is not replaced, but what it leads to.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::read(path).is_ok_and(|present| present == text.as_bytes()) {
            return Ok(false);
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        // A name that nobody foresees: what stands there is not written over, and a link is not followed.
        name.push(format!(".{:016x}.part", fastrand::u64(..)));
        let part = path.with_file_name(name);
        let written = OpenOptions::new().write(true).create_new(true).open(&part).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, path)
        });
        if written.is_err() {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(&part);
        }
        written.map(|()| true)
    }

    /// The file's text: fields by name, a call a line.
    fn text(&self) -> Result<String, serde_json::Error> {
        let mut text = String::from("{\n");
        let mut fields = vec![
            ("format", serde_json::to_string(&self.format)?),
            ("version", self.version.to_string()),
            ("extension", serde_json::to_string(&self.extension)?),
            ("component", serde_json::to_string(&self.component)?),
            ("glasshouse", serde_json::to_string(&self.glasshouse)?),
            ("wasmtime", serde_json::to_string(&self.wasmtime)?),
        ];
        let settings = self
            .settings
            .iter()
            .map(|(name, value)| Ok(format!("{}: {}", serde_json::to_string(name)?, serde_json::to_string(value)?)));
        fields.push(("settings", block('{', &settings.collect::<Result<Vec<_>, serde_json::Error>>()?, '}')));
        for (name, rows) in [("exports", &self.exports), ("events", &self.events)] {
            let rows = rows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
            fields.push((name, block('[', &rows, ']')));
        }
        let last = fields.len() - 1;
        for (index, (name, value)) in fields.iter().enumerate() {
            let comma = if index == last { "" } else { "," };
            // Writing to a string does not fail.
            let _ = writeln!(text, "  \"{name}\": {value}{comma}");
        }
        text.push_str("}\n");
        Ok(text)
    }
}

fn block(open: char, items: &[String], close: char) -> String {
    if items.is_empty() {
        return format!("{open}{close}");
    }
    format!("{open}\n    {}\n  {close}", items.join(",\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Baseline {
        let figures =
            Figures { fuel: 8140, memory_peak_bytes: 1 << 20, host_calls: 3, records: 2, record_bytes: Some(150) };
        let row = |line, name: &str| Row {
            line,
            name: name.into(),
            input: line.map(|_| "00ff".into()),
            outcome: "ok".into(),
            figures,
        };
        let settings = [("metering", "fuel"), ("log_level", "debug")].map(|(name, value)| (name.into(), value.into()));
        Baseline::new("hello", "2a".into(), settings.into(), vec![row(None, "init")], vec![row(Some(1), "greet\n\"")])
    }

    #[test]
    fn a_baseline_comes_back_as_it_was_written_with_a_line_for_each_call() {
        let text = sample().text().expect("it is JSON");
        assert_eq!(Baseline::parse(text.as_bytes()).expect("it is read"), sample());
        let call = r#"    {"line":1,"name":"greet\n\"","input":"00ff","outcome":"ok","fuel":8140,"memory_peak_bytes":1048576,"host_calls":3,"records":2,"record_bytes":150}"#;
        assert!(text.lines().any(|line| line == call), "{text}");
        assert!(text.find("log_level") < text.find("metering"), "{text}");
    }

    #[test]
    fn what_is_no_whole_baseline_of_this_version_is_refused_with_what_to_do() {
        let whole = sample().text().expect("it is JSON");
        let refused = |text: &str| Baseline::parse(text.as_bytes()).expect_err("it is refused").to_string();
        for cut in [0, 1, 20, whole.len() / 2, whole.len() - 3] {
            let said = refused(&whole[..cut]);
            assert!(said.contains("it is damaged") || said.contains("no baseline"), "{cut}: {said}");
        }
        assert!(refused(&whole[..whole.len() / 2]).contains("--update"));
        assert!(refused(&whole.replace("\"version\": 1", "\"version\": 2")).contains("version 2"));
        assert!(refused("{\"format\": \"other\", \"version\": 1}").contains("no baseline"));
        assert!(refused("[package]\nname = \"x\"\n").contains("no baseline"));
        let negative = refused(&whole.replace("8140", "-1"));
        assert!(negative.contains("damaged") && negative.contains("at line 13"), "{negative}");
        assert!(refused(&whole.replace("8140", "1e400")).contains("damaged"));
    }
}
