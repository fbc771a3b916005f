//! Why a host could not be started. All of it is the host's, or its operator's, to mend; what is wrong with an extension
//! is its [`crate::Status`] instead.

use std::path::PathBuf;

use glasshouse_files::LogFilesError;
use glasshouse_model::config::ConfigError;
use glasshouse_runtime::RuntimeError;
use glasshouse_telemetry::DataDirError;

/// Why a host could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The plugin directory cannot be read.
    #[error("cannot read the plugin directory {path}: {cause}", path = path.display())]
    PluginDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// There is nothing where an extension should be.
    #[error("there is no extension at {path}: {cause}; name a component file or a folder with an extension.toml", path = path.display())]
    NoExtension {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The operator's configuration cannot be read.
    #[error("cannot read the configuration {path}: {cause}", path = path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The operator's configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The engine could not be set up.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Log files cannot be written.
    #[error(transparent)]
    LogFiles(#[from] LogFilesError),
    /// Reading the configuration and the extensions' manifests broke off.
    #[error("reading the configuration broke off: {0}")]
    Interrupted(String),
}
