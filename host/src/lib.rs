//! A WebAssembly plugin host that shows everything its extensions do, and holds them to a budget.
//!
//! This is the API for an application that embeds the host:
//!
//! ```no_run
//! use glasshouse::{Event, Host, Trigger};
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::builder().plugin_dir("plugins").config_file("glasshouse.toml").start().await?;
//! let markdown = host.extension("markdown").ok_or("markdown is not installed")?;
//! let event = Event {
//!     name: "render".into(),
//!     content_type: "application/json".into(),
//!     payload: br##"{"markdown": "# Hello"}"##.to_vec(),
//! };
//! let reply = markdown.call(event, Trigger::default()).await?;
//! for log in markdown.logs().latest(10) {
//!     eprintln!("{}: {}", log.level, log.message);
//! }
//! eprintln!("{} bytes for {} of fuel", reply.payload.len(), markdown.usage().fuel);
//! host.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! An application calls [`worker::run_if_asked`] first in its `main`, so that components are compiled in a process that can
//! do nothing else. Its own interfaces are added with [`HostBuilder::import`] and called with [`Extension::call_exports`];
//! `examples/embedder.rs` does both.

mod alerts;
mod answers;
mod budgets;
mod builder;
mod control;
mod discover;
mod error;
mod extension;
mod folders;
mod followers;
mod groups;
mod health;
mod host;
mod jaeger;
mod journal;
mod pages;
mod plan;
mod push;
mod readings;
pub mod records;
mod replies;
mod resources;
mod serve;
mod sessions;
mod stored;
mod subject;
pub mod traces;
mod trial;

pub use alerts::alert_answer;
pub use answers::{metrics_answer, summary_answer};
pub use budgets::BudgetUse;
pub use builder::HostBuilder;
pub use control::{Changed, ControlError};
pub use error::HostError;
pub use extension::Extension;
pub use groups::{Suggestion, group_answer};
pub use health::{HealthCheck, HealthReport};
pub use host::Host;
pub use plan::{EffectiveConfig, Plan, Planned};
pub use push::probe_collectors;
pub use replies::{JSON, call_error_answer, payload_answer};
pub use resources::Resources;
pub use serve::first_token_files;
pub use sessions::{DebugSession, EndCause, SessionEnd, SessionError, SessionOverride, SessionState, session_answer};
pub use stored::{Stored, StoredExtension};
pub use trial::Trial;

pub use glasshouse_export as export;
pub use glasshouse_files::{HostLog, HostLogLayer, LogFilesError, LogFilesStatus};
pub use glasshouse_model::config::{self, ConfigError, Grant, Manifest, Setting};
pub use glasshouse_model::settings::{
    Budget, Debugging, Metering, Permissions, Redaction, Retention, Settings, SlowCall,
};
pub use glasshouse_model::standing;
pub use glasshouse_model::{
    AlertId, Blame, Clock, Context, Digest, ExtensionId, Failure, FailureKind, GroupId, HOST, InputDigest, Instrument,
    InvalidTraceParent, Level, Origin, Outcome, Randomness, SamplingThreshold, SessionId, Severity, Signal, SpanId,
    SpanKind, SpanStatus, Threshold, TraceId, TraceParent, TraceSampling, UnixNanos, Version, limits, text,
};
pub use glasshouse_otlp as otlp;
pub use glasshouse_runtime::{
    ApplyError, CallError, Carried, Check, CompileCost, CompileLimit, CompileSettings, ComponentInfo, Containment,
    EmbedderCall, EmbedderData, Event, HandlerError, Health, HostFault, HostMemory, HostUse, Inspection, LinkerHook,
    LoadError, Reply, SourceFrame, State, Status, SystemClock, TooMuch, Tried, Trigger, WASMTIME_VERSION, inspect,
    return_large_blocks, tokio_builder, wasmtime, worker,
};
pub use glasshouse_server::api::{MadeToken, MakeToken, Problem, Scope, Token};
pub use glasshouse_server::{ApiServer, ControlSocket, ServeError, TlsFiles, Tokens};
pub use glasshouse_telemetry::{
    Aggregate, Alert, AlertCause, AlertError, AlertState, AlertTransition, Basis, Component, Cursor, DataDirError,
    Detail, Distribution, Drop as DropCause, Drops, Entry, ErrorGroup, Gap, GapCause, GroupState, InvalidCursor,
    Labels, Order, Overhead, Page, Query, QueryError, Reader, Redactor, Resolution, ResolveError, SeriesSummary,
    Summary, TelemetryUse, Tier, Trend, Usage, query,
};
