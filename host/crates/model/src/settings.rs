//! What an extension may use, what it may do, and how it is watched: the values in effect, after all layers are merged.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

pub use crate::retention::{Retention, SignalRetention};
pub use crate::telemetry_budget::TelemetryBudget;
use crate::{Aspect, Level};

/// All settings of one extension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// What it may use.
    pub budget: Budget,
    /// How it is watched.
    pub debugging: Debugging,
    /// How much of its telemetry is kept in a data directory.
    pub retention: Retention,
    /// What of its telemetry is never stored.
    pub redaction: Redaction,
    /// What it may do: granted by the operator and requested by its manifest.
    pub permissions: Permissions,
    /// What `init` gets.
    pub config: serde_json::Map<String, serde_json::Value>,
}

glasshouse_wire::byte_enum! {
    /// What measures an extension's work, and slices it so that its neighbours run.
    #[derive(Default)]
    Metering {
        /// The processor's time only: faster. No fuel is counted, so that budgets of fuel have no effect, and what a call uses
        /// differs from run to run.
        Cpu = 0 "cpu",
        /// Fuel: the same input burns the same on every run.
        #[default]
        Fuel = 1 "fuel",
    }
}

/// What an extension may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// What measures its work.
    pub metering: Metering,
    /// Wasm fuel of one call; about a unit an instruction.
    pub fuel_per_call: u64,
    /// Wasm fuel that may be used in a second, over [`Budget::rate_window`].
    pub fuel_per_second: u64,
    /// CPU time that may be used, in percent of one processor, over [`Budget::rate_window`].
    pub cpu_share: u32,
    /// The time over which rates are taken.
    pub rate_window: Duration,
    /// Wall time of one call, waiting included.
    pub deadline: Duration,
    /// Linear memory of an instance, in bytes.
    pub memory_bytes: u64,
    /// Elements of all tables of an instance; each is a pointer of the host's memory.
    pub table_elements: usize,
    /// Core instances of an instance.
    pub instances: usize,
    /// Memories of all core instances: each takes gigabytes of address space, whatever its size.
    pub memories: usize,
    /// Handles of resources that an instance may hold at once, its own and the host's: each is some host memory.
    pub handles: usize,
    /// Resources that an instance may hold in the host at once: open files, sockets, streams, meters and the like. Files and
    /// sockets are descriptors of the host's process.
    pub resources: usize,
    /// Data that one host call may carry from guest to host, in bytes, about.
    pub host_data_per_call: u64,
    /// Calls of host functions that one call may make.
    pub host_calls_per_call: u64,
    /// Calls that wait for the extension before its callers wait or are turned away.
    pub mailbox: usize,
    /// Failures in a row after which the extension is quarantined.
    pub failures_in_a_row: u32,
    /// How long a quarantine lasts before a call probes it.
    pub quarantine: Duration,
    /// The part of a budget, in percent, at which the extension is warned.
    pub warn_at: u32,
    /// How long the extension may go on asking for more than a rate before it is quarantined.
    pub throttle_limit: Duration,
    /// What it may record.
    pub telemetry: TelemetryBudget,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            metering: Metering::default(),
            fuel_per_call: 2_000_000_000,
            // What no extension reaches: one runs on one thread, which does some billions of instructions a second.
            fuel_per_second: 10_000_000_000,
            cpu_share: 100,
            rate_window: Duration::from_mins(1),
            deadline: Duration::from_secs(5),
            memory_bytes: 64 * 1024 * 1024,
            table_elements: 1_000_000,
            instances: 100,
            memories: 16,
            handles: 10_000,
            resources: 1_000,
            host_data_per_call: 16 * 1024 * 1024,
            host_calls_per_call: 10_000_000,
            mailbox: 256,
            failures_in_a_row: 3,
            quarantine: Duration::from_secs(30),
            warn_at: 80,
            throttle_limit: Duration::from_mins(10),
            telemetry: TelemetryBudget::default(),
        }
    }
}

