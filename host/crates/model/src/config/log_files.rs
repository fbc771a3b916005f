//! Settings of the log files that a host writes.

use std::path::PathBuf;
use std::time::Duration;

use crate::LogTier;

/// Which log files a host writes, and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileSettings {
    /// The folder that they are written to; `None` writes none.
    pub folder: Option<PathBuf>,
    /// The tiers that are written, by name; see [`LogFileSettings::written_tiers`].
    pub tiers: Vec<String>,
    /// How lines are written: [`LogFileSettings::TEXT`] or [`LogFileSettings::JSON`].
    pub format: String,
    /// Bytes at which a file is set aside and a new one begun.
    pub rotate_size: u64,
    /// How long a file is written to before it is set aside.
    pub rotate_age: Duration,
    /// Whether files that were set aside are compressed.
    pub compress: bool,
    /// Files of each tier that are kept beside the one that is written to.
    pub keep_count: usize,
    /// How long a file is kept after it was set aside.
    pub keep_age: Duration,
    /// Bytes of all files together.
    pub keep_bytes: u64,
}

impl LogFileSettings {
    /// Lines for people.
    pub const TEXT: &str = "text";
    /// Lines of JSON.
    pub const JSON: &str = "json";

    /// The tiers that are written, each once; a name that is none is passed over.
    pub fn written_tiers(&self) -> Vec<LogTier> {
        LogTier::ALL.iter().copied().filter(|tier| self.tiers.iter().any(|name| name == tier.as_str())).collect()
    }

    /// Whether lines of a tier are JSON.
    pub fn is_json(&self, tier: LogTier) -> bool {
        tier == LogTier::Structured || self.format == Self::JSON
    }
}

impl Default for LogFileSettings {
    fn default() -> Self {
        Self {
            folder: None,
            tiers: LogTier::ALL.iter().map(|tier| tier.as_str().to_owned()).collect(),
            format: Self::TEXT.to_owned(),
            rotate_size: 64 << 20,
            rotate_age: Duration::from_hours(24),
            compress: true,
            keep_count: 100,
            keep_age: Duration::from_hours(30 * 24),
            keep_bytes: 4 << 30,
        }
    }
}
