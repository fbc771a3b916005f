//! Configuration: manifests, the operator's settings, and how they add up. Text in, values out; no I/O.
//!
//! A [`Manifest`] is what an extension says about itself. [`Layers`] hold what the operator says, in a file, in
//! environment variables and in flags. [`Layers::resolve`] puts both together to the settings in effect, each with its
//! [`Origin`]. All keys stand in one table, which [`reference()`] lists.
//!
//! ```
//! use glasshouse_model::config::{Layers, Manifest, OperatorConfig};
//! use std::path::Path;
//!
//! let manifest = Manifest::parse("id = \"relay\"\n[budget]\ndeadline = \"10s\"", "relay: extension.toml")?;
//! let file = OperatorConfig::parse("[defaults.budget]\ndeadline = \"2s\"", "glasshouse.toml")?;
//! let layers = Layers { file, ..Layers::default() };
//! let resolved = layers.resolve(&manifest, Path::new("/srv/extensions/relay"));
//! assert_eq!(resolved.settings.budget.deadline.as_secs(), 2);
//! let deadline = resolved.origins.iter().find(|setting| setting.key == "budget.deadline").expect("a key");
//! assert_eq!(deadline.origin.to_string(), "glasshouse.toml line 2 (defaults)");
//! # Ok::<(), glasshouse_model::config::ConfigError>(())
//! ```

mod ambient;
mod assign;
mod changes;
mod check;
mod document;
mod error;
mod folder;
mod grant;
mod key;
mod keys;
mod layer;
mod log_files;
mod manifest;
mod nearest;
mod network;
mod operator;
mod origin;
mod otlp;
mod overlay;
mod overrides;
mod read;
mod reference;
mod resolve;
mod value;

#[cfg(test)]
mod tests;

pub use assign::{AssignError, Assigned, assign};
pub use changes::{Change, OutOfBounds, changes, check_bounds, values};
pub use error::{ConfigError, Place, Problem};
pub use grant::{Grant, matches_pattern};
pub use keys::{Key, Scope};
pub use layer::Origin;
pub use log_files::LogFileSettings;
pub use manifest::{DEFAULT_VERSION, Manifest};
pub use nearest::nearest;
pub use network::InvalidNetworkAccess;
pub use operator::OperatorConfig;
pub use origin::InvalidHttpAccess;
pub use otlp::{Endpoint, OtlpCompression, OtlpProtocol, OtlpService, OtlpSettings, OtlpSignal, Secrets};
pub use overlay::{Holding, LAYERS, Overlay, Override, OverrideError, read_overrides};
pub use reference::{reference, reference_markdown};
pub use resolve::{Layers, Resolved, ResolvedHost, Setting};
pub(crate) use value::{duration_of, shown_duration};

use std::path::PathBuf;
use std::time::Duration;

/// Settings of the host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// The folder of compiled components; `None` stands for one in the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// Components of usual size that are compiled at once; 0 stands for one per processor.
    pub compile_threads: usize,
    /// Memory that compiling one component may take, in bytes.
    pub compile_memory: u64,
    /// CPU time that compiling one component may take.
    pub compile_time: Duration,
    /// The folder that telemetry is kept in; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Bytes in the data directory, of all extensions together.
    pub data_limit: u64,
    /// How often telemetry that is over its age is removed.
    pub cleanup_interval: Duration,
    /// How often it is measured what the host's process uses.
    pub metrics_interval: Duration,
    /// How often telemetry is made safe against the loss of power.
    pub sync_interval: Duration,
    /// The certificates, in PEM, that servers which extensions ask over HTTPS are trusted by; `None` stands for those of the
    /// system.
    pub http_certificate: Option<PathBuf>,
    /// How long calls in flight may go on when the host stops.
    pub shutdown_limit: Duration,
    /// The address and port that the API listens on, or [`LISTEN_OFF`].
    pub listen: String,
    /// Names beside the machine's own addresses by which clients may call the host.
    pub names: Vec<String>,
    /// The certificates, in PEM, by which the API proves who it is; `None` serves without TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The private key of the first of them, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether clients on this machine need no token.
    pub open_on_loopback: bool,
    /// Where and how telemetry is pushed.
    pub otlp: OtlpSettings,
    /// The log files that are written.
    pub files: LogFileSettings,
}

/// What `host.listen` is where the API is not to be served.
pub const LISTEN_OFF: &str = "off";
/// The port that the API listens on where nobody says otherwise.
pub const PORT: u16 = 7077;

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            compile_threads: 0,
            compile_memory: 2 << 30,
            compile_time: Duration::from_mins(1),
            data_dir: None,
            data_limit: 16 << 30,
            cleanup_interval: Duration::from_mins(1),
            metrics_interval: Duration::from_secs(30),
            sync_interval: Duration::from_secs(5),
            http_certificate: None,
            shutdown_limit: Duration::from_secs(5),
            listen: format!("127.0.0.1:{PORT}"),
            names: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            open_on_loopback: false,
            otlp: OtlpSettings::default(),
            files: LogFileSettings::default(),
        }
    }
}