/// How an extension is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Debugging {
    /// Whether logs are stored.
    pub logging_enabled: bool,
    /// Whether metric samples are stored.
    pub metrics_enabled: bool,
    /// Whether errors are stored.
    pub error_tracking_enabled: bool,
    /// Whether alerts are stored.
    pub alerting_enabled: bool,
    /// Whether the extension is profiled.
    pub profiling_enabled: bool,
    /// Whether all spans are stored; otherwise those that failed and, while errors are tracked, those of calls that fail or are slow.
    pub tracing_enabled: bool,
    /// The least level that is stored.
    pub log_level: Level,
    /// Other least levels for logs whose target starts so, such as `http=debug`; see [`Debugging::logger_level`].
    pub log_levels: Vec<String>,
    /// Whether each aspect is watched, by index.
    pub aspects: [bool; Aspect::COUNT],
    /// How often `collect` is called.
    pub metrics_interval: Duration,
    /// How often `check-health` is called.
    pub health_check_interval: Duration,
    /// How long after it was last raised a guest's alert is taken to be over.
    pub alert_resolve_after: Duration,
    /// Limits of what metrics come to, beyond which the host raises alerts; see [`crate::Threshold`].
    pub thresholds: Vec<String>,
    /// Logs kept in memory.
    pub max_log_entries: usize,
    /// Metric samples kept in memory.
    pub max_metrics: usize,
    /// Errors kept in memory.
    pub max_errors: usize,
    /// Spans are kept for about so many traces, and as many invocations.
    pub max_traces: usize,
    /// The part of traces whose spans, and logs below warning, are stored, 0.0 to 1.0.
    pub sampling_rate: f64,
    /// How long a call takes to be slow: its spans are stored whatever the sampling rate is.
    pub slow_call: SlowCall,
    /// The part of its CPU time that debugging may cost an extension, in percent.
    pub profiling_overhead_limit: f64,
}

/// When a call is slow.
///
/// The order is that of how few calls are slow; by [`SlowCall::P95`] it may be any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlowCall {
    /// If it takes longer than all but a twentieth of the recent calls of the same export and event; as long as there were too few of them, if it
    /// takes as long as by default.
    P95,
    /// If it takes so long.
    After(Duration),
}

impl SlowCall {
    /// The default, and what holds for an export of which too little is known.
    pub const DEFAULT: Duration = Duration::from_secs(1);
    /// How [`SlowCall::P95`] is written.
    pub const P95_WORD: &str = "p95";
}

impl Default for SlowCall {
    fn default() -> Self {
        Self::After(Self::DEFAULT)
    }
}

impl Debugging {
    /// Characters of the start of a target.
    const LOGGER_CHARACTERS: usize = 128;

    /// What of it is switched on, by the names of its switches without `_enabled`.
    pub fn enabled_components(&self) -> Vec<&'static str> {
        let switches = [
            ("logging", self.logging_enabled),
            ("metrics", self.metrics_enabled),
            ("error_tracking", self.error_tracking_enabled),
            ("alerting", self.alerting_enabled),
            ("profiling", self.profiling_enabled),
            ("tracing", self.tracing_enabled),
        ];
        switches.into_iter().filter(|(_, enabled)| *enabled).map(|(name, _)| name).collect()
    }

    /// Reads an item of `log_levels`: the start of a target, and the least level of its logs. The error is a sentence about what is
    /// wrong with it.
    pub fn logger_level(text: &str) -> Result<(&str, Level), String> {
        let (logger, level) = text.rsplit_once('=').ok_or("write a logger and a level, such as http=debug")?;
        let is_short = logger.chars().nth(Self::LOGGER_CHARACTERS).is_none();
        if logger.is_empty() || !is_short || logger.contains(char::is_control) {
            return Err(format!("a logger has 1 to {} characters, and no control characters", Self::LOGGER_CHARACTERS));
        }
        Ok((logger, level.parse()?))
    }
}

impl Default for Debugging {
    fn default() -> Self {
        Self {
            logging_enabled: true,
            metrics_enabled: true,
            error_tracking_enabled: true,
            alerting_enabled: true,
            profiling_enabled: false,
            tracing_enabled: false,
            log_level: Level::Debug,
            log_levels: Vec::new(),
            aspects: [true; Aspect::COUNT],
            metrics_interval: Duration::from_secs(30),
            health_check_interval: Duration::from_mins(1),
            alert_resolve_after: Duration::from_hours(24),
            thresholds: Vec::new(),
            max_log_entries: 10_000,
            max_metrics: 50_000,
            max_errors: 1_000,
            max_traces: 1_000,
            sampling_rate: 1.0,
            slow_call: SlowCall::default(),
            profiling_overhead_limit: 5.0,
        }
    }
}

/// What is replaced in an extension's telemetry before it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redaction {
    /// Whether anything is.
    pub enabled: bool,
    /// Whether e-mail addresses are.
    pub email: bool,
    /// Names of fields whose values are, beside the built-in ones.
    pub fields: Vec<String>,
    /// Regular expressions whose matches are, beside the built-in patterns; see [`Redaction::compile`].
    pub patterns: Vec<String>,
    /// Names of fields whose values are kept, whatever the other names say.
    pub keep_fields: Vec<String>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { enabled: true, email: false, fields: Vec::new(), patterns: Vec::new(), keep_fields: Vec::new() }
    }
}

impl Redaction {
    /// Patterns that one source, the operator or a manifest, may give: all of them are tried on suspect text.
    pub const PATTERNS: usize = 16;
    /// Bytes that a compiled pattern may take, and again the cache of its automaton. A manifest is the guest's.
    pub const PATTERN_BYTES: usize = 128 * 1024;

    /// Compiles a pattern within its bound; the error is a sentence about what is wrong with it.
    pub fn compile(pattern: &str) -> Result<Regex, String> {
        let compiled = RegexBuilder::new(pattern)
            .size_limit(Self::PATTERN_BYTES)
            .dfa_size_limit(Self::PATTERN_BYTES)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    "it takes too much memory: repeat less, and write [0-9A-Za-z_] for \\w".to_owned()
                }
                other => {
                    let text = other.to_string();
                    let cause = text.lines().last().unwrap_or_default();
                    cause.strip_prefix("error: ").unwrap_or(cause).to_owned()
                }
            })?;
        if compiled.is_match("") {
            return Err("it matches the empty text, and so any: require a character, such as x+ for x*".to_owned());
        }
        Ok(compiled)
    }
}

/// What an extension asks for, or may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permissions {
    /// Folders of the host.
    pub files: Vec<FileAccess>,
    /// Environment variables, by name.
    pub env: Vec<String>,
    /// Addresses and names to connect to.
    pub network: Vec<NetworkAccess>,
    /// Where to send HTTP requests to.
    pub http: Vec<HttpAccess>,
    /// Where names of `http` may lead to beside public addresses: addresses that the operator granted for HTTP, whether the
    /// extension asks for them or not.
    pub http_addresses: Vec<HttpAccess>,
    /// Extensions to call.
    pub call: Vec<String>,
    /// Topics to publish to; a trailing `*` stands for any ending.
    pub publish: Vec<String>,
}

/// A folder of the host that a guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAccess {
    /// The folder; a relative one is resolved against the file that names it.
    pub host: PathBuf,
    /// The granted folder that it lies in; its own `host` before it is granted. Whoever opens `host` opens this one by its
    /// path, which is the operator's, and goes on from there with symbolic links kept inside: a guest may have made them.
    pub root: PathBuf,
    /// The absolute path under which the guest sees it.
    pub guest: String,
    /// Whether it may change what is there.
    pub write: bool,
}

/// Something that a guest may connect to by TCP or UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAccess {
    /// Where.
    pub host: NetworkHost,
    /// The port; `None` stands for all.
    pub port: Option<u16>,
}

/// Servers that a guest may send HTTP requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAccess {
    /// How they are spoken to.
    pub scheme: HttpScheme,
    /// Which.
    pub host: HttpHost,
    /// The port.
    pub port: u16,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpScheme {
    /// In clear text.
    Http,
    /// Within TLS.
    Https,
}

/// Servers of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpHost {
    /// A block of addresses, by which requests name the server; names may lead there, too.
    Block(IpNet),
    /// A name, in lower case. It may lead to public addresses, and to those granted beside it.
    Name(String),
    /// All names below one.
    Below(String),
}

/// Where a guest may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkHost {
    /// A block of addresses.
    Block(IpNet),
    /// A name; its addresses are looked up when the extension starts, and stay the same until it is started anew.
    Name(String),
}
